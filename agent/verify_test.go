package agent_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/ledger"
)

// verified returns what a check finds, each as its kind, what it is of and where.
func verified(t testing.TB, a *agent.Agent, o agent.VerifyOptions) (list []string) {
	t.Helper()
	for f, err := range a.Verify(t.Context(), o) {
		if err != nil {
			t.Fatalf("verify: %v", err)
		}
		list = append(list, strings.TrimSpace(string(f.Kind)+" "+f.What+" "+f.Path))
	}
	slices.Sort(list)
	return list
}

func TestVerify(t *testing.T) {
	base := newScene(t)
	for _, c := range []bool{false, true} {
		s := base.again(t)
		if got := verified(t, s.device(s.villain, s.journal), agent.VerifyOptions{Contents: c}); len(got) > 0 {
			t.Fatalf("of an honest provider: %q", got)
		}
		if got := verified(t, s.device(s.villain, nil), agent.VerifyOptions{Contents: c}); len(got) > 0 {
			t.Fatalf("on a new device: %q", got)
		}
	}
	// What is stored is changed, and the feed is what it was.
	replace := func(what string, f func(s *scene, d *coffer.Document) *coffer.Document) func(s *scene) {
		return func(s *scene) {
			id := s.known(what)
			s.docs[id] = f(s, cloned(s.docs[id]))
		}
	}
	// Every list and every answer is of what is stored; these attacks are on what is told.
	for name, test := range map[string]struct {
		set  func(s *scene)
		want string // all findings, or a part of each of some
	}{
		"object missing": {func(s *scene) { delete(s.docs, s.ids["notes/a"]) }, "missing file notes/a"},
		"stream missing": {func(s *scene) { delete(s.docs, s.ids["big"]) }, "missing file big"},
		"page missing":   {func(s *scene) { delete(s.docs, s.page) }, "missing folder shared"},
		"root missing":   {func(s *scene) { delete(s.docs, s.root) }, "missing folder"},
		"head missing":   {func(s *scene) { delete(s.docs, s.head) }, "missing head"},
		"box missing":    {func(s *scene) { delete(s.docs, s.box) }, "missing box"},
		"object rolled back": {
			replace("notes/a", (*scene).older), "rolled back file notes/a",
		},
		"page rolled back": {replace("page", (*scene).before), "rolled back folder shared"},
		"head rolled back": {replace("head", (*scene).before), "rolled back head"},
		"box rolled back":  {replace("box", (*scene).older), "rolled back box"},
		"object swapped": {
			replace("notes/a", func(s *scene, d *coffer.Document) *coffer.Document {
				return dressed(s.docs[s.ids["notes/b"]],
					d)
			}),
			"swapped file notes/a",
		},
		"object flipped": {
			replace("notes/a", func(_ *scene, d *coffer.Document) *coffer.Document { d.Body[300] ^= 1; return d }),
			"swapped file notes/a",
		},
		"tags edited": {
			replace("notes/a", func(_ *scene, d *coffer.Document) *coffer.Document {
				d.Tags[0] = coffer.Secret{1}.Tag(d.ID, coffer.ReadAccess)
				return d
			}), "swapped file notes/a",
		},
		"an object too many": {func(s *scene) {
			d := cloned(s.docs[s.ids["notes/a"]])
			d.ID = coffer.NewObjectID()
			s.docs[d.ID] = d
		}, "extra object"},
		"an object by nobody": {func(s *scene) {
			d := cloned(s.docs[s.ids["notes/a"]])
			d.ID, d.Sequence, d.Parents, d.Stream = coffer.NewObjectID(), 0, nil, nil
			s.owner = "did:key:z6Mkprovider"
			s.forces(d)
		}, "extra object"},
		"an object forged": {func(s *scene) {
			s.forces(s.forged(s.carol, s.ref("shared/plan"), s.docs[s.ids["shared/plan"]], func(*seal.Plain) {}))
		}, "forged file shared/plan"},
		"an object that does not open": {func(s *scene) {
			d := cloned(s.docs[s.ids["notes/b"]])
			d.Sequence, d.Parents = d.Sequence+1, []coffer.Rev{s.docs[d.ID].Rev()}
			s.forces(d)
		}, "unreadable file notes/b"},
		"a page forged": {func(s *scene) {
			s.forces(s.forged(s.carol, s.ref("shared"), s.docs[s.page], func(*seal.Plain) {}))
		}, "forged folder shared"},
		"chunk missing": {func(s *scene) { drop(s, "big", 1) }, "unreadable file big"},
		"chunk older":   {func(s *scene) { s.chunks[s.ids["big"]] = s.early.chunks[s.ids["big"]] }, "unreadable file big"},
		"not listed": {func(s *scene) {
			s.query = func(f []*coffer.Document) []*coffer.Document {
				return f[min(1,
					len(f)):]
			}
		}, "missing"},
		"nothing listed": {func(s *scene) { s.query = func(f []*coffer.Document) []*coffer.Document { return nil } },
			"missing"},
		"listed for ever": {func(s *scene) {
			s.query = func([]*coffer.Document) []*coffer.Document { return []*coffer.Document{s.docs[s.head]} }
		}, "withheld list"},
		"feed cut": {func(s *scene) {
			last := uint64(len(s.changes))
			s.change = func(c *coffer.Change) bool { return c.Number < last }
		}, "withheld history"},
		"feed with a gap": {func(s *scene) { s.change = func(c *coffer.Change) bool { return c.Number != 7 } },
			"withheld history"},
		"feed changed": {func(s *scene) {
			s.change = func(c *coffer.Change) bool {
				if c.Number == 7 {
					c.Rev[0] ^= 1
				}
				return true
			}
		}, "forked history"},
		"signs nothing of this": {func(s *scene) {
			s.checkpoint = func(b []byte, _ error) ([]byte, error) { return b[:20], nil }
		}, "forged history"},
		"all rolled back": {func(s *scene) {
			on(coffer.ObjectID{}, s.before)(s)
			s.query = func([]*coffer.Document) (list []*coffer.Document) {
				for d := range s.early.Query(context.Background(), coffer.Query{}) {
					list = append(list, d)
				}
				return list
			}
			s.feed = func(iter.Seq2[coffer.Change, error]) iter.Seq2[coffer.Change, error] {
				return s.early.Changes(context.Background(), "", false)
			}
			s.checkpoint = func([]byte, error) ([]byte, error) { return s.early.Checkpoint(context.Background()) }
		}, "rolled back history"},
	} {
		t.Run(name, func(t *testing.T) {
			s := base.again(t)
			a := s.device(s.villain, s.journal)
			test.set(s)
			got := verified(t, a, agent.VerifyOptions{Contents: true})
			exact := []string{test.want}
			switch name {
			case "root missing", "head missing", "page missing", "head rolled back", "page rolled back", "a page forged",
				"not listed", "nothing listed", "listed for ever", "feed cut", "feed changed", "feed with a gap",
				"signs nothing of this", "all rolled back":
				if !slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, test.want) }) {
					t.Errorf("found %q, want %q among it", got, test.want)
				}
				for _, f := range got { // what cannot be read names nothing: that is no reason to suspect the rest
					if strings.HasPrefix(f, "extra") && name != "all rolled back" {
						t.Errorf("found %q", f)
					}
				}
			default:
				if !slices.Equal(got, exact) {
					t.Errorf("found %q, want %q", got, exact)
				}
			}
		})
	}
}

func (s *scene) ref(path string) seal.Ref {
	return s.device(&villain{state: s.state.copy()}, nil).RefOf(s.t.Context(), path)
}

// drop loses a chunk.
func drop(s *scene, path string, index uint64) {
	for _, set := range s.chunks[s.ids[path]] {
		delete(set, index)
	}
}

// A fork comes with evidence that convinces anybody who knows the provider's key.
func TestVerifyFork(t *testing.T) {
	s := newScene(t).again(t)
	a := s.device(s.villain, s.journal)
	put(t, a, "notes/a", []byte("left"))
	if _, err := a.Get(t.Context(), "notes/a"); err != nil {
		t.Fatal(err)
	}
	// The provider forgets the last write and goes on otherwise.
	other := &villain{state: s.early.copy()}
	b := s.device(other, nil)
	for len(other.changes) < len(s.changes)+20 {
		put(t, b, "notes/b", []byte("right"))
	}
	var evidence *ledger.Evidence
	for f, err := range s.device(other, s.journal).Verify(t.Context(), agent.VerifyOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == agent.Forked && f.Fault != nil && f.Fault.Evidence != nil {
			evidence = f.Fault.Evidence
		}
	}
	if evidence == nil {
		t.Skip("the provider's signatures do not contradict each other by themselves")
	}
	if err := evidence.Check(s.signer.Verifier(), ledger.Origin(s.url)); err != nil {
		t.Error(err)
	}
}

// What is left over is named, and erased after a day; what other programs keep is left alone.
func TestVerifyLeftOver(t *testing.T) {
	s := newScene(t).again(t)
	ctx := t.Context()
	s.Agent = s.device(s.villain, s.journal)
	s.putChunk = func(coffer.ChunkRef) error { return coffer.E("put chunk", coffer.Unavailable, nil) }
	_, err := s.Put(ctx, "huge", file(noise(5, 2<<20)), agent.PutOptions{})
	expect(t, err, coffer.Unavailable)
	s.honest()
	theirs := seal.Plain{Content: []byte(`{"theirs":true}`)}
	d, err := seal.Seal(ctx, s.ring, theirs, seal.Options{ID: coffer.NewObjectID()})
	if err != nil {
		t.Fatal(err)
	}
	s.forces(d)
	want := []string{"foreign document", "left over object"}
	if got := verified(t, s.Agent, agent.VerifyOptions{}); !slices.Equal(got, want) {
		t.Fatalf("found %q, want %q", got, want)
	}
	if got := verified(t, s.Agent, agent.VerifyOptions{Clean: true}); !slices.Equal(got, want) {
		t.Fatalf("found %q, want %q", got, want)
	}
	if n := len(s.docs); n == 0 {
		t.Fatal("all is gone")
	}
	s.clock = s.clock.Add(25 * time.Hour)
	cleaned := 0
	for f, err := range s.Verify(ctx, agent.VerifyOptions{Clean: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if !f.Harmless() {
			t.Errorf("found %+v", f)
		}
		if f.Cleaned {
			cleaned++
		}
	}
	if cleaned != 1 {
		t.Errorf("%d were erased", cleaned)
	}
	if got := verified(t, s.Agent, agent.VerifyOptions{}); !slices.Equal(got, want[:1]) {
		t.Fatalf("found %q, want %q", got, want[:1])
	}
	put(t, s.Agent, "huge", noise(5, 2<<20))
	if got := verified(t, s.Agent, agent.VerifyOptions{Contents: true}); !slices.Equal(got, want[:1]) {
		t.Fatalf("found %q, want %q", got, want[:1])
	}
}

// A check of a vault at a real provider in this process, with all kinds of hidden records and parts of the index.
func TestVerifyAll(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx := t.Context()
	for i := range 150 {
		put(t, alice.Agent, "many/"+strings.Repeat("long name ", 5)+string(rune('a'+i%26))+string(rune('a'+i/26)),
			noise(uint64(i), 50))
	}
	put(t, alice.Agent, "stream", noise(1, 3<<20))
	if _, err := alice.Share(ctx, "many", agent.ShareOptions{With: alice.knows(t, bob)}); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Name(ctx, "stream", "a stream"); err != nil {
		t.Fatal(err)
	}
	if got := verified(t, alice.Agent, agent.VerifyOptions{Contents: true}); len(got) > 0 {
		t.Fatalf("found %q", got)
	}
	for _, err := range bob.guest(t, link(t, alice)).Verify(ctx, agent.VerifyOptions{}) {
		if !errors.Is(err, coffer.Invalid) {
			t.Errorf("in what was shared: %v", err)
		}
	}
}

// link returns a link of the first grant.
func link(t testing.TB, p *person) string {
	t.Helper()
	for g, err := range p.Grants(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		link, err := p.Link(t.Context(), g.ID)
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	t.Fatal("there is no grant")
	return ""
}
