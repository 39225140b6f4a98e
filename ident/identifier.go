package ident

import (
	"net/url"
	"strings"

	"github.com/cofferhq/coffer"
)

// maxID is the greatest length of an identifier, and of a key's id.
const maxID = 2 << 10

// What parseID says of names that are not DIDs. No DID method is called so: a method's name has no spaces.
const (
	bareKey  = "bare key"
	plainURI = "plain URI"
)

// parseID checks the form of an identifier and returns its DID method and what follows "did:<method>:". For a bare key
// and for an https: or urn: identifier all of it follows. Fragments, and paths and queries of DIDs, are Invalid: they
// do not name somebody, but something of theirs.
func parseID(id string) (method, rest string, err error) {
	invalid := func(reason string) (string, string, error) {
		return "", "", coffer.Errorf("identifier", coffer.Invalid, reason)
	}
	if id == "" || len(id) > maxID {
		return invalid("empty or too long")
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || strings.IndexByte("\"#<>\\^`{|}", c) >= 0 {
			return invalid("holds a character that no identifier has")
		}
	}
	scheme, after, found := strings.Cut(id, ":")
	switch {
	case !found && id[0] == 'z':
		return bareKey, id, nil
	case scheme == "did":
		method, rest, _ = strings.Cut(after, ":")
		if !isMethod(method) || !isMethodID(rest) {
			return invalid("not a DID")
		}
		return method, rest, nil
	case scheme == "https":
		u, err := url.Parse(id)
		if err != nil || u.Host == "" || u.User != nil {
			return invalid("not an https URL")
		}
		return plainURI, id, nil
	case scheme == "urn":
		namespace, specific, _ := strings.Cut(after, ":")
		if namespace == "" || specific == "" {
			return invalid("not a URN")
		}
		return plainURI, id, nil
	}
	return "", "", coffer.E("identifier", coffer.Invalid, ErrMethod)
}

// isMethod reports whether s is the name of a DID method (DID Core, section 3.1: method-name).
func isMethod(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || isDigit(c)) {
			return false
		}
	}
	return s != ""
}

// isMethodID reports whether s may follow a method's name (DID Core, section 3.1: method-specific-id).
func isMethodID(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isLetter(c), isDigit(c), c == '.', c == '-', c == '_', c == ':':
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			i += 2
		default:
			return false
		}
	}
	return s != "" && s[len(s)-1] != ':'
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isHex(c byte) bool    { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
