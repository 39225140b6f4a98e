package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type replyCommand struct {
	ID   string `arg:"" help:"The message, or how its id begins."`
	Text string `arg:"" optional:"" help:"What you say."`
	typedValue

	Grant bool     `help:"Of a request for permissions: grant what is asked for."`
	Only  []string `placeholder:"CONTEXT/TYPE" help:"With --grant: only for these kinds."`
	Until string   `placeholder:"TIME" help:"With --grant: when it ends, as for \"coffer share\"."`
	No    bool     `help:"Of a request for permissions: refuse."`

	Consent string `enum:"yes,no," default:"" placeholder:"yes|no" help:"Of a request for a proof: whether you agree."`
	Proof   string `placeholder:"FILE" help:"Of a request for a proof: send this, JSON; - is standard input."`
	hubSend
}

// Help says more.
func (replyCommand) Help() string {
	return `The answer is left in the sender's hub, in the same thread.

Examples:
  coffer reply 3f9a "I come"
  echo '{"event": "Party", "rsvpResponse": "RsvpResponseYes"}' | coffer reply 3f9a --type RsvpAction --value -
  coffer reply 77c1 --grant --only schema.org/MusicPlaylist --until 30d
  coffer reply 77c1 --no
  coffer reply 12ab --consent yes
  coffer reply 12ab --proof presentation.json`
}

// Run answers a message.
func (c *replyCommand) Run(ctx context.Context, p *program) error {
	until, err := c.check(p)
	if err != nil {
		return err
	}
	var a hub.Action
	var proof []byte
	switch {
	case c.Proof != "":
		proof, err = p.jsonFrom(ctx, c.Proof)
	case c.says():
		a, err = c.action(ctx, p, c.Text, replyType)
	}
	if err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	own, err := o.ownHub(ctx)
	if err != nil {
		return err
	}
	m, err := o.received(ctx, own, c.ID)
	if err != nil {
		return err
	}
	to, options, err := c.to(ctx, o, m.From)
	if err != nil {
		return err
	}
	who := o.callHub(ctx, m.From)
	var at hub.URI
	switch {
	case c.Grant || c.No:
		return c.answer(ctx, o, own, to, m, until, options)
	case c.Consent != "":
		at, err = own.Consent(ctx, to, m, c.Consent == "yes", options)
	case c.Proof != "":
		at, err = own.DeliverAttestation(ctx, to, m, proof, options)
	default:
		at, err = own.Reply(ctx, to, m, a, options)
	}
	if errors.Is(err, coffer.Invalid) && !c.says() {
		return failed(coffer.Invalid, `see it with "coffer inbox `+c.ID+`"`, "this message asks for no proof")
	}
	if err != nil {
		return o.explainSend(to, err, "cannot answer")
	}
	return o.sent(ctx, at, "answered %s", who)
}

// says reports whether the answer is words, or a value.
func (c *replyCommand) says() bool { return !c.Grant && !c.No && c.Consent == "" && c.Proof == "" }

// check refuses flags that do not go together.
func (c *replyCommand) check(p *program) (until time.Time, err error) {
	const help = `see "coffer reply --help"`
	answers := 0
	for _, is := range []bool{c.Text != "" || c.Type != "" || c.Value != "", c.Grant, c.No, c.Consent != "", c.Proof != ""} {
		if is {
			answers++
		}
	}
	switch {
	case answers == 0:
		return until, failed(coffer.Invalid, help, "say what the answer is")
	case answers > 1:
		return until, failed(coffer.Invalid, help, "give one answer at a time")
	case !c.Grant && (len(c.Only) > 0 || c.Until != ""):
		return until, failed(coffer.Invalid, help, "--only and --until go with --grant")
	}
	return timeFlag("--until", c.Until, p.now())
}

// answer answers a request for permissions.
func (c *replyCommand) answer(ctx context.Context, o *owner, own, to *hub.Hub, m *hub.Message, until time.Time,
	options *hub.SendOptions) error {
	p := o.program
	r, err := own.PermissionRequest(ctx, m)
	if errors.Is(err, coffer.Invalid) {
		return failed(coffer.Invalid, `see it with "coffer inbox `+c.ID+`"`, "this message asks for no permissions")
	}
	if err != nil {
		return explain(err, "", "cannot use the request")
	}
	var give []hub.Permission
	var wanted []hub.Wanted
	for _, w := range r.Permissions {
		if c.Grant && (len(c.Only) == 0 || slices.Contains(c.Only, w.Context+"/"+w.Type)) {
			give = append(give, hub.Permission{Kind: w.Kind(), Allow: w.Allow, Expires: until})
			wanted = append(wanted, w)
		}
	}
	if c.Grant && len(give) == 0 {
		return failed(coffer.Invalid, "it asks for "+orSomething(wantedText(r.Permissions)), "nothing of that is asked for")
	}
	ids, err := own.Answer(ctx, to, m, give, options)
	if err != nil && len(ids) > 0 {
		p.note(`Granted was: %s; take it back with "coffer hub revoke".`, wantedText(wanted[:len(ids)]))
	}
	if err != nil {
		return o.explainSend(to, err, "cannot answer")
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	result := struct {
		To      string       `json:"to"`
		Granted []hub.Wanted `json:"granted"`
		Grants  []string     `json:"grants"` // ids
	}{m.From, append([]hub.Wanted{}, wanted...), []string{}}
	var shortened []string
	for _, id := range ids {
		result.Grants = append(result.Grants, id.String())
		shortened = append(shortened, short(id))
	}
	who := printable(o.callHub(ctx, m.From))
	if len(ids) == 0 {
		return p.result(result, "refused: %s", who)
	}
	return p.result(result, "granted %s  %s: %s", strings.Join(shortened, " "), who, printable(wantedText(wanted)))
}
