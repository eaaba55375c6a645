package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/cmd/internal/local"
	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus/embedded"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/store/redistest"
	"github.com/offhook/offhook/worker/dial"
	"github.com/offhook/offhook/worker/flow"
)

// A call is placed through the API, rings at the simulator, is answered, and its
// record outlives the process.
func TestCall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, config(t, dir))
	id := p.place("15558675309")
	found := p.ended(id)
	r := found.Record
	if r.Disposition != messages.DispositionCompleted || len(r.Answers) != 2 || r.Answers[1].Value != "4" || r.To != "15558675309" || r.From != callerID {
		t.Errorf("got %+v", r)
	}
	if report := p.Simulator.Report(); !report.Healthy() || report.Calls.Total != 1 {
		t.Errorf("the simulator saw\n%s", report)
	}
	if log := p.log.String(); strings.Contains(log, "15558675309") || strings.Contains(log, apiKey) {
		t.Errorf("a number or a key is in the log:\n%s", log)
	}
	p.stop()
	stored := records(t, dir)
	if len(stored) != 1 || stored[0].ExternalID != id || stored[0].Disposition != messages.DispositionCompleted || stored[0].Revision != r.Revision {
		t.Errorf("on disk are %+v, want revision %d of %s", stored, r.Revision, id)
	}
}

// records are the call records that a process has left in its directory.
func records(t *testing.T, dir string) (all []messages.Record) {
	t.Helper()
	ns, err := embedded.Start(within(t), embedded.Config{Dir: filepath.Join(dir, "nats")}, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	nc, err := nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), messages.StreamRecords)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(within(t), seq)
		if err != nil {
			t.Fatal(err)
		}
		var r messages.Record
		if err := json.Unmarshal(msg.Data, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// An edit is for the calls that begin after it. One that is wrong is for none.
func TestFlowReload(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "question.yaml")
	save := func(source string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save(question("Hello."))
	cfg.Files = []string{file}
	p := start(t, cfg)
	says := func(event, want string) {
		t.Helper()
		if status, answer := p.post(apiKey, event); status != http.StatusOK || !strings.Contains(answer, want) {
			t.Errorf("%s\ngot %d %s, want %q", event, status, answer, want)
		}
	}
	incoming := func(id string) string {
		return `{"event":"incoming_call","reference_id":"` + id + `","data":{"to":"15555551212","from":"15558675309"}}`
	}
	presses := func(id, digits string) string {
		return `{"event":"speak_completed","reference_id":"` + id + `","data":{"status":"speak_successful","collected_digits":"` + digits + `"}}`
	}
	says(incoming("OLD"), "Hello. Press 1.")

	save(question("Good morning."))
	p.log.Await(t, "flow loaded.*hash="+flow.Hash([]byte(question("Good morning."))))
	says(incoming("NEW"), "Good morning. Press 1.")
	says(presses("OLD", "1"), "Hello. From 1 to 5?")
	if id := p.place("15558675309"); !strings.Contains(string(p.ended(id).Record.Timeline[0].Action), "Good morning. Press 1.") {
		t.Error("a call that was placed after the edit began with the version before")
	}

	save(strings.ReplaceAll(question("Good night."), "thanks }", "thank }"))
	p.log.Await(t, `level=ERROR msg="flows have changed and are wrong; calls go on with the version before" error=".*question.yaml:8:.*thanks`)
	says(incoming("NEWER"), "Good morning. Press 1.")
	says(presses("NEW", "1"), "Good morning. From 1 to 5?")
	says(presses("OLD", "5"), "Thank you.")
}

// One directory, one process: the second says so, and leaves the first alone.
func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	p := start(t, cfg)
	_, err := local.Start(within(t), cfg, (&logtest.Log{}).Logger())
	if messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), cfg.Dir+" is in use by another offhook") || !strings.Contains(err.Error(), "OFFHOOK_DATA") {
		t.Errorf("got %v", err)
	}
	if _, err := p.api.Flows(within(t)); err != nil {
		t.Errorf("the first is disturbed: %v", err)
	}
	p.stop()
	start(t, cfg).stop()
}

// The simulated account's key is made once, for its owner's eyes only.
func TestAccountKey(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.Account.Keys = nil
	event := `{"event":"incoming_call","reference_id":"X","data":{}}`
	p := start(t, cfg)
	if want := filepath.Join(cfg.Dir, "api-key"); p.KeyFile != want {
		t.Errorf("the key is in %s, want %s", p.KeyFile, want)
	}
	info, err := os.Stat(p.KeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	first, err := os.ReadFile(p.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(first))
	if status, answer := p.post(key, event); status != http.StatusOK {
		t.Errorf("signed with it: %d %s", status, answer)
	}
	if status, _ := p.post(apiKey, event); status != http.StatusUnauthorized {
		t.Errorf("signed with another: %d", status)
	}
	if id := p.place("15558675309"); p.ended(id).Record.Disposition != messages.DispositionCompleted {
		t.Error("the simulated account does not take its own key")
	}
	p.stop()
	if strings.Contains(p.log.String(), key) {
		t.Errorf("the key is in the log:\n%s", p.log)
	}

	p = start(t, cfg)
	if again, err := os.ReadFile(p.KeyFile); err != nil || string(again) != string(first) {
		t.Errorf("after a restart the key is another one: %v", err)
	}
	p.stop()

	for _, broken := range []string{"", "not!base64"} {
		if err := os.WriteFile(p.KeyFile, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := local.Start(within(t), cfg, (&logtest.Log{}).Logger())
		if messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), p.KeyFile+" holds no API key; remove it to get a new one") || strings.Contains(err.Error(), "not!") {
			t.Errorf("a file that holds %q: got %v", broken, err)
		}
	}

	cfg.Account.Keys = []string{apiKey}
	if p := start(t, cfg); p.KeyFile != "" {
		t.Errorf("a key was given, and one is in %s", p.KeyFile)
	}
}

// Whatever a start fails at, nothing of it stays: the next one works, and no
// goroutine is left.
func TestStartFails(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *local.Config)
		code   messages.Code
		says   string
	}{
		{"no directory", func(t *testing.T, c *local.Config) {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c.Dir = filepath.Join(file, "data")
		}, messages.CodeUsage, "--data (OFFHOOK_DATA): cannot use it"},
		{"the webhook's address is taken", func(_ *testing.T, c *local.Config) { c.Listen = taken.Addr().String() }, messages.CodeUsage, "--listen (OFFHOOK_LISTEN): cannot listen on"},
		{"the API's address is taken", func(_ *testing.T, c *local.Config) { c.InternalListen = taken.Addr().String() }, messages.CodeUsage, "--internal-listen (OFFHOOK_INTERNAL_LISTEN): cannot listen on"},
		{"no address", func(_ *testing.T, c *local.Config) { c.InternalListen = "" }, messages.CodeUsage, "is empty"},
		{"NATS cannot keep its files", func(t *testing.T, c *local.Config) {
			if err := os.WriteFile(filepath.Join(c.Dir, "nats"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, messages.CodeUnavailable, "embedded nats-server"},
		{"NATS is told what cannot be", func(_ *testing.T, c *local.Config) { c.Streams.Replicas = 2 }, messages.CodeUsage, "Replicas"},
		{"no key", func(_ *testing.T, c *local.Config) { c.Account.Keys = []string{"not!base64"} }, messages.CodeUsage, "base64"},
		{"no such people", func(_ *testing.T, c *local.Config) { c.Simulator.Speed = -1 }, messages.CodeUsage, "Speed"},
		{"no flow for incoming calls", func(_ *testing.T, c *local.Config) { c.Incoming = "other" }, messages.CodeUsage, "incoming"},
		{"a hold that nobody can say", func(_ *testing.T, c *local.Config) { c.Webhook.HoldText = "<speak>" }, messages.CodeUsage, "HoldText"},
		{"no Redis", func(_ *testing.T, c *local.Config) {
			c.Live = &local.Live{Redis: store.Config{URL: "redis://127.0.0.1:1"}}
		}, messages.CodeUnavailable, "Redis"},
		{"a Redis that forgets", func(t *testing.T, c *local.Config) {
			c.Live = &local.Live{Redis: store.Config{URL: redistest.Start(t, "appendonly", "no").URL()}}
		}, messages.CodeUsage, "appendonly"},
		{"live without an account", func(t *testing.T, c *local.Config) {
			c.Live = &local.Live{Redis: store.Config{URL: redistest.Start(t).URL()}}
		}, messages.CodeUsage, "credentials"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			good := config(t, t.TempDir())
			bad := good
			tt.change(t, &bad)
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			log := &logtest.Log{}
			if strings.Contains(tt.says, "Redis") { // it would wait for the server
				go func() {
					log.Await(t, "Redis cannot be used yet")
					cancel()
				}()
			}
			_, err := local.Start(ctx, bad, log.Logger())
			if messages.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %s, %v; want %s that says %q", messages.CodeOf(err), err, tt.code, tt.says)
			}
			if strings.Contains(tt.name, "files") {
				if err := os.Remove(filepath.Join(good.Dir, "nats")); err != nil {
					t.Fatal(err)
				}
			}
			start(t, good).stop()
		})
	}
}

// From the callers inwards; what others stand on is last.
func TestStopOrder(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "question.yaml")
	if err := os.WriteFile(file, []byte(question("Hello.")), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Files = []string{file}
	p := start(t, cfg)
	if _, err := p.api.Flows(within(t)); err != nil {
		t.Fatal(err)
	}
	p.stop()
	var got []string
	for _, match := range regexp.MustCompile(`msg=stopped part="?([^"\n]*)"?`).FindAllStringSubmatch(p.log.String(), -1) {
		got = append(got, match[1])
	}
	want := []string{
		"readiness", "simulated calls", "simulated TeleSign", "webhook", "consumers", "upkeep", "flow files",
		"internal listener", "connections", "embedded store", "embedded NATS", "spool", "data directory",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Live calls are ended by their people before anything of ours stops, so that
// nothing is lost.
func TestStopWithLiveCalls(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.Simulator.Speed = 0.01 // nobody gets as far as an answer
	p := start(t, cfg)
	const calls = 10
	for i := range calls {
		p.place("1555867530" + string(rune('0'+i)))
	}
	p.log.Await(t, strings.Repeat(`(?s:msg="dial posted" outcome=accepted.*)`, calls))
	p.stop()
	if report := p.Simulator.Report(); report.Events[telesign.CallCompleted] != calls || !report.Healthy() {
		t.Errorf("the simulator saw\n%s", report)
	}
	if n := len(records(t, cfg.Dir)); n != calls {
		t.Errorf("%d records are on disk, want %d", n, calls)
	}
}

// A part that fails takes the others with it, and they stop in order all the same.
func TestAPartFails(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	log := &logtest.Log{}
	l, err := local.Start(within(t), cfg, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Simulator.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(within(t)); err == nil || !strings.Contains(err.Error(), "simulated calls: simulator: Run was called twice") {
		t.Errorf("ended with %v", err)
	}
	log.Await(t, `msg=stopped part="data directory"`)
	start(t, cfg).stop()
}

// Live, the dials go to TeleSign and nothing is simulated.
func TestLive(t *testing.T) {
	t.Parallel()
	dialled := make(chan string, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		dialled <- user + " " + r.URL.Path
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"reference_id":"LIVE","status":"dial_accepted"}`))
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	defer func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	cfg := config(t, t.TempDir())
	account := telesign.Credentials{CustomerID: "FFFFFFFF-EEEE-DDDD-1234-AB1234567890", APIKey: apiKey}
	cfg.Account.CustomerID = account.CustomerID
	cfg.Live = &local.Live{
		Dial:  dial.Config{URL: "http://" + ln.Addr().String(), Credentials: account},
		Redis: store.Config{URL: redistest.Start(t).URL()},
	}
	p := start(t, cfg)
	if p.Simulator != nil {
		t.Error("a simulator runs beside TeleSign")
	}
	id := p.place("15558675309")
	select {
	case got := <-dialled:
		if got != account.CustomerID+" /v2/voice" {
			t.Errorf("dialled as %s", got)
		}
	case <-within(t).Done():
		t.Fatalf("nobody was dialled\n%s", p.log)
	}
	if status, answer := p.post(apiKey, `{"event":"dial_completed","reference_id":"LIVE","external_id":"`+id+`","data":{"status":"answered"}}`); status != http.StatusOK || !strings.Contains(answer, "Hello. Press 1.") {
		t.Errorf("got %d %s", status, answer)
	}
	if found, err := p.api.Call(within(t), id); err != nil || found.Status != messages.CallLive || found.Record.CallID != "LIVE" {
		t.Errorf("got %+v, %v", found, err)
	}
}
