// Package agent is the owner's wing: plaintext in, sealed documents out, by name.
//
// An [Agent] keeps files and typed objects in a vault that cannot read them, finds them again, and shares them:
//
//	a, err := agent.New(agent.Options{Vault: vault, Keyring: keys})
//	_, err = agent.Put(ctx, a, "people/ada", Person{Name: "Ada"})
//	p, err := agent.Get[Person](ctx, a, "people/ada")
//
// [Agent.Put] takes what a reader gives, of any length, in constant memory; [Agent.Get] returns an [Object] to read
// from anywhere; [Agent.List], [Agent.Walk] and [Agent.Find] say what is there; [Agent.Share] hands out a link that is
// of use to one reader only, and [Agent.Revoke] takes it back.
//
// What is stored is specified in doc/objects.md, so that other clients of encrypted data vaults with the same keys find
// and read it. Everything that comes back from a vault is checked: a vault that answers with another document, another
// version's chunks, fewer or rearranged ones is found out, and the error is Corrupt. What it can do is withhold, and
// show all of an older state.
//
// The package dials nothing and opens no disk: it is handed a vault, in this process or across a network, and keys.
package agent

import (
	"context"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

// Options are what an Agent is made of. Vault and Keyring are needed always, the others where it says so.
type Options struct {
	Vault   coffer.Vault
	Keyring coffer.Keyring

	Resolver coffer.Resolver  // finds other readers' keys; needed to share, and to write what others may read
	URL      string           // the vault's; needed to share
	Revoker  Revoker          // needed to revoke
	Journal  Journal          // where uploads and downloads note how far they got; nil: what is interrupted starts anew
	Now      func() time.Time // nil is time.Now
	Workers  int              // chunks on their way at once, 1 to 16; 0 is 4

	// Others makes what other programs wrote accessible by name, if it has the form of doc/objects.md. Nothing proves
	// then that it was not the provider: whoever knows the owner's public key can write to it.
	Others bool
}

// A Revoker makes delegated capabilities void. The client of a vault's API is one.
type Revoker interface {
	// Revoke revokes a capability, given as its JSON, from the next request on. NotExist when it is revoked already.
	Revoke(ctx context.Context, capability []byte) error
}

// A Journal keeps small notes across restarts: at most some hundred bytes each, under names of 43 characters of
// base64url. What it is given is sealed: it may be an ordinary folder. Its methods may be called by several goroutines
// at once.
type Journal interface {
	// Load returns what was last saved under the name, or NotExist.
	Load(ctx context.Context, name string) ([]byte, error)
	// Save replaces what is saved under the name. A note is saved whole or not at all.
	Save(ctx context.Context, name string, note []byte) error
	// Delete removes what is saved under the name. Nothing there is no error.
	Delete(ctx context.Context, name string) error
}

// An Agent keeps, finds and shares things in one vault. It is made by [New], and any number of goroutines may use it.
type Agent struct {
	Options
	guest bool // in another's vault: what it may do there is by document id only
}

// New returns an Agent. Invalid when an option that is always needed is missing, or one is out of range.
func New(o Options) (*Agent, error) {
	const op = "agent"
	switch {
	case o.Vault == nil || o.Keyring == nil:
		return nil, coffer.Errorf(op, coffer.Invalid, "a vault and a keyring are needed")
	case o.Workers < 0 || o.Workers > 16:
		return nil, coffer.Errorf(op, coffer.Invalid, "number of workers out of range")
	}
	if o.Workers == 0 {
		o.Workers = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.URL = strings.TrimSuffix(o.URL, "/")
	return &Agent{Options: o}, nil
}

// In returns an agent of the same owner for a vault that somebody else shared: one opened with a capability out of a
// [Link]. There, things are named by their ids: [Agent.GetID] and [Agent.PutID] work, names and searches do not.
func (a *Agent) In(vault coffer.Vault) *Agent {
	guest := &Agent{Options: a.Options, guest: true}
	guest.Vault, guest.URL, guest.Revoker = vault, "", nil
	return guest
}
