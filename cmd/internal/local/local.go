// Package local runs every role in one process, for dev and demo: NATS and the
// store are inside it, and TeleSign is a simulator, unless the real one is asked
// for by name. It uses the same roles as production and adds nothing to them.
package local

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/bus/embedded"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/dial"
	"github.com/offhook/offhook/worker/flow"
)

// CustomerID is the simulated account's.
const CustomerID = "00000000-0000-4000-8000-00000000DE40"

// simulatedRate is how many requests a second the simulated account may make.
const simulatedRate = 200

// voicePath is where TeleSign takes requests.
const voicePath = "/v2/voice"

// Config is what a local process is told.
type Config struct {
	Dir            string // NATS' files and the key of the simulated account; one process at a time
	Listen         string // the webhook's address
	InternalListen string // the API's

	Flows    []*flow.Program
	Files    []string // to watch for new versions of Flows; none: not watched
	Incoming string

	Limits   call.Limits
	Worker   role.WorkerConfig // Dial is ours to set
	Webhook  webhook.Config
	Streams  bus.Config // retention and window; the connection is ours to set
	CallerID string

	CustomerID string   // empty: the simulated account's
	Keys       []string // of the account; empty: generated once and kept in Dir
	Simulator  simulator.Config
	Live       *Live // nil: nothing leaves this machine
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

// Start opens everything. On success the caller must call Run; on failure nothing
// is left running.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Local, error) {
	l := &Local{log: log}
	if err := l.start(ctx, cfg); err != nil {
		l.undo()
		return nil, err
	}
	return l, nil
}

// Run runs until ctx ends, then stops everything in order, callers first.
func (l *Local) Run(ctx context.Context) error { return stage.Run(ctx, l.log, l.stages...) }

func (l *Local) undo() {
	for i := len(l.opened) - 1; i >= 0; i-- {
		l.opened[i]()
	}
}

func (l *Local) start(ctx context.Context, cfg Config) error {
	if err := l.lock(cfg.Dir); err != nil {
		return err
	}
	keys, err := l.keys(cfg)
	if err != nil {
		return err
	}
	if cfg.CustomerID == "" {
		cfg.CustomerID = CustomerID
	}
	hook, internal, err := l.listen(ctx, cfg)
	if err != nil {
		return err
	}
	p, engines, err := l.engines(ctx, cfg)
	if err != nil {
		return err
	}
	var simulated []stage.Stage
	if cfg.Live != nil {
		cfg.Worker.Dial = &cfg.Live.Dial
	} else if simulated, err = l.simulate(ctx, &cfg, keys[0]); err != nil {
		return err
	}
	catalog := worker.NewCatalog(p.Store, cfg.Incoming, l.log)
	if err := catalog.Use(ctx, cfg.Flows...); err != nil {
		return err
	}
	door, err := p.Ingress(cfg.Webhook, cfg.CustomerID, keys, hook)
	if err != nil {
		return err
	}
	cfg.Worker.Limits = cfg.Limits
	working, err := p.Worker(cfg.Worker, catalog)
	if err != nil {
		return err
	}
	if len(cfg.Files) > 0 {
		working = append(working, stage.New("flow files", func(ctx context.Context) error {
			return role.WatchFlows(ctx, cfg.Files, catalog, l.log)
		}))
	}
	readiness, serving := p.Internal(&api.Config{CallerID: cfg.CallerID, Limits: cfg.Limits}, internal)

	l.stages = append(l.stages, readiness)
	l.stages = append(l.stages, simulated...)
	l.stages = append(l.stages, door)
	l.stages = append(l.stages, working...)
	l.stages = append(l.stages, serving)
	l.stages = append(l.stages, engines...)
	return nil
}

// lock takes the directory for this process.
func (l *Local) lock(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return messages.FieldErrorf(messages.CodeUsage, "--data (OFFHOOK_DATA)", "cannot use it: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return messages.FieldErrorf(messages.CodeUsage, "--data (OFFHOOK_DATA)", "cannot lock %s: %w", dir, err)
	}
	if !ok {
		return messages.FieldErrorf(messages.CodeUsage, "--data (OFFHOOK_DATA)", "%s is in use by another offhook; stop it or name another directory", dir)
	}
	unlock := func() {
		if err := lock.Unlock(); err != nil {
			l.log.Warn("data directory not unlocked; the end of the process does it", "error", err)
		}
	}
	l.opened = append(l.opened, unlock)
	return nil
}

// keys are the account's: the given ones, or one of our own that survives restarts,
// so that whoever signs test events signs with the same key tomorrow.
func (l *Local) keys(cfg Config) ([]string, error) {
	if len(cfg.Keys) > 0 {
		return cfg.Keys, nil
	}
	l.KeyFile = filepath.Join(cfg.Dir, "api-key")
	stored, err := os.ReadFile(l.KeyFile)
	if err == nil {
		return []string{strings.TrimSpace(string(stored))}, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the simulated account's key: %w", err)
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails; it would end the process
	key := base64.StdEncoding.EncodeToString(secret)
	if err := os.WriteFile(l.KeyFile, []byte(key+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("keep the simulated account's key: %w", err)
	}
	return []string{key}, nil
}

func (l *Local) listen(ctx context.Context, cfg Config) (hook, internal net.Listener, err error) {
	if hook, err = role.Listen(ctx, "--listen (OFFHOOK_LISTEN)", cfg.Listen); err != nil {
		return nil, nil, err
	}
	l.opened = append(l.opened, func() { _ = hook.Close() })
	if internal, err = role.Listen(ctx, "--internal-listen (OFFHOOK_INTERNAL_LISTEN)", cfg.InternalListen); err != nil {
		return nil, nil, err
	}
	l.opened = append(l.opened, func() { _ = internal.Close() })
	l.WebhookURL = "http://" + hook.Addr().String() + webhook.Path
	l.APIURL = "http://" + internal.Addr().String()
	return hook, internal, nil
}

// engines starts NATS and, unless live, the store inside the process, and connects.
// The stages it returns close the connections and then the engines.
func (l *Local) engines(ctx context.Context, cfg Config) (*role.Process, []stage.Stage, error) {
	ns, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(cfg.Dir, "nats")}, l.log)
	if err != nil {
		return nil, nil, err
	}
	l.opened = append(l.opened, ns.Close)
	redis := store.Config{AllowVolatile: true}
	var clock []func(context.Context) error
	if cfg.Live != nil {
		redis = cfg.Live.Redis
	} else {
		memory, err := store.StartEmbedded()
		if err != nil {
			return nil, nil, err
		}
		l.opened = append(l.opened, memory.Close)
		redis.URL = memory.URL()
		clock = append(clock, memory.Run)
	}
	streams := cfg.Streams
	streams.InProcess, streams.Name = ns, "offhook-local"
	p, err := role.Connect(ctx, streams, &redis, prometheus.NewRegistry(), l.log)
	if err != nil {
		return nil, nil, err
	}
	l.opened = append(l.opened, p.Close)
	stages := []stage.Stage{stage.New("connections", atEnd(p.Close))}
	if len(clock) > 0 {
		stages = append(stages, stage.New("embedded store", clock...))
	}
	return p, append(stages, stage.New("embedded NATS", atEnd(ns.Close)), stage.New("data directory", atEnd(l.opened[0]))), nil
}

// atEnd is a part that does nothing until it is told to stop, and then stop.
func atEnd(stop func()) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		stop()
		return nil
	}
}

// simulate starts the simulated TeleSign and points the dialer at it.
func (l *Local) simulate(ctx context.Context, cfg *Config, key string) ([]stage.Stage, error) {
	sim := cfg.Simulator
	account := telesign.Credentials{CustomerID: cfg.CustomerID, APIKey: key}
	sim.WebhookURL, sim.Account = l.WebhookURL, account
	if sim.RateLimit == 0 {
		sim.RateLimit = simulatedRate
	}
	var err error
	if l.Simulator, err = simulator.New(sim, l.log); err != nil {
		return nil, err
	}
	ln, err := role.Listen(ctx, "simulator", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.opened = append(l.opened, func() { _ = ln.Close() })
	cfg.Worker.Dial = &dial.Config{URL: "http://" + ln.Addr().String(), Credentials: account}
	return []stage.Stage{
		stage.New("simulated calls", l.Simulator.Run),
		stage.New("simulated TeleSign", func(ctx context.Context) error { return Serve(ctx, ln, l.Simulator, l.log) }),
	}, nil
}

// Serve serves a simulator on ln until ctx ends.
func Serve(ctx context.Context, ln net.Listener, sim *simulator.Simulator, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle(voicePath, sim)
	return api.Serve(ctx, ln, mux, log)
}
