package edv

import (
	"context"
	"io"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// opened finds the vault and the secret of a request that carries no authority. Nothing that is wrong with it is told
// apart from a vault that does not exist.
func (c *call) opened() (View, coffer.Secret, error) {
	secret, ok := parseAccess(c.r.Header[AccessHeader])
	if !ok || c.path.query != "" || c.vault == (coffer.VaultID{}) {
		return nil, secret, nobody
	}
	// There is a vault for this address if it has a controller.
	controller, err := c.o.Host.Controller(c.r.Context(), c.vault, c.o.Address(c.r))
	if err != nil {
		return nil, secret, err
	}
	if controller == "" {
		return nil, secret, nobody
	}
	return c.o.Host.As(grant.Caller{}, c.vault), secret, nil
}

// getOpen is GET V/open/{id}, for everyone who knows the secret.
func (c *call) getOpen() error {
	v, secret, err := c.opened()
	if err != nil {
		return err
	}
	id, err := c.object()
	if err != nil {
		return nobody
	}
	d, err := v.Opened(c.r.Context(), id, secret)
	if err != nil {
		return err
	}
	return c.present(d)
}

// getOpenChunk is GET V/open/{id}/chunks/{index}.
func (c *call) getOpenChunk() error {
	v, secret, err := c.opened()
	if err != nil {
		return err
	}
	id, index, err := c.chunk()
	if err != nil {
		return nobody
	}
	ref, r, err := v.OpenedChunk(c.r.Context(), id, index, secret)
	if err != nil {
		return err
	}
	return c.sendChunk(ref, r)
}

// Open returns an object that is open to who knows its secret, from a vault of this server, given by its URL. It needs
// no right in the vault, and shows nobody's. NotExist if there is none, and for another secret; Invalid if the URL is
// not of a vault of this server.
func (c *Client) Open(
	ctx context.Context, vaultURL string, id coffer.ObjectID, secret coffer.Secret,
) (*coffer.Document, error) {
	r, err := c.opening("open", vaultURL, id, secret)
	if err != nil {
		return nil, err
	}
	r.accept = "application/json"
	a, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	docs, err := decodePresent(r.op, a, id)
	if err != nil {
		return nil, err
	}
	return docs[0], nil
}

// OpenChunk returns one chunk of such an object's stream and what it is. The caller closes the reader.
func (c *Client) OpenChunk(
	ctx context.Context, vaultURL string, id coffer.ObjectID, index uint64, secret coffer.Secret,
) (coffer.ChunkRef, io.ReadCloser, error) {
	r, err := c.opening("open chunk", vaultURL, id, secret)
	if err != nil {
		return coffer.ChunkRef{}, nil, err
	}
	r.url = chunkURL(r.url, index)
	return c.receiveChunk(ctx, r, index)
}

// opening returns a request for an open object, without any authority.
func (c *Client) opening(op, vaultURL string, id coffer.ObjectID, secret coffer.Secret) (*request, error) {
	if !c.hasVault(vaultURL) {
		return nil, coffer.Errorf(op, coffer.Invalid, "not the URL of a vault of this server")
	}
	return &request{op: op, method: "GET", url: vaultURL + "/open/" + id.String(), repeat: true, access: &secret}, nil
}
