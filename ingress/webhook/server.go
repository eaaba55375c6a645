package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
)

// Bus is what the door needs of the queue; *bus.Bus is one.
type Bus interface {
	// Ask publishes an event with an inbox for its reply and does not wait.
	Ask(env messages.Envelope) (*bus.Pending, error)
	// Tell publishes an envelope that nobody replies to and returns once it is
	// stored, or with an error when that is not known.
	Tell(ctx context.Context, env messages.Envelope) error
	// TellAll is Tell for many, in order. stored is how many of them, from the
	// first, surely are; err is what became of the one after those.
	TellAll(ctx context.Context, envs []messages.Envelope) (stored int, err error)
	// Park stores a failure and returns once it is stored.
	Park(ctx context.Context, f messages.Failure) error
	// Connected reports whether there is a connection now. It is cheap.
	Connected() bool
	// SaySpooling tells the other doors that events of an outage wait in this one's
	// spool; HeardSpooling is when another door said so last. Both are cheap.
	SaySpooling() error
	HeardSpooling() time.Time
	// Stats says how many replies came for asks that had been closed.
	Stats() bus.Stats
}

// Server is the door. Make one with New, serve with Run.
type Server struct {
	cfg       Config
	verifier  atomic.Pointer[telesign.Verifier]
	bus       Bus
	spool     Spool // nil: none
	fallbacks *fallbacks
	metrics   *metrics
	room      *waitingRoom
	log       *slog.Logger
	throttle  throttle
	draining  atomic.Bool
	peers     peers

	reports   gate          // those that are stored without a handler: after its answer
	reporting chan struct{} // one value per such report
}

// New makes a door that checks signatures with verifier, which may be nil only when
// cfg.Insecure. Without a spool (nil), what the stream does not take is answered 503.
// New registers its metrics with reg and opens nothing.
func New(cfg Config, verifier *telesign.Verifier, b Bus, sp Spool, reg prometheus.Registerer, log *slog.Logger) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if verifier == nil && !cfg.Insecure {
		return nil, messages.FieldErrorf(messages.CodeUsage, "Insecure", "is false and there is no key to check signatures with; give the API key, or accept unsigned events on purpose")
	}
	fallbacks, err := newFallbacks(cfg)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(reg, cfg.AnswerWithin, b, sp)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:       cfg,
		bus:       b,
		spool:     sp,
		fallbacks: fallbacks,
		metrics:   m,
		room:      newWaitingRoom(cfg.MaxInFlight, m.inFlight),
		log:       log,
		reporting: make(chan struct{}, cfg.MaxInFlight),
	}
	s.verifier.Store(verifier)
	return s, nil
}

// UseVerifier checks signatures with v from the next request on: while a key is
// rotated, v knows the old one and the new one. It may be called at any time; nil
// changes nothing.
func (s *Server) UseVerifier(v *telesign.Verifier) {
	if v != nil {
		s.verifier.Store(v)
	}
}

// Draining reports whether the door has stopped taking new connections, or is
// about to: a load balancer is to send nobody any more.
func (s *Server) Draining() bool { return s.draining.Load() }

// errStopping is the cause with which waiting events are cut short.
var errStopping = errors.New("the process is stopping")

// Run serves on ln, which it closes, until ctx ends or the listener fails, and moves
// what is in the spool to the stream. At the end it takes no new connections and
// waits for the answers in flight; after Config.Drain it gives those who still wait
// their fallback and cuts off whoever does not take it. What was left of that time
// is for the spool; what remains there is for the next process. It returns nil when
// every request was answered. No handler and no report runs on afterwards.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	s.draining.Store(false)
	s.reports.open()
	defer s.draining.Store(true)
	if s.cfg.Insecure {
		s.log.Warn("webhook: INSECURE: events are accepted without a signature; anybody who can reach this listener can steer calls", "listen", ln.Addr().String())
	}
	stopDrain := s.startDrain(ctx)

	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	var handlers gate
	srv := s.httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !handlers.enter() {
			panic(http.ErrAbortHandler) // its connection is closed already
		}
		defer handlers.leave()
		s.serve(work, w, r)
	}))

	served := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { served <- srv.Serve(s.listen(ln)) })
	s.log.Info("webhook: taking events", "listen", ln.Addr().String(), "path", Path, "tls", s.cfg.TLS != nil)

	var failure error
	select {
	case <-ctx.Done():
	case err := <-served:
		failure = fmt.Errorf("serve webhooks on %s: %w", ln.Addr(), err)
	}
	s.draining.Store(true)
	until := time.Now().Add(s.cfg.Drain)
	err := s.drain(srv, abort) //nolint:contextcheck // ctx has ended; drain has limits of its own
	serving.Wait()
	handlers.close()
	abort(errStopping) // what is reported still has a margin
	s.reports.close()
	stopDrain(until)
	return errors.Join(failure, err)
}

// listen is ln with its limit and, if so configured, TLS. The limit is inside: a
// handshake costs more than a connection.
func (s *Server) listen(ln net.Listener) net.Listener {
	ln = newLimitListener(ln, s.cfg.MaxConnections, s.metrics.connections)
	if s.cfg.TLS == nil {
		return ln
	}
	cfg := s.cfg.TLS.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	return tls.NewListener(ln, cfg)
}

// drain ends srv: answers leave, then are cut short by abort, then are cut off.
func (s *Server) drain(srv *http.Server, abort context.CancelCauseFunc) error {
	n, who := s.room.who(10)
	s.log.Info("webhook: stopping; no new requests", "waiting_for", n, "events", who, "at_most", s.cfg.Drain)
	err := shutdown(srv, s.cfg.Drain)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	n, who = s.room.who(10)
	s.log.Warn("webhook: stopping; answering with the fallback", "waiting_for", n, "events", who)
	abort(errStopping)
	err = shutdown(srv, 2*s.cfg.AnswerMargin)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.Join(
		fmt.Errorf("stop the webhook: connections were cut off %v after the stop", s.cfg.Drain+2*s.cfg.AnswerMargin),
		srv.Close(),
	)
}

// shutdown waits at most patience for srv's requests to end.
func shutdown(srv *http.Server, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return srv.Shutdown(ctx)
}

// httpServer bounds what one connection may cost in time and memory. Its timeouts
// are what cuts a client that sends, or takes, a byte at a time.
func (s *Server) httpServer(h http.Handler) *http.Server {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Server{
		Protocols:                    &http1,
		Handler:                      h,
		ConnContext:                  withWatch,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            s.cfg.ReadHeaderTimeout,
		ReadTimeout:                  s.cfg.ReadTimeout,
		// Go counts it from the end of the headers, which is when the window begins.
		WriteTimeout:   s.cfg.AnswerWithin + s.cfg.WriteTimeout,
		IdleTimeout:    s.cfg.IdleTimeout,
		MaxHeaderBytes: s.cfg.MaxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(serverLog{s.log.Handler(), &s.throttle}, slog.LevelWarn),
	}
}
