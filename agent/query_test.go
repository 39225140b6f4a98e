package agent

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
)

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "a b", "a:b c=d", `a:"b \" \\ c" "d"`, `"`, ":", "total:30", "paid:true",
		`a\.b:1`, "path:/x/", "ä:ö", "a:b:c=d"} {
		f.Add(s)
	}
	c := newContent("T", "some/where")
	c.Value = jsontext.Value(`{"a":{"b":[1,"x",true,{"c":null}]}}`)
	f.Fuzz(func(t *testing.T, s string) {
		terms, err := parseQuery(s)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(terms) == 0 || len(terms) > maxTerms {
			t.Fatalf("%d terms", len(terms))
		}
		for _, term := range terms {
			alternatives := term.alternatives()
			if len(alternatives) == 0 || len(alternatives) > 3 {
				t.Fatalf("%d alternatives", len(alternatives))
			}
			for _, a := range alternatives {
				if len(a) == 0 {
					t.Fatal("an alternative asks for nothing")
				}
			}
			term.matches(c)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "/", "a", "a/b", "/a/", "..", "a/../b", "a//b", "\x00", "\xff", `a\b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := CleanPath(s)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) || p != "" {
				t.Fatalf("%q, %v", p, err)
			}
			return
		}
		if again, err := CleanPath(p); again != p || err != nil {
			t.Fatalf("%q is clean and becomes %q, %v", p, again, err)
		}
		if p == "" {
			return
		}
		c := newContent("T", p)
		b, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeContent(b); err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		folders := append([]string{""}, ancestors(p)...)
		if len(folders) > MaxDepth || folders[len(folders)-1] != c.Folder {
			t.Fatalf("%q is in %q, below %q", p, c.Folder, folders)
		}
		if len(c.Words) > maxWords || slices.Contains(c.Words, "") {
			t.Fatalf("words %q", c.Words)
		}
	})
}

func FuzzContent(f *testing.F) {
	c := newContent(TypeFile, "a/b")
	c.Data, c.Size = []byte("data"), 4
	b, err := c.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"type":"T","path":"a","name":"a","folder":"","value":{"a":[1,{"b":[[2]]},"c"],"d.e":true}}`))
	f.Add([]byte(`{"type":"T","path":"../a","name":"a","folder":".."}`))
	f.Add([]byte(`{"type":"T","path":"a/b","name":"c","folder":"a"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeContent(b)
		if err != nil {
			if !errors.Is(err, coffer.Corrupt) {
				t.Fatal(err)
			}
			return
		}
		if p, err := CleanPath(c.Path); p != c.Path || err != nil || p == "" {
			t.Fatalf("path %q", c.Path)
		}
		if n := len(c.indexed()); n > 63 {
			t.Fatalf("%d indexes", n)
		}
		again, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeContent(again); err != nil {
			t.Fatal(err)
		}
	})
}

func TestIndexed(t *testing.T) {
	c := newContent("T", "a")
	c.Value = jsontext.Value(`{"s":"x","n":1,"t":true,"z":null,"o":{"p.q":1,"":2,"b\\s":3},
		"l":[1,"2",{"m":3},[4]],"e":[]}`)
	got := c.indexed()[4:]
	want := []string{
		"content.value.l", "content.value.l.m", "content.value.n", `content.value.o.p\.q`, "content.value.s", "content.value.t",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for field, want := range map[string][]any{
		"s": {"x"}, "l": {1.0, "2"}, "l.m": {3.0}, `o.p\.q`: {1.0}, "o": nil, "o.x": nil, "z": {nil}, "t": {true},
	} {
		if got := slices.Collect(valuesAt(c.Value, field)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", field, got, want)
		}
	}
}
