// Package grant is the law: it says who is asking ([Verify]), what they may do ([Decide]), and makes the capabilities
// and invocations that ask ([Delegate], [Invoke]).
//
// It is pure: it reads no clock, no disk and no network. Time, the controllers of roots, keys and revocations come in
// as arguments. A [Caller] can be had from Verify alone, and the zero Caller is nobody and may do nothing.
//
// The wire form is authorization capabilities (ZCAP-LD) invoked over HTTP signatures, as the published clients of
// encrypted data vaults speak it.
package grant

import (
	"context"
	"time"

	"github.com/cofferhq/coffer"
)

// An Action is something a capability allows.
type Action string

// The actions of vaults. Writing includes erasing.
const (
	Read  Action = "read"
	Write Action = "write"
)

// A Caller is who is asking and by what authority. The zero Caller is nobody.
type Caller struct {
	who     string   // the identifier that invoked
	root    string   // target of the root capability that all authority comes from
	target  string   // what the capability covers
	actions []Action // what it allows; nil is all
	expires time.Time
	links   []Link
}

// Who returns the identifier of the one who asks, "" for nobody.
func (c Caller) Who() string { return c.who }

// Links returns the delegated capabilities that the authority rests on, root first. Empty for a root's controller.
func (c Caller) Links() []Link { return c.links }

// A Link is one delegation: a capability's id and who delegated it. Revocations name links.
type Link struct {
	ID        string
	Delegator string // identifier of the controller whose key signed the delegation
	Expires   time.Time
}

// An Act is what a caller wants to do.
type Act struct {
	Root    string   // target of the root capability whose controller rules here: a vault's URL
	Action  Action   // what is done
	Targets []string // the URLs that name what it is done to; authority over any one of them is enough
}

// An Invocation is a signed request as it came in.
type Invocation struct {
	Method  string
	URI     string              // path and query exactly as sent
	Header  map[string][]string // canonical names, as in net/http
	Host    string              // as sent
	HasBody bool
}

// Facts are what Verify needs to know besides the request.
type Facts struct {
	Now     time.Time
	Origin  string        // scheme and host (and port) under which this server is known; no slash at the end
	Action  Action        // the action that the route stands for
	Skew    time.Duration // tolerance between clocks
	MaxLife time.Duration // of a delegation; 0 is a year

	// Roots returns the controllers of the root capability with the target, none if this route has no such root.
	Roots func(ctx context.Context, target string) ([]string, error)
	// Key returns the key with the id if its controller's identity document lists it for the purpose. Verify calls it
	// only for keys of an identifier that is a controller of a root, or of a capability verified before: a stranger
	// cannot make it look anything up.
	Key func(ctx context.Context, keyID string, p coffer.Purpose) (coffer.Verifier, error)
	// Session returns the session with the id, nil when there is none. May be nil.
	Session func(id string) *Session
	// Cache remembers capabilities whose proofs were verified. May be nil.
	Cache Cache
}

// A Cache remembers what was costly to verify, by the hash of its encoded form. It is bounded by whoever keeps it.
type Cache interface {
	Get(key [32]byte) (*Capability, bool)
	Add(key [32]byte, c *Capability)
}
