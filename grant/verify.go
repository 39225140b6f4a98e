package grant

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

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
	// cannot make it look anything up. An error of kind Unavailable is passed on; any other means there is no such key.
	Key func(ctx context.Context, keyID string, p coffer.Purpose) (coffer.Verifier, error)
	// Session returns the session with the id, nil when there is none. May be nil.
	Session func(id string) *Session
	// Cache remembers capabilities whose proofs were verified. May be nil.
	Cache Cache
}

// A Cache remembers what was costly to verify, by the SHA-256 of the capability's JSON. It is bounded by whoever keeps
// it, in number and in time: while an entry lives, the identity documents of its delegators are not consulted again.
// Root controllers, clocks, targets and revocations are, at every request.
type Cache interface {
	Get(key [32]byte) (*Capability, bool)
	Add(key [32]byte, c *Capability)
}

// Verified is what [Verify] found.
type Verified struct {
	Caller    Caller
	KeyID     string   // the verification method that invoked, or on whose behalf the session did
	Digest    [32]byte // SHA-256 that the body must have; the one who reads the body compares
	HasDigest bool
}

// Verify finds out who sends a request and by what authority: the HTTP signature, the root capability or the chain of
// delegations that it invokes, and that they cover the request (draft-cavage-http-signatures and ZCAP-LD, as the
// published clients and servers of encrypted data vaults have them). It does not know about revocations; [Decide] does.
//
// It fails with Invalid for a Capability-Invocation or Digest header that is malformed, with NotExist when there is no
// right at all (the Authorization header is missing, malformed or too old, a capability has expired, a proof or the
// signature is wrong, or nothing leads to the root's controllers), and with Denied when there is a right that does not
// extend to this action or target. Errors of Facts.Roots are passed on.
//
// What needs nothing but the request is checked first, then whether the names in it lead from a controller of the root
// to the invoker, and only then are keys looked up and signatures verified, from the root on. So a stranger's request
// costs and says the same whether the vault exists or not.
func Verify(ctx context.Context, in *Invocation, f *Facts) (*Verified, error) {
	const op = "verify"
	sig, err := parseAuthorization(in.Header["Authorization"])
	if err != nil {
		return nil, err
	}
	claim, err := parseInvocation(in.Header["Capability-Invocation"])
	if err != nil {
		return nil, err
	}
	v := &Verified{KeyID: sig.keyID}
	if v.Digest, v.HasDigest, err = parseDigest(in.Header["Digest"]); err != nil {
		return nil, err
	}
	if err := checkAddress(in, f.Origin); err != nil {
		return nil, err
	}
	if err := sig.checkTimes(in, f.Now, f.Skew); err != nil {
		return nil, err
	}
	message, err := sig.signingString(in)
	if err != nil {
		return nil, err
	}

	var session *Session
	if id, ok := strings.CutPrefix(sig.keyID, sessionPrefix); ok {
		if f.Session != nil {
			session = f.Session(id)
		}
		switch {
		case session == nil || session.KeyID == "":
			return nil, noRight(op)
		case !f.Now.Before(session.Expires):
			return nil, coffer.Errorf(op, coffer.NotExist, "the session has expired")
		}
		v.KeyID = session.KeyID
	}

	// Who might have the right, by names alone; then by proofs, root first.
	if claim.encoded == "" {
		controllers, err := f.Roots(ctx, claim.root)
		if err != nil {
			return nil, err
		}
		if !holds(controllers, v.KeyID) {
			return nil, noRight(op)
		}
		v.Caller = Caller{root: claim.root, target: claim.root}
	} else {
		c, err := f.invoked(ctx, claim.encoded, v.KeyID)
		if err != nil {
			return nil, err
		}
		if created, _ := seconds(sig.created); time.Unix(created, 0).Before(c.created.Add(-f.Skew)) {
			return nil, refused("the invocation is older than the delegation")
		}
		v.Caller = Caller{
			root: c.root, target: c.target, actions: c.actions, links: c.links, expires: c.expires.Add(f.Skew),
		}
	}
	if session != nil {
		if !hmac.Equal(sig.bytes(), session.sum(message)) {
			return nil, noRight(op)
		}
	} else {
		key, err := f.key(ctx, sig.keyID, coffer.Invocation)
		if err != nil {
			return nil, err
		}
		if !key.Verify(message, sig.bytes()) {
			return nil, noRight(op)
		}
	}

	switch {
	case claim.action != f.Action:
		return nil, coffer.Errorf(op, coffer.Denied, "the invocation is for another action")
	case v.Caller.actions != nil && !slices.Contains(v.Caller.actions, f.Action):
		return nil, coffer.Errorf(op, coffer.Denied, "the capability does not allow this action")
	case !covers(v.Caller.target, f.Origin+in.URI):
		return nil, coffer.Errorf(op, coffer.Denied, "the capability does not cover this target")
	}
	v.Caller.who = identifierOf(v.KeyID)
	return v, nil
}

// VerifyChain verifies a capability that stands alone: its form, its chain of delegations from a root that Facts.Roots
// knows, and all proofs, as [Verify] does. Expiry is left aside, because what has expired may still be named, to revoke
// it; see [Capability.Expires]. Of the facts, Origin, Action and Session are not used.
//
// It fails with Invalid for what is malformed, and with NotExist for a chain that gives no right.
func VerifyChain(ctx context.Context, capability []byte, f *Facts) (*Capability, error) {
	return f.verifyCapability(ctx, capability, "", false)
}

// invoked returns the verified capability that a header carries, if the key may invoke it by name.
func (f *Facts) invoked(ctx context.Context, encoded, keyID string) (*Capability, error) {
	in := inflaters.Get().(*inflater)
	defer inflaters.Put(in)
	b, err := in.inflate(encoded)
	if err != nil {
		return nil, err
	}
	return f.verifyCapability(ctx, b, keyID, true)
}

// verifyCapability verifies a capability for an invoker, or for nobody in particular.
func (f *Facts) verifyCapability(ctx context.Context, b []byte, invoker string, invoking bool) (*Capability, error) {
	const op = "capability"
	var c *Capability
	var d *delegation
	known := false
	sum := sha256.Sum256(b)
	if f.Cache != nil {
		c, known = f.Cache.Get(sum)
	}
	if !known {
		var err error
		if d, err = parseCapability(b, MaxChain-1); err != nil {
			return nil, err
		}
		if c, err = d.capability(); err != nil {
			return nil, err
		}
	}
	if err := c.checkClock(f, invoking); err != nil {
		return nil, err
	}
	controllers, err := f.Roots(ctx, c.root)
	if err != nil {
		return nil, err
	}
	if !holds(controllers, c.first) || invoking && !holds(c.controllers, invoker) {
		return nil, noRight(op)
	}
	if known {
		return c, nil
	}
	for _, l := range d.all() {
		message, err := l.signed()
		if err != nil {
			return nil, err
		}
		key, err := f.key(ctx, l.Proof.VerificationMethod, coffer.Delegation)
		if err != nil {
			return nil, err
		}
		if !key.Verify(message, l.value[:]) {
			return nil, noRight(op)
		}
	}
	if f.Cache != nil && len(b) <= maxCached {
		f.Cache.Add(sum, c)
	}
	return c, nil
}

// key returns the key of somebody already trusted.
func (f *Facts) key(ctx context.Context, id string, p coffer.Purpose) (coffer.Verifier, error) {
	key, err := f.Key(ctx, id, p)
	switch {
	case err == nil && key != nil:
		return key, nil
	case coffer.KindOf(err) == coffer.Unavailable:
		return nil, err
	}
	return nil, noRight("verify")
}

// checkAddress checks that the request was sent to this server, and that its path is just what it spells: authority
// over a path is compared as text, so what a router could take for another path is refused.
func checkAddress(in *Invocation, origin string) error {
	const op = "verify"
	_, host, ok := strings.Cut(origin, "://")
	if !ok || host == "" {
		return coffer.Errorf(op, coffer.Other, "the server does not know its origin")
	}
	if !strings.EqualFold(in.Host, host) {
		return coffer.Errorf(op, coffer.NotExist, "the request is for another host")
	}
	path, _, _ := strings.Cut(in.URI, "?")
	if len(in.URI) > maxURI || !strings.HasPrefix(path, "/") || crooked(path) ||
		strings.ContainsFunc(in.URI, unprintable) {
		return coffer.Errorf(op, coffer.NotExist, "the path is not in its plain form")
	}
	return nil
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' || r == '#' || r == '\\' }

// crooked reports whether a path has empty or dot segments, or escapes that could make some.
func crooked(path string) bool {
	for i := 0; i < len(path); i++ {
		switch rest := path[i:]; path[i] {
		case '/':
			segment, _, _ := strings.Cut(rest[1:], "/")
			if segment == "." || segment == ".." || segment == "" && len(rest) > 1 {
				return true
			}
		case '%':
			if len(rest) < 3 {
				return true
			}
			switch strings.ToLower(rest[1:3]) {
			case "2e", "2f", "5c":
				return true
			}
		}
	}
	return false
}
