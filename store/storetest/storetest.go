// Package storetest checks with one script that a driver keeps the contract of [store.Store]. A driver's test calls
// [Run]; what only that driver can do (damage, crashes) it tests itself.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A Disk makes an empty disk for a test and returns the function that opens the store on it. It is called again, after
// Close, to open the store anew.
type Disk func(t *testing.T) (open func() store.Store)

// Run runs all of the script, each part on a disk of its own. At the end of each the store must check clean.
func Run(t *testing.T, disk Disk) {
	for _, part := range []struct {
		name string
		run  func(*bench)
	}{
		{"documents", documents},
		{"forms", forms},
		{"allOrNothing", allOrNothing},
		{"uniqueTags", uniqueTags},
		{"erase", erase},
		{"purge", purge},
		{"chunks", chunks},
		{"chunkSets", chunkSets},
		{"patches", patches},
		{"present", present},
		{"limits", limits},
		{"laws", laws},
		{"revisions", revisions},
		{"keptStreams", keptStreams},
		{"compaction", compaction},
		{"feed", feed},
		{"queries", queries},
		{"manyNames", manyNames},
		{"vaultsApart", vaultsApart},
		{"reopen", reopen},
		{"closed", closed},
		{"cancelled", cancelled},
		{"largeCommit", largeCommit},
		{"raceForObject", raceForObject},
		{"raceForTag", raceForTag},
		{"raceInFeed", raceInFeed},
		{"raceWithReaders", raceWithReaders},
		{"raceForPatch", raceForPatch},
		{"raceForLaw", raceForLaw},
		{"raceWithCompaction", raceWithCompaction},
		{"random", random},
		{"shared", shared},
		{"raceInShared", raceInShared},
		{"watched", watched},
		{"rebuilt", rebuilt},
		{"measured", measured},
	} {
		t.Run(part.name, func(t *testing.T) {
			b := &bench{T: t, ctx: t.Context(), open: disk(t), vault: coffer.NewVaultID()}
			b.Store = b.open()
			defer func() { _ = b.Store.Close() }()
			part.run(b)
			if !t.Failed() && !b.ended {
				b.clean()
			}
		})
	}
}

// A bench is a store on a disk, and a vault to work in.
type bench struct {
	*testing.T
	store.Store
	ctx   context.Context
	open  func() store.Store
	vault coffer.VaultID
	ended bool // the store is closed
}

// instant is when everything in the script happens, unless it matters.
var instant = time.Date(2026, 11, 21, 10, 20, 30, 456789012, time.UTC)

const who = "did:example:writer"

// reopen closes the store and opens it anew.
func (b *bench) reopen() {
	b.Helper()
	if err := b.Store.Close(); err != nil {
		b.Fatalf("Close: %v", err)
	}
	b.Store = b.open()
}

// clean checks that the store checks clean.
func (b *bench) clean() {
	b.Helper()
	if err := b.Check(b.ctx, func(s string) { b.Errorf("Check: %s", s) }, nil); err != nil {
		b.Errorf("Check: %v", err)
	}
}

// document returns a first revision with the tags.
func document(body string, tags ...coffer.Tag) *coffer.Document {
	return &coffer.Document{ID: coffer.NewObjectID(), Body: []byte(body), Tags: tags}
}

// successor returns a revision that follows d.
func successor(d *coffer.Document, body string, tags ...coffer.Tag) *coffer.Document {
	return &coffer.Document{
		ID: d.ID, Sequence: d.Sequence + 1, Parents: []coffer.Rev{d.Rev()}, Body: []byte(body), Tags: tags,
	}
}

func tag(name, value string) coffer.Tag { return coffer.Tag{Key: "k", Name: name, Value: value} }

func uniqueTag(name, value string) coffer.Tag {
	return coffer.Tag{Key: "k", Name: name, Value: value, Unique: true}
}

// put returns the write that accepts d.
func (b *bench) put(d *coffer.Document) store.Write {
	return store.Write{Vault: b.vault, By: who, Time: instant, Document: d}
}

func (b *bench) erasure(id coffer.ObjectID) store.Write {
	return store.Write{Vault: b.vault, By: who, Time: instant, Erase: &id}
}

func (b *bench) attachment(c store.Chunk) store.Write { return store.Write{Vault: b.vault, Attach: &c} }
func (b *bench) detachment(c store.Chunk) store.Write { return store.Write{Vault: b.vault, Detach: &c} }

func (b *bench) purging() store.Write {
	return store.Write{Vault: b.vault, By: who, Time: instant, Purge: true}
}

// must applies writes that keep the rules.
func (b *bench) must(writes ...store.Write) []store.Result {
	b.Helper()
	results, err := b.Apply(b.ctx, writes...)
	if err != nil {
		b.Fatalf("Apply: %v", err)
	}
	if len(results) != len(writes) {
		b.Fatalf("Apply: %d results for %d writes", len(results), len(writes))
	}
	return results
}

// refused applies writes that break a rule, and checks that nothing came of them.
func (b *bench) refused(kind coffer.Kind, writes ...store.Write) {
	b.Helper()
	before := b.usage()
	if _, err := b.Apply(b.ctx, writes...); !errors.Is(err, kind) {
		b.Fatalf("Apply: %v, want %v", err, kind)
	}
	if after := b.usage(); after != before {
		b.Fatalf("usage is %+v after a refusal, was %+v", after, before)
	}
}

func (b *bench) usage() store.Usage {
	b.Helper()
	u, err := b.Usage(b.ctx, b.vault)
	if err != nil {
		b.Fatalf("Usage: %v", err)
	}
	return u
}

// has checks that d is present.
func (b *bench) has(d *coffer.Document) {
	b.Helper()
	got, err := b.Get(b.ctx, b.vault, d.ID)
	if err != nil {
		b.Fatalf("Get: %v", err)
	}
	if got.ID != d.ID || got.Rev() != d.Rev() {
		b.Fatalf("Get: got %+v, want %+v", got, d)
	}
}

// hasNot checks that nothing is present under the id.
func (b *bench) hasNot(id coffer.ObjectID) {
	b.Helper()
	if d, err := b.Get(b.ctx, b.vault, id); !errors.Is(err, coffer.NotExist) || d != nil {
		b.Fatalf("Get: %v, %v, want NotExist", d, err)
	}
}

// changes returns the feed after a number.
func (b *bench) changes(after uint64) []coffer.Change {
	b.Helper()
	var all []coffer.Change
	for c, err := range b.Changes(b.ctx, b.vault, after) {
		if err != nil {
			b.Fatalf("Changes: %v", err)
		}
		all = append(all, c)
	}
	return all
}

// query returns what matches.
func (b *bench) query(q coffer.Query) []*coffer.Document {
	b.Helper()
	if err := q.Check(); err != nil {
		b.Fatalf("the script's own query: %v", err)
	}
	var all []*coffer.Document
	for d, err := range b.Query(b.ctx, b.vault, q) {
		if err != nil {
			b.Fatalf("Query: %v", err)
		}
		all = append(all, d)
	}
	return all
}

// finds checks that a query matches just the documents, and Count and IDsOnly agree.
func (b *bench) finds(q coffer.Query, want ...*coffer.Document) {
	b.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b *coffer.Document) int { return slices.Compare(a.ID[:], b.ID[:]) })
	if err := same(b.query(q), want, false); err != nil {
		b.Fatalf("Query: %v", err)
	}
	q.IDsOnly = true
	if err := same(b.query(q), want, true); err != nil {
		b.Fatalf("Query of ids: %v", err)
	}
	n, err := b.Count(b.ctx, b.vault, q)
	if err != nil || q.Limit == 0 && q.After == (coffer.ObjectID{}) && n != len(want) {
		b.Fatalf("Count: %d, %v, want %d", n, err, len(want))
	}
}

// same compares what was found with what was to be found.
func same(got, want []*coffer.Document, idsOnly bool) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d documents, want %d", len(got), len(want))
	}
	for i, d := range got {
		w := want[i]
		switch {
		case d.ID != w.ID || d.Sequence != w.Sequence:
			return fmt.Errorf("document %d is another", i)
		case idsOnly && (d.Body != nil || d.Tags != nil || d.Parents != nil || d.Stream != nil):
			return fmt.Errorf("document %d is more than its id", i)
		case !idsOnly && d.Rev() != w.Rev():
			return fmt.Errorf("document %d is another revision", i)
		}
	}
	return nil
}

// rng returns a source of randomness and prints its seed. COFFER_SEED repeats an earlier run.
func rng(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("COFFER_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("COFFER_SEED: %v", err)
		}
	}
	t.Logf("COFFER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}
