package ledger

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"math/bits"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// What a [Watcher] finds. All are of the kind Corrupt, and come as a [Fault].
var (
	// ErrUnsigned: what was given out as a checkpoint is none of this log signed with the node's key.
	ErrUnsigned = coffer.Errorf("log", coffer.Corrupt, "not a checkpoint of this log by its node")
	// ErrRolledBack: the node shows a log shorter than it showed before, or one that goes on after its end.
	ErrRolledBack = coffer.Errorf("log", coffer.Corrupt, "the node went back behind what it had shown")
	// ErrForked: the node shows two logs of which neither goes on from the other, or another change than it acknowledged.
	ErrForked = coffer.Errorf("log", coffer.Corrupt, "the node shows different logs")
	// ErrWithheld: the feed ends before the size that the node signed, or before a write that it acknowledged.
	ErrWithheld = coffer.Errorf("log", coffer.Corrupt, "the node withholds changes")
	// ErrGap: a change is left out, repeated or out of order.
	ErrGap = coffer.Errorf("log", coffer.Corrupt, "the feed is not gap-free and in order")
)

// A Fault is what a Watcher found out about a node. errors.Is tells which of the sentinels it is.
type Fault struct {
	Err      error     // ErrUnsigned, ErrRolledBack, ErrForked, ErrWithheld or ErrGap
	Older    []byte    // the checkpoint that the node had signed before, if there was one
	Newer    []byte    // the checkpoint that is at fault, if it is one
	Evidence *Evidence // proof for others; nil where the node can still deny: see [Contradiction]
}

// Error returns the text of the sentinel.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the sentinel.
func (f *Fault) Unwrap() error { return f.Err }

// Bounds on what a Watcher keeps.
const (
	maxPending = 16  // checkpoints whose size the feed has not reached
	maxOwn     = 256 // own writes that the feed has not reached
	maxCursor  = 256 // bytes
)

// A Watcher sees to it that one vault's node shows its owner one log that only grows. It is a state machine without
// clock, disk or network: its owner feeds it and, after every turn, keeps what [Watcher.Encode] returns, where the node
// cannot change it unnoticed. It is not for concurrent use. After a Fault its state is as before.
//
// A turn: take Due, fetch a checkpoint, hand both to Checkpoint; take Due again, read the feed after Cursor, hand each
// change to Read; when the feed ends, hand the second Due to Ended. Own writes are handed to Wrote as they are
// acknowledged, at any time between.
type Watcher struct {
	origin   string
	verifier *Verifier

	frontier Frontier // of all that was read
	cursor   coffer.Cursor
	ended    bool     // the vault was erased
	signed   mark     // the last checkpoint that what was read has confirmed
	pending  []mark   // checkpoints beyond what was read, by size
	wrote    uint64   // the greatest number of an own write
	own      []record // own writes beyond what was read, by number
}

// A mark is a checkpoint and the note that it was signed as.
type mark struct {
	Checkpoint
	note []byte
}

// A record is an own write: its number, and the leaf that it must have.
type record struct {
	number uint64
	leaf   Hash
}

// NewWatcher returns a watcher that has seen nothing of the log with the origin, whose checkpoints the key signs. Which
// key that is its caller must remember from the first time on: a node that could change it could fork.
func NewWatcher(origin string, key *Verifier) (*Watcher, error) {
	if err := checkName(origin); err != nil {
		return nil, err
	}
	return &Watcher{origin: origin, verifier: key}, nil
}

// Join begins with a checkpoint instead of the beginning of the log, for a device that was not there before: signed is a
// checkpoint that the node answered with, last the change with its size for number, and proof the proof of its
// inclusion ([Log].Inclusion). What was before is the node's word, which other devices' checkpoints can refute
// ([Watcher.Heard]). Invalid when something was seen already; ErrUnsigned and ErrForked as for [Watcher.Checkpoint].
func (w *Watcher) Join(signed []byte, last coffer.Change, proof []Hash) error {
	m, err := w.open(signed)
	if err != nil {
		return err
	}
	if w.frontier.size > 0 || w.signed.note != nil || w.ended || m.Size == 0 {
		return coffer.Errorf("watcher", coffer.Invalid, "has begun already, or the log is empty")
	}
	leaf := LeafHash(last)
	if last.Number != m.Size || CheckInclusion(proof, m.Size-1, leaf, m.Checkpoint) != nil {
		return &Fault{Err: ErrForked, Newer: m.note}
	}
	// All that stands in the proof of the last leaf is to its left: the perfect subtrees, smallest first, of which those
	// that are joined on the way are of its own.
	f := Frontier{size: m.Size - 1}
	for i := bits.OnesCount64(f.size); i > 0; i-- {
		f.hashes = append(f.hashes, proof[i-1])
	}
	f.Append(leaf)
	if f.Root() != m.Root {
		return &Fault{Err: ErrForked, Newer: m.note}
	}
	w.frontier, w.signed, w.cursor = f, m, bounded(last.Cursor)
	return nil
}

// Origin returns the origin of the log.
func (w *Watcher) Origin() string { return w.origin }

// Key returns the key that signs the log's checkpoints.
func (w *Watcher) Key() *Verifier { return w.verifier }

// Size returns how many changes were read.
func (w *Watcher) Size() uint64 { return w.frontier.size }

// Cursor returns the place in the feed after what was read.
func (w *Watcher) Cursor() coffer.Cursor { return w.cursor }

// Erased reports whether the feed said that the vault was erased. There is nothing more to read.
func (w *Watcher) Erased() bool { return w.ended }

// Signed returns the last checkpoint that what was read confirms, and its note; nil if there is none yet.
func (w *Watcher) Signed() (Checkpoint, []byte) {
	return w.signed.Checkpoint, bytes.Clone(w.signed.note)
}

// Due returns the number that the feed and checkpoints must reach which are asked for from now on: of what was read,
// signed and acknowledged, the greatest.
func (w *Watcher) Due() uint64 { return max(w.frontier.size, w.shown(), w.wrote) }

// shown returns the greatest size that the node signed.
func (w *Watcher) shown() uint64 {
	if n := len(w.pending); n > 0 {
		return w.pending[n-1].Size
	}
	return w.signed.Size
}

// Wrote takes note of an own write that the node acknowledged: the feed must have this change at this number. One
// without a number, as other servers answer, is passed over. ErrForked if the number was acknowledged for another
// change before.
func (w *Watcher) Wrote(c coffer.Change) error {
	if c.Number == 0 || c.Number > MaxSize || c.Kind == coffer.VaultErased || w.ended {
		return nil
	}
	if c.Number <= w.frontier.size {
		return nil // what was read stands in the root already
	}
	r := record{c.Number, LeafHash(c)}
	i, known := slices.BinarySearchFunc(w.own, r, func(a, b record) int { return cmp.Compare(a.number, b.number) })
	switch {
	case known && w.own[i].leaf != r.leaf:
		return &Fault{Err: ErrForked, Older: w.signed.note}
	case !known && len(w.own) < maxOwn: // beyond that the number is all that is remembered
		w.own = slices.Insert(w.own, i, r)
	}
	w.wrote = max(w.wrote, c.Number)
	return nil
}

// Read takes the next change of the feed. ErrGap if it is not the next; ErrForked if it is not the own write that was
// acknowledged for its number, or if with it the log has the size of a checkpoint and another root; ErrRolledBack if
// the vault was erased before, or is said to have been at a time when it was longer.
func (w *Watcher) Read(c coffer.Change) error {
	older := w.signed.note
	switch {
	case w.ended:
		return &Fault{Err: ErrRolledBack, Older: older}
	case c.Kind == coffer.VaultErased && c.Number > w.frontier.size:
		// All that was before is gone, and with it what would show that nothing was left out.
		if c.Number <= w.Due() || c.Number > MaxSize {
			return &Fault{Err: ErrRolledBack, Older: older}
		}
		w.ended, w.cursor = true, bounded(c.Cursor)
		w.pending, w.own = nil, nil
		return nil
	case c.Number != w.frontier.size+1 || c.Number > MaxSize:
		return &Fault{Err: ErrGap, Older: older}
	}
	leaf := LeafHash(c)
	expected := len(w.own) > 0 && w.own[0].number == c.Number
	if expected && w.own[0].leaf != leaf {
		return &Fault{Err: ErrForked, Older: older}
	}
	if len(w.pending) == 0 || w.pending[0].Size != c.Number {
		w.frontier.Append(leaf)
	} else {
		grown := w.frontier.Clone()
		grown.Append(leaf)
		if p := w.pending[0]; grown.Root() != p.Root {
			return &Fault{Err: ErrForked, Older: older, Newer: p.note}
		}
		w.frontier, w.signed = grown, w.pending[0]
		w.pending = slices.Delete(w.pending, 0, 1)
	}
	if expected {
		w.own = slices.Delete(w.own, 0, 1)
	}
	w.cursor = bounded(c.Cursor)
	return nil
}

// Ended is told that the feed ended with what was read. due is what [Watcher.Due] was before the feed was asked for.
// ErrWithheld if it should have gone on.
func (w *Watcher) Ended(due uint64) error {
	if w.ended || w.frontier.size >= due {
		return nil
	}
	f := &Fault{Err: ErrWithheld, Older: w.signed.note}
	if n := len(w.pending); n > 0 {
		f.Newer = w.pending[n-1].note
	}
	return f
}

// Checkpoint takes a checkpoint that the node answered with when it was asked for the present one. due is what
// [Watcher.Due] was before it was asked. One beyond what was read is confirmed, or refuted, by Read.
//
// ErrUnsigned if it is none; ErrForked, with Evidence if there is some, if the log has another root at its size;
// ErrRolledBack if it is of a shorter log than was read or signed before; ErrWithheld if it leaves out an own write.
// Conflict, which says nothing against the node, if more was read while it was on its way: ask again. Exhausted if many
// checkpoints wait for the feed to be read: read it first.
func (w *Watcher) Checkpoint(signed []byte, due uint64) error {
	m, err := w.open(signed)
	if err != nil {
		return err
	}
	if w.ended {
		return &Fault{Err: ErrRolledBack, Older: w.signed.note, Newer: m.note}
	}
	if known, err := w.compare(m); known || err != nil {
		return err
	}
	switch {
	case m.Size < min(due, max(w.frontier.size, w.shown())):
		return &Fault{Err: ErrRolledBack, Older: w.lastNote(), Newer: m.note}
	case m.Size < due:
		return &Fault{Err: ErrWithheld, Older: w.lastNote(), Newer: m.note}
	case m.Size < w.frontier.size:
		return coffer.Errorf("log", coffer.Conflict, "more was read than the checkpoint covers")
	}
	return w.await(m)
}

// Heard takes a checkpoint of the log that came from elsewhere: from another device of the owner, a reader, a witness.
// It may be older than what was read; then proof is the consistency proof from its size to Size, as the node gives it.
//
// ErrUnsigned and ErrForked as for [Watcher.Checkpoint]. That a proof fails is no Evidence: the node may say that it
// was never given. Exhausted if many checkpoints wait for the feed to be read.
func (w *Watcher) Heard(signed []byte, proof []Hash) error {
	m, err := w.open(signed)
	if err != nil {
		return err
	}
	if known, err := w.compare(m); known || err != nil {
		return err
	}
	if m.Size > w.frontier.size {
		if w.ended {
			return nil // the end came later, or there is nothing left to compare with
		}
		return w.await(m)
	}
	present := Checkpoint{w.origin, w.frontier.size, w.frontier.Root()}
	if CheckConsistency(proof, m.Checkpoint, present) != nil {
		f := &Fault{Err: ErrForked, Older: m.note, Newer: w.signed.note}
		if w.signed.Size == present.Size && w.signed.note != nil {
			f.Evidence, _ = Contradiction(w.verifier, w.origin, m.note, w.signed.note, proof)
		}
		return f
	}
	return nil
}

func (w *Watcher) open(signed []byte) (mark, error) {
	c, err := Open(w.verifier, w.origin, signed)
	if err != nil {
		return mark{}, &Fault{Err: ErrUnsigned, Older: w.signed.note}
	}
	return mark{c, bytes.Clone(signed)}, nil
}

// lastNote returns the note of the greatest size that the node signed.
func (w *Watcher) lastNote() []byte {
	if n := len(w.pending); n > 0 {
		return w.pending[n-1].note
	}
	return w.signed.note
}

// compare compares a checkpoint with all that has its size. It reports whether it is nothing new.
func (w *Watcher) compare(m mark) (known bool, err error) {
	for _, other := range append([]mark{w.signed}, w.pending...) {
		if other.note == nil || other.Size != m.Size {
			continue
		}
		if other.Root != m.Root {
			f := &Fault{Err: ErrForked, Older: other.note, Newer: m.note}
			f.Evidence, _ = Contradiction(w.verifier, w.origin, other.note, m.note, nil)
			return false, f
		}
		return true, nil
	}
	if m.Size != w.frontier.size {
		return false, nil
	}
	if m.Root != w.frontier.Root() {
		return false, &Fault{Err: ErrForked, Older: w.signed.note, Newer: m.note}
	}
	w.signed = m
	return true, nil
}

// await keeps a checkpoint beyond what was read until Read comes to its size.
func (w *Watcher) await(m mark) error {
	if len(w.pending) == maxPending {
		return coffer.Errorf("log", coffer.Exhausted, "too many checkpoints wait for the feed to be read")
	}
	i, _ := slices.BinarySearchFunc(w.pending, m.Size, func(p mark, size uint64) int { return cmp.Compare(p.Size, size) })
	w.pending = slices.Insert(w.pending, i, m)
	return nil
}

// bounded returns the cursor, or none if it is longer than any of ours.
func bounded(c coffer.Cursor) coffer.Cursor {
	if len(c) > maxCursor {
		return ""
	}
	return c
}

// MaxWatcher bounds the encoded state of a Watcher, in bytes.
const MaxWatcher = (maxPending+1)*2*MaxNote + maxOwn*128 + 8<<10

// watcherText is a Watcher as JSON.
type watcherText struct {
	Version  int        `json:"version"`
	Origin   string     `json:"origin"`
	Key      string     `json:"key"`
	Frontier string     `json:"frontier"`
	Cursor   string     `json:"cursor,omitempty"`
	Erased   bool       `json:"erased,omitempty"`
	Signed   string     `json:"signed,omitempty"`
	Pending  []string   `json:"pending,omitempty"`
	Wrote    uint64     `json:"wrote,omitempty"`
	Own      []ownWrite `json:"own,omitempty"`
}

type ownWrite struct {
	Number uint64 `json:"number"`
	Leaf   string `json:"leaf"`
}

// Encode returns the watcher's state as JSON, mostly some kilobytes. It is not secret, but what it remembers must not
// be taken back: keep it sealed and signed, or where only its owner writes.
func (w *Watcher) Encode() ([]byte, error) {
	t := watcherText{
		Version: 1, Origin: w.origin, Key: w.verifier.String(),
		Frontier: base64.StdEncoding.EncodeToString(w.frontier.Encode()),
		Cursor:   string(w.cursor), Erased: w.ended, Signed: string(w.signed.note), Wrote: w.wrote,
	}
	for _, p := range w.pending {
		t.Pending = append(t.Pending, string(p.note))
	}
	for _, r := range w.own {
		t.Own = append(t.Own, ownWrite{r.number, encodeHash(r.leaf)})
	}
	b, err := jose.Encode(t)
	if err != nil {
		return nil, coffer.E("watcher", coffer.Invalid, err)
	}
	return b, nil
}

// DecodeWatcher reads what [Watcher.Encode] writes, whose notes it verifies again; anything else is Corrupt.
func DecodeWatcher(b []byte) (*Watcher, error) {
	malformed := coffer.Errorf("watcher", coffer.Corrupt, "malformed")
	var t watcherText
	if len(b) > MaxWatcher || jose.Decode(b, &t) != nil || t.Version != 1 || checkName(t.Origin) != nil ||
		len(t.Cursor) > maxCursor || len(t.Pending) > maxPending || len(t.Own) > maxOwn || t.Wrote > MaxSize {
		return nil, malformed
	}
	w := &Watcher{origin: t.Origin, cursor: coffer.Cursor(t.Cursor), ended: t.Erased, wrote: t.Wrote}
	var err error
	if w.verifier, err = ParseVerifier(t.Key); err != nil {
		return nil, malformed
	}
	frontier, err := base64.StdEncoding.Strict().DecodeString(t.Frontier)
	if err != nil {
		return nil, malformed
	}
	if w.frontier, err = DecodeFrontier(frontier); err != nil {
		return nil, err
	}
	if t.Signed != "" {
		if w.signed, err = w.open([]byte(t.Signed)); err != nil {
			return nil, malformed
		}
		at := w.frontier.size
		if w.signed.Size > at || w.signed.Size == at && w.signed.Root != w.frontier.Root() {
			return nil, malformed
		}
	}
	last := w.frontier.size
	for _, text := range t.Pending {
		p, err := w.open([]byte(text))
		if err != nil || p.Size <= last || w.ended {
			return nil, malformed
		}
		w.pending, last = append(w.pending, p), p.Size
	}
	last = w.frontier.size
	for _, o := range t.Own {
		leaf, err := decodeHash(o.Leaf)
		if err != nil || o.Number <= last || o.Number > w.wrote || w.ended {
			return nil, malformed
		}
		w.own, last = append(w.own, record{o.Number, leaf}), o.Number
	}
	return w, nil
}
