package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/local"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// everything is the settings of a process that has all roles.
type everything struct {
	logs       logging
	streams    engines
	hook       door
	limits     callLimits
	files      flows
	worker     role.WorkerConfig
	callerID   string
	data       string
	internal   string
	simulation simulation
}

func (e *everything) bind(a *app, set *setting.Set) {
	e.logs.bind(a, set)
	e.streams.bindStreams(a, set)
	e.hook.bind(a, set)
	e.limits.bind(a, set)
	e.simulation.bind(a, set)
	c := a.catalogue
	c.MaxCallTime.Bind(set, &e.worker.MaxCall)
	c.Slots.Bind(set, &e.worker.Slots)
	c.Drain.Bind(set, &e.worker.Drain)
	c.CallerID.Bind(set, &e.callerID)
	c.InternalListen.Default(defaultAPIListen).Bind(set, &e.internal)
}

// simulation are the settings of the simulated TeleSign.
type simulation struct {
	speed float64
	seed  int
}

func (s *simulation) bind(a *app, set *setting.Set) {
	a.catalogue.Speed.Bind(set, &s.speed)
	a.catalogue.Seed.Bind(set, &s.seed)
}

func (s *simulation) config() simulator.Config {
	cfg := simulator.Defaults()
	cfg.Speed, cfg.Seed = s.speed, uint64(s.seed) //nolint:gosec // the setting is at least 0
	return cfg
}

// config is that of a process with the simulated TeleSign.
func (e *everything) config(a *app) local.Config {
	limits := e.limits.Limits
	limits.Guard = time.Duration(float64(limits.Guard) / e.simulation.speed) // people who live faster press keys faster
	return local.Config{
		Dir: e.data, Listen: e.hook.listen, InternalListen: e.internal, Incoming: e.files.incoming,
		Limits: limits, Worker: e.worker, Webhook: e.hook.config(), Streams: e.streams.nats, CallerID: e.callerID,
		SpoolSize: e.hook.spoolSize, Account: e.hook.account(), Simulator: e.simulation.config(),
		Version: a.version(),
	}
}

func (a *app) devCommand() *cobra.Command {
	var (
		e    everything
		dial dialing
		live bool
	)
	c := &cobra.Command{
		Use: "dev --flow FILE…", Short: "Run everything in one process, while you write a flow",
		Long: `Run all roles in one process, with NATS and the store inside it and a simulator as
TeleSign: nothing to install, and nobody can be dialled, whatever keys are in the
environment. A flow file that changes is loaded at once; live calls keep the
version they began with.

With --live it is the real TeleSign, and calls cost money and ring real phones. It
then wants credentials and a Redis of yours.`,
	}
	c.Flags().BoolVar(&live, "live", false, "reach the real TeleSign: dials real phones")
	return a.command(c, func(set *setting.Set) {
		e.bind(a, set)
		e.files.bind(a, set)
		a.catalogue.Data.Bind(set, &e.data)
		a.catalogue.RedisURL.Default("").Bind(set, &e.streams.redis.URL)
		a.catalogue.AllowVolatileRedis.Bind(set, &e.streams.redis.AllowVolatile)
		a.catalogue.CallRetention.Bind(set, &e.streams.redis.CallRetention)
		dial.bind(a, set)
	}, func(ctx context.Context, _ []string) error {
		if len(e.files.files) == 0 {
			return a.catalogue.Flow.Errorf("is required: name the flow to run, such as deploy/examples/visit-survey.yaml")
		}
		programs, err := e.files.compile()
		if err != nil {
			return err
		}
		cfg := e.config(a)
		cfg.Flows, cfg.Files = programs, e.files.files
		if live {
			if cfg.Live, err = a.live(&e, &dial); err != nil {
				return err
			}
			cfg.Limits = e.limits.Limits
		}
		log := e.logs.logger(a)
		tracing, err := a.tracing(ctx, "dev", log)
		if err != nil {
			return err
		}
		defer tracing.Close() //nolint:contextcheck // ctx has ended by then; the flush has a limit of its own
		cfg.Tracer = tracing.Tracer()
		l, err := local.Start(ctx, cfg, log)
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		err = a.welcome(l, cfg)
		if err != nil {
			stop() // nobody reads what we say; what has been started must stop in order
		}
		return errors.Join(err, l.Run(ctx))
	})
}

// live checks what --live needs and says whose money will be spent.
func (a *app) live(e *everything, d *dialing) (*local.Live, error) {
	cfg, err := d.config(a)
	switch {
	case err != nil:
		return nil, err
	case cfg == nil:
		return nil, messages.Errorf(messages.CodeUsage, "--live needs the account: set OFFHOOK_CUSTOMER_ID and OFFHOOK_API_KEY or OFFHOOK_API_KEY_FILE")
	case e.streams.redis.URL == "":
		return nil, a.catalogue.RedisURL.Errorf("is required with --live: a call must not be forgotten with this process")
	case e.callerID == "":
		return nil, a.catalogue.CallerID.Errorf("is required with --live: the number of yours that people see")
	}
	if _, err := telesign.CheckNumber(e.callerID); err != nil {
		return nil, a.catalogue.CallerID.Errorf("%q: %w", e.callerID, err)
	}
	fmt.Fprintf(a.Stderr, "LIVE: calls are placed through %s for account %s from %s\n", cfg.URL, d.customerID, e.callerID)
	return &local.Live{Dial: *cfg, Redis: e.streams.redis}, nil
}

// welcome says what can be done with a process that has just started.
func (a *app) welcome(l *local.Local, cfg local.Config) error {
	var names []string
	for _, p := range cfg.Flows {
		names = append(names, p.Name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "flows     %s\nwebhook   %s\nAPI       %s\n", strings.Join(names, ", "), l.WebhookURL, l.APIURL)
	if l.KeyFile != "" {
		fmt.Fprintf(&b, "key       %s (signs the webhooks of the simulated account)\n", l.KeyFile)
	}
	if l.Simulator != nil {
		elsewhere := ""
		if l.APIURL != "http://"+defaultAPIListen {
			elsewhere = " --api-url " + l.APIURL
		}
		fmt.Fprintf(&b, "TeleSign  simulated, %gx speed: nobody is dialled\n", cfg.Simulator.Speed)
		fmt.Fprintf(&b, "\nplace a call: offhook call place --to 15558675309 --caller-id 15555551212 --flow %s%s --wait\n", names[0], elsewhere)
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

// temporaryData is a data directory that is gone afterwards.
func temporaryData() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp("", "offhook-demo-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}
