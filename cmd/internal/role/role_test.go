package role_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/dial"
)

const apiKey = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="

// connect is a process with both connections, closed with the test.
func connect(t *testing.T) (*role.Process, *store.Embedded, *logtest.Log) {
	t.Helper()
	memory, _ := openStore(t)
	log := &logtest.Log{}
	p, err := role.Connect(within(t), bus.Config{InProcess: startNATS(t)}, &store.Config{URL: memory.URL(), AllowVolatile: true}, prometheus.NewRegistry(), log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, memory, log
}

// A setting that cannot work is reported at once, whatever servers are away.
func TestConnectRefusesSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		nats  bus.Config
		redis *store.Config
		says  string
	}{
		{"replicas", bus.Config{URL: "nats://127.0.0.1:1", Replicas: 2}, nil, "NATS: Replicas: is 2"},
		{"no NATS", bus.Config{}, nil, "NATS: URL: is empty"},
		{"no Redis", bus.Config{URL: "nats://127.0.0.1:1"}, &store.Config{}, "Redis: URL: empty"},
		{"retention", bus.Config{URL: "nats://127.0.0.1:1"}, &store.Config{URL: "redis://127.0.0.1:1", CallRetention: 1}, "Redis: CallRetention"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := &logtest.Log{}
			p, err := role.Connect(within(t), tt.nats, tt.redis, prometheus.NewRegistry(), log.Logger())
			if p != nil || messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, %v; want %q", p, err, tt.says)
			}
			if log.String() != "" {
				t.Errorf("a connection was tried:\n%s", log)
			}
		})
	}
}

// A connection that was opened does not stay open when the next one fails.
func TestConnectHalfWay(t *testing.T) {
	t.Parallel()
	ns := startNATS(t)
	memory, _ := openStore(t)
	log := &logtest.Log{}
	_, err := role.Connect(within(t), bus.Config{InProcess: ns}, &store.Config{URL: memory.URL()}, prometheus.NewRegistry(), log.Logger())
	if messages.CodeOf(err) != messages.CodeUsage || !strings.HasPrefix(err.Error(), "Redis: ") {
		t.Errorf("a Redis that forgets: got %s, %v", messages.CodeOf(err), err)
	}
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		log.Await(t, "Redis cannot be used yet; trying again")
		cancel()
	}()
	_, err = role.Connect(ctx, bus.Config{InProcess: ns}, &store.Config{URL: "redis://127.0.0.1:1"}, prometheus.NewRegistry(), log.Logger())
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.HasPrefix(err.Error(), "Redis: ") {
		t.Errorf("no Redis: got %s, %v", messages.CodeOf(err), err)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	ln, err := role.Listen(t.Context(), "--listen (OFFHOOK_LISTEN)", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for _, tt := range []struct{ address, says string }{
		{"", "is empty"},
		{ln.Addr().String(), "cannot listen on " + ln.Addr().String()},
	} {
		_, err := role.Listen(t.Context(), "--listen (OFFHOOK_LISTEN)", tt.address)
		if messages.CodeOf(err) != messages.CodeUsage || !strings.HasPrefix(err.Error(), "--listen (OFFHOOK_LISTEN): ") || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: got %v", tt.address, err)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := role.Listen(t.Context(), "a test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// get is the status and body of an answer.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestInternalListener(t *testing.T) {
	t.Parallel()
	for _, withAPI := range []bool{true, false} {
		p, memory, log := connect(t)
		ln := listen(t)
		url := "http://" + ln.Addr().String()
		var cfg *api.Config
		if withAPI {
			cfg = &api.Config{}
		}
		internal := role.OpenInternal(t.Context(), ln, log.Logger())
		if status, body := get(t, url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for NATS and Redis") {
			t.Errorf("starting: got %d %s", status, body)
		}
		if status, _ := get(t, url+"/healthz"); status != http.StatusOK {
			t.Errorf("a starting process is not alive: %d", status)
		}
		if status, body := get(t, url+"/v1/flows"); status != http.StatusServiceUnavailable || !strings.Contains(body, "starting") {
			t.Errorf("the API of a starting process: got %d %s", status, body)
		}
		readiness, serving := p.Internal(cfg, internal, time.Millisecond)
		// The readiness stage stops first; a stage after it keeps the process as it is
		// then.
		draining, release := make(chan struct{}), make(chan struct{})
		under := stage.New("under way", func(ctx context.Context) error {
			<-ctx.Done()
			close(draining)
			<-release
			return nil
		})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- stage.Run(ctx, log.Logger(), readiness, under, serving) }()

		for path, want := range map[string]string{"/healthz": `{"status":"alive"}`, "/readyz": `{"status":"ready"}`} {
			if status, body := get(t, url+path); status != http.StatusOK || strings.TrimSpace(body) != want {
				t.Errorf("%s: got %d %s", path, status, body)
			}
		}
		if status, body := get(t, url+"/metrics"); status != http.StatusOK || !strings.Contains(body, "promhttp") && strings.TrimSpace(body) != "" {
			t.Errorf("metrics: got %d %s", status, body)
		}
		if status, body := get(t, url+"/v1/flows"); withAPI != (status == http.StatusOK) {
			t.Errorf("the API answers %d %s, though it is wanted: %t", status, body, withAPI)
		}
		memory.Close()
		status, body := get(t, url+"/readyz")
		var answer map[string]string
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusServiceUnavailable || answer["redis"] == "" || answer["nats"] != "" {
			t.Errorf("without Redis: got %d %s", status, body)
		}
		stop()
		<-draining
		if status, body := get(t, url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
			t.Errorf("draining: got %d %s", status, body)
		}
		if status, _ := get(t, url+"/healthz"); status != http.StatusOK {
			t.Errorf("a draining process is not alive: %d", status)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestIngressNeedsAKey(t *testing.T) {
	t.Parallel()
	p, _, log := connect(t)
	ln := listen(t)
	if _, err := p.Ingress(role.IngressConfig{}, ln); messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), "no API key") {
		t.Errorf("no key: got %v", err)
	}
	if _, err := p.Ingress(role.IngressConfig{Account: role.Account{Keys: []string{"not!base64"}}}, ln); messages.CodeOf(err) != messages.CodeUsage {
		t.Errorf("not a key: got %v", err)
	}
	s, err := p.Ingress(role.IngressConfig{Webhook: webhook.Config{Insecure: true}}, ln)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- stage.Run(ctx, log.Logger(), s) }()
	log.Await(t, `level=WARN msg="webhook: INSECURE`)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A worker without an account steps calls and leaves dial jobs alone.
func TestWorkerWithoutAccount(t *testing.T) {
	t.Parallel()
	p, _, log := connect(t)
	catalog := worker.NewCatalog(p.Store, "", log.Logger())
	stages, err := p.Worker(role.WorkerConfig{}, catalog)
	if err != nil {
		t.Fatal(err)
	}
	if parts := len(stages[0].Runs) + len(stages[1].Runs); parts != 4 {
		t.Errorf("%d parts run, want the events, those that are late, and the upkeep of both and of the catalogue", parts)
	}
	log.Await(t, `no customer id and API key: this worker places no calls`)
	p, _, _ = connect(t)
	_, err = p.Worker(role.WorkerConfig{Dial: &dial.Config{Credentials: telesign.Credentials{APIKey: apiKey}}}, catalog)
	if messages.CodeOf(err) != messages.CodeUsage {
		t.Errorf("half an account: got %v", err)
	}
}
