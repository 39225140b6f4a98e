package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// An Object is one revision of a file or typed object, to be read as often and in as many places at once as one likes.
// When somebody puts or erases it meanwhile, reading ends with Conflict ("changed while being read") or NotExist; what
// was read until then was of this revision.
type Object struct {
	Info
	// Value is the JSON of a typed object; nil for a file.
	Value []byte
	// Content is all that is sealed as the document's content, as JSON: for what other programs wrote.
	Content []byte

	agent  *Agent
	rev    coffer.Rev
	held   []byte // bytes of a small file, or the Value
	stream *seal.Stream
	chunks *seal.ChunkOpener

	mu     sync.Mutex // guards what ReadAt keeps
	raw    []byte
	plain  []byte
	index  uint64 // which chunk plain is
	filled bool
	size   int64 // of all chunks but the last; 0 until known
}

// Get returns what is at the path. NotExist if nothing is, Conflict if it is a folder, Corrupt if the vault answered
// with something else.
func (a *Agent) Get(ctx context.Context, path string) (*Object, error) {
	path, err := objectPath(path)
	if err != nil {
		return nil, err
	}
	r, err := a.lookup(ctx, path)
	if err != nil {
		return nil, err
	}
	if r.content.Type == TypeFolder {
		return nil, coffer.Errorf("get", coffer.Conflict, "a folder is there")
	}
	return a.object(r)
}

// GetID returns the object with this id, whoever wrote it: this owner, another one who shared it, or another program,
// whose Info may be empty but for ID, Sequence and Readers. What Info says can be believed only as far as Own says.
func (a *Agent) GetID(ctx context.Context, id coffer.ObjectID) (*Object, error) {
	r, err := a.current(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.pending() {
		return nil, notThere()
	}
	return a.object(r)
}

func (a *Agent) object(r *revision) (*Object, error) {
	o := &Object{Info: r.info(), Content: r.opened.Content, agent: a, rev: r.doc.Rev(), stream: r.opened.Stream}
	if c := r.content; c != nil {
		o.Value = c.Value
		if o.held = c.Data; c.Value != nil {
			o.held = c.Value
		}
	} else {
		o.held = r.opened.Content
	}
	if o.stream == nil {
		if r.own && int64(len(o.held)) != o.Size {
			return nil, coffer.Errorf("get", coffer.Corrupt, "not of its recorded size")
		}
		o.Size = int64(len(o.held))
		return o, nil
	}
	o.held = nil
	if o.stream.Bound() {
		if r.own && int64(o.stream.Size) != o.Size {
			return nil, coffer.Errorf("get", coffer.Corrupt, "not of its recorded size")
		}
		o.Size, o.size = int64(o.stream.Size), int64(o.stream.ChunkSize)
	} else {
		o.Size = -1 // the chunks will tell
	}
	var err error
	o.chunks, err = seal.NewChunkOpener(a.Keyring, r.opened)
	return o, err
}

// Open returns a reader of all bytes from the first to the last. If it ends with io.EOF, they were all there, and in
// order; what is read before an error is from the beginning of the same. The context is used for as long as it is read.
func (o *Object) Open(ctx context.Context) io.ReadCloser {
	if o.stream == nil {
		return io.NopCloser(bytes.NewReader(o.held))
	}
	get := func(ctx context.Context, dst []byte, index uint64) ([]byte, error) { return o.fetch(ctx, dst, index) }
	return io.NopCloser(&watched{ctx, o, seal.NewReader(ctx, o.chunks, get)})
}

// watched is a Reader that finds out why a chunk did not open.
type watched struct {
	ctx context.Context
	o   *Object
	r   *seal.Reader
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		err = w.o.explain(w.ctx, err)
	}
	return n, err
}

func (w *watched) WriteTo(to io.Writer) (int64, error) {
	n, err := w.r.WriteTo(to)
	if err != nil {
		err = w.o.explain(w.ctx, err)
	}
	return n, err
}

// ReadAt reads len(p) bytes from the offset on, or as many as there are, with io.EOF then. It fetches the chunks that
// they are in and keeps the last one.
func (o *Object) ReadAt(ctx context.Context, p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, coffer.Errorf("read", coffer.Invalid, "negative offset")
	}
	if len(p) == 0 {
		return 0, nil
	}
	if o.stream == nil {
		if offset >= int64(len(o.held)) {
			return 0, io.EOF
		}
		if n = copy(p, o.held[offset:]); n < len(p) {
			err = io.EOF
		}
		return n, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	size, err := o.chunkSize(ctx)
	if err != nil {
		return 0, err
	}
	for n < len(p) {
		index := uint64(offset / size)
		if index >= o.stream.Chunks {
			return n, io.EOF
		}
		if err := o.load(ctx, index); err != nil {
			return n, err
		}
		skip := offset - int64(index)*size
		if skip >= int64(len(o.plain)) {
			return n, io.EOF
		}
		k := copy(p[n:], o.plain[skip:])
		n, offset = n+k, offset+int64(k)
	}
	return n, nil
}

// load makes the chunk with the index the one that is kept. The caller holds the lock.
func (o *Object) load(ctx context.Context, index uint64) (err error) {
	if o.filled && o.index == index {
		return nil
	}
	o.filled = false
	if o.raw, o.plain, err = o.chunk(ctx, o.raw, o.plain, index); err == nil {
		o.index, o.filled = index, true
	}
	return err
}

// chunkSize returns the length of each chunk but the last. Other programs do not say; then the first chunk tells. The
// caller holds the lock.
func (o *Object) chunkSize(ctx context.Context) (int64, error) {
	if o.size == 0 && o.stream.Chunks > 0 {
		if err := o.load(ctx, 0); err != nil {
			return 0, err
		}
		o.size = int64(len(o.plain))
	}
	return max(1, o.size), nil
}

// WriteTo writes all bytes to their offsets in w, in any order, some chunks at once. Progress, if not nil, is called as
// in [PutOptions]. After an error, w holds some of the bytes.
func (o *Object) WriteTo(ctx context.Context, w io.WriterAt, progress func(done, total int64)) error {
	if progress == nil {
		progress = func(done, total int64) {}
	}
	if o.stream == nil {
		if _, err := w.WriteAt(o.held, 0); err != nil {
			return err
		}
		progress(o.Size, o.Size)
		return nil
	}
	var mu sync.Mutex
	var done int64
	return o.writeFrom(ctx, w, 0, func(_ uint64, plain []byte) error {
		mu.Lock()
		defer mu.Unlock()
		done += int64(len(plain))
		progress(done, o.Size)
		return nil
	})
}

// writeFrom writes the chunks from the first on to their offsets in w. Each one that was written is passed to written,
// by several goroutines at once; an error of it ends the rest.
func (o *Object) writeFrom(ctx context.Context, w io.WriterAt, first uint64,
	written func(index uint64, plain []byte) error) error {
	o.mu.Lock()
	size, err := o.chunkSize(ctx)
	o.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	var next atomic.Uint64
	next.Store(first)
	for range min(uint64(o.agent.Workers), o.stream.Chunks) {
		workers.Go(func() {
			var raw, plain []byte
			for ctx.Err() == nil {
				index := next.Add(1) - 1
				if index >= o.stream.Chunks {
					return
				}
				var err error
				if raw, plain, err = o.chunk(ctx, raw, plain, index); err == nil {
					_, err = w.WriteAt(plain, int64(index)*size)
				}
				if err == nil && int64(len(plain)) != size && index != o.stream.Chunks-1 {
					err = coffer.Errorf("read", coffer.Corrupt, "chunks differ in length")
				}
				if err == nil {
					err = written(index, plain)
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

// chunk returns the plaintext of a chunk. The two slices are used again and returned.
func (o *Object) chunk(ctx context.Context, raw, plain []byte, index uint64) ([]byte, []byte, error) {
	raw, err := o.fetch(ctx, raw[:0], index)
	if err == nil {
		plain, err = o.chunks.Open(ctx, plain[:0], raw, index)
	}
	if err != nil {
		return raw, plain, o.explain(ctx, err)
	}
	return raw, plain, nil
}

// maxRaw bounds a chunk as the vault keeps it.
const maxRaw = seal.MaxChunkSize + 2<<20

// fetch appends a chunk as the vault keeps it to dst.
func (o *Object) fetch(ctx context.Context, dst []byte, index uint64) ([]byte, error) {
	const op = "read"
	ref, r, err := o.agent.Vault.Chunk(ctx, o.ID, index)
	if err != nil {
		if errors.Is(err, coffer.NotExist) {
			err = coffer.Errorf(op, coffer.Corrupt, "a chunk is missing")
		}
		return dst, err
	}
	defer r.Close()
	if ref.Sequence != o.stream.Sequence || ref.Index != index || ref.Size < 0 || ref.Size > maxRaw {
		return dst, coffer.Errorf(op, coffer.Corrupt, "another chunk")
	}
	n := len(dst)
	dst = append(dst, make([]byte, ref.Size)...)
	switch _, err := io.ReadFull(r, dst[n:]); {
	case err == io.EOF, err == io.ErrUnexpectedEOF: // of a body that is whole; a broken connection is another error
		return dst, coffer.Errorf(op, coffer.Corrupt, "a chunk is cut short")
	case err != nil:
		return dst, err
	}
	return dst, nil
}

// explain tells a vault that answers wrongly from one whose owner wrote meanwhile.
func (o *Object) explain(ctx context.Context, err error) error {
	if !errors.Is(err, coffer.Corrupt) {
		return err
	}
	now, getErr := o.agent.current(ctx, o.ID)
	switch {
	case errors.Is(getErr, coffer.NotExist):
		return coffer.Errorf("read", coffer.NotExist, "erased while being read")
	case getErr != nil || now.doc.Sequence <= o.Sequence:
		return err
	case now.opened.Stream != nil && now.opened.Stream.Sequence == o.stream.Sequence:
		return err // only claimed, or shared: the chunks are still these
	}
	return coffer.Errorf("read", coffer.Conflict, "changed while being read; read again")
}
