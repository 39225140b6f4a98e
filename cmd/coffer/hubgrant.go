package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/grant"
)

type hubGrantCommand struct {
	Who       string   `arg:"" help:"Contact or identifier; or \"everybody\", for what is public anyway."`
	Kind      string   `arg:"" help:"CONTEXT/TYPE."`
	Allow     string   `arg:"" help:"Letters of C (create), R (read), U (update), D (delete): R, CRUD."`
	Until     string   `placeholder:"TIME" help:"When it ends, as for \"coffer share\". Default: when you revoke it."`
	Object    []string `placeholder:"ID" help:"Only these objects."`
	Filter    string   `placeholder:"TEXT" help:"Only what matches, of what the node sees: meta.tags:rain."`
	CreatedBy string   `placeholder:"WHO" help:"Only what this one created."`
	Purpose   string   `placeholder:"TEXT" help:"Only for requests that say that it is for this."`
	Hold      string   `placeholder:"TIME" help:"You cannot take it back before."`
	hubKind
	hubPlace
}

// Help says more.
func (hubGrantCommand) Help() string {
	return `Who may read gets the keys, too, of this kind alone. Nothing is encrypted again for that.

Examples:
  coffer hub grant Bob schema.org/MusicPlaylist R
  coffer hub grant clinic hl7.org/Patient RU --until 30d --object 3f9a
  coffer hub grant shop schema.org/Order C                # may leave orders, and read none`
}

// everybody is how a person names [coffer.Everybody].
const everybody = "everybody"

// Run gives a permission.
func (c *hubGrantCommand) Run(ctx context.Context, p *program) error {
	k, err := c.kind(c.Kind)
	if err != nil {
		return err
	}
	give := hub.Permission{Kind: k, Filter: c.Filter, Purpose: c.Purpose}
	if give.Allow, err = rightsText(c.Allow); err != nil {
		return err
	}
	if give.Expires, err = timeFlag("--until", c.Until, p.now()); err != nil {
		return err
	}
	if give.NotRevocableBefore, err = timeFlag("--hold", c.Hold, p.now()); err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if give.Grantee, err = o.grantee(ctx, c.Who); err != nil {
		return err
	}
	if c.CreatedBy != "" {
		if give.CreatedBy, err = o.whom(ctx, c.CreatedBy); err != nil {
			return err
		}
	}
	h, err := c.own(ctx, o)
	if err != nil {
		return err
	}
	for _, text := range c.Object {
		id, err := o.objectID(ctx, h, k, text)
		if err != nil {
			return err
		}
		give.Objects = append(give.Objects, id)
	}
	id, err := h.Grant(ctx, give)
	if err != nil {
		return o.explainHub(h, err, "cannot give the permission")
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	r := o.hubGrant(ctx, &hub.Given{ID: id, Permission: give, At: p.now(), Created: p.now()})
	return p.result(r, "granted %s  %s may %s %s", short(id), printable(r.who()), give.Allow, printable(kindText(k)))
}

// grantee returns who is to be let in.
func (o *owner) grantee(ctx context.Context, who string) (string, error) {
	if who == everybody || who == coffer.Everybody {
		return coffer.Everybody, nil
	}
	return o.whom(ctx, who)
}

// rightsText reads rights and returns their one form, "-R--".
func rightsText(s string) (string, error) {
	r, err := grant.ParseRights(strings.ToUpper(s))
	if err != nil || r == 0 {
		return "", failed(coffer.Invalid, "write letters of C (create), R (read), U (update), D (delete)",
			"%q does not say what is allowed", s)
	}
	return r.String(), nil
}

// timeFlag reads a time ahead that may be left out.
func timeFlag(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := parseUntil(text, now)
	var f *failure
	if errors.As(err, &f) {
		f.message = strings.Replace(f.message, "--until", flag, 1)
	}
	return t, err
}
