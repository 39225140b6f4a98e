package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type hubProfileCommand struct {
	Kind string `arg:"" optional:"" help:"CONTEXT/TYPE: say this of yourself, in the place of what you said of this kind."`
	File string `arg:"" optional:"" help:"What you say, as JSON; - is standard input."`
	hubOf
}

// Help says more.
func (hubProfileCommand) Help() string {
	return `A profile is public, and signed. What was said first is what comes first.

Examples:
  echo '{"name": "Ada", "url": "https://ada.example"}' | coffer hub profile schema.org/Person -
  coffer hub profile --of Bob`
}

// Run shows a profile, or changes one's own.
func (c *hubProfileCommand) Run(ctx context.Context, p *program) error {
	var k hub.Kind
	var value []byte
	var err error
	switch {
	case c.Kind == "":
	case c.File == "":
		return failed(coffer.Invalid, "give a file, or - for standard input", "there is nothing to say of yourself")
	case c.Of != "":
		return failed(coffer.Invalid, "", "only your own profile can be changed")
	default:
		if k, err = (&hubKind{Interface: coffer.ProfileInterface}).kind(c.Kind); err != nil {
			return err
		}
		if value, err = p.jsonFrom(ctx, c.File); err != nil {
			return err
		}
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	if value != nil {
		if err := h.SetProfile(ctx, k, json.RawMessage(value)); err != nil {
			return o.explainHub(h, err, "cannot change the profile")
		}
		if p.Quiet && !p.JSON {
			return nil
		}
		return p.result(struct {
			Context string `json:"context"`
			Type    string `json:"type"`
		}{k.Context, k.Type}, "said in your profile: %s/%s", printable(k.Context), printable(k.Type))
	}
	var bad unopened
	for object, err := range h.Profile(ctx) {
		switch {
		case err != nil && bad.one(err):
			continue
		case err != nil:
			return o.explainHub(h, err, "cannot read the profile")
		}
		bad.some = true
		if err := p.result(newHubObject(h, object), "%s", strings.TrimSpace(string(object.Value))); err != nil {
			return err
		}
	}
	return bad.failure(p)
}
