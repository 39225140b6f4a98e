package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/lucene"
	"github.com/cofferhq/coffer/merge"
)

// A file is an object like others, its head, and parts, which are objects of the same kind: what holds for objects holds
// for them. That they belong together is sealed in each. doc/hub-sealing.md has the form.
const (
	partSize    = 384 << 10 // as much as an object's value holds, as base64, whoever sealed it
	maxParts    = 16 << 10  // so that their ids fit into the head, beside a value
	partsAtOnce = 3         // on their way to the hub
	partsPage   = 32        // that are listed at once: they are large
	partMember  = "part"    // of the meta of a part: true

	// MaxFile is how many bytes a file can have.
	MaxFile = maxParts * partSize
)

// orphaned is how long after the last part of a file its head is waited for.
const orphaned = 24 * time.Hour

// A FileInfo is what is known of the bytes of a file without reading them.
type FileInfo struct {
	Size int64
}

// A fileHead is what is sealed beside the value of a file.
type fileHead struct {
	ID    []byte `json:"id"` // random: 16 bytes
	Size  int64  `json:"size"`
	Parts []byte `json:"parts"` // their ids, one after the other
	Sum   []byte `json:"sum"`   // SHA-256 of the bytes
}

// A filePart is what is sealed beside the bytes of a part.
type filePart struct {
	ID    []byte `json:"id"` // of the head
	Index int    `json:"index"`
}

// valid reports whether a head has the form that it should have.
func (f *fileHead) valid() bool {
	return f.Size >= 0 && f.Size <= MaxFile && len(f.ID) == fileIDSize && len(f.Sum) == sha256.Size &&
		len(f.Parts) == f.count()*sha256.Size
}

const fileIDSize = 16

// count returns how many parts there are.
func (f *fileHead) count() int { return int((f.Size + partSize - 1) / partSize) }

// length returns how many bytes a part has.
func (f *fileHead) length(index int) int { return int(min(partSize, f.Size-int64(index)*partSize)) }

func (f *fileHead) part(index int) coffer.CommitRev {
	return coffer.CommitRev(f.Parts[index*sha256.Size:][:sha256.Size])
}

// isPart reports whether an object says that it is part of a file. The hub can see that.
func (r *record) isPart() bool { return metaOf(r.Created.Header.Meta).Part }

// partFilter returns a filter that leaves the parts of files out, or leaves them alone, for a hub that can.
func partFilter(wire Kind, filter string, parts bool) string {
	if wire.Interface != coffer.CollectionsInterface {
		return filter
	}
	also := "NOT meta." + partMember + ":true"
	if parts {
		also = "meta." + partMember + ":true"
	}
	if filter == "" {
		return also
	}
	if both := "(" + filter + ") AND " + also; len(both) <= lucene.MaxLength {
		return both
	}
	return filter
}

var errPublicFile = coffer.Errorf("put file", coffer.Invalid, "a file cannot be public")

// PutFile keeps what r reads, to its end, as a file: a new object with the value, and bytes. They are sealed like the
// value; o may be nil. The object is there once all of it is. What was written when it fails is removed, as far as the
// hub can be reached, and later by [Hub.Work]. A few parts of 384 KiB are in memory at a time.
//
// Invalid for what is no Collection, and for files that are to be public; Exhausted for more than [MaxFile] bytes, or a
// value that does not fit beside (48 KiB always do); else the errors of r and of [Hub.Put].
func (h *Hub) PutFile(ctx context.Context, k Kind, value any, r io.Reader, o *PutOptions) (coffer.CommitRev, error) {
	var none coffer.CommitRev
	if o == nil {
		o = &PutOptions{}
	}
	k, err := k.check()
	switch {
	case err != nil:
		return none, err
	case k.Interface != coffer.CollectionsInterface:
		return none, coffer.Errorf("put file", coffer.Invalid, "files are objects of Collections")
	case o.Public:
		return none, errPublicFile
	}
	text, err := encodeValue(value)
	if err != nil {
		return none, err
	}
	m, err := o.meta(nil)
	if err != nil {
		return none, err
	}
	part := &PutOptions{part: true}
	if intent := metaOf(m).Intent; intent != "" { // caches that leave out the one leave out the other
		if part.Meta, err = meta(nil, map[string]any{"cache-intent": intent}); err != nil {
			return none, err
		}
	}
	u := &upload{h: h, kind: k, salt: newSalt(), part: part, progress: o.Progress}
	var id coffer.CommitRev
	head, err := u.run(ctx, r)
	if err == nil {
		// Who may read the head by a key of its own reads the parts by the same: they have its salt.
		id, err = h.create(ctx, k, &inside{Value: text, File: head}, under(u.salt), o)
	}
	if err != nil {
		u.undo(ctx, id)
		return none, err
	}
	return id, nil
}

// An upload is a file being written.
type upload struct {
	h    *Hub
	kind Kind
	salt salt
	part *PutOptions
	ids  []*coffer.CommitRev // of what was or may have been written; zero: nothing was

	mu       sync.Mutex
	done     int64
	progress func(done int64)
}

// run writes the parts, and returns what the head is to say.
func (u *upload) run(ctx context.Context, r io.Reader) (*fileHead, error) {
	head, sum := &fileHead{ID: make([]byte, fileIDSize)}, sha256.New()
	rand.Read(head.ID)
	c, err := newCrew(ctx), error(nil)
	for err == nil && c.ctx.Err() == nil {
		b := make([]byte, partSize)
		var n int
		if n, err = io.ReadFull(r, b); n == 0 {
			break
		}
		if len(u.ids) == maxParts {
			err = coffer.Errorf("put file", coffer.Exhausted, "the file is too large for a hub")
			break
		}
		sum.Write(b[:n])
		head.Size += int64(n)
		index, id := len(u.ids), new(coffer.CommitRev)
		u.ids = append(u.ids, id)
		c.do(func(ctx context.Context) (err error) {
			*id, err = u.write(ctx, &filePart{head.ID, index}, b[:n])
			return err
		})
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err := errors.Join(err, c.wait()); err != nil {
		return nil, err
	}
	for _, id := range u.ids {
		head.Parts = append(head.Parts, id[:]...)
	}
	head.Sum = sum.Sum(nil)
	return head, nil
}

// write writes one part.
func (u *upload) write(ctx context.Context, p *filePart, b []byte) (coffer.CommitRev, error) {
	value, err := json.Marshal(b)
	if err != nil {
		return coffer.CommitRev{}, err
	}
	id, err := u.h.create(ctx, u.kind, &inside{Value: value, Part: p}, under(u.salt), u.part)
	if err == nil && u.progress != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.done += int64(len(b))
		u.progress(u.done)
	}
	return id, err
}

// undone is how long it is tried to remove what was written.
const undone = 30 * time.Second

// undo removes what was written, and what is not known to have been.
func (u *upload) undo(ctx context.Context, head coffer.CommitRev) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undone)
	defer cancel()
	if head != (coffer.CommitRev{}) && u.h.Remove(ctx, u.kind, head) == nil {
		return // with its parts
	}
	wire, err := u.h.wire(ctx, u.kind)
	if err != nil {
		return
	}
	c := newCrew(ctx)
	for _, id := range u.ids {
		if *id != (coffer.CommitRev{}) {
			c.do(func(ctx context.Context) error { return u.h.removePart(ctx, wire, *id) })
		}
	}
	_ = c.wait()
}

// removePart removes a part, if it is there, without fetching it.
func (h *Hub) removePart(ctx context.Context, wire Kind, id coffer.CommitRev) error {
	m, err := meta(nil, map[string]any{partMember: true}) // so that those who watch are not shown that it is gone
	if err != nil {
		return err
	}
	_, err = h.write(ctx, merge.Header{
		Interface: wire.Interface, Context: wire.Context, Type: wire.Type,
		Operation: merge.Delete, Strategy: merge.Basic, ObjectID: id.String(), Meta: m,
	}, []byte("{}"), nil, nil)
	if errors.Is(err, coffer.NotExist) {
		return nil
	}
	return err
}

// removeParts removes the parts of an object, if it is a file that one can open.
func (h *Hub) removeParts(ctx context.Context, k, wire Kind, r *record) error {
	if wire.Interface != coffer.CollectionsInterface || r.Deleted {
		return nil
	}
	// What it was created as counts, by who created it: who may only update it must not have others remove things.
	o := r.object(k)
	if _, _, err := h.openPayload(ctx, o, r.Created); err != nil || o.file == nil {
		if errors.Is(err, coffer.Corrupt) || errors.Is(err, coffer.Denied) {
			return nil
		}
		return err
	}
	c := newCrew(ctx)
	for from := 0; from < o.file.count() && c.ctx.Err() == nil; from += coffer.MaxQueryIDs {
		q := &coffer.ObjectQuery{
			Interface: wire.Interface, Context: wire.Context, Type: wire.Type, NoDeleted: true, Limit: coffer.MaxQueryIDs,
		}
		for i := from; i < min(from+coffer.MaxQueryIDs, o.file.count()); i++ {
			q.IDs = append(q.IDs, o.file.part(i))
		}
		p, err := h.o.Hub.Objects(ctx, h.o.Owner, q)
		if err != nil {
			return errors.Join(err, c.wait())
		}
		for _, part := range p.Objects {
			if part.CreatedBy == o.Author && metaOf(part.Meta).Part {
				c.do(func(ctx context.Context) error { return h.removePart(ctx, wire, part.ID) })
			}
		}
	}
	return c.wait()
}

// withParts returns ids of objects of a kind with those of the parts of the files among them. Exhausted if these are more
// than a grant can name.
func (h *Hub) withParts(ctx context.Context, k Kind, ids []coffer.CommitRev) ([]coffer.CommitRev, error) {
	if len(ids) == 0 || len(ids) > coffer.MaxQueryIDs || k.Interface != coffer.CollectionsInterface {
		return ids, nil
	}
	all := slices.Clone(ids)
	for o, err := range h.list(ctx, k, &coffer.ObjectQuery{IDs: ids, NoDeleted: true}, nil) {
		switch {
		case errors.Is(err, coffer.Corrupt):
			continue
		case err != nil:
			return nil, err
		case o.file == nil:
			continue
		}
		for i := range o.file.count() {
			if id := o.file.part(i); !slices.Contains(ids, id) {
				all = append(all, id)
			}
		}
		if len(all) > coffer.MaxQueryIDs {
			return nil, coffer.Errorf("grant", coffer.Exhausted, "the files are too large to be granted one by one: grant the kind")
		}
	}
	return all, nil
}

// files are the files of a kind: by each part that they should have, and whose it should be, the salt of the head.
type files map[wanted]salt

type wanted struct {
	part   coffer.CommitRev
	author string
}

// add adds an object, if it is a file.
func (f files) add(o *Object) {
	if o.file == nil {
		return
	}
	for i := range o.file.count() {
		f[wanted{o.file.part(i), o.Author}] = o.seal.salt
	}
}

// workOnParts seals the parts of files anew, with the salts of their heads, and removes those of which the head never
// came. It reports whether to go on.
func (h *Hub) workOnParts(ctx context.Context, r epochRecord, there files, p *Progress,
	yield func(Progress, error) bool) bool {
	type orphan struct {
		parts []coffer.CommitRev
		last  time.Time // when the last of them was written, as its author says
	}
	orphans := make(map[string]*orphan)
	q := &coffer.ObjectQuery{NoDeleted: true, Limit: partsPage}
	for o, err := range h.listed(ctx, p.Kind, q, nil, true) {
		if err != nil && !errors.Is(err, coffer.Corrupt) {
			return yield(*p, err)
		}
		p.Seen++
		switch {
		case err != nil:
			p.Left++
		case o.part == nil: // it only says so
		default:
			s, whole := there[wanted{o.ID, o.Author}]
			if !whole {
				s = o.seal.salt
				lost := orphans[string(o.part.ID)]
				if lost == nil {
					lost = new(orphan)
					orphans[string(o.part.ID)] = lost
				}
				lost.parts = append(lost.parts, o.ID)
				if o.CreatedAt.After(lost.last) {
					lost.last = o.CreatedAt
				}
			}
			// What was handed in waits for its head, whose salt it is to have.
			if (whole || o.seal.keyed) && (o.seal.stale(r.Epoch) || o.seal.salt != s) {
				o.seal = under(s)
				if err := h.renew(ctx, o); err != nil {
					return yield(*p, err)
				}
				p.Done++
			}
		}
		if !yield(*p, nil) {
			return false
		}
	}
	if p.Left > 0 {
		return true // what could not be opened may be a head
	}
	wire, err := h.wire(ctx, p.Kind)
	if err != nil {
		return yield(*p, err)
	}
	for _, lost := range orphans {
		if h.o.Now().Sub(lost.last) < orphaned {
			continue
		}
		for _, id := range lost.parts {
			if err := h.removePart(ctx, wire, id); err != nil {
				return yield(*p, err)
			}
		}
	}
	return true
}

// A crew does a few things at once, until one of them fails.
type crew struct {
	ctx    context.Context // ends with the first failure
	fail   context.CancelCauseFunc
	places chan struct{}
	work   sync.WaitGroup
}

func newCrew(ctx context.Context) *crew {
	c := &crew{places: make(chan struct{}, partsAtOnce)}
	c.ctx, c.fail = context.WithCancelCause(ctx)
	return c
}

// do has one thing done, when there is a place for it.
func (c *crew) do(f func(context.Context) error) {
	select {
	case c.places <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	c.work.Go(func() {
		defer func() { <-c.places }()
		if err := f(c.ctx); err != nil {
			c.fail(err)
		}
	})
}

// wait waits until all is done, and returns the first failure, or that the context has ended.
func (c *crew) wait() error {
	c.work.Wait()
	err := context.Cause(c.ctx)
	c.fail(nil)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = coffer.E("file", coffer.Unavailable, err)
	}
	return err
}

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
	return f, f.check()
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
