package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testCustomer = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890"
	testKey      = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="
	otherKey     = "XYZ12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="

	incoming = `{"event":"incoming_call","reference_id":"534e1848-235f-482d-983d-e3e11a04f58a","data":{"to":"15558675309","from":"15555551212"}}`
	ended    = `{"reference_id":"C58C8EB012D","event":"call_completed","data":{"duration":6,"status":"hangup","to":"15558675309","from":"15555551212","direction":"outbound"}}`
	decision = `{"jsonrpc":"2.0","method":"play","params":{"url":"https://audio.example.com/a.wav"}}`
)

// dialled is a dial_completed with a status.
func dialled(status string) string {
	return `{"event":"dial_completed","reference_id":"BC96D7B0D1800164898350B4E71B005C","external_id":"oh-1","data":{"to":"15558675309","from":"15555551212","status":"` + status + `"}}`
}

// named is an event of any name.
func named(event string) string {
	return `{"event":"` + event + `","reference_id":"BC96D7B0","data":{}}`
}

// script is what the stream and a worker do with one asked event. Times count from
// the ask; never is not within any test.
type script struct {
	refused  error // Ask itself fails
	storedAt time.Duration
	stored   error
	replyAt  time.Duration
	reply    messages.Reply
}

const never = 1000 * time.Hour

var (
	decided = messages.Reply{Verdict: messages.VerdictDecided, Step: "hello", Action: []byte(decision)}
	holds   = messages.Reply{Verdict: messages.VerdictHold, Reason: "redis is down"}
)

// fakeBus plays scripts and remembers what it was given. Its journal is shared with
// the response writer of a test, so that the order of storing and answering shows.
type fakeBus struct {
	script script
	tell   func(ctx context.Context, env messages.Envelope) error // nil: stored at once
	spool  *fakeSpool                                             // of the door; nil: none

	away    atomic.Bool
	said    atomic.Int32              // words about the spool
	heard   atomic.Pointer[time.Time] // the latest of another door; nil: none
	mu      sync.Mutex
	late    uint64 // replies after their ask was closed, as the bus counts them
	asked   []messages.Envelope
	told    []messages.Envelope
	stream  []messages.Envelope // both
	parked  []messages.Failure
	journal []string
}

func (b *fakeBus) note(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.journal = append(b.journal, line)
}

func (b *fakeBus) Ask(env messages.Envelope) (*bus.Pending, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, env)
	b.journal = append(b.journal, "ask "+env.Event)
	s := b.script
	if s.refused != nil {
		return nil, s.refused
	}
	if s.stored == nil && s.storedAt < never {
		b.stream = append(b.stream, env)
	}
	stored, replies := make(chan error, 1), make(chan messages.Reply, 1)
	after(s.storedAt, func() { stored <- s.stored })
	after(s.replyAt, func() { replies <- s.reply })
	return &bus.Pending{Stored: stored, Reply: replies}, nil
}

func (b *fakeBus) Tell(ctx context.Context, env messages.Envelope) error {
	if b.tell != nil {
		if err := b.tell(ctx, env); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, env)
	b.stream = append(b.stream, env)
	b.journal = append(b.journal, "tell "+string(env.Kind)+" "+env.Event)
	return nil
}

// TellAll is slow, or fails, by the first.
func (b *fakeBus) TellAll(ctx context.Context, envs []messages.Envelope) (int, error) {
	for i, env := range envs {
		if err := b.Tell(ctx, env); err != nil {
			return i, err
		}
	}
	return len(envs), nil
}

// sequence is the stream: what was asked and told, in order.
func (b *fakeBus) sequence() []messages.Envelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.stream)
}

func (b *fakeBus) Park(_ context.Context, f messages.Failure) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parked = append(b.parked, f)
	return nil
}

func (b *fakeBus) Connected() bool { return !b.away.Load() }

func (b *fakeBus) SaySpooling() error {
	b.said.Add(1)
	return nil
}

func (b *fakeBus) HeardSpooling() time.Time {
	if at := b.heard.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

func (b *fakeBus) Stats() bus.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bus.Stats{LateReplies: b.late}
}

// after runs f now, later or not at all.
func after(d time.Duration, f func()) {
	switch {
	case d == 0:
		f()
	case d < never:
		time.AfterFunc(d, f)
	}
}

// slowTell is a stream that takes its time, and heeds the context.
func slowTell(d time.Duration) func(context.Context, messages.Envelope) error {
	return func(ctx context.Context, _ messages.Envelope) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errFull = errors.New("nats: maximum bytes exceeded")

func tellFails(context.Context, messages.Envelope) error { return errFull }

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

// door is a Server with everything around it that a test looks at.
type door struct {
	*Server
	bus *fakeBus
	reg *prometheus.Registry
	log *lines
}

func newDoor(t testing.TB, cfg Config, b *fakeBus) *door {
	t.Helper()
	d := &door{bus: b, reg: prometheus.NewRegistry(), log: &lines{}}
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	var sp Spool
	if b.spool != nil {
		b.spool.bus, b.spool.fill, sp = b, make(chan struct{}, 1), b.spool
	}
	if d.Server, err = New(cfg, mustVerifier(t, testKey), b, sp, d.reg, log); err != nil {
		t.Fatal(err)
	}
	return d
}

func mustVerifier(t testing.TB, keys ...string) *telesign.Verifier {
	t.Helper()
	v, err := telesign.NewVerifier(testCustomer, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// post has the door answer one request, without a network.
func (d *door) post(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.serve(context.Background(), w, r)
	return w
}

// metric is the value of a counter or gauge, or the count of a histogram, summed
// over the series that have all the labels given as "name=value".
func (d *door) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := d.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for _, want := range labels {
				has := false
				for _, l := range m.GetLabel() {
					has = has || l.GetName()+"="+l.GetValue() == want
				}
				if !has {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// signed is a request as TeleSign sends it.
func signed(t testing.TB, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
	for name, value := range signature(t, testKey, body) {
		r.Header.Set(name, value)
	}
	return r
}

func signature(t testing.TB, key, body string) map[string]string {
	t.Helper()
	sig, err := telesign.SignWebhook(key, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"Authorization":      "TSA " + testCustomer + ":" + sig,
		"X-TS-Authorization": sig,
		"Content-Type":       "application/json",
	}
}

// onWire is a signed request as bytes.
func onWire(t testing.TB, body string) []byte {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://offhook.example.com"+Path, strings.NewReader(body)) //nolint:noctx // never sent, only spelled
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range signature(t, testKey, body) {
		r.Header.Set(name, value)
	}
	var buf bytes.Buffer
	if err := r.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// pipeListener is a network inside the process, so that synctest's clock rules the
// timeouts of connections too.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// dial returns the client's end of a connection once it has been accepted.
func (l *pipeListener) dial(t testing.TB) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case l.conns <- server:
	case <-l.closed:
		t.Error("dial: the listener is closed")
	}
	return client
}

// running is a door that serves a pipeListener.
type running struct {
	*door
	ln   *pipeListener
	stop context.CancelFunc
	done chan error // Run's result, then closed
}

func run(t testing.TB, cfg Config, b *fakeBus) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{door: newDoor(t, cfg, b), ln: newPipeListener(), stop: cancel, done: make(chan error, 1)}
	go func() {
		defer close(r.done)
		r.done <- r.Run(ctx, r.ln)
	}()
	t.Cleanup(func() {
		cancel()
		for range r.done {
		}
	})
	return r
}

// end stops the door and wants it to end well.
func (r *running) end(t testing.TB) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// rest is everything the other side still sends, until it closes.
func rest(t testing.TB, c io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b)
}

// slowBody arrives late, in one piece.
type slowBody struct {
	io.ReadCloser
	arrived <-chan struct{}
}

func (b slowBody) Read(p []byte) (int, error) {
	<-b.arrived
	return b.ReadCloser.Read(p)
}
