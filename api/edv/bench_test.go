package edv_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

// benchDocument writes a document of about 1.5 kB with three tags, one of them unique.
func benchDocument(id coffer.ObjectID, group int) string {
	name := func(s string) string { return strings.Repeat(s, 43/len(s)+1)[:43] }
	d := documentJSON(id, 0, name("abc")+"="+name(id.String())+"!", name("def")+"="+name("x"), name("ghi")+"="+name(fmt.Sprint("g", group)))
	return strings.Replace(d, `"ciphertext":"AAAA"`, `"ciphertext":"`+strings.Repeat("A", 700)+`"`, 1)
}

// sink answers into nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkHandler is what a request costs in this process: the wire, the law and the store, without the network and
// without signing.
func BenchmarkHandler(b *testing.B) {
	w := newWire(b, vault.Limits{}, nil)
	capability := w.delegate(b, "documents", "read")
	ids := make([]coffer.ObjectID, 1000)
	for i := range ids {
		ids[i] = coffer.NewObjectID()
		w.do(b, call{url: "documents", body: benchDocument(ids[i], i/10)}).want(b, "201")
	}
	group := fmt.Sprintf(`{"index":"urn:example:hmac","equals":[{"%s":"%s"}],"limit":10}`,
		strings.Repeat("ghi", 15)[:43], strings.Repeat("g42", 15)[:43])
	for _, row := range []struct {
		name string
		call func(i int) call
		want int
	}{
		{"get", func(i int) call { return call{url: w.document(ids[i%len(ids)])} }, 200},
		{"get/delegated", func(i int) call { return call{as: w.bob, by: capability, url: w.document(ids[i%len(ids)])} }, 200},
		{"query", func(int) call { return call{url: "query", action: grant.Read, body: group} }, 200},
		{"insert", func(int) call { return call{url: "documents", body: benchDocument(coffer.NewObjectID(), -1)} }, 201},
	} {
		for _, session := range []bool{false, true} {
			if session && strings.Contains(row.name, "/") {
				continue
			}
			name := row.name + "/signature"
			if session {
				name = row.name + "/session"
			}
			b.Run(name, func(b *testing.B) {
				var under *grant.Session
				if session {
					under = w.session(b)
				}
				requests := make([]*http.Request, b.N)
				for i := range requests {
					c := row.call(i)
					r := w.signed(b, c, under)
					r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:1"
					if r.Body != nil {
						body, err := io.ReadAll(r.Body)
						if err != nil {
							b.Fatal(err)
						}
						r.Body = io.NopCloser(bytes.NewReader(body))
					}
					requests[i] = r
				}
				b.ReportAllocs()
				b.ResetTimer()
				for _, r := range requests {
					s := &sink{header: make(http.Header, 8)}
					w.server.ServeHTTP(s, r)
					if s.status != row.want {
						b.Fatalf("status %d", s.status)
					}
				}
			})
		}
	}
}

// session negotiates a session for alice.
func (w *wire) session(t testing.TB) *grant.Session {
	t.Helper()
	opening, err := grant.OpenSession()
	if err != nil {
		t.Fatal(err)
	}
	encoding := base64.RawURLEncoding
	a := w.do(t, call{url: "/sessions", body: `{"publicKey":"` + encoding.EncodeToString(opening.Public()) + `"}`}).want(t, "201")
	got := decode[struct {
		ID, PublicKey string
		Expires       time.Time
	}](t, a)
	public, err := encoding.DecodeString(got.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := opening.Session(public, got.ID, w.alice.Key(coffer.SigningKey).ID, coffertest.Origin, got.Expires)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// BenchmarkSocket is what the client and the server cost together, across a socket, with a request after the other.
func BenchmarkSocket(b *testing.B) {
	w := newWire(b, vault.Limits{}, nil)
	for _, sessions := range []bool{false, true} {
		c := remote(b, w.server, w.alice, sessions)
		v := open(b, c, w.vault)
		name := map[bool]string{false: "/signature", true: "/session"}[sessions]
		id := coffer.NewObjectID()
		put := func(b *testing.B, id coffer.ObjectID) {
			d, err := edv.DecodeDocument([]byte(benchDocument(id, 0)))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := coffer.Put(b.Context(), v, d); err != nil {
				b.Fatal(err)
			}
		}
		put(b, id)
		b.Run("insert"+name, func(b *testing.B) {
			for b.Loop() {
				put(b, coffer.NewObjectID())
			}
		})
		b.Run("get"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Get(b.Context(), id); err != nil {
					b.Fatal(err)
				}
			}
		})
		ref, raw := rawChunk(0, 0, strings.Repeat("x", 1<<20))
		b.Run("put chunk of 1 MiB"+name, func(b *testing.B) {
			b.SetBytes(ref.Size)
			for b.Loop() {
				if err := v.PutChunk(b.Context(), id, ref, bytes.NewReader(raw)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("get chunk of 1 MiB"+name, func(b *testing.B) {
			b.SetBytes(ref.Size)
			for b.Loop() {
				_, r, err := v.Chunk(b.Context(), id, 0)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}
