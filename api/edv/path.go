package edv

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
)

// maxSegments is the depth of the deepest route, maxPath more than any route needs.
const (
	maxSegments = 6
	maxPath     = 8 << 10
)

// A path is a request's path and query as sent, split up.
//
// Capabilities attenuate by the text of URLs: one for …/documents must not open what /documents/../x or /documents%2fx
// names. So there is one text only for each thing: a path that could also be written otherwise is no path at all.
type path struct {
	text     string              // as sent, without the query
	query    string              // as sent, without the "?"
	segments [maxSegments]string // decoded
	n        int
}

// parsePath splits a request URI. It reports false for one that is too long or too deep, does not begin with "/", has
// an empty or a dotted segment, a character that has no place in a path, or an escape that encodeURIComponent would
// not make or that stands for "/", "\" or a control character.
func parsePath(uri string) (p path, ok bool) {
	p.text, p.query, _ = strings.Cut(uri, "?")
	if len(uri) > maxPath || !strings.HasPrefix(p.text, "/") {
		return p, false
	}
	for rest, more := p.text[1:], true; more; p.n++ {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if p.n == maxSegments {
			return p, false
		}
		if p.segments[p.n], ok = decodeSegment(segment); !ok {
			return p, false
		}
	}
	return p, true
}

func decodeSegment(s string) (string, bool) {
	if s == "" || s == "." || s == ".." {
		return "", false
	}
	escaped := false
	for i := range len(s) {
		escaped = escaped || s[i] == '%'
		if s[i] != '%' && !unreserved(s[i]) && strings.IndexByte(":@$&+,;=", s[i]) < 0 {
			return "", false
		}
	}
	if !escaped {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if len(s) < i+3 {
			return "", false
		}
		high, low := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
		c := byte(high<<4 | low)
		if high < 0 || low < 0 || unreserved(c) || c < ' ' || c == 0x7f || c == '/' || c == '\\' {
			return "", false
		}
		b = append(b, c)
		i += 2
	}
	return string(b), utf8.Valid(b)
}

const upperHex = "0123456789ABCDEF"

// unreserved reports whether encodeURIComponent leaves the character as it is.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()", c) >= 0
}

// encodeComponent is encodeURIComponent of ECMAScript.
func encodeComponent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// params reads the query. Invalid for a parameter that is not among the known ones, or comes twice.
func (p *path) params(known ...string) (map[string]string, error) {
	if p.query == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(p.query)
	if err != nil {
		return nil, coffer.Errorf("query parameters", coffer.Invalid, "malformed")
	}
	out := make(map[string]string, len(known))
	for _, k := range known {
		if v := values[k]; len(v) > 1 {
			return nil, coffer.Errorf("query parameters", coffer.Invalid, "one comes twice")
		} else if len(v) == 1 {
			out[k] = v[0]
		}
	}
	if len(out) != len(values) {
		return nil, coffer.Errorf("query parameters", coffer.Invalid, "one is not known here")
	}
	return out, nil
}
