package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/api/edv"
)

// An Object is one revision of a file or typed object, to be read as often and in as many places at once as one likes.
// When somebody puts or erases it meanwhile, reading ends with Conflict ("changed while being read") or NotExist; what
// was read until then was of this revision.
type Object struct {
	Info
	// Value is the JSON of a typed object; nil for a file.
	Value []byte

	agent    *Agent
	revision *revision
	strict   bool   // others may know the key of the stream
	held     []byte // bytes of a small file, or the Value
	stream   *seal.Stream
	chunks   *stream.Reader
}

// Get returns what is at the path. NotExist if nothing is, Conflict if it is a folder, Corrupt if the vault answered
// with something else than was stored.
func (a *Agent) Get(ctx context.Context, path string) (*Object, error) {
	path, err := a.objectPath(path)
	if err != nil {
		return nil, err
	}
	return a.objectAt(ctx, path)
}

func (a *Agent) objectAt(ctx context.Context, path string) (*Object, error) {
	if a.guest != nil && !a.guest.folder {
		if path != "" {
			return nil, coffer.Errorf("get", coffer.NotExist, "nothing is there")
		}
		n, r, err := a.node(ctx)
		if err != nil {
			return nil, err
		}
		return a.object(ctx, path, n, r, true)
	}
	o, err := a.objectNow(ctx, path)
	if errors.Is(err, coffer.NotExist) && a.guest == nil {
		// Between the folder and the object, somebody may have erased both. A folder that still names an object that is
		// not there, though, is told apart.
		if _, err := a.Stat(ctx, path); err != nil {
			return nil, err
		}
		if o, err = a.objectNow(ctx, path); errors.Is(err, coffer.NotExist) {
			return nil, gone(err)
		}
		return o, err
	}
	return o, err
}

func (a *Agent) objectNow(ctx context.Context, path string) (o *Object, err error) {
	read := func(v *view) error {
		chain, err := v.tree.Chain(ctx, path)
		if err != nil {
			return err
		}
		n := chain[len(chain)-1]
		if n.Type == TypeFolder {
			return coffer.Errorf("get", coffer.Conflict, "a folder is there")
		}
		var above []coffer.ObjectID
		strict := a.guest != nil
		for _, c := range chain {
			above = append(above, c.Ref.ID)
			strict = strict || c.Shared
		}
		if !strict {
			if c, err := v.tree.Get(ctx, typePath(n.Type)); err == nil {
				strict = c.Shared
			} else if !errors.Is(err, coffer.NotExist) {
				return err
			}
		}
		r, err := a.readBelow(ctx, v, n, above)
		if err != nil {
			return err
		}
		o, err = a.object(ctx, path, n, r, strict)
		return err
	}
	if a.guest != nil {
		return o, a.try(ctx, func() error { return a.steady(ctx, read) })
	}
	return o, a.steady(ctx, read)
}

// readNode reads the present revision of what a folder names. NotExist if it was erased since the folder was read;
// Corrupt if the vault does not have it for another reason.
func (a *Agent) readNode(ctx context.Context, v *view, n tree.Node) (*revision, error) {
	r, err := a.readBelow(ctx, v, n, nil)
	if !errors.Is(err, coffer.NotExist) || a.guest != nil {
		return r, err
	}
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	if l, ok := a.feed.expects(n.Ref.ID); !a.feed.follows() || ok && l.rev == (coffer.Rev{}) {
		return nil, err
	}
	return nil, gone(err)
}

func (a *Agent) readBelow(ctx context.Context, v *view, n tree.Node, above []coffer.ObjectID) (*revision, error) {
	if d := v.sealed[n.Ref.ID]; d != nil { // the commit's own
		return a.open(ctx, n.Ref, nil, d)
	}
	r, err := a.read(ctx, n.Ref, v.writers(ctx, n.Ref, above))
	if err != nil {
		return nil, err
	}
	if err := a.replaceable(r); err != nil {
		return nil, err
	}
	// The folder says which revision its owner wrote last. A later one can be by somebody who may write the object alone,
	// or half of a longer change; an earlier one cannot be the present one.
	if r.doc.Sequence < n.Sequence || r.doc.Sequence == n.Sequence && r.rev != n.Rev {
		return nil, coffer.Errorf("object", coffer.Corrupt, "the vault shows an older state of an object than it did")
	}
	return r, nil
}

// replaceable checks that the write key in an entry is the object's. Whoever may write a folder could else name in it
// what he can only read, and have the owner replace it.
func (a *Agent) replaceable(r *revision) error {
	if a.guest != nil && r.ref.Write == (seal.WriteKey{}) {
		return nil // seen without write keys
	}
	if r.ref.Write == (seal.WriteKey{}) || !r.doc.Admits(coffer.WriteAccess, r.ref.Write.Access(r.ref.ID)) {
		return coffer.Errorf("object", coffer.Corrupt, "a folder names an object with a write key that is not the object's")
	}
	return nil
}

// kept returns the index entries that the next revision keeps.
func (r *revision) kept() []edv.Entry { return r.opened.Entries }

func (a *Agent) object(ctx context.Context, path string, n tree.Node, r *revision, strict bool) (*Object, error) {
	c, err := decodeContent(r.opened.Content)
	if err != nil {
		return nil, err
	}
	o := &Object{Info: infoOf(path, n), agent: a, revision: r, strict: strict, stream: r.opened.Stream}
	o.Sequence, o.Author = r.doc.Sequence, r.origin().Author
	o.Type, o.MIME, o.Size, o.Modified, o.Mode = c.Type, c.MIME, c.Size, c.Modified, c.mode()
	o.Value = c.Value
	if o.held = c.Data; c.Value != nil {
		o.held = c.Value
	}
	if o.stream == nil {
		if int64(len(o.held)) != o.Size {
			return nil, coffer.Errorf("get", coffer.Corrupt, "not of its recorded size")
		}
		return o, nil
	}
	o.held = nil
	if int64(o.stream.Size) != o.Size {
		return nil, coffer.Errorf("get", coffer.Corrupt, "not of its recorded size")
	}
	o.chunks, err = o.reader(ctx)
	return o, err
}

// reader returns a reader of the object's stream from its beginning.
func (o *Object) reader(ctx context.Context) (*stream.Reader, error) {
	return stream.NewReader(ctx, stream.ReadOptions{
		Vault: o.agent.Vault, ID: o.ID, Stream: o.stream, Strict: o.strict, Workers: o.agent.Workers, Changed: o.changed,
	})
}

// changed tells a vault that answers wrongly from one whose owner wrote meanwhile.
func (o *Object) changed(ctx context.Context) error {
	docs, err := o.agent.Vault.Get(ctx, o.ID)
	switch {
	case errors.Is(err, coffer.NotExist):
		return coffer.Errorf("read", coffer.NotExist, "erased while being read")
	case err != nil || len(docs) == 0 || docs[0].Sequence <= o.Sequence:
		return nil
	}
	now, err := o.agent.open(ctx, o.revision.ref, nil, docs...)
	if err == nil && now.opened.Stream != nil {
		before, err1 := o.stream.Settled().Digest()
		after, err2 := now.stream().Digest()
		if err1 == nil && err2 == nil && before == after {
			return nil // only claimed: the chunks are still these
		}
	}
	return coffer.Errorf("read", coffer.Conflict, "changed while being read; read again")
}

// Open returns a reader of all bytes from the first to the last. If it ends with io.EOF, they were all there, and in
// order; what is read before an error is from the beginning of the same. The context is used for as long as it is read.
func (o *Object) Open(ctx context.Context) io.ReadCloser {
	if o.stream == nil {
		return io.NopCloser(bytes.NewReader(o.held))
	}
	r, err := o.reader(ctx)
	if err != nil {
		return io.NopCloser(failing{err})
	}
	return r
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// ReadAt reads len(p) bytes from the offset on, or as many as there are, with io.EOF then. It fetches the chunks that
// they are in and keeps the last one.
func (o *Object) ReadAt(ctx context.Context, p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, coffer.Errorf("read", coffer.Invalid, "negative offset")
	}
	if len(p) == 0 {
		return 0, nil
	}
	if o.stream != nil {
		return o.chunks.ReadRange(ctx, p, offset)
	}
	if offset >= int64(len(o.held)) {
		return 0, io.EOF
	}
	if n = copy(p, o.held[offset:]); n < len(p) {
		err = io.EOF
	}
	return n, err
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
	return o.chunks.Each(ctx, first, func(number uint64, plain []byte) error {
		if _, err := w.WriteAt(plain, int64(number)*o.chunks.ChunkSize()); err != nil {
			return err
		}
		return written(number, plain)
	})
}
