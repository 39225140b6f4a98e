package agent_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
)

type Invoice struct {
	Customer string            `json:"customer"`
	Total    float64           `json:"total"`
	Paid     bool              `json:"paid"`
	Lines    []Line            `json:"lines,omitempty"`
	Notes    map[string]string `json:"notes,omitempty"`
}

type Line struct {
	Article string `json:"article"`
	Number  int    `json:"number"`
}

func TestFind(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	ctx := t.Context()
	for path, v := range map[string]Invoice{
		"invoices/1": {
			Customer: `Ada "A."`, Total: 30, Paid: true, Lines: []Line{{"bolt", 4}, {"nut", 8}},
			Notes: map[string]string{"a.b": "dotted"},
		},
		"invoices/2": {Customer: "Bob", Total: 30.5},
		"invoices/3": {Customer: "true", Total: -1e3, Paid: true},
	} {
		if _, err := agent.Put(ctx, a, path, v); err != nil {
			t.Fatal(err)
		}
	}
	put(t, a, "reports/Annual Report 2025.pdf", nil)
	put(t, a, "reports/annual-budget 2025.txt", nil)
	put(t, a, "reports/Ärger über Öl.md", nil)
	put(t, a, "file", nil)
	for query, want := range map[string]string{
		"annual":                           "reports/Annual Report 2025.pdf|reports/annual-budget 2025.txt",
		"ANNUAL report":                    "reports/Annual Report 2025.pdf",
		"report annual 2025 pdf":           "reports/Annual Report 2025.pdf",
		`"annual report"`:                  "reports/Annual Report 2025.pdf",
		"annual-2025":                      "reports/Annual Report 2025.pdf|reports/annual-budget 2025.txt",
		"annu":                             "",
		"annual invoice":                   "",
		"öl":                               "reports/Ärger über Öl.md",
		"Invoice":                          "invoices/1|invoices/2|invoices/3",
		"file":                             "file",
		"name:file":                        "file",
		"name=file type=File":              "file",
		"name:File":                        "",
		`name:"Annual Report 2025.pdf"`:    "reports/Annual Report 2025.pdf",
		"path:/reports":                    "reports",
		"folder:invoices":                  "invoices/1|invoices/2|invoices/3",
		`folder:"" type:Folder`:            "invoices|reports",
		"folder:invoices/ 1":               "invoices/1",
		"total:30":                         "invoices/1",
		"total:3e1":                        "invoices/1",
		"total:30.5":                       "invoices/2",
		"total=-1000":                      "invoices/3",
		`total:"30"`:                       "",
		"paid:true":                        "invoices/1|invoices/3",
		"paid:false":                       "invoices/2",
		`paid:"true"`:                      "",
		"customer:true":                    "invoices/3",
		`customer:"true"`:                  "invoices/3",
		`customer="Ada \"A.\""`:            "invoices/1",
		"customer:Ada":                     "",
		"lines.article:nut":                "invoices/1",
		"lines.number:4 lines.article:nut": "invoices/1",
		"lines.number:5":                   "",
		`notes.a\.b:dotted`:                "invoices/1",
		"notes.a.b:dotted":                 "",
		"type:Invoice customer:Bob":        "invoices/2",
		"colour:red":                       "",
		"..:x":                             "",
		"path:..":                          "",
		"…":                                "",
	} {
		got := strings.Join(paths(t, a.Find(ctx, query)), "|")
		if got != want {
			t.Errorf("%s finds %q, not %q", query, got, want)
		}
	}
	for _, query := range []string{"", "  ", ":x", "a:", `a:"b`, `"a"b`, `"a\"`, "a\xff",
		strings.Repeat("a ", 17), strings.Repeat("a", 4097),
		"a:1 b:1 c:1 d:1 e:1 f:1 g:1 h:1 i:1"} {
		for _, err := range a.Find(ctx, query) {
			if !errors.Is(err, coffer.Invalid) {
				t.Errorf("%q: %v", query, err)
			}
		}
	}
}

// A published client with the same HMAC key finds what the agent stored, by the attributes of doc/objects.md.
func TestFoundByOthers(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	ctx := t.Context()
	put(t, a, "f/Some name.txt", nil)
	if _, err := agent.Put(ctx, a, "f/i", Invoice{Customer: "Ada", Total: 30, Lines: []Line{{"nut", 8}}}); err != nil {
		t.Fatal(err)
	}
	for attribute, v := range map[string]any{
		"content.path": "f/i", "content.type": "Invoice", "content.name": "Some name.txt", "content.words": "some",
		"content.value.customer": "Ada", "content.value.total": 30, "content.value.paid": false,
		"content.value.lines.article": "nut",
	} {
		b, err := seal.NewBlinder(h.alice, seal.Index{Attributes: []string{attribute}})
		if err != nil {
			t.Fatal(err)
		}
		q, err := b.Equals(ctx, map[string]any{attribute: v})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := h.view(h.alice, nil).Count(ctx, q); err != nil || n != 1 {
			t.Errorf("%s: %d found, %v", attribute, n, err)
		}
	}
	// And the path belongs to one object only, whoever asks.
	docs, err := h.view(h.alice, nil).Get(ctx, put(t, a, "taken", nil).ID)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte(`{"path":"taken"}`)
	b, err := seal.NewBlinder(h.alice, seal.Index{Attributes: []string{"content.path"}, Unique: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := seal.Seal(ctx, h.alice, seal.Plain{Content: content}, seal.Options{ID: coffer.NewObjectID(), Blind: b})
	if err != nil || len(docs[0].Tags) == 0 {
		t.Fatal(err)
	}
	_, err = coffer.Put(ctx, h.view(h.alice, nil), d)
	expect(t, err, coffer.Conflict)
}

// What another program of the owner wrote opens by its id, content as it is, and does not show by name.
func TestGetID(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	b, err := seal.NewBlinder(h.alice,
		seal.Index{Attributes: []string{"content.folder"}}, seal.Index{Attributes: []string{"content.path"}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(content string) coffer.ObjectID {
		o := seal.Options{ID: coffer.NewObjectID(), Blind: b}
		d, err := seal.Seal(ctx, h.alice, seal.Plain{Content: []byte(content)}, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := coffer.Put(ctx, h.view(h.alice, nil), d); err != nil {
			t.Fatal(err)
		}
		return d.ID
	}
	contents := []string{
		`{"folder":"","name":{"first":"Ada"},"n":12345678901234567890}`,
		`{"type":"Note","path":"theirs","name":"theirs","folder":"","size":2,"value":{}}`,
		`{"type":"File","path":"../../up","name":"up","folder":"../..","size":0}`,
	}
	a, lenient := h.owner(), h.owner(func(o *agent.Options) { o.Others = true })
	for _, content := range contents {
		o, err := a.GetID(ctx, write(content))
		if err != nil || string(o.Content) != content || o.Own || o.Path != "" && o.Path != "theirs" {
			t.Fatalf("%s came back as %s, %+v, %v", content, o.Content, o.Info, err)
		}
	}
	same(t, paths(t, a.List(ctx, "")), []string{})
	_, err = a.Get(ctx, "theirs")
	expect(t, err, coffer.Corrupt)
	_, err = a.GetID(ctx, coffer.NewObjectID())
	expect(t, err, coffer.NotExist)

	same(t, paths(t, lenient.List(ctx, "")), []string{"theirs"})
	if string(get(t, lenient, "theirs")) != "{}" {
		t.Fatal("what another program wrote came back as something else")
	}
}

func TestTyped(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	ctx := t.Context()
	v := Invoice{Customer: "Ada", Total: 30, Lines: []Line{{"nut", 8}}}
	info, err := agent.Put(ctx, a, "i", v)
	if err != nil || info.Type != "Invoice" {
		t.Fatalf("%+v, %v", info, err)
	}
	got, err := agent.Get[Invoice](ctx, a, "i")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(v) {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = agent.Get[Line](ctx, a, "i")
	expect(t, err, coffer.Invalid)
	_, err = agent.Get[Invoice](ctx, a, "nowhere")
	expect(t, err, coffer.NotExist)
	put(t, a, "file", nil)
	_, err = agent.Get[Invoice](ctx, a, "file")
	expect(t, err, coffer.Invalid)
	_, err = agent.Put(ctx, a, "c", make(chan int))
	expect(t, err, coffer.Invalid)
	if _, err := agent.Put(ctx, a, "m", map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	m, err := agent.Get[map[string]int](ctx, a, "m")
	if err != nil || m["a"] != 1 {
		t.Fatalf("%v, %v", m, err)
	}
	o, err := a.Get(ctx, "i")
	if err != nil || string(o.Value) != string(read(t, o)) || o.Size != int64(len(o.Value)) ||
		time.Since(o.Modified) > time.Minute {
		t.Fatalf("%+v, %v", o.Info, err)
	}
	// Spaces and escapes of JSON do not last, numbers do as they are written.
	spaced := "{ \"a\" : [ 12345678901234567890 , \"\\u0041\\/\" , 1.50 ] }\n"
	if _, err := a.Put(ctx, "s", agent.Source{Value: []byte(spaced), Type: "T"}, agent.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := string(get(t, a, "s")); got != `{"a":[12345678901234567890,"A/",1.50]}` {
		t.Fatalf("the value came back as %s", got)
	}
	// Far more fields than are indexed, and names that no path can hold.
	wide := map[string]any{`back\slash`: 1, "": 2, strings.Repeat("n", 2000): 3, "array": make([]int, 5000)}
	for n := range 500 {
		wide[fmt.Sprint("f", n)] = n
	}
	if _, err := agent.Put(ctx, a, "wide", wide); err != nil {
		t.Fatal(err)
	}
	same(t, paths(t, a.Find(ctx, "f0:0")), []string{"wide"})
}
