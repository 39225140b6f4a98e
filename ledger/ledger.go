// Package ledger is the one ordered feed of a vault: how a place in it is named ([Cursor], [Place]), how followers
// learn that it grew ([Feed]), and how it is a Merkle log that nobody can fork or shorten unnoticed. What the feed
// holds, the store keeps.
//
// The log's leaves are the vault's changes ([Leaf]), hashed as in RFC 6962. A node signs checkpoints of it ([Sign]) and
// gives proofs out of tiles ([Edge], [Source], [ProveConsistency], [ProveInclusion]). Who reads the feed remembers a
// [Frontier] and the last checkpoint, and lets a [Watcher] compare them with what the node shows next. Two checkpoints
// that contradict each other are [Evidence]. doc/ledger.md specifies the formats, which stay readable for ever.
package ledger

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"github.com/cofferhq/coffer"
)

// Cursor names the place in the vault's feed just after the change with the number. It is a fixed function of the
// two, so that it stays good over restarts and at every node that serves the vault. The place before all changes is
// the empty cursor.
func Cursor(v coffer.VaultID, number uint64) coffer.Cursor {
	if number == 0 {
		return ""
	}
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], number)
	check := cursorCheck(v, number)
	copy(b[8:], check[:])
	return coffer.Cursor(base64.RawURLEncoding.EncodeToString(b[:]))
}

// Place returns the number that the cursor names, or Invalid for what [Cursor] did not make for this vault.
func Place(v coffer.VaultID, c coffer.Cursor) (uint64, error) {
	if c == "" {
		return 0, nil
	}
	const op = "cursor"
	if len(c) != base64.RawURLEncoding.EncodedLen(12) {
		return 0, coffer.Errorf(op, coffer.Invalid, "not a cursor of this vault")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(c))
	if err != nil || len(b) != 12 { // the decoder passes over line breaks
		return 0, coffer.Errorf(op, coffer.Invalid, "not a cursor of this vault")
	}
	number := binary.BigEndian.Uint64(b)
	if check := cursorCheck(v, number); [4]byte(b[8:]) != check || number == 0 {
		return 0, coffer.Errorf(op, coffer.Invalid, "not a cursor of this vault")
	}
	return number, nil
}

// cursorCheck tells cursors of one vault from those of another. It is no secret and protects nothing: it turns a
// mix-up into an error.
func cursorCheck(v coffer.VaultID, number uint64) [4]byte {
	var b [24]byte
	copy(b[:], v[:])
	binary.BigEndian.PutUint64(b[16:], number)
	sum := sha256.Sum256(b[:])
	return [4]byte(sum[:4])
}

// A Feed wakes those who follow vaults. The zero Feed is ready to use.
type Feed struct {
	mu      sync.Mutex
	waiting map[coffer.VaultID]*waiters
}

type waiters struct {
	grown chan struct{} // closed when the vault's feed grows
	count int
}

// Wait returns a channel that is closed once [Feed.Grew] is called for the vault after this call, and a function that
// must be called when the caller stops waiting. To miss nothing, first Wait, then read the feed, then receive.
func (f *Feed) Wait(v coffer.VaultID) (grown <-chan struct{}, stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.waiting[v]
	if w == nil {
		if f.waiting == nil {
			f.waiting = make(map[coffer.VaultID]*waiters)
		}
		w = &waiters{grown: make(chan struct{})}
		f.waiting[v] = w
	}
	w.count++
	return w.grown, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if w.count--; w.count == 0 && f.waiting[v] == w {
			delete(f.waiting, v)
		}
	}
}

// Grew wakes all who wait for the vault.
func (f *Feed) Grew(v coffer.VaultID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.waiting[v]; w != nil {
		close(w.grown)
		delete(f.waiting, v)
	}
}

// GrewAll wakes all who wait, for whichever vault: when it is not known which have grown.
func (f *Feed) GrewAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.waiting {
		close(w.grown)
	}
	clear(f.waiting)
}
