package worker_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/worker/call"
)

// surveyed is a whole call of the survey, event by event.
var surveyed = []struct {
	words, action string
	says          []string // what a worker says to anybody while it handles it
}{
	{"dial_completed answered", hello, []string{"redis lrange", "redis evalsha", "redis evalsha", "reply"}},
	{"speak_completed 1", rating, []string{"redis lrange", "redis evalsha", "reply"}},
	{"play_completed 4", thanks, []string{"redis lrange", "redis evalsha", "reply"}},
	{"speak_completed", hangup, []string{"redis lrange", "redis evalsha", "reply"}},
	{"call_completed", "{}", []string{"redis lrange", "redis evalsha", "reply", "records"}},
}

// I1, I3, I5, I6: a worker dies at each thing that it says to anybody while it handles
// an event: before it is heard, or after, before it hears the answer; or with all said
// and only the ack missing. Its event comes again to another one, and the caller hears
// what the caller of an undisturbed call hears.
func TestWorkerDiesAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.start(plan{})
	other.consume()
	for i, event := range surveyed {
		if i > 0 && slices.Equal(event.says, surveyed[i-1].says) {
			continue // the same once more
		}
		run := func(at int, fate verdict) []string {
			l := w.byHand(other)
			for _, before := range surveyed[:i] {
				l.wantAnswer(before.words, before.action, nil)
			}
			var said []string
			l.wantAnswer(event.words, event.action, func(d bus.Delivery) { said = w.dieHandling(d, l.external, at, fate, false) })
			for _, after := range surveyed[i+1:] {
				l.wantAnswer(after.words, after.action, nil)
			}
			l.wantWhole(said)
			return said
		}
		run(0, pass) // so that Redis has the scripts
		if said := run(0, pass); !slices.Equal(said, event.says) {
			t.Fatalf("%s: says %q, want %q", event.words, said, event.says)
		}
		for at := 1; at <= len(event.says); at++ {
			for _, fate := range []verdict{loseRequest, loseAnswer} {
				if said := run(at, fate); len(said) < at {
					t.Errorf("%s: said %q, and should have died at the %dth", event.words, said, at)
				}
			}
		}
	}
}

// Likewise while it puts the event in the late lane, because its store is away: what
// ingress has heard by then is true, and the event is stepped once, in its place.
func TestWorkerDiesDeferring(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.start(plan{bus: w.connect(w.nats.URL())})
	other.consume()
	for i, event := range surveyed {
		if i > 0 && slices.Equal(event.says, surveyed[i-1].says) {
			continue
		}
		for at := 0; at <= 2; at++ {
			for _, fate := range []verdict{loseRequest, loseAnswer} {
				l := w.byHand(other)
				for _, before := range surveyed[:i] {
					l.wantAnswer(before.words, before.action, nil)
				}
				var said []string
				l.wantAnswer(event.words, event.action, func(d bus.Delivery) { said = w.dieHandling(d, l.external, at, fate, true) })
				if want := []string{"reply", "late"}; at == 0 && !slices.Equal(said, want) {
					t.Errorf("%s: says %q, want %q", event.words, said, want)
				}
				for _, after := range surveyed[i+1:] {
					l.wantAnswer(after.words, after.action, nil)
				}
				l.wantWhole(said)
			}
		}
	}
}

// dieHandling lets a worker handle a delivery and die at the at-th thing that it says,
// and returns what it said. away takes its store away from the beginning.
func (w *world) dieHandling(d bus.Delivery, external string, at int, fate verdict, away bool) []string {
	t := w.t
	t.Helper()
	toRedis, redisURL := w.relayToRedis()
	toNATS, natsURL := w.relayToNATS()
	dying := w.start(plan{store: w.openStore(redisURL), bus: w.connect(natsURL)})
	if away {
		toRedis.takeAway()
	}
	ctx, end := context.WithCancel(within(t))
	defer end()
	var mu sync.Mutex
	var said []string
	say := func(what string, others *relay) verdict {
		mu.Lock()
		said = append(said, what)
		dies := len(said) == at && fate != pass
		mu.Unlock()
		if !dies {
			return pass
		}
		others.takeAway()
		end()
		return fate
	}
	toRedis.watch(func(sent []byte) verdict {
		if !bytes.Contains(sent, []byte(d.CallID)) && !bytes.Contains(sent, []byte(external)) {
			return pass
		}
		return say("redis "+strings.ToLower(string(bytes.Split(sent, []byte("\r\n"))[2])), toNATS)
	})
	toNATS.watch(func(sent []byte) verdict {
		for line := range bytes.SplitSeq(sent, []byte("\r\n")) { // several may leave in one write
			for _, what := range []struct{ subject, name string }{{d.ReplyTo, "reply"}, {"offhook.records.", "records"}, {"offhook.late.", "late"}} {
				if !bytes.HasPrefix(line, []byte("HPUB "+what.subject)) {
					continue
				}
				if v := say(what.name, toRedis); v != pass {
					return v
				}
			}
		}
		return pass
	})
	dying.events.Handle(ctx, d)
	_ = dying.bus.Ready() // a reply leaves when it leaves; before this question in any case
	toRedis.takeAway()
	toNATS.takeAway()
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(said)
}

// handLive is a call whose deliveries are made by hand, with its ingress.
type handLive struct {
	*live
	p *process // that handles what no other one has died of
}

func (w *world) byHand(p *process) *handLive { return &handLive{live: w.newLive(nil), p: p} }

// wantAnswer posts an event and wants the caller to hear an action, in the end: while
// there are holds, their ends are posted. first, if set, handles it before the process
// does.
func (l *handLive) wantAnswer(words, action string, first func(bus.Delivery)) {
	t := l.w.t
	t.Helper()
	for range 100 {
		r := l.post(words, first)
		if r.Verdict == messages.VerdictDecided {
			l.wantAction(r, words, action)
			if action != "{}" {
				l.heard = append(l.heard, action)
			}
			return
		}
		if words == "call_completed" { // ingress does not wait for an answer to it
			return
		}
		eventually(t, "the late lane is drained", func() bool { return !l.p.bus.LateWaiting(l.id) })
		words, first = "speak_completed", nil
	}
	t.Fatal("on hold for ever")
}

// post is one webhook: it is delivered until it is done, its ingress takes the first
// reply and, if that is a hold, reports it.
func (l *handLive) post(words string, first func(bus.Delivery)) messages.Reply {
	t := l.w.t
	t.Helper()
	d := l.w.delivery(l.envelope(words))
	l.events = append(l.events, d.Envelope)
	inbox := l.w.listen(d)
	if first != nil {
		first(d)
		d.Attempt++
	}
	l.deliver(d)
	replies := l.p.replies(inbox, d)
	if len(replies) == 0 {
		t.Fatalf("%s: no reply", words)
	}
	for _, r := range replies[1:] { // I3
		if r.Verdict == messages.VerdictDecided && replies[0].Verdict == messages.VerdictDecided && !bytes.Equal(r.Action, replies[0].Action) {
			t.Errorf("%s: replies %s and %s", words, replies[0].Action, r.Action)
		}
	}
	if replies[0].Verdict == messages.VerdictHold && words != "call_completed" {
		report := l.w.delivery(l.told(d.Envelope, messages.ToldHold))
		report.ReplyTo = ""
		l.events = append(l.events, report.Envelope)
		l.deliver(report)
	}
	return replies[0]
}

// deliver hands a delivery to the process until it is done with it.
func (l *handLive) deliver(d bus.Delivery) {
	l.w.t.Helper()
	for ; l.p.events.Handle(within(l.w.t), d) != bus.Done(); d.Attempt++ {
		if d.Attempt > 5 {
			l.w.t.Fatalf("%s is not done after %d deliveries", d.Event, d.Attempt)
		}
	}
}

func (l *handLive) wantWhole(said []string) {
	l.w.t.Helper()
	failed := l.w.t.Failed()
	l.live.wantWhole()
	_, _, log := l.w.state(l.id)
	if !slices.IsSortedFunc(log, func(a, b call.Entry) int { return int(a.Seq) - int(b.Seq) }) {
		l.w.t.Errorf("the log is not in the order of the stream: %+v", log)
	}
	if l.w.t.Failed() && !failed {
		l.w.t.Fatalf("the worker had said %q", said)
	}
}
