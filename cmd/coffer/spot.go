package main

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

// A spot is where a command works: a path in the owner's own vault, or in what somebody else shared.
type spot struct {
	agent  *agent.Agent
	path   string            // as it was given, without what leads to the share
	shared *agent.Invitation // nil in the owner's own vault
	prefix string            // what paths are shown with: "NAME:" of an accepted share
}

// spot returns what a text names: PATH; NAME:PATH, in a share that was accepted under the name; or LINK, or LINK:PATH,
// in what the link shares. A path whose first segment has a colon begins with a slash.
func (o *owner) spot(ctx context.Context, text string) (*spot, error) {
	if agent.IsLink(text) {
		link := strings.TrimSpace(text)
		below := ""
		if scheme, rest, _ := strings.Cut(link, ":"); strings.Contains(rest, ":") {
			rest, below, _ = strings.Cut(rest, ":")
			link = scheme + ":" + rest
		}
		return o.follow(ctx, link, below, "")
	}
	name, below, ok := strings.Cut(text, ":")
	if !ok || strings.Contains(name, "/") {
		return &spot{agent: o.Agent, path: text}, nil
	}
	link, err := o.accepted(ctx, name)
	if err != nil {
		return nil, err
	}
	return o.follow(ctx, link, below, name+":")
}

// follow opens a link, and returns what is at a path of what it shares.
func (o *owner) follow(ctx context.Context, link, below, prefix string) (*spot, error) {
	i, err := o.invitation(ctx, link)
	if err != nil {
		return nil, err
	}
	if clean, err := agent.CleanPath(below); err != nil {
		return nil, explain(err, "", "%q is no path", below)
	} else if clean != "" && !i.Folder {
		return nil, failed(coffer.NotExist, "", "what was shared is no folder: there is nothing below it")
	}
	// The node is told the pseudonym that the link holds, over connections of its own.
	origin, _, _ := strings.Cut(i.Vault, "/edvs/")
	client, err := o.program.dial(origin, i.Reader)
	if err != nil {
		return nil, err
	}
	vault, err := client.Vault(i.Vault, i.Capability)
	if err != nil {
		return nil, explain(err, "ask who shared it", "the link cannot be used")
	}
	in, err := o.In(i, vault)
	if err != nil {
		return nil, explain(err, "", "the link cannot be used")
	}
	return &spot{in, below, i, prefix}, nil
}

// invitation opens a link.
func (o *owner) invitation(ctx context.Context, link string) (*agent.Invitation, error) {
	i, err := o.OpenLink(ctx, link)
	switch {
	case errors.Is(err, coffer.Denied):
		return nil, failed(coffer.Denied, `take all of it; "coffer whoami" says who you are`,
			"this link is for somebody else, or a part of it is missing")
	case err != nil:
		return nil, explain(err, "ask for it again, and take all of it", "this is not the link of a share")
	}
	return i, nil
}

// whole reports whether the spot is a single object that somebody shared.
func (s *spot) whole() bool { return s.shared != nil && !s.shared.Folder }

// writable fails if what was shared is for reading.
func (s *spot) writable() error {
	if s.shared == nil {
		return nil
	}
	if !slices.Contains(s.shared.Actions, grant.Write) {
		return failed(coffer.Denied, "ask for a share to write", "this was shared for reading")
	}
	return nil
}

// stat describes what is at the spot.
func (s *spot) stat(ctx context.Context) (agent.Info, error) {
	if !s.whole() {
		return s.agent.Stat(ctx, s.path)
	}
	o, err := s.agent.Get(ctx, "")
	if err != nil {
		return agent.Info{}, err
	}
	return o.Info, nil
}

// name returns what the thing at a path of the spot is called: a single segment of a path. What others say it is called
// is believed if it is one.
func (s *spot) name(p string) string {
	if p == "" && s.shared != nil {
		p = s.shared.Name
		if clean, err := agent.CleanPath(p); err != nil || clean != p || path.Base(p) != p {
			p = "shared"
		}
	}
	if p == "" {
		return ""
	}
	return path.Base(p)
}

// item describes a result at the spot.
func (s *spot) item(i agent.Info) item {
	it := newItem(i)
	it.Path = s.prefix + i.Path
	if s.whole() && s.prefix == "" {
		it.Path = s.name("")
	}
	return it
}

// shown returns a text that names a path as a person knows it: a link is too long to be read.
func shown(p string) string {
	switch {
	case p == "":
		return "/"
	case agent.IsLink(p):
		return "what was shared"
	}
	return p
}

// missing is the failure of something that is not there.
func (s *spot) missing(text string, err error) error {
	if s.shared != nil {
		return explainShare(explain(err, "", "cannot find %s", shown(text)))
	}
	return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", text)
}

// explain puts words before an error at the spot.
func (s *spot) explain(err error, next, format string, args ...any) error {
	err = explain(err, next, format, args...)
	if s.shared != nil {
		return explainShare(err)
	}
	return err
}

// explainShare says why what was shared may be refused.
func explainShare(err error) error {
	var f *failure
	if errors.As(err, &f) && f.next != "" {
		return err
	}
	if kind := kindOf(err); err != nil && (kind == coffer.NotExist || kind == coffer.Denied) {
		return &failure{
			kind: kind, message: "the node refuses: the share was revoked, has ended, or there is no such thing in it",
			next: "ask who shared it", err: err,
		}
	}
	return err
}
