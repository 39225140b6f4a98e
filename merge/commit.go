// Package merge says what hub commits are and what follows from them: [Parse] checks a commit's form, [Commit.Verify]
// its signature by a key that is handed in, and [Of] computes the state of an object from the set of its commits.
// [Build] makes commits.
//
// It is pure. The state depends on the set alone, not on the order in which commits came, so that all who hold the same
// commits agree. The formats are described in doc/commits.md.
package merge

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The operations of commits.
const (
	Create = "create"
	Update = "update"
	Delete = "delete"
)

// Bounds of commits.
const (
	MaxProtected = 16 << 10 // bytes of the protected header, decoded
	MaxHeader    = 16 << 10 // bytes of the header that is not signed
	MaxPayload   = 1 << 20  // bytes of the payload, decoded
	MaxSignature = 1 << 10  // bytes of the signature, decoded
	MaxMeta      = 4 << 10  // bytes of "meta"
	MaxMetaDepth = 16       // how deep "meta", and the header that is not signed, may nest: answers hold them
	MaxText      = 1 << 10  // bytes of a text in the protected header
	MaxName      = 2 << 10  // bytes of an identifier or a key id in it
)

// A Header is what the protected header of a commit says.
type Header struct {
	Alg         string
	KeyID       string // "kid": an identifier, '#', and the name of a key
	Issuer      string // "iss": "", or the identifier in KeyID
	Interface   string
	Context     string
	Type        string
	Operation   string // Create, Update or Delete
	Strategy    string // "commit_strategy"
	Sub         string // the owner of the hub
	ObjectID    string // "object_id": "" for Create
	CommittedAt time.Time
	// CommittedText is "committed_at" as it was written. CommittedAt is its time in UTC, cut to milliseconds, because
	// that is what all implementations compare.
	CommittedText string
	Meta          json.RawMessage // a JSON object, or nil
}

// A Commit is a coffer.Commit whose form was checked.
type Commit struct {
	Raw    *coffer.Commit
	Rev    coffer.CommitRev
	Object coffer.CommitRev // what it is about; for Create, Rev
	Header Header
	// Payload is what the commit carries. Who can open a sealed payload puts what was in it here before calling [Of].
	Payload []byte
}

// op is the operation in errors.
const op = "commit"

func fault(target, reason string) error {
	return coffer.E(op, coffer.Invalid, &coffer.Fault{Target: target, Reason: reason})
}

// What is wrong with a parameter.
const (
	missing   = "Required parameter is missing"
	wrongType = "Required parameter is of the incorrect type"
)

// Parse checks the form of a commit (RFC 7515, section 7.2.2, with the protected header of hub commits) and its bounds.
// It verifies no signature and knows neither which interfaces and strategies there are nor what time it is. Members of
// the protected header that have no meaning here are passed over, except "crit", "b64" and "rev", which are refused.
//
// The payload may be withheld. Every error is Invalid with a *coffer.Fault in its chain, whose target is "commit",
// "commit.header", "commit.payload", "commit.signature", "commit.withheld", "commit.protected", or "commit.protected."
// and the name of a member.
func Parse(c *coffer.Commit) (*Commit, error) {
	if c == nil {
		return nil, fault("commit", missing)
	}
	protected, err := segment("commit.protected", c.Protected, MaxProtected)
	if err != nil {
		return nil, err
	}
	if len(protected) == 0 {
		return nil, fault("commit.protected", missing)
	}
	p := &Commit{Raw: c, Rev: c.Rev()}
	if p.Payload, err = segment("commit.payload", c.Payload, MaxPayload); err != nil {
		return nil, err
	}
	if err := p.Header.parse(protected); err != nil {
		return nil, err
	}
	switch {
	case c.Withheld != nil && (len(c.Payload) > 0 || p.Header.Operation == Delete):
		return nil, fault("commit.withheld", "what is withheld is the payload of a create or an update")
	case c.Withheld == nil && len(p.Payload) == 0 && p.Header.Operation != Delete:
		return nil, fault("commit.payload", missing)
	}
	if p.Object = p.Rev; p.Header.Operation != Create {
		if p.Object, err = coffer.ParseCommitRev(p.Header.ObjectID); err != nil {
			return nil, fault("commit.protected.object_id", "not a revision")
		}
	}
	if signature, err := segment("commit.signature", c.Signature, MaxSignature); err != nil {
		return nil, err
	} else if len(signature) == 0 {
		return nil, fault("commit.signature", missing)
	}
	if c.Header != nil {
		var open map[string]json.RawMessage
		if len(c.Header) > MaxHeader || depth(c.Header) > MaxMetaDepth || jose.Decode(c.Header, &open) != nil || open == nil {
			return nil, fault("commit.header", "not a JSON object, or too large")
		}
	}
	return p, nil
}

// segment decodes a part of a commit.
func segment(target, text string, most int) ([]byte, error) {
	if base64.RawURLEncoding.DecodedLen(len(text)) > most {
		return nil, fault(target, "too large")
	}
	b, ok := jose.Decode64(text)
	if !ok {
		return nil, fault(target, "not base64url as RFC 7515 has it")
	}
	return b, nil
}

// members are those of a protected header.
type members map[string]json.RawMessage

// text reads a member that must be a string. What is empty is missing.
func (m members) text(name string, most int) (string, error) {
	raw, there := m[name]
	if !there {
		return "", fault("commit.protected."+name, missing)
	}
	s, ok := unquote(raw)
	switch {
	case !ok:
		return "", fault("commit.protected."+name, wrongType)
	case s == "":
		return "", fault("commit.protected."+name, missing)
	case len(s) > most:
		return "", fault("commit.protected."+name, "too large")
	}
	return s, nil
}

// unquote returns the text that a valid JSON value is, if it is one.
func unquote(raw json.RawMessage) (s string, ok bool) {
	switch {
	case len(raw) < 2 || raw[0] != '"':
		return "", false
	case bytes.IndexByte(raw, '\\') < 0: // most are written as they are
		return string(raw[1 : len(raw)-1]), true
	}
	return s, jose.Decode(raw, &s) == nil
}

// timePattern is how "committed_at" is written. No other zone than UTC: what has none would be another time elsewhere.
var timePattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z?$`)

func (h *Header) parse(protected []byte) error {
	var m members
	if jose.Decode(protected, &m) != nil || m == nil {
		return fault("commit.protected", "not a JSON object, or a member is repeated")
	}
	for _, name := range [...]string{"crit", "b64", "rev"} {
		if _, there := m[name]; there {
			return fault("commit.protected."+name, "not allowed in a commit")
		}
	}
	for _, f := range [...]struct {
		name  string
		value *string
		most  int
	}{
		{"interface", &h.Interface, MaxText},
		{"context", &h.Context, MaxText},
		{"type", &h.Type, MaxText},
		{"operation", &h.Operation, MaxText},
		{"committed_at", &h.CommittedText, MaxText},
		{"commit_strategy", &h.Strategy, MaxText},
		{"sub", &h.Sub, MaxName},
		{"kid", &h.KeyID, MaxName},
		{"alg", &h.Alg, MaxText},
	} {
		var err error
		if *f.value, err = m.text(f.name, f.most); err != nil {
			return err
		}
	}
	_, given := m["object_id"]
	switch h.Operation {
	case Create:
		if given {
			return fault("commit.protected.object_id", "not allowed when an object is created")
		}
	case Update, Delete:
		var err error
		if h.ObjectID, err = m.text("object_id", MaxText); err != nil {
			return err
		}
	default:
		return fault("commit.protected.operation", "unknown operation")
	}
	if strings.EqualFold(h.Alg, "none") {
		return fault("commit.protected.alg", "a commit must be signed")
	}
	signer, key, _ := strings.Cut(h.KeyID, "#")
	if signer == "" || key == "" {
		return fault("commit.protected.kid", "not the id of a key")
	}
	if _, given := m["iss"]; given {
		var err error
		if h.Issuer, err = m.text("iss", MaxName); err != nil {
			return err
		}
		if h.Issuer != signer {
			return fault("commit.protected.iss", "not whose key it is")
		}
	}
	if h.CommittedAt = parseTime(h.CommittedText); h.CommittedAt.IsZero() {
		return fault("commit.protected.committed_at", "not a time in UTC")
	}
	if raw, given := m["meta"]; given {
		var object map[string]json.RawMessage
		switch {
		case len(raw) > MaxMeta || depth(raw) > MaxMetaDepth:
			return fault("commit.protected.meta", "too large")
		case jose.Decode(raw, &object) != nil || object == nil:
			return fault("commit.protected.meta", wrongType)
		}
		h.Meta = raw
	}
	return nil
}

// parseTime returns the time that the text says, cut to milliseconds, or the zero time if it says none.
func parseTime(text string) time.Time {
	if !timePattern.MatchString(text) {
		return time.Time{}
	}
	t, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(text, "Z"))
	if err != nil || t.Year() == 0 {
		return time.Time{}
	}
	return t.Truncate(time.Millisecond)
}

// depth returns how deep valid JSON nests.
func depth(b []byte) (deepest int) {
	now, quoted, escaped := 0, false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// Signer returns the identifier of whose key signed: the key id up to its first '#'.
func (c *Commit) Signer() string {
	signer, _, _ := strings.Cut(c.Header.KeyID, "#")
	return signer
}

// Verify reports whether the commit's signature is the key's over what is signed. That the key is one that its owner
// signs with is for who hands it in to know. Of a commit whose payload is withheld nobody can tell: false.
func (c *Commit) Verify(v coffer.Verifier) bool {
	signature, ok := jose.Decode64(c.Raw.Signature)
	return ok && c.Raw.Withheld == nil && v.Verify([]byte(c.Raw.Protected+"."+c.Raw.Payload), signature)
}

// Compare orders commits: creates before updates before deletes, then by the millisecond they were committed at, then
// by revision. It is 0 for one commit only. What follows from a set of commits follows from this order.
func (c *Commit) Compare(d *Commit) int {
	return cmp.Or(
		cmp.Compare(rank(c.Header.Operation), rank(d.Header.Operation)),
		c.Header.CommittedAt.Compare(d.Header.CommittedAt),
		strings.Compare(string(c.Rev[:]), string(d.Rev[:])),
	)
}

// Before reports whether c comes before d in the order of [Commit.Compare].
func (c *Commit) Before(d *Commit) bool { return c.Compare(d) < 0 }

func rank(operation string) int {
	switch operation {
	case Create:
		return 0
	case Update:
		return 1
	}
	return 2
}
