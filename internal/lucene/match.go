package lucene

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Match reports whether the document meets the query. It is what an index must agree with.
func (q *Query) Match(doc *Fields) bool { return doc.meets(q.Root) }

func (f *Fields) meets(n Node) bool {
	switch n := n.(type) {
	case All:
		return true
	case And:
		return !slices.ContainsFunc(n, func(c Node) bool { return !f.meets(c) })
	case Or:
		return slices.ContainsFunc(n, f.meets)
	case Not:
		return !f.meets(n.Node)
	case Exists:
		for name := range f.fields {
			if name == n.Field || strings.HasPrefix(name, n.Field+".") {
				return true
			}
		}
	case Term:
		words := Words(n.Text)
		return f.any(n.Field, func(name string, x *Field) bool {
			return x.phrase(words, n.Slop) || name == n.Field && x.equals(n)
		})
	case Pattern:
		g := n.Glob()
		return f.any(n.Field, func(name string, x *Field) bool {
			return x.hasWord(g.Match) || (name == n.Field || name == f.Title) && slices.ContainsFunc(x.Wholes, g.Match)
		})
	case Fuzzy:
		word := Fold(n.Text)
		return f.any(n.Field, func(_ string, x *Field) bool {
			return x.hasWord(func(w string) bool { return Close(word, w, n.Distance) })
		})
	case Range:
		return f.any(n.Field, func(_ string, x *Field) bool { return x.within(n) })
	}
	return false
}

// any reports whether the field, or for "" any of them, meets the condition.
func (f *Fields) any(field string, meets func(name string, x *Field) bool) bool {
	if field != "" {
		x := f.fields[field]
		return x != nil && meets(field, x)
	}
	for name, x := range f.fields {
		if meets(name, x) {
			return true
		}
	}
	return false
}

func (x *Field) hasWord(match func(string) bool) bool {
	return slices.ContainsFunc(x.Words, func(words []string) bool { return slices.ContainsFunc(words, match) })
}

func (x *Field) phrase(words []string, slop int) bool {
	if len(words) == 0 {
		return false
	}
	return slices.ContainsFunc(x.Words, func(text []string) bool {
		if len(words) == 1 {
			return slices.Contains(text, words[0])
		}
		positions := make([][]uint32, len(words))
		for i, w := range words {
			for p, t := range text {
				if t == w {
					positions[i] = append(positions[i], uint32(p))
				}
			}
		}
		return Near(positions, slop)
	})
}

// equals reports whether a value is what the term says, as a whole.
func (x *Field) equals(n Term) bool {
	if slices.Contains(x.Wholes, Fold(n.Text)) {
		return true
	}
	if first, last, ok := ParseTime(n.Text); ok {
		if slices.ContainsFunc(x.Times, func(t int64) bool { return first <= t && t <= last }) {
			return true
		}
	}
	if n.Quoted {
		return false
	}
	if v, ok := ParseNumber(n.Text); ok && slices.Contains(x.Numbers, v) {
		return true
	}
	v, ok := ParseBool(n.Text)
	return ok && slices.Contains(x.Bools, v)
}

// ParseBool reads "true" and "false".
func ParseBool(s string) (v, ok bool) { return s == "true", s == "true" || s == "false" }

func (x *Field) within(n Range) bool {
	if low, high, ok := n.Numbers(); ok {
		if slices.ContainsFunc(x.Numbers, func(v float64) bool { return low <= v && v <= high }) {
			return true
		}
	}
	if low, high, ok := n.Times(); ok {
		if slices.ContainsFunc(x.Times, func(v int64) bool { return low <= v && v <= high }) {
			return true
		}
	}
	return n.Texts() && slices.ContainsFunc(x.Wholes, n.Holds)
}

// Numbers returns the least and the greatest number in the range. It reports false if a bound is no number.
func (n Range) Numbers() (low, high float64, ok bool) {
	low, high = math.Inf(-1), math.Inf(1)
	if !n.Low.Open {
		if low, ok = ParseNumber(n.Low.Text); !ok {
			return 0, 0, false
		}
		if n.Low.Exclusive {
			low = math.Nextafter(low, math.Inf(1))
		}
	}
	if !n.High.Open {
		if high, ok = ParseNumber(n.High.Text); !ok {
			return 0, 0, false
		}
		if n.High.Exclusive {
			high = math.Nextafter(high, math.Inf(-1))
		}
	}
	return low, high, true
}

// Times returns the first and the last microsecond in the range, of which a day as a bound is part as a whole, or not at
// all when it is excluded. It reports false if a bound is no time.
func (n Range) Times() (low, high int64, ok bool) {
	low, high = math.MinInt64, math.MaxInt64
	if !n.Low.Open {
		first, last, ok := ParseTime(n.Low.Text)
		if !ok {
			return 0, 0, false
		}
		if low = first; n.Low.Exclusive {
			low = last + 1
		}
	}
	if !n.High.Open {
		first, last, ok := ParseTime(n.High.Text)
		if !ok {
			return 0, 0, false
		}
		if high = last; n.High.Exclusive {
			high = first - 1
		}
	}
	return low, high, true
}

// Texts reports whether texts can be in the range: when its bounds are neither numbers nor times.
func (n Range) Texts() bool {
	_, _, number := n.Numbers()
	_, _, at := n.Times()
	return !number && !at
}

// Holds reports whether a folded text is in the range.
func (n Range) Holds(folded string) bool {
	if !n.Low.Open {
		c := strings.Compare(folded, Fold(n.Low.Text))
		if c < 0 || c == 0 && n.Low.Exclusive {
			return false
		}
	}
	if !n.High.Open {
		c := strings.Compare(folded, Fold(n.High.Text))
		if c > 0 || c == 0 && n.High.Exclusive {
			return false
		}
	}
	return true
}

// A Glob is a [Pattern] made ready.
type Glob struct{ parts []string } // "*", "?" or, after a "=", folded text

// Glob returns the pattern made ready.
func (n Pattern) Glob() Glob {
	var g Glob
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			g.parts = append(g.parts, "="+Fold(text.String()))
			text.Reset()
		}
	}
	escaped := false
	for _, r := range n.Text {
		switch {
		case escaped:
			text.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '*':
			if flush(); len(g.parts) == 0 || g.parts[len(g.parts)-1] != "*" {
				g.parts = append(g.parts, "*")
			}
		case r == '?':
			flush()
			g.parts = append(g.parts, "?")
		default:
			text.WriteRune(r)
		}
	}
	flush()
	return g
}

// Prefix returns the folded text that everything that matches begins with.
func (g Glob) Prefix() string {
	if len(g.parts) > 0 && g.parts[0][0] == '=' {
		return g.parts[0][1:]
	}
	return ""
}

// Match reports whether a folded text is as the pattern has it. It takes time in proportion to the product of the
// lengths, at most.
func (g Glob) Match(s string) bool {
	i, at := 0, 0
	star, from := -1, 0 // the last "*", and where what follows it was tried
	for i < len(g.parts) || at < len(s) {
		if i < len(g.parts) {
			switch p := g.parts[i]; {
			case p == "*":
				star, from = i, at
				i++
				continue
			case p == "?":
				if at < len(s) {
					_, n := utf8.DecodeRuneInString(s[at:])
					i, at = i+1, at+n
					continue
				}
			case strings.HasPrefix(s[at:], p[1:]):
				i, at = i+1, at+len(p)-1
				continue
			}
		}
		if star < 0 || from >= len(s) {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[from:])
		from += n
		i, at = star+1, from
	}
	return true
}

// Close reports whether two folded words begin with the same character and are at most so many insertions, deletions,
// replacements and swaps of neighbours apart, where no part is changed twice (the optimal string alignment distance).
func Close(a, b string, distance int) bool {
	x, y := []rune(a), []rune(b)
	if len(x) == 0 || len(y) == 0 || x[0] != y[0] || len(x)-len(y) > distance || len(y)-len(x) > distance {
		return false
	}
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > distance {
			return false
		}
		before, last, row = last, row, before
	}
	return last[len(y)] <= distance
}
