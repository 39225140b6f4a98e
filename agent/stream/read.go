package stream

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// ReadOptions say what a [Reader] reads.
type ReadOptions struct {
	Vault  coffer.Vault
	ID     coffer.ObjectID
	Stream *seal.Stream // closed and bound
	// Strict compares the hash of each data chunk, too. It is needed when others than the reader ever had the stream's
	// key: they could have made another chunk that passes for the right one. Table chunks are always compared.
	Strict  bool
	Workers int // how many chunks are on their way at once; 0 is [DefaultWorkers]
	// Changed, if not nil, is asked when a chunk is missing or not right. If it returns an error, reading ends with
	// that instead of Corrupt: above all, that the document was replaced meanwhile, or erased.
	Changed func(ctx context.Context) error
}

// A Reader reads the bytes of one stream, without the padding. What it reads is just what was written: whatever the
// provider did to the chunks, their order or their number ends in an error, Corrupt or that of Changed, and not in
// other bytes. Other errors are the vault's own.
//
// Read, Seek, WriteTo and Close are for one goroutine at a time. Chunk, Each and ReadAt may be used by many at once.
type Reader struct {
	o      ReadOptions
	opener *seal.ChunkOpener
	layout seal.Layout // zero when the stream is not native
	tables tables
	raw    sync.Pool // of *[]byte

	near sync.Mutex // guards what ReadAt keeps
	kept []byte
	at   uint64 // which chunk kept is
	have bool

	// Of sequential reading.
	ctx    context.Context // of Read, ReadAt and WriteTo, whose callers have none to give
	offset int64           // where the next Read begins
	plain  []byte          // the chunk that was opened last
	rest   []byte          // what was not read of it yet: from offset on
	queue  []*future       // the chunks that follow, on their way
	spare  [][]byte        // buffers of plaintext
	depth  int             // how many chunks may be on their way
	err    error           // ends sequential reading until the next Seek
	closed bool
}

// NewReader returns a Reader at the beginning of the stream. The context is used by Read, ReadAt and WriteTo, for as
// long as the Reader is. Unavailable for a stream that is pending; Invalid for one of a foreign client, which only
// [seal.Reader] reads. Close ends what it began.
func NewReader(ctx context.Context, o ReadOptions) (*Reader, error) {
	opener, err := seal.NewStreamOpener(o.ID, o.Stream)
	if err != nil {
		return nil, err
	}
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	r := &Reader{o: o, opener: opener, layout: o.Stream.Layout(), ctx: ctx, depth: 1}
	r.raw.New = func() any { return new([]byte) }
	return r, nil
}

// Size returns the length of the stream in bytes.
func (r *Reader) Size() int64 { return int64(r.o.Stream.Size) }

// ChunkSize returns how many bytes each chunk but the last has.
func (r *Reader) ChunkSize() int64 { return int64(r.o.Stream.ChunkSize) }

// Chunks returns how many chunks have bytes of the stream: neither table nor padding.
func (r *Reader) Chunks() uint64 {
	return (r.o.Stream.Size + uint64(r.o.Stream.ChunkSize) - 1) / uint64(r.o.Stream.ChunkSize)
}

// Chunk appends the bytes of the chunk with this number to dst and returns the extended slice; they begin at
// number*ChunkSize. NotExist beyond the end.
func (r *Reader) Chunk(ctx context.Context, dst []byte, number uint64) ([]byte, error) {
	out, err := r.chunk(ctx, dst, number)
	if err != nil {
		if errors.Is(err, coffer.Corrupt) && r.o.Changed != nil {
			if changed := r.o.Changed(ctx); changed != nil {
				err = changed
			}
		}
		return dst, err
	}
	return out, nil
}

func (r *Reader) chunk(ctx context.Context, dst []byte, number uint64) ([]byte, error) {
	const op = "read"
	if number >= r.Chunks() {
		return nil, coffer.Errorf(op, coffer.NotExist, "the stream ends before")
	}
	var entry *seal.Entry
	index, most := number, int64(seal.MaxChunkSize+2<<20)
	if r.o.Stream.Native {
		var err error
		if entry, err = r.entry(ctx, number); err != nil {
			return nil, err
		}
		index, most = seal.DataIndex(number), int64(r.layout.DataLength(number)+maxHead)
	}
	buffer := r.raw.Get().(*[]byte)
	defer r.raw.Put(buffer)
	raw, err := fetch(ctx, r.o.Vault, r.o.ID, (*buffer)[:0], index, most)
	*buffer = raw
	if err != nil {
		return nil, err
	}
	n := len(dst)
	if r.o.Stream.Native {
		dst, err = r.opener.OpenData(dst, raw, number, entry, r.o.Strict)
	} else {
		dst, err = r.opener.Open(ctx, dst, raw, index)
	}
	if err != nil {
		return nil, err
	}
	begin := int64(number) * r.ChunkSize()
	return dst[:n+int(min(int64(len(dst)-n), r.Size()-begin))], nil
}

// entry returns what the table says of a data chunk.
func (r *Reader) entry(ctx context.Context, number uint64) (*seal.Entry, error) {
	if r.layout.Tables == 0 {
		return &r.o.Stream.Table()[number], nil
	}
	part := number / seal.TableSpan
	entries, err := r.tables.part(part, func() ([]seal.Entry, error) {
		raw, err := fetch(ctx, r.o.Vault, r.o.ID, nil, r.layout.TableIndex(part), seal.TableSpan*seal.EntrySize+maxHead)
		if err != nil {
			return nil, err
		}
		return r.opener.OpenTable(raw, part)
	})
	if err != nil {
		return nil, err
	}
	return &entries[number%seal.TableSpan], nil
}

// maxTables is how many parts of the table are kept: 64 KiB each, for 1024 chunks.
const maxTables = 16

// tables keep parts of the table.
type tables struct {
	mu    sync.Mutex
	parts map[uint64]*part
	order []uint64 // of parts, the first one to be forgotten first
}

type part struct {
	mu      sync.Mutex // held while the part is being fetched
	entries []seal.Entry
}

// part returns a part of the table, which fetch returns when it is not kept.
func (t *tables) part(number uint64, fetch func() ([]seal.Entry, error)) (_ []seal.Entry, err error) {
	t.mu.Lock()
	p := t.parts[number]
	if p == nil {
		if t.parts == nil {
			t.parts = make(map[uint64]*part)
		}
		if len(t.order) == maxTables {
			delete(t.parts, t.order[0])
			t.order = append(t.order[:0], t.order[1:]...)
		}
		p = new(part)
		t.parts[number], t.order = p, append(t.order, number)
	}
	t.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries == nil {
		p.entries, err = fetch()
	}
	return p.entries, err
}

// Each calls f with the bytes of each chunk from the first one on, in any order and several at once. The bytes are f's
// until it returns. The first error ends it and is returned; all calls have returned then.
func (r *Reader) Each(ctx context.Context, first uint64, f func(number uint64, plain []byte) error) error {
	return r.span(ctx, first, r.Chunks(), f)
}

// span is Each for the chunks up to the end.
func (r *Reader) span(ctx context.Context, first, end uint64, f func(number uint64, plain []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	var next atomic.Uint64
	next.Store(first)
	for range min(uint64(r.o.Workers), end-min(first, end)) {
		workers.Go(func() {
			var plain []byte
			for ctx.Err() == nil {
				number := next.Add(1) - 1
				if number >= end {
					return
				}
				var err error
				if plain, err = r.Chunk(ctx, r.room(plain), number); err == nil {
					err = f(number, plain)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// room returns b, emptied, or a new buffer that a chunk can be opened in.
func (r *Reader) room(b []byte) []byte {
	need := int(min(r.ChunkSize(), max(r.Size(), int64(r.layout.DataLength(0))))) + spare
	if cap(b) < need {
		return make([]byte, 0, need)
	}
	return b[:0]
}

// ReadAt is ReadRange with the Reader's context.
func (r *Reader) ReadAt(p []byte, offset int64) (int, error) { return r.ReadRange(r.ctx, p, offset) }

// ReadRange reads len(p) bytes from the offset on, or as many as there are, with io.EOF then. It fetches the chunks
// that they are in, several at once, and keeps the one that was read last. After another error, p holds some of the
// bytes behind those counted.
func (r *Reader) ReadRange(ctx context.Context, p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, coffer.Errorf("read", coffer.Invalid, "negative offset")
	}
	if len(p) == 0 {
		return 0, nil
	}
	if offset >= r.Size() {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > r.Size()-offset {
		p, eof = p[:r.Size()-offset], io.EOF
	}
	size := r.ChunkSize()
	first, last := uint64(offset/size), uint64((offset+int64(len(p))-1)/size)
	if first == last {
		if !r.readKept(p, first, offset-int64(first)*size) {
			plain, err := r.Chunk(ctx, r.room(nil), first)
			if err != nil {
				return 0, err
			}
			copy(p, plain[offset-int64(first)*size:])
			r.keep(plain, first)
		}
		return len(p), eof
	}
	err = r.span(ctx, first, last+1, func(number uint64, plain []byte) error {
		if at := int64(number)*size - offset; at >= 0 {
			copy(p[at:], plain)
		} else {
			copy(p, plain[-at:])
		}
		if number == last {
			r.keep(append(r.room(nil), plain...), number)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), eof
}

// readKept reads from the chunk that is kept, if it is the one with this number.
func (r *Reader) readKept(p []byte, number uint64, from int64) bool {
	r.near.Lock()
	defer r.near.Unlock()
	if !r.have || r.at != number {
		return false
	}
	copy(p, r.kept[from:])
	return true
}

func (r *Reader) keep(plain []byte, number uint64) {
	r.near.Lock()
	defer r.near.Unlock()
	r.kept, r.at, r.have = plain, number, true
}

// A future is a chunk on its way.
type future struct {
	number uint64
	cancel context.CancelFunc
	done   chan struct{} // closed when the following are set
	plain  []byte
	err    error
}

// fill sees to it that the chunk at the offset, and those behind it, are on their way.
func (r *Reader) fill() {
	number := uint64(r.offset / r.ChunkSize())
	if n := len(r.queue); n > 0 {
		number = r.queue[n-1].number + 1
	}
	for ; len(r.queue) < r.depth && number < r.Chunks(); number++ {
		var buffer []byte
		if n := len(r.spare); n > 0 {
			buffer, r.spare = r.spare[n-1], r.spare[:n-1]
		}
		ctx, cancel := context.WithCancel(r.ctx)
		f := &future{number: number, cancel: cancel, done: make(chan struct{})}
		go func() {
			defer close(f.done)
			f.plain, f.err = r.Chunk(ctx, r.room(buffer), f.number)
		}()
		r.queue = append(r.queue, f)
	}
}

// next makes rest the bytes from the offset on. The more is read in sequence, the further it reads ahead.
func (r *Reader) next() error {
	switch {
	case r.closed:
		return coffer.Errorf("read", coffer.Invalid, "closed")
	case r.err != nil:
		return r.err
	case r.offset >= r.Size():
		return io.EOF
	}
	r.fill()
	f := r.queue[0]
	<-f.done
	f.cancel()
	r.queue = r.queue[1:]
	if f.err != nil {
		r.err = f.err
		r.drop()
		return r.err
	}
	r.depth = min(2*r.depth, r.o.Workers)
	r.plain, r.rest = f.plain, f.plain[r.offset-int64(f.number)*r.ChunkSize():]
	r.fill()
	return nil
}

// used gives n bytes of rest up.
func (r *Reader) used(n int) {
	r.offset += int64(n)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.spare = append(r.spare, r.plain)
		r.plain, r.rest = nil, nil
	}
}

// drop ends what is on its way.
func (r *Reader) drop() {
	for _, f := range r.queue {
		f.cancel()
	}
	for _, f := range r.queue {
		<-f.done
	}
	r.queue, r.plain, r.rest, r.spare, r.depth = nil, nil, nil, nil, 1
}

// Read reads up to len(p) bytes, and io.EOF at the end. It fetches chunks ahead of what is read.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.used(n)
	return n, nil
}

// WriteTo writes what is left to w, a chunk at a time. Its errors are those of Read but io.EOF, and w's own.
func (r *Reader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if len(r.rest) == 0 {
			if err := r.next(); err == io.EOF {
				return written, nil
			} else if err != nil {
				return written, err
			}
		}
		n, err := w.Write(r.rest)
		n = min(n, len(r.rest))
		r.used(n)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
}

// Seek sets where the next Read begins. Beyond the end there is nothing to read; before the beginning is Invalid.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.Size()
	default:
		return 0, coffer.Errorf("seek", coffer.Invalid, "unknown whence")
	}
	if offset < 0 {
		return 0, coffer.Errorf("seek", coffer.Invalid, "before the beginning")
	}
	r.err = nil
	switch ahead := offset - r.offset; {
	case ahead == 0:
	case ahead > 0 && ahead < int64(len(r.rest)):
		r.used(int(ahead))
	default:
		r.drop()
		r.offset = offset
	}
	return offset, nil
}

// Close ends what is on its way, and returns once it has ended. It never fails.
func (r *Reader) Close() error {
	r.drop()
	r.closed = true
	return nil
}
