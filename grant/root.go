package grant

import (
	"strings"
	"unicode/utf8"
)

// rootPrefix begins the ids of root capabilities. A root capability never travels: its id says its target, and the
// server knows its controllers.
const rootPrefix = "urn:zcap:root:"

// RootID returns the id of the root capability for a target: a prefix and the target as encodeURIComponent of
// ECMAScript escapes it, which is neither url.QueryEscape nor url.PathEscape.
func RootID(target string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(rootPrefix)+len(target)+32)
	b = append(b, rootPrefix...)
	for i := range len(target) {
		if c := target[i]; unescaped(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// ParseRootID returns the target that a root capability's id names. It accepts just what [RootID] writes, so there is
// one id per target; everything else, and a target that is not an absolute URI, is not ok.
func ParseRootID(id string) (target string, ok bool) {
	s, ok := strings.CutPrefix(id, rootPrefix)
	if !ok || len(id) > 3*maxURI {
		return "", false
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			high, low := upperHex(s[i+1]), upperHex(s[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			i += 2
			if c = byte(high<<4 | low); unescaped(c) {
				return "", false
			}
		} else if !unescaped(c) {
			return "", false
		}
		b = append(b, c)
	}
	if target = string(b); !absoluteURI(target) {
		return "", false
	}
	return target, true
}

// unescaped reports whether encodeURIComponent leaves the byte as it is.
func unescaped(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', '_', '.', '!', '~', '*', '\'', '(', ')':
		return true
	}
	return false
}

func upperHex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// maxURI bounds every URI in a capability and in a request.
const maxURI = 4096

// absoluteURI reports whether s has a scheme and holds nothing that N-Quads would have to escape or that a JSON-LD
// processor would read as something else than an absolute IRI.
func absoluteURI(s string) bool {
	if len(s) > maxURI || !utf8.ValidString(s) {
		return false
	}
	colon := strings.IndexByte(s, ':')
	if colon < 1 || colon == len(s)-1 {
		return false
	}
	for i := range colon {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	for i := colon; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ', c == 0x7f, strings.IndexByte("<>\"{}|^`\\", c) >= 0:
			return false
		}
	}
	return true
}

// covers reports whether authority over base is authority over target: they are equal, or target goes on after base
// with "/" or "?", or with "&" when base has a query already. The comparison is textual, so paths that could mean
// another place than they spell (dot segments and the like) must be refused before; Verify does. Empty covers nothing.
func covers(base, target string) bool {
	rest, ok := strings.CutPrefix(target, base)
	switch {
	case !ok || base == "":
		return false
	case rest == "":
		return true
	case strings.Contains(base, "?"):
		return rest[0] == '&'
	}
	return rest[0] == '/' || rest[0] == '?'
}

// holds reports whether one of the controllers is the verification method or the identifier whose method it is. Empty
// never equals empty.
func holds(controllers []string, method string) bool {
	if method == "" {
		return false
	}
	id := identifierOf(method)
	for _, c := range controllers {
		if c != "" && (c == method || c == id) {
			return true
		}
	}
	return false
}

// identifierOf returns the identifier whose verification method it is: what stands before the fragment.
func identifierOf(method string) string {
	id, _, _ := strings.Cut(method, "#")
	return id
}
