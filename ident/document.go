package ident

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Bounds of an identity document.
const (
	maxDocument = 256 << 10
	maxKeys     = 64 // also of entries in each list of uses
	maxServices = 64 // also of addresses in all
)

// A document is what matters here of an identity document (DID Core, section 5).
type document struct {
	ID        string    `json:"id"`
	Methods   []method  `json:"verificationMethod"`
	Assert    []use     `json:"assertionMethod"`
	Invoke    []use     `json:"capabilityInvocation"`
	Delegate  []use     `json:"capabilityDelegation"`
	Agreement []use     `json:"keyAgreement"`
	Services  []service `json:"service"`
}

type method struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Controller string          `json:"controller"`
	Multibase  string          `json:"publicKeyMultibase"`
	Base58     string          `json:"publicKeyBase58"`
	JWK        json.RawMessage `json:"publicKeyJwk"`
}

// A use is an entry of a list of uses: the id of a method, or a method for this use alone.
type use struct {
	ID     string
	Method *method
}

// UnmarshalJSON reads a string or an object.
func (u *use) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return jose.DecodeOpen(b, &u.ID)
	}
	return jose.DecodeOpen(b, &u.Method)
}

type service struct {
	ID       string          `json:"id"`
	Type     json.RawMessage `json:"type"`
	Endpoint json.RawMessage `json:"serviceEndpoint"`
}

// parseDocument reads the identity document of id. Malformed documents, documents of somebody else, and documents with
// a malformed key are Invalid. Passed over are keys of unknown kinds, keys that belong to others, and uses that a key
// of its kind does not have.
func parseDocument(id string, b []byte) (*coffer.Identity, error) {
	invalid := func(reason string) (*coffer.Identity, error) {
		return nil, coffer.Errorf("identity document", coffer.Invalid, reason)
	}
	if len(b) > maxDocument {
		return invalid("too long")
	}
	var d document
	if err := jose.DecodeOpen(b, &d); err != nil {
		return nil, coffer.E("identity document", coffer.Invalid, err)
	}
	if d.ID != id {
		return invalid("is not that of the identifier asked for")
	}
	uses := [...][]use{d.Assert, d.Invoke, d.Delegate, d.Agreement}
	if len(d.Methods) > maxKeys || len(d.Services) > maxServices {
		return invalid("has too many keys or services")
	}
	for _, list := range uses {
		if len(list) > maxKeys {
			return invalid("has too many keys")
		}
		for _, u := range list {
			if u.Method != nil {
				d.Methods = append(d.Methods, *u.Method)
			}
		}
	}
	if len(d.Methods) > maxKeys {
		return invalid("has too many keys")
	}

	seen := make(map[string]bool)
	keys := make(map[string]coffer.PublicKey)
	for _, m := range d.Methods {
		m.ID = absolute(id, m.ID)
		if seen[m.ID] {
			return invalid("names two keys alike")
		}
		seen[m.ID] = true
		if !strings.HasPrefix(m.ID, id+"#") || m.Controller != "" && m.Controller != id {
			continue
		}
		k, err := m.key()
		if errors.Is(err, errUnknownKey) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys[m.ID] = coffer.PublicKey{ID: m.ID, Controller: id, Type: k.kind, Public: k.public}
	}
	identity := &coffer.Identity{ID: id, Document: b}
	for i, list := range [...]*[]coffer.PublicKey{
		&identity.Assert, &identity.Invoke, &identity.Delegate, &identity.Agreement,
	} {
		agreement := list == &identity.Agreement
		for _, u := range uses[i] {
			if u.Method != nil {
				u.ID = u.Method.ID
			}
			k, ok := keys[absolute(id, u.ID)]
			if ok && (agreement && k.Type != Ed25519 || !agreement && k.Type != X25519) {
				*list = append(*list, k)
			}
		}
	}
	for _, s := range d.Services {
		for _, kind := range stringsIn(s.Type) {
			for _, u := range addressesIn(s.Endpoint) {
				if len(identity.Services) == maxServices {
					return invalid("has too many services")
				}
				identity.Services = append(identity.Services, coffer.Endpoint{ID: absolute(id, s.ID), Type: kind, URL: u})
			}
		}
	}
	return identity, nil
}

// absolute completes an id that is relative to the document's.
func absolute(base, id string) string {
	if strings.HasPrefix(id, "#") {
		return base + id
	}
	return id
}

// methodKinds says which kinds of key a type of method may hold.
var methodKinds = map[string][]string{
	Ed25519:                      {Ed25519},
	X25519:                       {X25519},
	P256:                         {P256},
	Secp256k1:                    {Secp256k1},
	"Ed25519VerificationKey2018": {Ed25519},
	"X25519KeyAgreementKey2019":  {X25519},
	"P256Key2021":                {P256},
	"Multikey":                   {Ed25519, X25519, P256, Secp256k1},
	"JsonWebKey2020":             {Ed25519, X25519, P256, Secp256k1},
	"JsonWebKey":                 {Ed25519, X25519, P256, Secp256k1},
}

// key returns the method's key: given in one way, and of a kind that its type may hold.
func (m method) key() (k key, err error) {
	kinds := methodKinds[m.Type]
	switch {
	case kinds == nil:
		return key{}, coffer.E("identity document", coffer.Invalid, errUnknownKey)
	case m.Multibase != "" && m.Base58 == "" && m.JWK == nil:
		k, err = parseMultikey(m.Multibase)
	case m.Base58 != "" && m.Multibase == "" && m.JWK == nil:
		// The types of 2018 have the key alone, without a prefix that tells its kind.
		k.kind = kinds[0]
		if k.public, err = coffer.ParseMultibase("z" + m.Base58); err == nil {
			err = k.check()
		}
	case m.JWK != nil && m.Multibase == "" && m.Base58 == "":
		k, _, err = parseJWK(m.JWK)
	default:
		return key{}, coffer.Errorf("identity document", coffer.Invalid, "a key must be given in one way")
	}
	if err == nil && !slices.Contains(kinds, k.kind) {
		return key{}, coffer.Errorf("identity document", coffer.Invalid, "a key is not of the type it is said to be")
	}
	return k, err
}

// stringsIn returns the string, or the strings of the array, that b is.
func stringsIn(b json.RawMessage) []string {
	var one string
	if b != nil && jose.DecodeOpen(b, &one) == nil {
		return []string{one}
	}
	var many []string
	if b != nil && jose.DecodeOpen(b, &many) == nil {
		return many
	}
	return nil
}

// addressesIn returns the addresses of a service: a string, an array of strings, or an object that has them as uri
// (DIDComm), locations or instances (identity hubs; the instances of a hub are DIDs).
func addressesIn(b json.RawMessage) []string {
	if all := stringsIn(b); all != nil {
		return all
	}
	var o struct {
		URI       string   `json:"uri"`
		Locations []string `json:"locations"`
		Instances []string `json:"instances"`
	}
	if b == nil || jose.DecodeOpen(b, &o) != nil {
		return nil
	}
	if o.URI != "" {
		return []string{o.URI}
	}
	return append(o.Locations, o.Instances...)
}
