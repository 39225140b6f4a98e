package hub_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/merge"
	"github.com/cofferhq/coffer/node/hub"
	"github.com/cofferhq/coffer/node/vault"
)

const (
	alice = somebody("alice")
	bob   = somebody("bob")
	carol = somebody("carol")
)

// A site is a hub service over vaults that count what is asked of them.
type site struct {
	t       testing.TB
	vaults  *countedVaults
	options hub.Options
	*hub.Service
	at time.Time // of the next commit
}

func newSite(t testing.TB, set func(*hub.Options)) *site {
	s := &site{t: t, at: time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)}
	s.vaults = &countedVaults{Vaults: coffertest.HubVaults(t, coffertest.NewVaults(t, vault.Limits{}))}
	s.options = hub.Options{
		Vaults: s.vaults, Key: keyOf, Filter: coffertest.HubFilter, Signer: somebody("hub"),
		Secret: sha256.Sum256([]byte(t.Name())), PublicProfile: true,
	}
	if set != nil {
		set(&s.options)
	}
	s.Service = hub.New(s.options)
	return s
}

// beside returns another node over the same vaults.
func (s *site) beside() *site {
	other := *s
	other.Service = hub.New(s.options)
	return &other
}

func (s *site) as(who somebody) coffer.Hub { return s.As(who.caller(s.t), "") }

var shelf = merge.Header{
	Interface: coffer.CollectionsInterface, Context: "http://schema.org", Type: "Book",
	Operation: merge.Create, Strategy: merge.Basic, Sub: alice.DID(),
}

// commit makes a commit, a millisecond after the one before.
func (s *site) commit(by somebody, payload string, set ...func(*merge.Header)) *coffer.Commit {
	s.t.Helper()
	return s.signed(by, by.SignInput, payload, set...)
}

// build makes a commit with a signature that only who trusts all takes for good.
func (s *site) build(by somebody, payload string, set ...func(*merge.Header)) *coffer.Commit {
	s.t.Helper()
	blank := func(context.Context, []byte) ([]byte, error) { return make([]byte, 64), nil }
	return s.signed(by, blank, payload, set...)
}

func (s *site) signed(
	by somebody, sign func(context.Context, []byte) ([]byte, error), payload string, set ...func(*merge.Header),
) *coffer.Commit {
	s.t.Helper()
	h := shelf
	s.at = s.at.Add(time.Millisecond)
	h.CommittedAt, h.Alg, h.KeyID = s.at, by.Alg(), by.KeyID()
	for _, f := range set {
		f(&h)
	}
	c, err := merge.Build(h, []byte(payload), func(input []byte) ([]byte, error) {
		return sign(context.Background(), input)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func of(iface, context, typ string) func(*merge.Header) {
	return func(h *merge.Header) { h.Interface, h.Context, h.Type = iface, context, typ }
}

func meta(text string) func(*merge.Header) {
	return func(h *merge.Header) { h.Meta = json.RawMessage(text) }
}

func later(operation string, id coffer.CommitRev) func(*merge.Header) {
	return func(h *merge.Header) { h.Operation, h.ObjectID = operation, id.String() }
}

func (s *site) write(by somebody, c *coffer.Commit) coffer.CommitRev {
	s.t.Helper()
	if _, err := s.as(by).Write(s.t.Context(), alice.DID(), c); err != nil {
		s.t.Fatalf("write: %v", err)
	}
	return c.Rev()
}

// grant lets somebody do something with books.
func (s *site) grant(to somebody, allow string, more string) coffer.CommitRev {
	s.t.Helper()
	return s.write(alice, s.commit(alice, grantOf(to, shelf.Context, shelf.Type, allow, more), asGrant))
}

// grantIn lets somebody read the books in another's hub.
func (s *site) grantIn(owner, to somebody) {
	s.t.Helper()
	payload := strings.Replace(grantOf(to, shelf.Context, shelf.Type, "-R--", ""), alice.DID(), owner.DID(), 1)
	c := s.commit(owner, payload, asGrant, func(h *merge.Header) { h.Sub = owner.DID() })
	if _, err := s.as(owner).Write(s.t.Context(), owner.DID(), c); err != nil {
		s.t.Fatal(err)
	}
}

func grantOf(to somebody, context, typ, allow, more string) string {
	return fmt.Sprintf(`{"owner":%q,"grantee":%q,"context":%q,"type":%q,"allow":%q%s}`,
		alice.DID(), to.DID(), context, typ, allow, more)
}

func asGrant(h *merge.Header) {
	h.Interface, h.Context, h.Type = coffer.PermissionsInterface, "schema.identity.foundation/0.1", "PermissionGrant"
}

func books(q coffer.ObjectQuery) *coffer.ObjectQuery {
	q.Interface, q.Context, q.Type = shelf.Interface, shelf.Context, shelf.Type
	return &q
}

// all returns the ids of all pages, and the watermark.
func (s *site) all(who somebody, q *coffer.ObjectQuery) (ids []coffer.CommitRev, mark string) {
	s.t.Helper()
	ask := *q
	for {
		p, err := s.as(who).Objects(s.t.Context(), alice.DID(), &ask)
		if err != nil {
			s.t.Fatalf("objects: %v", err)
		}
		for _, o := range p.Objects {
			ids = append(ids, o.ID)
		}
		if p.Skip == "" {
			return ids, p.Watermark
		}
		ask.Skip = p.Skip
	}
}

func wants(t testing.TB, what string, err error, kind coffer.Kind) {
	t.Helper()
	if !errors.Is(err, kind) || err == nil {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

// countedVaults count the acts on all of their vaults.
type countedVaults struct {
	hub.Vaults
	gets, queries, applies, changes atomic.Int64
	mu                              sync.Mutex
	opened                          []coffer.Vault
	before                          func(writes []coffer.Write) // each Apply, unless nil
}

func (v *countedVaults) Vault(ctx context.Context, name string, make bool) (coffer.Vault, error) {
	inner, err := v.Vaults.Vault(ctx, name, make)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !slices.Contains(v.opened, inner) {
		v.opened = append(v.opened, inner)
	}
	return countedVault{inner, v}, nil
}

func (v *countedVaults) reset() {
	for _, n := range []*atomic.Int64{&v.gets, &v.queries, &v.applies, &v.changes} {
		n.Store(0)
	}
}

type countedVault struct {
	coffer.Vault
	by *countedVaults
}

func (v countedVault) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	v.by.gets.Add(1)
	return v.Vault.Get(ctx, id)
}

func (v countedVault) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	v.by.applies.Add(1)
	if v.by.before != nil {
		v.by.before(writes)
	}
	return v.Vault.Apply(ctx, writes...)
}

func (v countedVault) Query(ctx context.Context, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	v.by.queries.Add(1)
	return v.Vault.Query(ctx, q)
}

func (v countedVault) Changes(ctx context.Context, after coffer.Cursor, follow bool) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) {
		for c, err := range v.Vault.Changes(ctx, after, follow) {
			v.by.changes.Add(1)
			if !yield(c, err) {
				return
			}
		}
	}
}

// TestWriteCosts counts what a write and a page ask of the vault.
func TestWriteCosts(t *testing.T) {
	s := newSite(t, nil)
	s.write(alice, s.commit(alice, `{"n":1}`))
	s.grant(bob, "CRU-", "")
	for i := range 100 {
		s.grant(carol, "-R--", fmt.Sprintf(`,"purpose":"p%d"`, i))
	}
	costs := func(what string, gets, queries, applies int64, act func()) {
		t.Helper()
		s.vaults.reset()
		act()
		v := s.vaults
		if v.gets.Load() > gets || v.queries.Load() > queries || v.applies.Load() > applies {
			t.Errorf("%s: %d gets, %d queries, %d applies", what, v.gets.Load(), v.queries.Load(), v.applies.Load())
		}
	}
	id := s.write(bob, s.commit(bob, `{"n":0}`)) // the day's first use of the grant is recorded
	costs("the owner creates", 1, 0, 1, func() { id = s.write(alice, s.commit(alice, `{"n":2}`)) })
	costs("the owner updates", 2, 0, 1, func() { s.write(alice, s.commit(alice, `{}`, later(merge.Update, id))) })
	costs("a grantee creates", 1, 1, 1, func() { s.write(bob, s.commit(bob, `{"n":3}`)) })
	costs("a grantee updates", 2, 1, 1, func() { s.write(bob, s.commit(bob, `{}`, later(merge.Update, id))) })
	s.all(alice, books(coffer.ObjectQuery{}))
	costs("a page for the owner", 0, 1, 0, func() { s.all(alice, books(coffer.ObjectQuery{})) })
	costs("a page for a grantee", 0, 2, 0, func() { s.all(bob, books(coffer.ObjectQuery{})) })
}

// TestAtRest looks for what must not be seen in what is kept.
func TestAtRest(t *testing.T) {
	s := newSite(t, nil)
	words := []string{"alice", "bob", "schema", "Book", "Permission", "secret", "CRUD", "title", "Collections", "hub:did"}
	id := s.write(alice, s.commit(alice, `{"a":"secret"}`, meta(`{"title":"a title"}`)))
	words = append(words, id.String(), base64.RawURLEncoding.EncodeToString([]byte(`{"a":"secret"}`)))
	s.grant(bob, "CRUD", "")
	s.write(bob, s.commit(bob, "hello", of(coffer.ActionsInterface, "http://schema.org", "ReadAction")))
	n := 0
	for _, v := range s.vaults.opened {
		for d, err := range v.Query(t.Context(), coffer.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			texts := []string{string(d.Body)}
			for _, tag := range d.Tags {
				texts = append(texts, tag.Name, tag.Value)
			}
			if d.Body[0] != 1 {
				t.Errorf("a body begins with %d", d.Body[0])
			}
			for _, text := range texts {
				for _, w := range words {
					if strings.Contains(text, w) {
						t.Errorf("%q is kept in the clear", w)
					}
				}
			}
		}
	}
	if n < 8 {
		t.Fatalf("only %d documents are kept", n)
	}
	// A body in the place of another one is noticed.
	v := s.vaults.opened[0]
	var commits []*coffer.Document
	for d, err := range v.Query(t.Context(), coffer.Query{}) {
		if err == nil && d.ID[0] == 1 {
			commits = append(commits, d)
		}
	}
	swapped := *commits[0]
	swapped.Sequence, swapped.Parents, swapped.Body = 1, []coffer.Rev{commits[0].Rev()}, commits[1].Body
	if _, err := coffer.Put(t.Context(), v, &swapped); err != nil {
		t.Fatal(err)
	}
	_, err := s.as(alice).Commits(t.Context(), alice.DID(), &coffer.CommitQuery{})
	wants(t, "a body of another document", err, coffer.Corrupt)
}

// TestPagesWhileWriting pages while others write: what was there is listed once and in order.
func TestPagesWhileWriting(t *testing.T) {
	s := newSite(t, nil)
	var before []coffer.CommitRev
	for i := range 60 {
		before = append(before, s.write(alice, s.commit(alice, fmt.Sprint(i))))
	}
	var writers sync.WaitGroup
	var commits [4][]*coffer.Commit
	for w := range commits {
		for i := range 50 {
			commits[w] = append(commits[w], s.commit(alice, fmt.Sprint(w, i)))
		}
	}
	var acknowledged sync.Map
	for _, own := range commits {
		writers.Go(func() {
			for _, c := range own {
				if _, err := s.as(alice).Write(t.Context(), alice.DID(), c); err != nil {
					t.Error(err)
				}
				acknowledged.Store(c.Rev(), true)
			}
		})
	}
	seen := make(map[coffer.CommitRev]int)
	check := func() string {
		must := make(map[coffer.CommitRev]bool)
		acknowledged.Range(func(k, _ any) bool { must[k.(coffer.CommitRev)] = true; return true })
		clear(seen)
		ids, mark := s.all(alice, books(coffer.ObjectQuery{Limit: 7}))
		for _, id := range ids {
			seen[id]++
			if seen[id] > 1 {
				t.Error("an object is listed twice")
			}
			delete(must, id)
		}
		if len(must) > 0 {
			t.Errorf("%d objects that were acknowledged are not listed", len(must))
		}
		if !slices.Equal(ids[:60], before) {
			t.Error("what was there before is listed in another order")
		}
		return mark
	}
	mark := check()
	first := make(map[coffer.CommitRev]int)
	for id := range seen {
		first[id] = 1
	}
	for range 5 {
		check()
	}
	writers.Wait()
	check()
	newer, _ := s.all(alice, books(coffer.ObjectQuery{Since: mark, Limit: 9}))
	for _, id := range newer {
		first[id]++
	}
	if len(first) != 260 {
		t.Errorf("a listing and what came since have %d objects", len(first))
	}
}

// TestTokens uses tokens where they do not belong.
func TestTokens(t *testing.T) {
	s := newSite(t, nil)
	for i := range 3 {
		s.write(alice, s.commit(alice, fmt.Sprint(i)))
	}
	s.grant(bob, "-R--", "")
	page := func(who somebody, q coffer.ObjectQuery) (*coffer.ObjectPage, error) {
		return s.as(who).Objects(t.Context(), alice.DID(), books(q))
	}
	p, err := page(alice, coffer.ObjectQuery{Limit: 1})
	if err != nil || p.Skip == "" || p.Watermark != "" {
		t.Fatal(p, err)
	}
	_, mark := s.all(alice, books(coffer.ObjectQuery{}))
	altered := []byte(p.Skip)
	altered[len(altered)/2] ^= 1
	for name, q := range map[string]coffer.ObjectQuery{
		"of another query": {Skip: p.Skip, NoDeleted: true},
		"altered":          {Skip: string(altered)},
		"with a line end":  {Skip: p.Skip[:9] + "\n" + p.Skip[9:]},
		"too long":         {Skip: strings.Repeat("a", 5000)},
		"no token":         {Skip: "x"},
		"a watermark":      {Skip: mark},
		"since a skip":     {Since: p.Skip},
	} {
		_, err := page(alice, q)
		wants(t, name, err, coffer.Invalid)
	}
	for name, q := range map[string]coffer.ObjectQuery{"skip": {Skip: p.Skip}, "since": {Since: mark}} {
		_, err := page(bob, q)
		wants(t, name+" of another caller", err, coffer.Invalid)
	}
	_, err = s.as(alice).Commits(t.Context(), alice.DID(), &coffer.CommitQuery{Since: mark})
	wants(t, "a watermark of objects for commits", err, coffer.Invalid)
	s.grantIn(bob, alice)
	_, err = s.as(alice).Objects(t.Context(), bob.DID(), books(coffer.ObjectQuery{Skip: p.Skip}))
	wants(t, "at another hub", err, coffer.Invalid)
	p, err = page(alice, coffer.ObjectQuery{Skip: p.Skip, Limit: 2})
	if err != nil || len(p.Objects) != 2 || p.Skip != "" {
		t.Errorf("the token is good: %v", err)
	}
}

// TestNodes has two nodes over the same vaults, which know nothing of each other.
func TestNodes(t *testing.T) {
	s := newSite(t, func(o *hub.Options) { o.Limits.Commits = 1000 })
	other := s.beside()
	id := s.write(alice, s.commit(alice, `{}`))
	var commits [2][]*coffer.Commit
	for i := range commits {
		for range 30 {
			commits[i] = append(commits[i], s.commit(alice, `{}`, later(merge.Update, id)))
		}
	}
	var writers sync.WaitGroup
	for i, node := range []*site{s, other} {
		for half := range 2 {
			writers.Go(func() {
				for _, c := range commits[i][half*15 : half*15+15] {
					if _, err := node.as(alice).Write(t.Context(), alice.DID(), c); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	writers.Wait()
	for _, node := range []*site{s, other} {
		p, err := node.as(alice).Commits(t.Context(), alice.DID(), &coffer.CommitQuery{Objects: []coffer.CommitRev{id}})
		if err != nil || len(p.Commits) != 61 {
			t.Fatalf("%d commits: %v", len(p.Commits), err)
		}
	}
	o, err := other.as(alice).Objects(t.Context(), alice.DID(), books(coffer.ObjectQuery{}))
	if err != nil || len(o.Objects) != 1 || o.Objects[0].Revision != commits[1][29].Rev() {
		t.Errorf("the state is not the last commit's: %v", err)
	}
	// A grant that one node takes back opens nothing at the other.
	g := s.grant(bob, "-R--", "")
	if _, err := other.as(bob).Objects(t.Context(), alice.DID(), books(coffer.ObjectQuery{})); err != nil {
		t.Error(err)
	}
	s.write(alice, s.commit(alice, "", asGrant, later(merge.Delete, g)))
	_, err = other.as(bob).Objects(t.Context(), alice.DID(), books(coffer.ObjectQuery{}))
	wants(t, "a grant that was taken back", err, coffer.Denied)
	// There is one profile.
	profile := of(coffer.ProfileInterface, "schema.org", "Person")
	s.write(alice, s.commit(alice, `{}`, profile))
	_, err = other.as(alice).Write(t.Context(), alice.DID(), s.commit(alice, `{"n":2}`, profile))
	wants(t, "a second profile", err, coffer.Invalid)
	// One commit that comes to both at once is stored once.
	c := s.commit(alice, `{"n":3}`)
	for _, node := range []*site{s, other} {
		writers.Go(func() {
			if revs, err := node.as(alice).Write(t.Context(), alice.DID(), c); err != nil || len(revs) != 1 {
				t.Error(revs, err)
			}
		})
	}
	writers.Wait()
}

// TestTail opens a hub anew that has many changes: its end is found without reading them all.
func TestTail(t *testing.T) {
	s := newSite(t, nil)
	batch := make([]*coffer.Commit, 450)
	for range 5 {
		for i := range batch {
			batch[i] = s.commit(alice, "{}")
		}
		if n, err := s.as(alice).Adopt(t.Context(), alice.DID(), batch...); err != nil || n != len(batch) {
			t.Fatal(n, err)
		}
	}
	fresh := s.beside()
	s.vaults.reset()
	p, err := fresh.as(alice).Objects(t.Context(), alice.DID(), books(coffer.ObjectQuery{}))
	if err != nil || len(p.Objects) != 100 {
		t.Fatal(len(p.Objects), err)
	}
	if n := s.vaults.changes.Load(); n > 4200 {
		t.Errorf("%d changes were read of %d", n, 5*901)
	}
	if p, err = fresh.as(alice).Objects(t.Context(), alice.DID(), books(coffer.ObjectQuery{Skip: p.Skip})); err != nil {
		t.Fatal(err)
	}
	if len(p.Objects) != 100 {
		t.Errorf("%d objects in the second page", len(p.Objects))
	}
}

// TestScanBound looks for one object behind many that do not match: a page that was enough work says how to go on.
func TestScanBound(t *testing.T) {
	const many = 150
	s := newSite(t, nil)
	s.Scan(60)
	_, beginning := s.all(alice, books(coffer.ObjectQuery{}))
	var last coffer.CommitRev
	for i := range many {
		last = s.write(alice, s.commit(alice, `{}`, meta(fmt.Sprintf(`{"n":%d}`, i/(many-1)))))
	}
	for _, since := range []string{"", beginning} {
		q := books(coffer.ObjectQuery{
			Since: since, Filters: []coffer.FieldFilter{{Type: "eq", Field: "meta.n", Value: "1"}},
		})
		p, err := s.as(alice).Objects(t.Context(), alice.DID(), q)
		if err != nil || len(p.Objects) != 0 || p.Skip == "" {
			t.Fatalf("%d objects, %v", len(p.Objects), err)
		}
		if ids, _ := s.all(alice, q); len(ids) != 1 || ids[0] != last {
			t.Errorf("found %d", len(ids))
		}
	}
	p, err := s.as(alice).Commits(t.Context(), alice.DID(), &coffer.CommitQuery{})
	if err != nil || len(p.Commits) >= 60 || p.Skip == "" { // rows are looked at, too
		t.Errorf("%d commits, %v", len(p.Commits), err)
	}
}

// TestCommitsBound fills an object with commits: it can still be deleted, once.
func TestCommitsBound(t *testing.T) {
	s := newSite(t, func(o *hub.Options) { o.Limits.Commits = 3 })
	id := s.write(alice, s.commit(alice, "{}"))
	for range 2 {
		s.write(alice, s.commit(alice, "{}", later(merge.Update, id)))
	}
	try := func(operation string) error {
		_, err := s.as(alice).Write(t.Context(), alice.DID(), s.commit(alice, "{}", later(operation, id)))
		return err
	}
	wants(t, "one more", try(merge.Update), coffer.Exhausted)
	if err := try(merge.Delete); err != nil {
		t.Errorf("a full object cannot be deleted: %v", err)
	}
	wants(t, "a second delete", try(merge.Delete), coffer.Exhausted)
	_, err := s.as(alice).Adopt(t.Context(), alice.DID(), s.commit(alice, "{}", later(merge.Update, id)))
	wants(t, "one more, adopted", err, coffer.Exhausted)
}
