package providerview

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/pebble"
)

// A Day is what shows of one vault: all that can be told without keys. Ids are replaced by numbers, in the order in
// which they first show.
type Day struct {
	Documents []*Document
	Commits   []Commit
	Requests  []Request

	numbers map[coffer.ObjectID]int
}

// A Document is an object as it is on the disk at the end of the day.
type Document struct {
	Number    int
	Revisions uint64
	Erased    bool
	Body      int     // bytes
	Chunks    []int64 // bytes of each, as stored

	Present *coffer.Document // nil if erased
}

// A Commit is what was written at once.
type Commit []Write

// A Write is one part of a commit.
type Write struct {
	Act    string // insert, update or erase
	Number int    // of the document
	Body   int    // bytes
	Stream string // "", "pending", or the number of chunks
}

// A Request is one that is no commit: what was asked for.
type Request struct {
	Method, Route string
	Number        int // of the document; 0 is none
	Status        int
	Out           int // bytes of the answer, of documents and chunks
	In            int // bytes sent, of chunks
}

// Observe makes the day of a vault from the node's folder, which no node has open, and the requests that began since a
// time of the recorder's clock.
func Observe(ctx context.Context, data string, exchanges []*Exchange, id coffer.VaultID, since int) (*Day, error) {
	d := &Day{numbers: make(map[coffer.ObjectID]int)}
	for _, e := range exchanges {
		if e.At < since {
			continue
		}
		path, ok := strings.CutPrefix(e.Request.URL.Path, "/edvs/"+id.String()+"/")
		if !ok {
			continue
		}
		if e.Answer.Header.Get("Content-Encoding") != "" {
			return nil, fmt.Errorf("an answer is compressed: what is in it was not looked at")
		}
		if err := d.exchange(e, path); err != nil {
			return nil, err
		}
	}
	d.settle()
	s, err := pebble.Open(filepath.Join(data, "documents"), pebble.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return d, d.disk(ctx, s, id)
}

// number returns the number of an object.
func (d *Day) number(id coffer.ObjectID) int {
	n, ok := d.numbers[id]
	if !ok {
		n = len(d.numbers) + 1
		d.numbers[id] = n
	}
	return n
}

// exchange adds a request at a path of the vault.
func (d *Day) exchange(e *Exchange, path string) error {
	segments := strings.Split(path, "/")
	r := Request{Method: e.Request.Method, Status: e.Answer.StatusCode}
	route := slices.Clone(segments)
	var id coffer.ObjectID
	if len(segments) > 1 && slices.Contains([]string{"documents", "held", "open"}, segments[0]) && segments[1] != "query" {
		var err error
		if id, err = coffer.ParseObjectID(segments[1]); err != nil {
			return err
		}
		route[1] = "{id}"
	}
	chunk := len(segments) == 4 && segments[2] == "chunks"
	if len(segments) > 2 && segments[1] == "revocations" {
		route[2] = "{capability}"
	}
	r.Route = strings.Join(route, "/")
	write := r.Status < 300 && r.Method != "GET" && r.Method != "HEAD" && !chunk
	switch {
	case write && segments[0] == "batch":
		return d.batch(e.In)
	case write && r.Method == "DELETE":
		d.Commits = append(d.Commits, Commit{{Act: "erase", Number: d.number(id)}})
		return nil
	case write && slices.Contains([]string{"documents", "held", "documents/{id}", "held/{id}"}, r.Route):
		w, err := d.write(e.In)
		d.Commits = append(d.Commits, Commit{w})
		return err
	}
	if id != (coffer.ObjectID{}) {
		r.Number, r.Out = d.number(id), len(e.Out)
	}
	if chunk && r.Method == "POST" {
		r.Out, r.In = 0, len(e.In)
	}
	d.Requests = append(d.Requests, r)
	return nil
}

// batch adds a commit of several writes.
func (d *Day) batch(body []byte) error {
	var operations []struct {
		Put    json.RawMessage
		Delete string
	}
	if err := json.Unmarshal(body, &operations); err != nil {
		return err
	}
	var c Commit
	for _, o := range operations {
		if o.Put == nil {
			id, err := coffer.ParseObjectID(o.Delete)
			if err != nil {
				return err
			}
			c = append(c, Write{Act: "erase", Number: d.number(id)})
			continue
		}
		w, err := d.write(o.Put)
		if err != nil {
			return err
		}
		c = append(c, w)
	}
	// Pages come in the order of their ids, which are random.
	slices.SortStableFunc(c, func(x, y Write) int { return cmp.Compare(x.Number, y.Number) })
	d.Commits = append(d.Commits, c)
	return nil
}

func (d *Day) write(body []byte) (w Write, err error) {
	doc, err := edv.DecodeDocument(body)
	if err != nil {
		return w, err
	}
	w = Write{Act: "insert", Number: d.number(doc.ID), Body: len(body)}
	if doc.Sequence > 0 {
		w.Act = "update"
	}
	if s := doc.Stream; s != nil {
		w.Stream = strconv.FormatUint(s.Chunks, 10)
		if s.Pending {
			w.Stream = "pending"
		}
	}
	return w, nil
}

// settle orders what was on its way at the same time: the requests for the chunks of one stream.
func (d *Day) settle() {
	isChunk := func(r Request) bool { return strings.Contains(r.Route, "/chunks/") }
	for from := 0; from < len(d.Requests); {
		to := from + 1
		for isChunk(d.Requests[from]) && to < len(d.Requests) && isChunk(d.Requests[to]) {
			to++
		}
		slices.SortStableFunc(d.Requests[from:to], func(x, y Request) int {
			return cmp.Or(cmp.Compare(len(x.Route), len(y.Route)), cmp.Compare(x.Route, y.Route))
		})
		from = to
	}
}

// disk adds what is on the disk of the objects that showed during the day.
func (d *Day) disk(ctx context.Context, s store.Store, v coffer.VaultID) error {
	byNumber := make(map[int]coffer.ObjectID)
	for id, n := range d.numbers {
		byNumber[n] = id
	}
	revisions := make(map[coffer.ObjectID]uint64)
	for c, err := range s.Changes(ctx, v, 0) {
		if err != nil {
			return err
		}
		if c.Kind == coffer.Accepted {
			revisions[c.ID]++
		}
	}
	for n := range len(d.numbers) {
		id := byNumber[n+1]
		out := &Document{Number: n + 1, Revisions: revisions[id]}
		present, err := s.Get(ctx, v, id)
		switch {
		case errors.Is(err, coffer.NotExist):
			out.Erased = true
		case err != nil:
			return err
		default:
			out.Present, out.Body = present, len(present.Body)
			if st := present.Stream; st != nil && !st.Pending {
				for i := range st.Chunks {
					c, err := s.Chunk(ctx, v, id, st.Sequence, i)
					if err != nil {
						return err
					}
					out.Chunks = append(out.Chunks, c.Ref.Size)
				}
			}
		}
		d.Documents = append(d.Documents, out)
	}
	return nil
}

// Of returns the document with an id; nil if it did not show.
func (d *Day) Of(id coffer.ObjectID) *Document {
	if n, ok := d.numbers[id]; ok {
		return d.Documents[n-1]
	}
	return nil
}

// tags returns how many tags there are of each name, in order. Names other than those of verifiers are not told apart.
func (d *Document) tags() string {
	count := make(map[string]int)
	if d.Present != nil {
		for _, t := range d.Present.Tags {
			name := "blinded"
			if t.Key == coffer.AccessKey || t.Key == edv.InboxKey {
				name = t.Name
			}
			count[name]++
		}
	}
	var out []string
	for name, n := range count {
		out = append(out, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// A table is what a person reads, and what days are compared by.
type table struct {
	title string
	rows  [][]string
}

// tables returns all that shows.
func (d *Day) tables() []table {
	documents := table{"documents", [][]string{{"document", "revisions", "bytes", "tags", "chunks, bytes"}}}
	for _, o := range d.Documents {
		row := []string{strconv.Itoa(o.Number), strconv.FormatUint(o.Revisions, 10), strconv.Itoa(o.Body), o.tags(), sizes(o.Chunks)}
		if o.Erased {
			row[2] = "erased"
		}
		documents.rows = append(documents.rows, row)
	}
	commits := table{"commits", [][]string{{"commit", "writes: act, document, bytes, chunks"}}}
	for i, c := range d.Commits {
		var list []string
		for _, w := range c {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %d %d %s", w.Act, w.Number, w.Body, w.Stream)))
		}
		commits.rows = append(commits.rows, []string{strconv.Itoa(i + 1), strings.Join(list, "; ")})
	}
	requests := table{"other requests", [][]string{{"request", "document", "status", "bytes in", "bytes out"}}}
	for _, r := range d.Requests {
		requests.rows = append(requests.rows, []string{
			r.Method + " " + r.Route, strconv.Itoa(r.Number), strconv.Itoa(r.Status), strconv.Itoa(r.In), strconv.Itoa(r.Out),
		})
	}
	return []table{documents, commits, requests}
}

func sizes(list []int64) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return strings.Join(out, ", ")
}

// Markdown returns the day as tables. Rows that differ in nothing but their number are joined.
func (d *Day) Markdown() string {
	var b strings.Builder
	for _, t := range d.tables() {
		fmt.Fprintf(&b, "\n%s\n\n", t.title)
		line := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
		line(append(t.rows[0], "times")...)
		line(slices.Repeat([]string{"---"}, len(t.rows[0])+1)...)
		for rows := t.rows[1:]; len(rows) > 0; {
			n := 1
			for n < len(rows) && alike(t.title, rows[0], rows[n]) {
				n++
			}
			line(append(slices.Clone(rows[0]), strconv.Itoa(n))...)
			rows = rows[n:]
		}
	}
	return b.String()
}

func alike(title string, x, y []string) bool {
	if title == "documents" {
		x, y = x[1:], y[1:]
	}
	return slices.Equal(x, y)
}

// Differences returns where two days differ, at most so many sentences.
func Differences(x, y *Day, most int) (out []string) {
	other := y.tables()
	for i, t := range x.tables() {
		a, b := t.rows, other[i].rows
		if len(a) != len(b) {
			out = append(out, fmt.Sprintf("%s: %d and %d", t.title, len(a)-1, len(b)-1))
		}
		for j := range min(len(a), len(b)) {
			if !slices.Equal(a[j], b[j]) {
				out = append(out, fmt.Sprintf("%s: %q and %q", t.title, a[j], b[j]))
			}
		}
	}
	return out[:min(len(out), most)]
}
