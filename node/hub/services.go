package hub

import (
	"context"
	"net/url"

	"github.com/cofferhq/coffer"
)

// Services: OpenAPI descriptors of what an owner offers elsewhere, by grants or public. The hub executes none of it.

// What a relay is written as: by the owner, with the payload {"interface": …, "location": URL}. It says that the verb
// plane of an interface is offered elsewhere.
const (
	relayContext = "schema.identity.foundation/0.1"
	relayType    = "Relay"
)

// relay returns where the verb plane of an interface is offered, "" if it is here.
func (s *Service) relay(ctx context.Context, h *hub, iface string) (string, error) {
	tag := h.tag(byCreator, coffer.ServicesInterface, relayContext, relayType, h.owner)
	for d, err := range h.documents(ctx, []string{tag}, coffer.ObjectID{}, maxRelays) {
		if err != nil {
			return "", err
		}
		r, err := h.readRow(d, true)
		if err != nil {
			return "", err
		}
		if r.Object.Deleted || r.Object.UpdatedBy != h.owner {
			continue
		}
		k, err := h.commit(ctx, r.Object.Revision)
		if err != nil {
			return "", err
		}
		if k == nil || !s.vouches(k.issuer, h.owner) {
			continue
		}
		value, err := h.value(ctx, r)
		if err != nil {
			return "", err
		}
		var of, location string
		if !exact(value, members{"interface": &of, "location": &location}) || of != iface {
			continue
		}
		if u, err := url.Parse(location); err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil {
			return location, nil
		}
	}
	return "", nil
}

// maxRelays is how many relays are asked for at a time.
const maxRelays = 16
