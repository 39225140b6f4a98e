package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
	"github.com/cofferhq/coffer/node/hub"
)

// TestGrantsByOtherHubs brings grants that another hub says the owner made there, and its key signed. Here they are a
// stranger's.
func TestGrantsByOtherHubs(t *testing.T) {
	s := newSite(t, nil)
	book := s.write(alice, s.commit(alice, `{}`))
	const evil = somebody("evil")
	made := meta(`{"via":"hub","author":"` + alice.DID() + `"}`)
	payload := grantOf(bob, shelf.Context, shelf.Type, "-R--", "")
	wants(t, "a grant made elsewhere", second(s.as(alice).Adopt(t.Context(), alice.DID(), s.commit(evil, payload, asGrant, made))),
		coffer.Invalid)
	mine := s.commit(alice, grantOf(carol, shelf.Context, shelf.Type, "-R--", ""), asGrant)
	widened := s.commit(evil, payload, asGrant, later(merge.Update, mine.Rev()), made)
	wants(t, "a grant widened elsewhere", second(s.as(alice).Adopt(t.Context(), alice.DID(), mine, widened)), coffer.Invalid)
	_, err := s.as(bob).Commits(t.Context(), alice.DID(), &coffer.CommitQuery{Objects: []coffer.CommitRev{book}})
	wants(t, "bob", err, coffer.Denied)
}

// TestRelaysByOtherHubs brings a relay of which another hub says that the owner made it there.
func TestRelaysByOtherHubs(t *testing.T) {
	s := newSite(t, nil)
	relay := of(coffer.ServicesInterface, "schema.identity.foundation/0.1", "Relay")
	c := s.commit(somebody("evil"), `{"interface":"Collections","location":"https://evil.example/"}`, relay,
		meta(`{"via":"hub","author":"`+alice.DID()+`"}`))
	if _, err := s.as(alice).Adopt(t.Context(), alice.DID(), c); err != nil {
		t.Fatal(err)
	}
	_, err := s.as(alice).Perform(t.Context(), alice.DID(), &coffer.HubAct{
		Interface: coffer.CollectionsInterface, Verb: coffer.RequestVerb, Context: shelf.Context, Type: shelf.Type,
	})
	if err != nil {
		t.Errorf("collections are said to be elsewhere: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestMissingAndDeniedOnTheVerbPlane has a stranger act on objects that are there and on some that are not: he is told
// the same.
func TestMissingAndDeniedOnTheVerbPlane(t *testing.T) {
	s := newSite(t, func(o *hub.Options) { o.PublicProfile = false })
	patched := func(h *merge.Header) { h.Strategy = merge.MergePatch }
	large := meta(`{"title":"` + strings.Repeat("x", merge.MaxMeta-20) + `"}`)
	there := []coffer.CommitRev{
		s.write(alice, s.commit(alice, `{}`, patched)),
		s.write(alice, s.commit(alice, `{}`, large)),
	}
	profile := of(coffer.ProfileInterface, "schema.org", "Person")
	s.write(alice, s.commit(alice, `{}`, profile, patched))
	missing := s.commit(alice, `{}`).Rev()
	act := func(a coffer.HubAct) string {
		a.Payload = []json.RawMessage{json.RawMessage(`{}`)}
		_, err := s.as(bob).Perform(t.Context(), alice.DID(), &a)
		var f *coffer.Fault
		if !errors.Is(err, coffer.Denied) || errors.As(err, &f) {
			t.Errorf("%s %s: %v", a.Interface, a.Verb, err)
		}
		return err.Error()
	}
	for _, verb := range []coffer.Verb{coffer.UpdateVerb, coffer.RemoveVerb} {
		a := coffer.HubAct{
			Interface: coffer.CollectionsInterface, Verb: verb, Context: shelf.Context, Type: shelf.Type, ID: missing.String(),
		}
		want := act(a)
		for _, id := range there {
			a.ID = id.String()
			if got := act(a); got != want {
				t.Errorf("%s: %q of what is there, %q of what is not", verb, got, want)
			}
		}
	}
	for _, verb := range []coffer.Verb{coffer.AddVerb, coffer.UpdateVerb, coffer.RemoveVerb} {
		for _, typ := range []string{"Person", "Nobody"} {
			act(coffer.HubAct{Interface: coffer.ProfileInterface, Verb: verb, Context: "schema.org", Type: typ})
		}
	}
}

// TestLargePatchesOnTheVerbPlane has a grantee make an object of more patches than may be held in memory at once. Who
// lists it is shown it without data.
func TestLargePatchesOnTheVerbPlane(t *testing.T) {
	s := newSite(t, nil)
	s.grant(bob, "--U-", "")
	id := s.write(alice, s.commit(alice, `{}`, func(h *merge.Header) { h.Strategy = merge.MergePatch }))
	small := s.write(alice, s.commit(alice, `{"small":true}`))
	big := `{"x":"` + strings.Repeat("x", 1_040_000) + `"}`
	read := func() map[string]int {
		t.Helper()
		items, err := s.as(alice).Perform(t.Context(), alice.DID(), &coffer.HubAct{
			Interface: coffer.CollectionsInterface, Verb: coffer.RequestVerb, Context: shelf.Context, Type: shelf.Type,
		})
		if err != nil {
			t.Fatal(err)
		}
		sizes := make(map[string]int)
		for _, i := range items {
			sizes[i.ID] = len(i.Data)
		}
		return sizes
	}
	for n := range 17 {
		s.write(bob, s.commit(bob, big, later(merge.Update, id), func(h *merge.Header) { h.Strategy = merge.MergePatch }))
		if n == 2 && read()[id.String()] != len(big) {
			t.Errorf("of some patches: %v", read())
		}
	}
	got := read()
	if size, listed := got[id.String()]; !listed || size != 0 || got[small.String()] == 0 {
		t.Errorf("of many patches: %v", got)
	}
}

// A stopping filter matches nothing, and has the request end the third time that it is asked.
type stopping struct {
	asked int
	end   context.CancelFunc
}

func (f *stopping) Match(json.RawMessage) (bool, error) {
	if f.asked++; f.asked == 3 {
		f.end()
	}
	return false, nil
}

// TestSlowFilters has requests end while a filter is asked of many objects: nothing more is done for them then.
func TestSlowFilters(t *testing.T) {
	f := new(stopping)
	s := newSite(t, func(o *hub.Options) { o.Filter = func(string) (hub.Filter, error) { return f, nil } })
	q := coffer.ObjectQuery{Interface: shelf.Interface, Context: shelf.Context, Type: shelf.Type}
	s.write(alice, s.commit(alice, `{}`))
	page, err := s.as(alice).Objects(t.Context(), alice.DID(), &q)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s.write(alice, s.commit(alice, `{}`, meta(`{"public":true}`)))
	}
	q.Filter = "x"
	sorted, since := q, q
	sorted.Sort, since.Since = "created_at", page.Watermark
	for name, ask := range map[string]func(ctx context.Context, h coffer.Hub) error{
		"by arrival": func(ctx context.Context, h coffer.Hub) error { return second(h.Objects(ctx, alice.DID(), &q)) },
		"sorted":     func(ctx context.Context, h coffer.Hub) error { return second(h.Objects(ctx, alice.DID(), &sorted)) },
		"changes":    func(ctx context.Context, h coffer.Hub) error { return second(h.Objects(ctx, alice.DID(), &since)) },
		"verb plane": func(ctx context.Context, h coffer.Hub) error {
			return second(h.Perform(ctx, alice.DID(), &coffer.HubAct{
				Interface: q.Interface, Verb: coffer.RequestVerb, Context: q.Context, Type: q.Type, Filter: "x",
			}))
		},
	} {
		ctx, end := context.WithCancel(t.Context())
		f.asked, f.end = 0, end
		wants(t, name, ask(ctx, s.as(alice)), coffer.Unavailable)
		if f.asked != 3 {
			t.Errorf("%s: asked of %d objects", name, f.asked)
		}
	}
}
