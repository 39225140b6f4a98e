package seal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Match says what an [Index] finds. All but Equal are for one attribute that is not unique, and cost as many tags for
// each value as is said here. They work with any server of encrypted data vaults, but other clients do not know them.
// Values of another kind are passed over. doc/sealing.md says what they reveal.
type Match uint8

// The matches. Those behind Prefixes find what is within a [Range]; an attribute has at most one of them.
const (
	Equal    Match = iota // values that are equal, as all clients have it
	Prefixes              // text that begins with a [Prefix], whatever its case: a tag for each character up to Depth
	Integers              // integers of Depth bits: Depth tags
	Numbers               // numbers as IEEE 754 doubles: 64 tags
	Times                 // RFC 3339 texts, to the nanosecond, from 1678 to 2262; dates are midnight UTC: 64 tags
	Days                  // RFC 3339 texts and dates, to the day in UTC: 23 tags
)

// Bounds on the Depth of an [Index].
const (
	DefaultPrefix = 16 // characters
	MaxPrefix     = 64
	MaxBits       = 64 // and the default
	dayBits       = 23 // more days than RFC 3339 has
)

// A Prefix in a filter of [Blinder.Equals] matches the texts that begin with it, under simple case folding. It has from
// one character to as many as the index is deep.
type Prefix string

// A Range in a filter of [Blinder.Equals] matches the values between two bounds. A bound that is nil is none. For
// Integers and Numbers a bound is any Go integer or float, for Times and Days a [time.Time] or a text as the values
// are; a bound for Days is the day in UTC that it falls on.
type Range struct {
	From, To    any
	After, Till bool // whether From, and To, are left out
}

// reach is an Index that finds more than equal values, made ready.
type reach struct {
	path  string
	keys  []string
	match Match
	depth int
	name  hash
}

// interval is the numbers from start<<level to start<<level + 1<<level - 1.
type interval struct {
	level uint8
	start uint64
}

func (m Match) label() string {
	return [...]string{Prefixes: "prefix", Integers: "integer", Numbers: "number", Times: "time", Days: "day"}[m]
}

// newReach makes an index ready. Its path has been looked at.
func newReach(x Index, keys []string) (r reach, err error) {
	if len(x.Attributes) != 1 || x.Unique || x.Match > Days {
		return r, errors.New("such an index has one attribute, which is not unique")
	}
	r = reach{path: x.Attributes[0], keys: keys, match: x.Match, depth: x.Depth}
	standard, most := MaxBits, MaxBits
	switch {
	case r.match == Prefixes:
		standard, most = DefaultPrefix, MaxPrefix
	case r.match == Days:
		standard = dayBits
	}
	if r.depth == 0 {
		r.depth = standard
	}
	if r.depth < 1 || r.depth > most || r.depth != standard && r.match != Prefixes && r.match != Integers {
		return r, errors.New("depth out of range")
	}
	r.name = sha256.Sum256([]byte("coffer " + r.match.label() + " 1\x00" + r.path))
	return r, nil
}

func (r *reach) ordered() bool { return r.match > Prefixes }

// reachOf returns the index for the path that finds prefixes, or else ranges.
func (b *Blinder) reachOf(path string, prefixes bool) (*reach, bool) {
	at := slices.IndexFunc(b.reaches, func(r reach) bool { return r.path == path && r.ordered() != prefixes })
	if at < 0 {
		return nil, false
	}
	return &b.reaches[at], true
}

// appendTokens adds the attributes for what the reaches find in the document.
func (b *Blinder) appendTokens(ctx context.Context, to []edv.Attribute, document map[string]any) (
	[]edv.Attribute, error) {
	for _, r := range b.reaches {
		found, ok := follow(document, r.keys)
		if !ok {
			continue
		}
		elements, ok := found.([]any)
		if !ok {
			elements = []any{found}
		}
		seen := map[hash]bool{}
		for _, e := range elements {
			for _, v := range r.tokens(e) {
				if seen[v] {
					continue
				}
				seen[v] = true
				if len(to) == coffer.MaxTags {
					return nil, coffer.Errorf("index", coffer.Exhausted, "too many values")
				}
				a, err := b.token(ctx, r.name, v)
				if err != nil {
					return nil, err
				}
				to = append(to, a)
			}
		}
	}
	return to, nil
}

// token blinds a token, just as the value of a simple index is blinded.
func (b *Blinder) token(ctx context.Context, name, value hash) (a edv.Attribute, err error) {
	if a.Name, err = b.blindName(ctx, name); err != nil {
		return a, err
	}
	salted := sha256.Sum256(append(name[:], value[:]...))
	a.Value, err = b.mac(ctx, salted[:])
	return a, err
}

// tokens returns what a value is found by, hashed; nothing for a value of another kind.
func (r *reach) tokens(v any) (out []hash) {
	if r.match == Prefixes {
		text, ok := v.(string)
		if !ok {
			return nil
		}
		folded, n := make([]byte, 0, len(text)), 0
		for _, c := range text {
			if n++; n > r.depth {
				break
			}
			folded = utf8.AppendRune(folded, fold(c))
			out = append(out, sha256.Sum256(folded))
		}
		return out
	}
	u, ok := r.point(v)
	if !ok {
		return nil
	}
	for level := range uint8(r.depth) {
		out = append(out, interval{level, u >> level}.hash())
	}
	return out
}

func (i interval) hash() hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte{i.level}, i.start))
}

// fold returns the least of the characters that differ from c in case only.
func fold(c rune) rune {
	least := c
	for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

// domain returns the least and the greatest number that values are mapped to.
func (r *reach) domain() (least, greatest uint64) {
	switch r.match {
	case Numbers:
		return orderFloat(-math.MaxFloat64), orderFloat(math.MaxFloat64)
	case Integers, Days:
		half := uint64(1) << (r.depth - 1)
		return orderInt(0) - half, orderInt(0) + (half - 1)
	}
	return 0, math.MaxUint64
}

// orderInt and orderFloat map numbers to such that have the same order. Minus zero is zero.
func orderInt(v int64) uint64 { return uint64(v) ^ 1<<63 }

func orderFloat(f float64) uint64 {
	b := math.Float64bits(f + 0) // minus zero becomes zero
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

// point returns the number that a value of a document is mapped to, and false for a value of another kind. Of numbers
// it wants the JSON for Integers, and for Numbers a float64.
func (r *reach) point(v any) (u uint64, ok bool) {
	switch v := v.(type) {
	case jsontext.Value:
		u, ok = integerPoint(string(v))
		if r.match == Numbers {
			f, err := strconv.ParseFloat(string(v), 64)
			u, ok = orderFloat(f), err == nil
		}
		ok = ok && (r.match == Integers || r.match == Numbers)
	case string:
		t, parsed := parseTime(v)
		if !parsed {
			return 0, false
		}
		switch r.match {
		case Times:
			u, ok = orderInt(t.UnixNano()), !t.Before(firstTime) && !t.After(lastTime)
		case Days:
			u, ok = orderInt(dayOf(t)), true
		}
	}
	least, greatest := r.domain()
	return u, ok && u >= least && u <= greatest
}

// integerPoint returns the point of a JSON number that is an integer, as 12, 12.0 and 1.2e1 are.
func integerPoint(text string) (uint64, bool) {
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return orderInt(v), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return orderInt(int64(f)), true
}

// The times that have an int64 of nanoseconds.
var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

func parseTime(text string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, true
	}
	t, err := time.Parse(time.DateOnly, text)
	return t, err == nil
}

// dayOf counts days in UTC from 1970.
func dayOf(t time.Time) int64 {
	s := t.Unix()
	return (s - ((s%86400)+86400)%86400) / 86400
}

// bounds returns the numbers that the range selects, from lo to hi; false when there are none.
func (r *reach) bounds(q Range) (lo, hi uint64, ok bool, err error) {
	lo, hi = r.domain()
	least, greatest := lo, hi
	if q.From != nil {
		at, exact, below, err := r.floor(q.From)
		switch {
		case err != nil:
			return 0, 0, false, err
		case below:
		case exact && !q.After:
			lo = at
		case at == greatest:
			return 0, 0, false, nil
		default:
			lo = at + 1
		}
	}
	if q.To != nil {
		at, exact, below, err := r.floor(q.To)
		switch {
		case err != nil:
			return 0, 0, false, err
		case below || exact && q.Till && at == least:
			return 0, 0, false, nil
		case exact && q.Till:
			hi = at - 1
		default:
			hi = at
		}
	}
	return lo, hi, lo <= hi, nil
}

// floor returns the greatest number whose value is not above the bound, and whether the two are equal; below when all
// values are above the bound.
func (r *reach) floor(bound any) (at uint64, exact, below bool, err error) {
	least, greatest := r.domain()
	switch r.match {
	case Times, Days:
		t, ok := bound.(time.Time)
		if text, isText := bound.(string); isText {
			t, ok = parseTime(text)
		}
		switch {
		case !ok:
			return 0, false, false, errBound
		case r.match == Days && (t.Year() < -1 || t.Year() > 10000): // counting days could overflow
			return greatest, false, t.Year() < 0, nil
		case r.match == Days:
			at = orderInt(dayOf(t))
		case t.Before(firstTime):
			return 0, false, true, nil
		case t.After(lastTime):
			return greatest, false, false, nil
		default:
			at = orderInt(t.UnixNano())
		}
		return at, true, false, nil
	}
	n, infinite, err := number(bound)
	switch {
	case err != nil:
		return 0, false, false, err
	case infinite != 0:
		return greatest, false, infinite < 0, nil
	case r.match == Integers:
		i, accuracy := n.Int64()
		if n.IsInt() && accuracy != big.Exact { // beyond int64
			return greatest, false, n.Sign() < 0, nil
		}
		exact = accuracy == big.Exact
		if !exact && n.Sign() < 0 { // it is cut off towards zero
			i--
		}
		if v := orderInt(i); v >= least && v <= greatest {
			return v, exact, false, nil
		}
		return greatest, false, orderInt(i) < least, nil
	}
	f, accuracy := n.Float64()
	if accuracy == big.Above {
		f = math.Nextafter(f, math.Inf(-1))
	}
	return orderFloat(f), accuracy == big.Exact, false, nil
}

var errBound = errors.New("bound is of another kind than the values")

// number returns a Go number exactly; for an infinite one its sign instead.
func number(bound any) (n *big.Float, infinite int, err error) {
	n = new(big.Float)
	switch v := reflect.ValueOf(bound); {
	case v.CanInt():
		return n.SetInt64(v.Int()), 0, nil
	case v.CanUint():
		return n.SetUint64(v.Uint()), 0, nil
	case v.CanFloat() && math.IsInf(v.Float(), 0):
		return nil, int(math.Copysign(1, v.Float())), nil
	case v.CanFloat() && !math.IsNaN(v.Float()):
		return n.SetFloat64(v.Float()), 0, nil
	}
	return nil, 0, errBound
}

// cover returns the fewest intervals, of levels below depth, that hold just the numbers from lo to hi: at most 2 of
// each level.
func cover(lo, hi uint64, depth int) (out []interval) {
	for {
		level := min(bits.TrailingZeros64(lo), depth-1)
		for level > 0 && hi-lo < 1<<level-1 {
			level--
		}
		out = append(out, interval{uint8(level), lo >> level})
		last := lo + (1<<level - 1)
		if last == hi {
			return out
		}
		lo = last + 1
	}
}

// query returns the tokens, hashed, one of which a value has that matches: a Prefix or a Range.
func (r *reach) query(v any) ([]hash, error) {
	switch v := v.(type) {
	case Prefix:
		n := utf8.RuneCountInString(string(v))
		if n == 0 || n > r.depth || !utf8.ValidString(string(v)) {
			return nil, errors.New("prefix is empty or longer than what is indexed")
		}
		return []hash{sha256.Sum256([]byte(strings.Map(fold, string(v))))}, nil
	case Range:
		lo, hi, ok, err := r.bounds(v)
		if err != nil || !ok {
			return nil, err
		}
		var out []hash
		for _, i := range cover(lo, hi, r.depth) {
			out = append(out, i.hash())
		}
		return out, nil
	}
	return nil, errBound
}

// alternatives returns, for each Prefix and Range of a filter, the attributes one of which a document must have.
func (b *Blinder) alternatives(ctx context.Context, filter map[string]any) ([][]edv.Attribute, error) {
	var out [][]edv.Attribute
	for path, v := range filter {
		_, prefix := v.(Prefix)
		if _, ok := v.(Range); !ok && !prefix {
			continue
		}
		r, ok := b.reachOf(path, prefix)
		if !ok {
			return nil, coffer.Errorf("query", coffer.Invalid, "no index finds this")
		}
		hashes, err := r.query(v)
		if err != nil {
			return nil, coffer.E("query", coffer.Invalid, err)
		}
		attributes := []edv.Attribute{}
		for _, h := range hashes {
			a, err := b.token(ctx, r.name, h)
			if err != nil {
				return nil, err
			}
			attributes = append(attributes, a)
		}
		out = append(out, attributes)
	}
	return out, nil
}

// exactly is a JSON value whose numbers stay as they are written, as [jsontext.Value].
type exactly struct{ value any }

// UnmarshalJSONFrom reads the next value.
func (e *exactly) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch d.PeekKind() {
	case '{':
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		m := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return err
			}
			key := name.String() // before the token goes
			var member exactly
			if err := member.UnmarshalJSONFrom(d); err != nil {
				return err
			}
			m[key] = member.value
		}
		e.value = m
		_, err := d.ReadToken()
		return err
	case '[':
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		a := []any{}
		for d.PeekKind() != ']' {
			var element exactly
			if err := element.UnmarshalJSONFrom(d); err != nil {
				return err
			}
			a = append(a, element.value)
		}
		e.value = a
		_, err := d.ReadToken()
		return err
	case '"':
		text, err := d.ReadToken()
		e.value = text.String()
		return err
	}
	v, err := d.ReadValue()
	if v.Kind() == '0' {
		e.value = v.Clone()
	}
	return err
}

// exact returns the document as follow wants it, with numbers as they are written.
func exact(p Plain) (map[string]any, error) {
	document := map[string]any{}
	for name, raw := range map[string][]byte{"content": p.Content, "meta": p.Meta} {
		if len(raw) == 0 {
			continue
		}
		var e exactly
		if err := jose.Decode(raw, &e); err != nil {
			return nil, coffer.E("index", coffer.Invalid, err)
		}
		document[name] = e.value
	}
	return document, nil
}
