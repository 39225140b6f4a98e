package main

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type hubWatchCommand struct {
	Kind  string        `arg:"" help:"CONTEXT/TYPE."`
	Every time.Duration `default:"5s" placeholder:"TIME" help:"How often to look. Default: 5s."`
	Once  bool          `help:"Write what is new since the last time, and end."`
	Again bool          `help:"Begin with all there is."`
	hubKind
	hubOf
}

// Help says more.
func (hubWatchCommand) Help() string {
	return `How far it came is kept on this machine: the next time only what is new since then is written.

Examples:
  coffer hub watch schema.org/Offer --of Bob
  coffer hub watch schema.org/Order --once --json | jq .value`
}

// Run follows the objects of a kind.
func (c *hubWatchCommand) Run(ctx context.Context, p *program) error {
	k, err := c.kind(c.Kind)
	if err != nil {
		return err
	}
	if c.Every < time.Second {
		return failed(coffer.Invalid, "give a second or more", "--every is too short")
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	note, err := o.watchNote(ctx, h, k, c.hubOf)
	if err != nil {
		return err
	}
	since := ""
	if !c.Again {
		if since, err = note.load(ctx); err != nil {
			return explain(err, "begin again with --again", "cannot tell what was seen before")
		}
	}
	w := h.Watch(k, nil, since)
	for {
		if err := o.watched(ctx, h, w); err != nil {
			return err
		}
		if err := note.save(ctx, w.Watermark()); err != nil {
			return explain(err, "", "cannot note how far it came")
		}
		if c.Once {
			return nil
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-time.After(c.Every):
		}
	}
}

// watched writes what is new.
func (o *owner) watched(ctx context.Context, h *hub.Hub, w *hub.Watch) error {
	var bad unopened
	for object, err := range w.Changes(ctx) {
		if err != nil {
			if bad.one(err) {
				continue
			}
			return o.explainHub(h, err, "cannot look for what is new")
		}
		bad.some = true
		cells := o.cells(ctx, object)
		err := o.program.result(newHubObject(h, object), "%s", printable(strings.Join(cells, "  ")))
		if err != nil {
			return err
		}
	}
	return bad.failure(o.program)
}

// A watchNote is where it is noted how far a kind was watched. Its name tells nobody which.
type watchNote struct {
	journal journal
	name    string
}

func (o *owner) watchNote(ctx context.Context, h *hub.Hub, k hub.Kind, of hubOf) (*watchNote, error) {
	l, err := o.program.places()
	if err != nil {
		return nil, err
	}
	private := ""
	if k.Private {
		private = "private"
	}
	label := strings.Join([]string{
		"coffer hub watch 1", h.Owner(), of.At, of.Purpose, k.Interface, k.Context, k.Type, private,
	}, "\x00")
	b, err := o.ring.Derive(ctx, label)
	if err != nil {
		return nil, err
	}
	return &watchNote{journal{l.journal}, base64.RawURLEncoding.EncodeToString(b)}, nil
}

// load returns what was noted; nothing the first time.
func (n *watchNote) load(ctx context.Context) (string, error) {
	b, err := n.journal.Load(ctx, n.name)
	if errors.Is(err, coffer.NotExist) {
		return "", nil
	}
	return string(b), err
}

func (n *watchNote) save(ctx context.Context, watermark string) error {
	return n.journal.Save(ctx, n.name, []byte(watermark))
}
