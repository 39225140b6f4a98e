package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

var (
	idA = coffer.ObjectID{0: 1, 15: 1}
	idB = coffer.ObjectID{0: 2, 15: 2}
)

func mustSeal(t testing.TB, r *ring, p Plain, o Options) *coffer.Document {
	t.Helper()
	d, err := Seal(t.Context(), r, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustOpen(t testing.TB, r *ring, d *coffer.Document) *Opened {
	t.Helper()
	o, err := Open(t.Context(), r, d)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSealAndOpen(t *testing.T) {
	alice, bob, carol := newRing(t, "alice"), newRing(t, "bob"), newRing(t, "carol")
	blind, err := NewBlinder(alice, Index{Attributes: []string{"content.kind"}, Unique: true})
	if err != nil {
		t.Fatal(err)
	}
	foreign := edv.Entry{
		HMAC: coffer.KeyRef{ID: "urn:hmac:other", Type: "Sha256HmacKey2019"}, Sequence: 3,
		Attributes: []edv.Attribute{{Name: "n", Value: "v"}},
	}
	p := Plain{Content: json.RawMessage(`{"kind":"ü","n":[1,{}]}`), Meta: json.RawMessage(`{"coffer":"the user's own"}`)}
	parents := []coffer.Rev{{2}, {1}}
	for _, enc := range []string{"", "XC20P", "A256GCM"} {
		d := mustSeal(t, alice, p, Options{
			ID: idA, Sequence: 7, Parents: parents, Enc: enc, Blind: blind, Keep: []edv.Entry{foreign},
			Recipients: []coffer.PublicKey{alice.public(), bob.public()},
		})
		wire, err := edv.DecodeDocument(d.Body)
		if err != nil {
			t.Fatal(err)
		}
		wire.Parents = parents
		if !reflect.DeepEqual(wire, d) {
			t.Errorf("the body says %+v, the document %+v", wire, d)
		}
		if !slices.Contains(d.Tags, coffer.Tag{Key: "urn:hmac:other", Name: "n", Value: "v"}) || len(d.Tags) != 2 {
			t.Errorf("tags are %v", d.Tags)
		}
		for _, r := range []*ring{alice, bob} {
			o := mustOpen(t, r, d)
			if string(o.Content) != string(p.Content) || string(o.Meta) != string(p.Meta) || o.Stream != nil {
				t.Errorf("opened as %s, %s", o.Content, o.Meta)
			}
			if !o.Bound || !slices.Equal(o.Parents, parents) || o.ID != idA || o.Sequence != 7 {
				t.Errorf("bound %v to parents %v", o.Bound, o.Parents)
			}
			if !slices.Equal(o.KeyIDs, []string{alice.id, bob.id}) || len(o.Entries) != 2 {
				t.Errorf("key ids %v, entries %v", o.KeyIDs, o.Entries)
			}
		}
		if _, err := Open(t.Context(), carol, d); !errors.Is(err, coffer.Denied) {
			t.Errorf("a stranger: %v", err)
		}
		mallory := newRing(t, "mallory")
		mallory.id = alice.id
		if _, err := Open(t.Context(), mallory, d); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("a stranger with a recipient's key id: %v", err)
		}
	}
}

func TestSealDefaults(t *testing.T) {
	r := newRing(t, "alice")
	d := mustSeal(t, r, Plain{}, Options{ID: idA})
	o := mustOpen(t, r, d)
	if string(o.Content) != "{}" || string(o.Meta) != "{}" || !slices.Equal(o.KeyIDs, []string{r.id}) || o.Parents != nil {
		t.Errorf("opened as %+v", o)
	}
	var w edv.Document
	if err := jose.Decode(d.Body, &w); err != nil {
		t.Fatal(err)
	}
	if j, err := jose.Parse(w.JWE); err != nil || j.Enc != jose.XC20P {
		t.Errorf("encrypted with %v, %v", j, err)
	}
	if again := mustSeal(t, r, Plain{}, Options{ID: idA}); bytes.Equal(again.Body, d.Body) {
		t.Error("sealed alike twice")
	}
}

func TestNextRevision(t *testing.T) {
	alice, bob := newRing(t, "alice"), newRing(t, "bob")
	blindA, err := NewBlinder(alice, Index{Attributes: []string{"content.kind"}})
	if err != nil {
		t.Fatal(err)
	}
	blindB, err := NewBlinder(bob, Index{Attributes: []string{"content.kind"}})
	if err != nil {
		t.Fatal(err)
	}
	both := []coffer.PublicKey{alice.public(), bob.public()}
	p := Plain{Content: json.RawMessage(`{"kind":"a"}`)}
	first := mustSeal(t, alice, p, Options{ID: idA, Recipients: both, Blind: blindA})
	second := mustSeal(t, bob, p, Options{
		ID: idA, Sequence: 1, Recipients: both, Blind: blindB, Keep: mustOpen(t, bob, first).Entries,
	})
	third := mustSeal(t, alice, Plain{}, Options{
		ID: idA, Sequence: 2, Recipients: both, Blind: blindA, Keep: mustOpen(t, alice, second).Entries,
	})
	entries := mustOpen(t, alice, third).Entries
	if len(entries) != 2 || entries[0].HMAC.ID != alice.hmacID || entries[1].HMAC.ID != bob.hmacID {
		t.Fatalf("entries are %+v", entries)
	}
	if entries[0].Sequence != 2 || len(entries[0].Attributes) != 0 ||
		entries[1].Sequence != 1 || len(entries[1].Attributes) != 1 {
		t.Errorf("entries are %+v", entries)
	}
}

func TestSealRefuses(t *testing.T) {
	r := newRing(t, "alice")
	good := Options{ID: idA}
	deep := strings.Repeat(`{"a":`, jose.MaxDepth) + "1" + strings.Repeat("}", jose.MaxDepth)
	entry := edv.Entry{HMAC: coffer.KeyRef{ID: "a", Type: "b"}}
	signing := r.public()
	signing.Type = "Ed25519VerificationKey2020"
	low := r.public()
	low.Public = make([]byte, 32)
	short := r.public()
	short.Public = short.Public[1:]
	late, _ := NewStream(1, 0)
	for name, test := range map[string]struct {
		p Plain
		o Options
	}{
		"an array":             {Plain{Content: json.RawMessage(`[]`)}, good},
		"null":                 {Plain{Meta: json.RawMessage(`null`)}, good},
		"no JSON":              {Plain{Content: json.RawMessage(`{"a":}`)}, good},
		"a member twice":       {Plain{Content: json.RawMessage(`{"a":1,"a":2}`)}, good},
		"more than one value":  {Plain{Content: json.RawMessage(`{},"meta":{}`)}, good},
		"no UTF-8":             {Plain{Content: json.RawMessage("{\"a\":\"\xff\"}")}, good},
		"too deep":             {Plain{Content: json.RawMessage(deep)}, good},
		"no id":                {Plain{}, Options{}},
		"sequence":             {Plain{}, Options{ID: idA, Sequence: coffer.MaxSequence + 1}},
		"encryption":           {Plain{}, Options{ID: idA, Enc: "C20P"}},
		"a signing key":        {Plain{}, Options{ID: idA, Recipients: []coffer.PublicKey{signing}}},
		"a low order key":      {Plain{}, Options{ID: idA, Recipients: []coffer.PublicKey{low}}},
		"a short key":          {Plain{}, Options{ID: idA, Recipients: []coffer.PublicKey{short}}},
		"a recipient twice":    {Plain{}, Options{ID: idA, Recipients: []coffer.PublicKey{r.public(), r.public()}}},
		"an entry twice":       {Plain{}, Options{ID: idA, Keep: []edv.Entry{entry, entry}}},
		"a stream to come":     {Plain{Stream: late}, good},
		"chunks beyond number": {Plain{Stream: &Stream{Chunks: MaxChunks + 1}}, good},
	} {
		if _, err := Seal(t.Context(), r, test.p, test.o); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A provider passes off one envelope as another.
func TestOpenFindsEnvelopesOutOfPlace(t *testing.T) {
	r := newRing(t, "alice")
	p := Plain{Content: json.RawMessage(`{"n":1}`)}
	s := &Stream{Sequence: 1, Chunks: 2}
	d := mustSeal(t, r, p, Options{ID: idA, Sequence: 3, Parents: []coffer.Rev{{1}}})
	streamed := mustSeal(t, r, Plain{Stream: s}, Options{ID: idA, Sequence: 3})
	text := func(d *coffer.Document, old, new string) *coffer.Document {
		c := *d
		c.Body = bytes.Replace(c.Body, []byte(old), []byte(new), 1)
		return &c
	}
	with := func(d *coffer.Document, change func(*coffer.Document)) *coffer.Document {
		c := *d
		change(&c)
		return &c
	}
	for name, bad := range map[string]*coffer.Document{
		"under another id":    with(d, func(d *coffer.Document) { d.ID = idB }),
		"as another sequence": with(d, func(d *coffer.Document) { d.Sequence++ }),
		"rewritten to another id": text(with(d, func(d *coffer.Document) { d.ID = idB }),
			idA.String(), idB.String()),
		"rewritten to another sequence": text(with(d, func(d *coffer.Document) { d.Sequence = 4 }),
			`"sequence":3`, `"sequence":4`),
		"after other parents": with(d, func(d *coffer.Document) { d.Parents = []coffer.Rev{{2}} }),
		"with a stream":       with(d, func(d *coffer.Document) { d.Stream = &coffer.Stream{} }),
		"without its stream":  with(streamed, func(d *coffer.Document) { d.Stream = nil }),
		"with another stream": with(streamed, func(d *coffer.Document) { d.Stream = &coffer.Stream{Sequence: 1, Chunks: 1} }),
		"with an open stream": with(streamed, func(d *coffer.Document) { d.Stream = &coffer.Stream{Pending: true} }),
		"empty":               with(d, func(d *coffer.Document) { d.Body = nil }),
		"not JSON":            with(d, func(d *coffer.Document) { d.Body = d.Body[1:] }),
	} {
		if _, err := Open(t.Context(), r, bad); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A vault that does not keep parents, as a foreign one, is believed about the rest.
	bare := with(d, func(d *coffer.Document) { d.Parents = nil })
	if o := mustOpen(t, r, bare); !o.Bound || !slices.Equal(o.Parents, []coffer.Rev{{1}}) {
		t.Errorf("without parents: %+v", o)
	}
	huge := with(d, func(d *coffer.Document) { d.Body = make([]byte, MaxBody+1) })
	if _, err := Open(t.Context(), r, huge); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("a huge body: %v", err)
	}
}

// Whichever bit of an envelope changes, Open fails or returns what was sealed.
func TestOpenFindsChangedBits(t *testing.T) {
	r := newRing(t, "alice")
	p := Plain{Content: json.RawMessage(`{"secret":"value"}`)}
	d := mustSeal(t, r, p, Options{ID: idA, Sequence: 3})
	opened := 0
	for i := range d.Body {
		for bit := range 7 {
			c := *d
			c.Body = bytes.Clone(d.Body)
			c.Body[i] ^= 1 << bit
			o, err := Open(t.Context(), r, &c)
			switch {
			case err == nil:
				opened++
				if !o.Bound || string(o.Content) != string(p.Content) {
					t.Fatalf("opened as %s, bound %v, with bit %d of byte %d changed", o.Content, o.Bound, bit, i)
				}
			case !errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.Denied):
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
	if opened > 2*3*7 { // the names "apu" and "apv": what is called otherwise is passed over
		t.Errorf("opened %d changed envelopes", opened)
	}
}

func TestOpenForeign(t *testing.T) {
	k := knownAnswers(t)
	r := knownRing(t, k)
	body := fmt.Sprintf(`{"id":%q,"sequence":5,"jwe":%s}`, idA, k.JWEXC20P.JWE)
	d := &coffer.Document{ID: idA, Sequence: 5, Body: []byte(body)}
	o := mustOpen(t, r, d)
	var want struct{ Content, Meta json.RawMessage }
	if err := json.Unmarshal([]byte(k.JWEXC20P.PlaintextUtf8), &want); err != nil {
		t.Fatal(err)
	}
	if string(o.Content) != string(want.Content) || string(o.Meta) != string(want.Meta) {
		t.Errorf("opened as %s, %s", o.Content, o.Meta)
	}
	if o.Bound || o.Parents != nil {
		t.Error("a foreign document is reported as bound")
	}
	for i := range body {
		changed := []byte(body)
		changed[i] ^= 1
		d.Body = changed
		if o, err := Open(t.Context(), r, d); err == nil && string(o.Content) != string(want.Content) {
			t.Errorf("opened as %s with byte %d changed", o.Content, i)
		}
	}
}

// sealText makes a document whose plaintext is text, as a foreign client could.
func sealText(t testing.TB, r *ring, text string) *coffer.Document {
	t.Helper()
	key, err := jose.NewContentKey(jose.XC20P)
	if err != nil {
		t.Fatal(err)
	}
	protected, err := key.Protected()
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := wrap(key, []coffer.PublicKey{r.public()})
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"id":%q,"sequence":5,"jwe":%s}`, idA, key.Encrypt(protected, recipients, []byte(text)))
	return &coffer.Document{ID: idA, Sequence: 5, Body: []byte(body)}
}

func TestOpenPlaintexts(t *testing.T) {
	r := newRing(t, "alice")
	for text, bound := range map[string]bool{
		`{"content":{},"meta":{}}`:                                         false,
		`{"content":{}}`:                                                   false,
		`{"content":{},"other":1}`:                                         false,
		`{"content":{},"stream":{"pending":true}}`:                         false,
		`{"content":{},"stream":{"sequence":4,"chunks":2,"hash":"x"}}`:     false,
		`{"content":{},"stream":{"sequence":4,"chunks":2,"chunkSize":-1}}`: false,
		`{"coffer":{"id":"` + idA.String() + `","sequence":5}}`:            true,
	} {
		if o := mustOpen(t, r, sealText(t, r, text)); o.Bound != bound {
			t.Errorf("%s: bound %v", text, o.Bound)
		}
	}
	key := `"enc":"A256GCM","key":"` + strings.Repeat("A", 43) + `"`
	for _, text := range []string{
		``, `null`, `[]`, `{`, `{"content":1}`, `{"content":[]}`, `{"meta":null}`, `{"meta":{},"meta":{}}`,
		`{"stream":1}`, `{"stream":null}`, `{"coffer":null}`,
		`{"stream":{"sequence":-1,"chunks":0}}`, `{"stream":{"sequence":6,"chunks":0}}`,
		`{"stream":{"sequence":1,"chunks":4294967297}}`, `{"stream":{"sequence":1}}`, `{"stream":{}}`,
		`{"stream":{"pending":true,"opened":6}}`, `{"stream":{"pending":true,"size":1,"chunkSize":1,` + key + `}}`,
		`{"stream":{"sequence":1,"chunks":1,"size":1,"chunkSize":0,` + key + `}}`,
		`{"stream":{"sequence":1,"chunks":1,"size":1,"chunkSize":-1,` + key + `}}`,
		`{"stream":{"sequence":1,"chunks":1,"size":1,"chunkSize":8388609,` + key + `}}`,
		`{"stream":{"sequence":1,"chunks":2,"size":1,"chunkSize":1,` + key + `}}`,
		`{"stream":{"sequence":1,"chunks":1,"size":18446744073709551615,"chunkSize":1,` + key + `}}`,
		`{"stream":{"sequence":1,"chunks":0,"chunkSize":1,"enc":"none","key":"` + strings.Repeat("A", 43) + `"}}`,
		`{"stream":{"sequence":1,"chunks":0,"chunkSize":1,"enc":"A256GCM","key":"AAAA"}}`,
		`{"coffer":1}`, `{"coffer":{}}`, `{"coffer":{"id":"` + idA.String() + `","sequence":4}}`,
		`{"coffer":{"id":"` + idB.String() + `","sequence":5}}`,
		`{"coffer":{"id":"` + idA.String() + `","sequence":5,"parents":["x"]}}`,
	} {
		if _, err := Open(t.Context(), r, sealText(t, r, text)); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What is wrong with the keyring is not blamed on the envelope.
func TestKeyringsErrorIsHandedOn(t *testing.T) {
	r := newRing(t, "alice")
	d := mustSeal(t, r, Plain{}, Options{ID: idA})
	r.fail = coffer.Errorf("keyring", coffer.Locked, "passphrase needed")
	if _, err := Open(t.Context(), r, d); !errors.Is(err, coffer.Locked) {
		t.Errorf("open: %v", err)
	}
	blind, err := NewBlinder(r, Index{Attributes: []string{"content.a"}})
	if err != nil {
		t.Fatal(err)
	}
	p := Plain{Content: json.RawMessage(`{"a":1}`)}
	if _, err := Seal(t.Context(), r, p, Options{ID: idA, Blind: blind}); !errors.Is(err, coffer.Locked) {
		t.Errorf("seal: %v", err)
	}
	if _, err := blind.Equals(t.Context(), map[string]any{"content.a": 1}); !errors.Is(err, coffer.Locked) {
		t.Errorf("query: %v", err)
	}
}

func FuzzDecodePlain(f *testing.F) {
	f.Add([]byte(`{"content":{"a":1},"meta":{}}`))
	f.Add([]byte(`{"content":{},"stream":{"pending":true}}`))
	f.Add([]byte(`{"stream":{"sequence":1,"chunks":2,"size":3,"chunkSize":2,"enc":"A256GCM","key":"` +
		strings.Repeat("A", 43) + `"},"coffer":{"id":"` + idA.String() + `","sequence":5,"parents":["` +
		coffer.Rev{}.String() + `"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &coffer.Document{ID: idA, Sequence: 5, Stream: &coffer.Stream{Sequence: 1, Chunks: 2}}
		o := &Opened{ID: idA, Sequence: 5}
		if o.decodePlain(b, d, false) != nil {
			return
		}
		// What was read can be sealed again, and reads the same.
		m, err := o.Plain.members(5)
		if err != nil {
			t.Fatalf("cannot be sealed again: %v", err)
		}
		again, err := m.encode(newBinding(idA, 5, o.Parents))
		if err != nil {
			t.Fatalf("cannot be sealed again: %v", err)
		}
		again = append(again, '}')
		o2 := &Opened{ID: idA, Sequence: 5}
		if o.Stream != nil {
			_, d.Stream = o.Stream.outside()
		} else {
			d.Stream = nil
		}
		if err := o2.decodePlain(again, d, false); err != nil {
			t.Fatalf("does not read again: %v", err)
		}
		if !o2.Bound || (o2.Stream == nil) != (o.Stream == nil) || !slices.Equal(o.Parents, o2.Parents) {
			t.Fatal("reads another way when sealed again")
		}
	})
}

func BenchmarkDocument1kB(b *testing.B) {
	r := newRing(b, "alice")
	p := Plain{Content: json.RawMessage(`{"kind":"note","text":"` + strings.Repeat("x", 1000) + `"}`)}
	d := mustSeal(b, r, p, Options{ID: idA})
	blind, err := NewBlinder(r, Index{Attributes: []string{"content.kind"}},
		Index{Attributes: []string{"content.kind", "content.text"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mustSeal(b, r, p, Options{ID: idA})
		}
	})
	b.Run("seal with two indexes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mustSeal(b, r, p, Options{ID: idA, Blind: blind})
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mustOpen(b, r, d)
		}
	})
}
