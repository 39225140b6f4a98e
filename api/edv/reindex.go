package edv

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// reindex is POST V/documents/{id}/index: one entry takes the place of the entry of the same HMAC key, and nothing else
// of the document changes.
func (c *call) reindex() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	body, err := c.body(c.o.Limits.Document)
	if err != nil {
		return err
	}
	entry, err := DecodeEntry(body)
	if err != nil {
		return invalid(err)
	}
	v := c.view()
	docs, err := v.Present(c.r.Context(), id)
	if err != nil {
		return err
	}
	if len(docs) != 1 || docs[0].Sequence != entry.Sequence {
		return coffer.Errorf("index entry", coffer.Conflict, "not for the document's present sequence")
	}
	spliced, err := spliceEntry(docs[0].Body, entry.HMAC, body)
	if err != nil {
		return err
	}
	if int64(len(spliced)) > c.o.Limits.Document {
		return fail(http.StatusRequestEntityTooLarge, tooLargeError, coffer.Exhausted, "the document would be too large")
	}
	d, err := DecodeDocument(spliced)
	if err != nil {
		return invalid(err)
	}
	d.Parents = []coffer.Rev{docs[0].Rev()}
	ch, err := v.Reindex(c.r.Context(), d)
	if err != nil {
		return err
	}
	return c.accepted(http.StatusNoContent, ch)
}

// spliceEntry returns the stored document with the entry in the place of the one of the same HMAC key, or behind the
// last one. All other bytes stay as they are: clients compare.
func spliceEntry(stored []byte, hmac coffer.KeyRef, entry []byte) ([]byte, error) {
	corrupt := func(err error) ([]byte, error) { return nil, coffer.E("index entry", coffer.Corrupt, err) }
	entry = bytes.TrimSpace(entry)
	dec := jsontext.NewDecoder(bytes.NewReader(stored))
	if _, err := dec.ReadToken(); err != nil {
		return corrupt(err)
	}
	start := int(dec.InputOffset()) // just behind the document's brace
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return corrupt(err)
		}
		if name.String() != "indexed" {
			if err := dec.SkipValue(); err != nil {
				return corrupt(err)
			}
			continue
		}
		if dec.PeekKind() != '[' {
			return corrupt(nil)
		}
		if _, err := dec.ReadToken(); err != nil {
			return corrupt(err)
		}
		end := int(dec.InputOffset()) // just behind the last element so far, or the bracket
		for n := 0; dec.PeekKind() == '{'; n++ {
			element, err := dec.ReadValue()
			if err != nil {
				return corrupt(err)
			}
			end = int(dec.InputOffset())
			var e Entry
			if err := jose.Decode(element, &e); err != nil {
				return corrupt(err)
			}
			if e.HMAC == hmac {
				return slices.Concat(stored[:end-len(element)], entry, stored[end:]), nil
			}
			if dec.PeekKind() == ']' {
				return slices.Concat(stored[:end], []byte(","), entry, stored[end:]), nil
			}
		}
		return slices.Concat(stored[:end], entry, stored[end:]), nil
	}
	return slices.Concat(stored[:start], []byte(`"indexed":[`), entry, []byte(`],`), stored[start:]), nil
}
