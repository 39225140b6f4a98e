package hub

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The error codes of the protocol.
const (
	authenticationFailed   = "authentication_failed"
	badRequest             = "bad_request"
	notFound               = "not_found"
	permissionsRequired    = "permissions_required"
	temporarilyUnavailable = "temporarily_unavailable"
	tooManyRequests        = "too_many_requests"
	serverError            = "server_error"
	serviceUnavailable     = "service_unavailable"
)

// The standard messages for developers, and one of ours.
const (
	missingParameter   = "Required parameter is missing"
	incorrectParameter = "Required parameter is of the incorrect type"
	tooMany            = "Too many elements"
)

// An errorAnswer is the body of an answer that says what went wrong.
type errorAnswer struct {
	Context          string      `json:"@context"`
	Type             string      `json:"@type"`
	Code             string      `json:"error_code"`
	DeveloperMessage string      `json:"developer_message,omitempty"`
	Target           string      `json:"target,omitempty"`
	Inner            *innerError `json:"inner_error,omitempty"` // published clients may look into it
	Response         *response   `json:"response,omitempty"`    // of the verb plane
}

// An innerError says more than the code does.
type innerError struct {
	Timestamp moment `json:"timestamp"`
	Kind      string `json:"kind,omitempty"` // of the [coffer.Error], where the code does not give it
}

// codes are the error codes of kinds, and those of codes again.
var codes = [...]string{
	coffer.Other:       serverError,
	coffer.Invalid:     badRequest,
	coffer.NotExist:    notFound,
	coffer.Denied:      permissionsRequired,
	coffer.Conflict:    badRequest,
	coffer.Exhausted:   tooManyRequests,
	coffer.Locked:      badRequest,
	coffer.Corrupt:     serverError,
	coffer.Unavailable: temporarilyUnavailable,
}

// finerKinds are the kinds that share their code with another, as they stand in inner errors.
var finerKinds = map[coffer.Kind]string{coffer.Conflict: "conflict", coffer.Locked: "locked", coffer.Corrupt: "corrupt"}

// kindOfCode is the kind of an error with the code; of codes that are not known here, Other.
func kindOfCode(code string) coffer.Kind {
	switch code {
	case authenticationFailed:
		return coffer.Denied
	case coffer.NotImplemented:
		return coffer.Invalid
	case serviceUnavailable:
		return coffer.Unavailable
	}
	return coffer.Kind(max(0, slices.Index(codes[:], code)))
}

// answerTo makes the answer to an error. Of our own defects it tells nothing but that there is one.
func answerTo(err error, now time.Time) *errorAnswer {
	kind := coffer.KindOf(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		kind = coffer.Unavailable
	}
	a := &errorAnswer{
		Context: schemaContext, Type: "ErrorResponse", Code: codes[kind], Inner: &innerError{moment(now), finerKinds[kind]},
	}
	var f *coffer.Fault
	var e *coffer.Error
	switch {
	case kind == coffer.Other, kind == coffer.Corrupt:
		a.DeveloperMessage = "The server failed."
		return a
	case errors.As(err, &f):
		a.DeveloperMessage, a.Target = f.Reason, f.Target
		if f.Code != "" {
			a.Code = f.Code
		}
	case errors.As(err, &e) && e.Err != nil:
		a.DeveloperMessage = e.Err.Error()
	default:
		a.DeveloperMessage = kind.Error()
	}
	if a.Code == coffer.NotImplemented && a.DeveloperMessage == "" {
		a.DeveloperMessage = "Not Implemented"
	}
	return a
}

// A failure is an answer in the clear.
type failure struct {
	status int
	answer errorAnswer
	header http.Header // besides the usual; may be nil
}

func (f *failure) Error() string { return f.answer.Code }

// fail is an answer in the clear.
func fail(status int, code, message string) *failure {
	return &failure{
		status: status,
		answer: errorAnswer{Context: schemaContext, Type: "ErrorResponse", Code: code, DeveloperMessage: message},
	}
}

// unauthenticated is the one answer to who could not be identified, whatever the reason.
var unauthenticated = &failure{
	status: http.StatusUnauthorized,
	answer: fail(0, authenticationFailed, "The request could not be authenticated").answer,
	header: http.Header{"Www-Authenticate": {"did-access-token"}},
}

// asFailure finds the answer in the clear to an error that is not answered in an envelope.
func asFailure(err error, now time.Time) *failure {
	var f *failure
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &tooLarge):
		return fail(http.StatusRequestEntityTooLarge, badRequest, "The request is too large")
	}
	f = &failure{status: http.StatusInternalServerError, answer: *answerTo(err, now)}
	switch f.answer.Code {
	case badRequest:
		f.status = http.StatusBadRequest
	case temporarilyUnavailable:
		f.status, f.header = http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}
	}
	return f
}

// body returns the JSON of the failure.
func (f *failure) body(now time.Time) []byte {
	a := f.answer
	if a.Inner == nil {
		a.Inner = &innerError{Timestamp: moment(now)}
	}
	b, err := jose.Encode(&a)
	if err != nil { // a text from elsewhere that is not UTF-8
		return []byte(`{"@type":"ErrorResponse","error_code":"server_error"}`)
	}
	return b
}

// bad is an error about a part of the request.
func bad(target, reason string) error {
	return coffer.E("request", coffer.Invalid, &coffer.Fault{Target: target, Reason: reason})
}

// unoffered is an error about what is not offered.
func unoffered(target string) error {
	return coffer.E("request", coffer.Invalid,
		&coffer.Fault{Code: coffer.NotImplemented, Target: target, Reason: "Not Implemented"})
}

// errorFrom makes the error that an answer was made from.
func errorFrom(op string, a *answer) error {
	kind := kindOfCode(a.ErrorCode)
	for k, text := range finerKinds {
		if a.Inner != nil && a.Inner.Kind == text && codes[k] == a.ErrorCode {
			kind = k
		}
	}
	f := &coffer.Fault{Target: plain(a.Target), Reason: plain(a.DeveloperMessage)}
	if a.ErrorCode == coffer.NotImplemented || a.ErrorCode == authenticationFailed {
		f.Code = a.ErrorCode
	}
	if f.Reason == "" {
		f.Reason = "the hub refused"
	}
	return coffer.E(op, kind, f)
}

// maxReason bounds what is taken over of a text of the other end.
const maxReason = 512

// plain makes a text of the other end fit to be shown: short, printable, on one line.
func plain(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// refusal makes the error that an answer in the clear was made from. Of one that is not JSON the status tells enough.
func refusal(op string, resp *http.Response, body []byte) error {
	if resp.StatusCode == http.StatusSeeOther {
		return coffer.E(op, coffer.Invalid, &coffer.Fault{
			Code: coffer.NotImplemented, Location: plain(resp.Header.Get("Location")), Reason: "offered elsewhere",
		})
	}
	a, err := parseAnswer(op, body)
	if err != nil || a.ErrorCode == "" {
		a = &answer{DeveloperMessage: "the hub answered with status " + strconv.Itoa(resp.StatusCode)}
		switch s := resp.StatusCode; {
		case s == http.StatusNotImplemented:
			a.ErrorCode = coffer.NotImplemented
		case s == http.StatusTooManyRequests:
			a.ErrorCode = tooManyRequests
		case s/100 == 4:
			a.ErrorCode = badRequest
		case s/100 == 3 || s >= http.StatusBadGateway:
			a.ErrorCode = temporarilyUnavailable
		default:
			a.ErrorCode = serverError
		}
	}
	return errorFrom(op, a)
}

// isUnauthenticated reports whether the hub did not know who asks. It says so in the clear only: inside an envelope it
// would not be believed.
func isUnauthenticated(err error) bool {
	var f *coffer.Fault
	return errors.As(err, &f) && f.Code == authenticationFailed
}
