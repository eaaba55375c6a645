package simulator

import (
	"cmp"
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
	status  int // 0: no answer at all
	message string
	after   time.Duration // with no answer: when the connection is closed
}

// ServeHTTP is POST /v2/voice. A dial that is accepted begins to ring once the 202
// has been written, or before with FaultEarlyEvents. A fault may refuse, or not
// answer, a dial that rings all the same.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, status, refusal := s.take(w, r)
	response := telesign.DialResponse{ReferenceID: newReferenceID(), Status: status}
	if c != nil && (refusal != nil || c.early != nil) {
		s.start(c)
	}
	switch {
	case refusal != nil && refusal.status == 0:
		s.tallies.request("unanswered")
		s.log.Debug("request is left unanswered", "for", refusal.after)
		s.unanswered(r, refusal.after)
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
	if c.early != nil {
		select {
		case <-c.early:
		case <-r.Context().Done(): // nobody waits for the 202
		}
	}
	respond(w, status.HTTPStatus(), response)
	_ = http.NewResponseController(w).Flush() // a writer that cannot flush is written when we return
	if c.early == nil {
		s.start(c)
	}
}

// unanswered keeps a request until its client gives up or for a while, and closes
// its connection.
func (s *Simulator) unanswered(r *http.Request, after time.Duration) {
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-s.lines.Done():
	}
	panic(http.ErrAbortHandler) // the server's word for it: nothing more is written
}

// take decides about one request: an accepted call, or a refusal with a word of
// TeleSign's or without one; a fault gives both. The order is TeleSign's where it
// is known.
func (s *Simulator) take(w http.ResponseWriter, r *http.Request) (*call, telesign.DialStatus, *noWord) {
	if r.URL.Path != voicePath {
		return nil, "", &noWord{status: http.StatusNotFound, message: "no such path; the Voice API is POST " + voicePath}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, "", &noWord{status: http.StatusMethodNotAllowed, message: "method " + r.Method + " is not allowed; use POST"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return nil, "", &noWord{status: http.StatusRequestEntityTooLarge, message: "the body is longer than " + strconv.Itoa(maxRequest) + " bytes"}
	}
	if err != nil {
		return nil, "", &noWord{status: http.StatusBadRequest, message: "the body could not be read"}
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
		return nil, "", &noWord{status: http.StatusBadRequest, message: err.Error()}
	}
	if action == nil {
		return nil, "", &noWord{status: http.StatusBadRequest, message: "the body holds no action"}
	}
	dial, ok := action.(telesign.Dial)
	if !ok {
		return nil, telesign.UnsupportedCallState, nil
	}
	if status := s.refuse(dial, ""); status != "" {
		return nil, status, nil
	}
	if err := dial.Validate(); err != nil {
		return nil, "", &noWord{status: http.StatusBadRequest, message: err.Error()}
	}
	fault, rings := s.faulty(dial.To)
	switch {
	case fault != nil && fault.status == http.StatusTooManyRequests:
		return nil, telesign.RateLimitExceeded, nil
	case fault != nil && !rings:
		return nil, "", fault
	}
	c := s.newCall(Outbound, dial)
	if err := s.accept(c); err != nil {
		return nil, "", &noWord{status: messages.CodeOf(err).HTTPStatus(), message: err.Error()}
	}
	if len(c.hits(ofCall, 0, FaultEarlyEvents)) > 0 {
		c.early = make(chan struct{})
	}
	return c, telesign.DialAccepted, fault
}

// faulty is what a fault answers to a request to dial a number, nil when none
// happens, and whether it rings all the same. Of several faults the first counts.
func (s *Simulator) faulty(to string) (refusal *noWord, rings bool) {
	hits := s.chances.request(to, s.since)
	if len(hits) == 0 {
		return nil, false
	}
	s.tallies.injected(hits[:1])
	switch h := hits[0]; h.Kind {
	case FaultDial429:
		return &noWord{status: http.StatusTooManyRequests}, false
	case FaultDial5xx, FaultDial5xxRings:
		return &noWord{status: cmp.Or(h.Status, statusUnavailable), message: "an error that was asked for"}, h.Kind == FaultDial5xxRings
	default:
		return &noWord{after: cmp.Or(h.after, dialTimeoutHolds)}, h.Kind == FaultDialTimeoutRings
	}
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
