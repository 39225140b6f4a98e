package ident

import (
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// resolveKey returns the identity of a did:key or of a bare key (The did:key Method v0.9, section 3.1.1).
func resolveKey(id, multikey string) (*coffer.Identity, error) {
	k, err := parseMultikey(multikey)
	if err != nil {
		return nil, err
	}
	b, err := keyDocument(id, k)
	if err != nil {
		return nil, err
	}
	return parseDocument(id, b)
}

// A written document is one that this package makes itself, for a name that is a key or whose keys are configured.
type written struct {
	Context   []string        `json:"@context"`
	ID        string          `json:"id"`
	Method    []writtenMethod `json:"verificationMethod,omitempty"`
	Authn     []string        `json:"authentication,omitempty"`
	Assert    []string        `json:"assertionMethod,omitempty"`
	Delegate  []string        `json:"capabilityDelegation,omitempty"`
	Invoke    []string        `json:"capabilityInvocation,omitempty"`
	Agreement []writtenMethod `json:"keyAgreement,omitempty"`
}

type writtenMethod struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Controller string `json:"controller"`
	Multibase  string `json:"publicKeyMultibase"`
}

// keyDocument returns the identity document of whoever has these keys. An Ed25519 key signs for all purposes and brings
// along its X25519 key, an X25519 key is for agreement, and keys of the other kinds sign. The id of a key is the name,
// "#" and the key.
func keyDocument(id string, keys ...key) ([]byte, error) {
	d := written{Context: []string{"https://www.w3.org/ns/did/v1"}, ID: id}
	method := func(k key, kind, context string) writtenMethod {
		if !slices.Contains(d.Context, context) {
			d.Context = append(d.Context, context)
		}
		text := k.multikey()
		return writtenMethod{id + "#" + text, kind, id, text}
	}
	agree := func(k key) {
		d.Agreement = append(d.Agreement, method(k, X25519, "https://w3id.org/security/suites/x25519-2020/v1"))
	}
	sign := func(m writtenMethod) {
		d.Method = append(d.Method, m)
		d.Authn = append(d.Authn, m.ID)
		d.Assert = append(d.Assert, m.ID)
		d.Delegate = append(d.Delegate, m.ID)
		d.Invoke = append(d.Invoke, m.ID)
	}
	for _, k := range keys {
		switch k.kind {
		case Ed25519:
			sign(method(k, Ed25519, "https://w3id.org/security/suites/ed25519-2020/v1"))
			x, err := k.agreement()
			if err != nil {
				return nil, err
			}
			agree(x)
		case X25519:
			agree(k)
		default:
			sign(method(k, "Multikey", "https://w3id.org/security/multikey/v1"))
		}
	}
	return jose.Encode(d)
}
