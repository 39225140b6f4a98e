package hub

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cofferhq/coffer"
)

// Of each grant the days are kept on which it was used. What is asked for by a grant is answered only once that is
// recorded: once a day there is a write, and for the rest of the day it is remembered.

// maxUses is how many days are kept: those of about a year, the newest.
const maxUses = 400

// A day is the number of a day of UTC since 1970-01-01.
type day uint32

func dayOf(t time.Time) day { return day(max(t.Unix(), 0) / (24 * 60 * 60)) }

func (d day) String() string { return time.Unix(int64(d)*24*60*60, 0).UTC().Format(time.DateOnly) }

// useID returns the id of the document that says when the grant of a row was used.
func (k *secrets) useID(row coffer.ObjectID) coffer.ObjectID {
	sum := mac(k.ids[:], "use", string(row[:]))
	return coffer.ObjectID(append([]byte{useDocument}, sum[:15]...))
}

// use records that the grant of a row is being used.
func (h *hub) use(ctx context.Context, row coffer.ObjectID, now time.Time) error {
	today := dayOf(now)
	h.mu.Lock()
	known := h.uses[row] == today
	h.mu.Unlock()
	if known {
		return nil
	}
	id := h.useID(row)
	for range storeAttempts {
		there, err := h.get(ctx, id)
		if err != nil {
			return err
		}
		d := &coffer.Document{ID: id}
		var days []day
		if there != nil {
			if days, err = h.readUses(there); err != nil {
				return err
			}
			d.Sequence, d.Parents = there.Sequence+1, []coffer.Rev{there.Rev()}
		}
		if n := len(days); n == 0 || days[n-1] < today {
			days = append(days, today)
			days = days[max(0, len(days)-maxUses):]
			var b []byte
			for _, u := range days {
				b = binary.BigEndian.AppendUint32(b, uint32(u))
			}
			d.Body = h.body(id, b)
			if _, err := h.vault.Apply(ctx, coffer.Write{Document: d}); errors.Is(err, coffer.Conflict) {
				continue // another request was first
			} else if err != nil {
				return err
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.uses) >= maxKnownUses {
			clear(h.uses)
		}
		h.uses[row] = today
		return nil
	}
	return coffer.Errorf("hub", coffer.Unavailable, "the record of use is changing all the time")
}

// maxKnownUses bounds the grants of one hub of which it is remembered that today's use is recorded.
const maxKnownUses = 1024

func (h *hub) readUses(d *coffer.Document) ([]day, error) {
	b, err := h.read(d)
	if err != nil || len(b)%4 != 0 || len(b) > 4*maxUses {
		return nil, corrupt()
	}
	days := make([]day, 0, len(b)/4+1)
	for ; len(b) > 0; b = b[4:] {
		days = append(days, day(binary.BigEndian.Uint32(b)))
	}
	return days, nil
}

// used returns the days on which the grant of a row was used, oldest first.
func (h *hub) used(ctx context.Context, row coffer.ObjectID) ([]string, error) {
	d, err := h.get(ctx, h.useID(row))
	if d == nil || err != nil {
		return nil, err
	}
	days, err := h.readUses(d)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(days))
	for i, u := range days {
		texts[i] = u.String()
	}
	return texts, nil
}
