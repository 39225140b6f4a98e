package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type nameCommand struct {
	Path  string `arg:"" optional:"" help:"File, object or folder."`
	Title string `placeholder:"TEXT" help:"What is shown to whoever has the name. Default: nothing."`
	QR    bool   `name:"qr" help:"Show the name as a QR code, too."`
	Ls    bool   `help:"List the names that there are."`
}

// Help says more.
func (nameCommand) Help() string {
	return `A name is a short text by which something can be asked for. It grants nothing, and shows nothing but the title
and your contact card. Whoever has it can ask you until a year is over, or until "coffer unname".

Examples:
  coffer name health/record --title "Alice's health record" --qr
  coffer name --ls`
}

type unnameCommand struct {
	ID string `arg:"" help:"The id of the name, as \"coffer name --ls\" shows it."`
}

// Help says more.
func (unnameCommand) Help() string {
	return `Nobody can ask by the name from then on. What was granted stays granted.

Examples:
  coffer name --ls
  coffer unname -- 3q2-7wAAAAAAAAAAAAAAAA`
}

// A named is how results describe a name.
type named struct {
	ID    string    `json:"id"`
	Path  string    `json:"path"` // of what can be asked for, as it was called then
	Title string    `json:"title,omitempty"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// Run makes a name, or lists those that there are.
func (c *nameCommand) Run(ctx context.Context, p *program) error {
	if (c.Path == "") != c.Ls {
		return failed(coffer.Invalid, `see "coffer name --help"`, "give a path, or --ls")
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if c.Ls {
		return o.listNames(ctx)
	}
	if err := o.own(c.Path); err != nil {
		return err
	}
	text, err := o.Name(ctx, c.Path, c.Title)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
	}
	if err != nil {
		return explain(err, "", "cannot make a name for %s", c.Path)
	}
	o.hint(ctx)
	if err := p.result(struct {
		Name  string `json:"name"`
		Path  string `json:"path"`
		Title string `json:"title,omitempty"`
	}{text, c.Path, c.Title}, "%s", text); err != nil {
		return err
	}
	if p.JSON {
		return nil
	}
	if c.QR {
		q, err := qrcode.New(text, qrcode.Medium)
		if err != nil {
			return failed(coffer.Invalid, "hand on the text instead", "the name is too long for a QR code")
		}
		if _, err := fmt.Fprintln(p.stdout, q.ToSmallString(false)); err != nil {
			return err
		}
	}
	p.note(`Whoever has it can ask with "coffer ask". See what is asked for: coffer requests.`)
	return nil
}

// listNames lists the names, the latest last.
func (o *owner) listNames(ctx context.Context) error {
	var all []agent.Named
	for n, err := range o.Names(ctx) {
		if err != nil {
			return explain(err, "", "cannot list the names")
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b agent.Named) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	t := o.program.table()
	for _, n := range all {
		if err := t.row(named{n.ID, n.Path, n.Title, n.Since, n.Until}, n.ID, shown(n.Path), timeText(n.Until),
			n.Title); err != nil {
			return err
		}
	}
	return t.flush()
}

// Run ends a name.
func (c *unnameCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	err = o.Unname(ctx, c.ID)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see those that there are with "coffer name --ls"`, "there is no such name")
	}
	if err != nil {
		return explain(err, "", "cannot end the name")
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		Removed string `json:"removed"`
	}{c.ID}, "ended %s", c.ID)
}
