package ident

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A resolution is the answer of a universal resolver (Decentralized Identifier Resolution, section "DID Resolution
// Result").
type resolution struct {
	Context  string          `json:"@context"`
	Document json.RawMessage `json:"didDocument"`
	Metadata struct {
		ContentType string `json:"contentType,omitempty"`
		Error       string `json:"error,omitempty"`
	} `json:"didResolutionMetadata"`
	DocumentMetadata struct {
		Deactivated bool `json:"deactivated,omitzero"`
	} `json:"didDocumentMetadata"`
}

// An answer2019 is a resolution with what hub-sdk-js 0.1.2 reads of it.
type answer2019 struct {
	resolution
	Document2019     json.RawMessage `json:"document,omitempty"`
	ResolverMetadata *struct{}       `json:"resolverMetadata,omitzero"` // an object; in case of an error missing
}

// Resolution resolves id and returns what a universal resolver answers to GET /1.0/identifiers/{id}: the HTTP status
// and a resolution result of type application/did-resolution. Beside didDocument there is, in "document", what clients
// of 2019 understand: the same keys as JSON Web Keys in "publicKey". In case of an error didDocument is null, and the
// error is one of these:
//
//	400 invalidDid   403 notAllowed   404 notFound
//	501 methodNotSupported               503 unavailable   500 internalError
func Resolution(ctx context.Context, resolver coffer.Resolver, id string) (status int, body []byte) {
	var r answer2019
	r.Context = "https://w3id.org/did-resolution/v1"
	identity, err := resolver.Resolve(ctx, id)
	if err == nil {
		r.Document = identity.Document
		r.Metadata.ContentType, r.ResolverMetadata = "application/did+ld+json", &struct{}{}
		if r.Document2019, err = document2019(identity); err == nil {
			body, err = jose.Encode(r)
		}
		if err == nil {
			return http.StatusOK, body
		}
	}
	r.Document, r.Document2019, r.ResolverMetadata, r.Metadata.ContentType = json.RawMessage("null"), nil, nil, ""
	switch {
	case errors.Is(err, ErrMethod):
		status, r.Metadata.Error = http.StatusNotImplemented, "methodNotSupported"
	case errors.Is(err, coffer.Invalid):
		status, r.Metadata.Error = http.StatusBadRequest, "invalidDid"
	case errors.Is(err, coffer.Denied):
		status, r.Metadata.Error = http.StatusForbidden, "notAllowed"
	case errors.Is(err, coffer.NotExist):
		status, r.Metadata.Error = http.StatusNotFound, "notFound"
	case errors.Is(err, coffer.Unavailable):
		status, r.Metadata.Error = http.StatusServiceUnavailable, "unavailable"
	default:
		status, r.Metadata.Error = http.StatusInternalServerError, "internalError"
	}
	body, _ = jose.Encode(r) // strings alone
	return status, body
}

// parseResolution reads the answer of a universal resolver about id: a resolution result, or the bare document.
func parseResolution(id string, b []byte) (*coffer.Identity, error) {
	var r resolution
	if err := jose.DecodeOpen(b, &r); err != nil {
		return nil, coffer.E("resolution", coffer.Invalid, err)
	}
	switch code := r.Metadata.Error; {
	case r.DocumentMetadata.Deactivated, code == "notFound":
		return nil, coffer.Errorf("resolution", coffer.NotExist, "the resolver found nothing, or a deactivated identity")
	case code == "invalidDid", code == "invalidDidDocument":
		return nil, coffer.Errorf("resolution", coffer.Invalid, "the resolver found the identifier malformed")
	case code == "methodNotSupported":
		return nil, coffer.E("resolution", coffer.Invalid, ErrMethod)
	case code != "":
		return nil, coffer.Errorf("resolution", coffer.Unavailable, "the resolver failed")
	case r.Document == nil:
		return parseDocument(id, b)
	}
	return parseDocument(id, r.Document)
}

// sdkSecp256k1 is what hub-sdk-js 0.1.2 calls a secp256k1 key.
const sdkSecp256k1 = "Secp256k1VerificationKey2018"

// document2019 returns an identity document in the form that hub-sdk-js 0.1.2 needs: with its keys in publicKey as
// JWKs, whose kids are the tails of the keys' ids. That client encrypts to the first key and knows only RSA for that; a
// later one takes the first of use "enc". A document that has publicKey is returned as it is.
func document2019(identity *coffer.Identity) (json.RawMessage, error) {
	type publicKey struct {
		ID         string    `json:"id"`
		Type       string    `json:"type"`
		Controller string    `json:"controller"`
		JWK        *jose.JWK `json:"publicKeyJwk"`
	}
	var d struct {
		Context  json.RawMessage `json:"@context"`
		ID       string          `json:"id"`
		Keys     json.RawMessage `json:"publicKey"`
		Services json.RawMessage `json:"service"`
	}
	if err := jose.DecodeOpen(identity.Document, &d); err != nil {
		return nil, err
	}
	if d.Keys != nil {
		return identity.Document, nil
	}
	if d.Context == nil {
		d.Context = json.RawMessage(`"https://w3id.org/did/v1"`)
	}
	var ranks [3][]publicKey // RSA keys to encrypt to, other RSA keys, the rest
	seen := map[string]bool{}
	for _, k := range slices.Concat(identity.Agreement, identity.Authenticate, identity.Assert, identity.Invoke,
		identity.Delegate) {
		jwk, err := jose.JWKOf(k.Type, k.Public)
		if err != nil || seen[k.ID] {
			continue
		}
		seen[k.ID] = true
		_, jwk.Kid, _ = strings.Cut(k.ID, "#")
		_, agrees := find(k.ID, identity.Agreement)
		_, signs := find(k.ID, identity.Authenticate, identity.Assert)
		switch {
		case !signs:
			jwk.Use = "enc"
		case !agrees:
			jwk.Use = "sig"
		}
		rank, kind := 2, k.Type
		switch {
		case kind == RSA && agrees:
			rank = 0
		case kind == RSA:
			rank = 1
		case kind == Secp256k1:
			kind = sdkSecp256k1
		}
		ranks[rank] = append(ranks[rank], publicKey{k.ID, kind, k.Controller, jwk})
	}
	return jose.Encode(struct {
		Context  json.RawMessage `json:"@context"`
		ID       string          `json:"id"`
		Keys     []publicKey     `json:"publicKey"`
		Services json.RawMessage `json:"service,omitempty"`
	}{d.Context, d.ID, slices.Concat(ranks[:]...), d.Services})
}
