package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/ledger"
)

// A history is what a device knows of its vault's past, so that a provider cannot take it back, fork it or keep some of
// it to itself without being found out.
type history struct {
	number  uint64          // of the last change that was read
	watch   *ledger.Watcher // nil: the vault's checkpoints are not looked at
	heard   [32]byte        // hash of the last checkpoint of another device that was looked at
	checked uint64          // number of the last change when the vault was last asked for a checkpoint
	asked   bool
}

// historyNote is what the journal keeps of it.
type historyNote struct {
	Cursor  coffer.Cursor `json:"cursor"`
	Number  uint64        `json:"number"`
	Watcher base64url     `json:"watcher,omitempty"`
	Latest  base64url     `json:"latest,omitempty"` // what changed last, as appendLatest writes it
}

// maxNoted is of how many objects a device notes what changed last, so that it cannot be shown an older state of them
// when it starts again: first those that it knows to be pages and other records, then those that changed last.
const maxNoted = 1024

const latestSize = 16 + 8 + 8 + 32

// noted returns what is noted of the changes: for each its object, its sequence, its number in the feed and its
// revision. The caller holds the lock.
func (a *Agent) noted() []byte {
	f := &a.feed
	ids := slices.Collect(maps.Keys(f.latest))
	if len(ids) > maxNoted {
		known := a.objects.all()
		slices.SortFunc(ids, func(x, y coffer.ObjectID) int {
			if known[x] != known[y] {
				if known[x] {
					return -1
				}
				return 1
			}
			return cmp.Compare(f.latest[y].number, f.latest[x].number)
		})
		ids = ids[:maxNoted]
	}
	b := make([]byte, 0, latestSize*len(ids))
	for _, id := range ids {
		l := f.latest[id]
		b = append(b, id[:]...)
		b = binary.BigEndian.AppendUint64(b, l.sequence)
		b = binary.BigEndian.AppendUint64(b, l.number)
		b = append(b, l.rev[:]...)
	}
	return b
}

// renote reads what noted wrote. What is cut short is passed over: the note is the owner's own.
func (f *follower) renote(b []byte) {
	f.latest = make(map[coffer.ObjectID]latest)
	for ; len(b) >= latestSize && len(f.latest) < maxNoted; b = b[latestSize:] {
		f.latest[coffer.ObjectID(b)] = latest{
			sequence: binary.BigEndian.Uint64(b[16:]), number: binary.BigEndian.Uint64(b[24:]),
			rev: coffer.Rev(b[32:latestSize]),
		}
	}
}

// checkEvery is how many changes are read before the vault is asked for a checkpoint again.
const checkEvery = 1024

func (h *history) begun() bool { return h.number > 0 }

func (h *history) size() uint64 { return h.number }

// seen returns the last checkpoint that was found good.
func (h *history) seen() string {
	if h.watch == nil {
		return ""
	}
	_, note := h.watch.Signed()
	return string(note)
}

// append takes the next change of the feed.
func (h *history) append(c coffer.Change) error {
	if h.watch != nil {
		if err := h.watch.Read(c); err != nil {
			return err
		}
	} else if c.Number != h.number+1 && c.Kind != coffer.VaultErased {
		return coffer.Errorf("feed", coffer.Corrupt, "the vault's feed has a gap")
	}
	h.number = c.Number
	return nil
}

// recall loads what this device knew when it was last used. The caller holds the lock.
func (a *Agent) recall(ctx context.Context) error {
	f := &a.feed
	var n historyNote
	known := a.load(ctx, noteHistory, a.URL, &n)
	if a.Log != nil {
		origin := ledger.Origin(a.URL)
		w, err := ledger.DecodeWatcher(n.Watcher)
		if !known || err != nil || w.Origin() != origin || w.Key().String() != a.LogKey.String() {
			if w, err = ledger.NewWatcher(origin, a.LogKey); err != nil {
				return err
			}
			known = false
		}
		f.history.watch = w
		if !known {
			return a.join(ctx)
		}
	}
	if known {
		f.cursor, f.history.number = n.Cursor, n.Number
		f.renote(n.Latest)
	}
	return nil
}

// joinBeyond is how many changes a device that is new reads from the beginning; of a longer history it only makes sure
// that it is one of what is signed, and goes on from there.
const joinBeyond = 2048

// join begins with what the vault signs now, if its history is long: a new device needs no more than what it touches.
// What was before, a check of the whole vault reads. The caller holds the lock.
func (a *Agent) join(ctx context.Context) error {
	f := &a.feed
	w := f.history.watch
	vault, err := coffer.ParseVaultID(a.URL[strings.LastIndexByte(a.URL, '/')+1:])
	if err != nil {
		return nil // no vault of this program's nodes: its cursors are unknown
	}
	note, err := a.Log.Checkpoint(ctx)
	if errors.Is(err, coffer.NotExist) {
		return nil
	} else if err != nil {
		return err
	}
	c, err := ledger.Open(w.Key(), w.Origin(), note)
	if err != nil {
		return err
	}
	if c.Size <= joinBeyond {
		return nil
	}
	proof, err := a.Log.Inclusion(ctx, c.Size-1, c.Size)
	if err != nil {
		return err
	}
	for last, err := range a.Vault.Changes(ctx, ledger.Cursor(vault, c.Size-1), false) {
		if err != nil {
			return err
		}
		if err := w.Join(note, last, proof); err != nil {
			return err
		}
		f.cursor, f.history.number = last.Cursor, last.Number
		f.history.asked, f.history.checked = true, last.Number
		return nil
	}
	return ledger.ErrWithheld
}

// remember notes what this device knows. The caller holds the lock.
func (a *Agent) remember(ctx context.Context) {
	f := &a.feed
	if a.Journal == nil {
		return
	}
	n := historyNote{Cursor: f.cursor, Number: f.history.number, Latest: a.noted()}
	if w := f.history.watch; w != nil {
		var err error
		if n.Watcher, err = w.Encode(); err != nil {
			return
		}
	}
	a.save(ctx, noteHistory, a.URL, n)
}

// checkpoint asks the vault for a checkpoint of its history: the first time, and now and then. The caller holds the
// lock.
func (a *Agent) checkpoint(ctx context.Context) error {
	h := &a.feed.history
	if h.watch == nil || h.asked && h.number < h.checked+checkEvery {
		return nil
	}
	for {
		due := h.watch.Due()
		note, err := a.Log.Checkpoint(ctx)
		if errors.Is(err, coffer.NotExist) && due == 0 {
			return nil // the vault signs none, and never did
		}
		if err != nil {
			return err
		}
		if err = h.watch.Checkpoint(note, due); err == nil {
			h.asked, h.checked = true, h.number
		}
		if !errors.Is(err, coffer.Conflict) {
			return err // otherwise own writes were acknowledged meanwhile
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// hear compares a checkpoint that another device of the owner has seen with what this one knows.
func (a *Agent) hear(ctx context.Context, note string) error {
	f := &a.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.history.watch
	sum := sha256.Sum256([]byte(note))
	if w == nil || note == "" || sum == f.history.heard {
		return nil
	}
	c, err := ledger.Open(w.Key(), w.Origin(), []byte(note))
	if err != nil {
		return err
	}
	var proof []ledger.Hash
	if c.Size > 0 && c.Size < w.Size() {
		if proof, err = a.Log.Consistency(ctx, c.Size, w.Size()); err != nil {
			return err
		}
	}
	if err := w.Heard([]byte(note), proof); err != nil {
		return err
	}
	f.history.heard = sum
	return nil
}

// wrote notes what the vault acknowledged: it must show in its feed.
func (a *Agent) wrote(changes []coffer.Change) error {
	f := &a.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.history.watch == nil {
		return nil
	}
	for _, c := range changes {
		if err := f.history.watch.Wrote(c); err != nil {
			return err
		}
	}
	a.remember(context.Background()) // the write is done, however the call that it was for ends
	return nil
}
