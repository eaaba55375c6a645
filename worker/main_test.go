package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/bus/embedded"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/store/redistest"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/flow"
)

var sharedRedis redistest.Shared

// suite stops the shared server before goroutines are counted.
type suite struct{ *testing.M }

func (s suite) Run() int {
	defer sharedRedis.Stop()
	return s.M.Run()
}

func TestMain(m *testing.M) {
	store.LogClient(discard)
	goleak.VerifyTestMain(suite{m})
}

var discard = slog.New(slog.DiscardHandler)

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = 30 * time.Second

// unhurried is for stores of tests that are not about time, on machines that are
// busy.
const unhurried = "?dial_timeout=30s&read_timeout=30s&write_timeout=30s&pool_timeout=30s"

// within is a context that ends after patience or with the test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came in %s", what, patience)
		panic("unreachable")
	}
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ask() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("still not so after %s: %s", patience, what)
		}
	}
}

// world is what the processes of one test share: keys of its own in Redis, and a
// NATS of its own. Through it a test looks and acts as ingress and API do.
type world struct {
	t      *testing.T
	redis  string // its URL
	prefix string // of all keys
	nats   *embedded.Server
	js     jetstream.JetStream
	conn   *nats.Conn
	store  *store.Store
	bus    *bus.Bus

	sequence atomic.Uint64 // of deliveries made by hand
}

// newWorld is a world on the shared redis-server.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, sharedRedis.URL(t)+unhurried)
}

func newWorldOn(t *testing.T, redis string) *world {
	t.Helper()
	w := &world{t: t, redis: redis, prefix: "t" + messages.NewEventID()}
	var err error
	w.nats, err = embedded.Start(within(t), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}, discard)
	noError(t, err)
	t.Cleanup(w.nats.Close)
	w.conn, err = nats.Connect(w.nats.URL())
	noError(t, err)
	t.Cleanup(w.conn.Close)
	w.js, err = jetstream.New(w.conn)
	noError(t, err)
	w.store = w.openStore(redis)
	w.bus = w.connect(w.nats.URL())
	noError(t, w.bus.Setup(within(t)))
	return w
}

// openStore is a connection to the world's Redis under url, which may be a relay's.
func (w *world) openStore(url string) *store.Store {
	w.t.Helper()
	s, err := store.Open(within(w.t), store.Config{URL: url, Prefix: w.prefix}, discard)
	noError(w.t, err)
	w.t.Cleanup(func() { _ = s.Close() }) // closing what a test has closed already fails
	return s
}

// connect is a connection to the world's NATS under url, which may be a relay's.
func (w *world) connect(url string, change ...func(*bus.Config)) *bus.Bus {
	w.t.Helper()
	cfg := bus.Config{URL: url, Name: "worker-1", Timeout: patience}
	for _, f := range change {
		f(&cfg)
	}
	b, err := bus.Connect(within(w.t), cfg, discard)
	noError(w.t, err)
	w.t.Cleanup(func() {
		if err := b.Close(within(w.t)); err != nil {
			w.t.Errorf("close: %v", err)
		}
	})
	return b
}

// run runs f until the test ends, or stop is called; stop waits for its end.
func (w *world) run(f func(context.Context) error) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := receive(w.t, "the end of a Run", ended); err != nil {
			w.t.Error(err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// stream is every message of a stream, oldest first.
func (w *world) stream(name string) []*jetstream.RawStreamMsg {
	w.t.Helper()
	s, err := w.js.Stream(within(w.t), name)
	noError(w.t, err)
	var all []*jetstream.RawStreamMsg
	state := s.CachedInfo().State
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(within(w.t), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		noError(w.t, err)
		all = append(all, m)
	}
	return all
}

// records is what the records stream holds.
func (w *world) records() []messages.Record {
	w.t.Helper()
	var all []messages.Record
	for _, m := range w.stream(messages.StreamRecords) {
		var r messages.Record
		noError(w.t, json.Unmarshal(m.Data, &r))
		all = append(all, r)
	}
	return all
}

// failures is what the failed stream holds.
func (w *world) failures() []messages.Failure {
	w.t.Helper()
	var all []messages.Failure
	for _, m := range w.stream(messages.StreamFailed) {
		all = append(all, messages.ParseFailure(m.Header, m.Data))
	}
	return all
}

// state is a call as it is stored.
func (w *world) state(id string) (store.Call, call.State, []call.Entry) {
	w.t.Helper()
	stored, err := w.store.LoadCall(within(w.t), id)
	noError(w.t, err)
	state, err := call.ParseState(id, stored.State)
	noError(w.t, err)
	raw, err := w.store.LoadLog(within(w.t), id)
	noError(w.t, err)
	log, err := call.ParseLog(raw)
	noError(w.t, err)
	return stored, state, log
}

// intent is an intent as it is stored.
func (w *world) intent(id string) messages.Intent {
	w.t.Helper()
	in, err := w.store.Intent(within(w.t), id)
	noError(w.t, err)
	return in
}

// process is one worker.
type process struct {
	w        *world
	store    *store.Store
	bus      *bus.Bus
	registry *prometheus.Registry
	metrics  *worker.Metrics
	catalog  *worker.Catalog
	events   *worker.Events
	most     atomic.Int64 // deliveries of one message that it consumed
}

// plan says how a process differs from the usual one.
type plan struct {
	flows    []*flow.Program
	incoming string
	store    *store.Store
	bus      *bus.Bus
	log      *slog.Logger
}

// start makes a worker; zero fields of its plan are the world's own, and the survey.
func (w *world) start(p plan) *process {
	w.t.Helper()
	if p.store == nil {
		p.store = w.store
	}
	if p.bus == nil {
		p.bus = w.bus
	}
	if p.flows == nil {
		p.flows = []*flow.Program{compile(w.t, survey)}
	}
	if p.log == nil {
		p.log = discard
	}
	proc := &process{w: w, store: p.store, bus: p.bus, registry: prometheus.NewRegistry()}
	proc.metrics = worker.NewMetrics(proc.registry)
	proc.catalog = worker.NewCatalog(p.store, p.incoming, p.log)
	noError(w.t, proc.catalog.Use(within(w.t), p.flows...))
	proc.events = worker.NewEvents(p.store, p.bus, proc.catalog, limits, proc.metrics, p.log)
	return proc
}

var limits = call.Limits{MaxPrompts: 100, HoldFor: 90 * time.Second, Apology: "Sorry, we cannot help you now.", ApologyLanguage: "en-US"}

// consume runs the process: its consume loops of events and of the late lane, and what
// they need. What serves the loops ends after them.
func (p *process) consume() (stop func()) {
	p.w.t.Helper()
	return p.w.run(func(ctx context.Context) error {
		serve, over := context.WithCancel(context.WithoutCancel(ctx))
		defer over()
		var serving, loops errgroup.Group
		serving.Go(func() error { return p.events.Run(serve) })
		loops.Go(func() error {
			return p.bus.ConsumeEvents(ctx, bus.ConsumerConfig{Slots: 16}, p.counting(p.events.Handle))
		})
		loops.Go(func() error {
			return p.bus.ConsumeLate(ctx, bus.ConsumerConfig{}, p.events.StoreBack, p.counting(p.events.HandleLate))
		})
		err := loops.Wait()
		over()
		return errors.Join(err, serving.Wait())
	})
}

// counting keeps the highest delivery count that handle is given.
func (p *process) counting(handle func(context.Context, bus.Delivery) bus.Result) func(context.Context, bus.Delivery) bus.Result {
	return func(ctx context.Context, d bus.Delivery) bus.Result {
		for most := p.most.Load(); int64(d.Attempt) > most && !p.most.CompareAndSwap(most, int64(d.Attempt)); most = p.most.Load() {
		}
		return handle(ctx, d)
	}
}

// serve runs what deliveries by hand need.
func (p *process) serve() (stop func()) {
	p.w.t.Helper()
	return p.w.run(p.events.Run)
}

// handle gives the process one delivery by hand, as often as the test likes, and
// returns what it wants done with it and what whoever waits got.
func (p *process) handle(d bus.Delivery) (bus.Result, []messages.Reply) {
	p.w.t.Helper()
	inbox := p.w.listen(d)
	result := p.events.Handle(within(p.w.t), d)
	return result, p.replies(inbox, d)
}

// listen is where the replies to a delivery arrive.
func (w *world) listen(d bus.Delivery) *nats.Subscription {
	w.t.Helper()
	inbox, err := w.conn.SubscribeSync(d.ReplyTo)
	noError(w.t, err)
	noError(w.t, w.conn.Flush())
	return inbox
}

// replies is what the process has replied to a delivery that it has handled.
func (p *process) replies(inbox *nats.Subscription, d bus.Delivery) (all []messages.Reply) {
	t := p.w.t
	t.Helper()
	defer func() { _ = inbox.Unsubscribe() }()
	// What one connection publishes arrives in order: behind this, nothing comes.
	const last = "last"
	if err := p.bus.Reply(within(t), d.Envelope, messages.Reply{Verdict: messages.VerdictHold, Reason: last}); err != nil {
		return nil // a process without NATS has said nothing
	}
	for {
		m, err := inbox.NextMsg(patience)
		noError(t, err)
		r := messages.ParseReply(m.Header, m.Data)
		if r.Reason == last {
			return all
		}
		all = append(all, r)
	}
}

// delivery is env as the consume loop hands it out for the first time.
func (w *world) delivery(env messages.Envelope) bus.Delivery {
	if env.ReplyTo == "" {
		env.ReplyTo = "test.reply." + env.EventID
	}
	return bus.Delivery{Envelope: env, Attempt: 1, Sequence: w.sequence.Add(1), Stored: time.Now()}
}

// count is the sum of a counter's series that carry all the label values.
func (p *process) count(name string, values ...string) int {
	p.w.t.Helper()
	families, err := p.registry.Gather()
	noError(p.w.t, err)
	total := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]bool{}
			for _, l := range m.GetLabel() {
				labels[l.GetValue()] = true
			}
			fits := true
			for _, v := range values {
				fits = fits && labels[v]
			}
			if fits {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return int(total)
}

func compile(t testing.TB, source string) *flow.Program {
	t.Helper()
	p, err := flow.Compile("test.yaml", []byte(source))
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return p
}

// survey has what must survive JSON unchanged: SSML, and a URL with an ampersand.
const survey = `
name: survey
language: en-US
contact: { first_name: there }
question:
  collect_digits: { max: 1, timeout: 10s }
  tries: 3
  no_input: { speak: "Please press a key.", next: goodbye }
  invalid:  { speak: "That is not one of the choices.", next: goodbye }
start: { answered: hello, incoming: hello }
steps:
  hello:
    speak: "<speak>Hello ${contact.first_name}, <emphasis>press 1</emphasis> to begin.</speak>"
    digits: { "1": rating }
  rating:
    play: "https://audio.example.com/rating.wav?lang=en&v=2"
    speak: "How was your visit?"
    save: rating
    accept: { "1": bad, "2-5": good }
    next: thanks
  thanks:  { speak: "Thank you. Goodbye.", hangup: completed }
  goodbye: { speak: "Goodbye.", next: hangup }
`

// What the survey makes callers hear.
const (
	hello  = `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"<speak>Hello Ann, <emphasis>press 1</emphasis> to begin.</speak>","language":"en-US"},"collect_digits":{"max":1,"timeout":10000}}}`
	rating = `{"jsonrpc":"2.0","method":"play","params":{"url":"https://audio.example.com/rating.wav?lang=en&v=2","collect_digits":{"max":1,"timeout":10000}}}`
	again  = `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"Please press a key.","language":"en-US"},"collect_digits":{"max":1,"timeout":10000}}}`
	thanks = `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"Thank you. Goodbye.","language":"en-US"}}}`
	hangup = `{"jsonrpc":"2.0","method":"hangup","params":{}}`
)

// helloTo is hello to somebody else.
func helloTo(name string) string { return strings.Replace(hello, "Ann", name, 1) }
