package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

// A door is a hub where something happens just before a write, or just after commits were read.
type door struct {
	coffer.Hub
	before func(c *coffer.Commit)
	after  func(p *coffer.CommitPage)
}

func (d *door) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	p, err := d.Hub.Commits(ctx, owner, q)
	if d.after != nil && err == nil {
		d.after(p)
	}
	return p, err
}

func (d *door) Write(ctx context.Context, owner string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	if d.before != nil {
		d.before(c)
	}
	return d.Hub.Write(ctx, owner, c)
}

// through has a hub opened through a door.
func through(d *door) func(*hub.Options) {
	return func(o *hub.Options) { d.Hub, o.Hub = o.Hub, d }
}

// TestRevocationsAtOnce has two devices revoke at the same time, each somebody else: what is written then, neither of the
// two has keys for, whichever device was first and however far it had come.
func TestRevocationsAtOnce(t *testing.T) {
	for name, writes := range map[string]int{"just after": 0, "before it has ended the epoch": 1, "before it has revoked": 2} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
			d := new(door)
			alice, phone := w.open("alice", "alice"), w.open("alice", "alice", through(d))
			must(alice.Put(ctx, playlists, playlist{Name: "before"}, nil))(t)
			grants := make(map[string]coffer.CommitRev)
			lax := make(map[string]*hub.Hub) // read, by the keys that they are sent, whatever the hub hands them
			for _, one := range []string{"bob", "carol", "dave"} {
				grants[one] = must(alice.Grant(ctx, hub.Permission{
					Grantee: w.ring(one).DID(), Kind: playlists, Allow: "-R--",
				}))(t)
				lax[one] = w.open(one, "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
			}
			must(phone.Put(ctx, playlists, playlist{Name: "phone"}, nil))(t) // it knows the epoch of now
			other := func() {
				if err := alice.Revoke(ctx, grants["bob"]); err != nil {
					t.Fatal(err)
				}
				w.advance(2 * time.Second)
				names(t, lax["carol"], playlists, nil) // she takes what keys there are for her
			}
			if n := 0; writes == 0 {
				other()
			} else {
				d.before = func(*coffer.Commit) {
					if n++; n == writes {
						other()
					}
				}
			}
			if err := phone.Revoke(ctx, grants["carol"]); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Minute)
			for _, device := range []*hub.Hub{alice, phone} {
				id := must(device.Put(ctx, playlists, playlist{Name: "after"}, nil))(t)
				for _, one := range []string{"bob", "carol"} {
					want(t, lax[one].Get(ctx, playlists, id, new(playlist)), coffer.Denied)
				}
				if p := must(hub.Get[playlist](ctx, w.open("dave", "alice"), playlists, id))(t); p.Name != "after" {
					t.Errorf("Dave reads %+v", p)
				}
			}
		})
	}
}

// TestGrantBesideRevocation grants on one device what another one has just changed the keys of.
func TestGrantBesideRevocation(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, phone := w.open("alice", "alice"), w.open("alice", "alice")
	toBob := must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--"}))(t)
	must(phone.Put(ctx, playlists, playlist{Name: "phone"}, nil))(t) // it knows the epoch of now
	if err := alice.Revoke(ctx, toBob); err != nil {
		t.Fatal(err)
	}
	id := must(alice.Put(ctx, playlists, playlist{Name: "after"}, nil))(t)
	must(phone.Grant(ctx, hub.Permission{Grantee: w.ring("carol").DID(), Kind: playlists, Allow: "-R--"}))(t)
	if p := must(hub.Get[playlist](ctx, w.open("carol", "alice"), playlists, id))(t); p.Name != "after" {
		t.Errorf("Carol reads %+v", p)
	}
}

// TestGuestHearsOfRevocation has one who may write go on for long after another one lost the right to read.
func TestGuestHearsOfRevocation(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, carol := w.open("alice", "alice"), w.open("carol", "alice")
	toBob := must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--"}))(t)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("carol").DID(), Kind: playlists, Allow: "CRUD"}))(t)
	must(carol.Put(ctx, playlists, playlist{Name: "before"}, nil))(t)
	lax := w.open("bob", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	names(t, lax, playlists, nil)
	if err := alice.Revoke(ctx, toBob); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Minute)
	id := must(carol.Put(ctx, playlists, playlist{Name: "after"}, nil))(t)
	want(t, lax.Get(ctx, playlists, id, new(playlist)), coffer.Denied)
}

// TestWorkSeesStragglers has a device write under the former keys while the work that a revocation leaves is done.
func TestWorkSeesStragglers(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, phone := w.open("alice", "alice"), w.open("alice", "alice")
	toBob := must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--"}))(t)
	lax := w.open("bob", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	must(phone.Put(ctx, playlists, playlist{Name: "before"}, nil))(t)
	names(t, lax, playlists, nil)
	if err := alice.Revoke(ctx, toBob); err != nil {
		t.Fatal(err)
	}
	work(t, alice)
	late := must(phone.Put(ctx, playlists, playlist{Name: "late"}, nil))(t) // it has not heard of it
	if p := must(hub.Get[playlist](ctx, lax, playlists, late))(t); p.Name != "late" {
		t.Fatalf("Bob reads %+v: it has heard of it", p)
	}
	w.advance(time.Minute + time.Second)
	if p := work(t, alice); p.Done != 1 {
		t.Errorf("worked: %+v", p)
	}
	want(t, lax.Get(ctx, playlists, late, new(playlist)), coffer.Denied)
	for range alice.Work(ctx) {
		t.Error("there is work left")
	}
}

// TestWorkLosesNothing has a device change an object, and take back a permission in the way of other programs, while
// another one writes these anew.
func TestWorkLosesNothing(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	d := new(door)
	alice, phone := w.open("alice", "alice", through(d)), w.open("alice", "alice")
	grants := make(map[string]coffer.CommitRev)
	for _, name := range []string{"bob", "carol"} {
		grants[name] = must(alice.Grant(ctx, hub.Permission{
			Grantee: w.ring(name).DID(), Kind: playlists, Allow: "-R--",
		}))(t)
	}
	ids := make(map[string]coffer.CommitRev)
	for _, strategy := range []string{merge.Basic, merge.MergePatch} {
		ids[strategy] = must(alice.Put(ctx, playlists, playlist{Name: "first"}, &hub.PutOptions{Strategy: strategy}))(t)
	}
	if err := alice.Revoke(ctx, grants["bob"]); err != nil {
		t.Fatal(err)
	}
	nothing, err := json.Marshal(object{
		"owner": alice.Owner(), "grantee": w.ring("carol").DID(), "allow": "----", "context": playlists.Context,
		"type": playlists.Type,
	})
	if err != nil {
		t.Fatal(err)
	}
	left := map[coffer.CommitRev]func() error{grants["carol"]: func() error {
		_, err := w.as("alice", "").Write(ctx, alice.Owner(), commitBy(t, w, "alice", "alice", merge.Header{
			Interface: coffer.PermissionsInterface, Context: grant.PermissionContext, Type: grant.PermissionType,
			Operation: merge.Update, Strategy: merge.Basic, ObjectID: grants["carol"].String(),
		}, nothing))
		return err
	}}
	for _, id := range ids {
		left[id] = func() error { return phone.Replace(ctx, playlists, id, playlist{Name: "second"}, nil) }
	}
	d.after = func(p *coffer.CommitPage) {
		for _, c := range p.Commits {
			if f := left[c.Rev()]; f != nil && (c.Rev() != grants["carol"] || len(left) == 1) { // that is read twice
				delete(left, c.Rev())
				w.advance(time.Second)
				if err := f(); err != nil {
					t.Error(err)
				}
				w.advance(time.Second)
			}
		}
	}
	if p := work(t, alice); p.Done != 2 || len(left) != 0 {
		t.Fatalf("worked: %+v", p)
	}
	for strategy, id := range ids {
		if p := must(hub.Get[playlist](ctx, alice, playlists, id))(t); p.Name != "second" {
			t.Errorf("%s: what was written meanwhile is lost: %+v", strategy, p)
		}
	}
	for g, err := range alice.Grants(ctx) {
		if err != nil || g.Allow != "----" {
			t.Errorf("what was taken back is given again: %+v, %v", g, err)
		}
	}
}

// TestExportDespiteWhoIsGone has strangers and a grantee vanish, or change their keys, after they left something: the
// owner's hub can be exported and moved all the same, and nothing else is lost.
func TestExportDespiteWhoIsGone(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice")
	d := &deaf{w.resolver, make(map[string]coffer.Kind)}
	alice := w.open("alice", "alice", func(o *hub.Options) { o.Resolver = d })
	must(alice.Put(ctx, playlists, playlist{Name: "first"}, nil))(t)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("dave").DID(), Kind: playlists, Allow: "CRUD"}))(t)
	dave := w.open("dave", "alice")
	his := must(dave.Put(ctx, playlists, playlist{Name: "Dave's"}, nil))(t)
	if err := alice.Replace(ctx, playlists, his, playlist{Name: "changed"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bob", "carol"} {
		must(w.open(name, "alice").Send(ctx, hub.Action{Type: "AskAction", Value: name}, nil))(t)
	}
	must(alice.Put(ctx, playlists, playlist{Name: "last"}, nil))(t)
	all := 0
	for range alice.Export(ctx) {
		all++
	}
	lose := func(kind coffer.Kind, names ...string) {
		for _, name := range names {
			d.lost[w.ring(name).DID()] = kind
		}
	}
	lose(coffer.NotExist, "bob", "dave")
	lose(coffer.Unavailable, "carol")

	other := newWorldAt(t, nodehub.Limits{}, w.ahead, func(o *nodehub.Options) { o.Key = d.MessageKey })
	there := other.open("alice", "alice", func(o *hub.Options) { o.Resolver = d })
	n, err := there.Import(ctx, alice.Export(ctx))
	if n != all-4 { // two messages, and Dave's object with its two commits
		t.Errorf("imported %d of %d", n, all)
	}
	want(t, err, coffer.Unavailable) // Carol's can come later
	if got := names(t, there, playlists, nil); len(got) != 2 || got[0] != "first" || got[1] != "last" {
		t.Errorf("imported %q", got)
	}
	delete(d.lost, w.ring("carol").DID())
	n, err = there.Import(ctx, alice.Export(ctx))
	want(t, err, coffer.Corrupt)
	if n != 1 {
		t.Errorf("imported %d more", n)
	}
	// A hub that cannot be reached is not asked about each.
	broken := &shut{Hub: other.as("alice", "")}
	there = other.open("alice", "alice", func(o *hub.Options) { o.Hub = broken })
	_, err = there.Import(ctx, alice.Export(ctx))
	want(t, err, coffer.Unavailable)
	if broken.asked > 2 {
		t.Errorf("asked %d times", broken.asked)
	}
	if errors.Is(err, coffer.Corrupt) {
		t.Error(err)
	}
}

// A shut hub takes nothing.
type shut struct {
	coffer.Hub
	asked int
}

func (s *shut) Adopt(context.Context, string, ...*coffer.Commit) (int, error) {
	s.asked++
	return 0, coffer.Errorf("test", coffer.Unavailable, "shut")
}
