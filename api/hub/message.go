package hub

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	jsonx "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Types of requests, and of their answers. A type with a slash is of the verb plane.
const (
	writeRequest       = "WriteRequest"
	objectQueryRequest = "ObjectQueryRequest"
	commitQueryRequest = "CommitQueryRequest"
	servicesRequest    = "ServicesRequest"
	adoptRequest       = "AdoptRequest"
	descriptionRequest = "DescriptionRequest"

	writeResponse       = "WriteResponse"
	objectQueryResponse = "ObjectQueryResponse"
	commitQueryResponse = "CommitQueryResponse"
	servicesResponse    = "ServicesResponse"
	adoptResponse       = "AdoptResponse"
	descriptionResponse = "DescriptionResponse"
	errorResponse       = "ErrorResponse"
)

// A moment is a time as JavaScript writes it, which the published clients send and expect.
type moment time.Time

// AppendText appends the time in UTC, cut to milliseconds.
func (m moment) AppendText(b []byte) ([]byte, error) {
	return time.Time(m).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00"), nil
}

// UnmarshalText reads a time of RFC 3339.
func (m *moment) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(b))
	*m = moment(t.UTC())
	return err
}

// IsZero reports whether there is no time.
func (m moment) IsZero() bool { return time.Time(m).IsZero() }

// Bounds of the texts of a request, in bytes.
const (
	maxDID     = 2 << 10
	maxText    = 1 << 10
	maxFilter  = 4 << 10
	maxSkip    = 8 << 10 // of a skip token or a watermark
	maxPurpose = 256
)

// A request is a message of either plane.
type request struct {
	Context  string `json:"@context,omitempty"`
	Type     string `json:"@type"`
	Issuer   string `json:"iss"`
	Subject  string `json:"sub,omitempty"` // the owner; on the verb plane Audience is
	Audience string `json:"aud"`
	Purpose  string `json:"purpose,omitempty"`

	Commit  *commit      `json:"commit,omitzero"`
	Commits list[commit] `json:"commits,omitzero"`
	Query   *query       `json:"query,omitzero"`
	Fields  list[string] `json:"fields,omitzero"`

	Request *act           `json:"request,omitzero"`
	Filter  string         `json:"filter,omitempty"`
	Meta    jsontext.Value `json:"meta,omitzero"`
	Payload jsontext.Value `json:"payload,omitzero"`
}

// A commit is a [coffer.Commit] on the wire.
type commit struct {
	Protected string            `json:"protected"`
	Header    jsontext.Value    `json:"header,omitzero"`
	Payload   *string           `json:"payload"`
	Signature string            `json:"signature"`
	Withheld  *coffer.CommitRev `json:"withheld,omitzero"`
	Further   jsontext.Value    `json:",embed"` // members that a commit has not
}

// A query is what objects or commits are asked for.
type query struct {
	Interface string                 `json:"interface,omitempty"`
	Context   string                 `json:"context,omitempty"`
	Type      string                 `json:"type,omitempty"`
	Objects   list[coffer.CommitRev] `json:"object_id,omitempty"`
	Revisions list[coffer.CommitRev] `json:"revision,omitempty"`
	Filters   list[filter]           `json:"filters,omitempty"`
	Skip      string                 `json:"skip_token,omitempty"`

	Filter    string `json:"filter,omitempty"`
	Sort      string `json:"sort,omitempty"`
	NoDeleted bool   `json:"no_deleted,omitzero"`
	Since     string `json:"since,omitempty"`
	Limit     int    `json:"limit,omitzero"`
}

// A filter is a [coffer.FieldFilter] on the wire.
type filter struct {
	Type  string `json:"type"`
	Field string `json:"field"`
	Value string `json:"value"`
}

// An act is the "request" of a message of the verb plane.
type act struct {
	Schema     string `json:"schema,omitempty"`
	Type       string `json:"type,omitempty"`
	Collection string `json:"collection,omitempty"` // another name of the schema
	ID         string `json:"id,omitempty"`
	Key        string `json:"key,omitempty"`
	Skip       int    `json:"skip,omitzero"`
	Take       int    `json:"take,omitzero"`
	Filter     string `json:"filter,omitempty"`
}

// A list is an array that is bounded before it is read.
type list[T any] []T

// maxList is how many elements a list has at the most.
const maxList = coffer.MaxAdopt

// errTooMany is in the chain of an error about a list that is longer.
var errTooMany = errors.New("too many elements")

// UnmarshalJSONFrom reads the array.
func (l *list[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch t, err := dec.ReadToken(); {
	case err != nil:
		return err
	case t.Kind() == 'n':
		*l = nil
		return nil
	case t.Kind() != '[':
		return &jsonx.SemanticError{JSONKind: t.Kind(), Err: errors.New("not an array")}
	}
	*l = list[T]{}
	for dec.PeekKind() != ']' {
		if len(*l) == maxList {
			return &jsonx.SemanticError{Err: errTooMany}
		}
		var e T
		if err := jsonx.UnmarshalDecode(dec, &e); err != nil {
			return err
		}
		*l = append(*l, e)
	}
	_, err := dec.ReadToken()
	return err
}

// parseRequest reads a request. It checks what holds for all of them; the rest is with each type.
func parseRequest(payload []byte) (*request, error) {
	r := new(request)
	if err := jose.DecodeOpen(payload, r); err != nil {
		return nil, whatIsWrong(payload, err)
	}
	switch verbal := r.verbal(); {
	case r.Type == "":
		return nil, bad("@type", missingParameter)
	case r.Issuer == "":
		return nil, bad("iss", missingParameter)
	case r.Audience == "":
		return nil, bad("aud", missingParameter)
	case verbal:
	case r.Context == "":
		return nil, bad("@context", missingParameter)
	case r.Context != schemaContext:
		return nil, bad("@context", "Unknown context")
	case r.Subject == "":
		return nil, bad("sub", missingParameter)
	}
	return r, bounded(
		text{"@type", r.Type, maxText}, text{"iss", r.Issuer, maxDID}, text{"sub", r.Subject, maxDID},
		text{"aud", r.Audience, maxDID}, text{"purpose", r.Purpose, maxPurpose}, text{"filter", r.Filter, maxFilter},
	)
}

// verbal reports whether the request is of the verb plane.
func (r *request) verbal() bool { return strings.Contains(r.Type, "/") }

// A text is one of a request, with its bound.
type text struct {
	target, value string
	most          int
}

func bounded(texts ...text) error {
	for _, t := range texts {
		if len(t.value) > t.most {
			return bad(t.target, "Text is too long")
		}
	}
	return nil
}

// whatIsWrong says of a request that could not be read where it is wrong.
func whatIsWrong(payload []byte, err error) error {
	if jose.Valid(payload) != nil {
		return bad("", "The request is not JSON, is nested too deep, or repeats a member")
	}
	var semantic *jsonx.SemanticError
	if errors.As(jsonx.Unmarshal(payload, new(request)), &semantic) {
		reason := incorrectParameter
		if errors.Is(semantic, errTooMany) {
			reason = tooMany
		}
		return bad(targetOf(semantic.JSONPointer), reason)
	}
	return coffer.E("request", coffer.Invalid, err)
}

// targetOf writes a JSON pointer as targets are written: query.object_id[0].
func targetOf(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(token)
	}
	return b.String()
}

// commit returns the commit, if it has the form of one.
func (c *commit) commit(target string) (*coffer.Commit, error) {
	switch {
	case c == nil:
		return nil, bad(target, missingParameter)
	case c.Protected == "":
		return nil, bad(target+".protected", missingParameter)
	case c.Payload == nil:
		return nil, bad(target+".payload", missingParameter)
	case c.Signature == "":
		return nil, bad(target+".signature", missingParameter)
	case c.Header != nil && c.Header.Kind() != '{':
		return nil, bad(target+".header", incorrectParameter)
	case c.Further != nil:
		return nil, bad(target, "A commit has no other members")
	}
	return &coffer.Commit{
		Protected: c.Protected, Header: json.RawMessage(c.Header), Payload: *c.Payload, Signature: c.Signature,
		Withheld: c.Withheld,
	}, nil
}

func commitOf(c *coffer.Commit) commit {
	return commit{
		Protected: c.Protected, Header: jsontext.Value(c.Header), Payload: &c.Payload, Signature: c.Signature,
		Withheld: c.Withheld,
	}
}

// objects returns the query for objects.
func (q *query) objects() (*coffer.ObjectQuery, error) {
	switch {
	case q == nil:
		return nil, bad("query", missingParameter)
	case q.Interface == "":
		return nil, bad("query.interface", missingParameter)
	case (q.Context == "") != (q.Type == ""):
		return nil, bad("query.context, query.type", "Context and type are given together or not at all")
	case len(q.Filters) > coffer.MaxQueryFilters:
		return nil, bad("query.filters", tooMany)
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	o := &coffer.ObjectQuery{
		Interface: q.Interface, Context: q.Context, Type: q.Type, IDs: q.Objects,
		Filter: q.Filter, Sort: q.Sort, NoDeleted: q.NoDeleted, Since: q.Since, Skip: q.Skip, Limit: q.Limit,
	}
	if o.IDs != nil && len(o.IDs) == 0 {
		o.IDs = []coffer.CommitRev{{}} // which no object has: of an empty list there is none, for the reference neither
	}
	for i, f := range q.Filters {
		target := "query.filters[" + strconv.Itoa(i) + "]"
		for _, t := range []text{{".type", f.Type, maxText}, {".field", f.Field, maxText}, {".value", f.Value, maxText}} {
			if t.value == "" && t.target != ".value" {
				return nil, bad(target+t.target, missingParameter)
			}
			if err := bounded(text{target + t.target, t.value, t.most}); err != nil {
				return nil, err
			}
		}
		o.Filters = append(o.Filters, coffer.FieldFilter(f))
	}
	return o, nil
}

// commits returns the query for commits; without a query, the one for all. An empty list is none, as the reference has
// it.
func (q *query) commits() (*coffer.CommitQuery, error) {
	switch {
	case q == nil:
		return new(coffer.CommitQuery), nil
	case q.Objects != nil && q.Revisions != nil:
		return nil, unoffered("query.object_id, query.revision")
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	return &coffer.CommitQuery{
		Objects: q.Objects, Revisions: q.Revisions, Since: q.Since, Skip: q.Skip, Limit: q.Limit,
	}, nil
}

// check checks what both queries have.
func (q *query) check() error {
	for _, l := range []struct {
		target string
		revs   []coffer.CommitRev
	}{{"query.object_id", q.Objects}, {"query.revision", q.Revisions}} {
		if len(l.revs) > coffer.MaxQueryIDs {
			return bad(l.target, tooMany)
		}
	}
	if q.Limit < 0 {
		return bad("query.limit", "A limit is not negative")
	}
	return bounded(
		text{"query.interface", q.Interface, maxText}, text{"query.context", q.Context, maxText},
		text{"query.type", q.Type, maxText}, text{"query.filter", q.Filter, maxFilter},
		text{"query.sort", q.Sort, maxText}, text{"query.skip_token", q.Skip, maxSkip},
		text{"query.since", q.Since, maxSkip},
	)
}

// An object is a [coffer.HubObject] on the wire.
type object struct {
	Interface string           `json:"interface"`
	Context   string           `json:"context"`
	Type      string           `json:"type"`
	ID        coffer.CommitRev `json:"id"`
	CreatedBy string           `json:"created_by"`
	CreatedAt moment           `json:"created_at"`
	Sub       string           `json:"sub"`
	Strategy  string           `json:"commit_strategy"`
	Meta      jsontext.Value   `json:"meta,omitzero"`
	UpdatedBy string           `json:"updated_by,omitempty"`
	UpdatedAt moment           `json:"updated_at,omitzero"`
	Revision  coffer.CommitRev `json:"revision,omitzero"`
	Deleted   bool             `json:"deleted,omitzero"`
	Withheld  bool             `json:"withheld,omitzero"`
	Used      []string         `json:"used,omitempty"`
}

func objectOf(o *coffer.HubObject) object {
	return object{
		o.Interface, o.Context, o.Type, o.ID, o.CreatedBy, moment(o.CreatedAt), o.Sub, o.Strategy, jsontext.Value(o.Meta),
		o.UpdatedBy, moment(o.UpdatedAt), o.Revision, o.Deleted, o.Withheld, o.Used,
	}
}

func (o *object) object() coffer.HubObject {
	return coffer.HubObject{
		Interface: o.Interface, Context: o.Context, Type: o.Type, ID: o.ID, CreatedBy: o.CreatedBy,
		CreatedAt: time.Time(o.CreatedAt), Sub: o.Sub, Strategy: o.Strategy, Meta: json.RawMessage(o.Meta),
		UpdatedBy: o.UpdatedBy, UpdatedAt: time.Time(o.UpdatedAt), Revision: o.Revision, Deleted: o.Deleted,
		Withheld: o.Withheld, Used: o.Used,
	}
}

// The answers of the commit plane, each with its members.
type (
	head struct {
		Context string `json:"@context"`
		Type    string `json:"@type"`
	}
	revisionsAnswer struct {
		head
		Revisions []coffer.CommitRev `json:"revisions"`
	}
	objectsAnswer struct {
		head
		Objects   []object `json:"objects"`
		Skip      *string  `json:"skip_token"` // null at the end
		Watermark string   `json:"watermark,omitempty"`
	}
	commitsAnswer struct {
		head
		Commits   []commit `json:"commits"`
		Skip      *string  `json:"skip_token"` // null at the end
		Watermark string   `json:"watermark,omitempty"`
	}
	servicesAnswer struct {
		head
		Services []jsontext.Value `json:"services"`
	}
	addedAnswer struct {
		head
		Added int `json:"added"`
	}
	descriptionAnswer struct {
		head
		Kinds   []kind         `json:"kinds"`
		OpenAPI jsontext.Value `json:"openapi,omitzero"`
	}
)

// A kind is a [coffer.HubKind] on the wire.
type kind struct {
	Interface string         `json:"interface"`
	Context   string         `json:"context"`
	Type      string         `json:"type"`
	Allow     string         `json:"allow"`
	Schema    jsontext.Value `json:"schema,omitzero"`
}

// skipToken is the token on the wire: null at the end.
func skipToken(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// An answer is one of a hub as a client reads it, whatever its type.
type answer struct {
	Type string `json:"@type"`

	Revisions []coffer.CommitRev `json:"revisions"`
	Objects   []object           `json:"objects"`
	Commits   []commit           `json:"commits"`
	Skip      string             `json:"skip_token"`
	Watermark string             `json:"watermark"`
	Added     int                `json:"added"`
	Kinds     []kind             `json:"kinds"`
	OpenAPI   jsontext.Value     `json:"openapi"`

	Response *response      `json:"response"`
	Payload  jsontext.Value `json:"payload"`

	ErrorCode        string      `json:"error_code"`
	DeveloperMessage string      `json:"developer_message"`
	Target           string      `json:"target"`
	Inner            *innerError `json:"inner_error"`
}

// A response ties an answer of the verb plane to its request.
type response struct {
	RequestHash string `json:"requestHash"` // lower-case hexadecimal SHA-256 of the request's text
}

// parseAnswer reads an answer. Corrupt when it is none.
func parseAnswer(op string, payload []byte) (*answer, error) {
	a := new(answer)
	if jose.DecodeOpen(payload, a) != nil || a.Type == "" {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the hub's answer is malformed")
	}
	return a, nil
}
