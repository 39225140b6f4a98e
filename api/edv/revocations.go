package edv

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"net/http"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// revoke is POST V/zcaps/revocations/{capability}. Everyone who took part in the capability's chain may cut it, so the
// chain is verified before it is known who asks. The published client posts to V/zcaps/revocations when it was delegated
// that; there, only the vault's root is good.
func (c *call) revoke() error {
	const collection = "/zcaps/revocations"
	id := c.path.segments[4]
	named := c.path.n == 5
	if named && c.target() != c.url+collection+"/"+encodeComponent(id) {
		return fail(http.StatusNotFound, notFoundError, coffer.NotExist, "no such place") // one URL for each capability
	}
	if _, err := c.path.params(); err != nil {
		return invalid(err)
	}
	body, err := c.read(c.o.Limits.Body)
	if err != nil {
		return err
	}
	parsed, err := grant.ParseCapability(body)
	if coffer.KindOf(err) == coffer.Invalid {
		return invalid(err)
	} else if err != nil {
		return unauthorized(err)
	}
	if named && parsed.ID() != id {
		return fail(http.StatusBadRequest, dataError, coffer.Invalid, "the capability's id is not the one in the path")
	}
	capability, err := grant.VerifyChain(c.r.Context(), body, c.facts("", c.controllers))
	if err != nil {
		return unauthorized(err)
	}
	// Two roots are good: the vault's, and the one of this very URL, which belongs to all of the chain.
	everyone := func(ctx context.Context, target string) ([]string, error) {
		found, err := c.controllers(ctx, c.url)
		if err != nil || target == c.url || target != c.target() || !named || len(found) == 0 {
			return found, err
		}
		return append(found, capability.ChainControllers()...), nil
	}
	if err := c.authorize(grant.Write, everyone); err != nil {
		return err
	}
	if err := c.checkDigest(body); err != nil {
		return err
	}
	if err := c.view().Revoke(c.r.Context(), c.target(), capability, body); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// revocations is GET V/zcaps/revocations?limit=&cursor=.
func (c *call) revocations() error {
	params, err := c.path.params("limit", "cursor")
	limit, after := maxPage, revocationPlace{}
	if text, ok := params["limit"]; ok && err == nil {
		limit, err = parseLimit(text)
	}
	if text, ok := params["cursor"]; ok && err == nil {
		after, err = parseRevocationPlace(text)
	}
	if err != nil {
		return invalid(err)
	}
	a := c.answer("application/json")
	defer a.release()
	a.text(`{"revocations":[`)
	var at revocationPlace
	n, more := 0, false
	for r, err := range c.view().Revocations(c.r.Context()) {
		if err != nil {
			return err
		}
		if at = at.next(r.Time.UnixNano()); !at.beyond(after) {
			continue
		}
		if more = n == limit; more || a.err != nil {
			break
		}
		b, err := jose.Encode(r)
		if err != nil {
			return coffer.E("revocations", coffer.Corrupt, err)
		}
		if n > 0 {
			a.text(",")
		}
		a.bytes(b)
		n++
		after = at
	}
	if more {
		a.text(`],"hasMore":true,"cursor":"` + after.String() + `"}`)
	} else {
		a.text(`],"hasMore":false}`)
	}
	return a.end()
}

// A revocationPlace is a place in the list of revocations, which is in order of time: the time of the one before it,
// and how many of that time have come. It stays good when older ones leave the list.
type revocationPlace struct {
	nanos int64
	count uint32
}

func (p revocationPlace) next(nanos int64) revocationPlace {
	if nanos == p.nanos {
		return revocationPlace{nanos, p.count + 1}
	}
	return revocationPlace{nanos, 1}
}

func (p revocationPlace) beyond(q revocationPlace) bool {
	return p.nanos > q.nanos || p.nanos == q.nanos && p.count > q.count
}

const revocationCursorVersion = 2

// String returns the place as a cursor.
func (p revocationPlace) String() string {
	b := binary.BigEndian.AppendUint64([]byte{revocationCursorVersion}, uint64(p.nanos))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, p.count))
}

func parseRevocationPlace(s string) (p revocationPlace, err error) {
	b, ok := jose.Decode64(s)
	if !ok || len(b) != 13 || b[0] != revocationCursorVersion {
		return p, coffer.Errorf("cursor", coffer.Invalid, "not one of this server's")
	}
	return revocationPlace{int64(binary.BigEndian.Uint64(b[1:])), binary.BigEndian.Uint32(b[9:])}, nil
}
