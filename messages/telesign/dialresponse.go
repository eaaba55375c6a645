package telesign

import (
	"net/http"

	"github.com/offhook/offhook/messages"
)

// DialStatus is the word TeleSign answers POST /v2/voice with, for success and
// refusal alike. An unlisted one is possible.
type DialStatus string

// The documented words.
const (
	DialAccepted DialStatus = "dial_accepted" // queued; whether anybody answers, dial_completed tells

	// Processed with HTTP 200, and not carried out.
	PremiumToNumberRejected   DialStatus = "premium_to_number_rejected"
	ToNumberBlockedByCountry  DialStatus = "to_number_blocked_by_country"
	ToNumberBlockedByCustomer DialStatus = "to_number_blocked_by_customer"
	ToNumberBlockedByTeleSign DialStatus = "to_number_blocked_by_telesign"

	// Rejected.
	CallerIDNumberNotOwned    DialStatus = "caller_id_number_not_owned"
	CallerIDNumberNotProvided DialStatus = "caller_id_number_not_provided"
	InvalidPhoneNumber        DialStatus = "invalid_phone_number"
	ToNumberNotProvided       DialStatus = "to_number_not_provided"
	UnsupportedCallState      DialStatus = "unsupported_call_state"

	CredentialsNotProvided DialStatus = "credentials_not_provided"
	NotAuthorized          DialStatus = "not_authorized"

	RateLimitExceeded DialStatus = "rate_limit_exceeded"
)

// HTTPStatus is the HTTP status TeleSign documents for s, 0 for an unlisted word.
// Mind that 200 stands for a refusal.
func (s DialStatus) HTTPStatus() int {
	switch s {
	case DialAccepted:
		return http.StatusAccepted
	case PremiumToNumberRejected, ToNumberBlockedByCountry, ToNumberBlockedByCustomer, ToNumberBlockedByTeleSign:
		return http.StatusOK
	case CallerIDNumberNotOwned, CallerIDNumberNotProvided, InvalidPhoneNumber, ToNumberNotProvided, UnsupportedCallState:
		return http.StatusBadRequest
	case CredentialsNotProvided, NotAuthorized:
		return http.StatusUnauthorized
	case RateLimitExceeded:
		return http.StatusTooManyRequests
	}
	return 0
}

// Disposition is what a contact ends in whose dial was refused with s.
func (s DialStatus) Disposition() messages.Disposition {
	switch s {
	case InvalidPhoneNumber:
		return messages.DispositionInvalidNumber
	case PremiumToNumberRejected, ToNumberBlockedByCountry, ToNumberBlockedByCustomer, ToNumberBlockedByTeleSign:
		return messages.DispositionBlocked
	default:
		return messages.DispositionFailed
	}
}

// DialResponse is the body that answers POST /v2/voice: flat, not a JSON-RPC
// result, and the same for success and refusal.
type DialResponse struct {
	ReferenceID string     `json:"reference_id,omitempty"` // the call's id
	Status      DialStatus `json:"status"`
	ExternalID  string     `json:"external_id,omitempty"` // only on success, and only if one was sent
}

// Encode is the response as TeleSign sends it.
func (r DialResponse) Encode() ([]byte, error) { return marshal(r) }

// ParseDialResponse reads the body of a response. It needs a JSON object with a
// status; what is missing besides is empty, unknown members are ignored. An error
// is a *messages.Error of CodeInvalid that shows nothing of the body; what could be
// read all the same comes with it.
func ParseDialResponse(body []byte) (DialResponse, error) {
	o, err := readObject("", body)
	if err != nil {
		return DialResponse{}, err
	}
	reference, referenceErr := o.text("reference_id")
	external, externalErr := o.text("external_id")
	status, err := o.text("status")
	if err == nil && status == "" {
		err = messages.FieldErrorf(messages.CodeInvalid, "status", "is missing: not TeleSign's answer to a dial")
	}
	r := DialResponse{ReferenceID: reference, Status: DialStatus(status), ExternalID: external}
	for _, err := range []error{err, referenceErr, externalErr} {
		if err != nil {
			return r, err
		}
	}
	return r, nil
}
