package e2e

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/cmd/internal/apiclient"
	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/store/redistest"
)

const (
	customerID = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890"
	apiKey     = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="
	callerID   = "15555551212"
)

// system is offhook as separate processes on engines of its own.
type system struct {
	t     *testing.T
	redis *redistest.Server
	nats  *natsServer
	sim   *simulator.Simulator
	doors *doors
	env   []string

	ingresses, workers []*process
	api                *apiclient.Client
	js                 jetstream.JetStream // the test's own, made when it is needed
}

// shape is what a system is made of.
type shape struct {
	ingresses, workers int
	flows              []string
	sim                func(*simulator.Config)
	env                []string
}

func newSystem(t *testing.T, s shape) *system {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	y := &system{t: t, doors: &doors{transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	t.Cleanup(y.doors.transport.CloseIdleConnections)
	y.redis = redistest.Start(t)
	y.nats = startNATS(t)

	cfg := simulator.Defaults()
	cfg.WebhookURL = "http://offhook.test/telesign/events"
	cfg.Account.CustomerID, cfg.Account.APIKey = customerID, apiKey
	cfg.Speed = 50
	cfg.Transport = y.doors
	cfg.KeepTranscripts = true
	cfg.HoldTexts = []string{"One moment, please."}
	if s.sim != nil {
		s.sim(&cfg)
	}
	var err error
	if y.sim, err = simulator.New(cfg, log); err != nil {
		t.Fatal(err)
	}
	run(t, y.sim.Run)
	telesign := httptest.NewServer(y.sim)
	t.Cleanup(telesign.Close)

	y.env = append([]string{
		"OFFHOOK_NATS_URL=" + y.nats.url, "OFFHOOK_REDIS_URL=" + y.redis.URL(),
		"OFFHOOK_CUSTOMER_ID=" + customerID, "OFFHOOK_API_KEY=" + apiKey, "OFFHOOK_TELESIGN_URL=" + telesign.URL,
		"OFFHOOK_LISTEN=127.0.0.1:0", "OFFHOOK_INTERNAL_LISTEN=127.0.0.1:0",
		"OFFHOOK_CALLER_ID=" + callerID,
		// In simulated calls the next event may come sooner than in life.
		"OFFHOOK_DUPLICATE_GUARD=10ms",
	}, s.env...)
	for range s.workers {
		y.addWorker(s.flows...)
	}
	for range s.ingresses {
		y.addIngress()
	}
	apiProcess := start(t, "api", y.env, "api")
	apiProcess.logged("started")
	y.api = apiclient.New(apiProcess.logged("internal listener"))
	t.Cleanup(y.api.Close)
	return y
}

// addWorker starts one more worker and returns when it consumes.
func (y *system) addWorker(flows ...string) *process {
	y.t.Helper()
	paths := make([]string, len(flows))
	for i, f := range flows {
		var err error
		if paths[i], err = filepath.Abs(filepath.Join("../../..", f)); err != nil {
			y.t.Fatal(err)
		}
	}
	return y.addWorkerWith(paths...)
}

// addWorkerWith is addWorker with flow files from anywhere.
func (y *system) addWorkerWith(paths ...string) *process {
	y.t.Helper()
	args := []string{"worker"}
	for _, path := range paths {
		args = append(args, "--flow", path)
	}
	p := start(y.t, fmt.Sprintf("worker %d", len(y.workers)+1), y.env, args...)
	y.workers = append(y.workers, p)
	p.logged("started")
	return p
}

// addIngress starts one more ingress and lets TeleSign know.
func (y *system) addIngress() *process {
	y.t.Helper()
	env := append([]string{"OFFHOOK_DATA=" + y.t.TempDir()}, y.env...) // a directory each
	p := start(y.t, fmt.Sprintf("ingress %d", len(y.ingresses)+1), env, "ingress")
	y.ingresses = append(y.ingresses, p)
	url := p.logged("webhook listening")
	p.logged("webhook: taking events")
	y.doors.add(strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/telesign/events"))
	return p
}

// stream opens a stream for reading.
func (y *system) stream(name string) jetstream.Stream {
	y.t.Helper()
	if y.js == nil {
		nc, err := nats.Connect(y.nats.url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
		if err != nil {
			y.t.Fatal(err)
		}
		y.t.Cleanup(nc.Close)
		if y.js, err = jetstream.New(nc); err != nil {
			y.t.Fatal(err)
		}
	}
	s, err := y.js.Stream(within(y.t), name)
	if err != nil {
		y.t.Fatal(err)
	}
	return s
}

// doors is the load balancer in front of the ingresses: requests go round, and past
// an ingress that refuses the connection, as TeleSign's would.
type doors struct {
	transport *http.Transport
	mu        sync.Mutex
	hosts     []string
	next      int
}

func (d *doors) add(host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts = append(d.hosts, host)
}

// remove takes an ingress out before it stops, as a balancer does that watches
// readiness.
func (d *doors) remove(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts = append(append([]string{}, d.hosts[:i]...), d.hosts[i+1:]...)
}

func (d *doors) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	hosts := d.hosts
	d.next++
	first := d.next
	d.mu.Unlock()
	err := errors.New("there is no ingress")
	for i := range hosts {
		out := r.Clone(r.Context())
		if out.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
		out.URL.Host = hosts[(first+i)%len(hosts)]
		var resp *http.Response
		if resp, err = d.transport.RoundTrip(out); err == nil {
			return resp, nil
		}
		var refused *net.OpError
		if !errors.As(err, &refused) || refused.Op != "dial" {
			return nil, err
		}
	}
	return nil, err
}
