package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// voicePath is the only path TeleSign's Voice API has.
const voicePath = "/v2/voice"

// maxRequest is how much of a request is read, in bytes.
const maxRequest = 64 << 10

// noWord is a refusal for which TeleSign has no status word: an HTTP status and a
// sentence.
type noWord struct {
	status  int
	message string
}

// ServeHTTP is POST /v2/voice. A dial that is accepted begins to ring once the 202
// has been written.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, status, refusal := s.take(w, r)
	response := telesign.DialResponse{ReferenceID: newReferenceID(), Status: status}
	switch {
	case refusal != nil:
		s.tallies.request("http_" + strconv.Itoa(refusal.status))
		s.log.Debug("request refused", "status", refusal.status, "because", refusal.message)
		respond(w, refusal.status, struct {
			ReferenceID string `json:"reference_id"`
			Error       string `json:"error"`
		}{response.ReferenceID, refusal.message})
		return
	case c == nil:
		s.tallies.request(string(status))
		s.log.Debug("request refused", "status", status)
		respond(w, status.HTTPStatus(), response)
		return
	}
	s.tallies.request(string(status))
	response.ReferenceID, response.ExternalID = c.referenceID, c.info.ExternalID
	respond(w, status.HTTPStatus(), response)
	_ = http.NewResponseController(w).Flush() // a writer that cannot flush is written when we return
	s.start(c)
}

// take decides about one request: an accepted call, or a refusal with a word of
// TeleSign's or without one. The order is TeleSign's where it is known.
func (s *Simulator) take(w http.ResponseWriter, r *http.Request) (*call, telesign.DialStatus, *noWord) {
	if r.URL.Path != voicePath {
		return nil, "", &noWord{http.StatusNotFound, "no such path; the Voice API is POST " + voicePath}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, "", &noWord{http.StatusMethodNotAllowed, "method " + r.Method + " is not allowed; use POST"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return nil, "", &noWord{http.StatusRequestEntityTooLarge, "the body is longer than " + strconv.Itoa(maxRequest) + " bytes"}
	}
	if err != nil {
		return nil, "", &noWord{http.StatusBadRequest, "the body could not be read"}
	}
	switch err := telesign.VerifyRequest(r.Header, r.Method, r.URL.Path, body, s.cfg.Account); {
	case errors.Is(err, telesign.ErrNoCredentials):
		return nil, telesign.CredentialsNotProvided, nil
	case err != nil:
		return nil, telesign.NotAuthorized, nil
	}
	if !s.limiter.allow(time.Now()) {
		return nil, telesign.RateLimitExceeded, nil
	}
	action, err := telesign.ParseAction(body)
	if err != nil {
		return nil, "", &noWord{http.StatusBadRequest, err.Error()}
	}
	if action == nil {
		return nil, "", &noWord{http.StatusBadRequest, "the body holds no action"}
	}
	dial, ok := action.(telesign.Dial)
	if !ok {
		return nil, telesign.UnsupportedCallState, nil
	}
	if status := s.refuse(dial, ""); status != "" {
		return nil, status, nil
	}
	if err := dial.Validate(); err != nil {
		return nil, "", &noWord{http.StatusBadRequest, err.Error()}
	}
	c := s.newCall(Outbound, dial)
	if err := s.accept(c); err != nil {
		return nil, "", &noWord{messages.CodeOf(err).HTTPStatus(), err.Error()}
	}
	return c, telesign.DialAccepted, nil
}

// refuse is the word with which TeleSign refuses to dial, empty when it does not.
// caller is the number that a bridged call comes from and may show, empty
// otherwise.
func (s *Simulator) refuse(d telesign.Dial, caller string) telesign.DialStatus {
	if d.To == "" {
		return telesign.ToNumberNotProvided
	}
	if d.CallerIDNumber == "" {
		return telesign.CallerIDNumberNotProvided
	}
	for _, number := range []string{d.To, d.CallerIDNumber} {
		if _, err := telesign.CheckNumber(number); err != nil {
			return telesign.InvalidPhoneNumber
		}
	}
	if len(s.cfg.CallerIDs) > 0 && d.CallerIDNumber != caller && !slices.Contains(s.cfg.CallerIDs, d.CallerIDNumber) {
		return telesign.CallerIDNumberNotOwned
	}
	for _, b := range s.cfg.Blocked {
		if strings.HasPrefix(d.To, b.Prefix) {
			return b.Status
		}
	}
	return ""
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: nobody to tell
}

// blockWords are the words TeleSign refuses numbers with, with HTTP 200.
func blockWords() []telesign.DialStatus {
	return []telesign.DialStatus{
		telesign.PremiumToNumberRejected,
		telesign.ToNumberBlockedByCountry,
		telesign.ToNumberBlockedByCustomer,
		telesign.ToNumberBlockedByTeleSign,
	}
}
