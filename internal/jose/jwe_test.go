package jose

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
)

// vector is a JWE that a published client made.
type vector struct {
	KeyAgreementKey struct {
		ID                 string
		SecretKeyMultibase string // P-256
		PrivateKey         string // X25519, hex
	}
	PlaintextUtf8                    string
	JWE                              json.RawMessage
	SharedSecret, KDFInput, KEK, CEK string // hex

	curve  Curve
	enc    Encryption
	secret *ecdh.PrivateKey
}

func (v *vector) reader() Reader { return readerOf(v.KeyAgreementKey.ID, v.curve, v.secret) }

func readerOf(id string, c Curve, secret *ecdh.PrivateKey) Reader {
	return Reader{KeyID: id, Curve: c, Agree: func(ephemeral []byte) ([]byte, error) {
		public, err := c.ecdh().NewPublicKey(ephemeral)
		if err != nil {
			return nil, err
		}
		return secret.ECDH(public)
	}}
}

func vectors(t testing.TB) map[string]*vector {
	t.Helper()
	b, err := os.ReadFile("../vectors/edv-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ JWEXC20P, JWEA256GCM *vector }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	x, p := all.JWEXC20P, all.JWEA256GCM
	x.curve, x.enc = X25519, XC20P
	p.curve, p.enc = P256, A256GCM
	if x.secret, err = ecdh.X25519().NewPrivateKey(unhex(t, x.KeyAgreementKey.PrivateKey)); err != nil {
		t.Fatal(err)
	}
	scalar, err := coffer.ParseMultibase(p.KeyAgreementKey.SecretKeyMultibase)
	if err != nil {
		t.Fatal(err)
	}
	if p.secret, err = ecdh.P256().NewPrivateKey(scalar[2:]); err != nil { // after the multicodec prefix
		t.Fatal(err)
	}
	return map[string]*vector{"X25519 and XC20P": x, "P-256 and A256GCM": p}
}

// open parses, unwraps and decrypts.
func open(b []byte, r Reader) ([]byte, error) {
	j, err := Parse(b)
	if err != nil {
		return nil, err
	}
	key, err := j.Unwrap(r)
	if err != nil {
		return nil, err
	}
	return j.Decrypt(nil, key)
}

func TestKnownAnswers(t *testing.T) {
	for name, v := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			j, err := Parse(v.JWE)
			if err != nil {
				t.Fatal(err)
			}
			if j.Enc != v.enc {
				t.Errorf("encryption is %s", j.Enc)
			}
			if ids, err := j.KeyIDs(); err != nil || !slices.Equal(ids, []string{v.KeyAgreementKey.ID}) {
				t.Errorf("key ids are %v, %v", ids, err)
			}
			got, err := open(v.JWE, v.reader())
			if err != nil || string(got) != v.PlaintextUtf8 {
				t.Errorf("plaintext is %q, %v", got, err)
			}
			other := v.reader()
			other.KeyID += "x"
			if _, err := open(v.JWE, other); !errors.Is(err, ErrNoRecipient) {
				t.Errorf("for another key id: %v", err)
			}
		})
	}
}

// Each step between the secret and the content key, one by one.
func TestKnownDerivation(t *testing.T) {
	v := vectors(t)["X25519 and XC20P"]
	j, err := Parse(v.JWE)
	if err != nil {
		t.Fatal(err)
	}
	list, err := j.recipients()
	if err != nil {
		t.Fatal(err)
	}
	public, apu, ok := list[0].Header.EPK.point(X25519)
	if !ok {
		t.Fatal("no ephemeral key")
	}
	z, err := v.reader().Agree(public)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, _ := Decode64(list[0].EncryptedKey)
	cek, _ := UnwrapKey(deriveKEK(z, apu, v.KeyAgreementKey.ID), wrapped)
	for _, step := range []struct {
		name string
		got  []byte
		want string
	}{
		{"shared secret", z, v.SharedSecret},
		{"derivation input", kdfInput(z, AgreementAlg, apu, []byte(v.KeyAgreementKey.ID), KeySize), v.KDFInput},
		{"key-encryption key", deriveKEK(z, apu, v.KeyAgreementKey.ID), v.KEK},
		{"content key", cek, v.CEK},
	} {
		if !bytes.Equal(step.got, unhex(t, step.want)) {
			t.Errorf("%s is %x", step.name, step.got)
		}
	}
}

// TestChangedAnswers flips each bit of each byte that is encoded anywhere in the known JWEs, and each letter of the
// rest.
func TestChangedAnswers(t *testing.T) {
	for name, v := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			var whole map[string]any
			if err := json.Unmarshal(v.JWE, &whole); err != nil {
				t.Fatal(err)
			}
			recipient := whole["recipients"].([]any)[0].(map[string]any)
			header := recipient["header"].(map[string]any)
			epk := header["epk"].(map[string]any)
			places := []struct {
				in      map[string]any
				name    string
				encoded bool
			}{
				{whole, "protected", true}, {whole, "iv", true}, {whole, "ciphertext", true}, {whole, "tag", true},
				{recipient, "encrypted_key", true}, {header, "apu", true}, {header, "apv", true},
				{epk, "x", true}, {header, "kid", false}, {header, "alg", false}, {epk, "kty", false}, {epk, "crv", false},
			}
			if v.curve == P256 {
				places = append(places, places[7])
				places[len(places)-1].name = "y"
			}
			for _, p := range places {
				was := p.in[p.name].(string)
				b, ok := []byte(was), true
				if p.encoded {
					if b, ok = Decode64(was); !ok {
						t.Fatalf("%s is not base64url", p.name)
					}
				}
				for i := range b {
					for bit := range 7 {
						b[i] ^= 1 << bit
						p.in[p.name] = string(b)
						if p.encoded {
							p.in[p.name] = encode64(b)
						}
						changed, err := json.Marshal(whole)
						if err != nil {
							t.Fatal(err)
						}
						if _, err := open(changed, v.reader()); err == nil {
							t.Errorf("opened with bit %d of byte %d of %s changed", bit, i, p.name)
						}
						b[i] ^= 1 << bit
					}
				}
				for _, s := range []string{"", was + "A", was + "=", was[:len(was)-1], was + "\n"} {
					p.in[p.name] = s
					changed, _ := json.Marshal(whole)
					// Without apu and apv the derivation is the same: clients pass over them.
					if _, err := open(changed, v.reader()); err == nil && !(s == "" && strings.HasPrefix(p.name, "ap")) {
						t.Errorf("opened with %s = %q", p.name, s)
					}
				}
				p.in[p.name] = was
			}
			same, _ := json.Marshal(whole)
			if _, err := open(same, v.reader()); err != nil {
				t.Errorf("does not open when put together unchanged: %v", err)
			}
		})
	}
}

func newRecipient(t testing.TB, id string, c Curve) (Recipient, Reader) {
	t.Helper()
	secret, err := c.ecdh().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Recipient{KeyID: id, Curve: c, Public: secret.PublicKey().Bytes()}, readerOf(id, c, secret)
}

func encrypt(t testing.TB, enc Encryption, plaintext []byte, members []Member, to ...Recipient) ([]byte, *ContentKey) {
	t.Helper()
	key, err := NewContentKey(enc)
	if err != nil {
		t.Fatal(err)
	}
	protected, err := key.Protected(members...)
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := key.Wrap(to...)
	if err != nil {
		t.Fatal(err)
	}
	return key.Encrypt(protected, recipients, plaintext), key
}

func TestEncrypt(t *testing.T) {
	a, readerA := newRecipient(t, "did:example:a#1", X25519)
	b, readerB := newRecipient(t, `did:example:"b"#ü`, P256)
	_, readerC := newRecipient(t, "did:example:c#1", X25519)
	_, stranger := newRecipient(t, a.KeyID, X25519)
	for _, enc := range []Encryption{XC20P, A256GCM} {
		for _, plaintext := range []string{"", "x", strings.Repeat("long ", 1000)} {
			jwe, _ := encrypt(t, enc, []byte(plaintext), []Member{{"place", `a/"b"`}, {"ü", "\n"}}, a, b)
			for _, r := range []Reader{readerA, readerB} {
				if got, err := open(jwe, r); err != nil || string(got) != plaintext {
					t.Fatalf("%s: %v", enc, err)
				}
			}
			j, err := Parse(jwe)
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := j.Member("place"); !ok || p != `a/"b"` {
				t.Errorf("member is %q, %v", p, ok)
			}
			if _, ok := j.Member("absent"); ok {
				t.Error("has a member that was not given")
			}
			if _, err := open(jwe, stranger); err != ErrDecrypt {
				t.Errorf("with another's key: %v", err)
			}
			if _, err := open(jwe, readerC); err != ErrNoRecipient {
				t.Errorf("by somebody it is not for: %v", err)
			}
		}
	}
}

// What is spaced out by others opens all the same.
func TestSpacedJSON(t *testing.T) {
	a, readerA := newRecipient(t, "a", X25519)
	jwe, _ := encrypt(t, XC20P, []byte("content"), nil, a)
	spaced := jsontext.Value(jwe)
	if err := spaced.Indent(); err != nil {
		t.Fatal(err)
	}
	if got, err := open(spaced, readerA); err != nil || string(got) != "content" {
		t.Errorf("opens as %q, %v", got, err)
	}
}

func TestWrapRefuses(t *testing.T) {
	key, _ := NewContentKey(XC20P)
	good, _ := newRecipient(t, "a", X25519)
	many := make([]Recipient, MaxRecipients+1)
	for i := range many {
		many[i] = good
		many[i].KeyID = fmt.Sprint(i)
	}
	for name, list := range map[string][]Recipient{
		"nobody":          nil,
		"too many":        many,
		"the same twice":  {good, good},
		"no key id":       {{Curve: X25519, Public: good.Public}},
		"a long key id":   {{KeyID: strings.Repeat("x", MaxKeyID+1), Curve: X25519, Public: good.Public}},
		"no UTF-8":        {{KeyID: "\xff", Curve: X25519, Public: good.Public}},
		"a short key":     {{KeyID: "a", Curve: X25519, Public: good.Public[1:]}},
		"an unknown":      {{KeyID: "a", Curve: "P-384", Public: good.Public}},
		"low order":       {{KeyID: "a", Curve: X25519, Public: make([]byte, 32)}},
		"not on P-256":    {{KeyID: "a", Curve: P256, Public: append([]byte{4}, make([]byte, 64)...)}},
		"P-256 for X2551": {{KeyID: "a", Curve: P256, Public: good.Public}},
	} {
		if _, err := key.Wrap(list...); err == nil {
			t.Errorf("%s: wrapped", name)
		}
	}
	if _, err := key.Wrap(many[:MaxRecipients]...); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
}

func TestKeysRefuse(t *testing.T) {
	if _, err := NewContentKey(C20P); err == nil {
		t.Error("made a key for what is only read")
	}
	for _, enc := range []Encryption{"", "A128GCM", "xc20p"} {
		if _, err := NewContentKey(enc); err == nil {
			t.Errorf("made a key for %q", enc)
		}
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := ContentKeyOf(XC20P, make([]byte, n)); err == nil {
			t.Errorf("made a key of %d bytes", n)
		}
	}
	old, err := ContentKeyOf(C20P, make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Protected(); err == nil {
		t.Error("made a header for what is only read")
	}
	key, _ := NewContentKey(A256GCM)
	for _, m := range [][]Member{
		{{"enc", "none"}}, {{"zip", "DEF"}}, {{"crit", ""}}, {{"alg", "dir"}}, {{"kid", "x"}},
		{{"a", "1"}, {"a", "2"}}, {{"\xff", "1"}}, {{"a", "\xff"}}, {{"a", strings.Repeat("x", maxProtected)}},
	} {
		if _, err := key.Protected(m...); err == nil {
			t.Errorf("made a header with %q", m)
		}
	}
}

// Old clients wrote C20P. It is the same with another cipher.
func TestReadsC20P(t *testing.T) {
	a, reader := newRecipient(t, "a", X25519)
	key, err := ContentKeyOf(C20P, bytes.Repeat([]byte{7}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := key.Wrap(a)
	if err != nil {
		t.Fatal(err)
	}
	jwe := key.Encrypt(encode64([]byte(`{"enc":"C20P"}`)), recipients, []byte("old"))
	if got, err := open(jwe, reader); err != nil || string(got) != "old" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDetached(t *testing.T) {
	a, _ := newRecipient(t, "a", X25519)
	plaintext := make([]byte, 1000)
	rand.Read(plaintext)
	for _, enc := range []Encryption{XC20P, A256GCM} {
		key, _ := NewContentKey(enc)
		protected, _ := key.Protected(Member{"place", "1"})
		recipients, err := key.Wrap(a)
		if err != nil {
			t.Fatal(err)
		}
		prefix := []byte(`[`)
		out := key.AppendDetached(prefix, protected, recipients, "]", plaintext)
		head, ciphertext := out[:len(out)-len(plaintext)], out[len(out)-len(plaintext):]
		if head[0] != '[' || head[len(head)-1] != ']' {
			t.Fatalf("head is %s", head)
		}
		j, err := Parse(head[1 : len(head)-1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := j.DecryptDetached([]byte("before"), ciphertext, key)
		if err != nil || string(got) != "before"+string(plaintext) {
			t.Fatalf("%s: %v", enc, err)
		}
		for name, buffer := range map[string][]byte{
			"without room": slices.Clip(bytes.Clone(ciphertext)),
			"with room":    append(make([]byte, 0, len(ciphertext)+TagSize), ciphertext...),
		} {
			got, err := j.DecryptDetached(buffer[:0], buffer, key)
			if err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%s: in place, %s: %v", enc, name, err)
			}
		}
		if _, err := j.DecryptDetached(nil, ciphertext[1:], key); err != ErrDecrypt {
			t.Errorf("%s: cut short: %v", enc, err)
		}
		if _, err := j.Decrypt(nil, key); err != ErrDecrypt {
			t.Errorf("%s: without the ciphertext: %v", enc, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	a, reader := newRecipient(t, "a", X25519)
	jwe, _ := encrypt(t, XC20P, []byte("content"), nil, a)
	good := string(jwe)
	header := encode64([]byte(`{"enc":"XC20P"}`))
	iv, tag := `"iv":"`+strings.Repeat("0", 32)+`"`, `"tag":"`+strings.Repeat("0", 21)+`A"`
	protected := func(h string) string { return strings.Replace(good, header, encode64([]byte(h)), 1) }
	for name, s := range map[string]string{
		"nothing":              ``,
		"null":                 `null`,
		"an array":             `[]`,
		"no members":           `{}`,
		"a further member":     good[:len(good)-1] + `,"aad":""}`,
		"an unprotected":       good[:len(good)-1] + `,"unprotected":{}}`,
		"a member twice":       good[:len(good)-1] + `,"tag":""}`,
		"trailing data":        good + `{}`,
		"a member's case":      strings.Replace(good, `"iv"`, `"IV"`, 1),
		"no header":            strings.Replace(good, header, "", 1),
		"a padded header":      strings.Replace(good, header, header+"=", 1),
		"a header too long":    protected(`{"enc":"XC20P","x":"` + strings.Repeat("x", maxProtected) + `"}`),
		"no enc":               protected(`{}`),
		"enc is no text":       protected(`{"enc":1}`),
		"an unknown enc":       protected(`{"enc":"A128CBC-HS256"}`),
		"compression":          protected(`{"enc":"XC20P","zip":"DEF"}`),
		"critical":             protected(`{"enc":"XC20P","crit":["exp"],"exp":1}`),
		"alg in the header":    protected(`{"enc":"XC20P","alg":"dir"}`),
		"enc twice":            protected(`{"enc":"XC20P","enc":"XC20P"}`),
		"the iv of another":    protected(`{"enc":"A256GCM"}`),
		"no recipients":        strings.Replace(good, `"recipients":[`, `"recipients":[],"x":[`, 1),
		"recipients are none":  strings.Replace(good, `"recipients":`, `"recipients":null,"x":`, 1),
		"no recipients at all": `{"protected":"` + header + `",` + iv + `,"ciphertext":"",` + tag + `}`,
		"no ciphertext":        `{"protected":"` + header + `","recipients":[],` + iv + `,` + tag + `}`,
		"recipient is unknown": strings.Replace(good, `"encrypted_key"`, `"encryptedKey"`, 1),
	} {
		if _, err := open([]byte(s), reader); err == nil || err == ErrDecrypt {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open([]byte(good), reader); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// What goes wrong with the reader's key store is told apart from what is wrong with the JWE.
func TestUnwrapHandsOnTheReadersError(t *testing.T) {
	a, reader := newRecipient(t, "a", X25519)
	jwe, _ := encrypt(t, XC20P, nil, nil, a)
	locked := errors.New("locked")
	reader.Agree = func([]byte) ([]byte, error) { return nil, locked }
	if _, err := open(jwe, reader); err != locked {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	readers := map[Curve]Reader{}
	for _, v := range vectors(f) {
		f.Add([]byte(v.JWE))
		readers[v.curve] = v.reader()
	}
	a, _ := newRecipient(f, "a", X25519)
	jwe, _ := encrypt(f, A256GCM, []byte("content"), []Member{{"place", "x"}}, a)
	f.Add(jwe)
	f.Add([]byte(`{"protected":"e30","recipients":[],"iv":"","ciphertext":"","tag":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := Parse(b)
		if err != nil {
			return
		}
		// What parses can be written again, and parses to the same.
		again, err := Parse(j.append(nil))
		if err != nil {
			t.Fatalf("does not parse when written again: %v", err)
		}
		if again.Protected != j.Protected || !bytes.Equal(again.Ciphertext, j.Ciphertext) ||
			!bytes.Equal(again.IV, j.IV) || !bytes.Equal(again.Tag, j.Tag) || !bytes.Equal(again.Recipients, j.Recipients) {
			t.Fatal("another JWE when written again")
		}
		for _, r := range readers {
			if key, err := j.Unwrap(r); err == nil {
				j.Decrypt(nil, key)
			}
		}
	})
}

func benchmarkPieces(b *testing.B) (key *ContentKey, protected string, recipients jsontext.Value, plaintext []byte) {
	a, _ := newRecipient(b, "did:key:z6MktULudTtAsAhRegYPiZ6631RV3viv12qd4GQF8z1xB22S#z6LSf74U3tnu", X25519)
	key, err := NewContentKey(A256GCM)
	if err != nil {
		b.Fatal(err)
	}
	if recipients, err = key.Wrap(a); err != nil {
		b.Fatal(err)
	}
	if protected, err = key.Protected(Member{"coffer", "z19inwPEW2tBULosfqG97hZd8/0/0"}); err != nil {
		b.Fatal(err)
	}
	return key, protected, recipients, make([]byte, 1<<20)
}

func BenchmarkMiB(b *testing.B) {
	key, protected, recipients, plaintext := benchmarkPieces(b)
	sealed := key.AppendDetached(nil, protected, recipients, "", plaintext)
	j, err := Parse(sealed[:len(sealed)-len(plaintext)])
	if err != nil {
		b.Fatal(err)
	}
	ciphertext := sealed[len(sealed)-len(plaintext):]
	out := make([]byte, 0, 2<<20)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	block, _ := aes.NewCipher(key.raw[:])
	gcm, _ := cipher.NewGCM(block)
	iv := make([]byte, 12)
	whole := gcm.Seal(nil, iv, plaintext, nil)
	run("bare AES-256-GCM seal", func() { gcm.Seal(out, iv, plaintext, nil) })
	run("bare AES-256-GCM open", func() { gcm.Open(out, iv, whole, nil) })
	run("detached seal", func() { key.AppendDetached(out, protected, recipients, "}", plaintext) })
	run("detached open", func() { j.DecryptDetached(out, ciphertext, key) })
	inPlace := make([]byte, 0, 2<<20)
	run("copy and open in place", func() {
		inPlace = append(inPlace[:0], ciphertext...)
		j.DecryptDetached(inPlace[:0], inPlace, key)
	})
	run("bare SHA-256", func() { sha256.Sum256(plaintext) })
	jwe := key.Encrypt(protected, recipients, plaintext)
	run("JWE seal", func() { key.Encrypt(protected, recipients, plaintext) })
	run("JWE parse and open", func() {
		j, _ := Parse(jwe)
		j.Decrypt(out, key)
	})
}

func BenchmarkKey(b *testing.B) {
	a, reader := newRecipient(b, "a", X25519)
	jwe, key := encrypt(b, XC20P, []byte("content"), nil, a)
	b.Run("wrap", func(b *testing.B) {
		for b.Loop() {
			key.Wrap(a)
		}
	})
	b.Run("parse and unwrap", func(b *testing.B) {
		for b.Loop() {
			j, _ := Parse(jwe)
			j.Unwrap(reader)
		}
	})
}

func TestPrintedKey(t *testing.T) {
	key, err := ContentKeyOf(XC20P, bytes.Repeat([]byte{0xab}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{key, *key, struct{ K *ContentKey }{key}} {
			if s := strings.ToLower(fmt.Sprintf(verb, v)); strings.Contains(s, "171") || strings.Contains(s, "abab") || strings.Contains(s, "0xab") {
				t.Errorf("%s prints a key: %s", verb, s)
			}
		}
	}
}
