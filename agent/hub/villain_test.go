package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

// A liar is a hub that changes its answers.
type liar struct {
	coffer.Hub
	objects func(*coffer.ObjectPage)
	commits func(*coffer.CommitPage)
}

func (l liar) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	p, err := l.Hub.Objects(ctx, owner, q)
	if err == nil && l.objects != nil && q.Interface == coffer.CollectionsInterface {
		l.objects(p)
	}
	return p, err
}

func (l liar) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	p, err := l.Hub.Commits(ctx, owner, q)
	if err == nil && l.commits != nil {
		l.commits(p)
	}
	return p, err
}

// commitBy signs a commit as somebody in the hub of an owner.
func commitBy(t *testing.T, w *world, name, owner string, h merge.Header, payload []byte) *coffer.Commit {
	t.Helper()
	ring := w.ring(name)
	h.Alg, h.KeyID, h.Sub, h.CommittedAt = "EdDSA", ring.Key(coffer.SigningKey).ID, w.ring(owner).DID(), w.now()
	c, err := merge.Build(h, payload, func(input []byte) ([]byte, error) {
		return ring.Sign(t.Context(), coffer.Assertion, input)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHubThatLies(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	id := must(alice.Put(ctx, playlists, playlist{Name: "mine"}, nil))(t)
	other := must(alice.Put(ctx, playlists, playlist{Name: "other"}, nil))(t)
	offers := hub.Kind{Context: "schema.org", Type: "Offer"}
	elsewhere := must(alice.Put(ctx, offers, playlist{Name: "offer"}, nil))(t)
	bob := w.open("bob", "bob")
	plain := must(alice.Publish(ctx, offers, playlist{Name: "public"}, nil))(t)
	foreignPlain := must(bob.Publish(ctx, playlists, playlist{Name: "Bob's public"}, nil))(t)
	foreign := must(bob.Put(ctx, playlists, playlist{Name: "Bob's"}, nil))(t)
	commitOf := func(name string, id coffer.CommitRev) *coffer.Commit {
		p, err := w.as(name, "").Commits(ctx, w.ring(name).DID(), &coffer.CommitQuery{Revisions: []coffer.CommitRev{id}})
		if err != nil || len(p.Commits) != 1 {
			t.Fatal(err)
		}
		return p.Commits[0]
	}
	objectOf := func(name string, k hub.Kind, id coffer.CommitRev) coffer.HubObject {
		p, err := w.as(name, "").Objects(ctx, w.ring(name).DID(), &coffer.ObjectQuery{
			Interface: coffer.CollectionsInterface, Context: k.Context, Type: k.Type, IDs: []coffer.CommitRev{id},
		})
		if err != nil || len(p.Objects) != 1 {
			t.Fatal(err)
		}
		return p.Objects[0]
	}
	mine := commitOf("alice", id)
	head := merge.Header{
		Interface: coffer.CollectionsInterface, Context: "schema.org", Type: "MusicPlaylist",
		Operation: merge.Create, Strategy: merge.Basic,
	}
	payload := func(c *coffer.Commit) []byte {
		m, err := merge.Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		return m.Payload
	}
	only := func(c *coffer.Commit) func(*coffer.CommitPage) {
		return func(p *coffer.CommitPage) { p.Commits = []*coffer.Commit{c} }
	}
	lists := func(o coffer.HubObject) func(*coffer.ObjectPage) {
		return func(p *coffer.ObjectPage) { p.Objects = []coffer.HubObject{o} }
	}
	said := func(c *coffer.Commit) coffer.HubObject {
		o := objectOf("alice", playlists, id)
		o.ID, o.Revision = c.Rev(), c.Rev()
		return o
	}
	signed := func(c coffer.Commit, signature string) *coffer.Commit {
		c.Signature = signature
		return &c
	}
	stolen := commitBy(t, w, "carol", "alice", head, payload(mine))
	moved := commitBy(t, w, "alice", "alice", head, payload(commitOf("alice", elsewhere)))
	again := commitBy(t, w, "alice", "alice", head, payload(commitOf("bob", foreign)))
	update := head
	update.Operation, update.ObjectID = merge.Update, id.String()
	update.Type = "Offer"
	retyped := commitBy(t, w, "alice", "alice", update, payload(mine))
	for name, l := range map[string]liar{
		"another signature": {commits: only(signed(*mine, commitOf("alice", other).Signature))},
		"another payload": {commits: func(p *coffer.CommitPage) {
			for i := range p.Commits {
				c := *p.Commits[i]
				c.Payload = commitOf("alice", other).Payload
				p.Commits[i] = &c
			}
		}},
		"malformed":      {commits: only(&coffer.Commit{Protected: "e30", Payload: "e30", Signature: "e30"})},
		"another object": {commits: only(commitOf("alice", other))},
		"no commits":     {commits: func(p *coffer.CommitPage) { p.Commits = nil }},
		"another kind":   {objects: lists(objectOf("alice", offers, elsewhere))},
		"another owner's": {
			objects: lists(objectOf("bob", playlists, foreign)), commits: only(commitOf("bob", foreign)),
		},
		"another kind, plain": {objects: lists(objectOf("alice", offers, plain))},
		"another owner's, plain": {
			objects: lists(objectOf("bob", playlists, foreignPlain)), commits: only(commitOf("bob", foreignPlain)),
		},
		"mixed kinds":           {commits: func(p *coffer.CommitPage) { p.Commits = append(p.Commits, retyped) }},
		"sealed by another":     {objects: lists(said(stolen)), commits: only(stolen)},
		"sealed as another":     {objects: lists(said(moved)), commits: only(moved)},
		"sealed for another":    {objects: lists(said(again)), commits: only(again)},
		"a state nobody made":   {objects: func(p *coffer.ObjectPage) { p.Objects[0].Revision[0] ^= 1 }},
		"another strategy said": {objects: func(p *coffer.ObjectPage) { p.Objects[0].Strategy = "x" }},
		"another type said":     {objects: func(p *coffer.ObjectPage) { p.Objects[0].Type = "x" }},
		"an endless list": {objects: func(p *coffer.ObjectPage) {
			p.Objects = make([]coffer.HubObject, coffer.MaxHubPage+1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := w.open("alice", "alice", func(o *hub.Options) { l.Hub = o.Hub; o.Hub = l })
			found := false
			for o, err := range h.Query(ctx, playlists, nil) {
				found = found || errors.Is(err, coffer.Corrupt)
				if err == nil && o.ID != id && o.ID != other {
					t.Errorf("believed %+v", o)
				}
			}
			if !found {
				t.Error("not found out")
			}
		})
	}
	// One object that is damaged does not hide the others.
	h := w.open("alice", "alice", func(o *hub.Options) {
		o.Hub = liar{Hub: o.Hub, commits: func(p *coffer.CommitPage) {
			for i, c := range p.Commits {
				if c.Rev() == id {
					p.Commits[i] = signed(*c, commitOf("alice", other).Signature)
				}
			}
		}}
	})
	good, bad := 0, 0
	for _, err := range h.Query(ctx, playlists, nil) {
		if err == nil {
			good++
		} else if errors.Is(err, coffer.Corrupt) {
			bad++
		}
	}
	if good != 1 || bad != 1 {
		t.Errorf("%d read, %d found damaged", good, bad)
	}
}

// A grant that the owner did not sign brings no keys, and shows nowhere.
func TestForgedGrant(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	// Mallory makes what Alice would, as far as she can.
	made := &fake{}
	mallory := w.open("mallory", "alice", func(o *hub.Options) {
		o.Hub, o.Sign = made, pretender{w.ring("mallory"), w.ring("alice").Key(coffer.SigningKey)}
	})
	must(mallory.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "CR--"}))(t)
	m, err := merge.Parse(made.c)
	if err != nil {
		t.Fatal(err)
	}
	c := commitBy(t, w, "mallory", "alice", merge.Header{
		Interface: coffer.PermissionsInterface, Context: grant.PermissionContext, Type: grant.PermissionType,
		Operation: merge.Create, Strategy: merge.Basic,
	}, m.Payload)
	o := coffer.HubObject{
		Interface: coffer.PermissionsInterface, Context: grant.PermissionContext, Type: grant.PermissionType,
		ID: c.Rev(), Revision: c.Rev(), Sub: w.ring("alice").DID(), Strategy: merge.Basic,
	}
	bob := w.open("bob", "alice", func(opts *hub.Options) { opts.Hub = &fake{o, c} })
	n := 0
	for g, err := range bob.Grants(ctx) {
		if n++; !errors.Is(err, coffer.Corrupt) {
			t.Errorf("believed %+v, %v", g, err)
		}
	}
	if n != 1 {
		t.Errorf("%d grants", n)
	}
}

// A pretender signs with one key and names another.
type pretender struct {
	ring coffer.Keyring
	as   coffer.PublicKey
}

func (p pretender) DID() string       { return p.as.Controller }
func (p pretender) KeyID() string     { return p.as.ID }
func (p pretender) Algorithm() string { return "EdDSA" }
func (p pretender) SignInput(ctx context.Context, purpose coffer.Purpose, input []byte) ([]byte, error) {
	return p.ring.Sign(ctx, purpose, input)
}

// How far the owner is with a message only the owner says.
func TestStateThatAnotherSays(t *testing.T) {
	w := newWorld(t, nodehub.Limits{})
	head := merge.Header{
		Interface: coffer.ActionsInterface, Context: "schema.org", Type: "AskAction",
		Operation: merge.Create, Strategy: merge.Basic, Meta: json.RawMessage(`{"state":"done"}`),
	}
	c := commitBy(t, w, "carol", "alice", head, []byte(`1`))
	o := coffer.HubObject{
		Interface: head.Interface, Context: head.Context, Type: head.Type, ID: c.Rev(), Revision: c.Rev(),
		Sub: w.ring("alice").DID(), Strategy: merge.Basic,
	}
	alice := w.open("alice", "alice", func(opts *hub.Options) { opts.Hub = &fake{o, c} })
	if list := inbox(t, alice, false); len(list) != 1 || list[0].State != hub.New {
		t.Errorf("got %+v", list)
	}
}

// fake is a hub that holds one commit, the last that was written, whatever is asked for.
type fake struct {
	o coffer.HubObject
	c *coffer.Commit
}

func (f *fake) Objects(context.Context, string, *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	if f.c == nil {
		return &coffer.ObjectPage{}, nil
	}
	return &coffer.ObjectPage{Objects: []coffer.HubObject{f.o}}, nil
}
func (f *fake) Commits(context.Context, string, *coffer.CommitQuery) (*coffer.CommitPage, error) {
	return &coffer.CommitPage{Commits: []*coffer.Commit{f.c}}, nil
}
func (f *fake) Write(_ context.Context, _ string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	f.c = c
	return nil, nil
}
func (f *fake) Adopt(context.Context, string, ...*coffer.Commit) (int, error) { return 0, nil }
func (f *fake) Perform(context.Context, string, *coffer.HubAct) ([]coffer.HubItem, error) {
	return nil, nil
}
func (f *fake) Describe(context.Context, string) (*coffer.HubDescription, error) { return nil, nil }

func TestSwappedMessageIsUnreadable(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice")
	alice := w.open("alice", "alice")
	must(w.open("bob", "alice").Send(ctx, hub.Action{Type: "AskAction", Value: "Bob's words"}, nil))(t)
	var sealed []byte
	p, err := w.as("alice", "").Commits(ctx, alice.Owner(), &coffer.CommitQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Commits {
		m, err := merge.Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Interface == coffer.ActionsInterface {
			sealed = m.Payload
		}
	}
	// Carol passes Bob's message off as hers; and sends what is no message at all.
	head := merge.Header{
		Interface: coffer.ActionsInterface, Context: "schema.org", Type: "AskAction",
		Operation: merge.Create, Strategy: merge.Basic,
	}
	malformed := []byte(`{"protected":"e30","recipients":[],"iv":"","ciphertext":"","tag":""}`)
	for _, payload := range [][]byte{sealed, malformed, {0xff}} {
		c := commitBy(t, w, "carol", "alice", head, payload)
		if _, err := w.as("carol", "").Write(ctx, alice.Owner(), c); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Millisecond)
	}
	var got []string
	for m, err := range alice.Inbox(ctx, false) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Unreadable {
			got = append(got, "?")
		} else {
			got = append(got, string(m.Value))
		}
	}
	b, _ := json.Marshal(got)
	if want := `["\"Bob's words\"","?",`; !strings.HasPrefix(string(b), want) || len(got) != 4 {
		t.Errorf("inbox %s", b)
	}
}
