package edv_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

// Secrets of the objects in these tests, by what they admit to.
var secretsOf = map[coffer.Access]coffer.Secret{
	coffer.ReadAccess: {1}, coffer.WriteAccess: {2}, coffer.OpenAccess: {3},
}

func accessText(s coffer.Secret) string { return base64.RawURLEncoding.EncodeToString(s[:]) }

// by returns the header with the secret for an access.
func by(a coffer.Access) map[string]string {
	return map[string]string{"Coffer-Access": accessText(secretsOf[a])}
}

// sealedJSON writes a document that admits the secrets. more are further members, each with a comma behind.
func sealedJSON(id coffer.ObjectID, sequence int, more string) string {
	var attributes []string
	for _, a := range []coffer.Access{coffer.ReadAccess, coffer.WriteAccess, coffer.OpenAccess} {
		attributes = append(attributes, fmt.Sprintf(`{"name":"%s","value":"%s"}`, a, secretsOf[a].Verifier(id, a)))
	}
	return fmt.Sprintf(`{"id":"%s","sequence":%d,"indexed":[{"hmac":{"id":"urn:coffer:access","type":"Sha256HmacKey2019"},`+
		`"sequence":%[2]d,"attributes":[%s]}],%s"jwe":%s}`, id, sequence, strings.Join(attributes, ","), more, jwe)
}

// chunkJSON writes a chunk.
func chunkJSON(sequence, index int) string {
	return fmt.Sprintf(`{"index":%d,"offset":%d,"sequence":%d,"jwe":%s}`, index, index+1, sequence, jwe)
}

// insertSealed inserts a document with a chunk, and returns its id.
func (w *wire) insertSealed(t testing.TB) coffer.ObjectID {
	t.Helper()
	id := coffer.NewObjectID()
	w.do(t, call{url: "documents", body: sealedJSON(id, 0, `"stream":{},`)}).want(t, "201")
	w.do(t, call{url: w.document(id) + "/chunks/0", body: chunkJSON(0, 0)}).want(t, "204")
	return id
}

// without sends a request that carries no authority.
func (w *wire) without(t testing.TB, method, url string, header http.Header) answer {
	t.Helper()
	if !strings.HasPrefix(url, "/") {
		url = strings.TrimPrefix(w.vault, coffertest.Origin) + "/" + url
	}
	r, err := http.NewRequest(method, w.at.URL+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := w.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(b)}
}

func TestPatchedDocuments(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := coffer.NewObjectID()
	doc := w.document(id)
	w.do(t, call{url: "documents", body: sealedJSON(id, 0, `"stream":{},`)}).want(t, "201")
	for i := range 2 {
		w.do(t, call{url: fmt.Sprint(doc, "/chunks/", i), body: chunkJSON(0, i)}).want(t, "204")
	}
	w.do(t, call{url: doc, body: sealedJSON(id, 1, `"stream":{"sequence":0,"chunks":2},`)}).want(t, "204")
	w.do(t, call{url: doc + "/chunks/1", body: chunkJSON(1, 1)}).want(t, "204")
	for stream, want := range map[string]string{
		`{"patch":1}`:                           "400 ValidationError invalid",
		`{"sequence":0,"patch":1}`:              "400 ValidationError invalid",
		`{"sequence":0,"chunks":2,"patch":0}`:   "400 ValidationError invalid",
		`{"sequence":0,"chunks":2,"patch":3}`:   "400 ValidationError invalid",
		`{"sequence":1,"chunks":2,"patch":1}`:   "400 ValidationError invalid",
		`{"sequence":0,"chunks":2,"patch":-1}`:  "400 ValidationError invalid",
		`{"sequence":0,"chunks":2,"patch":"1"}`: "400 ValidationError invalid",
		`{"sequence":0,"chunks":2,"patch":2}`:   "409 InvalidStateError conflict",
		`{"sequence":0,"chunks":3,"patch":1}`:   "409 InvalidStateError conflict",
		`{"sequence":0,"chunks":2,"patches":1}`: "400 ValidationError invalid",
	} {
		w.do(t, call{url: doc, body: sealedJSON(id, 2, `"stream":`+stream+`,`)}).want(t, want)
	}
	body := sealedJSON(id, 2, `"stream":{"sequence":0,"chunks":2,"patch":1},`)
	w.do(t, call{url: doc, body: body}).want(t, "204")
	if got := w.do(t, call{url: doc}).want(t, "200").body; got != body {
		t.Errorf("the document is %s", got)
	}
	a := w.do(t, call{url: doc + "/chunks/1"}).want(t, "200")
	if a.body != chunkJSON(1, 1) || a.Header.Get("Coffer-Sequence") != "0" {
		t.Errorf("the patched chunk is %s of set %s", a.body, a.Header.Get("Coffer-Sequence"))
	}
	// An index entry leaves the stream as it is.
	w.do(t, call{url: doc + "/index", body: entryJSON(2, "n=v")}).want(t, "204")
	if got := w.do(t, call{url: doc + "/chunks/1"}).want(t, "200").body; got != chunkJSON(1, 1) {
		t.Errorf("the patched chunk is %s after an index entry", got)
	}
	w.do(t, call{url: doc, body: sealedJSON(id, 3, `"stream":{"sequence":0,"chunks":2},`)}).want(t, "204")
	w.do(t, call{url: doc + "/chunks/1"}).want(t, "200")
}

func TestHeld(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := coffer.NewObjectID()
	at := "held/" + id.String()
	capability := w.delegate(t, "held", "read", "write")
	bob := func(c call) call { c.as, c.by = w.bob, capability; return c }
	a := w.do(t, bob(call{url: "held", body: sealedJSON(id, 0, `"stream":{},`)})).want(t, "201")
	if a.Header.Get("Location") != w.vault+"/"+at {
		t.Errorf("it is at %s", a.Header.Get("Location"))
	}
	w.do(t, bob(call{url: "held", body: sealedJSON(id, 0, "")})).want(t, "409 DuplicateError conflict")
	w.do(t, bob(call{url: at + "/chunks/0", body: chunkJSON(0, 0), header: by(coffer.WriteAccess)})).want(t, "204")
	w.do(t, bob(call{url: at + "/chunks/1", body: chunkJSON(0, 1), header: by(coffer.WriteAccess)})).want(t, "204")
	w.do(t, bob(call{url: at + "/chunks/1", method: "DELETE", header: by(coffer.WriteAccess)})).want(t, "204")
	a = w.do(t, bob(call{url: at + "/chunks/0", header: by(coffer.ReadAccess)})).want(t, "200")
	if a.body != chunkJSON(0, 0) {
		t.Errorf("the chunk is %s", a.body)
	}
	a = w.do(t, bob(call{url: at, header: by(coffer.ReadAccess)})).want(t, "200")
	if a.body != sealedJSON(id, 0, `"stream":{},`) {
		t.Errorf("the document is %s", a.body)
	}
	etag := a.Header.Get("Etag")
	if head := w.do(t, bob(call{method: "HEAD", url: at, header: by(coffer.ReadAccess)})); head.StatusCode != 200 ||
		head.Header.Get("Etag") != etag {
		t.Errorf("HEAD is answered %d, %s", head.StatusCode, head.Header.Get("Etag"))
	}
	match := func(tag string) map[string]string {
		return map[string]string{"Coffer-Access": accessText(secretsOf[coffer.WriteAccess]), "If-Match": tag}
	}
	next := sealedJSON(id, 1, `"stream":{"sequence":0,"chunks":1},`)
	w.do(t, bob(call{url: at, body: next, header: by(coffer.WriteAccess)})).want(t, "400 ValidationError invalid")
	w.do(t, bob(call{url: at, body: next, header: match(`"x"`)})).want(t, "409 InvalidStateError conflict")
	w.do(t, bob(call{url: at, body: sealedJSON(coffer.NewObjectID(), 1, ""), header: match(etag)})).want(t, "400 DataError invalid")
	w.do(t, bob(call{url: at, body: next, header: match(etag)})).want(t, "204")
	w.do(t, bob(call{url: at, body: next, header: match(etag)})).want(t, "409 InvalidStateError conflict")
	w.do(t, bob(call{url: at, method: "DELETE", header: by(coffer.ReadAccess)})).want(t, "404 NotFoundError notExist")
	w.do(t, bob(call{url: at, method: "DELETE", header: by(coffer.WriteAccess)})).want(t, "200")
	w.do(t, bob(call{url: at, header: by(coffer.ReadAccess)})).want(t, "404 NotFoundError notExist")

	fresh := coffer.NewObjectID()
	once := map[string]string{"If-None-Match": "*"}
	w.do(t, bob(call{url: "held/" + fresh.String(), body: sealedJSON(fresh, 0, ""), header: once})).want(t, "204")
	w.do(t, bob(call{url: "held/" + fresh.String(), body: sealedJSON(fresh, 0, ""), header: once})).want(t, "409 InvalidStateError conflict")
	w.do(t, bob(call{url: "held/x", header: by(coffer.ReadAccess)})).want(t, "400 ValidationError invalid")
	w.do(t, bob(call{url: "held/" + fresh.String() + "/chunks/x", header: by(coffer.ReadAccess)})).want(t, "404 NotFoundError notExist")
}

// TestHeldHostile has callers with some right, or none, try secrets that are not for what they ask.
func TestHeldHostile(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id, other := w.insertSealed(t), w.insertSealed(t)
	plain := w.insert(t)
	capability := w.delegate(t, "held", "read", "write")
	var answers []string
	try := func(id coffer.ObjectID, value ...string) {
		t.Helper()
		for _, c := range []call{
			{url: "held/" + id.String()},
			{url: "held/" + id.String() + "/chunks/0"},
			{method: "DELETE", url: "held/" + id.String()},
			{method: "DELETE", url: "held/" + id.String() + "/chunks/0"},
			{url: "held/" + id.String(), body: sealedJSON(id, 1, ""), header: map[string]string{"If-Match": `"` + coffer.Rev{}.String() + `"`}},
			{url: "held/" + id.String() + "/chunks/1", body: chunkJSON(0, 1)},
		} {
			c.as, c.by, c.forge = w.bob, capability, func(r *http.Request) { r.Header["Coffer-Access"] = value }
			a := w.do(t, c).want(t, "404 NotFoundError notExist")
			a.Header.Del("Date")
			answers = append(answers, fmt.Sprint(a.Header, a.body))
		}
	}
	read := accessText(secretsOf[coffer.ReadAccess])
	try(coffer.NewObjectID(), read)
	try(plain, read)
	try(id)
	try(id, "")
	try(id, accessText(coffer.Secret{9}))
	try(id, accessText(secretsOf[coffer.OpenAccess]))
	try(id, secretsOf[coffer.ReadAccess].Verifier(id, coffer.ReadAccess)) // what the vault knows
	try(id, read, read)
	try(id, read+"=")
	try(id, read[:42]+"B") // another text of the same bytes
	try(id, read[:20]+" "+read[20:])
	try(id, strings.Repeat("A", 8000))
	slices.Sort(answers)
	if answers = slices.Compact(answers); len(answers) != 1 {
		t.Errorf("%d different answers: %q", len(answers), answers)
	}
	for url, want := range map[string]string{"held/" + id.String(): "200", "held/" + other.String(): "200"} {
		w.do(t, call{url: url, header: by(coffer.ReadAccess)}).want(t, want) // as alice, by the root
	}

	// The secret without a right, and a right to something else.
	w.do(t, call{as: w.bob, url: "held/" + id.String(), header: by(coffer.ReadAccess)}).want(t, "403 NotAllowedError notExist")
	for _, below := range []string{"documents", "inbox", "open"} {
		at := below + "/" + id.String()
		c := call{as: w.bob, by: w.delegate(t, below, "read"), url: at, header: by(coffer.ReadAccess)}
		c.forge = func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, at, "held/"+id.String(), 1) }
		w.do(t, c).want(t, "403 NotAllowedError notExist")
	}
	one := w.delegate(t, "held/"+id.String(), "read")
	w.do(t, call{as: w.bob, by: one, url: "held/" + id.String(), header: by(coffer.ReadAccess)}).want(t, "403 NotAllowedError denied")
	// The whole request, to another vault that holds a copy of the object.
	_, elsewhere := w.NewVault(t, w.bob)
	w.do(t, call{as: w.bob, root: elsewhere, url: strings.TrimPrefix(elsewhere, coffertest.Origin) + "/documents", body: sealedJSON(id, 0, "")}).want(t, "201")
	replayed := w.request(t, call{as: w.bob, by: capability, url: "held/" + id.String(), header: by(coffer.ReadAccess)})
	replayed.URL.Path = strings.TrimPrefix(elsewhere, coffertest.Origin) + "/held/" + id.String()
	resp, err := w.http.Do(replayed)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("replayed to another vault: %d", resp.StatusCode)
	}
	// A revoked capability opens nothing with the best of secrets.
	w.revoke(t, w.alice, "", capability).want(t, "204")
	w.do(t, call{as: w.bob, by: capability, url: "held/" + id.String(), header: by(coffer.ReadAccess)}).want(t, "403 NotAllowedError notExist")
}

func TestOpen(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := w.insertSealed(t)
	plain := w.insert(t)
	open := "open/" + id.String()
	header := http.Header{"Coffer-Access": {accessText(secretsOf[coffer.OpenAccess])}}
	a := w.without(t, "GET", open, header)
	if a.want(t, "200").body != sealedJSON(id, 0, `"stream":{},`) || a.Header.Get("Etag") == "" {
		t.Errorf("opened: %s", a.body)
	}
	if a := w.without(t, "HEAD", open, header).want(t, "200"); a.body != "" {
		t.Errorf("HEAD is answered with %q", a.body)
	}
	if got := w.without(t, "GET", open+"/chunks/0", header).want(t, "200").body; got != chunkJSON(0, 0) {
		t.Errorf("opened: %s", got)
	}
	w.do(t, call{url: open, header: by(coffer.OpenAccess)}).want(t, "200") // authority does no harm
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		w.without(t, method, open, header).want(t, "405 MethodNotAllowedError invalid")
	}

	var answers []string
	refused := func(url string, value ...string) {
		t.Helper()
		a := w.without(t, "GET", url, http.Header{"Coffer-Access": value}).want(t, "403 NotAllowedError notExist")
		a.Header.Del("Date")
		answers = append(answers, fmt.Sprint(a.Header, a.body))
	}
	secret := header.Get("Coffer-Access")
	for _, v := range []string{coffer.NewVaultID().String(), "x", strings.TrimPrefix(w.vault, coffertest.Origin+"/edvs/")} {
		at := "/edvs/" + v + "/open/"
		for _, object := range []string{coffer.NewObjectID().String(), plain.String(), "x"} {
			refused(at+object, secret)
			refused(at+object+"/chunks/0", secret)
		}
		for _, s := range []string{"", secret + "=", accessText(secretsOf[coffer.ReadAccess]), accessText(secretsOf[coffer.WriteAccess]), accessText(coffer.Secret{})} {
			refused(at+id.String(), s)
			refused(at+id.String()+"/chunks/0", s)
		}
		refused(at + id.String())
		refused(at+id.String(), secret, secret)
	}
	refused(open+"?x=y", secret)
	refused(open+"/chunks/9", secret)
	refused(open+"/chunks/x", secret)
	unknown := "/edvs/" + coffer.NewVaultID().String()
	a = w.do(t, call{as: w.bob, root: coffertest.Origin + unknown, url: unknown + "/documents/" + id.String()})
	a.Header.Del("Date")
	answers = append(answers, fmt.Sprint(a.Header, a.body))
	slices.Sort(answers)
	if answers = slices.Compact(answers); len(answers) != 1 {
		t.Errorf("%d different answers: %q", len(answers), answers)
	}

	// Where the vault does not admit the address, nothing is open.
	w.do(t, call{url: "", body: fmt.Sprintf(`{"id":"%s","sequence":1,"controller":"%s","ipAllowList":["10.0.0.0/8"]}`, w.vault, w.alice.DID())}).want(t, "200")
	refused(open, secret)
}

// TestOpenClient opens without any authority, by the client.
func TestOpenClient(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	id := w.insertSealed(t)
	w.do(t, call{url: w.document(id), body: sealedJSON(id, 1, `"stream":{"sequence":0,"chunks":1},`)}).want(t, "204")
	var mu sync.Mutex
	var carried []string
	c := remote(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		carried = append(carried, r.Header.Get("Authorization")+r.Header.Get("Capability-Invocation"))
		mu.Unlock()
		w.server.ServeHTTP(rw, r)
	}), w.bob, true)
	d, err := c.Open(t.Context(), w.vault, id, secretsOf[coffer.OpenAccess])
	if err != nil {
		t.Fatal(err)
	}
	if d.ID != id || d.Sequence != 1 || len(d.Parents) != 1 || !d.Admits(coffer.OpenAccess, secretsOf[coffer.OpenAccess]) {
		t.Errorf("opened %+v", d)
	}
	ref, r, err := c.OpenChunk(t.Context(), w.vault, id, 0, secretsOf[coffer.OpenAccess])
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	r.Close()
	if err != nil || int64(len(b)) != ref.Size {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_, err = c.Open(t.Context(), w.vault, id, coffer.Secret{9})
	want(t, err, coffer.NotExist, "with another secret")
	_, _, err = c.OpenChunk(t.Context(), w.vault, id, 7, secretsOf[coffer.OpenAccess])
	want(t, err, coffer.NotExist, "no such chunk")
	for _, url := range []string{"", "https://other.example/edvs/" + w.vault[len(w.vault)-25:], w.vault + "/documents", coffertest.Origin + "/edvs/x"} {
		_, err = c.Open(t.Context(), url, id, secretsOf[coffer.OpenAccess])
		want(t, err, coffer.Invalid, "not a vault of this server")
	}
	if carried = slices.Compact(carried); len(carried) != 1 || carried[0] != "" {
		t.Error("the requests carry authority")
	}
}

// TestSecretsStay has servers try to get hold of a secret, and its text be told of.
func TestSecretsStay(t *testing.T) {
	secret := accessText(secretsOf[coffer.OpenAccess])
	var told strings.Builder
	var mu sync.Mutex
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) {
		o.Observe = func(route string, status int, took time.Duration, bytes int64) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&told, route, status, bytes)
		}
	})
	id := w.insertSealed(t)
	for _, a := range []answer{
		w.without(t, "GET", "open/"+id.String(), http.Header{"Coffer-Access": {secret}}),
		w.without(t, "GET", "open/"+coffer.NewObjectID().String(), http.Header{"Coffer-Access": {secret}}),
		w.do(t, call{url: "held/" + id.String(), header: by(coffer.OpenAccess)}),
	} {
		if strings.Contains(a.body, secret) || strings.Contains(fmt.Sprint(a.Header), secret) {
			t.Errorf("the answer holds the secret: %v %s", a.Header, a.body)
		}
	}
	mu.Lock()
	if strings.Contains(told.String(), secret) || !strings.Contains(told.String(), "/edvs/{vault}/open/{id} 200") {
		t.Errorf("observed: %s", told.String())
	}
	mu.Unlock()

	var leaked bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked = r.Header.Get("Coffer-Access") != "" }))
	defer elsewhere.Close()
	c := remote(t, http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect), w.bob, false)
	if _, err := c.Open(t.Context(), w.vault, id, secretsOf[coffer.OpenAccess]); err == nil || leaked || strings.Contains(err.Error(), secret) {
		t.Errorf("%v; the other server was told: %v", err, leaked)
	}
}

// TestVerifiers has the known answers of doc/access.md.
func TestVerifiers(t *testing.T) {
	var id coffer.ObjectID
	var s coffer.Secret
	for i := range s {
		s[i], id[i%16] = byte(i), byte(i%16)
	}
	if got := accessText(s); got != "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" {
		t.Errorf("the header is %s", got)
	}
	for a, want := range map[coffer.Access]string{
		coffer.ReadAccess:  "8ETwRf8_x9IfqhQFdGvvsorNhX3EPV3VHQydu5j0kO4",
		coffer.WriteAccess: "tT7Kjqr0Tbmnw9qZWedwXci1YWvJZzmvnqWTpMWgVjI",
		coffer.OpenAccess:  "PPnlWQYLBfmsTZX1H_f42sMwtNe6uUITHenTiIFOTMo",
	} {
		if got := s.Verifier(id, a); got != want {
			t.Errorf("the verifier for %s is %s, want %s", a, got, want)
		}
	}
}

// messageJSON writes a message; attributes are those of the inbox.
func messageJSON(id coffer.ObjectID, attributes string) string {
	return fmt.Sprintf(`{"id":"%s","sequence":0,"indexed":[{"hmac":{"id":"urn:coffer:inbox","type":"Sha256HmacKey2019"},`+
		`"sequence":0,"attributes":[%s]}],"jwe":%s}`, id, attributes, jwe)
}

func TestInbox(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	capability := w.delegate(t, "inbox", "write")
	id := coffer.NewObjectID()
	tag := `{"name":"message","value":"hello"}`
	drop := func(body string) answer {
		t.Helper()
		return w.do(t, call{as: w.bob, by: capability, url: "inbox", body: body, header: map[string]string{"Accept": edv.ChangeType}})
	}
	a := drop(messageJSON(id, tag)).want(t, "201")
	if ch := decode[map[string]any](t, a); ch["documentId"] != id.String() || a.Header.Get("Location") != "" {
		t.Errorf("answered with %s, %v", a.body, a.Header)
	}
	drop(messageJSON(id, tag)).want(t, "409 DuplicateError conflict")
	fresh := coffer.NewObjectID()
	for body, want := range map[string]string{
		messageJSON(fresh, ""):                               "400 DataError invalid",
		messageJSON(fresh, tag+","+tag):                      "400 DataError invalid",
		messageJSON(fresh, `{"name":"x","value":""}`):        "400 DataError invalid",
		documentJSON(fresh, 0, "message=x"):                  "400 DataError invalid",
		documentJSON(fresh, 1):                               "400 DataError invalid",
		`{}`:                                                 "400 ValidationError invalid",
		messageJSON(fresh, tag) + strings.Repeat(" ", 1<<16): "413 TooLargeError exhausted",
	} {
		drop(body).want(t, want)
	}
	w.do(t, call{as: w.bob, url: "inbox", body: messageJSON(fresh, tag)}).want(t, "403 NotAllowedError notExist")
	for _, c := range []call{{url: "inbox"}, {method: "DELETE", url: "inbox"}} {
		w.do(t, c).want(t, "405 MethodNotAllowedError invalid")
	}
	found := decode[struct{ Documents []struct{ ID string } }](t, w.do(t, call{url: "query", action: grant.Read,
		body: `{"index":"urn:coffer:inbox","has":["message"]}`}).want(t, "200"))
	if len(found.Documents) != 1 || found.Documents[0].ID != id.String() {
		t.Errorf("found %+v", found)
	}
	w.revoke(t, w.alice, "", capability).want(t, "204")
	drop(messageJSON(fresh, tag)).want(t, "403 NotAllowedError notExist")
}

// TestPatchForm checks the wire form of streams both ways.
func TestPatchForm(t *testing.T) {
	for _, s := range []*coffer.Stream{nil, {Pending: true}, {Sequence: 0, Chunks: 0}, {Sequence: 3, Chunks: 9}, {Chunks: 2, Patch: 5}} {
		b, err := json.Marshal(edv.Document{ID: coffer.ObjectID{1}, Sequence: 7, Stream: edv.NewStreamRef(s), JWE: []byte(jwe)})
		if err != nil {
			t.Fatal(err)
		}
		d, err := edv.DecodeDocument(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if (s == nil) != (d.Stream == nil) || s != nil && *s != *d.Stream {
			t.Errorf("%+v becomes %+v", s, d.Stream)
		}
		if bytes.Contains(b, []byte("patch")) != (s != nil && s.Patch != 0) {
			t.Errorf("%+v is written as %s", s, b)
		}
	}
}
