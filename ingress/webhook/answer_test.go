package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// journalled writes an answer into the fake bus's journal, beside what was stored.
type journalled struct {
	*httptest.ResponseRecorder
	bus *fakeBus
}

func (w journalled) Write(p []byte) (int, error) {
	w.bus.note(fmt.Sprintf("answer %d", w.Code))
	return w.ResponseRecorder.Write(p)
}

// TestWindow plays the stream and the worker against the clock. Times are those of
// the default window: it ends after 2.5 s, and 250 ms before that the door gives up.
func TestWindow(t *testing.T) {
	t.Parallel()
	const (
		ms     = time.Millisecond
		giveUp = 2250 * ms
		window = 2500 * ms
	)
	for name, c := range map[string]struct {
		script  script
		tell    func(context.Context, messages.Envelope) error
		event   string // incoming when empty
		status  int
		outcome outcome
		after   time.Duration
		told    messages.Told // without the event id
		journal []string
	}{
		"reply after the acknowledgement": {
			script: script{storedAt: 5 * ms, replyAt: 20 * ms, reply: decided},
			status: 200, outcome: outcomeDecided, after: 20 * ms,
			journal: []string{"ask incoming_call", "answer 200"},
		},
		"reply before the acknowledgement": {
			script: script{storedAt: 30 * ms, replyAt: 10 * ms, reply: decided},
			status: 200, outcome: outcomeDecided, after: 30 * ms,
			journal: []string{"ask incoming_call", "answer 200"},
		},
		"reply in the last millisecond": {
			script: script{storedAt: 5 * ms, replyAt: giveUp - ms, reply: decided},
			status: 200, outcome: outcomeDecided, after: giveUp - ms,
			journal: []string{"ask incoming_call", "answer 200"},
		},
		"acknowledgement in the last millisecond": {
			script: script{storedAt: giveUp - ms, replyAt: 5 * ms, reply: decided},
			status: 200, outcome: outcomeDecided, after: giveUp - ms,
			journal: []string{"ask incoming_call", "answer 200"},
		},
		"the worker cannot decide": {
			script: script{storedAt: 5 * ms, replyAt: 20 * ms, reply: holds},
			status: 200, outcome: outcomeHeld, after: 20 * ms,
			told:    messages.Told{Answer: messages.ToldHold, Reason: "redis is down"},
			journal: []string{"ask incoming_call", "tell told incoming_call", "answer 200"},
		},
		"the worker cannot decide, before the acknowledgement": {
			script: script{storedAt: 40 * ms, replyAt: 20 * ms, reply: holds},
			status: 200, outcome: outcomeHeld, after: 40 * ms,
			told:    messages.Told{Answer: messages.ToldHold, Reason: "redis is down"},
			journal: []string{"ask incoming_call", "tell told incoming_call", "answer 200"},
		},
		"no reply": {
			script: script{storedAt: 5 * ms, replyAt: never},
			status: 200, outcome: outcomeMissed, after: giveUp,
			told:    messages.Told{Answer: messages.ToldHold, Reason: "no reply inside the window"},
			journal: []string{"ask incoming_call", "tell told incoming_call", "answer 200"},
		},
		"no reply to a dial that was not answered": {
			script: script{storedAt: 5 * ms, replyAt: never}, event: dialled("no_answer"),
			status: 200, outcome: outcomeMissed, after: giveUp,
			told:    messages.Told{Answer: messages.ToldHangup, Reason: "no reply inside the window"},
			journal: []string{"ask dial_completed", "tell told dial_completed", "answer 200"},
		},
		"no reply to an unknown event": {
			script: script{storedAt: 5 * ms, replyAt: never}, event: named("conference_joined"),
			status: 200, outcome: outcomeMissed, after: giveUp,
			told:    messages.Told{Answer: messages.ToldNothing, Reason: "no reply inside the window"},
			journal: []string{"ask conference_joined", "tell told conference_joined", "answer 200"},
		},
		"the report takes its time": {
			script: script{storedAt: 5 * ms, replyAt: never}, tell: slowTell(249 * ms),
			status: 200, outcome: outcomeMissed, after: window - ms,
			told:    messages.Told{Answer: messages.ToldHold, Reason: "no reply inside the window"},
			journal: []string{"ask incoming_call", "tell told incoming_call", "answer 200"},
		},
		"the report takes too long": {
			script: script{storedAt: 5 * ms, replyAt: never}, tell: slowTell(251 * ms),
			status: 503, outcome: outcomeUntold, after: window,
			told:    messages.Told{Answer: messages.ToldUnknown, Reason: was503},
			journal: []string{"ask incoming_call", "answer 503", "tell told incoming_call"},
		},
		"the report of an early hold has the rest of the window": {
			script: script{replyAt: 20 * ms, reply: holds}, tell: slowTell(2400 * ms),
			status: 200, outcome: outcomeHeld, after: 2420 * ms,
			told:    messages.Told{Answer: messages.ToldHold, Reason: "redis is down"},
			journal: []string{"ask incoming_call", "tell told incoming_call", "answer 200"},
		},
		"the report is refused": {
			script: script{storedAt: 5 * ms, replyAt: never}, tell: tellFails,
			status: 503, outcome: outcomeUntold, after: giveUp,
			journal: []string{"ask incoming_call", "answer 503"},
		},
		"no acknowledgement": {
			script: script{storedAt: never, replyAt: never},
			status: 503, outcome: outcomeUnstored, after: giveUp,
			told:    messages.Told{Answer: messages.ToldUnknown, Reason: was503},
			journal: []string{"ask incoming_call", "answer 503", "tell told incoming_call"},
		},
		"no acknowledgement, but a reply": {
			script: script{storedAt: never, replyAt: 20 * ms, reply: decided},
			status: 503, outcome: outcomeUnstored, after: giveUp,
			told:    messages.Told{Answer: messages.ToldUnknown, Reason: was503},
			journal: []string{"ask incoming_call", "answer 503", "tell told incoming_call"},
		},
		"no acknowledgement, and the worker cannot decide": {
			script: script{storedAt: never, replyAt: 20 * ms, reply: holds},
			status: 503, outcome: outcomeUnstored, after: giveUp,
			told:    messages.Told{Answer: messages.ToldUnknown, Reason: was503},
			journal: []string{"ask incoming_call", "answer 503", "tell told incoming_call"},
		},
		"the stream refuses": {
			script: script{storedAt: 7 * ms, stored: errFull, replyAt: never},
			status: 503, outcome: outcomeUnstored, after: 7 * ms,
			told:    messages.Told{Answer: messages.ToldUnknown, Reason: was503},
			journal: []string{"ask incoming_call", "answer 503", "tell told incoming_call"},
		},
		"the stream refuses after a reply": {
			script: script{storedAt: 7 * ms, stored: errFull, replyAt: ms, reply: decided},
			status: 503, outcome: outcomeUnstored, after: 7 * ms,
			told:    messages.Told{Answer: messages.ToldUnknown, Reason: was503},
			journal: []string{"ask incoming_call", "answer 503", "tell told incoming_call"},
		},
		"the connection is gone": {
			script: script{refused: errFull},
			status: 503, outcome: outcomeUnstored,
			journal: []string{"ask incoming_call", "answer 503"},
		},
		"the end of a call": {
			event: ended, tell: slowTell(30 * ms),
			status: 200, outcome: outcomeStored, after: 30 * ms,
			journal: []string{"tell event call_completed", "answer 200"},
		},
		"the end of a call takes too long": {
			event: ended, tell: slowTell(never),
			status: 503, outcome: outcomeUnstored, after: window,
			journal: []string{"answer 503"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, Config{}, &fakeBus{script: c.script, tell: c.tell})
				body := c.event
				if body == "" {
					body = incoming
				}
				w := httptest.NewRecorder()
				began := time.Now()
				d.serve(context.Background(), journalled{w, d.bus}, signed(t, body))
				if took := time.Since(began); took != c.after {
					t.Errorf("answered after %v, want %v", took, c.after)
				}
				if w.Code != c.status {
					t.Errorf("status %d, want %d", w.Code, c.status)
				}
				d.reports.close() // what follows the answer is stored
				if !slices.Equal(d.bus.journal, c.journal) {
					t.Errorf("order of things %q, want %q", d.bus.journal, c.journal)
				}
				if got := d.metric(t, "offhook_webhook_answers_total", "outcome="+string(c.outcome)); got != 1 {
					t.Errorf("outcome %s was counted %v times", c.outcome, got)
				}
				if c.told != (messages.Told{}) {
					checkTold(t, d.bus, c.told)
				}
				if wrong := c.outcome != outcomeDecided && c.outcome != outcomeStored; wrong != strings.Contains(d.log.String(), "not answered by a worker") {
					t.Errorf("outcome %s, logged:\n%s", c.outcome, d.log)
				}
			})
		})
	}
}

// checkTold wants exactly one told report, an envelope of its own about the event
// that was asked.
func checkTold(t *testing.T, b *fakeBus, want messages.Told) {
	t.Helper()
	if len(b.told) != 1 || len(b.asked) != 1 {
		t.Fatalf("%d asked, %d told, want one each", len(b.asked), len(b.told))
	}
	event, env := b.asked[0], b.told[0]
	got, err := messages.ParseTold(env.Body)
	if err != nil {
		t.Fatal(err)
	}
	want.EventID = event.EventID
	if got != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
	switch {
	case env.Kind != messages.KindTold,
		env.EventID == "" || env.EventID == event.EventID,
		env.CallID != event.CallID,
		env.Arrived.Before(event.Arrived) || env.Arrived.Nanosecond()%1000 != 0,
		!env.Deadline.IsZero() || env.ReplyTo != "":
		t.Errorf("the report's envelope is %+v, the event's %+v", env, event)
	}
	if _, err := messages.ParseEnvelope(env.Header(), env.Body); err != nil {
		t.Error(err)
	}
}

// TestReplyAroundTheDeadline moves the reply over the moment of giving up in steps
// of 1 ms: each time the caller gets the decision, or a hold of which the stream
// knows, never both and never a hold that nobody knows of.
func TestReplyAroundTheDeadline(t *testing.T) {
	t.Parallel()
	for at := 2200 * time.Millisecond; at <= 2300*time.Millisecond; at += time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, Config{}, &fakeBus{script: script{storedAt: time.Millisecond, replyAt: at, reply: decided}})
			w := d.post(signed(t, incoming))
			decidedIt, told := w.Body.String() == decision, len(d.bus.told) == 1
			if w.Code != 200 || decidedIt == told {
				t.Errorf("reply after %v: status %d, decision %t, told %t", at, w.Code, decidedIt, told)
			}
			if at < 2250*time.Millisecond && !decidedIt {
				t.Errorf("reply after %v, inside the window, was not used", at)
			}
		})
	}
}

// TestLateReplies: those that slip in while the door gives up, and those that the
// bus caught afterwards.
func TestLateReplies(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{}, &fakeBus{late: 3})
	replies := make(chan messages.Reply, 1)
	p := &bus.Pending{Reply: replies}
	d.countLate(p)
	replies <- decided
	d.countLate(p)
	d.countLate(p)
	if got := d.metric(t, "offhook_webhook_late_replies_total"); got != 4 {
		t.Errorf("%v late replies, want 4", got)
	}
}

// TestSlowArrival: an event whose body took the whole window is stored and answered
// all the same; the stream gets a margin for the event and one for the report.
func TestSlowArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{}, &fakeBus{script: script{storedAt: 100 * time.Millisecond, replyAt: never}, tell: slowTell(200 * time.Millisecond)})
		r := signed(t, incoming)
		arrived := make(chan struct{})
		time.AfterFunc(3*time.Second, func() { close(arrived) })
		r.Body = slowBody{r.Body, arrived}
		began := time.Now()
		if w := d.post(r); w.Code != 200 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if took := time.Since(began); took != 3450*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
		if len(d.bus.told) != 1 {
			t.Errorf("journal %q", d.bus.journal)
		}
	})
}

// TestTheVeryInstant: what is there when time runs out counts, whichever the
// runtime looks at first.
func TestTheVeryInstant(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for range 200 {
		stored, replies := make(chan error, 1), make(chan messages.Reply, 1)
		stored <- nil
		replies <- decided
		reply, err := await(over, &bus.Pending{Stored: stored, Reply: replies}, time.Now())
		if err != nil || reply == nil || reply.Verdict != messages.VerdictDecided {
			t.Fatalf("stored and decided: %+v, %v", reply, err)
		}
		stored <- errFull
		replies <- decided
		if reply, err := await(over, &bus.Pending{Stored: stored, Reply: replies}, time.Now()); !errors.Is(err, errFull) || reply == nil {
			t.Fatalf("refused: %+v, %v", reply, err)
		}
	}
}
