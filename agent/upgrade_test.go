package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/ledger"
)

// newEarlyVictim has a vault that the first version of this program wrote: testdata/format1.jsonl, a document on each
// line with its parents and chunks. Nothing writes that format any more.
func newEarlyVictim(t *testing.T) *victim {
	t.Helper()
	p := newVictim(t, "alice")
	b, err := os.ReadFile("testdata/format1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var w struct {
			Parents []string        `json:"parents"`
			Body    json.RawMessage `json:"body"`
			Chunks  [][]byte        `json:"chunks"`
		}
		if err := json.Unmarshal(line, &w); err != nil {
			t.Fatal(err)
		}
		d, err := edv.DecodeDocument(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range w.Parents {
			r, err := coffer.ParseRev(text)
			if err != nil {
				t.Fatal(err)
			}
			d.Parents = append(d.Parents, r)
		}
		n := uint64(len(p.changes)) + 1
		p.docs[d.ID], p.former[d.ID] = d, []*coffer.Document{d}
		p.changes = append(p.changes, coffer.Change{
			Cursor: ledger.Cursor(p.id, n), Number: n, Kind: coffer.Accepted, ID: d.ID, Sequence: d.Sequence, Rev: d.Rev(),
			By: p.owner, Time: p.now(),
		})
		if len(w.Chunks) > 0 {
			set := make(map[uint64][]byte)
			for i, c := range w.Chunks {
				set[uint64(i)] = c
			}
			p.chunks[d.ID] = map[uint64]map[uint64][]byte{d.Stream.Sequence: set}
		}
	}
	return p
}

// earlyContents is what there is, as the one who wrote it says.
var earlyContents = map[string][]byte{
	"notes/2026/a.txt": []byte("second, and longer"), "shared/plan": []byte("the plan by Bob"), "big": noise(2, 17<<10),
	"empty file": nil, "people/ada": []byte(`{"name":"Ada","born":1815}`),
}

func checkUpgraded(t *testing.T, p *victim) {
	t.Helper()
	a := p.device(p.villain, nil)
	for path, want := range earlyContents {
		if got := get(t, a, path); !bytes.Equal(got, want) {
			t.Errorf("%s has %d other bytes", path, len(got))
		}
	}
	if got := strings.Join(paths(t, a, ""), " "); got != "big empty empty file empty/folder "+
		"never notes notes/2026 notes/2026/a.txt "+
		"people people/ada shared shared/plan" {
		t.Errorf("there is %s", got)
	}
	if i, err := a.Stat(t.Context(), "notes/2026/a.txt"); err != nil || i.Mode != 0o640 || i.Modified.Year() != 2026 {
		t.Errorf("%+v, %v", i, err)
	}
	if found, err := names(t.Context(), a.Find(t.Context(), "born:1815")); err != nil || !slices.Equal(found,
		[]string{"people/ada"}) {
		t.Errorf("found %q, %v", found, err)
	}
	// An interrupted upload may be left over; what others sealed to the owner is still there.
	got := slices.DeleteFunc(verified(t, a, agent.VerifyOptions{Contents: true}),
		func(f string) bool { return f == "left over object" })
	if !slices.Equal(got, []string{"foreign document", "foreign document"}) {
		t.Errorf("a check finds %q", got)
	}
}

func TestUpgrade(t *testing.T) {
	p := newEarlyVictim(t)
	ctx := t.Context()
	_, err := p.Agent.Get(ctx, "notes/2026/a.txt")
	expect(t, err, coffer.Invalid)
	_, err = p.Put(ctx, "new", file(nil), agent.PutOptions{})
	expect(t, err, coffer.Invalid)
	for _, err := range p.Verify(ctx, agent.VerifyOptions{}) {
		expect(t, err, coffer.Invalid)
	}
	if n := len(p.changes); n != 17 {
		t.Fatalf("%d changes", n)
	}
	last, of := -1, 0
	u, err := p.Upgrade(ctx, func(done, total int) {
		if done < last || done > total {
			t.Errorf("progress from %d to %d of %d", last, done, total)
		}
		last, of = done, total
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != of || u.Objects != 5 || u.Folders != 7 || u.Refused != 0 || len(u.Renamed) != 0 {
		t.Errorf("%+v, %d of %d", u, last, of)
	}
	var shared []string
	for _, s := range u.Shares {
		shared = append(shared, s.Path+" "+s.With)
	}
	slices.Sort(shared)
	if want := []string{
		"notes " + coffertest.Person(t, "carol").DID(), "shared/plan " + coffertest.Person(t, "bob").DID(),
	}; !slices.Equal(shared, want) {
		t.Errorf("shared was %q", shared)
	}
	checkUpgraded(t, p)
	if u, err := p.Upgrade(ctx, nil); err != nil || u.Objects != 0 || len(u.Shares) != 0 {
		t.Errorf("another time: %+v, %v", u, err)
	}
	checkUpgraded(t, p)
}

// An upgrade that ends at any write goes on, here or on another device, and nothing is lost or twice there.
func TestUpgradeGoesOn(t *testing.T) {
	early := newEarlyVictim(t)
	for after := range 60 {
		p := early.again(t)
		p.Agent = p.device(p.villain, p.journal)
		left := after
		p.apply = func(writes []coffer.Write) ([]coffer.Change, error) {
			if left--; left < 0 {
				return nil, coffer.E("apply", coffer.Unavailable, nil)
			}
			return p.state.Apply(context.Background(), writes...)
		}
		_, err := p.Upgrade(t.Context(), nil)
		if err == nil {
			if after < 20 {
				t.Fatalf("it is done after %d writes", after)
			}
			return
		}
		expect(t, err, coffer.Unavailable)
		p.honest()
		u, err := p.device(p.villain, nil).Upgrade(t.Context(), nil)
		if err != nil {
			t.Fatalf("after %d writes: %v", after, err)
		}
		if len(u.Renamed) > 0 {
			t.Errorf("after %d writes: twice there: %q", after, u.Renamed)
		}
		checkUpgraded(t, p)
	}
	t.Error("it never ends")
}

// What the provider makes of it is not moved, and no later state is given up for an earlier one.
func TestUpgradeHostile(t *testing.T) {
	early := newEarlyVictim(t)
	id := func(p *victim, like string) coffer.ObjectID {
		for _, d := range p.biggest() {
			if d.Stream != nil && !d.Stream.Pending && like == "big" {
				return d.ID
			}
		}
		t.Fatal("none")
		return coffer.ObjectID{}
	}
	big := id(early, "big")
	for name, change := range map[string]func(p *victim){
		"a chunk is missing": func(p *victim) { delete(p.chunks, big) },
		"a chunk is changed": func(p *victim) {
			for _, set := range p.chunks[big] {
				set[0] = append(bytes.Clone(set[0][:len(set[0])-1]), set[0][len(set[0])-1]^1)
			}
		},
	} {
		p := newEarlyVictim(t)
		change(p)
		_, err := p.Upgrade(t.Context(), nil)
		if !errorsIsCorrupt(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Once it is upgraded, the provider shows the old documents again, and no head.
	p := newEarlyVictim(t)
	if _, err := p.Upgrade(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, journal := range []*memory{p.journal, nil} {
		p.get = func(coffer.ObjectID, []*coffer.Document, error) ([]*coffer.Document, error) {
			return nil, coffer.Errorf("get", coffer.NotExist, "none")
		}
		p.query = func([]*coffer.Document) (list []*coffer.Document) {
			for d := range early.state.Query(context.Background(), coffer.Query{}) {
				list = append(list, d)
			}
			return list
		}
		a := p.device(p.villain, journal)
		_, err := a.Get(t.Context(), "big")
		expect(t, err, coffer.Corrupt)
		_, err = a.Upgrade(t.Context(), nil)
		expect(t, err, coffer.Corrupt)
	}
}

func errorsIsCorrupt(err error) bool { return coffer.KindOf(err) == coffer.Corrupt }
