package main

import (
	"context"
	"strings"

	"github.com/cofferhq/coffer/agent/hub"
)

type hubAttestCommand struct {
	Who     string   `arg:"" help:"Contact or identifier."`
	Type    []string `arg:"" help:"Types of credentials that will do."`
	Purpose string   `placeholder:"TEXT" help:"What for. Whom you ask reads it."`
	hubSend
}

// Help says more.
func (hubAttestCommand) Help() string {
	return `They agree or not, and then send the proof; all of it comes to your inbox, as one thread.

Examples:
  coffer hub attest Bob AgeOver18 --purpose "to sell you wine"
  coffer inbox 3f9a --json | jq .value.proof`
}

// Run leaves a request for a proof.
func (c *hubAttestCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	to, options, err := c.to(ctx, o, c.Who)
	if err != nil {
		return err
	}
	at, err := to.RequestAttestation(ctx, hub.Attestation{Types: c.Type, Purpose: c.Purpose}, options)
	if err != nil {
		return o.explainSend(to, err, "cannot ask")
	}
	return o.sent(ctx, at, "asked %s for a proof of %s; the answer comes to your inbox",
		o.callHub(ctx, to.Owner()), strings.Join(c.Type, " or "))
}
