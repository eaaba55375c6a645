package worker_test

import (
	"strings"
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/worker/flow"
)

// defective is the survey with a defect of ours in it: a question that has been
// asked again is none any more, so that its answer makes the step panic. It has the
// survey's hash and takes its place in a catalogue, until the survey is put back.
func defective(t testing.TB) *flow.Program {
	p := *compile(t, survey)
	hello := *p.Steps["hello"]
	hello.Question = nil
	p.Steps = map[string]*flow.Step{"hello": &hello}
	return &p
}

// What is not an event, or is about another call than its envelope says, is parked
// with its bytes; the caller is held and the call goes on without it.
func TestPoison(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	p.consume()
	other := w.newCaller()
	bodies := []struct{ body, want string }{
		{"\x00 no JSON", "not JSON"},
		{`[]`, "want an object"},
		{`{"event":"speak_completed"}`, "reference_id"},
		{string(other.envelope("speak_completed 1").Body), `the body is about call "` + other.id + `"`},
	}
	for i, poison := range bodies {
		c := w.place()
		c.say("dial_completed answered", hello)
		env := c.envelope("speak_completed 1")
		env.Body = []byte(poison.body)
		c.wantHold(c.ask(env), poison.body, "unreadable")
		c.awaitLogged(env)
		c.tell(c.told(env, messages.ToldHold))
		c.say("speak_completed", hello) // the end of the hold

		f := w.awaitFailures(i + 1)[i]
		if f.Kind != messages.FailureEvent || f.Reason != messages.ReasonPoison || string(f.Body) != poison.body || f.Attempts != 1 {
			t.Errorf("parked as %s %s after %d, body %q", f.Kind, f.Reason, f.Attempts, f.Body)
		}
		if !strings.Contains(f.Error, poison.want) {
			t.Errorf("parked because %q, want %q in it", f.Error, poison.want)
		}
		if env, err := messages.ParseEnvelope(f.Header, f.Body); err != nil || env.CallID != c.id {
			t.Errorf("the failure's envelope: call %q, %v", env.CallID, err)
		}
	}
	if stored, _, _ := w.state(other.id); stored.Revision != 0 {
		t.Error("the call in the body was touched")
	}
	if n := p.count("offhook_worker_failures_total", "poison"); n != len(bodies) {
		t.Errorf("%d counted", n)
	}
}

// A report that cannot be read is parked too. It is no event of the call.
func TestPoisonedReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	p.consume()
	c := w.place()
	first := c.say("dial_completed answered", hello)
	report := c.told(first, messages.ToldHold)
	report.Body = []byte(`{"answer":"hold"}`)
	noError(t, w.bus.Tell(within(t), report))
	if f := w.awaitFailures(1)[0]; f.Reason != messages.ReasonPoison || string(f.Body) != `{"answer":"hold"}` {
		t.Errorf("parked as %s: %q", f.Reason, f.Body)
	}
	c.say("speak_completed 1", rating)
}

// awaitFailures is the failed stream once it has n messages.
func (w *world) awaitFailures(n int) (all []messages.Failure) {
	w.t.Helper()
	eventually(w.t, "the failure is kept", func() bool { all = w.failures(); return len(all) >= n })
	if len(all) != n {
		w.t.Fatalf("%d failures, want %d", len(all), n)
	}
	return all
}

// A panic in the step costs one hold: it is parked with its stack, and the call
// goes on without the event. Other calls notice nothing.
func TestPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unharmed := compile(t, strings.ReplaceAll(survey, "name: survey", "name: unharmed"))
	p := w.start(plan{flows: []*flow.Program{compile(t, survey), unharmed}})
	p.consume()
	c := w.place()
	neighbour := w.place(func(in *messages.Intent) { in.Flow, in.FlowHash = unharmed.Name, unharmed.Hash })
	c.say("dial_completed answered", hello)
	neighbour.say("dial_completed answered", hello)
	c.say("speak_completed", again)

	noError(t, p.catalog.Use(within(t), defective(t), unharmed))
	bad := c.envelope("speak_completed 1")
	c.wantHold(c.ask(bad), bad.Event, "failed")
	neighbour.say("speak_completed 1", rating)

	f := w.awaitFailures(1)[0]
	if f.Reason != messages.ReasonPanic || string(f.Body) != string(bad.Body) || f.Attempts != 1 {
		t.Errorf("parked as %s after %d: %s", f.Reason, f.Attempts, f.Body)
	}
	for _, want := range []string{"panic: runtime error: invalid memory address", "worker/call.Machine.", "dialogue.go:"} {
		if !strings.Contains(f.Error, want) {
			t.Errorf("no %q in the failure's error:\n%s", want, f.Error)
		}
	}
	if n := p.count("offhook_worker_failures_total", "panic"); n != 1 {
		t.Errorf("%d counted", n)
	}

	noError(t, p.catalog.Use(within(t), compile(t, survey), unharmed))
	c.awaitLogged(bad)
	c.tell(c.told(bad, messages.ToldHold))
	c.say("speak_completed", again) // the end of the hold: the question again
	c.say("speak_completed 1", rating)
	c.say("call_completed", "{}")
	if got := timeline(c.awaitRecord(1)); got != "dial_completed begun, speak_completed no_input, speak_completed parked, told reported, speak_completed hold_ended, speak_completed routed, call_completed ended" {
		t.Errorf("timeline %s", got)
	}
}

// The call's first event may be the one that cannot be stepped.
func TestFirstEventParked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	env := c.envelope("dial_completed answered")
	env.Body = []byte("{")
	result, replies := p.handle(w.delivery(env))
	if result == bus.Done() || len(replies) != 1 {
		t.Fatalf("%+v, replies %+v", result, replies)
	}
	_, replies = p.handle(w.delivery(c.envelope("dial_completed answered"))) // TeleSign posts it again
	c.wantAction(replies[0], "the copy", hello)
	if in := w.intent(c.external); in.CallID != c.id {
		t.Errorf("the intent is of call %q", in.CallID)
	}
}

// An event is parked only once its call knows, or cannot: while the store is away it
// waits in the late lane, and is parked from there.
func TestParkingWaitsForTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.openStore(w.redis)
	p := w.start(plan{store: st})
	noError(t, st.Close())
	c := w.place()
	env := c.envelope("speak_completed 1")
	env.Body = []byte("no event")
	result, replies := p.handle(w.delivery(env))
	if result != bus.Done() || len(replies) != 1 {
		t.Fatalf("%+v, replies %+v", result, replies)
	}
	c.wantHold(replies[0], env.Event, "unavailable")
	if parked, deferred := p.count("offhook_worker_failures_total"), p.count("offhook_worker_deferred_total", "store_away"); parked != 0 || deferred != 1 {
		t.Errorf("%d parked, %d deferred", parked, deferred)
	}
	w.start(plan{}).consume()
	if f := w.awaitFailures(1)[0]; f.Reason != messages.ReasonPoison || string(f.Body) != "no event" {
		t.Errorf("parked as %s: %s", f.Reason, f.Body)
	}
	c.awaitLogged(env)
}

// A poisoned event whose call cannot be told, for want of NATS, comes again with both
// reasons.
func TestParkingThatCannotBePublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	healthy := w.start(plan{})
	c := w.place()
	for _, words := range []string{"dial_completed answered", "speak_completed", "call_completed"} {
		healthy.handle(w.delivery(c.envelope(words)))
	}
	b := w.connect(w.nats.URL())
	var log lockedBuffer
	p := w.start(plan{bus: b, log: textLog(&log)})
	noError(t, b.Close(within(t)))
	env := c.envelope("speak_completed 1")
	env.Body = []byte("no event")
	result, _ := p.handle(w.delivery(env))
	wantRetry(t, result)
	if n := p.count("offhook_worker_retries_total"); n != 1 {
		t.Errorf("%d retries counted", n)
	}
	// When that ends in the failed stream, both reasons are there.
	if text := log.String(); !strings.Contains(text, "not JSON") || !strings.Contains(text, "publish the call's record") {
		t.Errorf("the retry's reason: %s", text)
	}
}

// Also after the end of a call a panic leaves a record that is up to date.
func TestPanicAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	for _, words := range []string{"dial_completed answered", "speak_completed", "call_completed"} {
		p.handle(w.delivery(c.envelope(words)))
	}
	c.awaitRecord(1)
	env := c.envelope("speak_completed 1")
	noError(t, p.catalog.Use(within(t), defective(t)))
	if result, _ := p.handle(w.delivery(env)); result == bus.Done() {
		t.Error("a panic is done")
	}
	got := c.awaitRecord(2)
	if got.Revision != 4 || !strings.HasSuffix(timeline(got), "call_completed ended, speak_completed parked") {
		t.Errorf("revision %d: %s", got.Revision, timeline(got))
	}
}
