package dial_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/dial"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	const (
		reference = "0123456789ABCDEF0123456789ABCDEF"
		refused   = messages.CallRefused
		unknown   = messages.CallUnknown
		failed    = messages.DispositionFailed
		blocked   = messages.DispositionBlocked
		unclear   = messages.DispositionUnknown
	)
	word := func(status string) string { return fmt.Sprintf(`{"reference_id":%q,"status":%q}`, reference, status) }
	tests := []struct {
		http        int
		body        string
		kind        dial.Kind
		word        string // Outcome.Word
		reference   string
		status      messages.CallStatus
		disposition messages.Disposition
	}{
		// Documented.
		{202, word("dial_accepted"), dial.Accepted, "dial_accepted", reference, messages.CallAccepted, ""},
		{200, word("premium_to_number_rejected"), dial.Refused, "premium_to_number_rejected", reference, refused, blocked},
		{200, word("to_number_blocked_by_country"), dial.Refused, "to_number_blocked_by_country", reference, refused, blocked},
		{200, word("to_number_blocked_by_customer"), dial.Refused, "to_number_blocked_by_customer", reference, refused, blocked},
		{200, word("to_number_blocked_by_telesign"), dial.Refused, "to_number_blocked_by_telesign", reference, refused, blocked},
		{400, word("caller_id_number_not_owned"), dial.Refused, "caller_id_number_not_owned", reference, refused, failed},
		{400, word("caller_id_number_not_provided"), dial.Refused, "caller_id_number_not_provided", reference, refused, failed},
		{400, word("invalid_phone_number"), dial.Refused, "invalid_phone_number", reference, refused, messages.DispositionInvalidNumber},
		{400, word("to_number_not_provided"), dial.Refused, "to_number_not_provided", reference, refused, failed},
		{400, word("unsupported_call_state"), dial.Refused, "unsupported_call_state", reference, refused, failed},
		{401, word("credentials_not_provided"), dial.Unauthorized, "credentials_not_provided", reference, refused, failed},
		{401, word("not_authorized"), dial.Unauthorized, "not_authorized", reference, refused, failed},
		{429, word("rate_limit_exceeded"), dial.RateLimited, "rate_limit_exceeded", reference, refused, failed},

		// 202 without more is accepted: the events will tell.
		{202, ``, dial.Accepted, "accepted", "", messages.CallAccepted, ""},
		{202, `<html>`, dial.Accepted, "accepted", "", messages.CallAccepted, ""},
		{202, `{"status":"dial_accepted"}`, dial.Accepted, "dial_accepted", "", messages.CallAccepted, ""},
		{202, `{"status":"dial_accepted","reference_id":7}`, dial.Accepted, "dial_accepted", "", messages.CallAccepted, ""},
		{202, word("queued"), dial.Accepted, "queued", reference, messages.CallAccepted, ""},
		{202, `{"status":"dial_accepted","x":"` + strings.Repeat("x", 70<<10) + `"}`, dial.Accepted, "accepted", "", messages.CallAccepted, ""},
		{202, word("to_number_blocked_by_country"), dial.Ambiguous, "to_number_blocked_by_country", reference, unknown, unclear},

		// Other successes count by their word.
		{200, word("dial_accepted"), dial.Accepted, "dial_accepted", reference, messages.CallAccepted, ""},
		{201, word("call_accepted"), dial.Accepted, "call_accepted", reference, messages.CallAccepted, ""},
		{200, word("to_number_on_fire"), dial.Refused, "to_number_on_fire", reference, refused, failed},
		{200, word("invalid_phone_number"), dial.Refused, "invalid_phone_number", reference, refused, messages.DispositionInvalidNumber},
		{201, word("to_number_blocked_by_country"), dial.Refused, "to_number_blocked_by_country", reference, refused, blocked},
		{201, word("created"), dial.Ambiguous, "created", reference, unknown, unclear},
		{200, ``, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{200, `{}`, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{200, `<html>Sign in to the hotel's network</html>`, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{200, `[{"status":"dial_accepted"}]`, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{204, ``, dial.Ambiguous, "ambiguous", "", unknown, unclear},

		// Refusals that need no word, and those that do.
		{400, `Bad Request`, dial.Refused, "refused", "", refused, failed},
		{400, word("number_on_fire"), dial.Refused, "number_on_fire", reference, refused, failed},
		{400, word("dial_accepted"), dial.Ambiguous, "dial_accepted", reference, unknown, unclear},
		{401, ``, dial.Unauthorized, "unauthorized", "", refused, failed},
		{429, `slow down`, dial.RateLimited, "rate_limited", "", refused, failed},
		{403, word("voice_not_enabled"), dial.Refused, "voice_not_enabled", reference, refused, failed},
		{403, `<html>`, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{404, `not found`, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{408, ``, dial.Ambiguous, "ambiguous", "", unknown, unclear},

		{500, ``, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{500, word("internal_error"), dial.Ambiguous, "internal_error", reference, unknown, unclear},
		{502, `<html>Bad Gateway</html>`, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{503, word("rate_limit_exceeded"), dial.Ambiguous, "rate_limit_exceeded", reference, unknown, unclear},
		{504, ``, dial.Ambiguous, "ambiguous", "", unknown, unclear},
		{599, word("dial_accepted"), dial.Ambiguous, "dial_accepted", reference, unknown, unclear},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprintf("%d %d", i, tt.http), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.http)
				if tt.body != "" {
					_, _ = io.WriteString(w, tt.body)
				}
			}))
			defer server.Close()
			o := client(t, server.URL, nil).Dial(t.Context(), call)
			if o.Kind != tt.kind || o.HTTPStatus != tt.http || o.Word() != tt.word || o.ReferenceID != tt.reference {
				t.Errorf("%s\n got %+v (%s)\nwant %s, %s, reference %q", tt.body, o, o.Word(), tt.kind, tt.word, tt.reference)
			}
			if o.CallStatus() != tt.status || o.Disposition() != tt.disposition {
				t.Errorf("%s: %s and %q, want %s and %q", tt.body, o.CallStatus(), o.Disposition(), tt.status, tt.disposition)
			}
			if (o.Err == nil) != (o.Kind == dial.Accepted) || o.Err != nil && strings.Contains(o.Err.Error(), "%!") {
				t.Errorf("error %v of %s", o.Err, o.Kind)
			}
		})
	}
}

func TestOutcomeOfNoAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		outcome     dial.Outcome
		status      messages.CallStatus
		disposition messages.Disposition
	}{
		{dial.Outcome{Kind: dial.NotSent}, messages.CallRefused, messages.DispositionFailed},
		{dial.Outcome{Kind: dial.Ambiguous}, messages.CallUnknown, messages.DispositionUnknown},
		{dial.Outcome{}, messages.CallUnknown, messages.DispositionUnknown}, // the zero outcome knows nothing
		{dial.Outcome{Kind: dial.Unauthorized, Status: telesign.InvalidPhoneNumber}, messages.CallRefused, messages.DispositionFailed},
	}
	for _, tt := range tests {
		if s, d := tt.outcome.CallStatus(), tt.outcome.Disposition(); s != tt.status || d != tt.disposition {
			t.Errorf("%+v: %s and %q, want %s and %q", tt.outcome, s, d, tt.status, tt.disposition)
		}
	}
}
