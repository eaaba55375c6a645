package role

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/ingress/webhook/spool"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// IngressConfig is what the webhook's door is told.
type IngressConfig struct {
	Webhook     webhook.Config // TLS and Tracer are ours to set
	Account     Account
	Certificate *Certificate // nil: plain HTTP
	Spool       *Spool       // nil: what NATS does not take is refused
}

// Spool keeps an ingress' events while NATS is away.
type Spool struct {
	*spool.Spool
	size int64 // bytes, at most
}

// OpenSpool opens the spool in a process's data directory; zero bytes are its default
// size. Nobody else can use it until it is closed, which is to happen after the
// ingress has ended.
func OpenSpool(data string, maxBytes int64, log *slog.Logger) (*Spool, error) {
	if data == "" {
		return nil, messages.FieldErrorf(messages.CodeUsage, dataSetting, "is empty; name the directory for what must not be lost while NATS is away")
	}
	cfg := spool.Config{Dir: filepath.Join(data, "spool"), MaxBytes: maxBytes}.WithDefaults()
	opened, err := spool.Open(cfg, log)
	if err != nil {
		return nil, err
	}
	return &Spool{Spool: opened, size: cfg.MaxBytes}, nil
}

// spoolRoom is how much of a spool must be free for the ingress to count as ready, in
// bytes: some of the largest events.
const spoolRoom = 256 << 10

// full reports whether an event may find no place.
func (s *Spool) full() bool { return s.Stats().Bytes > s.size-spoolRoom }

// dataSetting is what to change when the data directory cannot be used.
const dataSetting = "--data (OFFHOOK_DATA)"

// Ingress is the webhook's door on ln, of which a process has one. While it runs it
// follows the files of the keys and the certificate.
func (p *Process) Ingress(cfg IngressConfig, ln net.Listener) (stage.Stage, error) {
	hook, scheme := cfg.Webhook, "http://"
	var verifier *telesign.Verifier
	if !hook.Insecure {
		var err error
		if verifier, err = telesign.NewVerifier(cfg.Account.CustomerID, cfg.Account.Keys...); err != nil {
			return stage.Stage{}, err
		}
	}
	hook.Tracer = p.Tracer
	if cfg.Certificate != nil {
		hook.TLS, scheme = cfg.Certificate.Config(), "https://"
	}
	var kept webhook.Spool
	if cfg.Spool != nil {
		kept, p.spool = cfg.Spool, cfg.Spool
	}
	server, err := webhook.New(hook, verifier, p.Bus, kept, p.Registry, p.Log)
	if err != nil {
		return stage.Stage{}, err
	}
	p.Log.Info("webhook listening", "url", scheme+ln.Addr().String()+webhook.Path)
	s := stage.New("webhook", func(ctx context.Context) error { return server.Run(ctx, ln) })
	if verifier != nil && cfg.Account.KeyFile != "" {
		s.Runs = append(s.Runs, func(ctx context.Context) error {
			return cfg.Account.follow(ctx, "webhook signatures", p.Log, func(keys []string) error {
				v, err := telesign.NewVerifier(cfg.Account.CustomerID, keys...)
				server.UseVerifier(v) // nil changes nothing
				return err
			})
		})
	}
	if cfg.Certificate != nil {
		s.Runs = append(s.Runs, cfg.Certificate.Run)
	}
	return s, nil
}

// natsReady reports why the process can do nothing useful as far as NATS is concerned.
// An ingress by itself can as long as its spool has room: it keeps events and
// answers with holds. To take all of them out of the load balancer because NATS is
// away would turn those holds into silence.
func (p *Process) natsReady() error {
	err := p.Bus.Ready()
	switch {
	case err == nil || p.spool == nil || p.Store != nil:
		return err
	case p.spool.full():
		return messages.Errorf(messages.CodeUnavailable, "%w; and the spool is full", err)
	}
	return nil
}
