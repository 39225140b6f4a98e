package seal

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// knownIndexes returns the indexes that the known answers were made with.
func knownIndexes(t testing.TB, k *known) []Index {
	t.Helper()
	var out []Index
	for _, x := range k.Blinding.Indexes {
		i := Index{Unique: x.Unique}
		var one string
		if json.Unmarshal(x.Attribute, &one) == nil {
			i.Attributes = []string{one}
		} else if err := json.Unmarshal(x.Attribute, &i.Attributes); err != nil {
			t.Fatal(err)
		}
		out = append(out, i)
	}
	return out
}

func mustBlind(t testing.TB, r *ring, indexes ...Index) *Blinder {
	t.Helper()
	b, err := NewBlinder(r, indexes...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKnownEntry(t *testing.T) {
	k := knownAnswers(t)
	t.Run("version 2", func(t *testing.T) { knownEntry(t, k, k.Blinding.Version2, false) })
	t.Run("version 1", func(t *testing.T) { knownEntry(t, k, k.Blinding.Version1, true) })
}

func knownEntry(t *testing.T, k *known, v blinding, legacy bool) {
	r, doc := knownRing(t, k), k.Blinding.Document
	b := mustBlind(t, r, knownIndexes(t, k)...)
	b.Legacy = legacy
	want, err := edv.DecodeEntry(v.Entry)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Entry(t.Context(), Plain{Content: doc.Content, Meta: doc.Meta}, doc.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, *want) {
		t.Errorf("entry is %+v", got)
	}
	first := r.macs
	if _, err := b.Entry(t.Context(), Plain{Content: doc.Content, Meta: doc.Meta}, 0); err != nil {
		t.Fatal(err)
	}
	if again := r.macs - first; again != len(want.Attributes) && !legacy {
		t.Errorf("%d MACs for %d values whose names are known", again, len(want.Attributes))
	}
	// Another value, name or key gives another entry.
	changed := json.RawMessage(strings.Replace(string(doc.Content), `"novel"`, `"Novel"`, 1))
	other, err := b.Entry(t.Context(), Plain{Content: changed, Meta: doc.Meta}, doc.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if other.Attributes[0].Name != got.Attributes[0].Name || other.Attributes[0].Value == got.Attributes[0].Value {
		t.Error("another value is blinded alike")
	}
	r.hmacKey[0] ^= 1
	b = mustBlind(t, r, knownIndexes(t, k)...)
	b.Legacy = legacy
	other, err = b.Entry(t.Context(), Plain{Content: doc.Content, Meta: doc.Meta}, 4)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range other.Attributes {
		if a.Name == got.Attributes[i].Name || a.Value == got.Attributes[i].Value {
			t.Error("blinded alike under another key")
		}
	}
}

func TestKnownQueries(t *testing.T) {
	k := knownAnswers(t)
	t.Run("version 2", func(t *testing.T) { knownQueries(t, k, k.Blinding.Version2, false) })
	t.Run("version 1", func(t *testing.T) { knownQueries(t, k, k.Blinding.Version1, true) })
}

func knownQueries(t *testing.T, k *known, v blinding, legacy bool) {
	b := mustBlind(t, knownRing(t, k), knownIndexes(t, k)...)
	b.Legacy = legacy
	ctx := t.Context()
	check := func(name string, q coffer.Query, err error, index string, equals []map[string]string, has []string) {
		t.Helper()
		if err != nil || q.Index != index || !reflect.DeepEqual(q.Equals, equals) || !slices.Equal(q.Has, has) {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	q, err := b.Equals(ctx, map[string]any{"content.kind": "novel"})
	check("one", q, err, v.QueryEquals.Index, v.QueryEquals.Equals, nil)
	q, err = b.Equals(ctx,
		map[string]any{"content.kind": "novel", "content.lang": "de"},
		map[string]any{"content.size": map[string]any{"h": 2, "w": 1}})
	check("two", q, err, v.QueryTwo.Index, v.QueryTwo.Equals, nil)
	q, err = b.Equals(ctx, map[string]any{"content.lang": "de"})
	check("prefix", q, err, v.QueryPrefix.Index, v.QueryPrefix.Equals, nil)
	q, err = b.Equals(ctx, map[string]any{"content.nothing": 1})
	check("unindexed", q, err, v.QueryUnindexed.Index, v.QueryUnindexed.Equals, nil)
	q, err = b.Has(ctx, "content.kind", "content.lang")
	check("has", q, err, v.QueryHas.Index, nil, v.QueryHas.Has)
}

func TestStrictQueries(t *testing.T) {
	b := mustBlind(t, newRing(t, "alice"),
		Index{Attributes: []string{"content.a"}}, Index{Attributes: []string{"content.b", "content.c", "content.d"}})
	for _, strict := range []bool{false, true} {
		b.Strict = strict
		for _, test := range []struct {
			paths   []string
			covered bool
		}{
			{[]string{"content.a"}, true},
			{[]string{"content.b"}, true},
			{[]string{"content.a", "content.c", "content.b"}, true},
			{[]string{"content.a", "content.x"}, false},
			{[]string{"content.a", "content.c"}, false},              // behind content.b
			{[]string{"content.b", "content.d", "content.a"}, false}, // behind content.c
			{[]string{"content.x"}, false},
		} {
			filter := map[string]any{}
			for _, p := range test.paths {
				filter[p] = 1
			}
			if _, err := b.Equals(t.Context(), filter); errors.Is(err, coffer.Invalid) != (strict && !test.covered) {
				t.Errorf("strict %v: equals %v: %v", strict, test.paths, err)
			}
			refused := !test.covered && (strict || test.paths[0] == "content.x")
			if _, err := b.Has(t.Context(), test.paths...); errors.Is(err, coffer.Invalid) != refused {
				t.Errorf("strict %v: has %v: %v", strict, test.paths, err)
			}
		}
	}
}

// A query must not turn into the one that finds everything.
func TestEmptyQueries(t *testing.T) {
	b := mustBlind(t, newRing(t, "alice"), Index{Attributes: []string{"content.a"}})
	if _, err := b.Equals(t.Context()); !errors.Is(err, coffer.Invalid) {
		t.Errorf("no filters: %v", err)
	}
	if _, err := b.Has(t.Context()); !errors.Is(err, coffer.Invalid) {
		t.Errorf("no names: %v", err)
	}
	if q, err := b.Equals(t.Context(), map[string]any{}); err != nil || len(q.Equals) != 1 || len(q.Equals[0]) != 0 {
		t.Errorf("an empty filter: %+v, %v", q, err)
	}
	if _, err := b.Equals(t.Context(), make([]map[string]any, coffer.MaxFilters+1)...); !errors.Is(err, coffer.Invalid) {
		t.Errorf("too many filters: %v", err)
	}
	if _, err := b.Equals(t.Context(), map[string]any{"content.a": func() {}}); !errors.Is(err, coffer.Invalid) {
		t.Errorf("a value that is no JSON: %v", err)
	}
}

func TestSplitPath(t *testing.T) {
	for path, want := range map[string][]string{
		`content`:        {"content"},
		`content.a.b`:    {"content", "a", "b"},
		`meta.a\.b`:      {"meta", "a.b"},
		`meta.a\\.b`:     {"meta", `a\\`, "b"},
		`meta.\a`:        {"meta", "a"},
		`meta.a\`:        {"meta", "a"},
		`meta..a.`:       {"meta", "", "a", ""},
		`content.ü.日\.本`: {"content", "ü", "日.本"},
		`content.\ü`:     {"content", "ü"},
		`content.a[0]."`: {"content", "a[0]", `"`},
		``:               nil,
		`a.content`:      nil,
		`contents.a`:     nil,
		"content.\xff":   nil,
		`content.` + strings.Repeat("x", MaxPath): nil,
	} {
		got, err := splitPath(path)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
}

// values returns the hashed values of one attribute of a document, each by its canonical JSON.
func TestFollow(t *testing.T) {
	for _, test := range []struct{ content, path, want string }{
		{`{"a":1}`, "content", `{"a":1}`},
		{`{"a":null}`, "content.a", `null`},
		{`{"a":null}`, "content.a.b", ``},
		{`{"a":"text"}`, "content.a.length", ``},
		{`{}`, "content.a", ``},
		{`{"a":[1,2,2]}`, "content.a", `[1,2,2]`},
		{`{"a":[]}`, "content.a", `[]`},
		{`{"a":[{"b":1},{"c":2},{"b":[3,4]},5]}`, "content.a.b", `[1,[3,4]]`},
		{`{"a":[{"b":[{"c":1}]},{"b":{"c":2}}]}`, "content.a.b.c", `[[1],2]`},
		{`{"a":[[1],[2]]}`, "content.a", `[[1],[2]]`},
		{`{"":{"":1}}`, "content..", `1`},
	} {
		var v any
		if err := jose.Decode([]byte(`{"content":`+test.content+`}`), &v); err != nil {
			t.Fatal(err)
		}
		keys, err := splitPath(test.path)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if found, ok := follow(v, keys); ok {
			b, err := jose.Encode(found)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != test.want {
			t.Errorf("%s of %s is %s", test.path, test.content, got)
		}
	}
}

// What is indexed is found by a query for the value, however it is written in Go.
func TestQueriesMatchEntries(t *testing.T) {
	r := newRing(t, "alice")
	b := mustBlind(t, r, Index{Attributes: []string{"content.v"}},
		Index{Attributes: []string{"content.list.v", "content.v"}})
	b.Strict = true
	for text, values := range map[string][]any{
		`12`:            {12, 12.0, int64(12), uint8(12), json.RawMessage("1.2e1")},
		`1e21`:          {1e21},
		`"ü"`:           {"ü", json.RawMessage(`"\u00fc"`)},
		`true`:          {true},
		`null`:          {nil},
		`{"b":1,"a":2}`: {map[string]any{"a": 2, "b": 1}},
	} {
		p := Plain{Content: json.RawMessage(`{"v":` + text + `,"list":[{"v":1},{},{"v":"x"}]}`)}
		entry, err := b.Entry(t.Context(), p, 0)
		if err != nil {
			t.Fatal(err)
		}
		has := map[string][]string{}
		for _, a := range entry.Attributes {
			has[a.Name] = append(has[a.Name], a.Value)
		}
		for _, v := range values {
			for _, listed := range []any{1, "x"} {
				q, err := b.Equals(t.Context(), map[string]any{"content.v": v, "content.list.v": listed})
				if err != nil {
					t.Fatal(err)
				}
				if len(q.Equals[0]) != 3 { // the simple index, the prefix, both
					t.Errorf("query has %d terms", len(q.Equals[0]))
				}
				for name, value := range q.Equals[0] {
					if !slices.Contains(has[name], value) {
						t.Errorf("%s is not found by %#v and %v", text, v, listed)
					}
				}
			}
		}
	}
}

func TestBlinderRefuses(t *testing.T) {
	r := newRing(t, "alice")
	many := make([]Index, MaxIndexes+1)
	for i := range many {
		many[i].Attributes = []string{fmt.Sprintf("content.%d", i)}
	}
	one := Index{Attributes: []string{"content.a"}}
	for name, indexes := range map[string][]Index{
		"no attributes":   {{}},
		"too many":        {{Attributes: slices.Repeat([]string{"content.a"}, MaxAttributes+1)}},
		"a wrong path":    {{Attributes: []string{"content.a", "b"}}},
		"one named twice": {one, one},
		"too many in all": many,
	} {
		if _, err := NewBlinder(r, indexes...); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustBlind(t, r, many[:MaxIndexes]...)
	list := func(n int) string { return "[0" + strings.Repeat(",0", n-1) + "]" }
	numbers := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ",%d", i)
		}
		return "[" + b.String()[1:] + "]"
	}
	three := mustBlind(t, r, Index{Attributes: []string{"content.a", "content.b", "content.c"}})
	for content, kind := range map[string]error{
		`{"a":` + list(coffer.MaxTags+1) + `}`:                                            coffer.Exhausted,
		`{"a":` + numbers(coffer.MaxTags) + `,"b":2}`:                                     coffer.Exhausted,
		`{"a":` + numbers(1000) + `,"b":` + numbers(1000) + `,"c":` + numbers(1000) + `}`: coffer.Exhausted,
		`{"a":` + list(coffer.MaxTags) + `,"b":` + list(coffer.MaxTags) + `,"c":1}`:       nil,
		`{"a":`:       coffer.Invalid,
		`{"a":1e999}`: coffer.Invalid,
	} {
		if _, err := three.Entry(t.Context(), Plain{Content: json.RawMessage(content)}, 0); !errors.Is(err, kind) {
			t.Errorf("%.20s…: %v", content, err)
		}
	}
}

func FuzzBlind(f *testing.F) {
	k := knownAnswers(f)
	for _, i := range knownIndexes(f, k) {
		f.Add(strings.Join(i.Attributes, "|"), []byte(k.Blinding.Document.Content))
	}
	f.Add(`content.a.b|content.c`, []byte(`{"a":[{"b":[1,[2]]},3],"c":null}`))
	r := newRing(f, "alice")
	f.Fuzz(func(t *testing.T, paths string, content []byte) {
		b, err := NewBlinder(r, Index{Attributes: strings.Split(paths, "|"), Unique: true})
		if err != nil {
			return
		}
		entry, err := b.Entry(t.Context(), Plain{Content: content}, 1)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, a := range entry.Attributes {
			if len(a.Name) != 43 || len(a.Value) != 43 {
				t.Fatalf("blinded to %q, %q", a.Name, a.Value)
			}
			names[a.Name] = true
		}
		if len(names) > len(b.indexes[0].paths) {
			t.Fatalf("%d names", len(names))
		}
	})
}
