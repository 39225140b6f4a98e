package hubtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
)

// A life is a hub as it should be after random acts, kept in the simplest way.
type life struct {
	*story
	*rand.Rand
	kinds   []kind
	people  []*Person
	objects []*lived
	grants  map[coffer.CommitRev]*given
	arrived []coffer.CommitRev          // commits, in order
	of      map[coffer.CommitRev]*lived // by commit
}

// A lived is an object.
type lived struct {
	id              coffer.CommitRev
	kind            kind
	creator         string
	deleted, public bool
}

// A given is a grant that has not ended.
type given struct {
	grantee, allow string
	kind           kind
	creator        string
	objects        []coffer.CommitRev
}

// may reports whether somebody has a right to objects of a kind, or to one.
func (l *life) may(who *Person, right string, k kind, o *lived) bool {
	if who.DID == l.Alice.DID || right == "R" && o != nil && o.public {
		return true
	}
	for _, g := range l.grants {
		if (g.grantee == who.DID || g.grantee == coffer.Everybody) && strings.Contains(g.allow, right) && g.kind == k &&
			(g.creator == "" || o != nil && g.creator == o.creator) &&
			(g.objects == nil || o != nil && slices.Contains(g.objects, o.id)) {
			return true
		}
	}
	return false
}

// anything reports whether somebody was granted to read something of a kind, if there were such.
func (l *life) anything(who *Person, k kind) bool {
	for _, g := range l.grants {
		if (g.grantee == who.DID || g.grantee == coffer.Everybody) && strings.Contains(g.allow, "R") && g.kind == k {
			return true
		}
	}
	return false
}

// lives: many random acts of four people, after each of which the hub answers as the rules say.
func (s *story) lives() {
	seed := rand.Uint64()
	s.Logf("seed %d", seed)
	l := &life{
		story: s, Rand: rand.New(rand.NewPCG(seed, 0)),
		kinds:  []kind{playlists, games, {"Collections", "https://schema.org", "Game"}},
		people: []*Person{&s.Alice, &s.Bob, &s.Carol, &s.Dave},
		grants: map[coffer.CommitRev]*given{}, of: map[coffer.CommitRev]*lived{},
	}
	for range 300 {
		if s.Failed() {
			return
		}
		who, k := l.people[l.IntN(4)], l.kinds[l.IntN(3)]
		switch l.IntN(8) {
		case 0, 1:
			l.grant(k)
		case 2:
			l.make(who, k)
		case 3, 4:
			l.change(who)
		case 5:
			l.fetch(who)
		default:
			l.look(who, k)
		}
	}
	s.Logf("%d objects, %d of their commits, %d grants in force", len(l.objects), len(l.arrived), len(l.grants))
	other := s.Fresh(s.T)
	s.copy(other)
	l.story = &story{T: s.T, Place: other, ctx: s.ctx, last: s.last}
	for _, who := range []*Person{&other.Alice, &other.Bob, &other.Carol, &other.Dave} {
		for _, k := range l.kinds {
			l.look(who, k)
		}
	}
}

// judged checks that an act was allowed, or denied.
func (l *life) judged(what string, err error, allowed bool) {
	l.Helper()
	if allowed && err != nil {
		l.Errorf("%s: %v, and it is allowed", what, err)
	} else if !allowed {
		l.denied(err)
	}
}

func (l *life) keep(c *coffer.Commit, o *lived) {
	l.arrived = append(l.arrived, c.Rev())
	l.of[c.Rev()] = o
}

// grant makes Alice give a grant, change one, or end one.
func (l *life) grant(k kind) {
	alice := &l.Alice
	ids := slices.SortedFunc(maps.Keys(l.grants), func(a, b coffer.CommitRev) int {
		return strings.Compare(a.String(), b.String())
	})
	if len(ids) > 0 && l.IntN(3) == 0 {
		id := ids[l.IntN(len(ids))]
		l.remove(alice, grants, id)
		delete(l.grants, id)
		return
	}
	g := &given{grantee: l.people[1+l.IntN(3)].DID, kind: k}
	for _, letter := range "CRUD" {
		if l.IntN(2) == 0 {
			g.allow += string(letter)
		} else {
			g.allow += "-"
		}
	}
	with := members{}
	if l.IntN(6) == 0 {
		g.grantee, g.allow = coffer.Everybody, "-R--"
	}
	if !strings.Contains(g.allow, "C") {
		switch l.IntN(4) {
		case 0:
			g.creator = l.people[l.IntN(4)].DID
			with["created_by"] = g.creator
		case 1:
			for range 3 {
				if len(l.objects) > 0 {
					g.objects = append(g.objects, l.objects[l.IntN(len(l.objects))].id)
				}
			}
			if g.objects != nil {
				with["object_id"] = g.objects
			}
		}
	}
	payload := l.grantOf(g.grantee, g.allow, k, with)
	if len(ids) > 0 && l.IntN(3) == 0 {
		id := ids[l.IntN(len(ids))]
		l.update(alice, grants, id, payload)
		l.grants[id] = g
		return
	}
	l.grants[l.create(alice, grants, payload)] = g
}

// make makes somebody create an object, which Alice may mark public, and others only claim to.
func (l *life) make(who *Person, k kind) {
	public := l.IntN(4) == 0
	c := l.commit(who, k, fmt.Sprint(len(l.arrived)), meta(members{"public": public}))
	allowed := l.may(who, "C", k, nil)
	l.judged("create", l.try(who, c), allowed)
	if allowed {
		o := &lived{id: c.Rev(), kind: k, creator: who.DID, public: public && who.DID == l.Alice.DID}
		l.objects = append(l.objects, o)
		l.keep(c, o)
	}
}

// change makes somebody update or delete an object.
func (l *life) change(who *Person) {
	if len(l.objects) == 0 {
		return
	}
	o := l.objects[l.IntN(len(l.objects))]
	public, right, operation := l.IntN(3) == 0, "U", updating(o.id)
	if l.IntN(5) == 0 {
		right, operation = "D", deleting(o.id)
	}
	c := l.commit(who, o.kind, fmt.Sprint(len(l.arrived)), operation, meta(members{"public": public}))
	allowed := l.may(who, right, o.kind, o)
	l.judged(right, l.try(who, c), allowed)
	if !allowed {
		return
	}
	l.keep(c, o)
	if !o.deleted || right == "D" {
		o.deleted = o.deleted || right == "D"
		o.public = public && who.DID == l.Alice.DID
	}
}

// look makes somebody list the objects of a kind.
func (l *life) look(who *Person, k kind) {
	q := k.query()
	q.Limit = 1 + l.IntN(20)
	q.NoDeleted = l.IntN(2) == 0
	var want []coffer.CommitRev
	some := false
	for _, o := range l.objects {
		if o.kind == k && l.may(who, "R", k, o) {
			some = true
			if !o.deleted || !q.NoDeleted {
				want = append(want, o.id)
			}
		}
	}
	if !some && who.DID != l.Alice.DID {
		p, err := who.Hub.Objects(l.ctx, l.Alice.DID, q)
		if err == nil && len(p.Objects) == 0 && l.anything(who, k) {
			return
		}
		l.denied(err)
		return
	}
	l.lists(who, q, want...)
}

// fetch makes somebody ask for the commits of objects.
func (l *life) fetch(who *Person) {
	var asked []coffer.CommitRev
	allowed := who.DID == l.Alice.DID
	if len(l.objects) > 0 {
		allowed = true
		for range 1 + l.IntN(3) {
			o := l.objects[l.IntN(len(l.objects))]
			asked = append(asked, o.id)
			allowed = allowed && l.may(who, "R", o.kind, o)
		}
	}
	q := &coffer.CommitQuery{Objects: asked, Limit: 1 + l.IntN(10)}
	if !allowed {
		_, err := who.Hub.Commits(l.ctx, l.Alice.DID, q)
		l.denied(err)
		return
	}
	var got, want []coffer.CommitRev
	for _, c := range l.commits(who, q) {
		if l.of[c.Rev()] != nil { // with no objects asked for, there are grants
			got = append(got, c.Rev())
		}
	}
	for _, rev := range l.arrived {
		if slices.Contains(asked, l.of[rev].id) {
			want = append(want, rev)
		}
	}
	if !slices.Equal(got, want) {
		l.Errorf("got %d commits, want %d", len(got), len(want))
	}
}
