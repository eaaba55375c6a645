package local

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/bus/embedded"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/dial"
	"github.com/offhook/offhook/worker/flow"
)

// Config is what a local process is told.
type Config struct {
	Dir            string // NATS' files, the spool and the key of the simulated account; one process at a time
	Listen         string // the webhook's address
	InternalListen string // the API's

	Flows    []*flow.Program
	Files    []string // to watch for new versions of Flows, in their order; none: not watched
	Incoming string

	Limits   call.Limits
	Worker   role.WorkerConfig // Limits, Dial and Account are ours to set
	Webhook  webhook.Config
	Streams  bus.Config // retention and window; the connection is ours to set
	CallerID string

	SpoolSize int64 // bytes; zero is the spool's default

	// Account has no customer id: the simulated one; no keys: one that is generated
	// once and kept in Dir. The file of the keys is followed only when live: the
	// simulated TeleSign keeps the keys it began with.
	Account   role.Account
	Simulator simulator.Config
	Live      *Live // nil: nothing leaves this machine

	Version string       // of the program
	Tracer  trace.Tracer // nil makes no spans
}

// Live is what it takes to reach the real TeleSign.
type Live struct {
	Dial  dial.Config
	Redis store.Config
}

// Local is a running process. Its fields can be read until it ends.
type Local struct {
	APIURL     string
	WebhookURL string
	KeyFile    string               // where the generated key is; empty when keys were given
	Simulator  *simulator.Simulator // nil when live

	log    *slog.Logger
	stages []stage.Stage
	opened []func() // what to undo when the start fails, last first
}

// Start opens everything. On success the caller must call Run, be it with a context
// that has ended; on failure nothing is left running or locked.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Local, error) {
	l := &Local{log: log}
	if err := l.start(ctx, cfg); err != nil {
		for _, undo := range slices.Backward(l.opened) {
			undo()
		}
		return nil, err
	}
	return l, nil
}

// Run runs until ctx ends, then stops everything in order: the simulated callers,
// the webhook, the workers, the internal listener, the engines under them.
func (l *Local) Run(ctx context.Context) error { return stage.Run(ctx, l.log, l.stages...) }

// opening remembers how to undo what has just been opened.
func (l *Local) opening(undo func()) { l.opened = append(l.opened, undo) }

func (l *Local) start(ctx context.Context, cfg Config) error {
	unlock, err := lock(cfg.Dir, l.log)
	if err != nil {
		return err
	}
	l.opening(unlock)
	if cfg.Account.CustomerID == "" {
		cfg.Account.CustomerID = CustomerID
	}
	if cfg.Live == nil {
		cfg.Account.KeyFile = ""
	}
	if len(cfg.Account.Keys) == 0 {
		l.KeyFile = filepath.Join(cfg.Dir, "api-key")
		key, err := accountKey(l.KeyFile)
		if err != nil {
			return err
		}
		cfg.Account.Keys = []string{key}
	}
	hook, err := l.listen(ctx, "--listen (OFFHOOK_LISTEN)", cfg.Listen)
	if err != nil {
		return err
	}
	inner, err := l.listen(ctx, "--internal-listen (OFFHOOK_INTERNAL_LISTEN)", cfg.InternalListen)
	if err != nil {
		return err
	}
	kept, err := role.OpenSpool(cfg.Dir, cfg.SpoolSize, l.log)
	if err != nil {
		return err
	}
	closeSpool := func() {
		if err := kept.Close(); err != nil {
			l.log.Warn("spool not closed cleanly", "error", err)
		}
	}
	l.opening(closeSpool)
	internal := role.OpenInternal(ctx, inner, l.log)
	l.opening(internal.Close)
	l.WebhookURL = "http://" + hook.Addr().String() + webhook.Path
	l.APIURL = "http://" + inner.Addr().String()
	p, engines, err := l.engines(ctx, cfg)
	if err != nil {
		return err
	}
	var simulated []stage.Stage
	if cfg.Live != nil {
		cfg.Worker.Dial = &cfg.Live.Dial
	} else if simulated, cfg.Worker.Dial, err = l.simulate(ctx, cfg); err != nil {
		return err
	}
	catalog := worker.NewCatalog(p.Store, cfg.Incoming, l.log)
	if err := catalog.Use(ctx, cfg.Flows...); err != nil {
		return err
	}
	p.Tracer = cfg.Tracer
	door, err := p.Ingress(role.IngressConfig{Webhook: cfg.Webhook, Account: cfg.Account, Spool: kept}, hook)
	if err != nil {
		return err
	}
	cfg.Worker.Limits, cfg.Worker.Account = cfg.Limits, cfg.Account
	working, err := p.Worker(cfg.Worker, catalog)
	if err != nil {
		return err
	}
	if len(cfg.Files) > 0 {
		working = append(working, stage.New("flow files", func(ctx context.Context) error {
			return role.WatchFlows(ctx, cfg.Files, cfg.Flows, catalog, l.log)
		}))
	}
	readiness, serving := p.Internal(&api.Config{CallerID: cfg.CallerID, Limits: cfg.Limits}, internal, 0)
	l.stages = slices.Concat(
		[]stage.Stage{readiness}, simulated, []stage.Stage{door}, working, []stage.Stage{serving}, engines,
		[]stage.Stage{stage.New("spool", atEnd(closeSpool)), stage.New("data directory", atEnd(unlock))},
	)
	return nil
}

// listen opens a listener, to be closed if the start fails.
func (l *Local) listen(ctx context.Context, name, address string) (net.Listener, error) {
	ln, err := role.Listen(ctx, name, address)
	if err != nil {
		return nil, err
	}
	l.opening(func() { _ = ln.Close() })
	return ln, nil
}

// engines starts NATS and, unless live, the store inside the process, and connects.
// The stages it returns close the connections and then the engines.
func (l *Local) engines(ctx context.Context, cfg Config) (*role.Process, []stage.Stage, error) {
	ns, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(cfg.Dir, "nats")}, l.log)
	if err != nil {
		return nil, nil, err
	}
	l.opening(ns.Close)
	stages := []stage.Stage{stage.New("embedded NATS", atEnd(ns.Close))}
	redis := store.Config{AllowVolatile: true}
	if cfg.Live != nil {
		redis = cfg.Live.Redis
	} else {
		memory, err := store.StartEmbedded()
		if err != nil {
			return nil, nil, err
		}
		l.opening(memory.Close)
		redis.URL = memory.URL()
		stages = append([]stage.Stage{stage.New("embedded store", memory.Run)}, stages...)
	}
	streams := cfg.Streams
	streams.InProcess, streams.Name = ns, "offhook-local"
	p, err := role.Connect(ctx, streams, &redis, role.NewRegistry(cfg.Version), l.log)
	if err != nil {
		return nil, nil, err
	}
	l.opening(p.Close)
	return p, append([]stage.Stage{stage.New("connections", atEnd(p.Close))}, stages...), nil
}

// atEnd is a part that does nothing until it is told to stop, and then stop.
func atEnd(stop func()) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		stop()
		return nil
	}
}
