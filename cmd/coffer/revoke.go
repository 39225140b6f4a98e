package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type revokeCommand struct {
	What string `arg:"" name:"path or grant" help:"What was shared (with --with), or a grant's id."`
	With string `placeholder:"ID" help:"Who is to read it no more."`
}

// Run takes a share back.
func (c *revokeCommand) Run(ctx context.Context, p *program) error {
	what := agent.Revocation{Path: c.What, With: c.With}
	if c.With == "" {
		if _, err := coffer.ParseObjectID(c.What); err != nil {
			return failed(coffer.Invalid, `give --with ID, or a grant's id as "coffer grants" shows it`,
				"this says not whose share to revoke")
		}
		what = agent.Revocation{Grant: c.What}
	}
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	bar := p.progress("new keys", -1)
	defer bar.done()
	before := make(map[coffer.ObjectID]int64)
	what.Progress = func(object coffer.ObjectID, done, _ int64) {
		bar.add(done - before[object])
		before[object] = done
	}
	err = o.Revoke(ctx, what)
	bar.done()
	switch {
	case ctx.Err() != nil:
		return &failure{message: "interrupted", next: "run the same command again to finish", err: errInterrupted}
	case errors.Is(err, coffer.NotExist):
		return failed(coffer.NotExist, `see what is shared with "coffer grants"`, "there is no such share")
	case err != nil:
		return explain(err, "run the same command again to finish", "cannot revoke all of it")
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		Revoked string `json:"revoked"`
		With    string `json:"with,omitempty"`
	}{c.What, c.With}, "revoked; what was read until now stays read")
}
