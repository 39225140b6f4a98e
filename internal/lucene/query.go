// Package lucene reads the query language that people know from search engines (the classic syntax of Apache Lucene),
// and says what a query matches. It is pure: an index and a filter that use it agree on what is found, as both agree
// with [Query.Match]. doc/query.md is the page for those who ask.
package lucene

import (
	"strconv"
	"strings"
	"unicode"
)

// Bounds on a query.
const (
	MaxLength   = 4096 // bytes
	MaxDepth    = 32   // of parentheses and negations
	MaxTerms    = 256  // conditions, where each word of a phrase counts
	MaxDistance = 2    // of a fuzzy word
	MaxSlop     = 100  // of a phrase
)

// A Query is what [Parse] read.
type Query struct{ Root Node }

// String returns the query in a form that Parse reads as the same Query (unless it has become longer than [MaxLength],
// as with a long field name for many terms).
func (q *Query) String() string {
	var b strings.Builder
	q.Root.write(&b)
	return b.String()
}

// A Node is a condition: [All], [And], [Or], [Not], [Term], [Pattern], [Fuzzy], [Range] or [Exists]. In those that have
// a Field, "" means any text of the document.
type Node interface{ write(b *strings.Builder) }

// All matches every document.
type All struct{}

// And matches what all of its nodes match. It has two at least, and none of them is an And.
type And []Node

// Or matches what any of its nodes matches. It has two at least, and none of them is an Or.
type Or []Node

// Not matches what its node does not match.
type Not struct{ Node Node }

// A Term matches a field one of whose values is the text as a whole, or has its words in sequence. Unless it is quoted
// it may also be a number or a boolean; and quoted or not, a time.
type Term struct {
	Field  string
	Text   string
	Quoted bool
	Slop   int // by how much the words may be displaced, as [Near] has it; only when Quoted
}

// A Pattern matches a field that has such a word, or such a value as a whole. Without a field it is the whole values of
// the title ([Fields.Title]) only.
type Pattern struct {
	Field string
	Text  string // "*" is any text, "?" any character, "\" makes one of "*?\" mean itself
}

// Fuzzy matches a field with a word that becomes the given one by at most Distance insertions, deletions, replacements
// and swaps of neighbours, and that begins with the same character.
type Fuzzy struct {
	Field    string
	Text     string // one word
	Distance int    // 1 or 2
}

// A Range matches a field one of whose values is between the bounds. Where both bounds are numbers, numbers are; where
// both are times, times are; and where they are neither, texts are, compared as a whole by bytes of the folded form. One
// bound at least is not open. Field is not "".
type Range struct {
	Field     string
	Low, High Bound
}

// A Bound is one end of a Range.
type Bound struct {
	Text      string
	Open      bool // no bound; Text is "" and Exclusive false
	Exclusive bool // the value itself is outside
}

// Exists matches what has a value in the field, or in a field within it. Field is not "".
type Exists struct{ Field string }

func (All) write(b *strings.Builder) { b.WriteString("*:*") }

func (n And) write(b *strings.Builder) {
	for i, c := range n {
		if i > 0 {
			b.WriteString(" AND ")
		}
		_, or := c.(Or)
		group(b, c, or)
	}
}

func (n Or) write(b *strings.Builder) {
	for i, c := range n {
		if i > 0 {
			b.WriteString(" OR ")
		}
		c.write(b)
	}
}

func (n Not) write(b *strings.Builder) {
	b.WriteString("NOT ")
	switch n.Node.(type) {
	case And, Or:
		group(b, n.Node, true)
	default:
		n.Node.write(b)
	}
}

func group(b *strings.Builder, n Node, parentheses bool) {
	if parentheses {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	n.write(b)
}

func (n Term) write(b *strings.Builder) {
	writeField(b, n.Field)
	if !n.Quoted {
		writeWord(b, n.Text)
		return
	}
	writeQuoted(b, n.Text)
	if n.Slop > 0 {
		b.WriteString("~" + strconv.Itoa(n.Slop))
	}
}

func (n Pattern) write(b *strings.Builder) {
	writeField(b, n.Field)
	escaped := false
	for i, r := range n.Text {
		switch {
		case escaped:
			b.WriteByte('\\')
			b.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '*' || r == '?':
			b.WriteRune(r)
		default:
			writeRune(b, r, i == 0)
		}
	}
}

func (n Fuzzy) write(b *strings.Builder) {
	writeField(b, n.Field)
	writeWord(b, n.Text)
	b.WriteString("~" + strconv.Itoa(n.Distance))
}

func (n Range) write(b *strings.Builder) {
	writeField(b, n.Field)
	b.WriteByte("[{"[bit(n.Low.Exclusive)])
	n.Low.write(b)
	b.WriteString(" TO ")
	n.High.write(b)
	b.WriteByte("]}"[bit(n.High.Exclusive)])
}

func (n Bound) write(b *strings.Builder) {
	if n.Open {
		b.WriteByte('*')
	} else {
		writeQuoted(b, n.Text)
	}
}

func (n Exists) write(b *strings.Builder) {
	writeField(b, n.Field)
	b.WriteByte('*')
}

func bit(v bool) int {
	if v {
		return 1
	}
	return 0
}

func writeField(b *strings.Builder, field string) {
	if field != "" {
		writeWord(b, field)
		b.WriteByte(':')
	}
}

// writeWord writes a text so that it is read as one word, and as none of the operators.
func writeWord(b *strings.Builder, s string) {
	if s == "AND" || s == "OR" || s == "NOT" {
		b.WriteByte('\\')
	}
	for i, r := range s {
		writeRune(b, r, i == 0)
	}
}

func writeRune(b *strings.Builder, r rune, first bool) {
	if unicode.IsSpace(r) || strings.ContainsRune(`()[]{}"^~*?:=<>\&|`, r) || first && strings.ContainsRune("+-!", r) {
		b.WriteByte('\\')
	}
	b.WriteRune(r)
}

func writeQuoted(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
}
