package hub

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cofferhq/coffer"
)

// A tail is a late place in the feed of a hub's vault. The feed is read on from there to find its end, so every so
// often the place is marked in the vault, for nodes that open the hub anew.
type tail struct {
	cursor coffer.Cursor
	number uint64
	marked uint64           // number of the place that is marked
	mark   *coffer.Document // that says so; nil until it was looked for, or if there is none
	sought bool
}

// markEvery is how many changes are read, at most, beyond those that came meanwhile, to find the end of the feed.
const markEvery = 4096

// saw takes note of a change that is durable.
func (h *hub) saw(c coffer.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Number > h.tail.number {
		h.tail.cursor, h.tail.number = c.Cursor, c.Number
	}
}

// end returns the place after the last change.
func (h *hub) end(ctx context.Context) (coffer.Cursor, error) {
	t, err := h.late(ctx)
	if err != nil {
		return "", err
	}
	for c, err := range h.vault.Changes(ctx, t.cursor, false) {
		if err != nil {
			return "", err
		}
		t.cursor, t.number = c.Cursor, c.Number
	}
	h.saw(coffer.Change{Cursor: t.cursor, Number: t.number})
	return t.cursor, h.remark(ctx, t)
}

// written marks the tail, if it is time to, after a write. The write has succeeded whatever becomes of that.
func (h *hub) written(ctx context.Context) {
	h.mu.Lock()
	t := h.tail
	h.mu.Unlock()
	if t.number < t.marked+markEvery {
		return
	}
	if t, err := h.late(ctx); err == nil {
		_ = h.remark(ctx, t) // the next write, or listing, tries again
	}
}

// late returns what is known of the tail, which it reads from the mark when nothing is.
func (h *hub) late(ctx context.Context) (tail, error) {
	h.mu.Lock()
	t := h.tail
	h.mu.Unlock()
	if t.sought {
		return t, nil
	}
	d, err := h.get(ctx, markID())
	if err != nil {
		return t, err
	}
	var cursor coffer.Cursor
	var number uint64
	if d != nil {
		b, err := h.read(d)
		if err != nil || len(b) < 8 {
			return t, corrupt()
		}
		number, cursor = binary.BigEndian.Uint64(b), coffer.Cursor(b[8:])
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tail.sought, h.tail.marked, h.tail.mark = true, number, d
	if number > h.tail.number {
		h.tail.number, h.tail.cursor = number, cursor
	}
	return h.tail, nil
}

func markID() coffer.ObjectID { return coffer.ObjectID{markDocument} }

// remark marks the place if the one that is marked is far behind. That another node did so at the same time does no
// harm.
func (h *hub) remark(ctx context.Context, t tail) error {
	if t.number < t.marked+markEvery {
		return nil
	}
	id := markID()
	d := &coffer.Document{ID: id, Body: h.body(id, append(binary.BigEndian.AppendUint64(nil, t.number), t.cursor...))}
	if t.mark != nil {
		d.Sequence, d.Parents = t.mark.Sequence+1, []coffer.Rev{t.mark.Rev()}
	}
	_, err := coffer.Put(ctx, h.vault, d)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case errors.Is(err, coffer.Conflict):
		h.tail.sought = false
		return nil
	case err != nil:
		return err
	}
	h.tail.marked, h.tail.mark = t.number, d
	return nil
}
