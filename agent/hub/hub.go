// Package hub keeps the objects of an application in somebody's identity hub: typed values, found by what kind they
// are, shared by kind, sealed before they leave. There are no commits in sight.
//
//	h, err := hub.Open(hub.Options{Hub: client, Keyring: ring, Resolver: resolver})
//	playlists := hub.Kind{Context: "schema.org", Type: "MusicPlaylist"}
//	id, err := h.Put(ctx, playlists, Playlist{Name: "Rain"}, nil)
//	p, err := hub.Get[Playlist](ctx, h, playlists, id)
//
// The [coffer.Hub] is a client that reaches one over HTTPS (package api/hub), or what [Dial] finds behind an
// identifier. A [Hub] is one owner's hub as one identity sees it: to read somebody else's, open it with the other's
// identifier as the Owner.
//
// Values are of some 780 kB at most. What is longer, or no JSON, is kept beside a value as a file ([Hub.PutFile]).
//
// # What is checked
//
// Whatever a hub answers is checked before it is used: each commit's form and signature, that it belongs to the object,
// that owner, interface, context and type are those that were asked for; and what is sealed opens only as what it was
// sealed as, for the owner, by the author who signed it. What does not hold is Corrupt. So a hub can neither alter nor
// swap nor mix objects. It can withhold: leave out an object, or its newest state. Only a ledger finds that out.
//
// That an author had the right to write is checked by the hub, not here: [Object].Author says who it was.
//
// doc/hub.md is a guide, doc/hub-sealing.md has the formats, doc/leakage.md what a hub learns.
package hub

import (
	"context"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/keyring"
)

// Options say whose hub is opened, and by whom.
type Options struct {
	Hub   coffer.Hub // how it is reached; the caller there must be who signs
	Owner string     // whose hub it is; "": the Keyring's own

	// Keyring is whose keys seal and open. In one's own hub it must be a [coffer.Owner]. It may be nil for reading what
	// is public.
	Keyring coffer.Keyring
	// Resolver finds the keys of authors and readers.
	Resolver Resolver
	// Sign signs commits; nil: the Keyring does, with its Ed25519 key.
	Sign Signer
	// Delivery returns the [coffer.DeliveryKey] of somebody, from a card; NotExist if it is not known. What is sent to
	// him then stays sealed when X25519 is broken. nil: none is known.
	Delivery func(ctx context.Context, did string) ([]byte, error)
	// Journal is where it is noted which keys were given up, so that not even a hub that forgets revocations makes
	// anybody seal under them again; nil: that is known only while the program runs.
	Journal Journal
	Now     func() time.Time // nil is time.Now
}

// A Resolver finds identities and keys that sign. *ident.Resolver is one.
type Resolver interface {
	coffer.Resolver
	// MessageKey returns the key with this id, for signatures of a JWS algorithm and a purpose.
	MessageKey(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error)
}

// A Signer signs as one identity.
type Signer interface {
	DID() string
	KeyID() string
	Algorithm() string // of JWS
	// SignInput returns the signature over input, in the form that JWS has it.
	SignInput(ctx context.Context, p coffer.Purpose, input []byte) ([]byte, error)
}

// A Journal keeps small sealed notes across restarts, as that of package agent does.
type Journal interface {
	// Load returns what was last saved under the name, or NotExist.
	Load(ctx context.Context, name string) ([]byte, error)
	// Save replaces what is saved under the name.
	Save(ctx context.Context, name string, note []byte) error
}

// A Kind says what sort of objects is meant. Context and Type are free texts that are compared exactly; no schema need
// be registered.
type Kind struct {
	Interface string // "" is coffer.CollectionsInterface
	Context   string // of the schema: "schema.org"
	Type      string // "MusicPlaylist"
	// Private hides context and type from the hub, which sees a name in their place that only the owner and those whom
	// he grants the kind can make. It is part of the kind: a private one has no objects in common with another.
	Private bool
}

// A Hub is an owner's hub as one identity sees it. Any number of goroutines may use it.
type Hub struct {
	o      Options
	me     string         // who signs; "" for nobody
	mine   bool           // whether it is one's own
	owners []coffer.Owner // the Keyring, when it is one's own hub: as it is, and as it was with earlier vault secrets

	mu     sync.Mutex
	epochs epochs
	given  deliveries
}

// Open returns a Hub. Invalid when an option that is needed is missing.
func Open(o Options) (*Hub, error) {
	invalid := func(reason string) (*Hub, error) { return nil, coffer.Errorf("open hub", coffer.Invalid, reason) }
	if o.Hub == nil || o.Resolver == nil {
		return invalid("needs a hub and a resolver")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sign == nil && o.Keyring != nil {
		o.Sign = ringSigner{o.Keyring}
	}
	if o.Owner == "" && o.Keyring != nil {
		o.Owner = o.Keyring.DID()
	}
	if o.Owner == "" {
		return invalid("needs an owner or a keyring")
	}
	h := &Hub{o: o}
	if o.Sign != nil {
		h.me = o.Sign.DID()
	}
	if h.mine = h.me == o.Owner; h.mine {
		owner, ok := o.Keyring.(coffer.Owner)
		if !ok {
			return invalid("one's own hub needs a keyring that keeps things for itself")
		}
		h.owners = generations(owner)
	}
	return h, nil
}

// generations returns an owner as he is, and as he was with earlier vault secrets, the latest first.
func generations(o coffer.Owner) []coffer.Owner {
	list := []coffer.Owner{o}
	g, ok := o.(interface {
		Generations(use keyring.Use) int
		At(use keyring.Use, n int) (coffer.Owner, error)
	})
	if !ok {
		return list
	}
	for n := g.Generations(keyring.Vault) - 2; n >= 0; n-- {
		former, err := g.At(keyring.Vault, n)
		if err != nil {
			break // forgotten
		}
		list = append(list, former)
	}
	return list
}

// Owner returns the identifier of whose hub it is.
func (h *Hub) Owner() string { return h.o.Owner }

// ringSigner is a keyring as a Signer.
type ringSigner struct{ ring coffer.Keyring }

func (s ringSigner) DID() string       { return s.ring.DID() }
func (s ringSigner) KeyID() string     { return s.ring.Key(coffer.SigningKey).ID }
func (s ringSigner) Algorithm() string { return "EdDSA" }
func (s ringSigner) SignInput(ctx context.Context, p coffer.Purpose, input []byte) ([]byte, error) {
	return s.ring.Sign(ctx, p, input)
}

// check completes a kind, or is Invalid.
func (k Kind) check() (Kind, error) {
	if k.Interface == "" {
		k.Interface = coffer.CollectionsInterface
	}
	if k.Context == "" || k.Type == "" {
		return k, coffer.Errorf("hub", coffer.Invalid, "an object has a context and a type")
	}
	return k, nil
}

// errForeign is what the owner alone can do.
func (h *Hub) own(op string) error {
	if !h.mine {
		return coffer.Errorf(op, coffer.Denied, "only the owner can do this")
	}
	return nil
}
