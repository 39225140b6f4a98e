package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type inboxCommand struct {
	ID  string `arg:"" optional:"" help:"A message, or how its id begins: show its whole thread."`
	All bool   `short:"a" help:"Those that are done, too."`
	hubPlace
}

// Help says more.
func (inboxCommand) Help() string {
	return `Who sent a message is sure: it is signed. Anybody may leave one, from the first time on that you looked.

Examples:
  coffer inbox
  coffer inbox 3f9a                                  # the whole thread, which is seen then
  coffer reply 3f9a "I come"
  coffer done 3f9a
  coffer inbox --json | jq 'select(.type=="RsvpAction").value'`
}

// A message is how results describe one.
type message struct {
	ID         string          `json:"id"`
	URI        string          `json:"uri"`
	From       string          `json:"from"`
	Name       string          `json:"name,omitempty"` // what the owner calls the sender
	Sent       time.Time       `json:"sent"`           // as the sender says
	Context    string          `json:"context"`
	Type       string          `json:"type"`
	State      string          `json:"state"` // new, seen, done; sent
	Says       string          `json:"says,omitempty"`
	Thread     string          `json:"thread"`           // id of the message that it began with
	Parent     string          `json:"parent,omitempty"` // id of the one that it answers
	Unreadable bool            `json:"unreadable,omitempty"`
	Wanted     []hub.Wanted    `json:"wanted,omitempty"` // of a request for permissions
	Value      json.RawMessage `json:"value,omitempty"`
}

// stateSent is the state of the owner's own messages.
const stateSent = "sent"

func (o *owner) message(ctx context.Context, h *hub.Hub, m *hub.Message) message {
	r := message{
		ID: m.URI.ID.String(), URI: m.URI.String(), From: m.From, Sent: m.At, Context: m.Kind.Context, Type: m.Kind.Type,
		State: m.State, Says: say(ctx, h, m), Thread: m.Thread.ID.String(), Unreadable: m.Unreadable, Value: m.Value,
	}
	if name := o.callHub(ctx, m.From); name != m.From {
		r.Name = name
	}
	if m.Copy {
		r.State = stateSent
	}
	if asked, err := h.PermissionRequest(ctx, m); err == nil {
		r.Wanted = asked.Permissions
	}
	if m.Parent.Owner != "" {
		r.Parent = m.Parent.ID.String()
	}
	return r
}

// who names the sender to a person.
func (m *message) who() string {
	if m.Name != "" {
		return m.Name
	}
	return m.From
}

// Run lists the messages, or shows a thread.
func (c *inboxCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := c.own(ctx, o)
	if err != nil {
		return err
	}
	if c.ID != "" {
		return o.thread(ctx, h, c.ID)
	}
	t := p.table()
	var bad unopened
	for m, err := range h.Inbox(ctx, c.All) {
		if errors.Is(err, coffer.Corrupt) {
			bad.corrupt++
			continue
		}
		if err != nil {
			return o.explainHub(h, err, "cannot look into the inbox")
		}
		bad.some = true
		r := o.message(ctx, h, m)
		if err := t.row(r, short(m.URI.ID), timeText(r.Sent), r.who(), r.State, cut(r.Says)); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if !bad.some {
		if err := o.beginHub(ctx, c.At); err != nil {
			return o.explainHub(h, err, "cannot open an inbox")
		}
	}
	return bad.failure(p)
}

// beginHub has the node keep a hub for the owner, if it keeps none yet: others can leave messages from then on. To adopt
// nothing is the least that an owner can write.
func (o *owner) beginHub(ctx context.Context, at string) error {
	reach, err := o.reach(ctx, o.ring.DID(), at, "")
	if err != nil {
		return err
	}
	_, err = reach.Adopt(ctx, o.ring.DID())
	return err
}

// thread shows a message with all that belongs to it, and notes that it was seen.
func (o *owner) thread(ctx context.Context, h *hub.Hub, text string) error {
	m, err := o.received(ctx, h, text)
	if err != nil {
		return err
	}
	list, err := h.Thread(ctx, m.Thread)
	if err != nil {
		return o.explainHub(h, err, "cannot read the thread")
	}
	for _, m := range list {
		r := o.message(ctx, h, m)
		if m.State == hub.New {
			if err := h.Seen(ctx, m); err != nil {
				return o.explainHub(h, err, "cannot note that it was seen")
			}
		}
		id := short(m.URI.ID)
		if m.Copy {
			id = "-"
		}
		says := strings.ReplaceAll(printable(r.Says), "\n", "\n  ") // so that no line of it passes for another message
		err := o.program.result(r, "%s  %s  %s  %s\n  %s", id, timeText(r.Sent), printable(r.who()), r.State, says)
		if err != nil {
			return err
		}
		if how := answerText(m.Kind); how != "" && !m.Copy && m.State != hub.Done && !o.program.JSON {
			o.program.note("Answer: coffer reply %s %s", id, how)
		}
	}
	return nil
}

// received returns a message of the inbox by its id.
func (o *owner) received(ctx context.Context, h *hub.Hub, text string) (*hub.Message, error) {
	const see = `see "coffer inbox --all"`
	id, err := oneID(text, see, func(yield func(coffer.CommitRev, error) bool) {
		for m, err := range h.Inbox(ctx, true) {
			if errors.Is(err, coffer.Corrupt) {
				continue
			}
			if err != nil {
				yield(coffer.CommitRev{}, o.explainHub(h, err, "cannot look into the inbox"))
				return
			}
			if !yield(m.URI.ID, nil) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	m, err := h.Message(ctx, id)
	if errors.Is(err, coffer.NotExist) {
		return nil, failed(coffer.NotExist, see, "there is no such message")
	}
	return m, o.explainHub(h, err, "cannot read the message")
}
