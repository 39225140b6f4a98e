package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// verbs are the verbs by all their names, in lower case: those of 2018-04 and those of 2018-07.
var verbs = map[string]coffer.Verb{
	"add": coffer.AddVerb, "create": coffer.AddVerb,
	"request": coffer.RequestVerb, "read": coffer.RequestVerb,
	"update": coffer.UpdateVerb,
	"remove": coffer.RemoveVerb, "delete": coffer.RemoveVerb,
	"execute": coffer.ExecuteVerb,
}

// later are the verbs by the names of 2018-07. Who uses them has payloads and answers in the form of that time, where
// an object stands beside its meta: {"meta": …, "data": …}.
var later = map[coffer.Verb]string{
	coffer.AddVerb: "Create", coffer.RequestVerb: "Read", coffer.UpdateVerb: "Update", coffer.RemoveVerb: "Delete",
	coffer.ExecuteVerb: "Execute",
}

// interfaces are all that there are.
var interfaces = []string{
	coffer.ProfileInterface, coffer.PermissionsInterface, coffer.ActionsInterface, coffer.StoresInterface,
	coffer.CollectionsInterface, coffer.ServicesInterface,
}

// features is the pseudo-interface that tells what the hub offers.
const features = "Features"

// interfaceOf returns the interface of a type of the verb plane as it is spelled here, and the verb's name; "" for an
// interface that there is not.
func interfaceOf(requestType string) (iface, verb string) {
	name, verb, _ := strings.Cut(requestType, "/")
	for _, i := range append([]string{features}, interfaces...) {
		if strings.EqualFold(i, name) {
			return i, verb
		}
	}
	return "", verb
}

// wrapped is an object beside its meta.
type wrapped struct {
	ID     string         `json:"id,omitempty"`
	Meta   jsontext.Value `json:"meta,omitempty"`
	Data   jsontext.Value `json:"data,omitzero"` // none when the hub holds it back
	Author string         `json:"author,omitempty"`
}

// act returns what a request of the verb plane asks for, and whether its answer is in the form of 2018-07.
func (r *request) act(iface string, verb string) (a *coffer.HubAct, wrap bool, err error) {
	v, ok := verbs[strings.ToLower(verb)]
	if !ok {
		return nil, false, unoffered("@type")
	}
	q := r.Request
	if q == nil {
		q = new(act)
	}
	a = &coffer.HubAct{
		Interface: iface, Verb: v, Context: q.Schema, Type: q.Type, ID: q.ID, Key: q.Key, Skip: q.Skip, Take: q.Take,
		Filter: q.Filter, Meta: json.RawMessage(r.Meta),
	}
	if a.Filter == "" {
		a.Filter = r.Filter
	}
	if a.Context == "" {
		a.Context = q.Collection
	}
	if a.Type == "" && a.Context != "" { // both in one text
		i := strings.LastIndexByte(a.Context, '/')
		a.Context, a.Type = a.Context[:max(i, 0)], a.Context[i+1:]
		if a.Type == "" {
			return nil, false, bad("request.schema", "A schema is a context, a slash and a type")
		}
	}
	switch {
	case a.Skip < 0:
		return nil, false, bad("request.skip", "A number to skip is not negative")
	case a.Take < 0:
		return nil, false, bad("request.take", "A number to take is not negative")
	case a.Meta != nil && r.Meta.Kind() != '{':
		return nil, false, bad("meta", incorrectParameter)
	}
	wrap = strings.EqualFold(verb, later[v]) && v != coffer.UpdateVerb
	switch r.Payload.Kind() {
	case 0, 'n':
	case '[':
		var all list[jsontext.Value]
		if jose.DecodeOpen(r.Payload, &all) != nil {
			return nil, false, bad("payload", tooMany)
		}
		for _, o := range all {
			a.Payload = append(a.Payload, json.RawMessage(o))
		}
	default:
		object := r.Payload
		if w, ok := unwrap(object, wrap); ok {
			wrap, object = true, w.Data
			if w.Meta.Kind() != 0 && w.Meta.Kind() != '{' {
				return nil, false, bad("payload.meta", incorrectParameter)
			}
			if w.Meta != nil {
				a.Meta = json.RawMessage(w.Meta)
			}
		}
		a.Payload = []json.RawMessage{json.RawMessage(object)}
	}
	return a, wrap, bounded(
		text{"request.schema", a.Context, maxText}, text{"request.type", a.Type, maxText},
		text{"request.id", a.ID, maxText}, text{"request.key", a.Key, maxText},
		text{"request.filter", a.Filter, maxFilter},
	)
}

// unwrap takes an object from beside its meta. If it need not stand there it does only when there is nothing else.
func unwrap(payload jsontext.Value, must bool) (w wrapped, ok bool) {
	decode := jose.Decode
	if must {
		decode = jose.DecodeOpen
	}
	return w, decode(payload, &w) == nil && w.Data != nil
}

// A performed is an answer of the verb plane.
type performed struct {
	Type     string   `json:"@type"`
	Response response `json:"response"`
	Payload  any      `json:"payload"`
}

func requestHash(payload []byte) string {
	h := sha256.Sum256(payload)
	return hex.EncodeToString(h[:])
}

// answerDepth is how deep an object may stand in an answer.
const answerDepth = 4

// shownData returns data as it stands in an answer. What a client would not read is a text: else whoever may leave one
// such object would hide all those that are listed with it.
func shownData(data json.RawMessage) jsontext.Value {
	if data == nil {
		return nil
	}
	around := func(bracket string) string { return strings.Repeat(bracket, answerDepth) }
	if jose.Valid(data) == nil && jose.Valid([]byte(around("[")+string(data)+around("]"))) == nil {
		return jsontext.Value(data)
	}
	text, err := jose.Encode(strings.ToValidUTF8(string(data), "\ufffd"))
	if err != nil {
		return nil // cannot be: it is UTF-8
	}
	return text
}

// items returns the payload of an answer.
func items(found []coffer.HubItem, wrap bool) ([]any, error) {
	all := make([]any, 0, len(found))
	for i := range found {
		one := &found[i]
		if wrap {
			all = append(all, wrapped{one.ID, withID(one.Meta, one.ID), shownData(one.Data), one.Author})
			continue
		}
		o, err := identified(one)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// metaID is how the meta of an answer begins: with the object's id, where those of 2018-07 looked for it.
func metaID(id string) string {
	b, err := jose.Encode(id)
	if err != nil {
		return "" // cannot be: ids are our own
	}
	return `{"id":` + string(b)
}

// withID returns the meta with the object's id in front, unless it has an id of its own.
func withID(meta json.RawMessage, id string) jsontext.Value {
	var has struct {
		ID jsontext.Value `json:"id"`
	}
	v := jsontext.Value(meta).Clone()
	if v.Kind() != '{' || v.Compact() != nil || string(v) == "{}" {
		return jsontext.Value(metaID(id) + "}")
	}
	if jose.DecodeOpen(v, &has) != nil || has.ID != nil {
		return v
	}
	return jsontext.Value(metaID(id) + "," + string(v[1:]))
}

// withoutID undoes withID.
func withoutID(meta jsontext.Value, id string) json.RawMessage {
	rest, ok := strings.CutPrefix(string(meta), metaID(id))
	switch {
	case !ok:
		return json.RawMessage(meta)
	case rest == "}":
		return nil
	}
	return json.RawMessage("{" + strings.TrimPrefix(rest, ","))
}

// identified returns an object in the form of 2018-04: with its id as a member, and its meta if it has none.
func identified(i *coffer.HubItem) (map[string]jsontext.Value, error) {
	o := make(map[string]jsontext.Value)
	if data := shownData(i.Data); data == nil {
		// as much as is here, or was asked for
	} else if data.Kind() != '{' {
		o["@value"] = data
	} else if err := jose.DecodeOpen(data, &o); err != nil {
		return nil, coffer.E("answer", coffer.Other, err)
	}
	id, err := jose.Encode(i.ID)
	if err != nil {
		return nil, coffer.E("answer", coffer.Other, err)
	}
	o["@id"] = id
	if _, ok := o["meta"]; !ok && i.Meta != nil {
		o["meta"] = jsontext.Value(i.Meta)
	}
	return o, nil
}

// payloadOf returns the payload of a request for an act: one object beside its meta, else an array.
func payloadOf(h *coffer.HubAct) (jsontext.Value, error) {
	switch len(h.Payload) {
	case 0:
		return nil, nil
	case 1:
		return jose.Encode(wrapped{Meta: jsontext.Value(h.Meta), Data: jsontext.Value(h.Payload[0])})
	}
	return jose.Encode(h.Payload)
}
