package agent_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/grant"
)

// opens reports whether what the vault has of an object opens with these keys.
func (p *person) opens(t testing.TB, ref seal.Ref) bool {
	t.Helper()
	docs, err := p.vault.Get(t.Context(), ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = seal.OpenObject(ref, docs[0])
	return err == nil
}

// shared shares a path with a new person who may write it too, and returns that one's agent.
func (p *person) shared(t testing.TB, path, name string, actions ...grant.Action) (*person, *agent.Agent) {
	t.Helper()
	other := newPerson(t, p.at, name)
	shares, err := p.Share(t.Context(), path, agent.ShareOptions{With: p.knows(t, other), Actions: actions,
		Until: p.at.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return other, other.guest(t, shares[0].Link)
}

// later returns the owner's agent a day later.
func (p *person) later(t testing.TB) *agent.Agent {
	return p.device(t, func(o *agent.Options) { o.Now = func() time.Time { return p.at.Now().Add(24 * time.Hour) } })
}

// Whoever may write can spoil it, and no more than that: the owner goes on, takes the right back, and encrypts the rest
// anew.
func TestSpoiled(t *testing.T) {
	spoil := map[string]func(ctx context.Context, t *testing.T, alice *person, g *agent.Agent, at string) error{
		"spoiled": func(ctx context.Context, t *testing.T, alice *person, g *agent.Agent, at string) error {
			return g.Spoil(ctx, alice.RefOf(ctx, at))
		},
		"erased": func(ctx context.Context, t *testing.T, alice *person, g *agent.Agent, at string) error {
			return g.Destroy(ctx, alice.RefOf(ctx, at))
		},
	}
	for what, do := range spoil {
		for _, at := range []string{"note", "team", "team/deep", "team/plan"} {
			for _, end := range []string{"expired", "revoked"} {
				t.Run(fmt.Sprintf("%s %s %s", at, what, end), func(t *testing.T) {
					at := at
					alice := newPerson(t, provider(t), "alice")
					ctx := t.Context()
					put(t, alice.Agent, "note", []byte("n"))
					put(t, alice.Agent, "team/plan", []byte("p"))
					put(t, alice.Agent, "team/more", []byte("m"))
					put(t, alice.Agent, "team/deep/er", []byte("d"))
					put(t, alice.Agent, "moved/x", []byte("x"))
					_, deep := alice.shared(t, "team/deep", "dora", both...)
					_ = deep
					alice.shared(t, "moved/x", "eve")
					if err := alice.Move(ctx, "moved/x", "x"); err != nil {
						t.Fatal(err)
					}
					scope := "team"
					if at == "note" {
						scope = "note"
					}
					bob, g := alice.shared(t, scope, "bob", both...)
					if err := do(ctx, t, alice, g, at); err != nil {
						t.Fatal(err)
					}
					a := alice.device(t, nil)
					if end == "expired" {
						a = alice.later(t)
					} else if _, err := a.Revoke(ctx, agent.RevokeOptions{With: bob.ring.DID()}); err != nil {
						t.Errorf("revoke: %v", err)
					}
					x := alice.RefOf(ctx, "x")
					if _, err := a.Put(ctx, "own", file([]byte("o")), agent.PutOptions{}); err != nil {
						t.Fatalf("put: %v", err)
					}
					wctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
					defer cancel()
					err := a.Work(wctx, nil)
					t.Logf("work: %v", err)
					if wctx.Err() != nil {
						t.Error("work does not end")
					}
					if end == "expired" && alice.opens(t, x) {
						t.Error("what was granted otherwise was not encrypted anew")
					}
					if _, err := a.Put(ctx, "own", file([]byte("p")), agent.PutOptions{}); err != nil {
						t.Errorf("put: %v", err)
					}
					if err := a.Remove(ctx, scope, true); err != nil {
						t.Errorf("remove: %v", err)
					}
				})
			}
		}
	}
}

// Who may write a folder and read another cannot make the owner replace or erase what is in that.
func TestPlanted(t *testing.T) {
	setup := func(t *testing.T) (*person, tree.Node) {
		alice := newPerson(t, provider(t), "alice")
		put(t, alice.Agent, "team/plan", []byte("p"))
		put(t, alice.Agent, "read/only", []byte("original"))
		_, r := alice.shared(t, "read", "bob")
		n, err := r.NodeAt(t.Context(), "only")
		if err != nil {
			t.Fatal(err)
		}
		if n.Ref.Write != (seal.WriteKey{}) {
			t.Fatal("a reader has the write key")
		}
		bob2 := newPerson(t, alice.at, "bob2")
		shares, err := alice.Share(t.Context(), "team", agent.ShareOptions{With: alice.knows(t, bob2), Actions: both})
		if err != nil {
			t.Fatal(err)
		}
		w := bob2.guest(t, shares[0].Link)
		n.Ref.Write = seal.NewRef().Write
		if err := w.Plant(t.Context(), "trap", n); err != nil {
			t.Fatal(err)
		}
		return alice, n
	}
	for name, act := range map[string]func(ctx context.Context, a *person) error{
		"put": func(ctx context.Context, a *person) error {
			_, err := a.Put(ctx, "team/trap", file([]byte("x")), agent.PutOptions{})
			return err
		},
		"put large": func(ctx context.Context, a *person) error {
			_, err := a.Put(ctx, "team/trap", file(noise(1, 1<<17)), agent.PutOptions{})
			return err
		},
		"remove":     func(ctx context.Context, a *person) error { return a.Remove(ctx, "team/trap", false) },
		"remove all": func(ctx context.Context, a *person) error { return a.Remove(ctx, "team", true) },
		"move":       func(ctx context.Context, a *person) error { return a.Move(ctx, "team/trap", "trap") },
		"revoke": func(ctx context.Context, a *person) error {
			if _, err := a.Revoke(ctx, agent.RevokeOptions{Path: "team"}); err != nil {
				return err
			}
			return a.Work(ctx, nil)
		},
		"share": func(ctx context.Context, a *person) error {
			c := newPerson(t, a.at, "carol")
			_, err := a.Share(ctx, "team/trap", agent.ShareOptions{With: a.knows(t, c), Actions: both})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			alice, _ := setup(t)
			t.Logf("%v", act(t.Context(), alice))
			if got := string(get(t, alice.device(t, nil), "read/only")); got != "original" {
				t.Errorf("it is %.20q now", got)
			}
		})
	}
}

// Nothing that is stored after a grant by type is over opens for its reader.
func TestTypeRevoked(t *testing.T) {
	alice := newPerson(t, provider(t), "alice")
	bob := newPerson(t, alice.at, "bob")
	ctx := t.Context()
	value := func(path, typ, json string) {
		t.Helper()
		if _, err := alice.Put(ctx, path, agent.Source{Value: []byte(json), Type: typ}, agent.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	value("a/one", "Invoice", `{"total":1}`)
	value("a/two", "Invoice", `{"total":2}`)
	if _, err := alice.ShareType(ctx, "Invoice", agent.ShareOptions{With: alice.knows(t, bob)}); err != nil {
		t.Fatal(err)
	}
	two := alice.RefOf(ctx, "a/two")
	value("a/two", "Diary", `{"secret":2}`)
	if alice.opens(t, two) {
		t.Error("what is of another type now opens for readers of the type that it was")
	}
	one := alice.RefOf(ctx, "a/one")
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Type: "Invoice"}); err != nil {
		t.Fatal(err)
	}
	value("a/one", "Invoice", `{"total":3}`)
	if alice.opens(t, one) {
		t.Error("what was stored after the end opens with a key of before")
	}
	if err := alice.Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if got := string(get(t, alice.Agent, "a/one")); got != `{"total":3}` {
		t.Errorf("got %s", got)
	}
}

// Many grants may be over at once.
func TestManyExpire(t *testing.T) {
	alice := newPerson(t, provider(t), "alice")
	ctx := t.Context()
	until := alice.at.Now().Add(time.Hour)
	var with []agent.ShareOptions
	for i := range 3 {
		p := newPerson(t, alice.at, fmt.Sprint("reader", i))
		with = append(with, agent.ShareOptions{With: alice.knows(t, p), Until: until})
	}
	for i := range 60 {
		path := fmt.Sprintf("a folder with a name that is rather long, as those of people are/number %d", i)
		put(t, alice.Agent, path+"/x", []byte("x"))
		if _, err := alice.Share(ctx, path, with...); err != nil {
			t.Fatal(err)
		}
	}
	a := alice.later(t)
	if _, err := a.Put(ctx, "own", file([]byte("o")), agent.PutOptions{}); err != nil {
		t.Fatalf("put: %v", err)
	}
	if err := a.Work(ctx, nil); err != nil {
		t.Fatalf("work: %v", err)
	}
	for i, err := range a.Walk(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		if n, err := a.NodeAt(ctx, i.Path); err != nil || !i.IsFolder() && i.Name() == "x" && n.Epoch == 0 {
			t.Fatalf("not encrypted anew: %v", err)
		}
	}
}

// A part of an object ends with the object, and does not keep the owner from storing what has no such part.
func TestExcerptOfNothing(t *testing.T) {
	alice := newPerson(t, provider(t), "alice")
	bob := newPerson(t, alice.at, "bob")
	ctx := t.Context()
	value := func(json string) error {
		_, err := alice.Put(ctx, "card", agent.Source{Value: []byte(json), Type: "Card"}, agent.PutOptions{})
		return err
	}
	if err := value(`{"phone":1,"iban":2}`); err != nil {
		t.Fatal(err)
	}
	shares, err := alice.Share(ctx, "card", agent.ShareOptions{With: alice.knows(t, bob), Fields: []string{"phone"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := value(`{"iban":3}`); err != nil {
		t.Fatalf("put: %v", err)
	}
	g := bob.guest(t, shares[0].Link)
	if got := string(get(t, g, "")); got != `{}` {
		t.Errorf("got %s", got)
	}
	if err := alice.Remove(ctx, "card", false); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Get(ctx, ""); err == nil {
		t.Error("a part of what was removed is there")
	}
	for g, err := range alice.Grants(ctx) {
		if err != nil || g.Ended == nil {
			t.Errorf("%+v, %v", g, err)
		}
	}
}

// A namesake says that it is somebody else.
type namesake struct {
	coffer.Keyring
	did string
}

func (n namesake) DID() string { return n.did }

func (n namesake) Key(use coffer.KeyUse) coffer.PublicKey {
	k := n.Keyring.Key(use)
	k.ID, k.Controller = n.did+"#key", n.did
	return k
}

// A lookout tells whether somebody's keys are looked up.
type lookout struct{ t testing.TB }

func (l lookout) Resolve(context.Context, string) (*coffer.Identity, error) {
	l.t.Error("a stranger is told who reads, and when")
	return nil, coffer.Errorf("resolve", coffer.Unavailable, "not there")
}

// The keys of an author who may not write are not looked up, wherever that author says they are.
func TestStrangersAreNotAsked(t *testing.T) {
	alice := newPerson(t, provider(t), "alice")
	ctx := t.Context()
	put(t, alice.Agent, "team/plan", []byte("p"))
	bob, _ := alice.shared(t, "team", "bob", both...)
	ref := alice.RefOf(ctx, "team/plan")
	docs, err := alice.vault.Get(ctx, ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	d, err := seal.SealObject(ctx, seal.Plain{Content: []byte("{}")}, seal.ObjectOptions{
		Ref: ref, Sequence: 1, Parents: []coffer.Rev{docs[0].Rev()}, Author: namesake{bob.ring, "did:web:evil.example"},
		Time: alice.at.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.vault.Apply(ctx, coffer.Write{Document: d}); err != nil {
		t.Fatal(err)
	}
	a := alice.device(t, func(o *agent.Options) { o.Resolver = lookout{t} })
	_, err = a.Get(ctx, "team/plan")
	expect(t, err, coffer.Corrupt)
}

// A drawer is a cache, or a journal, of which others can put back an earlier state.
type drawer map[string][]byte

func (d drawer) Load(_ context.Context, name string) ([]byte, error) {
	if b, ok := d[name]; ok {
		return b, nil
	}
	return nil, coffer.Errorf("drawer", coffer.NotExist, "not kept")
}

func (d drawer) Save(_ context.Context, name string, b []byte) error {
	d[name] = slices.Clone(b)
	return nil
}

func (d drawer) Delete(_ context.Context, name string) error {
	delete(d, name)
	return nil
}

// What is put back into the cache by somebody else is not believed.
func TestCachePutBack(t *testing.T) {
	alice := newPerson(t, provider(t), "alice")
	cache, journal := drawer{}, drawer{}
	device := func() *agent.Agent {
		return alice.device(t, func(o *agent.Options) { o.Cache, o.Journal = cache, journal })
	}
	put(t, device(), "a", []byte("1"))
	get(t, device(), "a")
	before := maps.Clone(cache)
	a := device()
	put(t, a, "b", []byte("2"))
	get(t, device(), "b")
	for name, b := range before {
		cache[name] = b
	}
	if got := paths(t, device(), ""); len(got) != 2 {
		t.Errorf("an earlier state is shown: %q", got)
	}
}

// Who had the right to write cannot date back what the vault, which helps, accepts later.
func TestDatedBack(t *testing.T) {
	alice := newPerson(t, provider(t), "alice")
	ctx := t.Context()
	put(t, alice.Agent, "team/plan", []byte("p"))
	put(t, alice.Agent, "team/more", []byte("m"))
	bob, g := alice.shared(t, "team", "bob", both...)
	put(t, g, "plan", []byte("by bob"))
	put(t, g, "more", []byte("more by bob"))
	docs, err := alice.vault.Get(ctx, alice.RefOf(ctx, "team/plan").ID)
	if err != nil {
		t.Fatal(err)
	}
	earlier := alice.at.Now()
	late := g.Forge(ctx, t, "plan", earlier)
	alice.at.Advance(time.Minute)
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{With: bob.ring.DID()}); err != nil {
		t.Fatal(err)
	}
	late.Parents = []coffer.Rev{docs[0].Rev()}
	if _, err := alice.vault.Apply(ctx, coffer.Write{Document: late}); err != nil {
		t.Fatal(err)
	}
	_, err = alice.device(t, nil).Get(ctx, "team/plan")
	expect(t, err, coffer.Corrupt)
	if got := string(get(t, alice.device(t, nil), "team/more")); got != "more by bob" {
		t.Errorf("got %q", got)
	}
}
