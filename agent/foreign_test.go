package agent_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// foreignStream stores a stream as published clients do: a key and named recipients in each chunk, nothing bound,
// chunks of whatever length.
func foreignStream(t *testing.T, h *house, pieces ...[]byte) coffer.ObjectID {
	t.Helper()
	ctx := t.Context()
	own := h.alice.Key(coffer.AgreementKey)
	id := coffer.NewObjectID()
	envelope := func(sequence int, plaintext, stream string) *coffer.Document {
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
		jwe := key.Encrypt(protected, recipients, []byte(plaintext))
		const form = `{"id":"%s","sequence":%d,"stream":%s,"jwe":%s}`
		d, err := edv.DecodeDocument(fmt.Appendf(nil, form, id, sequence, stream, jwe))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	v := h.view(h.alice, nil)
	first := envelope(0, `{"content":{"n":1},"meta":{},"stream":{"pending":true}}`, `{}`)
	if _, err := coffer.Put(ctx, v, first); err != nil {
		t.Fatal(err)
	}
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
	offset := 0
	for n, p := range pieces {
		offset += len(p)
		raw := fmt.Appendf(make([]byte, 4), `{"index":%d,"offset":%d,"sequence":0,"jwe":`, n, offset)
		raw = key.AppendDetached(raw, protected, recipients, "}", p)
		binary.BigEndian.PutUint32(raw, uint32(len(raw)-4-len(p)))
		ref := coffer.ChunkRef{Index: uint64(n), Size: int64(len(raw)), Sum: sha256.Sum256(raw)}
		if err := v.PutChunk(ctx, id, ref, bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
	}
	stream := fmt.Sprintf(`{"sequence":0,"chunks":%d}`, len(pieces))
	last := envelope(1, `{"content":{"n":1},"meta":{},"stream":`+stream+`}`, stream)
	last.Parents = []coffer.Rev{first.Rev()}
	if _, err := coffer.Put(ctx, v, last); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestForeignStream(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	ctx := t.Context()
	pieces := [][]byte{noise(1, 1000), noise(2, 1000), noise(3, 10)}
	all := slices.Concat(pieces...)
	o, err := a.GetID(ctx, foreignStream(t, h, pieces...))
	if err != nil || o.Size != -1 || o.Own {
		t.Fatalf("%+v, %v", o, err)
	}
	if !bytes.Equal(read(t, o), all) {
		t.Fatal("read in order it is another")
	}
	p := make([]byte, 1500)
	if n, err := o.ReadAt(ctx, p, 500); err != nil || !bytes.Equal(p[:n], all[500:2000]) {
		t.Fatalf("ReadAt: %d, %v", n, err)
	}
	w := &at{}
	if err := o.WriteTo(ctx, w, nil); err != nil || !bytes.Equal(w.b, all) {
		t.Fatalf("WriteTo: %v", err)
	}
	// Chunks that are not as long as the first one stand nowhere that could be computed.
	o, err = a.GetID(ctx, foreignStream(t, h, pieces[0], pieces[2], pieces[1]))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, o.WriteTo(ctx, &at{}, nil), coffer.Corrupt)
	if got := read(t, o); !bytes.Equal(got, slices.Concat(pieces[0], pieces[2], pieces[1])) {
		t.Fatal("read in order it is another")
	}
	// None at all.
	o, err = a.GetID(ctx, foreignStream(t, h))
	if err != nil || len(read(t, o)) != 0 {
		t.Fatalf("an empty stream: %v", err)
	}
	if err := o.WriteTo(ctx, &at{}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = a.PutID(ctx, o.ID, file(nil), agent.PutOptions{})
	expect(t, err, coffer.Corrupt)
}
