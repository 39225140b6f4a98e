package node

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	apihub "github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/internal/lucene"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/merge"
	"github.com/cofferhq/coffer/node/hub"
	"github.com/cofferhq/coffer/store"
)

// Hub says what identity hubs the node has.
type Hub struct {
	Off             bool // there are none
	Work            int  // bits of work that a stranger's message must show, unless introduced; 0 to 32
	PrivateProfiles bool // profiles are for those with a grant
}

// hubs are the identity hubs of a node, all behind one URL. They are opened by the first request to them: making their
// keys takes a moment, and many nodes are for vaults alone.
type hubs struct {
	node *Node
	web  string // their did:web, which is that of the origin; empty when the origin cannot have one

	mu       sync.Mutex
	server   *apihub.Server // nil: not yet open
	document []byte         // of their did:web
}

// hubPaths are where the hubs answer. The sample application of hub-sdk-js appends the last part to what it is told.
var hubPaths = []string{"/", "/.identity", "/api/v1.0", "/.identity/api/v1.0"}

// documentPath is where the identity document of an origin's did:web is (did:web, section "Read").
const documentPath = "/.well-known/did.json"

// newHubs returns the node's hubs; nil when it has none.
func (n *Node) newHubs() *hubs {
	if n.config.Hub.Off {
		return nil
	}
	return &hubs{node: n, web: webDID(n.origin)}
}

// maxWork bounds [Hub].Work: beyond it, messages would take hours.
const maxWork = 32

func (h *Hub) check() error {
	if h.Work < 0 || h.Work > maxWork {
		return coffer.Errorf("node hub", coffer.Invalid, "work is given in bits, from 0 to 32")
	}
	return nil
}

// webDID returns the did:web of an origin.
func webDID(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	return "did:web:" + strings.ReplaceAll(url.PathEscape(host), ":", "%3A")
}

// has reports whether the hubs answer at a path.
func (h *hubs) has(path string) bool {
	return h != nil && (path == documentPath || slices.Contains(hubPaths, path))
}

// ServeHTTP answers a request to the hubs.
func (h *hubs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server, document, err := h.open(r.Context())
	if err != nil {
		h.node.log.Error("hubs cannot be opened", "error", err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte(`{"error_code":"service_unavailable"}`))
		return
	}
	if r.URL.Path != documentPath {
		server.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/did+json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Write(document)
}

// resolve is [ident.Resolution], which also knows the hubs' own did:web.
func (h *hubs) resolve(ctx context.Context, id string) (status int, body []byte) {
	r := h.node.resolver
	if id != h.web {
		return ident.Resolution(ctx, r, id)
	}
	_, document, err := h.open(ctx)
	if err != nil {
		return http.StatusServiceUnavailable, []byte(`{"didDocument":null,"didResolutionMetadata":{"error":"unavailable"}}`)
	}
	own, err := ident.New(ident.Options{Pinned: []ident.Pin{{ID: id, Document: document}}})
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return ident.Resolution(ctx, own, id)
}

// open opens the hubs, unless they are open.
func (h *hubs) open(ctx context.Context) (server *apihub.Server, document []byte, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server != nil {
		return h.server, h.document, nil
	}
	n := h.node
	web, rsa, err := n.hubKeys(ctx)
	if err != nil {
		return nil, nil, err
	}
	if document, err = hubDocument(web.Under(h.web), n.origin); err != nil {
		return nil, nil, err
	}
	var secrets [2][32]byte
	for i, label := range []string{"coffer hub at rest 1", "coffer hub access tokens 1"} {
		secret, err := n.ring.Derive(ctx, label)
		if err != nil {
			return nil, nil, err
		}
		secrets[i] = [32]byte(secret)
	}
	var once func(context.Context, [16]byte, time.Time) (bool, error)
	if shared, ok := n.disks.documents.(store.Shared); ok {
		once = shared.Once
	}
	own := ringKeys{n.ring}
	service := hub.New(hub.Options{
		Vaults: &hubVaults{
			vaults: n.vaults, keys: n.ring, resolver: n.resolver, origin: n.origin, now: n.config.Now,
		},
		Key:           n.resolver.MessageKey,
		Filter:        hubFilter,
		Signer:        hubSigner{own},
		Secret:        secrets[0],
		Owners:        n.config.Creators,
		Limits:        hub.Limits{Work: n.config.Hub.Work},
		PublicProfile: !n.config.Hub.PrivateProfiles,
		Now:           n.config.Now,
	})
	server, err = apihub.NewServer(apihub.ServerOptions{
		Host:      hubHost{service},
		Keys:      []apihub.Keys{web.Under(h.web), rsa, own},
		Key:       n.resolver.MessageKey,
		AnswerKey: n.resolver.AnswerKey,
		Secret:    secrets[1],
		Now:       n.config.Now,
		Once:      once,
		Since:     n.started,

		Endpoint:   n.origin + "/.identity",
		Strategies: []string{merge.Basic, merge.LastWriterWins, merge.MergePatch},
		Version:    n.config.Version,
		Observe:    n.metrics.observe,
		Report:     func(route string, err error) { n.log.Error("request", "route", route, "error", err) },
	})
	if err != nil {
		return nil, nil, err
	}
	h.server, h.document = server, document
	return server, document, nil
}

// A hubHost gives the wire the hubs.
type hubHost struct{ *hub.Service }

// As returns the hubs as the caller may see them.
func (h hubHost) As(caller grant.Caller, purpose string) coffer.Hub {
	return h.Service.As(caller, purpose)
}

// hubFilter reads a filter in the syntax of Lucene.
func hubFilter(text string) (hub.Filter, error) {
	f, err := lucene.ParseFilter(text)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// A hubSigner signs what the hubs write themselves.
type hubSigner struct{ ringKeys }

// KeyID returns the id of the key that signs.
func (s hubSigner) KeyID() string { return s.Key(coffer.SigningKey).ID }

// Alg returns how it signs, as a JWS has it.
func (s hubSigner) Alg() string { return s.Algorithm(s.KeyID()) }

// SignInput signs what is signed of a JWS.
func (s hubSigner) SignInput(ctx context.Context, input []byte) ([]byte, error) {
	return s.ringKeys.SignInput(ctx, s.KeyID(), coffer.Assertion, input)
}

// ringKeys are the node's own keys, under its did:key, as the hubs' wire uses keys.
type ringKeys struct{ *keyring.Ring }

// KeyIDs returns the ids of the keys: the one that signs, and the one that is encrypted to.
func (k ringKeys) KeyIDs() []string {
	return []string{k.Key(coffer.SigningKey).ID, k.Key(coffer.AgreementKey).ID}
}

// Public returns a key as a JWK, nil if there is none with the id.
func (k ringKeys) Public(keyID string) *jose.JWK {
	for _, use := range []coffer.KeyUse{coffer.SigningKey, coffer.AgreementKey} {
		if key := k.Key(use); key.ID == keyID {
			if jwk, err := jose.JWKOf(key.Type, key.Public); err == nil {
				return jwk
			}
		}
	}
	return nil
}

// Algorithm returns how a key signs; "" if it does not.
func (k ringKeys) Algorithm(keyID string) string {
	if keyID == k.Key(coffer.SigningKey).ID {
		return "EdDSA"
	}
	return ""
}

// SignInput signs what is signed of a JWS.
func (k ringKeys) SignInput(ctx context.Context, keyID string, p coffer.Purpose, input []byte) ([]byte, error) {
	if keyID != k.Key(coffer.SigningKey).ID {
		return nil, coffer.Errorf("sign", coffer.NotExist, "no such key")
	}
	return k.Sign(ctx, p, input)
}

// Reader returns the key with the id as one that opens envelopes.
func (k ringKeys) Reader(keyID string) (jose.CompactReader, bool) {
	if keyID != k.Key(coffer.AgreementKey).ID {
		return jose.CompactReader{}, false
	}
	return jose.CompactReader{KeyID: keyID, Curve: jose.X25519, Agree: func(ephemeral []byte) ([]byte, error) {
		return k.Agree(context.Background(), ephemeral)
	}}, true
}
