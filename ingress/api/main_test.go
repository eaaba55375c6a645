package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/bus/embedded"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/store/redistest"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/flow"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	store.LogClient(discard())
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = 30 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lines is a log that a test can read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// house is the API on engines of its own, behind a real HTTP server. Every phone
// number of its tests begins with 1555; one in the log fails the test.
type house struct {
	t     *testing.T
	redis *redistest.Server
	store *store.Store
	bus   *bus.Bus
	queue jetstream.Stream // the jobs
	jobs  *faultyJobs
	log   *lines

	handler http.Handler
	url     string
}

func newHouse(t *testing.T, cfg api.Config, flows ...string) *house {
	t.Helper()
	h := &house{t: t, log: &lines{}, redis: redistest.Start(t)}
	log := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Cleanup(func() {
		if number := regexp.MustCompile(`1555[0-9]{7}`).FindString(h.log.String()); number != "" {
			t.Errorf("the number %s is in the log:\n%s", number, h.log)
		}
	})
	var err error
	if h.store, err = store.Open(within(t), store.Config{URL: h.redis.URL()}, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.store.Close(); err != nil {
			t.Error(err)
		}
	})
	h.startNATS(log)
	for _, source := range flows {
		h.putFlow(source)
	}
	cfg.Limits = limits()
	h.jobs = &faultyJobs{Jobs: h.bus}
	mux := http.NewServeMux()
	api.New(cfg, h.store, h.jobs, log).Register(mux)
	h.handler = mux
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

func (h *house) startNATS(log *slog.Logger) {
	h.t.Helper()
	ns, err := embedded.Start(within(h.t), embedded.Config{Dir: h.t.TempDir()}, log)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(ns.Close)
	if h.bus, err = bus.Connect(within(h.t), bus.Config{InProcess: ns}, log); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := h.bus.Close(within(h.t)); err != nil {
			h.t.Error(err)
		}
	})
	if err := h.bus.Setup(within(h.t)); err != nil {
		h.t.Fatal(err)
	}
	nc, err := nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.queue, err = js.Stream(within(h.t), messages.StreamJobs); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) putFlow(source string) *flow.Program {
	h.t.Helper()
	p, err := flow.Compile("test.yaml", []byte(source))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.store.PutFlow(within(h.t), p.Name, p.Hash, p.Source); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// queued are the jobs in the queue.
func (h *house) queued() []messages.DialJob {
	h.t.Helper()
	info, err := h.queue.Info(within(h.t))
	if err != nil {
		h.t.Fatal(err)
	}
	jobs := make([]messages.DialJob, 0, info.State.Msgs)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := h.queue.GetMsg(within(h.t), seq)
		if err != nil {
			h.t.Fatal(err)
		}
		var job messages.DialJob
		if err := json.Unmarshal(msg.Data, &job); err != nil {
			h.t.Fatal(err)
		}
		jobs = append(jobs, job)
	}
	return jobs
}

// place posts a body and reads the answer of a call that was placed.
func (h *house) place(body string) messages.PlacedCall {
	h.t.Helper()
	status, answer := h.ask(http.MethodPost, "/v1/calls", body)
	var placed messages.PlacedCall
	if err := json.Unmarshal([]byte(answer), &placed); err != nil || status != http.StatusAccepted {
		h.t.Fatalf("%s\ngot %d %s", body, status, answer)
	}
	return placed
}

// show reads one call.
func (h *house) show(id string) messages.Call {
	h.t.Helper()
	status, answer := h.ask(http.MethodGet, "/v1/calls/"+id, "")
	var shown messages.Call
	if err := json.Unmarshal([]byte(answer), &shown); err != nil || status != http.StatusOK {
		h.t.Fatalf("%s: got %d %s", id, status, answer)
	}
	return shown
}

// ask sends one request and wants a JSON answer, or none to HEAD.
func (h *house) ask(method, path, body string, header ...string) (status int, answer string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(within(h.t), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		h.t.Errorf("%s %s: the answer is %q", method, path, got)
	}
	if allow := resp.Header.Get("Allow"); allow != "" {
		read = append([]byte("Allow: "+allow+"\n"), read...)
	}
	return resp.StatusCode, string(read)
}

// exchange is one request of a golden file.
type exchange struct {
	title              string
	method, path, body string
}

// golden sends requests one after another and compares the answers with
// testdata/name, which shows both.
func (h *house) golden(name string, exchanges []exchange) {
	h.t.Helper()
	var b strings.Builder
	for _, e := range exchanges {
		status, answer := h.ask(e.method, e.path, e.body)
		fmt.Fprintf(&b, "### %s\n%s %s %s\n%d %s\n", e.title, e.method, brief(e.path), brief(e.body), status, indented(answer))
	}
	compare(h.t, name, scrub(b.String()))
}

// brief is text that fits a golden file.
func brief(text string) string {
	if len(text) > 300 {
		return fmt.Sprintf("%s… (%d bytes)", text[:100], len(text))
	}
	return text
}

// indented is a JSON answer as people read it; anything else as it is.
func indented(answer string) string {
	head, body := "", answer
	if strings.HasPrefix(answer, "Allow: ") {
		head, body, _ = strings.Cut(answer, "\n")
		head += "\n"
	}
	var out bytes.Buffer
	if json.Indent(&out, []byte(strings.TrimSpace(body)), "", "  ") != nil {
		return answer + "\n"
	}
	return head + out.String() + "\n"
}

// scrub hides what differs from run to run.
func scrub(text string) string {
	for _, s := range []struct{ pattern, with string }{
		{`unix:\S*redis\.sock|/\S*redis\.sock`, "SOCKET"},
		{`"tried_at": "[^"]*"`, `"tried_at": "TIME"`},
		{`call oh-[0-9a-f]{32} is (.*)[A-Z2-7]{26}`, `call ID is ${1}KEY`},
	} {
		text = regexp.MustCompile(s.pattern).ReplaceAllString(text, s.with)
	}
	return text
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (run with -update once it is meant to change): -want +got\n%s", path, diff)
	}
}

var errBroken = errors.New("publish to offhook.dial.direct.any: not connected to NATS")

// faultyJobs is the queue, which can be told to fail: before a job is stored, or
// after.
type faultyJobs struct {
	api.Jobs
	mu            sync.Mutex
	before, after error
}

func (j *faultyJobs) fail(before, after error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before, j.after = before, after
}

func (j *faultyJobs) PublishJob(ctx context.Context, job messages.DialJob) error {
	j.mu.Lock()
	before, after := j.before, j.after
	j.mu.Unlock()
	if before != nil {
		return before
	}
	if err := j.Jobs.PublishJob(ctx, job); err != nil {
		return err
	}
	return after
}

func limits() call.Limits {
	return call.Limits{MaxPrompts: 100, HoldFor: 90 * time.Second, Apology: "Sorry.", ApologyLanguage: "en-US"}
}

// survey asks one question and needs a first name.
const survey = `
name: survey
language: en-US
contact: { title: dear, first_name: }
question:
  collect_digits: { max: 1, timeout: 10s }
  no_input: hangup
  invalid: hangup
start: { answered: rating }
steps:
  rating:
    speak: "Hello ${contact.title} ${contact.first_name}. How was it, from 1 to 5?"
    save: rating
    accept: { "1-4": so so, "5": very good }
    next: thanks
  thanks: { speak: "Thank you.", hangup: completed }
`

// notice takes incoming calls only.
const notice = `
name: notice
language: en-US
start: { incoming: closed }
steps:
  closed: { speak: "We are closed.", next: hangup }
`
