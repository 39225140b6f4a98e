package hub

import (
	"strings"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
)

// A URI names a hub, or a kind of object in it, or one object:
//
//	hub://<did>[/<Interface>[/<context>/<type>[/<object id>]]]
//
// The identifier stands as it is, with the percent-encoding that it has itself (did:web:localhost%3A8080). Interface,
// context and type are percent-encoded, so that a context may be a URL. doc/hub.md describes the form.
type URI struct {
	Owner     string // DID
	Interface string // may be empty: the whole hub
	Context   string // empty when Type is
	Type      string // may be empty: the whole interface
	ID        coffer.CommitRev
}

// Bounds of a URI's parts, in bytes. Those of texts are a commit's.
const (
	maxURI  = 16 << 10
	maxDID  = 2 << 10
	maxText = 1 << 10
)

const scheme = "hub://"

// ParseURI reads a hub URI; the case of "hub" does not matter, nor does a "/" at the end. Invalid for anything else.
func ParseURI(s string) (URI, error) {
	invalid := func(reason string) (URI, error) { return URI{}, coffer.Errorf("hub URI", coffer.Invalid, reason) }
	if len(s) > maxURI {
		return invalid("too long")
	}
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return invalid("does not begin with hub://")
	}
	parts := strings.Split(strings.TrimSuffix(s[len(scheme):], "/"), "/")
	u := URI{Owner: parts[0]}
	if !isDID(u.Owner) {
		return invalid("no DID where it should be")
	}
	if n := len(parts); n == 3 || n > 5 {
		return invalid("the path is an interface, or an interface, a context and a type, and then an object")
	}
	for i, into := range []*string{&u.Interface, &u.Context, &u.Type} {
		if i+1 >= len(parts) {
			break
		}
		text, ok := unescape(parts[i+1])
		if !ok || text == "" || len(text) > maxText {
			return invalid("a part of the path is empty, too long, or not percent-encoded UTF-8")
		}
		*into = text
	}
	if len(parts) == 5 {
		var err error
		if u.ID, err = coffer.ParseCommitRev(parts[4]); err != nil || u.ID == (coffer.CommitRev{}) {
			return invalid("the last part of the path is no object")
		}
	}
	return u, nil
}

// String returns the one form that ParseURI reads as this URI. Parts that follow an empty one are left out.
func (u URI) String() string {
	b := append([]byte(scheme), u.Owner...)
	if u.Interface == "" {
		return string(b)
	}
	b = escape(append(b, '/'), u.Interface)
	if u.Context == "" || u.Type == "" {
		return string(b)
	}
	b = escape(append(escape(append(b, '/'), u.Context), '/'), u.Type)
	if u.ID == (coffer.CommitRev{}) {
		return string(b)
	}
	return string(append(append(b, '/'), u.ID.String()...))
}

// MarshalText returns the text form.
func (u URI) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is [ParseURI]. Empty is the zero URI.
func (u *URI) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*u = URI{}
		return nil
	}
	*u, err = ParseURI(string(b))
	return err
}

// Kind returns the kind of object that the URI names.
func (u URI) Kind() Kind { return Kind{Interface: u.Interface, Context: u.Context, Type: u.Type} }

const hexDigits = "0123456789ABCDEF"

// escape appends s with all percent-encoded but what RFC 3986, section 2.3 calls unreserved.
func escape(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; isIDChar(c) && c != ':' || c == '~' {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return "", false
			}
			b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		case c <= ' ' || c >= 0x7f || c == '?' || c == '#':
			return "", false
		default:
			b = append(b, c)
		}
	}
	return string(b), utf8.Valid(b)
}

func unhex(c byte) int { return strings.IndexByte(hexDigits, c&^(c>>1&0x20)) }

// isDID reports whether s is a DID (DID Core 1.0, section 3.1), without a path, query or fragment.
func isDID(s string) bool {
	rest, found := strings.CutPrefix(s, "did:")
	method, id, colon := strings.Cut(rest, ":")
	if len(s) > maxDID || !found || !colon || method == "" || id == "" || strings.HasSuffix(id, ":") {
		return false
	}
	for i := range len(method) {
		if c := method[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case c == '%' && i+2 < len(id) && unhex(id[i+1]) >= 0 && unhex(id[i+2]) >= 0:
			i += 2
		case !isIDChar(c):
			return false
		}
	}
	return true
}

// isIDChar reports whether c may stand in a DID as it is, beside percent-encoding.
func isIDChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '-' || c == '_' || c == ':'
}
