package agent_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/internal/jose"
)

// foreignStream stores a stream as published clients do: a key and named recipients in each chunk, nothing bound,
// chunks of whatever length.
func foreignStream(t *testing.T, p *person, pieces ...[]byte) coffer.ObjectID {
	t.Helper()
	ctx := t.Context()
	own := p.ring.Key(coffer.AgreementKey)
	id := coffer.NewObjectID()
	seal := func() (*jose.ContentKey, string, []byte) {
		key, err := jose.NewContentKey(jose.XC20P)
		if err != nil {
			t.Fatal(err)
		}
		recipients, err := key.Wrap(jose.Recipient{KeyID: own.ID, Curve: jose.X25519, Public: own.Public})
		if err != nil {
			t.Fatal(err)
		}
		protected, err := key.Protected()
		if err != nil {
			t.Fatal(err)
		}
		return key, protected, recipients
	}
	envelope := func(sequence int, plaintext, stream string) *coffer.Document {
		key, protected, recipients := seal()
		const form = `{"id":"%s","sequence":%d,"stream":%s,"jwe":%s}`
		d, err := edv.DecodeDocument(fmt.Appendf(nil, form, id, sequence, stream, key.Encrypt(protected, recipients,
			[]byte(plaintext))))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := envelope(0, `{"content":{"n":1},"meta":{},"stream":{"pending":true}}`, `{}`)
	if _, err := coffer.Put(ctx, p.vault, first); err != nil {
		t.Fatal(err)
	}
	key, protected, recipients := seal()
	offset := 0
	for n, piece := range pieces {
		offset += len(piece)
		raw := fmt.Appendf(make([]byte, 4), `{"index":%d,"offset":%d,"sequence":0,"jwe":`, n, offset)
		raw = key.AppendDetached(raw, protected, recipients, "}", piece)
		binary.BigEndian.PutUint32(raw, uint32(len(raw)-4-len(piece)))
		ref := coffer.ChunkRef{Index: uint64(n), Size: int64(len(raw)), Sum: sha256.Sum256(raw)}
		if err := p.vault.PutChunk(ctx, id, ref, bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
	}
	stream := fmt.Sprintf(`{"sequence":0,"chunks":%d}`, len(pieces))
	last := envelope(1, `{"content":{"n":1},"meta":{},"stream":`+stream+`}`, stream)
	last.Parents = []coffer.Rev{first.Rev()}
	if _, err := coffer.Put(ctx, p.vault, last); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestGetForeign(t *testing.T) {
	p := newPerson(t, provider(t), "alice")
	ctx := t.Context()
	for _, pieces := range [][][]byte{
		{noise(1, 1000), noise(2, 1000), noise(3, 10)}, {noise(1, 1000), noise(3, 10), noise(2, 1000)}, {},
	} {
		d, err := p.GetForeign(ctx, foreignStream(t, p, pieces...))
		if err != nil || string(d.Content) != `{"n":1}` || !d.Stream || d.Sequence != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		r, err := d.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(b, slices.Concat(pieces...)) {
			t.Errorf("read %d other bytes, %v", len(b), err)
		}
	}
	// The vault that other clients used is one that has nothing of this package's yet, on every device.
	if got := paths(t, p.device(t, nil), ""); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
	put(t, p.Agent, "own", []byte("own"))
	put(t, p.device(t, nil), "own too", noise(1, 30<<10))
	_, err := p.GetForeign(ctx, p.RefOf(ctx, "own").ID)
	expect(t, err, coffer.Invalid)
	_, err = p.GetForeign(ctx, coffer.NewObjectID())
	expect(t, err, coffer.NotExist)
	d, err := seal.Seal(ctx, coffertest.Person(t, "bob"), seal.Plain{}, seal.Options{ID: coffer.NewObjectID()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := coffer.Put(ctx, p.vault, d); err != nil {
		t.Fatal(err)
	}
	_, err = p.GetForeign(ctx, d.ID)
	expect(t, err, coffer.Denied)
	if _, err = (&agent.ForeignDocument{}).Open(ctx); !strings.Contains(fmt.Sprint(err), "no stream") {
		t.Errorf("without a stream: %v", err)
	}
}

func TestShareForeign(t *testing.T) {
	at := provider(t)
	p := newPerson(t, at, "alice")
	ctx := t.Context()
	bob := coffertest.Person(t, "bob")
	resolver, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := p.device(t, func(o *agent.Options) { o.Resolver = resolver })
	put(t, a, "notes/a", []byte("for Bob"))
	put(t, a, "notes/large", noise(1, 100<<10))
	key, did, err := a.ForeignKey(ctx, bob.DID())
	if err != nil || did != bob.DID() || key.ID != bob.Key(coffer.AgreementKey).ID {
		t.Fatalf("%+v, %s, %v", key, did, err)
	}
	if again, _, err := a.ForeignKey(ctx, key.ID); err != nil || !bytes.Equal(again.Public, key.Public) {
		t.Errorf("by the key's id: %v", err)
	}
	_, _, err = a.ForeignKey(ctx, bob.DID()+"#another")
	expect(t, err, coffer.NotExist)
	o := agent.ForeignOptions{Key: key, With: did}
	for _, path := range []string{"notes", "notes/large"} {
		_, err = a.ShareForeign(ctx, path, o)
		expect(t, err, coffer.Invalid)
	}
	_, err = a.ShareForeign(ctx, "nothing", o)
	expect(t, err, coffer.NotExist)
	s, err := a.ShareForeign(ctx, "notes/a", o)
	if err != nil {
		t.Fatal(err)
	}
	id, err := coffer.ParseVaultID(p.url[len(coffertest.Origin+"/edvs/"):])
	if err != nil {
		t.Fatal(err)
	}
	his := at.As(at.Caller(t, bob, s.URL, s.Capability), id)
	read := func() (string, error) {
		docs, err := his.Get(ctx, s.ID)
		if err != nil {
			return "", err
		}
		opened, err := seal.Open(ctx, bob, docs[0])
		if err != nil {
			return "", err
		}
		return string(opened.Content), nil
	}
	if got, err := read(); err != nil || !strings.Contains(got, `"data":"Zm9yIEJvYg"`) {
		t.Fatalf("he reads %s, %v", got, err)
	}
	for _, b := range []*agent.Agent{a, p.device(t, nil)} {
		if got := get(t, b, "notes/a"); string(got) != "for Bob" {
			t.Errorf("the owner reads %q", got)
		}
	}
	if got := verified(t, a, agent.VerifyOptions{Contents: true}); len(got) > 0 {
		t.Errorf("a check finds %q", got)
	}
	// What is put from then on is for nobody else.
	put(t, a, "notes/a", []byte("not for Bob"))
	_, err = read()
	expect(t, err, coffer.Denied)
}
