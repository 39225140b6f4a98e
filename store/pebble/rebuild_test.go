package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

var (
	fullVault, smallVault, purgedVault = coffer.VaultID{1}, coffer.VaultID{2}, coffer.VaultID{3}
	lawVault                           = coffer.VaultID{4}
)

// furnish writes something of everything that a store can hold.
func furnish(t testing.TB, s *Store) {
	v, tick := fullVault, int64(1e12)
	id := func(i int) coffer.ObjectID { return coffer.ObjectID{byte(i + 1), 7} }
	put := func(v coffer.VaultID, d *coffer.Document, keep bool) {
		w := putting(v, d)
		w.Keep = keep
		tick += 1000
		w.Time = time.UnixMilli(tick)
		apply(t, s, w)
	}
	for i := range 6 {
		d := newDocument(fmt.Sprint("body ", i), coffer.Tag{Key: "k", Name: "parity", Value: fmt.Sprint(i % 2)},
			coffer.Tag{Key: "k", Name: "place", Value: fmt.Sprint(i), Unique: true})
		d.ID = id(i)
		put(v, d, false)
		for j := range i % 3 {
			d = successor(d, strings.Repeat(fmt.Sprint("body ", i, j), 1+300*(i%2)), d.Tags...)
			put(v, d, true)
		}
		if i == 5 {
			gone := d.ID
			apply(t, s, store.Write{Vault: v, Time: time.UnixMilli(tick), Erase: &gone})
		}
	}
	stream := &coffer.Document{ID: id(10), Body: []byte("stream"), Stream: &coffer.Stream{Pending: true}}
	put(v, stream, false)
	attach := func(set, index uint64) {
		apply(t, s, store.Write{Vault: v, Attach: &store.Chunk{
			ID: stream.ID, Blob: fmt.Sprint("blob-", set, index), Ref: coffer.ChunkRef{Sequence: set, Index: index, Size: 1000},
		}})
	}
	attach(0, 0)
	attach(0, 1)
	next := successor(stream, "closed")
	next.Stream = &coffer.Stream{Chunks: 2}
	put(v, next, true)
	stream = next
	attach(1, 1)
	next = successor(stream, "patched")
	next.Stream = &coffer.Stream{Chunks: 2, Patch: 1}
	put(v, next, false)

	put(smallVault, newDocument("alone", coffer.Tag{Key: "k", Name: "parity", Value: "0"}), false)
	d := newDocument("to be purged", coffer.Tag{Key: "k", Name: "parity", Value: "0"})
	put(purgedVault, d, false)
	put(purgedVault, successor(d, "again"), true)
	apply(t, s, store.Write{Vault: purgedVault, Time: time.UnixMilli(tick), Purge: true})
	apply(t, s, store.Write{Vault: lawVault, Govern: true})
	apply(t, s, store.Write{Vault: fullVault, Govern: true})
}

// dump returns all keys and values.
func dump(t testing.TB, s *Store) map[string]string {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	all := make(map[string]string)
	for it.First(); it.Valid(); it.Next() {
		all[string(it.Key())] = string(it.Value())
	}
	if err := it.Error(); err != nil {
		t.Fatal(err)
	}
	return all
}

// restore makes the database hold just what a dump has.
func restore(t testing.TB, s *Store, want map[string]string) {
	t.Helper()
	b := s.db.NewBatch()
	for k, v := range dump(t, s) {
		if w, ok := want[k]; !ok || w != v {
			_ = b.Delete([]byte(k), nil)
		}
	}
	for k, v := range want {
		_ = b.Set([]byte(k), []byte(v), nil)
	}
	if err := b.Commit(engine.Sync); err != nil {
		t.Fatal(err)
	}
}

// differences describes how two dumps differ.
func differences(got, want map[string]string) (all []string) {
	for k, v := range want {
		if g, ok := got[k]; !ok {
			all = append(all, fmt.Sprintf("%q is missing", k))
		} else if g != v {
			all = append(all, fmt.Sprintf("%q is %x, want %x", k, g, v))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			all = append(all, fmt.Sprintf("%q is too many", k))
		}
	}
	return all
}

func derived(key string) bool {
	return key[0] == dueKeys || key[0] == vaultKeys && strings.IndexByte("hnstu", key[tableAt]) >= 0
}

func checked(t testing.TB, s *Store) (said []string) {
	t.Helper()
	if err := s.Check(t.Context(), func(what string) { said = append(said, what) }, nil); err != nil {
		t.Fatalf("Check: %v", err)
	}
	return said
}

func rebuildStore(t testing.TB, s *Store) (said []string) {
	t.Helper()
	if err := s.Rebuild(t.Context(), func(what string) { said = append(said, what) }); err != nil {
		t.Fatalf("Rebuild: %v", err)
	}
	return said
}

// TestRebuildDerived deletes and alters every derived record, one at a time, and adds ones that do not belong: after
// Rebuild the store must be to the byte what it was.
func TestRebuildDerived(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem()})
	defer closeStore(t, s)
	furnish(t, s)
	checkClean(t, s)
	before := dump(t, s)
	if said := rebuildStore(t, s); len(said) > 0 {
		t.Fatalf("Rebuild of a store in order said %q", said)
	}
	want := dump(t, s) // without places in the queue that a purge has left
	for k := range before {
		if _, ok := want[k]; !ok && k[0] != dueKeys {
			t.Fatalf("Rebuild of a store in order removed %q", k)
		}
	}
	tables := make(map[byte]int)
	damage := func(what string, edit func(b *engine.Batch), lawLost bool) {
		t.Helper()
		b := s.db.NewBatch()
		edit(b)
		if err := b.Commit(engine.Sync); err != nil {
			t.Fatal(err)
		}
		silent := strings.Contains(what, "law") || strings.Contains(what, "dangling")
		if said := checked(t, s); len(said) == 0 && !silent {
			t.Errorf("%s: Check said nothing", what)
		}
		if said := rebuildStore(t, s); len(said) == 0 && !silent {
			t.Errorf("%s: Rebuild said nothing", what)
		}
		if said := checked(t, s); len(said) > 0 {
			t.Errorf("%s: after Rebuild, Check said %q", what, said)
		}
		got := dump(t, s)
		if lawLost {
			for k, v := range want {
				if len(k) != restAt || k[tableAt] != usageTable {
					continue
				}
				u, err := decodeUsage([]byte(got[k]))
				w, _ := decodeUsage([]byte(v))
				if err != nil {
					t.Errorf("%s: usage: %v", what, err)
				}
				u.Law = w.Law
				got[k] = string(encodeUsage(nil, u))
			}
		}
		if all := differences(got, want); len(all) > 0 {
			t.Errorf("%s: %q", what, all)
		}
		restore(t, s, want)
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if !derived(k) {
			continue
		}
		table := k[0]
		if table == vaultKeys {
			table = k[tableAt]
		}
		tables[table]++
		key, v := []byte(k), []byte(want[k])
		if table != usageTable || coffer.VaultID(key[vaultAt:]) != lawVault { // nothing else says that this vault is there
			damage(fmt.Sprintf("%q deleted", k), func(b *engine.Batch) { _ = b.Delete(key, nil) }, table == usageTable)
		}
		for i := range v {
			if len(v) > 8 && table == headTable && i > 4 && i < len(v)-4 && rand.IntN(8) > 0 {
				continue // of hashes, a few
			}
			law := table == usageTable && (i == len(v)-1 || i == 0) // the form says whether there is one
			what := fmt.Sprintf("%q altered at %d of %x", k, i, v)
			if law {
				what += ", maybe the law"
			}
			altered := bytes.Clone(v)
			altered[i] ^= 1 << rand.IntN(7)
			if law && coffer.VaultID(key[vaultAt:]) == lawVault {
				continue
			}
			damage(what, func(b *engine.Batch) { _ = b.Set(key, altered, nil) }, table == usageTable)
		}
	}
	for _, table := range []byte{dueKeys, headTable, nameTable, usageTable, tagTable, uniqueTable} {
		if tables[table] == 0 {
			t.Errorf("there was no record in table %q", table)
		}
	}

	nobody, firstID := coffer.ObjectID{99}, coffer.ObjectID{1, 7}
	object := appendObject(nil, fullVault, headTable, nobody)
	for what, add := range map[string]struct{ key, value []byte }{
		"head of nobody":       {object, (&head{sequence: 1, number: 99}).append(nil)},
		"present head":         {object, (&head{present: true, sequence: 1, number: 1, size: 9}).append(nil)},
		"head of no form":      {object, []byte{9}},
		"head with a long key": {append(bytes.Clone(object), 1), []byte{9}},
		"tag of nobody":        {append(appendTerm(nil, fullVault, tagTerm("k", "parity", "0")), nobody[:]...), nil},
		"name of nobody":       {append(appendTerm(nil, smallVault, nameTerm("k", "parity")), nobody[:]...), nil},
		"name of another":      {append(appendTerm(nil, fullVault, nameTerm("k", "other")), firstID[:]...), nil},
		"unique of nobody":     {appendTerm(nil, fullVault, term{uniqueTable, 1}), nobody[:]},
		"unique of another":    {appendTerm(nil, fullVault, term{uniqueTable, 1}), firstID[:]},
		"short tag":            {appendTerm(nil, fullVault, tagTerm("k", "parity", "0")), nil},
		"long usage":           {append(appendTable(nil, fullVault, usageTable), 1), []byte{1, 0, 0, 0}},
		"dangling":             {appendDue(nil, fullVault, nobody, 1, 5), encodeDue(nil, 9)},
		"dangling, no form":    {appendDue(nil, fullVault, nobody, 1, 5), []byte{9}},
		"no vault, tag":        {append(appendTerm(nil, coffer.VaultID{8}, term{tagTable}), nobody[:]...), nil},
		"traces":               {appendTrace(nil, fullVault, nobody), []byte{1}},
	} {
		what := what
		if what == "traces" {
			what = "traces, dangling" // no damage, only left
		}
		damage("added "+what, func(b *engine.Batch) { _ = b.Set(add.key, add.value, nil) }, false)
	}
	all := func(b *engine.Batch) {
		for k := range want {
			if derived(k) && !(len(k) == restAt && coffer.VaultID([]byte(k)[vaultAt:]) == lawVault) {
				_ = b.Delete([]byte(k), nil)
			}
		}
	}
	damage("all deleted", all, true)

	// Cut off at any point, it can be done again.
	for after := 1; ; after++ {
		b := s.db.NewBatch()
		all(b)
		if err := b.Commit(engine.Sync); err != nil {
			t.Fatal(err)
		}
		err := s.Rebuild(&ending{Context: t.Context(), after: after}, func(string) {})
		if err == nil {
			break
		}
		if !errors.Is(err, coffer.Unavailable) || !errors.Is(err, context.Canceled) {
			t.Fatalf("Rebuild: %v, want %v", err, context.Canceled)
		}
		rebuildStore(t, s)
		if said := checked(t, s); len(said) > 0 {
			t.Fatalf("cut off after %d: Check said %q", after, said)
		}
		restore(t, s, want)
	}
}

// An ending context is cancelled after it was asked so often.
type ending struct {
	context.Context
	after int
}

func (e *ending) Err() error {
	if e.after--; e.after < 0 {
		return context.Canceled
	}
	return nil
}

// TestRebuildKeepsWitness destroys what is not derived: Rebuild must not hide it from Check, and must not break it
// more.
func TestRebuildKeepsWitness(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem()})
	defer closeStore(t, s)
	furnish(t, s)
	rebuildStore(t, s)
	want := dump(t, s)
	first := coffer.ObjectID{2, 7} // replaced once
	u, err := s.Usage(t.Context(), fullVault)
	if err != nil {
		t.Fatal(err)
	}
	last := appendChange(nil, fullVault, u.Changes)
	doc, erased := appendObject(nil, fullVault, docTable, first), coffer.ObjectID{6, 7}
	old, err := s.Revision(t.Context(), fullVault, first, 0)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(key []byte, at int) []byte {
		v := []byte(want[string(key)])
		v[(at+len(v))%len(v)] ^= 1
		return v
	}
	for what, c := range map[string]struct {
		key, value []byte // deleted if nil
		want       string
		also       []byte // deleted, too
	}{
		"document lost":        {doc, nil, "a head has no document", nil},
		"and its head":         {doc, nil, "a head has no document", appendObject(nil, fullVault, headTable, first)},
		"document damaged":     {doc, flip(doc, -1), "a document does not hash to its name", nil},
		"document of no form":  {doc, flip(doc, 0), "a document does not decode", nil},
		"document rolled back": {doc, appendRevision(nil, old, old.Rev()), "a document and its head do not agree", nil},
		"rolled back, no head": {doc, appendRevision(nil, old, old.Rev()), "a document and its head do not agree",
			appendObject(nil, fullVault, headTable, first)},
		"erased came back": {appendObject(nil, fullVault, docTable, erased),
			appendRevision(nil, newDocument("x"), coffer.Rev{}), "a document has no head", nil},
		"change lost":            {appendChange(nil, fullVault, 3), nil, "changes are missing from a feed", nil},
		"first change lost":      {appendChange(nil, fullVault, 1), nil, "changes are missing from a feed", nil},
		"change of no form":      {appendChange(nil, fullVault, 3), []byte{9}, "a change does not decode", nil},
		"last change lost":       {last, nil, "usage of a vault does not add up", nil},
		"last change, and usage": {last, nil, "last change is not in the feed", appendTable(nil, fullVault, usageTable)},
		"kept revision damaged":  {keptKey(want), flip(keptKey(want), -1), "a kept revision does not hash to its name", nil},
		"kept of nothing": {appendKept(nil, smallVault, first, 0, 5),
			[]byte(want[string(doc)]), "a revision is kept of nothing", nil},
		"chunk of nothing": {appendChunk(nil, smallVault, first, 0, 5),
			encodeChunk(nil, &store.Chunk{Blob: "b"}), "a chunk is attached to nothing", nil},
	} {
		t.Run(what, func(t *testing.T) {
			b := s.db.NewBatch()
			if c.value == nil {
				_ = b.Delete(c.key, nil)
			} else {
				_ = b.Set(c.key, c.value, nil)
			}
			if c.also != nil {
				_ = b.Delete(c.also, nil)
			}
			if err := b.Commit(engine.Sync); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second finds nothing else
				rebuildStore(t, s)
				said := checked(t, s)
				if !slices.ContainsFunc(said, func(what string) bool { return strings.Contains(what, c.want) }) {
					t.Errorf("after Rebuild, Check said %q, want %q", said, c.want)
				}
			}
			if now, err := s.Usage(t.Context(), fullVault); err != nil || now.Changes < u.Changes {
				t.Errorf("the next change would take the number of another: %+v, %v", now, err)
			}
			got := dump(t, s)
			if string(c.key) != "" {
				delete(got, string(c.key))
			}
			for k, v := range want {
				if !derived(k) && k != string(c.key) && got[k] != v {
					t.Errorf("Rebuild changed %q, which is not derived", k)
				}
			}
			restore(t, s, want)
		})
	}
}

func keptKey(all map[string]string) []byte {
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if k[0] == vaultKeys && k[tableAt] == keptTable {
			return []byte(k)
		}
	}
	return nil
}
