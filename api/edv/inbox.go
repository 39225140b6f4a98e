package edv

import (
	"context"
	"net/http"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// A message is a document that somebody leaves for a vault's owner, with a tag of this key and name and a value that
// both understand. By them the owner finds it: Query{Index: InboxKey, Has: []string{MessageName}}.
const (
	InboxKey    = "urn:coffer:inbox"
	MessageName = "message"
)

// MaxMessage is how many bytes the body of a message may have.
const MaxMessage = 64 << 10

// deliver is POST V/inbox.
func (c *call) deliver() error {
	body, err := c.body(min(MaxMessage, c.o.Limits.Document))
	if err != nil {
		return err
	}
	d, err := DecodeDocument(body)
	if err != nil {
		return invalid(err)
	}
	ch, err := c.view().Deliver(c.r.Context(), d)
	if err != nil {
		return err
	}
	return c.accepted(http.StatusCreated, ch)
}

// Drop leaves a message for the vault's owner, by a capability for writing to the inbox (the vault's URL and /inbox).
// The document must be a first revision without a stream, of at most [MaxMessage] bytes, that has just one tag with the
// key [InboxKey]: its name is [MessageName], its value has at most 64 bytes, and it is not unique. Beside it there may
// be verifiers of secrets and nothing else. Invalid if it is another; Conflict if the id is taken; Exhausted if it is
// too large, or too many messages come, or wait.
func (v *RemoteVault) Drop(ctx context.Context, d *coffer.Document) error {
	const op = "drop"
	if err := agree(d); err != nil {
		return err
	}
	if len(d.Parents) > 0 {
		return coffer.Errorf(op, coffer.Invalid, "a message is a first revision")
	}
	_, err := v.do(ctx, &request{op: op, method: "POST", url: v.url + "/inbox", action: grant.Write, body: d.Body})
	return err
}
