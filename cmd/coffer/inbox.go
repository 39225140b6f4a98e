package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/grant"
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
	Verified   *bool           `json:"verified,omitempty"` // of requests for permissions, and of answers
	Problem    string          `json:"problem,omitempty"`  // why it is not
	Answers    string          `json:"answers,omitempty"`  // id of the owner's request
	Wanted     []hub.Wanted    `json:"wanted,omitempty"`   // of a request for permissions
	Granted    *[]hub.Wanted   `json:"granted,omitempty"`  // of an answer to one; empty: it was refused
	Consent    *bool           `json:"consent,omitempty"`  // of an answer to a request for a proof
	Proofs     []proof         `json:"proofs,omitempty"`   // of a proof that was asked for
	Value      json.RawMessage `json:"value,omitempty"`
}

// A proof is how results describe a credential that was verified.
type proof struct {
	Types     []string   `json:"types"`
	Issuer    string     `json:"issuer"`
	Until     *time.Time `json:"until,omitempty"`
	Revocable bool       `json:"revocable,omitempty"` // nobody was asked whether it was

	subject, issuerName string
}

// checked is what was found out of a message that says that it is a request for permissions, or an answer to a request
// of the owner's. It is zero for all others.
type checked struct {
	request     *hub.PermissionRequest
	answer      *hub.PermissionAnswer
	consent     *bool
	credentials []proof
	answers     hub.URI
	problem     string // why it is not verified
}

// A reading goes through the messages of a hub. What the owner asked for is read when there is an answer.
type reading struct {
	*owner
	h     *hub.Hub
	asked *hub.Asked
}

// check verifies a message, if it is of a type that is verified.
func (r *reading) check(ctx context.Context, m *hub.Message) (c checked, is bool) {
	if m.Copy || m.Unreadable || m.Kind.Context != grant.PermissionContext {
		return c, false
	}
	var err error
	switch m.Kind.Type {
	case hub.PermissionRequestAction:
		c.request, err = r.h.PermissionRequest(ctx, m)
	case hub.PermissionResponseAction, hub.ConsentAttestationAction, hub.DeliverAttestationAction:
		if r.asked == nil {
			r.asked, err = r.h.Asked(ctx)
		}
		if err == nil {
			err = r.checkAnswer(ctx, m, &c)
		}
	default:
		return c, false
	}
	if err != nil {
		c = checked{problem: problemText(err)}
	}
	return c, true
}

func (r *reading) checkAnswer(ctx context.Context, m *hub.Message, c *checked) (err error) {
	switch m.Kind.Type {
	case hub.PermissionResponseAction:
		if c.answer, err = r.asked.PermissionAnswer(ctx, m); err == nil {
			c.answers = c.answer.Request
		}
	case hub.ConsentAttestationAction:
		var yes bool
		yes, c.answers, err = r.asked.Consent(m)
		c.consent = &yes
	case hub.DeliverAttestationAction:
		var list []hub.Credential
		list, c.answers, err = r.asked.Proof(ctx, m)
		for _, one := range list {
			p := proof{
				Types: one.Types, Issuer: one.Issuer, Revocable: one.Revocable,
				subject: one.Subject, issuerName: r.callHub(ctx, one.Issuer),
			}
			if !one.Until.IsZero() {
				p.Until = &one.Until
			}
			c.credentials = append(c.credentials, p)
		}
	}
	return err
}

// problemText says why something is not verified.
func problemText(err error) string {
	var e *coffer.Error
	switch {
	case errors.Is(err, coffer.Unavailable):
		return "it cannot be found out now"
	case errors.As(err, &e) && e.Err != nil:
		return e.Err.Error()
	}
	return "it does not hold"
}

// stateSent is the state of the owner's own messages.
const stateSent = "sent"

// unsure describes a message of which it is not known who sent it: nothing of what it says of itself is believed, and no
// name of a contact is put to it.
func unsure(m *hub.Message, err error) message {
	verified := false
	return message{
		ID: m.URI.ID.String(), URI: m.URI.String(), From: m.From, Sent: m.At, Context: m.Kind.Context, Type: m.Kind.Type,
		State: m.State, Says: "left something, and it is not sure who did", Thread: m.Thread.ID.String(),
		Unreadable: true, Verified: &verified, Problem: problemText(err),
	}
}

// message describes a message, of which err says why it is not known who sent it.
func (r *reading) message(ctx context.Context, m *hub.Message, err error) message {
	if err != nil {
		return unsure(m, err)
	}
	c, is := r.check(ctx, m)
	d := message{
		ID: m.URI.ID.String(), URI: m.URI.String(), From: m.From, Sent: m.At, Context: m.Kind.Context, Type: m.Kind.Type,
		State: m.State, Says: say(m, &c), Thread: m.Thread.ID.String(), Unreadable: m.Unreadable, Value: m.Value,
		Problem: c.problem, Consent: c.consent, Proofs: c.credentials,
	}
	if is {
		verified := c.problem == ""
		d.Verified = &verified
	}
	if name := r.callHub(ctx, m.From); name != m.From {
		d.Name = name
	}
	if m.Copy {
		d.State = stateSent
	}
	if c.request != nil {
		d.Wanted = c.request.Permissions
	}
	if c.answer != nil {
		granted := append([]hub.Wanted{}, c.answer.Granted...)
		d.Granted = &granted
	}
	if c.answers.Owner != "" {
		d.Answers = c.answers.ID.String()
	}
	if m.Parent.Owner != "" {
		d.Parent = m.Parent.ID.String()
	}
	return d
}

// state tells a person how far a message is, and whether it was verified: here, where nothing stands that is in a
// message. Its words could be those of another type.
func (m *message) state() string {
	switch {
	case m.Verified == nil:
		return m.State
	case *m.Verified:
		return m.State + ", verified"
	}
	return m.State + ", NOT verified"
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
	r := &reading{owner: o, h: h}
	var bad unopened
	for m, err := range h.Inbox(ctx, c.All) {
		if m == nil && errors.Is(err, coffer.Corrupt) {
			bad.corrupt++
			continue
		}
		if m == nil {
			return o.explainHub(h, err, "cannot look into the inbox")
		}
		bad.some = true
		d := r.message(ctx, m, err)
		if err := t.row(d, short(m.URI.ID), timeText(d.Sent), d.who(), d.state(), cut(d.Says)); err != nil {
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
	r := &reading{owner: o, h: h}
	for _, m := range list {
		d := r.message(ctx, m, nil)
		if m.State == hub.New {
			if err := h.Seen(ctx, m); err != nil {
				return o.explainHub(h, err, "cannot note that it was seen")
			}
		}
		id := short(m.URI.ID)
		if m.Copy {
			id = "-"
		}
		says := strings.ReplaceAll(printable(d.Says), "\n", "\n  ") // so that no line of it passes for another message
		err := o.program.result(d, "%s  %s  %s  %s\n  %s", id, timeText(d.Sent), printable(d.who()), d.state(), says)
		if err != nil {
			return err
		}
		if how := answerText(m.Kind); how != "" && !m.Copy && m.State != hub.Done && !o.program.JSON {
			o.program.note("Answer: coffer reply %s %s", id, how)
		}
	}
	return nil
}

// received returns a message of the inbox by its id; with an error, too, if it is one that can be discarded alone.
func (o *owner) received(ctx context.Context, h *hub.Hub, text string) (*hub.Message, error) {
	const see = `see "coffer inbox --all"`
	id, err := oneID(text, see, func(yield func(coffer.CommitRev, error) bool) {
		for m, err := range h.Inbox(ctx, true) {
			if m == nil && errors.Is(err, coffer.Corrupt) {
				continue
			}
			if m == nil {
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
	return m, o.explainHub(h, err, "it is not sure who left the message")
}
