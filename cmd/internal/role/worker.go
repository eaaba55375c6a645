package role

import (
	"context"
	"time"

	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/dial"
)

// WorkerConfig is what a worker is told.
type WorkerConfig struct {
	Limits call.Limits
	Slots  int           // events at once
	Drain  time.Duration // for what is under way when it stops
	// Dial is how calls are placed; nil leaves dial jobs in the queue for workers
	// that may. Its tracer is ours to set.
	Dial *dial.Config
	// Account is that of Dial; the file of its keys, if there is one, is followed.
	Account Account
	// MaxCall is how long the calls that it places may last.
	MaxCall time.Duration
}

// Worker is the consuming side, of which a process has one: events, those of the
// late lane, and dial jobs if it may dial. The catalog holds its flows already. What
// is consumed stops first; what deliveries leave to be done, such as the reports of
// lost replies, is finished after that.
func (p *Process) Worker(cfg WorkerConfig, catalog *worker.Catalog) ([]stage.Stage, error) {
	metrics := worker.NewMetrics(p.Registry)
	events := worker.NewEvents(p.Store, p.Bus, catalog, cfg.Limits, metrics, p.Log)
	if p.Tracer != nil {
		events.UseTracer(p.Tracer)
	}
	consumer := bus.ConsumerConfig{Slots: cfg.Slots, Drain: cfg.Drain}
	consuming := stage.New("consumers",
		func(ctx context.Context) error { return events.Consume(ctx, consumer) },
		func(ctx context.Context) error {
			return p.Bus.ConsumeLate(ctx, consumer, events.StoreBack, events.HandleLate)
		},
	)
	upkeep := stage.New("upkeep", events.Run, catalog.Run)
	p.sayWhoAnswers(catalog)
	if cfg.Dial == nil {
		p.Log.Warn("no customer id and API key: this worker places no calls and leaves dial jobs to others")
		return []stage.Stage{consuming, upkeep}, nil
	}
	dialing := cfg.Dial.WithDefaults()
	dialing.Tracer = p.Tracer
	client, err := dial.New(dialing, p.Log)
	if err != nil {
		return nil, err
	}
	dialer := worker.NewDialer(p.Store, p.Bus, client, dialing.Timeout, cfg.MaxCall, metrics, p.Log)
	if p.Tracer != nil {
		dialer.UseTracer(p.Tracer)
	}
	consuming.Runs = append(consuming.Runs, func(ctx context.Context) error {
		return p.Bus.ConsumeJobs(ctx, consumer, dialer.Handle)
	})
	upkeep.Runs = append(upkeep.Runs, worker.NewReaper(p.Store, p.Bus, p.Log).Run)
	if cfg.Account.KeyFile != "" {
		upkeep.Runs = append(upkeep.Runs, func(ctx context.Context) error {
			return cfg.Account.follow(ctx, "dials", p.Log, func(keys []string) error {
				return client.UseCredentials(telesign.Credentials{CustomerID: cfg.Account.CustomerID, APIKey: keys[0]})
			})
		})
	}
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
