package ident

import (
	"context"
	"strings"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/cofferhq/coffer"
)

// A verifier holds an Ed25519 key as a table of its multiples, which halves the cost of checking a signature.
type verifier struct{ key *ed25519.ExpandedPublicKey }

// Verify accepts exactly the signatures that crypto/ed25519 accepts: two checkers that differ on odd keys or signatures
// would let one node refuse what another has let in.
func (v *verifier) Verify(message, signature []byte) bool {
	return ed25519.VerifyExpandedWithOptions(v.key, message, signature, &ed25519.Options{
		Verify: ed25519.VerifyOptionsStdLib,
	})
}

// Key returns the verifier of the key that keyID names, an identifier with a fragment, provided that its owner's
// document lists the key for the purpose: coffer.Invocation, coffer.Delegation, coffer.Authentication or
// coffer.Assertion. Only Ed25519 keys verify here; others are Invalid, as are malformed ids and unknown purposes.
// NotExist when the document has no such key, Denied when it has it, but not for this purpose; for the rest as Resolve.
//
// For a did:key and a bare key it is a pure function.
func (r *Resolver) Key(ctx context.Context, keyID string, p coffer.Purpose) (coffer.Verifier, error) {
	if v, ok := r.named(keyID, p); ok {
		return v, nil
	}
	k, err := r.listed(ctx, keyID, p)
	if err != nil {
		return nil, err
	}
	if k.Type != Ed25519 {
		return nil, coffer.Errorf("key", coffer.Invalid, "signatures by keys of this kind are not checked here")
	}
	return r.verifier(key{k.Type, k.Public})
}

// named returns the verifier of an Ed25519 key that names itself, which is good for all purposes.
func (r *Resolver) named(keyID string, p coffer.Purpose) (coffer.Verifier, bool) {
	id, fragment, _ := strings.Cut(keyID, "#")
	// Verifiers of other kinds are kept too, by names that do not begin so.
	if !strings.HasPrefix(fragment, "z") || len(keyID) > maxID || strings.TrimPrefix(id, "did:key:") != fragment ||
		!known(p) {
		return nil, false
	}
	if v, ok := r.verifiers.Get(fragment); ok {
		return v, true
	}
	k, err := parseMultikey(fragment)
	if err != nil || k.kind != Ed25519 {
		return nil, false
	}
	v, err := r.verifier(k)
	return v, err == nil
}

// listed returns the key that keyID names, if its owner's document lists it for the purpose.
func (r *Resolver) listed(ctx context.Context, keyID string, p coffer.Purpose) (coffer.PublicKey, error) {
	if !known(p) {
		return coffer.PublicKey{}, coffer.Errorf("key", coffer.Invalid, "unknown purpose")
	}
	identity, err := r.owner(ctx, keyID)
	if err != nil {
		return coffer.PublicKey{}, err
	}
	if k, ok := find(keyID, listFor(identity, p)); ok {
		return k, nil
	}
	if _, ok := findAny(keyID, identity); ok {
		return coffer.PublicKey{}, coffer.Errorf("key", coffer.Denied, "not listed for this purpose")
	}
	return coffer.PublicKey{}, errNoKey
}

var errNoKey = coffer.Errorf("key", coffer.NotExist, "its owner's document does not have it")

// owner resolves whose key keyID names: what stands before the first "#".
func (r *Resolver) owner(ctx context.Context, keyID string) (*coffer.Identity, error) {
	id, fragment, _ := strings.Cut(keyID, "#")
	if fragment == "" || len(keyID) > maxID {
		return nil, coffer.Errorf("key", coffer.Invalid, "not the id of a key")
	}
	return r.Resolve(ctx, id)
}

// known reports whether identity documents list keys for the purpose.
func known(p coffer.Purpose) bool {
	return p == coffer.Invocation || p == coffer.Delegation || p == coffer.Authentication || p == coffer.Assertion
}

// listFor returns the keys that may sign for a purpose.
func listFor(identity *coffer.Identity, p coffer.Purpose) []coffer.PublicKey {
	switch p {
	case coffer.Invocation:
		return identity.Invoke
	case coffer.Delegation:
		return identity.Delegate
	case coffer.Authentication:
		return identity.Authenticate
	}
	return identity.Assert
}

func findAny(keyID string, i *coffer.Identity) (coffer.PublicKey, bool) {
	return find(keyID, i.Authenticate, i.Assert, i.Invoke, i.Delegate, i.Agreement)
}

func find(keyID string, lists ...[]coffer.PublicKey) (coffer.PublicKey, bool) {
	for _, list := range lists {
		for _, k := range list {
			if k.ID == keyID {
				return k, true
			}
		}
	}
	return coffer.PublicKey{}, false
}

// verifier returns the verifier of an Ed25519 key, and keeps it.
func (r *Resolver) verifier(k key) (coffer.Verifier, error) {
	text := k.multikey()
	if v, ok := r.verifiers.Get(text); ok {
		return v, nil
	}
	expanded, err := ed25519.NewExpandedPublicKey(k.public)
	if err != nil {
		return nil, coffer.Errorf("key", coffer.Invalid, "not a public key of its kind")
	}
	v := &verifier{expanded}
	r.verifiers.Add(text, v)
	return v, nil
}
