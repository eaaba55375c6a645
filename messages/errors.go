package messages

import (
	"errors"
	"fmt"
	"net/http"
)

// Code names a class of failure. It is the only thing that chooses an HTTP status
// and a process exit code; the message beside it is for people.
type Code string

// The codes. Their strings are part of the API's answers and must not change.
const (
	CodeInternal     Code = "internal"           // a defect or an unclassified failure
	CodeInvalid      Code = "invalid"            // the input is wrong; repeating it will not help
	CodeUsage        Code = "usage"              // the command line or a setting is wrong
	CodeUnauthorized Code = "unauthorized"       // signature or credentials missing or wrong
	CodeNotFound     Code = "not_found"          // no such call, flow, …
	CodeMethod       Code = "method_not_allowed" // HTTP method not allowed here
	CodeTooLarge     Code = "too_large"          // body over its limit
	CodeConflict     Code = "conflict"           // contradicts what is already stored
	CodeUnavailable  Code = "unavailable"        // NATS, Redis or the API cannot be reached; try again
	CodeTimeout      Code = "timeout"            // a time limit ran out; try again
	CodeRefused      Code = "refused"            // TeleSign processed the request and said no
)

// Error is a failure with a code for machines, a message for people and, where
// there is one, the cause. Message says what was wrong and what to do; it never
// carries a secret or an unmasked phone number.
type Error struct {
	Code    Code
	Message string
	Field   string // the offending field or setting, if one is to blame
	Err     error  // the cause, for the log; not shown to strangers
}

// Errorf makes an Error; a %w verb in format becomes its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// FieldErrorf is Errorf for one named field or setting.
func FieldErrorf(code Code, field, format string, args ...any) *Error {
	e := Errorf(code, format, args...)
	e.Field = field
	return e
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first Error in err's chain, CodeInternal when there
// is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// HTTPStatus is the one mapping from codes to HTTP statuses.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeInvalid, CodeUsage:
		return http.StatusBadRequest
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeNotFound:
		return http.StatusNotFound
	case CodeMethod:
		return http.StatusMethodNotAllowed
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeConflict:
		return http.StatusConflict
	case CodeRefused:
		return http.StatusUnprocessableEntity
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeTimeout:
		return http.StatusGatewayTimeout
	case CodeInternal:
	}
	return http.StatusInternalServerError
}

// ExitCode is the one mapping from codes to process exit codes: 1 the input or
// the answer is bad, 2 the command was used wrongly, 3 something is unreachable or
// too slow and a retry may help, 4 not found, 5 TeleSign refused, 70 a defect.
func (c Code) ExitCode() int {
	switch c {
	case CodeInvalid, CodeUnauthorized, CodeTooLarge, CodeConflict, CodeMethod:
		return 1
	case CodeUsage:
		return 2
	case CodeUnavailable, CodeTimeout:
		return 3
	case CodeNotFound:
		return 4
	case CodeRefused:
		return 5
	case CodeInternal:
	}
	return 70
}

// ErrorBody is how every HTTP answer of offhook spells a failure:
//
//	{"error":{"code":"invalid","message":"…","field":"to"}}
type ErrorBody struct {
	Error ErrorDetail `json:"error"`
}

// ErrorDetail is the inside of an ErrorBody.
type ErrorDetail struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

// BodyOf is the public form of err: the message of an Error in its chain, a
// neutral sentence for anything else, so that internals do not leak.
func BodyOf(err error) ErrorBody {
	var e *Error
	if errors.As(err, &e) {
		return ErrorBody{Error: ErrorDetail{Code: e.Code, Message: e.Message, Field: e.Field}}
	}
	return ErrorBody{Error: ErrorDetail{Code: CodeInternal, Message: "internal error; see the log"}}
}
