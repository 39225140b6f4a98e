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
// of use to one reader only, [Agent.Revoke] takes it back, and [Agent.Who] tells who can read what.
//
// The vault sees objects of padded sizes and when they are written. Names, folders, types and readers are inside the
// seal (doc/objects.md). Everything that comes back is checked: a vault that answers with another object, an older or a
// forged revision, fewer or rearranged chunks, or another history than before, is found out, and the error is Corrupt.
//
// The package dials nothing and opens no disk: it is handed a vault, in this process or across a network, and keys.
package agent

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/ledger"
)

// Options are what an Agent is made of. Vault and Keyring are needed always, the others where it says so.
type Options struct {
	Vault   coffer.Vault
	Keyring coffer.Owner

	// Space tells the owner's vaults apart: what is derived for one has nothing in common with another. It stays the
	// same for as long as the vault does. Empty is "main".
	Space string

	// Controller is who the owner is to the vault: the identity that controls it. Nil is the Keyring itself.
	Controller coffer.Keyring

	Resolver coffer.Resolver  // finds the keys of identifiers other than did:key; nil: there are none
	URL      string           // the vault's; needed to share and to be asked
	Revoker  Revoker          // needed to revoke
	Log      ledger.Log       // the vault's checkpoints; nil: its history is not checked
	LogKey   *ledger.Verifier // the key of who signs them; needed with Log
	Journal  Journal          // where progress and what was seen is noted; nil: what is interrupted starts anew
	Cache    Cache            // where sealed objects are kept for the next time; nil: nowhere
	Now      func() time.Time // nil is time.Now
	Workers  int              // chunks on their way at once, 1 to 16; 0 is 4
}

// A Revoker makes delegated capabilities void. The client of a vault's API is one.
type Revoker interface {
	// Revoke revokes a capability, given as its JSON, from the next request on. NotExist when it is revoked already.
	Revoke(ctx context.Context, capability []byte) error
}

// A Journal keeps small notes across restarts: at most some kilobytes each, under names of 43 characters of
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

// A Cache keeps sealed objects under names like a [Journal]'s, and may forget them at any time. One agent at a time
// may use it.
type Cache = Journal

// An Agent keeps, finds and shares things in one vault. It is made by [New], and any number of goroutines may use it.
type Agent struct {
	Options
	guest   *guest // in what another owner shared; nil in the owner's own vault
	objects objects
	parts   parts
	feed    follower
	commits commits
}

// New returns an Agent. Invalid when an option that is always needed is missing, or one is out of range.
func New(o Options) (*Agent, error) {
	const op = "agent"
	switch {
	case o.Vault == nil || o.Keyring == nil:
		return nil, coffer.Errorf(op, coffer.Invalid, "a vault and a keyring are needed")
	case o.Log != nil && (o.LogKey == nil || o.URL == ""):
		return nil, coffer.Errorf(op, coffer.Invalid, "checkpoints need their key and the URL of the vault")
	case o.Workers < 0 || o.Workers > 16:
		return nil, coffer.Errorf(op, coffer.Invalid, "number of workers out of range")
	}
	if o.Workers == 0 {
		o.Workers = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Space == "" {
		o.Space = "main"
	}
	o.URL = strings.TrimSuffix(o.URL, "/")
	a := &Agent{Options: o}
	a.commits.turn = make(chan struct{}, 1)
	return a, nil
}

// several calls f with 0, 1, … n-1, a few at a time: for what waits for the vault each time.
func (a *Agent) several(n int, f func(i int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(n, 2*a.Workers) {
		workers.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}
