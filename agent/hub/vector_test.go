package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorFile = "testdata/sealing-vectors.json"

// vectors are those of doc/hub-sealing.md. What is sealed differs each time that it is made; what follows does not.
type vectors struct {
	Comment string      `json:"comment"`
	Owner   vectorParty `json:"owner"`
	Reader  vectorParty `json:"reader"`

	Kind      kindMembers `json:"kind"`
	Digest    string      `json:"kind_digest"`
	Epoch     uint32      `json:"epoch"`
	EpochKey  string      `json:"epoch_key"`
	Salt      string      `json:"salt"`
	ObjectKey string      `json:"object_key"`
	Payload   string      `json:"payload"`
	Inside    inside      `json:"inside"`

	File       string `json:"file"` // under the same key and salt: the head of a file, and its part
	FileInside inside `json:"file_inside"`
	Part       string `json:"part"`
	PartInside inside `json:"part_inside"`

	PrivateKind kindMembers `json:"private_kind"`
	PrivateType string      `json:"private_type"`

	Delivery delivery `json:"keys"`
	Bundle   bundle   `json:"keys_opened"`

	Message       string `json:"message"` // by the reader, to the owner
	MessageInside inside `json:"message_inside"`

	Work struct {
		Rev   coffer.CommitRev `json:"rev"`
		Zeros int              `json:"zeros"`
		N     string           `json:"work"`
	} `json:"work"`
}

type vectorParty struct {
	DID     string `json:"did"`
	Signing string `json:"signing_seed"`
	MAC     string `json:"hmac_seed"`
}

func (p *vectorParty) ring(t *testing.T) *keyring.Ring {
	t.Helper()
	r, err := keyring.FromSeeds(unhexed(t, p.Signing), unhexed(t, p.MAC), "urn:example:hmac")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func unhexed(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func party(t *testing.T, name string) vectorParty {
	a, b := sha256.Sum256([]byte("signing "+name)), sha256.Sum256([]byte("hmac "+name))
	p := vectorParty{Signing: hex.EncodeToString(a[:]), MAC: hex.EncodeToString(b[:])}
	p.DID = p.ring(t).DID()
	return p
}

// nobody is a hub that is not asked.
type nobody struct{ coffer.Hub }

func openVector(t *testing.T, owner string, ring coffer.Keyring) *Hub {
	t.Helper()
	r, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(Options{Hub: nobody{}, Owner: owner, Keyring: ring, Resolver: r})
	if err != nil {
		t.Fatal(err)
	}
	// That nothing was revoked is known.
	h.epochs = epochs{read: time.Now().Add(time.Hour), loaded: true, of: map[string]*epochRecord{}}
	h.o.Now = func() time.Time { return h.epochs.read }
	return h
}

func makeVectors(t *testing.T) *vectors {
	ctx := t.Context()
	v := &vectors{
		Comment: "Made by agent/hub, vector_test.go. The keys are for tests only.",
		Owner:   party(t, "alice"), Reader: party(t, "bob"),
		Kind:  kindMembers{Interface: coffer.CollectionsInterface, Context: "schema.org", Type: "MusicPlaylist"},
		Epoch: 2, Salt: "000102030405060708090a0b0c0d0e0f",
		PrivateKind: kindMembers{
			Interface: coffer.CollectionsInterface, Context: "clinic.example", Type: "Diagnosis", Private: true,
		},
	}
	alice, bob := openVector(t, v.Owner.DID, v.Owner.ring(t)), openVector(t, v.Owner.DID, v.Reader.ring(t))
	k := v.Kind.kind()
	keys, err := alice.ownKeys(ctx, k, v.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	key := keys[0]
	s := salt(unhexed(t, v.Salt))
	object := key.object(s)
	v.Digest, v.EpochKey, v.ObjectKey = k.digest(), hex.EncodeToString(key[:]), hex.EncodeToString(object[:])
	v.Inside = inside{
		Owner: v.Owner.DID, Interface: k.Interface, Context: k.Context, Type: k.Type, Author: v.Owner.DID,
		Value: json.RawMessage(`{"name":"Rain"}`),
	}
	payload, err := v.Inside.sealObject(object, v.Epoch, s)
	if err != nil {
		t.Fatal(err)
	}
	v.Payload = string(payload)
	content, id := []byte("a file"), sha256.Sum256([]byte("a commit"))
	sum := sha256.Sum256(content)
	v.FileInside, v.PartInside = v.Inside, v.Inside
	v.FileInside.File = &fileHead{ID: s[:], Size: int64(len(content)), Parts: id[:], Sum: sum[:]}
	v.PartInside.Part = &filePart{ID: s[:]}
	if v.PartInside.Value, err = json.Marshal(content); err != nil {
		t.Fatal(err)
	}
	head, err := v.FileInside.sealObject(object, v.Epoch, s)
	if err != nil {
		t.Fatal(err)
	}
	part, err := v.PartInside.sealObject(object, v.Epoch, s)
	if err != nil {
		t.Fatal(err)
	}
	v.File, v.Part = string(head), string(part)
	wire, err := alice.wire(ctx, v.PrivateKind.kind())
	if err != nil {
		t.Fatal(err)
	}
	v.PrivateType = wire.Type
	v.Delivery.Version = 1
	alice.epochs.merge(epochRecord{Kind: v.Kind, Epoch: 1})
	p := Permission{Grantee: v.Reader.DID, Kind: k}
	b, err := alice.bundle(ctx, &p)
	if err != nil {
		t.Fatal(err)
	}
	v.Bundle = *b
	if err := alice.deliver(ctx, &p, true, k, &v.Delivery); err != nil {
		t.Fatal(err)
	}
	v.MessageInside = inside{
		Owner: v.Owner.DID, Interface: coffer.ActionsInterface, Context: "schema.org", Type: "AskAction",
		Author: v.Reader.DID, Value: json.RawMessage(`"tea?"`),
	}
	to, err := bob.reader(ctx, v.Owner.DID)
	if err != nil {
		t.Fatal(err)
	}
	message, err := v.MessageInside.sealTo(to)
	if err != nil {
		t.Fatal(err)
	}
	v.Message = string(message)
	v.Work.Rev, v.Work.Zeros = coffer.CommitRev(sha256.Sum256([]byte("a commit"))), 12
	if v.Work.N, err = prove(ctx, v.Work.Rev, v.Work.Zeros); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	if *update {
		b, err := json.MarshalIndent(makeVectors(t), "", " ")
		if err == nil {
			err = errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(vectorFile, append(b, '\n'), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	ctx, now := t.Context(), makeVectors(t)
	if now.Digest != v.Digest || now.EpochKey != v.EpochKey || now.ObjectKey != v.ObjectKey ||
		now.PrivateType != v.PrivateType || now.Work.N != v.Work.N || now.Owner != v.Owner || now.Reader != v.Reader {
		t.Errorf("what follows is now %+v", now)
	}
	same := func(what string, got, want any) {
		t.Helper()
		a, err1 := json.Marshal(got)
		b, err2 := json.Marshal(want)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: got %s, want %s (%v)", what, a, b, err)
		}
	}
	alice, bob := openVector(t, v.Owner.DID, v.Owner.ring(t)), openVector(t, v.Owner.DID, v.Reader.ring(t))
	for _, c := range []struct {
		payload string
		inside  *inside
	}{{v.Payload, &v.Inside}, {v.File, &v.FileInside}, {v.Part, &v.PartInside}} {
		e, err := parseEnvelope([]byte(c.payload))
		if err != nil || e == nil || e.epoch != v.Epoch || hex.EncodeToString(e.salt[:]) != v.Salt {
			t.Fatalf("the payload is %+v, %v", e, err)
		}
		in, err := e.open(objectKey(unhexed(t, v.ObjectKey)))
		if err != nil {
			t.Fatal(err)
		}
		same("payload", in, c.inside)
	}
	same("file", &now.FileInside, &v.FileInside)
	same("part", &now.PartInside, &v.PartInside)
	e, err := parseEnvelope([]byte(v.Message))
	if err != nil || e == nil || e.keyed {
		t.Fatalf("the message is %+v, %v", e, err)
	}
	in, err := e.openFrom(ctx, alice.o.Keyring, v.Owner.DID, v.Reader.DID)
	if err != nil {
		t.Fatal(err)
	}
	same("message", in, &v.MessageInside)
	p := &grant.Permission{
		Owner: v.Owner.DID, Grantee: v.Reader.DID, Interface: v.Kind.Interface, Context: v.Kind.Context, Type: v.Kind.Type,
	}
	got, err := bob.receive(ctx, p, &v.Delivery)
	if err != nil {
		t.Fatal(err)
	}
	same("keys", got, &v.Bundle)
	p.Type = "Offer" // keys of one grant do not pass for another's
	if _, err := bob.receive(ctx, p, &v.Delivery); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("under another grant: %v", err)
	}
}

// What is sealed is as long as others of its class.
func TestSealedLengths(t *testing.T) {
	lengths := make(map[int]bool)
	for n := range 200 {
		in := inside{Owner: "did:x:y", Value: json.RawMessage(`"` + string(bytes.Repeat([]byte{'a'}, n)) + `"`)}
		b, err := in.sealObject(objectKey{}, 0, salt{})
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(b)] = true
	}
	if len(lengths) > 20 {
		t.Errorf("200 lengths of values show as %d", len(lengths))
	}
}

func TestAlteredEnvelope(t *testing.T) {
	in := inside{Owner: "did:x:y", Value: json.RawMessage(`1`)}
	key := objectKey{1}
	sealed, err := in.sealObject(key, 3, salt{4})
	if err != nil {
		t.Fatal(err)
	}
	open := func(b []byte, key objectKey) error {
		e, err := parseEnvelope(b)
		if err != nil || e == nil {
			return errSealed
		}
		_, err = e.open(key)
		return err
	}
	if err := open(sealed, key); err != nil {
		t.Fatal(err)
	}
	if err := open(sealed, objectKey{2}); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("by another key: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(sealed, &m); err != nil {
		t.Fatal(err)
	}
	header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for name, change := range map[string]func(m map[string]any){
		"another epoch": func(m map[string]any) {
			m["protected"] = header(`{"enc":"A256GCM","coffer":"hub 1","epoch":"4","salt":"BAAAAAAAAAAAAAAAAAAAAA"}`)
		},
		"epoch not written": func(m map[string]any) {
			m["protected"] = header(`{"enc":"A256GCM","coffer":"hub 1","epoch":"03","salt":"BAAAAAAAAAAAAAAAAAAAAA"}`)
		},
		"no salt": func(m map[string]any) { m["protected"] = header(`{"enc":"A256GCM","coffer":"hub 1","epoch":"3"}`) },
		"great epoch": func(m map[string]any) {
			m["protected"] = header(`{"enc":"A256GCM","coffer":"hub 1","epoch":"1001","salt":"BAAAAAAAAAAAAAAAAAAAAA"}`)
		},
		"newer":           func(m map[string]any) { m["protected"] = header(`{"enc":"A256GCM","coffer":"hub 2"}`) },
		"ciphertext":      func(m map[string]any) { m["ciphertext"] = "AAAA" },
		"tag":             func(m map[string]any) { m["tag"] = "AAAAAAAAAAAAAAAAAAAAAA" },
		"no recipients":   func(m map[string]any) { m["recipients"] = []any{} },
		"many recipients": func(m map[string]any) { m["recipients"] = make([]any, maxRecipients+1) },
	} {
		c := make(map[string]any)
		for n, v := range m {
			c[n] = v
		}
		change(c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := open(b, key); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		f.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(v.Payload))
	f.Add([]byte(v.Message))
	f.Add([]byte(`{"protected":"eyJlbmMiOiJBMjU2R0NNIiwiY29mZmVyIjoiaHViIDEifQ","recipients":[{}],` +
		`"iv":"","ciphertext":"","tag":""}`))
	ring := keyring.Generate()
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := parseEnvelope(payload)
		if err != nil || e == nil {
			return
		}
		if _, err := e.open(objectKey{}); err == nil {
			t.Error("opened by a key of zeros")
		}
		if _, err := e.openFrom(context.Background(), ring, "a", "b"); err == nil {
			t.Error("opened by a stranger")
		}
	})
}

// Whatever an author sealed as a file, its parts can be counted.
func FuzzInside(f *testing.F) {
	for _, size := range []string{"0", "1", "393217", "6442450944", "6442450945", "-1"} {
		f.Add([]byte(`{"owner":"a","interface":"b","context":"c","type":"d","author":"e","file":{` +
			`"id":"AAECAwQFBgcICQoLDA0ODw==","size":` + size + `,"parts":"AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8=",` +
			`"sum":"AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8="},"value":1}`))
	}
	f.Add([]byte(`{"owner":"a","interface":"b","context":"c","type":"d","author":"e","part":{"id":"","index":-1},"value":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := parseInside(text)
		if err != nil || in.File == nil {
			return
		}
		var size int64
		for i := range in.File.count() {
			n := in.File.length(i)
			if _ = in.File.part(i); n < 1 || n > partSize {
				t.Fatalf("part %d has %d bytes", i, n)
			}
			size += int64(n)
		}
		if size != in.File.Size {
			t.Errorf("the parts of %d bytes have %d", in.File.Size, size)
		}
	})
}

func FuzzDelivery(f *testing.F) {
	f.Add([]byte(`{"v":1,"kem":"X25519","sealed":"AAAA"}`), []byte(`{"request":"a.b.c"}`))
	f.Add([]byte(`{"v":1,"own":{"protected":""}}`), []byte(`a.b.c`))
	ring := keyring.Generate()
	r, err := ident.New(ident.Options{})
	if err != nil {
		f.Fatal(err)
	}
	h, err := Open(Options{Hub: nobody{}, Owner: "did:x:y", Keyring: ring, Resolver: r})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, keys, text []byte) {
		var d delivery
		if json.Unmarshal(keys, &d) == nil {
			if b, err := h.receive(t.Context(), &grant.Permission{}, &d); err == nil && b != nil {
				t.Error("opened what nobody sealed")
			}
		}
		var claims requestClaims
		if readJWT(t.Context(), r, string(text), "did:x:y", &claims) == nil {
			t.Error("believed what nobody signed")
		}
	})
}

func TestDiff(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":1}`, `{"a":1}`, `{}`},
		{`{"a":1}`, `{"a":2}`, `{"a":2}`},
		{`{"a":1,"b":2}`, `{"b":2}`, `{"a":null}`},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"b":1}}`, `{"a":{"c":null}}`},
		{`{"a":[1]}`, `{"a":[1,2]}`, `{"a":[1,2]}`},
		{`1`, `{"a":1}`, `{"a":1}`},
		{`{"a":1}`, `[1]`, `[1]`},
	} {
		if got := diff(json.RawMessage(c[0]), json.RawMessage(c[1])); string(got) != c[2] {
			t.Errorf("from %s to %s: %s", c[0], c[1], got)
		}
	}
}
