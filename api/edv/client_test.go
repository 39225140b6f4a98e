package edv_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node/vault"
)

// remote returns a client of the handler, which stands where the wire's vaults say that they are, over TLS.
func remote(t testing.TB, h http.Handler, who coffer.Keyring, sessions bool) *edv.Client {
	t.Helper()
	at := httptest.NewTLSServer(h)
	t.Cleanup(at.Close)
	roots := x509.NewCertPool()
	roots.AddCert(at.Certificate())
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at.Listener.Addr().String())
		},
	}
	config := at.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.RootCAs, config.ServerName = roots, "example.com"
	transport.TLSClientConfig = config
	t.Cleanup(transport.CloseIdleConnections)
	c, err := edv.NewClient(edv.ClientOptions{Base: coffertest.Origin, Keyring: who, Now: time.Now, Sessions: sessions,
		HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB, c *edv.Client, url string, capabilities ...string) *edv.RemoteVault {
	t.Helper()
	var encoded [][]byte
	for _, c := range capabilities {
		encoded = append(encoded, []byte(c))
	}
	v, err := c.Vault(url, encoded...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// parsed returns the document as a caller of the client has it.
func parsed(t testing.TB, id coffer.ObjectID, sequence int, tags ...string) *coffer.Document {
	t.Helper()
	d, err := edv.DecodeDocument([]byte(documentJSON(id, sequence, tags...)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func want(t testing.TB, err error, kind coffer.Kind, what string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func TestNewClient(t *testing.T) {
	alice := coffertest.Person(t, "alice")
	for base, good := range map[string]bool{
		"https://vault.example": true, "http://127.0.0.1:80": true, "http://localhost:1": true, "http://[::1]:1": true,
		"http://vault.example": false, "https://vault.example/": false, "vault.example": false, "": false,
		"https://u@vault.example": false, "ftp://vault.example": false, "http://127.0.0.1.example": false,
	} {
		_, err := edv.NewClient(edv.ClientOptions{Base: base, Keyring: alice, Now: time.Now})
		if good != (err == nil) || !good && !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", base, err)
		}
	}
	c := newClient(t, "https://vault.example", alice, false)
	for _, url := range []string{"", "https://vault.example/edvs/x", "https://other.example/edvs/" + coffer.NewVaultID().String()} {
		_, err := c.Vault(url)
		want(t, err, coffer.Invalid, url)
	}
	url := "https://vault.example/edvs/" + coffer.NewVaultID().String()
	_, err := c.Vault(url, []byte("{}"))
	want(t, err, coffer.Invalid, "a capability that is none")
	_, err = c.Vault(url, delegate(t, alice, url, coffertest.Person(t, "bob"), url, time.Now().Add(time.Hour)))
	want(t, err, coffer.Denied, "somebody else's capability")
}

// TestKinds checks that errors cross the wire by kind, and what is made of answers that name none.
func TestKinds(t *testing.T) {
	var body atomic.Pointer[string]
	var status atomic.Int64
	c := remote(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(int(status.Load()))
		io.WriteString(w, *body.Load())
	}), coffertest.Person(t, "alice"), false)
	v := open(t, c, coffertest.Origin+"/edvs/"+coffer.NewVaultID().String())
	for _, row := range []struct {
		status int
		kind   string
		want   coffer.Kind
	}{
		{403, "notExist", coffer.NotExist}, {403, "denied", coffer.Denied}, {404, "notExist", coffer.NotExist},
		{400, "invalid", coffer.Invalid}, {409, "conflict", coffer.Conflict}, {413, "exhausted", coffer.Exhausted},
		{423, "locked", coffer.Locked}, {500, "corrupt", coffer.Corrupt}, {500, "other", coffer.Other}, {507, "exhausted", coffer.Exhausted},
		{502, "", coffer.Unavailable}, {403, "", coffer.NotExist}, {401, "", coffer.NotExist}, {404, "", coffer.NotExist},
		{400, "", coffer.Invalid}, {409, "", coffer.Conflict}, {413, "", coffer.Exhausted}, {418, "x", coffer.Invalid},
		{302, "", coffer.Unavailable}, {500, "", coffer.Other},
	} {
		text := `{"name":"x","details":{"kind":"` + row.kind + `"}}`
		body.Store(&text)
		status.Store(int64(row.status))
		_, err := v.Config(t.Context())
		if got := coffer.KindOf(err); err == nil || got != row.want {
			t.Errorf("%d %s: %v, want %v", row.status, row.kind, err, row.want)
		}
	}
	for _, text := range []string{"", "x", "{}", "[]", "null", `{"id":"x"}`, `{"id":1}`} {
		body.Store(&text)
		status.Store(200)
		_, err := v.Config(t.Context())
		want(t, err, coffer.Corrupt, "a configuration: "+text)
		_, err = v.Get(t.Context(), coffer.NewObjectID())
		want(t, err, coffer.Corrupt, "a document: "+text)
		_, err = coffer.Erase(t.Context(), v, coffer.NewObjectID())
		want(t, err, coffer.Corrupt, "a receipt: "+text)
		_, _, err = v.Chunk(t.Context(), coffer.NewObjectID(), 0)
		want(t, err, coffer.Corrupt, "a chunk: "+text)
		_, err = v.Count(t.Context(), coffer.Query{})
		want(t, err, coffer.Corrupt, "a count: "+text)
	}
}

// TestAgain checks what is sent again, and what never is.
func TestAgain(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	var mode atomic.Value
	var calls atomic.Int64
	mode.Store("")
	c := remote(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/coffer" {
			n := calls.Add(1)
			switch m := mode.Load(); {
			case m == "busy" && n < 3:
				rw.Header().Set("Retry-After", "0")
				rw.WriteHeader(http.StatusServiceUnavailable)
				return
			case m == "much" && n < 3:
				rw.WriteHeader(http.StatusTooManyRequests)
				return
			case m == "later":
				rw.Header().Set("Retry-After", "3600")
				rw.WriteHeader(http.StatusTooManyRequests)
				return
			case m == "down" && n < 3, m == "gone":
				panic(http.ErrAbortHandler)
			}
		}
		w.server.ServeHTTP(rw, r)
	}), w.alice, false)
	v := open(t, c, w.vault)
	id := coffer.NewObjectID()
	sequence := 0
	var last *coffer.Document
	write := func(ctx context.Context) error {
		d := parsed(t, id, sequence)
		if last != nil {
			d.Parents = []coffer.Rev{last.Rev()}
		}
		_, err := coffer.Put(ctx, v, d)
		if err == nil {
			last = d
			sequence++
		}
		return err
	}
	read := func(ctx context.Context) error { _, err := v.Config(ctx); return err }
	for _, row := range []struct {
		mode  string
		do    func(context.Context) error
		calls int64
		want  coffer.Kind
	}{
		{"busy", read, 3, 255}, {"busy", write, 3, 255}, {"much", write, 3, 255}, {"down", read, 3, 255},
		{"down", write, 1, coffer.Unavailable}, // it may have been done
		{"gone", read, 4, coffer.Unavailable},
		{"later", read, 1, coffer.Exhausted},
		{"", write, 1, 255},
	} {
		mode.Store(row.mode)
		calls.Store(0)
		err := row.do(t.Context())
		if row.want == 255 && err != nil || row.want != 255 && !errors.Is(err, row.want) || calls.Load() != row.calls {
			t.Errorf("%q: %v after %d calls, want %v after %d", row.mode, err, calls.Load(), row.want, row.calls)
		}
	}
	mode.Store("gone")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	err := read(ctx)
	want(t, err, coffer.Unavailable, "a context that ends")
	if time.Since(start) > soon {
		t.Error("went on after its context had ended")
	}
}

// TestSessionForgotten changes the server under a client, as a restart does.
func TestSessionForgotten(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	var now atomic.Pointer[edv.Server]
	var sessions, signed atomic.Int64
	now.Store(w.server)
	c := remote(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/sessions":
			sessions.Add(1)
		case strings.Contains(r.Header.Get("Authorization"), `keyId="did:`):
			signed.Add(1)
		}
		now.Load().ServeHTTP(rw, r)
	}), w.alice, true)
	v := open(t, c, w.vault)
	for i := range 20 {
		if i == 10 {
			now.Store(newServer(t, w)) // knows no session
		}
		if _, err := v.Config(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if sessions.Load() != 2 || signed.Load() != 1 {
		t.Errorf("%d sessions and %d signatures, want 2 and 1", sessions.Load(), signed.Load())
	}
	// To be refused costs a signature each time, but not the session.
	stranger := open(t, c, coffertest.Origin+"/edvs/"+coffer.NewVaultID().String())
	for range 3 {
		_, err := stranger.Config(t.Context())
		want(t, err, coffer.NotExist, "a stranger")
	}
	if _, err := v.Config(t.Context()); err != nil || sessions.Load() != 2 {
		t.Errorf("%v, %d sessions", err, sessions.Load())
	}
}

// newServer returns another server over the same vaults.
func newServer(t testing.TB, w *wire) *edv.Server {
	t.Helper()
	o := serverOptions(t, w.Vaults)
	s, err := edv.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// published makes the server one that has nothing of ours.
func published(s http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ours := strings.HasSuffix(r.URL.Path, "/changes") || strings.HasSuffix(r.URL.Path, "/batch") ||
			r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/documents")
		if strings.HasPrefix(r.URL.Path, "/.well-known/") || r.URL.Path == "/sessions" || ours {
			http.NotFound(w, r)
			return
		}
		for _, name := range []string{"Accept", "If-Match", "If-None-Match"} {
			r.Header.Del(name)
		}
		s.ServeHTTP(&plain{ResponseWriter: w}, r)
	})
}

// plain drops the headers that published servers do not send.
type plain struct {
	http.ResponseWriter
	once sync.Once
}

func (p *plain) WriteHeader(status int) {
	p.once.Do(func() { p.Header().Del("Coffer-Parents"); p.Header().Del("Coffer-Sequence") })
	p.ResponseWriter.WriteHeader(status)
}

// TestPublished uses a server that has nothing of ours.
func TestPublished(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	ctx := t.Context()
	v := open(t, remote(t, published(w.server), w.alice, true), w.vault)
	var ids []coffer.ObjectID
	for range 5 {
		d := parsed(t, coffer.NewObjectID(), 0, "a=b")
		ch, err := coffer.Put(ctx, v, d)
		if err != nil || ch.ID != d.ID || ch.Rev != d.Rev() {
			t.Fatalf("put: %+v, %v", ch, err)
		}
		ids = append(ids, d.ID)
	}
	got, err := v.Get(ctx, ids[0])
	if err != nil || len(got) != 1 || got[0].ID != ids[0] {
		t.Fatalf("get: %v, %v", got, err)
	}
	next := parsed(t, ids[0], 1, "a=b")
	next.Parents = []coffer.Rev{got[0].Rev()}
	if _, err := coffer.Put(ctx, v, next); err != nil {
		t.Fatal(err)
	}
	_, err = coffer.Put(ctx, v, next)
	want(t, err, coffer.Conflict, "an update again")
	slices.SortFunc(ids, func(a, b coffer.ObjectID) int { return bytes.Compare(a[:], b[:]) })
	for _, idsOnly := range []bool{false, true} {
		var found []coffer.ObjectID
		q := coffer.Query{Index: "urn:example:hmac", Equals: []map[string]string{{"a": "b"}}, IDsOnly: idsOnly}
		for d, err := range v.Query(ctx, q) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, d.ID)
		}
		if !slices.Equal(found, ids) {
			t.Errorf("found %d documents, want %d in order", len(found), len(ids))
		}
	}
	_, err = v.Apply(ctx, coffer.Write{Document: parsed(t, coffer.NewObjectID(), 0)}, coffer.Write{Document: parsed(t, coffer.NewObjectID(), 0)})
	want(t, err, coffer.Invalid, "a batch")
	ref, raw := rawChunk(1, 0, "text")
	if err := v.PutChunk(ctx, ids[0], ref, bytes.NewReader(raw)); !errors.Is(err, coffer.Conflict) && err != nil {
		t.Fatal(err)
	}
	if err := v.PutChunk(ctx, next.ID, ref, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	back, r, err := v.Chunk(ctx, next.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || back != ref || !bytes.Equal(b, raw) {
		t.Errorf("chunk: %+v %q %v, want %+v", back, b, err, ref)
	}
}

func rawChunk(sequence, index int, text string) (coffer.ChunkRef, []byte) {
	head := strings.Replace(fmt.Sprintf(`{"index":%d,"offset":%d,"sequence":%d,"jwe":%s}`, index, index+1, sequence, jwe),
		`"ciphertext":"AAAA"`, `"ciphertext":""`, 1)
	b := edv.JoinRaw([]byte(head), []byte(text))
	return coffer.ChunkRef{Sequence: uint64(sequence), Index: uint64(index), Size: int64(len(b)), Sum: sha256.Sum256(b)}, b
}

// TestLies lets the server answer with what was not asked for.
func TestLies(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	asked, other := w.insert(t, "a=b"), w.insert(t, "a=b")
	var from, to atomic.Value
	from.Store("")
	to.Store("")
	c := remote(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		w.server.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			rw.Header()[k] = v
		}
		rw.Header().Del("Content-Length")
		for k, v := range rec.Header() {
			rw.Header()[k] = []string{strings.ReplaceAll(strings.Join(v, ","), from.Load().(string), to.Load().(string))}
		}
		rw.Header().Del("Content-Length")
		rw.WriteHeader(rec.Code)
		io.WriteString(rw, strings.ReplaceAll(rec.Body.String(), from.Load().(string), to.Load().(string)))
	}), w.alice, false)
	v := open(t, c, w.vault)
	etag := strings.Trim(w.do(t, call{url: w.document(asked)}).Header.Get("Etag"), `"`)
	lie := func(old, new string) { from.Store(old); to.Store(new) }
	get := func() error { _, err := v.Get(t.Context(), asked); return err }
	list := func() error {
		for _, err := range v.Query(t.Context(), coffer.Query{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	feed := func() error {
		for _, err := range v.Changes(t.Context(), "", false) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	for _, row := range []struct {
		name     string
		old, new string
		do       func() error
	}{
		{"another document", asked.String(), other.String(), get},
		{"another body", `"unique":false`, `"unique":true`, get},
		{"another revision", etag, coffer.Rev{}.String(), get},
		{"no document", `"jwe"`, `"x"`, get},
		{"another body in a list", `"unique":false`, `"unique":true`, list},
		{"a list that goes in circles", asked.String(), other.String(), list},
		{"a list that does not end", `"hasMore":false`, `"hasMore":true`, list},
		{"a feed with a gap", `"number":2`, `"number":3`, feed},
		{"a feed of nonsense", `"accepted"`, `"x"`, feed},
		{"a feed without cursors", `"cursor"`, `"x"`, feed},
	} {
		lie("@", "@")
		if err := row.do(); err != nil {
			t.Fatalf("%s: the truth: %v", row.name, err)
		}
		lie(row.old, row.new)
		if row.name == "a list that does not end" {
			if err := row.do(); err != nil && !errors.Is(err, coffer.Corrupt) {
				t.Errorf("%s: %v", row.name, err)
			}
			continue
		}
		want(t, row.do(), coffer.Corrupt, row.name)
	}
	lie("@", "@")
	d := parsed(t, coffer.NewObjectID(), 0)
	lie(d.Rev().String(), coffer.Rev{1}.String())
	_, err := coffer.Put(t.Context(), v, d)
	want(t, err, coffer.Corrupt, "something else was accepted")
}

// TestCapabilities checks that a client picks the capability that is good, and asks where it is good.
func TestCapabilities(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	ctx := t.Context()
	id := w.insert(t, "a=b")
	c := remote(t, w.server, w.bob, false)
	q := coffer.Query{Index: "urn:example:hmac", Equals: []map[string]string{{"a": "b"}}}
	find := func(v *edv.RemoteVault, q coffer.Query) (n int, err error) {
		for _, err := range v.Query(ctx, q) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}

	// Below documents, queries go through documents.
	documents := open(t, c, w.vault, w.delegate(t, "documents", "read"))
	if n, err := find(documents, q); n != 1 || err != nil {
		t.Errorf("found %d, %v", n, err)
	}
	if n, err := find(documents, coffer.Query{}); n != 1 || err != nil {
		t.Errorf("listed %d, %v", n, err)
	}
	_, err := coffer.Put(ctx, documents, parsed(t, coffer.NewObjectID(), 0))
	want(t, err, coffer.Denied, "writing with a capability for reading")
	_, err = documents.Config(ctx)
	want(t, err, coffer.Denied, "the configuration with a capability for documents")

	// For ids alone.
	ids := open(t, c, w.vault, w.delegate(t, "query?returnDocuments=false", "read"))
	_, err = find(ids, q)
	want(t, err, coffer.Denied, "documents with a capability for ids")
	q.IDsOnly = true
	if n, err := find(ids, q); n != 1 || err != nil {
		t.Errorf("found %d ids, %v", n, err)
	}

	// One to read a document, another to write it, and one to make another.
	made := coffer.NewObjectID()
	two := open(t, c, w.vault, w.delegate(t, w.document(id), "read"), w.delegate(t, w.document(id), "write"), w.delegate(t, w.document(made), "write"))
	got, err := two.Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	next := parsed(t, id, 1)
	next.Parents = []coffer.Rev{got[0].Rev()}
	if _, err := coffer.Put(ctx, two, next); err != nil {
		t.Error(err)
	}
	if _, err := coffer.Put(ctx, two, parsed(t, made, 0)); err != nil {
		t.Error(err)
	}
	_, err = coffer.Put(ctx, two, parsed(t, made, 0))
	want(t, err, coffer.Conflict, "inserting again")
	_, err = two.Get(ctx, made)
	want(t, err, coffer.Denied, "reading with a capability for writing")

	// What has expired is no right.
	old := string(delegate(t, w.alice, w.vault, w.bob, w.vault, time.Now().Add(time.Second)))
	expired := open(t, c, w.vault, old)
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(2 * time.Second)))
	_, err = expired.Config(ctx)
	want(t, err, coffer.NotExist, "what has expired")

	// By those who took part, and by whom the owner let.
	capability := w.delegate(t, "documents", "read")
	if err := open(t, c, w.vault, capability).Revoke(ctx, []byte(capability)); err != nil {
		t.Errorf("the delegate cannot revoke: %v", err)
	}
	want(t, open(t, c, w.vault).Revoke(ctx, []byte(capability)), coffer.NotExist, "revoked already")
	n := 0
	for r, err := range open(t, c, w.vault, w.delegate(t, "zcaps/revocations", "read", "write")).Revocations(ctx) {
		if err != nil || string(r.Capability) != capability || r.By != w.bob.DID() {
			t.Errorf("revocation: %+v, %v", r, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d revocations", n)
	}
}

// TestOwner uses what only an owner can.
func TestOwner(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	ctx := t.Context()
	c := remote(t, w.server, w.alice, true)
	made, err := c.CreateVault(ctx, &coffer.Config{Controller: w.alice.DID(), ReferenceID: "a b&c"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateVault(ctx, &coffer.Config{Controller: w.alice.DID(), ReferenceID: "a b&c"})
	want(t, err, coffer.Conflict, "a second vault with the name")
	if found, err := c.FindVaults(ctx, "a b&c"); err != nil || len(found) != 1 || found[0].ID != made.ID {
		t.Errorf("found %v, %v", found, err)
	}
	if found, err := c.FindVaults(ctx, "x"); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	v := open(t, c, made.ID)
	made.Sequence++
	made.HMAC = &coffer.KeyRef{ID: "x", Type: "y"}
	if err := v.Configure(ctx, made); err != nil {
		t.Fatal(err)
	}
	want(t, v.Configure(ctx, made), coffer.Conflict, "the same configuration again")
	if got, err := v.Config(ctx); err != nil || *got.HMAC != *made.HMAC || got.Sequence != 1 {
		t.Errorf("configured as %+v, %v", got, err)
	}
	if d, err := c.Description(ctx); err != nil || d.Origin != coffertest.Origin {
		t.Errorf("described as %+v, %v", d, err)
	}
	ch, err := v.EraseVault(ctx)
	if err != nil || ch.Kind != coffer.VaultErased {
		t.Fatalf("erased: %+v, %v", ch, err)
	}
	_, err = v.Config(ctx)
	want(t, err, coffer.NotExist, "an erased vault")
	for got, err := range v.Changes(ctx, "", true) { // ends by itself
		if err != nil || got.Kind != coffer.VaultErased {
			t.Errorf("the feed has %+v, %v", got, err)
		}
	}
}

// onlyReader hides what a reader can besides.
type onlyReader struct{ io.Reader }

// TestUploads sends chunks from readers of all sorts.
func TestUploads(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	ctx := t.Context()
	id := w.insert(t)
	var refuse atomic.Bool
	c := remote(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && refuse.CompareAndSwap(true, false) {
			rw.Header().Set("Retry-After", "0")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.server.ServeHTTP(rw, r)
	}), w.alice, true)
	v := open(t, c, w.vault)
	ref, raw := rawChunk(0, 0, strings.Repeat("0123456789abcdef", 1<<16))
	longer := append(bytes.Clone(raw), 'x')
	shorter := raw[:len(raw)-1]
	broken := io.MultiReader(bytes.NewReader(raw[:1000]), iotestErrReader{})
	wrongSum := ref
	wrongSum.Sum[0]++
	other := ref
	other.Index = 1
	for _, row := range []struct {
		name   string
		ref    coffer.ChunkRef
		r      io.Reader
		refuse bool
		want   coffer.Kind
	}{
		{"from memory", ref, bytes.NewReader(raw), false, 255},
		{"once", ref, onlyReader{bytes.NewReader(raw)}, false, 255},
		{"from within", ref, seekTo(t, append([]byte("abc"), raw...), 3), true, 255},
		{"twice, where it can be", ref, bytes.NewReader(raw), true, 255},
		{"twice, where it cannot be", ref, onlyReader{bytes.NewReader(raw)}, true, coffer.Unavailable},
		{"longer", ref, bytes.NewReader(longer), false, coffer.Invalid},
		{"shorter", ref, onlyReader{bytes.NewReader(shorter)}, false, coffer.Invalid},
		{"broken", ref, broken, false, coffer.Unavailable},
		{"of another hash", wrongSum, bytes.NewReader(raw), false, coffer.Invalid},
		{"of another index", other, bytes.NewReader(raw), false, coffer.Invalid},
		{"of nothing", ref, bytes.NewReader(nil), false, coffer.Invalid},
	} {
		refuse.Store(row.refuse)
		err := v.PutChunk(ctx, id, row.ref, row.r)
		if row.want == 255 && err != nil || row.want != 255 && !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
	got, r, err := v.Chunk(ctx, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || got != ref || !bytes.Equal(b, raw) {
		t.Errorf("read %+v, %d bytes, %v; want %+v", got, len(b), err, ref)
	}
}

func seekTo(t *testing.T, b []byte, at int64) io.Reader {
	t.Helper()
	r := bytes.NewReader(b)
	if _, err := r.Seek(at, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return r
}

type iotestErrReader struct{}

func (iotestErrReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// TestDisagreement checks that what the server would see otherwise is not sent.
func TestDisagreement(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	v := open(t, remote(t, w.server, w.alice, false), w.vault)
	for name, change := range map[string]func(*coffer.Document){
		"id":       func(d *coffer.Document) { d.ID = coffer.NewObjectID() },
		"sequence": func(d *coffer.Document) { d.Sequence++ },
		"tags":     func(d *coffer.Document) { d.Tags = nil },
		"stream":   func(d *coffer.Document) { d.Stream = &coffer.Stream{Pending: true} },
		"body":     func(d *coffer.Document) { d.Body = []byte("{}") },
	} {
		d := parsed(t, coffer.NewObjectID(), 0, "a=b")
		change(d)
		_, err := coffer.Put(t.Context(), v, d)
		want(t, err, coffer.Invalid, name)
	}
	if n := w.changes(t); n != 0 {
		t.Errorf("%d changes", n)
	}
}
