package hub

import (
	"encoding/json"

	"github.com/cofferhq/coffer"
)

// Collections: objects of any context and type, by grants alone.

// What a JSON Schema is published as: a public object of Collections whose meta has "context" and "type", the kind of
// object that it describes.
const (
	schemaContext = "https://json-schema.org/draft/2020-12/schema"
	schemaType    = "Schema"
)

// schemaOf returns which kind of object a schema describes; false if the object is no published schema.
func schemaOf(r *row) (context, typ string, ok bool) {
	o := &r.Object
	var m struct {
		Context string `json:"context"`
		Type    string `json:"type"`
	}
	if o.Deleted || !r.public() || json.Unmarshal(o.Meta, &m) != nil {
		return "", "", false
	}
	ok = o.Interface == coffer.CollectionsInterface && o.Context == schemaContext && o.Type == schemaType
	return m.Context, m.Type, ok && m.Type != ""
}
