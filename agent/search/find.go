package search

import (
	"bytes"
	"context"
	"slices"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/lucene"
)

// Bounds on the work of one query.
const (
	DefaultMaxTerms = 1 << 20 // terms that are looked at, for patterns, ranges and the like
	maxPostings     = 1 << 26 // entries of posting lists that are read
)

// A search is one query in one segment.
type search struct {
	ctx  context.Context
	x    *Index
	s    *segment
	work *work
}

// work is what a query may still do, in all segments.
type work struct{ terms, postings int }

func (w *work) spend(left *int, n int) error {
	if *left -= n; *left < 0 {
		return coffer.Errorf("search", coffer.Exhausted, "the query means too much work; ask more narrowly")
	}
	return nil
}

// ordinals is a set of documents, ascending.
type ordinals []uint32

// meets returns the documents of the segment that meet a condition.
func (q *search) meets(n lucene.Node) (ordinals, error) {
	switch n := n.(type) {
	case lucene.All:
		return q.all()
	case lucene.And:
		return q.and(n)
	case lucene.Or:
		var sets []ordinals
		for _, c := range n {
			set, err := q.meets(c)
			if err != nil {
				return nil, err
			}
			sets = append(sets, set)
		}
		return union(sets), nil
	case lucene.Not:
		all, err := q.all()
		if err != nil {
			return nil, err
		}
		set, err := q.meets(n.Node)
		return without(all, set), err
	case lucene.Exists:
		return q.exact(string(kindExists) + n.Field)
	case lucene.Term:
		return q.term(n)
	case lucene.Pattern:
		return q.pattern(n)
	case lucene.Fuzzy:
		word := lucene.Fold(n.Text)
		_, first := utf8.DecodeRuneInString(word)
		return q.scanWords(n.Field, word[:first], func(w string) bool { return lucene.Close(word, w, n.Distance) })
	case lucene.Range:
		return q.within(n)
	}
	return nil, coffer.Errorf("search", coffer.Invalid, "a condition is not known")
}

func (q *search) all() (ordinals, error) {
	d, err := q.s.directory(q.ctx, q.x)
	if err != nil {
		return nil, err
	}
	if err := q.work.spend(&q.work.postings, int(d.entries)); err != nil {
		return nil, err
	}
	set := make(ordinals, d.entries)
	for i := range set {
		set[i] = uint32(i)
	}
	return without(set, d.removed), nil
}

// and evaluates what fetches least first, and stops where nothing is left.
func (q *search) and(list lucene.And) (ordinals, error) {
	rank := func(n lucene.Node) int {
		switch n.(type) {
		case lucene.Term:
			return 0
		case lucene.And, lucene.Or:
			return 1
		case lucene.Not:
			return 3
		}
		return 2
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b lucene.Node) int { return rank(a) - rank(b) })
	var set ordinals
	for i, n := range list {
		not, negated := n.(lucene.Not)
		if negated && i > 0 {
			n = not.Node
		}
		other, err := q.meets(n)
		switch {
		case err != nil:
			return nil, err
		case i == 0:
			set = other
		case negated:
			set = without(set, other)
		default:
			set = both(set, other)
		}
		if len(set) == 0 {
			return nil, nil
		}
	}
	return set, nil
}

// scan visits the terms from a prefix on, as long as they have it.
func (q *search) scan(prefix string, visit func(e *entry) (more bool, err error)) error {
	return q.scanFrom(prefix, prefix, visit)
}

func (q *search) scanFrom(from, prefix string, visit func(e *entry) (more bool, err error)) error {
	for e, err := range q.s.terms(q.ctx, q.x, from, false) {
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(e.key, []byte(prefix)) {
			return nil
		}
		if err := q.work.spend(&q.work.terms, 1); err != nil {
			return err
		}
		if more, err := visit(e); err != nil || !more {
			return err
		}
	}
	return nil
}

// documents returns the documents of a term.
func (q *search) documents(e *entry) (ordinals, error) {
	set := make(ordinals, 0, min(e.count, 1<<16))
	err := q.each(e, func(p posting) { set = append(set, p.ordinal) })
	return set, err
}

func (q *search) each(e *entry, visit func(p posting)) error {
	if err := q.work.spend(&q.work.postings, e.count); err != nil {
		return err
	}
	list, err := q.s.postings(q.ctx, q.x, e, false)
	if err != nil {
		return err
	}
	for p, ok := list.read(); ok; p, ok = list.read() {
		visit(p)
	}
	if list.r.bad {
		return errCorrupt("a posting list is malformed")
	}
	return nil
}

// exact returns the documents of just this term.
func (q *search) exact(key string) (set ordinals, err error) {
	err = q.scan(key, func(e *entry) (bool, error) {
		if string(e.key) == key {
			set, err = q.documents(e)
		}
		return false, err
	})
	return set, err
}

// union returns what stands in any of the sets.
func union(sets []ordinals) ordinals {
	switch len(sets) {
	case 0:
		return nil
	case 1:
		return sets[0]
	case 2: // the most frequent
		return merge(sets[0], sets[1])
	}
	all := slices.Concat(sets...)
	slices.Sort(all)
	return slices.Compact(all)
}

func merge(a, b ordinals) ordinals {
	out := make(ordinals, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case a[0] > b[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func both(a, b ordinals) (out ordinals) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return out
}

func without(a, b ordinals) (out ordinals) {
	for _, n := range a {
		for len(b) > 0 && b[0] < n {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != n {
			out = append(out, n)
		}
	}
	return out
}

func (q *search) term(n lucene.Term) (ordinals, error) {
	words := lucene.Words(n.Text)
	if n.Field == "" {
		return q.phrase("", words, n.Slop)
	}
	var sets []ordinals
	if len(words) > 0 {
		set, err := q.phrase(n.Field, words, n.Slop)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	var keys []string
	if whole := lucene.Fold(n.Text); len(whole) <= lucene.MaxWhole {
		keys = append(keys, wholeKey(n.Field, whole))
	}
	if v, ok := lucene.ParseNumber(n.Text); ok && !n.Quoted {
		keys = append(keys, numberKey(kindNumber, n.Field, sortable(v)))
	}
	if v, ok := lucene.ParseBool(n.Text); ok && !n.Quoted {
		keys = append(keys, boolKey(n.Field, v))
	}
	for _, key := range keys {
		set, err := q.exact(key)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	if first, last, ok := lucene.ParseTime(n.Text); ok {
		set, err := q.numbers(kindTime, n.Field, sortableTime(first), sortableTime(last))
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return union(sets), nil
}

// A place is where a word stands in a document.
type place struct {
	ordinal uint32
	at      []uint32
}

// phrase returns the documents that have the words, of which there is one at least, as a phrase in one text of the
// field.
func (q *search) phrase(field string, words []string, slop int) (ordinals, error) {
	if len(words) == 1 {
		return q.word(field, words[0])
	}
	// Which fields have all of the words? Only their lists are read.
	type found map[string]entry
	lists := map[string]found{}
	for _, w := range words {
		if lists[w] != nil {
			continue
		}
		f := found{}
		lists[w] = f
		prefix := wordKey(w, field)
		err := q.scan(prefix, func(e *entry) (bool, error) {
			name := string(e.key[len(wordKey(w, "")):])
			if field == "" || name == field {
				c := *e
				c.key = bytes.Clone(e.key)
				f[name] = c
			}
			return field == "", nil
		})
		if err != nil {
			return nil, err
		}
		if len(f) == 0 {
			return nil, nil
		}
	}
	var sets []ordinals
	for name := range lists[words[0]] {
		common := true
		for _, f := range lists {
			_, ok := f[name]
			common = common && ok
		}
		if !common {
			continue
		}
		places := map[string][]place{}
		for w, f := range lists {
			e := f[name]
			var list []place
			// The places are looked at only in documents that have all words.
			err := q.each(&e, func(p posting) {
				list = append(list, place{p.ordinal, nil})
			})
			if err != nil {
				return nil, err
			}
			places[w] = list
		}
		var candidates ordinals
		for i, w := range words {
			set := make(ordinals, len(places[w]))
			for k, p := range places[w] {
				set[k] = p.ordinal
			}
			if i == 0 {
				candidates = set
			} else {
				candidates = both(candidates, set)
			}
		}
		if len(candidates) == 0 {
			continue
		}
		at := map[string][][]uint32{} // of each word, in each candidate
		for w, f := range lists {
			e := f[name]
			next := 0
			err := q.each(&e, func(p posting) {
				if next < len(candidates) && p.ordinal == candidates[next] {
					at[w] = append(at[w], p.decode())
					next++
				}
			})
			if err != nil {
				return nil, err
			}
		}
		var set ordinals
		near := make([][]uint32, len(words))
		for k, n := range candidates {
			for i, w := range words {
				near[i] = at[w][k]
			}
			if lucene.Near(near, slop) {
				set = append(set, n)
			}
		}
		sets = append(sets, set)
	}
	return union(sets), nil
}

// word returns the documents that have a word in the field, or in any.
func (q *search) word(field, word string) (ordinals, error) {
	if field != "" {
		return q.exact(wordKey(word, field))
	}
	var sets []ordinals
	err := q.scan(wordKey(word, ""), func(e *entry) (bool, error) {
		set, err := q.documents(e)
		sets = append(sets, set)
		return true, err
	})
	return union(sets), err
}

// scanWords returns the documents with words in the field, or in any, that begin so and match.
func (q *search) scanWords(field, prefix string, match func(string) bool) (ordinals, error) {
	var sets []ordinals
	last, matches := "", false
	err := q.scan(string(kindWord)+prefix, func(e *entry) (bool, error) {
		word, name, _ := bytes.Cut(e.key[1:], []byte{0})
		if field != "" && string(name) != field {
			return true, nil
		}
		if string(word) != last || last == "" {
			last = string(word)
			matches = match(last)
		}
		if !matches {
			return true, nil
		}
		set, err := q.documents(e)
		sets = append(sets, set)
		return true, err
	})
	return union(sets), err
}

func (q *search) pattern(n lucene.Pattern) (ordinals, error) {
	g := n.Glob()
	set, err := q.scanWords(n.Field, g.Prefix(), g.Match)
	if err != nil {
		return nil, err
	}
	field := n.Field
	if field == "" {
		field = titleField
	}
	sets := []ordinals{set}
	start := wholeKey(field, "")
	err = q.scan(start+g.Prefix(), func(e *entry) (bool, error) {
		if !g.Match(string(e.key[len(start):])) {
			return true, nil
		}
		set, err := q.documents(e)
		sets = append(sets, set)
		return true, err
	})
	return union(sets), err
}

func (q *search) within(n lucene.Range) (ordinals, error) {
	var sets []ordinals
	if low, high, ok := n.Numbers(); ok && low <= high {
		set, err := q.numbers(kindNumber, n.Field, sortable(low+0), sortable(high+0))
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	if low, high, ok := n.Times(); ok && low <= high {
		set, err := q.numbers(kindTime, n.Field, sortableTime(low), sortableTime(high))
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	if n.Texts() {
		start := wholeKey(n.Field, "")
		from, high := start, ""
		if !n.Low.Open {
			from += lucene.Fold(n.Low.Text)
		}
		if !n.High.Open {
			high = lucene.Fold(n.High.Text)
		}
		err := q.scanFrom(from, start, func(e *entry) (bool, error) {
			whole := string(e.key[len(start):])
			if !n.High.Open && whole > high {
				return false, nil
			}
			if !n.Holds(whole) {
				return true, nil
			}
			set, err := q.documents(e)
			sets = append(sets, set)
			return true, err
		})
		if err != nil {
			return nil, err
		}
	}
	return union(sets), nil
}

// numbers returns the documents with a number or a time from low to high in the field.
func (q *search) numbers(kind byte, field string, low, high uint64) (ordinals, error) {
	var sets []ordinals
	last := numberKey(kind, field, high)
	start := last[:len(last)-8]
	err := q.scanFrom(numberKey(kind, field, low), start, func(e *entry) (bool, error) {
		if len(e.key) != len(last) || string(e.key) > last {
			return false, nil
		}
		set, err := q.documents(e)
		sets = append(sets, set)
		return true, err
	})
	return union(sets), err
}
