package edv_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/node/vault"
)

// A wire is a server over a provider's vaults, reached over a socket with requests made by hand.
type wire struct {
	*coffertest.Vaults
	server *edv.Server
	at     *httptest.Server
	http   *http.Client
	alice  coffer.Keyring
	bob    coffer.Keyring
	vault  string // URL of a vault of alice's
}

type host struct{ *vault.Service }

func (h host) As(caller grant.Caller, id coffer.VaultID) edv.View { return h.Service.As(caller, id) }

// serverOptions are those of a server over the vaults.
func serverOptions(t testing.TB, v *coffertest.Vaults) edv.ServerOptions {
	t.Helper()
	resolver, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return edv.ServerOptions{Host: host{v.Service}, Origin: coffertest.Origin, Key: resolver.Key,
		Resolve: func(ctx context.Context, id string) (int, []byte) { return ident.Resolution(ctx, resolver, id) },
		Now:     time.Now, Report: func(route string, err error) { t.Errorf("%s failed: %v", route, err) }}
}

// newWire returns a server with one vault of alice's. change may change the server's options.
func newWire(t testing.TB, limits vault.Limits, change func(*edv.ServerOptions)) *wire {
	t.Helper()
	w := &wire{Vaults: coffertest.NewVaults(t, limits), alice: coffertest.Person(t, "alice"), bob: coffertest.Person(t, "bob")}
	o := serverOptions(t, w.Vaults)
	if change != nil {
		change(&o)
	}
	var err error
	if w.server, err = edv.NewServer(o); err != nil {
		t.Fatal(err)
	}
	w.at = httptest.NewServer(w.server)
	t.Cleanup(w.at.Close)
	t.Cleanup(w.server.Close)
	w.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	t.Cleanup(w.http.CloseIdleConnections)
	_, w.vault = w.NewVault(t, w.alice)
	return w
}

// A call is a request by hand. What is not given is as it should be.
type call struct {
	as          coffer.Keyring // alice
	by          string         // a capability; the root's if empty
	root        string         // target of the root capability; the vault's
	method      string         // GET, or POST with a body
	url         string         // below the origin, or below the vault if it does not begin with a slash
	action      grant.Action   // read, or write with a body
	body        string
	contentType string
	header      map[string]string   // added, signed or not
	forge       func(*http.Request) // changes the signed request
}

// An answer is what came back.
type answer struct {
	*http.Response
	body string
}

func (w *wire) do(t testing.TB, c call) answer {
	t.Helper()
	r := w.request(t, c)
	resp, err := w.http.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", r.Method, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: the answer broke off: %v", r.Method, err)
	}
	return answer{resp, string(b)}
}

func (w *wire) request(t testing.TB, c call) *http.Request { return w.signed(t, c, nil) }

// signed makes the request, under a session if there is one.
func (w *wire) signed(t testing.TB, c call, session *grant.Session) *http.Request {
	t.Helper()
	if c.as == nil {
		c.as = w.alice
	}
	url := coffertest.Origin + c.url
	if !strings.HasPrefix(c.url, "/") {
		url = strings.TrimSuffix(w.vault+"/"+c.url, "/")
	}
	if c.method == "" {
		c.method = "GET"
		if c.body != "" {
			c.method = "POST"
		}
	}
	if c.action == "" {
		c.action = grant.Read
		if c.method != "GET" && c.method != "HEAD" {
			c.action = grant.Write
		}
	}
	authority := c.by
	if authority == "" {
		authority = c.root
	}
	if authority == "" {
		if authority = w.vault; !strings.HasPrefix(url, w.vault) {
			authority, _, _ = strings.Cut(url, "?")
		}
	}
	invoker, err := grant.NewInvoker(c.as, authority)
	if err != nil {
		t.Fatal(err)
	}
	sr := grant.Request{Method: c.method, URL: url, Action: c.action, Now: time.Now()}
	var body io.Reader
	if c.body != "" {
		sum := sha256.Sum256([]byte(c.body))
		sr.BodySum, sr.ContentType, body = &sum, c.contentType, strings.NewReader(c.body)
		if c.contentType == "" {
			sr.ContentType = "application/json"
		}
	}
	header, err := invoker.Under(session).Sign(context.Background(), sr)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(c.method, w.at.URL+strings.TrimPrefix(url, coffertest.Origin), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header, r.Host = header, strings.TrimPrefix(coffertest.Origin, "https://")
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	if c.forge != nil {
		c.forge(r)
	}
	return r
}

// problem is what an answer says went wrong: the status, the name and the kind.
func (a answer) problem() string {
	var p struct {
		Name    string
		Type    string
		Message string
		Details struct {
			HTTPStatusCode int
			Kind           string
		}
	}
	if a.StatusCode < 400 {
		return fmt.Sprint(a.StatusCode)
	}
	if json.Unmarshal([]byte(a.body), &p) != nil || p.Type != p.Name || p.Details.HTTPStatusCode != a.StatusCode || p.Message == "" {
		return fmt.Sprintf("%d, and no problem: %s", a.StatusCode, a.body)
	}
	return fmt.Sprint(a.StatusCode, " ", p.Name, " ", p.Details.Kind)
}

func (a answer) want(t testing.TB, problem string) answer {
	t.Helper()
	if got := a.problem(); got != problem {
		t.Errorf("answered %s, want %s\n%.300s", got, problem, a.body)
	}
	return a
}

// decode reads the answer's JSON.
func decode[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("answered %d %.200s: %v", a.StatusCode, a.body, err)
	}
	return v
}

const jwe = `{"protected":"eyJlbmMiOiJYQzIwUCJ9","recipients":[{"header":{"kid":"urn:example:kak","alg":"ECDH-ES+A256KW"},` +
	`"encrypted_key":"AAAA"}],"iv":"AAAA","ciphertext":"AAAA","tag":"AAAA"}`

const hmacRef = `{"id":"urn:example:hmac","type":"Sha256HmacKey2019"}`

// documentJSON writes a document with tags given as "name=value", or "name=value!" for a unique one.
func documentJSON(id coffer.ObjectID, sequence int, tags ...string) string {
	return fmt.Sprintf(`{"id":"%s","sequence":%d,"indexed":[%s],"jwe":%s}`, id, sequence, entryJSON(sequence, tags...), jwe)
}

func entryJSON(sequence int, tags ...string) string {
	var attributes []string
	for _, tag := range tags {
		name, value, _ := strings.Cut(tag, "=")
		value, unique := strings.CutSuffix(value, "!")
		attributes = append(attributes, fmt.Sprintf(`{"name":"%s","value":"%s","unique":%t}`, name, value, unique))
	}
	return fmt.Sprintf(`{"hmac":%s,"sequence":%d,"attributes":[%s]}`, hmacRef, sequence, strings.Join(attributes, ","))
}

// insert inserts a document and returns its id.
func (w *wire) insert(t testing.TB, tags ...string) coffer.ObjectID {
	t.Helper()
	id := coffer.NewObjectID()
	w.do(t, call{url: "documents", body: documentJSON(id, 0, tags...)}).want(t, "201")
	return id
}

func (w *wire) document(id coffer.ObjectID) string { return "documents/" + id.String() }

// delegate returns a capability from alice to bob for what is below the vault.
func (w *wire) delegate(t testing.TB, below string, actions ...string) string {
	t.Helper()
	target := strings.TrimSuffix(w.vault+"/"+below, "/")
	return string(delegate(t, w.alice, w.vault, w.bob, target, time.Now().Add(time.Hour), actions...))
}

// changes returns how many changes the vault's feed has.
func (w *wire) changes(t testing.TB) int {
	t.Helper()
	return len(decode[struct{ Changes []any }](t, w.do(t, call{url: "changes"}).want(t, "200")).Changes)
}

func TestMalformed(t *testing.T) {
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) {
		o.Limits = edv.Limits{Document: 4000, Chunk: 5000, Body: 3000, Batch: 9000, BatchOps: 3}
	})
	id, other := w.insert(t, "n=v!"), w.insert(t)
	doc := w.document(id)
	gone := w.insert(t)
	w.do(t, call{method: "DELETE", url: w.document(gone)}).want(t, "200")
	absent := coffer.NewObjectID()
	fresh := func(tags ...string) string { return documentJSON(coffer.NewObjectID(), 0, tags...) }
	change := func(old, new string) string { return strings.Replace(fresh("a=b"), old, new, 1) }
	chunk := func(index, sequence int) string {
		return fmt.Sprintf(`{"index":%d,"offset":3,"sequence":%d,"jwe":%s}`, index, sequence, jwe)
	}
	raw := func(head, ciphertext string) string { return string(edv.JoinRaw([]byte(head), []byte(ciphertext))) }
	rawHead := strings.Replace(chunk(0, 0), `"ciphertext":"AAAA"`, `"ciphertext":""`, 1)
	query := func(s string) call { return call{url: "query", action: grant.Read, body: s} }
	config := func(s string) call {
		return call{url: "/edvs", root: coffertest.Origin + "/edvs", body: strings.ReplaceAll(s, "ME", w.alice.DID())}
	}
	own := func(s string) call {
		return call{url: "", body: strings.NewReplacer("ME", w.alice.DID(), "VAULT", w.vault).Replace(s)}
	}
	get := func(url string) call { return call{url: url} }
	const form, data, duplicate, state = "400 ValidationError invalid", "400 DataError invalid",
		"409 DuplicateError conflict", "409 InvalidStateError conflict"
	const large, notFound, media = "413 TooLargeError exhausted", "404 NotFoundError notExist", "415 MediaTypeError invalid"
	const nobody = "403 NotAllowedError notExist"

	for name, row := range map[string]struct {
		call call
		want string
	}{
		// Documents.
		"not JSON":                    {call{url: "documents", body: "x"}, form},
		"an array":                    {call{url: "documents", body: "[]"}, form},
		"null":                        {call{url: "documents", body: "null"}, form},
		"two values":                  {call{url: "documents", body: fresh() + "{}"}, form},
		"a member twice":              {call{url: "documents", body: change(`"sequence":0,`, `"sequence":0,"sequence":0,`)}, form},
		"an unknown member":           {call{url: "documents", body: change(`"sequence":0,`, `"sequence":0,"x":0,`)}, form},
		"an unknown member of jwe":    {call{url: "documents", body: change(`"iv":`, `"x":1,"iv":`)}, form},
		"an unknown recipient member": {call{url: "documents", body: change(`"encrypted_key"`, `"x":1,"encrypted_key"`)}, form},
		"an unknown attribute member": {call{url: "documents", body: change(`"unique":`, `"x":1,"unique":`)}, form},
		"bad UTF-8":                   {call{url: "documents", body: change("AAAA", "\xff")}, form},
		"too deep":                    {call{url: "documents", body: strings.Repeat("[", 100) + strings.Repeat("]", 100)}, form},
		"no id":                       {call{url: "documents", body: strings.Replace(fresh(), `"id"`, `"ID"`, 1)}, form},
		"a short id":                  {call{url: "documents", body: change(`"id":"z1`, `"id":"z`)}, form},
		"the zero id":                 {call{url: "documents", body: documentJSON(coffer.ObjectID{}, 0)}, form},
		"no sequence":                 {call{url: "documents", body: change(`"sequence":0,`, ``)}, form},
		"a negative sequence":         {call{url: "documents", body: change(`"sequence":0`, `"sequence":-1`)}, form},
		"a fractional sequence":       {call{url: "documents", body: change(`"sequence":0`, `"sequence":0.5`)}, form},
		"the last sequence":           {call{url: "documents", body: change(`"sequence":0`, `"sequence":9007199254740991`)}, form},
		"no jwe":                      {call{url: "documents", body: change(`,"jwe":`+jwe, ``)}, form},
		"no recipient":                {call{url: "documents", body: change(jwe[34:152], `"recipients":[]`)}, form},
		"a recipient without kid":     {call{url: "documents", body: change(`"kid":"urn:example:kak",`, ``)}, form},
		"a recipient without alg":     {call{url: "documents", body: change(`,"alg":"ECDH-ES+A256KW"`, ``)}, form},
		"no tag":                      {call{url: "documents", body: change(`,"tag":"AAAA"`, ``)}, form},
		"an entry without key":        {call{url: "documents", body: change(hmacRef, `{"id":"","type":""}`)}, form},
		"an attribute without name":   {call{url: "documents", body: change(`"name":"a"`, `"name":""`)}, form},
		"half a stream":               {call{url: "documents", body: change(`"jwe"`, `"stream":{"chunks":1},"jwe"`)}, form},
		"a stream of the future":      {call{url: "documents", body: change(`"jwe"`, `"stream":{"sequence":1,"chunks":1},"jwe"`)}, form},
		"a known id":                  {call{url: "documents", body: documentJSON(id, 0)}, duplicate},
		"an erased id":                {call{url: "documents", body: documentJSON(gone, 0)}, duplicate},
		"a unique tag taken":          {call{url: "documents", body: fresh("n=v!")}, duplicate},
		"a document too large":        {call{url: "documents", body: change("AAAA", strings.Repeat("A", 4000))}, large},
		"no body":                     {call{url: "documents", method: "POST"}, form},
		"not declared as JSON":        {call{url: "documents", body: fresh(), contentType: "text/plain"}, media},

		// Updates.
		"an update with another id":     {call{url: doc, body: documentJSON(other, 1)}, data},
		"an update with the same":       {call{url: doc, body: documentJSON(id, 0)}, state},
		"an update that skips":          {call{url: doc, body: documentJSON(id, 2)}, state},
		"an update of what is erased":   {call{url: w.document(gone), body: documentJSON(gone, 1)}, state},
		"an update with a taken tag":    {call{url: w.document(other), body: documentJSON(other, 1, "n=v!")}, state},
		"an update of another revision": {call{url: doc, body: documentJSON(id, 1), header: map[string]string{"If-Match": `"` + coffer.Rev{}.String() + `"`}}, state},
		"an update of no revision":      {call{url: doc, body: documentJSON(id, 1), header: map[string]string{"If-Match": `"x"`}}, state},
		"an insertion of what is there": {call{url: doc, body: documentJSON(id, 1), header: map[string]string{"If-None-Match": "*"}}, state},
		"a strange precondition":        {call{url: doc, body: documentJSON(id, 1), header: map[string]string{"If-None-Match": `"x"`}}, form},
		"a bad id in the path":          {call{url: "documents/z1", body: documentJSON(id, 1)}, form},
		"reading a bad id":              {get("documents/x"), form},
		"reading what is not there":     {get(w.document(absent)), notFound},
		"reading what is erased":        {get(w.document(gone)), notFound},
		"reading with a parameter":      {get(doc + "?x=1"), form},
		"erasing what is not there":     {call{method: "DELETE", url: w.document(absent)}, notFound},
		"erasing twice":                 {call{method: "DELETE", url: w.document(gone)}, notFound},

		// Index entries.
		"an entry that is none":          {call{url: doc + "/index", body: `{}`}, form},
		"an entry with unknown members":  {call{url: doc + "/index", body: strings.Replace(entryJSON(0), "{", `{"x":1,`, 1)}, form},
		"an entry of another sequence":   {call{url: doc + "/index", body: entryJSON(1)}, state},
		"an entry for nothing":           {call{url: w.document(absent) + "/index", body: entryJSON(0)}, notFound},
		"an entry with a taken tag":      {call{url: w.document(other) + "/index", body: entryJSON(0, "n=v!")}, state},
		"an entry that makes it too big": {call{url: doc + "/index", body: entryJSON(0, "n="+strings.Repeat("v", 3800))}, large},

		// Chunks.
		"a chunk that is none":          {call{url: doc + "/chunks/0", body: "{}"}, form},
		"a chunk of another index":      {call{url: doc + "/chunks/1", body: chunk(0, 0)}, data},
		"a chunk of another sequence":   {call{url: doc + "/chunks/0", body: chunk(0, 1)}, state},
		"a chunk of nothing":            {call{url: w.document(absent) + "/chunks/0", body: chunk(0, 0)}, notFound},
		"a chunk too large":             {call{url: doc + "/chunks/0", body: strings.Replace(chunk(0, 0), "AAAA", strings.Repeat("A", 5000), 1)}, large},
		"a chunk of no index":           {call{url: doc + "/chunks/x", body: chunk(0, 0)}, notFound},
		"a chunk of a negative index":   {call{url: doc + "/chunks/-1", body: chunk(0, 0)}, notFound},
		"a chunk of a padded index":     {call{url: doc + "/chunks/00", body: chunk(0, 0)}, notFound},
		"a chunk of an endless index":   {call{url: doc + "/chunks/99999999999999999999", body: chunk(0, 0)}, notFound},
		"reading a chunk of no index":   {get(doc + "/chunks/x"), notFound},
		"reading no chunk":              {get(doc + "/chunks/0"), notFound},
		"removing no chunk":             {call{method: "DELETE", url: doc + "/chunks/0"}, notFound},
		"a chunk declared as something": {call{url: doc + "/chunks/0", body: chunk(0, 0), contentType: "application/octet-stream"}, media},
		"a raw chunk of four bytes":     {call{url: doc + "/chunks/0", body: "\x00\x00\x00\x02", contentType: edv.RawChunkType}, form},
		"a raw chunk of three bytes":    {call{url: doc + "/chunks/0", body: "\x00\x00\x00", contentType: edv.RawChunkType}, form},
		"a raw chunk with a long head":  {call{url: doc + "/chunks/0", body: "\xff\xff\xff\xff{}", contentType: edv.RawChunkType}, form},
		"a raw chunk with no head":      {call{url: doc + "/chunks/0", body: raw("xx", "yy"), contentType: edv.RawChunkType}, form},
		"a raw chunk, other index":      {call{url: doc + "/chunks/7", body: raw(rawHead, "yy"), contentType: edv.RawChunkType}, data},
		"a raw chunk, ciphertext twice": {call{url: doc + "/chunks/0", body: raw(chunk(0, 0), "yy"), contentType: edv.RawChunkType}, form},
		"a raw chunk too large":         {call{url: doc + "/chunks/0", body: raw(rawHead, strings.Repeat("y", 5000)), contentType: edv.RawChunkType}, large},
		"a raw chunk of unknown length": {call{url: doc + "/chunks/0", body: raw(rawHead, "yy"), contentType: edv.RawChunkType,
			forge: func(r *http.Request) { r.ContentLength = -1 }}, "411 LengthRequiredError invalid"},
		"a raw chunk that was not signed": {call{url: doc + "/chunks/0", body: raw(rawHead, "yy"), contentType: edv.RawChunkType,
			forge: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(raw(rawHead, "yz"))) }}, data},

		// Queries.
		"a query that is none":           {query(`{}`), form},
		"a query of neither":             {query(`{"index":"x"}`), form},
		"a query of both":                {query(`{"index":"x","equals":[{"a":"b"}],"has":["a"]}`), form},
		"a query without index":          {query(`{"equals":[{"a":"b"}]}`), form},
		"a query with an empty equals":   {query(`{"index":"x","equals":[]}`), form},
		"a query with one object":        {query(`{"index":"x","equals":{"a":"b"}}`), form},
		"a query with limit 0":           {query(`{"index":"x","has":["a"],"limit":0}`), form},
		"a query with limit 1001":        {query(`{"index":"x","has":["a"],"limit":1001}`), form},
		"a query with a foreign cursor":  {query(`{"index":"x","has":["a"],"cursor":"AAAA"}`), form},
		"a query with something else":    {query(`{"index":"x","has":["a"],"x":1}`), form},
		"a query with many filters":      {query(`{"index":"x","equals":[` + strings.Repeat(`{},`, 256) + `{}]}`), form},
		"a query with bad parameters":    {call{url: "query?returnDocuments=0", action: grant.Read, body: `{"index":"x","has":["a"]}`}, form},
		"a query too large":              {query(`{"index":"x","has":["` + strings.Repeat("a", 3000) + `"]}`), large},
		"a list with limit 0":            {get("documents?limit=0"), form},
		"a list with a bad cursor":       {get("documents?cursor=!"), form},
		"a list with a bad flag":         {get("documents?returnDocuments=yes"), form},
		"a list with a bad count":        {get("documents?count=yes"), form},
		"a list with something else":     {get("documents?x=y"), form},
		"a list with something twice":    {get("documents?limit=1&limit=2"), form},
		"a list with a broken parameter": {get("documents?limit=%zz"), form},

		// Feed.
		"changes after a foreign cursor": {get("changes?after=AAAA"), data},
		"changes after a long cursor":    {get("changes?after=" + strings.Repeat("A", 300)), form},
		"changes that wait too long":     {get("changes?wait=61"), form},
		"changes with a bad limit":       {get("changes?limit=x"), form},
		"history with a bad number":      {get("history?afterSequence=-1"), form},
		"history with an endless number": {get("history?afterSequence=99999999999999999999"), form},

		// Batches: the whole answer has the status of the one that failed.
		"a batch that is none":        {call{url: "batch", body: `{}`}, form},
		"an empty batch":              {call{url: "batch", body: `[]`}, form},
		"a batch of too many":         {call{url: "batch", body: `[1,2,3,4]`}, large},
		"a batch too large":           {call{url: "batch", body: `["` + strings.Repeat("x", 9000) + `"]`}, large},
		"a batch declared as nothing": {call{url: "batch", body: `[]`, contentType: "text/json"}, media},

		// Configurations.
		"a vault without a controller":    {config(`{"sequence":0}`), form},
		"a vault with an unknown member":  {config(`{"sequence":0,"controller":"ME","x":1}`), form},
		"a vault with sequence 1":         {config(`{"sequence":1,"controller":"ME"}`), data},
		"a vault with half a key":         {config(`{"sequence":0,"controller":"ME","hmac":{"id":"x","type":""}}`), data},
		"a vault with a bad address":      {config(`{"sequence":0,"controller":"ME","ipAllowList":["10.0.0.0/33"]}`), data},
		"a vault too large":               {config(`{"sequence":0,"controller":"ME","referenceId":"` + strings.Repeat("x", 3000) + `"}`), large},
		"a vault for somebody else":       {config(`{"sequence":0,"controller":"` + w.bob.DID() + `"}`), nobody},
		"a vault that was not signed":     {withBody(config(`{"sequence":0,"controller":"ME"}`), `{"sequence":0,"controller":"`+w.alice.DID()+`" }`), data},
		"finding without a referenceId":   {call{url: "/edvs?controller=" + w.alice.DID(), root: coffertest.Origin + "/edvs"}, form},
		"finding without a controller":    {call{url: "/edvs?referenceId=x", root: coffertest.Origin + "/edvs"}, form},
		"finding with a limit":            {call{url: "/edvs?referenceId=x&limit=1&controller=" + w.alice.DID(), root: coffertest.Origin + "/edvs"}, form},
		"finding somebody else's":         {call{url: "/edvs?referenceId=x&controller=" + w.bob.DID(), root: coffertest.Origin + "/edvs"}, nobody},
		"a configuration of another":      {own(`{"id":"https://vault.example/edvs/x","sequence":1,"controller":"ME"}`), data},
		"a configuration of the same":     {own(`{"id":"VAULT","sequence":0,"controller":"ME"}`), state},
		"a configuration that skips":      {own(`{"id":"VAULT","sequence":2,"controller":"ME"}`), state},
		"a configuration with a new name": {own(`{"id":"VAULT","sequence":1,"controller":"ME","referenceId":"x"}`), data},

		// Revocations.
		"revoking nothing":           {call{url: "zcaps/revocations/urn%3Ax", body: `{}`}, form},
		"revoking by another name":   {call{url: "zcaps/revocations/urn%3Ax", body: w.delegate(t, "documents")}, data},
		"revoking by a crooked name": {call{url: "zcaps/revocations/urn:x", body: `{}`}, notFound},
		"a list of revocations, bad": {get("zcaps/revocations?cursor=AAAA"), form},

		// Sessions.
		"a session without a key":       {call{url: "/sessions", root: coffertest.Origin + "/sessions", body: `{}`}, form},
		"a session with a short key":    {call{url: "/sessions", root: coffertest.Origin + "/sessions", body: `{"publicKey":"AAAA"}`}, form},
		"a session with a broken key":   {call{url: "/sessions", root: coffertest.Origin + "/sessions", body: `{"publicKey":"\n` + strings.Repeat("A", 42) + `E"}`}, form},
		"a session with a key of zeros": {call{url: "/sessions", root: coffertest.Origin + "/sessions", body: `{"publicKey":"` + strings.Repeat("A", 43) + `"}`}, data},

		// Authority.
		"no authorization":      {call{url: doc, forge: func(r *http.Request) { r.Header.Del("Authorization") }}, nobody},
		"no capability":         {call{url: doc, forge: func(r *http.Request) { r.Header.Del("Capability-Invocation") }}, nobody},
		"a broken capability":   {call{url: doc, forge: func(r *http.Request) { r.Header.Set("Capability-Invocation", `zcap capability="x",action="read"`) }}, nobody},
		"another host":          {call{url: doc, forge: func(r *http.Request) { r.Host = "other.example" }}, nobody},
		"another path":          {call{url: doc, forge: func(r *http.Request) { r.URL.Path += "/chunks/0" }}, nobody},
		"another method":        {call{url: doc, forge: func(r *http.Request) { r.Method = "DELETE" }}, nobody},
		"another body":          {withBody(call{url: "documents", body: fresh()}, fresh()), data},
		"a body with no digest": {call{url: "documents", body: fresh(), forge: func(r *http.Request) { r.Header.Del("Digest") }}, nobody},
		"another action":        {call{url: doc, action: grant.Write}, "403 NotAllowedError denied"},
		"a stranger":            {call{url: doc, as: w.bob}, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.changes(t)
			w.do(t, row.call).want(t, row.want)
			if after := w.changes(t); after != before {
				t.Errorf("%d changes", after-before)
			}
		})
	}
	if got := w.do(t, get("")).want(t, "200").body; !strings.Contains(got, `"sequence":0`) {
		t.Errorf("the configuration has changed: %s", got)
	}
	if a := w.do(t, get(doc)).want(t, "200"); a.body != documentJSON(id, 0, "n=v!") {
		t.Errorf("the document has changed: %s", a.body)
	}
}

// withBody is the call with another body than the one that is signed.
func withBody(c call, body string) call {
	c.forge = func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader([]byte(body))), int64(len(body))
	}
	return c
}
