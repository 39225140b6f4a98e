package agent_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// sees returns what a guest sees, without what tells objects of one name apart.
func sees(t testing.TB, a *agent.Agent) (list []string) {
	t.Helper()
	for _, p := range paths(t, a, "") {
		_, name, _ := strings.Cut(p, " ")
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func TestShareType(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx := t.Context()
	value := func(path, typ, json string) {
		t.Helper()
		if _, err := alice.Put(ctx, path, agent.Source{Value: []byte(json), Type: typ}, agent.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	value("a/one", "Invoice", `{"total":1}`)
	value("b/one", "Invoice", `{"total":2}`)
	value("b/letter", "Letter", `{}`)
	shares, err := alice.ShareType(ctx, "Invoice", agent.ShareOptions{With: alice.knows(t, bob)})
	if err != nil {
		t.Fatal(err)
	}
	b := bob.guest(t, shares[0].Link)
	if got := sees(t, b); !slices.Equal(got, []string{"one", "one"}) {
		t.Fatalf("guest: %q", got)
	}
	value("c/later", "Invoice", `{"total":3}`)
	if err := alice.Move(ctx, "a/one", "a/moved"); err != nil {
		t.Fatal(err)
	}
	value("b/one", "Letter", `{}`) // no invoice any more
	if got := sees(t, b); !slices.Equal(got, []string{"later", "moved"}) {
		t.Errorf("guest: %q", got)
	}
	value("a/moved", "Invoice", `{"total":7}`)
	for _, p := range paths(t, b, "") {
		if strings.HasSuffix(p, " moved") && string(get(t, b, p)) != `{"total":7}` {
			t.Errorf("got %s", get(t, b, p))
		}
	}
	if err := alice.Remove(ctx, "c", true); err != nil {
		t.Fatal(err)
	}
	if got := sees(t, b); !slices.Equal(got, []string{"moved"}) {
		t.Errorf("guest: %q", got)
	}
	if who, err := alice.Who(ctx, "a/moved"); err != nil || len(who) != 1 {
		t.Errorf("who: %+v, %v", who, err)
	}
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Type: "Invoice"}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if got := get(t, alice.Agent, "a/moved"); string(got) != `{"total":7}` {
		t.Errorf("got %s", got)
	}
	if got := get(t, alice.device(t, nil), "a/moved"); string(got) != `{"total":7}` {
		t.Errorf("got %s", got)
	}
}

// A share that ends by itself is over for the vault, and new keys are not sent (UC-17).
func TestUC17SharedUntil(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx := t.Context()
	put(t, alice.Agent, "f/a", []byte("1"))
	shares, err := alice.Share(ctx, "f", agent.ShareOptions{With: alice.knows(t, bob), Until: at.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	b := bob.guest(t, shares[0].Link)
	if got := get(t, b, "a"); string(got) != "1" {
		t.Errorf("got %q", got)
	}
	at.Advance(2 * time.Hour) // and Alice is offline
	if _, err := b.Get(ctx, "a"); err == nil {
		t.Error("served after the end")
	}
	put(t, alice.Agent, "f/b", []byte("2"))
	who, err := alice.Who(ctx, "f/b")
	if err != nil || len(who) != 1 || who[0].Ended == nil || who[0].Ended.Reason != "expired" {
		t.Errorf("who: %+v, %v", who, err)
	}
	if jobs, err := alice.Jobs(ctx); err != nil || len(jobs) != 1 {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}
}

// What is removed is not granted any more.
func TestRemovedIsNotGranted(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx := t.Context()
	put(t, alice.Agent, "f/deep/a", []byte("1"))
	shares, err := alice.Share(ctx, "f/deep", agent.ShareOptions{With: alice.knows(t, bob)})
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.Remove(ctx, "f", true); err != nil {
		t.Fatal(err)
	}
	_, err = bob.guest(t, shares[0].Link).Get(ctx, "a")
	expect(t, err, coffer.NotExist)
	for g, err := range alice.Grants(ctx) {
		if err != nil || g.Ended == nil {
			t.Errorf("grant %+v, %v", g, err)
		}
	}
	if got := found(t, alice.Agent, "type:Folder"); got != nil {
		t.Errorf("removed and found: %q", got)
	}
}

// What is moved out of a shared folder is not read any more by whom the folder was shared with.
func TestMovedOutOfAShare(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx := t.Context()
	large := noise(4, 2<<20)
	put(t, alice.Agent, "shared/a", []byte("1"))
	put(t, alice.Agent, "shared/large", large)
	put(t, alice.Agent, "shared/deep/b", []byte("2"))
	put(t, alice.Agent, "shared/stays", []byte("3"))
	shares, err := alice.Share(ctx, "shared", agent.ShareOptions{With: alice.knows(t, bob)})
	if err != nil {
		t.Fatal(err)
	}
	b := bob.guest(t, shares[0].Link)
	before := make(map[string]*agent.Object)
	for _, p := range []string{"a", "large", "deep/b"} {
		o, err := b.Get(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		before[p] = o
	}
	for from, to := range map[string]string{"shared/a": "own/a", "shared/large": "own/large", "shared/deep": "own/deep"} {
		if err := alice.Move(ctx, from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.Move(ctx, "shared/stays", "shared/stayed"); err != nil {
		t.Fatal(err)
	}
	if err := alice.Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := before["large"].ReadAt(ctx, make([]byte, 10), 1<<20); err == nil {
		t.Error("the old keys still read what was moved out")
	}
	if got := paths(t, b, ""); !slices.Equal(got, []string{"stayed"}) {
		t.Errorf("guest: %q", got)
	}
	if string(get(t, b, "stayed")) != "3" || string(get(t, alice.Agent, "own/a")) != "1" ||
		!bytes.Equal(get(t, alice.Agent, "own/large"), large) || string(get(t, alice.device(t, nil), "own/deep/b")) != "2" {
		t.Error("it came back as another")
	}
}
