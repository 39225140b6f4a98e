package agent

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// A Revocation says what is to be revoked: the grant with the ID; or, when that is empty, all that With was granted of
// what is at the Path or below it.
type Revocation struct {
	Grant string
	Path  string
	With  string
	// Progress, if not nil, is called with the bytes of the object's file that are encrypted anew, and its size.
	Progress func(object coffer.ObjectID, done, total int64)
}

// Revoke takes back what was granted. First the capabilities are revoked: from the next request on the vault refuses
// them. Then each object is sealed anew, its file's content encrypted under a key that the former reader never had, to
// the owner and those whom another grant still covers, and to nobody else. What the reader has read stays read.
//
// A call that failed or was interrupted can be repeated, and finishes what was left. NotExist if there is no such
// grant.
func (a *Agent) Revoke(ctx context.Context, what Revocation) error {
	const op = "revoke"
	if a.Revoker == nil {
		return coffer.Errorf(op, coffer.Invalid, "no revoker")
	}
	matches, err := a.affected(ctx, what)
	if err != nil {
		return err
	}
	var ids []coffer.ObjectID
	var revoked []string // ids of grants
	for _, m := range matches {
		revoked = append(revoked, m.grant.ID)
		if err := a.cutOff(ctx, m.grant, m.objects); err != nil {
			return err
		}
		for _, i := range m.objects {
			if id := m.grant.Objects[i].ID; !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	if len(matches) == 0 {
		return coffer.Errorf(op, coffer.NotExist, "no such grant")
	}
	for _, id := range ids {
		progress := func(done, total int64) {
			if what.Progress != nil {
				what.Progress(id, done, total)
			}
		}
		if err := a.rekey(ctx, id, revoked, progress); err != nil && !errors.Is(err, coffer.NotExist) {
			return err
		}
	}
	return nil
}

// A match is a grant and which of its objects are meant.
type match struct {
	grant   *Grant
	objects []int
}

func (a *Agent) affected(ctx context.Context, what Revocation) (matches []match, err error) {
	path, err := CleanPath(what.Path)
	if err != nil {
		return nil, err
	}
	for g, err := range a.Grants(ctx) {
		if err != nil {
			return nil, err
		}
		if what.Grant != "" && g.ID != what.Grant || what.Grant == "" && (what.With == "" || g.With != what.With) {
			continue
		}
		m := match{grant: g}
		for i, o := range g.Objects {
			if what.Grant != "" || within(g.Path, path) {
				m.objects = append(m.objects, i)
				continue
			}
			// A part of what was granted: where the object is now decides.
			if !within(path, g.Path) {
				break
			}
			r, err := a.current(ctx, o.ID)
			if errors.Is(err, coffer.NotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if r.content != nil && within(r.content.Path, path) {
				m.objects = append(m.objects, i)
			}
		}
		if len(m.objects) > 0 {
			matches = append(matches, m)
		}
	}
	return matches, nil
}

// cutOff revokes the capabilities for some objects of a grant and records it.
func (a *Agent) cutOff(ctx context.Context, g *Grant, objects []int) error {
	now := a.Now().UTC()
	changed := false
	var failed error
	for _, i := range objects {
		o := &g.Objects[i]
		if !o.Revoked.IsZero() {
			continue
		}
		if now.Before(g.Until) { // what has ended is refused anyway
			err := a.Revoker.Revoke(ctx, o.Capability)
			if err != nil && !errors.Is(err, coffer.NotExist) {
				failed = errors.Join(failed, err)
				continue
			}
		}
		o.Revoked, changed = now, true
	}
	if changed {
		failed = errors.Join(failed, a.record(ctx, g))
	}
	return failed
}

// rekey seals the present revision of an object to those who may read it, if others can. revoked are the ids of the
// grants that are being revoked.
func (a *Agent) rekey(ctx context.Context, id coffer.ObjectID, revoked []string, progress func(done, total int64)) (err error) {
	for range maxAttempts {
		var r *revision
		if r, err = a.current(ctx, id); err != nil {
			return err
		}
		// What the one who is being revoked left is taken over, if it is still this object; else it stays as it is,
		// unbelieved. So does what somebody left who was revoked before: the provider may have let them write since.
		if !r.own {
			good := func(g *Grant, id coffer.ObjectID) bool { return g.covers(id) || slices.Contains(revoked, g.ID) }
			if ok, err := a.writtenUnder(ctx, r, good); err != nil || !ok {
				return err
			}
		}
		var readers []reader
		if readers, err = a.granted(ctx, id); err != nil {
			return err
		}
		outsider := func(r reader) bool {
			return !slices.ContainsFunc(readers, func(o reader) bool { return o.ID == r.ID })
		}
		if len(readers) == 0 {
			own := a.Keyring.Key(coffer.AgreementKey).ID
			outsider = func(r reader) bool { return r.ID != own }
		}
		if r.own && !r.meta.Rekey && !slices.ContainsFunc(r.meta.Readers, outsider) {
			return nil
		}
		d := draft{id: id, replaces: r, content: r.opened.Content, stream: r.opened.Stream, readers: readers}
		if d.stream == nil || d.stream.Pending {
			_, err = a.commit(ctx, d)
		} else {
			err = a.reencrypt(ctx, d, progress)
		}
		if !errors.Is(err, coffer.Conflict) {
			return err
		}
	}
	return err
}

// reencrypt stores a file's content again under a new key and puts the draft, which still has the old one, in its
// place.
func (a *Agent) reencrypt(ctx context.Context, d draft, progress func(done, total int64)) error {
	c, old := *d.replaces.content, d.stream
	stream, err := seal.NewStream(d.sequence(), old.ChunkSize)
	if err != nil {
		return err
	}
	u := &upload{content: &c, total: -1, stream: stream}
	if old.Bound() {
		u.total = int64(old.Size)
	}
	u.options.Progress = progress
	d.rekey = true
	if u.claim, err = a.commit(ctx, d); err != nil {
		return err
	}
	o, err := a.object(u.claim)
	if err != nil {
		return err
	}
	u.open = func(int64) (io.Reader, error) { return o.Open(ctx), nil }
	_, err = a.fill(ctx, u, func(ctx context.Context) (*revision, error) {
		return a.replace(ctx, &place{path: c.Path, there: u.claim}, &c, draft{stream: u.stream})
	})
	return err
}
