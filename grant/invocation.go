package grant

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strings"
	"sync"

	"github.com/cofferhq/coffer"
)

// Bounds on an invoked capability.
const (
	maxInvocation = 16 << 10 // bytes of the Capability-Invocation header
	maxCapability = 64 << 10 // bytes of a capability as JSON; gzip could make any number of a short header
	maxCached     = 16 << 10 // bytes of one that is remembered, twice what the longest chain needs
)

// An invoked is a parsed Capability-Invocation header: a root capability's id, or a delegated capability encoded.
type invoked struct {
	root    string // target of the root capability, when it is one
	encoded string // base64url of the gzip of the capability's JSON, when it is delegated
	action  Action
}

// parseInvocation reads a Capability-Invocation header: the scheme zcap and quoted parameters, separated by commas
// alone; either id or capability, and action.
func parseInvocation(values []string) (v invoked, err error) {
	const op = "capability invocation"
	bad := func(reason string) (invoked, error) { return invoked{}, coffer.Errorf(op, coffer.Invalid, reason) }
	if len(values) != 1 || len(values[0]) > maxInvocation {
		return bad("the header is missing, repeated or too long")
	}
	rest, ok := strings.CutPrefix(values[0], "zcap ")
	if !ok {
		return bad("the scheme is not zcap")
	}
	var id, action string
	for more := true; more; {
		var p parameter
		if p, rest, more, ok = nextParameter(rest); !ok {
			return bad("malformed parameters")
		}
		var field *string
		switch p.name {
		case "id":
			field = &id
		case "capability":
			field = &v.encoded
		case "action":
			field = &action
		default:
			return bad("unknown parameter")
		}
		if *field != "" || p.value == "" || !p.quoted {
			return bad("a parameter is repeated, empty or not quoted")
		}
		*field = p.value
	}
	v.action = Action(action)
	switch {
	case action == "" || len(action) > maxText:
		return bad("the action is missing or too long")
	case (id == "") == (v.encoded == ""):
		return bad("either an id or a capability is needed")
	case id != "":
		if v.root, ok = ParseRootID(id); !ok {
			return bad("only a root capability is invoked by its id")
		}
	}
	return v, nil
}

// An inflater unpacks capabilities. It is kept between requests because inflating needs 40 kB of tables and window.
type inflater struct {
	packed []byte
	source bytes.Reader
	gzip   gzip.Reader
	json   []byte
}

// inflaters is scratch memory, nothing that anything depends on.
var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// inflate returns the JSON of an encoded capability. It is good until the inflater is used again.
func (f *inflater) inflate(encoded string) ([]byte, error) {
	const op = "capability invocation"
	packed, err := base64.RawURLEncoding.AppendDecode(f.packed[:0], []byte(encoded))
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "the capability is not base64url")
	}
	f.packed = packed
	f.source.Reset(packed)
	if err := f.gzip.Reset(&f.source); err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "the capability is not gzip")
	}
	f.gzip.Multistream(false)
	b := f.json[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, make([]byte, max(4096, len(b)))...)[:len(b)]
		}
		n, err := f.gzip.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		f.json = b
		switch {
		case len(b) > maxCapability:
			return nil, coffer.Errorf(op, coffer.Invalid, "the capability is too long")
		case err == io.EOF && f.source.Len() == 0:
			return b, nil
		case err != nil:
			return nil, coffer.Errorf(op, coffer.Invalid, "the capability is not gzip")
		}
	}
}

// deflate returns the encoded form of a capability's JSON.
func deflate(json []byte) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(json) // to a buffer: never fails
	w.Close()
	return base64.RawURLEncoding.EncodeToString(b.Bytes())
}
