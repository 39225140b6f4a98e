package search

import (
	"context"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// knownRef is the bytes 0, 1, … 79.
func knownRef() (ref seal.Ref) {
	for i := range refSize {
		switch {
		case i < 16:
			ref.ID[i] = byte(i)
		case i < 48:
			ref.Key[i-16] = byte(i)
		default:
			ref.Write[i-48] = byte(i)
		}
	}
	return ref
}

func knownDelta() Delta {
	return Delta{
		Documents: []Document{{
			ID: coffer.ObjectID{15: 1}, Name: "Ada.txt", Type: "Note", Size: 300, Modified: time.Unix(1_700_000_000, 5).UTC(),
			Value: []byte(`{"ok":true}`), Text: "a b a",
		}},
		Removed: []coffer.ObjectID{{15: 2}},
	}
}

// oneRef keeps blocks at knownRef.
type oneRef struct{ block []byte }

func (o *oneRef) Get(context.Context, seal.Ref) ([]byte, error) { return o.block, nil }
func (o *oneRef) Drop(context.Context, ...seal.Ref) error       { return nil }
func (o *oneRef) Put(_ context.Context, b [][]byte) ([]seal.Ref, error) {
	o.block = b[0]
	return []seal.Ref{knownRef()}, nil
}

// The formats are as doc/search.md has them.
func TestFormatIsAsSpecified(t *testing.T) {
	text, err := os.ReadFile("../../doc/search.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Join(strings.Fields(string(text)), "")
	given := func(what string, b []byte) {
		t.Helper()
		if !strings.Contains(page, hex.EncodeToString(b)) {
			t.Errorf("doc/search.md does not give %s: %x", what, b)
		}
	}
	o := &oneRef{}
	x, err := Open(o, nil, []Delta{knownDelta()})
	if err != nil {
		t.Fatal(err)
	}
	manifest, _, err := x.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	given("the manifest", manifest)
	given("the segment", o.block)

	// What compresses may change what it writes; what is given must always be read.
	const delta = "01626440058c4c0d47e65fe56165106040072c7ef925a90c0cec8e29897a2515" +
		"256b98b8ab95f2b395ac4a8a4a536b591315921412d14d6302040000ffff"
	b, err := hex.DecodeString(delta)
	if err != nil {
		t.Fatal(err)
	}
	given("the delta", b)
	d, err := DecodeDelta(b)
	if err != nil || !reflect.DeepEqual(*d, knownDelta()) {
		t.Errorf("the delta is read as %+v, %v", d, err)
	}
}
