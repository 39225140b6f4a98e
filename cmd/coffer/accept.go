package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

type acceptCommand struct {
	Link string `arg:"" help:"The link of a share (coffer:…); or a file that holds it; - is standard input."`
	Name string `arg:"" optional:"" help:"What to call it here. Default: as it is called there."`
}

// sharesFolder is where links are kept that were accepted, as typed objects.
const (
	sharesFolder = "Shared"
	shareType    = "Share"
)

// An acceptedShare is what is kept of a share that was accepted.
type acceptedShare struct {
	Link    string         `json:"link"`
	From    string         `json:"from"`
	Called  string         `json:"called"`
	Folder  bool           `json:"folder"`
	Actions []grant.Action `json:"actions"`
	Until   time.Time      `json:"until"`
}

// Help says more.
func (acceptCommand) Help() string {
	return `The link is kept in the vault, in the folder "Shared", so that all of your devices have it.

Examples:
  coffer accept "coffer:AbC…" album
  coffer accept mail.txt
  coffer ls album:
  coffer get album:2025/summer.jpg .
  coffer rm Shared/album                # forget it`
}

// Run keeps the link of a share under a name.
func (c *acceptCommand) Run(ctx context.Context, p *program) error {
	link, err := p.text(ctx, c.Link, "coffer:", agent.IsLink)
	if err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	i, err := o.invitation(ctx, link)
	if err != nil {
		return err
	}
	name := c.Name
	if name == "" {
		name = (&spot{shared: i}).name("")
		name = strings.ReplaceAll(name, ":", "_")
	}
	if clean, err := agent.CleanPath(name); err != nil || clean != name || strings.ContainsAny(name, "/:") {
		return failed(coffer.Invalid, "give a name without slashes and colons", "%q cannot be the name of a share", name)
	}
	b, err := json.Marshal(acceptedShare{link, i.From, i.Name, i.Folder, i.Actions, i.Until})
	if err != nil {
		return err
	}
	var over agent.Info // the same share may be accepted again, with a new link
	at := path.Join(sharesFolder, name)
	if there, err := o.acceptedAt(ctx, name); err == nil && there.From == i.From && there.Called == i.Name {
		if over, err = o.Stat(ctx, at); err != nil {
			return explain(err, "", "cannot look at %s", at)
		}
	}
	_, err = o.Put(ctx, at, agent.Source{Value: b, Type: shareType}, agent.PutOptions{Over: &over})
	if errors.Is(err, coffer.Conflict) {
		return failed(coffer.Conflict, "give another name", "something else is called %s already", at)
	}
	if err != nil {
		return explain(err, "", "cannot keep the link")
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	use := "coffer get " + name + ": OUT"
	if i.Folder {
		use = "coffer ls " + name + ":"
	}
	return p.result(struct {
		Name    string         `json:"name"`
		From    string         `json:"from"`
		Folder  bool           `json:"folder"`
		Actions []grant.Action `json:"actions"`
		Until   time.Time      `json:"until"`
	}{name, i.From, i.Folder, i.Actions, i.Until}, "accepted %s from %s, until %s; see it with: %s", printable(name),
		printable(o.callName(ctx, i.From)), timeText(i.Until), printable(use))
}

// accepted returns the link of a share that was accepted under a name.
func (o *owner) accepted(ctx context.Context, name string) (string, error) {
	s, err := o.acceptedAt(ctx, name)
	if errors.Is(err, coffer.NotExist) || errors.Is(err, coffer.Invalid) {
		return "", failed(coffer.NotExist, `see "coffer ls Shared"; a path in your own vault whose first name has a colon `+
			"begins with a slash", "no share was accepted under the name %s", name)
	}
	if err != nil {
		return "", explain(err, "", "cannot look for the share %s", name)
	}
	return s.Link, nil
}

func (o *owner) acceptedAt(ctx context.Context, name string) (*acceptedShare, error) {
	object, err := o.Get(ctx, path.Join(sharesFolder, name))
	if err != nil {
		return nil, err
	}
	var s acceptedShare
	if object.Type != shareType || json.Unmarshal(object.Value, &s) != nil || !agent.IsLink(s.Link) {
		return nil, coffer.Errorf("accept", coffer.NotExist, "no share")
	}
	return &s, nil
}

// maxText bounds what is read as a card or a link.
const maxText = 256 << 10

// text returns a text that may be an argument itself, or stand in a file or on standard input, perhaps among others. It
// begins with the prefix, up to an empty line or the end.
func (p *program) text(ctx context.Context, arg, prefix string, is func(string) bool) (string, error) {
	if is(arg) {
		return arg, nil
	}
	in := p.stdin
	if arg != "-" {
		f, err := os.Open(arg)
		if err != nil {
			return "", failed(kindOf(err), "give all of it, or the file that it is in", "cannot read %s: %v", arg,
				withoutPath(err))
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(untilDone(ctx, in), maxText+1))
	if err != nil {
		return "", explain(err, "", "cannot read %s", arg)
	}
	s := strings.ReplaceAll(string(b), "\r\n", "\n")
	at := strings.Index(s, prefix)
	if len(b) > maxText || at < 0 {
		return "", failed(coffer.Invalid, "it begins with "+prefix, "there is none in %s", arg)
	}
	s, _, _ = strings.Cut(s[at:], "\n\n")
	return s, nil
}
