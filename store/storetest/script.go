package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

func documents(b *bench) {
	b.hasNot(coffer.NewObjectID())
	if results, err := b.Apply(b.ctx); len(results) != 0 || err != nil {
		b.Fatalf("Apply of nothing: %v, %v", results, err)
	}
	first := document("first", tag("a", "1"), uniqueTag("b", "2"))
	result := b.must(b.put(first))[0]
	want := coffer.Change{
		Number: 1, Kind: coffer.Accepted, ID: first.ID, Rev: first.Rev(), By: who, Time: store.Instant(instant),
	}
	if result.Change != want || result.Released != nil || result.Purged {
		b.Fatalf("result %+v, want the change %+v", result, want)
	}
	b.has(first)
	b.refused(coffer.Conflict, b.put(first))
	again := document("another with the same id")
	again.ID = first.ID
	b.refused(coffer.Conflict, b.put(again))

	second := successor(first, "second", tag("a", "1"), tag("c", "3"))
	second.Stream = &coffer.Stream{Sequence: 1, Chunks: 7}
	if n := b.must(b.put(second))[0].Change.Number; n != 2 {
		b.Fatalf("number %d, want 2", n)
	}
	b.has(second)
	b.refused(coffer.Conflict, b.put(second))
	b.refused(coffer.Conflict, b.put(successor(first, "from what was there before")))

	third := successor(second, "third")
	skips := *third
	skips.Sequence++
	b.refused(coffer.Conflict, b.put(&skips))
	stays := *third
	stays.Sequence--
	stays.Stream = nil
	b.refused(coffer.Conflict, b.put(&stays))
	merges := *third
	merges.Parents = []coffer.Rev{second.Rev(), first.Rev()}
	b.refused(coffer.Conflict, b.put(&merges))
	orphan := document("follows nothing")
	orphan.Parents = []coffer.Rev{first.Rev()}
	orphan.Sequence = 1
	b.refused(coffer.Conflict, b.put(orphan))
	b.hasNot(orphan.ID)

	reindex := b.put(&stays)
	reindex.Reindex = true
	stays.Tags = []coffer.Tag{tag("d", "4")}
	b.must(reindex)
	b.has(&stays)
	b.refused(coffer.Conflict, reindex)
	b.finds(coffer.Query{Index: "k", Has: []string{"d"}}, &stays)
	b.finds(coffer.Query{Index: "k", Has: []string{"a"}})
	follows := b.put(successor(&stays, "reindexing may go on, too"))
	follows.Reindex = true
	b.must(follows)
	b.has(follows.Document)

	pending := document("pending")
	pending.Stream = &coffer.Stream{Pending: true}
	b.must(b.put(pending))
	b.has(pending)
	large := document(strings.Repeat("large ", 1<<18), tag("long", strings.Repeat("v", coffer.MaxTagText)))
	b.must(b.put(large))
	b.has(large)
	many := document("many tags")
	for i := range coffer.MaxTags {
		many.Tags = append(many.Tags, tag(fmt.Sprint(i%100), fmt.Sprint(i)))
	}
	b.must(b.put(many))
	b.has(many)
	b.finds(coffer.Query{Index: "k", Has: []string{"7"}}, many)
	b.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"7": "207", "8": "308"}}}, many)
	twice := document("the same tag twice", tag("t", "t"), uniqueTag("t", "t"), tag("t", "t"), uniqueTag("t", "t"))
	b.must(b.put(twice))
	b.has(twice)
	b.finds(coffer.Query{Index: "k", Has: []string{"t"}}, twice)
	b.must(b.put(successor(twice, "and never again")))
	b.finds(coffer.Query{Index: "k", Has: []string{"t"}})
}

func forms(b *bench) {
	id := coffer.NewObjectID()
	good := b.put(document("good"))
	for name, spoil := range map[string]func(w *store.Write){
		"no step":       func(w *store.Write) { w.Document = nil },
		"two steps":     func(w *store.Write) { w.Erase = &id },
		"purge and put": func(w *store.Write) { w.Purge = true },
		"no vault":      func(w *store.Write) { w.Vault = coffer.VaultID{} },
		"no object":     func(w *store.Write) { w.Document = &coffer.Document{Body: []byte("x")} },
		"no body":       func(w *store.Write) { w.Document = &coffer.Document{ID: id} },
		"long writer":   func(w *store.Write) { w.By = strings.Repeat("x", store.MaxBy+1) },
		"no time":       func(w *store.Write) { w.Time = time.Time{} },
		"reindexing an erasure": func(w *store.Write) {
			w.Document, w.Erase, w.Reindex = nil, &id, true
		},
		"no blob": func(w *store.Write) {
			w.Document, w.Attach = nil, &store.Chunk{ID: id}
		},
		"negative chunk": func(w *store.Write) {
			w.Document, w.Attach = nil, &store.Chunk{ID: id, Blob: "x", Ref: coffer.ChunkRef{Size: -1}}
		},
		"too large a chunk": func(w *store.Write) {
			w.Document, w.Attach = nil, &store.Chunk{ID: id, Blob: "x", Ref: coffer.ChunkRef{Size: store.MaxChunk + 1}}
		},
		"long blob": func(w *store.Write) {
			w.Document, w.Attach = nil, &store.Chunk{ID: id, Blob: strings.Repeat("x", store.MaxBlob+1)}
		},
	} {
		bad := good
		spoil(&bad)
		if _, err := b.Apply(b.ctx, b.put(document("beside")), bad); !errors.Is(err, coffer.Invalid) {
			b.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	twice := document("twice")
	b.refused(coffer.Invalid, b.put(twice), b.put(twice))
	b.refused(coffer.Invalid, b.put(twice), b.erasure(twice.ID))
	b.refused(coffer.Invalid, b.purging(), b.put(twice))
	b.refused(coffer.Invalid, b.put(twice), b.purging())
	b.refused(coffer.Invalid, b.purging(), b.purging())
	b.refused(coffer.Exhausted, make([]store.Write, store.MaxWrites+1)...)
	half := strings.Repeat("x", store.MaxCommit/2)
	b.refused(coffer.Exhausted, b.put(document(half)), b.put(document(half)), b.put(document("x")))
}

func allOrNothing(b *bench) {
	taken := document("taken", uniqueTag("name", "taken"))
	b.must(b.put(taken))
	one, two := document("one", uniqueTag("name", "one")), document("two", uniqueTag("name", "taken"))
	b.refused(coffer.Conflict, b.put(one), b.put(two))
	b.refused(coffer.Conflict, b.put(two), b.put(one))
	b.refused(coffer.NotExist, b.put(one), b.erasure(coffer.NewObjectID()))
	b.hasNot(one.ID)
	b.finds(coffer.Query{}, taken)

	// Two documents of one commit may not hold the same unique tag, but one may take what another releases before.
	same := document("same", uniqueTag("name", "one"))
	b.refused(coffer.Conflict, b.put(one), b.put(same))
	results := b.must(b.put(one), b.erasure(taken.ID), b.put(two))
	for i, r := range results {
		if r.Change.Number != uint64(2+i) {
			b.Fatalf("change %d has the number %d", i, r.Change.Number)
		}
	}
	b.finds(coffer.Query{}, one, two)
	renamed := successor(one, "renamed", uniqueTag("name", "two"))
	b.refused(coffer.Conflict, b.put(same), b.put(renamed))
	b.must(b.put(renamed), b.put(same))
	b.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"name": "one"}}}, same)
}

func uniqueTags(b *bench) {
	holder := document("holder", uniqueTag("name", "x"))
	b.must(b.put(holder))
	b.refused(coffer.Conflict, b.put(document("rival", uniqueTag("name", "x"))))
	other := document("not unique", tag("name", "x"))
	b.must(b.put(other))
	otherKey := document("another key", coffer.Tag{Key: "l", Name: "name", Value: "x", Unique: true})
	b.must(b.put(otherKey))
	b.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"name": "x"}}}, holder, other)
	b.finds(coffer.Query{Index: "l", Equals: []map[string]string{{"name": "x"}}}, otherKey)
	// The texts of a tag do not run into each other.
	b.must(b.put(document("shifted", coffer.Tag{Key: "kn", Name: "ame", Value: "x", Unique: true})))
	b.must(b.put(document("shifted", coffer.Tag{Key: "k", Name: "namex", Value: "", Unique: true})))

	kept := successor(holder, "kept", uniqueTag("name", "x"))
	b.must(b.put(kept))
	b.refused(coffer.Conflict, b.put(successor(other, "wants it", uniqueTag("name", "x"))))
	loosened := successor(kept, "loosened", tag("name", "x"))
	b.must(b.put(loosened))
	taken := successor(other, "takes it", uniqueTag("name", "x"))
	b.must(b.put(taken))
	b.refused(coffer.Conflict, b.put(successor(loosened, "wants it back", uniqueTag("name", "x"))))
	b.must(b.erasure(taken.ID))
	b.must(b.put(successor(loosened, "gets it back", uniqueTag("name", "x"))))
}

func erase(b *bench) {
	b.refused(coffer.NotExist, b.erasure(coffer.NewObjectID()))
	d := document("body", tag("a", "1"))
	b.must(b.put(d))
	next := successor(d, "next", tag("a", "1"), uniqueTag("b", "1"))
	b.must(b.put(next))
	r := b.must(b.erasure(d.ID))[0]
	want := coffer.Change{Number: 3, Kind: coffer.Erased, ID: d.ID, Sequence: 1, By: who, Time: store.Instant(instant)}
	if r.Change != want {
		b.Fatalf("change %+v, want %+v", r.Change, want)
	}
	b.hasNot(d.ID)
	b.refused(coffer.NotExist, b.erasure(d.ID))
	b.refused(coffer.Conflict, b.put(d))
	b.refused(coffer.Conflict, b.put(successor(next, "after the end")))
	b.finds(coffer.Query{})
	b.finds(coffer.Query{Index: "k", Has: []string{"a"}})
	if u := b.usage(); u != (store.Usage{Changes: 3}) {
		b.Fatalf("usage %+v", u)
	}
	b.must(b.put(document("the tag is free", uniqueTag("b", "1"))))
}

func purge(b *bench) {
	beside := b.vault
	beside[0]++ // a neighbour in the order of vaults
	kept := document("kept", uniqueTag("u", "1"))
	b.must(store.Write{Vault: beside, Time: instant, Document: kept})

	d, e := document("d", uniqueTag("u", "1")), document("e", tag("t", "1"))
	b.must(b.put(d), b.put(e))
	b.must(b.attachment(store.Chunk{ID: d.ID, Blob: "blob", Ref: coffer.ChunkRef{Size: 10}}))
	b.must(b.erasure(e.ID))
	r := b.must(b.purging())[0]
	want := coffer.Change{Number: 4, Kind: coffer.VaultErased, By: who, Time: store.Instant(instant)}
	if r.Change != want || !r.Purged {
		b.Fatalf("result %+v, want the change %+v", r, want)
	}
	if got := b.changes(0); !slices.Equal(got, []coffer.Change{want}) {
		b.Fatalf("feed %+v", got)
	}
	if got := b.changes(2); !slices.Equal(got, []coffer.Change{want}) {
		b.Fatalf("feed in the middle %+v", got)
	}
	if u := b.usage(); u != (store.Usage{Changes: 4, Law: 1}) {
		b.Fatalf("usage %+v", u)
	}
	b.hasNot(d.ID)
	b.finds(coffer.Query{})
	b.finds(coffer.Query{Index: "k", Has: []string{"t"}})
	if _, err := b.Chunk(b.ctx, b.vault, d.ID, 0, 0); !errors.Is(err, coffer.NotExist) {
		b.Fatalf("Chunk: %v", err)
	}
	b.clean()
	b.must(b.put(d), b.put(e)) // every id is free
	b.has(d)
	b.reopen()
	b.has(d)
	b.vault = beside
	b.has(kept)
}

func chunks(b *bench) {
	d := document("d")
	chunk := store.Chunk{ID: d.ID, Blob: "blob-0", Ref: coffer.ChunkRef{Index: 3, Size: 100, Sum: [32]byte{1, 2}}}
	absent := func(c store.Chunk) {
		b.Helper()
		if _, err := b.Chunk(b.ctx, b.vault, c.ID, c.Ref.Sequence, c.Ref.Index); !errors.Is(err, coffer.NotExist) {
			b.Fatalf("Chunk: %v, want NotExist", err)
		}
	}
	present := func(c store.Chunk) {
		b.Helper()
		if got, err := b.Chunk(b.ctx, b.vault, c.ID, c.Ref.Sequence, c.Ref.Index); err != nil || got != c {
			b.Fatalf("Chunk: %+v, %v, want %+v", got, err, c)
		}
	}
	absent(chunk)
	b.refused(coffer.NotExist, b.attachment(chunk))
	b.must(b.put(d))
	b.refused(coffer.NotExist, b.detachment(chunk))
	ahead := chunk
	ahead.Ref.Sequence = 1
	b.refused(coffer.Conflict, b.attachment(ahead))
	if r := b.must(b.attachment(chunk))[0]; r.Change != (coffer.Change{}) || r.Released != nil {
		b.Fatalf("result %+v", r)
	}
	present(chunk)
	if u := b.usage(); u != (store.Usage{Documents: 1, Bytes: 101, Changes: 1}) {
		b.Fatalf("usage %+v", u)
	}
	other := chunk
	other.Blob, other.Ref.Size, other.Ref.Sum = "blob-1", 60, [32]byte{3}
	if r := b.must(b.attachment(other))[0]; !slices.Equal(r.Released, []string{"blob-0"}) {
		b.Fatalf("result %+v", r)
	}
	present(other)
	if r := b.must(b.attachment(other))[0]; r.Released != nil { // it is still named
		b.Fatalf("result %+v", r)
	}
	if u := b.usage(); u != (store.Usage{Documents: 1, Bytes: 61, Changes: 1}) {
		b.Fatalf("usage %+v", u)
	}
	b.reopen()
	present(other)
	r := b.must(b.detachment(chunk))[0]
	if r.Change != (coffer.Change{}) || !slices.Equal(r.Released, []string{"blob-1"}) {
		b.Fatalf("result %+v", r)
	}
	absent(other)
	if u := b.usage(); u != (store.Usage{Documents: 1, Bytes: 1, Changes: 1}) {
		b.Fatalf("usage %+v", u)
	}
	b.must(b.attachment(chunk))
	if r := b.must(b.erasure(d.ID))[0]; !slices.Equal(r.Released, []string{"blob-0"}) {
		b.Fatalf("result %+v", r)
	}
	absent(chunk)
	b.refused(coffer.NotExist, b.attachment(chunk))
	if got := len(b.changes(0)); got != 2 {
		b.Fatalf("%d changes: chunks are not in the feed", got)
	}
}

func chunkSets(b *bench) {
	d := document("opened")
	d.Stream = &coffer.Stream{Pending: true}
	attach := func(set, index uint64) {
		b.Helper()
		b.must(b.attachment(store.Chunk{
			ID: d.ID, Blob: fmt.Sprintf("%d-%d", set, index), Ref: coffer.ChunkRef{Sequence: set, Index: index, Size: 1},
		}))
	}
	follow := func(s *coffer.Stream, reindex bool, released ...string) {
		b.Helper()
		n := successor(d, "n")
		n.Stream = s
		if reindex {
			n.Sequence--
		}
		w := b.put(n)
		w.Reindex = reindex
		got := b.must(w)[0].Released
		slices.Sort(got)
		if !slices.Equal(got, released) {
			b.Fatalf("released %q, want %q", got, released)
		}
		d = n
		var recorded []store.Chunk
		err := b.Check(b.ctx, func(s string) { b.Errorf("Check: %s", s) }, func(c store.Chunk) {
			recorded = append(recorded, c)
		})
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range recorded {
			if c.Ref.Sequence != store.Keeps(d) {
				b.Fatalf("a chunk of set %d is still there", c.Ref.Sequence)
			}
		}
	}
	b.must(b.put(d))
	attach(0, 0)
	attach(0, 1)
	follow(&coffer.Stream{Sequence: 0, Chunks: 2}, false)               // closes set 0
	attach(1, 0)                                                        // begins set 1
	follow(&coffer.Stream{Sequence: 0, Chunks: 2}, false, "1-0")        // an update of the document only
	attach(2, 0)                                                        // begins set 2
	follow(&coffer.Stream{Sequence: 0, Chunks: 2}, true, "2-0")         // names set 0 alone
	attach(2, 1)                                                        // begins set 2 again
	follow(&coffer.Stream{Sequence: 2, Chunks: 1}, false, "0-0", "0-1") // closes set 2
	follow(&coffer.Stream{Sequence: 3, Pending: true}, false, "2-1")    // opens anew
	attach(4, 0)                                                        // begins set 4
	follow(&coffer.Stream{Sequence: 4, Pending: true}, true)            // is still being written
	follow(nil, true)                                                   // no stream: the set may yet be named
	follow(nil, false, "4-0")                                           // but not by this one
	attach(5, 9)
	if u := b.usage(); u.Bytes != 2 {
		b.Fatalf("usage %+v", u)
	}
}

func limits(b *bench) {
	limited := func(w store.Write, documents, bytes int64) store.Write {
		w.Limit = store.Usage{Documents: documents, Bytes: bytes, Changes: 1}
		return w
	}
	one, two := document("12345", tag("ab", "cd")), document("1234567890")
	b.refused(coffer.Exhausted, limited(b.put(one), 0, 9))
	b.must(limited(b.put(one), 1, 10)) // 5 of body, k ab cd
	if u := b.usage(); u != (store.Usage{Documents: 1, Bytes: 10, Changes: 1}) {
		b.Fatalf("usage %+v", u)
	}
	b.refused(coffer.Exhausted, limited(b.put(two), 1, 0))
	b.refused(coffer.Exhausted, limited(b.put(two), 0, 19))
	b.must(limited(b.put(two), 2, 20))
	chunk := store.Chunk{ID: two.ID, Blob: "x", Ref: coffer.ChunkRef{Size: 100}}
	b.refused(coffer.Exhausted, limited(b.attachment(chunk), 0, 119))
	b.must(limited(b.attachment(chunk), 1, 120)) // it adds no document
	// What makes a vault hold less, or as much, is never refused.
	b.must(limited(b.put(successor(one, "123", tag("ab", "cd"))), 1, 1))
	chunk.Blob = "y"
	b.must(limited(b.attachment(chunk), 1, 1))
	b.must(limited(b.detachment(chunk), 1, 1))
	b.must(limited(b.erasure(one.ID), 1, 1))
	// Every write of a commit is measured when its turn comes.
	three := document("123")
	b.refused(coffer.Exhausted, limited(b.put(three), 1, 0), b.erasure(two.ID))
	b.must(b.erasure(two.ID), limited(b.put(three), 1, 3))
	b.must(limited(b.purging(), 1, 1))
	if u := b.usage(); u.Documents != 0 || u.Bytes != 0 {
		b.Fatalf("usage %+v", u)
	}
}

func feed(b *bench) {
	if got := b.changes(0); got != nil {
		b.Fatalf("feed of an unused vault: %+v", got)
	}
	var want []coffer.Change
	for i := range 50 {
		d := document(fmt.Sprint(i))
		w := b.put(d)
		w.By = fmt.Sprintf("did:example:%d", i)
		w.Time = instant.Add(time.Duration(i) * time.Second).In(time.FixedZone("", 3600))
		want = append(want, b.must(w)[0].Change)
		if i%3 == 0 {
			want = append(want, b.must(b.erasure(d.ID))[0].Change)
		}
	}
	for _, after := range []uint64{0, 1, uint64(len(want)) - 1, uint64(len(want)), 1 << 63, ^uint64(0)} {
		rest := want[min(after, uint64(len(want))):]
		if got := b.changes(after); !slices.Equal(got, rest) {
			b.Fatalf("after %d: %d changes, want %d", after, len(got), len(rest))
		}
	}
	for c, err := range b.Changes(b.ctx, b.vault, 3) {
		if err != nil || c.Number != 4 {
			b.Fatalf("Changes: %+v, %v", c, err)
		}
		break
	}
}

func queries(b *bench) {
	index := coffer.Query{Index: "k"}
	equals := func(filters ...map[string]string) coffer.Query {
		q := index
		q.Equals = filters
		return q
	}
	has := func(names ...string) coffer.Query {
		q := index
		q.Has = names
		return q
	}
	red := document("red", tag("colour", "red"), tag("size", "1"))
	blue := document("blue", tag("colour", "blue"), tag("size", "1"))
	both := document("both", tag("colour", "blue"), tag("colour", "red"))
	plain := document("plain")
	foreign := document("foreign", coffer.Tag{Key: "l", Name: "colour", Value: "red"})
	for _, d := range []*coffer.Document{red, blue, both, plain, foreign} {
		b.must(b.put(d))
	}
	b.finds(coffer.Query{}, red, blue, both, plain, foreign)
	b.finds(index, red, blue, both, plain, foreign)
	b.finds(has("colour"), red, blue, both)
	b.finds(has("colour", "size"), red, blue)
	b.finds(has("colour", "weight"))
	b.finds(equals(map[string]string{"colour": "red"}), red, both)
	b.finds(equals(map[string]string{"colour": "red", "size": "1"}), red)
	b.finds(equals(map[string]string{"colour": "red"}, map[string]string{"colour": "blue"}), red, blue, both)
	b.finds(equals(map[string]string{"colour": "red"}, map[string]string{"colour": "red"}), red, both)
	b.finds(equals(map[string]string{"colour": ""}))
	b.finds(equals(map[string]string{}))
	b.finds(equals(map[string]string{}, map[string]string{"size": "1"}), red, blue)
	b.finds(equals(map[string]string{"Colour": "red"}))
	b.finds(coffer.Query{Index: "l", Has: []string{"colour"}}, foreign)
	b.finds(coffer.Query{Index: "none", Has: []string{"colour"}})

	all := b.query(coffer.Query{})
	for i, d := range all {
		b.finds(coffer.Query{After: d.ID}, all[i+1:]...)
		b.finds(coffer.Query{Limit: i + 1}, all[:i+1]...)
		if i > 0 {
			b.finds(coffer.Query{After: all[0].ID, Limit: i}, all[1:i+1]...)
		}
	}
	b.finds(coffer.Query{After: coffer.ObjectID(bytes.Repeat([]byte{0xff}, 16))})
	for range b.Query(b.ctx, b.vault, coffer.Query{}) {
		break // leaving early must release what the query holds: Close would fail
	}
	least, greatest := document("least"), document("greatest", tag("colour", "red"))
	least.ID = coffer.ObjectID{15: 1}
	greatest.ID = coffer.ObjectID(bytes.Repeat([]byte{0xff}, 16))
	b.must(b.put(least), b.put(greatest))
	b.finds(coffer.Query{}, append(all, least, greatest)...)
	b.finds(equals(map[string]string{"colour": "red"}), red, both, greatest)
	b.reopen()
	b.finds(has("colour"), red, blue, both, greatest)
}

// manyNames asks queries at their bounds.
func manyNames(b *bench) {
	d := document("d")
	var names []string
	filter := make(map[string]string)
	for i := range coffer.MaxFilterNames {
		name := fmt.Sprint(i)
		d.Tags = append(d.Tags, tag(name, "v"))
		names = append(names, name)
		filter[name] = "v"
	}
	almost := document("almost", d.Tags[1:]...)
	b.must(b.put(d), b.put(almost))
	b.finds(coffer.Query{Index: "k", Has: names}, d)
	b.finds(coffer.Query{Index: "k", Has: names[1:]}, d, almost)
	var filters []map[string]string
	for range coffer.MaxFilters {
		filters = append(filters, filter)
	}
	b.finds(coffer.Query{Index: "k", Equals: filters}, d)
	filters[len(filters)-1] = map[string]string{"5": "v", "17": "v"}
	b.finds(coffer.Query{Index: "k", Equals: filters}, d, almost)
}

func vaultsApart(b *bench) {
	d := document("d", uniqueTag("u", "1"))
	other := coffer.NewVaultID()
	b.must(b.put(d), store.Write{Vault: other, Time: instant, Document: d})
	b.must(b.erasure(d.ID))
	b.hasNot(d.ID)
	b.vault = other
	b.has(d)
	b.finds(coffer.Query{Index: "k", Has: []string{"u"}}, d)
	if got := b.changes(0); len(got) != 1 || got[0].Number != 1 {
		b.Fatalf("feed %+v", got)
	}
}

func reopen(b *bench) {
	var all []*coffer.Document
	for i := range 300 {
		d := document(strings.Repeat(fmt.Sprint(i), 500), tag("parity", fmt.Sprint(i%2)), uniqueTag("number", fmt.Sprint(i)))
		b.must(b.put(d))
		all = append(all, d)
	}
	usage, changes := b.usage(), b.changes(0)
	b.reopen()
	if got := b.usage(); got != usage {
		b.Fatalf("usage %+v, was %+v", got, usage)
	}
	if !slices.Equal(b.changes(0), changes) {
		b.Fatal("the feed is another")
	}
	b.finds(coffer.Query{}, all...)
	b.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"number": "123", "parity": "1"}}}, all[123])
	b.refused(coffer.Conflict, b.put(document("rival", uniqueTag("number", "7"))))
	if n := b.must(b.put(document("one more")))[0].Change.Number; n != 301 {
		b.Fatalf("number %d, want 301", n)
	}
}

func closed(b *bench) {
	d := document("d")
	b.must(b.put(d))
	// A call under way is finished first.
	ended := make(chan error, 1)
	for _, err := range b.Query(b.ctx, b.vault, coffer.Query{}) {
		if err != nil {
			b.Fatal(err)
		}
		go func() { ended <- b.Close() }()
		select {
		case <-ended:
			b.Fatal("closed while a query was under way")
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := <-ended; err != nil {
		b.Fatalf("Close: %v", err)
	}
	b.ended = true
	_, get := b.Get(b.ctx, b.vault, d.ID)
	_, apply := b.Apply(b.ctx, b.put(document("late")))
	_, count := b.Count(b.ctx, b.vault, coffer.Query{})
	_, usage := b.Usage(b.ctx, b.vault)
	_, chunk := b.Chunk(b.ctx, b.vault, d.ID, 0, 0)
	_, revision := b.Revision(b.ctx, b.vault, d.ID, 0)
	_, compact := b.Compact(b.ctx, later)
	var query, changes error
	for _, query = range b.Query(b.ctx, b.vault, coffer.Query{}) {
	}
	for _, changes = range b.Changes(b.ctx, b.vault, 0) {
	}
	check := b.Check(b.ctx, func(string) {}, nil)
	for i, err := range []error{
		get, apply, count, usage, chunk, revision, compact, query, changes, check, b.optional(), b.Close(),
	} {
		if !errors.Is(err, coffer.Unavailable) {
			b.Errorf("call %d after Close: %v, want Unavailable", i, err)
		}
	}
}

func cancelled(b *bench) {
	d := document("d")
	b.must(b.put(d))
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	late := document("late")
	_, apply := b.Apply(ctx, b.put(late))
	_, get := b.Get(ctx, b.vault, d.ID)
	_, revision := b.Revision(ctx, b.vault, d.ID, 0)
	_, compact := b.Compact(ctx, later)
	var query, changes error
	for _, query = range b.Query(ctx, b.vault, coffer.Query{}) {
	}
	for _, changes = range b.Changes(ctx, b.vault, 0) {
	}
	check := b.Check(ctx, func(string) {}, nil)
	for i, err := range []error{apply, get, revision, compact, query, changes, check} {
		if !errors.Is(err, context.Canceled) {
			b.Errorf("call %d: %v, want %v", i, err, context.Canceled)
		}
	}
	// A commit whose caller leaves at any moment happens whole or not at all.
	for i := range 200 {
		ctx, cancel := context.WithTimeout(b.ctx, time.Duration(i)*5*time.Microsecond)
		pair := [2]*coffer.Document{document("one"), document("two")}
		_, err := b.Apply(ctx, b.put(pair[0]), b.put(pair[1]))
		cancel()
		b.must(b.put(document("and the queue is empty")))
		_, one := b.Get(b.ctx, b.vault, pair[0].ID)
		_, two := b.Get(b.ctx, b.vault, pair[1].ID)
		if (one == nil) != (two == nil) || err == nil && one != nil {
			b.Fatalf("after %v: %v, %v", err, one, two)
		}
	}
}

// largeCommit makes commits larger than anything a driver may keep in memory.
func largeCommit(b *bench) {
	body := strings.Repeat("0123456789abcdef", 64<<10)
	var writes []store.Write
	for range 24 {
		writes = append(writes, b.put(document(body)))
	}
	b.must(writes...)
	writes = nil
	for i := range store.MaxWrites {
		writes = append(writes, b.put(document("small", tag("n", fmt.Sprint(i)))))
	}
	b.must(writes...)
	b.reopen()
	if u := b.usage(); u.Documents != int64(24+store.MaxWrites) {
		b.Fatalf("usage %+v", u)
	}
	b.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"n": "77"}}}, writes[77].Document)
}
