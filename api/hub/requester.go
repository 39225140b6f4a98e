package hub

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Requester is who asks a hub: one key of an identity that signs, and one that opens the answers.
type Requester interface {
	// DID returns the identity's identifier.
	DID() string
	// KeyID returns the id of the key that signs.
	KeyID() string
	// Algorithm returns the JWS algorithm of that key.
	Algorithm() string
	// SignInput signs the signing input of a JWS.
	SignInput(ctx context.Context, p coffer.Purpose, input []byte) ([]byte, error)
	// Reader returns the key that answers are encrypted to, and false if there is none: then only hubs can be asked that
	// encrypt to a key that comes with the request.
	Reader() (jose.CompactReader, bool)
}

// KeyringRequester returns the Requester of a keyring: it signs with its Ed25519 key, and opens with its X25519 key.
func KeyringRequester(k coffer.Keyring) Requester { return keyringRequester{k} }

type keyringRequester struct{ k coffer.Keyring }

func (r keyringRequester) DID() string       { return r.k.DID() }
func (r keyringRequester) KeyID() string     { return r.k.Key(coffer.SigningKey).ID }
func (r keyringRequester) Algorithm() string { return edDSA }

func (r keyringRequester) SignInput(ctx context.Context, p coffer.Purpose, input []byte) ([]byte, error) {
	return r.k.Sign(ctx, p, input)
}

func (r keyringRequester) Reader() (jose.CompactReader, bool) {
	return jose.CompactReader{
		KeyID: r.k.Key(coffer.AgreementKey).ID,
		Curve: jose.X25519,
		Agree: func(ephemeral []byte) ([]byte, error) { return r.k.Agree(context.Background(), ephemeral) },
	}, true
}

// SetRequester returns the Requester that signs with one key of a set. The same key opens answers if it can, as the
// published clients have it, else the first of the set that can.
func SetRequester(keys Keys, keyID string) Requester { return setRequester{keys, keyID} }

type setRequester struct {
	keys  Keys
	keyID string
}

func (r setRequester) DID() string       { return r.keys.DID() }
func (r setRequester) KeyID() string     { return r.keyID }
func (r setRequester) Algorithm() string { return r.keys.Algorithm(r.keyID) }

func (r setRequester) SignInput(ctx context.Context, p coffer.Purpose, input []byte) ([]byte, error) {
	return r.keys.SignInput(ctx, r.keyID, p, input)
}

func (r setRequester) Reader() (jose.CompactReader, bool) {
	if reader, ok := r.keys.Reader(r.keyID); ok {
		return reader, true
	}
	for _, id := range r.keys.KeyIDs() {
		if reader, ok := r.keys.Reader(id); ok {
			return reader, true
		}
	}
	return jose.CompactReader{}, false
}
