package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer"
)

type statusCommand struct{}

// A status is the result of asking for it.
type status struct {
	Vault      string `json:"vault"`
	Node       string `json:"node"`
	Controller string `json:"controller"`
	Grants     int    `json:"grants"`     // that last
	Checkpoint uint64 `json:"checkpoint"` // changes in the history that the node vouches for; 0 if it does not
	Cache      int64  `json:"cache"`      // bytes
	Jobs       []job  `json:"jobs"`
}

// A job is work that is left.
type job struct {
	Path string `json:"path"`
	Done int    `json:"done"`
	Left int    `json:"left"`
}

// Help says more.
func (statusCommand) Help() string {
	return `Examples:
  coffer status
  coffer status --json | jq '[.jobs[].left] | add'`
}

// Run shows how things stand.
func (statusCommand) Run(ctx context.Context, p *program) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	s := status{
		Vault: o.profile.Vault, Node: o.profile.Node, Controller: o.controller.DID(), Cache: cacheSize(l.cache), Jobs: []job{},
	}
	for g, err := range o.Grants(ctx) {
		if err != nil {
			return explain(err, "", "cannot count the grants")
		}
		if g.Active(p.now()) {
			s.Grants++
		}
	}
	jobs, err := o.Jobs(ctx)
	if err != nil {
		return explain(err, "", "cannot look for work that is left")
	}
	for _, j := range jobs {
		s.Jobs = append(s.Jobs, job{j.Path, j.Done, j.Left})
	}
	if o.log != nil {
		if s.Checkpoint, err = o.log.size(ctx); err != nil && !errors.Is(err, coffer.NotExist) {
			return explain(err, "", "cannot ask for a checkpoint")
		}
	}
	return p.result(s, "%s", s.text())
}

// text describes the status to a person.
func (s *status) text() string {
	var b strings.Builder
	history := "not vouched for by the node"
	if s.Checkpoint > 0 {
		history = fmt.Sprintf("%d changes, signed by the node", s.Checkpoint)
	}
	fmt.Fprintf(&b, "vault       %s\nat the node %s\nhistory     %s\ngrants      %d\ncache       %s\nwork left   ", s.Vault,
		s.Controller, history, s.Grants, bytesText(s.Cache))
	if len(s.Jobs) == 0 {
		b.WriteString("none")
	}
	for i, j := range s.Jobs {
		if i > 0 {
			b.WriteString("\n            ")
		}
		fmt.Fprintf(&b, "%s: %s of %d", printable(whatText(strings.TrimPrefix(j.Path, "/"), "")), objectsText(j.Left), j.Done+j.Left)
	}
	if len(s.Jobs) > 0 {
		b.WriteString(` ("coffer work" goes on)`)
	}
	return b.String()
}
