package search

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/lucene"
)

// memory keeps blocks and counts.
type memory struct {
	blocks  map[seal.Ref][]byte
	fetches int
	failIn  int // puts until one fails; 0 is never
	largest int
}

func newMemory() *memory { return &memory{blocks: map[seal.Ref][]byte{}} }

func (m *memory) Get(_ context.Context, ref seal.Ref) ([]byte, error) {
	m.fetches++
	b, ok := m.blocks[ref]
	if !ok {
		return nil, coffer.NotExist
	}
	return b, nil
}

func (m *memory) Put(_ context.Context, blocks [][]byte) (refs []seal.Ref, err error) {
	if m.failIn > 0 {
		if m.failIn--; m.failIn == 0 {
			return nil, coffer.Unavailable
		}
	}
	for _, b := range blocks {
		ref := seal.NewRef()
		m.blocks[ref] = slices.Clone(b)
		m.largest = max(m.largest, len(b))
		refs = append(refs, ref)
	}
	return refs, nil
}

func (m *memory) Drop(_ context.Context, refs ...seal.Ref) error {
	for _, r := range refs {
		delete(m.blocks, r)
	}
	return nil
}

func parse(t testing.TB, s string) *lucene.Query {
	t.Helper()
	q, err := lucene.Parse(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return q
}

func find(t testing.TB, x *Index, q *lucene.Query) map[coffer.ObjectID]Hit {
	t.Helper()
	hits := map[coffer.ObjectID]Hit{}
	for h, err := range x.Find(t.Context(), q) {
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		if _, twice := hits[h.ID]; twice {
			t.Fatalf("%s: a document twice", q)
		}
		hits[h.ID] = h
	}
	return hits
}

var (
	someWords = strings.Fields("annual report invoice ada straße café photo draft final budget zürich red " +
		"wine 2024 30 a ab abc")
	someFields = strings.Fields("customer total paid due tags address.city name note")
)

func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

func phrase(r *rand.Rand, n int) string {
	var w []string
	for range n {
		w = append(w, pick(r, someWords))
	}
	return strings.Join(w, pick(r, []string{" ", " ", "-", "_"}))
}

func someTime(r *rand.Rand) time.Time {
	return time.Date(2024, time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), 0, 0, r.IntN(2)*500_000_000, time.UTC)
}

func someDocument(r *rand.Rand, id coffer.ObjectID) Document {
	d := Document{
		ID: id, Name: phrase(r, 1+r.IntN(3)) + pick(r, []string{"", ".pdf", ".txt"}),
		Type: pick(r, []string{"File", "Invoice", "Note"}), Size: int64(r.IntN(50)),
	}
	if r.IntN(2) == 0 {
		d.MIME = "image/png"
	}
	if r.IntN(3) > 0 {
		d.Modified = someTime(r)
	}
	if r.IntN(2) == 0 {
		d.Text = phrase(r, r.IntN(40))
	}
	if d.Type != "File" {
		member := func(name string) string {
			switch name {
			case "total":
				return fmt.Sprint(r.IntN(60) - 10)
			case "paid":
				return pick(r, []string{"true", "false", "null"})
			case "due":
				return `"` + someTime(r).Format(time.DateOnly) + `"`
			case "tags":
				return fmt.Sprintf("[%q,%q,%d]", phrase(r, 2), phrase(r, 1), r.IntN(40))
			}
			return fmt.Sprintf("%q", phrase(r, r.IntN(4)))
		}
		d.Value = []byte(fmt.Sprintf(`{"customer":%s,"total":%s,"paid":%s,"due":%s,"tags":%s,"address":{"city":%s},"note":%q}`,
			member("customer"), member("total"), member("paid"), member("due"), member("tags"), member("city"),
			strings.Repeat(phrase(r, 3)+" ", r.IntN(30))))
	}
	return d
}

func someLeaf(r *rand.Rand) string {
	f := ""
	if r.IntN(2) == 0 {
		f = pick(r, append(someFields, "name", "type", "text", "size", "modified", "mime", "ext")) + ":"
	}
	w := pick(r, someWords)
	switch r.IntN(12) {
	case 0:
		return f + string([]rune(w)[:1+r.IntN(len([]rune(w)))]) + "*"
	case 1:
		return f + "*" + string([]rune(w)[len([]rune(w))-1:])
	case 2:
		return f + fmt.Sprintf("%q", phrase(r, 2))
	case 3:
		return f + fmt.Sprintf("%q~%d", phrase(r, 2+r.IntN(2)), r.IntN(8))
	case 4:
		return f + w + "~" + fmt.Sprint(r.IntN(3))
	case 5:
		return fmt.Sprintf("%s:[%d TO %d}", pick(r, []string{"total", "size", "tags"}), r.IntN(40)-10, r.IntN(60))
	case 6:
		return pick(r, []string{"modified", "due"}) + pick(r, []string{">", ">=", "<", "<="}) +
			someTime(r).Format(time.DateOnly)
	case 7:
		return pick(r, append(someFields, "address", "mime")) + ":*"
	case 8:
		return pick(r, []string{
			"paid:true", "paid:false", "ext:pdf", "mime:image\\/png", "mime:image*", "*.pdf", "*:*", "type:Invoice",
			`note:""`, `customer:""`,
		})
	case 9:
		f := pick(r, []string{"name", "customer", "tags"})
		return fmt.Sprintf("%s:[%s TO %s]", f, pick(r, someWords), pick(r, someWords))
	case 10:
		return "total:" + fmt.Sprint(r.IntN(40)-10)
	}
	return f + w
}

func someQuery(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		return someLeaf(r)
	}
	var parts []string
	for range 1 + r.IntN(3) {
		p := someQuery(r, depth-1)
		if r.IntN(4) == 0 {
			p = "-(" + p + ")"
		}
		parts = append(parts, p)
	}
	return "(" + strings.Join(parts, pick(r, []string{" ", " OR "})) + ")"
}

// The index finds just what the model finds, whatever was added, replaced, removed, flushed and opened again.
func TestAgreesWithTheModel(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			m := newMemory()
			var manifest []byte
			var deltas []Delta
			open := func() *Index {
				x, err := Open(m, manifest, deltas)
				if err != nil {
					t.Fatal(err)
				}
				x.BlockSize = MinBlockSize
				return x
			}
			x := open()
			model := map[coffer.ObjectID]Document{}
			fields := map[coffer.ObjectID]*lucene.Fields{}
			var ids []coffer.ObjectID
			most := 0
			for step := range 80 {
				switch r.IntN(8) {
				case 0, 1, 2, 3:
					var d Delta
					used := map[coffer.ObjectID]bool{}
					for range 1 + r.IntN(40) {
						id := coffer.NewObjectID()
						if len(ids) > 0 && r.IntN(4) == 0 {
							id = ids[r.IntN(len(ids))]
						}
						if used[id] {
							continue
						}
						used[id] = true
						if r.IntN(6) == 0 {
							d.Removed = append(d.Removed, id)
							delete(model, id)
							continue
						}
						doc := someDocument(r, id)
						d.Documents = append(d.Documents, doc)
						model[id], fields[id] = doc, doc.fields()
						ids = append(ids, id)
					}
					b, err := d.Encode()
					if err != nil {
						t.Fatal(err)
					}
					back, err := DecodeDelta(b)
					if err != nil {
						t.Fatal(err)
					}
					deltas = append(deltas, *back)
					if err := x.Add(*back); err != nil {
						t.Fatal(err)
					}
				case 4, 5:
					if r.IntN(4) == 0 {
						m.failIn = 1 + r.IntN(2)
					}
					before := len(m.blocks)
					flush := x.Flush
					if r.IntN(5) == 0 {
						flush = x.Compact
					}
					now, drop, err := flush(t.Context())
					m.failIn = 0
					if errors.Is(err, coffer.Unavailable) {
						if len(m.blocks) != before {
							t.Fatalf("step %d: a failed flush leaves %d blocks instead of %d", step, len(m.blocks), before)
						}
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if r.IntN(4) == 0 { // the commit fails
						if err := m.Drop(t.Context(), x.Made()...); err != nil {
							t.Fatal(err)
						}
						x = open()
						break
					}
					manifest, deltas = now, nil
					if err := m.Drop(t.Context(), drop...); err != nil {
						t.Fatal(err)
					}
				case 6:
					x = open()
				}
				most = max(most, x.Segments())
				for range 4 {
					text := someQuery(r, 2)
					q := parse(t, text)
					got := find(t, x, q)
					for id, d := range model {
						_, ok := got[id]
						if want := q.Match(fields[id]); ok != want {
							t.Fatalf("step %d: %s: found %t, want %t: %+v %s", step, text, ok, want, d, d.Value)
						}
						if ok && got[id] != d.hit() {
							t.Fatalf("step %d: %s: hit %+v, want %+v", step, text, got[id], d.hit())
						}
						delete(got, id)
					}
					if len(got) > 0 {
						t.Fatalf("step %d: %s: finds %d that are no more", step, text, len(got))
					}
				}
			}
			refs, err := x.Refs(t.Context())
			if err != nil || len(refs) != len(m.blocks) {
				t.Errorf("%d blocks are kept, %d are known, %v", len(m.blocks), len(refs), err)
			}
			if m.largest > MinBlockSize {
				t.Errorf("a block has %d bytes", m.largest)
			}
			t.Logf("%d documents, %d blocks, up to %d segments", len(model), len(m.blocks), most)
		})
	}
}

func TestPath(t *testing.T) {
	m := newMemory()
	x, err := Open(m, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	folder := func(id, in byte, name string) Document {
		return Document{ID: coffer.ObjectID{id}, Folder: coffer.ObjectID{in}, Name: name, Type: TypeFolder}
	}
	add := func(d ...Document) {
		t.Helper()
		if err := x.Add(Delta{Documents: d}); err != nil {
			t.Fatal(err)
		}
	}
	flush := func() {
		t.Helper()
		if _, _, err := x.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	path := func(id byte, want string, kind error) {
		t.Helper()
		got, err := x.Path(t.Context(), coffer.ObjectID{id})
		if got != want || !errors.Is(err, kind) {
			t.Errorf("%q, %v, want %q, %v", got, err, want, kind)
		}
	}
	add(folder(1, 0, "a"), folder(2, 1, "b"), folder(3, 2, "c.txt"), folder(4, 9, "lost"))
	path(3, "a/b/c.txt", nil)
	flush()
	path(3, "a/b/c.txt", nil)
	add(folder(2, 0, "moved"))
	path(3, "moved/c.txt", nil)
	flush()
	path(3, "moved/c.txt", nil)
	path(1, "a", nil)
	path(4, "", coffer.NotExist)
	path(7, "", coffer.NotExist)
	add(folder(1, 2, "a"), folder(2, 1, "b"))
	path(3, "", coffer.Corrupt)
	if err := x.Add(Delta{Removed: []coffer.ObjectID{{2}}}); err != nil {
		t.Fatal(err)
	}
	path(3, "", coffer.NotExist)
}

func TestDeltaKeepsToTheRules(t *testing.T) {
	id := coffer.ObjectID{1}
	for name, d := range map[string]Delta{
		"no id":         {Documents: []Document{{Name: "x"}}},
		"twice":         {Documents: []Document{{ID: id}, {ID: id}}},
		"and removed":   {Documents: []Document{{ID: id}}, Removed: []coffer.ObjectID{id}},
		"removed twice": {Removed: []coffer.ObjectID{id, id}},
		"no id removed": {Removed: []coffer.ObjectID{{}}},
		"name":          {Documents: []Document{{ID: id, Name: strings.Repeat("x", MaxName+1)}}},
		"size":          {Documents: []Document{{ID: id, Size: -1}}},
		"value":         {Documents: []Document{{ID: id, Value: []byte("{")}}},
		"too many":      {Removed: make([]coffer.ObjectID, MaxDeltaEntries+1)},
	} {
		if _, err := d.Encode(); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if x, err := Open(newMemory(), nil, []Delta{d}); !errors.Is(err, coffer.Invalid) || x != nil {
			t.Errorf("%s: open: %v", name, err)
		}
	}
}

func TestTooMuchWork(t *testing.T) {
	x, err := Open(newMemory(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.MaxTerms = 50
	r := rand.New(rand.NewPCG(1, 1))
	var d Delta
	for i := range 100 {
		doc := someDocument(r, coffer.NewObjectID())
		doc.Size = int64(i)
		d.Documents = append(d.Documents, doc)
	}
	if err := x.Add(d); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]error{
		"size:[0 TO 20]": nil, "size:[0 TO *]": coffer.Exhausted, "*e": coffer.Exhausted, "ada": nil,
	} {
		var got error
		for _, err := range x.Find(t.Context(), parse(t, s)) {
			got = err
		}
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}

// corpus is documents like those of a busy person: names of three words, five fields, thirty words of text, from a
// vocabulary of 20,000 with the frequencies of a language.
func corpus(r *rand.Rand, n int) []Document {
	zipf := rand.NewZipf(r, 1.1, 8, 19_999)
	word := func() string { return fmt.Sprintf("w%d", zipf.Uint64()) }
	text := func(n int) string {
		var w []string
		for range n {
			w = append(w, word())
		}
		return strings.Join(w, " ")
	}
	folders := make([]coffer.ObjectID, 200)
	for i := range folders {
		folders[i] = coffer.NewObjectID()
	}
	list := make([]Document, n)
	for i := range list {
		list[i] = Document{
			ID: coffer.NewObjectID(), Folder: folders[r.IntN(len(folders))], Name: text(3) + ".pdf", Type: "Invoice",
			MIME: "application/pdf", Size: int64(r.IntN(1 << 20)), Modified: time.Unix(1.7e9+int64(r.IntN(1e7)), 0).UTC(),
			Value: []byte(fmt.Sprintf(`{"customer":%q,"city":%q,"total":%d,"paid":%t,"due":"2024-%02d-%02d"}`,
				text(2), word(), r.IntN(10_000), r.IntN(2) == 0, 1+r.IntN(12), 1+r.IntN(28))),
			Text: text(30),
		}
	}
	return list
}
