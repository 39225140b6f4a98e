package edv

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// vectors are documents, chunks and bodies that the published clients made.
type vectors struct {
	Blinding struct {
		Version2 struct {
			Entry                    json.RawMessage
			QueryEquals, QueryTwo    json.RawMessage
			QueryHas, QueryUnindexed json.RawMessage
		}
	}
	JWE    struct{ JWE json.RawMessage } `json:"jweXC20P"`
	Stream struct{ Chunks []json.RawMessage }
	HTTP   struct {
		PostWithRoot, CreateVault struct{ Body string }
	}
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("../../internal/vectors/edv-vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// compact returns the JSON as the published clients send it.
func compact(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (v *vectors) document(t testing.TB) []byte {
	return compact(t, fmt.Appendf(nil, `{"id":"%s","sequence":3,"indexed":[%s],"stream":{"sequence":2,"chunks":3},"jwe":%s}`,
		coffer.ObjectID{1}, v.Blinding.Version2.Entry, v.JWE.JWE))
}

func TestPublishedForms(t *testing.T) {
	v := readVectors(t)
	b := v.document(t)
	d, err := DecodeDocument(b)
	if err != nil {
		t.Fatal(err)
	}
	var e Entry
	if err := json.Unmarshal(v.Blinding.Version2.Entry, &e); err != nil {
		t.Fatal(err)
	}
	if d.ID != (coffer.ObjectID{1}) || d.Sequence != 3 || *d.Stream != (coffer.Stream{Sequence: 2, Chunks: 3}) ||
		len(d.Tags) != len(e.Attributes) || len(d.Tags) == 0 || d.Tags[0].Key != e.HMAC.ID || d.Tags[0].Value != e.Attributes[0].Value {
		t.Errorf("the document is %+v", d)
	}
	if _, err := DecodeEntry(compact(t, v.Blinding.Version2.Entry)); err != nil {
		t.Error(err)
	}
	if _, err := DecodeConfig([]byte(v.HTTP.CreateVault.Body)); err != nil {
		t.Error(err)
	}
	q, count, err := decodeQuery([]byte(v.HTTP.PostWithRoot.Body))
	if err != nil || count || q.Limit != 2 || len(q.Has) != 1 {
		t.Errorf("the query is %+v, %v", q, err)
	}
	for i, chunk := range v.Stream.Chunks {
		b := compact(t, chunk)
		c, raw, err := RawFromJSON(b)
		if err != nil {
			t.Fatal(err)
		}
		if c.Index != uint64(i) {
			t.Errorf("chunk %d is %+v", i, c)
		}
		var w struct{ JWE struct{ Ciphertext string } }
		if err := json.Unmarshal(b, &w); err != nil {
			t.Fatal(err)
		}
		if _, ciphertext, err := SplitRaw(raw); err != nil || base64.RawURLEncoding.EncodeToString(ciphertext) != w.JWE.Ciphertext {
			t.Errorf("the ciphertext of chunk %d is another: %v", i, err)
		}
		if back, err := JSONFromRaw(raw); err != nil || !bytes.Equal(back, b) {
			t.Errorf("chunk %d comes back as %s, %v", i, back, err)
		}
	}
}

// TestRawForm is the known answer of doc/chunk.md.
func TestRawForm(t *testing.T) {
	const text = `{"index":0,"offset":3,"sequence":0,"jwe":{"protected":"eyJlbmMiOiJYQzIwUCJ9","recipients":[{"header":` +
		`{"kid":"k","alg":"ECDH-ES+A256KW"},"encrypted_key":"AAAA"}],"iv":"AAAA","ciphertext":"_-8AAQ","tag":"AAAA"}}`
	want := "\x00\x00\x00\xcb" + strings.Replace(text, "_-8AAQ", "", 1) + "\xff\xef\x00\x01"
	if _, raw, err := RawFromJSON([]byte(text)); err != nil || string(raw) != want {
		t.Errorf("the raw form is %q, %v; want %q", raw, err, want)
	}
}

func TestManyEntries(t *testing.T) {
	v := readVectors(t)
	many := func(n int) []byte {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(`{"hmac":{"id":"%d","type":"x"},"sequence":0,"attributes":[]}`, i))
		}
		return fmt.Appendf(nil, `{"id":"%s","sequence":0,"indexed":[%s],"jwe":%s}`, coffer.ObjectID{1}, strings.Join(entries, ","), v.JWE.JWE)
	}
	if _, err := DecodeDocument(many(maxEntries)); err != nil {
		t.Error(err)
	}
	if _, err := DecodeDocument(many(maxEntries + 1)); coffer.KindOf(err) != coffer.Invalid {
		t.Errorf("one entry too many: %v", err)
	}
}

func FuzzDecodeDocument(f *testing.F) {
	v := readVectors(f)
	f.Add(v.document(f))
	f.Add(bytes.Replace(v.document(f), []byte(`{"sequence":2,"chunks":3}`), []byte(`{}`), 1))
	f.Add([]byte(`{"id":"z1","sequence":0,"jwe":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDocument(b)
		if err != nil {
			if coffer.KindOf(err) != coffer.Invalid {
				t.Errorf("%v is not Invalid", err)
			}
			return
		}
		if err := d.Check(); err != nil || !bytes.Equal(d.Body, b) {
			t.Errorf("accepted what is none: %v", err)
		}
		// The canonical form says the same.
		c, err := jose.Canonical(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeDocument(c)
		if err != nil {
			t.Fatal(err)
		}
		if again.Body = d.Body; again.Rev() != d.Rev() {
			t.Error("the canonical form is another document")
		}
	})
}

func FuzzRawFromJSON(f *testing.F) {
	v := readVectors(f)
	for _, chunk := range v.Stream.Chunks {
		f.Add([]byte(chunk))
		f.Add(compact(f, chunk))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, raw, err := RawFromJSON(b)
		if err != nil {
			if coffer.KindOf(err) != coffer.Invalid {
				t.Errorf("%v is not Invalid", err)
			}
			return
		}
		head, ciphertext, err := SplitRaw(raw)
		if err != nil || !bytes.Equal(JoinRaw(head, ciphertext), raw) {
			t.Fatalf("the raw form is none: %v", err)
		}
		back, err := JSONFromRaw(raw)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, ciphertextMember) && !bytes.Equal(back, b) {
			t.Errorf("came in as %q, comes out as %q", b, back)
		}
		again, raw2, err := RawFromJSON(back)
		if err != nil || !bytes.Equal(raw, raw2) || again.Index != c.Index || again.Sequence != c.Sequence || again.Offset != c.Offset {
			t.Errorf("the JSON form of the raw form is another chunk: %v", err)
		}
	})
}

func FuzzDecodeChunkHead(f *testing.F) {
	v := readVectors(f)
	for _, chunk := range v.Stream.Chunks {
		_, raw, err := RawFromJSON(chunk)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		head, ciphertext, err := SplitRaw(raw)
		if err != nil {
			return
		}
		c, err := DecodeChunkHead(head)
		if err != nil {
			return
		}
		if c.Index > maxChunkIndex || c.Sequence > coffer.MaxSequence || len(head)+len(ciphertext)+4 != len(raw) {
			t.Errorf("accepted %+v", c)
		}
		if b, err := JSONFromRaw(raw); err == nil {
			if back, _, err := RawFromJSON(b); err == nil && (back.Index != c.Index || back.Sequence != c.Sequence) {
				t.Error("the JSON form is another chunk")
			}
		}
	})
}

func FuzzDecodeQuery(f *testing.F) {
	v := readVectors(f)
	f.Add([]byte(v.HTTP.PostWithRoot.Body))
	f.Add([]byte(`{"index":"x","equals":[{"a":"b","c":"d"},{}],"count":true,"returnDocuments":false,"cursor":"AQ"}`))
	f.Add([]byte(`{"index":"x","has":["a"],"limit":1000,"cursor":"` + formatListCursor(coffer.ObjectID{9}) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, _, err := decodeQuery(b)
		if err != nil {
			if coffer.KindOf(err) != coffer.Invalid {
				t.Errorf("%v is not Invalid", err)
			}
			return
		}
		if q.Check() != nil || q.Limit < 1 || q.Limit > maxPage || q.Index == "" || (len(q.Equals) == 0) == (len(q.Has) == 0) {
			t.Errorf("accepted %+v", q)
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	v := readVectors(f)
	d := v.document(f)
	f.Add(fmt.Appendf(nil, `[%s,{"put":%s,"ifMatch":"%s"},{"delete":"%s"}]`, d, d, coffer.Rev{7}, coffer.ObjectID{1}))
	f.Add([]byte(`[{"put":{},"ifMatch":""},{"delete":""},{},1,null]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		elements, err := decodeBatch(b, 10)
		if err != nil {
			return
		}
		if len(elements) == 0 || len(elements) > 10 {
			t.Errorf("%d operations", len(elements))
		}
		for _, e := range elements {
			w, revs, err := decodeOperation(e)
			if err != nil {
				continue
			}
			if w.ID() == (coffer.ObjectID{}) && w.Document != nil || revs != nil && (w.Document == nil || len(*revs) > maxParents) {
				t.Errorf("accepted %+v", w)
			}
		}
	})
}

func FuzzDecodeConfig(f *testing.F) {
	v := readVectors(f)
	f.Add([]byte(v.HTTP.CreateVault.Body))
	f.Add([]byte(`{"id":"x","sequence":1,"controller":"x","referenceId":"r","keyAgreementKey":{"id":"a","type":"b"},"hmac":{"id":"a",` +
		`"type":"b"},"invoker":"x","delegator":["y"],"ipAllowList":["10.0.0.0/8"],"meterId":"m"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeConfig(b)
		if err != nil {
			if coffer.KindOf(err) != coffer.Invalid {
				t.Errorf("%v is not Invalid", err)
			}
			return
		}
		again, err := jose.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeConfig(again); err != nil {
			t.Errorf("what was accepted is not when it is written again: %v\n%s", err, again)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/edvs/z1/documents/z1/chunks/0?x=y", "/a/../b", "/%2e", "//", "/a%2Fb", "/urn%3Auuid%3A1", "/%253A", "/%C3%A4", "/a/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		p, ok := parsePath(uri)
		if !ok {
			return
		}
		if p.n < 1 || p.n > maxSegments || !strings.HasPrefix(uri, p.text) || strings.ContainsAny(p.text, "?#\\ \"<>\x00") {
			t.Fatalf("accepted %q as %+v", uri, p)
		}
		// There is one text for each decoded path, but for what encodeURIComponent need not have escaped.
		text := ""
		for _, s := range p.segments[:p.n] {
			if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00") {
				t.Errorf("%q has the segment %q", uri, s)
			}
			text += "/" + encodeComponent(s)
		}
		plain := strings.NewReplacer(":", "%3A", "@", "%40", "$", "%24", "&", "%26", "+", "%2B", ",", "%2C", ";", "%3B", "=", "%3D")
		if plain.Replace(p.text) != text {
			t.Errorf("%q is another text for %q", p.text, text)
		}
		p.params("a", "b")
	})
}

func FuzzSpliceEntry(f *testing.F) {
	v := readVectors(f)
	f.Add(v.document(f), compact(f, v.Blinding.Version2.Entry))
	f.Add(v.document(f), []byte(` {"hmac":{"id":"x","type":"y"},"sequence":3,"attributes":[{"name":"a","value":"b","unique":true}]} `))
	f.Add([]byte(strings.Replace(string(v.document(f)), `"indexed"`, `"stream":{},"indexed"`, 1)), []byte(`{}`))
	f.Fuzz(func(t *testing.T, stored, entry []byte) {
		before, err := DecodeDocument(stored)
		if err != nil {
			return
		}
		e, err := DecodeEntry(entry)
		if err != nil {
			return
		}
		spliced, err := spliceEntry(stored, e.HMAC, entry)
		if err != nil {
			t.Fatalf("a stored document cannot be spliced: %v", err)
		}
		after, err := DecodeDocument(spliced)
		if err != nil {
			return // too many tags, or texts that are too long
		}
		if after.ID != before.ID || after.Sequence != before.Sequence || (after.Stream == nil) != (before.Stream == nil) {
			t.Error("more than the entry has changed")
		}
		own := 0
		for _, tag := range after.Tags {
			if tag.Key == e.HMAC.ID {
				own++
			}
		}
		if own < len(e.Attributes) {
			t.Errorf("%d of the entry's %d attributes are there", own, len(e.Attributes))
		}
	})
}

func FuzzCursors(f *testing.F) {
	f.Add(formatListCursor(coffer.ObjectID{1, 2, 3}))
	f.Add(revocationPlace{1 << 60, 7}.String())
	f.Add("\r" + formatListCursor(coffer.ObjectID{1, 2, 3})) // base64 decoders pass over line ends
	f.Add(revocationPlace{1 << 60, 7}.String() + "\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := parseListCursor(s); err == nil && formatListCursor(id) != s {
			t.Errorf("%q is not the only text for its place", s)
		}
		if p, err := parseRevocationPlace(s); err == nil && p.String() != s {
			t.Errorf("%q is not the only text for its place", s)
		}
		if revs, err := parseRevs(s); err == nil && len(revs) > maxParents {
			t.Errorf("%d revisions", len(revs))
		}
	})
}

// FuzzAnswers reads what a server may say.
func FuzzAnswers(f *testing.F) {
	v := readVectors(f)
	f.Add([]byte(`{"name":"x","details":{"kind":"conflict"}}`))
	f.Add([]byte(`[{"status":424},{"status":409,"kind":"conflict"}]`))
	f.Add(fmt.Appendf(nil, `{"documents":[{"revision":"x","parents":[],"document":%s}],"hasMore":false}`, v.document(f)))
	f.Add(fmt.Appendf(nil, `{"documents":[%s],"documentIds":["%s"],"hasMore":true}`, v.document(f), coffer.ObjectID{1}))
	f.Add([]byte(`{"cursor":"x","number":1,"type":"erased","documentId":"z19","sequence":0,"by":"x","time":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := errorFrom("x", 409, b); coffer.KindOf(err) > coffer.Unavailable {
			t.Errorf("made %v", err)
		}
		if c, err := decodeChange(b); err == nil && (c.Kind == 0 || c.Number == 0 || c.Cursor == "") {
			t.Errorf("accepted %+v", c)
		}
		for _, header := range []string{"application/json", DocumentsType} {
			for _, idsOnly := range []bool{false, true} {
				var p pageAnswer
				docs, err := p.decode(&answered{200, map[string][]string{"Content-Type": {header}}, b}, idsOnly)
				if err != nil && coffer.KindOf(err) != coffer.Corrupt {
					t.Errorf("%v is not Corrupt", err)
				}
				for _, d := range docs {
					if err == nil && d == nil {
						t.Error("accepted no document")
					}
				}
			}
		}
	})
}
