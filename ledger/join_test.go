package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// A watcher that joins late goes on like one that was there from the beginning, whatever the size.
func TestJoin(t *testing.T) {
	signer, origin := signer(t, "node"), testOrigin
	var hashes []Hash
	changes := make([]coffer.Change, 70)
	for i := range changes {
		changes[i] = coffer.Change{
			Number: uint64(i + 1), Kind: coffer.Accepted, ID: coffer.ObjectID{byte(i + 1)}, By: "did:example:a",
			Time: time.UnixMilli(int64(i)).UTC(), Cursor: coffer.Cursor("c"),
		}
		hashes = append(hashes, LeafHash(changes[i]))
	}
	for size := 1; size < len(changes); size++ {
		var f Frontier
		for _, h := range hashes[:size] {
			f.Append(h)
		}
		c := Checkpoint{origin, uint64(size), f.Root()}
		note, err := Sign(signer, c)
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWatcher(origin, signer.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		proof := naiveInclusion(hashes[:size], size-1)
		if len(proof) > 0 {
			proof[0][0] ^= 1
			if err := w.Join(note, changes[size-1], proof); !errors.Is(err, ErrForked) {
				t.Errorf("size %d: a forged proof: %v", size, err)
			}
			proof[0][0] ^= 1
		}
		if err := w.Join(note, changes[size], proof); !errors.Is(err, ErrForked) {
			t.Errorf("size %d: another change: %v", size, err)
		}
		if err := w.Join(note, changes[size-1], proof); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if err := w.Read(changes[size]); err != nil {
			t.Fatal(err)
		}
		f.Append(hashes[size])
		if w.frontier.Root() != f.Root() {
			t.Errorf("size %d: goes on to another root", size)
		}
	}
}

// naiveInclusion is PATH of RFC 6962, section 2.1.1.
func naiveInclusion(leaves []Hash, m int) []Hash {
	if len(leaves) == 1 {
		return nil
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	root := func(part []Hash) Hash {
		var f Frontier
		for _, h := range part {
			f.Append(h)
		}
		return f.Root()
	}
	if m < k {
		return append(naiveInclusion(leaves[:k], m), root(leaves[k:]))
	}
	return append(naiveInclusion(leaves[k:], m-k), root(leaves[:k]))
}
