package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/ingress/webhook/spool"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// shortWindow is what an event without a reply costs the test.
const shortWindow = 300 * time.Millisecond

// life is one process: a door with its spool's directory.
type life struct {
	*process
	*Server
	bus  *mortalBus
	sp   *spool.Spool
	stop func(time.Time)
}

func live(t *testing.T, b *bus.Bus, dir string, steps int) *life {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	sp, err := spool.Open(spool.Config{Dir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(steps)
	mortal := &mortalBus{Bus: b, process: p, way: wayOK}
	s, err := New(Config{AnswerWithin: shortWindow, AnswerMargin: shortWindow * 2 / 3}, mustVerifier(t, testKey), mortal, &mortalSpool{sp, p}, prometheus.NewRegistry(), log)
	if err != nil {
		t.Fatal(err)
	}
	return &life{process: p, Server: s, bus: mortal, sp: sp, stop: s.startDrain(context.Background())}
}

// post sends an event; heard is whether TeleSign got the answer.
func (l *life) post(t *testing.T, body string) (status int, answer string, heard bool) {
	t.Helper()
	w := &mortalWriter{httptest.NewRecorder(), l.process, false}
	l.serve(context.Background(), w, signed(t, body))
	return w.Code, w.Body.String(), w.heard
}

// end kills what is left of a life. Nothing of it may have an effect any more.
func (l *life) end(t *testing.T) {
	t.Helper()
	l.reports.close()
	l.stop(time.Now())
	if err := l.sp.Close(); err != nil {
		t.Error(err)
	}
}

// emptied waits until the spool is in the stream, or the process has crashed.
func (l *life) emptied(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		select {
		case <-l.crashed:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := l.sp.AwaitEmpty(ctx); err != nil && !l.dead() {
		t.Fatalf("the spool is not emptied: %v", err)
	}
}

// image is a copy of what a crashed process had in its directory.
func image(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // a segment that was just drained
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// post is one event of a trial.
type post struct {
	way     way
	verdict string // what a worker that gets it does: decide, hold or silent
}

// heard is what TeleSign was answered.
type heard struct {
	body   string // of the event
	status int
	answer string
}

// trial has one call's events posted to a process that crashes after some steps,
// and then one more to the process after it. It reports whether there was a crash.
func (s *scene) trial(t *testing.T, posts []post, steps int) bool {
	t.Helper()
	s.calls++
	call := fmt.Sprintf("call-%s-%d", t.Name(), s.calls)
	dir := filepath.Join(t.TempDir(), "spool")
	l := live(t, s.ingress, dir, steps)
	var said []heard
	send := func(l *life, n int, p post) bool {
		body := fmt.Sprintf(`{"event":"speak_completed","reference_id":%q,"data":{"n":%d,"worker":%q}}`, call, n, p.verdict)
		l.bus.set(p.way)
		status, answer, ok := l.post(t, body)
		if ok {
			said = append(said, heard{body, status, answer})
		}
		return ok && !l.dead()
	}
	for n, p := range posts {
		if !send(l, n, p) {
			break
		}
	}
	l.bus.set(wayOK)
	l.emptied(t)
	crashed := l.dead()
	next := dir
	if crashed {
		next = image(t, dir)
	}
	l.end(t)

	// The next process has no steps to die at.
	after := live(t, s.ingress, next, 1_000_000)
	send(after, len(posts), post{wayOK, "decide"})
	after.emptied(t)
	after.end(t)

	s.check(t, call, said)
	if t.Failed() {
		t.Fatalf("%v, crash after %d steps: %s\nheard %+v", posts, steps, l.history(), said)
	}
	return crashed
}

// check is I1 and I5 of one call: what was answered is in the stream, in order, and
// the stream says of each event whether a worker's decision was heard, or what else,
// before the call's next event.
func (s *scene) check(t *testing.T, call string, said []heard) {
	t.Helper()
	stream := s.stream(t, call)
	at := func(match func(messages.Envelope) bool) int {
		for i, env := range stream {
			if match(env) {
				return i
			}
		}
		return -1
	}
	before := -1
	for _, h := range said {
		s.answers++
		if h.status == 503 { // promises nothing; the disk of a busy machine may be too slow for this window
			s.refusals++
			continue
		}
		event := at(func(e messages.Envelope) bool { return e.Kind == messages.KindEvent && string(e.Body) == h.body })
		if event < 0 {
			t.Errorf("I1: answered 200 and not in the stream: %s", h.body)
			continue
		}
		if event < before {
			t.Errorf("%s stands before what precedes it", h.body)
		}
		before = event
		report := -1
		for i, env := range stream {
			if env.Kind != messages.KindTold {
				continue
			}
			told, err := messages.ParseTold(env.Body)
			if err != nil {
				t.Fatal(err)
			}
			if told.EventID != stream[event].EventID {
				continue
			}
			if h.answer == decision {
				t.Errorf("I5: %s was answered with the decision, and reported %s", h.body, told.Answer)
			}
			if told.Answer != messages.ToldHold || !env.Arrived.After(stream[event].Arrived) {
				t.Errorf("I5: %s was answered %s, and reported %+v", h.body, h.answer, told)
			}
			if report < 0 {
				report = i
			}
		}
		if h.answer != decision && report < event {
			t.Errorf("I5: %s was answered %s at %d, reported at %d", h.body, h.answer, event, report)
		}
		before = max(before, report)
	}
}

// scene is what outlives a process: the stream and the workers.
type scene struct {
	ingress *bus.Bus
	js      jetstream.JetStream
	calls   int

	answers, refusals int
}

func newScene(t *testing.T) *scene {
	t.Helper()
	server := startNATS(t)
	s := &scene{ingress: connect(t, server, "ingress")}
	workers := connect(t, server, "worker")
	worker(t, workers, func(d bus.Delivery) *messages.Reply {
		switch {
		case d.Kind != messages.KindEvent || d.ReplyTo == "" || strings.Contains(string(d.Body), `"silent"`):
			return nil
		case strings.Contains(string(d.Body), `"hold"`):
			return &holds
		}
		return &decided
	})
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if s.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.refusals*10 > s.answers {
			t.Errorf("%d of %d answers were 503, with a spool that is not full", s.refusals, s.answers)
		}
	})
	return s
}

// stream is what the events stream has of one call, in order.
func (s *scene) stream(t *testing.T, call string) []messages.Envelope {
	t.Helper()
	ctx := within(t, patience)
	stream, err := s.js.Stream(ctx, messages.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	var envs []messages.Envelope
	for next := uint64(1); ; {
		m, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(messages.EventSubject(call)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return envs
		}
		if err != nil {
			t.Fatal(err)
		}
		env, err := messages.ParseEnvelope(m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if env.CallID == call {
			envs = append(envs, env)
		}
		next = m.Sequence + 1
	}
}

// TestCrashAnywhere has an ingress die between any two of asking, PubAck, reply,
// spooling, report, answer and draining: whatever TeleSign was answered, the next
// process on the same directory makes the stream agree with it.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	for name, posts := range map[string][]post{
		"healthy":         {{wayOK, "decide"}, {wayOK, "hold"}, {wayOK, "decide"}},
		"NATS away":       {{wayOK, "decide"}, {wayAway, "decide"}, {wayAway, "decide"}, {wayOK, "decide"}},
		"stream full":     {{wayRefused, "decide"}, {wayRefused, "decide"}, {wayOK, "decide"}},
		"PubAck lost":     {{wayUnconfirmed, "decide"}, {wayOK, "decide"}},
		"PubAck lost too": {{wayUnconfirmed, "hold"}, {wayOK, "hold"}},
		"report refused":  {{wayUntold, "hold"}, {wayOK, "decide"}, {wayOK, "hold"}},
		"no reply":        {{wayOK, "silent"}, {wayUntold, "silent"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			steps := 1
			for s.trial(t, posts, steps) {
				steps++
			}
			t.Logf("crashed at each of %d steps", steps-1)
			if steps < 10 {
				t.Errorf("only %d steps", steps)
			}
		})
	}
}

// TestCrashAtRandom is TestCrashAnywhere with calls that nobody thought of.
func TestCrashAtRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newScene(t)
	ways := []way{wayOK, wayOK, wayAway, wayAway, wayRefused, wayUnconfirmed, wayUntold}
	verdicts := []string{"decide", "decide", "decide", "hold", "hold", "silent"}
	for range 20 {
		posts := make([]post, 1+random.IntN(5))
		for i := range posts {
			posts[i] = post{ways[random.IntN(len(ways))], verdicts[random.IntN(len(verdicts))]}
		}
		s.trial(t, posts, 1+random.IntN(10*len(posts)))
	}
}
