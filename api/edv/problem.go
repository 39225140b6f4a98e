package edv

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The names of problems. They never change; doc/http-api.md says what each means.
const (
	validationError  = "ValidationError"
	dataError        = "DataError"
	notAllowedError  = "NotAllowedError"
	notFoundError    = "NotFoundError"
	methodError      = "MethodNotAllowedError"
	duplicateError   = "DuplicateError"
	stateError       = "InvalidStateError"
	lengthError      = "LengthRequiredError"
	tooLargeError    = "TooLargeError"
	mediaTypeError   = "MediaTypeError"
	lockedError      = "LockedError"
	rateError        = "RateError"
	operationError   = "OperationError"
	unavailableError = "UnavailableError"
	quotaError       = "QuotaExceededError"
)

// A problem is the JSON body of an answer that says what went wrong, in the form of the published servers. Details.Kind
// is the kind of the [coffer.Error] that a client makes of it.
type problem struct {
	Name    string  `json:"name"`
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Details details `json:"details"`
	Cause   *cause  `json:"cause,omitempty"`
}

type details struct {
	Status int    `json:"httpStatusCode"`
	Kind   string `json:"kind"`
}

type cause struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// kindTexts are the kinds as they stand in problems, by number.
var kindTexts = [...]string{
	"other", "invalid", "notExist", "denied", "conflict", "exhausted", "locked", "corrupt", "unavailable",
}

// A failure is an error that knows its answer.
type failure struct {
	status int
	name   string
	retry  time.Duration // when to try again; 0 says nothing
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(status int, name string, kind coffer.Kind, reason string) error {
	return &failure{status: status, name: name, err: coffer.Errorf("request", kind, reason)}
}

// invalid marks an error about the form of a request.
func invalid(err error) error {
	return &failure{status: http.StatusBadRequest, name: validationError, err: err}
}

// nobody is the one answer to all who have no right in a vault, be there one or not.
var nobody = &failure{
	status: http.StatusForbidden,
	name:   notAllowedError,
	err:    coffer.Errorf("request", coffer.NotExist, "not authorized"),
}

// A refusal is how a [View] marks the errors of its gate, as opposed to those about what lies behind it: NotExist then
// says that the caller has no right at all, Denied that it has some, but not this one.
type refusal interface{ Refused() bool }

// asFailure finds the answer to an error of a Host or View. conflict names the problem that a Conflict is.
func asFailure(err error, conflict string) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	f = &failure{err: err}
	kind := coffer.KindOf(err)
	var r refusal
	if kind == coffer.NotExist && errors.As(err, &r) && r.Refused() {
		return nobody
	}
	var tooMany *http.MaxBytesError
	var wait interface{ RetryAfter() time.Duration }
	var size interface{ TooLarge() bool }
	switch {
	case errors.As(err, &tooMany):
		f.status, f.name = http.StatusRequestEntityTooLarge, tooLargeError
		f.err = coffer.Errorf("request", coffer.Exhausted, "body too large")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		f.status, f.name = http.StatusServiceUnavailable, unavailableError
		f.err = coffer.Errorf("request", coffer.Unavailable, "ended early")
	case kind == coffer.Invalid:
		f.status, f.name = http.StatusBadRequest, dataError
	case kind == coffer.NotExist:
		f.status, f.name = http.StatusNotFound, notFoundError
	case kind == coffer.Denied:
		f.status, f.name = http.StatusForbidden, notAllowedError
	case kind == coffer.Conflict:
		f.status, f.name = http.StatusConflict, conflict
	case kind == coffer.Exhausted && errors.As(err, &wait):
		f.status, f.name, f.retry = http.StatusTooManyRequests, rateError, wait.RetryAfter()
	case kind == coffer.Exhausted && errors.As(err, &size) && size.TooLarge():
		f.status, f.name = http.StatusRequestEntityTooLarge, tooLargeError
	case kind == coffer.Exhausted:
		f.status, f.name = http.StatusInsufficientStorage, quotaError
	case kind == coffer.Locked:
		f.status, f.name = http.StatusLocked, lockedError
	case kind == coffer.Unavailable:
		f.status, f.name, f.retry = http.StatusServiceUnavailable, unavailableError, time.Second
	default:
		f.status, f.name = http.StatusInternalServerError, operationError
	}
	return f
}

// problem returns the body for the failure. Of our own defects it tells nothing but that there is one, and of
// authority not why it was not enough.
func (f *failure) problem() *problem {
	kind := coffer.KindOf(f.err)
	p := &problem{Name: f.name, Type: f.name, Details: details{Status: f.status, Kind: kindTexts[kind]}}
	switch f.status {
	case http.StatusForbidden:
		p.Message = "Authorization error."
	case http.StatusInternalServerError:
		p.Message = "The server failed."
	default:
		p.Message = f.reason()
		p.Cause = &cause{Name: kindTexts[kind], Message: kind.Error()}
	}
	return p
}

// reason is why, without what of ours was at work.
func (f *failure) reason() string {
	var e *coffer.Error
	if errors.As(f.err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return coffer.KindOf(f.err).Error()
}

func (f *failure) body() []byte {
	b, err := jose.Encode(f.problem())
	if err != nil {
		return []byte(`{"name":"OperationError"}`) // cannot be: the texts are ours
	}
	return b
}

// retryAfter returns the value of the header, whole seconds and at least one.
func (f *failure) retryAfter() string {
	return strconv.Itoa(max(1, int((f.retry+time.Second-1)/time.Second)))
}

// errorFrom makes the error that a problem was made from: by its kind if it names one, else by the status. A batch
// has a problem for each operation; the first that was not held up by another counts.
func errorFrom(op string, status int, body []byte) error {
	var p struct {
		Details struct {
			Kind string `json:"kind"`
		} `json:"details"`
	}
	var outcomes []outcome
	text := ""
	if jose.DecodeOpen(body, &p) == nil {
		text = p.Details.Kind
	} else if jose.DecodeOpen(body, &outcomes) == nil {
		for _, o := range outcomes {
			text = cmp.Or(text, o.Kind)
		}
	}
	kind := kindOfStatus(status)
	if i := slices.Index(kindTexts[:], text); i >= 0 {
		kind = coffer.Kind(i)
	}
	return coffer.E(op, kind, statusError(status))
}

// A statusError is the status of an answer that is a problem.
type statusError int

func (s statusError) Error() string { return "the server answered with status " + strconv.Itoa(int(s)) }

// kindOfStatus is for servers that name no kind.
func kindOfStatus(status int) coffer.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return coffer.NotExist
	case http.StatusConflict, http.StatusPreconditionFailed:
		return coffer.Conflict
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusInsufficientStorage:
		return coffer.Exhausted
	case http.StatusLocked:
		return coffer.Locked
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return coffer.Unavailable
	}
	switch status / 100 {
	case 3: // redirects are refused: a signature is for one URL
		return coffer.Unavailable
	case 4:
		return coffer.Invalid
	}
	return coffer.Other
}
