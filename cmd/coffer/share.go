package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

type shareCommand struct {
	Path  string `arg:"" help:"File, object or folder; of a folder, what is in it now."`
	With  string `required:"" placeholder:"ID" help:"Identifier of the reader: what \"coffer whoami\" shows there."`
	Until string `placeholder:"TIME" help:"When it ends: 36h, 30d, 2w, 2027-01-31, or RFC 3339. Default: in 364 days."`
	Write bool   `help:"Let the reader write, too."`
}

// A share is the result of sharing.
type share struct {
	Link       string          `json:"link"`
	Grant      string          `json:"grant"`
	Vault      string          `json:"vault"`
	Recipient  string          `json:"recipient"`
	Until      time.Time       `json:"until"`
	DocumentID string          `json:"documentId,omitempty"` // of a single object
	Capability json.RawMessage `json:"capability,omitempty"` // for a single object
	Objects    []sharedObject  `json:"objects,omitempty"`    // of a folder
}

// A sharedObject is one object of a shared folder.
type sharedObject struct {
	DocumentID string          `json:"documentId"`
	Capability json.RawMessage `json:"capability"`
}

// Run shares one item, or what is in a folder, and writes the link.
func (c *shareCommand) Run(ctx context.Context, p *program) error {
	options := agent.ShareOptions{With: c.With}
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
	if _, err := o.Stat(ctx, c.Path); errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
	}
	g, link, err := o.Share(ctx, c.Path, options)
	if err != nil && !strings.Contains(c.With, ":") {
		return explain(err, `give what "coffer whoami" shows there as identity`, "cannot share %s", c.Path)
	}
	if err != nil {
		return explain(err, "", "cannot share %s", c.Path)
	}
	result := share{Link: link.String(), Grant: g.ID, Vault: link.Vault, Recipient: g.With, Until: g.Until}
	for _, s := range link.Objects {
		result.Objects = append(result.Objects, sharedObject{s.ID.String(), s.Capability})
	}
	if len(result.Objects) == 1 {
		result.DocumentID, result.Capability = result.Objects[0].DocumentID, result.Objects[0].Capability
		result.Objects = nil
	}
	p.note("Good for that one reader until %s. Send the link any way you like; it is of use to nobody else.\n"+
		"Take it back: coffer revoke %s", timeText(g.Until), g.ID)
	return p.result(result, "%s", result.Link)
}
