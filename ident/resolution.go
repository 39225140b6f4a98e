package ident

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

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

// Resolution resolves id and returns what a universal resolver answers to GET /1.0/identifiers/{id}: the HTTP status
// and a resolution result of type application/did-resolution. In case of an error didDocument is null, and the error
// is one of these:
//
//	400 invalidDid   403 notAllowed   404 notFound
//	501 methodNotSupported               503 unavailable   500 internalError
func Resolution(ctx context.Context, resolver coffer.Resolver, id string) (status int, body []byte) {
	var r resolution
	r.Context = "https://w3id.org/did-resolution/v1"
	identity, err := resolver.Resolve(ctx, id)
	if err == nil {
		r.Document = identity.Document
		r.Metadata.ContentType = "application/did+ld+json"
		if body, err = jose.Encode(r); err == nil {
			return http.StatusOK, body
		}
	}
	r.Document, r.Metadata.ContentType = json.RawMessage("null"), ""
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
