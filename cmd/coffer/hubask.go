package main

import (
	"context"

	"github.com/cofferhq/coffer/agent/hub"
)

type hubAskCommand struct {
	Who     string `arg:"" help:"Contact or identifier."`
	Kind    string `arg:"" help:"CONTEXT/TYPE."`
	Allow   string `arg:"" help:"Letters of C (create), R (read), U (update), D (delete)."`
	Purpose string `placeholder:"TEXT" help:"What for. Whom you ask reads it."`

	Interface string `enum:"Collections,Profile,Services,Stores" default:"Collections" help:"Of which interface. Default: Collections."`
	hubSend
}

// Help says more.
func (hubAskCommand) Help() string {
	return `The request is signed, sealed, and left in their hub. The answer comes to your inbox.

Examples:
  coffer hub ask Bob schema.org/MusicPlaylist R --purpose "a party on Friday"
  coffer inbox
  coffer hub ls schema.org/MusicPlaylist --of Bob`
}

// Run leaves a request for a permission.
func (c *hubAskCommand) Run(ctx context.Context, p *program) error {
	k, err := (&hubKind{Interface: c.Interface}).kind(c.Kind)
	if err != nil {
		return err
	}
	allow, err := rightsText(c.Allow)
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
	at, err := to.RequestPermission(ctx, hub.PermissionRequest{
		Purpose:     c.Purpose,
		Permissions: []hub.Wanted{{Interface: k.Interface, Context: k.Context, Type: k.Type, Allow: allow}},
	}, options)
	if err != nil {
		return o.explainSend(to, err, "cannot ask")
	}
	return o.sent(ctx, at, "asked %s for %s on %s; the answer comes to your inbox",
		o.callHub(ctx, to.Owner()), allow, kindText(k))
}
