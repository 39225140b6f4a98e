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
// document lists the key for the purpose: coffer.Invocation, coffer.Delegation or coffer.Assertion. Only Ed25519 keys
// verify here; others are Invalid, as are malformed ids and unknown purposes. NotExist when the document has no such
// key, Denied when it has it, but not for this purpose; for the rest as Resolve.
//
// For a did:key and a bare key it is a pure function.
func (r *Resolver) Key(ctx context.Context, keyID string, p coffer.Purpose) (coffer.Verifier, error) {
	id, fragment, _ := strings.Cut(keyID, "#")
	if fragment == "" || len(keyID) > maxID {
		return nil, coffer.Errorf("key", coffer.Invalid, "not the id of a key")
	}
	if p != coffer.Invocation && p != coffer.Delegation && p != coffer.Assertion {
		return nil, coffer.Errorf("key", coffer.Invalid, "unknown purpose")
	}
	if strings.TrimPrefix(id, "did:key:") == fragment {
		// A key that names itself. If it is an Ed25519 key it is good for all purposes; only such keys are kept.
		if v, ok := r.verifiers.Get(fragment); ok {
			return v, nil
		}
		if k, err := parseMultikey(fragment); err == nil && k.kind == Ed25519 {
			return r.verifier(k)
		}
	}
	identity, err := r.Resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	listed := identity.Assert
	switch p {
	case coffer.Invocation:
		listed = identity.Invoke
	case coffer.Delegation:
		listed = identity.Delegate
	}
	if k, ok := find(keyID, listed); ok {
		if k.Type != Ed25519 {
			return nil, coffer.Errorf("key", coffer.Invalid, "signatures by keys of this kind are not checked here")
		}
		return r.verifier(key{k.Type, k.Public})
	}
	if _, ok := find(keyID, identity.Assert, identity.Invoke, identity.Delegate, identity.Agreement); ok {
		return nil, coffer.Errorf("key", coffer.Denied, "not listed for this purpose")
	}
	return nil, coffer.Errorf("key", coffer.NotExist, "its owner's document does not have it")
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
