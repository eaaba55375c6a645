package role

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/store"
)

// closeWithin bounds the flush of a connection that is being closed.
const closeWithin = 5 * time.Second

// Process is what all roles of one process share.
type Process struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Bus      *bus.Bus
	Store    *store.Store // nil for a role that has no business with it
	Tracer   trace.Tracer // nil makes no spans; to be set before the roles

	spool *Spool // of the ingress, if there is one
}

// NewRegistry is a process's own metrics registry, with what every process tells of
// itself in it: the Go runtime, the operating system's view, and
//
//	offhook_build_info{version,go}  always 1
func NewRegistry(version string) *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "offhook_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
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
