package hubtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// A story is being told at a place. Whose hub it is about, unless it says otherwise, is Alice's.
type story struct {
	*testing.T
	*Place
	ctx context.Context

	mu   sync.Mutex
	last time.Time // when the last commit was made
}

func newStory(ctx context.Context, t *testing.T, p *Place) *story {
	s := &story{T: t, Place: p, ctx: ctx}
	s.last = s.now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
	return s
}

// now returns the place's time.
func (s *story) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// members are those of a protected header, or of a payload.
type members = map[string]any

// A kind is an interface, a context and a type.
type kind struct{ iface, context, typ string }

var (
	playlists = kind{coffer.CollectionsInterface, "http://schema.org", "MusicPlaylist"}
	games     = kind{coffer.CollectionsInterface, "http://schema.org", "Game"}
	profiles  = kind{coffer.ProfileInterface, "http://schema.org", "Person"}
	messages  = kind{coffer.ActionsInterface, "http://schema.org", "ReadAction"}
	grants    = kind{coffer.PermissionsInterface, "schema.identity.foundation/0.1", "PermissionGrant"}
)

// commit makes a commit of somebody's: a create of a playlist in Alice's hub, a millisecond after the last one, unless
// the members say otherwise. Those that are nil are left out.
func (s *story) commit(by *Person, k kind, payload string, with ...members) *coffer.Commit {
	s.mu.Lock()
	s.last = s.last.Add(time.Millisecond)
	at := s.last
	s.mu.Unlock()
	protected := members{
		"interface": k.iface, "context": k.context, "type": k.typ, "operation": "create", "commit_strategy": "basic",
		"sub": s.Alice.DID, "committed_at": stamp(at),
	}
	for _, m := range with {
		maps.Copy(protected, m)
	}
	maps.DeleteFunc(protected, func(_ string, v any) bool { return v == nil })
	return by.Sign(protected, []byte(payload))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// updating and deleting are what the protected header of later commits says.
func updating(id coffer.CommitRev) members {
	return members{"operation": "update", "object_id": id.String()}
}
func deleting(id coffer.CommitRev) members {
	return members{"operation": "delete", "object_id": id.String()}
}

func meta(m members) members { return members{"meta": m} }

// of says whose hub a commit is for.
func of(owner *Person) members { return members{"sub": owner.DID} }

// write writes a commit into Alice's hub, as somebody who may.
func (s *story) write(as *Person, c *coffer.Commit) []coffer.CommitRev {
	s.Helper()
	return s.writeTo(&s.Alice, as, c)
}

func (s *story) writeTo(owner, as *Person, c *coffer.Commit) []coffer.CommitRev {
	s.Helper()
	revs, err := as.Hub.Write(s.ctx, owner.DID, c)
	if err != nil {
		s.Fatalf("write: %v", err)
	}
	if !slices.Contains(revs, c.Rev()) {
		s.Fatalf("what was written is not among the revisions")
	}
	return revs
}

// try writes a commit into Alice's hub, as somebody who perhaps may not.
func (s *story) try(as *Person, c *coffer.Commit) error {
	_, err := as.Hub.Write(s.ctx, s.Alice.DID, c)
	return err
}

// create creates an object in Alice's hub.
func (s *story) create(by *Person, k kind, payload string, with ...members) coffer.CommitRev {
	s.Helper()
	c := s.commit(by, k, payload, with...)
	if revs := s.write(by, c); len(revs) != 1 || revs[0] != c.Rev() {
		s.Fatalf("%d revisions of a new object", len(revs))
	}
	return c.Rev()
}

// update and remove are later commits to an object.
func (s *story) update(by *Person, k kind, id coffer.CommitRev, payload string, with ...members) coffer.CommitRev {
	s.Helper()
	c := s.commit(by, k, payload, append([]members{updating(id)}, with...)...)
	s.write(by, c)
	return c.Rev()
}

func (s *story) remove(by *Person, k kind, id coffer.CommitRev, with ...members) coffer.CommitRev {
	s.Helper()
	c := s.commit(by, k, "{}", append([]members{deleting(id)}, with...)...)
	s.write(by, c)
	return c.Rev()
}

// permit makes Alice grant somebody rights to objects of a kind, and returns the grant's id.
func (s *story) permit(to *Person, allow string, k kind, with ...members) coffer.CommitRev {
	s.Helper()
	return s.create(&s.Alice, grants, s.grantOf(to.DID, allow, k, with...))
}

// grantOf returns the payload of a grant of Alice's.
func (s *story) grantOf(grantee, allow string, k kind, with ...members) string {
	s.Helper()
	g := members{"owner": s.Alice.DID, "grantee": grantee, "allow": allow, "context": k.context, "type": k.typ}
	for _, m := range with {
		maps.Copy(g, m)
	}
	maps.DeleteFunc(g, func(_ string, v any) bool { return v == nil })
	return s.json(g)
}

func (s *story) json(v any) string {
	s.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// refused checks an error: its kind, and, unless it is empty, the target of its fault.
func (s *story) refused(err error, kind coffer.Kind, target string) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Errorf("got %v, want %v", err, kind)
		return
	}
	for _, name := range []string{s.Alice.DID, s.Bob.DID, s.Carol.DID, s.Dave.DID, playlists.typ} {
		if strings.Contains(err.Error(), name) {
			s.Errorf("an error says of whom or of what it is: %v", err)
		}
	}
	var f *coffer.Fault
	if errors.As(err, &f); target != "" && (f == nil || f.Target != target) {
		s.Errorf("got %v, want %v at %s", err, kind, target)
	}
}

// denied checks that the caller has not the right.
func (s *story) denied(err error) {
	s.Helper()
	s.refused(err, coffer.Denied, "")
}

// query returns the query for a kind.
func (k kind) query() *coffer.ObjectQuery {
	return &coffer.ObjectQuery{Interface: k.iface, Context: k.context, Type: k.typ}
}

// list returns all objects that match, page by page.
func (s *story) list(as *Person, q *coffer.ObjectQuery) []coffer.HubObject {
	s.Helper()
	all, _ := s.pages(as.Hub, s.Alice.DID, q)
	return all
}

func (s *story) pages(h coffer.Hub, owner string, q *coffer.ObjectQuery) (all []coffer.HubObject, watermark string) {
	s.Helper()
	next := *q
	for range 1000 {
		p, err := h.Objects(s.ctx, owner, &next)
		if err != nil {
			s.Fatalf("objects: %v", err)
		}
		all = append(all, p.Objects...)
		if next.Skip = p.Skip; p.Skip == "" {
			return all, p.Watermark
		}
	}
	s.Fatal("the pages do not end")
	return nil, ""
}

// lists checks the ids of the objects that match, in order.
func (s *story) lists(as *Person, q *coffer.ObjectQuery, want ...coffer.CommitRev) {
	s.Helper()
	if got := ids(s.list(as, q)); !slices.Equal(got, want) {
		s.Errorf("got %d objects, %v; want %d, %v", len(got), short(got), len(want), short(want))
	}
}

func ids(objects []coffer.HubObject) (all []coffer.CommitRev) {
	for _, o := range objects {
		all = append(all, o.ID)
	}
	return all
}

func short(revs []coffer.CommitRev) string {
	var b strings.Builder
	for i, r := range revs {
		if i == 20 {
			b.WriteString("…")
			break
		}
		b.WriteString(r.String()[:6] + " ")
	}
	return b.String()
}

// object returns what is known of an object of Alice's.
func (s *story) object(as *Person, k kind, id coffer.CommitRev) coffer.HubObject {
	s.Helper()
	q := k.query()
	q.IDs = []coffer.CommitRev{id}
	all := s.list(as, q)
	if len(all) != 1 || all[0].ID != id {
		s.Fatalf("got %d objects with the id", len(all))
	}
	return all[0]
}

// tryList asks for the first page of a kind.
func (s *story) tryList(as *Person, k kind) error {
	_, err := as.Hub.Objects(s.ctx, s.Alice.DID, k.query())
	return err
}

// commits returns all commits that match, page by page.
func (s *story) commits(as *Person, q *coffer.CommitQuery) []*coffer.Commit {
	s.Helper()
	all, _ := s.commitPages(as.Hub, s.Alice.DID, q)
	return all
}

func (s *story) commitPages(h coffer.Hub, owner string, q *coffer.CommitQuery) (all []*coffer.Commit,
	watermark string) {
	s.Helper()
	next := *q
	for range 1000 {
		p, err := h.Commits(s.ctx, owner, &next)
		if err != nil {
			s.Fatalf("commits: %v", err)
		}
		all = append(all, p.Commits...)
		if next.Skip = p.Skip; p.Skip == "" {
			return all, p.Watermark
		}
	}
	s.Fatal("the pages do not end")
	return nil, ""
}

// tryCommits asks for the commits of objects.
func (s *story) tryCommits(as *Person, objects ...coffer.CommitRev) error {
	_, err := as.Hub.Commits(s.ctx, s.Alice.DID, &coffer.CommitQuery{Objects: objects})
	return err
}

// reads checks what a person reads of an object: the payload of the commit that made its state.
func (s *story) reads(as *Person, k kind, id coffer.CommitRev, want string) {
	s.Helper()
	o := s.object(as, k, id)
	cs := s.commits(as, &coffer.CommitQuery{Revisions: []coffer.CommitRev{o.Revision}})
	if len(cs) != 1 || cs[0].Rev() != o.Revision {
		s.Fatalf("got %d commits with the revision", len(cs))
	}
	if got := s.payload(cs[0]); got != want {
		s.Errorf("read %q, want %q", got, want)
	}
}

func (s *story) payload(c *coffer.Commit) string {
	s.Helper()
	b, err := base64.RawURLEncoding.DecodeString(c.Payload)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// same checks that a commit is the one that was written, byte for byte, with what the hub adds.
func (s *story) same(got, want *coffer.Commit, signer string) {
	s.Helper()
	if got.Protected != want.Protected || got.Payload != want.Payload || got.Signature != want.Signature {
		s.Errorf("a commit is not as it was written")
	}
	var h struct {
		Issuer string           `json:"iss"`
		Rev    coffer.CommitRev `json:"rev"`
	}
	if err := json.Unmarshal(got.Header, &h); err != nil || h.Issuer != signer || h.Rev != want.Rev() {
		s.Errorf("the header of a commit says %s (%v)", got.Header, err)
	}
}

// equal checks that two values are the same JSON.
func (s *story) equal(what string, got, want any) {
	s.Helper()
	if g, w := s.json(got), s.json(want); !bytes.Equal([]byte(g), []byte(w)) {
		s.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func faultOf(err error) *coffer.Fault {
	var f *coffer.Fault
	errors.As(err, &f)
	return f
}
