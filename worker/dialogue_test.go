package worker_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// A whole call over the real bus, from its intent to its record.
func TestDialogue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log lockedBuffer
	p := w.start(plan{log: textLog(&log)})
	p.consume()
	c := w.place()

	first := c.say("dial_completed answered", hello)
	c.say("speak_completed 1", rating)
	c.say("play_completed 4", thanks)
	c.say("speak_completed", hangup)
	ended := c.say("call_completed", "{}")

	program := compile(t, survey)
	want := messages.Record{
		Schema: messages.RecordSchema, CallID: c.id, ExternalID: c.external, Revision: 5,
		Disposition: messages.DispositionCompleted, Status: "hangup",
		Flow: "survey", FlowHash: program.Hash, Direction: "outbound", To: personNumber, From: ourNumber,
		Contact: map[string]string{"first_name": "Ann"}, LastStep: "thanks", HungUpBy: messages.HungUpByFlow,
		Prompts: 3, AnsweredAt: &first.Arrived, EndedAt: &ended.Arrived, Duration: 30, AudioRecordingFileName: "recording.wav",
		Answers: []messages.Answer{{Name: "rating", Value: "4", Label: "good", Step: "rating"}},
	}
	got := c.awaitRecord(1)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(messages.Record{}, "Timeline"), cmpopts.IgnoreFields(messages.Answer{}, "At")); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if got, want := timeline(got), "dial_completed begun, speak_completed routed, play_completed accepted, speak_completed said, call_completed ended"; got != want {
		t.Errorf("timeline %s\nwant %s", got, want)
	}
	if in := w.intent(c.external); in.Status != messages.CallAccepted || in.CallID != c.id {
		t.Errorf("intent is %s of call %q", in.Status, in.CallID)
	}
	if n := p.count("offhook_worker_decisions_total"); n != 5 {
		t.Errorf("%d decisions counted", n)
	}
	if n := p.count("offhook_worker_decisions_total", "play_completed", "accepted"); n != 1 {
		t.Errorf("%d accepted answers counted", n)
	}
	if len(w.failures()) != 0 {
		t.Errorf("failures: %+v", w.failures())
	}
	for _, number := range []string{personNumber, ourNumber} {
		if strings.Contains(log.String(), number) {
			t.Errorf("%s is in the log:\n%s", number, log.String())
		}
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func textLog(b *lockedBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What ingress answered by itself comes back as a report; the end of the hold
// delivers what was due.
func TestToldReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	p.consume()
	c := w.place()

	c.say("dial_completed answered", hello)
	routed := c.say("speak_completed 1", rating)
	c.tell(c.told(routed, messages.ToldHold))
	c.say("speak_completed 5", rating) // pressed during the hold: no answer
	late := c.say("play_completed 5", thanks)
	c.tell(c.told(late, messages.ToldHangup))
	c.say("call_completed", "{}")

	got := c.awaitRecord(1)
	if got.Holds != 1 || got.HungUpBy != messages.HungUpByFlow || got.Disposition != messages.DispositionCompleted {
		t.Errorf("%d holds, hung up by %s, %s", got.Holds, got.HungUpBy, got.Disposition)
	}
	wantAnswers(t, got, map[string]string{"rating": "5 good"})
	eventually(t, "both reports are counted as such", func() bool { return p.count("offhook_worker_decisions_total", "told", "reported") == 2 })
	if n := p.count("offhook_worker_decisions_total", "speak_completed", "reported"); n != 0 {
		t.Errorf("%d reports counted as the event they are about", n)
	}
}

// A digit pressed just before hanging up may reach us after the end: the outcome is
// as if it had come in time, as a new revision.
func TestLateEventPublishesANewRevision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	p.consume()
	c := w.place()

	c.say("dial_completed answered", hello)
	c.say("speak_completed 1", rating)
	answer := c.envelope("play_completed 2")
	c.say("call_completed", "{}")
	if got := c.awaitRecord(1); got.Disposition != messages.DispositionHungUp || got.Revision != 3 || len(got.Answers) != 0 {
		t.Errorf("before the answer: revision %d, %s, answers %v", got.Revision, got.Disposition, answers(got))
	}
	answer.Late, answer.ReplyTo, answer.Deadline = true, "", time.Time{} // from a spool
	c.tell(answer)
	got := c.awaitRecord(2)
	if got.Disposition != messages.DispositionCompleted || got.Revision != 4 {
		t.Errorf("revision %d, %s", got.Revision, got.Disposition)
	}
	wantAnswers(t, got, map[string]string{"rating": "2 good"})
	_, _, log := w.state(c.id)
	for _, e := range log { // what nobody waited for was not heard
		if heard := e.ID != answer.EventID; e.Live != heard {
			t.Errorf("%s: live %v, want %v", e.Name, e.Live, heard)
		}
	}

	// What was pressed after the end, by the clock of arrivals, changes the timeline
	// only.
	c.tell(c.envelope("speak_completed 9"))
	after := c.awaitRecord(3)
	if after.Disposition != got.Disposition || after.Revision != 5 || !strings.HasSuffix(timeline(after), "call_completed ended, speak_completed late") {
		t.Errorf("revision %d, %s: %s", after.Revision, after.Disposition, timeline(after))
	}
}

// Nobody is answered who does not wait. A deadline is by another machine's clock:
// what may be late is sent all the same, and counted.
func TestReplies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := []struct {
		name    string
		change  func(*messages.Envelope)
		replies int
		late    int
	}{
		{"in time", func(*messages.Envelope) {}, 1, 0},
		{"no deadline", func(e *messages.Envelope) { e.Deadline = time.Time{} }, 1, 0},
		{"past its deadline", func(e *messages.Envelope) { e.Deadline = time.Now().Add(-time.Millisecond) }, 1, 1},
		{"from a spool", func(e *messages.Envelope) { e.Late = true }, 0, 0},
		{"unreadable, past its deadline", func(e *messages.Envelope) { e.Deadline, e.Body = time.Now().Add(-time.Millisecond), nil }, 1, 0},
	}
	for _, test := range tests {
		p := w.start(plan{})
		env := w.place().envelope("dial_completed answered")
		test.change(&env)
		_, replies := p.handle(w.delivery(env))
		if len(replies) != test.replies {
			t.Errorf("%s: replies %+v, want %d", test.name, replies, test.replies)
		}
		if n := p.count("offhook_worker_late_replies_total"); n != test.late {
			t.Errorf("%s: %d late replies counted, want %d", test.name, n, test.late)
		}
	}
}

// An event that nobody documents is counted as other: strangers cannot make series.
func TestUnknownEventIsCountedAsOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	for _, words := range []string{"dial_completed answered", "something_new", string(telesign.IncomingCall)} {
		p.handle(w.delivery(c.envelope(words)))
	}
	if other, all := p.count("offhook_worker_decisions_total", "other"), p.count("offhook_worker_decisions_total"); other != 1 || all != 3 {
		t.Errorf("%d of %d decisions counted as other", other, all)
	}
}
