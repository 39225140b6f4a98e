package hub

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

// An epochKey is the key of all objects of a kind that are sealed during an epoch. An epoch ends when somebody loses
// the right to read the kind.
type epochKey [32]byte

// maxEpoch bounds how often the keys of a kind can change.
const maxEpoch = 1000

// What the owner keeps for himself in his hub.
const (
	ownContext     = "urn:coffer:hub"
	privateContext = "urn:coffer:hub:private"
	epochLabel     = "coffer hub epoch 1"
	privateLabel   = "coffer hub private 1"
	storeType      = "Store"
)

var (
	epochKind = Kind{Interface: coffer.CollectionsInterface, Context: ownContext, Type: "Epoch"}
	noteKind  = Kind{Interface: coffer.CollectionsInterface, Context: ownContext, Type: "Note"}
)

// digest names a kind without saying it. All keys of a Store are sealed alike.
func (k Kind) digest() string {
	if k.Interface == coffer.StoresInterface {
		k.Type = storeType
	}
	private := "0"
	if k.Private {
		private = "1"
	}
	sum := sha256.Sum256(info("coffer hub kind 1", k.Interface, k.Context, k.Type, private))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ownKeys returns the owner's keys of an epoch: the first is the one to write under, the others are from before the
// vault secret was rotated.
func (h *Hub) ownKeys(ctx context.Context, k Kind, epoch uint32) ([]epochKey, error) {
	label := epochLabel + "\x00" + k.digest() + "\x00" + strconv.FormatUint(uint64(epoch), 10)
	list := make([]epochKey, len(h.owners))
	for i, o := range h.owners {
		b, err := o.Derive(ctx, label)
		if err != nil {
			return nil, err
		}
		list[i] = epochKey(b)
	}
	return list, nil
}

// wire returns the kind as the hub is to see it. NotExist if it is a private one that was not granted.
func (h *Hub) wire(ctx context.Context, k Kind) (Kind, error) {
	if !k.Private {
		return k, nil
	}
	if h.mine {
		// Of the earliest secret that is kept: the names must not change with each rotation.
		key, err := h.owners[len(h.owners)-1].Derive(ctx, privateLabel)
		if err != nil {
			return k, err
		}
		m := hmac.New(sha256.New, key)
		m.Write(info(privateLabel, k.Interface, k.Context, k.Type))
		k.Context, k.Type = privateContext, base64.RawURLEncoding.EncodeToString(m.Sum(nil))
		return k, nil
	}
	for _, age := range [...]time.Duration{anyAge, justNow} {
		list, err := h.deliveries(ctx, age)
		if err != nil {
			return k, err
		}
		for _, g := range list {
			if g.Keys.Kind.kind() == k {
				k.Context, k.Type = g.permission.Context, g.permission.Type
				return k, nil
			}
		}
	}
	return k, coffer.Errorf("hub", coffer.Denied, "the kind was not granted")
}

// epochs are the owner's present epochs.
type epochs struct {
	read   time.Time // when they were last read; zero: never
	since  string
	of     map[string]*epochRecord // by Kind.digest
	noted  map[string]uint32       // what the journal knew
	loaded bool
}

// An epochRecord says that a kind has come to an epoch, and that no state is left of those before From. Each is an
// object of its own: whatever two devices write at once, the greatest numbers count.
type epochRecord struct {
	Kind  kindMembers `json:"kind"`
	Epoch uint32      `json:"epoch"`
	From  uint32      `json:"from"`

	began time.Time // when the epoch did, as the device that began it says; zero: long ago
}

type kindMembers struct {
	Interface string `json:"interface"`
	Context   string `json:"context"`
	Type      string `json:"type"`
	Private   bool   `json:"private,omitzero"`
}

func membersOf(k Kind) kindMembers        { return kindMembers(k) }
func (m kindMembers) kind() Kind          { return Kind(m) }
func (e *epochs) get(k Kind) *epochRecord { return e.of[k.digest()] }

// fresh is how long it is believed that nobody else has ended an epoch: so long what is written may be sealed under former
// keys. heard is after what time everybody who writes knows.
const (
	fresh = 30 * time.Second
	heard = 2 * fresh
)

// latest is present, as the hub knows it now.
func (h *Hub) latest(ctx context.Context, k Kind) (epochRecord, error) {
	h.mu.Lock()
	h.epochs.read = time.Time{}
	h.mu.Unlock()
	return h.present(ctx, k)
}

// present returns the record of a kind's epoch, zero if it has none.
func (h *Hub) present(ctx context.Context, k Kind) (epochRecord, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.readEpochs(ctx); err != nil {
		return epochRecord{}, err
	}
	r := epochRecord{Kind: membersOf(k)}
	if found := h.epochs.get(k); found != nil {
		r = *found
	}
	r.Epoch = max(r.Epoch, h.epochs.noted[k.digest()])
	return r, nil
}

// readEpochs reads what was written since the last time. The caller has the lock.
func (h *Hub) readEpochs(ctx context.Context) error {
	e := &h.epochs
	now := h.o.Now()
	if !e.loaded {
		e.noted = make(map[string]uint32)
		h.loadNote(ctx, epochLabel, &e.noted)
		e.of, e.loaded = make(map[string]*epochRecord), true
	}
	if !e.read.IsZero() && now.Sub(e.read) < fresh && !now.Before(e.read) {
		return nil
	}
	for o, err := range h.list(ctx, epochKind, &coffer.ObjectQuery{NoDeleted: true, Since: e.since}, &e.since) {
		if err != nil {
			if errors.Is(err, coffer.Corrupt) {
				continue // somebody else's, who was let write here
			}
			return err
		}
		var r epochRecord
		if o.Author != h.o.Owner || o.UpdatedBy != h.o.Owner || !o.Sealed || o.Into(&r) != nil ||
			r.Epoch > maxEpoch || r.From > r.Epoch {
			continue
		}
		r.began = o.CreatedAt
		e.merge(r)
	}
	e.read = now
	h.noteEpochs(ctx)
	return nil
}

func (e *epochs) merge(r epochRecord) {
	old := e.get(r.Kind.kind())
	if old == nil {
		e.of[r.Kind.kind().digest()] = &r
		return
	}
	if r.Epoch > old.Epoch || r.Epoch == old.Epoch && r.began.Before(old.began) {
		old.Epoch, old.began = r.Epoch, r.began
	}
	old.From = max(old.From, r.From)
}

func (h *Hub) noteEpochs(ctx context.Context) {
	e := &h.epochs
	changed := false
	for d, r := range e.of {
		if r.Epoch > e.noted[d] {
			e.noted[d], changed = r.Epoch, true
		}
	}
	if changed {
		h.saveNote(ctx, epochLabel, e.noted)
	}
}

// advance writes that a kind has come to an epoch.
func (h *Hub) advance(ctx context.Context, r epochRecord) error {
	if _, err := h.Put(ctx, epochKind, r, nil); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r.began = h.o.Now()
	h.epochs.merge(r)
	h.noteEpochs(ctx)
	return nil
}

// unfinished returns the records of kinds of which there may be states of former epochs.
func (h *Hub) unfinished(ctx context.Context) ([]epochRecord, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.readEpochs(ctx); err != nil {
		return nil, err
	}
	var list []epochRecord
	for _, r := range h.epochs.of {
		if r.From < r.Epoch {
			list = append(list, *r)
		}
	}
	slices.SortFunc(list, func(a, b epochRecord) int {
		return strings.Compare(a.Kind.kind().digest(), b.Kind.kind().digest())
	})
	return list, nil
}

// A writing is what an object is to be sealed with.
type writing struct {
	key    objectKey
	epoch  uint32
	salt   salt
	handed bool // there is no key: it is sealed to the owner alone
}

// toWrite returns what to seal an object of the kind with. e is how it is sealed now, nil if it is not.
func (h *Hub) toWrite(ctx context.Context, k Kind, e *envelope) (writing, error) {
	w := writing{salt: newSalt()}
	if e != nil && e.keyed {
		w.salt = e.salt
	}
	if !h.mine {
		return h.guestWriting(ctx, k, w)
	}
	if k != epochKind && k != noteKind {
		r, err := h.present(ctx, k)
		if err != nil {
			return w, err
		}
		w.epoch = r.Epoch
	}
	keys, err := h.ownKeys(ctx, k, w.epoch)
	if err == nil {
		w.key = keys[0].object(w.salt)
	}
	return w, err
}

// openKeyed opens what is sealed under an object's key. Denied when that was not given.
func (h *Hub) openKeyed(ctx context.Context, k Kind, e *envelope) (*inside, error) {
	if !h.mine {
		return h.openAsGuest(ctx, k, e)
	}
	keys, err := h.ownKeys(ctx, k, e.epoch)
	if err != nil {
		return nil, err
	}
	for n, key := range keys {
		if in, err := e.open(key.object(e.salt)); err == nil {
			e.former = n > 0
			return in, nil
		}
	}
	return nil, errSealed
}
