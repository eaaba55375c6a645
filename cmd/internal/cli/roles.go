package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/cmd/internal/telemetry"
	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/dial"
	"github.com/offhook/offhook/worker/flow"
)

// engines are the settings of NATS and Redis.
type engines struct {
	nats  bus.Config
	redis store.Config
}

func (e *engines) bindNATS(a *app, set *setting.Set) {
	c := a.catalogue
	c.NATSURL.Bind(set, &e.nats.URL)
	c.NATSCredsFile.Bind(set, &e.nats.CredentialsFile)
	e.bindStreams(a, set)
}

func (e *engines) bindStreams(a *app, set *setting.Set) {
	c := a.catalogue
	c.Replicas.Bind(set, &e.nats.Replicas)
	c.EventsRetention.Bind(set, &e.nats.EventsRetention)
	c.RecordsRetention.Bind(set, &e.nats.RecordsRetention)
	c.AnswerWithin.Bind(set, &e.nats.AnswerWithin)
}

func (e *engines) bindRedis(a *app, set *setting.Set) {
	c := a.catalogue
	c.RedisURL.Bind(set, &e.redis.URL)
	c.AllowVolatileRedis.Bind(set, &e.redis.AllowVolatile)
	c.CallRetention.Bind(set, &e.redis.CallRetention)
}

// door are the settings of the webhook.
type door struct {
	cfg        webhook.Config
	listen     string
	customerID string
	keys       setting.Secrets
	keyFile    string // where keys came from
	holds      []setting.Hold
	spoolSize  int64
}

func (d *door) bind(a *app, set *setting.Set) {
	c := a.catalogue
	c.APIKey.BindFile(set, &d.keyFile)
	c.Listen.Bind(set, &d.listen)
	c.CustomerID.Bind(set, &d.customerID)
	c.APIKey.Bind(set, &d.keys)
	c.InsecureWebhooks.Bind(set, &d.cfg.Insecure)
	c.AnswerWithin.Bind(set, &d.cfg.AnswerWithin)
	c.HoldText.Bind(set, &d.cfg.HoldText)
	c.HoldLanguage.Bind(set, &d.cfg.HoldLanguage)
	c.Hold.Bind(set, &d.holds)
	c.HoldFor.Bind(set, &d.cfg.HoldFor)
	c.ApologyText.Bind(set, &d.cfg.ApologyText)
	c.SpoolSize.Bind(set, &d.spoolSize)
	c.Drain.Bind(set, &d.cfg.Drain)
}

func (d *door) config() webhook.Config {
	cfg := d.cfg
	for _, h := range d.holds {
		cfg.Holds = append(cfg.Holds, webhook.Hold(h))
	}
	return cfg
}

func (d *door) account() role.Account {
	return role.Account{CustomerID: d.customerID, Keys: d.keys, KeyFile: d.keyFile}
}

// check refuses what could not work, before anything is waited for.
func (d *door) check(a *app) error {
	if err := d.config().WithDefaults().Validate(); err != nil {
		return err
	}
	switch {
	case d.listen == "":
		return a.catalogue.Listen.Errorf("is empty; give host:port")
	case d.cfg.Insecure:
		return nil
	case len(d.keys) == 0:
		return a.catalogue.APIKey.Errorf("is required: webhooks are signed with it; --insecure-webhooks does without")
	}
	if _, err := telesign.NewVerifier(d.customerID, d.keys...); err != nil {
		return a.catalogue.APIKey.Errorf("%w", err)
	}
	return nil
}

// certificate are the settings of the webhook's TLS.
type certificate struct{ certFile, keyFile string }

func (f *certificate) bind(a *app, set *setting.Set) {
	a.catalogue.TLSCertFile.Bind(set, &f.certFile)
	a.catalogue.TLSKeyFile.Bind(set, &f.keyFile)
}

// open is nil without files: the webhook then speaks plain HTTP.
func (f *certificate) open(a *app, log *slog.Logger) (*role.Certificate, error) {
	switch {
	case f.certFile == "" && f.keyFile == "":
		return nil, nil
	case f.keyFile == "":
		return nil, a.catalogue.TLSKeyFile.Errorf("is required beside the certificate: TLS needs both")
	case f.certFile == "":
		return nil, a.catalogue.TLSCertFile.Errorf("is required beside the key: TLS needs both")
	}
	return role.OpenCertificate(f.certFile, f.keyFile, log)
}

// callLimits are the settings that bound what callers hear.
type callLimits struct{ call.Limits }

func (l *callLimits) bind(a *app, set *setting.Set) {
	a.catalogue.HoldFor.Bind(set, &l.HoldFor)
	a.catalogue.DuplicateGuard.Bind(set, &l.Guard)
	a.catalogue.MaxPrompts.Bind(set, &l.MaxPrompts)
	a.catalogue.ApologyText.Bind(set, &l.Apology)
	a.catalogue.HoldLanguage.Bind(set, &l.ApologyLanguage)
}

// flows are the settings of what a worker runs.
type flows struct {
	files    []string
	incoming string
}

func (f *flows) bind(a *app, set *setting.Set) {
	a.catalogue.Flow.Bind(set, &f.files)
	a.catalogue.Incoming.Bind(set, &f.incoming)
}

// compile reads and compiles the files. The error holds every problem of every
// file.
func (f *flows) compile() ([]*flow.Program, error) { return role.CompileFlows(f.files) }

// dialing are the settings of placing calls.
type dialing struct {
	customerID string
	keys       setting.Secrets
	keyFile    string // where keys came from
	cfg        dial.Config
	auth       string
}

func (d *dialing) bind(a *app, set *setting.Set) {
	c := a.catalogue
	c.APIKey.BindFile(set, &d.keyFile)
	c.TeleSignURL.Bind(set, &d.cfg.URL)
	c.TeleSignAuth.Bind(set, &d.auth)
	c.DialTimeout.Bind(set, &d.cfg.Timeout)
	c.CustomerID.Bind(set, &d.customerID)
	c.APIKey.Bind(set, &d.keys)
}

func (d *dialing) account() role.Account {
	return role.Account{CustomerID: d.customerID, Keys: d.keys, KeyFile: d.keyFile}
}

// config is nil without an API key: such a process places no calls.
func (d *dialing) config(a *app) (*dial.Config, error) {
	if len(d.keys) == 0 {
		return nil, nil
	}
	if d.customerID == "" {
		return nil, a.catalogue.CustomerID.Errorf("is required beside the API key: only together they are an account")
	}
	cfg := d.cfg
	cfg.Auth = dial.Auth(d.auth)
	cfg.Credentials = telesign.Credentials{CustomerID: d.customerID, APIKey: d.keys[0]}
	return &cfg, cfg.WithDefaults().Validate()
}

// processName is how NATS and the failed stream show this process.
func processName(roleName string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	return "offhook-" + roleName + "-" + host
}

// internalListener is what a role serves besides its work.
type internalListener struct {
	listen   string      // empty: nothing
	api      *api.Config // nil: health and metrics only
	lameDuck time.Duration
}

// run starts the export of traces and connects, lets assemble make the role's stages,
// and runs them with the internal listener around them, if there is one.
func (a *app) run(ctx context.Context, log *slog.Logger, roleName string, nats bus.Config, redis *store.Config, inner internalListener,
	assemble func(p *role.Process) ([]stage.Stage, error),
) error {
	nats.Name = processName(roleName)
	tracing, err := a.tracing(ctx, roleName, log)
	if err != nil {
		return err
	}
	defer tracing.Close() //nolint:contextcheck // ctx has ended by then; the flush has a limit of its own
	var internal *role.InternalListener
	if inner.listen != "" {
		ln, err := role.Listen(ctx, internalListenSetting, inner.listen)
		if err != nil {
			return err
		}
		internal = role.OpenInternal(ctx, ln, log)
		defer internal.Close()
	}
	p, err := role.Connect(ctx, nats, redis, role.NewRegistry(a.version()), log)
	if err != nil {
		return err
	}
	p.Tracer = tracing.Tracer()
	defer p.Close() //nolint:contextcheck // ctx has ended by then; closing has a limit of its own
	stages, err := assemble(p)
	if err != nil {
		return err
	}
	if internal != nil {
		readiness, serving := p.Internal(inner.api, internal, inner.lameDuck)
		stages = append(append([]stage.Stage{readiness}, stages...), serving)
	}
	log.Info("started", "name", nats.Name)
	return stage.Run(ctx, log, stages...)
}

// tracing is the export of a process's traces; nil when it is off.
func (a *app) tracing(ctx context.Context, roleName string, log *slog.Logger) (*telemetry.Tracing, error) {
	return telemetry.Open(ctx, "offhook-"+roleName, a.version(), a.Environ, log)
}

func (a *app) ingressCommand() *cobra.Command {
	var (
		logs   logging
		engine engines
		hook   door
		files  certificate
		data   string
		inner  internalListener
	)
	c := &cobra.Command{
		Use: "ingress", Short: "Take TeleSign's webhooks (role)",
		Long: "Take TeleSign's webhooks at POST " + webhook.Path + ", queue each event in NATS, answer with the worker's reply.\nStart as many as you like behind a load balancer that speaks TLS, or give each a certificate.\nWhile NATS is away events are kept in --data: one directory each, which survives a restart.\nThe files of keys and certificates are followed: a change is in use within seconds.",
	}
	return a.command(c, func(set *setting.Set) {
		logs.bind(a, set)
		engine.bindNATS(a, set)
		hook.bind(a, set)
		files.bind(a, set)
		a.catalogue.Data.Bind(set, &data)
		a.catalogue.InternalListen.Bind(set, &inner.listen)
		a.catalogue.LameDuck.Bind(set, &inner.lameDuck)
	}, func(ctx context.Context, _ []string) error {
		if err := hook.check(a); err != nil {
			return err
		}
		log := logs.logger(a)
		shown, err := files.open(a, log)
		if err != nil {
			return err
		}
		// A wrong address is told at once. It is listened on only when NATS is there:
		// whoever connects must get an answer.
		probe, err := role.Listen(ctx, listenSetting, hook.listen)
		if err != nil {
			return err
		}
		if err := probe.Close(); err != nil {
			return fmt.Errorf("close %s: %w", hook.listen, err)
		}
		kept, err := role.OpenSpool(data, hook.spoolSize, log)
		if err != nil {
			return err
		}
		err = a.run(ctx, log, "ingress", engine.nats, nil, inner, func(p *role.Process) ([]stage.Stage, error) {
			ln, err := role.Listen(ctx, listenSetting, hook.listen)
			if err != nil {
				return nil, err
			}
			s, err := p.Ingress(role.IngressConfig{Webhook: hook.config(), Account: hook.account(), Certificate: shown, Spool: kept}, ln)
			return []stage.Stage{s}, err
		})
		return errors.Join(err, kept.Close())
	})
}

func (a *app) workerCommand() *cobra.Command {
	var (
		logs   logging
		engine engines
		limits callLimits
		files  flows
		dials  dialing
		cfg    role.WorkerConfig
		inner  internalListener
	)
	c := &cobra.Command{
		Use: "worker --flow FILE…", Short: "Step calls and place them (role)",
		Long: "Consume events: load the call's state from Redis, decide the next action, reply.\nConsume dial jobs: place calls through TeleSign, if an API key is given.\nStart as many as you like; any worker handles any call.",
	}
	return a.command(c, func(set *setting.Set) {
		logs.bind(a, set)
		engine.bindNATS(a, set)
		engine.bindRedis(a, set)
		limits.bind(a, set)
		files.bind(a, set)
		dials.bind(a, set)
		a.catalogue.MaxCallTime.Bind(set, &cfg.MaxCall)
		a.catalogue.Slots.Bind(set, &cfg.Slots)
		a.catalogue.Drain.Bind(set, &cfg.Drain)
		a.catalogue.InternalListen.Bind(set, &inner.listen)
	}, func(ctx context.Context, _ []string) error {
		if len(files.files) == 0 {
			return a.catalogue.Flow.Errorf("is required: a worker without a flow could only apologise to callers")
		}
		programs, err := files.compile()
		if err != nil {
			return err
		}
		if cfg.Dial, err = dials.config(a); err != nil {
			return err
		}
		cfg.Limits, cfg.Account = limits.Limits, dials.account()
		log := logs.logger(a)
		return a.run(ctx, log, "worker", engine.nats, &engine.redis, inner, func(p *role.Process) ([]stage.Stage, error) {
			catalog := worker.NewCatalog(p.Store, files.incoming, log)
			if err := catalog.Use(ctx, programs...); err != nil {
				return nil, err
			}
			return p.Worker(cfg, catalog)
		})
	})
}

func (a *app) apiCommand() *cobra.Command {
	var (
		logs   logging
		engine engines
		limits callLimits
		cfg    api.Config
		inner  internalListener
	)
	c := &cobra.Command{
		Use: "api", Short: "Serve the API (role)",
		Long: "Serve the API on the internal listener: place calls, look at them. It trusts whoever reaches it, so keep it on a loopback or private address.",
	}
	return a.command(c, func(set *setting.Set) {
		logs.bind(a, set)
		engine.bindNATS(a, set)
		engine.bindRedis(a, set)
		limits.bind(a, set)
		a.catalogue.CallerID.Bind(set, &cfg.CallerID)
		a.catalogue.InternalListen.Default(defaultAPIListen).Bind(set, &inner.listen)
	}, func(ctx context.Context, _ []string) error {
		if inner.listen == "" {
			return a.catalogue.InternalListen.Errorf("is empty, and there the API is served")
		}
		cfg.Limits = limits.Limits
		inner.api = &cfg
		return a.run(ctx, logs.logger(a), "api", engine.nats, &engine.redis, inner, func(*role.Process) ([]stage.Stage, error) {
			return nil, nil
		})
	})
}

// listenSetting is what to change when the webhook cannot listen.
const listenSetting = "--listen (OFFHOOK_LISTEN)"

// internalListenSetting is what to change when the internal listener cannot listen.
const internalListenSetting = "--internal-listen (OFFHOOK_INTERNAL_LISTEN)"

// defaultAPIListen is where the API is served by the roles that exist to serve it.
const defaultAPIListen = "127.0.0.1:8081"
