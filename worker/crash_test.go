package worker_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// I4: a dialer dies at each thing that it says to anybody: before it is heard, or
// after, before it hears the answer. Then its job comes again to another dialer, and
// the reaper does its work. Whatever happened: at most one POST, and nothing lost.
// (Its ack is the bus' to send; see TestNoPOSTWithoutAConfirmedAck.)
func TestDialerDiesAnywhere(t *testing.T) {
	t.Parallel()
	const begin, resolve = "redis evalsha", "redis evalsha"
	scenarios := []struct {
		name   string
		answer answer
		says   []string // up to the end of a dial that nothing disturbs
	}{
		{"accepted", acceptedAnswer, []string{begin, "POST", resolve}},
		{"refused", answer{http.StatusBadRequest, `{"status":"invalid_phone_number"}`}, []string{begin, "POST", resolve, "records", resolve}},
		{"ambiguous", answer{http.StatusInternalServerError, "oh dear"}, []string{begin, "POST", resolve, "failed", "redis zrem"}},
	}
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.dieAt(s.answer, 0, pass) // so that Redis has the scripts
			if said := w.dieAt(s.answer, 0, pass); strings.Join(said, ", ") != strings.Join(s.says, ", ") {
				t.Fatalf("a dial says %q, want %q", said, s.says)
			}
			for at := 1; at <= len(s.says); at++ {
				for _, fate := range []verdict{loseRequest, loseAnswer} {
					if said := w.dieAt(s.answer, at, fate); len(said) != at {
						t.Errorf("said %q, and should have died at the %dth", said, at)
					}
				}
			}
		})
	}
}

// dieAt lets one dialer handle a job and die at the at-th thing it says, and others
// clear up. It returns what the first one said.
func (w *world) dieAt(a answer, at int, fate verdict) []string {
	t := w.t
	t.Helper()
	c := w.place()
	toRedis, redisURL := w.relayToRedis()
	toNATS, natsURL := w.relayToNATS()
	first := w.start(plan{store: w.openStore(redisURL), bus: w.connect(natsURL)})
	ctx, end := context.WithCancel(within(t))
	defer end()

	// die takes the servers away, all but the one that has its own verdict to carry
	// out.
	die := func(relays ...*relay) {
		for _, r := range relays {
			r.takeAway()
		}
		end()
	}
	var mu sync.Mutex
	var said []string
	say := func(what string) verdict {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, what)
		if len(said) == at {
			return fate
		}
		return pass
	}
	toRedis.watch(func(sent []byte) verdict {
		if !bytes.Contains(sent, []byte(c.external)) {
			return pass
		}
		v := say("redis " + strings.ToLower(string(bytes.Split(sent, []byte("\r\n"))[2])))
		if v != pass {
			die(toNATS)
		}
		return v
	})
	toNATS.watch(func(sent []byte) verdict {
		for _, stream := range []string{"records", "failed"} {
			if !bytes.Contains(sent, []byte("PUB offhook."+stream+".")) {
				continue
			}
			v := say(stream)
			if v != pass {
				die(toRedis)
			}
			return v
		}
		return pass
	})
	s := startTeleSign(t, a)
	s.during = func(string) { // TeleSign has heard the POST in any case
		switch say("POST") {
		case loseRequest:
			die(toRedis, toNATS)
			panic(http.ErrAbortHandler)
		case loseAnswer:
			die(toRedis, toNATS)
		case pass, swallow:
		}
	}
	d := first.dialer(s)
	d.SettleWithin(patience, 20*time.Millisecond)
	job := messages.DialJob{Intent: w.intent(c.external)}
	if result := d.Handle(ctx, job, 1); result.After != nil {
		result.After(ctx)
	}
	s.during = nil
	mu.Lock()
	defer mu.Unlock()

	result := w.start(plan{}).dialer(s).Handle(within(t), job, 2)
	if result.Result != bus.Done() {
		t.Errorf("%q: the job that came again: %+v", said, result.Result)
	}
	if result.After != nil {
		result.After(within(t))
	}
	w.dueNow()
	noError(t, w.reaper().Reap(within(t)))
	w.wantNothingDue()
	w.wantWhole(c.external, s, said)
	return said
}

func (w *world) isDue(id string) (due bool) {
	w.t.Helper()
	w.eachDue(func(member string) { due = due || member == id })
	return due
}

// wantWhole wants a dial to have come to one end, which shows wherever it has to.
func (w *world) wantWhole(id string, s *teleSign, said []string) {
	w.t.Helper()
	posts, records, failures := s.posted(id), 0, 0
	for _, r := range w.records() {
		if r.ExternalID == id {
			records++
		}
	}
	for _, f := range w.failures() {
		if strings.Contains(string(f.Body), id) {
			w.wantParked(f, id)
			failures++
		}
	}
	in := w.intent(id)
	whole := false
	switch in.Status {
	case messages.CallAccepted:
		whole = posts == 1 && records == 0 && failures == 0
	case messages.CallRefused:
		whole = posts == 1 && records == 1 && failures == 0
	case messages.CallUnknown: // if its record was published before the end, both show
		whole = posts <= 1 && records <= 1 && failures >= 1
	case messages.CallQueued, messages.CallDialing, messages.CallLive, messages.CallEnded:
	}
	if !whole {
		w.t.Errorf("%q: intent is %s (%s), %d POSTs, %d records, %d failures", said, in.Status, in.Outcome, posts, records, failures)
	}
}
