package agent

import (
	"context"
	"crypto/subtle"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/jose"
)

// A box is a record of six slots. In each, the keys of what somebody was granted are sealed to that reader, so that new
// keys reach him without a new link. Slots that are not in use hold the like, sealed to keys that nobody has.
//
// One box is written with every commit: whether somebody was granted something cannot be seen.
type box struct {
	Type  string      `json:"type"`
	Slots []base64url `json:"slots"`

	there *known
}

const (
	boxType  = "coffer/box"
	boxSlots = 6
	slotSize = 640 // bytes of a slot's plaintext, with padding
	slotInfo = "coffer slot 2"
)

// A slot is what is sealed to a reader.
type slot struct {
	Grant     string    `json:"grant"`
	Ref       refJSON   `json:"ref"`
	Until     time.Time `json:"until"`
	By        string    `json:"by"`
	Statement base64url `json:"statement,omitempty"`
}

func (s *slot) statement() ([]byte, error) {
	c := *s
	c.Statement = nil
	return signable("slot", c)
}

// numbered returns the place of one of several records of a kind.
func (a *Agent) numbered(ctx context.Context, kind string, n int) (seal.Ref, error) {
	return a.place(ctx, kind+" "+strconv.Itoa(n))
}

// box returns the box with the number, a new one if there is none yet, to be changed.
func (t *txn) box(ctx context.Context, n int) (*box, error) {
	if b := t.boxes[n]; b != nil {
		return b, nil
	}
	b := &box{Type: boxType}
	if n < t.head.Boxes {
		ref, err := t.a.placeBy(ctx, t.by, "box "+strconv.Itoa(n))
		if err != nil {
			return nil, err
		}
		k, err := t.a.record(ctx, ref, t.a.mine)
		if err != nil {
			return nil, gone(err)
		}
		if b, err = decodeBox(k.opened.Content); err != nil {
			return nil, err
		}
		b.there = k
	} else {
		for range boxSlots {
			s, err := seal.DeliverNobody(slotSize)
			if err != nil {
				return nil, err
			}
			b.Slots = append(b.Slots, s)
		}
	}
	t.boxes[n] = b
	return b, nil
}

func decodeBox(content []byte) (*box, error) {
	var b box
	if err := jose.DecodeOpen(content, &b); err != nil || b.Type != boxType || len(b.Slots) != boxSlots {
		return nil, coffer.Errorf("box", coffer.Corrupt, "not what it should be")
	}
	return &b, nil
}

// fill seals the keys of what a grant is for into its slot.
func (t *txn) fill(ctx context.Context, g *grantRecord, ref seal.Ref, to []byte) error {
	b, err := t.box(ctx, g.Box)
	if err != nil {
		return err
	}
	if !g.writes() {
		ref.Write = seal.WriteKey{}
	}
	s := slot{Grant: g.ID, Ref: newRefJSON(ref), Until: g.Until, By: t.a.Keyring.DID()}
	if s.Statement, err = t.a.sign(ctx, &s); err != nil {
		return err
	}
	plain, err := jose.Encode(s)
	if err != nil {
		return err
	}
	if plain, err = seal.PadDelivery(plain, slotSize); err != nil {
		return err
	}
	if b.Slots[g.Slot], err = seal.Deliver(to, []byte(slotInfo), plain); err != nil {
		return err
	}
	g.Delivered = delivered(ref)
	t.changedGrant(g)
	return nil
}

// empty makes a slot one that opens for nobody.
func (t *txn) empty(ctx context.Context, g *grantRecord) error {
	b, err := t.box(ctx, g.Box)
	if err != nil {
		return err
	}
	b.Slots[g.Slot], err = seal.DeliverNobody(slotSize)
	return err
}

// deliver sends readers the keys that the commit changed of what they were granted.
func (t *txn) deliver(ctx context.Context) error {
	t.acquaint(ctx)
	if t.head.Boxes == 0 {
		return nil
	}
	list, err := t.grants(ctx)
	if err != nil {
		return err
	}
	for id, ref := range t.wrote {
		for _, g := range list.byScope[id] {
			if !g.lasts() || subtle.ConstantTimeCompare(g.Delivered, delivered(ref)) == 1 {
				continue
			}
			c, err := t.contact(ctx, g.With)
			if err != nil {
				return err
			}
			if err := t.fill(ctx, g, ref, c.Delivery); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBoxes makes the boxes that changed part of the commit, or else one as it was, so that there is always one.
func (t *txn) putBoxes(ctx context.Context) error {
	if len(t.boxes) == 0 {
		if _, err := t.box(ctx, max(0, t.head.Boxes-1)); err != nil {
			return err
		}
	}
	boxes := t.head.Boxes
	for n, b := range t.boxes {
		content, err := jose.Encode(b)
		if err != nil {
			return err
		}
		ref, err := t.a.numbered(ctx, "box", n)
		if err != nil {
			return err
		}
		if err := t.putRecord(ctx, ref, b.there, content, nil); err != nil {
			return err
		}
		boxes = max(boxes, n+1)
	}
	t.next.Boxes = boxes
	return nil
}

// vacant returns a slot for a grant. All grants of one commit get one box if they fit into one.
func (t *txn) vacant(ctx context.Context) (n, slot int, err error) {
	list, err := t.grants(ctx)
	if err != nil {
		return 0, 0, err
	}
	n = max(0, t.head.Boxes-1)
	for b := range t.boxes {
		n = max(n, b)
	}
	for ; ; n++ {
		var used [boxSlots]bool
		for _, g := range list.all {
			if g.Box == n && g.lasts() {
				used[g.Slot] = true
			}
		}
		// Any one: which it is tells the reader nothing of how many there are.
		for _, i := range rand.Perm(boxSlots) {
			if !used[i] {
				return n, i, nil
			}
		}
	}
}
