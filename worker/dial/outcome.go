package dial

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// Kind is what became of a dial, as far as its sender can tell.
type Kind string

// The kinds.
const (
	// Accepted: TeleSign took it; its events tell the rest.
	Accepted Kind = "accepted"
	// Refused: TeleSign said no, or the dial was not fit to be sent. Another try
	// gets the same answer.
	Refused Kind = "refused"
	// Unauthorized: TeleSign does not know the credentials, so it will refuse every
	// other dial too.
	Unauthorized Kind = "unauthorized"
	// RateLimited: refused because the account dials too fast. Safe to try again,
	// later.
	RateLimited Kind = "rate_limited"
	// NotSent: no byte of the request left: no connection, or no time. Safe to try
	// again.
	NotSent Kind = "not_sent"
	// Ambiguous: it may have been sent and no answer says what became of it. It may
	// be ringing: never to be tried again. An event with its external_id may tell.
	Ambiguous Kind = "ambiguous"
)

// Outcome is the result of one Dial.
type Outcome struct {
	Kind        Kind
	HTTPStatus  int                 // TeleSign's, 0 when there was no answer
	Status      telesign.DialStatus // TeleSign's word, raw; empty when none could be read
	ReferenceID string              // the call's id; may be empty even when accepted
	// Err says what happened, for people; nil when accepted. It shows no number,
	// no key and nothing of the answer but its word. Its code is a matter of
	// presentation: Kind decides.
	Err error
}

// Word is the outcome in one word: TeleSign's if it gave one, else the kind.
func (o Outcome) Word() string {
	if o.Status != "" {
		return string(o.Status)
	}
	return string(o.Kind)
}

// CallStatus is what a call is after this outcome, if it is not tried again.
func (o Outcome) CallStatus() messages.CallStatus {
	switch o.Kind {
	case Accepted:
		return messages.CallAccepted
	case Refused, Unauthorized, RateLimited, NotSent:
		return messages.CallRefused
	case Ambiguous:
	}
	return messages.CallUnknown
}

// Disposition is what the contact ends in after this outcome, if it is not tried
// again; empty while a call is under way.
func (o Outcome) Disposition() messages.Disposition {
	switch o.Kind {
	case Accepted:
		return ""
	case Unauthorized, RateLimited, NotSent:
		return messages.DispositionFailed
	case Refused:
		return o.Status.Disposition()
	case Ambiguous:
	}
	return messages.DispositionUnknown
}

// outcomeOf reads an answer. readErr is what ended the reading of body before its
// end, nil for a whole one.
//
// 202 is accepted even if the body cannot be read, and 400, 401 and 429 say no
// whatever the body is. Any other answer counts by its word: TeleSign gives one,
// so an answer without is from somebody on the way. Words and statuses that
// contradict each other are ambiguous; so is a redirect, whose sender may have
// passed the request on.
func outcomeOf(httpStatus int, body []byte, readErr error) Outcome {
	answer, err := telesign.ParseDialResponse(body)
	if err != nil && readErr != nil {
		err = readErr
	}
	o := Outcome{HTTPStatus: httpStatus, Status: answer.Status, ReferenceID: answer.ReferenceID}
	o.Kind = kindOf(httpStatus, answer.Status)
	switch o.Kind {
	case Accepted:
	case Refused:
		o.Err = messages.Errorf(messages.CodeRefused, "TeleSign refused the dial with HTTP %d%s", httpStatus, quoted(o.Status))
	case Unauthorized:
		o.Err = messages.Errorf(messages.CodeUnauthorized,
			"TeleSign did not accept the credentials (HTTP %d%s); check customer id and API key", httpStatus, quoted(o.Status))
	case RateLimited:
		o.Err = messages.Errorf(messages.CodeUnavailable,
			"the account is over TeleSign's rate limit (HTTP %d%s); dial slower", httpStatus, quoted(o.Status))
	case Ambiguous, NotSent:
		switch {
		case httpStatus >= 300 && httpStatus < 400:
			err = errRedirect
		case err == nil:
			err = errContradiction
		}
		o.Err = messages.Errorf(messages.CodeTimeout,
			"the answer HTTP %d%s does not say whether the call was placed: %w", httpStatus, quoted(o.Status), err)
	}
	return o
}

var (
	errRedirect      = errors.New("a redirect, which is not followed; check TeleSign's URL")
	errContradiction = errors.New("its word is not one for this status")
)

// quoted is status as part of a sentence; what could be a number in a word nobody
// knows is masked.
func quoted(status telesign.DialStatus) string {
	if status == "" {
		return ""
	}
	return fmt.Sprintf(", %q", masked(status))
}

const maxShownWord = 100

func masked(status telesign.DialStatus) string {
	if status.HTTPStatus() != 0 {
		return string(status)
	}
	shown := longDigits.ReplaceAllStringFunc(string(status), func(n string) string { return messages.Number(n).String() })
	return fmt.Sprintf("%.*s", maxShownWord, shown)
}

// longDigits matches what may be a phone number, however it is grouped.
var longDigits = regexp.MustCompile(`\d[\d .()-]{3,}\d`)

func kindOf(httpStatus int, status telesign.DialStatus) Kind {
	accepted := strings.HasSuffix(string(status), "_accepted")
	listed := status.HTTPStatus() != 0
	success := httpStatus >= 200 && httpStatus < 300
	switch {
	case accepted && success:
		return Accepted
	case accepted:
		return Ambiguous
	case httpStatus == http.StatusAccepted:
		if listed { // a refusal in an acceptance
			return Ambiguous
		}
		return Accepted
	case httpStatus == http.StatusBadRequest:
		return Refused
	case httpStatus == http.StatusUnauthorized:
		return Unauthorized
	case httpStatus == http.StatusTooManyRequests:
		return RateLimited
	case status == "":
		return Ambiguous
	case httpStatus == http.StatusOK, success && listed, httpStatus >= 400 && httpStatus < 500:
		return Refused
	}
	return Ambiguous
}
