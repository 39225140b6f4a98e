package hubtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
)

// many creates so many playlists of Alice's.
func (s *story) many(n int) (all []coffer.CommitRev) {
	s.Helper()
	for i := range n {
		all = append(all, s.create(&s.Alice, playlists, strconv.Itoa(i)))
	}
	return all
}

// paged: pages follow one another, whatever is written between them, and have at most the size that was asked for.
func (s *story) paged() {
	alice, bob := &s.Alice, &s.Bob
	s.permit(bob, "-R--", playlists)
	want := s.many(23)
	for _, who := range []*Person{alice, bob} {
		for _, limit := range []int{1, 5, 23, 100, 0, 1000} {
			q := playlists.query()
			q.Limit = limit
			s.lists(who, q, want...)
		}
	}
	q := playlists.query()
	q.Limit = 10
	first, err := bob.Hub.Objects(s.ctx, alice.DID, q)
	if err != nil || len(first.Objects) != 10 || first.Skip == "" {
		s.Fatalf("a page of %d objects, goes on at %q: %v", len(first.Objects), first.Skip, err)
	}
	got := ids(first.Objects)
	// Between pages: another one, a change of what was shown and of what will be, and a deletion.
	want = append(want, s.create(alice, playlists, "later"))
	s.update(alice, playlists, want[3], "changed")
	s.update(alice, playlists, want[15], "changed")
	s.remove(alice, playlists, want[4])
	s.create(alice, games, "chess")
	rest := *q
	rest.Skip = first.Skip
	more, _ := s.pages(bob.Hub, alice.DID, &rest)
	if got = append(got, ids(more)...); !slices.Equal(got, want) && !slices.Equal(got, want[:23]) {
		s.Errorf("got %d objects over all pages, %v; want %v", len(got), short(got), short(want))
	}

	// A token is for its query and its caller. It says nothing, and cannot be made.
	invalid := func(as *Person, change func(*coffer.ObjectQuery)) {
		s.Helper()
		q := rest
		change(&q)
		_, err := as.Hub.Objects(s.ctx, alice.DID, &q)
		s.refused(err, coffer.Invalid, "")
	}
	toCarol := s.permit(&s.Carol, "-R--", playlists)
	s.permit(bob, "-R--", games)
	invalid(&s.Carol, func(*coffer.ObjectQuery) {})
	invalid(bob, func(q *coffer.ObjectQuery) { q.Type = games.typ })
	invalid(bob, func(q *coffer.ObjectQuery) { q.NoDeleted = true })
	invalid(bob, func(q *coffer.ObjectQuery) { q.Skip = "10" })
	invalid(bob, func(q *coffer.ObjectQuery) { q.Skip = q.Skip[:len(q.Skip)-4] })
	invalid(bob, func(q *coffer.ObjectQuery) { q.Skip = strings.Repeat("A", len(q.Skip)) })
	invalid(bob, func(q *coffer.ObjectQuery) { q.Skip, q.Since = "", q.Skip })
	invalid(bob, func(q *coffer.ObjectQuery) { q.Skip, q.Since = "", "0" })
	invalid(bob, func(q *coffer.ObjectQuery) { q.Skip = strings.Repeat("A", 100_000) })
	p, err := alice.Hub.Objects(s.ctx, alice.DID, q)
	if err != nil {
		s.Fatal(err)
	}
	invalid(bob, func(q *coffer.ObjectQuery) { q.Skip = p.Skip })

	// Whose right has ended does not go on.
	if p, err = s.Carol.Hub.Objects(s.ctx, alice.DID, q); err != nil || p.Skip == "" {
		s.Fatalf("a page: %v", err)
	}
	of := &coffer.CommitQuery{Objects: want[:5], Limit: 2}
	cs, err := s.Carol.Hub.Commits(s.ctx, alice.DID, of)
	if err != nil || cs.Skip == "" {
		s.Fatalf("a page: %v", err)
	}
	s.remove(alice, grants, toCarol)
	next := *q
	next.Skip = p.Skip
	_, err = s.Carol.Hub.Objects(s.ctx, alice.DID, &next)
	s.denied(err)
	of.Skip = cs.Skip
	_, err = s.Carol.Hub.Commits(s.ctx, alice.DID, of)
	s.denied(err)

	// Commits are paged alike.
	var revs []coffer.CommitRev
	whole := s.commits(alice, &coffer.CommitQuery{})
	for _, c := range whole {
		revs = append(revs, c.Rev())
	}
	for _, q := range []coffer.CommitQuery{{Limit: 1}, {Limit: 7}} {
		var got []coffer.CommitRev
		for _, c := range s.commits(alice, &q) {
			got = append(got, c.Rev())
		}
		if !slices.Equal(got, revs) {
			s.Errorf("got %v in pages of %d, want %v", short(got), q.Limit, short(revs))
		}
	}
	if len(whole) != 3+len(want)+5 {
		s.Errorf("%d commits", len(whole))
	}
	for _, skip := range []string{"x", rest.Skip} {
		_, err = alice.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Skip: skip})
		s.refused(err, coffer.Invalid, "")
	}
}

// whileWriting: whoever reads on while others write sees the beginning of what there is in the end, without gaps; and
// who follows by watermarks sees all.
func (s *story) whileWriting() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	s.permit(bob, "C---", playlists)
	s.permit(carol, "-R--", playlists)
	var commits [][]*coffer.Commit
	for w := range 4 {
		who := []*Person{alice, bob}[w%2]
		commits = append(commits, nil)
		for i := range 20 {
			// Large ones take longer to store, so that others overtake them.
			payload := fmt.Sprint(w, i) + strings.Repeat("x", w%2*i%2*300_000)
			commits[w] = append(commits[w], s.commit(who, playlists, payload))
		}
	}
	var writers sync.WaitGroup
	for w := range commits {
		writers.Go(func() {
			who := []*Person{alice, bob}[w%2]
			for _, c := range commits[w] {
				if err := s.try(who, c); err != nil {
					s.Errorf("write: %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	var seen [][]coffer.CommitRev
	followed := map[coffer.CommitRev]bool{}
	since := ""
	q := playlists.query()
	q.Limit = 7
	for running := true; running; {
		select {
		case <-done:
			running = false // once more, to see all
		default:
		}
		seen = append(seen, ids(s.list(carol, q)))
		next := *q
		next.Since = since
		var new []coffer.HubObject
		new, since = s.pages(carol.Hub, alice.DID, &next)
		for _, o := range new {
			followed[o.ID] = true
		}
	}
	all := seen[len(seen)-1]
	if len(all) != 80 || len(followed) != 80 {
		s.Errorf("%d objects in the end, %d followed", len(all), len(followed))
	}
	for _, some := range seen {
		if len(some) > len(all) || !slices.Equal(some, all[:len(some)]) {
			s.Fatalf("%v was seen, and in the end %v", short(some), short(all))
		}
	}
}

// watermarks: a second read returns what was written after the first.
func (s *story) watermarks() {
	alice, bob := &s.Alice, &s.Bob
	s.permit(bob, "-R--", playlists)
	want := s.many(5)
	s.create(alice, games, "chess")
	q := playlists.query()
	q.Limit = 2
	first, mark := s.pages(bob.Hub, alice.DID, q)
	if len(first) != 5 || mark == "" {
		s.Fatalf("%d objects, watermark %q", len(first), mark)
	}
	since := func(mark string, want ...coffer.CommitRev) string {
		s.Helper()
		next := *q
		next.Since = mark
		got, after := s.pages(bob.Hub, alice.DID, &next)
		if after == "" {
			s.Error("no watermark")
		}
		sorted := func(revs []coffer.CommitRev) []coffer.CommitRev {
			return slices.SortedFunc(slices.Values(revs), func(a,
				b coffer.CommitRev) int {
				return strings.Compare(a.String(), b.String())
			})
		}
		if !slices.Equal(sorted(ids(got)), sorted(want)) {
			s.Errorf("got %v since then, want %v", short(ids(got)), short(want))
		}
		return after
	}
	nothing := since(mark)
	s.update(alice, playlists, want[1], "changed")
	s.update(alice, playlists, want[1], "changed again")
	s.remove(alice, playlists, want[3])
	s.create(alice, games, "go")
	other := s.create(alice, playlists, "new")
	since(nothing, want[1], want[3], other)
	last := since(mark, want[1], want[3], other)
	since(last)

	// The same in commits, for the owner.
	all, mark := s.commitPages(alice.Hub, alice.DID, &coffer.CommitQuery{Limit: 3})
	if mark == "" {
		s.Fatal("no watermark")
	}
	c := s.commit(alice, playlists, "x", updating(want[0]))
	s.write(alice, c)
	s.write(alice, all[1]) // it is there already
	more, mark := s.commitPages(alice.Hub, alice.DID, &coffer.CommitQuery{Since: mark})
	if len(more) != 1 || more[0].Rev() != c.Rev() {
		s.Errorf("%d commits since then", len(more))
	}
	if more, _ = s.commitPages(alice.Hub, alice.DID, &coffer.CommitQuery{Since: mark}); len(more) != 0 {
		s.Errorf("%d commits since then", len(more))
	}
	_, err := alice.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Since: mark, Objects: want[:1]})
	s.refused(err, coffer.Invalid, "")
	_, err = alice.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Since: "x"})
	s.refused(err, coffer.Invalid, "")

	// A watermark is for who got it, and for this hub.
	next := *q
	next.Since = last
	s.permit(&s.Dave, "-R--", playlists)
	_, err = s.Dave.Hub.Objects(s.ctx, alice.DID, &next)
	s.refused(err, coffer.Invalid, "")
	s.writeTo(bob, bob, s.commit(bob, playlists, "x", of(bob)))
	_, err = bob.Hub.Objects(s.ctx, bob.DID, &next)
	s.refused(err, coffer.Invalid, "")

	// What came before a grant is new to who got it, if he asks from the beginning.
	s.permit(&s.Carol, "-R--", playlists)
	if got := s.list(&s.Carol, playlists.query()); len(got) != 6 {
		s.Errorf("%d objects", len(got))
	}
}

// conditions: what a query asks for, in all combinations that there are, and its bounds.
func (s *story) conditions() {
	alice, bob := &s.Alice, &s.Bob
	s.permit(bob, "C---", playlists)
	one := s.create(alice, playlists, "1", meta(members{"title": "One", "year": 1971}))
	two := s.create(bob, playlists, "2", meta(members{"title": "Two", "year": 1980}))
	three := s.create(alice, playlists, "3", members{"commit_strategy": "json-merge-patch"},
		meta(members{"title": "Three"}))
	gone := s.create(alice, playlists, "4")
	s.remove(alice, playlists, gone)
	game := s.create(alice, games, "chess")
	s.create(alice, profiles, "Alice")

	with := func(change func(*coffer.ObjectQuery)) *coffer.ObjectQuery {
		q := playlists.query()
		change(q)
		return q
	}
	s.lists(alice, playlists.query(), one, two, three, gone)
	s.lists(alice, &coffer.ObjectQuery{Interface: "Collections"}, one, two, three, gone, game)
	s.lists(alice, with(func(q *coffer.ObjectQuery) { q.NoDeleted = true }), one, two, three)
	s.lists(alice, with(func(q *coffer.ObjectQuery) { q.IDs = []coffer.CommitRev{three, one, game, {7}} }), one, three)
	s.lists(alice, &coffer.ObjectQuery{Interface: "Profile", IDs: []coffer.CommitRev{one}})
	eq := func(field, value string) coffer.FieldFilter {
		return coffer.FieldFilter{Type: "eq", Field: field, Value: value}
	}
	for _, test := range []struct {
		filters []coffer.FieldFilter
		want    []coffer.CommitRev
	}{
		{[]coffer.FieldFilter{eq("created_by", bob.DID)}, []coffer.CommitRev{two}},
		{[]coffer.FieldFilter{eq("created_by", alice.DID), eq("commit_strategy", "basic")}, []coffer.CommitRev{one, gone}},
		{[]coffer.FieldFilter{eq("id", two.String())}, []coffer.CommitRev{two}},
		{[]coffer.FieldFilter{eq("created_by", s.Carol.DID)}, nil},
	} {
		s.lists(alice, with(func(q *coffer.ObjectQuery) { q.Filters = test.filters }), test.want...)
	}

	// A grantee who names no type gets no more than what was granted, if anything.
	s.permit(&s.Carol, "-R--", playlists)
	p, err := s.Carol.Hub.Objects(s.ctx, alice.DID, &coffer.ObjectQuery{Interface: "Collections"})
	if err != nil {
		s.denied(err)
	} else if slices.ContainsFunc(p.Objects, func(o coffer.HubObject) bool { return o.Type != playlists.typ }) {
		s.Error("objects of another type were shown")
	}

	for name, change := range map[string]func(*coffer.ObjectQuery){
		"too many ids":     func(q *coffer.ObjectQuery) { q.IDs = make([]coffer.CommitRev, coffer.MaxQueryIDs+1) },
		"too many filters": func(q *coffer.ObjectQuery) { q.Filters = make([]coffer.FieldFilter, coffer.MaxQueryFilters+1) },
		"a filter unknown": func(q *coffer.ObjectQuery) {
			q.Filters = []coffer.FieldFilter{{Type: "like", Field: "type", Value: "x"}}
		},
		"an interface":       func(q *coffer.ObjectQuery) { q.Interface = "Things" },
		"an order unknown":   func(q *coffer.ObjectQuery) { q.Sort = "payload" },
		"a type of a novel":  func(q *coffer.ObjectQuery) { q.Type = strings.Repeat("x", 1<<20) },
		"a watermark forged": func(q *coffer.ObjectQuery) { q.Since = strings.Repeat("A", 60) },
	} {
		if _, err := alice.Hub.Objects(s.ctx, alice.DID, with(change)); err == nil {
			s.Errorf("%s was accepted", name)
		} else {
			s.refused(err, coffer.Invalid, "")
		}
	}
	for _, q := range []coffer.CommitQuery{
		{Objects: make([]coffer.CommitRev, coffer.MaxQueryIDs+1)}, {Revisions: make([]coffer.CommitRev,
			coffer.MaxQueryIDs+1)},
	} {
		_, err := alice.Hub.Commits(s.ctx, alice.DID, &q)
		s.refused(err, coffer.Invalid, "")
	}
	_, err = alice.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{
		Objects: []coffer.CommitRev{one}, Revisions: []coffer.CommitRev{one},
	})
	s.notOffered(err)

	// Of two objects, one that there is not: the one that there is.
	if got := s.commits(alice, &coffer.CommitQuery{Objects: []coffer.CommitRev{{7}, one}}); len(got) != 1 ||
		got[0].Rev() != one {
		s.Errorf("%d commits", len(got))
	}
	if got := s.commits(alice, &coffer.CommitQuery{Revisions: []coffer.CommitRev{{7}, two, one}}); len(got) != 2 {
		s.Errorf("%d commits", len(got))
	}
}

// sorted: by times and by meta, both ways, over pages.
func (s *story) sorted() {
	alice := &s.Alice
	at := s.now().Add(-time.Hour)
	make := func(minutes int, title string, rating int) coffer.CommitRev {
		return s.create(alice, playlists, title, members{"committed_at": stamp(at.Add(time.Duration(minutes) * time.Minute))},
			meta(members{"title": title, "rating": rating}))
	}
	b, c, a := make(20, "b", 10), make(10, "c", 9), make(30, "a", 100)
	d := s.create(alice, playlists, "without meta", members{"committed_at": stamp(at)})
	s.update(alice, playlists, d, "now", members{"committed_at": stamp(at.Add(15 * time.Minute))})
	for order, want := range map[string][]coffer.CommitRev{
		"created_at":  {d, c, b, a},
		"-created_at": {a, b, c, d},
		"updated_at":  {c, d, b, a},
		"-updated_at": {a, b, d, c},
		"meta.title":  {a, b, c},
		"-meta.title": {c, b, a},
		"meta.rating": {c, b, a},
	} {
		for _, limit := range []int{0, 1, 3} {
			q := playlists.query()
			q.Sort, q.Limit = order, limit
			got := ids(s.list(alice, q))
			if strings.Contains(order, "meta") { // where what has no such member stands is left open
				got = slices.DeleteFunc(got, func(r coffer.CommitRev) bool { return r == d })
			}
			if !slices.Equal(got, want) {
				s.Errorf("%s in pages of %d: got %v, want %v", order, limit, short(got), short(want))
			}
		}
	}
}

// filters: what Lucene's syntax finds, and grants that carry a filter.
func (s *story) filters() {
	if s.NoFilters {
		s.Skip("filters are not understood here")
	}
	alice, bob := &s.Alice, &s.Bob
	rock := s.create(alice, playlists, "1", meta(members{"title": "Classic Rock", "tags": []string{"rock", "old"},
		"year": 1971}))
	jazz := s.create(alice, playlists, "2", meta(members{"title": "Classic Jazz", "tags": []string{"jazz", "old"},
		"year": 1959}))
	punk := s.create(alice, playlists, "3", meta(members{"title": "New Punk", "tags": []string{"punk"}, "year": 2020}))
	bare := s.create(alice, playlists, "4")
	found := func(filter string, want ...coffer.CommitRev) {
		s.Helper()
		q := playlists.query()
		q.Filter = filter
		if got := ids(s.list(alice, q)); !slices.Equal(got, want) {
			s.Errorf("%s: got %v, want %v", filter, short(got), short(want))
		}
		items, err := alice.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
			Interface: playlists.iface, Verb: coffer.RequestVerb, Context: playlists.context, Type: playlists.typ,
			Filter: filter,
		})
		if err != nil || len(items) != len(want) {
			s.Errorf("%s: %d items: %v", filter, len(items), err)
		}
	}
	found("meta.title:classic", rock, jazz)
	found(`meta.title:"classic rock"`, rock)
	found("meta.tags:old AND NOT meta.tags:jazz", rock)
	found("meta.tags:(jazz OR punk)", jazz, punk)
	found("meta.year:[1950 TO 1980]", rock, jazz)
	found("meta.year:{1971 TO *]", punk)
	found("meta.title:p?nk", punk)
	found("-meta.title:classic", punk, bare)
	found("type:Game")
	q := playlists.query()
	for _, bad := range []string{"meta.title:(", "[", strings.Repeat("a ", 10_000)} {
		q.Filter = bad
		_, err := alice.Hub.Objects(s.ctx, alice.DID, q)
		s.refused(err, coffer.Invalid, "")
	}

	// Pages and a filter.
	q.Filter, q.Limit = "meta.title:*", 1
	s.lists(alice, q, rock, jazz, punk)

	// In a grant: for reading, for writing, and as it is now.
	s.permit(bob, "CRU-", playlists, members{"filter": "meta.tags:old"})
	s.lists(bob, playlists.query(), rock, jazz)
	s.reads(bob, playlists, jazz, "2")
	s.denied(s.tryCommits(bob, punk))
	s.denied(s.tryCommits(bob, rock, bare))
	s.denied(s.try(bob, s.commit(bob, playlists, "x", updating(punk), meta(members{"tags": []string{"old"}}))))
	s.update(bob, playlists, rock, "by Bob", meta(members{"tags": []string{"old"}}))
	s.denied(s.try(bob, s.commit(bob, playlists, "x", meta(members{"tags": []string{"new"}}))))
	s.create(bob, playlists, "x", meta(members{"tags": []string{"old"}}))
	s.update(alice, playlists, jazz, "2", meta(members{"tags": []string{"jazz"}}))
	s.denied(s.tryCommits(bob, jazz))
	s.refused(s.try(alice, s.commit(alice, grants, s.grantOf(bob.DID, "-R--", games, members{"filter": "((("}))),
		coffer.Invalid, "commit.payload.filter")
}

// take: skip and take count in the order of arrival, whatever is written meanwhile.
func (s *story) take() {
	alice, bob := &s.Alice, &s.Bob
	s.permit(bob, "-R--", playlists)
	want := s.many(35)
	act := coffer.HubAct{
		Interface: playlists.iface, Verb: coffer.RequestVerb, Context: playlists.context, Type: playlists.typ, Skip: 20,
		Take: 10,
	}
	check := func(want []coffer.CommitRev) {
		s.Helper()
		items, err := bob.Hub.Perform(s.ctx, alice.DID, &act)
		if err != nil {
			s.Fatal(err)
		}
		var got []string
		for _, i := range items {
			got = append(got, i.ID)
		}
		s.equal("items", got, want)
		for i, item := range items {
			if n, err := strconv.Atoi(string(item.Data)); err == nil && n != act.Skip+i {
				s.Errorf("item %d is %s", act.Skip+i, item.Data)
			}
		}
	}
	check(want[20:30])
	s.create(alice, playlists, `"new"`)
	s.update(alice, playlists, want[25], `"changed"`)
	s.update(alice, playlists, want[5], `"changed"`)
	check(want[20:30])
	act.Skip = 30
	check(append(want[30:35:35], s.list(alice, playlists.query())[35].ID))
	act.Skip = 36
	if items, err := bob.Hub.Perform(s.ctx, alice.DID, &act); err != nil || len(items) != 0 {
		s.Errorf("%d items beyond the end: %v", len(items), err)
	}
	for _, wrong := range []coffer.HubAct{{Skip: -1}, {Take: -1}} {
		act.Skip, act.Take = wrong.Skip, wrong.Take
		if _, err := bob.Hub.Perform(s.ctx, alice.DID, &act); err != nil {
			s.refused(err, coffer.Invalid, "")
		}
	}
}

// notOffered checks for the protocol's code "not_implemented".
func (s *story) notOffered(err error) {
	s.Helper()
	if f := faultOf(err); f == nil || f.Code != coffer.NotImplemented {
		s.Errorf("got %v, want not implemented", err)
	}
}

// duplicates: a commit that is there already changes nothing, whoever came first.
func (s *story) duplicates() {
	alice := &s.Alice
	first := s.commit(alice, playlists, "one")
	update := s.commit(alice, playlists, "two", updating(first.Rev()))
	want := []coffer.CommitRev{first.Rev(), update.Rev()}
	s.write(alice, first)
	s.write(alice, update)
	for _, c := range []*coffer.Commit{first, update, first} {
		if revs := s.write(alice, c); !slices.Equal(revs, want) {
			s.Errorf("the revisions are %v", short(revs))
		}
	}
	again := *update
	again.Header = json.RawMessage(`{"other":1}`)
	s.write(alice, &again)
	if got := s.commits(alice, &coffer.CommitQuery{}); len(got) != 2 {
		s.Errorf("%d commits", len(got))
	}
	s.lists(alice, playlists.query(), first.Rev())

	// Many at once.
	other := s.commit(alice, games, "chess")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if revs, err := alice.Hub.Write(s.ctx, alice.DID, other); err != nil || len(revs) != 1 {
				s.Errorf("%d revisions: %v", len(revs), err)
			}
		})
	}
	for i := range 8 {
		all.Go(func() {
			if err := s.try(alice, s.commit(alice, playlists, strconv.Itoa(i), updating(first.Rev()))); err != nil {
				s.Errorf("one of many updates: %v", err)
			}
		})
	}
	all.Wait()
	s.lists(alice, games.query(), other.Rev())
	if got := s.commits(alice, &coffer.CommitQuery{Objects: want[:1]}); len(got) != 10 {
		s.Errorf("%d commits of an object", len(got))
	}
}
