package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// The size of a history. It keeps the check, whose cost grows fast with how many operations overlap, within seconds.
const (
	linearVaults  = 3
	linearClients = 5 // in each vault
	linearObjects = 3
	linearTags    = 2
	linearTime    = 20 * time.Second // for the check of one history
)

// Linear checks that a store is linearizable: concurrent clients put revisions in the places of others, claim and
// release unique tags, erase, change the law and rest on it, and read (Get, Query, Changes, Usage), in few objects of a
// few vaults, all with the times of their calls; and there must be one order of all of it, in agreement with those
// times, in which each answer is right.
//
// Since Get and Query may see a commit that is about to be acknowledged while Changes and Usage must not, there must be
// two such orders: of the writes and the one sort of reads, and of the writes and the other. What Get and Query saw
// before the power was cut may be lost then, if nobody was told that it is durable: of them the one order holds until
// there only.
//
// A store to share is opened twice, and half of the clients work at each.
func Linear(t *testing.T, disk Disk) {
	open := disk(t)
	stores := []store.Store{open()}
	if _, ok := stores[0].(store.Shared); ok {
		stores = append(stores, open())
	}
	defer func() {
		for _, s := range stores {
			_ = s.Close()
		}
	}()
	r := rng(t)
	for range rounds(15) {
		h := newHistory(r)
		h.work(t.Context(), 40, stores...)
		h.look(t.Context(), stores[0])
		if h.unknown > 0 {
			t.Fatalf("%d operations failed", h.unknown)
		}
		if err := h.check(linearTime); err != nil {
			t.Fatal(err)
		}
	}
}

// An attempt is an operation of a client on its vault; a sight is what it was answered.
type attempt struct {
	vault  int
	act    act
	object uint8
	parent uint16 // of a put: the revision to be replaced, 0 for none
	value  uint16 // of a put or an erasure: what it is called in the feed
	size   uint16
	claims uint8  // of a put: the tags, a bit for each
	law    uint64 // that it rests on, if it does
	lawful bool
	tag    uint8  // of a query; all that is present if there is no such tag
	after  uint16 // of changes
	later  bool   // after a power cut
	still  bool   // while nobody writes: what is seen then is durable
}

type act uint8

const (
	putting act = iota
	erasing
	governing
	getting
	querying
	following
	measuring
)

type outcome uint8

const (
	done outcome = iota
	conflict
	moved
	absent
	unknown // it may have happened, or may yet happen
)

type sight struct {
	outcome outcome
	number  uint64                // of the change of a put or an erasure
	values  [linearObjects]uint16 // of Get: of its object; of Query: of all that were found
	feed    string                // two bytes for each change
	usage   store.Usage
}

// A situation is what a vault is in the model. It is compared with ==.
type situation struct {
	present [linearObjects]uint16 // the revision, 0 for none
	taken   [linearObjects]bool
	sizes   [linearObjects]uint16
	claims  [linearObjects]uint8
	feed    string
	law     uint64
}

// step says whether an attempt could have been answered so, and what the vault is then.
func (s situation) step(a attempt, got sight) (bool, situation) {
	switch a.act {
	case getting:
		want := s.present[a.object]
		return got.values[a.object] == want && (got.outcome == absent) == (want == 0), s
	case querying:
		for i, v := range s.present {
			if a.tag < linearTags && s.claims[i]&(1<<a.tag) == 0 {
				v = 0
			}
			if got.values[i] != v {
				return false, s
			}
		}
		return true, s
	case following:
		from := min(2*int(a.after), len(s.feed))
		return got.feed == s.feed[from:], s
	case measuring:
		want := store.Usage{Changes: uint64(len(s.feed) / 2), Law: s.law}
		for i, v := range s.present {
			if v != 0 {
				want.Documents++
				want.Bytes += int64(s.sizes[i])
			}
		}
		return got.usage == want, s
	}
	next, outcome := s.write(a)
	if got.outcome == unknown { // if it can happen now it does; if it never did, its turn comes after everything
		return true, next
	}
	if got.outcome != outcome {
		return false, s
	}
	return outcome != done || a.act == governing || got.number == uint64(len(next.feed)/2), next
}

// write returns what a write does, and how it is answered.
func (s situation) write(a attempt) (situation, outcome) {
	if a.lawful && a.law != s.law {
		return s, moved
	}
	next := s
	o := a.object
	switch a.act {
	case governing:
		next.law++
		return next, done
	case erasing:
		if s.present[o] == 0 {
			return s, absent
		}
		next.present[o], next.claims[o], next.sizes[o] = 0, 0, 0
	default:
		if s.present[o] != a.parent || a.parent == 0 && s.taken[o] {
			return s, conflict
		}
		for i, claims := range s.claims {
			if i != int(o) && claims&a.claims != 0 {
				return s, conflict
			}
		}
		next.present[o], next.taken[o], next.claims[o], next.sizes[o] = a.value, true, a.claims, a.size
	}
	next.feed += string(binary.BigEndian.AppendUint16(nil, a.value))
	return next, done
}

// A history is what clients did to a store.
type history struct {
	ids     [linearVaults]coffer.VaultID
	objects [linearObjects]coffer.ObjectID
	start   time.Time
	rng     *rand.Rand

	mu         sync.Mutex
	operations []porcupine.Operation
	clients    int
	values     int
	unknown    int
	failures   []error
	at         int // calls then, once, when there are so many operations
	then       func()
	later      bool // the power was cut
}

// newHistory begins a history in new vaults.
func newHistory(r *rand.Rand) *history {
	h := &history{start: time.Now(), rng: r}
	x := dice{Rand: r}
	for i := range h.ids {
		h.ids[i] = coffer.VaultID(x.newID())
	}
	for i := range h.objects {
		h.objects[i] = x.newID()
	}
	return h
}

// A client is one that works in a vault, one operation after the other.
type client struct {
	*history
	*rand.Rand
	id    int
	vault int
	store store.Store
	still bool
	seen  [linearObjects]*coffer.Document // as last read
	law   uint64
	far   uint16 // how far it has followed the feed
}

// work lets clients, in each vault five, do so many operations each, unless ctx ends or one of unknown outcome comes
// before.
func (h *history) work(ctx context.Context, each int, stores ...store.Store) {
	var all sync.WaitGroup
	for i := range linearVaults * linearClients {
		c := h.client(i%linearVaults, stores[i/linearVaults%len(stores)])
		all.Go(func() {
			for range each {
				if !c.act(ctx) {
					return
				}
			}
		})
	}
	all.Wait()
}

func (h *history) client(vault int, s store.Store) *client {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients++
	return &client{
		history: h, Rand: rand.New(rand.NewPCG(h.rng.Uint64(), 0)), id: h.clients - 1, vault: vault, store: s,
	}
}

// look reads everything once, as one more client: what is there in the end must be right, too.
func (h *history) look(ctx context.Context, s store.Store) {
	for vault := range linearVaults {
		c := h.client(vault, s)
		c.still = true
		for o := range linearObjects {
			c.get(ctx, uint8(o))
		}
		for tag := range linearTags + 1 {
			c.query(ctx, uint8(tag))
		}
		c.follow(ctx, 0)
		c.measure(ctx)
	}
}

// act does one operation, and reports whether its outcome is known.
func (c *client) act(ctx context.Context) bool {
	o := uint8(c.IntN(linearObjects))
	switch k := c.IntN(100); {
	case k < 22:
		return c.get(ctx, o)
	case k < 32:
		return c.query(ctx, uint8(c.IntN(linearTags+1)))
	case k < 42:
		return c.follow(ctx, uint16(c.IntN(int(c.far)+1)))
	case k < 50:
		return c.measure(ctx)
	case k < 54:
		return c.write(ctx, attempt{act: governing}, store.Write{Govern: true})
	case k < 57:
		id := c.objects[o]
		return c.write(ctx, attempt{act: erasing, object: o}, store.Write{Erase: &id})
	case k < 75: // most likely with success
		return c.get(ctx, o) && c.put(ctx, o)
	default:
		return c.put(ctx, o)
	}
}

func (c *client) put(ctx context.Context, o uint8) bool {
	a := attempt{act: putting, object: o}
	d := &coffer.Document{ID: c.objects[o], Body: make([]byte, 2+c.IntN(20)), Tags: []coffer.Tag{tag("all", "")}}
	if p := c.seen[o]; p != nil {
		d.Parents, d.Sequence, a.parent = []coffer.Rev{p.Rev()}, p.Sequence+1, binary.BigEndian.Uint16(p.Body)
	}
	for i := range linearTags {
		if c.IntN(3) == 0 {
			a.claims |= 1 << i
			d.Tags = append(d.Tags, uniqueTag("name", fmt.Sprint(i)))
		}
	}
	a.size = uint16(size(d))
	return c.write(ctx, a, store.Write{Document: d})
}

// write does a write, sometimes on the law that the client has read.
func (c *client) write(ctx context.Context, a attempt, w store.Write) bool {
	a.value = c.name()
	if c.IntN(4) == 0 {
		a.lawful, a.law = true, c.law
		w.Law = &a.law
	}
	if d := w.Document; d != nil {
		binary.BigEndian.PutUint16(d.Body, a.value)
	}
	w.Vault, w.By, w.Time = c.ids[c.vault], strconv.Itoa(int(a.value)), instant
	return c.record(a, func(got *sight) error {
		results, err := c.store.Apply(ctx, w)
		switch {
		case err == nil && a.act != governing:
			got.number = results[0].Change.Number
			if w.Document != nil && c.IntN(2) == 0 { // the others hear of it when they read
				c.seen[a.object] = w.Document
			}
		case errors.Is(err, store.ErrMoved):
			got.outcome = moved
		case errors.Is(err, coffer.Conflict):
			got.outcome = conflict
		case errors.Is(err, coffer.NotExist):
			got.outcome = absent
		case err != nil:
			got.outcome = unknown
			return err
		}
		return nil
	})
}

// name returns a value that no other write of the history has. There are fewer than its type has.
func (h *history) name() uint16 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.values++
	if h.values > math.MaxUint16 {
		panic("a history of too many writes")
	}
	return uint16(h.values)
}

func (c *client) get(ctx context.Context, o uint8) bool {
	return c.record(attempt{act: getting, object: o}, func(got *sight) error {
		d, err := c.store.Get(ctx, c.ids[c.vault], c.objects[o])
		if errors.Is(err, coffer.NotExist) {
			got.outcome = absent
			c.seen[o] = nil
			return nil
		}
		if err != nil {
			return err
		}
		got.values[o] = valueOf(d)
		c.seen[o] = d
		return nil
	})
}

func (c *client) query(ctx context.Context, tag uint8) bool {
	return c.record(attempt{act: querying, tag: tag}, func(got *sight) error {
		q := coffer.Query{Index: "k", Has: []string{"all"}}
		if tag < linearTags {
			q = coffer.Query{Index: "k", Equals: []map[string]string{{"name": fmt.Sprint(tag)}}}
		}
		for d, err := range c.store.Query(ctx, c.ids[c.vault], q) {
			if err != nil {
				return err
			}
			for o, id := range c.objects {
				if id == d.ID {
					got.values[o] = valueOf(d)
					c.seen[o] = d
				}
			}
		}
		return nil
	})
}

// valueOf returns the value of a document, or one that nobody wrote.
func valueOf(d *coffer.Document) uint16 {
	if len(d.Body) < 2 {
		return math.MaxUint16
	}
	return binary.BigEndian.Uint16(d.Body)
}

func (c *client) follow(ctx context.Context, after uint16) bool {
	return c.record(attempt{act: following, after: after}, func(got *sight) error {
		var feed []byte
		for change, err := range c.store.Changes(ctx, c.ids[c.vault], uint64(after)) {
			if err != nil {
				return err
			}
			value, err := strconv.ParseUint(change.By, 10, 16)
			if err != nil || change.Number != uint64(after)+uint64(len(feed)/2)+1 {
				value = math.MaxUint16 // what nobody wrote
			}
			feed = binary.BigEndian.AppendUint16(feed, uint16(value))
		}
		got.feed = string(feed)
		c.far = max(c.far, after+uint16(len(feed)/2))
		return nil
	})
}

func (c *client) measure(ctx context.Context) bool {
	return c.record(attempt{act: measuring}, func(got *sight) (err error) {
		got.usage, err = c.store.Usage(ctx, c.ids[c.vault])
		c.law = got.usage.Law
		return err
	})
}

// record adds an operation to the history. Of one that failed it is not known when, or whether, it happens; reads that
// failed are left out. It reports whether the outcome is known.
func (c *client) record(a attempt, do func(*sight) error) bool {
	a.vault, a.later, a.still = c.vault, c.history.later, c.still
	var got sight
	called := time.Since(c.start)
	err := do(&got)
	returned := time.Since(c.start)
	h := c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	op := porcupine.Operation{ClientId: c.id, Input: a, Call: int64(called), Output: got, Return: int64(returned)}
	if err != nil {
		h.unknown++
		h.failures = append(h.failures, err)
		if a.act > governing {
			return false
		}
		op.Return = math.MaxInt64
	}
	h.operations = append(h.operations, op)
	if h.then != nil && len(h.operations) == h.at {
		h.then()
	}
	return err == nil
}

// check returns nil if there are the orders that there must be, and an error if there are none or if none was found in
// time.
func (h *history) check(limit time.Duration) error {
	m := porcupine.Model{
		Partition: partition,
		Init:      func() any { return situation{} },
		Step: func(state, input, output any) (bool, any) {
			ok, next := state.(situation).step(input.(attempt), output.(sight))
			return ok, next
		},
	}
	result := porcupine.CheckOperationsTimeout(m, h.operations, limit)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return errNotLinearizable
	}
	return fmt.Errorf("no order of %d operations was found in %v; give the seed a try", len(h.operations), limit)
}

var errNotLinearizable = errors.New("no order of operations explains what clients were answered")

// partition returns the operations of each vault twice: the writes with the reads that may be early, before a power
// cut, and the writes with those of what is durable.
func partition(all []porcupine.Operation) (parts [][]porcupine.Operation) {
	parts = make([][]porcupine.Operation, 2*linearVaults)
	for _, op := range all {
		a := op.Input.(attempt)
		if a.act <= querying && !a.later {
			parts[2*a.vault] = append(parts[2*a.vault], op)
		}
		if a.act <= governing || a.act > querying || a.still {
			parts[2*a.vault+1] = append(parts[2*a.vault+1], op)
		}
	}
	return parts
}
