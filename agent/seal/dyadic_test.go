package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
)

// matches is how a server of encrypted data vaults decides (EDV draft, section "Querying"): any filter, all of its
// names. An empty filter matches nothing.
func matches(q coffer.Query, tags []coffer.Tag) bool { return matchesAny(q, indexOf(tags)) }

// indexOf returns tags as a server indexes them: by key, name and value.
func indexOf(tags []coffer.Tag) map[[3]string]bool {
	index := map[[3]string]bool{}
	for _, t := range tags {
		index[[3]string{t.Key, t.Name, t.Value}] = true
	}
	return index
}

func matchesAny(q coffer.Query, index map[[3]string]bool) bool {
	for _, f := range q.Equals {
		all := len(f) > 0
		for name, value := range f {
			all = all && index[[3]string{q.Index, name, value}]
		}
		if all {
			return true
		}
	}
	return false
}

// published returns the tags that a vault has for a content.
func published(t testing.TB, b *Blinder, content string) []coffer.Tag {
	t.Helper()
	e, err := b.Entry(t.Context(), Plain{Content: json.RawMessage(content)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return edv.Tags([]edv.Entry{e})
}

func mustEquals(t testing.TB, b *Blinder, filters ...map[string]any) coffer.Query {
	t.Helper()
	q, err := b.Equals(t.Context(), filters...)
	if err != nil {
		t.Fatalf("%v: %v", filters, err)
	}
	return q
}

// within is the model: whether v is in the range, its bounds being of the same kind.
func within[T any](q Range, v T, compare func(a, b T) int) bool {
	if from, ok := q.From.(T); ok && (compare(v, from) < 0 || q.After && compare(v, from) == 0) {
		return false
	}
	if to, ok := q.To.(T); ok && (compare(v, to) > 0 || q.Till && compare(v, to) == 0) {
		return false
	}
	return true
}

// try publishes some values and asks for many ranges.
func try[T any](t *testing.T, b *Blinder, r *rand.Rand, asks int, value func() T, text func(T) string,
	compare func(x, y T) int) {
	t.Helper()
	var values []T
	var indexes []map[[3]string]bool
	for range 30 {
		v := value()
		values, indexes = append(values, v), append(indexes, indexOf(published(t, b, `{"v":`+text(v)+`}`)))
	}
	hits := 0
	for range asks {
		q := Range{After: r.IntN(2) == 0, Till: r.IntN(2) == 0}
		near := func() any { // one of the values, or another
			switch r.IntN(5) {
			case 0:
				return nil
			case 1, 2:
				return values[r.IntN(len(values))]
			}
			return value()
		}
		q.From, q.To = near(), near()
		query := mustEquals(t, b, map[string]any{"content.v": q})
		if len(query.Equals) > 128 {
			t.Fatalf("%+v needs %d filters", q, len(query.Equals))
		}
		for i, v := range values {
			want := within(q, v, compare)
			if matchesAny(query, indexes[i]) != want {
				t.Fatalf("%v in %+v: matched %v", v, q, !want)
			}
			if want {
				hits++
			}
		}
	}
	if hits < asks {
		t.Errorf("only %d matches: the test tests little", hits)
	}
}

func compareInts(x, y int64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestRangesOfIntegers(t *testing.T) {
	ring := newRing(t, "alice")
	for _, depth := range []int{0, 8, 33} {
		t.Run(strconv.Itoa(depth), func(t *testing.T) {
			r := seeded(t)
			b := mustBlind(t, ring, Index{Attributes: []string{"content.v"}, Match: Integers, Depth: depth})
			bitsOf := depth
			if depth == 0 {
				bitsOf = 64
			}
			value := func() int64 {
				v := int64(r.Uint64()) >> (64 - bitsOf + r.IntN(bitsOf))
				switch r.IntN(8) {
				case 0:
					v = math.MinInt64 >> (64 - bitsOf)
				case 1:
					v = math.MaxInt64 >> (64 - bitsOf)
				}
				return v
			}
			try(t, b, r, 1500, value, func(v int64) string { return strconv.FormatInt(v, 10) }, compareInts)
		})
	}
}

func TestRangesOfNumbers(t *testing.T) {
	r := seeded(t)
	b := mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.v"}, Match: Numbers})
	special := []float64{0, math.Copysign(0, -1), 1, -1, math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324, 0.1,
		1 << 53}
	value := func() float64 {
		switch r.IntN(3) {
		case 0:
			return special[r.IntN(len(special))]
		case 1:
			return float64(r.IntN(2000)-1000) / 8
		}
		for {
			if f := math.Float64frombits(r.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
				return f
			}
		}
	}
	text := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	try(t, b, r, 2000, value, text, func(x, y float64) int {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}

func TestRangesOfTimes(t *testing.T) {
	r := seeded(t)
	value := func() time.Time {
		t := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(1 << r.IntN(60))))
		return t.In(time.FixedZone("", r.IntN(24)*3600-12*3600))
	}
	text := func(t time.Time) string { return strconv.Quote(t.Format(time.RFC3339Nano)) }
	b := mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.v"}, Match: Times})
	try(t, b, r, 1500, value, text, time.Time.Compare)
	b = mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.v"}, Match: Days})
	day := func() time.Time {
		return time.Date(1900+r.IntN(200), 1, r.IntN(366), 0, 0, 0, 0, time.UTC)
	}
	try(t, b, r, 1500, day, func(t time.Time) string { return strconv.Quote(t.Format(time.DateOnly)) },
		time.Time.Compare)
}

// What is at the edges, and what is of another kind.
func TestRangeEdges(t *testing.T) {
	type x = map[string]bool // value as JSON: whether it is found
	never := func(texts ...string) x {
		out := x{}
		for _, s := range texts {
			out[s] = false
		}
		return out
	}
	inf := math.Inf(1)
	at := func(s string) time.Time {
		v, ok := parseTime(s)
		if !ok {
			t.Fatal(s)
		}
		return v
	}
	for _, test := range []struct {
		match Match
		depth int
		q     Range
		want  x
	}{
		{Integers, 0, Range{}, x{"1": true, "-1": true, "9223372036854775807": true, "-9223372036854775808": true,
			"1.0":  true,
			"12e1": true, "1.5": false, "9223372036854775808": false, "1e30": false, `"1"`: false, "null": false,
			"true": false,
			"[]":   false, "{}": false, "[5]": true, `["a",5]`: true}},
		{Integers, 0, Range{From: uint64(math.MaxUint64)}, never("1", "9223372036854775807")},
		{Integers, 0, Range{To: uint64(math.MaxUint64)}, x{"1": true, "9223372036854775807": true}},
		{Integers, 0, Range{From: -inf, To: inf}, x{"-9223372036854775808": true, "9223372036854775807": true}},
		{Integers, 0, Range{From: inf}, never("9223372036854775807")},
		{Integers, 0, Range{To: -inf}, never("-9223372036854775808")},
		{Integers, 0, Range{From: math.MaxInt64, After: true}, never("9223372036854775807")},
		{Integers, 0, Range{To: math.MinInt64, Till: true}, never("-9223372036854775808")},
		{Integers, 0, Range{From: 9007199254740992, After: true}, x{"9007199254740993": true,
			"9007199254740992": false}},
		{Integers, 0, Range{From: 1.5, To: 2.5}, x{"1": false, "2": true, "3": false}},
		{Integers, 0, Range{From: -2.5, To: -1.5}, x{"-1": false, "-2": true, "-3": false}},
		{Integers, 0, Range{From: 1.5, To: 2.5, After: true, Till: true}, x{"1": false, "2": true, "3": false}},
		{Integers, 0, Range{From: 5, To: 4}, never("4", "5")},
		{Integers, 0, Range{From: 5, To: 5}, x{"4": false, "5": true, "6": false}},
		{Integers, 0, Range{From: 5, To: 5, Till: true}, never("4", "5")},
		{Integers, 0, Range{From: 5, To: 7}, x{"[1,100]": false, "[1,6,100]": true}},
		{Integers, 4, Range{}, x{"-8": true, "7": true, "8": false, "-9": false}},
		{Integers, 4, Range{From: -100, To: 100}, x{"-8": true, "7": true, "8": false}},
		{Integers, 4, Range{From: 100}, never("7")},
		{Integers, 4, Range{To: -100}, never("-8")},
		{Integers, 1, Range{}, x{"-1": true, "0": true, "1": false}},
		{Numbers, 0, Range{}, x{"1": true, "-1e300": true, `"1"`: false, "true": false, "-0": true}},
		{Numbers, 0, Range{From: 0, To: 0}, x{"0": true, "-0": true, "-0.0": true, "5e-324": false}},
		{Numbers, 0, Range{From: inf}, never("1.7976931348623157e308")},
		{Numbers, 0, Range{From: -inf, To: inf}, x{"1.7976931348623157e308": true, "-1.7976931348623157e308": true}},
		{Numbers, 0, Range{From: int64(1<<53 + 1)}, x{"9007199254740992": false, "9007199254740994": true}},
		{Numbers, 0, Range{To: int64(1<<53 + 1)}, x{"9007199254740992": true, "9007199254740994": false}},
		{Times, 0, Range{From: at("2026-01-01"), To: at("2026-01-02"), Till: true}, x{`"2026-01-01"`: true,
			`"2026-01-02"`:                     false,
			`"2026-01-01T23:59:59.999999999Z"`: true, `"2026-01-02T00:30:00+01:00"`: true, `"2026"`: false, "1": false,
			`"1600-01-01"`: false, `"2026-01-01 00:00"`: false}},
		{Times, 0, Range{From: "1000-01-01", To: "9999-01-01"}, x{`"2026-01-01"`: true, `"2262-04-11"`: true,
			`"2263-01-01"`: false}},
		{Times, 0, Range{From: "9999-01-01"}, never(`"2026-01-01"`, `"2262-04-11T23:47:16.854775807Z"`)},
		{Times, 0, Range{To: "1000-01-01"}, never(`"2026-01-01"`, `"1677-09-21T00:12:43.145224192Z"`)},
		{Days, 0, Range{From: at("2026-01-01T15:00:00Z"), To: at("2026-01-02T01:00:00Z")}, x{`"2026-01-01"`: true,
			`"2025-12-31T23:59:59Z"`: false, `"2026-01-03T00:30:00+01:00"`: true, `"2026-01-03"`: false}},
		{Days, 0, Range{}, x{`"0000-01-01"`: true, `"9999-12-31"`: true, `"1969-12-31"`: true}},
		{Days, 0, Range{From: time.Unix(1<<60, 0)}, never(`"9999-12-31"`)},
		{Days, 0, Range{To: time.Unix(-1<<60, 0)}, never(`"0000-01-01"`)},
		{Days, 0, Range{From: "1969-12-31", To: "1969-12-31"}, x{`"1969-12-31T23:59:59Z"`: true, `"1970-01-01"`: false,
			`"1969-12-30T23:59:59Z"`: false}},
	} {
		b := mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.v"}, Match: test.match,
			Depth: test.depth})
		q := mustEquals(t, b, map[string]any{"content.v": test.q})
		if len(q.Equals) == 0 {
			t.Errorf("%+v finds everything", test.q)
		}
		for text, want := range test.want {
			if got := matches(q, published(t, b, `{"v":`+text+`}`)); got != want {
				t.Errorf("%s: %s in %+v: %v", test.match.label(), text, test.q, got)
			}
		}
	}
}

func TestPrefixes(t *testing.T) {
	b := mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.v"}, Match: Prefixes, Depth: 5})
	for _, test := range []struct {
		text, prefix string
		want         bool
	}{
		{`"Straße"`, "STRA", true}, {`"Straße"`, "straß", true}, {`"Straße"`, "strass"[:5], false},
		{`"Ärger"`, "är", true}, {`"ΣΊΣΥΦΟΣ"`, "ςίσ", true}, {`"日本語"`, "日本",
			true}, {`"日本語"`, "本", false},
		{`"abcdefgh"`, "abcde", true}, {`"ab"`, "abc", false}, {`"ab"`, "ab", true}, {`"a"`, "b", false},
		{`["x","Abc"]`, "ab", true}, {`["x",["Abc"]]`, "ab", false}, {`1`, "1", false}, {`""`, "a", false},
		{`"a\u0000b"`, "a\x00", true}, {`"🎈🎉"`, "🎈", true},
	} {
		q := mustEquals(t, b, map[string]any{"content.v": Prefix(test.prefix)})
		if got := matches(q, published(t, b, `{"v":`+test.text+`}`)); got != test.want || len(q.Equals) != 1 {
			t.Errorf("%s begins with %q: %v", test.text, test.prefix, got)
		}
	}
	for _, p := range []Prefix{"", "abcdef", "\xff"} {
		if _, err := b.Equals(t.Context(), map[string]any{"content.v": p}); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%q: %v", p, err)
		}
	}
	r := seeded(t)
	word := func() string {
		var s strings.Builder
		for range 1 + r.IntN(5) {
			s.WriteRune([]rune("aAbBäÄ")[r.IntN(6)])
		}
		return s.String()
	}
	hits := 0
	for range 3000 {
		text, prefix := word(), word()
		want := strings.HasPrefix(strings.ToLower(text), strings.ToLower(prefix))
		q := mustEquals(t, b, map[string]any{"content.v": Prefix(prefix)})
		if matches(q, published(t, b, `{"v":"`+text+`"}`)) != want {
			t.Fatalf("%s begins with %s: %v", text, prefix, !want)
		}
		if want {
			hits++
		}
	}
	if hits < 100 {
		t.Errorf("%d matches", hits)
	}
}

// Ranges, prefixes and equal values in one filter are all wanted; filters are alternatives.
func TestMixedFilters(t *testing.T) {
	b := mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.kind"}},
		Index{Attributes: []string{"content.kind"}, Match: Prefixes},
		Index{Attributes: []string{"content.n"}, Match: Integers, Depth: 16},
		Index{Attributes: []string{"content.m"}, Match: Integers, Depth: 16},
		Index{Attributes: []string{"content.n"}})
	tags := published(t, b, `{"kind":"Invoice","n":[10,30],"m":20}`)
	for _, test := range []struct {
		filters []map[string]any
		want    bool
	}{
		{[]map[string]any{{"content.kind": "Invoice", "content.n": Range{From: 5, To: 15}}}, true},
		{[]map[string]any{{"content.kind": "invoice", "content.n": Range{From: 5, To: 15}}}, false},
		{[]map[string]any{{"content.kind": Prefix("invo"), "content.n": Range{From: 5, To: 15}}}, true},
		{[]map[string]any{{"content.kind": Prefix("invo"), "content.n": Range{From: 11, To: 15}}}, false},
		{[]map[string]any{{"content.n": Range{From: 9, To: 11}, "content.m": Range{From: 19, To: 21}}}, true},
		{[]map[string]any{{"content.n": Range{From: 9, To: 11}, "content.m": Range{From: 21, To: 29}}}, false},
		{[]map[string]any{{"content.n": Range{From: 9, To: 8}, "content.kind": "Invoice"}}, false},
		{[]map[string]any{{"content.n": Range{From: 9, To: 8}}, {"content.n": 30}}, true},
		{[]map[string]any{{"content.n": Range{From: 9, To: 8}}}, false},
	} {
		if got := matches(mustEquals(t, b, test.filters...), tags); got != test.want {
			t.Errorf("%v: %v", test.filters, got)
		}
	}
	for _, f := range []map[string]any{
		{"content.kind": Range{}}, {"content.n": Prefix("a")}, {"content.x": Range{}}, {"content.n": Range{From: "1"}},
		{"content.n": Range{To: math.NaN()}}, {"content.n": Range{From: time.Now()}}, {"content.n": Range{To: true}},
	} {
		if _, err := b.Equals(t.Context(), f); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%v: %v", f, err)
		}
	}
	wide := map[string]any{"content.n": Range{From: -32767, To: 32766}, "content.m": Range{From: -32767, To: 32766}}
	if _, err := b.Equals(t.Context(), wide); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("two wide ranges: %v", err)
	}
	var many []map[string]any
	for range 10 {
		many = append(many, map[string]any{"content.n": wide["content.n"]})
	}
	if _, err := b.Equals(t.Context(), many...); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("many wide ranges: %v", err)
	}
	for path, names := range map[string]int{"content.kind": 1, "content.n": 1, "content.m": 1} {
		q, err := b.Has(t.Context(), path)
		if err != nil || len(q.Has) != names {
			t.Fatalf("has %s: %v, %v", path, q.Has, err)
		}
		if !slices.ContainsFunc(tags, func(g coffer.Tag) bool { return g.Name == q.Has[0] }) {
			t.Errorf("has %s finds nothing", path)
		}
	}
}

// One attribute shows one name, however many levels it has, and as many values as it has levels.
func TestOneNameForAllLevels(t *testing.T) {
	b := mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.v"}, Match: Integers})
	one, other := published(t, b, `{"v":5}`), published(t, b, `{"v":-5}`)
	names := map[string]bool{}
	for _, g := range slices.Concat(one, other) {
		names[g.Name] = true
	}
	if len(one) != 64 || len(other) != 64 || len(names) != 1 {
		t.Errorf("%d and %d tags, %d names", len(one), len(other), len(names))
	}
	for _, g := range one {
		if slices.Contains(other, g) {
			t.Error("numbers of unlike sign share an interval")
		}
	}
	// Equal values under another match, or at another path, are blinded otherwise.
	b = mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.a"}, Match: Integers},
		Index{Attributes: []string{"content.b"}, Match: Integers}, Index{Attributes: []string{"content.c"},
			Match: Numbers})
	values := map[string]bool{}
	for _, g := range published(t, b, `{"a":5,"b":5,"c":5}`) {
		values[g.Value] = true
	}
	if len(values) != 3*64 {
		t.Errorf("%d values", len(values))
	}
}

// Known answers of doc/sealing.md; they were computed by another program, too.
func TestKnownTokens(t *testing.T) {
	r := newRing(t, "alice")
	r.hmacKey = bytes.Repeat([]byte{2}, 32)
	tags := func(m Match, content string) []coffer.Tag {
		return published(t, mustBlind(t, r, Index{Attributes: []string{"content.v"}, Match: m}), content)
	}
	numbers, prefixes := tags(Integers, `{"v":5}`), tags(Prefixes, `{"v":"Ab"}`)
	if len(numbers) != 64 || len(prefixes) != 2 {
		t.Fatalf("%d and %d tags", len(numbers), len(prefixes))
	}
	for _, test := range []struct{ what, got, want string }{
		{"name of integers", numbers[0].Name, "GIhJP35ePaiTAy86isGIfMZllcn5o-h_Adws47gmQVA"},
		{"level 0", numbers[0].Value, "8wM-fhsVusomcHIM_4QM3HoR2mEhKAKGpy7UxWnu7h8"},
		{"level 63", numbers[63].Value, "cCCAId2IMQiFHelvYIs4-zues-pgGTHpfi7-RUvPyD8"},
		{"name of prefixes", prefixes[0].Name, "KNAlxs5S6JOZAn2SHn1FLYiKp1Ug0eqs8i0M92AxSp0"},
		{"two characters", prefixes[1].Value, "vsNY47udiHBUeoxIhi4W60L1X3b0JqtICQ-y8WVQA9Q"},
		{"number", tags(Numbers, `{"v":5}`)[0].Value, "-BdeurNZwwA_jdS2lsDYs-xA94utdudEzcDRDt6plVg"},
		{"time", tags(Times, `{"v":"2026-01-01"}`)[0].Value, "Lem-mccMfIx02Kv2mwnLfPvz92OtClahMGtLRHZUhGY"},
		{"day", tags(Days, `{"v":"2026-01-01"}`)[0].Value, "C_e_Ia9agGSmbm1qqF4gn4fNPefAeZ9DIRLZjpChy6Q"},
	} {
		if test.got != test.want {
			t.Errorf("%s is %s", test.what, test.got)
		}
	}
}

func TestCover(t *testing.T) {
	r := seeded(t)
	for range 20_000 {
		lo, hi := r.Uint64()>>r.IntN(64), r.Uint64()>>r.IntN(64)
		switch r.IntN(10) {
		case 0:
			lo = 0
		case 1:
			hi = math.MaxUint64
		}
		if lo > hi {
			lo, hi = hi, lo
		}
		list := cover(lo, hi, 64)
		if len(list) > 126 {
			t.Fatalf("%d to %d: %d intervals", lo, hi, len(list))
		}
		next, levels := lo, map[uint8]int{}
		for n, i := range list {
			if i.level > 63 || i.start<<i.level != next || n > 0 && next == 0 {
				t.Fatalf("%d to %d: interval %v where %d should be", lo, hi, i, next)
			}
			next = i.start<<i.level + 1<<i.level
			levels[i.level]++
		}
		if next != hi+1 {
			t.Fatalf("%d to %d ends at %d", lo, hi, next-1)
		}
		for level, n := range levels {
			if n > 2 {
				t.Fatalf("%d to %d: %d intervals of level %d", lo, hi, n, level)
			}
		}
	}
}

func TestReachRefuses(t *testing.T) {
	a := []string{"content.a"}
	for name, list := range map[string][]Index{
		"compound":           {{Attributes: []string{"content.a", "content.b"}, Match: Prefixes}},
		"unique":             {{Attributes: a, Match: Times, Unique: true}},
		"an unknown match":   {{Attributes: a, Match: Days + 1}},
		"a negative depth":   {{Attributes: a, Match: Integers, Depth: -1}},
		"too deep":           {{Attributes: a, Match: Integers, Depth: 65}},
		"too long":           {{Attributes: a, Match: Prefixes, Depth: MaxPrefix + 1}},
		"a depth of numbers": {{Attributes: a, Match: Numbers, Depth: 32}},
		"a depth of days":    {{Attributes: a, Match: Days, Depth: 10}},
		"prefixes twice":     {{Attributes: a, Match: Prefixes}, {Attributes: a, Match: Prefixes, Depth: 3}},
		"two orders":         {{Attributes: a, Match: Integers}, {Attributes: a, Match: Numbers}},
		"a wrong path":       {{Attributes: []string{"a"}, Match: Prefixes}},
		"no attributes":      {{Match: Prefixes}},
	} {
		if _, err := NewBlinder(newRing(t, "alice"), list...); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := mustBlind(t, newRing(t, "alice"), Index{Attributes: a, Match: Integers})
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, ",%d", int64(i)<<32)
	}
	p := Plain{Content: json.RawMessage(`{"a":[` + many.String()[1:] + `]}`)}
	if _, err := b.Entry(t.Context(), p, 0); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("many values: %v", err)
	}
	if _, err := b.Entry(t.Context(), Plain{Content: json.RawMessage(`{"a":1,"a":2}`)}, 0); !errors.Is(err,
		coffer.Invalid) {
		t.Errorf("a member twice: %v", err)
	}
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{`1`, `-1.5e3`, `"2026-01-01"`, `"2026-01-01T00:00:00.5+02:00"`,
		`[[1],{"v":2},"x",null,true]`, `{"":{}}`} {
		f.Add([]byte(s))
	}
	ring := newRing(f, "alice")
	b, err := NewBlinder(ring, Index{Attributes: []string{"content.v"}, Match: Prefixes})
	if err != nil {
		f.Fatal(err)
	}
	ordered := map[Match]*Blinder{}
	for m := Integers; m <= Days; m++ {
		if ordered[m], err = NewBlinder(ring, Index{Attributes: []string{"content.v"}, Match: m}); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		content := json.RawMessage(`{"v":` + string(v) + `}`)
		e, err := b.Entry(t.Context(), Plain{Content: content}, 0)
		if err != nil {
			return
		}
		var text string
		if json.Unmarshal(v, &text) == nil && utf8.RuneCountInString(text) > len(e.Attributes) &&
			len(e.Attributes) < DefaultPrefix {
			t.Fatalf("%d prefixes of %q", len(e.Attributes), text)
		}
		for m, b := range ordered {
			e, err := b.Entry(t.Context(), Plain{Content: content}, 0)
			if err != nil {
				if errors.Is(err, coffer.Exhausted) {
					continue
				}
				t.Fatal(err)
			}
			if len(e.Attributes) == 0 {
				continue
			}
			if q := mustEquals(t, b, map[string]any{"content.v": Range{}}); !matches(q, edv.Tags([]edv.Entry{e})) {
				t.Fatalf("%s: %s is indexed and not found", m.label(), v)
			}
		}
	})
}

func BenchmarkRange(b *testing.B) {
	blind := mustBlind(b, newRing(b, "alice"), Index{Attributes: []string{"content.v"}, Match: Integers})
	b.Run("entry", func(b *testing.B) {
		for b.Loop() {
			published(b, blind, `{"v":12345}`)
		}
	})
	b.Run("query", func(b *testing.B) {
		for b.Loop() {
			mustEquals(b, blind, map[string]any{"content.v": Range{From: -12345, To: 1 << 40}})
		}
	})
}
