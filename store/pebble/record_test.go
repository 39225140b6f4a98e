package pebble

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// FuzzRecords decodes anything as each kind of record. What decodes must encode to the same bytes: there is one form of
// each record, and nothing is lost.
func FuzzRecords(f *testing.F) {
	d := &coffer.Document{
		ID: coffer.ObjectID{1}, Sequence: 300, Parents: []coffer.Rev{{1}, {2}}, Body: []byte("body"),
		Tags:   []coffer.Tag{{Key: "k", Name: "n", Value: "v"}, {Key: "k", Name: "n", Unique: true}},
		Stream: &coffer.Stream{Pending: true, Sequence: 299, Chunks: 7},
	}
	f.Add(appendRevision(nil, d, d.Rev()))
	d.Stream = &coffer.Stream{Sequence: 2, Chunks: 7, Patch: 299}
	f.Add(appendRevision(nil, d, d.Rev()))
	d.Stream, d.Tags = nil, nil
	f.Add(appendRevision(nil, d, d.Rev()))
	f.Add((&head{present: true, sequence: 3, number: 500, rev: coffer.Rev{9}, size: 1 << 40, chunks: 2}).append(nil))
	f.Add((&head{sequence: 3, number: 500}).append(nil))
	f.Add((&head{present: true, number: 500, size: 1, kept: kept{3, 1 << 33}}).append(nil))
	f.Add(encodeDue(nil, 1<<33))
	f.Add(encodeUsage(nil, store.Usage{Changes: 1, Law: 300}))
	for kind := coffer.Accepted; kind <= coffer.VaultErased; kind++ {
		c := coffer.Change{Kind: kind, ID: d.ID, Sequence: 5, By: "did:example:a", Time: time.UnixMilli(1e12)}
		f.Add(encodeChange(nil, &c))
	}
	f.Add(encodeChunk(nil, &store.Chunk{Ref: coffer.ChunkRef{Size: 1 << 20, Sum: [32]byte{3}}, Blob: "a/b"}))
	f.Add(encodeUsage(nil, store.Usage{Documents: 1, Bytes: 1 << 33, Changes: 400}))
	f.Add([]byte{recordForm, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		id := coffer.ObjectID{1}
		same := func(what string, err error, again []byte) {
			t.Helper()
			if err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s %x encodes to %x", what, b, again)
			}
		}
		d, rev, err := decodeRevision(b, id)
		same("document", err, appendRevision(nil, d, rev))
		if priorRev, tags, stream, priorErr := decodePrior(b); err == nil {
			if priorErr != nil || priorRev != rev || len(tags) != len(d.Tags) || !reflect.DeepEqual(stream, d.Stream) {
				t.Errorf("what is read before the body of %x is %v, %v, %v", b, tags, stream, priorErr)
			}
		}
		h, err := decodeHead(b)
		same("head", err, h.append(nil))
		size, err := decodeDue(b)
		same("place in the queue", err, encodeDue(nil, size))
		c, err := decodeChange(b, 1)
		same("change", err, encodeChange(nil, &c))
		k, err := decodeChunk(b, id, 0, 0)
		same("chunk", err, encodeChunk(nil, &k))
		u, err := decodeUsage(b)
		same("usage", err, encodeUsage(nil, u))
	})
}

// TestCutRecords decodes every beginning of a record: none but the whole may pass for one without its last field.
func TestCutRecords(t *testing.T) {
	d := newDocument("", coffer.Tag{Key: "key", Name: "name", Value: "value", Unique: true})
	d.Parents = []coffer.Rev{{1}}
	for _, patch := range []uint64{0, 300} {
		d.Stream = &coffer.Stream{Sequence: 1, Chunks: 200, Patch: patch}
		whole := appendRevision(nil, d, d.Rev())
		for n := range whole {
			if _, _, err := decodeRevision(whole[:n], d.ID); err == nil {
				t.Errorf("the first %d of %d bytes decode", n, len(whole))
			}
		}
		if got, _, err := decodeRevision(whole, d.ID); err != nil || *got.Stream != *d.Stream {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestTermsApart(t *testing.T) {
	terms := map[term]string{}
	for what, m := range map[string]term{
		"tag":          tagTerm("k", "n", "v"),
		"shifted":      tagTerm("kn", "", "v"),
		"shifted more": tagTerm("k", "nv", ""),
		"name":         nameTerm("k", "n"),
		"long name":    nameTerm("k", "n\x01v"),
	} {
		if other, taken := terms[m]; taken {
			t.Errorf("%s and %s are one term", what, other)
		}
		terms[m] = what
	}
}

func TestNext(t *testing.T) {
	last := coffer.ObjectID(bytes.Repeat([]byte{0xff}, 16))
	if _, more := next(last); more {
		t.Error("an id follows the greatest")
	}
	id := coffer.ObjectID{14: 1, 15: 0xff}
	if got, more := next(id); got != (coffer.ObjectID{14: 2}) || !more {
		t.Errorf("next is %x, %v", got, more)
	}
	if got := after([]byte{1, 0xff}); !bytes.Equal(got, []byte{2}) {
		t.Errorf("after is %x", got)
	}
}
