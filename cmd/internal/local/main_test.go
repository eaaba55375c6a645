package local_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/cmd/internal/apiclient"
	"github.com/offhook/offhook/cmd/internal/local"
	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/flow"
)

func TestMain(m *testing.M) {
	store.LogClient((&logtest.Log{}).Logger())
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

const (
	apiKey   = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="
	callerID = "15555551212"
)

// question is the source of a flow that greets and asks.
func question(greeting string) string {
	return `
name: question
language: en-US
question: { collect_digits: { max: 1, timeout: 10s }, no_input: hangup, invalid: hangup }
start: { answered: hello, incoming: hello }
steps:
  hello: { speak: "` + greeting + ` Press 1.", save: hello, accept: { "1": here }, next: rating }
  rating: { speak: "` + greeting + ` From 1 to 5?", save: rating, accept: { "1-5": some }, next: thanks }
  thanks: { speak: "Thank you.", hangup: completed }
`
}

func compile(t *testing.T, source string) *flow.Program {
	t.Helper()
	p, err := flow.Compile("question.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// config is a process with everybody answering 1 and then 4.
func config(t *testing.T, dir string) local.Config {
	t.Helper()
	sim := simulator.Defaults()
	sim.Speed, sim.People, sim.KeepTranscripts = 100, simulator.Scripted(simulator.Script{Replies: []string{"1", "4"}}), true
	return local.Config{
		Dir: dir, Listen: "127.0.0.1:0", InternalListen: "127.0.0.1:0", CallerID: callerID,
		Flows:   []*flow.Program{compile(t, question("Hello."))},
		Limits:  call.Limits{MaxPrompts: 100, HoldFor: time.Minute, Apology: "Sorry.", ApologyLanguage: "en-US"},
		Account: role.Account{Keys: []string{apiKey}}, Simulator: sim,
	}
}

// process is a running Local.
type process struct {
	*local.Local
	t    *testing.T
	log  *logtest.Log
	api  *apiclient.Client
	stop func() // and wait; may be called again
}

// start starts and runs a process until the end of the test.
func start(t *testing.T, cfg local.Config) *process {
	t.Helper()
	p := &process{t: t, log: &logtest.Log{}}
	var err error
	if p.Local, err = local.Start(within(t), cfg, p.log.Logger()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stopped := false
	p.stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := <-done; err != nil {
			t.Errorf("ended with %v\n%s", err, p.log)
		}
	}
	t.Cleanup(p.stop)
	p.api = apiclient.New(p.APIURL)
	t.Cleanup(p.api.Close)
	return p
}

// place places a call to a number.
func (p *process) place(to string) string {
	p.t.Helper()
	placed, err := p.api.Place(within(p.t), messages.PlaceCall{To: to, Flow: "question"})
	if err != nil {
		p.t.Fatal(err)
	}
	return placed.ID
}

// ended waits for the end of a call.
func (p *process) ended(id string) messages.Call {
	p.t.Helper()
	ctx := within(p.t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := p.api.Call(ctx, id)
		if err != nil {
			p.t.Fatalf("call %s, last seen %s: %v\n%s", id, found.Status, err, p.log)
		}
		if found.Status == messages.CallEnded {
			return found
		}
		<-tick.C
	}
}

// post posts an event as TeleSign does, signed with key, and returns the answer.
func (p *process) post(key, body string) (int, string) {
	p.t.Helper()
	signature, err := telesign.SignWebhook(key, []byte(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(within(p.t), http.MethodPost, p.WebhookURL, bytes.NewBufferString(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-TS-Authorization", signature)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}
