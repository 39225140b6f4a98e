package hub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/merge"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

type playlist struct {
	Name   string   `json:"name"`
	Tracks int      `json:"tracks,omitempty"`
	Genres []string `json:"genres,omitempty"`
}

var playlists = hub.Kind{Context: "schema.org", Type: "MusicPlaylist"}

func want(t *testing.T, err error, kind coffer.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// names returns the names of what a query yields.
func names(t *testing.T, h *hub.Hub, k hub.Kind, o *hub.QueryOptions) []string {
	t.Helper()
	var list []string
	for o, err := range h.Query(t.Context(), k, o) {
		if err != nil {
			t.Fatal(err)
		}
		var p playlist
		if err := o.Into(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p.Name)
	}
	return list
}

// seen returns all that the provider of a hub is handed: the commits, as its owner gets them back.
func seen(t *testing.T, w *world, owner string) string {
	t.Helper()
	var b bytes.Buffer
	p, err := w.as(owner, "").Commits(t.Context(), w.ring(owner).DID(), &coffer.CommitQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Commits {
		m, err := merge.Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%+v %s\n", m.Header, m.Payload)
	}
	return b.String()
}

func TestPutGetReplaceRemove(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	h := w.open("alice", "alice")
	for _, k := range []hub.Kind{playlists, {Context: "schema.org", Type: "MusicPlaylist", Private: true}} {
		id := must(h.Put(ctx, k, playlist{Name: "Rain", Tracks: 3}, &hub.PutOptions{Title: "shown"}))(t)
		if p := must(hub.Get[playlist](ctx, h, k, id))(t); p.Name != "Rain" || p.Tracks != 3 {
			t.Errorf("got %+v", p)
		}
		if err := h.Replace(ctx, k, id, playlist{Name: "Sun"}, nil); err != nil {
			t.Fatal(err)
		}
		o := must(h.Object(ctx, k, id))(t)
		if string(o.Value) != `{"name":"Sun"}` || !o.Sealed || o.Public || o.Title != "shown" ||
			o.Author != h.Owner() || o.UpdatedBy != h.Owner() || o.Revision == o.ID {
			t.Errorf("got %+v", o)
		}
		if got := names(t, h, k, nil); !slices.Equal(got, []string{"Sun"}) {
			t.Errorf("listed %q", got)
		}
		if err := h.Remove(ctx, k, id); err != nil {
			t.Fatal(err)
		}
		want(t, h.Get(ctx, k, id, new(playlist)), coffer.NotExist)
		want(t, h.Remove(ctx, k, id), coffer.NotExist)
		want(t, h.Replace(ctx, k, id, playlist{}, nil), coffer.NotExist)
		if got := names(t, h, k, nil); got != nil {
			t.Errorf("listed %q after all was removed", got)
		}
	}
	for _, secret := range []string{"Rain", "Sun", "tracks"} {
		if strings.Contains(seen(t, w, "alice"), secret) {
			t.Errorf("the hub is handed %q", secret)
		}
	}
	_, err := h.Put(ctx, hub.Kind{Context: "schema.org"}, 1, nil)
	want(t, err, coffer.Invalid)
	_, err = h.Put(ctx, playlists, func() {}, nil)
	want(t, err, coffer.Invalid)
	_, err = h.Put(ctx, playlists, strings.Repeat("x", 1<<20), nil)
	want(t, err, coffer.Exhausted)
	want(t, h.Get(ctx, playlists, coffer.CommitRev{1}, new(playlist)), coffer.NotExist)
}

func TestPrivateKindShowsNoName(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	h := w.open("alice", "alice")
	k := hub.Kind{Context: "clinic.example", Type: "Diagnosis", Private: true}
	id := must(h.Put(ctx, k, playlist{Name: "x"}, nil))(t)
	must(h.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: k, Allow: "-R--"}))(t)
	if s := seen(t, w, "alice"); strings.Contains(s, "clinic") || strings.Contains(s, "Diagnosis") {
		t.Error("the hub is handed the names of a private type")
	}
	bob := w.open("bob", "alice")
	if p := must(hub.Get[playlist](ctx, bob, k, id))(t); p.Name != "x" {
		t.Errorf("got %+v", p)
	}
	if got := names(t, bob, k, nil); !slices.Equal(got, []string{"x"}) {
		t.Errorf("listed %q", got)
	}
	want(t, w.open("carol", "alice").Get(ctx, k, id, new(playlist)), coffer.Denied)
	must(h.Grant(ctx, hub.Permission{Grantee: w.ring("carol").DID(), Kind: k, Allow: "C---"}))(t)
	w.advance(2 * time.Second)
	carol := w.open("carol", "alice")
	in := must(carol.Put(ctx, k, playlist{Name: "handed in"}, nil))(t)
	if p := must(hub.Get[playlist](ctx, h, k, in))(t); p.Name != "handed in" {
		t.Errorf("got %+v", p)
	}
	lax := w.open("carol", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	want(t, lax.Get(ctx, k, id, new(playlist)), coffer.Denied)
	for g, err := range h.Grants(ctx) {
		if err != nil || g.Kind != (hub.Kind{Interface: "Collections", Context: k.Context, Type: k.Type, Private: true}) {
			t.Errorf("the owner sees %+v, %v", g, err)
		}
	}
}

func TestMergePatch(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	h, other := w.open("alice", "alice"), w.open("alice", "alice")
	type doc map[string]any
	o := &hub.PutOptions{Strategy: merge.MergePatch}
	id := must(h.Put(ctx, playlists, doc{"a": 1, "b": doc{"c": 1, "d": 2}}, o))(t)
	// Two devices change different members.
	if err := h.Replace(ctx, playlists, id, doc{"a": 2, "b": doc{"c": 1, "d": 2}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := other.Replace(ctx, playlists, id, doc{"a": 2, "b": doc{"c": 5}}, nil); err != nil {
		t.Fatal(err)
	}
	var got doc
	if err := h.Get(ctx, playlists, id, &got); err != nil {
		t.Fatal(err)
	}
	if b, _ := json.Marshal(got); string(b) != `{"a":2,"b":{"c":5}}` {
		t.Errorf("got %s", b)
	}
}

// Who writes last has the last word, also when his clock is behind.
func TestClockBehind(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	slow := w.open("alice", "alice", func(o *hub.Options) {
		o.Now = func() time.Time { return w.now().Add(-5 * time.Minute) }
	})
	id := must(alice.Put(ctx, playlists, playlist{Name: "one"}, nil))(t)
	if err := alice.Replace(ctx, playlists, id, playlist{Name: "two"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := slow.Replace(ctx, playlists, id, playlist{Name: "three"}, nil); err != nil {
		t.Fatal(err)
	}
	if p := must(hub.Get[playlist](ctx, alice, playlists, id))(t); p.Name != "three" {
		t.Errorf("got %+v", p)
	}
}

func TestQuery(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	h := w.open("alice", "alice")
	for i, name := range []string{"Rain", "Sun", "Snow", "Storm"} {
		must(h.Put(ctx, playlists, playlist{Name: name, Tracks: i}, &hub.PutOptions{
			Tags: []string{"t" + fmt.Sprint(i%2)}, Title: fmt.Sprint(9 - i),
		}))(t)
	}
	for _, c := range []struct {
		o    hub.QueryOptions
		want []string
	}{
		{hub.QueryOptions{}, []string{"Rain", "Sun", "Snow", "Storm"}},
		{hub.QueryOptions{Limit: 2}, []string{"Rain", "Sun"}},
		{hub.QueryOptions{Filter: "name:S*"}, []string{"Sun", "Snow", "Storm"}},
		{hub.QueryOptions{Filter: "name:S*", Limit: 1}, []string{"Sun"}},
		{hub.QueryOptions{Filter: "value.tracks:[2 TO 3]"}, []string{"Snow", "Storm"}},
		{hub.QueryOptions{Filter: "meta.tags:t1"}, []string{"Sun", "Storm"}},
		{hub.QueryOptions{Filter: "meta.tags:t1 AND name:Storm"}, []string{"Storm"}},
		{hub.QueryOptions{Filter: "meta.tags:t0 OR name:Storm"}, []string{"Rain", "Snow", "Storm"}},
		{hub.QueryOptions{Sort: "meta.title"}, []string{"Storm", "Snow", "Sun", "Rain"}},
	} {
		if got := names(t, h, playlists, &c.o); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.o, got, c.want)
		}
	}
	for _, err := range h.Query(ctx, playlists, &hub.QueryOptions{Filter: "("}) {
		want(t, err, coffer.Invalid)
	}
}

// asked counts what a hub is asked for, and notes its filters.
type asked struct {
	coffer.Hub
	commits atomic.Int64
	filters []string
}

func (a *asked) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	p, err := a.Hub.Commits(ctx, owner, q)
	if err == nil {
		a.commits.Add(int64(len(p.Commits)))
	}
	return p, err
}

func (a *asked) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	a.filters = append(a.filters, q.Filter)
	return a.Hub.Objects(ctx, owner, q)
}

func TestFilterOfSealedFieldsStaysHere(t *testing.T) {
	w := newWorld(t, nodehub.Limits{})
	spy := &asked{Hub: w.as("alice", "")}
	h := w.open("alice", "alice", func(o *hub.Options) { o.Hub = spy })
	names(t, h, playlists, &hub.QueryOptions{Filter: "name:secret AND meta.tags:open AND (type:x OR meta.a:b)"})
	if got := fmt.Sprint(spy.filters); strings.Contains(got, "secret") || !strings.Contains(got, "meta.tags:open") {
		t.Errorf("the hub was asked %s", got)
	}
}

func TestWatchFetchesOnlyWhatChanged(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	spy := &asked{Hub: w.as("alice", "")}
	h := w.open("alice", "alice", func(o *hub.Options) { o.Hub = spy })
	var ids []coffer.CommitRev
	for i := range 5 {
		ids = append(ids, must(h.Put(ctx, playlists, playlist{Tracks: i}, nil))(t))
	}
	watch := h.Watch(playlists, nil, "")
	count := func() (n, deleted int) {
		for o, err := range watch.Changes(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; o.Deleted {
				deleted++
			}
		}
		return n, deleted
	}
	if n, _ := count(); n != 5 {
		t.Fatalf("the first time %d", n)
	}
	spy.commits.Store(0)
	if n, _ := count(); n != 0 || spy.commits.Load() != 0 {
		t.Errorf("nothing changed, but %d objects and %d commits came", n, spy.commits.Load())
	}
	if err := errors.Join(h.Replace(ctx, playlists, ids[1], playlist{Name: "new"}, nil),
		h.Remove(ctx, playlists, ids[2])); err != nil {
		t.Fatal(err)
	}
	watch = h.Watch(playlists, nil, watch.Watermark()) // another run of the program
	spy.commits.Store(0)
	if n, deleted := count(); n != 2 || deleted != 1 || spy.commits.Load() != 4 {
		t.Errorf("two changed, but %d objects (%d removed), %d commits came", n, deleted, spy.commits.Load())
	}
	watch = h.Watch(playlists, nil, "forgotten")
	if n, _ := count(); n != 5 {
		t.Errorf("%d objects after the hub forgot the place", n)
	}
}

func TestGrantAndRevoke(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, bob, carol := w.open("alice", "alice"), w.open("bob", "alice"), w.open("carol", "alice")
	old := must(alice.Put(ctx, playlists, playlist{Name: "old"}, nil))(t)
	want(t, bob.Get(ctx, playlists, old, new(playlist)), coffer.Denied)

	start := w.now()
	w.advance(time.Second)
	toBob := must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "CRU-"}))(t)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("carol").DID(), Kind: playlists, Allow: "-R--"}))(t)
	w.advance(2 * time.Second)
	during := w.now()
	if got := names(t, bob, playlists, nil); !slices.Equal(got, []string{"old"}) {
		t.Fatalf("Bob reads %q", got)
	}
	byBob := must(bob.Put(ctx, playlists, playlist{Name: "Bob's"}, nil))(t)
	if err := bob.Replace(ctx, playlists, old, playlist{Name: "changed"}, nil); err != nil {
		t.Fatal(err)
	}
	want(t, carol.Replace(ctx, playlists, old, playlist{}, nil), coffer.Denied)
	want(t, bob.Remove(ctx, playlists, old), coffer.Denied)
	for _, h := range []*hub.Hub{alice, carol} {
		if got := names(t, h, playlists, nil); !slices.Equal(got, []string{"changed", "Bob's"}) {
			t.Errorf("read %q", got)
		}
	}
	if o := must(alice.Object(ctx, playlists, byBob))(t); o.Author != w.ring("bob").DID() {
		t.Errorf("by %s", o.Author)
	}

	w.advance(time.Minute)
	if err := alice.Revoke(ctx, toBob); err != nil {
		t.Fatal(err)
	}
	want(t, alice.Revoke(ctx, toBob), coffer.NotExist)
	want(t, bob.Get(ctx, playlists, old, new(playlist)), coffer.Denied)
	// What is written now Bob has no keys for, even when a hub hands it to him.
	later := must(alice.Put(ctx, playlists, playlist{Name: "later"}, nil))(t)
	lax := w.open("bob", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	want(t, lax.Get(ctx, playlists, later, new(playlist)), coffer.Denied)
	w.advance(time.Minute) // by then all who may write have heard of it
	if got := names(t, carol, playlists, nil); !slices.Equal(got, []string{"changed", "Bob's", "later"}) {
		t.Errorf("Carol reads %q", got)
	}
	var last hub.Progress
	for p, err := range alice.Work(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	if last.Seen != 3 || last.Done != 2 || last.Left != 0 {
		t.Errorf("progress %+v", last)
	}
	for range alice.Work(ctx) {
		t.Error("there is work left")
	}
	want(t, lax.Get(ctx, playlists, old, new(playlist)), coffer.Denied)
	if o := must(alice.Object(ctx, playlists, byBob))(t); o.UpdatedBy != w.ring("bob").DID() {
		t.Errorf("sealed anew, it is by %s", o.UpdatedBy)
	}
	if got := names(t, carol, playlists, nil); !slices.Equal(got, []string{"changed", "Bob's", "later"}) {
		t.Errorf("Carol reads %q", got)
	}

	who := func(at time.Time) (list []string) {
		for _, g := range must(alice.AccessAt(ctx, playlists, at))(t) {
			list = append(list, g.Grantee[len(g.Grantee)-4:]+g.Allow)
		}
		slices.Sort(list)
		return list
	}
	end := func(name string) string { d := w.ring(name).DID(); return d[len(d)-4:] }
	both := []string{end("bob") + "CRU-", end("carol") + "-R--"}
	slices.Sort(both)
	if got := who(start); got != nil {
		t.Errorf("before: %q", got)
	}
	if got := who(during); !slices.Equal(got, both) {
		t.Errorf("during: %q", got)
	}
	if got := who(w.now()); !slices.Equal(got, []string{end("carol") + "-R--"}) {
		t.Errorf("now: %q", got)
	}
}

// traitor is a hub that lets somebody read as another.
type traitor struct {
	coffer.Hub
	other coffer.Hub
}

func (l traitor) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	if q.Interface == coffer.PermissionsInterface {
		return l.Hub.Objects(ctx, owner, q)
	}
	return l.other.Objects(ctx, owner, q)
}

func (l traitor) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	return l.other.Commits(ctx, owner, q)
}

func TestGrantOfSingleObjects(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	one := must(alice.Put(ctx, playlists, playlist{Name: "one"}, nil))(t)
	two := must(alice.Put(ctx, playlists, playlist{Name: "two"}, nil))(t)
	must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-RU-", Objects: []coffer.CommitRev{one},
	}))(t)
	lax := w.open("bob", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	if p := must(hub.Get[playlist](ctx, lax, playlists, one))(t); p.Name != "one" {
		t.Errorf("got %+v", p)
	}
	want(t, lax.Get(ctx, playlists, two, new(playlist)), coffer.Denied)
	// What he may replace, others may still read.
	bob := w.open("bob", "alice")
	if err := bob.Replace(ctx, playlists, one, playlist{Name: "ONE"}, nil); err != nil {
		t.Fatal(err)
	}
	if p := must(hub.Get[playlist](ctx, alice, playlists, one))(t); p.Name != "ONE" {
		t.Errorf("got %+v", p)
	}
}

func TestCreateAloneGivesNoKey(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	there := must(alice.Put(ctx, playlists, playlist{Name: "there"}, nil))(t)
	for name, allow := range map[string]string{"bob": "C---", "carol": "-R--"} {
		must(alice.Grant(ctx, hub.Permission{Grantee: w.ring(name).DID(), Kind: playlists, Allow: allow}))(t)
	}
	bob := w.open("bob", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	id := must(bob.Put(ctx, playlists, playlist{Name: "handed in"}, nil))(t)
	want(t, bob.Get(ctx, playlists, there, new(playlist)), coffer.Denied)
	want(t, bob.Get(ctx, playlists, id, new(playlist)), coffer.Denied)
	if p := must(hub.Get[playlist](ctx, alice, playlists, id))(t); p.Name != "handed in" {
		t.Errorf("got %+v", p)
	}
	carol := w.open("carol", "alice")
	want(t, carol.Get(ctx, playlists, id, new(playlist)), coffer.Denied)
	for _, err := range alice.Work(ctx, playlists) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if p := must(hub.Get[playlist](ctx, carol, playlists, id))(t); p.Name != "handed in" {
		t.Errorf("Carol got %+v", p)
	}
}

func TestHybridDeliveryAndJournal(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	known := func(o *hub.Options) {
		o.Delivery = func(_ context.Context, did string) ([]byte, error) {
			for _, r := range w.people {
				if r.DID() == did {
					return r.Key(coffer.DeliveryKey).Public, nil
				}
			}
			return nil, coffer.Errorf("card", coffer.NotExist, "none")
		}
	}
	journal := memoryJournal{}
	alice := w.open("alice", "alice", known, func(o *hub.Options) { o.Journal = journal })
	bob := w.open("bob", "alice", known)
	id := must(alice.Put(ctx, playlists, playlist{Name: "x"}, nil))(t)
	g := must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--"}))(t)
	if s := seen(t, w, "alice"); !strings.Contains(s, "MLKEM768-X25519") {
		t.Error("the keys are not delivered to the delivery key")
	}
	if p := must(hub.Get[playlist](ctx, bob, playlists, id))(t); p.Name != "x" {
		t.Errorf("got %+v", p)
	}
	must(bob.Send(ctx, hub.Action{Type: "AskAction", Value: 1}, nil))(t)
	for m, err := range alice.Inbox(ctx, false) {
		if err != nil || string(m.Value) != "1" {
			t.Errorf("got %+v, %v", m, err)
		}
	}
	lax := w.open("bob", "alice", known, func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	names(t, lax, playlists, nil) // he has the keys of then
	// A hub that forgets the revocation does not make a device that was restarted seal under the keys that were given up.
	if err := alice.Revoke(ctx, g); err != nil {
		t.Fatal(err)
	}
	again := w.open("alice", "alice", func(o *hub.Options) {
		o.Journal, o.Hub = journal, forgetful{o.Hub}
	})
	later := must(again.Put(ctx, playlists, playlist{Name: "later"}, nil))(t)
	want(t, lax.Get(ctx, playlists, later, new(playlist)), coffer.Denied)
}

// forgetful is a hub that lists nothing.
type forgetful struct{ coffer.Hub }

func (forgetful) Objects(context.Context, string, *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	return &coffer.ObjectPage{}, nil
}

func TestExpiredPermissionsEnd(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, bob := w.open("alice", "alice"), w.open("bob", "alice")
	id := must(alice.Put(ctx, playlists, playlist{Name: "x"}, nil))(t)
	must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--", Expires: w.now().Add(time.Hour),
	}))(t)
	if err := bob.Get(ctx, playlists, id, new(playlist)); err != nil {
		t.Fatal(err)
	}
	w.advance(2 * time.Hour)
	want(t, bob.Get(ctx, playlists, id, new(playlist)), coffer.Denied)
	done := 0
	for p, err := range alice.Work(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		done = p.Done
	}
	if done != 1 {
		t.Errorf("%d objects were sealed anew", done)
	}
	lax := w.open("bob", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	want(t, lax.Get(ctx, playlists, id, new(playlist)), coffer.Denied)
}

func TestPublicAndOffline(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	offers := hub.Kind{Context: "schema.org", Type: "Offer"}
	id := must(alice.Publish(ctx, offers, playlist{Name: "for sale"}, nil))(t)
	must(alice.Put(ctx, offers, playlist{Name: "not yet"}, nil))(t)
	stranger := w.open("carol", "alice")
	if got := names(t, stranger, offers, nil); !slices.Equal(got, []string{"for sale"}) {
		t.Fatalf("a stranger finds %q", got)
	}
	p, err := w.as("carol", "").Commits(ctx, alice.Owner(), &coffer.CommitQuery{Objects: []coffer.CommitRev{id}})
	if err != nil {
		t.Fatal(err)
	}
	list := must(hub.Verify(ctx, w.resolver, p.Commits...))(t)
	if len(list) != 1 || string(list[0].Value) != `{"name":"for sale"}` || list[0].Author != alice.Owner() ||
		!list[0].Public || list[0].Sealed || list[0].ID != id {
		t.Fatalf("got %+v", list)
	}
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: offers, Allow: "CR--"}))(t)
	bobs := must(w.open("bob", "alice").Publish(ctx, offers, playlist{Name: "Bob's"}, nil))(t)
	if o := must(alice.Object(ctx, offers, bobs))(t); o.Public || o.Sealed {
		t.Errorf("what another calls public is %+v", o)
	}
	bad := *p.Commits[0]
	bad.Payload = "eyJuYW1lIjoiZnJlZSJ9"
	_, err = hub.Verify(ctx, w.resolver, &bad)
	want(t, err, coffer.Corrupt)
	// Replaced without saying so it is public no more.
	if err := alice.Replace(ctx, offers, id, playlist{Name: "gone"}, nil); err != nil {
		t.Fatal(err)
	}
	for o, err := range stranger.Query(ctx, offers, nil) {
		if err == nil {
			t.Errorf("a stranger still finds %s", o.Value)
		}
	}

	// Anybody reads a profile, without keys of his own.
	k := hub.Kind{Context: "schema.org", Type: "Person"}
	for _, name := range []string{"Alice", "Alice B."} {
		if err := alice.SetProfile(ctx, k, playlist{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	k.Type = "Organization"
	if err := alice.SetProfile(ctx, k, playlist{Name: "A Ltd"}); err != nil {
		t.Fatal(err)
	}
	nobody := must(hub.Open(hub.Options{Hub: w.as("bob", ""), Owner: alice.Owner(), Resolver: w.resolver}))(t)
	var got []string
	for o, err := range nobody.Profile(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Kind.Type+string(o.Value))
	}
	if !slices.Equal(got, []string{`Person{"name":"Alice B."}`, `Organization{"name":"A Ltd"}`}) {
		t.Errorf("profile %q", got)
	}
}

func TestExportAndImport(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	var ids []coffer.CommitRev
	for i := range 3 {
		ids = append(ids, must(alice.Put(ctx, playlists, playlist{Name: fmt.Sprint(i)}, nil))(t))
	}
	if err := errors.Join(alice.Replace(ctx, playlists, ids[0], playlist{Name: "new"}, nil),
		alice.Remove(ctx, playlists, ids[1])); err != nil {
		t.Fatal(err)
	}
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--"}))(t)
	must(w.open("bob", "alice").Send(ctx, hub.Action{Type: "AskAction", Value: "hello"}, nil))(t)
	var file bytes.Buffer
	n := must(alice.ExportTo(ctx, &file))(t)
	lines := strings.Split(strings.TrimSpace(file.String()), "\n")
	if n != len(lines) || n < 7 || strings.Contains(file.String(), "hello") {
		t.Fatalf("%d lines of %d", len(lines), n)
	}
	slices.Reverse(lines) // any order
	other := newWorldAt(t, nodehub.Limits{}, w.ahead)
	there := other.open("alice", "alice")
	from := func() int {
		return must(there.Import(ctx, hub.ReadExport(strings.NewReader(strings.Join(lines, "\n")))))(t)
	}
	if got := from(); got != n {
		t.Errorf("imported %d of %d", got, n)
	}
	if got := from(); got != 0 {
		t.Errorf("imported %d twice", got)
	}
	got := names(t, there, playlists, nil)
	slices.Sort(got)
	if !slices.Equal(got, []string{"2", "new"}) {
		t.Errorf("imported: %q", got)
	}
	if got := names(t, other.open("bob", "alice"), playlists, nil); len(got) != 2 {
		t.Errorf("Bob's permission came along: %q", got)
	}
	for _, err := range hub.ReadExport(strings.NewReader(`{"protected":"x"}`)) {
		want(t, err, coffer.Invalid)
	}
}

// TestCached makes another instance a cache: H-35.
func TestCached(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	intent := func(s string) *hub.PutOptions {
		return &hub.PutOptions{Title: s, Meta: json.RawMessage(`{"cache-intent":"` + s + `"}`)}
	}
	long := strings.Repeat("x", 2*coffer.MaxAttributes)
	for name, o := range map[string]*hub.PutOptions{"a": intent("min"), "b": intent("attr"), "c": intent("full"), "d": nil} {
		must(alice.Put(ctx, playlists, playlist{Name: name}, o))(t)
	}
	must(alice.Put(ctx, playlists, playlist{Name: long}, intent("attr")))(t)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--"}))(t)
	other := newWorldAt(t, nodehub.Limits{}, w.ahead)
	cache := other.open("alice", "alice")
	there := func(from *hub.Hub) (got []string, records int) {
		t.Helper()
		for o, err := range from.Query(ctx, playlists, nil) {
			var p playlist
			switch {
			case errors.Is(err, coffer.Unavailable):
				records++
				continue
			case err != nil:
				t.Fatal(err)
			}
			if err := o.Into(&p); err != nil {
				t.Fatal(err)
			}
			got = append(got, p.Name)
		}
		slices.Sort(got)
		return got, records
	}
	n := must(cache.Import(ctx, hub.Cached(alice.Export(ctx))))(t)
	for _, from := range []*hub.Hub{cache, other.open("bob", "alice")} {
		if got, records := there(from); !slices.Equal(got, []string{"b", "c", "d"}) || records != 2 {
			t.Errorf("a cache has %q and %d records", got, records)
		}
	}
	// What is asked for by its title is listed, and not had.
	for o, err := range cache.Query(ctx, playlists, &hub.QueryOptions{Filter: "meta.title:min"}) {
		if !errors.Is(err, coffer.Unavailable) {
			t.Errorf("got %+v, %v", o, err)
		}
	}
	if got := must(cache.Import(ctx, alice.Export(ctx)))(t); got != 2 {
		t.Errorf("%d commits came whole later, of %d", got, n)
	}
	if got, records := there(cache); len(got) != 5 || records != 0 {
		t.Errorf("filled, it has %d and %d records", len(got), records)
	}
}

func FuzzReadExport(f *testing.F) {
	f.Add(`{"protected":"e30","payload":"e30","signature":"e30"}` + "\n")
	f.Add("\n\n[]\n")
	f.Fuzz(func(t *testing.T, text string) {
		for c, err := range hub.ReadExport(strings.NewReader(text)) {
			if (c == nil) == (err == nil) || err != nil && !errors.Is(err, coffer.Invalid) {
				t.Errorf("%+v, %v", c, err)
			}
		}
	})
}

func TestStore(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, shop := w.open("alice", "alice"), w.open("shop", "alice")
	with := w.ring("shop").DID()
	want(t, shop.Store("").Put(ctx, "basket", 1), coffer.Denied)
	g := must(alice.GrantStore(ctx, with, 0, 3))(t)
	w.advance(2 * time.Second)
	for _, v := range []string{"one", "two"} {
		if err := shop.Store("").Put(ctx, "basket", v); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.Store(with).Put(ctx, "size", "M"); err != nil {
		t.Fatal(err)
	}
	var basket, size string
	if err := errors.Join(alice.Store(with).Get(ctx, "basket", &basket),
		shop.Store("").Get(ctx, "size", &size)); err != nil {
		t.Fatal(err)
	}
	if basket != "two" || size != "M" {
		t.Errorf("got %q, %q", basket, size)
	}
	for _, h := range []*hub.Hub{alice, shop} {
		var got []string
		for e, err := range h.Store(with).All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Key+string(e.Value))
		}
		if !slices.Equal(got, []string{`basket"two"`, `size"M"`}) {
			t.Errorf("the Store holds %q", got)
		}
	}
	if s := seen(t, w, "alice"); strings.Contains(s, `"two"`) {
		t.Error("the hub is handed a value")
	}
	want(t, w.open("bob", "alice").Store(with).Get(ctx, "size", &size), coffer.Denied)
	if err := shop.Store("").Put(ctx, "third", 3); err != nil {
		t.Fatal(err)
	}
	want(t, shop.Store("").Put(ctx, "fourth", 4), coffer.Exhausted)
	must(alice.GrantStore(ctx, with, 0, 10))(t)
	if err := alice.Revoke(ctx, g); err != nil {
		t.Fatal(err)
	}
	w.advance(2 * time.Second)
	if err := shop.Store("").Put(ctx, "fourth", 4); err != nil {
		t.Fatal(err)
	}
	if err := alice.Store(with).Remove(ctx, "size"); err != nil {
		t.Fatal(err)
	}
	want(t, shop.Store("").Get(ctx, "size", &size), coffer.NotExist)
	for _, err := range alice.Work(ctx) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := shop.Store("").Get(ctx, "basket", &basket); err != nil || basket != "two" {
		t.Errorf("after the work: %q, %v", basket, err)
	}
}

func TestOpenNeeds(t *testing.T) {
	w := newWorld(t, nodehub.Limits{})
	for _, o := range []hub.Options{
		{}, {Hub: w.as("alice", "")}, {Hub: w.as("alice", ""), Resolver: w.resolver},
		{Hub: w.as("alice", ""), Resolver: w.resolver, Keyring: plainRing{w.ring("alice")}},
	} {
		_, err := hub.Open(o)
		want(t, err, coffer.Invalid)
	}
	guest, ctx := w.open("bob", "alice", func(o *hub.Options) { o.Keyring = plainRing{o.Keyring} }), t.Context()
	_, err := guest.Grant(ctx, hub.Permission{})
	want(t, err, coffer.Denied)
	want(t, guest.Revoke(ctx, coffer.CommitRev{}), coffer.Denied)
	for _, err := range guest.Inbox(ctx, true) {
		want(t, err, coffer.Denied)
	}
	// A plain keyring is enough for a guest.
	alice := w.open("alice", "alice")
	id := must(alice.Put(ctx, playlists, playlist{Name: "x"}, nil))(t)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--"}))(t)
	if err := guest.Get(ctx, playlists, id, new(playlist)); err != nil {
		t.Error(err)
	}
}

type plainRing struct{ coffer.Keyring }

// Rotating the vault secret loses nothing, and after the work what is there is sealed under the new one.
func TestRotatedVaultSecret(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, bob := w.open("alice", "alice"), w.open("bob", "alice")
	private := hub.Kind{Context: "clinic.example", Type: "Diagnosis", Private: true}
	for _, k := range []hub.Kind{playlists, private} {
		must(alice.Put(ctx, k, playlist{Name: "before"}, nil))(t)
		must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: k, Allow: "-R--"}))(t)
		w.advance(2 * time.Second)
		names(t, bob, k, nil)
	}
	rotated := must(w.ring("alice").Rotated(keyring.Vault))(t)
	defer rotated.Close()
	alice = w.open("alice", "alice", func(o *hub.Options) { o.Keyring = rotated })
	for _, k := range []hub.Kind{playlists, private} {
		must(alice.Put(ctx, k, playlist{Name: "after"}, nil))(t)
		if got := names(t, alice, k, nil); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("Alice reads %q", got)
		}
	}
	done := 0
	for p, err := range alice.Work(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if p.Seen == 2 {
			done += p.Done
		}
	}
	if done != 2 {
		t.Errorf("%d objects were sealed anew", done)
	}
	w.advance(2 * time.Second)
	for _, k := range []hub.Kind{playlists, private} {
		if got := names(t, bob, k, nil); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("Bob reads %q", got)
		}
	}
	for range alice.Work(ctx) {
		t.Error("there is work left")
	}
}

// A device hears of what another one revoked.
func TestRevocationOnAnotherDevice(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, phone := w.open("alice", "alice"), w.open("alice", "alice")
	var grants []coffer.CommitRev
	for _, name := range []string{"bob", "carol"} {
		grants = append(grants, must(alice.Grant(ctx, hub.Permission{
			Grantee: w.ring(name).DID(), Kind: playlists, Allow: "-R--",
		}))(t))
	}
	must(phone.Put(ctx, playlists, playlist{Name: "before"}, nil))(t)
	lax := w.open("bob", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	names(t, lax, playlists, nil)                // he has the keys of then
	for i, h := range []*hub.Hub{alice, phone} { // each ends an epoch
		w.advance(time.Minute)
		if err := h.Revoke(ctx, grants[i]); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Minute)
		id := must(phone.Put(ctx, playlists, playlist{Name: "after"}, nil))(t)
		want(t, lax.Get(ctx, playlists, id, new(playlist)), coffer.Denied)
		if p := must(hub.Get[playlist](ctx, alice, playlists, id))(t); p.Name != "after" {
			t.Errorf("got %+v", p)
		}
	}
	// Work that was interrupted goes on.
	for range alice.Work(ctx) {
		break
	}
	seen := 0
	for p, err := range phone.Work(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		seen = p.Seen
	}
	if seen != 3 {
		t.Errorf("went through %d objects", seen)
	}
}

func TestGrantsThatAreRestricted(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, carol := w.open("alice", "alice"), w.open("carol", "alice")
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("carol").DID(), Kind: playlists, Allow: "CR--"}))(t)
	must(alice.Put(ctx, playlists, playlist{Name: "by Alice"}, &hub.PutOptions{Tags: []string{"shared"}}))(t)
	must(carol.Put(ctx, playlists, playlist{Name: "by Carol"}, nil))(t)
	for _, c := range []struct {
		p    hub.Permission
		want []string
		late bool // of what comes later he reads what is like it
	}{
		{hub.Permission{CreatedBy: w.ring("carol").DID()}, []string{"by Carol"}, true},
		{hub.Permission{Filter: "meta.tags:shared"}, []string{"by Alice"}, false},
	} {
		c.p.Grantee, c.p.Kind, c.p.Allow = w.ring("bob").DID(), playlists, "-R--"
		id := must(alice.Grant(ctx, c.p))(t)
		w.advance(2 * time.Second)
		bob := w.open("bob", "alice")
		if got := names(t, bob, playlists, nil); !slices.Equal(got, c.want) {
			t.Errorf("%+v: reads %q", c.p, got)
		}
		if c.late {
			late := must(carol.Put(ctx, playlists, playlist{Name: "late"}, nil))(t)
			want(t, bob.Get(ctx, playlists, late, new(playlist)), coffer.Denied)
			for _, err := range alice.Work(ctx, playlists) {
				if err != nil {
					t.Fatal(err)
				}
			}
			w.advance(2 * time.Second)
			if got := names(t, bob, playlists, nil); !slices.Equal(got, append(c.want, "late")) {
				t.Errorf("%+v: after the work reads %q", c.p, got)
			}
		}
		if err := alice.Revoke(ctx, id); err != nil {
			t.Fatal(err)
		}
	}

	held := must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--", NotRevocableBefore: w.now().Add(time.Hour),
	}))(t)
	want(t, alice.Revoke(ctx, held), coffer.Locked)
	w.advance(2 * time.Hour)
	if err := alice.Revoke(ctx, held); err != nil {
		t.Error(err)
	}

	// A program that knows plain text only is sent no keys, and none when others are.
	plain := must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "-R--", Plain: true,
	}))(t)
	for _, err := range alice.Work(ctx, playlists) {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.advance(2 * time.Second)
	for o, err := range w.open("bob", "alice").Query(ctx, playlists, nil) {
		if !errors.Is(err, coffer.Denied) {
			t.Errorf("opened %+v, %v", o, err)
		}
	}
	for g, err := range alice.Grants(ctx) {
		if err != nil || g.Plain != (g.ID == plain) {
			t.Errorf("got %+v, %v", g, err)
		}
	}
	for _, p := range []hub.Permission{
		{Grantee: "nobody", Kind: playlists, Allow: "-R--"},
		{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "all"},
		{Grantee: w.ring("bob").DID(), Allow: "-R--"},
		{Grantee: coffer.Everybody, Kind: playlists, Allow: "C---"},
		{Grantee: "did:jwk:eyJrdHkiOiJFQyJ9", Kind: playlists, Allow: "-R--"},
	} {
		_, err := alice.Grant(ctx, p)
		want(t, err, coffer.Invalid)
	}
}

func TestServicesAndDescription(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	k := hub.Kind{Interface: coffer.ServicesInterface, Context: "openapis.org", Type: "OpenAPI"}
	must(alice.Publish(ctx, k, map[string]string{"openapi": "3.1.0"}, nil))(t)
	must(alice.Put(ctx, k, map[string]string{"openapi": "secret"}, nil))(t)
	visible := func(h *hub.Hub) (n int) {
		for o, err := range h.Services(ctx) {
			if err != nil || o.Kind != k {
				t.Errorf("got %+v, %v", o, err)
			}
			n++
		}
		return n
	}
	bob := w.open("bob", "alice")
	if a, b := visible(alice), visible(bob); a != 2 || b != 1 {
		t.Errorf("Alice sees %d services, Bob %d", a, b)
	}
	if d := must(alice.Describe(ctx))(t); len(d.Kinds) == 0 {
		t.Error("nothing is described")
	}
}

// Many goroutines use one Hub.
func TestConcurrentUse(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, bob := w.open("alice", "alice"), w.open("bob", "alice")
	first := must(alice.Put(ctx, playlists, playlist{Name: "0"}, nil))(t)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "CRU-"}))(t)
	var all sync.WaitGroup
	for i := range 8 {
		h := []*hub.Hub{alice, bob}[i%2]
		all.Go(func() {
			if _, err := h.Put(ctx, playlists, playlist{Name: fmt.Sprint(i)}, nil); err != nil {
				t.Error(err)
			}
			if err := h.Replace(ctx, playlists, first, playlist{Name: fmt.Sprint(i)}, nil); err != nil {
				t.Error(err)
			}
			for _, err := range h.Query(ctx, playlists, nil) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := names(t, bob, playlists, nil); len(got) != 9 {
		t.Errorf("there are %q", got)
	}
}
