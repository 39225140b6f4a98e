package ident

import (
	"encoding/json"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// resolveJWK returns the identity of a did:jwk (did:jwk Method Specification, "To create the DID Document").
func resolveJWK(id, encoded string) (*coffer.Identity, error) {
	b, ok := jose.Decode64(encoded)
	if !ok {
		return nil, coffer.Errorf("did:jwk", coffer.Invalid, "not base64url")
	}
	_, use, err := parseJWK(b)
	if err != nil {
		return nil, err
	}
	method := id + "#0"
	d := struct {
		Context   []string `json:"@context"`
		ID        string   `json:"id"`
		Method    []any    `json:"verificationMethod"`
		Assert    []string `json:"assertionMethod,omitempty"`
		Authn     []string `json:"authentication,omitempty"`
		Invoke    []string `json:"capabilityInvocation,omitempty"`
		Delegate  []string `json:"capabilityDelegation,omitempty"`
		Agreement []string `json:"keyAgreement,omitempty"`
	}{
		Context: []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"},
		ID:      id,
		Method: []any{struct {
			ID         string          `json:"id"`
			Type       string          `json:"type"`
			Controller string          `json:"controller"`
			JWK        json.RawMessage `json:"publicKeyJwk"`
		}{method, "JsonWebKey2020", id, b}},
	}
	if use != "enc" {
		d.Assert, d.Authn, d.Invoke, d.Delegate = []string{method}, []string{method}, []string{method}, []string{method}
	}
	if use != "sig" {
		d.Agreement = []string{method}
	}
	document, err := jose.Encode(d)
	if err != nil {
		return nil, coffer.E("did:jwk", coffer.Invalid, err)
	}
	return parseDocument(id, document)
}
