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
	Keys      []method  `json:"publicKey"` // the methods, as documents before 2020 have them
	Authn     []use     `json:"authentication"`
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
	var m struct {
		method
		Key json.RawMessage `json:"publicKey"`
	}
	if err := jose.DecodeOpen(b, &m); err != nil {
		return err
	}
	if m.ID != "" {
		u.Method = &m.method
	} else if keys := stringsIn(m.Key); len(keys) == 1 { // as documents before 2020 have it
		u.ID = keys[0]
	}
	return nil
}

type service struct {
	ID       string          `json:"id"`
	Type     json.RawMessage `json:"type"`
	Endpoint json.RawMessage `json:"serviceEndpoint"`
}

// parseDocument reads the identity document of id. Malformed documents, documents of somebody else, and documents with
// a malformed key are Invalid. Passed over are keys of unknown kinds, keys that belong to others, malformed keys among
// those that are listed as before 2020, and uses that a key of its kind, or by its JWK, does not have.
//
// A document without any list of uses is one of those times: its keys authenticate, sign statements, and are encrypted
// to, as far as they can.
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
	uses := [...][]use{d.Authn, d.Assert, d.Invoke, d.Delegate, d.Agreement}
	if len(d.Methods) > maxKeys || len(d.Keys) > maxKeys || len(d.Services) > maxServices {
		return invalid("has too many keys or services")
	}
	listed := false
	for _, list := range uses {
		listed = listed || list != nil
		if len(list) > maxKeys {
			return invalid("has too many keys")
		}
		for _, u := range list {
			if u.Method != nil {
				d.Methods = append(d.Methods, *u.Method)
			}
		}
	}
	if len(d.Methods)+len(d.Keys) > maxKeys {
		return invalid("has too many keys")
	}

	seen := make(map[string]bool)
	keys := make(map[string]documentKey)
	var order []string // ids of the keys
	for i, m := range slices.Concat(d.Methods, d.Keys) {
		old := i >= len(d.Methods)
		m.ID = absolute(id, m.ID)
		if seen[m.ID] {
			if old { // documents may have both lists, for readers of both times
				continue
			}
			return invalid("names two keys alike")
		}
		seen[m.ID] = true
		if !strings.HasPrefix(m.ID, id+"#") || m.Controller != "" && m.Controller != id {
			continue
		}
		k, use, err := m.key()
		if errors.Is(err, jose.ErrUnknownKey) || err != nil && old {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys[m.ID] = documentKey{coffer.PublicKey{ID: m.ID, Controller: id, Type: k.kind, Public: k.public}, use}
		order = append(order, m.ID)
	}
	identity := &coffer.Identity{ID: id, Document: b}
	for i, list := range [...]*[]coffer.PublicKey{
		&identity.Authenticate, &identity.Assert, &identity.Invoke, &identity.Delegate, &identity.Agreement,
	} {
		agreement := list == &identity.Agreement
		for _, u := range uses[i] {
			if u.Method != nil {
				u.ID = u.Method.ID
			}
			k, ok := keys[absolute(id, u.ID)]
			if ok && (agreement && k.Type != Ed25519 && k.use != "sig" || !agreement && k.signs()) {
				*list = append(*list, k.PublicKey)
			}
		}
	}
	for _, keyID := range order {
		if k := keys[keyID]; !listed {
			if k.signs() {
				identity.Authenticate = append(identity.Authenticate, k.PublicKey)
				identity.Assert = append(identity.Assert, k.PublicKey)
			}
			if agrees(k.PublicKey) && k.use != "sig" {
				identity.Agreement = append(identity.Agreement, k.PublicKey)
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

// A documentKey is a key in a document, with the use that its JWK tells.
type documentKey struct {
	coffer.PublicKey
	use string
}

func (k documentKey) signs() bool { return k.Type != X25519 && k.use != "enc" }

// agrees reports whether a compact JWE can be encrypted to a key of this kind.
func agrees(k coffer.PublicKey) bool { return k.Type == RSA || k.Type == X25519 || k.Type == P256 }

// useOf returns the use that the JWK of a key in the identity's document tells; "" if it tells none.
func useOf(identity *coffer.Identity, keyID string) string {
	var d document
	if jose.DecodeOpen(identity.Document, &d) != nil {
		return ""
	}
	for _, list := range [...][]use{d.Authn, d.Assert, d.Invoke, d.Delegate, d.Agreement} {
		for _, u := range list {
			if u.Method != nil {
				d.Methods = append(d.Methods, *u.Method)
			}
		}
	}
	for _, m := range append(d.Methods, d.Keys...) {
		if absolute(identity.ID, m.ID) == keyID {
			_, use, _ := m.key()
			return use
		}
	}
	return ""
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
	RSA:                          {RSA},
	"Ed25519VerificationKey2018": {Ed25519},
	"X25519KeyAgreementKey2019":  {X25519},
	"P256Key2021":                {P256},
	sdkSecp256k1:                 {Secp256k1},
	"Multikey":                   {Ed25519, X25519, P256, Secp256k1},
	"JsonWebKey2020":             {Ed25519, X25519, P256, Secp256k1, RSA},
	"JsonWebKey":                 {Ed25519, X25519, P256, Secp256k1, RSA},
}

// key returns the method's key: given in one way, and of a kind that its type may hold; and the use that a JWK tells.
func (m method) key() (k key, use string, err error) {
	kinds := methodKinds[m.Type]
	switch {
	case kinds == nil, m.Type == RSA && m.JWK == nil: // as text in armor, for instance
		return key{}, "", coffer.E("identity document", coffer.Invalid, jose.ErrUnknownKey)
	case m.Multibase != "" && m.Base58 == "" && m.JWK == nil:
		k, err = parseMultikey(m.Multibase)
	case m.Base58 != "" && m.Multibase == "" && m.JWK == nil:
		// The types of 2018 have the key alone, without a prefix that tells its kind.
		k.kind = kinds[0]
		if k.public, err = coffer.ParseMultibase("z" + m.Base58); err == nil {
			err = k.check()
		}
	case m.JWK != nil && m.Multibase == "" && m.Base58 == "":
		k, use, err = parseJWK(m.JWK)
	default:
		return key{}, "", coffer.Errorf("identity document", coffer.Invalid, "a key must be given in one way")
	}
	if err == nil && !slices.Contains(kinds, k.kind) {
		return key{}, "", coffer.Errorf("identity document", coffer.Invalid, "a key is not of the type it is said to be")
	}
	return k, use, err
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
