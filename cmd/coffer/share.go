package main

import (
	"context"
	"errors"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

type shareCommand struct {
	Path   string   `arg:"" optional:"" help:"File, object or folder; of a folder, all that is in it, now and later."`
	Type   string   `placeholder:"T" help:"Instead of PATH: all objects of this type, now and later."`
	With   []string `placeholder:"WHO" help:"Contacts, by name or identifier, or cards (which are added as contacts)."`
	Group  string   `placeholder:"NAME" help:"All members of a group."`
	Write  bool     `help:"Let them write, too."`
	Until  string   `placeholder:"TIME" help:"When it ends: 36h, 30d, 2w, 2027-01-31, or RFC 3339. Default: in 364 days."`
	Fields []string `placeholder:"a,b.c" help:"Of a typed object only these fields."`
	Edv    string   `placeholder:"DID" help:"Instead: let another client of encrypted data vaults read the object as it is now; a DID, or the id of one of its keys."`
}

// Help says more.
func (shareCommand) Help() string {
	return `Each reader gets a link, which is of use to nobody else. Send it any way you like.

Examples:
  coffer share photos/2026 --with Bob,Carol --until 30d
  coffer share minutes --group board --write
  coffer share --type Invoice --with accountant
  coffer share people/ada --with Bob --fields name,address.city
  coffer share report.pdf --with "$(cat bob.card)"
  coffer share note.txt --edv did:key:z6Mk… > for-the-other-client.json`
}

// A share is how results describe a link.
type share struct {
	granted
	Link string `json:"link"`
}

// Run shares what is named, and writes a link for each reader.
func (c *shareCommand) Run(ctx context.Context, p *program) error {
	if c.Edv != "" {
		return c.foreign(ctx, p)
	}
	switch {
	case (c.Path == "") == (c.Type == ""):
		return failed(coffer.Invalid, `see "coffer share --help"`, "give a path, or --type")
	case (len(c.With) == 0) == (c.Group == ""):
		return failed(coffer.Invalid, `see "coffer share --help"`, "say whom with: --with WHO, or --group NAME")
	case c.Type != "" && len(c.Fields) > 0:
		return failed(coffer.Invalid, "share the objects one by one", "--fields is for one object")
	}
	options := agent.ShareOptions{Group: c.Group, Fields: c.Fields}
	if c.Write {
		options.Actions = []grant.Action{grant.Read, grant.Write}
	}
	if c.Until != "" {
		var err error
		if options.Until, err = parseUntil(c.Until, p.now()); err != nil {
			return err
		}
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if c.Path != "" {
		if err := o.own(c.Path); err != nil {
			return err
		}
		if _, err := o.Stat(ctx, c.Path); errors.Is(err, coffer.NotExist) {
			return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
		}
	}
	with := c.With
	if c.Group != "" {
		g, err := o.group(ctx, c.Group)
		if err != nil {
			return err
		}
		if with = g.Members; len(with) == 0 {
			return failed(coffer.Invalid, "add some: coffer group put "+c.Group+" WHO…", "the group %s has no members", c.Group)
		}
	}
	readers, err := o.readers(ctx, with, options)
	if err != nil {
		return err
	}
	var shares []agent.Share
	if c.Type != "" {
		shares, err = o.ShareType(ctx, c.Type, readers...)
	} else {
		shares, err = o.Share(ctx, c.Path, readers...)
	}
	if err != nil {
		return explain(err, "", "cannot share %s", whatText(c.Path, c.Type))
	}
	o.hint(ctx)
	return o.links(ctx, shares)
}

// readers returns the options of sharing with each of these contacts.
func (o *owner) readers(ctx context.Context, who []string, options agent.ShareOptions) (list []agent.ShareOptions,
	err error) {
	contacts, err := o.contacts(ctx, who)
	for _, c := range contacts {
		options.With = c.DID
		list = append(list, options)
	}
	return list, err
}

// links writes the links of shares: the link alone if there is one, and else each after the name of its reader.
func (o *owner) links(ctx context.Context, shares []agent.Share) error {
	p := o.program
	for _, s := range shares {
		g := o.granted(ctx, s.Grant)
		text := s.Link
		if len(shares) > 1 {
			text = printable(g.Name) + "  " + text
		}
		if err := p.result(share{g, s.Link}, "%s", text); err != nil {
			return err
		}
	}
	if len(shares) > 0 && !p.JSON {
		p.note("Each link is of use to its reader alone, until %s. Who reads what: coffer grants. Take it back: coffer revoke.",
			timeText(shares[0].Until))
	}
	return nil
}

// own fails if a text names what somebody else shared.
func (o *owner) own(text string) error {
	if agent.IsLink(text) {
		return failed(coffer.Invalid, "give a path in your own vault", "this is somebody else's")
	}
	return nil
}

// whatText names what is shared to a person.
func whatText(path, typ string) string {
	if typ != "" {
		return "type " + typ
	}
	return shown(path)
}

type linkCommand struct {
	Grant string `arg:"" help:"The grant's id, as \"coffer grants\" shows it."`
}

// Help says more.
func (linkCommand) Help() string {
	return `Examples:
  coffer grants
  coffer link 3q2-7wAAAAAAAAAAAAAAAA`
}

// Run writes the link of a share anew.
func (c *linkCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	link, err := o.Link(ctx, c.Grant)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see those that last with "coffer grants"`, "there is no such grant, or it is over")
	}
	if err != nil {
		return explain(err, "", "cannot make the link")
	}
	return p.result(struct {
		Grant string `json:"grant"`
		Link  string `json:"link"`
	}{c.Grant, link}, "%s", link)
}

// A granted is how results describe a grant.
type granted struct {
	Grant     string         `json:"grant"`
	Path      string         `json:"path,omitempty"` // of what was granted, as it was called then
	Type      string         `json:"type,omitempty"` // that was granted, instead of a path
	Folder    bool           `json:"folder,omitempty"`
	Fields    []string       `json:"fields,omitempty"`
	Recipient string         `json:"recipient"`
	Name      string         `json:"name,omitempty"` // what the owner calls the recipient
	Group     string         `json:"group,omitempty"`
	Actions   []grant.Action `json:"actions"`
	Since     time.Time      `json:"since"`
	Until     time.Time      `json:"until"`
	State     string         `json:"state"`          // active, revoked, expired
	Ended     time.Time      `json:"ended,omitzero"` // when it was revoked, or was found to be over
	// Until its end the recipient could read every revision that the vault accepted with these numbers in its history.
	From uint64 `json:"from,omitempty"`
	To   uint64 `json:"to,omitempty"`

	Statements []statement `json:"statements,omitempty"`
}

// A statement is something signed, as results have it.
type statement struct {
	By        string `json:"by"`
	Message   []byte `json:"message"`   // base64
	Signature []byte `json:"signature"` // base64
}

func (o *owner) granted(ctx context.Context, g *agent.Grant) granted {
	r := granted{
		Grant: g.ID, Path: g.Path, Type: g.Type, Folder: g.Folder, Fields: g.Fields, Recipient: g.With,
		Name: o.callName(ctx, g.With), Group: g.Group, Actions: g.Actions, Since: g.Since, Until: g.Until, State: "active",
	}
	if g.Type != "" {
		r.Path, r.Folder = "", false
	}
	switch e := g.Ended; {
	case e != nil:
		r.State, r.Ended, r.From, r.To = e.Reason, e.At, e.From, e.To
	case !g.Active(o.program.now()):
		r.State = "expired"
	}
	return r
}

// what names what was granted to a person.
func (g *granted) what() string {
	s := whatText(g.Path, g.Type)
	if g.Folder {
		s += "/"
	}
	for i, f := range g.Fields {
		if i == 0 {
			s += "#"
		} else {
			s += ","
		}
		s += f
	}
	return s
}
