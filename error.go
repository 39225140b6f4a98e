package coffer

import (
	"errors"
	"strings"
)

// A Kind says what sort of failure an error is. Kinds are few, numbered for ever, and cross the wire: a caller decides
// by kind what to do next, whether the vault is in this process or on another continent.
//
// A Kind is itself an error, so that errors.Is(err, coffer.NotExist) holds for every error of that kind.
type Kind uint8

// The kinds. Their numbers never change.
const (
	Other       Kind = 0 // none of the below; a defect of ours
	Invalid     Kind = 1 // malformed input; sending it again will not help
	NotExist    Kind = 2 // no such thing, or no right at all to know of it
	Denied      Kind = 3 // some right, but not this one
	Conflict    Kind = 4 // what is present is not what the writer believed; read again
	Exhausted   Kind = 5 // a size, a count, a quota or a rate is used up
	Locked      Kind = 6 // held back on purpose: a hold, a passphrase that is needed
	Corrupt     Kind = 7 // what was read is not what was written
	Unavailable Kind = 8 // not now: down, unreachable, shutting down; try again later
)

var kindNames = [...]string{
	"internal error", "invalid", "does not exist", "denied", "conflict", "exhausted", "locked", "corrupt", "unavailable",
}

// Error returns the kind in words.
func (k Kind) Error() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Other]
}

// An Error is a failure with its kind. Its text names the operation and the reason and holds no names of people,
// no identifiers, no keys and no contents, so that it may be logged.
type Error struct {
	Op   string // what was tried, as package.function or a few words; may be empty
	Kind Kind
	Err  error // the reason; may be nil
}

// Error returns "op: kind: reason", leaving out what is empty.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	parts = append(parts, e.Kind.Error())
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// E returns an Error of the given kind. The reason may be nil.
func E(op string, kind Kind, err error) error { return &Error{Op: op, Kind: kind, Err: err} }

// Errorf is E with a reason given as text.
func Errorf(op string, kind Kind, reason string) error {
	return &Error{Op: op, Kind: kind, Err: errors.New(reason)}
}

// KindOf returns the kind of the outermost Error in err's chain, Other if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Other
}
