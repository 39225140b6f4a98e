package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type askCommand struct {
	Name   string   `arg:"" help:"The name (coffer-ask:…), or a file that holds it; - is standard input."`
	Reason string   `required:"" placeholder:"TEXT" help:"Why you ask. Whom you ask reads it."`
	Fields []string `placeholder:"a,b.c" help:"Of a typed object only these fields."`
	Write  bool     `help:"Ask to write it, too."`
	As     string   `placeholder:"NAME" help:"What you call yourself."`
}

// Help says more.
func (askCommand) Help() string {
	return `The request is sealed: only whom you ask can read it. The node sees that somebody left a message, and not who.

Examples:
  coffer ask "coffer-ask:AbC…" --reason "surgery on Friday" --fields blood --as "Dr. Bob"
  coffer asked`
}

type askedCommand struct {
	Forget string `placeholder:"ID" help:"Forget a request of yours, and its answer."`
}

// Help says more.
func (askedCommand) Help() string {
	return `Examples:
  coffer asked
  coffer asked --json
  coffer accept "coffer:AbC…" record       # keep what was granted`
}

// namePrefix is what names begin with.
const namePrefix = "coffer-ask:"

func isName(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), namePrefix) }

// doors leads to vaults anywhere, and leaves messages there.
type doors struct{ nodes }

// Drop implements [agent.Door].
func (d doors) Drop(ctx context.Context, vault string, by coffer.Keyring, capability []byte,
	message *coffer.Document) error {
	origin, err := originOf(vault)
	if err != nil {
		return err
	}
	client, err := d.p.dial(origin, by)
	if err != nil {
		return err
	}
	v, err := client.Vault(vault, capability)
	if err != nil {
		return err
	}
	return v.Drop(ctx, message)
}

// Run leaves a request for the owner of what a name is of.
func (c *askCommand) Run(ctx context.Context, p *program) error {
	name, err := p.text(ctx, c.Name, namePrefix, isName)
	if err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	door := doors{nodes{p}}
	page, err := o.OpenName(ctx, name, door)
	switch {
	case errors.Is(err, coffer.NotExist), errors.Is(err, coffer.Denied):
		return failed(coffer.NotExist, "ask for a new one", "the name has ended, or a part of it is missing")
	case err != nil:
		return explain(err, "ask for it again, and take all of it", "the name cannot be used")
	}
	id, err := o.Ask(ctx, page, agent.AskOptions{Reason: c.Reason, Fields: c.Fields, Write: c.Write, Name: c.As}, door)
	if err != nil {
		return explain(err, "", "cannot ask for it")
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	title := page.Title
	if title == "" {
		title = "what the name is of"
	}
	return p.result(struct {
		ID    string `json:"id"`
		Title string `json:"title,omitempty"`
		Owner string `json:"owner"`
	}{id, page.Title, page.Owner}, "asked %s for %s; see the answer with: coffer asked",
		printable(o.callName(ctx, page.Owner)), printable(title))
}

// An answer is how results describe something that was asked for.
type answer struct {
	ID      string    `json:"id"`
	Title   string    `json:"title,omitempty"`
	Owner   string    `json:"owner"`
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
	State   string    `json:"state"` // waiting, granted, no
	Message string    `json:"message,omitempty"`
	Link    string    `json:"link,omitempty"`
}

// Run lists what was asked for, and what came of it.
func (c *askedCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if c.Forget != "" {
		return o.forgetAsked(ctx, c.Forget)
	}
	var all []answer
	for a, err := range o.Answers(ctx, doors{nodes{p}}) {
		if err != nil {
			return explain(err, "", "cannot look for the answers")
		}
		r := answer{a.ID, a.Title, a.Owner, a.Reason, a.Time, "no", a.Message, a.Link}
		switch {
		case a.Waiting:
			r.State = "waiting"
		case a.Link != "":
			r.State = "granted"
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b answer) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	t := p.table()
	granted := false
	for _, a := range all {
		granted = granted || a.Link != ""
		if err := t.row(a, a.ID, a.State, a.Title, o.callName(ctx, a.Owner), a.Message, a.Link); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if granted && !p.JSON {
		p.note("Use the link as it is, or keep it: coffer accept LINK NAME.")
	}
	return nil
}

func (o *owner) forgetAsked(ctx context.Context, id string) error {
	err := o.ForgetAsked(ctx, id)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what you asked for with "coffer asked"`, "nothing of this id was asked")
	}
	if err != nil {
		return explain(err, "", "cannot forget it")
	}
	if p := o.program; !p.Quiet || p.JSON {
		return p.result(struct {
			Removed string `json:"removed"`
		}{id}, "forgot %s", printable(id))
	}
	return nil
}
