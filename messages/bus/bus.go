package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// minServer is the oldest nats-server that has what the streams need.
const (
	minServerMajor = 2
	minServerMinor = 12
)

// A connection that has gone silent is given up after two pings, so within 3 s; a
// write that NATS does not take for 2 s likewise. After that, and as long as there
// is no connection, every publish fails at once: nothing is buffered behind the
// caller's back, because the caller has a fallback and the buffer has not.
const (
	pingInterval   = time.Second
	maxPings       = 2
	flusherTimeout = 2 * time.Second
	dialTimeout    = 2 * time.Second
	reconnectFirst = 100 * time.Millisecond
	reconnectMost  = 2 * time.Second
)

// Bus is one process's connection to NATS. It is safe for concurrent use.
type Bus struct {
	cfg      Config
	log      *slog.Logger
	nc       *nats.Conn
	js       jetstream.JetStream
	inbox    *inbox
	counts   counters
	late     *late
	spooling spooling
	linked   bell // rung when the connection is back
	lost     bell // rung when it is lost
	closing  atomic.Bool

	onUndelivered atomic.Pointer[func(callID, eventID string)]

	closed chan struct{} // closed by nats.go when the connection is closed for good
}

// Stats are what the bus counts. All but Asks only grow.
type Stats struct {
	Asks        int    // open now
	LateReplies uint64 // replies to asks that had been forgotten
	Undelivered uint64 // replies sent by this process that nobody was listening for
	Retried     uint64 // deliveries handed back with a delay
	Parked      uint64 // messages moved to the failed stream by a consume loop
	Redelivered uint64 // deliveries that were not the first of their message
	Deferred    uint64 // events stored in the late lane
	Stale       uint64 // deliveries dropped unhandled because their ack-wait had passed
}

type counters struct {
	lateReplies, undelivered, retried, parked, redelivered, deferred, stale atomic.Uint64
}

// Stats is a snapshot of the counters.
func (b *Bus) Stats() Stats {
	return Stats{
		Asks:        b.inbox.openAsks(),
		LateReplies: b.counts.lateReplies.Load(),
		Undelivered: b.counts.undelivered.Load(),
		Retried:     b.counts.retried.Load(),
		Parked:      b.counts.parked.Load(),
		Redelivered: b.counts.redelivered.Load(),
		Deferred:    b.counts.deferred.Load(),
		Stale:       b.counts.stale.Load(),
	}
}

// Connect connects to NATS, trying again with growing delays until ctx ends, and
// refuses a server that cannot keep the promise: older than 2.12, without JetStream,
// or with a max_payload below 1 MiB. Credentials that are refused are not tried
// again. Once connected, the bus reconnects by itself for as long as it lives. ctx
// bounds the connecting only.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Bus, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.CredentialsFile != "" {
		if _, err := os.Stat(cfg.CredentialsFile); err != nil {
			return nil, messages.FieldErrorf(messages.CodeUsage, "CredentialsFile", "cannot be read: %w", err)
		}
	}
	b := &Bus{cfg: cfg, log: log, closed: make(chan struct{})}
	b.inbox = newInbox(b)
	b.late = newLate(b)
	b.spooling.self = b.inbox.prefix // no other process has it
	if err := b.dial(ctx); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		b.nc.Close()
		<-b.closed
		return nil, err
	}
	return b, nil
}

func (b *Bus) dial(ctx context.Context) error {
	where := redacted(b.cfg.URL)
	if b.cfg.InProcess != nil {
		where = "in this process"
	}
	for attempt := 1; ; attempt++ {
		var err error
		if b.nc, err = nats.Connect(b.cfg.URL, b.options()...); err == nil {
			return nil
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
			return messages.Errorf(messages.CodeUnauthorized, "NATS (%s) refuses the credentials: %w", where, err)
		}
		delay := delayAt(attempt, reconnectFirst, reconnectMost)
		b.log.Warn("NATS is not reachable, trying again", "url", where, "attempt", attempt, "in", delay, "error", err)
		select {
		case <-ctx.Done():
			return messages.Errorf(messages.CodeUnavailable, "NATS (%s) is not reachable: %w", where, err)
		case <-time.After(delay):
		}
	}
}

func (b *Bus) options() []nats.Option {
	opts := []nats.Option{
		nats.Name(b.cfg.Name),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.FlusherTimeout(flusherTimeout),
		nats.DrainTimeout(b.cfg.Timeout),
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be rotated under a running process
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			return delayAt(attempts, reconnectFirst, reconnectMost)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.inbox.disconnected()
			b.lost.ring()
			if !b.closing.Load() {
				b.log.Warn("NATS connection lost, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.linked.ring()
			b.log.Info("NATS connection is back", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Error("NATS reports an error", "subject", subject, "error", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) {
			b.inbox.disconnected()
			close(b.closed)
		}),
	}
	if b.cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(b.cfg.InProcess))
	}
	if b.cfg.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(b.cfg.CredentialsFile))
	}
	return opts
}

// prepare checks the server and opens the inbox.
func (b *Bus) prepare(ctx context.Context) error {
	if v := b.nc.ConnectedServerVersion(); !newEnough(v) {
		return messages.Errorf(messages.CodeUsage, "nats-server is version %s, offhook needs %d.%d or later; upgrade it", v, minServerMajor, minServerMinor)
	}
	if n := b.nc.MaxPayload(); n < maxPayload {
		return messages.Errorf(messages.CodeUsage, "nats-server accepts messages of %d bytes at most, offhook needs %d; raise max_payload", n, maxPayload)
	}
	var err error
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(b.cfg.Timeout)); err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	if _, err := b.js.AccountInfo(ctx); err != nil {
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) || errors.Is(err, nats.ErrNoResponders) {
			return messages.Errorf(messages.CodeUsage, "nats-server runs without JetStream; enable it (jetstream { store_dir: … }) for this account: %w", err)
		}
		return messages.Errorf(messages.CodeUnavailable, "JetStream does not answer: %w", err)
	}
	if err := b.spooling.subscribe(b.nc); err != nil {
		return err
	}
	return b.inbox.subscribe(b.nc)
}

// newEnough reports whether a version such as 2.12.3 or 2.14.0-RC.1 will do. A
// version that cannot be read will not.
func newEnough(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > minServerMajor || major == minServerMajor && minor >= minServerMinor
}

// Connected reports whether there is a connection to NATS now. It costs no round
// trip; that a connection has gone silent it learns within 3 s.
func (b *Bus) Connected() bool { return !b.closing.Load() && b.nc.IsConnected() }

// Ready reports why events could not be published and consumed now; nil when they
// can. It asks the server, for at most a second.
func (b *Bus) Ready() error {
	if b.closing.Load() {
		return messages.Errorf(messages.CodeUnavailable, "NATS: this process is shutting down")
	}
	if s := b.nc.Status(); s != nats.CONNECTED {
		return messages.Errorf(messages.CodeUnavailable, "NATS: not connected (%s)", strings.ToLower(s.String()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := b.js.Stream(ctx, messages.StreamEvents); err != nil {
		return messages.Errorf(messages.CodeUnavailable, "NATS: stream %s cannot be used: %w", messages.StreamEvents, err)
	}
	return nil
}

// linkedFor is a context for a question to NATS: it ends after d, and as soon as the
// connection is lost, because what was asked on that one is never answered.
func (b *Bus) linkedFor(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	lost := b.lost.wait()
	go func() {
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	if !b.nc.IsConnected() { // it may have been lost before the bell was listened to
		cancel()
	}
	return ctx, cancel
}

// Close sends what is still to be sent, closes the connection and waits until it is
// closed, or until ctx ends; then it closes without sending. Consume loops are to be
// ended first. It may be called again.
func (b *Bus) Close(ctx context.Context) error {
	b.closing.Store(true)
	err := b.nc.Drain()
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionReconnecting) {
		err = nil // nothing is buffered while there is no connection, so nothing is left unsent
	}
	if err != nil {
		b.nc.Close()
	}
	select {
	case <-b.closed:
	case <-ctx.Done():
		b.nc.Close()
		<-b.closed
		return messages.Errorf(messages.CodeTimeout, "NATS: closed before everything was sent: %w", context.Cause(ctx))
	}
	if err != nil {
		return messages.Errorf(messages.CodeInternal, "NATS: draining: %w", err)
	}
	return nil
}
