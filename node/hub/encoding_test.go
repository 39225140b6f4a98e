package hub

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// FuzzHead reads what is none, and has what is one written as it was.
func FuzzHead(f *testing.F) {
	whole := head{
		Object: coffer.HubObject{
			Interface: "Collections", Context: "schema.org", Type: "Book", ID: coffer.CommitRev{1}, CreatedBy: "did:example:a",
			CreatedAt: time.UnixMilli(1500000000123).UTC(), Sub: "did:example:b", Strategy: "basic",
			Meta: json.RawMessage(`{"title":"x"}`), UpdatedBy: "did:example:c", UpdatedAt: time.UnixMilli(-1).UTC(),
			Revision: coffer.CommitRev{2}, Deleted: true, Withheld: true,
		},
		Operation: "update", Size: 1 << 40, Lacking: 3, Grant: json.RawMessage(`{}`), Second: true, Stranger: true,
	}
	b := whole.append(nil)
	var again head
	if rest, ok := again.parse(append(b, 7)); !ok || !bytes.Equal(rest, []byte{7}) || !reflect.DeepEqual(again, whole) {
		f.Fatalf("read %+v, %x, %v", again, rest, ok)
	}
	for i := range b {
		if _, ok := new(head).parse(b[:i]); ok {
			f.Errorf("the first %d of %d bytes are read", i, len(b))
		}
	}
	f.Add(b)
	f.Add((&head{Operation: "create"}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h head
		rest, ok := h.parse(b)
		if !ok {
			return
		}
		var again head
		if _, ok := again.parse(h.append(nil)); !ok || !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v is written as %+v", h, again)
		}
		if len(rest) > len(b) {
			t.Fatal("more is left than there was")
		}
	})
}
