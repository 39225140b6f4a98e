package ident

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/cofferhq/coffer"
)

// maxEnvelope is how much longer than the document an answer of a universal resolver may be.
const maxEnvelope = 64 << 10

// A Remote is a coffer.Resolver that asks a universal resolver at a configured place. It is trusted: what it says of a
// name is believed, and it learns which names are asked for. It keeps nothing; as [Options].Other its answers are kept.
type Remote struct {
	url    string
	client *http.Client
}

// NewRemote returns a Remote that asks GET base + "/1.0/identifiers/" + id. Base is an http: or https: URL, without
// query or fragment, or Invalid. The client may be nil for one without a proxy; it should not follow redirects.
func NewRemote(base string, client *http.Client) (*Remote, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, coffer.Errorf("universal resolver", coffer.Invalid, "not an http or https URL")
	}
	if client == nil {
		client = newClient(&dialer{lookup: lookupHost, private: true}, nil)
	}
	return &Remote{strings.TrimSuffix(base, "/") + "/1.0/identifiers/", client}, nil
}

// Resolve keeps the contract of coffer.Resolver for DIDs; other names are Invalid.
func (r *Remote) Resolve(ctx context.Context, id string) (*coffer.Identity, error) {
	method, _, err := parseID(id)
	if err != nil {
		return nil, err
	}
	if method == bareKey || method == plainURI {
		return nil, coffer.E("universal resolver", coffer.Invalid, ErrMethod)
	}
	status, body, err := get(ctx, r.client, r.url+url.PathEscape(id),
		"application/did-resolution, application/did+ld+json")
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
		return parseResolution(id, body)
	case http.StatusBadRequest:
		return nil, coffer.Errorf("universal resolver", coffer.Invalid, "it found the identifier malformed")
	case http.StatusNotFound, http.StatusGone:
		return nil, coffer.Errorf("universal resolver", coffer.NotExist, "it found nothing")
	case http.StatusNotImplemented:
		return nil, coffer.E("universal resolver", coffer.Invalid, ErrMethod)
	}
	return nil, coffer.Errorf("universal resolver", coffer.Unavailable, "it failed")
}
