package webhook

import (
	"context"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/messages"
)

// keptIn checks what a store was given about one event: the event, then its report.
func keptIn(t *testing.T, envs []messages.Envelope, told messages.ToldAnswer) {
	t.Helper()
	if len(envs) != 2 || envs[0].Kind != messages.KindEvent || envs[1].Kind != messages.KindTold {
		t.Fatalf("kept %+v, want an event and its report", envs)
	}
	event, env := envs[0], envs[1]
	report, err := messages.ParseTold(env.Body)
	if err != nil {
		t.Fatal(err)
	}
	if report.EventID != event.EventID || report.Answer != told || report.Reason == "" {
		t.Errorf("report %+v of event %s, want %s", report, event.EventID, told)
	}
	if !env.Arrived.After(event.Arrived) || env.EventID == event.EventID || env.CallID != event.CallID {
		t.Errorf("the report %+v does not follow its event %+v", env, event)
	}
	for _, env := range envs {
		if env.ReplyTo != "" || !env.Deadline.IsZero() {
			t.Errorf("%+v waits for a reply", env)
		}
	}
}

// TestWindowWithSpool plays the stream, the worker and the disk against the clock,
// as TestWindow does. Whatever is slow, the answer leaves inside the window; it is a
// 503 only when neither the stream nor the spool is known to have what it promises.
func TestWindowWithSpool(t *testing.T) {
	t.Parallel()
	const (
		ms     = time.Millisecond
		giveUp = 2250 * ms
		window = 2500 * ms
	)
	const (
		event = "spool event incoming_call"
		told  = "spool told incoming_call"
	)
	for name, c := range map[string]struct {
		script  script
		tell    func(context.Context, messages.Envelope) error
		disk    func(context.Context) error
		away    bool // NATS
		waits   bool // something is in the spool already
		event   string
		status  int
		outcome outcome
		after   time.Duration
		journal []string
		reason  reason // of the hold, if one is counted
		missed  bool
	}{
		"NATS is away": {
			away: true, disk: diskTakes(7 * ms),
			status: 200, outcome: outcomeSpooled, after: 7 * ms,
			journal: []string{event, told, "answer 200"}, reason: reasonAway,
		},
		"NATS is away, and the disk is slow": {
			away: true, disk: diskTakes(window - ms),
			status: 200, outcome: outcomeSpooled, after: window - ms,
			journal: []string{event, told, "answer 200"}, reason: reasonAway,
		},
		"NATS is away, and the disk is too slow": {
			away: true, disk: diskTakes(never),
			status: 503, outcome: outcomeUnstored, after: window,
			journal: []string{"answer 503"},
		},
		"NATS is away, and the spool is full": {
			away: true, disk: diskFull,
			status: 503, outcome: outcomeUnstored,
			journal: []string{"answer 503"},
		},
		"NATS is away at the end of a call": {
			away: true, disk: diskTakes(7 * ms), event: ended,
			status: 200, outcome: outcomeStored, after: 7 * ms,
			journal: []string{"spool event call_completed", "answer 200"},
		},
		"NATS is away and a dial was not answered": {
			away: true, event: dialled("busy"),
			status: 200, outcome: outcomeSpooled,
			journal: []string{"spool event dial_completed", "spool told dial_completed", "answer 200"},
		},
		"the spool is not empty": {
			waits:  true,
			status: 200, outcome: outcomeSpooled, after: drainPatience,
			journal: []string{event, told, "answer 200"}, reason: reasonSpool,
		},
		"the spool is not empty at the end of a call": {
			waits: true, event: ended,
			status: 200, outcome: outcomeStored, after: drainPatience,
			journal: []string{"spool event call_completed", "answer 200"},
		},
		"the spool is full": {
			waits: true, disk: diskFull,
			status: 200, outcome: outcomeSpooled, after: drainPatience,
			journal: []string{"tell event incoming_call", "tell told incoming_call", "answer 200"}, reason: reasonSpool,
		},
		"the spool hangs": {
			waits: true, disk: diskTakes(never), tell: slowTell(3 * ms),
			status: 200, outcome: outcomeSpooled, after: drainPatience + (window-drainPatience)/2 + 6*ms,
			journal: []string{"tell event incoming_call", "tell told incoming_call", "answer 200"}, reason: reasonSpool,
		},
		"the spool is full and the stream hangs": {
			waits: true, disk: diskFull, tell: slowTell(never),
			status: 503, outcome: outcomeUnstored, after: window,
			journal: []string{"answer 503"},
		},
		"the spool hangs and the stream hangs": {
			waits: true, disk: diskTakes(never), tell: slowTell(never),
			status: 503, outcome: outcomeUnstored, after: window,
			journal: []string{"answer 503"},
		},
		"both refuse": {
			waits: true, disk: diskFull, tell: tellFails,
			status: 503, outcome: outcomeUnstored, after: drainPatience,
			journal: []string{"answer 503"},
		},
		"both refuse the end of a call": {
			waits: true, disk: diskFull, tell: tellFails, event: ended,
			status: 503, outcome: outcomeUnstored, after: drainPatience,
			journal: []string{"answer 503"},
		},
		"the stream refuses": {
			script: script{storedAt: 5 * ms, stored: errFull, replyAt: never},
			status: 200, outcome: outcomeSpooled, after: 5 * ms,
			journal: []string{"ask incoming_call", event, told, "answer 200"}, reason: reasonNotStored,
		},
		"the stream refuses although a worker decided": {
			script: script{storedAt: 5 * ms, stored: errFull, replyAt: ms, reply: decided}, disk: diskTakes(7 * ms),
			status: 200, outcome: outcomeDecided, after: 12 * ms,
			journal: []string{"ask incoming_call", event, "answer 200"},
		},
		"the stream refuses and a worker cannot decide": {
			script: script{storedAt: 5 * ms, stored: errFull, replyAt: ms, reply: holds},
			status: 200, outcome: outcomeSpooled, after: 5 * ms,
			journal: []string{"ask incoming_call", event, told, "answer 200"}, reason: reasonNotStored,
		},
		"the stream refuses the end of a call": {
			tell: tellFails, event: ended,
			status: 200, outcome: outcomeStored,
			journal: []string{"spool event call_completed", "answer 200"},
		},
		"the stream hangs at the end of a call": {
			tell: slowTell(never), event: ended,
			status: 200, outcome: outcomeStored, after: window / 2,
			journal: []string{"spool event call_completed", "answer 200"},
		},
		"no question can be put": {
			script: script{refused: errFull},
			status: 200, outcome: outcomeSpooled,
			journal: []string{"ask incoming_call", event, told, "answer 200"}, reason: reasonNotStored,
		},
		"no acknowledgement": {
			script: script{storedAt: never, replyAt: never}, disk: diskTakes(7 * ms),
			status: 200, outcome: outcomeSpooled, after: giveUp + 7*ms,
			journal: []string{"ask incoming_call", event, told, "answer 200"}, reason: reasonNotStored, missed: true,
		},
		"no acknowledgement, but a decision": {
			script: script{storedAt: never, replyAt: ms, reply: decided}, disk: diskTakes(7 * ms),
			status: 200, outcome: outcomeDecided, after: giveUp + 7*ms,
			journal: []string{"ask incoming_call", event, "answer 200"},
		},
		"a decision, no acknowledgement, a disk that hangs": {
			script: script{storedAt: never, replyAt: ms, reply: decided}, disk: diskTakes(never), tell: slowTell(3 * ms),
			status: 200, outcome: outcomeDecided, after: giveUp + 128*ms,
			journal: []string{"ask incoming_call", "tell event incoming_call", "answer 200"},
		},
		"a decision, a late acknowledgement, a disk that hangs": {
			script: script{storedAt: giveUp + 9*ms, replyAt: ms, reply: decided}, disk: diskTakes(never), tell: slowTell(never),
			status: 200, outcome: outcomeDecided, after: window,
			journal: []string{"ask incoming_call", "answer 200"},
		},
		"a decision, an acknowledgement that never comes, a disk that hangs": {
			script: script{storedAt: never, replyAt: ms, reply: decided}, disk: diskTakes(never), tell: slowTell(never),
			status: 503, outcome: outcomeUnstored, after: window,
			journal: []string{"ask incoming_call", "answer 503"},
		},
		"the report is refused": {
			script: script{storedAt: 5 * ms, replyAt: 9 * ms, reply: holds}, tell: tellFails,
			status: 200, outcome: outcomeHeld, after: 9 * ms,
			journal: []string{"ask incoming_call", told, "answer 200"}, reason: reasonOther,
		},
		"the report hangs": {
			script: script{storedAt: 5 * ms, replyAt: never}, tell: slowTell(never), disk: diskTakes(7 * ms),
			status: 200, outcome: outcomeMissed, after: giveUp + 132*ms,
			journal: []string{"ask incoming_call", told, "answer 200"}, reason: reasonNoReply, missed: true,
		},
		"the report takes too long for the window, in both": {
			script: script{storedAt: 5 * ms, replyAt: never}, tell: slowTell(never), disk: diskTakes(300 * ms),
			status: 503, outcome: outcomeUntold, after: window,
			journal: []string{"ask incoming_call", "answer 503", told}, missed: true,
		},
		"the report hangs in both": {
			script: script{storedAt: 5 * ms, replyAt: never}, tell: slowTell(never), disk: diskTakes(never),
			status: 503, outcome: outcomeUntold, after: window,
			journal: []string{"ask incoming_call", "answer 503"}, missed: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sp := &fakeSpool{disk: c.disk}
				d := newDoor(t, Config{}, &fakeBus{script: c.script, tell: c.tell, spool: sp})
				d.bus.away.Store(c.away)
				if c.waits {
					sp.kept = []messages.Envelope{{EventID: "earlier"}}
				}
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
				if decidedIt := w.Body.String() == decision; decidedIt != (c.outcome == outcomeDecided) {
					t.Errorf("outcome %s, and the answer is %s", c.outcome, w.Body)
				}
				if c.outcome == outcomeSpooled {
					kept := slices.DeleteFunc(append(sp.kept, d.bus.told...), func(e messages.Envelope) bool { return e.EventID == "earlier" })
					want := messages.ToldHold
					if c.event != "" {
						want = messages.ToldHangup
					}
					keptIn(t, kept, want)
				}
				wantHolds := 0.0
				if c.reason != "" {
					wantHolds = 1
				}
				if all, got := d.metric(t, "offhook_webhook_holds_total"), d.metric(t, "offhook_webhook_holds_total", "reason="+string(c.reason)); all != wantHolds || got != wantHolds {
					t.Errorf("%v holds, %v of them %s, want %v", all, got, c.reason, wantHolds)
				}
				if got := d.metric(t, "offhook_webhook_missed_windows_total") == 1; got != c.missed {
					t.Errorf("missed: %t, want %t", got, c.missed)
				}
			})
		})
	}
}

// TestReportsOutliveTheStop: when work is cut short while a report is on its way to
// a stream that hangs, the spool still gets it inside the margin.
func TestReportsOutliveTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sp := &fakeSpool{disk: diskTakes(100 * time.Millisecond)}
		d := newDoor(t, Config{AnswerWithin: time.Minute, AnswerMargin: time.Second}, &fakeBus{script: script{reply: holds}, tell: slowTell(never), spool: sp})
		work, abort := context.WithCancelCause(context.Background())
		time.AfterFunc(10*time.Second, func() { abort(errStopping) })
		w := httptest.NewRecorder()
		began := time.Now()
		d.serve(work, w, signed(t, incoming))
		if took := time.Since(began); w.Code != 200 || took != 10*time.Second+500*time.Millisecond+100*time.Millisecond {
			t.Errorf("status %d after %v", w.Code, took)
		}
		if len(sp.kept) != 1 {
			t.Errorf("%d in the spool, want the report", len(sp.kept))
		}
	})
}

// TestReplyAroundTheSpool moves the reply over the moment of giving up in steps of
// 1 ms while the stream confirms nothing: each time the caller gets the decision of
// an event that the spool has, or a hold that the spool knows of.
func TestReplyAroundTheSpool(t *testing.T) {
	t.Parallel()
	for at := 2200 * time.Millisecond; at <= 2300*time.Millisecond; at += time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			sp := &fakeSpool{disk: diskTakes(20 * time.Millisecond)}
			d := newDoor(t, Config{}, &fakeBus{script: script{storedAt: never, replyAt: at, reply: decided}, spool: sp})
			w := d.post(signed(t, incoming))
			decidedIt, told := w.Body.String() == decision, len(sp.kept) == 2
			if w.Code != 200 || decidedIt == told || len(sp.kept) == 0 || sp.kept[0].Kind != messages.KindEvent {
				t.Errorf("reply after %v: status %d, decision %t, told %t", at, w.Code, decidedIt, told)
			}
			if late := d.metric(t, "offhook_webhook_late_replies_total"); at < 2270*time.Millisecond && at != 2250*time.Millisecond && late+b2f(decidedIt) != 1 {
				t.Errorf("reply after %v: decision %t, %v late", at, decidedIt, late)
			}
			synctest.Wait()
		})
	}
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// TestOneMicrosecond: a report stands after its event also when the clock has not
// moved, or has moved back.
func TestOneMicrosecond(t *testing.T) {
	t.Parallel()
	for _, arrived := range []time.Time{micros(time.Now()), micros(time.Now().Add(time.Hour))} {
		env, err := reportOf(messages.Envelope{EventID: "e", CallID: "c", Arrived: arrived}, messages.ToldHold, "")
		if err != nil || !env.Arrived.After(arrived) {
			t.Errorf("event %v, report %v, %v", arrived, env.Arrived, err)
		}
	}
}

// Edge case 26: a caller who hangs up during a hold leaves the event, the report of
// its hold and the call's end behind, in this order, in the stream as in the spool.
func TestHangUpDuringAHold(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, Config{}, &fakeBus{script: script{replyAt: never}, spool: &fakeSpool{}})
			d.bus.away.Store(away)
			for _, event := range []string{incoming, `{"event":"call_completed","reference_id":"534e1848-235f-482d-983d-e3e11a04f58a"}`} {
				if w := d.post(signed(t, event)); w.Code != 200 {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			}
			stored := append(d.bus.sequence(), d.bus.spool.all()...)
			if len(stored) != 3 {
				t.Fatalf("stored %d", len(stored))
			}
			told, err := messages.ParseTold(stored[1].Body)
			if err != nil || told.EventID != stored[0].EventID || told.Answer != messages.ToldHold || stored[2].Event != "call_completed" {
				t.Errorf("away %t: stored %+v", away, stored)
			}
			if n := len(d.fallbacks.rows.young); n != 0 {
				t.Errorf("%d rows are remembered after the end", n)
			}
		})
	}
}

// An event that comes while the spool is being drained waits a moment for that, and
// then goes to a worker.
func TestWaitsForTheDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const soon = drainPatience / 2
		sp := &fakeSpool{kept: []messages.Envelope{{EventID: "earlier"}}}
		d := newDoor(t, Config{}, &fakeBus{script: script{reply: messages.Reply{Verdict: messages.VerdictDecided, Action: []byte(`{}`)}}, spool: sp})
		go func() {
			<-time.After(soon)
			_ = sp.Drain(context.Background(), func(context.Context, []messages.Envelope) error { return nil })
		}()
		began := time.Now()
		d.serve(context.Background(), httptest.NewRecorder(), signed(t, incoming))
		if took := time.Since(began); took < soon || took >= drainPatience {
			t.Errorf("answered after %v, want %v", took, soon)
		}
		if got := d.metric(t, "offhook_webhook_answers_total", "outcome="+string(outcomeDecided)); got != 1 {
			t.Errorf("%v answers were decided, want 1", got)
		}
	})
}
