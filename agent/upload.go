package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
	"github.com/cofferhq/coffer/agent/tree"
)

// An uploadNote is how far an upload got.
type uploadNote struct {
	Total    int64     `json:"total"`
	Modified time.Time `json:"modified"`
	Claim    refJSON   `json:"claim"`
	Rev      base64url `json:"rev"` // of the claim
	New      bool      `json:"new,omitzero"`
	Progress base64url `json:"progress,omitempty"`
}

// An upload is a stream on its way into the vault.
//
// Chunks are put beside a revision that this upload made itself, the claim: what other uploads put is then never mixed
// with it, for whoever claims later makes the earlier one's chunks fail with Conflict. The claim shows what was there
// before; of a file that is new it shows nothing, and no folder names it yet. The closing revision names the new chunks,
// and the old ones go.
type upload struct {
	path  string
	note  uploadNote
	ref   seal.Ref // with the keys that it is to have
	claim *revision
	base  *seal.Stream
	there bool // something was at the path
}

// upload puts what does not fit into a document.
func (a *Agent) upload(ctx context.Context, path string, c *content, source io.Reader, s Source,
	o PutOptions) (i Info, err error) {
	var first bytes.Buffer
	if isText(c.MIME, c.Name) {
		source = io.TeeReader(source, &limited{&first, maxFullText})
	}
	resumable := s.Size >= 0 && !s.Modified.IsZero() && a.Journal != nil
	u, progress, err := a.claim(ctx, path, c.Type, s, o, resumable)
	if err != nil {
		return i, err
	}
	done, err := a.write(ctx, u, source, s.Size, o, resumable, progress)
	if err != nil {
		if !resumable && !u.there {
			// Nothing names it, and nobody can go on with it.
			_, _ = a.Vault.Apply(context.WithoutCancel(ctx), coffer.Write{Erase: u.claim.ref.ID})
		}
		return i, err
	}
	c.Size, c.text = int64(done.Size), textOf(&first)
	b, err := c.encode()
	if err != nil {
		return i, err
	}
	err = a.commit(ctx, func(ctx context.Context, t *txn) error {
		if err := u.still(ctx, t); err != nil {
			return err
		}
		i, err = t.put(ctx, path, u.ref, u.claim, c, seal.Plain{Content: b, Stream: done}, o)
		return err
	})
	if resumable && (err == nil || errors.Is(err, coffer.Conflict)) { // after a conflict it begins anew
		a.forget(ctx, noteUpload, path)
	}
	return i, err
}

// limited keeps the first bytes that are written to it.
type limited struct {
	to   *bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if n := min(len(p), l.most-l.to.Len()); n > 0 {
		l.to.Write(p[:n])
	}
	return len(p), nil
}

// write stores the chunks beside the claim.
func (a *Agent) write(ctx context.Context, u *upload, source io.Reader, size int64, o PutOptions, resumable bool,
	progress *stream.Progress) (*seal.Stream, error) {
	marks, err := a.Keyring.Derive(ctx, "coffer marks 2\x00"+a.Space)
	if err != nil {
		return nil, err
	}
	w := stream.WriteOptions{
		Vault: a.Vault, ID: u.claim.ref.ID, Set: u.claim.doc.Sequence, Source: source, Size: size, Base: u.base,
		MarkKey: [32]byte(marks), Workers: a.Workers, Progress: o.Progress, Resume: progress,
	}
	if resumable {
		w.Note = func(p stream.Progress) {
			if b, err := p.MarshalBinary(); err == nil {
				u.note.Progress = b
				a.save(context.WithoutCancel(ctx), noteUpload, u.path, u.note)
			}
		}
	}
	return stream.Write(ctx, w)
}

// claim begins the upload, or finds where it was interrupted.
func (a *Agent) claim(ctx context.Context, path, typ string, s Source, o PutOptions, resumable bool) (*upload,
	*stream.Progress, error) {
	if resumable {
		u, p, err := a.resume(ctx, path, s)
		if u != nil || err != nil {
			return u, p, err
		}
	}
	for attempt := 0; ; attempt++ {
		u, err := a.claimOnce(ctx, path, typ, o)
		if errors.Is(err, coffer.Conflict) && o.Over == nil && attempt < maxAttempts {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		u.note = uploadNote{
			Total: s.Size, Modified: s.Modified.UTC(), Claim: newRefJSON(u.claim.ref), Rev: u.claim.rev[:], New: !u.there,
		}
		return u, nil, nil
	}
}

func (a *Agent) claimOnce(ctx context.Context, path, typ string, o PutOptions) (*upload, error) {
	v, err := a.look(ctx)
	if err == nil {
		v, err = v.makeHead(ctx)
	}
	if err != nil {
		return nil, err
	}
	t := v.change()
	ref, there, err := t.target(ctx, path, typ, o.Over)
	if err != nil {
		return nil, err
	}
	u := &upload{path: path, there: there != nil}
	content := []byte("{}")
	var p seal.Plain
	var opts seal.ObjectOptions
	if there != nil {
		content, p.Stream, opts.Origin, opts.Keep = there.opened.Content, there.stream(), there.origin(), there.kept()
		// Chunks of another writer may stand behind marks that only seem to be the owner's.
		own := there.opened.Origin == nil && there.opened.Author == a.Keyring.DID()
		if ref == there.ref && p.Stream != nil && p.Stream.Native && own {
			u.base = p.Stream
		}
		u.ref, ref = ref, there.ref // until it is closed, those who could read it can
	} else {
		u.ref = ref
	}
	p.Content = content
	d, err := t.sealAs(ctx, ref, there, p, opts)
	if err != nil {
		return nil, err
	}
	changes, err := a.Vault.Apply(ctx, coffer.Write{Document: d})
	if err == nil {
		err = acknowledged([]coffer.Write{{Document: d}}, changes)
	}
	if err != nil {
		return nil, err
	}
	if err := a.wrote(changes); err != nil {
		return nil, err
	}
	if a.guest != nil {
		a.guest.meet(ref)
	}
	u.claim = &revision{ref: ref, doc: d, rev: d.Rev(), present: []coffer.Rev{d.Rev()},
		opened: &seal.Opened{Plain: p, Entries: opts.Keep}}
	return u, nil
}

// resume goes on with an upload of the same source if the claim that it had made is still what is there.
func (a *Agent) resume(ctx context.Context, path string, s Source) (*upload, *stream.Progress, error) {
	var n uploadNote
	if !a.load(ctx, noteUpload, path, &n) || n.Total != s.Size || !n.Modified.Equal(s.Modified) {
		return nil, nil, nil
	}
	ref, err := n.Claim.ref()
	if err != nil {
		return nil, nil, nil
	}
	if a.guest != nil {
		a.guest.meet(ref)
	}
	r, err := a.read(ctx, ref, nil)
	if errors.Is(err, coffer.NotExist) || errors.Is(err, coffer.Corrupt) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	if len(r.present) != 1 || string(r.rev[:]) != string(n.Rev) {
		return nil, nil, nil
	}
	u := &upload{path: path, note: n, ref: r.ref, claim: r, there: !n.New}
	if st := r.stream(); st != nil && st.Native {
		u.base = st
	}
	if n.Progress == nil {
		return u, nil, nil
	}
	var p stream.Progress
	if p.UnmarshalBinary(n.Progress) != nil {
		return nil, nil, nil
	}
	return u, &p, nil
}

// still makes sure that what the upload began with is what is there.
func (u *upload) still(ctx context.Context, t *txn) error {
	if t.a.single() {
		return nil // the claim is what was there, or the write is refused
	}
	n, err := t.tree.Get(ctx, u.path)
	switch {
	case errors.Is(err, coffer.NotExist) && !u.there:
		return nil
	case err != nil && !errors.Is(err, coffer.NotExist):
		return err
	case err != nil || !u.there || n.Ref.ID != u.claim.ref.ID:
		return coffer.Errorf("put", coffer.Conflict, "somebody else wrote meanwhile")
	}
	// Keys that are due since the upload began are those of the content, too.
	if due, err := t.tree.EpochFor(ctx, u.path); err != nil {
		return err
	} else if n.Epoch < due && u.ref.Key == n.Ref.Key {
		return coffer.Errorf("put", coffer.Conflict, "access was revoked meanwhile; put it again")
	}
	return nil
}

// stream returns the stream of a revision as the next one shall seal it; nil if there is none.
func (r *revision) stream() *seal.Stream {
	if r == nil || r.opened.Stream == nil {
		return nil
	}
	return r.opened.Stream.Settled()
}

// reupload stores the content of a file anew, under another key. Finish makes the revision with it part of a commit.
func (a *Agent) reupload(ctx context.Context, path string, o *Object,
	finish func(ctx context.Context, t *txn, n tree.Node, r *revision, s *seal.Stream) error) error {
	u, err := a.claimOnce(ctx, path, o.Type, PutOptions{})
	if err != nil {
		return err
	}
	u.base = nil
	full := *u.claim
	source, err := o.reader(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	done, err := a.write(ctx, u, source, o.Size, PutOptions{Progress: func(done, total int64) {}}, false, nil)
	if err != nil {
		return err
	}
	return a.commit(ctx, func(ctx context.Context, t *txn) error {
		if err := u.still(ctx, t); err != nil {
			return err
		}
		n, err := t.tree.Get(ctx, path)
		if err != nil {
			return err
		}
		r := full
		r.opened = o.revision.opened
		return finish(ctx, t, n, &r, done)
	})
}
