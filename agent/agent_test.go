package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node/vault"
)

// A person is somebody with a vault at a provider in this process.
type person struct {
	*agent.Agent
	ring  *keyring.Ring
	vault coffer.Vault
	url   string
	at    *coffertest.Vaults
}

// provider returns an empty provider.
func provider(t testing.TB) *coffertest.Vaults { return coffertest.NewVaults(t, vault.Limits{}) }

// newPerson makes a vault for somebody.
func newPerson(t testing.TB, at *coffertest.Vaults, name string) *person {
	t.Helper()
	p := &person{ring: coffertest.Person(t, name), at: at}
	var id coffer.VaultID
	id, p.url = at.NewVault(t, p.ring)
	p.vault = at.As(at.Caller(t, p.ring, p.url, nil), id)
	p.Agent = p.device(t, nil)
	return p
}

// device returns another agent of the same person.
func (p *person) device(t testing.TB, change func(*agent.Options)) *agent.Agent {
	t.Helper()
	o := agent.Options{
		Vault: p.vault, Keyring: p.ring, URL: p.url, Revoker: &revoker{t, p}, Log: p.vault.(ledger.Log),
		LogKey: coffertest.LogSigner(t, coffertest.Origin).Verifier(), Now: p.at.Now,
	}
	if change != nil {
		change(&o)
	}
	a, err := agent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A revoker revokes as the vault's API does.
type revoker struct {
	t testing.TB
	p *person
}

func (r *revoker) Revoke(ctx context.Context, capability []byte) error {
	caller, at := r.p.at.Revoker(r.t, r.p.ring, capability)
	c := r.p.at.Chain(r.t, capability)
	id, err := coffer.ParseVaultID(r.p.url[len(coffertest.Origin+"/edvs/"):])
	if err != nil {
		return err
	}
	return r.p.at.As(caller, id).Revoke(ctx, at, c, capability)
}

// guest returns the agent of somebody in what a link shares.
func (p *person) guest(t testing.TB, link string) *agent.Agent {
	t.Helper()
	i, err := p.OpenLink(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	id, err := coffer.ParseVaultID(i.Vault[len(coffertest.Origin+"/edvs/"):])
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.In(i, p.at.As(p.at.Caller(t, i.Reader, i.Vault, i.Capability), id))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// knows makes somebody a contact of p.
func (p *person) knows(t testing.TB, other *person) string {
	t.Helper()
	card, err := other.ring.Card(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddContact(t.Context(), card, ""); err != nil {
		t.Fatal(err)
	}
	return other.ring.DID()
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func file(content []byte) agent.Source {
	return agent.Source{Reader: bytes.NewReader(content), Size: int64(len(content)), Modified: time.Unix(1e9, 0), Mode: 0o640}
}

func put(t testing.TB, a *agent.Agent, path string, content []byte) agent.Info {
	t.Helper()
	i, err := a.Put(t.Context(), path, file(content), agent.PutOptions{})
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return i
}

func get(t testing.TB, a *agent.Agent, path string) []byte {
	t.Helper()
	o, err := a.Get(t.Context(), path)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	r := o.Open(t.Context())
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return b
}

func expect(t testing.TB, err error, kind coffer.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%v, want %v", err, kind)
	}
}

// paths returns what is below a folder.
func paths(t testing.TB, a *agent.Agent, folder string) (list []string) {
	t.Helper()
	for i, err := range a.Walk(t.Context(), folder) {
		if err != nil {
			t.Fatalf("walk: %v", err)
		}
		list = append(list, i.Path)
	}
	slices.Sort(list)
	return list
}

// found returns the paths of what meets a query.
func found(t testing.TB, a *agent.Agent, query string) (list []string) {
	t.Helper()
	for i, err := range a.Find(t.Context(), query) {
		if err != nil {
			t.Fatalf("find: %v", err)
		}
		list = append(list, i.Path)
	}
	slices.Sort(list)
	return list
}

func TestDay(t *testing.T) {
	p := newPerson(t, provider(t), "alice")
	ctx := t.Context()
	small, large := noise(1, 900), noise(2, 3<<20+17)
	put(t, p.Agent, "taxes/2025/tax report.pdf", small)
	put(t, p.Agent, "taxes/2025/scan", large)
	put(t, p.Agent, "empty", nil)
	if _, err := agent.Put(ctx, p.Agent, "invoices/1", struct {
		Customer string `json:"customer"`
		Total    int    `json:"total"`
	}{"Ada Lovelace", 30}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*agent.Agent{p.Agent, p.device(t, nil)} {
		if !bytes.Equal(get(t, a, "taxes/2025/tax report.pdf"), small) || !bytes.Equal(get(t, a, "taxes/2025/scan"), large) ||
			len(get(t, a, "empty")) != 0 {
			t.Fatal("it came back as another")
		}
		if got := paths(t, a, ""); !slices.Equal(got, []string{
			"empty", "invoices", "invoices/1", "taxes", "taxes/2025", "taxes/2025/scan", "taxes/2025/tax report.pdf",
		}) {
			t.Errorf("walk: %q", got)
		}
		for query, want := range map[string][]string{
			"report":              {"taxes/2025/tax report.pdf"},
			"customer:ada":        {"invoices/1"},
			"total:[20 TO 30]":    {"invoices/1"},
			"name:scan OR empty":  {"empty", "taxes/2025/scan"},
			"nothing":             nil,
			"taxes":               {"taxes"},
			"ext:pdf AND NOT tax": nil,
		} {
			if got := found(t, a, query); !slices.Equal(got, want) {
				t.Errorf("find %s: %q, want %q", query, got, want)
			}
		}
	}
	if err := p.Move(ctx, "taxes", "archive/taxes"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(t, p.Agent, "archive/taxes/2025/scan"), large) {
		t.Error("it came back as another")
	}
	if got := found(t, p.Agent, "report"); !slices.Equal(got, []string{"archive/taxes/2025/tax report.pdf"}) {
		t.Errorf("after a move: %q", got)
	}
	changed := slices.Clone(large)
	changed[2<<20] ^= 1
	put(t, p.Agent, "archive/taxes/2025/scan", changed)
	if !bytes.Equal(get(t, p.Agent, "archive/taxes/2025/scan"), changed) {
		t.Error("it came back as another")
	}
	expect(t, p.Remove(ctx, "archive", false), coffer.Conflict)
	if err := p.Remove(ctx, "archive", true); err != nil {
		t.Fatal(err)
	}
	if got := paths(t, p.Agent, ""); !slices.Equal(got, []string{"empty", "invoices", "invoices/1"}) {
		t.Errorf("after removing: %q", got)
	}
	if got := found(t, p.Agent, "report"); got != nil {
		t.Errorf("removed and found: %q", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	p := newPerson(t, provider(t), "alice")
	other := p.device(t, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 25 {
				put(t, []*agent.Agent{p.Agent, other}[i%2], "f/"+string(rune('a'+i))+string(rune('a'+j)), []byte{byte(i), byte(j)})
			}
		})
	}
	all.Wait()
	if got := len(paths(t, p.device(t, nil), "f")); got != 200 {
		t.Errorf("%d files, want 200", got)
	}
	if got := get(t, p.Agent, "f/cd"); !bytes.Equal(got, []byte{2, 3}) {
		t.Errorf("got %x", got)
	}
}

func TestShare(t *testing.T) {
	at := provider(t)
	alice, bob, carol := newPerson(t, at, "alice"), newPerson(t, at, "bob"), newPerson(t, at, "carol")
	ctx := t.Context()
	put(t, alice.Agent, "album/a", []byte("a"))
	large := noise(3, 2<<20)
	put(t, alice.Agent, "album/deep/large", large)
	put(t, alice.Agent, "other", []byte("o"))
	shares, err := alice.Share(ctx, "album", agent.ShareOptions{With: alice.knows(t, bob)}, agent.ShareOptions{With: alice.knows(t, carol)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := carol.OpenLink(ctx, shares[0].Link); !errors.Is(err, coffer.Denied) {
		t.Errorf("somebody else's link: %v", err)
	}
	b, c := bob.guest(t, shares[0].Link), carol.guest(t, shares[1].Link)
	for _, g := range []*agent.Agent{b, c} {
		if got := paths(t, g, ""); !slices.Equal(got, []string{"a", "deep", "deep/large"}) {
			t.Fatalf("guest: %q", got)
		}
		if !bytes.Equal(get(t, g, "deep/large"), large) {
			t.Error("it came back as another")
		}
	}
	_, err = b.Put(ctx, "x", file(nil), agent.PutOptions{})
	expect(t, err, coffer.Denied)
	put(t, alice.Agent, "album/later", []byte("l"))
	if got := get(t, b, "later"); string(got) != "l" {
		t.Errorf("got %q", got)
	}
	// Carol goes: she is refused at once, and Bob reads on.
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Path: "album", With: carol.ring.DID()}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(ctx, "a")
	if err == nil {
		t.Error("revoked, and still served")
	}
	put(t, alice.Agent, "album/deep/new", []byte("n"))
	if got := get(t, b, "deep/new"); string(got) != "n" {
		t.Errorf("got %q", got)
	}
	jobs, err := alice.Jobs(ctx)
	if err != nil || len(jobs) != 1 || jobs[0].Left != 3 {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}
	if err := alice.device(t, nil).Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if jobs, err := alice.Jobs(ctx); err != nil || len(jobs) != 0 {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}
	if !bytes.Equal(get(t, b, "deep/large"), large) || string(get(t, b, "a")) != "a" {
		t.Error("it came back as another")
	}
	who, err := alice.Who(ctx, "album/deep/large")
	if err != nil || len(who) != 2 || who[0].Ended != nil || who[1].Ended == nil || who[1].With != carol.ring.DID() {
		t.Errorf("who: %+v, %v", who, err)
	}
	if who, err := alice.Who(ctx, "other"); err != nil || len(who) != 0 {
		t.Errorf("who: %+v, %v", who, err)
	}
}

func TestShareToWrite(t *testing.T) {
	at := provider(t)
	alice, bob, carol := newPerson(t, at, "alice"), newPerson(t, at, "bob"), newPerson(t, at, "carol")
	ctx := t.Context()
	put(t, alice.Agent, "team/plan", []byte("1"))
	shares, err := alice.Share(ctx, "team", agent.ShareOptions{With: alice.knows(t, bob), Actions: both},
		agent.ShareOptions{With: alice.knows(t, carol)})
	if err != nil {
		t.Fatal(err)
	}
	b, c := bob.guest(t, shares[0].Link), carol.guest(t, shares[1].Link)
	put(t, b, "plan", []byte("2"))
	put(t, b, "new/file", noise(5, 2<<20))
	for _, a := range []*agent.Agent{c, b} {
		o, err := a.Get(ctx, "plan")
		if err != nil {
			t.Fatal(err)
		}
		if o.Author != bob.ring.DID() {
			t.Errorf("author %s", o.Author)
		}
		if !bytes.Equal(get(t, a, "new/file"), noise(5, 2<<20)) {
			t.Error("it came back as another")
		}
	}
	if got := get(t, alice.Agent, "team/plan"); string(got) != "2" {
		t.Errorf("got %q", got)
	}
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Path: "team", With: bob.ring.DID()}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	o, err := alice.Get(ctx, "team/plan")
	if err != nil || o.Author != bob.ring.DID() {
		t.Errorf("author %s, %v", o.Author, err)
	}
	if _, err := b.Put(ctx, "plan", file([]byte("3")), agent.PutOptions{}); err == nil {
		t.Error("revoked, and still writes")
	}
}

var both = []grant.Action{grant.Read, grant.Write}

// What one caller may not do does not keep others from what they may, however many wait.
func TestManyFail(t *testing.T) {
	p := newPerson(t, provider(t), "alice")
	put(t, p.Agent, "folder/x", nil)
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			if i%3 == 0 {
				_, err := p.Put(context.Background(), "folder", file([]byte{1}), agent.PutOptions{})
				expect(t, err, coffer.Conflict)
				return
			}
			if _, err := p.Put(context.Background(), fmt.Sprint("g/", i), file(noise(1, 16<<10)), agent.PutOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(paths(t, p.Agent, "g")); got != 266 {
		t.Errorf("%d files, want 266", got)
	}
}

// Several callers who write to one path at once all succeed, and the last one's content is there.
func TestManyToOnePath(t *testing.T) {
	p := newPerson(t, provider(t), "alice")
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			path := fmt.Sprint("same/", i%2)
			if _, err := p.Put(context.Background(), path, file([]byte{byte(i % 2)}), agent.PutOptions{}); err != nil {
				t.Error(err)
			}
			if i%8 == 0 {
				if err := p.Remove(context.Background(), path, false); err != nil && !errors.Is(err, coffer.NotExist) {
					t.Error(err)
				}
			}
			if i%16 == 5 {
				to := fmt.Sprint("moved/", i)
				if err := p.Move(context.Background(), path, to); err != nil && !errors.Is(err, coffer.NotExist) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	put(t, p.Agent, "same/0", []byte("last"))
	for _, a := range []*agent.Agent{p.Agent, p.device(t, nil)} {
		if got := get(t, a, "same/0"); string(got) != "last" {
			t.Errorf("got %q", got)
		}
		for _, path := range paths(t, a, "moved") {
			if got := get(t, a, path); string(got) != "\x01" {
				t.Errorf("got %q", got)
			}
		}
	}
}
