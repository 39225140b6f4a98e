package vault

import (
	"context"
	"errors"
	"io"

	"github.com/cofferhq/coffer"
)

// Opened returns an object that is open to who knows the secret, whoever is calling. Everything but a match is the one
// refusal to strangers: no such vault, no such object, one that is not open, and another secret.
//
// What is opened counts at the vault's rate, in a count of its own: what a secret is published for must not keep the
// owner out. What is not opened does not count, as strangers never do.
func (v *View) Opened(ctx context.Context, id coffer.ObjectID, secret coffer.Secret) (*coffer.Document, error) {
	admits, err := v.opens(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	d, err := v.present(ctx, id, admits)
	if err = v.opened(err); err != nil {
		return nil, err
	}
	return d, nil
}

// OpenedChunk returns a chunk of such an object.
func (v *View) OpenedChunk(
	ctx context.Context, id coffer.ObjectID, index uint64, secret coffer.Secret,
) (coffer.ChunkRef, io.ReadCloser, error) {
	admits, err := v.opens(ctx, id, secret)
	if err != nil {
		return coffer.ChunkRef{}, nil, err
	}
	ref, r, err := v.read(ctx, id, index, admits)
	if counted := v.opened(err); counted != nil {
		if err == nil {
			r.Close()
		}
		return coffer.ChunkRef{}, nil, counted
	}
	return ref, r, nil
}

// opens returns whether revisions of an object are open to who knows the secret.
func (v *View) opens(ctx context.Context, id coffer.ObjectID, secret coffer.Secret) (admission, error) {
	r, err := v.s.lookup(ctx, v.id)
	if errors.Is(err, coffer.NotExist) || err == nil && r.Erased {
		return nil, nothing()
	}
	if err != nil {
		return nil, err
	}
	return func(d *coffer.Document) bool { return d.Admits(coffer.OpenAccess, secret) }, nil
}

// opened counts what was opened, and makes one refusal of all that was not.
func (v *View) opened(err error) error {
	switch {
	case err == nil:
		return v.s.openings.take(v.id, v.s.now())
	case errors.Is(err, coffer.NotExist):
		return nothing()
	}
	return err
}
