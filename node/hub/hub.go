// Package hub is an identity hub over vaults: it keeps the signed commits of many owners' objects, says what is known
// of the objects, and lets others at them by the owner's grants. [Service.As] is the one door; what it returns keeps
// the contract of [coffer.Hub]. The wire is package api/hub's, and how commits make a state package merge's.
//
// A hub cannot tell what sealed payloads say. What it must know, which is what the protected headers of commits show
// and the grants themselves, it seals at rest: whoever has the store and not the secret of [Options] sees how many
// documents an owner has, how large they are, and which of them share something, not what.
//
// There is one file for each interface: profile.go, permissions.go, actions.go, stores.go, collections.go, services.go.
//
// # What is kept
//
// The owner's vault has a name that is a MAC of the owner's identifier. All bodies are sealed, all tags blinded. The
// first byte of a document's id says what it is (doc/hub-storage.md has the layout):
//
//	1 commit   found by its rev; inserted once: the commit as it came, when it came, and where its object is
//	2 object   ids ascend by arrival: what a listing shows, the revs in the order of arrival, the grant if it is one
//	3 kind     one of each (interface, context, type) that the owner, or somebody with a grant, has made objects of
//	4 mark     a late place in the vault's feed, so that its end is found quickly
//	5 use      on which days a grant was used
package hub

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// Options are what a Service is made of. Vaults, Key and Secret are needed.
type Options struct {
	Vaults Vaults

	// Key returns what checks a signature by the key with the id and the algorithm, for a purpose: NotExist, Invalid or
	// Denied when there is no such key or it is not for that; Unavailable.
	Key func(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error)

	// Filter reads a filter in the syntax of Lucene: Invalid if it is none. Nil: filters are not implemented.
	Filter func(text string) (Filter, error)

	// Signer signs what the verb plane writes. Nil: the verb plane does not write.
	Signer Signer

	// Secret seals what is at rest, blinds tags, and seals tokens. Nodes over the same vaults have the same.
	Secret [32]byte

	Owners        []string // who may have a hub; empty: everybody
	Limits        Limits
	PublicProfile bool // Profile objects are read by everybody
	Now           func() time.Time
}

// Vaults are where hubs keep their documents. The vaults are nobody else's.
type Vaults interface {
	// Vault returns the vault kept under a name (43 characters of base64url), and makes it if there is none and make is
	// set; NotExist if there is none and it is not.
	Vault(ctx context.Context, name string, make bool) (coffer.Vault, error)
}

// A Filter is a filter that was read.
type Filter interface {
	// Match reports whether an object matches, of which fields is the JSON form of a [coffer.HubObject].
	Match(fields json.RawMessage) (bool, error)
}

// A Signer signs commits for the hub.
type Signer interface {
	DID() string
	KeyID() string
	Alg() string
	SignInput(ctx context.Context, input []byte) ([]byte, error)
}

// Limits bound what a hub takes. A zero member is its default; where it says so, a negative one switches off.
type Limits struct {
	Commits int // commits of one object, the delete that ends it not counted; 10,000

	Actions         int           // bytes of the payload of a stranger's action; 64 KiB; negative: strangers leave none
	Waiting         int           // strangers' actions that are not done; 1,000
	WaitingOfSender int           // of which one sender's; 100
	SenderEvery     time.Duration // one sender may leave an action so often; 10 s
	SenderBurst     int           // and so many at once; 20
	OwnerEvery      time.Duration // strangers all together may leave an owner an action so often; 100 ms
	OwnerBurst      int           // and so many at once; 200
	Work            int           // leading zero bits that a stranger's proof of work must have; 0: none is asked for

	StoreBytes int64 // of the present values in one Store, unless a grant says otherwise; 1 MiB
	StoreKeys  int64 // in one Store, unless a grant says otherwise; 100
}

func (l Limits) filled() Limits {
	set(&l.Commits, 10_000)
	set(&l.Actions, 64<<10)
	set(&l.Waiting, 1000)
	set(&l.WaitingOfSender, 100)
	set(&l.SenderEvery, 10*time.Second)
	set(&l.SenderBurst, 20)
	set(&l.OwnerEvery, 100*time.Millisecond)
	set(&l.OwnerBurst, 200)
	set(&l.StoreBytes, 1<<20)
	set(&l.StoreKeys, 100)
	return l
}

func set[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// A Service keeps hubs. It is made by [New] and used by any number of goroutines.
type Service struct {
	o     Options
	hubs  hubs
	scan  int          // objects or changes that are looked at for one page
	clock atomic.Int64 // the last arrival that was stamped, in microseconds
	// Who stamps an arrival holds the owner's lock for reading until it is committed; who lists takes it for a moment.
	arriving [256]sync.RWMutex
	busy     [256]sync.Mutex // by object: writers who met, and go on one after the other
	stores   [256]sync.Mutex // by Store
	senders  *pace
	owners   *pace
}

// New returns a Service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Limits = o.Limits.filled()
	l := o.Limits
	return &Service{
		o: o, hubs: newHubs(), scan: maxScan,
		senders: newPace(l.SenderEvery, l.SenderBurst), owners: newPace(l.OwnerEvery, l.OwnerBurst),
	}
}

// As returns the hubs as the caller may see them. purpose is what the caller says it is there for, which grants may ask
// for. The zero Caller is nobody: it reads what is public, and no more.
func (s *Service) As(caller grant.Caller, purpose string) coffer.Hub {
	return &view{s: s, who: caller.Who(), purpose: purpose}
}

// A view is the hubs as one caller may see them.
type view struct {
	s       *Service
	who     string // "" is nobody
	purpose string
}

var _ coffer.Hub = (*view)(nil)
