package hub

import (
	"context"
	"encoding/json"

	"github.com/cofferhq/coffer"
)

// value returns the present value of an object: of most strategies, what the last commit carries.
func (h *hub) value(ctx context.Context, r *row) ([]byte, error) { return nil, nil }

// Perform implements [coffer.Hub].
func (v *view) Perform(ctx context.Context, owner string, a *coffer.HubAct) ([]coffer.HubItem, error) {
	return nil, notImplemented("@type", "not yet")
}

// Describe implements [coffer.Hub].
func (v *view) Describe(ctx context.Context, owner string) (*coffer.HubDescription, error) {
	return nil, notImplemented("@type", json.Number("").String())
}
