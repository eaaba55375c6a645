package role

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages"
)

// InternalListener serves health, metrics and the API. It is there from the first
// moment on: a process that still waits for NATS or Redis is alive and not ready,
// and says so.
type InternalListener struct {
	log     *slog.Logger
	handler atomic.Pointer[http.Handler]
	close   func() error // stops serving; again, it returns the same
	ended   chan struct{}
}

// errStarting is why a process is not ready at first.
var errStarting = messages.Errorf(messages.CodeUnavailable, "the process is starting: waiting for NATS and Redis")

// OpenInternal serves on ln, which it closes, until Close. The caller must call
// Close, or run the stage that Process.Internal returns.
func OpenInternal(ctx context.Context, ln net.Listener, log *slog.Logger) *InternalListener {
	serveCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &InternalListener{log: log, ended: make(chan struct{})}
	mux := http.NewServeMux()
	api.NewHealth(map[string]func(context.Context) error{
		"start": func(context.Context) error { return errStarting },
	}).Register(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(errStarting.Code.HTTPStatus())
		_ = json.NewEncoder(w).Encode(messages.BodyOf(errStarting)) // whoever asked has gone
	})
	l.serve(mux)
	log.Info("internal listener", "url", "http://"+ln.Addr().String())
	var failure error
	go func() {
		defer close(l.ended)
		failure = api.Serve(serveCtx, ln, l, log)
	}()
	l.close = sync.OnceValue(func() error {
		stop()
		<-l.ended
		return failure
	})
	return l
}

// ServeHTTP answers with what the process can do by now.
func (l *InternalListener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*l.handler.Load()).ServeHTTP(w, r)
}

func (l *InternalListener) serve(h http.Handler) { l.handler.Store(&h) }

// Close stops serving; requests under way have five seconds.
func (l *InternalListener) Close() {
	if err := l.close(); err != nil {
		l.log.Warn("internal listener not closed cleanly", "error", err)
	}
}

// run is the listener as a part of the process.
func (l *InternalListener) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-l.ended: // by itself
	}
	return l.close()
}

// Internal makes l serve the process's health and metrics and, when withAPI is set,
// the API. The first stage it returns makes the process not ready and is to stop
// first, which takes it lameDuck: so long whoever watches readiness has to turn
// away. The second serves and is to stop last.
func (p *Process) Internal(withAPI *api.Config, l *InternalListener, lameDuck time.Duration) (readiness, serving stage.Stage) {
	checks := map[string]func(context.Context) error{
		"nats": func(context.Context) error { return p.natsReady() }, //nolint:contextcheck // it has a limit of its own
	}
	if p.Store != nil {
		checks["redis"] = p.Store.Ready
	}
	health := api.NewHealth(checks)
	mux := http.NewServeMux()
	health.Register(mux)
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.Registry, promhttp.HandlerOpts{}))
	if withAPI != nil {
		api.New(*withAPI, p.Store, p.Bus, p.Log).Register(mux)
	}
	l.serve(mux)
	readiness = stage.New("readiness", func(ctx context.Context) error {
		<-ctx.Done()
		health.Drain()
		if lameDuck > 0 {
			p.Log.Info("not ready any more; still taking work, so that load balancers turn away", "for", lameDuck)
			time.Sleep(lameDuck)
		}
		return nil
	})
	return readiness, stage.New("internal listener", l.run)
}
