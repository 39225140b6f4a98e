package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// What the first version of this program stored were documents of an encrypted data vault, each sealed to its readers'
// X25519 keys by [seal.Seal], with path and type in the content, a MAC of the owner's in the meta, and tags by which
// the vault found them. [Agent.Upgrade] moves that into the tree. This file reads that format, and nothing writes it.

// An Upgraded says what [Agent.Upgrade] did.
type Upgraded struct {
	Objects int            // files and typed objects that were moved
	Folders int            // folders
	Shares  []EarlierShare // what was shared: it is not any more, and is to be shared anew
	Renamed []string       // where something else was at the path of what was moved: the paths that it has instead
	Refused int            // objects that say that they are of this owner's, and are not as the owner left them
}

// An EarlierShare is a grant in the form of the first version.
type EarlierShare struct {
	Path    string
	With    string // identifier of the reader
	Actions []grant.Action
	Until   time.Time
}

// earlierContent is the content of an object in the form of the first version.
type earlierContent struct {
	Type     string         `json:"type"`
	Path     string         `json:"path"`
	Name     string         `json:"name"`
	Folder   string         `json:"folder"`
	MIME     string         `json:"mime,omitzero"`
	Size     int64          `json:"size"`
	Modified time.Time      `json:"modified,omitzero"`
	Mode     uint32         `json:"mode,omitzero"`
	Data     base64url      `json:"data,omitempty"`
	Value    jsontext.Value `json:"value,omitempty"`
}

// earlierMeta is its meta.
type earlierMeta struct {
	Readers []earlierReader `json:"readers,omitempty"`
	Rekey   bool            `json:"rekey,omitzero"`
	MAC     base64url       `json:"mac,omitempty"`
}

type earlierReader struct {
	ID    string    `json:"id"`
	Key   base64url `json:"key"`
	Until time.Time `json:"until,omitzero"`
}

// earlierGrant is the value of the record of a grant.
type earlierGrant struct {
	Path    string         `json:"path"`
	With    string         `json:"with"`
	Actions []grant.Action `json:"actions"`
	Until   time.Time      `json:"until"`
	Objects []struct {
		ID      coffer.ObjectID `json:"id"`
		Revoked time.Time       `json:"revoked,omitzero"`
	} `json:"objects"`
}

const (
	earlierGrantType   = "Grant"
	earlierGrantFolder = reserved + "/grants"
)

// earlierMAC returns the MAC by which the first version knew what the owner had written.
func (a *Agent) earlierMAC(ctx context.Context, o *seal.Opened, m earlierMeta) ([]byte, error) {
	m.MAC = nil
	noted, err := jose.Encode(m)
	if err != nil {
		return nil, coffer.E("upgrade", coffer.Invalid, err)
	}
	written, err := jose.Canonical(o.Content)
	if err != nil {
		written = o.Content
	}
	content, notes := sha256.Sum256(written), sha256.Sum256(noted)
	b := append(make([]byte, 0, 128), "coffer object 1\x00"...)
	b = append(b, o.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, o.Sequence)
	var s seal.Stream
	if o.Stream != nil {
		s = *o.Stream
	}
	b = binary.BigEndian.AppendUint64(b, s.Sequence)
	b = binary.BigEndian.AppendUint64(b, s.Size)
	b = binary.BigEndian.AppendUint64(b, uint64(s.ChunkSize))
	b = append(append(b, content[:]...), notes[:]...)
	return a.Keyring.MAC(ctx, b)
}

// An earlier is an object in the form of the first version, opened.
type earlier struct {
	opened  *seal.Opened
	content *earlierContent
	own     bool // the MAC is good
}

// earlier opens an object of the first version. Denied for everything that is something else.
func (a *Agent) earlier(ctx context.Context, d *coffer.Document) (*earlier, error) {
	const op = "upgrade"
	other := coffer.Errorf(op, coffer.Denied, "not an object of an earlier version")
	if d == nil || native(d) {
		return nil, other
	}
	o, err := seal.Open(ctx, a.Keyring, d)
	if isForeign(err) {
		return nil, other
	} else if err != nil {
		return nil, err
	}
	var c earlierContent
	if !o.Bound || jose.DecodeOpen(o.Content, &c) != nil {
		return nil, other
	}
	clean, err := tree.CleanPath(c.Path)
	if err != nil || clean != c.Path || clean == "" || c.Name != tree.Base(clean) || c.Folder != tree.FolderOf(clean) ||
		c.Type == "" || c.Size < 0 {
		return nil, other
	}
	e := &earlier{opened: o, content: &c}
	var m earlierMeta
	if jose.DecodeOpen(o.Meta, &m) != nil {
		return e, nil
	}
	mac, err := a.earlierMAC(ctx, o, m)
	if err != nil {
		return nil, err
	}
	e.own = subtle.ConstantTimeCompare(mac, m.MAC) == 1
	return e, nil
}

// isEarly reports whether the vault has objects of the first version, by one of them.
func (a *Agent) isEarly(ctx context.Context) (bool, error) {
	const attribute = "content.type"
	b, err := seal.NewBlinder(a.Keyring, seal.Index{Attributes: []string{attribute}})
	if err != nil {
		return false, err
	}
	q, err := b.Has(ctx, attribute)
	if err != nil {
		return false, err
	}
	q.Limit = 8
	n := 0
	for d, err := range a.Vault.Query(ctx, q) {
		if err != nil {
			return false, err
		}
		e, err := a.earlier(ctx, d)
		if err == nil && e.own {
			return true, nil
		}
		if err != nil && !errors.Is(err, coffer.Denied) {
			return false, err
		}
		if n++; n >= q.Limit {
			break
		}
	}
	return false, nil
}

// absent says what it means that a vault has no head: nothing when it never had one, Invalid when it was used by the
// first version, Corrupt when the head is lost.
func (a *Agent) absent(ctx context.Context, head coffer.ObjectID, err error) error {
	if _, known := a.feed.expects(head); known {
		return gone(err)
	}
	if a.feed.upgrading.Load() || a.feed.follows() && !a.feed.history.begun() {
		return nil
	}
	early, asked := a.isEarly(ctx)
	switch {
	case asked != nil:
		return asked
	case early:
		return coffer.Errorf("head", coffer.Invalid, "the vault is of an earlier format; upgrade it")
	case !a.feed.follows():
		return nil // it cannot be told
	}
	// Other clients may have used the vault. The history says whether there ever was a head: all of it, for this device
	// may not have been there from the beginning, or not remember.
	c := &check{Agent: a, accepted: make(map[coffer.ObjectID]accepted)}
	fault := gone(err)
	c.yield = func(f Finding) bool { fault = f.Err; return false }
	if err := c.history(ctx); errors.Is(err, errStopped) {
		return fault
	} else if err != nil {
		return err
	}
	if _, had := c.accepted[head]; had {
		return gone(err)
	}
	return nil
}

// Upgrade moves what the first version of this program stored into the tree: each object is stored anew, under keys
// that nobody had, and then erased in its old form. It may be interrupted at any time, and goes on with the next call.
// Nothing that the owner did not write, or somebody by an unrevoked grant to write, is moved; documents of other
// programs are left alone. Progress, if not nil, is told of how many objects of how many are done.
//
// What was shared is not any more: the result says what it was. Where something else is at the path already, what is
// moved gets another one.
func (a *Agent) Upgrade(ctx context.Context, progress func(done, total int)) (*Upgraded, error) {
	if a.guest != nil {
		return nil, coffer.Errorf("upgrade", coffer.Invalid, "needs a vault of one's own")
	}
	if progress == nil {
		progress = func(done, total int) {}
	}
	a.feed.upgrading.Store(true)
	defer a.feed.upgrading.Store(false)
	if _, err := a.look(ctx); err != nil {
		return nil, err
	}
	u := &upgrade{Agent: a, writers: make(map[coffer.ObjectID]bool)}
	if err := u.survey(ctx); err != nil {
		return nil, err
	}
	total := len(u.objects) + len(u.folders)
	for i, id := range slices.Concat(u.folders, u.objects) {
		progress(i, total)
		if err := u.move(ctx, id); err != nil {
			return nil, err
		}
	}
	// The old folders go last, so that nothing is ever without one; and the records of grants, so that a call that goes
	// on still has them.
	for _, ids := range [][]coffer.ObjectID{u.folders, u.grants} {
		if err := u.erase(ctx, ids); err != nil {
			return nil, err
		}
	}
	progress(total, total)
	return &u.done, nil
}

// An upgrade is one call of Upgrade.
type upgrade struct {
	*Agent
	done             Upgraded
	folders, objects []coffer.ObjectID
	grants           []coffer.ObjectID
	writers          map[coffer.ObjectID]bool // objects that somebody else may write
}

// survey goes through all documents and finds what is to be moved.
func (u *upgrade) survey(ctx context.Context) error {
	type folder struct {
		id   coffer.ObjectID
		path string
	}
	var folders []folder
	var last coffer.ObjectID
	for d, err := range u.Vault.Query(ctx, coffer.Query{}) {
		if err != nil {
			return err
		}
		if d == nil || bytes.Compare(d.ID[:], last[:]) <= 0 && last != (coffer.ObjectID{}) {
			return coffer.Errorf("upgrade", coffer.Corrupt, "the vault answered out of order, or twice")
		}
		last = d.ID
		e, err := u.earlier(ctx, d)
		if errors.Is(err, coffer.Denied) {
			continue
		} else if err != nil {
			return err
		}
		switch {
		case !e.own:
			u.objects = append(u.objects, d.ID) // if a grant says so
		case e.content.Type == TypeFolder:
			folders = append(folders, folder{d.ID, e.content.Path})
		case e.content.Type == earlierGrantType && e.content.Folder == earlierGrantFolder:
			var g earlierGrant
			if jose.DecodeOpen(e.content.Value, &g) != nil {
				u.done.Refused++
				continue
			}
			u.grants = append(u.grants, d.ID)
			lasts := false
			for _, o := range g.Objects {
				if o.Revoked.IsZero() {
					lasts = true
					u.writers[o.ID] = u.writers[o.ID] || slices.Contains(g.Actions, grant.Write)
				}
			}
			if lasts && u.Now().Before(g.Until) {
				u.done.Shares = append(u.done.Shares, EarlierShare{g.Path, g.With, g.Actions, g.Until})
			}
		default:
			u.objects = append(u.objects, d.ID)
		}
	}
	slices.SortFunc(folders, func(x, y folder) int { return strings.Compare(x.path, y.path) })
	for _, f := range folders {
		u.folders = append(u.folders, f.id)
	}
	return nil
}

// move stores one object anew, and erases it in its old form if it is no folder.
func (u *upgrade) move(ctx context.Context, id coffer.ObjectID) error {
	docs, err := u.Vault.Get(ctx, id)
	if errors.Is(err, coffer.NotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if len(docs) != 1 || docs[0] == nil || docs[0].ID != id {
		return coffer.Errorf("upgrade", coffer.Corrupt, "the vault answered with another object")
	}
	e, err := u.earlier(ctx, docs[0])
	if errors.Is(err, coffer.Denied) {
		return nil
	} else if err != nil {
		return err
	}
	c := e.content
	switch {
	case !e.own && (!u.writers[id] || c.Type == TypeFolder || c.Type == earlierGrantType || tree.Within(c.Path, reserved)):
		if u.claims(ctx, docs[0], e) {
			u.done.Refused++
		}
		return nil
	case c.Type == TypeFolder:
		u.done.Folders++
		return u.folder(ctx, c.Path)
	case tree.Within(c.Path, reserved):
		u.done.Refused++
		return nil
	case e.opened.Stream != nil && e.opened.Stream.Pending:
		return u.erase(ctx, []coffer.ObjectID{id}) // an upload that was never completed
	}
	if err := u.put(ctx, docs[0], e); err != nil {
		return err
	}
	u.done.Objects++
	return u.erase(ctx, []coffer.ObjectID{id})
}

// claims reports whether a document bears a tag of the owner's that only the first version made, so that it is, or was,
// the owner's.
func (u *upgrade) claims(ctx context.Context, d *coffer.Document, e *earlier) bool {
	const attribute = "content.path"
	b, err := seal.NewBlinder(u.Keyring, seal.Index{Attributes: []string{attribute}})
	if err != nil {
		return false
	}
	q, err := b.Equals(ctx, map[string]any{attribute: e.content.Path})
	if err != nil {
		return false
	}
	return slices.ContainsFunc(d.Tags, func(t coffer.Tag) bool {
		value, ok := q.Equals[0][t.Name]
		return ok && t.Key == q.Index && t.Value == value && t.Unique
	})
}

// folder makes a folder. Something else at its path is left there.
func (u *upgrade) folder(ctx context.Context, path string) error {
	err := u.MkdirAll(ctx, path)
	if errors.Is(err, coffer.Conflict) {
		return nil // what is in it finds another name, too
	}
	return err
}

// put stores an object in the tree. If it is there already, because an earlier call was interrupted, nothing happens.
func (u *upgrade) put(ctx context.Context, d *coffer.Document, e *earlier) error {
	c := e.content
	source, err := u.source(ctx, d, e)
	if err != nil {
		return err
	}
	for n, path := 0, c.Path; n < 100; n++ {
		there, err := u.Stat(ctx, path)
		if errors.Is(err, coffer.NotExist) {
			_, err = u.Put(ctx, path, source, PutOptions{Over: &Info{}})
			if err == nil && path != c.Path {
				u.done.Renamed = append(u.done.Renamed, path)
			}
			if !errors.Is(err, coffer.Conflict) {
				return err
			}
		} else if err != nil && !errors.Is(err, coffer.Conflict) {
			return err
		}
		if err == nil && there.Type == c.Type && there.Size == c.Size && there.Modified.Equal(c.Modified) {
			same, err := u.same(ctx, path, source)
			if err != nil {
				return err
			}
			if same {
				return nil
			}
			// What the source has was read: it is needed from its beginning again.
			if source, err = u.source(ctx, d, e); err != nil {
				return err
			}
		}
		path = strings.ReplaceAll(c.Path, "/", " ") + " (before the upgrade)"
		if n > 0 {
			path += " " + string(rune('a'+n%26))
		}
	}
	return coffer.Errorf("upgrade", coffer.Conflict, "something else is wherever an object could be moved")
}

// same reports whether what is at the path has the bytes of the source.
func (u *upgrade) same(ctx context.Context, path string, s Source) (bool, error) {
	o, err := u.Get(ctx, path)
	if err != nil {
		return false, err
	}
	if s.Reader == nil {
		before, err1 := jose.Canonical(s.Value)
		now, err2 := jose.Canonical(o.Value)
		return err1 == nil && err2 == nil && bytes.Equal(before, now), nil
	}
	sum, now := sha256.New(), sha256.New()
	if _, err := io.Copy(sum, s.Reader); err != nil {
		return false, err
	}
	r := o.Open(ctx)
	defer r.Close()
	if _, err := io.Copy(now, r); err != nil {
		return false, err
	}
	return bytes.Equal(sum.Sum(nil), now.Sum(nil)), nil
}

// source returns what an object of the first version holds.
func (u *upgrade) source(ctx context.Context, d *coffer.Document, e *earlier) (Source, error) {
	c := e.content
	s := Source{Type: c.Type, MIME: c.MIME, Modified: c.Modified, Mode: fs.FileMode(c.Mode).Perm(), Size: c.Size}
	switch {
	case e.opened.Stream == nil && c.Value != nil:
		s.Value = c.Value
	case e.opened.Stream == nil:
		if int64(len(c.Data)) != c.Size {
			return s, coffer.Errorf("upgrade", coffer.Corrupt, "an object is not of its recorded size")
		}
		s.Reader = bytes.NewReader(c.Data)
	default:
		if int64(e.opened.Stream.Size) != c.Size {
			return s, coffer.Errorf("upgrade", coffer.Corrupt, "an object is not of its recorded size")
		}
		opener, err := seal.NewChunkOpener(u.Keyring, e.opened)
		if err != nil {
			return s, err
		}
		s.Reader = seal.NewReader(ctx, opener, func(ctx context.Context, dst []byte, index uint64) ([]byte, error) {
			return fetchChunk(ctx, u.Vault, d.ID, dst, index)
		})
	}
	return s, nil
}

// fetchChunk appends the raw chunk with this index to dst.
func fetchChunk(ctx context.Context, v coffer.Vault, id coffer.ObjectID, dst []byte, index uint64) ([]byte, error) {
	ref, r, err := v.Chunk(ctx, id, index)
	if err != nil {
		return nil, gone(err)
	}
	defer r.Close()
	if ref.Size < 0 || ref.Size > 2*seal.MaxChunkSize {
		return nil, coffer.Errorf("read", coffer.Corrupt, "a chunk has an impossible size")
	}
	b := bytes.NewBuffer(dst)
	if n, err := io.Copy(b, io.LimitReader(r, ref.Size+1)); err != nil {
		return nil, err
	} else if n != ref.Size {
		return nil, coffer.Errorf("read", coffer.Corrupt, "a chunk is not of its size")
	}
	return b.Bytes(), nil
}

// erase erases documents, some at a time.
func (u *upgrade) erase(ctx context.Context, ids []coffer.ObjectID) error {
	for chunk := range slices.Chunk(ids, eraseBatch) {
		writes := make([]coffer.Write, len(chunk))
		for i, id := range chunk {
			writes[i] = coffer.Write{Erase: id}
		}
		changes, err := u.Vault.Apply(ctx, writes...)
		if errors.Is(err, coffer.NotExist) && len(chunk) > 1 {
			for _, id := range chunk { // some are gone already
				if err := u.erase(ctx, []coffer.ObjectID{id}); err != nil {
					return err
				}
			}
			continue
		}
		if errors.Is(err, coffer.NotExist) {
			continue
		}
		if err == nil {
			err = acknowledged(writes, changes)
		}
		if err == nil {
			err = u.wrote(changes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
