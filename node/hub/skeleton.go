package hub

import (
	"context"

	"github.com/cofferhq/coffer"
)

type hubs struct{}

func newHubs() hubs { return hubs{} }

func later() error { return coffer.Errorf("hub", coffer.Unavailable, "not yet") }

func (v *view) Write(ctx context.Context, owner string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	return nil, later()
}

func (v *view) Adopt(ctx context.Context, owner string, commits ...*coffer.Commit) (int, error) {
	return 0, later()
}

func (v *view) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	return nil, later()
}

func (v *view) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	return nil, later()
}

func (v *view) Perform(ctx context.Context, owner string, a *coffer.HubAct) ([]coffer.HubItem, error) {
	return nil, later()
}

func (v *view) Describe(ctx context.Context, owner string) (*coffer.HubDescription, error) {
	return nil, later()
}
