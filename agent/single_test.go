package agent_test

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

func TestSingleObjectToWrite(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx := t.Context()
	put(t, alice.Agent, "notes/plan", []byte("1"))
	with := agent.ShareOptions{With: alice.knows(t, bob), Actions: []grant.Action{grant.Read, grant.Write}}
	shares, err := alice.Share(ctx, "notes/plan", with)
	if err != nil {
		t.Fatal(err)
	}
	b := bob.guest(t, shares[0].Link)
	for _, content := range [][]byte{[]byte("2"), noise(7, 2<<20), noise(8, 2<<20), []byte("3")} {
		i := put(t, b, "", content)
		if i.Author != bob.ring.DID() {
			t.Errorf("author %s", i.Author)
		}
		if !bytes.Equal(get(t, alice.Agent, "notes/plan"), content) || !bytes.Equal(get(t, b, ""), content) {
			t.Error("it came back as another")
		}
	}
	_, err = b.Put(ctx, "", file(nil), agent.PutOptions{Over: &agent.Info{}})
	expect(t, err, coffer.Conflict)
	_, err = b.Put(ctx, "other", file(nil), agent.PutOptions{})
	expect(t, err, coffer.NotExist)
	put(t, alice.Agent, "notes/plan", []byte("4"))
	if got := get(t, b, ""); string(got) != "4" {
		t.Errorf("got %q", got)
	}
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Path: "notes/plan"}); err != nil {
		t.Fatal(err)
	}
	_, err = b.Get(ctx, "")
	expect(t, err, coffer.NotExist)
	_, err = b.Put(ctx, "", file([]byte("5")), agent.PutOptions{})
	expect(t, err, coffer.NotExist)
	if got := get(t, alice.Agent, "notes/plan"); string(got) != "4" {
		t.Errorf("got %q", got)
	}
}

func TestGuestRemoves(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx := t.Context()
	for _, path := range []string{"team/plan", "team/old/1", "team/old/2"} {
		put(t, alice.Agent, path, []byte("1"))
	}
	with := agent.ShareOptions{With: alice.knows(t, bob), Actions: []grant.Action{grant.Read, grant.Write}}
	shares, err := alice.Share(ctx, "team", with)
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.guest(t, shares[0].Link).Remove(ctx, "plan", false); err != nil {
		t.Fatal(err)
	}
	if err := bob.guest(t, shares[0].Link).Remove(ctx, "old", true); err != nil {
		t.Fatal(err)
	}
	if got := paths(t, alice.Agent, ""); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
}

func TestShareGroup(t *testing.T) {
	at := provider(t)
	alice, bob, carol := newPerson(t, at, "alice"), newPerson(t, at, "bob"), newPerson(t, at, "carol")
	ctx := t.Context()
	put(t, alice.Agent, "minutes/1", []byte("1"))
	put(t, alice.Agent, "other", []byte("o"))
	if _, err := agent.Put(ctx, alice.Agent, "invoices/1", map[string]int{"total": 1}); err != nil {
		t.Fatal(err)
	}
	b, c := alice.knows(t, bob), alice.knows(t, carol)
	if err := alice.PutGroup(ctx, agent.Group{Name: "board", Members: []string{b}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"minutes", "other"} {
		if _, err := alice.Share(ctx, path, agent.ShareOptions{With: b, Group: "board"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := alice.ShareType(ctx, "Object", agent.ShareOptions{With: b, Group: "board"}); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Path: "other"}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Move(ctx, "minutes", "old/minutes"); err != nil {
		t.Fatal(err)
	}
	shares, err := alice.ShareGroup(ctx, "board", b, c)
	if err != nil || len(shares) != 2 {
		t.Fatalf("%d shares, want 2; %v", len(shares), err)
	}
	for _, s := range shares {
		if s.With != c || s.Group != "board" {
			t.Errorf("shared with %s, group %q", s.With, s.Group)
		}
		if got := paths(t, carol.guest(t, s.Link), ""); len(got) != 1 {
			t.Errorf("carol sees %q", got)
		}
	}
	if again, err := alice.ShareGroup(ctx, "board", b, c); err != nil || len(again) != 0 {
		t.Errorf("%d shares the second time; %v", len(again), err)
	}
	if shares[0].Type == shares[1].Type {
		t.Errorf("types %q and %q", shares[0].Type, shares[1].Type)
	}
	if n := len(shares[0].Statements); n != 1 {
		t.Errorf("%d statements, want 1", n)
	}
	if err := alice.RemoveGroup(ctx, "board"); err != nil {
		t.Fatal(err)
	}
	_, err = alice.Group(ctx, "board")
	expect(t, err, coffer.NotExist)
}
