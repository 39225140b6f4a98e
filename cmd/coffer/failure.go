package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/cofferhq/coffer"
)

// Exit codes. Scripts rely on them: they never change.
const (
	exitOK          = 0
	exitOther       = 1
	exitInvalid     = 2
	exitNotExist    = 3
	exitDenied      = 4
	exitConflict    = 5
	exitExhausted   = 6
	exitLocked      = 7
	exitCorrupt     = 8
	exitUnavailable = 9
	exitInterrupted = 130
)

// errInterrupted is the error of a run that a signal ended.
var errInterrupted = errors.New("interrupted")

// A failure is an error in words for the person at the terminal, who may see the names that logs may not.
type failure struct {
	kind    coffer.Kind
	message string
	next    string // what to do about it; may be empty
	err     error  // may be nil
}

func (f *failure) Error() string        { return f.message }
func (f *failure) Unwrap() error        { return f.err }
func (f *failure) Is(target error) bool { return target == error(f.kind) }

// failed returns an error of the kind, in these words.
func failed(kind coffer.Kind, next, format string, args ...any) error {
	return &failure{kind: kind, message: fmt.Sprintf(format, args...), next: next}
}

// explain puts words before an error that keep its kind. A failure, which has its words, is returned as it is.
func explain(err error, next, format string, args ...any) error {
	var f *failure
	if err == nil || errors.As(err, &f) || errors.Is(err, context.Canceled) {
		return err
	}
	return &failure{kind: kindOf(err), message: fmt.Sprintf(format, args...) + ": " + reason(err), next: next, err: err}
}

// reason returns an error's text without the operations and the kind that our own errors begin with, as far as
// something is left.
func reason(err error) string {
	for {
		var e *coffer.Error
		if !errors.As(err, &e) {
			break
		}
		if e.Err == nil {
			return e.Kind.Error()
		}
		err = e.Err
	}
	return withoutPath(err).Error()
}

// usage is the failure of arguments that cannot be understood.
func usage(err error) error {
	command := "coffer"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Command() != "" {
		command += " " + strings.Fields(parse.Context.Command())[0]
	}
	next := fmt.Sprintf("see %q", command+" --help")
	if strings.HasPrefix(err.Error(), "unknown flag") {
		next += "; names that begin with a dash go after --"
	}
	return &failure{kind: coffer.Invalid, message: err.Error(), next: next, err: err}
}

// interrupted turns any failure after the end of ctx into errInterrupted: what failed then did so because of it. It
// keeps a failure that has words for it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, errInterrupted) {
		return err
	}
	return errInterrupted
}

// kindOf returns the kind of an error: of ours, or of what the machine says.
func kindOf(err error) coffer.Kind {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f.kind
	case coffer.KindOf(err) != coffer.Other:
		return coffer.KindOf(err)
	case errors.Is(err, fs.ErrNotExist):
		return coffer.NotExist
	case errors.Is(err, fs.ErrPermission):
		return coffer.Denied
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist):
		return coffer.Conflict
	case errors.Is(err, syscall.ENAMETOOLONG):
		return coffer.Invalid
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return coffer.Exhausted
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return coffer.Unavailable
	}
	return coffer.Other
}

// exitCode returns the exit code and the name, as --json has it, that stand for an error.
func exitCode(err error) (code int, name string) {
	if errors.Is(err, errInterrupted) {
		return exitInterrupted, "interrupted"
	}
	switch kindOf(err) {
	case coffer.Invalid:
		return exitInvalid, "invalid"
	case coffer.NotExist:
		return exitNotExist, "not-exist"
	case coffer.Denied:
		return exitDenied, "denied"
	case coffer.Conflict:
		return exitConflict, "conflict"
	case coffer.Exhausted:
		return exitExhausted, "exhausted"
	case coffer.Locked:
		return exitLocked, "locked"
	case coffer.Corrupt:
		return exitCorrupt, "corrupt"
	case coffer.Unavailable:
		return exitUnavailable, "unavailable"
	}
	return exitOther, "other"
}

// fail writes the error to stderr and returns the exit code that stands for it.
func (p *program) fail(err error) int {
	code, name := exitCode(err)
	message := strings.TrimSpace(err.Error())
	var f *failure
	if errors.As(err, &f) && f.next != "" {
		message += "; " + f.next
	} else if code == exitCorrupt && p.early {
		message += `; if this vault was made by an earlier version of coffer, run "coffer upgrade"`
	} else if code == exitUnavailable && p.node != "" {
		message += "; is the node at " + p.node + " running and to be reached?"
	}
	if p.JSON {
		type detail struct {
			Kind    string `json:"kind"`
			Message string `json:"message"`
		}
		_ = writeJSON(p.stderr, struct {
			Error detail `json:"error"`
		}{detail{name, message}})
	} else {
		fmt.Fprintf(p.stderr, "coffer: %s\n", printable(message))
	}
	return code
}
