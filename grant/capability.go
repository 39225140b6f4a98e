package grant

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Capability is one delegated capability: what it allows to whom, and the delegations that it rests on. Those that
// [ParseCapability] returns are of good form and no more; those that [VerifyChain] returns, and those in a [Cache],
// have had their chain and proofs verified, clock and revocations aside.
type Capability struct {
	root        string // target of the root capability
	parent      string // id of the capability that this one was delegated from
	target      string
	controllers []string
	everyone    []string // controllers of all capabilities of the chain, the root's left out
	actions     []Action
	created     time.Time // the latest in the chain, as none is older than its parent
	expires     time.Time // the earliest in the chain, as none outlives its parent
	life        time.Duration
	first       string // verification method that signed the first delegation: one of a root's controller
	links       []Link
}

// ParseCapability reads a delegated capability of at most 64 KiB: its form and that of all capabilities in its chain,
// the chain rules that need neither keys nor clocks nor the root's controllers, and no proofs. It fails with Invalid
// for a malformed capability (unknown members and contexts included: nothing would sign them) and with NotExist for a
// chain in which a delegation was not the delegator's to give.
func ParseCapability(b []byte) (*Capability, error) {
	z, err := parseCapability(b, MaxChain-1)
	if err != nil {
		return nil, err
	}
	return z.capability()
}

// ID returns the capability's id.
func (c *Capability) ID() string { return c.links[len(c.links)-1].ID }

// Delegator returns the identifier of who delegated it.
func (c *Capability) Delegator() string { return c.links[len(c.links)-1].Delegator }

// Controllers returns who may invoke and delegate it: identifiers, or single verification methods. Not to be changed.
func (c *Capability) Controllers() []string { return c.controllers }

// ChainControllers returns the controllers of this and of all capabilities that it rests on, each once, without those
// of the root capability. Not to be changed.
func (c *Capability) ChainControllers() []string { return c.everyone }

// Target returns the URL that it gives authority over, and over all below.
func (c *Capability) Target() string { return c.target }

// RootTarget returns the target of the root capability that its chain begins with.
func (c *Capability) RootTarget() string { return c.root }

// Actions returns what it allows; nil is everything. Not to be changed.
func (c *Capability) Actions() []Action { return c.actions }

// Created returns when it was delegated.
func (c *Capability) Created() time.Time { return c.created }

// Expires returns until when it is good. None of its chain expires earlier.
func (c *Capability) Expires() time.Time { return c.expires }

// Parent returns the id of the capability that it was delegated from.
func (c *Capability) Parent() string { return c.parent }

// Links returns the delegations of its chain, root first, itself last. Not to be changed.
func (c *Capability) Links() []Link { return c.links }

// Bounds on a capability's texts.
const (
	// MaxChain is the greatest length of a chain, the root included.
	MaxChain = 10

	maxText = 256 // bytes of an action or a reference id
	maxList = 32  // controllers or actions of one capability
)

// The contexts that a capability may name, in order. Any other could give its members another meaning.
const (
	contextZcap          = "https://w3id.org/zcap/v1"
	contextEd25519       = "https://w3id.org/security/suites/ed25519-2020/v1"
	contextDataIntegrity = "https://w3id.org/security/data-integrity/v2"
)

// capabilityJSON is a delegated capability on the wire, members in the order of the published clients.
type capabilityJSON struct {
	Context          []string  `json:"@context"`
	ID               string    `json:"id"`
	Controller       texts     `json:"controller"`
	ParentCapability string    `json:"parentCapability"`
	InvocationTarget string    `json:"invocationTarget"`
	Expires          string    `json:"expires"`
	AllowedAction    texts     `json:"allowedAction,omitzero"`
	ReferenceID      *string   `json:"referenceId,omitzero"`
	Proof            proofJSON `json:"proof"`
}

type proofJSON struct {
	Type               string            `json:"type"`
	Created            string            `json:"created"`
	VerificationMethod string            `json:"verificationMethod"`
	Cryptosuite        string            `json:"cryptosuite,omitzero"`
	ProofPurpose       string            `json:"proofPurpose"`
	CapabilityChain    []json.RawMessage `json:"capabilityChain"`
	Context            []string          `json:"@context,omitzero"`
	ProofValue         string            `json:"proofValue"`
}

// texts is a string, or an array of strings with at least one.
type texts struct {
	list  []string
	array bool
}

func (t texts) MarshalJSON() ([]byte, error) {
	if t.array {
		return jose.Encode(t.list)
	}
	return jose.Encode(t.list[0])
}

func (t *texts) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) > 0 && b[0] == '[':
		t.array = true
		return jose.Decode(b, &t.list)
	case len(b) > 0 && b[0] == '"':
		t.list = make([]string, 1)
		return jose.Decode(b, &t.list[0])
	}
	return errors.New("neither a string nor an array")
}

// A delegation is a parsed capability with its parent inside: what proofs are computed from.
type delegation struct {
	capabilityJSON
	raw     []byte // as received
	suite   Suite
	created time.Time
	expires time.Time
	value   [64]byte
	chain   []string    // ids of the chain, root first, without this one
	parent  *delegation // nil under the root
}

// parseCapability reads a delegated capability with at most so many delegations, itself included. The result refers
// to b.
func parseCapability(b []byte, most int) (*delegation, error) {
	const op = "capability"
	bad := func(reason string) (*delegation, error) { return nil, coffer.Errorf(op, coffer.Invalid, reason) }
	if len(b) > maxCapability {
		return bad("too long")
	}
	d := &delegation{raw: b}
	if err := jose.Decode(b, &d.capabilityJSON); err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	p := &d.Proof
	context := []string{contextZcap, contextDataIntegrity}
	switch {
	case p.Type == string(Ed25519Signature2020) && p.Cryptosuite == "":
		d.suite = Ed25519Signature2020
		context[1] = contextEd25519
	case p.Type == dataIntegrityProof && p.Cryptosuite == string(EddsaRDFC2022):
		d.suite = EddsaRDFC2022
	case p.Type == dataIntegrityProof && p.Cryptosuite == string(EddsaJCS2022):
		d.suite = EddsaJCS2022
	default:
		return bad("unknown type of proof")
	}
	// Only with eddsa-jcs-2022 does the proof repeat the context.
	var repeated []string
	if d.suite == EddsaJCS2022 {
		repeated = context
	}
	if !slices.Equal(d.Context, context) || !slices.Equal(p.Context, repeated) || repeated == nil && p.Context != nil {
		return bad("unknown context")
	}
	for _, uri := range [...]string{d.ID, d.ParentCapability, d.InvocationTarget, p.VerificationMethod} {
		if !absoluteURI(uri) {
			return bad("an absolute URI is missing or malformed")
		}
	}
	if strings.HasPrefix(d.ID, rootPrefix) {
		return bad("a root capability is only named, never sent")
	}
	if n := len(d.Controller.list); n == 0 || n > maxList || !all(d.Controller.list, absoluteURI) {
		return bad("malformed controller")
	}
	actions := d.AllowedAction
	if n := len(actions.list); n > maxList || n == 0 && actions.array || !all(actions.list, literal) {
		return bad("malformed allowedAction")
	}
	if d.ReferenceID != nil && !literal(*d.ReferenceID) {
		return bad("malformed referenceId")
	}
	var ok1, ok2 bool
	d.expires, ok1 = parseTime(d.Expires)
	d.created, ok2 = parseTime(p.Created)
	if !ok1 || !ok2 {
		return bad("malformed expires or created")
	}
	if p.ProofPurpose != string(coffer.Delegation) {
		return bad("the proof is not for a delegation")
	}
	if len(p.ProofValue) > 96 {
		return bad("malformed proofValue")
	}
	value, err := coffer.ParseMultibase(p.ProofValue)
	if err != nil || len(value) != len(d.value) {
		return bad("malformed proofValue")
	}
	copy(d.value[:], value)
	return d, d.parseChain(most)
}

// parseChain reads the chain: ids from the root on, and the parent in full at the end unless it is the root. The
// parent's own chain must be the same, one shorter, so the nesting ends.
func (d *delegation) parseChain(most int) error {
	bad := func(reason string) error { return coffer.Errorf("capability", coffer.Invalid, reason) }
	entries := d.Proof.CapabilityChain
	n := len(entries)
	if n == 0 || n > most {
		return bad("the chain is empty or too long")
	}
	d.chain = make([]string, n)
	for i, entry := range entries {
		if i > 0 && i == n-1 {
			parent, err := parseCapability(entry, n-1)
			if err != nil {
				return err
			}
			if len(parent.chain) != n-1 || !slices.Equal(parent.chain, d.chain[:n-1]) {
				return bad("the chains of a capability and its parent differ")
			}
			d.parent, d.chain[i] = parent, parent.ID
		} else if len(entry) == 0 || entry[0] != '"' || jose.Decode(entry, &d.chain[i]) != nil ||
			!absoluteURI(d.chain[i]) {
			return bad("malformed chain")
		}
		if d.chain[i] == d.ID || slices.Contains(d.chain[:i], d.chain[i]) {
			return bad("an id stands twice in the chain")
		}
	}
	if _, ok := ParseRootID(d.chain[0]); !ok {
		return bad("the chain does not begin with a root capability")
	}
	if d.ParentCapability != d.chain[n-1] {
		return bad("the chain does not end with the parent")
	}
	return nil
}

// capability checks the rules of the chain and returns what has to be kept of it. No text of the result is part of a
// larger one, so that a cache of capabilities is as large as it looks.
func (d *delegation) capability() (*Capability, error) {
	target, _ := ParseRootID(d.chain[0])
	c := &Capability{
		root:        target,
		parent:      d.ParentCapability,
		target:      d.InvocationTarget,
		controllers: d.Controller.list,
		created:     d.created,
		expires:     d.expires,
	}
	for _, a := range d.AllowedAction.list {
		c.actions = append(c.actions, Action(a))
	}
	all := d.all()
	if !covers(target, all[0].InvocationTarget) {
		return nil, refused("a delegation's target is not its parent's or below it")
	}
	for i, l := range all {
		if i > 0 {
			if err := l.attenuates(all[i-1]); err != nil {
				return nil, err
			}
		}
		c.life = max(c.life, l.expires.Sub(l.created))
		c.links = append(c.links, Link{
			ID:        l.ID,
			Delegator: strings.Clone(identifierOf(l.Proof.VerificationMethod)),
			Expires:   l.expires,
		})
		for _, who := range l.Controller.list {
			if !slices.Contains(c.everyone, who) {
				c.everyone = append(c.everyone, who)
			}
		}
	}
	c.first = all[0].Proof.VerificationMethod
	return c, nil
}

// all returns the delegations of the chain, root first, this one last.
func (d *delegation) all() []*delegation {
	list := make([]*delegation, len(d.chain))
	for i := len(list) - 1; i >= 0; i-- {
		list[i], d = d, d.parent
	}
	return list
}

// attenuates reports, as NotExist, the first way in which the capability goes beyond its parent.
func (d *delegation) attenuates(parent *delegation) error {
	switch {
	case !holds(parent.Controller.list, d.Proof.VerificationMethod):
		return refused("a delegation is not signed by a controller of its parent")
	case !actionsWithin(d.AllowedAction, parent.AllowedAction):
		return refused("a delegation allows more actions than its parent")
	case !covers(parent.InvocationTarget, d.InvocationTarget):
		return refused("a delegation's target is not its parent's or below it")
	case d.expires.After(parent.expires):
		return refused("a delegation outlives its parent")
	case d.created.Before(parent.created):
		return refused("a delegation is older than its parent")
	}
	return nil
}

// actionsWithin reports whether a child's actions are among its parent's. A parent without any allows all. Under a
// parent that has a string, only the same string is within, as published verifiers have it.
func actionsWithin(child, parent texts) bool {
	switch {
	case len(parent.list) == 0:
		return true
	case len(child.list) == 0:
		return false
	case !parent.array:
		return !child.array && child.list[0] == parent.list[0]
	}
	return all(child.list, func(a string) bool { return slices.Contains(parent.list, a) })
}

func refused(reason string) error { return coffer.Errorf("capability", coffer.NotExist, reason) }

// checkClock compares the chain with the clock: nothing delegated in the future, nothing for longer than allowed, and,
// unless that is left aside, nothing expired.
func (c *Capability) checkClock(f *Facts, expiry bool) error {
	most := f.MaxLife
	if most == 0 {
		most = defaultLife
	}
	switch {
	case expiry && f.Now.After(c.expires.Add(f.Skew)):
		return refused("the capability has expired")
	case c.created.After(f.Now.Add(f.Skew)):
		return refused("the capability was delegated in the future")
	case c.life > most:
		return refused("a delegation in the chain is for too long")
	}
	return nil
}

// defaultLife is the longest life of a delegation where nothing else is said.
const defaultLife = 365 * 24 * time.Hour

// parseTime reads an RFC 3339 time.
func parseTime(s string) (t time.Time, ok bool) {
	if len(s) > 40 || strings.Contains(s, ",") {
		return t, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err == nil
}

// literal reports whether s may stand as a literal: not empty, and nothing that versions of N-Quads escape differently.
func literal(s string) bool {
	return s != "" && len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func all(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}
