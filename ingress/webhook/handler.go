package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// How often a repeated log line is written at most.
const (
	logInterval         = 10 * time.Second
	insecureLogInterval = time.Minute
)

// retryAfter is sent with every 503, in seconds. Whether TeleSign heeds it is not
// documented.
const retryAfter = "1"

// serve answers one request. The request's own context is not used: it ends when
// the client half-closes its connection, which is no reason to leave an event
// undecided or a caller without an answer.
func (s *Server) serve(work context.Context, w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	event, body, refused := s.receive(w, r)
	if refused != nil {
		s.refuse(w, r, refused)
		return
	}
	env := messages.Envelope{
		Kind:    messages.KindEvent,
		EventID: messages.NewEventID(),
		CallID:  event.ReferenceID,
		Event:   string(event.Name),
		Arrived: micros(began),
		Body:    body,
	}
	env.Trace, env.State = traceContext(r.Header)
	// After the signature, so that strangers cannot take the room.
	crowded := !s.room.enter(env)
	if crowded && s.spool == nil {
		s.refuse(w, r, &refusal{rejectedFull, messages.Errorf(messages.CodeUnavailable,
			"the limit of %d events that wait for their answers is reached; send it again", s.cfg.MaxInFlight)})
		return
	}
	if !crowded {
		defer s.room.leave(env.EventID)
	}

	span := s.span(work, &env, event, began)
	a := s.answer(work, s.windowFrom(began), env, event, crowded)
	if a.err != nil {
		s.logFailure(env, a)
	}
	brief := env
	brief.Body = nil // a connection keeps it for long, and the report wants none of it
	watch := watchOf(r)
	if a.outcome == outcomeDecided {
		watch.answering(func() {
			s.metrics.broken.Inc()
			s.unknownSoon(work, brief, wasReset)
		})
	}
	var err error
	if a.status() == http.StatusOK {
		err = write(w, http.StatusOK, a.body)
	} else {
		err = writeError(w, messages.Errorf(messages.CodeUnavailable, "the event could not be stored in time; send it again"))
	}
	s.metrics.answered(event.Name, a, time.Since(began))
	span.end(a, err)
	if a.body == nil && a.asked {
		s.unknownSoon(work, brief, was503)
	}
	if err == nil || a.outcome == outcomeDecided && !watch.failed() {
		return
	}
	s.metrics.broken.Inc()
	s.log.Debug("webhook: the answer did not leave", "event_id", env.EventID, "call", clip(env.CallID), "error", err)
	if a.outcome == outcomeDecided {
		s.unknown(work, env, notTaken)
	}
}

// logFailure writes down an answer that was not what the caller was due.
func (s *Server) logFailure(env messages.Envelope, a answer) {
	skipped, ok := s.throttle.allow(string(a.outcome), logInterval)
	if !ok {
		return
	}
	log := s.log.Warn
	if a.status() != http.StatusOK {
		log = s.log.Error
	}
	log("webhook: an event was not answered by a worker", "outcome", a.outcome, "event", clip(env.Event),
		"event_id", env.EventID, "call", clip(env.CallID), "error", a.err, "not_logged", skipped)
}

// refusal is a request that does not get as far as the stream, and why.
type refusal struct {
	reason rejection
	err    error // a *messages.Error, which chooses the status
}

// receive reads an event from r: route, size, signature and form, in this order.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) (telesign.Event, []byte, *refusal) {
	if r.URL.Path != Path {
		return telesign.Event{}, nil, &refusal{rejectedPath, messages.Errorf(messages.CodeNotFound, "nothing is here; TeleSign's events go to %s", Path)}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return telesign.Event{}, nil, &refusal{rejectedMethod, messages.Errorf(messages.CodeMethod, "events are posted; use POST")}
	}
	body, refused := readBody(w, r)
	if refused != nil {
		return telesign.Event{}, nil, refused
	}
	if err := s.authenticate(r, body); err != nil {
		w.Header().Set("WWW-Authenticate", "TSA")
		return telesign.Event{}, nil, &refusal{rejectedUnauthorized, err}
	}
	event, err := telesign.ParseEvent(body)
	if err == nil {
		err = checkNames(event)
	}
	if err != nil {
		return telesign.Event{}, nil, &refusal{rejectedInvalid, err}
	}
	return event, body, nil
}

// maxName is the longest reference_id or event name, in bytes, that is taken for
// one; TeleSign's have up to 36. They travel in headers, escaped to up to three
// times their length, and a stream takes no message with over 64 KiB of headers.
const maxName = 1 << 10

// checkNames refuses what could not be published, rather than fail to store it.
func checkNames(e telesign.Event) error {
	if n := len(e.Name); n > maxName {
		return messages.FieldErrorf(messages.CodeInvalid, "event", "is %d bytes long, want at most %d", n, maxName)
	}
	if n := len(e.ReferenceID); n > maxName {
		return messages.FieldErrorf(messages.CodeInvalid, "reference_id", "is %d bytes long, want at most %d", n, maxName)
	}
	return nil
}

// readBody reads at most MaxBody bytes. It allocates for what the client announces
// only as far as an event is usually long; a longer one pays by growing.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	const usual = 4 << 10
	tooLarge := &refusal{rejectedTooLarge, messages.Errorf(messages.CodeTooLarge, "the body is over %d bytes", MaxBody)}
	if r.ContentLength > MaxBody {
		w.Header().Set("Connection", "close") // rather than read all of it to reach the next request
		return nil, tooLarge
	}
	size := int64(usual)
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	// ReadFrom wants MinRead free bytes also to see the end.
	buf := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, MaxBody))
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return buf.Bytes(), nil
	case errors.As(err, &over):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{rejectedUnread, &messages.Error{Code: messages.CodeInvalid, Message: "the body did not arrive in time", Err: err}}
	}
	return nil, &refusal{rejectedUnread, &messages.Error{Code: messages.CodeInvalid, Message: "the body broke off", Err: err}}
}

// authenticate checks the signature over the raw body, unless the configuration
// says not to look.
func (s *Server) authenticate(r *http.Request, body []byte) error {
	if !s.cfg.Insecure {
		return s.verifier.Load().Verify(r.Header.Get("Authorization"), r.Header.Get("X-TS-Authorization"), body)
	}
	if skipped, ok := s.throttle.allow("insecure", insecureLogInterval); ok {
		s.log.Warn("webhook: INSECURE: an event was accepted without looking at its signature", "remote", r.RemoteAddr, "not_logged", skipped)
	}
	return nil
}

// refuse answers a request that carries no event for the stream.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	s.metrics.rejected.WithLabelValues(string(refused.reason)).Inc()
	if skipped, ok := s.throttle.allow(string(refused.reason), logInterval); ok {
		s.log.Warn("webhook: a request was refused", "reason", refused.reason, "error", refused.err, "cause", errors.Unwrap(refused.err), "remote", r.RemoteAddr, "not_logged", skipped)
	}
	if err := writeError(w, refused.err); err != nil {
		s.log.Debug("webhook: a refusal did not leave", "reason", refused.reason, "error", err)
	}
}

// writeError answers with err's public form and the status its code asks for.
func writeError(w http.ResponseWriter, err error) error {
	status := messages.CodeOf(err).HTTPStatus()
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	body, encodeErr := json.Marshal(messages.BodyOf(err))
	if encodeErr != nil {
		return fmt.Errorf("encode an error body: %w", encodeErr)
	}
	return write(w, status, body)
}

// write sends one answer and flushes it, so that an error of the connection shows
// here and not after the handler.
func write(w http.ResponseWriter, status int, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// micros is t as it travels in an envelope.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
