package grant

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// DelegateOptions say what is handed on to whom.
type DelegateOptions struct {
	Controller string    // who may use it: an identifier, or one verification method
	Target     string    // the parent's target if empty
	Actions    []Action  // the parent's if empty; all under a root
	Expires    time.Time // needed; whole seconds count
	Created    time.Time // needed; whole seconds count
	Suite      Suite     // Ed25519Signature2020 if empty: the one that published servers know
	ID         string    // a random urn:uuid if empty
}

// Delegate makes a capability out of a parent: the target of a root capability (a URL), or a delegated capability as
// JSON, which the keyring must be a controller of. The result is as long as its chain: each holds its parent in full.
//
// It refuses, as Invalid, what [Verify] would refuse, except that it cannot know a root's controllers and that it does
// not verify the proofs of the parent.
func Delegate(ctx context.Context, kr coffer.Keyring, parent string, o DelegateOptions) ([]byte, error) {
	const op = "delegate"
	var from *delegation
	if strings.HasPrefix(parent, "{") {
		var err error
		if from, err = parseCapability([]byte(parent), MaxChain-2); err != nil {
			return nil, err
		}
	} else if !absoluteURI(parent) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the parent is neither a capability nor a root's target")
	}
	w, err := unsigned(kr.Key(coffer.SigningKey).ID, parent, from, o)
	if err != nil {
		return nil, err
	}
	// What is signed is computed from the same parsed form that a verifier has, with an empty signature in its place.
	w.Proof.ProofValue = coffer.Multibase(make([]byte, 64))
	b, err := jose.Encode(w)
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	d, err := parseCapability(b, MaxChain-1)
	if err != nil {
		return nil, err
	}
	c, err := d.capability()
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, err.Error())
	}
	if c.life > defaultLife || !d.created.Before(d.expires) {
		return nil, coffer.Errorf(op, coffer.Invalid, "it would expire too late, or before it is made")
	}
	message, err := d.signed()
	if err != nil {
		return nil, err
	}
	sum, err := kr.Sign(ctx, coffer.Delegation, message)
	if err != nil {
		return nil, err
	}
	if len(sum) != len(d.value) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the keyring's signing key is not an Ed25519 key")
	}
	w.Proof.ProofValue = coffer.Multibase(sum)
	if b, err = jose.Encode(w); err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	return b, nil
}

// unsigned returns the capability without the value of its proof.
func unsigned(method, parent string, from *delegation, o DelegateOptions) (*capabilityJSON, error) {
	if o.Expires.IsZero() || o.Created.IsZero() {
		return nil, coffer.Errorf("delegate", coffer.Invalid, "expires and created are needed")
	}
	w := &capabilityJSON{
		ID:               o.ID,
		Controller:       texts{list: []string{o.Controller}},
		InvocationTarget: o.Target,
		Expires:          formatTime(o.Expires),
		Proof: proofJSON{
			Type:               dataIntegrityProof,
			Created:            formatTime(o.Created),
			VerificationMethod: method,
			ProofPurpose:       string(coffer.Delegation),
		},
	}
	if w.ID == "" {
		w.ID = randomURN()
	}
	for _, a := range o.Actions {
		w.AllowedAction.array = true
		w.AllowedAction.list = append(w.AllowedAction.list, string(a))
	}
	chain := []string{RootID(parent)}
	if from == nil {
		w.ParentCapability = chain[0]
		if w.InvocationTarget == "" {
			w.InvocationTarget = parent
		}
	} else {
		chain = slices.Clone(from.chain)
		w.ParentCapability = from.ID
		if w.InvocationTarget == "" {
			w.InvocationTarget = from.InvocationTarget
		}
		if w.AllowedAction.list == nil {
			w.AllowedAction = from.AllowedAction
		}
		// Under a parent that allows one action as a string, verifiers want the same string.
		if len(from.AllowedAction.list) == 1 && len(w.AllowedAction.list) == 1 {
			w.AllowedAction.array = from.AllowedAction.array
		}
	}
	for _, id := range chain {
		b, err := jose.Encode(id)
		if err != nil {
			return nil, coffer.E("delegate", coffer.Invalid, err)
		}
		w.Proof.CapabilityChain = append(w.Proof.CapabilityChain, b)
	}
	if from != nil {
		w.Proof.CapabilityChain = append(w.Proof.CapabilityChain, json.RawMessage(from.raw))
	}
	w.Context = []string{contextZcap, contextDataIntegrity}
	switch o.Suite {
	case Ed25519Signature2020, "":
		w.Context[1] = contextEd25519
		w.Proof.Type = string(Ed25519Signature2020)
	case EddsaJCS2022:
		w.Proof.Context = w.Context
		w.Proof.Cryptosuite = string(o.Suite)
	case EddsaRDFC2022:
		w.Proof.Cryptosuite = string(o.Suite)
	default:
		return nil, coffer.Errorf("delegate", coffer.Invalid, "unknown suite")
	}
	return w, nil
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// randomURN returns a random (version 4) UUID as a URN (RFC 9562).
func randomURN() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return "urn:uuid:" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
