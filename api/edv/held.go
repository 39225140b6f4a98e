package edv

import (
	"context"
	"encoding/base64"
	"io"
	"iter"
	"net/http"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// AccessHeader carries an object's secret: 43 characters of unpadded base64url. doc/access.md says what it admits to.
const AccessHeader = "Coffer-Access"

// parseAccess reads the header's values. There must be one, in its one form.
func parseAccess(values []string) (s coffer.Secret, ok bool) {
	if len(values) != 1 || len(values[0]) != base64.RawURLEncoding.EncodedLen(len(s)) {
		return s, false
	}
	b, ok := jose.Decode64(values[0])
	if !ok {
		return s, false
	}
	return coffer.Secret(b), true
}

func formatAccess(s coffer.Secret) string { return base64.RawURLEncoding.EncodeToString(s[:]) }

// held is the vault as the caller may see it with the secret that the request carries. A malformed one is none: there
// is one answer to all that do not admit.
func (c *call) held() coffer.Vault {
	secret, ok := parseAccess(c.r.Header[AccessHeader])
	return c.view().Held(func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool) { return secret, ok })
}

// insertHeld is POST V/held.
func (c *call) insertHeld() error {
	d, err := c.document()
	if err != nil {
		return err
	}
	ch, err := coffer.Put(c.r.Context(), c.held(), d)
	if err != nil {
		return err
	}
	c.Header()["Location"] = []string{c.url + "/held/" + d.ID.String()}
	return c.accepted(http.StatusCreated, ch)
}

// getHeld is GET V/held/{id}.
func (c *call) getHeld() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	if _, err := c.path.params(); err != nil {
		return invalid(err)
	}
	return c.getFrom(c.held(), id)
}

// updateHeld is POST V/held/{id}. What is replaced must be named: who may write without reading is not told of it.
func (c *call) updateHeld() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	d, err := c.document()
	if err != nil {
		return err
	}
	if d.ID != id {
		return fail(http.StatusBadRequest, dataError, coffer.Invalid, "the document's id is not the one in the path")
	}
	switch match, none := c.r.Header["If-Match"], c.r.Header.Get("If-None-Match"); {
	case len(match) > 0 && none == "":
		if d.Parents, err = parseMatch(match); err != nil {
			// Whether there is such an object is for the vault to say first: no revision has this name.
			d.Parents = []coffer.Rev{{}}
		}
	case len(match) > 0 || none != "*":
		return fail(http.StatusBadRequest, validationError, coffer.Invalid, "needs If-Match, or If-None-Match: *")
	}
	ch, err := coffer.Put(c.r.Context(), c.held(), d)
	if err != nil {
		return err
	}
	return c.accepted(http.StatusNoContent, ch)
}

// eraseHeld is DELETE V/held/{id}.
func (c *call) eraseHeld() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	return c.eraseFrom(c.held(), id)
}

// getHeldChunk is GET V/held/{id}/chunks/{index}.
func (c *call) getHeldChunk() error {
	id, index, err := c.chunk()
	if err != nil {
		return err
	}
	return c.getChunkFrom(c.held(), id, index)
}

// putHeldChunk is POST V/held/{id}/chunks/{index}.
func (c *call) putHeldChunk() error {
	id, index, err := c.chunk()
	if err != nil {
		return err
	}
	return c.putChunkTo(c.held(), id, index)
}

// dropHeldChunk is DELETE V/held/{id}/chunks/{index}.
func (c *call) dropHeldChunk() error {
	id, index, err := c.chunk()
	if err != nil {
		return err
	}
	return c.dropChunkFrom(c.held(), id, index)
}

// remoteHeld is a vault that is reached over HTTP, as one sees it who may reach just the objects whose secrets he
// holds.
type remoteHeld struct {
	v      *RemoteVault
	secret func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool)
}

var _ coffer.Holder = (*RemoteVault)(nil)

// Held implements [coffer.Holder]. The secrets are sent to the vault's server, with each request that needs one.
func (v *RemoteVault) Held(secret func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool)) coffer.Vault {
	return &remoteHeld{v, secret}
}

func (h *remoteHeld) document(id coffer.ObjectID) string { return h.v.url + "/held/" + id.String() }

// request returns a request at a URL, with the secret that admits to an object if there is one. Without one it is sent
// all the same: the server knows what to say.
func (h *remoteHeld) request(url string, id coffer.ObjectID, a coffer.Access) *request {
	r := &request{url: url}
	if s, ok := h.secret(id, a); ok {
		r.access = &s
	}
	return r
}

// Get implements [coffer.Vault].
func (h *remoteHeld) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	return h.v.get(ctx, h.request(h.document(id), id, coffer.ReadAccess), id)
}

// Apply implements [coffer.Vault], for one write.
func (h *remoteHeld) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	const op = "apply"
	switch len(writes) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, coffer.Errorf(op, coffer.Denied, "one write at a time")
	}
	w := writes[0]
	r := h.request(h.document(w.ID()), w.ID(), coffer.WriteAccess)
	r.method = "DELETE"
	if d := w.Document; d != nil {
		if err := agree(d); err != nil {
			return nil, err
		}
		r.method, r.body = "POST", d.Body
		if len(d.Parents) > 0 {
			r.ifMatch = formatMatch(d.Parents)
		} else {
			r.url, r.access = h.v.url+"/held", nil
		}
	}
	r.op, r.action, r.accept = op, grant.Write, ChangeType+", application/json"
	a, err := h.v.do(ctx, r)
	if err != nil {
		return nil, err
	}
	ch, err := changed(a, w)
	if err != nil {
		return nil, err
	}
	return []coffer.Change{ch}, nil
}

// Chunk implements [coffer.Vault].
func (h *remoteHeld) Chunk(
	ctx context.Context, id coffer.ObjectID, index uint64,
) (coffer.ChunkRef, io.ReadCloser, error) {
	return h.v.receiveChunk(ctx, h.request(chunkURL(h.document(id), index), id, coffer.ReadAccess), index)
}

// PutChunk implements [coffer.Vault].
func (h *remoteHeld) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	return h.v.sendChunk(ctx, h.request(chunkURL(h.document(id), ref.Index), id, coffer.WriteAccess), ref, r)
}

// DropChunk implements [coffer.Vault].
func (h *remoteHeld) DropChunk(ctx context.Context, id coffer.ObjectID, index uint64) error {
	r := h.request(chunkURL(h.document(id), index), id, coffer.WriteAccess)
	r.op, r.method, r.action = "drop chunk", "DELETE", grant.Write
	_, err := h.v.do(ctx, r)
	return err
}

// Query implements [coffer.Vault]. It is Denied.
func (h *remoteHeld) Query(context.Context, coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) { yield(nil, notHeld()) }
}

// Count implements [coffer.Vault]. It is Denied.
func (h *remoteHeld) Count(context.Context, coffer.Query) (int, error) { return 0, notHeld() }

// Changes implements [coffer.Vault]. It is Denied.
func (h *remoteHeld) Changes(context.Context, coffer.Cursor, bool) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) { yield(coffer.Change{}, notHeld()) }
}

func notHeld() error { return coffer.Errorf("vault", coffer.Denied, "not for what is held") }
