package coffer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// A Hub holds the typed objects of identities, as one caller may see them: the service in this process and the client
// that reaches one over HTTPS keep this contract, and hubtest checks both with one script. owner is always the
// identifier of whose hub is meant; who asks is decided where the Hub is had from.
//
// An object is a set of signed commits, which are kept byte for byte. Its state follows from the set by the commit
// strategy that its first commit names (package merge), never from the order in which commits came.
//
// What can go wrong in every method: Denied when the caller has not the right, be there such a hub or object or not;
// Invalid for what breaks a rule; Exhausted when a limit, a quota or a rate is used up; Unavailable. When it is known
// which part of the request is at fault, or when the protocol has a code of its own for it, a [Fault] is in the error's
// chain. A failed method has changed nothing.
type Hub interface {
	// Write stores one commit, signed by the caller, and returns the revisions of its object in the order in which they
	// came here, once it is durable. A commit that is there already changes nothing. NotExist when it updates or deletes
	// an object that is not there with this interface, context and type.
	Write(ctx context.Context, owner string, c *Commit) ([]CommitRev, error)

	// Adopt stores commits that were accepted elsewhere, whoever signed them: any order, any number up to
	// [MaxAdopt], those already there included. Only the owner may. It returns how many were new. A commit whose
	// object's create commit neither is there nor among them is NotExist, and then none is stored. A payload may be
	// withheld, but for grants and actions; when the commit comes again with it, that counts as new.
	Adopt(ctx context.Context, owner string, commits ...*Commit) (int, error)

	// Objects returns a page of what is known of the objects that match, in the order in which they came here unless
	// the query says otherwise. Objects that the caller may not read are left out when there is something of the kind
	// that it may; otherwise it is Denied, also when there is nothing.
	Objects(ctx context.Context, owner string, q *ObjectQuery) (*ObjectPage, error)

	// Commits returns a page of the commits that match, in the order in which they came here. The query without
	// conditions selects all. Denied unless the caller may read the objects of all commits that match.
	Commits(ctx context.Context, owner string, q *CommitQuery) (*CommitPage, error)

	// Perform carries out an act of the verb plane, where there are no commits in sight: what it writes becomes a
	// commit that the hub signs, with the caller as "author" in its meta. NotExist for what is not there; a Fault with
	// the code [NotImplemented] for interfaces and verbs that are not offered, and one with Location for those that are
	// offered elsewhere.
	Perform(ctx context.Context, owner string, a *HubAct) ([]HubItem, error)

	// Describe returns what the caller can do here with the owner's objects.
	Describe(ctx context.Context, owner string) (*HubDescription, error)
}

// MaxAdopt bounds the commits of one [Hub].Adopt.
const MaxAdopt = 1000

// The interfaces of a hub.
const (
	ProfileInterface     = "Profile"
	PermissionsInterface = "Permissions"
	ActionsInterface     = "Actions"
	StoresInterface      = "Stores"
	CollectionsInterface = "Collections"
	ServicesInterface    = "Services"
)

// A Commit is a signed statement about an object: a flattened JSON Web Signature (RFC 7515, section 7.2.2), of which
// the texts are kept exactly as they came.
type Commit struct {
	Protected string          `json:"protected"`        // base64url
	Header    json.RawMessage `json:"header,omitempty"` // not signed: the sender's, and what the hub computes
	Payload   string          `json:"payload"`          // base64url
	Signature string          `json:"signature"`        // base64url

	// Withheld is the commit's revision when its payload was left out, because the "cache-intent" of its meta says so of
	// an instance that is but a cache. Payload is "" then, and nobody can verify the signature.
	Withheld *CommitRev `json:"withheld,omitempty"`
}

// Rev returns the commit's revision: the SHA-256 of what is signed.
func (c *Commit) Rev() CommitRev {
	if c.Withheld != nil {
		return *c.Withheld
	}
	h := sha256.New()
	h.Write([]byte(c.Protected))
	h.Write([]byte{'.'})
	h.Write([]byte(c.Payload))
	return CommitRev(h.Sum(nil))
}

// A CommitRev names a commit, and, when the commit creates an object, the object.
type CommitRev [sha256.Size]byte

// String returns the rev in lower-case hexadecimal.
func (r CommitRev) String() string { return hex.EncodeToString(r[:]) }

// MarshalText returns the text form.
func (r CommitRev) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text form.
func (r *CommitRev) UnmarshalText(b []byte) (err error) {
	*r, err = ParseCommitRev(string(b))
	return err
}

// ParseCommitRev reads what [CommitRev.String] writes, and nothing else.
func ParseCommitRev(s string) (r CommitRev, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(r) || hex.EncodeToString(b) != s {
		return CommitRev{}, Errorf("parse rev", Invalid, "not a revision of a commit")
	}
	return CommitRev(b), nil
}

// An ObjectQuery selects objects of a hub. All conditions must hold; those that are zero do not count.
type ObjectQuery struct {
	Interface     string        // needed
	Context, Type string        // both or neither
	IDs           []CommitRev   // at most MaxQueryIDs
	Filters       []FieldFilter // at most MaxQueryFilters
	Filter        string        // in the syntax of Lucene, over what a HubObject exposes and over meta
	Sort          string        // "created_at", "updated_at", "meta.title" or another member of meta; "-" before it: descending
	NoDeleted     bool          // leave deleted objects out

	Since string // only what was written after this watermark of an earlier page
	Skip  string // go on after an earlier page: its Skip, with the same query
	Limit int    // objects in the page; 0, or more than MaxHubPage: MaxHubPage
}

// Bounds of hub queries.
const (
	MaxQueryIDs     = 100
	MaxQueryFilters = 16
	MaxHubPage      = 100
)

// A FieldFilter asks for a value of a field of what a [HubObject] exposes.
type FieldFilter struct {
	Type  string `json:"type"` // "eq"
	Field string `json:"field"`
	Value string `json:"value"`
}

// A HubObject is what a hub knows of an object without looking into its payload.
type HubObject struct {
	Interface string          `json:"interface"`
	Context   string          `json:"context"`
	Type      string          `json:"type"`
	ID        CommitRev       `json:"id"`
	CreatedBy string          `json:"created_by"`
	CreatedAt time.Time       `json:"created_at"` // as the create commit says
	Sub       string          `json:"sub"`        // the owner
	Strategy  string          `json:"commit_strategy"`
	Meta      json.RawMessage `json:"meta,omitempty"` // of the commit that made the state
	UpdatedBy string          `json:"updated_by"`     // who signed that commit
	UpdatedAt time.Time       `json:"updated_at"`     // when, as it says
	Revision  CommitRev       `json:"revision"`       // that commit
	Deleted   bool            `json:"deleted,omitzero"`
	Withheld  bool            `json:"withheld,omitzero"` // this instance has not all that the present value follows from
	// Used are the days of UTC, as in 2026-11-21, on which a grant was used here, oldest first: of the last year or so. It
	// is shown to the owner.
	Used []string `json:"used,omitempty"`
}

// An ObjectPage is a page of objects.
type ObjectPage struct {
	Objects   []HubObject
	Skip      string // goes on with the next page; "" at the end
	Watermark string // at the end: for Since, to get what was written after the first page was asked for
}

// A CommitQuery selects commits of a hub: those of objects, or those with revisions, or all.
type CommitQuery struct {
	Objects   []CommitRev // at most MaxQueryIDs
	Revisions []CommitRev // at most MaxQueryIDs; not with Objects
	Since     string      // only commits that came after this watermark; not with Objects or Revisions
	Skip      string
	Limit     int
}

// A CommitPage is a page of commits. Their headers are the senders', with what the hub computed: "iss", "rev", and for
// create commits "object_id".
type CommitPage struct {
	Commits   []*Commit
	Skip      string // goes on with the next page; "" at the end
	Watermark string // at the end, when all were asked for
}

// A HubAct is an act of the verb plane.
type HubAct struct {
	Interface string
	Verb      Verb
	Context   string // of the schema; may be empty where a schema is not needed
	Type      string
	ID        string // object that is updated or removed, or read alone
	Key       string // of a Store
	Skip      int    // items to pass over
	Take      int    // items to return; 0, or more than MaxHubPage: MaxHubPage
	Filter    string // in the syntax of Lucene
	// Meta is of what is written. In a request its "cache-intent" says how much is wanted: "min", no data; "attr", data of
	// up to MaxAttributes bytes; "full", the default, all.
	Meta    json.RawMessage
	Payload []json.RawMessage // objects to add, or the one object that replaces
}

// MaxAttributes is how many bytes of data the "cache-intent" "attr" takes for a descriptor, and no more for its source.
const MaxAttributes = 16 << 10

// A Verb is what is done on the verb plane, by the names of 2018-04.
type Verb string

// The verbs.
const (
	AddVerb     Verb = "Add"
	RequestVerb Verb = "Request"
	UpdateVerb  Verb = "Update"
	RemoveVerb  Verb = "Remove"
	ExecuteVerb Verb = "Execute"
)

// A HubItem is an object as the verb plane shows it.
type HubItem struct {
	ID     string
	Meta   json.RawMessage
	Data   json.RawMessage // its present value; JSON text if it is JSON, else a JSON string; nil if it is withheld
	Author string          // who wrote it
}

// A HubDescription says what a caller can do with an owner's objects.
type HubDescription struct {
	Kinds   []HubKind       `json:"kinds"`
	OpenAPI json.RawMessage `json:"openapi"` // an OpenAPI 3.1 document of the messages that the caller can send
}

// A HubKind is a kind of object that the caller may do something with.
type HubKind struct {
	Interface string          `json:"interface"`
	Context   string          `json:"context"`
	Type      string          `json:"type"`
	Allow     string          `json:"allow"`            // as in a PermissionGrant: "CRUD", "-R--"
	Schema    json.RawMessage `json:"schema,omitempty"` // a JSON Schema, where the owner publishes one
}

// Codes of hub errors: those of the protocol that kinds do not tell apart.
const (
	NotImplemented = "not_implemented"
)

// A Fault says more of an error of a hub than its kind does.
type Fault struct {
	Code     string // of the protocol, when the kind does not give it
	Target   string // which part of the request, as in "commit.protected.sub"
	Location string // where it is offered instead: a URL
	Reason   string // for developers; without names, identifiers and contents
}

// Error returns the reason, and the target where it is known.
func (f *Fault) Error() string {
	if f.Target == "" {
		return f.Reason
	}
	return f.Target + ": " + f.Reason
}

// Everybody is the grantee of a grant to all, and who an object marked public may be read by.
const Everybody = "*"
