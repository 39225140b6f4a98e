package lucene

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
)

// Parse reads a query:
//
//	query   = and *( ( "OR" / "||" ) and )
//	and     = clause *( [ "AND" / "&&" ] clause )         ; what stands side by side must all match
//	clause  = *( "NOT" / "!" / "-" / "+" ) ( "(" query ")" / [ field ] value ) [ "^" number ]
//	field   = word ( ":" / "=" )                          ; "=" is the same as ":"
//	value   = "*" / word / word "~" [ "0" / "1" / "2" ] / quoted [ "~" digits ] / range / "(" query ")"
//	        / ( ">" / ">=" / "<" / "<=" ) bound           ; here the ":" may be left out
//	range   = ( "[" / "{" ) bound "TO" bound ( "]" / "}" )
//	bound   = "*" / word / quoted
//
// A backslash takes from the next character what it means here. "*" and "?" in a word make it a pattern; boosts are read
// and passed over; "+" changes nothing, as all clauses are required anyway. A field before parentheses is that of all
// within that have none of their own. ":" and the like within a value mean themselves.
//
// What is no query is Invalid, and the reason says at which character, counted from 1; so is what is beyond the bounds.
func Parse(s string) (*Query, error) {
	p := parser{s: s}
	if len(s) > MaxLength {
		return nil, coffer.Errorf("query", coffer.Invalid, fmt.Sprintf("longer than %d bytes", MaxLength))
	}
	if !utf8.ValidString(s) {
		return nil, coffer.Errorf("query", coffer.Invalid, "not UTF-8")
	}
	root := p.or("", 0)
	if p.err == nil && p.at < len(s) {
		p.fail(p.at, "a parenthesis closes that was not opened")
	}
	if p.err != nil {
		return nil, p.err
	}
	return &Query{root}, nil
}

// parser reads from s at at. After the first error, which it keeps, it reads nothing more.
type parser struct {
	s     string
	at    int
	terms int
	err   error
}

func (p *parser) fail(at int, reason string) {
	if p.err == nil {
		p.err = coffer.Errorf("query", coffer.Invalid,
			fmt.Sprintf("at character %d: %s", utf8.RuneCountInString(p.s[:at])+1, reason))
		p.at = len(p.s)
	}
}

// peek returns the next rune, 0 at the end: a NUL in a query is refused where a word begins.
func (p *parser) peek() rune {
	if p.at >= len(p.s) {
		return 0
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.at:])
	return r
}

func (p *parser) space() {
	for p.at < len(p.s) && unicode.IsSpace(p.peek()) {
		p.at += utf8.RuneLen(p.peek())
	}
}

// take passes over the text if it is next.
func (p *parser) take(text string) bool {
	if strings.HasPrefix(p.s[p.at:], text) {
		p.at += len(text)
		return true
	}
	return false
}

// operator passes over an operator if it is next: a sign, or a name with a delimiter behind it.
func (p *parser) operator(sign, name string) bool {
	p.space()
	if p.take(sign) {
		return true
	}
	rest, ok := strings.CutPrefix(p.s[p.at:], name)
	if !ok {
		return false
	}
	if r, _ := utf8.DecodeRuneInString(rest); rest != "" && !unicode.IsSpace(r) && !strings.ContainsRune(`()"`, r) {
		return false
	}
	p.at += len(name)
	return true
}

func (p *parser) or(field string, depth int) Node {
	var list Or
	for {
		switch n := p.and(field, depth).(type) {
		case Or:
			list = append(list, n...)
		default:
			list = append(list, n)
		}
		if p.err != nil || !p.operator("||", "OR") {
			break
		}
	}
	if len(list) == 1 {
		return list[0]
	}
	return list
}

func (p *parser) and(field string, depth int) Node {
	var list And
	for {
		switch n := p.clause(field, depth).(type) {
		case And:
			list = append(list, n...)
		default:
			list = append(list, n)
		}
		if p.err != nil || p.operator("&&", "AND") {
			if p.err != nil {
				break
			}
			continue
		}
		at := p.at // of what is not to be eaten here
		if p.at >= len(p.s) || p.peek() == ')' || p.operator("||", "OR") {
			p.at = at
			break
		}
	}
	if len(list) == 1 {
		return list[0]
	}
	return list
}

func (p *parser) clause(field string, depth int) Node {
	p.space()
	at := p.at
	switch {
	case depth > MaxDepth:
		p.fail(at, "nested too deeply")
	case p.at >= len(p.s), p.operator("||", "OR"), p.operator("&&", "AND"):
		p.fail(at, "a term is missing")
	case p.operator("!", "NOT"), p.take("-"):
		return Not{p.clause(field, depth+1)}
	case p.take("+"):
		return p.clause(field, depth+1)
	case p.take("("):
		return p.group(field, at, depth)
	default:
		n := p.term(field, depth)
		p.boost()
		return n
	}
	return nil
}

// group reads on after an opening parenthesis at open.
func (p *parser) group(field string, open, depth int) Node {
	n := p.or(field, depth+1)
	if p.err == nil && !p.take(")") {
		p.fail(open, "a parenthesis does not close")
	}
	p.boost()
	return n
}

func (p *parser) boost() {
	at := p.at
	if !p.take("^") {
		return
	}
	start := p.at
	for p.at < len(p.s) && strings.IndexByte("0123456789.", p.s[p.at]) >= 0 {
		p.at++
	}
	if _, ok := ParseNumber(p.s[start:p.at]); !ok {
		p.fail(at, "a boost is no number")
	}
}

// term reads a value, with or without a field.
func (p *parser) term(field string, depth int) Node {
	at := p.at
	if p.peek() == '"' {
		return p.phrase(field)
	}
	if strings.ContainsRune("[{<>", p.peek()) {
		return p.value(field, depth)
	}
	w := p.word(true)
	if p.err != nil {
		return nil
	}
	switch p.peek() {
	case ':', '=':
		p.at++
	case '<', '>':
	default:
		return p.finish(field, w, at)
	}
	switch {
	case w.raw == "*" && p.s[p.at-1] == ':' && p.take("*"):
		p.count(at, 1)
		return All{}
	case w.wild:
		p.fail(at, "a field's name holds * or ?")
	case w.text == "":
		p.fail(at, "a field has no name")
	case len(w.text) > MaxField || strings.ContainsRune(w.text, 0):
		p.fail(at, "a field's name is too long, or holds NUL")
	default:
		return p.value(w.text, depth)
	}
	return nil
}

// value reads what stands behind a field.
func (p *parser) value(field string, depth int) Node {
	at := p.at
	switch {
	case p.at >= len(p.s) || unicode.IsSpace(p.peek()) || p.peek() == ')':
		p.fail(at, "a field has no value")
	case p.peek() == '"':
		return p.phrase(field)
	case p.take("("):
		if depth >= MaxDepth {
			p.fail(at, "nested too deeply")
			return nil
		}
		return p.group(field, at, depth)
	case p.take("["):
		return p.between(field, at, false)
	case p.take("{"):
		return p.between(field, at, true)
	case p.take(">="):
		return p.compare(field, at, Range{High: Bound{Open: true}}, false)
	case p.take(">"):
		return p.compare(field, at, Range{High: Bound{Open: true}, Low: Bound{Exclusive: true}}, false)
	case p.take("<="):
		return p.compare(field, at, Range{Low: Bound{Open: true}}, true)
	case p.take("<"):
		return p.compare(field, at, Range{Low: Bound{Open: true}, High: Bound{Exclusive: true}}, true)
	default:
		w := p.word(false)
		if p.err == nil {
			return p.finish(field, w, at)
		}
	}
	return nil
}

// word is a word as it was read.
type word struct {
	text string // without escapes
	raw  string // as Pattern.Text has it
	wild bool   // has "*" or "?"
}

// word reads up to a delimiter; ":", "=", "<" and ">" are such where a field may stand.
func (p *parser) word(field bool) (w word) {
	var text, raw strings.Builder
	start := p.at
	for p.at < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.at:])
		if unicode.IsSpace(r) || strings.ContainsRune("()^~", r) || field && strings.ContainsRune(":=<>", r) {
			break
		}
		switch r {
		case '"', '[', ']', '{', '}':
			p.fail(p.at, `a mark within a word: put \ before it`)
			return w
		case '*', '?':
			w.wild = true
			raw.WriteRune(r)
			text.WriteRune(r)
			p.at += n
			continue
		case '\\':
			if p.at += n; p.at >= len(p.s) {
				p.fail(p.at-1, `nothing follows \`)
				return w
			}
			r, n = utf8.DecodeRuneInString(p.s[p.at:])
		}
		if strings.ContainsRune(`*?\`, r) {
			raw.WriteByte('\\')
		}
		raw.WriteRune(r)
		text.WriteRune(r)
		p.at += n
	}
	if p.at == start && !(field && strings.ContainsRune(":=<>", p.peek())) {
		p.fail(start, "a term is missing")
	}
	w.text, w.raw = text.String(), raw.String()
	return w
}

// finish makes a node of a word that began at at.
func (p *parser) finish(field string, w word, at int) Node {
	words := Words(w.text)
	switch {
	case w.raw == "*":
		p.count(at, 1)
		if p.peek() == '~' {
			p.fail(p.at, "a pattern cannot be fuzzy")
		}
		if field == "" {
			return All{}
		}
		return Exists{field}
	case w.wild:
		p.count(at, 1)
		if p.peek() == '~' {
			p.fail(p.at, "a pattern cannot be fuzzy")
		}
		if strings.Trim(w.raw, "*?") == "" && field == "" {
			p.fail(at, "a pattern holds nothing but * and ?")
		}
		return Pattern{field, w.raw}
	case field == "" && len(words) == 0:
		p.fail(at, "a word has no letters or digits")
		return nil
	}
	p.count(at, len(words))
	tilde := p.at
	if !p.take("~") {
		return Term{Field: field, Text: w.text}
	}
	d, ok := p.digits(MaxDistance)
	switch {
	case !ok:
		p.fail(tilde, "a word's distance is not 0, 1 or 2")
	case len(words) != 1 || words[0] != Fold(w.text):
		p.fail(tilde, "only a single word can be fuzzy")
	case d == 0:
		return Term{Field: field, Text: w.text}
	}
	return Fuzzy{field, w.text, d}
}

// digits reads a number up to most, which is what no digits mean.
func (p *parser) digits(most int) (int, bool) {
	start := p.at
	for p.at < len(p.s) && strings.IndexByte("0123456789.", p.s[p.at]) >= 0 {
		p.at++
	}
	if start == p.at {
		return most, true
	}
	n, err := strconv.Atoi(p.s[start:p.at])
	return n, err == nil && n <= most
}

func (p *parser) count(at, n int) {
	if p.terms += max(n, 1); p.terms > MaxTerms {
		p.fail(at, "too many terms")
	}
}

func (p *parser) phrase(field string) Node {
	at := p.at
	text := p.quoted()
	if p.err != nil {
		return nil
	}
	words := len(Words(text))
	if words == 0 && field == "" {
		p.fail(at, "a phrase has no words")
	}
	p.count(at, words)
	n := Term{Field: field, Text: text, Quoted: true}
	if tilde := p.at; p.take("~") {
		slop, ok := p.digits(MaxSlop)
		if !ok || p.at == tilde+1 {
			p.fail(tilde, fmt.Sprintf("a phrase's distance is not 0 to %d", MaxSlop))
		}
		n.Slop = slop
	}
	if r := p.peek(); p.at < len(p.s) && !unicode.IsSpace(r) && r != ')' && r != '^' {
		p.fail(p.at, "no space behind a quotation")
	}
	return n
}

// quoted reads a quotation, which is next.
func (p *parser) quoted() string {
	var b strings.Builder
	start, escaped := p.at, false
	for i, r := range p.s[start+1:] {
		switch {
		case escaped:
			escaped = false
			b.WriteRune(r)
		case r == '\\':
			escaped = true
		case r == '"':
			p.at = start + 1 + i + 1
			return b.String()
		default:
			b.WriteRune(r)
		}
	}
	p.fail(start, "a quotation does not end")
	return ""
}

// between reads a range on after its opening bracket at open.
func (p *parser) between(field string, open int, exclusive bool) Node {
	r := Range{Field: field, Low: p.bound()}
	r.Low.Exclusive = exclusive && !r.Low.Open
	p.space()
	if at := p.at; p.err == nil && !p.take("TO") {
		p.fail(at, "a range lacks TO")
	}
	r.High = p.bound()
	p.space()
	switch at := p.at; {
	case p.err != nil:
		return nil
	case p.take("]"):
	case p.take("}"):
		r.High.Exclusive = !r.High.Open
	default:
		p.fail(at, "a range does not end")
	}
	return p.ranged(r, open)
}

// compare reads the bound of a comparison at at.
func (p *parser) compare(field string, at int, r Range, high bool) Node {
	p.space()
	b := p.bound()
	if b.Open {
		p.fail(at, "a comparison needs a value")
	}
	r.Field = field
	if high {
		b.Exclusive = r.High.Exclusive
		r.High = b
	} else {
		b.Exclusive = r.Low.Exclusive
		r.Low = b
	}
	return p.ranged(r, at)
}

func (p *parser) ranged(r Range, at int) Node {
	p.count(at, 1)
	switch {
	case r.Field == "":
		p.fail(at, "a range needs a field")
	case r.Low.Open && r.High.Open:
		return Exists{r.Field}
	}
	return r
}

// bound reads one end of a range.
func (p *parser) bound() (b Bound) {
	p.space()
	if p.err != nil {
		return b
	}
	if p.peek() == '"' {
		b.Text = p.quoted()
		return b
	}
	var text strings.Builder
	start, plain := p.at, true
	for p.at < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.at:])
		if unicode.IsSpace(r) || strings.ContainsRune(`[]{}()"`, r) {
			break
		}
		if r == '\\' {
			if p.at += n; p.at >= len(p.s) {
				p.fail(p.at-1, `nothing follows \`)
				return b
			}
			r, n = utf8.DecodeRuneInString(p.s[p.at:])
			plain = false
		}
		text.WriteRune(r)
		p.at += n
	}
	if b.Text = text.String(); p.at == start {
		p.fail(start, "a range's bound is missing")
	} else if b.Text == "*" && plain {
		return Bound{Open: true}
	}
	return b
}
