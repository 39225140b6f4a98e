package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// WriteOptions say what [Write] writes where.
type WriteOptions struct {
	Vault coffer.Vault
	ID    coffer.ObjectID
	// Set is the sequence of the document's present revision, beside which the chunks are put. No other upload may have
	// put chunks there, unless it is the one that Resume goes on with: what is left of it would be taken for this
	// one's. A revision that the caller made for the purpose sees to that.
	Set uint64

	Source io.Reader // read once, from its beginning
	Size   int64     // how many bytes the source has; negative if that is not known

	// Base is the document's former stream, when only what differs shall be sent. That is told by the marks that its
	// writer made with the same MarkKey. Nil, a stream that is not native, and one of other chunks than ChunkSize: all
	// chunks are sent, as a stream with a new key. It must be nil when that is the point, because somebody shall not
	// read on; and when somebody else wrote the former revision, for he could have put chunks of his own behind the
	// owner's marks.
	Base *seal.Stream
	// MarkKey is a key that only the owner has. Zero: chunks get no marks, and none is found to be the same.
	MarkKey [32]byte

	ChunkSize int // bytes; 0 is that of Base, or else [seal.DefaultChunkSize]
	Workers   int // how many chunks are on their way at once; 0 is [DefaultWorkers]

	// Progress, if not nil, is told now and then how many bytes of the source are done, and of how many; total is
	// negative until it is known. Calls do not overlap.
	Progress func(done, total int64)

	// Note, if not nil, is handed what must be kept for the upload to go on after an interruption: before the first
	// chunk is sent, each time some more have been, and after an error. It must be kept before Note returns. Calls do
	// not overlap.
	Note func(Progress)
	// Resume is what Note was handed last by an upload that was interrupted. What is done already is read from the
	// source and compared, and not sent again.
	Resume *Progress
}

const (
	// noteEvery is how many places further chunks may be sent before Note is called again.
	noteEvery = 32
	// window is how far a chunk may be ahead of the first one that is not done.
	window = 64
)

// Write stores what the source has as the chunks of the document's stream, and returns the stream as the document's
// next revision shall seal it. Until that revision is accepted, readers see the former stream.
//
// Conflict when the source has another length than was said; when Resume is of another upload, or the source has other
// bytes than it had then; and when the document was changed meanwhile. Exhausted when the source is too long for the
// chunk size, when the vault has no room, and when Base was patched so often that it cannot be another time. Corrupt
// when the vault does not have the table of Base. Invalid when there cannot be such a stream or patch. Otherwise the
// source's or the vault's own error. All chunks that are on their way have ended when Write returns.
//
// Its returned stream has Patch set when it is Base patched. When nothing had to be sent, Patch is 0.
func Write(ctx context.Context, o WriteOptions) (*seal.Stream, error) {
	w, err := newWriter(o)
	if err != nil {
		return nil, err
	}
	size, err := w.run(ctx)
	var s *seal.Stream
	if err == nil {
		s, err = w.finish(ctx, size)
	}
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.Note != nil && w.p.reserved > 0 {
			w.Note(w.p.snapshot())
		}
		return nil, err
	}
	if w.Progress != nil {
		w.Progress(size, size)
	}
	return s, nil
}

// A writer is one upload.
type writer struct {
	WriteOptions
	sealer *seal.ChunkSealer
	marks  *seal.Marker
	tag    func(number uint64, plain []byte) tag // nil when there is nothing to resume, now or later
	base   *base                                 // nil when all is sent
	resume Progress                              // zero when it is not resumed

	mu        sync.Mutex // guards the following
	moved     sync.Cond  // p.data grew, or the context ended
	p         *Progress
	ahead     map[uint64]*result // done, with a gap before
	advancing bool
	done      int64 // bytes of the source
	total     int64 // negative until it is known
}

// A piece is a data chunk's plaintext on its way.
type piece struct {
	number uint64
	last   bool // no chunk follows, not even of the table
	real   int  // bytes of the source; the others are padding
	plain  []byte
	former *seal.Entry // of the chunk that is in its place, if it is of the same kind
}

// A result is what became of a piece.
type result struct {
	entry seal.Entry
	tag   tag
}

func newWriter(o WriteOptions) (*writer, error) {
	const op = "write stream"
	w := &writer{WriteOptions: o, ahead: make(map[uint64]*result), total: max(o.Size, -1)}
	w.moved.L = &w.mu
	if w.Workers <= 0 {
		w.Workers = DefaultWorkers
	}
	if w.ChunkSize == 0 && o.Base != nil && o.Base.Native {
		w.ChunkSize = o.Base.ChunkSize
	}
	if w.ChunkSize == 0 {
		w.ChunkSize = seal.DefaultChunkSize
	}
	if b := o.Base; b != nil && (!b.Native || b.ChunkSize != w.ChunkSize) {
		w.Base = nil
	}
	var digest [sha256.Size]byte
	var err error
	if w.Base != nil {
		if digest, err = w.Base.Digest(); err != nil {
			return nil, coffer.E(op, coffer.Invalid, err)
		}
		if w.base, err = newBase(w.Vault, w.ID, w.Base); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Resume != nil:
		if !o.Resume.of(w.ID, w.Set, digest, w.ChunkSize) {
			return nil, coffer.Errorf(op, coffer.Conflict, "what was begun is another upload")
		}
		w.resume = o.Resume.snapshot()
		p := o.Resume.snapshot()
		w.p = &p
	default:
		var s *seal.Stream
		if w.Base != nil {
			s, err = w.Base.Patched(w.Set)
		} else {
			s, err = seal.NewNativeStream(w.Set, w.ChunkSize)
		}
		if err != nil {
			return nil, err
		}
		w.p = begun(w.ID, s, digest)
	}
	if w.sealer, err = seal.NewChunkSealer(w.ID, w.p.stream); err != nil {
		return nil, err
	}
	w.marks = seal.NewMarker(w.MarkKey, w.ID, w.p.stream.Sequence)
	if w.Note != nil || o.Resume != nil {
		if w.tag, err = w.p.tagger(); err != nil {
			return nil, coffer.E(op, coffer.Invalid, err)
		}
	}
	return w, nil
}

// run reads the source in this goroutine, and seals and puts its pieces in others. It returns the source's size. All
// buffers are made here and used again.
func (w *writer) run(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moved.Broadcast()
	})
	defer stop()
	pieces := make(chan piece)
	free := make(chan []byte, w.Workers+2)
	for range cap(free) {
		free <- nil
	}
	var workers sync.WaitGroup
	for range w.Workers {
		workers.Go(func() {
			var raw []byte
			for p := range pieces {
				var err error
				if raw, err = w.handle(ctx, raw, &p); err != nil {
					cancel(err)
				}
				free <- p.plain
			}
		})
	}
	size, err := w.cut(ctx, free, pieces)
	close(pieces)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return 0, cause
	}
	return size, err
}

// cut reads the source into pieces, and the padding behind it, and returns how many bytes the source has. A piece goes
// on its way once it is known whether it is the last.
func (w *writer) cut(ctx context.Context, free chan []byte, pieces chan<- piece) (int64, error) {
	const op = "write stream"
	chunk := int64(w.ChunkSize)
	source := w.Source
	if w.Size >= 0 { // one byte too many is enough to know
		source = io.LimitReader(source, max(w.Size, w.Size+1))
	}
	buffer := func() ([]byte, error) {
		select {
		case b := <-free:
			if b == nil {
				b = make([]byte, chunk)
			}
			return b[:chunk], nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	read := func() ([]byte, error) {
		b, err := buffer()
		if err != nil {
			return nil, err
		}
		// Not io.ReadFull: whose own io.ErrUnexpectedEOF is no different from that of a source that broke off.
		n := 0
		for n < len(b) && err == nil {
			var more int
			more, err = source.Read(b[n:])
			n += more
		}
		if err == io.EOF {
			err = nil
		}
		return b[:n], err
	}
	skip := skipped{until: w.resume.data, want: w.resume.chain}
	// send hands a piece on, or only looks at it when it was sent by an earlier upload.
	send := func(p piece) error {
		if p.number < skip.until {
			if err := skip.add(p.number, w.tag(p.number, p.plain)); err != nil {
				return err
			}
			w.count(p.real)
			free <- p.plain
			return ctx.Err()
		}
		var err error
		if p.former, err = w.base.former(ctx, p.number, p.last); err != nil {
			return err
		}
		w.wait(ctx, p.number)
		select {
		case pieces <- p:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	var number uint64
	here, err := read()
	if err != nil {
		return 0, err
	}
	for int64(len(here)) == chunk {
		after, err := read()
		if err != nil {
			return 0, err
		}
		if len(after) == 0 {
			free <- after
			break
		}
		if number+1 >= seal.MaxDataChunks {
			return 0, coffer.Errorf(op, coffer.Exhausted, "too long for its chunk size")
		}
		if err := send(piece{number: number, real: len(here), plain: here}); err != nil {
			return 0, err
		}
		number, here = number+1, after
	}
	size := int64(number)*chunk + int64(len(here))
	if w.Size >= 0 && size != w.Size {
		return 0, coffer.Errorf(op, coffer.Conflict, "the source has another length than was said; it changed meanwhile")
	}
	l, err := seal.NewLayout(uint64(size), w.ChunkSize)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	w.total = size
	w.mu.Unlock()
	for ; number < l.Data; number++ {
		if here == nil {
			if here, err = buffer(); err != nil {
				return 0, err
			}
			here = here[:0]
		}
		n := len(here)
		here = here[:l.DataLength(number)]
		clear(here[n:])
		if err := send(piece{number: number, last: l.Last(seal.DataIndex(number)), real: n, plain: here}); err != nil {
			return 0, err
		}
		here = nil
	}
	if number < skip.until {
		return 0, otherSource()
	}
	return size, nil
}

// skipped is what was read of the source again.
type skipped struct {
	chain, want [sha256.Size]byte
	until       uint64
}

// add looks at one more piece: when it is the last one, all must have been as before.
func (s *skipped) add(number uint64, t tag) error {
	s.chain = chained(s.chain, t)
	if number+1 == s.until && s.chain != s.want {
		return otherSource()
	}
	return nil
}

func otherSource() error {
	return coffer.Errorf("write stream", coffer.Conflict, "not the source that the upload began with; begin anew")
}

// wait returns once the chunk with the number is in the window, or ctx ended.
func (w *writer) wait(ctx context.Context, number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for number >= w.p.data+window && ctx.Err() == nil {
		w.moved.Wait()
	}
}

// count counts bytes of the source that are done.
func (w *writer) count(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done += int64(n); w.Progress != nil && n > 0 {
		w.Progress(w.done, w.total)
	}
}

// handle stores a piece, unless the vault has it already. The buffer for what is sealed is used again and returned.
func (w *writer) handle(ctx context.Context, raw []byte, p *piece) ([]byte, error) {
	if ctx.Err() != nil {
		return raw, nil
	}
	r := &result{}
	if w.tag != nil {
		r.tag = w.tag(p.number, p.plain)
	}
	index := seal.DataIndex(p.number)
	if p.former != nil && index >= w.resume.reserved && w.marks.Same(p.former, p.plain) {
		r.entry = *p.former
	} else {
		var err error
		if raw, r.entry, err = w.put(ctx, raw, index, p.last, p.plain, w.marks); err != nil {
			return raw, err
		}
	}
	w.count(p.real)
	return raw, w.advance(ctx, p.number, r)
}

// put seals a chunk and stores it.
func (w *writer) put(ctx context.Context, raw []byte, index uint64, last bool, plain []byte,
	marks *seal.Marker) ([]byte, seal.Entry, error) {
	w.reserve(index)
	if need := len(plain) + w.sealer.Overhead(); cap(raw) < need {
		raw = make([]byte, 0, need)
	}
	raw, err := w.sealer.Seal(raw[:0], index, last, plain)
	if err != nil {
		return raw, seal.Entry{}, err
	}
	ref := w.sealer.Ref(index, raw)
	e := w.sealer.Entry(ref, raw, marks, plain)
	return raw, e, w.Vault.PutChunk(ctx, w.ID, ref, bytes.NewReader(raw))
}

// reserve sees to it that the note that is kept covers the chunk that is going to be sent.
func (w *writer) reserve(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p.sealed++
	w.p.sent = true
	if index >= w.p.reserved {
		w.p.reserved = index + noteEvery
		if w.Note != nil {
			w.Note(w.p.snapshot())
		}
	}
}

// advance counts what is done without a gap, and stores the table chunks that describe it.
func (w *writer) advance(ctx context.Context, number uint64, r *result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead[number] = r
	if w.advancing {
		return nil // whoever is at it will find it
	}
	w.advancing = true
	defer func() { w.advancing = false }()
	for {
		r, ok := w.ahead[w.p.data]
		if !ok {
			return nil
		}
		if len(w.p.tail) == seal.TableSpan {
			tail, part := w.p.tail, uint64(len(w.p.roots))
			w.mu.Unlock()
			root, err := w.table(ctx, part, tail, false)
			w.mu.Lock()
			if err != nil {
				return err
			}
			w.p.roots, w.p.tail = append(w.p.roots, root), nil
		}
		delete(w.ahead, w.p.data)
		w.p.add(r)
		w.moved.Broadcast()
	}
}

// table stores a table chunk, unless the vault has it already, and returns its entry.
func (w *writer) table(ctx context.Context, part uint64, entries []seal.Entry, last bool) (seal.Entry, error) {
	index := part*(seal.TableSpan+1) + uint64(len(entries))
	if root := w.base.root(part, entries, last); root != nil && index >= w.resume.reserved {
		return *root, nil
	}
	_, e, err := w.put(ctx, nil, index, last, seal.AppendTable(nil, entries), nil)
	return e, err
}

// finish stores what is left of the table.
func (w *writer) finish(ctx context.Context, size int64) (*seal.Stream, error) {
	l, err := seal.NewLayout(uint64(size), w.ChunkSize)
	if err != nil {
		return nil, err
	}
	table := w.p.tail
	if l.Tables > 0 {
		root, err := w.table(ctx, l.Tables-1, w.p.tail, true)
		if err != nil {
			return nil, err
		}
		table = append(slices.Clip(w.p.roots), root)
	}
	s, err := w.p.stream.Finish(uint64(size), table, w.p.sealed)
	if err != nil {
		return nil, err
	}
	if w.Base != nil && !w.p.sent && s.Chunks == w.Base.Chunks {
		s = s.Settled()
	}
	return s, nil
}

// A base is the former stream, as far as a writer needs it.
type base struct {
	vault  coffer.Vault
	id     coffer.ObjectID
	layout seal.Layout
	table  []seal.Entry
	opener *seal.ChunkOpener

	mu    sync.Mutex
	parts map[uint64][]seal.Entry // those that new table chunks may yet repeat
}

func newBase(v coffer.Vault, id coffer.ObjectID, s *seal.Stream) (*base, error) {
	opener, err := seal.NewStreamOpener(id, s)
	if err != nil {
		return nil, err
	}
	return &base{
		vault: v, id: id, layout: s.Layout(), table: s.Table(), opener: opener, parts: make(map[uint64][]seal.Entry),
	}, nil
}

// former returns the entry of the data chunk with this number, nil if there is none or it could not be the same.
func (b *base) former(ctx context.Context, number uint64, last bool) (*seal.Entry, error) {
	if b == nil || number >= b.layout.Data || last != b.layout.Last(seal.DataIndex(number)) {
		return nil, nil
	}
	if b.layout.Tables == 0 {
		return &b.table[number], nil
	}
	part := number / seal.TableSpan
	b.mu.Lock()
	defer b.mu.Unlock()
	entries := b.parts[part]
	if entries == nil {
		raw, err := fetch(ctx, b.vault, b.id, nil, b.layout.TableIndex(part), seal.TableSpan*seal.EntrySize+maxHead)
		if err == nil {
			entries, err = b.opener.OpenTable(raw, part)
		}
		if err != nil {
			return nil, err
		}
		b.parts[part] = entries
	}
	return &entries[number%seal.TableSpan], nil
}

// root returns the entry of the table chunk with this number when it has just these entries, or else nil. It is asked
// for each part once, in order.
func (b *base) root(part uint64, entries []seal.Entry, last bool) *seal.Entry {
	if b == nil || part >= b.layout.Tables || last != (part == b.layout.Tables-1) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	same := slices.Equal(b.parts[part], entries)
	delete(b.parts, part)
	if !same {
		return nil
	}
	return &b.table[part]
}
