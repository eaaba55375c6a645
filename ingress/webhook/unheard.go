package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/offhook/offhook/messages"
)

// Why a report says that it is not known what TeleSign heard.
const (
	notTaken = "the connection did not take the answer"
	wasReset = "the connection was reset after the answer"
	was503   = "the answer was 503, and a worker may have decided"
)

// unknown reports that the worker's decision may not have reached TeleSign. Nobody
// waits for this, so it has another window.
func (s *Server) unknown(work context.Context, env messages.Envelope, why string) {
	_, around := s.detour()
	report, err := reportOf(env, messages.ToldUnknown, why)
	if err == nil {
		err = s.keep(work, s.windowFrom(time.Now()), around, report)
	}
	if err != nil {
		s.unreported(env, err)
		return
	}
	s.metrics.told.WithLabelValues(string(messages.ToldUnknown)).Inc()
}

func (s *Server) unreported(env messages.Envelope, err error) {
	if skipped, ok := s.throttle.allow("unreported", logInterval); ok {
		s.log.Error("webhook: a worker's decision may not have reached TeleSign, and that could not be reported",
			"event_id", env.EventID, "call", clip(env.CallID), "error", err, "not_logged", skipped)
	}
}

var (
	errEnded   = errors.New("the process is ending")
	errCrowded = errors.New("too many reports are under way")
)

// unknownSoon is unknown in a goroutine that Run waits for. At most
// Config.MaxInFlight run at once; what is over that is only logged.
func (s *Server) unknownSoon(work context.Context, env messages.Envelope, why string) {
	if !s.reports.enter() {
		s.unreported(env, errEnded)
		return
	}
	select {
	case s.reporting <- struct{}{}:
	default:
		s.reports.leave()
		s.unreported(env, errCrowded)
		return
	}
	go func() {
		defer s.reports.leave()
		defer func() { <-s.reporting }()
		s.unknown(work, env, why)
	}()
}

// resetFor is how long after an answer a reset is taken for its loss.
const resetFor = 30 * time.Second

// maxAlert is more than the longest TLS alert takes, and less than any request.
const maxAlert = 64

// resetWatch notices that a connection is reset after an answer was written to it
// and before the next request came: the kernel took the answer, and the other side
// may not have read it. An end of file says nothing, since that is how a client
// closes that has read everything. A nil watch notices nothing.
type resetWatch struct {
	alerts int // bytes that may come without being a request: of TLS; 0 without it

	mu   sync.Mutex
	lost func() // nil: no answer is in doubt
	at   time.Time
	read int // bytes since
}

// answering begins to watch: lost is called at most once, by whoever reads from or
// writes to the connection, and must not block.
func (w *resetWatch) answering(lost func()) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost, w.at, w.read = lost, time.Now(), 0
}

// failed ends the watch over an answer that was not written. It reports whether lost
// was not called and is not going to be.
func (w *resetWatch) failed() bool {
	if w == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	pending := w.lost != nil
	w.lost = nil
	return pending
}

// came is what n bytes read, and errors of reading and writing, go through.
func (w *resetWatch) came(n int, err error) {
	if n == 0 && err == nil {
		return
	}
	w.mu.Lock()
	lost := w.lost
	if w.read += n; w.read > w.alerts {
		w.lost = nil // it was heard: this is the next request
		w.mu.Unlock()
		return
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		w.mu.Unlock()
		return
	}
	w.lost = nil
	late := time.Since(w.at) > resetFor
	w.mu.Unlock()
	if lost != nil && !late {
		lost()
	}
}

type watchKey struct{}

// withWatch lets the handlers of c's requests find its watch.
func withWatch(ctx context.Context, c net.Conn) context.Context {
	secure, isTLS := c.(*tls.Conn)
	if isTLS {
		c = secure.NetConn()
	}
	limited, ok := c.(*limitConn)
	if !ok {
		return ctx
	}
	if isTLS {
		limited.watch.alerts = maxAlert
	}
	return context.WithValue(ctx, watchKey{}, &limited.watch)
}

// watchOf is the watch of r's connection, nil if it has none.
func watchOf(r *http.Request) *resetWatch {
	w, _ := r.Context().Value(watchKey{}).(*resetWatch)
	return w
}
