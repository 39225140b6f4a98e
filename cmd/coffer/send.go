package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type sendCommand struct {
	Who  string `arg:"" help:"Contact or identifier."`
	Text string `arg:"" optional:"" help:"What you say."`
	typedValue
	hubSend
}

// Help says more.
func (sendCommand) Help() string {
	return `A message is sealed: only its reader can open it, and nobody needs a permission to leave one. You can not read it back;
a copy is kept in your own hub, for the thread. If their node asks strangers for work, that is done first, which takes
about a second.

Examples:
  coffer send Bob "See you on Friday?"
  echo '{"event": {"name": "Party"}, "rsvpResponse": "RsvpResponseYes"}' | coffer send Bob --type RsvpAction --value -
  coffer send did:web:shop.example --type AskAction --value question.json --introduction "$(cat introduction.txt)"`
}

// hubSend says how a message is sent.
type hubSend struct {
	Introduction string `placeholder:"TEXT" help:"What they made for you with \"coffer hub introduce\"."`
	hubPlace
}

// to opens somebody's hub for a message, of which a copy is to be kept in the sender's own.
func (c *hubSend) to(ctx context.Context, o *owner, who string) (*hub.Hub, *hub.SendOptions, error) {
	did, err := o.whom(ctx, who)
	if err != nil {
		return nil, nil, err
	}
	if did == o.ring.DID() {
		return nil, nil, failed(coffer.Invalid, "", "%s is you", who)
	}
	own, err := o.ownHub(ctx)
	if err != nil {
		return nil, nil, err
	}
	to, err := o.hub(ctx, did, c.At, "")
	return to, &hub.SendOptions{Introduction: c.Introduction, Copy: own}, err
}

// explainSend is explainHub for messages.
func (o *owner) explainSend(to *hub.Hub, err error, doing string) error {
	var fault *coffer.Fault
	if errors.Is(err, coffer.Denied) && errors.As(err, &fault) && fault.Target == "" {
		return failed(coffer.Denied, `it begins when they look into it with "coffer inbox"; if their hub is elsewhere, say where `+
			"with --at URL", "%s: they have no inbox there, or it takes nothing from strangers", doing)
	}
	return o.explainHub(to, err, "%s", doing)
}

// sent tells where a message was left.
func (o *owner) sent(ctx context.Context, at hub.URI, format string, args ...any) error {
	p := o.program
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		ID  string `json:"id"`
		URI string `json:"uri"`
		To  string `json:"to"`
	}{at.ID.String(), at.String(), at.Owner}, "%s", printable(fmt.Sprintf(format, args...)))
}

// typedValue is a message of a type.
type typedValue struct {
	Type    string `placeholder:"T" help:"Of which type it is: RsvpAction, VoteAction. Default: Message; of answers, ReplyAction."`
	Context string `placeholder:"C" default:"schema.org" help:"Of which schema the type is. Default: schema.org."`
	Value   string `placeholder:"FILE" help:"What is said, as JSON; - is standard input."`
}

// The types of messages that have nothing but a text.
const (
	messageType = "Message"
	replyType   = "ReplyAction"
)

// action makes a message of the flags, or of a text, which is of the plain type then.
func (c *typedValue) action(ctx context.Context, p *program, text, plain string) (hub.Action, error) {
	a := hub.Action{Context: c.Context, Type: c.Type}
	switch {
	case c.Value != "" && (c.Type == "" || text != ""):
		return a, failed(coffer.Invalid, "", "--value goes with --type, and without a text")
	case c.Value != "":
		v, err := p.jsonFrom(ctx, c.Value)
		a.Value = v
		return a, err
	case text == "":
		return a, failed(coffer.Invalid, "give a text, or --type and --value", "there is nothing to say")
	case c.Type == "":
		a.Context, a.Type = schemaOrg, plain
	}
	a.Value = map[string]string{"@context": "https://" + a.Context, "@type": a.Type, "text": text}
	if a.Context != schemaOrg {
		a.Value = map[string]string{"@type": a.Type, "text": text}
	}
	return a, nil
}

const schemaOrg = "schema.org"

// Run leaves a message.
func (c *sendCommand) Run(ctx context.Context, p *program) error {
	a, err := c.action(ctx, p, c.Text, messageType)
	if err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	to, options, err := c.to(ctx, o, c.Who)
	if err != nil {
		return err
	}
	at, err := to.Send(ctx, a, options)
	if err != nil {
		return o.explainSend(to, err, "cannot leave the message")
	}
	return o.sent(ctx, at, "left for %s", o.callHub(ctx, to.Owner()))
}
