package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
)

// attributeCommand is "coffer attribute".
type attributeCommand struct {
	Add attributeAddCommand `cmd:"" help:"Let the node search for a field of typed objects, blinded."`
	Ls  attributeLsCommand  `cmd:"" help:"List the fields that the node can search for."`
	Rm  attributeRmCommand  `cmd:"" help:"Take a field back."`
}

type attributeAddCommand struct {
	Path   string `arg:"" help:"The field, by its dotted name: customer, address.city."`
	Prefix bool   `xor:"match" help:"Find texts by how they begin, too."`
	Range  bool   `xor:"match" help:"Find numbers within a range, too."`
	Days   bool   `xor:"match" help:"Find dates within a range, too, to the day."`
	Times  bool   `xor:"match" help:"Find times within a range, too."`
}

// Help says more.
func (attributeAddCommand) Help() string {
	return `"coffer find" needs no attributes: it searches an index that the node cannot read. An attribute is for finding in
a vault whose index you do not want to fetch, and it tells the node something: which objects have the same value in it,
how many fields can be searched for, which objects each search finds, and when the same is searched for again. With
--prefix it sees which values begin alike, and with the others which are near to each other. It sees no names and no
values.

Examples:
  coffer attribute add customer
  coffer attribute add total --range
  coffer find --at-provider customer=ACME`
}

type attributeLsCommand struct{}

type attributeRmCommand struct {
	Path string `arg:"" help:"The field."`
}

// matchNames are the matches as flags and results name them.
var matchNames = map[seal.Match]string{
	seal.Equal: "equal", seal.Prefixes: "prefix", seal.Numbers: "range", seal.Days: "days", seal.Times: "times",
}

// Run makes a field an attribute, and stores the typed objects that there are anew.
func (c *attributeAddCommand) Run(ctx context.Context, p *program) error {
	a := agent.Attribute{Path: c.Path}
	switch {
	case c.Prefix:
		a.Match = seal.Prefixes
	case c.Range:
		a.Match = seal.Numbers
	case c.Days:
		a.Match = seal.Days
	case c.Times:
		a.Match = seal.Times
	}
	return p.changeAttributes(ctx, func(o *owner) error { return o.AddAttribute(ctx, a) })
}

// Run takes an attribute back.
func (c *attributeRmCommand) Run(ctx context.Context, p *program) error {
	return p.changeAttributes(ctx, func(o *owner) error { return o.RemoveAttribute(ctx, c.Path) })
}

func (p *program) changeAttributes(ctx context.Context, change func(*owner) error) error {
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	if err := change(o); err != nil {
		return explain(err, `see "coffer attribute ls"`, "cannot change the attributes")
	}
	done := 0
	if err := o.Reblind(ctx, func(n int) { done = n }); err != nil {
		return explain(err, "objects are found by what they were stored with", "cannot store all objects anew")
	}
	if done > 0 {
		p.note("Stored anew: %s.", objectsText(done))
	}
	return nil
}

// Run lists the attributes.
func (attributeLsCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	list, err := o.Attributes(ctx)
	if err != nil {
		return explain(err, "", "cannot list the attributes")
	}
	t := p.table()
	for _, a := range list {
		if err := t.row(struct {
			Path  string `json:"path"`
			Match string `json:"match"`
		}{a.Path, matchNames[a.Match]}, a.Path, matchNames[a.Match]); err != nil {
			return err
		}
	}
	return t.flush()
}

// findAtProvider lists what the node finds by attributes, each given as field=value. A value that is not JSON is text;
// "A..B" is a range, and "A*" a beginning, for attributes with such a match.
func (o *owner) findAtProvider(ctx context.Context, conditions []string, long bool) error {
	p := o.program
	list, err := o.Attributes(ctx)
	if err != nil {
		return explain(err, "", "cannot list the attributes")
	}
	match := make(map[string]seal.Match)
	for _, a := range list {
		match[a.Path] = a.Match
	}
	values := make(map[string]any)
	for _, c := range conditions {
		path, text, ok := strings.Cut(c, "=")
		m, known := match[path]
		switch {
		case !ok:
			return failed(coffer.Invalid, "write it like customer=ACME", "%q is no condition", c)
		case !known:
			return failed(coffer.Invalid, `make it one with "coffer attribute add"`, "%s is no attribute", path)
		}
		values[path] = attributeValue(text, m)
	}
	found, err := collect(o.FindAtProvider(ctx, values))
	if errors.Is(err, coffer.Invalid) {
		return explain(err, `see "coffer attribute --help"`, "the node cannot search for that")
	}
	if err != nil {
		return explain(err, "", "cannot search")
	}
	return p.list(&spot{agent: o.Agent}, found, long)
}

func attributeValue(text string, m seal.Match) any {
	scalar := func(text string) any {
		var v any
		if text == "" {
			return nil
		}
		if json.Unmarshal([]byte(text), &v) != nil {
			return text
		}
		return v
	}
	from, to, ranged := strings.Cut(text, "..")
	begin, prefixed := strings.CutSuffix(text, "*")
	switch {
	case ranged && m != seal.Equal && m != seal.Prefixes:
		return seal.Range{From: scalar(from), To: scalar(to)}
	case prefixed && m == seal.Prefixes:
		return seal.Prefix(begin)
	}
	return scalar(text)
}
