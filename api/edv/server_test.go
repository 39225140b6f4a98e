package edv_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

// soon bounds what should happen at once.
const soon = 20 * time.Second

// TestNobody checks that whoever has no right learns nothing, not even whether there is a vault.
func TestNobody(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := w.insert(t)
	known := strings.TrimPrefix(w.vault, coffertest.Origin)
	unknown := "/edvs/" + coffer.NewVaultID().String()
	var answers []string
	for _, v := range []string{known, unknown, "/edvs/x", "/edvs/z" + strings.Repeat("1", 200)} {
		for _, below := range []string{"", "/documents", "/documents/" + id.String(), "/documents/x", "/documents/" + id.String() + "/chunks/x",
			"/changes", "/changes?wait=x", "/history", "/zcaps/revocations"} {
			a := w.do(t, call{as: w.bob, root: coffertest.Origin + v, url: v + below}).want(t, "403 NotAllowedError notExist")
			a.Header.Del("Date")
			answers = append(answers, fmt.Sprint(a.Header, a.body))
		}
	}
	if answers = slices.Compact(answers); len(answers) != 1 {
		t.Errorf("strangers get %d different answers: %q", len(answers), answers)
	}
}

// TestPlaces sends what is no plain path, over a bare connection. None of it may come near a vault.
func TestPlaces(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	v := strings.TrimPrefix(w.vault, coffertest.Origin)
	for target, want := range map[string]int{
		v + "/documents/../documents":           404,
		v + "/./documents":                      404,
		v + "//documents":                       404,
		v + "/documents/":                       404,
		v + "/%2e%2e/x":                         404,
		v + "/documents%2Fx":                    404,
		v + "/documents%2fx":                    404,
		v + "/documents%5Cx":                    404,
		v + `/documents\x`:                      404,
		v + "/%64ocuments":                      404, // another text for the same place
		v + "/documents/%C3":                    404,
		v + "/documents/%00":                    404,
		v + "/zcaps/revocations/urn%3auuid":     404, // lower case
		v + "/zcaps/revocations/a%2Fb":          404,
		v + "/a/b/c/d/e/f":                      404,
		"/":                                     404,
		"/edv":                                  404,
		"http://vault.example" + v:              404,
		v + "/" + strings.Repeat("a", 9000):     404,
		v:                                       403,
		v + "/documents":                        403,
		v + "/zcaps/revocations":                403,
		"/1.0/identifiers/did:key:z6Mkx":        400,
		"/.well-known/coffer":                   200,
		"/.well-known/../.well-known/coffer":    404,
		"/openapi.json":                         200,
		"/openapi.json?x":                       200,
		"/edvs?controller=x&controller=y":       400,
		v + "/documents?a=b&c=%":                403,
		v + "/documents/z1AAAAAAAAAAAAAAAAAAAA": 403,
	} {
		conn, err := net.Dial("tcp", w.at.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: vault.example\r\nConnection: close\r\n\r\n", target)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.100s: %v", target, err)
		}
		if resp.StatusCode != want {
			t.Errorf("%.100s: %d, want %d", target, resp.StatusCode, want)
		}
		conn.Close()
	}
}

func TestMethods(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	doc := w.document(w.insert(t))
	a := w.do(t, call{method: "PUT", url: doc}).want(t, "405 MethodNotAllowedError invalid")
	if got := a.Header.Get("Allow"); got != "GET, HEAD, POST, DELETE, OPTIONS" {
		t.Errorf("allows %q", got)
	}
	got, head := w.do(t, call{url: doc}).want(t, "200"), w.do(t, call{method: "HEAD", url: doc}).want(t, "200")
	if head.body != "" || head.Header.Get("Etag") != got.Header.Get("Etag") || head.Header.Get("Content-Length") != fmt.Sprint(len(got.body)) {
		t.Errorf("HEAD answers %v %q", head.Header, head.body)
	}
}

// TestScripts checks what lets scripts of any origin use the server.
func TestScripts(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	r, err := http.NewRequest("OPTIONS", w.at.URL+"/edvs/x/documents", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Access-Control-Request-Headers", "authorization,capability-invocation")
	resp, err := w.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Max-Age":       "86400",
		"Access-Control-Allow-Headers": "authorization,capability-invocation",
		"Access-Control-Allow-Methods": "POST, GET, HEAD, OPTIONS",
	} {
		if got := resp.Header.Get(name); got != want || resp.StatusCode != 204 {
			t.Errorf("%d: %s is %q, want %q", resp.StatusCode, name, got, want)
		}
	}
	for _, c := range []call{{url: "documents"}, {url: "documents", as: w.bob}, {url: "nowhere"}, {url: "/.well-known/coffer"}} {
		h := w.do(t, c).Header
		if h.Get("Access-Control-Allow-Origin") != "*" || !strings.HasPrefix(h.Get("Access-Control-Expose-Headers"), "Location, ETag") {
			t.Errorf("%s: scripts cannot read the answer: %v", c.url, h)
		}
	}
}

func TestDocuments(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := coffer.NewObjectID()
	doc := w.document(id)
	put := func(sequence int, header map[string]string, want string) answer {
		t.Helper()
		return w.do(t, call{url: doc, body: documentJSON(id, sequence), header: header}).want(t, want)
	}
	a := w.do(t, call{url: "documents", body: documentJSON(id, 0)}).want(t, "201")
	if got := a.Header.Get("Location"); got != w.vault+"/"+doc || a.body != "" {
		t.Errorf("Location %q, body %q", got, a.body)
	}
	first := a.Header.Get("Etag")
	a = w.do(t, call{url: doc}).want(t, "200")
	for name, want := range map[string]string{
		"Etag": first, "Content-Type": "application/json", "Cache-Control": "private, no-cache", "Coffer-Parents": "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if a.body != documentJSON(id, 0) {
		t.Error("not the document that was stored")
	}
	for _, match := range []string{first, `"x", ` + first, "W/" + first, "*"} {
		if a := w.do(t, call{url: doc, header: map[string]string{"If-None-Match": match}}).want(t, "304"); a.body != "" {
			t.Error("a body with status 304")
		}
	}
	w.do(t, call{url: doc, header: map[string]string{"If-None-Match": `"x"`}}).want(t, "200")

	// As the published clients update, and with the revision to be replaced.
	if a := put(1, nil, "204"); a.body != "" {
		t.Error("a body with status 204")
	}
	a = w.do(t, call{url: doc}).want(t, "200")
	if got := quoted(a.Header.Get("Coffer-Parents")); got != first {
		t.Errorf("parents %s, want %s", got, first)
	}
	put(2, map[string]string{"If-Match": first}, "409 InvalidStateError conflict")
	put(2, map[string]string{"If-Match": a.Header.Get("Etag")}, "204")

	// An update makes what does not exist, with whatever sequence; what was erased stays so.
	id = coffer.NewObjectID()
	doc = w.document(id)
	put(7, nil, "204")
	put(8, nil, "204")
	w.do(t, call{method: "DELETE", url: doc}).want(t, "200")
	put(9, nil, "409 InvalidStateError conflict")
	put(0, map[string]string{"If-None-Match": "*"}, "409 InvalidStateError conflict")

	// Who asks for the change gets it.
	id = coffer.NewObjectID()
	accept := map[string]string{"Accept": edv.ChangeType}
	a = w.do(t, call{url: "documents", body: documentJSON(id, 0), header: accept}).want(t, "201")
	type change struct {
		Cursor, Type, DocumentID, Revision, By string
		Number, Sequence                       uint64
		Time                                   time.Time
	}
	ch := decode[change](t, a)
	if ch.DocumentID != id.String() || ch.Type != "accepted" || quoted(ch.Revision) != a.Header.Get("Etag") ||
		ch.By != w.alice.DID() || ch.Cursor == "" || ch.Number == 0 || time.Since(ch.Time) > time.Minute {
		t.Errorf("the change is %+v", ch)
	}
	a = w.do(t, call{method: "DELETE", url: w.document(id)}).want(t, "200")
	if gone := decode[change](t, a); gone.DocumentID != id.String() || gone.Type != "erased" || gone.Number != ch.Number+1 {
		t.Errorf("the receipt is %+v", gone)
	}
}

func quoted(s string) string { return `"` + s + `"` }

// TestIndexEntry replaces index entries within documents and compares all other bytes.
// TestRevisions reads revisions that were replaced, and then are dropped.
func TestRevisions(t *testing.T) {
	w := newWire(t, vault.Limits{Keep: time.Hour}, nil)
	id := coffer.NewObjectID()
	var bodies []string
	for sequence := range 3 {
		bodies = append(bodies, documentJSON(id, sequence, fmt.Sprintf("n=%d", sequence)))
		url, status := w.document(id), "204"
		if sequence == 0 {
			url, status = "documents", "201"
		}
		w.do(t, call{url: url, body: bodies[sequence]}).want(t, status)
	}
	revision := func(sequence any) string { return fmt.Sprintf("%s/revisions/%v", w.document(id), sequence) }
	read := func(c call) {
		t.Helper()
		for sequence, body := range bodies {
			c.url = revision(sequence)
			a := w.do(t, c).want(t, "200")
			d, err := edv.DecodeDocument([]byte(a.body))
			if err != nil || a.body != body || a.Header.Get("Cache-Control") != "private, no-cache" {
				t.Fatalf("revision %d: %v %s", sequence, err, a.body)
			}
			if text := a.Header.Get("Coffer-Parents"); text != "" {
				parent, err := coffer.ParseRev(text)
				if err != nil {
					t.Fatal(err)
				}
				d.Parents = []coffer.Rev{parent}
			}
			if etag := a.Header.Get("Etag"); etag != `"`+d.Rev().String()+`"` {
				t.Errorf("revision %d has the entity tag %s", sequence, etag)
			}
		}
	}
	read(call{})
	read(call{as: w.bob, by: w.delegate(t, w.document(id), "read")})
	w.do(t, call{as: w.bob, by: w.delegate(t, revision(1), "read"), url: revision(1)}).want(t, "200")
	w.do(t, call{as: w.bob, url: revision(0)}).want(t, "403 NotAllowedError notExist")
	for _, sequence := range []string{"3", "00", "-1", "+1", "1e0", "x", "9007199254740991", "99999999999999999999"} {
		w.do(t, call{url: revision(sequence)}).want(t, "404 NotFoundError notExist")
	}
	w.do(t, call{url: revision("1?x=y")}).want(t, "400 ValidationError invalid")
	w.do(t, call{url: w.document(coffer.NewObjectID()) + "/revisions/0"}).want(t, "404 NotFoundError notExist")
	w.do(t, call{method: "POST", url: revision(1), body: bodies[1]}).want(t, "405 MethodNotAllowedError invalid")

	// A client reads it, too, and is told what it is.
	v := open(t, remote(t, w.server, w.alice, false), w.vault)
	got, err := v.Revision(t.Context(), id, 1)
	if err != nil || string(got.Body) != bodies[1] || len(got.Parents) != 1 {
		t.Errorf("the client has %+v, %v", got, err)
	}
	if _, err := v.Revision(t.Context(), id, 7); !errors.Is(err, coffer.NotExist) {
		t.Errorf("the client: %v, want NotExist", err)
	}
}

func TestIndexEntry(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := coffer.NewObjectID()
	foreign := `{"hmac":{"id":"urn:other","type":"Sha256HmacKey2019"},"sequence":0,"attributes":[{"name":"o","value":"p"}]}`
	for name, c := range map[string]struct{ before, after string }{
		"replaced":      {` "indexed" : [ ` + foreign + ` , ` + entryJSON(0, "a=b") + `] ,`, ` "indexed" : [ ` + foreign + ` , ENTRY] ,`},
		"first of two":  {`"indexed":[` + entryJSON(0, "a=b") + `,` + foreign + `],`, `"indexed":[ENTRY,` + foreign + `],`},
		"added":         {`"indexed":[` + foreign + ` ],`, `"indexed":[` + foreign + `,ENTRY ],`},
		"the only one":  {`"indexed": [ ],`, `"indexed": [ENTRY ],`},
		"without array": {``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			id = coffer.NewObjectID()
			format := `{%s"sequence":0,"id":"%s","jwe":` + jwe + `}`
			w.do(t, call{url: "documents", body: fmt.Sprintf(format, c.before, id)}).want(t, "201")
			entry := entryJSON(0, "a=c")
			if a := w.do(t, call{url: w.document(id) + "/index", body: entry}).want(t, "204"); a.body != "" {
				t.Error("a body with status 204")
			}
			want := fmt.Sprintf(format, strings.Replace(c.after, "ENTRY", entry, 1), id)
			if c.before == "" {
				want = fmt.Sprintf(format, `"indexed":[`+entry+`],`, id)
			}
			if got := w.do(t, call{url: w.document(id)}).want(t, "200").body; got != want {
				t.Errorf("the document is\n%s, want\n%s", got, want)
			}
			found := w.do(t, call{url: "query", action: grant.Read, body: `{"index":"urn:example:hmac","equals":[{"a":"c"}],"returnDocuments":false}`})
			if ids := decode[struct{ DocumentIDs []string }](t, found).DocumentIDs; !slices.Contains(ids, id.String()) {
				t.Error("not found by its new entry")
			}
		})
	}
}

func TestQueries(t *testing.T) {
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) { o.Limits.Answer = 1000 })
	var ids []string
	for i := range 7 {
		ids = append(ids, w.insert(t, "all=x", fmt.Sprintf("n=%d", i)).String())
	}
	type page struct {
		Documents   []json.RawMessage
		DocumentIDs []string
		HasMore     *bool
		Cursor      string
		Count       *int
	}
	query := func(url, body string) page {
		t.Helper()
		return decode[page](t, w.do(t, call{url: url, action: grant.Read, body: `{"index":"urn:example:hmac",` + body + `}`}).want(t, "200"))
	}
	for body, want := range map[string]int{
		`"equals":[{"all":"x"}],"count":true,"limit":1`:                   7,
		`"equals":[{}],"count":true`:                                      0,
		`"equals":[{"all":"x","n":"3"},{"n":"4"},{"n":"4"}],"count":true`: 2,
		`"has":["n","all"],"count":true`:                                  7,
		`"has":["m"],"count":true`:                                        0,
	} {
		if p := query("query", body); p.Count == nil || *p.Count != want || p.HasMore != nil {
			t.Errorf("%s: %+v, want a count of %d", body, p, want)
		}
	}
	// Pages by number and by size; the whole is the same.
	for name, next := range map[string]func(cursor string) page{
		"limit": func(c string) page { return query("query?returnDocuments=false", `"has":["all"],"limit":3`+c) },
		"below documents": func(c string) page {
			return query("documents/query", `"has":["all"],"limit":2,"returnDocuments":false`+c)
		},
		"bytes": func(c string) page { return query("query", `"equals":[{"all":"x"}]`+c) },
		"list": func(c string) page {
			url := "documents?limit=4&returnDocuments=false"
			if c != "" {
				url += "&cursor=" + strings.Split(c, `"`)[3]
			}
			return decode[page](t, w.do(t, call{url: url}).want(t, "200"))
		},
	} {
		var got []string
		pages := 0
		for cursor, more := "", true; more; pages++ {
			p := next(cursor)
			got = append(got, p.DocumentIDs...)
			for _, d := range p.Documents {
				var w struct{ ID string }
				if json.Unmarshal(d, &w) != nil || len(d) < 300 {
					t.Fatalf("%s: not a document: %s", name, d)
				}
				got = append(got, w.ID)
			}
			if more = *p.HasMore; more == (p.Cursor == "") {
				t.Fatalf("%s: hasMore %t with cursor %q", name, more, p.Cursor)
			}
			cursor = `,"cursor":"` + p.Cursor + `"`
		}
		slices.Sort(got)
		slices.Sort(ids)
		if !slices.Equal(got, ids) || pages < 2 {
			t.Errorf("%s: found %d documents on %d pages, want %d", name, len(got), pages, len(ids))
		}
	}
	// Our own form says what names the documents.
	a := w.do(t, call{url: "documents?limit=1", header: map[string]string{"Accept": edv.DocumentsType}}).want(t, "200")
	own := decode[struct {
		Documents []struct {
			Revision string
			Parents  []string
			Document json.RawMessage
		}
	}](t, a).Documents
	var one struct{ ID string }
	if len(own) != 1 || json.Unmarshal(own[0].Document, &one) != nil || len(own[0].Parents) != 0 || a.Header.Get("Content-Type") != edv.DocumentsType {
		t.Fatalf("answered %v %s", a.Header, a.body)
	}
	if got := w.do(t, call{url: "documents/" + one.ID}).Header.Get("Etag"); got != quoted(own[0].Revision) {
		t.Errorf("the revision is %s, want %s", own[0].Revision, got)
	}
}

// TestLongAnswer fills many buffers, with documents smaller and greater than one.
func TestLongAnswer(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	want := map[string]bool{}
	for i := range 60 {
		body := strings.Replace(documentJSON(coffer.NewObjectID(), 0), `"ciphertext":"AAAA"`, `"ciphertext":"`+strings.Repeat("A", i*i*60)+`"`, 1)
		w.do(t, call{url: "documents", body: body}).want(t, "201")
		want[body] = true
	}
	a := w.do(t, call{url: "documents"}).want(t, "200")
	for _, d := range decode[struct{ Documents []json.RawMessage }](t, a).Documents {
		if !want[string(d)] {
			t.Error("a document that was not stored")
		}
		delete(want, string(d))
	}
	if len(want) > 0 {
		t.Errorf("%d documents are missing", len(want))
	}
}

// TestChunkForms writes chunks in each form and reads them in each.
func TestChunkForms(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	doc := w.document(w.insert(t))
	text := strings.Replace(fmt.Sprintf(`{"index":0,"offset":3,"sequence":0,"jwe":%s}`, jwe), `"ciphertext":"AAAA"`, `"ciphertext":"_-8AAQ"`, 1)
	raw := edv.JoinRaw([]byte(strings.Replace(text, "_-8AAQ", "", 1)), []byte{0xff, 0xef, 0, 1})
	asRaw := map[string]string{"Accept": edv.RawChunkType}
	for name, put := range map[string]call{
		"JSON": {body: text},
		"raw":  {body: string(raw), contentType: edv.RawChunkType},
	} {
		put.url = doc + "/chunks/0"
		w.do(t, put).want(t, "204")
		for want, header := range map[string]map[string]string{text: nil, string(raw): asRaw} {
			a := w.do(t, call{url: put.url, header: header}).want(t, "200")
			if a.body != want || a.Header.Get("Coffer-Sequence") != "0" || a.Header.Get("Vary") != "Accept" {
				t.Errorf("put as %s, read %q with %v, want %q", name, a.body, a.Header, want)
			}
			match := map[string]string{"If-None-Match": a.Header.Get("Etag")}
			for k, v := range header {
				match[k] = v
			}
			w.do(t, call{url: put.url, header: match}).want(t, "304")
			if a := w.do(t, call{method: "HEAD", url: put.url, header: header}).want(t, "200"); a.ContentLength != int64(len(want)) || a.body != "" {
				t.Errorf("HEAD says %d bytes, want %d", a.ContentLength, len(want))
			}
		}
		w.do(t, call{method: "DELETE", url: put.url}).want(t, "204")
	}
}

func TestFeed(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	first, second := w.insert(t), w.insert(t)
	type page struct {
		Changes []struct {
			Cursor, DocumentID string
			Number             int
		}
		Cursor  string
		HasMore bool
	}
	p := decode[page](t, w.do(t, call{url: "changes?limit=1"}).want(t, "200"))
	if len(p.Changes) != 1 || p.Changes[0].DocumentID != first.String() || !p.HasMore || p.Cursor != p.Changes[0].Cursor {
		t.Fatalf("the first page is %+v", p)
	}
	p = decode[page](t, w.do(t, call{url: "changes?after=" + p.Cursor}).want(t, "200"))
	if len(p.Changes) != 1 || p.Changes[0].DocumentID != second.String() || p.HasMore {
		t.Fatalf("the second page is %+v", p)
	}

	// Who waits is told at once.
	answered := make(chan answer, 1)
	go func() { answered <- w.do(t, call{url: "changes?wait=60&after=" + p.Cursor}) }()
	select {
	case a := <-answered:
		t.Fatalf("did not wait: %s", a.body)
	case <-time.After(100 * time.Millisecond):
	}
	third := w.insert(t)
	select {
	case a := <-answered:
		if p = decode[page](t, a.want(t, "200")); len(p.Changes) != 1 || p.Changes[0].DocumentID != third.String() {
			t.Fatalf("waited for %+v", p)
		}
	case <-time.After(soon):
		t.Fatal("goes on waiting")
	}
	if rest := decode[page](t, w.do(t, call{url: "changes?wait=1&after=" + p.Cursor}).want(t, "200")); len(rest.Changes) != 0 || rest.Cursor != p.Cursor {
		t.Errorf("waited for %+v", rest)
	}

	// History counts changes, in the form of the draft; also when the place is known from before.
	type entry struct {
		DocumentID                 string
		Sequence, DocumentSequence int
	}
	for range 2 {
		entries := decode[[]entry](t, w.do(t, call{url: "history?afterSequence=1&limit=1"}).want(t, "200"))
		if want := []entry{{w.vault + "/documents/" + second.String(), 2, 0}}; !slices.Equal(entries, want) {
			t.Errorf("history is %+v, want %+v", entries, want)
		}
		entries = decode[[]entry](t, w.do(t, call{url: "history?afterSequence=2"}).want(t, "200"))
		if want := []entry{{w.vault + "/documents/" + third.String(), 3, 0}}; !slices.Equal(entries, want) {
			t.Errorf("history is %+v, want %+v", entries, want)
		}
	}
	if got := w.do(t, call{url: "history?afterSequence=3"}).want(t, "200").body; got != "[]" {
		t.Errorf("history is %s, want nothing", got)
	}
}

// An eventStream is a stream of events being read.
type eventStream struct {
	body io.ReadCloser
	ids  chan string // closed when the stream ends
}

func (w *wire) events(t *testing.T, c call) *eventStream {
	t.Helper()
	c.header["Accept"] = "text/event-stream"
	resp, err := w.http.Do(w.request(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("answered %d %v", resp.StatusCode, resp.Header)
	}
	s := &eventStream{resp.Body, make(chan string, 100)}
	go func() {
		defer close(s.ids)
		lines := bufio.NewScanner(resp.Body)
		for id := ""; lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = text
			}
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var ch struct{ Cursor string }
				if json.Unmarshal([]byte(text), &ch) != nil || ch.Cursor != id {
					t.Errorf("the event %q has the id %q", text, id)
				}
				s.ids <- id
			}
		}
	}()
	t.Cleanup(func() { resp.Body.Close() })
	return s
}

func (s *eventStream) next(t *testing.T) string {
	t.Helper()
	select {
	case id, ok := <-s.ids:
		if !ok {
			t.Fatal("the stream ended")
		}
		return id
	case <-time.After(soon):
		t.Fatal("no event came")
	}
	return ""
}

func (s *eventStream) wantEnd(t *testing.T) {
	t.Helper()
	select {
	case _, ok := <-s.ids:
		if ok {
			t.Error("another event came")
		}
	case <-time.After(soon):
		t.Error("the stream goes on")
	}
}

func TestEvents(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	w.insert(t)
	all := w.events(t, call{url: "changes", header: map[string]string{}})
	first := all.next(t)
	w.insert(t)
	second := all.next(t)
	later := w.events(t, call{url: "changes", header: map[string]string{"Last-Event-ID": first}})
	if got := later.next(t); got != second {
		t.Error("does not go on after the last event")
	}

	// A delegate's stream ends with the authority.
	capability := w.delegate(t, "changes", "read")
	bobs := w.events(t, call{as: w.bob, by: capability, url: "changes", header: map[string]string{"Last-Event-ID": second}})
	w.insert(t)
	bobs.next(t)
	w.revoke(t, w.alice, w.vault, capability).want(t, "204")
	w.insert(t)
	bobs.wantEnd(t)

	// What is wrong is told by the status.
	accept := map[string]string{"Accept": "text/event-stream"}
	w.do(t, call{url: "changes?after=AAAA", header: accept}).want(t, "400 DataError invalid")
	w.do(t, call{as: w.bob, by: capability, url: "changes", header: accept}).want(t, "403 NotAllowedError notExist")

	all.next(t)
	all.next(t)
	w.server.Close()
	all.wantEnd(t)
}

// revoke revokes a capability by the root with the target, or of the very URL if it is empty.
func (w *wire) revoke(t testing.TB, as coffer.Keyring, root, capability string) answer {
	t.Helper()
	c, err := grant.ParseCapability([]byte(capability))
	if err != nil {
		t.Fatal(err)
	}
	url := "zcaps/revocations/" + strings.ReplaceAll(c.ID(), ":", "%3A")
	if root == "" {
		root = w.vault + "/" + url
	}
	return w.do(t, call{as: as, root: root, url: url, body: capability})
}

func TestBatch(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	old, doomed := w.insert(t), w.insert(t)
	rev := strings.Trim(w.do(t, call{url: w.document(old)}).Header.Get("Etag"), `"`)
	a, b, c := coffer.NewObjectID(), coffer.NewObjectID(), coffer.NewObjectID()
	type outcome struct {
		Status                        int
		Location, Name, Message, Kind string
		Change                        struct {
			Number               int
			Type, DocumentID     string
			Cursor, By, Revision string
		}
	}
	statuses := func(a answer) (s []int) {
		for _, o := range decode[[]outcome](t, a) {
			s = append(s, o.Status)
		}
		return s
	}
	// The last one fails: nothing is done.
	good := fmt.Sprintf(`%s,{"put":%s,"ifMatch":""},{"put":%s,"ifMatch":"%s"},{"delete":"%s"},{"put":%s}`, documentJSON(a, 0),
		documentJSON(b, 3), documentJSON(old, 1), rev, doomed, documentJSON(c, 9))
	before := w.changes(t)
	for bad, want := range map[string]string{
		`{"delete":"` + coffer.NewObjectID().String() + `"}`:                  "404 [404 404 404 404 404 404]",
		`{"put":` + documentJSON(coffer.NewObjectID(), 1) + `,"ifMatch":"x"}`: "409 [424 424 424 424 424 409]",
		`{"put":` + documentJSON(doomed, 1) + `}`:                             "400 [400 400 400 400 400 400]",
		`{"delete":"x"}`: "400 [424 424 424 424 424 400]",
		`{"put":1}`:      "400 [424 424 424 424 424 400]",
		`{"delete":"` + coffer.NewObjectID().String() + `","ifMatch":"` + rev + `"}`: "400 [424 424 424 424 424 400]",
		`{}`: "400 [424 424 424 424 424 400]",
		`[]`: "400 [424 424 424 424 424 400]",
	} {
		got := w.do(t, call{url: "batch", body: "[" + good + "," + bad + "]"})
		if text := fmt.Sprint(got.StatusCode, " ", statuses(got)); text != want {
			t.Errorf("%.60s: %s, want %s\n%s", bad, text, want, got.body)
		}
	}
	if after := w.changes(t); after != before {
		t.Fatalf("%d changes by what failed", after-before)
	}
	got := w.do(t, call{url: "batch", body: "[" + good + "]"}).want(t, "200")
	if s := fmt.Sprint(statuses(got)); s != "[201 201 200 200 201]" {
		t.Fatalf("statuses %s\n%s", s, got.body)
	}
	for i, o := range decode[[]outcome](t, got) {
		id := []coffer.ObjectID{a, b, old, doomed, c}[i]
		if o.Change.DocumentID != id.String() || o.Change.Number != before+1+i || (o.Change.Type == "erased") != (id == doomed) ||
			(id != doomed) != (o.Location == w.vault+"/"+w.document(id)) {
			t.Errorf("outcome %d is %+v", i, o)
		}
	}
	// A document with a sequence and no word of what it replaces is an update.
	w.do(t, call{url: "batch", body: "[" + documentJSON(b, 4) + "]"}).want(t, "200")
	w.do(t, call{url: "batch", body: "[]", as: w.bob}).want(t, "403 NotAllowedError notExist")
	capability := w.delegate(t, "batch", "write")
	w.do(t, call{url: "batch", body: "[" + documentJSON(a, 1) + "]", as: w.bob, by: capability}).want(t, "403 NotAllowedError denied")
}

func TestRevocations(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := w.insert(t)
	var capabilities []string
	for range 5 {
		c := w.delegate(t, w.document(id), "read")
		w.do(t, call{as: w.bob, by: c, url: w.document(id)}).want(t, "200")
		capabilities = append(capabilities, c)
	}
	w.do(t, call{as: w.bob, by: capabilities[0], url: "documents/" + id.String(), method: "DELETE", action: grant.Write}).want(t, "403 NotAllowedError denied")

	// By the owner under either root, and by the delegate under that of the URL alone.
	w.revoke(t, w.bob, w.vault, capabilities[0]).want(t, "403 NotAllowedError notExist")
	w.revoke(t, coffertest.Person(t, "carol"), "", capabilities[0]).want(t, "403 NotAllowedError notExist")
	w.revoke(t, w.alice, w.vault, capabilities[0]).want(t, "204")
	w.revoke(t, w.alice, "", capabilities[1]).want(t, "204")
	w.revoke(t, w.bob, "", capabilities[2]).want(t, "204")
	w.revoke(t, w.alice, w.vault, capabilities[2]).want(t, "403 NotAllowedError notExist") // already
	for i, c := range capabilities {
		want := "403 NotAllowedError notExist"
		if i > 2 {
			want = "200"
		}
		w.do(t, call{as: w.bob, by: c, url: w.document(id)}).want(t, want)
	}
	// A capability for another vault is nobody's business here.
	_, other := w.NewVault(t, w.bob)
	strange := string(delegate(t, w.bob, other, w.alice, other, time.Now().Add(time.Hour)))
	w.revoke(t, w.alice, w.vault, strange).want(t, "403 NotAllowedError notExist")

	// The list, page by page.
	type page struct {
		Revocations []coffer.Revocation
		HasMore     bool
		Cursor      string
	}
	var got []string
	for cursor, more := "", true; more; {
		p := decode[page](t, w.do(t, call{url: "zcaps/revocations?limit=1" + cursor}).want(t, "200"))
		for _, r := range p.Revocations {
			got = append(got, string(r.Capability))
			if r.Delegator != w.alice.DID() || r.By == "" || r.Time.IsZero() || r.Expires.IsZero() {
				t.Errorf("a revocation is %+v", r)
			}
		}
		cursor, more = "&cursor="+p.Cursor, p.HasMore
		if len(got) > 3 {
			t.Fatal("the list does not end")
		}
	}
	if !slices.Equal(got, capabilities[:3]) {
		t.Errorf("%d revocations are listed, want 3 in order", len(got))
	}
	w.do(t, call{url: "zcaps/revocations", as: w.bob, by: w.delegate(t, "zcaps/revocations", "read")}).want(t, "200")
}

func TestVaults(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	edvs := coffertest.Origin + "/edvs"
	create := func(as coffer.Keyring, extra string) answer {
		return w.do(t, call{as: as, root: edvs, url: "/edvs", body: `{"sequence":0,"controller":"` + as.DID() + `","referenceId":"main"` + extra + `}`})
	}
	find := func(as coffer.Keyring) answer {
		return w.do(t, call{as: as, root: edvs, url: "/edvs?referenceId=main&controller=" + as.DID()})
	}
	if got := find(w.bob).want(t, "200").body; got != "[]" {
		t.Errorf("found %s, want nothing", got)
	}
	a := create(w.bob, `,"id":"https://elsewhere.example/edvs/x","hmac":`+hmacRef).want(t, "201")
	made := decode[coffer.Config](t, a)
	if made.ID != a.Header.Get("Location") || !strings.HasPrefix(made.ID, edvs+"/z") || made.HMAC == nil {
		t.Fatalf("made %s", a.body)
	}
	create(w.bob, "").want(t, "409 DuplicateError conflict")
	create(w.alice, "").want(t, "201")
	if found := decode[[]coffer.Config](t, find(w.bob).want(t, "200")); len(found) != 1 || found[0].ID != made.ID {
		t.Errorf("found %+v", found)
	}

	// A vault is not to be seen from where it admits nobody.
	create(coffertest.Person(t, "dave"), `,"ipAllowList":["192.0.2.0/24"]`).want(t, "201")
	if got := find(coffertest.Person(t, "dave")).want(t, "200").body; got != "[]" {
		t.Errorf("found %s, want nothing", got)
	}

	// The vault changes hands, and is erased by the new controller.
	w.vault = made.ID
	body := `{"sequence":1,"id":"` + made.ID + `","referenceId":"main","controller":"` + coffertest.Person(t, "carol").DID() + `"}`
	a = w.do(t, call{as: w.bob, url: "", body: body}).want(t, "200")
	if c := decode[struct{ Config coffer.Config }](t, a).Config; c.Sequence != 1 {
		t.Errorf("answered %s", a.body)
	}
	w.do(t, call{as: w.bob, url: ""}).want(t, "403 NotAllowedError notExist")
	carol := coffertest.Person(t, "carol")
	w.do(t, call{as: carol, url: ""}).want(t, "200")
	id := coffer.NewObjectID()
	w.do(t, call{as: carol, url: "documents", body: documentJSON(id, 0)}).want(t, "201")
	receipt := decode[struct{ Type, Cursor string }](t, w.do(t, call{as: carol, method: "DELETE", url: ""}).want(t, "200"))
	if receipt.Type != "vault-erased" || receipt.Cursor == "" {
		t.Errorf("the receipt is %+v", receipt)
	}
	w.do(t, call{as: carol, url: w.document(id)}).want(t, "403 NotAllowedError notExist")
	feed := w.do(t, call{as: carol, url: "changes"}).want(t, "200")
	if !strings.Contains(feed.body, `"vault-erased"`) || strings.Contains(feed.body, id.String()) {
		t.Errorf("the feed of what is left is %s", feed.body)
	}
}

func TestCreators(t *testing.T) {
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) { o.Creators = []string{coffertest.Person(t, "alice").DID()} })
	for who, want := range map[coffer.Keyring]string{w.alice: "201", w.bob: "403 NotAllowedError denied"} {
		w.do(t, call{as: who, root: coffertest.Origin + "/edvs", url: "/edvs", body: `{"sequence":0,"controller":"` + who.DID() + `"}`}).want(t, want)
	}
}

// TestAddresses checks that a vault that admits some addresses does not exist for the others.
func TestAddresses(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	configure := func(sequence int, list, want string) {
		t.Helper()
		w.do(t, call{url: "", body: fmt.Sprintf(`{"id":"%s","sequence":%d,"controller":"%s","ipAllowList":[%s]}`,
			w.vault, sequence, w.alice.DID(), list)}).want(t, want)
	}
	configure(1, `"10.0.0.0/8","127.0.0.0/8"`, "200")
	configure(2, `"10.0.0.0/8"`, "200")
	configure(3, ``, "403 NotAllowedError notExist")
}

func TestLimits(t *testing.T) {
	w := newWire(t, vault.Limits{Documents: 1, Rate: 0.1}, nil)
	w.insert(t)
	a := w.do(t, call{url: "documents", body: documentJSON(coffer.NewObjectID(), 0)}).want(t, "429 RateError exhausted")
	if got := a.Header.Get("Retry-After"); got == "" || got == "0" {
		t.Errorf("come again in %q seconds", got)
	}
	w = newWire(t, vault.Limits{Documents: 1}, nil)
	w.insert(t)
	w.do(t, call{url: "documents", body: documentJSON(coffer.NewObjectID(), 0)}).want(t, "507 QuotaExceededError exhausted")
}

func TestDescription(t *testing.T) {
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) { o.NodeDID, o.Version = "did:example:node", "1.2" })
	d := decode[edv.Description](t, w.do(t, call{url: "/.well-known/coffer"}).want(t, "200"))
	if d.Origin != coffertest.Origin || d.DID != "did:example:node" || d.Version != "1.2" || d.Limits.Document != 10e6 ||
		!slices.Contains(d.Features, edv.FeatureRawChunks) || !slices.Contains(d.Suites, "Ed25519Signature2020") {
		t.Errorf("described as %+v", d)
	}
	if !strings.Contains(w.do(t, call{url: "/openapi.json"}).want(t, "200").body, `"openapi": "3.1.0"`) {
		t.Error("no OpenAPI document")
	}
}

func TestIdentifiers(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	type resolution struct {
		Document struct{ ID string }        `json:"didDocument"`
		Metadata struct{ Error string }     `json:"didResolutionMetadata"`
		About    map[string]json.RawMessage `json:"didDocumentMetadata"`
	}
	for _, c := range []struct {
		id     string
		status int
		err    string
	}{
		{w.alice.DID(), 200, ""},
		{"did:key:x", 400, "invalidDid"},
		{"did:web:example.com", 403, "notAllowed"},
		{"did:example:1", 501, "methodNotSupported"},
	} {
		for _, id := range []string{c.id, strings.ReplaceAll(c.id, ":", "%3A")} {
			a := w.do(t, call{url: "/1.0/identifiers/" + id})
			r := decode[resolution](t, a)
			if a.StatusCode != c.status || r.Metadata.Error != c.err || c.err == "" && r.Document.ID != c.id || r.About == nil {
				t.Errorf("%s: %d %s", id, a.StatusCode, a.body)
			}
		}
	}
	off := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) { o.Resolve = nil })
	off.do(t, call{url: "/1.0/identifiers/" + w.alice.DID()}).want(t, "404 NotFoundError notExist")
}

// TestObserve checks what the server tells of its requests: no more than the route.
func TestObserve(t *testing.T) {
	type seen struct {
		route  string
		status int
		bytes  int64
	}
	got := make(chan seen, 10)
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) {
		o.Observe = func(route string, status int, took time.Duration, bytes int64) {
			if took < 0 || took > time.Minute {
				t.Errorf("took %v", took)
			}
			got <- seen{route, status, bytes}
		}
	})
	id := w.insert(t)
	a := w.do(t, call{url: w.document(id)})
	w.do(t, call{url: "nowhere"})
	b := w.do(t, call{url: w.document(id), as: w.bob})
	for _, want := range []seen{
		{"POST /edvs/{vault}/documents", 201, 0},
		{"GET /edvs/{vault}/documents/{id}", 200, int64(len(a.body))},
		{"unknown", 404, -1},
		{"GET /edvs/{vault}/documents/{id}", 403, int64(len(b.body))},
	} {
		s := <-got
		if want.bytes < 0 {
			s.bytes = want.bytes
		}
		if s != want {
			t.Errorf("observed %+v, want %+v", s, want)
		}
	}
}

// TestWriteOnly lets one who may write, and not read, do what the published clients do.
func TestWriteOnly(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := w.insert(t)
	capability := w.delegate(t, w.document(id), "write")
	bob := func(c call) answer {
		c.as, c.by = w.bob, capability
		return w.do(t, c)
	}
	bob(call{url: w.document(id)}).want(t, "403 NotAllowedError denied")
	bob(call{url: w.document(id), body: documentJSON(id, 1)}).want(t, "204")
	bob(call{url: w.document(id) + "/index", body: entryJSON(1, "a=b")}).want(t, "204")
	bob(call{url: w.document(id), body: documentJSON(id, 3)}).want(t, "409 InvalidStateError conflict")
}

// A failing host fails after what it has yielded.
type failing struct {
	edv.Host
	err  atomic.Pointer[error]
	with []*coffer.Document
}

type failingView struct {
	edv.View
	*failing
}

func (f *failing) As(c grant.Caller, id coffer.VaultID) edv.View {
	return failingView{f.Host.As(c, id), f}
}

func (f failingView) Get(context.Context, coffer.ObjectID) ([]*coffer.Document, error) {
	return nil, *f.err.Load()
}

func (f failingView) Query(context.Context, coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) {
		for _, d := range f.with {
			if !yield(d, nil) {
				return
			}
		}
		yield(nil, *f.err.Load())
	}
}

// TestFailures checks what is told of each kind of failure, and that an answer that broke off cannot be taken for whole.
func TestFailures(t *testing.T) {
	f := &failing{}
	var reported atomic.Int64
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) {
		f.Host = o.Host
		o.Host = f
		o.Report = func(string, error) { reported.Add(1) }
	})
	id := coffer.NewObjectID()
	for _, row := range []struct {
		err      error
		want     string
		reported int64
	}{
		{coffer.Errorf("x", coffer.Corrupt, "secret"), "500 OperationError corrupt", 1},
		{errors.New("secret"), "500 OperationError other", 1},
		{coffer.Errorf("x", coffer.Unavailable, "reason"), "503 UnavailableError unavailable", 0},
		{coffer.Errorf("x", coffer.Locked, "reason"), "423 LockedError locked", 0},
		{context.Canceled, "503 UnavailableError unavailable", 0},
	} {
		f.err.Store(&row.err)
		reported.Store(0)
		a := w.do(t, call{url: w.document(id)}).want(t, row.want)
		if strings.Contains(a.body, "secret") || reported.Load() != row.reported {
			t.Errorf("reported %d times, told %s", reported.Load(), a.body)
		}
	}
	failure := coffer.Errorf("x", coffer.Corrupt, "secret")
	f.err.Store(&failure)
	w.do(t, call{url: "documents"}).want(t, "500 OperationError corrupt") // nothing had gone out yet
	f.with = []*coffer.Document{{ID: id, Body: bytes.Repeat([]byte("1"), 200_000)}}
	resp, err := w.http.Do(w.request(t, call{url: "documents"}))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("an answer that broke off looks whole: %d bytes", len(b))
	}
}

// TestShortBody checks that a body that ends early changes nothing.
func TestShortBody(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	for _, c := range []call{
		{url: "documents", body: documentJSON(coffer.NewObjectID(), 0)},
		{url: "/edvs", root: coffertest.Origin + "/edvs", body: `{"sequence":0,"controller":"` + w.alice.DID() + `"}`},
	} {
		r := w.request(t, c)
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", w.at.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(b.Bytes()[:b.Len()-10]); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), r)
		if err != nil {
			continue // the server hung up: just as well
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s: %d, want 400", c.url, resp.StatusCode)
		}
	}
	if n := w.changes(t); n != 0 {
		t.Errorf("%d changes", n)
	}
}
