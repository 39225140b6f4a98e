package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

type requestsCommand struct {
	Clean bool `help:"Erase messages that are no requests."`
}

// Help says more.
func (requestsCommand) Help() string {
	return `Who asks is sure: the request is signed. What they call themselves is not.

Examples:
  coffer requests
  coffer answer z19m… --grant --until 30d`
}

type answerCommand struct {
	ID      string   `arg:"" help:"The id of the request, as \"coffer requests\" shows it."`
	Grant   bool     `xor:"answer" help:"Share what is asked for, with whoever asks."`
	No      bool     `xor:"answer" help:"Refuse."`
	Dismiss bool     `xor:"answer" help:"Erase the request without an answer."`
	Fields  []string `placeholder:"a,b.c" help:"With --grant: only these fields. Default: those that are asked for."`
	All     bool     `help:"With --grant: all of it, whatever fields are asked for."`
	Write   bool     `help:"With --grant: let them write, too."`
	Until   string   `placeholder:"TIME" help:"With --grant: when it ends, as for \"coffer share\"."`
	Message string   `placeholder:"TEXT" help:"With --grant or --no: some words."`
}

// Help says more.
func (answerCommand) Help() string {
	return `Whoever asks becomes a contact, and finds the link with "coffer asked". An answer waits for 30 days.

Examples:
  coffer answer z19m… --grant --until 30d
  coffer answer z19m… --grant --fields blood,allergies --message "get well"
  coffer answer z19m… --no`
}

// A request is how results describe what somebody asks for.
type request struct {
	ID     string    `json:"id"`
	From   string    `json:"from"`
	Known  string    `json:"known,omitempty"` // what the owner calls who asks
	Name   string    `json:"name,omitempty"`  // what who asks wants to be called
	Title  string    `json:"title,omitempty"`
	Path   string    `json:"path"` // of what is asked for
	Reason string    `json:"reason"`
	Fields []string  `json:"fields,omitempty"`
	Write  bool      `json:"write,omitempty"`
	Time   time.Time `json:"time"`
	// Unproven says that whose key signed the request is not known before it is granted.
	Unproven bool `json:"unproven,omitempty"`
}

func (o *owner) request(ctx context.Context, r *agent.Request) request {
	out := request{
		ID: r.ID.String(), From: r.From, Name: r.Name, Title: r.Title, Path: r.Path, Reason: r.Reason, Fields: r.Fields,
		Write: r.Write, Time: r.Time,
	}
	if !r.Proven {
		out.Unproven = true // whoever it is, it must not look like a contact
	} else if known := o.callName(ctx, r.From); known != r.From {
		out.Known = known
	}
	return out
}

// who names who asks to a person: a contact by its name, and a stranger by the identifier and what that wants to be
// called.
func (r *request) who() string {
	switch {
	case r.Known != "":
		return r.Known
	case r.Unproven:
		return r.From + " (not verified)"
	case r.Name != "":
		return r.From + " (" + r.Name + "?)"
	}
	return r.From
}

// what names what is asked for to a person.
func (r *request) what() string {
	s := shown(r.Path)
	if len(r.Fields) > 0 {
		s += "#" + strings.Join(r.Fields, ",")
	}
	if r.Write {
		s += " (to write)"
	}
	return s
}

// Run lists what others ask for.
func (c *requestsCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if c.Clean {
		n, err := o.Junk(ctx)
		if err != nil {
			return explain(err, "", "cannot erase them")
		}
		return p.result(struct {
			Erased int `json:"erased"`
		}{n}, "erased %d", n)
	}
	var all []request
	for r, err := range o.Requests(ctx) {
		if err != nil {
			return explain(err, "", "cannot list the requests")
		}
		all = append(all, o.request(ctx, r))
	}
	slices.SortFunc(all, func(a, b request) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	t := p.table()
	for _, r := range all {
		if err := t.row(r, r.ID, r.who(), r.what(), r.Reason); err != nil {
			return err
		}
	}
	return t.flush()
}

// Run answers a request.
func (c *answerCommand) Run(ctx context.Context, p *program) error {
	id, err := c.check()
	if err != nil {
		return err
	}
	options := agent.ShareOptions{Fields: c.Fields}
	if c.Write {
		options.Actions = []grant.Action{grant.Read, grant.Write}
	}
	if c.Until != "" {
		if options.Until, err = parseUntil(c.Until, p.now()); err != nil {
			return err
		}
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	r, err := o.Request(ctx, id)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what is asked for with "coffer requests"`,
			"there is no such request, or what it asks for is gone")
	}
	if err != nil {
		return explain(err, "", "cannot read the request")
	}
	described := o.request(ctx, r)
	done := "erased"
	switch {
	case c.Grant:
		return o.grantRequest(ctx, c, r, options)
	case c.No:
		done = "refused"
		err = o.Refuse(ctx, r, c.Message)
	default:
		err = o.Dismiss(ctx, r)
	}
	if err != nil {
		return explain(err, "", "cannot answer")
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		request
		Answer string `json:"answer"`
	}{described, done}, "%s: %s for %s", done, printable(described.who()), printable(described.what()))
}

// check returns the request's id if the arguments go together.
func (c *answerCommand) check() (coffer.ObjectID, error) {
	const help = `see "coffer answer --help"`
	id, err := coffer.ParseObjectID(c.ID)
	switch {
	case err != nil:
		return id, failed(coffer.Invalid, `see what is asked for with "coffer requests"`, "that is no id of a request")
	case !c.Grant && !c.No && !c.Dismiss:
		return id, failed(coffer.Invalid, help, "say what the answer is: --grant, --no, or --dismiss")
	case !c.Grant && (len(c.Fields) > 0 || c.All || c.Write || c.Until != ""):
		return id, failed(coffer.Invalid, help, "--fields, --all, --write and --until go with --grant")
	case c.Dismiss && c.Message != "":
		return id, failed(coffer.Invalid, help, "who is dismissed gets no message")
	case len(c.Fields) > 0 && c.All:
		return id, failed(coffer.Invalid, help, "give --fields or --all")
	}
	return id, nil
}

// grantRequest shares what is asked for: what the options say, and else the fields that are asked for.
func (o *owner) grantRequest(ctx context.Context, c *answerCommand, r *agent.Request,
	options agent.ShareOptions) error {
	p := o.program
	if len(options.Fields) == 0 && !c.All {
		options.Fields = r.Fields
	}
	if c.Write && len(options.Fields) > 0 {
		return failed(coffer.Invalid, "give --all, or leave --write out", "fields by themselves can only be read")
	}
	s, err := o.Grant(ctx, r, options, c.Message)
	if err != nil {
		return explain(err, "", "cannot grant it")
	}
	if r.Write && !c.Write {
		p.note("They asked to write it; it was granted for reading.")
	}
	o.names = nil // there may be a new contact
	o.hint(ctx)
	g := o.granted(ctx, s.Grant)
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(share{g, s.Link}, "granted %s to %s, until %s", printable(g.what()), printable(g.Name),
		timeText(g.Until))
}
