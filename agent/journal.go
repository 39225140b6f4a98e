package agent

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// A note is how far an upload got. It is sealed like a document, to the owner alone, with the stream whose key it keeps
// and in the place of the claim.
type note struct {
	Path     string    `json:"path"`
	Total    int64     `json:"total"`
	Modified time.Time `json:"modified"`
	Claim    base64url `json:"claim"` // SHA-256 of the claim's body
	Done     uint64    `json:"done"`
}

// maxNote bounds a note that is read.
const maxNote = 16 << 10

// The kinds of notes, in their names.
const (
	noteUpload   = "coffer upload 1\x00"
	noteDownload = "coffer download 1\x00"
)

// noteName returns the name under which the note of a kind on something is kept: one that tells nothing of it.
func (a *Agent) noteName(ctx context.Context, kind, what string) (string, error) {
	sum := sha256.Sum256([]byte(what))
	mac, err := a.Keyring.MAC(ctx, append([]byte(kind), sum[:]...))
	return base64.RawURLEncoding.EncodeToString(mac), err
}

// sealNote seals a note like a document, to the owner alone and with a MAC.
func (a *Agent) sealNote(ctx context.Context, id coffer.ObjectID, sequence uint64, n any,
	s *seal.Stream) ([]byte, error) {
	content, err := jose.Encode(n)
	if err != nil {
		return nil, err
	}
	p := seal.Plain{Content: content, Stream: s}
	var m meta
	if m.MAC, err = a.mac(ctx, id, sequence, p, m); err != nil {
		return nil, err
	}
	if p.Meta, err = jose.Encode(m); err != nil {
		return nil, err
	}
	d, err := seal.Seal(ctx, a.Keyring, p, seal.Options{ID: id, Sequence: sequence})
	if err != nil {
		return nil, err
	}
	return d.Body, nil
}

// openNote reads what the journal keeps under the name into n. It returns nil when nothing is noted, or nothing that
// this owner noted: then things start anew.
func (a *Agent) openNote(ctx context.Context, name string, n any) (*seal.Opened, error) {
	b, err := a.Journal.Load(ctx, name)
	if err != nil || len(b) > maxNote {
		return nil, nil
	}
	d, err := edv.DecodeDocument(b)
	if err != nil {
		return nil, nil
	}
	noted, err := seal.Open(ctx, a.Keyring, d)
	if errors.Is(err, coffer.Corrupt) || errors.Is(err, coffer.Denied) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	_, own, err := a.authenticate(ctx, noted)
	if err != nil || !own || jose.Decode(noted.Content, n) != nil {
		return nil, err
	}
	return noted, nil
}

func (u *upload) note() note {
	sum := sha256.Sum256(u.claim.doc.Body)
	return note{
		Path: u.claim.content.Path, Total: u.total, Modified: u.content.Modified, Claim: sum[:], Done: u.done,
	}
}

// note tells the journal how far the upload is. A journal that fails does not end an upload.
func (a *Agent) note(ctx context.Context, u *upload) {
	u.noted = u.done
	if a.Journal == nil || !u.resumable {
		return
	}
	b, err := a.sealNote(ctx, u.claim.doc.ID, u.claim.doc.Sequence, u.note(), u.stream)
	if err != nil {
		return
	}
	if name, err := a.noteName(ctx, noteUpload, u.claim.content.Path); err == nil {
		_ = a.Journal.Save(ctx, name, b)
	}
}

// forget removes the note on a finished upload.
func (a *Agent) forget(ctx context.Context, u *upload) {
	if a.Journal == nil || !u.resumable {
		return
	}
	if name, err := a.noteName(ctx, noteUpload, u.claim.content.Path); err == nil {
		_ = a.Journal.Delete(ctx, name)
	}
}

// resume goes on with an upload of the same source if the claim that it had made is still what is there.
func (a *Agent) resume(ctx context.Context, p *place, u *upload) (bool, error) {
	if a.Journal == nil || !u.resumable || p.there == nil {
		return false, nil
	}
	name, err := a.noteName(ctx, noteUpload, p.path)
	if err != nil {
		return false, err
	}
	var n note
	noted, err := a.openNote(ctx, name, &n)
	if err != nil || noted == nil || noted.Stream == nil {
		return false, err
	}
	u.claim, u.stream, u.done, u.noted = p.there, noted.Stream, n.Done, n.Done
	want := u.note()
	same := n.Path == want.Path && n.Total == want.Total && n.Modified.Equal(want.Modified) &&
		string(n.Claim) == string(want.Claim) && noted.ID == p.there.doc.ID && noted.Sequence == p.there.doc.Sequence
	if !same {
		u.claim, u.stream, u.done, u.noted = nil, nil, 0, 0
	}
	return same, nil
}
