package agent

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// A Door leads to vaults in which one has no rights yet, anywhere. The caller opens it: the agent dials nothing.
type Door interface {
	// Open returns an open object of the vault with the URL (doc/access.md). NotExist if there is none, or the secret is
	// another one.
	Open(ctx context.Context, vault string, id coffer.ObjectID, secret coffer.Secret) (*coffer.Document, error)
	// Drop leaves a message in the vault's inbox, by a capability that the keyring invokes.
	Drop(ctx context.Context, vault string, by coffer.Keyring, capability []byte, message *coffer.Document) error
}

// An openPlace is where something is left for whoever knows of the place: its key admits to the object and opens it.
type openPlace struct {
	ID  coffer.ObjectID
	Key [32]byte
}

func newOpenPlace() openPlace {
	p := openPlace{ID: coffer.NewObjectID()}
	rand.Read(p.Key[:])
	return p
}

func (p openPlace) derive(label string) [32]byte {
	b, err := hkdf.Key(sha256.New, p.Key[:], nil, "coffer open place 1\x00"+label, 32)
	if err != nil {
		panic("agent: HKDF refuses a fixed length")
	}
	return [32]byte(b)
}

func (p openPlace) ref() seal.Ref {
	return seal.Ref{ID: p.ID, Key: p.derive("object"), Write: p.derive("write")}
}

func (p openPlace) secret() coffer.Secret { return p.derive("open") }

// putOpen leaves content at an open place, instead of what is there.
func (a *Agent) putOpen(ctx context.Context, p openPlace, content []byte) (err error) {
	v, err := a.look(ctx)
	if err == nil {
		_, err = v.makeHead(ctx)
	}
	if err != nil {
		return err
	}
	secret := p.secret()
	for range maxAttempts {
		there, readErr := a.read(ctx, p.ref(), a.mine)
		if readErr != nil && !errors.Is(readErr, coffer.NotExist) {
			return readErr
		}
		d, err := a.seal(ctx, p.ref(), there, seal.Plain{Content: content},
			seal.ObjectOptions{Size: recordSize, Open: &secret})
		if err != nil {
			return err
		}
		var changes []coffer.Change
		if changes, err = a.Vault.Apply(ctx, coffer.Write{Document: d}); err == nil {
			return a.wrote(changes)
		}
		if !errors.Is(err, coffer.Conflict) {
			return err
		}
	}
	return err
}

// dropOpen removes what is at an open place. Nothing there is no error.
func (a *Agent) dropOpen(ctx context.Context, p openPlace) error {
	changes, err := a.Vault.Apply(ctx, coffer.Write{Erase: p.ID})
	if errors.Is(err, coffer.NotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return a.wrote(changes)
}

// readOpen returns what somebody left at an open place. Its author's signature has been verified; who the author is, is
// for the caller to judge.
func (a *Agent) readOpen(ctx context.Context, door Door, vault string, p openPlace) (*seal.Opened, error) {
	d, err := door.Open(ctx, vault, p.ID, p.secret())
	if err != nil {
		return nil, err
	}
	if d.ID != p.ID {
		return nil, coffer.Errorf("open", coffer.Corrupt, "the vault answered with another object")
	}
	o, err := seal.OpenObject(p.ref(), d)
	if err != nil {
		return nil, err
	}
	return o, a.checkAuthor(ctx, o)
}
