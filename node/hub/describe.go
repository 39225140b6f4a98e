package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// Bounds of a description.
const (
	maxKinds       = 1000
	maxSchemaBytes = 1 << 20 // of all schemas together
)

// allRights are those of objects.
const allRights = grant.CreateRight | grant.ReadRight | grant.UpdateRight | grant.DeleteRight

// Describe implements [coffer.Hub]. An owner is shown the kinds of objects that there are, others the kinds that they
// may do something with. A context and type "*" stand for all.
func (v *view) Describe(ctx context.Context, owner string) (*coffer.HubDescription, error) {
	h, err := v.s.open(ctx, owner, false)
	if err != nil {
		return nil, err
	}
	may := make(map[kind]grant.Rights)
	schemas := make(map[kind]json.RawMessage)
	if h != nil {
		if v.owns(owner) {
			err = h.kept(ctx, func(k kind) error {
				may[k] = allRights
				return nil
			})
		} else {
			err = v.kinds(ctx, h, may)
		}
		if err == nil {
			err = h.schemas(ctx, schemas)
		}
		if err != nil {
			return nil, err
		}
	}
	d := &coffer.HubDescription{Kinds: make([]coffer.HubKind, 0, len(may))}
	for k, rights := range may {
		d.Kinds = append(d.Kinds, coffer.HubKind{
			Interface: k.Interface, Context: k.Context, Type: k.Type, Allow: rights.String(),
			Schema: schemas[kind{"", k.Context, k.Type}],
		})
	}
	slices.SortFunc(d.Kinds, func(x, y coffer.HubKind) int {
		return cmp.Or(cmp.Compare(x.Interface, y.Interface), cmp.Compare(x.Context, y.Context), cmp.Compare(x.Type, y.Type))
	})
	d.OpenAPI, err = openAPI(d.Kinds)
	return d, err
}

// kept calls each with the kinds that are kept, up to a bound.
func (h *hub) kept(ctx context.Context, each func(kind) error) error {
	n := 0
	for d, err := range h.documents(ctx, []string{h.tag(byListedKind)}, coffer.ObjectID{}, rowsAtOnce) {
		if err != nil {
			return err
		}
		b, err := h.read(d)
		if err != nil {
			return err
		}
		var k kind
		if json.Unmarshal(b, &k) != nil {
			return corrupt()
		}
		if err := each(k); err != nil {
			return err
		}
		if n++; n == maxKinds {
			break
		}
	}
	return nil
}

// kinds adds what somebody who is not the owner may do: by grants, because it is public, because anybody may.
func (v *view) kinds(ctx context.Context, h *hub, may map[kind]grant.Rights) error {
	if v.who != "" && v.s.o.Limits.Actions >= 0 {
		may[kind{coffer.ActionsInterface, coffer.Everybody, coffer.Everybody}] |= grant.CreateRight
	}
	tags := []string{h.tag(byGrantee, v.who), h.tag(byGrantee, coffer.Everybody)}
	n := 0
	for d, err := range h.documents(ctx, tags, coffer.ObjectID{}, grantsAtOnce) {
		if err != nil {
			return err
		}
		p, err := h.grantIn(d)
		if err != nil {
			return err
		}
		if p.Grantee == v.who {
			may[kind{coffer.PermissionsInterface, grant.PermissionContext, grant.PermissionType}] |= grant.ReadRight
		}
		if err := v.granted(ctx, h, p, may); err != nil {
			return err
		}
		if n++; n == maxGrants {
			break
		}
	}
	return h.kept(ctx, func(k kind) error {
		open := v.s.openToAll(k.Interface)
		if !open {
			var err error
			if open, err = h.any(ctx, h.tag(byPublicKind, k.Interface, k.Context, k.Type)); err != nil {
				return err
			}
		}
		if open {
			may[k] |= grant.ReadRight
		}
		return nil
	})
}

// granted adds what a grant lets the caller do: with the interface that it names, or else with those that have
// objects of the kind, and Collections if none has.
func (v *view) granted(ctx context.Context, h *hub, p *grant.Permission, may map[kind]grant.Rights) error {
	free := *p // of what only an object tells
	free.CreatedBy, free.Objects, free.Filter = "", nil, ""
	rights := func(iface string) (r grant.Rights) {
		for _, right := range []grant.Rights{grant.CreateRight, grant.ReadRight, grant.UpdateRight, grant.DeleteRight} {
			a, ok := v.ask(h, right, &coffer.HubObject{Interface: iface, Context: p.Context, Type: p.Type})
			if ok && allows(&free, a) {
				r |= right
			}
		}
		return r
	}
	some := false
	for _, iface := range interfaces {
		r := rights(iface)
		if r == 0 {
			continue
		}
		there := iface == p.Interface || iface == coffer.StoresInterface && p.Type == storeType
		if !there {
			d, err := h.get(ctx, h.kindID(iface, p.Context, p.Type))
			if err != nil {
				return err
			}
			there = d != nil
		}
		if there {
			may[kind{iface, p.Context, p.Type}] |= r
			some = true
		}
	}
	if r := rights(coffer.CollectionsInterface); !some && r != 0 {
		may[kind{coffer.CollectionsInterface, p.Context, p.Type}] |= r
	}
	return nil
}

// schemas adds the schemas that the owner has published, by context and type; of several for one, the last to come.
func (h *hub) schemas(ctx context.Context, schemas map[kind]json.RawMessage) error {
	tag := h.tag(byPublicKind, coffer.CollectionsInterface, schemaContext, schemaType)
	n, bytes := 0, 0
	for d, err := range h.documents(ctx, []string{tag}, coffer.ObjectID{}, rowsAtOnce) {
		if err != nil {
			return err
		}
		r, err := h.readRow(d, false)
		if err != nil {
			return err
		}
		context, typ, ok := schemaOf(r)
		if !ok {
			continue
		}
		value, err := h.value(ctx, r)
		if err != nil {
			return err
		}
		if n++; n > maxKinds || bytes+len(value) > maxSchemaBytes {
			break
		}
		if json.Valid(value) {
			bytes += len(value)
			schemas[kind{"", context, typ}] = value
		}
	}
	return nil
}

// object is a JSON object.
type object = map[string]any

// openAPI returns an OpenAPI 3.1 document of the messages that whoever has these rights can send. All of them go to one
// place, inside a JSON Web Token, so the operation is one, and what differs are the schemas of what the token says.
func openAPI(kinds []coffer.HubKind) (json.RawMessage, error) {
	schemas := object{
		"Request": object{
			"type":     "object",
			"required": []string{"@context", "@type", "iss", "sub", "aud"},
			"properties": object{
				"@context": object{"const": "https://schema.identity.foundation/0.1"},
				"iss":      object{"type": "string", "description": "who asks"},
				"sub":      object{"type": "string", "description": "whose hub it is"},
				"aud":      object{"type": "string", "description": "the hub"},
			},
		},
		"Commit": object{
			"type":     "object",
			"required": []string{"protected", "payload", "signature"},
			"properties": object{
				"protected": object{"type": "string", "contentEncoding": "base64url"},
				"header":    object{"type": "object"},
				"payload":   object{"type": "string", "contentEncoding": "base64url"},
				"signature": object{"type": "string", "contentEncoding": "base64url"},
			},
		},
	}
	ref := func(name string) object { return object{"$ref": "#/components/schemas/" + name} }
	var queries, protected []any
	for _, k := range kinds {
		is := object{"interface": object{"const": k.Interface}}
		if k.Context != coffer.Everybody || k.Type != coffer.Everybody {
			is["context"], is["type"] = object{"const": k.Context}, object{"const": k.Type}
		}
		rights, err := grant.ParseRights(k.Allow)
		if err != nil {
			return nil, corrupt()
		}
		if rights&grant.ReadRight != 0 {
			queries = append(queries, object{"properties": is, "required": []string{"interface"}})
		}
		var operations []string
		for right, name := range map[grant.Rights]string{
			grant.CreateRight: "create", grant.UpdateRight: "update", grant.DeleteRight: "delete",
		} {
			if rights&right != 0 {
				operations = append(operations, name)
			}
		}
		if len(operations) == 0 {
			continue
		}
		slices.Sort(operations)
		properties := object{"operation": object{"enum": operations}}
		for name, value := range is {
			properties[name] = value
		}
		one := object{"properties": properties, "required": []string{"interface", "context", "type", "operation"}}
		if k.Schema != nil {
			one["x-payload"] = k.Schema
		}
		protected = append(protected, one)
	}
	messages := []any{}
	message := func(name, member string, schema any) {
		schemas[name] = object{"allOf": []any{ref("Request"), object{
			"properties": object{"@type": object{"const": name}, member: schema}, "required": []string{"@type", member},
		}}}
		messages = append(messages, ref(name))
	}
	if len(queries) > 0 {
		message("ObjectQueryRequest", "query", object{"type": "object", "anyOf": queries})
		message("CommitQueryRequest", "query", object{"type": "object"})
	}
	if len(protected) > 0 {
		schemas["Protected"] = object{
			"description": "what is encoded as \"protected\" of a commit", "type": "object", "anyOf": protected,
		}
		message("WriteRequest", "commit", ref("Commit"))
	}
	token := object{"type": "string", "contentMediaType": "application/json"}
	if len(messages) > 0 {
		token["contentSchema"] = object{"anyOf": messages}
	}
	b, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info":    object{"title": "Identity hub", "version": "0.1"},
		"paths": object{"/": object{"post": object{
			"operationId": "send",
			"summary":     "Send a message: a JSON Web Signature in a JSON Web Encryption to the hub.",
			"requestBody": object{"required": true, "content": object{"application/jwt": object{"schema": token}}},
			"responses": object{"200": object{
				"description": "The answer, to the sender",
				"content":     object{"application/jwt": object{"schema": object{"type": "string"}}},
			}},
		}}},
		"components": object{"schemas": schemas},
	})
	if err != nil {
		return nil, corrupt()
	}
	return b, nil
}
