package worker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// unknowns is how often the stream says that what an event was answered with is not
// known.
func (w *world) unknowns(eventID string) (n int) {
	w.t.Helper()
	for _, m := range w.stream(messages.StreamEvents) {
		env, err := messages.ParseEnvelope(m.Header, m.Data)
		noError(w.t, err)
		if env.Kind != messages.KindTold {
			continue
		}
		told, err := messages.ParseTold(env.Body)
		noError(w.t, err)
		if told.EventID == eventID && told.Answer == messages.ToldUnknown {
			n++
		}
	}
	return n
}

// An ingress dies with a question open: the reply finds nobody, the call is told that
// its answer may not have been heard, and TeleSign's second try gets the same action.
func TestReplyThatFindsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	p.consume()
	c := w.place()
	c.say("dial_completed answered", hello)
	lost := c.envelope("speak_completed 1")
	lost.ReplyTo = "nobody.listens.here"
	noError(t, w.bus.Tell(within(t), lost))
	c.awaitLogged(lost)
	eventually(t, "the report is stored", func() bool { return w.unknowns(lost.EventID) == 1 })
	eventually(t, "the call knows", func() bool { _, _, log := w.state(c.id); return len(log) == 3 })

	again := c.envelope("speak_completed 1")
	again.Body = lost.Body
	c.wantAction(c.ask(again), "the second try", rating)
	c.say("play_completed 4", thanks)
	c.say("speak_completed", hangup)
	c.say("call_completed", "{}")
	r := c.awaitRecord(1)
	wantAnswers(t, r, map[string]string{"rating": "4 good"})
	if want := "dial_completed begun, speak_completed routed, told reported, speak_completed copy, play_completed accepted, speak_completed said, call_completed ended"; timeline(r) != want {
		t.Errorf("timeline %s\nwant %s", timeline(r), want)
	}
	if n := p.count("offhook_worker_undelivered_replies_total"); n != 1 {
		t.Errorf("%d counted", n)
	}
}

// A redelivery whose reply finds nobody either says nothing new.
func TestRedeliveryThatFindsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{bus: w.connect(w.nats.URL())})
	p.consume()
	c := w.place()
	first := c.envelope("dial_completed answered")
	first.ReplyTo = "nobody.listens.here"
	d := bus.Delivery{Envelope: first, Attempt: 1, Sequence: 1, Stored: time.Now()}
	for range 3 {
		if result := p.events.Handle(within(t), d); result != bus.Done() {
			t.Fatalf("%+v", result)
		}
		d.Attempt++
	}
	eventually(t, "the reports are stored", func() bool { return w.unknowns(first.EventID) == 3 })
	c.tell(c.envelope("speak_completed 1"))
	if _, _, log := w.state(c.id); len(log) != 3 {
		t.Errorf("%d entries, want the two events and one report: %+v", len(log), log)
	}
}

// What cannot be reported because NATS is away is reported when it is back, in order;
// what is noted until the very end is stored before Run returns.
func TestReportsOutlastNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay, url := w.relayToNATS()
	b := w.connect(url)
	p := w.start(plan{bus: b})
	stop := p.serve()
	relay.takeAway()
	var noted []string
	note := func() {
		id := messages.NewEventID()
		noted = append(noted, id)
		p.events.Undelivered("C"+id, id)
	}
	for range 100 {
		note()
	}
	receive(t, "an attempt to connect", relay.refused)
	relay.bringBack()
	last := func() bool { return w.unknowns(noted[len(noted)-1]) > 0 } // again if its confirmation was lost
	eventually(t, "the reports are stored", last)
	note()
	stop()
	if !last() {
		t.Error("what was noted last is not stored")
	}
	var stored []string
	for _, m := range w.stream(messages.StreamEvents) {
		env, err := messages.ParseEnvelope(m.Header, m.Data)
		noError(t, err)
		told, err := messages.ParseTold(env.Body)
		noError(t, err)
		if env.CallID != "C"+told.EventID || told.Reason != "undelivered" {
			t.Errorf("report %+v of call %s", told, env.CallID)
		}
		if len(stored) == 0 || stored[len(stored)-1] != told.EventID { // one whose confirmation was lost may be there twice
			stored = append(stored, told.EventID)
		}
	}
	if !slices.Equal(stored, noted) {
		t.Errorf("%d reports stored, want %d in order", len(stored), len(noted))
	}
}

// What cannot be stored to the very end is at least in the log.
func TestReportsThatAreLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.connect(w.nats.URL())
	var log lockedBuffer
	p := w.start(plan{bus: b, log: textLog(&log)})
	p.events.ReportLast(50 * time.Millisecond)
	noError(t, b.Close(within(t)))
	stop := p.serve()
	p.events.Undelivered("C1", "E1")
	p.events.Undelivered("C2", "E2")
	stop()
	for _, want := range []string{"call_id=C1 event_id=E1", "call_id=C2 event_id=E2"} {
		if text := log.String(); strings.Count(text, want) != 1 {
			t.Errorf("want one line with %q in the log:\n%s", want, text)
		}
	}
}
