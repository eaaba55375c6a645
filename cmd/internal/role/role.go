package role

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/dial"
)

// closeWithin bounds the flush of a connection that is being closed.
const closeWithin = 5 * time.Second

// Process is what all roles of one process share.
type Process struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Bus      *bus.Bus
	Store    *store.Store // nil for a role that has no business with it
}

// Connect opens what a role needs: NATS, with its streams in place, and Redis
// unless redis is nil. It waits for servers that are not there yet, until ctx ends,
// but not to say that a setting is wrong.
func Connect(ctx context.Context, nats bus.Config, redis *store.Config, registry *prometheus.Registry, log *slog.Logger) (*Process, error) {
	if err := nats.WithDefaults().Validate(); err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	if redis != nil {
		if err := redis.WithDefaults().Validate(); err != nil {
			return nil, fmt.Errorf("Redis: %w", err) //nolint:staticcheck // a name
		}
	}
	p := &Process{Log: log, Registry: registry}
	var err error
	if p.Bus, err = bus.Connect(ctx, nats, log); err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	if err := p.Bus.Setup(ctx); err != nil {
		p.Close() //nolint:contextcheck // also when ctx has ended; closing has a limit of its own
		return nil, fmt.Errorf("NATS: %w", err)
	}
	if redis != nil {
		if p.Store, err = store.Open(ctx, *redis, log); err != nil {
			p.Close()                                //nolint:contextcheck // likewise
			return nil, fmt.Errorf("Redis: %w", err) //nolint:staticcheck // a name
		}
	}
	return p, nil
}

// Close closes the connections. Whatever uses them must have ended.
func (p *Process) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if err := p.Bus.Close(ctx); err != nil {
		p.Log.Warn("NATS connection not closed cleanly", "error", err)
	}
	if p.Store != nil {
		if err := p.Store.Close(); err != nil {
			p.Log.Warn("Redis connections not closed cleanly", "error", err)
		}
	}
}

// Ingress is the webhook's door on ln, of which a process has one.
func (p *Process) Ingress(cfg webhook.Config, customerID string, keys []string, ln net.Listener) (stage.Stage, error) {
	var verifier *telesign.Verifier
	if !cfg.Insecure {
		var err error
		if verifier, err = telesign.NewVerifier(customerID, keys...); err != nil {
			return stage.Stage{}, err
		}
	}
	server, err := webhook.New(cfg, verifier, p.Bus, p.Registry, p.Log)
	if err != nil {
		return stage.Stage{}, err
	}
	p.Log.Info("webhook listening", "url", "http://"+ln.Addr().String()+webhook.Path)
	return stage.New("webhook", func(ctx context.Context) error { return server.Run(ctx, ln) }), nil
}

// WorkerConfig is what a worker is told.
type WorkerConfig struct {
	Limits call.Limits
	Slots  int           // events at once
	Drain  time.Duration // for what is under way when it stops
	// Dial is how calls are placed; nil leaves dial jobs in the queue for workers
	// that may.
	Dial *dial.Config
	// MaxCall is how long the calls that it places may last.
	MaxCall time.Duration
}

// Worker is the consuming side, of which a process has one: events, and dial jobs if
// it may dial. The catalog holds its flows already.
func (p *Process) Worker(cfg WorkerConfig, catalog *worker.Catalog) ([]stage.Stage, error) {
	metrics := worker.NewMetrics(p.Registry)
	events := worker.NewEvents(p.Store, p.Bus, catalog, cfg.Limits, metrics, p.Log)
	consumer := bus.ConsumerConfig{Slots: cfg.Slots, Drain: cfg.Drain}
	consuming := stage.New("consumers", func(ctx context.Context) error {
		return p.Bus.ConsumeEvents(ctx, consumer, events.Handle)
	})
	upkeep := stage.New("upkeep", catalog.Run)
	p.sayWhoAnswers(catalog)
	if cfg.Dial == nil {
		p.Log.Warn("no customer id and API key: this worker places no calls and leaves dial jobs to others")
		return []stage.Stage{consuming, upkeep}, nil
	}
	dialing := cfg.Dial.WithDefaults()
	client, err := dial.New(dialing, p.Log)
	if err != nil {
		return nil, err
	}
	dialer := worker.NewDialer(p.Store, p.Bus, client, dialing.Timeout, cfg.MaxCall, metrics, p.Log)
	consuming.Runs = append(consuming.Runs, func(ctx context.Context) error {
		return p.Bus.ConsumeJobs(ctx, consumer, dialer.Handle)
	})
	upkeep.Runs = append(upkeep.Runs, worker.NewReaper(p.Store, p.Bus, p.Log).Run)
	return []stage.Stage{consuming, upkeep}, nil
}

// sayWhoAnswers logs which flow people hear who call us. That it is none is easily
// overlooked: they hear an apology.
func (p *Process) sayWhoAnswers(catalog *worker.Catalog) {
	incoming := catalog.Incoming()
	switch {
	case incoming == nil:
		p.Log.Warn("no flow for calls that we did not place: they get an apology; name one with --incoming (OFFHOOK_INCOMING)")
		return
	case incoming.Start.Incoming == "":
		p.Log.Warn("the flow for calls that we did not place has no start for incoming ones: they get an apology", "flow", incoming.Name)
	}
	for _, c := range incoming.Contact {
		if c.Required {
			p.Log.Warn("the flow for calls that we did not place says a column of the contact, which such a call has not: give it a word", "flow", incoming.Name, "column", c.Name)
		}
	}
	p.Log.Info("calls that we did not place run a flow", "flow", incoming.Name, "hash", incoming.Hash)
}

// Listen opens a TCP listener; the error names the setting to change. An empty
// address is refused: Go would listen on every interface.
func Listen(ctx context.Context, settingName, address string) (net.Listener, error) {
	if address == "" {
		return nil, messages.FieldErrorf(messages.CodeUsage, settingName, "is empty; give host:port, such as 127.0.0.1:0 for any free port")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, messages.FieldErrorf(messages.CodeUsage, settingName, "cannot listen on %s: %w", address, err)
	}
	return ln, nil
}
