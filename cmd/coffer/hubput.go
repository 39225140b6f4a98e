package main

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type hubPutCommand struct {
	Kind  string `arg:"" help:"CONTEXT/TYPE, like schema.org/MusicPlaylist."`
	Value string `arg:"" optional:"" help:"The value, as JSON in a file; - is standard input. Default with --file: its name, what it is, and its size."`
	File  string `placeholder:"PATH" help:"Keep this with it, as it is, of any size: a picture, a film; - is standard input."`
	hubMeta
	Strategy string `enum:"basic,lastWriterWins,json-merge-patch" default:"basic" help:"When several write at once: basic, the last one counts; json-merge-patch, the last one of each member; lastWriterWins, as other programs call basic."`
	hubKind
	hubOf
}

// hubMeta is what is said of an object for the hub to see.
type hubMeta struct {
	Title  string   `placeholder:"TEXT" help:"A title. The node sees it."`
	Tag    []string `placeholder:"TAG" help:"Tags. The node sees them."`
	Public bool     `help:"In plain text, signed, for anybody to find and to read."`

	CacheIntent string `enum:",min,attr,full" default:"" placeholder:"HOW" help:"How much of it hubs need to hold that are caches: min, the record; attr, values of up to 16 KiB; full."`
}

func (c *hubMeta) options() *hub.PutOptions {
	o := &hub.PutOptions{Title: c.Title, Tags: c.Tag, Public: c.Public}
	if c.CacheIntent != "" {
		o.Meta = []byte(`{"cache-intent":"` + c.CacheIntent + `"}`)
	}
	return o
}

// Help says more.
func (hubPutCommand) Help() string {
	return `The node sees the kind, when it was written and by whom, and title and tags. It cannot read the value, unless it is public.

Examples:
  coffer hub put schema.org/MusicPlaylist rain.json --tag rain
  echo '{"name": "Bicycle", "price": 120}' | coffer hub put schema.org/Offer - --public
  coffer hub put schema.org/Review review.json --of Bob
  coffer hub put schema.org/ImageObject --file sunset.jpg`
}

// Run keeps an object.
func (c *hubPutCommand) Run(ctx context.Context, p *program) error {
	k, err := c.kind(c.Kind)
	if err != nil {
		return err
	}
	const help = `see "coffer hub put --help"`
	switch {
	case c.Value == "" && c.File == "":
		return failed(coffer.Invalid, help, "give a value, or a file with --file")
	case c.Value == "-" && c.File == "-":
		return failed(coffer.Invalid, help, "standard input cannot be both the value and the file")
	case c.File != "" && c.Public:
		return failed(coffer.Invalid, "leave out --public", "what goes with --file is encrypted in any case")
	}
	var value any
	var source *hubSource
	if c.File != "" {
		if source, err = p.hubSource(ctx, c.File); err != nil {
			return err
		}
		defer source.close()
		value = source.described(k)
	}
	if c.Value != "" {
		if value, err = p.jsonFrom(ctx, c.Value); err != nil {
			return err
		}
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	options := c.options()
	options.Strategy = c.Strategy
	var id coffer.CommitRev
	if source != nil {
		id, err = p.putFile(ctx, h, k, value, source, options)
	} else {
		id, err = h.Put(ctx, k, value, options)
	}
	if err != nil {
		return o.explainHub(h, err, "cannot keep the object")
	}
	return o.wrote(h, k, id, "put")
}
