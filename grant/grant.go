// Package grant is the law: it says who is asking ([Verify]), what they may do ([Decide]), and makes the capabilities
// and invocations that ask ([Delegate], [Invoker]).
//
// It is pure: it reads no clock, no disk and no network. Time, the controllers of roots, keys and revocations come in
// as arguments. A [Caller] can be had from Verify, and at hubs from [Message.Verify], alone; the zero Caller is nobody and
// may do nothing.
//
// The wire form is authorization capabilities (ZCAP-LD) invoked over HTTP signatures, as the published clients of
// encrypted data vaults speak it. Our own clients may sign many requests under one short-lived [Session] instead.
//
// Hubs have a law of their own: who asks is known by a signed [Message], and what they may do by what the owner's grants
// say, each a [Permission]; [Permit] decides. Who asks at a hub has by that no authority at a vault.
package grant

import (
	"slices"
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
// The slice must not be changed.
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

// Decide returns nil if the caller may do the act.
//
// It fails with NotExist when the caller has no right here at all: it is nobody, its authority comes from another root
// or has expired, or one of its links is revoked. It fails with Denied when the authority does not allow the action or
// covers none of the targets. An error of revoked is returned as it is.
//
// revoked reports whether a link is revoked; it may be nil only if the caller has no links.
func Decide(c Caller, a Act, now time.Time, revoked func(Link) (bool, error)) error {
	const op = "decide"
	switch {
	case c.who == "" || c.root == "" || c.root != a.Root:
		return noRight(op)
	case !c.expires.IsZero() && now.After(c.expires):
		return coffer.Errorf(op, coffer.NotExist, "the authority has expired")
	case len(c.links) > 0 && revoked == nil:
		return coffer.Errorf(op, coffer.Other, "nobody knows about revocations")
	}
	for _, l := range c.links {
		gone, err := revoked(l)
		if err != nil {
			return err
		}
		if gone {
			return coffer.Errorf(op, coffer.NotExist, "the authority has been revoked")
		}
	}
	if c.actions != nil && !slices.Contains(c.actions, a.Action) {
		return coffer.Errorf(op, coffer.Denied, "the capability does not allow this action")
	}
	if !slices.ContainsFunc(a.Targets, func(t string) bool { return covers(c.target, t) }) {
		return coffer.Errorf(op, coffer.Denied, "the capability does not cover this target")
	}
	return nil
}

// noRight is the one answer to everybody without any right. It must not say which of the possible reasons it was, as
// that would tell a stranger whether a vault exists and who controls it.
func noRight(op string) error {
	return coffer.Errorf(op, coffer.NotExist, "no authority that holds here")
}
