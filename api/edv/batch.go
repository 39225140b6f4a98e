package edv

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// An operation is one element of a batch. A document that stands there by itself, as the EDV draft has it, is a Put
// without IfMatch.
type operation struct {
	Put     jsontext.Value `json:"put,omitzero"`
	IfMatch *string        `json:"ifMatch,omitzero"` // the revisions that Put replaces, separated by commas; empty for none
	Delete  *string        `json:"delete,omitzero"`
}

// An outcome is what came of an operation.
type outcome struct {
	Status   int     `json:"status"`
	Location string  `json:"location,omitempty"`
	Change   *change `json:"change,omitempty"`
	Name     string  `json:"name,omitempty"`
	Message  string  `json:"message,omitempty"`
	Kind     string  `json:"kind,omitempty"`
}

// batch is POST V/batch: all operations in one commit, or none.
func (c *call) batch() error {
	body, err := c.body(c.o.Limits.Batch)
	if err != nil {
		return err
	}
	operations, err := decodeBatch(body, c.o.Limits.BatchOps)
	if err != nil {
		return err
	}
	v := c.view()
	writes := make([]coffer.Write, len(operations))
	for i, b := range operations {
		if writes[i], err = c.operation(c.r.Context(), v, b); err != nil {
			return c.batchFailed(err, len(operations), i)
		}
	}
	changes, err := v.Apply(c.r.Context(), writes...)
	if err != nil {
		return c.batchFailed(err, len(operations), -1)
	}
	outcomes := make([]outcome, len(changes))
	for i, ch := range changes {
		w := changeOf(ch)
		o := outcome{Status: http.StatusOK, Change: &w}
		if d := writes[i].Document; d != nil {
			o.Location = c.url + "/documents/" + d.ID.String()
			if len(d.Parents) == 0 {
				o.Status = http.StatusCreated
			}
		}
		outcomes[i] = o
	}
	return c.encode(http.StatusOK, outcomes)
}

// decodeBatch splits a batch into its elements.
func decodeBatch(body []byte, most int) ([]jsontext.Value, error) {
	var elements []jsontext.Value
	if err := jose.Decode(body, &elements); err != nil {
		return nil, invalid(coffer.E("batch", coffer.Invalid, err))
	}
	switch {
	case len(elements) == 0:
		return nil, fail(http.StatusBadRequest, validationError, coffer.Invalid, "an empty batch")
	case len(elements) > most:
		return nil, fail(http.StatusRequestEntityTooLarge, tooLargeError, coffer.Exhausted, "too many operations in a batch")
	}
	return elements, nil
}

// decodeOperation reads one element of a batch strictly. parents are nil when it does not say what it replaces.
func decodeOperation(b []byte) (w coffer.Write, parents *[]coffer.Rev, err error) {
	const op = "batch"
	var o operation
	if jose.Decode(b, &o) != nil {
		w.Document, err = DecodeDocument(b)
		return w, nil, err
	}
	switch {
	case o.Delete != nil && o.Put == nil && o.IfMatch == nil:
		w.Erase, err = coffer.ParseObjectID(*o.Delete)
		return w, nil, err
	case o.Delete != nil || o.Put == nil:
		return w, nil, coffer.Errorf(op, coffer.Invalid, "an operation must be one of put and delete")
	}
	if w.Document, err = DecodeDocument(o.Put); err != nil || o.IfMatch == nil {
		return w, nil, err
	}
	revs, err := parseRevs(*o.IfMatch)
	if err != nil {
		return w, nil, coffer.Errorf(op, coffer.Conflict, "ifMatch names no present revision")
	}
	return w, &revs, nil
}

// operation makes a write of an element. Without ifMatch, a document with sequence 0 is inserted, and any other is put
// in the place of what is present.
func (c *call) operation(ctx context.Context, v View, b []byte) (coffer.Write, error) {
	w, named, err := decodeOperation(b)
	if err != nil {
		return w, err
	}
	d := w.Document
	switch {
	case d == nil:
	case int64(len(d.Body)) > c.o.Limits.Document:
		return w, fail(http.StatusRequestEntityTooLarge, tooLargeError, coffer.Exhausted, "a document too large")
	case named != nil:
		d.Parents = *named
	case d.Sequence > 0:
		d.Parents, err = parents(ctx, v, d.ID)
	}
	return w, err
}

// notDone is the status of what another operation's failure kept from being done (RFC 4918, section 11.4).
const notDone = http.StatusFailedDependency

// batchFailed answers for each of the operations: all have the failure when it is not known whose it is (at < 0).
// What is not about the operations at all is a problem like any other.
func (c *call) batchFailed(err error, n, at int) error {
	f := asFailure(err, stateError)
	if f.status == http.StatusForbidden || f.status >= 500 || f.retry > 0 {
		return err
	}
	kind := kindTexts[coffer.KindOf(f.err)]
	outcomes := make([]outcome, n)
	for i := range outcomes {
		if outcomes[i] = (outcome{Status: notDone, Message: "not done"}); at < 0 || i == at {
			outcomes[i] = outcome{Status: f.status, Name: f.name, Message: f.reason(), Kind: kind}
		}
	}
	return c.encode(f.status, outcomes)
}
