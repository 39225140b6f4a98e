package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"

	"github.com/cofferhq/coffer"
)

// A File is the bytes of an object, for one goroutine to read. What is read was checked: it is what the author of the
// object wrote there. What does not hold is Corrupt; after other errors reading can go on. Whoever reads all from the
// beginning on has the last part only if the sum over all is right, too.
type File struct {
	Object *Object // whose bytes they are

	h      *Hub
	wire   Kind
	ctx    context.Context // of Read, whose callers have none to give
	at     int64
	part   []byte // the one that was read last; nil: none
	index  int
	next   *coming
	sum    hash.Hash
	summed int // so many parts went into sum
	failed error
}

// A coming part is on its way.
type coming struct {
	index  int
	cancel context.CancelFunc
	done   chan struct{} // closed when the others are set
	part   []byte
	err    error
}

// OpenFile returns the bytes of an object that is a file, for the caller to close. ctx is for reading, too. Invalid when
// the object is no file, NotExist when it was removed; else the errors of [Hub.Object]. While one part is being read,
// the next is fetched; no more is in memory.
func (h *Hub) OpenFile(ctx context.Context, k Kind, id coffer.CommitRev) (*File, error) {
	o, err := h.Object(ctx, k, id)
	switch {
	case err != nil:
		return nil, err
	case o.Deleted:
		return nil, coffer.Errorf("open file", coffer.NotExist, "the object was removed")
	case o.file == nil:
		return nil, coffer.Errorf("open file", coffer.Invalid, "the object is no file")
	}
	wire, err := h.wire(ctx, o.Kind)
	if err != nil {
		return nil, err
	}
	f := &File{Object: o, h: h, wire: wire, ctx: ctx, sum: sha256.New()}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// Read implements [io.Reader].
func (f *File) Read(b []byte) (int, error) {
	switch {
	case f.failed != nil:
		return 0, f.failed
	case len(b) == 0:
		return 0, nil
	case f.at >= f.Object.File.Size:
		return 0, io.EOF
	}
	if index := int(f.at / partSize); f.part == nil || f.index != index {
		if err := f.load(index); err != nil {
			return 0, err
		}
	}
	n := copy(b, f.part[f.at%partSize:])
	f.at += int64(n)
	return n, nil
}

// Seek implements [io.Seeker].
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.Object.File.Size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, coffer.Errorf("seek", coffer.Invalid, "not a place in the file")
	}
	f.at = offset
	return offset, nil
}

// Close ends reading.
func (f *File) Close() error {
	f.stop()
	f.part, f.failed = nil, fs.ErrClosed
	return nil
}

// load makes a part the one that is read, and fetches the next.
func (f *File) load(index int) (err error) {
	var part []byte
	if f.next != nil && f.next.index == index {
		<-f.next.done
		part, err = f.next.part, f.next.err
		f.stop()
	} else {
		f.stop()
		part, err = f.fetch(f.ctx, index)
	}
	if err != nil {
		return err
	}
	if index == f.summed {
		f.sum.Write(part)
		f.summed++
		if err := f.check(); err != nil {
			return err
		}
	}
	f.part, f.index = part, index
	if index++; index < f.Object.file.count() {
		ctx, cancel := context.WithCancel(f.ctx)
		c := &coming{index: index, cancel: cancel, done: make(chan struct{})}
		go func() {
			defer close(c.done)
			c.part, c.err = f.fetch(ctx, index)
		}()
		f.next = c
	}
	return nil
}

// check compares the sum when all parts went into it.
func (f *File) check() error {
	if f.summed == f.Object.file.count() && !bytes.Equal(f.sum.Sum(nil), f.Object.file.Sum) {
		f.failed = corrupt("the parts of a file are not what was written")
	}
	return f.failed
}

// stop waits for what is on its way, and drops it.
func (f *File) stop() {
	if f.next != nil {
		f.next.cancel()
		<-f.next.done
		f.next = nil
	}
}

// fetch returns the bytes of a part. Its id is the hash of the commit that created it, so nobody can make another of
// this id; what was written over it counts only if the owner has sealed it anew.
func (f *File) fetch(ctx context.Context, index int) ([]byte, error) {
	head := f.Object.file
	r, err := f.h.one(ctx, f.wire, head.part(index))
	switch {
	case errors.Is(err, coffer.NotExist):
		return nil, corrupt("a part of a file is missing")
	case err != nil:
		return nil, err
	case r.Deleted:
		return nil, coffer.Errorf("read", coffer.NotExist, "a part of the file was removed")
	}
	o, err := f.h.open(ctx, f.Object.Kind, r)
	if err != nil {
		return nil, err
	}
	var b []byte
	if o.part == nil || !bytes.Equal(o.part.ID, head.ID) || o.part.Index != index ||
		o.Author != f.Object.Author || o.UpdatedBy != f.Object.Author ||
		json.Unmarshal(o.Value, &b) != nil || len(b) != head.length(index) {
		return nil, corrupt("not the part that the file has there")
	}
	return b, nil
}
