// Package ident finds out which keys and addresses stand behind a name.
//
// A [Resolver] knows these names, and asks nobody unless the table says so:
//
//	did:key        the key is the name: Ed25519 (with the X25519 key made from it), X25519, P-256, secp256k1
//	z6Mk…          a bare key, as in did:key
//	did:jwk        the key is the name, as a JSON Web Key; RSA too
//	did:web        one HTTPS request to the named host, if [Options].AllowWeb lists it; off by default
//	https:, urn:   only what [Options].Pinned says
//	other DIDs     asked of [Options].Other, if there is one
//
// [Resolver.Resolve] returns all that is known of a name, [Resolver.Key] the one key that is to check the signature of
// a capability or a request, [Resolver.MessageKey] that of a JWS, such as a message to a hub, and [Resolver.AnswerKey]
// the key to encrypt the answer to.
// [Resolution] puts an answer into the form of a universal resolver, and [Remote] asks one.
//
// Everything that comes from outside is bounded: a name has at most 2 KiB, a document 256 KiB, 64 keys and 64 services.
package ident

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
)

// ErrMethod is in the chain of an Invalid error when a name may be well formed but is of a kind unknown to the
// resolver.
var ErrMethod = errors.New("this kind of identifier is not known here")

// Options say where a Resolver may look. With the zero Options it looks nowhere: names that are keys still resolve.
type Options struct {
	// Pinned says what names stand for, whatever the network would say.
	Pinned []Pin
	// AllowWeb lists the hosts that did:web may ask. Empty: none. Each entry is one of
	//
	//	"example.org", "example.org:8443"  this host at this port (443 if none is given), in a private network too
	//	".example.org"                     any host below it with a public address, at port 443
	//	"*"                                any host with a public address, at port 443
	//	"http://localhost:8080"            this machine without TLS, for tests; no other host
	AllowWeb []string
	// RootCAs are the authorities whose certificates did:web hosts may show; nil for the system's.
	RootCAs *x509.CertPool
	// Other is asked about DIDs of methods that this package does not know; nil: they are Invalid. What it answers is
	// kept as long as an answer of did:web.
	Other coffer.Resolver
	// Verifiers is how many keys are kept ready for [Resolver.Key] and [Resolver.MessageKey], of mostly 1.6 kB
	// each; 0 means 4096.
	Verifiers int
	// Now tells the time by which answers grow old; nil means time.Now.
	Now func() time.Time
}

// A Resolver is a coffer.Resolver, safe for concurrent use. Answers from the network are kept for five minutes,
// failures for 30 seconds, 16 MiB in all; look-ups of the same name at the same time are one look-up.
type Resolver struct {
	pinned    map[string]*coffer.Identity
	web       *web
	other     coffer.Resolver
	lookups   *lookups
	names     *lru.TwoQueueCache[string, *coffer.Identity] // names that are keys
	verifiers *lru.TwoQueueCache[string, coffer.Verifier]  // by algorithm and key
}

// keptNames is how many names that are keys are kept as what they stand for: 5 kB each if they are RSA keys of 2048
// bits, 24 kB at most. As with verifiers, what comes once does not push out what comes often.
const keptNames = 512

// New returns a Resolver. It is Invalid if a pin or an allowed host is malformed.
func New(o Options) (*Resolver, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Verifiers == 0 {
		o.Verifiers = 4096
	}
	verifiers, err := lru.New2Q[string, coffer.Verifier](o.Verifiers)
	if err != nil {
		return nil, coffer.Errorf("resolver", coffer.Invalid, "the number of verifiers must be positive")
	}
	pinned, err := pin(o.Pinned)
	if err != nil {
		return nil, err
	}
	web, err := newWeb(o.AllowWeb, o.RootCAs)
	if err != nil {
		return nil, err
	}
	names, _ := lru.New2Q[string, *coffer.Identity](keptNames) // fails for sizes < 1
	return &Resolver{pinned, web, o.Other, newLookups(o.Now), names, verifiers}, nil
}

// Resolve keeps the contract of coffer.Resolver. An error is Invalid with [ErrMethod] for a name of an unknown kind,
// and Denied for a did:web host that is not allowed. The Identity is shared: it must not be changed.
func (r *Resolver) Resolve(ctx context.Context, id string) (*coffer.Identity, error) {
	method, rest, err := parseID(id)
	if err != nil {
		return nil, err
	}
	if known, ok := r.pinned[id]; ok {
		return known, nil
	}
	switch method {
	case "key", "jwk", bareKey:
		if known, ok := r.names.Get(id); ok {
			return known, nil
		}
		resolve := resolveKey
		if method == "jwk" {
			resolve = resolveJWK
		}
		identity, err := resolve(id, rest)
		if err == nil {
			r.names.Add(id, identity)
		}
		return identity, err
	case "web":
		u, host, err := webURL(rest)
		if err != nil {
			return nil, err
		}
		client, scheme, err := r.web.client(host)
		if err != nil {
			return nil, err
		}
		return r.lookups.do(ctx, id, func(ctx context.Context) (*coffer.Identity, error) {
			return fetch(ctx, client, scheme+"://"+u, id)
		})
	case plainURI:
		return nil, coffer.Errorf("resolve", coffer.NotExist, "no keys are configured for this identifier")
	}
	if r.other == nil {
		return nil, coffer.E("resolve", coffer.Invalid, ErrMethod)
	}
	return r.lookups.do(ctx, id, func(ctx context.Context) (*coffer.Identity, error) {
		return r.other.Resolve(ctx, id)
	})
}
