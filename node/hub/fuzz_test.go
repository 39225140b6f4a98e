package hub

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
)

func testHub() *hub {
	return &hub{owner: "did:example:alice", secrets: newSecrets([32]byte{1}, "did:example:alice")}
}

// FuzzToken reads tokens: only those that were made here are read.
func FuzzToken(f *testing.F) {
	v := &view{s: New(Options{}), who: "did:example:alice"}
	q := &coffer.ObjectQuery{Interface: coffer.CollectionsInterface}
	good, err := v.token("did:example:alice", skipObjects, q, &place{Stamp: 7, Cursor: "c", Key: &sortKey{Text: "x"}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, "", "AQ", good[1:], good + "A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := v.place("did:example:alice", skipObjects, q, text, "query.skip_token")
		if text == good && err != nil || err == nil && p.Stamp != 7 {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// FuzzStored reads what is kept of objects and commits, whatever was sealed as such.
func FuzzStored(f *testing.F) {
	h := testHub()
	r := &row{id: coffer.ObjectID{objectDocument}, arrivals: []arrival{{1, coffer.CommitRev{2}}}}
	r.Object.Interface = coffer.PermissionsInterface
	b, err := h.read(h.document(r))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	raw := &coffer.Commit{Protected: "p", Payload: "q", Signature: "s", Header: json.RawMessage(`{"work":"1"}`)}
	c := &merge.Commit{Raw: raw}
	d := h.keepCommit(c, r.id, 5)
	if b, err = h.read(d); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		id := coffer.ObjectID{objectDocument}
		d := &coffer.Document{ID: id, Body: h.body(id, plain)}
		if r, err := h.readRow(d, true); err == nil {
			r.permission()
			r.public()
			h.tags(r)
			again, err := h.readRow(h.document(r), true)
			if err != nil || len(again.arrivals) != len(r.arrivals) {
				t.Errorf("what was read is not read again: %v", err)
			}
		}
		if k, err := h.readCommit(d); err == nil {
			_, _ = k.shown()
		}
	})
}

// TestStoredCommit reads a commit as it was kept, byte for byte.
func TestStoredCommit(t *testing.T) {
	h := testHub()
	raw := coffer.Commit{Protected: "p-_", Signature: "s", Header: json.RawMessage(`{ "work": "1",  "rev":"x" }`)}
	header := merge.Header{KeyID: "did:example:a#k#l", Operation: merge.Create}
	c := &merge.Commit{Raw: &raw, Rev: raw.Rev(), Header: header}
	k, err := h.readCommit(h.keepCommit(c, coffer.ObjectID{9}, 1<<40))
	if err != nil || !reflect.DeepEqual(k.commit, raw) || k.stamp != 1<<40 || k.row != (coffer.ObjectID{9}) || !k.object {
		t.Fatalf("kept %v: %v", k, err)
	}
	shown, err := k.shown()
	rev := raw.Rev().String()
	want := `{"iss":"did:example:a","object_id":"` + rev + `","rev":"` + rev + `","work":"1"}`
	if err != nil || string(shown.Header) != want {
		t.Errorf("shown with %s, want %s", shown.Header, want)
	}
}

// FuzzUnsigned reads what strangers put into headers that are not signed.
func FuzzUnsigned(f *testing.F) {
	v := &view{s: New(Options{}), who: "did:example:bob"} // has no keys: nothing gets as far as that
	f.Add(`{"work":"12","introduction":"e30.e30."}`)
	f.Add(`{"introduction":"eyJraWQiOiJkaWQ6ZXhhbXBsZTpib2IjayJ9.eyJzdWIiOiIqIn0.AA"}`)
	f.Add(`{"work":1}`)
	f.Fuzz(func(t *testing.T, header string) {
		c := &merge.Commit{Raw: &coffer.Commit{Header: json.RawMessage(header)}}
		if worked(c, 257) {
			t.Error("more bits than there are")
		}
		if to, _ := v.introduced(t.Context(), "did:example:alice", c); to != "" {
			t.Error("introduced by nobody")
		}
	})
}

// TestPace takes from a pace until it refuses, and waits.
func TestPace(t *testing.T) {
	p := newPace(time.Second, 3)
	now := time.Unix(1_000_000, 0)
	take := func(want bool) {
		t.Helper()
		if err := p.take([32]byte{1}, now); (err == nil) != want {
			t.Errorf("took: %v", err)
		}
	}
	for range 3 {
		take(true)
	}
	take(false)
	now = now.Add(time.Second)
	take(true)
	take(false)
	now = now.Add(-time.Hour) // a clock that was set back
	take(false)
	now = now.Add(3 * time.Second)
	take(true)
	for i := range pacedNames + 10 {
		if err := p.take([32]byte{2, byte(i), byte(i >> 8), byte(i >> 16)}, now); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.whole) > pacedNames {
		t.Errorf("%d names are remembered", len(p.whole))
	}
}
