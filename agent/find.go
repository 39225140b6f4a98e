package agent

import (
	"context"
	"iter"

	"github.com/cofferhq/coffer"
)

// Find yields what meets the query, in no particular order. A query is terms with spaces between; an object must meet
// all of them:
//
//	annual report           words of the name, whatever their case; or a type
//	name:report.pdf         the name, just so; and likewise path, folder and type
//	type:Invoice total:30   a field of a typed object: total is "30" or 30; a.b is b in a
//	customer="Ada \"A.\""   a text with spaces; "=" is the same as ":"
//
// Only whole words and whole values match, and of typed objects the fields that are indexed (doc/objects.md). What no
// object has is not found and no error; Invalid for what is no query. The agent's own records do not show.
//
// The vault sees which of its blinded tags are asked for, nothing else; what it answers is checked against the query.
func (a *Agent) Find(ctx context.Context, query string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		terms, err := parseQuery(query)
		var filters [][]pair
		if err == nil {
			filters, err = a.filters(ctx, terms)
		}
		if err != nil {
			yield(Info{}, err)
			return
		}
		wanted := func(c *content) bool {
			for _, t := range terms {
				if !t.matches(c) {
					return false
				}
			}
			return !within(c.Path, reserved)
		}
		if len(filters) == 0 {
			return
		}
		for r, err := range a.search(ctx, filters, wanted) {
			if err != nil {
				yield(Info{}, err)
				return
			}
			if !r.pending() && !yield(r.info(), nil) {
				return
			}
		}
	}
}

// filters returns what to ask the vault for: any of the filters, of which each has one alternative of each term. Terms
// that no object can meet make no filter.
//
// A filter names an attribute only once. Where terms ask for several words of one name, the rarest of them is asked
// for, and the others are looked for in what is found.
func (a *Agent) filters(ctx context.Context, terms []term) ([][]pair, error) {
	filters := [][]pair{nil}
	for _, t := range terms {
		var next [][]pair
		for _, f := range filters {
			for _, alternative := range t.alternatives() {
				next = append(next, append(f[:len(f):len(f)], alternative...))
			}
		}
		if filters = next; len(filters) > coffer.MaxFilters {
			return nil, coffer.Errorf("query", coffer.Invalid, "too many alternatives; name the fields")
		}
	}
	counts := make(map[pair]int)
	for i, f := range filters {
		single, err := a.rarest(ctx, counts, f)
		if err != nil {
			return nil, err
		}
		filters[i] = single
	}
	return filters, nil
}

// rarest leaves one pair for each attribute: the one that the fewest objects have.
func (a *Agent) rarest(ctx context.Context, counts map[pair]int, filter []pair) ([]pair, error) {
	byPath := make(map[string][]pair)
	var order []string
	for _, p := range filter {
		if byPath[p.path] == nil {
			order = append(order, p.path)
		}
		byPath[p.path] = append(byPath[p.path], p)
	}
	var single []pair
	for _, path := range order {
		best := byPath[path][0]
		for _, p := range byPath[path] {
			if len(byPath[path]) == 1 {
				break
			}
			if _, ok := counts[p]; !ok {
				q, err := a.query(ctx, [][]pair{{p}})
				if err != nil {
					return nil, err
				}
				if counts[p], err = a.Vault.Count(ctx, q); err != nil {
					return nil, err
				}
			}
			if counts[p] < counts[best] {
				best = p
			}
		}
		single = append(single, best)
	}
	return single, nil
}
