package ident

import (
	"encoding/json"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Pin says what a name stands for, whatever the network would say. It has either Keys or a Document.
type Pin struct {
	// ID is a DID, an https: URL or a URN; not a did:key, a did:jwk or a bare key, which say it themselves.
	ID string `json:"id"`
	// Keys are bare keys in multibase, as in did:key. Their ids are ID + "#" + key, and they are for all purposes that
	// a key of their kind has.
	Keys []string `json:"keys,omitempty"`
	// Document is the identity document. Its id must be ID.
	Document json.RawMessage `json:"document,omitempty"`
}

// maxPins bounds a file of pins.
const maxPins = 1 << 20

// ReadPins reads a JSON array of pins. Invalid if it is malformed or longer than 1 MiB; what makes no sense, [New]
// refuses.
func ReadPins(b []byte) (pins []Pin, err error) {
	if len(b) > maxPins {
		return nil, coffer.Errorf("pin", coffer.Invalid, "too much to read")
	}
	if err := jose.Decode(b, &pins); err != nil {
		return nil, coffer.E("pin", coffer.Invalid, err)
	}
	return pins, nil
}

func pin(pins []Pin) (map[string]*coffer.Identity, error) {
	pinned := make(map[string]*coffer.Identity, len(pins))
	for _, p := range pins {
		method, _, err := parseID(p.ID)
		if err != nil {
			return nil, err
		}
		if method == "key" || method == "jwk" || method == bareKey {
			return nil, coffer.Errorf("pin", coffer.Invalid, "the identifier is a key, and stands for no other")
		}
		if pinned[p.ID] != nil || (p.Keys == nil) == (p.Document == nil) || len(p.Keys) > maxKeys/2 {
			return nil, coffer.Errorf("pin", coffer.Invalid, "each identifier needs one pin, of up to 32 keys or a document")
		}
		document := []byte(p.Document)
		if p.Keys != nil {
			keys := make([]key, len(p.Keys))
			for i, s := range p.Keys {
				if keys[i], err = parseMultikey(s); err != nil {
					return nil, err
				}
			}
			if document, err = keyDocument(p.ID, keys...); err != nil {
				return nil, err
			}
		}
		if pinned[p.ID], err = parseDocument(p.ID, document); err != nil {
			return nil, err
		}
	}
	return pinned, nil
}
