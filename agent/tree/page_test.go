package tree

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// count returns n bytes that count up from b.
func count[A ~[16]byte | ~[32]byte](b byte) (a A) {
	for i := range len(a) {
		a[i] = b + byte(i)
	}
	return a
}

func refAt(b byte) seal.Ref {
	return seal.Ref{
		ID: count[coffer.ObjectID](b), Key: count[seal.ObjectKey](b + 0x10), Write: count[seal.WriteKey](b + 0x30),
	}
}

// knownPages are the pages of doc/tree.md: a root, and a sub-page of the folder that has the root's id.
func knownPages() (root, sub *Page) {
	ref := refAt(0)
	kept := func(id seal.Ref) link {
		return link{id: id.ID, key: id.Key, write: wrap(ref.Write, id.ID, id.Write)}
	}
	l := kept(refAt(0x40))
	l.epoch = 2
	note := &row{
		kind: file, name: "note", link: l, rev: count[coffer.Rev](0xa0), modified: time.Unix(1772368200, 5e8).UTC(),
		sequence: 3, size: 1200, mode: 0o644, mime: "text/plain", typ: TypeFile,
	}
	docs := count[coffer.ObjectID](0x20)
	own := kept(refAt(0x50))
	own.epoch, own.waits = 4, true
	b := &body{due: 4, top: folder{id: ref.ID, rows: []*row{
		{
			kind: inline, name: "docs", link: link{id: docs}, in: folder{id: docs, rows: []*row{note}},
			modified: time.Unix(1772368200, 0).UTC(),
		},
		{kind: paged, name: "own", link: own, in: folder{}, shared: true},
	}}}
	part := kept(refAt(0x60))
	part.prefix, part.epoch = "01", 4
	rest := kept(refAt(0x70))
	rest.prefix, rest.epoch = "001", 4
	s := &body{prefix: "0", top: folder{id: docs, subs: []*link{&rest, &part}}}
	return newPage(ref, b), newPage(ref, s)
}

func TestPageIsAsSpecified(t *testing.T) {
	doc, err := os.ReadFile("../../doc/tree.md")
	if err != nil {
		t.Fatal(err)
	}
	root, sub := knownPages()
	for _, p := range []*Page{root, sub} {
		if !strings.Contains(string(doc), "\n"+string(p.Content())+"\n") {
			t.Errorf("doc/tree.md does not give\n%s", p.Content())
		}
		again, err := Decode(p.Ref(), p.Content())
		if err != nil {
			t.Fatal(err)
		}
		if got := again.body.encode(p.ref.ID); string(got) != string(p.Content()) {
			t.Errorf("read and written it is\n%s", got)
		}
	}
	id := count[coffer.ObjectID](0x20)
	if h := hashOf(id, "note"); !strings.Contains(string(doc), "`"+h[:16]+"`") {
		t.Errorf("doc/tree.md does not give the hash %s", h[:16])
	}
}

// TestKeyWrap: RFC 3394, section 4.6 is about the wrapping alone; the key that wraps is derived here.
func TestKeyWrap(t *testing.T) {
	page, id, child := refAt(0).Write, refAt(0x40).ID, refAt(0x40).Write
	w := wrap(page, id, child)
	doc, err := os.ReadFile("../../doc/tree.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), hex.EncodeToString(w[:])) {
		t.Errorf("doc/tree.md does not give %x", w)
	}
	if got, err := unwrap(page, id, w); err != nil || got != child {
		t.Errorf("unwrapped is %x, %v", got, err)
	}
	if got, err := unwrap(seal.WriteKey{}, id, w); err != nil || got != (seal.WriteKey{}) {
		t.Errorf("a reader unwraps %x, %v", got, err)
	}
	other := id
	other[0]++
	torn := w
	torn[39]++
	for what, f := range map[string]func() (seal.WriteKey, error){
		"another id":  func() (seal.WriteKey, error) { return unwrap(page, other, w) },
		"another key": func() (seal.WriteKey, error) { return unwrap(child, id, w) },
		"changed":     func() (seal.WriteKey, error) { return unwrap(page, id, torn) },
	} {
		if got, err := f(); !errors.Is(err, coffer.Corrupt) || got != (seal.WriteKey{}) {
			t.Errorf("%s: %x, %v", what, got, err)
		}
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestDecodeIsStrict(t *testing.T) {
	id := func(b byte) string { return b64(bytes.Repeat([]byte{b}, 16)) }
	fileText := b64(bytes.Repeat([]byte{7}, fileLen))
	sub := func(b byte) string { return b64(bytes.Repeat([]byte{b}, pagedLen)) }
	page := func(members string) string { return `{"type":"coffer/page","version":1` + members + `}` }
	rows := func(rows string) string { return page(`,"rows":[` + rows + `]`) }
	folderOf := count[coffer.ObjectID](1)
	ofSub := `,"folder":"` + b64(folderOf[:]) + `","prefix":"` + hashOf(folderOf, "a")[:3] + `"`
	flipped := strings.Map(func(r rune) rune { return '0' + '1' - r }, hashOf(folderOf, "a")[:1])
	ref := refAt(0)
	good := map[string]string{
		"empty": page(""),
		"due":   page(`,"due":9007199254740991`),
		"file":  rows(`[0,"a","` + fileText + `"]`),
		"nested": rows(`[0,"a","` + id(1) + `"],[1,"b","` + id(2) + `"],[2,"a","` +
			fileText + `"],[0,"b","` + sub(3) + `",1]`),
		"of sub":  page(ofSub + `,"rows":[[0,"a","` + fileText + `"]]`),
		"divided": page(`,"pages":[["0","` + sub(1) + `",0,1],["10","` + sub(2) + `"]]`),
		"times":   rows(`[0,"a","` + id(1) + `",-0.5],[0,"b","` + id(2) + `",1.000000001]`),
	}
	for what, s := range good {
		p, err := Decode(ref, []byte(s))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if got := p.body.encode(ref.ID); string(got) != s {
			t.Errorf("%s: written again it is\n%s, was\n%s", what, got, s)
		}
	}
	for what, s := range map[string]string{
		"nothing": "", "no object": "[]", "of no type": `{"version":1}`, "of another type": `{"type":"x","version":1}`,
		"version 0": `{"type":"coffer/page","version":0}`, "unknown member": page(`,"x":1`),
		"twice":    page(`,"due":1,"due":1`),
		"too long": page("") + strings.Repeat(" ", PageSize), "trailing": page("") + "{}",
		"due too great": page(`,"due":9007199254740992`), "due negative": page(`,"due":-1`),
		"row null": rows("null"), "row empty": rows("[]"), "row short": rows(`[0,"a"]`), "row of rows": rows(`[0,"a",["x"]]`),
		"true":                rows(`[0,"a","` + id(1) + `",true]`),
		"no name":             rows(`[0,"","` + id(1) + `"]`),
		"dots":                rows(`[0,"..","` + id(1) + `"]`),
		"slash":               rows(`[0,"a/b","` + id(1) + `"]`),
		"NUL":                 rows(`[0,"a\u0000","` + id(1) + `"]`),
		"bad UTF-8":           rows("[0,\"\xff\",\"" + id(1) + "\"]"),
		"long name":           rows(`[0,"` + strings.Repeat("x", MaxPath+1) + `","` + id(1) + `"]`),
		"zero id":             rows(`[0,"a","` + id(0) + `"]`),
		"odd length":          rows(`[0,"a","` + b64(make([]byte, 17)) + `"]`),
		"padded":              rows(`[0,"a","` + id(1) + `=="]`),
		"loose bits":          rows(`[0,"a","` + id(1)[:21] + `B"]`),
		"line break":          rows(`[0,"a","` + id(1) + `\n"]`),
		"zero at the end":     rows(`[0,"a","` + id(1) + `",1,0]`),
		"too many":            rows(`[0,"a","` + id(1) + `",1,2,1,1]`),
		"shared twice":        rows(`[0,"a","` + id(1) + `",1,2,2]`),
		"text for a number":   rows(`[0,"a","` + id(1) + `","1"]`),
		"number for a text":   rows(`[0,1,"` + id(1) + `"]`),
		"fraction":            rows(`[0,"a","` + fileText + `",1.5]`),
		"exponent":            rows(`[0,"a","` + fileText + `",1e3]`),
		"minus zero":          rows(`[0,"a","` + id(1) + `",-0,1]`),
		"time of ten digits":  rows(`[0,"a","` + id(1) + `",1.0000000001]`),
		"time with a zero":    rows(`[0,"a","` + id(1) + `",1.50]`),
		"time with a point":   rows(`[0,"a","` + id(1) + `",1e2]`),
		"time too far":        rows(`[0,"a","` + id(1) + `",1000000000000000]`),
		"sequence too great":  rows(`[0,"a","` + fileText + `",1,1,9007199254740991]`),
		"mode too great":      rows(`[0,"a","` + fileText + `",1,1,1,1,4294967296]`),
		"size too great":      rows(`[0,"a","` + fileText + `",1,1,1,9223372036854775808]`),
		"type of a folder":    rows(`[0,"a","` + fileText + `",1,1,1,1,1,"","Folder"]`),
		"type of a file":      rows(`[0,"a","` + fileText + `",1,1,1,1,1,"","File"]`),
		"type too long":       rows(`[0,"a","` + fileText + `",1,1,1,1,1,"` + strings.Repeat("x", 257) + `"]`),
		"depth from nowhere":  rows(`[1,"a","` + id(1) + `"]`),
		"depth below a file":  rows(`[0,"a","` + fileText + `"],[1,"b","` + id(1) + `"]`),
		"depth below a page":  rows(`[0,"a","` + sub(1) + `"],[1,"b","` + id(1) + `"]`),
		"depth jumps":         rows(`[0,"a","` + id(1) + `"],[2,"b","` + id(2) + `"]`),
		"depth negative":      rows(`[-1,"a","` + id(1) + `"]`),
		"depth huge":          rows(`[99999999999999999999,"a","` + id(1) + `"]`),
		"name twice":          rows(`[0,"a","` + id(1) + `"],[0,"a","` + id(2) + `"]`),
		"name twice, between": rows(`[0,"a","` + id(1) + `"],[1,"x","` + id(3) + `"],[0,"a","` + id(2) + `"]`),
		"out of order":        rows(`[0,"b","` + id(1) + `"],[0,"a","` + id(2) + `"]`),
		"folder twice":        rows(`[0,"a","` + id(1) + `"],[0,"b","` + id(1) + `"]`),
		"page twice":          rows(`[0,"a","` + id(1) + `"],[1,"b","` + sub(1) + `"]`),
		"itself":              rows(`[0,"a","` + b64(ref.ID[:]) + `"]`),
		"rows and pages":      page(`,"rows":[[0,"a","` + id(1) + `"]],"pages":[["0","` + sub(2) + `"]]`),
		"folder, no prefix":   page(`,"folder":"` + id(1) + `"`),
		"prefix, no folder":   page(`,"prefix":"0"`),
		"folder's text":       page(`,"folder":"x","prefix":"0"`),
		"its own folder":      page(`,"folder":"` + b64(ref.ID[:]) + `","prefix":"0"`),
		"prefix of letters":   page(`,"folder":"` + id(1) + `","prefix":"0a1"`),
		"prefix too long":     page(`,"folder":"` + id(1) + `","prefix":"` + strings.Repeat("0", 65) + `"`),
		"name elsewhere": page(`,"folder":"` + b64(folderOf[:]) + `","prefix":"` + flipped +
			`","rows":[[0,"a","` + fileText + `"]]`),
		"pages null":       page(`,"pages":[null]`),
		"pages overlap":    page(`,"pages":[["0","` + sub(1) + `"],["01","` + sub(2) + `"]]`),
		"pages disordered": page(`,"pages":[["1","` + sub(1) + `"],["0","` + sub(2) + `"]]`),
		"pages of one id":  page(`,"pages":[["0","` + sub(1) + `"],["1","` + sub(1) + `"]]`),
		"pages elsewhere":  page(ofSub + `,"pages":[["` + flipped + `","` + sub(1) + `"]]`),
		"page as large":    page(`,"folder":"` + id(1) + `","prefix":"01","pages":[["01","` + sub(2) + `"]]`),
		"page has no keys": page(`,"pages":[["0","` + id(1) + `"]]`),
		"page of nothing":  page(`,"pages":[["","` + sub(1) + `"]]`),
		"page of too much": page(`,"pages":[["0","` + sub(1) + `",1,1,1]]`),
	} {
		if _, err := Decode(ref, []byte(s)); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v, want Corrupt", what, err)
		}
	}
	for _, s := range []string{`{"type":"coffer/page","version":2}`, `{"type":"coffer/page","version":3,"x":[[1]]}`} {
		if _, err := Decode(ref, []byte(s)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("a later version: %v, want Invalid", err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	root, sub := knownPages()
	f.Add(root.Content())
	f.Add(sub.Content())
	f.Add([]byte(`{"type":"coffer/page","version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(root.Ref(), b)
		if err != nil {
			if !errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.Invalid) {
				t.Fatal(err)
			}
			return
		}
		again := p.body.encode(p.ref.ID)
		q, err := Decode(p.Ref(), again)
		if err != nil {
			t.Fatalf("what was read is written as what is not: %v", err)
		}
		if third := q.body.encode(p.ref.ID); !bytes.Equal(again, third) {
			t.Fatalf("written twice it differs:\n%s\n%s", again, third)
		}
		if room := p.body.room(); room < len(again) {
			t.Fatalf("%d bytes were thought to be %d", len(again), room)
		}
		// Whatever it holds, a tree on it ends in an answer.
		d := newDisk(t, MaxContent)
		d.root, d.pages[p.ref.ID] = p.ref, stored{p.ref, again}
		tr := d.open()
		paths := []string{"a"}
		for n, err := range tr.List(ctx, "") {
			if err != nil {
				break
			}
			paths = append(paths, n.Name)
		}
		for _, path := range paths[:min(len(paths), 4)] {
			tr.Chain(ctx, path)
			tr.Due(ctx, path, 3)
			tr.Move(ctx, path, "moved")
			tr.Put(ctx, join(path, "b/c"), fileNode())
			tr.Cut(ctx, path, 2)
		}
		put, _ := tr.Dirty()
		for _, p := range put {
			if _, err := Decode(p.Ref(), p.Content()); err != nil {
				t.Fatalf("a page was changed into what is none: %v", err)
			}
		}
	})
}
