// Package vaulttest checks that a vault keeps the contract of [coffer.Vault], wherever it is. [Run] plays one script on
// a [House]: the service in this process, the client of a server across a socket, or whatever else claims to be a vault.
package vaulttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
)

// A House is one vault and the ways into it. Alice is its controller; Bob has no right but what she delegates.
type House struct {
	// Alice returns the vault as its controller sees it.
	Alice coffer.Vault
	// Bob returns the vault as Bob sees it: with the capability, or, if it is nil, claiming to be the controller.
	Bob func(t testing.TB, capability []byte) coffer.Vault
	// Delegate returns a capability from Alice for Bob: for the object, or for all documents if it is zero. The
	// actions are "read" and "write".
	Delegate func(t testing.TB, id coffer.ObjectID, expires time.Time, actions ...string) []byte
	// Revoke revokes a capability, as Alice.
	Revoke func(ctx context.Context, capability []byte) error
	// DelegateAt is Delegate for what is below the vault's URL at a path: "/held", or "/inbox". Without it, what others
	// do there is not played.
	DelegateAt func(t testing.TB, path string, expires time.Time, actions ...string) []byte
	// Keeps says that revisions which were replaced can be read for longer than the script takes; else they are gone at
	// once.
	Keeps bool
	// Ledger says how the vault's log is known; without it, the log is not played.
	Ledger *Ledger
}

// wait bounds everything that should happen at once.
const wait = 20 * time.Second

// Run plays the script. open makes a House with a new, empty vault.
func Run(t *testing.T, open func(t *testing.T) *House) {
	for _, step := range []struct {
		name string
		play func(*script)
	}{
		{"a document is there as it was put", (*script).documents},
		{"a revision replaces just what it names", (*script).revisions},
		{"of many who replace one revision one wins", (*script).race},
		{"a unique tag has one holder", (*script).unique},
		{"of many who claim a unique tag one wins", (*script).uniqueRace},
		{"a query finds what matches and nothing else", (*script).queries},
		{"pages follow one another", (*script).pages},
		{"a commit is whole or nothing", (*script).commits},
		{"what is erased is gone and its id taken", (*script).erasure},
		{"the feed tells everything once and in order", (*script).feed},
		{"who follows is woken", (*script).follow},
		{"chunks are read as a whole set", (*script).chunks},
		{"chunks that are not what they say are refused", (*script).badChunks},
		{"a stream is patched at once", (*script).patches},
		{"bad input changes nothing", (*script).badInput},
		{"who has no right sees nothing", (*script).stranger},
		{"a delegate does what was delegated", (*script).delegate},
		{"a revoked delegate does nothing, at once", (*script).revoked},
		{"a secret admits to its object alone", (*script).held},
		{"a secret that was replaced admits to nothing", (*script).replacedSecret},
		{"who holds secrets sets no tags but theirs", (*script).heldTags},
		{"who holds secrets needs a right, too", (*script).heldByDelegates},
		{"a message is left and taken out", (*script).inbox},
		{"what was replaced is there while it is kept", (*script).replaced},
		{"the feed is a log that proves itself", (*script).log},
	} {
		t.Run(step.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*wait)
			defer cancel()
			h := open(t)
			step.play(&script{T: t, House: h, ctx: ctx, v: h.Alice})
		})
	}
}

// A script is a step being played.
type script struct {
	*testing.T
	*House
	ctx context.Context
	v   coffer.Vault
}

const index = "urn:example:hmac"

// document returns a well-formed document whose tags are given as "name=value", or "name=value!" for a unique one.
func document(id coffer.ObjectID, sequence uint64, stream *coffer.Stream, tags ...string) *coffer.Document {
	entry := edv.Entry{HMAC: coffer.KeyRef{ID: index, Type: "Sha256HmacKey2019"}, Sequence: sequence}
	for _, text := range tags {
		name, value, _ := strings.Cut(text, "=")
		value, unique := strings.CutSuffix(value, "!")
		entry.Attributes = append(entry.Attributes, edv.Attribute{Name: name, Value: value, Unique: unique})
	}
	w := edv.Document{ID: id, Sequence: sequence}
	if len(tags) > 0 {
		w.Indexed = []edv.Entry{entry}
	}
	return compose(w, stream)
}

// compose completes a document.
func compose(w edv.Document, stream *coffer.Stream) *coffer.Document {
	w.Stream = edv.NewStreamRef(stream)
	random := coffer.NewObjectID().String()
	w.JWE = fmt.Appendf(nil, `{"protected":"eyJlbmMiOiJYQzIwUCJ9","recipients":[{"header":{"kid":"urn:example:kak",`+
		`"alg":"ECDH-ES+A256KW"},"encrypted_key":"AAAA"}],"iv":"AAAA","ciphertext":"%s","tag":"AAAA"}`, random)
	body, err := json.Marshal(w)
	if err != nil {
		panic(err)
	}
	return &coffer.Document{ID: w.ID, Sequence: w.Sequence, Tags: edv.Tags(w.Indexed), Stream: stream, Body: body}
}

// next returns a revision that replaces d.
func next(d *coffer.Document, stream *coffer.Stream, tags ...string) *coffer.Document {
	n := document(d.ID, d.Sequence+1, stream, tags...)
	n.Parents = []coffer.Rev{d.Rev()}
	return n
}

func (s *script) put(d *coffer.Document) *coffer.Document {
	s.Helper()
	if _, err := coffer.Put(s.ctx, s.v, d); err != nil {
		s.Fatalf("put: %v", err)
	}
	return d
}

func (s *script) insert(tags ...string) *coffer.Document {
	s.Helper()
	return s.put(document(coffer.NewObjectID(), 0, nil, tags...))
}

func (s *script) get(id coffer.ObjectID) *coffer.Document {
	s.Helper()
	docs, err := s.v.Get(s.ctx, id)
	if err != nil {
		s.Fatalf("get: %v", err)
	}
	if len(docs) != 1 {
		s.Fatalf("get: %d present revisions, want 1", len(docs))
	}
	return docs[0]
}

func (s *script) want(err error, kind coffer.Kind, what string) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func (s *script) wantSame(got, want *coffer.Document) {
	s.Helper()
	if got.Rev() != want.Rev() {
		s.Errorf("got another revision: sequence %d with %d parents, %d tags and a body of %d bytes;\nwant sequence %d with %d parents, %d tags and a body of %d bytes",
			got.Sequence, len(got.Parents), len(got.Tags), len(got.Body), want.Sequence, len(want.Parents), len(want.Tags), len(want.Body))
	}
}

func (s *script) wantMissing(id coffer.ObjectID) {
	s.Helper()
	_, err := s.v.Get(s.ctx, id)
	s.want(err, coffer.NotExist, "get")
}

func (s *script) find(q coffer.Query) (found []*coffer.Document) {
	s.Helper()
	for d, err := range s.v.Query(s.ctx, q) {
		if err != nil {
			s.Fatalf("query: %v", err)
		}
		found = append(found, d)
	}
	return found
}

func (s *script) changes(after coffer.Cursor) (all []coffer.Change) {
	s.Helper()
	for c, err := range s.v.Changes(s.ctx, after, false) {
		if err != nil {
			s.Fatalf("changes: %v", err)
		}
		all = append(all, c)
	}
	return all
}

func (s *script) documents() {
	s.wantMissing(coffer.NewObjectID())
	d := s.insert("color=red", "size=9", "serial=1!")
	s.wantSame(s.get(d.ID), d)
	late := s.put(document(coffer.NewObjectID(), 41, nil)) // a copy from another vault keeps its sequence
	s.wantSame(s.get(late.ID), late)
	big := document(coffer.NewObjectID(), 0, nil)
	big.Body = bytes.Replace(big.Body, []byte(`"ciphertext":"`), append([]byte(`"ciphertext":"`), bytes.Repeat([]byte("A"), 2<<20)...), 1)
	s.put(big)
	s.wantSame(s.get(big.ID), big)
}

func (s *script) revisions() {
	first := s.insert("color=red")
	again := document(first.ID, 0, nil)
	_, err := coffer.Put(s.ctx, s.v, again)
	s.want(err, coffer.Conflict, "insert with an id that is taken")
	_, err = coffer.Put(s.ctx, s.v, document(first.ID, 1, nil))
	s.want(err, coffer.Conflict, "insert with an id that is taken and the next sequence")

	second := s.put(next(first, nil, "color=blue"))
	s.wantSame(s.get(first.ID), second)
	_, err = coffer.Put(s.ctx, s.v, next(first, nil))
	s.want(err, coffer.Conflict, "replace what has been replaced")

	jump := next(second, nil)
	jump.Sequence = 7
	jump.Body = bytes.Replace(jump.Body, []byte(`"sequence":2`), []byte(`"sequence":7`), 1)
	_, err = coffer.Put(s.ctx, s.v, jump)
	s.want(err, coffer.Conflict, "leave out sequences")

	orphan := next(second, nil)
	orphan.ID = coffer.NewObjectID()
	orphan.Body = bytes.ReplaceAll(orphan.Body, []byte(second.ID.String()), []byte(orphan.ID.String()))
	_, err = coffer.Put(s.ctx, s.v, orphan)
	s.want(err, coffer.Conflict, "replace a revision of an object that does not exist")
	s.wantMissing(orphan.ID)
	s.wantSame(s.get(first.ID), second)
}

// together runs n calls at once and returns how many succeeded; the others must fail with Conflict.
func (s *script) together(n int, call func(i int) error) (won int) {
	s.Helper()
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = call(i)
		})
	}
	close(start)
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			s.want(err, coffer.Conflict, "one of many")
		}
	}
	return won
}

func (s *script) race() {
	d := s.insert()
	for range 4 {
		candidates := make([]*coffer.Document, 16)
		for i := range candidates {
			candidates[i] = next(d, nil)
		}
		won := s.together(len(candidates), func(i int) error {
			_, err := coffer.Put(s.ctx, s.v, candidates[i])
			return err
		})
		if won != 1 {
			s.Fatalf("%d writers won, want 1", won)
		}
		present := s.get(d.ID)
		if !slices.ContainsFunc(candidates, func(c *coffer.Document) bool { return c.Rev() == present.Rev() }) {
			s.Fatal("what is present is none of the candidates")
		}
		d = present
	}
	if n := len(s.changes("")); n != 5 {
		s.Errorf("%d changes in the feed, want 5", n)
	}
}

func (s *script) unique() {
	holder := s.insert("serial=1!", "color=red")
	_, err := coffer.Put(s.ctx, s.v, document(coffer.NewObjectID(), 0, nil, "serial=1!"))
	s.want(err, coffer.Conflict, "claim a unique tag that is held")
	s.insert("serial=1") // not claimed as unique
	s.insert("serial=2!")
	other := s.insert("color=red")
	_, err = coffer.Put(s.ctx, s.v, next(other, nil, "serial=1!"))
	s.want(err, coffer.Conflict, "claim a unique tag by an update")
	s.wantSame(s.get(other.ID), other)

	holder = s.put(next(holder, nil, "serial=1!", "color=blue")) // keeping one's own is fine
	s.put(next(holder, nil))                                     // giving it up
	other = s.put(next(other, nil, "serial=1!"))
	if _, err := coffer.Erase(s.ctx, s.v, other.ID); err != nil {
		s.Fatalf("erase: %v", err)
	}
	s.insert("serial=1!")
}

func (s *script) uniqueRace() {
	won := s.together(16, func(i int) error {
		_, err := coffer.Put(s.ctx, s.v, document(coffer.NewObjectID(), 0, nil, "serial=7!", fmt.Sprintf("n=%d", i)))
		return err
	})
	if won != 1 {
		s.Errorf("%d writers hold the unique tag, want 1", won)
	}
	if n := len(s.find(coffer.Query{})); n != 1 {
		s.Errorf("%d documents, want 1", n)
	}
}

func ids(docs []*coffer.Document) (out []coffer.ObjectID) {
	for _, d := range docs {
		out = append(out, d.ID)
	}
	return out
}

func (s *script) wantFound(q coffer.Query, want ...*coffer.Document) {
	s.Helper()
	slices.SortFunc(want, func(a, b *coffer.Document) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	got := s.find(q)
	if !slices.Equal(ids(got), ids(want)) {
		s.Errorf("query %+v found %d documents %v, want %d %v", q, len(got), ids(got), len(want), ids(want))
		return
	}
	for i := range got {
		s.wantSame(got[i], want[i])
	}
	q.IDsOnly = true
	if got := s.find(q); !slices.Equal(ids(got), ids(want)) {
		s.Errorf("query %+v found other ids: %v, want %v", q, ids(got), ids(want))
	}
	if n, err := s.v.Count(s.ctx, q); err != nil || n != len(want) {
		s.Errorf("count of %+v = %d, %v, want %d", q, n, err, len(want))
	}
}

func (s *script) queries() {
	red1 := s.insert("color=red", "size=1", "tag=a", "tag=b")
	red2 := s.insert("color=red", "size=2", "tag=b")
	blue := s.insert("color=blue", "size=1")
	none := s.insert()
	type filter = map[string]string
	equals := func(f ...filter) coffer.Query { return coffer.Query{Index: index, Equals: f} }

	s.wantFound(coffer.Query{}, red1, red2, blue, none)
	s.wantFound(equals(filter{"color": "red"}), red1, red2)
	s.wantFound(equals(filter{"color": "red", "size": "1"}), red1)
	s.wantFound(equals(filter{"color": "red"}, filter{"size": "1"}), red1, red2, blue)
	s.wantFound(equals(filter{"tag": "b"}), red1, red2)
	s.wantFound(equals(filter{"color": "green"}))
	s.wantFound(equals(filter{"color": "red", "size": "3"}))
	s.wantFound(equals(filter{"color": "re"}))
	s.wantFound(equals(filter{}))
	s.wantFound(equals(filter{}, filter{"color": "blue"}), blue)
	s.wantFound(coffer.Query{Index: index, Has: []string{"color"}}, red1, red2, blue)
	s.wantFound(coffer.Query{Index: index, Has: []string{"color", "tag"}}, red1, red2)
	s.wantFound(coffer.Query{Index: index, Has: []string{"colo"}})
	s.wantFound(coffer.Query{Index: "urn:example:other", Has: []string{"color"}})
	s.wantFound(coffer.Query{Index: "urn:example:other", Equals: []filter{{"color": "red"}}})

	// What changes is found as it is now.
	red2 = s.put(next(red2, nil, "color=blue"))
	s.wantFound(equals(filter{"color": "red"}), red1)
	s.wantFound(equals(filter{"color": "blue"}), blue, red2)
	if _, err := coffer.Erase(s.ctx, s.v, blue.ID); err != nil {
		s.Fatalf("erase: %v", err)
	}
	s.wantFound(equals(filter{"color": "blue"}), red2)
	s.wantFound(coffer.Query{}, red1, red2, none)

	for _, bad := range []coffer.Query{
		{Equals: []filter{{"color": "red"}}},
		{Has: []string{"color"}},
		{Index: index, Has: []string{"color"}, Equals: []filter{{"color": "red"}}},
	} {
		for _, err := range s.v.Query(s.ctx, bad) {
			s.want(err, coffer.Invalid, "bad query")
		}
		_, err := s.v.Count(s.ctx, bad)
		s.want(err, coffer.Invalid, "count of a bad query")
	}
}

func (s *script) pages() {
	const n = 25
	var writes []coffer.Write
	for i := range n {
		tag := fmt.Sprintf("parity=%d", i%2)
		writes = append(writes, coffer.Write{Document: document(coffer.NewObjectID(), 0, nil, tag)})
	}
	if _, err := s.v.Apply(s.ctx, writes...); err != nil {
		s.Fatalf("apply: %v", err)
	}
	for _, q := range []coffer.Query{
		{Limit: 7},
		{Limit: 7, IDsOnly: true},
		{Limit: 7, Index: index, Has: []string{"parity"}},
		{Limit: 7, Index: index, Equals: []map[string]string{{"parity": "0"}, {"parity": "1"}}},
	} {
		var seen []coffer.ObjectID
		for {
			page := ids(s.find(q))
			seen = append(seen, page...)
			if len(page) < q.Limit {
				break
			}
			q.After = page[len(page)-1]
			if len(seen) == 7 { // what comes in between does not disturb
				s.insert("color=red")
			}
		}
		sorted := slices.Clone(seen)
		slices.SortFunc(sorted, func(a, b coffer.ObjectID) int { return bytes.Compare(a[:], b[:]) })
		if !slices.Equal(seen, sorted) || len(slices.Compact(sorted)) != len(seen) {
			s.Error("pages are out of order or repeat documents")
		}
		for _, w := range writes {
			if !slices.Contains(seen, w.ID()) {
				s.Error("a document is on no page")
			}
		}
	}
}

func (s *script) commits() {
	old := s.insert("color=red")
	gone := s.insert("serial=1!")
	fresh := document(coffer.NewObjectID(), 0, nil, "serial=2!")
	// One of three is in conflict: nothing happens.
	_, err := s.v.Apply(s.ctx,
		coffer.Write{Document: fresh},
		coffer.Write{Erase: gone.ID},
		coffer.Write{Document: document(old.ID, 0, nil)})
	s.want(err, coffer.Conflict, "commit with a conflict")
	s.wantMissing(fresh.ID)
	s.wantSame(s.get(gone.ID), gone)
	if n := len(s.changes("")); n != 2 {
		s.Errorf("%d changes after a failed commit, want 2", n)
	}
	changes, err := s.v.Apply(s.ctx,
		coffer.Write{Document: fresh},
		coffer.Write{Erase: gone.ID},
		coffer.Write{Document: next(old, nil, "color=blue")})
	if err != nil {
		s.Fatalf("apply: %v", err)
	}
	if len(changes) != 3 || changes[0].ID != fresh.ID || changes[1].Kind != coffer.Erased || changes[2].ID != old.ID {
		s.Errorf("the answers are not of the writes, in order: %+v", changes)
	}
	s.get(fresh.ID)
	s.wantMissing(gone.ID)
	_, err = s.v.Apply(s.ctx,
		coffer.Write{Document: document(coffer.NewObjectID(), 0, nil, "serial=5!")},
		coffer.Write{Document: document(coffer.NewObjectID(), 0, nil, "serial=5!")})
	s.want(err, coffer.Conflict, "two claims to one unique tag in one commit")
	d := document(coffer.NewObjectID(), 0, nil)
	_, err = s.v.Apply(s.ctx, coffer.Write{Document: d}, coffer.Write{Erase: d.ID})
	s.want(err, coffer.Invalid, "two writes to one object")
}

func (s *script) erasure() {
	_, err := coffer.Erase(s.ctx, s.v, coffer.NewObjectID())
	s.want(err, coffer.NotExist, "erase what never was")
	d := s.insert("serial=1!")
	d = s.put(next(d, nil, "serial=1!"))
	c, err := coffer.Erase(s.ctx, s.v, d.ID)
	if err != nil {
		s.Fatalf("erase: %v", err)
	}
	if c.Kind != coffer.Erased || c.ID != d.ID || c.Sequence != 1 || c.Number != 3 {
		s.Errorf("erasure is told as %+v", c)
	}
	s.wantMissing(d.ID)
	_, err = coffer.Erase(s.ctx, s.v, d.ID)
	s.want(err, coffer.NotExist, "erase twice")
	_, err = coffer.Put(s.ctx, s.v, document(d.ID, 0, nil))
	s.want(err, coffer.Conflict, "insert with the id of what was erased")
	_, err = coffer.Put(s.ctx, s.v, next(d, nil))
	s.want(err, coffer.Conflict, "replace what was erased")
}

func (s *script) feed() {
	a := s.insert()
	b := s.insert()
	a2 := s.put(next(a, nil))
	if _, err := coffer.Erase(s.ctx, s.v, b.ID); err != nil {
		s.Fatalf("erase: %v", err)
	}
	all := s.changes("")
	want := []coffer.Change{
		{Number: 1, Kind: coffer.Accepted, ID: a.ID, Sequence: 0, Rev: a.Rev()},
		{Number: 2, Kind: coffer.Accepted, ID: b.ID, Sequence: 0, Rev: b.Rev()},
		{Number: 3, Kind: coffer.Accepted, ID: a.ID, Sequence: 1, Rev: a2.Rev()},
		{Number: 4, Kind: coffer.Erased, ID: b.ID, Sequence: 0},
	}
	if len(all) != len(want) {
		s.Fatalf("%d changes, want %d", len(all), len(want))
	}
	for i, got := range all {
		if got.By == "" || time.Since(got.Time).Abs() > time.Hour {
			s.Errorf("change %d does not tell who and when", i)
		}
		cursor := got.Cursor
		got.Cursor, got.By, got.Time = "", "", time.Time{}
		if got != want[i] {
			s.Errorf("change %d is %+v, want %+v", i, got, want[i])
		}
		if rest := s.changes(cursor); len(rest) != len(want)-1-i {
			s.Errorf("%d changes after number %d, want %d", len(rest), i+1, len(want)-1-i)
		}
	}
	for _, bad := range []coffer.Cursor{"x", "AAAAAAAAAAAAAAAA", all[0].Cursor + "A"} {
		for _, err := range s.v.Changes(s.ctx, bad, false) {
			s.want(err, coffer.Invalid, "a cursor that is none")
		}
	}

	// Sixteen writers; the feed has each of their writes once.
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 5 {
				if _, err := coffer.Put(s.ctx, s.v, document(coffer.NewObjectID(), 0, nil)); err != nil {
					s.Errorf("put: %v", err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[coffer.ObjectID]bool{}
	number := all[3].Number
	for _, c := range s.changes(all[3].Cursor) {
		if number++; c.Number != number {
			s.Fatalf("change numbered %d where %d was due", c.Number, number)
		}
		seen[c.ID] = true
	}
	if len(seen) != 80 {
		s.Errorf("%d objects in the feed, want 80", len(seen))
	}
}

func (s *script) follow() {
	first := s.insert()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	got := make(chan coffer.Change)
	ended := make(chan error, 1)
	go func() {
		for c, err := range s.v.Changes(ctx, "", true) {
			if err != nil {
				ended <- err
				return
			}
			got <- c
		}
		ended <- nil
	}()
	receive := func(want coffer.ObjectID) {
		s.Helper()
		select {
		case c := <-got:
			if c.ID != want {
				s.Fatal("another change came")
			}
		case err := <-ended:
			s.Fatalf("the feed ended: %v", err)
		case <-time.After(wait):
			s.Fatal("no change came")
		}
	}
	receive(first.ID)
	for range 3 {
		receive(s.insert().ID)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			s.Errorf("ended with %v, want no error", err)
		}
	case <-time.After(wait):
		s.Error("goes on after its context has ended")
	}
	s.endInTheMidst()
}

// endInTheMidst ends the context of who follows when there are more changes than are read at once.
func (s *script) endInTheMidst() {
	s.Helper()
	writes := make([]coffer.Write, 600)
	for i := range writes {
		writes[i].Document = document(coffer.NewObjectID(), 0, nil)
	}
	if _, err := s.v.Apply(s.ctx, writes...); err != nil {
		s.Fatalf("apply: %v", err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	for _, err := range s.v.Changes(ctx, "", true) {
		if err != nil {
			s.Errorf("ended amid changes with %v, want no error", err)
		}
		cancel()
	}
}

// raw returns a well-formed chunk in the raw form that vaults keep.
func raw(sequence, index uint64, text string) (coffer.ChunkRef, []byte) {
	head := fmt.Appendf(nil, `{"index":%d,"offset":%d,"sequence":%d,"jwe":{"protected":"eyJlbmMiOiJYQzIwUCJ9","recipients":`+
		`[{"header":{"kid":"urn:example:kak","alg":"ECDH-ES+A256KW"},"encrypted_key":"AAAA"}],"iv":"AAAA","ciphertext":"","tag":"AAAA"}}`,
		index, index+1, sequence)
	b := edv.JoinRaw(head, []byte(text))
	return coffer.ChunkRef{Sequence: sequence, Index: index, Size: int64(len(b)), Sum: sha256.Sum256(b)}, b
}

func (s *script) putChunk(id coffer.ObjectID, sequence, index uint64, text string) {
	s.Helper()
	ref, b := raw(sequence, index, text)
	if err := s.v.PutChunk(s.ctx, id, ref, bytes.NewReader(b)); err != nil {
		s.Fatalf("put chunk: %v", err)
	}
}

func (s *script) wantChunk(id coffer.ObjectID, sequence, index uint64, text string) {
	s.Helper()
	ref, b := raw(sequence, index, text)
	s.wantBytes(id, ref, b)
}

func (s *script) wantBytes(id coffer.ObjectID, wantRef coffer.ChunkRef, want []byte) {
	s.Helper()
	index := wantRef.Index
	ref, r, err := s.v.Chunk(s.ctx, id, index)
	if err != nil {
		s.Fatalf("chunk: %v", err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		s.Errorf("chunk %d is another (%v): %q, want %q", index, err, got, want)
	}
	if ref != wantRef {
		s.Errorf("chunk is described as %+v, want %+v", ref, wantRef)
	}
}

func (s *script) wantNoChunk(id coffer.ObjectID, index uint64) {
	s.Helper()
	_, r, err := s.v.Chunk(s.ctx, id, index)
	if err == nil {
		r.Close()
	}
	s.want(err, coffer.NotExist, "chunk")
}

func (s *script) chunks() {
	d := s.put(document(coffer.NewObjectID(), 0, &coffer.Stream{Pending: true}))
	s.wantNoChunk(d.ID, 0)
	for i := range uint64(3) {
		s.putChunk(d.ID, 0, i, fmt.Sprint("first ", i))
	}
	s.putChunk(d.ID, 0, 1, "first 1 again")
	d = s.put(next(d, &coffer.Stream{Sequence: 0, Chunks: 3}))
	s.wantChunk(d.ID, 0, 0, "first 0")
	s.wantChunk(d.ID, 0, 1, "first 1 again")
	s.wantNoChunk(d.ID, 3)

	// While the second set is written, readers have the first, whole.
	s.putChunk(d.ID, 1, 0, "second 0")
	s.putChunk(d.ID, 1, 1, "second 1")
	s.wantChunk(d.ID, 0, 0, "first 0")
	s.wantChunk(d.ID, 0, 2, "first 2")
	if err := s.v.DropChunk(s.ctx, d.ID, 1); err != nil { // of the set being written
		s.Fatalf("drop chunk: %v", err)
	}
	s.wantChunk(d.ID, 0, 1, "first 1 again")
	d = s.put(next(d, &coffer.Stream{Sequence: 1, Chunks: 1}))
	s.wantChunk(d.ID, 1, 0, "second 0")
	s.wantNoChunk(d.ID, 1)
	s.wantNoChunk(d.ID, 2) // the first set has been collected

	if err := s.v.DropChunk(s.ctx, d.ID, 0); err != nil {
		s.Fatalf("drop chunk: %v", err)
	}
	s.want(s.v.DropChunk(s.ctx, d.ID, 0), coffer.NotExist, "drop a chunk twice")
	s.wantNoChunk(d.ID, 0)

	d = s.put(next(d, &coffer.Stream{Pending: true}))
	s.putChunk(d.ID, d.Sequence, 0, "third 0")
	if _, err := coffer.Erase(s.ctx, s.v, d.ID); err != nil {
		s.Fatalf("erase: %v", err)
	}
	s.wantNoChunk(d.ID, 0)
}

func (s *script) badChunks() {
	d := s.put(document(coffer.NewObjectID(), 0, &coffer.Stream{Pending: true}))
	ref, b := raw(0, 0, "text")
	put := func(id coffer.ObjectID, ref coffer.ChunkRef, b []byte) error {
		return s.v.PutChunk(s.ctx, id, ref, bytes.NewReader(b))
	}
	s.want(put(coffer.NewObjectID(), ref, b), coffer.NotExist, "chunk of no document")
	early, earlyBytes := raw(1, 0, "text")
	s.want(put(d.ID, early, earlyBytes), coffer.Conflict, "chunk for a sequence to come")
	wrong := ref
	wrong.Sum[0] ^= 1
	s.want(put(d.ID, wrong, b), coffer.Invalid, "chunk with another hash")
	short := ref
	short.Size++
	s.want(put(d.ID, short, b), coffer.Invalid, "chunk that is shorter than it says")
	s.wantNoChunk(d.ID, 0)
	if err := put(d.ID, ref, b); err != nil {
		s.Fatalf("put chunk: %v", err)
	}
	s.want(s.v.DropChunk(s.ctx, d.ID, 9), coffer.NotExist, "drop a chunk that is not there")
	s.want(s.v.DropChunk(s.ctx, coffer.NewObjectID(), 0), coffer.NotExist, "drop a chunk of no document")
}

func (s *script) badInput() {
	many := document(coffer.NewObjectID(), 0, nil)
	for i := range coffer.MaxTags + 1 {
		many.Tags = append(many.Tags, coffer.Tag{Key: index, Name: "n", Value: fmt.Sprint(i)})
	}
	long := document(coffer.NewObjectID(), 0, nil, "n="+strings.Repeat("v", coffer.MaxTagText+1))
	late := document(coffer.NewObjectID(), coffer.MaxSequence+1, nil)
	future := document(coffer.NewObjectID(), 3, &coffer.Stream{Sequence: 4, Chunks: 1})
	empty := &coffer.Document{ID: coffer.NewObjectID()}
	for name, d := range map[string]*coffer.Document{
		"too many tags": many, "tag too long": long, "sequence too great": late,
		"stream of the future": future, "no body": empty,
	} {
		_, err := coffer.Put(s.ctx, s.v, d)
		s.want(err, coffer.Invalid, name)
		s.wantMissing(d.ID)
	}
	if n := len(s.changes("")); n != 0 {
		s.Errorf("%d changes, want none", n)
	}
}

// tries is everything one can try on a vault with one object, each with its name.
func (s *script) tries(v coffer.Vault, d *coffer.Document) map[string]error {
	_, getErr := v.Get(s.ctx, d.ID)
	_, missingErr := v.Get(s.ctx, coffer.NewObjectID())
	_, insertErr := coffer.Put(s.ctx, v, document(coffer.NewObjectID(), 0, nil))
	_, updateErr := coffer.Put(s.ctx, v, next(d, d.Stream))
	_, eraseErr := coffer.Erase(s.ctx, v, d.ID)
	_, countErr := v.Count(s.ctx, coffer.Query{Index: index, Has: []string{"color"}})
	first := func(seq func(func(*coffer.Document, error) bool)) (err error) {
		for _, err = range seq {
			break
		}
		return err
	}
	queryErr := first(v.Query(s.ctx, coffer.Query{Index: index, Has: []string{"color"}}))
	listErr := first(v.Query(s.ctx, coffer.Query{}))
	var changesErr error
	for _, changesErr = range v.Changes(s.ctx, "", false) {
		break
	}
	_, r, chunkErr := v.Chunk(s.ctx, d.ID, 0)
	if chunkErr == nil {
		r.Close()
	}
	ref, b := raw(d.Sequence, 1, "intruder")
	return map[string]error{
		"get": getErr, "get what is not there": missingErr, "insert": insertErr, "update": updateErr, "erase": eraseErr,
		"count": countErr, "query": queryErr, "list": listErr, "changes": changesErr, "chunk": chunkErr,
		"put chunk":  v.PutChunk(s.ctx, d.ID, ref, bytes.NewReader(b)),
		"drop chunk": v.DropChunk(s.ctx, d.ID, 0),
	}
}

// target puts a document with a tag and a chunk.
func (s *script) target() *coffer.Document {
	s.Helper()
	d := s.put(document(coffer.NewObjectID(), 0, &coffer.Stream{Pending: true}, "color=red"))
	s.putChunk(d.ID, 0, 0, "text")
	return d
}

func (s *script) stranger() {
	d := s.target()
	before := len(s.changes(""))
	for name, err := range s.tries(s.Bob(s.T, nil), d) {
		s.want(err, coffer.NotExist, name)
	}
	s.wantSame(s.get(d.ID), d)
	s.wantChunk(d.ID, 0, 0, "text")
	if n := len(s.changes("")); n != before {
		s.Errorf("%d changes, want %d", n, before)
	}
}

func (s *script) delegate() {
	soon := time.Now().Add(time.Hour)
	d, other := s.target(), s.insert("color=red")
	reader := s.Bob(s.T, s.Delegate(s.T, d.ID, soon, "read"))
	got, err := reader.Get(s.ctx, d.ID)
	if err != nil {
		s.Fatalf("a reader gets: %v", err)
	}
	s.wantSame(got[0], d)
	for name, err := range s.tries(reader, d) {
		switch name {
		case "get", "chunk":
			if err != nil {
				s.Errorf("a reader's %s: %v", name, err)
			}
		default:
			s.want(err, coffer.Denied, "a reader's "+name)
		}
	}
	_, err = reader.Get(s.ctx, other.ID)
	s.want(err, coffer.Denied, "a reader gets another object")

	writer := s.Bob(s.T, s.Delegate(s.T, d.ID, soon, "read", "write"))
	d2 := next(d, &coffer.Stream{Pending: true}, "color=blue")
	if _, err := coffer.Put(s.ctx, writer, d2); err != nil {
		s.Errorf("a writer's update: %v", err)
	}
	_, err = coffer.Put(s.ctx, writer, document(coffer.NewObjectID(), 0, nil))
	s.want(err, coffer.Denied, "a writer of one object inserts")

	collection := s.Bob(s.T, s.Delegate(s.T, coffer.ObjectID{}, soon, "read"))
	n := 0
	for _, err := range collection.Query(s.ctx, coffer.Query{Index: index, Has: []string{"color"}}) {
		if err != nil {
			s.Fatalf("a reader of the collection queries: %v", err)
		}
		n++
	}
	if n != 2 {
		s.Errorf("a reader of the collection finds %d documents, want 2", n)
	}
	for _, err := range collection.Changes(s.ctx, "", false) {
		s.want(err, coffer.Denied, "a reader of the collection follows the feed")
	}
}

func (s *script) revoked() {
	d := s.target()
	soon := time.Now().Add(time.Hour)
	first, second := s.Delegate(s.T, d.ID, soon, "read", "write"), s.Delegate(s.T, d.ID, soon, "read")
	bob, carol := s.Bob(s.T, first), s.Bob(s.T, second)
	if _, err := bob.Get(s.ctx, d.ID); err != nil {
		s.Fatalf("before: %v", err)
	}
	if err := s.Revoke(s.ctx, first); err != nil {
		s.Fatalf("revoke: %v", err)
	}
	for name, err := range s.tries(bob, d) {
		s.want(err, coffer.NotExist, "after revocation: "+name)
	}
	if _, err := carol.Get(s.ctx, d.ID); err != nil {
		s.Errorf("another capability for the same: %v", err)
	}
	s.want(s.Revoke(s.ctx, first), coffer.NotExist, "revoke twice")
}
