package agent

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
)

// Bounds on what is asked.
const (
	maxQuery = 4096 // bytes
	maxTerms = 16
)

// A term is one condition of a query.
type term struct {
	field  string // "" for a bare word
	value  string
	quoted bool // the value is text, whatever it looks like
}

// parseQuery reads a query:
//
//	query = term *( space term )
//	term  = [ field ( ":" / "=" ) ] value
//	value = word / DQUOTE *( any / "\" DQUOTE / "\\" ) DQUOTE
//
// A field is everything before the first ":" or "=" of a term and holds no quotation marks. Invalid for an empty query,
// field or word, a quotation that does not end or that something follows without a space, bytes that are not UTF-8,
// more than 4096 bytes and more than 16 terms.
func parseQuery(s string) ([]term, error) {
	const op = "query"
	if len(s) > maxQuery || !utf8.ValidString(s) {
		return nil, coffer.Errorf(op, coffer.Invalid, "too long, or not UTF-8")
	}
	var terms []term
	for {
		if s = strings.TrimLeftFunc(s, unicode.IsSpace); s == "" {
			break
		}
		if len(terms) == maxTerms {
			return nil, coffer.Errorf(op, coffer.Invalid, "too many terms")
		}
		t, rest, err := parseTerm(s)
		if err != nil {
			return nil, err
		}
		terms, s = append(terms, t), rest
	}
	if len(terms) == 0 {
		return nil, coffer.Errorf(op, coffer.Invalid, "nothing is asked")
	}
	return terms, nil
}

// parseTerm reads one term from the beginning of s, which is not empty and does not begin with a space.
func parseTerm(s string) (t term, rest string, err error) {
	const op = "query"
	end := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`:="`, r) })
	if end >= 0 && (s[end] == ':' || s[end] == '=') {
		if end == 0 {
			return t, "", coffer.Errorf(op, coffer.Invalid, "a field has no name")
		}
		t.field, s = s[:end], s[end+1:]
	}
	if strings.HasPrefix(s, `"`) {
		if t.value, s, err = parseQuoted(s[1:]); err != nil {
			return t, "", err
		}
		t.quoted = true
	} else {
		if end = strings.IndexFunc(s, unicode.IsSpace); end < 0 {
			end = len(s)
		}
		t.value, s = s[:end], s[end:]
		if t.value == "" {
			return t, "", coffer.Errorf(op, coffer.Invalid, "a field has no value")
		}
	}
	if r, _ := utf8.DecodeRuneInString(s); s != "" && !unicode.IsSpace(r) {
		return t, "", coffer.Errorf(op, coffer.Invalid, "no space after a quotation")
	}
	return t, s, nil
}

// parseQuoted reads up to the closing quotation mark. A backslash takes the next character as it is.
func parseQuoted(s string) (value, rest string, err error) {
	var b strings.Builder
	escaped := false
	for i, r := range s {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteRune(r)
		}
	}
	return "", "", coffer.Errorf("query", coffer.Invalid, "a quotation does not end")
}

// A pair is an indexed attribute and the value that it must have.
type pair struct {
	path  string // of the attribute, as it is blinded
	value any    // string, float64 or bool
}

// alternatives returns the conditions on single attributes any of which an object must meet, so far as the index can
// tell, to meet the term.
func (t term) alternatives() (list [][]pair) {
	one := func(path string, value any) { list = append(list, []pair{{path, value}}) }
	switch t.field {
	case "":
		var all []pair
		for _, w := range words(t.value) {
			all = append(all, pair{"content.words", w})
		}
		if len(all) > 0 {
			list = append(list, all)
		}
		one("content.type", t.value)
	case "name", "path", "folder", "type":
		one("content."+t.field, t.known())
	default:
		path := valuePath(t.field)
		one(path, t.value)
		if n, ok := t.number(); ok {
			one(path, n)
		}
		if b, ok := t.boolean(); ok {
			one(path, b)
		}
	}
	return list
}

// known returns the value in the form in which the known fields are kept.
func (t term) known() string {
	if t.field == "path" || t.field == "folder" {
		if p, err := CleanPath(t.value); err == nil {
			return p
		}
	}
	return t.value
}

// number returns the value as the number it looks like, in JSON's way of writing one.
func (t term) number() (float64, bool) {
	if t.quoted || strings.Trim(t.value, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(t.value, 64)
	return n, err == nil
}

func (t term) boolean() (value, ok bool) {
	return t.value == "true", !t.quoted && (t.value == "true" || t.value == "false")
}

// matches reports whether the object really meets the term.
func (t term) matches(c *content) bool {
	switch t.field {
	case "":
		if t.value == c.Type {
			return true
		}
		asked := words(t.value)
		for _, w := range asked {
			if !slices.Contains(c.Words, w) {
				return false
			}
		}
		return len(asked) > 0
	case "name":
		return c.Name == t.value
	case "path":
		return c.Path == t.known()
	case "folder":
		return c.Folder == t.known()
	case "type":
		return c.Type == t.value
	}
	n, isNumber := t.number()
	b, isBool := t.boolean()
	for v := range valuesAt(c.Value, t.field) {
		switch v := v.(type) {
		case string:
			if v == t.value {
				return true
			}
		case float64:
			if isNumber && v == n {
				return true
			}
		case bool:
			if isBool && v == b {
				return true
			}
		}
	}
	return false
}
