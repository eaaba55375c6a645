package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/cmd/internal/cli"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store/redistest"
)

const (
	customerID = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890"
	apiKey     = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="
	survey     = "../../../deploy/examples/visit-survey.yaml"
)

// outside is a host that must not hear anything, or be heard by us to do so. It is a
// TeleSign that accepts every dial.
type outside struct {
	address  string
	mu       sync.Mutex
	contacts int
	dials    []string
	dialled  chan struct{}
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &outside{address: ln.Addr().String(), dialled: make(chan struct{}, 100)}
	server := &http.Server{Handler: o, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.contacts++
		}
	}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return o
}

func (o *outside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing shows
	o.mu.Lock()
	defer o.mu.Unlock()
	user, _, _ := r.BasicAuth()
	o.dials = append(o.dials, user+" "+r.URL.Path+" "+string(body))
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"reference_id":"LIVE","status":"dial_accepted"}`)
	o.dialled <- struct{}{}
}

// environment has everything in it that points outside, an account included.
func (o *outside) environment(t *testing.T) []string {
	t.Helper()
	return []string{
		"OFFHOOK_TELESIGN_URL=http://" + o.address, "OFFHOOK_NATS_URL=nats://" + o.address, "OFFHOOK_REDIS_URL=redis://" + o.address,
		"OFFHOOK_API_URL=http://" + o.address, "OFFHOOK_WEBHOOK_URL=http://" + o.address,
		"OFFHOOK_CUSTOMER_ID=" + customerID, "OFFHOOK_API_KEY=" + apiKey, "OFFHOOK_CALLER_ID=15555551212",
		"OFFHOOK_DATA=" + filepath.Join(t.TempDir(), "data"), "OFFHOOK_LISTEN=127.0.0.1:0", "OFFHOOK_INTERNAL_LISTEN=127.0.0.1:0",
		"OFFHOOK_SPEED=500",
	}
}

func (o *outside) silent(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.contacts != 0 || len(o.dials) != 0 {
		t.Errorf("%d connections left this machine, with the dials %q", o.contacts, o.dials)
	}
}

// Without --live nobody is reached, whatever is in the environment.
func TestDevReachesNobody(t *testing.T) {
	o := newOutside(t)
	p := start(t, o.environment(t), "dev", "--flow", survey)
	api := p.stdout.Await(t, `(?m)^API +(http://\S+)$`)[1]
	p.stdout.Await(t, "TeleSign  simulated, 500x speed: nobody is dialled")
	stdout, _ := run(t, []string{"OFFHOOK_API_URL=" + api}, 0, "call", "place", "--to", "15558675309", "--flow", "visit-survey", "--wait", "--json")
	var found messages.Call
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || found.Status != messages.CallEnded || found.Record.Disposition == "" {
		t.Errorf("the call is %s, %v", stdout, err)
	}
	text, _ := run(t, []string{"OFFHOOK_API_URL=" + api}, 0, "call", "show", found.Record.CallID)
	if !strings.HasPrefix(text, "status       ended\n") {
		t.Errorf("shown:\n%s", text)
	}
	p.end()
	o.silent(t)
	if all := p.stdout.String() + p.stderr.String(); strings.Contains(all, apiKey) || strings.Contains(p.stderr.String(), "15558675309") {
		t.Errorf("a key or a number is in the output:\n%s", all)
	}
	if !strings.Contains(p.stdout.String(), "place a call: offhook call place") || strings.Contains(p.stdout.String(), "key  ") {
		t.Errorf("the welcome:\n%s", &p.stdout)
	}
}

// With it, the same environment dials.
func TestDevLive(t *testing.T) {
	o := newOutside(t)
	env := append(o.environment(t), "OFFHOOK_REDIS_URL="+redistest.Start(t).URL())
	for i, line := range env { // the first counts
		if strings.HasPrefix(line, "OFFHOOK_REDIS_URL=") {
			env[i] = env[len(env)-1]
			break
		}
	}
	p := start(t, env, "dev", "--live", "--flow", survey)
	api := p.stdout.Await(t, `(?m)^API +(http://\S+)$`)[1]
	if want := "LIVE: calls are placed through http://" + o.address + " for account " + customerID + " from 15555551212\n"; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("%q is not in\n%s", want, &p.stderr)
	}
	if strings.Contains(p.stdout.String(), "simulated") {
		t.Errorf("the welcome:\n%s", &p.stdout)
	}
	run(t, []string{"OFFHOOK_API_URL=" + api}, 0, "call", "place", "--to", "15558675309", "--flow", "visit-survey")
	<-o.dialled
	p.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.dials) != 1 || !strings.HasPrefix(o.dials[0], customerID+" /v2/voice ") || !strings.Contains(o.dials[0], `"to":"15558675309","caller_id_number":"15555551212"`) {
		t.Errorf("dialled %q", o.dials)
	}
}

// A URL with a password in it is refused before it is shown.
func TestDevLiveURLWithPassword(t *testing.T) {
	o := newOutside(t)
	env := o.environment(t)
	env[0] = "OFFHOOK_TELESIGN_URL=http://ann:hunter2@" + o.address
	_, stderr := run(t, env, 2, "dev", "--live", "--flow", survey)
	if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "LIVE") || !strings.Contains(stderr, "without user") {
		t.Errorf("got %s", stderr)
	}
	o.silent(t)
}

// Whoever cannot be told where the process listens does not get one that runs.
func TestDevWithoutStdout(t *testing.T) {
	o := newOutside(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(read.Close(), write.Close()); err != nil {
		t.Fatal(err)
	}
	p := startWith(t, o.environment(t), write, "dev", "--flow", survey)
	p.exit(70)
	if text := p.stderr.String(); !strings.Contains(text, "file already closed") || !strings.Contains(text, `internal listener`) {
		t.Errorf("got %s", text)
	}
	o.silent(t)
}

// People who live faster press keys faster: what is no copy at life's speed must be
// none at theirs.
func TestSimulatedGuard(t *testing.T) {
	t.Parallel()
	for speed, want := range map[float64]time.Duration{1: 250 * time.Millisecond, 50: 5 * time.Millisecond, 0.5: 500 * time.Millisecond} {
		if got := cli.SimulatedGuard(250*time.Millisecond, speed); got != want {
			t.Errorf("at speed %v: got %v, want %v", speed, got, want)
		}
	}
}
