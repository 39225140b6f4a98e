package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type hubGrantsCommand struct {
	Kind   string `placeholder:"CONTEXT/TYPE" help:"Only for this kind."`
	AtTime string `placeholder:"TIME" help:"With --kind: who had access then, also if it was revoked since."`
	hubKind
	hubOf
}

// Help says more.
func (hubGrantsCommand) Help() string {
	return `With --of: what somebody else lets you do. --at-time is a time, or a day: at its end.

Examples:
  coffer hub grants
  coffer hub grants --kind hl7.org/Patient --at-time 2026-03-03
  coffer hub grants --of Bob`
}

// A hubGrant is how results describe a permission.
type hubGrant struct {
	ID        string    `json:"id"`
	Grantee   string    `json:"grantee"`
	Name      string    `json:"name,omitempty"` // what the owner calls the grantee
	Interface string    `json:"interface"`
	Context   string    `json:"context"`
	Type      string    `json:"type"`
	Private   bool      `json:"private,omitempty"`
	Allow     string    `json:"allow"`
	Objects   []string  `json:"objects,omitempty"`
	CreatedBy string    `json:"createdBy,omitempty"`
	Filter    string    `json:"filter,omitempty"`
	Purpose   string    `json:"purpose,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Hold      time.Time `json:"hold,omitzero"`
	MaxBytes  int64     `json:"maxBytes,omitempty"`
	MaxKeys   int64     `json:"maxKeys,omitempty"`
	Since     time.Time `json:"since"`
	Used      []string  `json:"used,omitempty"` // days on which it was used
	State     string    `json:"state"`          // active, expired
}

func (o *owner) hubGrant(ctx context.Context, g *hub.Given) hubGrant {
	k := completed(g.Kind)
	r := hubGrant{
		ID: g.ID.String(), Grantee: g.Grantee, Interface: k.Interface, Context: k.Context, Type: k.Type, Private: k.Private,
		Allow: g.Allow, CreatedBy: g.CreatedBy, Filter: g.Filter, Purpose: g.Purpose, Until: g.Expires,
		Hold: g.NotRevocableBefore, MaxBytes: g.MaxBytes, MaxKeys: g.MaxKeys, Since: g.Created, State: "active",
		Used: g.Used,
	}
	switch name := o.callHub(ctx, g.Grantee); {
	case g.Grantee == coffer.Everybody:
		r.Name = everybody
	case name != g.Grantee:
		r.Name = name
	}
	for _, id := range g.Objects {
		r.Objects = append(r.Objects, id.String())
	}
	if !g.Expires.IsZero() && !o.program.now().Before(g.Expires) {
		r.State = "expired"
	}
	return r
}

// who names the grantee to a person.
func (g *hubGrant) who() string {
	if g.Name != "" {
		return g.Name
	}
	return g.Grantee
}

// limits says to a person what restricts the permission.
func (o *owner) limits(ctx context.Context, g *hubGrant) string {
	var list []string
	add := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(len(g.Objects) > 0, "of %s", objectsText(len(g.Objects)))
	add(g.CreatedBy != "", "created by %s", o.callHub(ctx, g.CreatedBy))
	add(g.Filter != "", "where %s", g.Filter)
	add(g.Purpose != "", "for %q", g.Purpose)
	add(g.MaxBytes > 0, "up to %s", bytesText(g.MaxBytes))
	add(g.MaxKeys > 0, "up to %d keys", g.MaxKeys)
	add(!g.Hold.IsZero(), "not before %s to be revoked", timeText(g.Hold))
	if n := len(g.Used); n > 0 {
		add(true, "last used %s", g.Used[n-1])
	}
	add(g.State == "active" && !g.Until.IsZero(), "until %s", timeText(g.Until))
	add(g.State == "expired", "expired %s", timeText(g.Until))
	return strings.Join(list, ", ")
}

// Run lists permissions.
func (c *hubGrantsCommand) Run(ctx context.Context, p *program) error {
	var k hub.Kind
	var err error
	if c.Kind != "" {
		if k, err = c.kind(c.Kind); err != nil {
			return err
		}
	}
	var at time.Time
	if c.AtTime != "" {
		ok := false
		if at, ok = readUntil(c.AtTime, p.now()); !ok || c.Kind == "" || c.Of != "" {
			return failed(coffer.Invalid, "write it like --kind hl7.org/Patient --at-time 2026-03-03T17:00",
				"--at-time goes with --kind, in your own hub")
		}
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	list, err := c.list(ctx, h, k, at)
	if err != nil {
		return o.explainHub(h, err, "cannot list the permissions")
	}
	t := p.table()
	for _, g := range list {
		r := o.hubGrant(ctx, g)
		if !at.IsZero() {
			r.State = "active" // it was, then
		}
		err := t.row(r, short(g.ID), r.who(), r.Allow, kindText(g.Kind), "since "+timeText(g.Created), o.limits(ctx, &r))
		if err != nil {
			return err
		}
	}
	return t.flush()
}

func (c *hubGrantsCommand) list(ctx context.Context, h *hub.Hub, k hub.Kind, at time.Time) (list []*hub.Given, err error) {
	if !at.IsZero() {
		return h.AccessAt(ctx, k, at)
	}
	for g, err := range h.Grants(ctx) {
		switch {
		case errors.Is(err, coffer.Corrupt):
			continue // of no effect: nobody gets keys by it
		case err != nil:
			return nil, err
		case c.Kind != "" && completed(g.Kind) != k:
			continue
		}
		list = append(list, g)
	}
	return list, nil
}
