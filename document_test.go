package coffer

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

func known() *Document {
	d := &Document{
		Sequence: 1,
		Parents:  []Rev{Rev(bytes.Repeat([]byte{0xaa}, 32))},
		Tags:     []Tag{{Key: "k", Name: "n", Value: "v", Unique: true}},
		Stream:   &Stream{Sequence: 0, Chunks: 2},
		Body:     []byte("{}"),
	}
	for i := range d.ID {
		d.ID[i] = byte(i)
	}
	return d
}

func TestRevIsAsSpecified(t *testing.T) {
	page, err := os.ReadFile("doc/revision.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := known().Rev().String(); !strings.Contains(string(page), "`"+got+"`") {
		t.Errorf("doc/revision.md does not give %s", got)
	}
}

func TestRevNamesEveryField(t *testing.T) {
	seen := map[Rev]string{known().Rev(): "unchanged"}
	for name, change := range map[string]func(*Document){
		"id":              func(d *Document) { d.ID[0]++ },
		"sequence":        func(d *Document) { d.Sequence++ },
		"no parents":      func(d *Document) { d.Parents = nil },
		"parent":          func(d *Document) { d.Parents[0][0]++ },
		"two parents":     func(d *Document) { d.Parents = append(d.Parents, Rev{}) },
		"tag key":         func(d *Document) { d.Tags[0].Key = "x" },
		"tag name":        func(d *Document) { d.Tags[0].Name = "x" },
		"tag value":       func(d *Document) { d.Tags[0].Value = "x" },
		"tag split":       func(d *Document) { d.Tags[0].Name, d.Tags[0].Value = "nv", "" },
		"tag unique":      func(d *Document) { d.Tags[0].Unique = false },
		"no stream":       func(d *Document) { d.Stream = nil },
		"stream pending":  func(d *Document) { d.Stream.Pending = true },
		"stream sequence": func(d *Document) { d.Stream.Sequence++ },
		"stream chunks":   func(d *Document) { d.Stream.Chunks++ },
		"body":            func(d *Document) { d.Body = []byte("[]") },
	} {
		d := known()
		change(d)
		if other, ok := seen[d.Rev()]; ok {
			t.Errorf("%s has the same rev as %s", name, other)
		}
		seen[d.Rev()] = name
	}
	a, b := known(), known()
	a.Parents, b.Parents = []Rev{{1}, {2}}, []Rev{{2}, {1}}
	if a.Rev() != b.Rev() {
		t.Error("the order of parents matters")
	}
}

func TestIDTextForm(t *testing.T) {
	// The known answers of doc/http-api.md.
	for id, text := range map[ObjectID]string{
		{}:         "z19inukNyWQTotxStJvsXAtVu",
		known().ID: "z19inwPEW2tBULosfqG97hZd8",
	} {
		if got := id.String(); got != text {
			t.Errorf("String = %s, want %s", got, text)
		}
		if got, err := ParseObjectID(text); err != nil || got != id {
			t.Errorf("Parse(%s) = %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{
		"", "z", "19inwPEW2tBULosfqG97hZd8", "Z19inwPEW2tBULosfqG97hZd8", "z19inwPEW2tBULosfqG97hZd", "z19inwPEW2tBULosfqG97hZd88",
		"z19inwPEW2tBULosfqG97hZd0", "z119inwPEW2tBULosfqG97hZd8", "z19inwPEW2tBULosfqG97hZd8 ", strings.Repeat("z", 2000),
	} {
		if _, err := ParseObjectID(bad); !errors.Is(err, Invalid) {
			t.Errorf("Parse(%q): %v, want Invalid", bad, err)
		}
	}
}

func FuzzParseObjectID(f *testing.F) {
	f.Add("z19inwPEW2tBULosfqG97hZd8")
	f.Add("z19inukNyWQTotxStJvsXAtVu")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseObjectID(s)
		if err == nil && id.String() != s {
			t.Errorf("%q is read as the id that is written %q", s, id)
		}
	})
}

func TestRevHasOneText(t *testing.T) {
	r := known().Rev()
	if got, err := ParseRev(r.String()); err != nil || got != r {
		t.Errorf("ParseRev(String) = %v, %v", got, err)
	}
	for _, bad := range []string{"", r.String()[1:], r.String() + "\n", r.String() + "A", "*" + r.String()[1:], r.String()[:42] + "B"} {
		if _, err := ParseRev(bad); !errors.Is(err, Invalid) {
			t.Errorf("ParseRev(%q): %v, want Invalid", bad, err)
		}
	}
}

func FuzzMultibase(f *testing.F) {
	f.Add([]byte{0, 0, 1, 255})
	f.Add([]byte{0xed, 1, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > 512 {
			return
		}
		got, err := ParseMultibase(Multibase(b))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("ParseMultibase(Multibase(%x)) = %x, %v", b, got, err)
		}
	})
}

func TestErrorsAreOfTheirKind(t *testing.T) {
	err := E("outer", Conflict, Errorf("inner", NotExist, "reason"))
	if !errors.Is(err, Conflict) || KindOf(err) != Conflict {
		t.Errorf("%v is no Conflict", err)
	}
	if got, want := err.Error(), "outer: conflict: inner: does not exist: reason"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if KindOf(errors.New("x")) != Other || KindOf(Locked) != Locked {
		t.Error("KindOf is wrong about plain errors")
	}
}
