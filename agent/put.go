package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
)

// A Source is what is to be kept: the bytes of a file, or the value of a typed object.
type Source struct {
	// Reader gives the bytes, Size of them, or as many as there are if Size is negative. If it is an io.ReaderAt too,
	// it is read from offset 0 on, and an upload that goes on after an interruption skips what was sent already.
	Reader io.Reader
	Size   int64

	// Value is a JSON value, used when Reader is nil, and Type says what it is. It is kept without the spaces between its
	// parts. What is in it can be searched for.
	Value []byte
	Type  string // TypeFile if empty and there is no Value

	MIME     string
	Modified time.Time   // the present time if zero; then an interrupted upload starts anew
	Mode     fs.FileMode // permission bits are kept; 0 is not known
}

// PutOptions say how something is put.
type PutOptions struct {
	// Progress is called now and then with the bytes of a file that are stored and with its size, -1 when that is not
	// known; by one goroutine at a time.
	Progress func(done, total int64)
	// Over, if not nil, is what the caller believes to be at the path: with a zero ID, nothing. If something else is,
	// nothing is written and the error is Conflict.
	Over *Info
	// Share names readers who shall have it from the first moment on; see [Agent.Share]. Their links come with the Info.
	Share []ShareOptions

	// Foreign are other clients of encrypted data vaults who shall open the object. They stand in the envelope for the
	// vault to see.
	Foreign []coffer.PublicKey
	// Blind makes what it names findable at the vault, by equality and what it says else (doc/sealing.md); the vault
	// then sees which objects have something in common. Nil makes nothing findable there.
	Blind *seal.Blinder
}

// Put keeps the source under the path, in the place of what is there, and makes the folders that are missing. It
// returns once everything is durable; until then, readers get what was there before, whole.
//
// A file longer than [MaxInline] is stored in chunks, some of them on their way at once, in constant memory. Of a file
// that is there already in another state only the chunks are sent that differ. If that is interrupted and there is a
// Journal, the same call for a source of the same Size and Modified goes on where it stopped, as long as nobody else
// wrote to the path. It is for the caller to know that the same size and time mean the same bytes.
//
// Invalid for a path as [CleanPath] has it and for values beyond the bounds of this package; Conflict when a folder is
// at the path, or a file at the path of its folder, when somebody else writes to the path while chunks are being
// stored, and when the source has another length than it said.
func (a *Agent) Put(ctx context.Context, path string, s Source, o PutOptions) (Info, error) {
	path, err := a.objectPath(path)
	if err != nil {
		return Info{}, err
	}
	return a.put(ctx, path, s, o)
}

func (a *Agent) put(ctx context.Context, path string, s Source, o PutOptions) (Info, error) {
	c, err := s.content(tree.Base(path), a.Now())
	if err != nil {
		return Info{}, err
	}
	if o.Progress == nil {
		o.Progress = func(done, total int64) {}
	}
	if s.Reader == nil {
		return a.putWhole(ctx, path, c, o)
	}
	// One byte more than a document may hold tells whether it is enough.
	limit := int64(MaxInline + 1)
	if s.Size >= 0 && s.Size < limit {
		limit = s.Size + 1
	}
	reader := s.Reader
	at, skips := reader.(io.ReaderAt)
	if skips {
		reader = io.NewSectionReader(at, 0, math.MaxInt64)
	}
	first, err := io.ReadAll(io.LimitReader(reader, limit))
	if err != nil {
		return Info{}, err
	}
	if len(first) > MaxInline {
		if !skips {
			reader = io.MultiReader(bytes.NewReader(first), reader)
			return a.upload(ctx, path, c, reader, s, o)
		}
		return a.upload(ctx, path, c, io.NewSectionReader(at, 0, math.MaxInt64), s, o)
	}
	if s.Size >= 0 && int64(len(first)) != s.Size {
		return Info{}, coffer.Errorf("put", coffer.Conflict, "the source has another length than it said")
	}
	c.Data, c.Size = first, int64(len(first))
	i, err := a.putWhole(ctx, path, c, o)
	if err == nil {
		o.Progress(i.Size, i.Size)
	}
	return i, err
}

// putWhole stores what fits into a document.
func (a *Agent) putWhole(ctx context.Context, path string, c *content, o PutOptions) (i Info, err error) {
	b, err := c.encode()
	if err != nil {
		return i, err
	}
	err = a.commit(ctx, func(ctx context.Context, t *txn) error {
		ref, there, err := t.target(ctx, path, c.Type, o.Over)
		if err != nil {
			return err
		}
		i, err = t.put(ctx, path, ref, there, c, seal.Plain{Content: b}, o)
		return err
	})
	return i, err
}

// target returns where something of a type is to be stored for the path: the keys, and what is there now, nil if nothing
// is.
func (t *txn) target(ctx context.Context, path, typ string, over *Info) (ref seal.Ref, there *revision, err error) {
	if t.a.single() {
		return t.a.singleTarget(ctx, path, over)
	}
	n, err := t.tree.Get(ctx, path)
	switch {
	case errors.Is(err, coffer.NotExist):
		if over != nil && over.ID != (coffer.ObjectID{}) {
			return ref, nil, coffer.Errorf("put", coffer.Conflict, "something else is there")
		}
		return seal.NewRef(), nil, nil
	case err != nil:
		return ref, nil, err
	case n.Type == TypeFolder:
		return ref, nil, coffer.Errorf("put", coffer.Conflict, "a folder is there")
	}
	if there, err = t.a.readNode(ctx, t.view, n); err != nil {
		return ref, nil, gone(err)
	}
	if over != nil && (over.ID != n.Ref.ID || over.Sequence != there.doc.Sequence) {
		return ref, nil, coffer.Errorf("put", coffer.Conflict, "something else is there")
	}
	ref = n.Ref
	due, err := t.epochFor(ctx, path, n)
	if err != nil {
		return ref, nil, err
	}
	anew := n.Epoch < due
	if n.Type != typ && t.a.guest == nil { // who was granted the one type is not to read the other
		if _, err := t.tree.Get(ctx, typePath(n.Type)); err == nil {
			anew = true
		} else if !errors.Is(err, coffer.NotExist) {
			return ref, nil, err
		}
	}
	if anew {
		ref = ref.Renewed()
	}
	return ref, there, nil
}

// epochFor returns the epoch that the keys of an object at the path must have at least: where it stands, and in the
// folder of its type.
func (t *txn) epochFor(ctx context.Context, path string, n tree.Node) (uint64, error) {
	due, err := t.tree.EpochFor(ctx, path)
	if err != nil || t.a.guest != nil || tree.Within(path, reserved) {
		return due, err
	}
	n.Name = tree.Base(path)
	byType, err := t.tree.EpochFor(ctx, typePath(n.Type)+"/"+linkName(n))
	return max(due, byType), err
}

// put makes an object with this plaintext, in the place of what is there, part of the commit.
func (t *txn) put(ctx context.Context, path string, ref seal.Ref, there *revision, c *content, p seal.Plain,
	o PutOptions) (Info, error) {
	opts := seal.ObjectOptions{Time: t.now, Recipients: o.Foreign, Blind: o.Blind}
	if err := t.blind(ctx, path, c, there, &opts); err != nil {
		return Info{}, err
	}
	d, err := t.sealAs(ctx, ref, there, p, opts)
	if err != nil {
		return Info{}, err
	}
	t.write(ref, d)
	n := tree.Node{
		Ref: ref, Name: tree.Base(path), Type: c.Type, MIME: c.MIME, Size: c.Size, Modified: c.Modified, Mode: c.mode(),
		Sequence: d.Sequence, Rev: d.Rev(),
	}
	if t.a.single() { // its folder is the owner's
		i := infoOf(path, n)
		i.Author = t.a.Keyring.DID()
		return i, nil
	}
	if n.Epoch, err = t.epochFor(ctx, path, n); err != nil {
		return Info{}, err
	}
	if old, err := t.tree.Get(ctx, path); err == nil && old.Type != n.Type && t.a.guest == nil {
		if err := t.unlinked(ctx, old); err != nil {
			return Info{}, err
		}
	}
	if err := t.making(ctx, tree.FolderOf(path), func() error { return t.tree.Put(ctx, path, n) }); err != nil {
		return Info{}, err
	}
	i := infoOf(path, n)
	i.Author = t.a.Keyring.DID()
	if err := t.indexed(ctx, path, n, c, false); err != nil {
		return Info{}, err
	}
	for _, s := range o.Share {
		shared, err := t.share(ctx, path, s)
		if err != nil {
			return Info{}, err
		}
		i.Links = append(i.Links, shared.Link)
	}
	return i, nil
}

// MkdirAll makes the folder and those above it that are missing. That it is there already is no error; Conflict when
// something else is.
func (a *Agent) MkdirAll(ctx context.Context, path string) error {
	path, err := a.objectPath(path)
	if err != nil {
		return err
	}
	return a.commit(ctx, func(ctx context.Context, t *txn) error {
		if n, err := t.tree.Get(ctx, path); err == nil && n.Type == TypeFolder {
			return nil
		}
		if err := t.making(ctx, path, func() error { return t.tree.MakeFolder(ctx, path, t.now) }); err != nil {
			return err
		}
		_, err := t.indexFolders(ctx, path)
		return err
	})
}

// making notes which folders on the way to this one f makes.
func (t *txn) making(ctx context.Context, folder string, f func() error) error {
	var missing []string
	for _, p := range append(tree.Ancestors(folder), folder) {
		if p == "" {
			continue
		}
		if _, err := t.tree.Get(ctx, p); errors.Is(err, coffer.NotExist) {
			missing = append(missing, p)
		} else if err != nil {
			return err
		}
	}
	if err := f(); err != nil {
		return err
	}
	for _, p := range missing {
		n, err := t.tree.Get(ctx, p)
		if err != nil {
			return err
		}
		t.fresh[n.Ref.ID] = true
	}
	return nil
}

// readers returns the ids of the grants by which others read what is in a folder.
func (t *txn) readers(ctx context.Context, folder string) (map[string]bool, error) {
	by := make(map[string]bool)
	if folder == "" || t.a.guest != nil {
		return by, nil
	}
	chain, err := t.tree.Chain(ctx, folder)
	if err != nil {
		return nil, err
	}
	list, err := t.grants(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range chain {
		for _, g := range list.byScope[n.Ref.ID] {
			if g.lasts() {
				by[g.ID] = true
			}
		}
	}
	return by, nil
}

// Move gives what is at a path another one, with all that is in it if it is a folder; nothing is uploaded again. Folders
// that are missing are made. NotExist if nothing is there; Conflict if something is at the new path, or that is within
// the old one.
func (a *Agent) Move(ctx context.Context, from, to string) error {
	from, err := a.objectPath(from)
	if err != nil {
		return err
	}
	if to, err = a.objectPath(to); err != nil {
		return err
	}
	return a.commit(ctx, func(ctx context.Context, t *txn) error {
		before, err := t.readers(ctx, tree.FolderOf(from))
		if err != nil {
			return err
		}
		if err := t.making(ctx, tree.FolderOf(to), func() error { return t.tree.Move(ctx, from, to) }); err != nil {
			return err
		}
		if err := t.moved(ctx, to); err != nil {
			return err
		}
		// Who could read it where it was has its keys, and is not to use them where it is now.
		after, err := t.readers(ctx, tree.FolderOf(to))
		if err != nil {
			return err
		}
		for id := range before {
			if !after[id] {
				return t.withdraw(ctx, to)
			}
		}
		return nil
	})
}

// eraseBatch is how many objects are erased in one commit.
const eraseBatch = 256

// Remove erases what is at the path: no copy stays with the provider but in its backups. A folder that is not empty is a
// Conflict, unless recursive is set; then all that is in it goes first, and a call that was interrupted can be
// repeated. NotExist if there is nothing.
func (a *Agent) Remove(ctx context.Context, path string, recursive bool) error {
	path, err := a.objectPath(path)
	if err != nil {
		return err
	}
	return a.remove(ctx, path, recursive)
}

func (a *Agent) remove(ctx context.Context, path string, recursive bool) error {
	var folders []coffer.ObjectID
	if recursive {
		v, err := a.look(ctx)
		if err != nil {
			return err
		}
		if folders, err = v.folders(ctx, path); err != nil {
			return err
		}
	}
	for done := false; !done; {
		if err := a.commit(ctx, func(ctx context.Context, t *txn) error {
			n, err := t.tree.Get(ctx, path)
			if err != nil {
				return err
			}
			nodes := []tree.Node{n}
			if n.Type == TypeFolder && recursive {
				nodes, done, err = t.tree.Cut(ctx, path, eraseBatch)
			} else {
				done, err = true, t.tree.Remove(ctx, path)
			}
			if err != nil {
				return err
			}
			if err := t.removedAll(ctx, nodes); err != nil {
				return err
			}
			if done {
				for _, id := range folders {
					if err := t.over(ctx, id); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// folders returns the ids of the folder at the path, if there is one, and of those below it.
func (v *view) folders(ctx context.Context, path string) (ids []coffer.ObjectID, err error) {
	n, err := v.tree.Get(ctx, path)
	if err != nil || n.Type != TypeFolder {
		return nil, err
	}
	ids = append(ids, n.Ref.ID)
	for waiting := []string{path}; len(waiting) > 0; {
		next := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		for i, err := range v.list1(ctx, next) {
			if errors.Is(err, coffer.Corrupt) {
				break // what is in it cannot be told
			}
			if err != nil {
				return nil, err
			}
			if i.IsFolder() {
				ids, waiting = append(ids, i.ID), append(waiting, i.Path)
			}
		}
	}
	return ids, nil
}

// removedAll is removed for several nodes. If others may ever have written here, it erases only what can be replaced
// with the write key that stood with it: who writes a folder may name anything in it.
func (t *txn) removedAll(ctx context.Context, nodes []tree.Node) error {
	theirs, err := t.foreign(ctx, nodes)
	if err != nil {
		return err
	}
	for i, n := range nodes {
		if theirs[i] {
			continue
		}
		if err := t.removed(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// foreign returns which of the nodes name objects, or nothing, that their write keys are not of.
func (t *txn) foreign(ctx context.Context, nodes []tree.Node) ([]bool, error) {
	theirs := make([]bool, len(nodes))
	if t.a.guest != nil {
		return theirs, nil
	}
	list, err := t.grants(ctx)
	if err != nil || !slices.ContainsFunc(list.all, (*grantRecord).writes) {
		return theirs, err
	}
	errs := make([]error, len(nodes))
	t.a.several(len(nodes), func(i int) {
		n := nodes[i]
		if n.Type == TypeFolder {
			return
		}
		docs, err := t.a.Vault.Get(ctx, n.Ref.ID)
		if errors.Is(err, coffer.NotExist) {
			theirs[i] = true
			return
		}
		errs[i] = err
		theirs[i] = n.Ref.Write == seal.WriteKey{} || slices.ContainsFunc(docs, func(d *coffer.Document) bool {
			return d == nil || d.ID != n.Ref.ID || !d.Admits(coffer.WriteAccess, n.Ref.Write.Access(n.Ref.ID))
		})
	})
	return theirs, errors.Join(errs...)
}

// removed makes the end of what the tree does not name any more part of the commit.
func (t *txn) removed(ctx context.Context, n tree.Node) error {
	if n.Type != TypeFolder {
		t.eraseNode(n)
		if err := t.unlinked(ctx, n); err != nil {
			return err
		}
	}
	return t.over(ctx, n.Ref.ID)
}

// over makes part of the commit that an object or a folder is not found any more, and not granted.
func (t *txn) over(ctx context.Context, id coffer.ObjectID) error {
	if t.a.guest != nil {
		return nil
	}
	t.unfound(id)
	list, err := t.grants(ctx)
	if err != nil {
		return err
	}
	for _, g := range list.all {
		part := g.Source == id && id != coffer.ObjectID{}
		if !g.lasts() || g.Scope != id && !part {
			continue
		}
		if err := t.endGrant(ctx, g, removed); err != nil {
			return err
		}
		if part {
			if err := t.rekey(ctx, g); err != nil {
				return err
			}
		}
	}
	return nil
}
