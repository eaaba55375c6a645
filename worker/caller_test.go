package worker_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

// caller is one call as TeleSign and ingress see it.
type caller struct {
	w        *world
	id       string
	external string    // the external_id that its events carry
	last     time.Time // arrival of the newest event
}

const (
	personNumber = "15558675309"
	ourNumber    = "15555551212"
)

// newCaller is a call that TeleSign knows and we do not.
func (w *world) newCaller() *caller { return &caller{w: w, id: "C" + messages.NewEventID()} }

// place stores an intent and returns the call that comes of it.
func (w *world) place(change ...func(*messages.Intent)) *caller {
	w.t.Helper()
	in := w.newIntent(change...)
	if _, created, err := w.store.CreateIntent(within(w.t), in); err != nil || !created {
		w.t.Fatalf("create intent: %v, %v", created, err)
	}
	c := w.newCaller()
	c.external = in.ID
	return c
}

// newIntent is an intent for Ann, in no store yet.
func (w *world) newIntent(change ...func(*messages.Intent)) messages.Intent {
	now := time.Now().UTC().Truncate(time.Microsecond)
	program := compile(w.t, survey)
	in := messages.Intent{
		Schema: messages.IntentSchema, ID: messages.IntentID(messages.NewEventID()),
		To: personNumber, CallerID: ourNumber, Flow: program.Name, FlowHash: program.Hash,
		Contact: map[string]string{"first_name": "Ann"}, Attempt: 1, CreatedAt: now, NotAfter: now.Add(time.Hour),
	}
	for _, f := range change {
		f(&in)
	}
	return in
}

// event is the webhook event of "name [status or digits]".
func (c *caller) event(words string) telesign.Event {
	f := strings.Fields(words)
	e := telesign.Event{
		Name: telesign.EventName(f[0]), ReferenceID: c.id, ExternalID: c.external,
		To: personNumber, From: ourNumber,
	}
	switch {
	case e.Name == telesign.CallCompleted:
		e.Status, e.Direction, e.Duration = "hangup", "outbound", 30
		e.AudioRecordingFileName = "recording.wav"
	case len(f) > 1 && (e.Name == telesign.DialCompleted || strings.HasSuffix(f[1], "_failed")):
		e.Status = f[1]
	case len(f) > 1:
		e.Digits = f[1]
	}
	return e
}

// envelope is an event as ingress makes it, arriving after the one before. Somebody
// waits for the answer.
func (c *caller) envelope(words string) messages.Envelope {
	c.w.t.Helper()
	e := c.event(words)
	body, err := e.Encode()
	noError(c.w.t, err)
	c.last = later(c.last)
	return messages.Envelope{
		Kind: messages.KindEvent, EventID: messages.NewEventID(), CallID: c.id, Event: string(e.Name),
		Arrived: c.last, Deadline: c.last.Add(patience), Body: body,
	}
}

// told is the report that ingress answered event by itself.
func (c *caller) told(event messages.Envelope, answer messages.ToldAnswer) messages.Envelope {
	c.w.t.Helper()
	body, err := messages.Told{EventID: event.EventID, Answer: answer, Reason: "test"}.Encode()
	noError(c.w.t, err)
	c.last = later(c.last)
	return messages.Envelope{
		Kind: messages.KindTold, EventID: messages.NewEventID(), CallID: c.id, Event: event.Event,
		Arrived: c.last, Body: body,
	}
}

// later is now, and after t.
func later(t time.Time) time.Time {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if !now.After(t) {
		return t.Add(time.Microsecond)
	}
	return now
}

// ask publishes an event as ingress does and returns what a worker replies.
func (c *caller) ask(env messages.Envelope) messages.Reply {
	c.w.t.Helper()
	return c.askAt(c.w.bus, env)
}

// askAt is ask at one of several ingresses.
func (c *caller) askAt(ingress *bus.Bus, env messages.Envelope) messages.Reply {
	t := c.w.t
	t.Helper()
	p, err := ingress.Ask(env)
	noError(t, err)
	defer p.Close()
	noError(t, receive(t, "the event's PubAck", p.Stored))
	return receive(t, "the reply to "+env.Event, p.Reply)
}

// tell publishes what nobody waits for, and waits until it is in the call's log.
func (c *caller) tell(env messages.Envelope) {
	c.w.t.Helper()
	noError(c.w.t, c.w.bus.Tell(within(c.w.t), env))
	c.awaitLogged(env)
}

// awaitLogged waits until an arrival is in the call's log.
func (c *caller) awaitLogged(env messages.Envelope) {
	c.w.t.Helper()
	eventually(c.w.t, env.Event+" is in the log", func() bool {
		_, _, log := c.w.state(c.id)
		return slices.ContainsFunc(log, func(e call.Entry) bool { return e.ID == env.EventID })
	})
}

// say asks words and wants action for an answer.
func (c *caller) say(words, action string) messages.Envelope {
	c.w.t.Helper()
	env := c.envelope(words)
	c.wantAction(c.ask(env), words, action)
	return env
}

func (c *caller) wantAction(r messages.Reply, words, action string) {
	c.w.t.Helper()
	if r.Verdict != messages.VerdictDecided || string(r.Action) != action {
		c.w.t.Fatalf("%s got %s %s %s\nwant %s", words, r.Verdict, r.Reason, r.Action, action)
	}
}

func (c *caller) wantHold(r messages.Reply, words, reason string) {
	c.w.t.Helper()
	if r.Verdict != messages.VerdictHold || r.Reason != reason {
		c.w.t.Fatalf("%s got %s %q %s, want a hold because %q", words, r.Verdict, r.Reason, r.Action, reason)
	}
}

// records is what was published of this call, each revision once.
func (c *caller) records() []messages.Record {
	c.w.t.Helper()
	var own []messages.Record
	for _, r := range c.w.records() {
		if r.CallID == c.id {
			own = append(own, r)
		}
	}
	return own
}

// awaitRecord is the newest record once there are n.
func (c *caller) awaitRecord(n int) messages.Record {
	c.w.t.Helper()
	var all []messages.Record
	eventually(c.w.t, "the call's record is published", func() bool { all = c.records(); return len(all) >= n })
	if len(all) != n {
		c.w.t.Fatalf("%d records, want %d: %+v", len(all), n, all)
	}
	return all[n-1]
}

// timeline is a record's timeline in short: what happened, and what was made of it.
func timeline(r messages.Record) string {
	lines := make([]string, len(r.Timeline))
	for i, m := range r.Timeline {
		lines[i] = m.Event + " " + m.Decision
	}
	return strings.Join(lines, ", ")
}

// answers are a record's, by name.
func answers(r messages.Record) map[string]string {
	all := map[string]string{}
	for _, a := range r.Answers {
		all[a.Name] = a.Value + " " + a.Label
	}
	return all
}

func wantAnswers(t testing.TB, r messages.Record, want map[string]string) {
	t.Helper()
	if got := answers(r); !maps.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}
