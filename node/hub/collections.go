package hub

import "github.com/cofferhq/coffer"

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
	if o.Deleted || !r.public() || !exact(o.Meta, members{"context": &context, "type": &typ}) {
		return "", "", false
	}
	ok = o.Interface == coffer.CollectionsInterface && o.Context == schemaContext && o.Type == schemaType
	return context, typ, ok && typ != ""
}
