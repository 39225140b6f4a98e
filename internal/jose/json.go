package jose

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep outside JSON may nest.
const MaxDepth = 64

// Decode reads one JSON value into v, strictly: duplicate member names, invalid UTF-8, trailing data and members that v
// does not have are errors, and names match by case. The error says what is wrong and holds nothing of the input.
func Decode(b []byte, v any) error { return decode(b, v, json.RejectUnknownMembers(true)) }

// DecodeOpen is Decode, but members that v does not have are passed over.
func DecodeOpen(b []byte, v any) error { return decode(b, v) }

func decode(b []byte, v any, opts ...json.Options) error {
	if err := shallow(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v, opts...); err != nil { // refuses repeated names and invalid UTF-8 by itself
		if errors.Is(err, json.ErrUnknownName) {
			return errors.New("JSON has a member that is not known here")
		}
		return errors.New("JSON is not of the expected form")
	}
	return nil
}

// Valid reports whether b is one strict JSON value no deeper than [MaxDepth].
func Valid(b []byte) error {
	if err := shallow(b); err != nil {
		return err
	}
	if !jsontext.Value(b).IsValid() {
		return errors.New("not valid JSON, or a member name is repeated")
	}
	return nil
}

// shallow reports whether b, if it is JSON, is no deeper than [MaxDepth].
func shallow(b []byte) error {
	depth, quoted, escaped := 0, false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped = c == '\\'
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return errors.New("JSON is nested too deep")
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Encode returns v as compact JSON, members in the order of v's fields and map keys sorted.
func Encode(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

// Canonical returns the RFC 8785 form of the JSON value in b.
func Canonical(b []byte) ([]byte, error) {
	if err := Valid(b); err != nil {
		return nil, err
	}
	v := jsontext.Value(b).Clone()
	if err := v.Canonicalize(); err != nil {
		return nil, errors.New("JSON has no canonical form")
	}
	return v, nil
}
