package hub

import (
	"context"

	"github.com/cofferhq/coffer"
)

// Describe implements [coffer.Hub].
func (v *view) Describe(ctx context.Context, owner string) (*coffer.HubDescription, error) {
	return nil, notImplemented("@type", "not yet")
}
