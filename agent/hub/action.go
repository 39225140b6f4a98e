package hub

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
)

// An Action is a message that asks or tells somebody something.
type Action struct {
	Context string // of the schema; "" is "schema.org"
	Type    string // "RsvpAction"
	Value   any
}

// SendOptions say more of how an action is sent.
type SendOptions struct {
	// Introduction is a text that the recipient made with [Hub.Introduce].
	Introduction string
	// Work is how many bits of proof of work are done when the recipient's hub asks for it; each bit doubles the time. 0
	// is 20, about a second; negative: none.
	Work int
	// Copy is the sender's own hub. A sealed copy of what is sent is kept there, for [Hub.Thread] to show.
	Copy *Hub

	thread, parent URI
}

const defaultWork = 20

// Send leaves an action in the hub of its owner, sealed for him alone, and returns where it is. Nobody needs a
// permission for that; it cannot be read back. o may be nil.
//
// Denied when the hub takes nothing from strangers, or asks for more work than is done; Exhausted when too much was
// sent or it is too large.
func (h *Hub) Send(ctx context.Context, a Action, o *SendOptions) (URI, error) {
	if o == nil {
		o = &SendOptions{}
	}
	k := Kind{Interface: coffer.ActionsInterface, Context: cmp.Or(a.Context, "schema.org"), Type: a.Type}
	k, err := k.check()
	if err != nil {
		return URI{}, err
	}
	value, err := encodeValue(a.Value)
	if err != nil {
		return URI{}, err
	}
	in := &inside{
		Owner: h.o.Owner, Interface: k.Interface, Context: k.Context, Type: k.Type, Author: h.me, Value: value,
	}
	to, err := h.reader(ctx, h.o.Owner)
	if err != nil {
		return URI{}, err
	}
	payload, err := in.sealTo(to)
	if err != nil {
		return URI{}, err
	}
	members := make(map[string]any)
	if o.thread.Owner != "" {
		members["thread"] = h.link(o.thread)
	}
	if o.parent.Owner != "" {
		members["parent"] = h.link(o.parent)
	}
	m, err := meta(nil, members)
	if err != nil {
		return URI{}, err
	}
	header := merge.Header{
		Interface: k.Interface, Context: k.Context, Type: k.Type,
		Operation: merge.Create, Strategy: merge.Basic, Meta: m,
	}
	id, err := h.write(ctx, header, payload, nil, unsigned{Introduction: o.Introduction}.put)
	var f *coffer.Fault
	if errors.Is(err, coffer.Denied) && errors.As(err, &f) && f.Target == "commit.header.work" && o.Work >= 0 {
		work := func(c *coffer.Commit) error {
			n, err := prove(ctx, c.Rev(), cmp.Or(o.Work, defaultWork))
			if err != nil {
				return err
			}
			return unsigned{Introduction: o.Introduction, Work: n}.put(c)
		}
		id, err = h.write(ctx, header, payload, nil, work)
	}
	if err != nil {
		return URI{}, err
	}
	at := URI{Owner: h.o.Owner, Interface: k.Interface, Context: k.Context, Type: k.Type, ID: id}
	if o.Copy != nil {
		thread := o.thread
		if thread.Owner == "" {
			thread = at
		}
		_, err = o.Copy.Put(ctx, sentKind, sent{
			URI: at, To: h.o.Owner, Value: value, Thread: thread, Parent: o.parent, At: h.o.Now(),
		}, nil)
	}
	return at, err
}

// link returns how an action is named in the meta of another in this hub.
func (h *Hub) link(u URI) string {
	if u.Owner == h.o.Owner {
		return u.ID.String()
	}
	return u.String()
}

// unlink reads what link returned; what is neither is the zero URI. Of an action in this hub the kind is still missing:
// see locate.
func (h *Hub) unlink(text string) URI {
	if id, err := coffer.ParseCommitRev(text); err == nil {
		return URI{Owner: h.o.Owner, Interface: coffer.ActionsInterface, ID: id}
	}
	u, err := ParseURI(text)
	if err != nil || u.ID == (coffer.CommitRev{}) {
		return URI{}
	}
	return u
}

// unsigned is what stands in the header of a commit that is not signed.
type unsigned struct {
	Introduction string `json:"introduction,omitempty"`
	Work         string `json:"work,omitempty"`
}

func (u unsigned) put(c *coffer.Commit) error {
	if u == (unsigned{}) {
		return nil
	}
	b, err := jose.Encode(u)
	c.Header = b
	return err
}

// prove returns a number n, in decimal, such that SHA-256("coffer work 1" 0x00 rev "." n) begins with so many zero
// bits.
func prove(ctx context.Context, rev coffer.CommitRev, zeros int) (string, error) {
	text := append([]byte("coffer work 1\x00"+rev.String()), '.')
	for n := uint64(0); ; n++ {
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return "", coffer.E("send", coffer.Unavailable, ctx.Err())
		}
		sum := sha256.Sum256(strconv.AppendUint(text, n, 10))
		found := 0
		for _, b := range sum {
			if found += bits.LeadingZeros8(b); b != 0 {
				break
			}
		}
		if found >= zeros {
			return strconv.FormatUint(n, 10), nil
		}
	}
}

// Introduce returns a text with which an identity, or everybody ([coffer.Everybody]), can send the owner actions until
// a time as if known: without proof of work and at any rate; and an identity that is named, also when strangers have
// filled the inbox.
func (h *Hub) Introduce(ctx context.Context, did string, until time.Time) (string, error) {
	if err := h.own("introduce"); err != nil {
		return "", err
	}
	return h.signJWT(ctx, struct {
		Sub string `json:"sub"`
		Exp string `json:"exp"`
		JTI string `json:"jti"`
	}{did, until.UTC().Format(time.RFC3339), rand.Text()})
}

// The states of messages.
const (
	New  = "new"
	Seen = "seen"
	Done = "done"
)

// A Message is an action in the owner's hub, or the copy of one that the owner sent.
type Message struct {
	URI    URI
	From   string    // who signed it
	At     time.Time // when it was sent, as the sender says
	Kind   Kind
	State  string // New, Seen or Done; "" for copies
	Thread URI    // the first message of the thread; of the first itself its own
	Parent URI    // which it answers; zero: none. In another hub than the owner's, its kind is as the sender says
	Copy   bool   // the owner sent it: URI is in the recipient's hub

	// Value is the JSON of what was sent. It is nil when Unreadable: not sealed for the owner, or not as it should be.
	// That is the sender's doing; such a message is kept and shown like one of an unknown type.
	Value      json.RawMessage
	Unreadable bool

	record *record
}

// Into reads the value into v. Invalid if it has another form.
func (m *Message) Into(v any) error {
	if err := json.Unmarshal(m.Value, v); err != nil {
		return coffer.Errorf("message", coffer.Invalid, "the message has another form")
	}
	return nil
}

// Inbox yields the messages that were left for the owner and are not done, in the order in which they came; with all,
// those that are done, too.
//
// An error that comes with a message is about that one, and the sequence goes on: Unavailable when the identity of who
// is said to have sent it cannot be reached now, Corrupt when he did not, or is no more. Such a message has no value, and
// all that it says of itself is the hub's word; but it can be discarded.
func (h *Hub) Inbox(ctx context.Context, all bool) iter.Seq2[*Message, error] {
	filter := "NOT meta.state:" + Done
	if all {
		filter = ""
	}
	return func(yield func(*Message, error) bool) {
		for m, err := range h.messages(ctx, filter) {
			if m != nil && m.State == Done && !all {
				continue
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

func (h *Hub) messages(ctx context.Context, filter string) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		if err := h.own("inbox"); err != nil {
			yield(nil, err)
			return
		}
		q := coffer.ObjectQuery{Interface: coffer.ActionsInterface, NoDeleted: true, Filter: filter}
		known := make(map[coffer.CommitRev]Kind)
		var list []*Message
		flush := func() bool {
			if err := h.locate(ctx, known, list...); err != nil {
				yield(nil, err)
				return false
			}
			for _, m := range list {
				if !yield(m, nil) {
					return false
				}
			}
			list = list[:0]
			return true
		}
		for r, err := range h.pages(ctx, &q, nil) {
			var m *Message
			var of *claim
			switch {
			case errors.As(err, &of) && of.record.Created.Header.Interface == coffer.ActionsInterface:
				m, err = h.claimed(of.record), of.error
			case err != nil:
			case r.Deleted:
				continue
			default:
				m, err = h.message(ctx, r)
			}
			if err == nil {
				list = append(list, m)
			}
			if (err != nil || len(list) == locatedAtOnce) && !flush() || err != nil && !yield(m, err) {
				return
			}
		}
		flush()
	}
}

// locatedAtOnce is how many messages' parents and threads are looked up at a time.
const locatedAtOnce = coffer.MaxQueryIDs / 2

// Message returns one message. NotExist if there is none; the other errors are as for [Hub.Inbox].
func (h *Hub) Message(ctx context.Context, id coffer.CommitRev) (*Message, error) {
	if err := h.own("inbox"); err != nil {
		return nil, err
	}
	list, failed, err := h.records(ctx, []coffer.CommitRev{id})
	switch r := list; {
	case err != nil:
		return nil, err
	case r[0] == nil:
		return nil, coffer.Errorf("inbox", coffer.NotExist, "no such message")
	case failed[0] != nil && r[0].State == nil:
		return nil, failed[0]
	case r[0].Deleted || r[0].Created.Header.Interface != coffer.ActionsInterface:
		return nil, coffer.Errorf("inbox", coffer.NotExist, "no such message")
	case failed[0] != nil:
		return h.claimed(r[0]), failed[0]
	}
	m, err := h.message(ctx, list[0])
	if err != nil {
		return nil, err
	}
	return m, h.locate(ctx, make(map[coffer.CommitRev]Kind), m)
}

// locate completes the parents and threads of messages. Of those in this hub, the kind is that of the action that is
// there, whatever the sender says; one that is not there is none. The kinds that are found are put into known.
func (h *Hub) locate(ctx context.Context, known map[coffer.CommitRev]Kind, list ...*Message) error {
	var unknown []coffer.CommitRev
	for _, m := range list {
		known[m.URI.ID] = m.Kind
	}
	for _, m := range list {
		for _, u := range [...]URI{m.Parent, m.Thread} {
			if _, there := known[u.ID]; u.Owner == h.o.Owner && !there {
				known[u.ID] = Kind{}
				unknown = append(unknown, u.ID)
			}
		}
	}
	for part := range slices.Chunk(unknown, coffer.MaxQueryIDs) {
		found, failed, err := h.records(ctx, part)
		if err != nil {
			return err
		}
		for i, r := range found {
			if r == nil || failed[i] != nil || r.Created.Header.Interface != coffer.ActionsInterface {
				continue
			}
			c := &r.Created.Header
			known[r.Object] = Kind{Interface: c.Interface, Context: c.Context, Type: c.Type}
		}
	}
	for _, m := range list {
		for _, u := range [...]*URI{&m.Parent, &m.Thread} {
			if u.Owner != h.o.Owner {
				continue
			}
			if k := known[u.ID]; k == (Kind{}) {
				*u = URI{}
			} else {
				u.Interface, u.Context, u.Type = k.Interface, k.Context, k.Type
			}
		}
		if m.Thread.Owner == "" {
			m.Thread = m.URI
		}
	}
	return nil
}

// claimed returns a message without what is in it.
func (h *Hub) claimed(r *record) *Message {
	c := &r.Created.Header
	k := Kind{Interface: c.Interface, Context: c.Context, Type: c.Type}
	u := URI{Owner: h.o.Owner, Interface: k.Interface, Context: k.Context, Type: k.Type, ID: r.Object}
	return &Message{
		URI: u, From: r.Created.Signer(), At: c.CommittedAt, Kind: k, State: New, Thread: u, Unreadable: true, record: r,
	}
}

// message opens what a sender signed. What the owner wrote later says only how far he is with it.
func (h *Hub) message(ctx context.Context, r *record) (*Message, error) {
	m := h.claimed(r)
	m.Unreadable = false
	c, k := &r.Created.Header, m.Kind
	said := metaOf(c.Meta)
	m.Parent, m.Thread = h.unlink(said.Parent), h.unlink(said.Thread)
	if r.Latest.Signer() == h.o.Owner {
		if s := metaOf(r.Latest.Header.Meta).State; s == Seen || s == Done {
			m.State = s
		}
	}
	o := &Object{ID: r.Object, Kind: k, record: r}
	value, _, err := h.openPayload(ctx, o, r.Created)
	switch {
	case errors.Is(err, coffer.Corrupt):
		m.Unreadable = true
	case err != nil:
		return nil, err
	}
	m.Value = value
	return m, nil
}

// Seen notes, for all the owner's devices, that a message was looked at.
func (h *Hub) Seen(ctx context.Context, m *Message) error { return h.mark(ctx, m, Seen) }

// Done notes that a message was handled. It stays, and is shown no more unless it is asked for.
func (h *Hub) Done(ctx context.Context, m *Message) error { return h.mark(ctx, m, Done) }

func (h *Hub) mark(ctx context.Context, m *Message, state string) error {
	if m.record == nil {
		return coffer.Errorf("inbox", coffer.Invalid, "a copy has no state")
	}
	if err := h.own("inbox"); err != nil {
		return err
	}
	r, err := h.one(ctx, m.Kind, m.URI.ID) // another device may have been faster
	if err != nil {
		return err
	}
	there, err := meta(r.Created.Header.Meta, map[string]any{"state": state})
	if err != nil {
		return err
	}
	// The payload stays what its sender made: he signed it, in the commit that is the object.
	_, err = h.write(ctx, merge.Header{Operation: merge.Update, Meta: there}, r.Created.Payload, r, nil)
	if err == nil {
		m.State = state
	}
	return err
}

// Discard removes a message, whatever it is.
func (h *Hub) Discard(ctx context.Context, m *Message) error {
	if m.record == nil {
		return coffer.Errorf("inbox", coffer.Invalid, "a copy is not in the inbox")
	}
	return h.remove(ctx, m.record)
}

// sentKind holds the copies of what the owner sent to others.
var sentKind = Kind{Interface: coffer.CollectionsInterface, Context: ownContext, Type: "Sent", Private: true}

type sent struct {
	URI    URI             `json:"uri"`
	To     string          `json:"to"`
	Thread URI             `json:"thread"`
	Parent URI             `json:"parent,omitzero"`
	At     time.Time       `json:"at"`
	Value  json.RawMessage `json:"value"`
}

// sent yields the copies of what the owner sent. Those that do not open, or that another one wrote, are passed over.
func (h *Hub) sent(ctx context.Context) iter.Seq2[*sent, error] {
	return func(yield func(*sent, error) bool) {
		for o, err := range h.Query(ctx, sentKind, nil) {
			if errors.Is(err, coffer.Corrupt) {
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			s := new(sent)
			if o.Author != h.o.Owner || o.UpdatedBy != h.o.Owner || o.Into(s) != nil {
				continue
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Reply answers a message of one's inbox in the hub of its sender, which to is, and returns where the answer is. A
// sealed copy is kept here. o may be nil.
func (h *Hub) Reply(ctx context.Context, to *Hub, m *Message, a Action, o *SendOptions) (URI, error) {
	if err := h.own("reply"); err != nil {
		return URI{}, err
	}
	if m.URI.Owner != h.Owner() || to.Owner() != m.From {
		return URI{}, coffer.Errorf("reply", coffer.Invalid, "not a message of this inbox, or not the hub of its sender")
	}
	var c SendOptions
	if o != nil {
		c = *o
	}
	c.Copy, c.thread, c.parent = h, m.Thread, m.URI
	return to.Send(ctx, a, &c)
}

// Thread returns the messages of a thread, by the message that it began with: those in the owner's inbox, done or not,
// and copies of what he sent, in the order in which they were sent, as the senders say.
func (h *Hub) Thread(ctx context.Context, thread URI) ([]*Message, error) {
	var list []*Message
	same := func(u URI) bool { return u.Owner == thread.Owner && u.ID == thread.ID }
	id := thread.ID.String()
	for m, err := range h.messages(ctx, "meta.thread:"+id+" OR id:"+id) {
		if m != nil && err != nil || errors.Is(err, coffer.Corrupt) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if same(m.Thread) {
			list = append(list, m)
		}
	}
	for s, err := range h.sent(ctx) {
		if err != nil {
			return nil, err
		}
		if !same(s.Thread) {
			continue
		}
		list = append(list, &Message{
			URI: s.URI, From: h.o.Owner, At: s.At, Kind: s.URI.Kind(), Thread: s.Thread, Parent: s.Parent, Copy: true,
			Value: s.Value,
		})
	}
	slices.SortStableFunc(list, func(a, b *Message) int {
		first := func(m *Message) int {
			if same(m.URI) {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(first(a), first(b)), a.At.Compare(b.At))
	})
	return list, nil
}
