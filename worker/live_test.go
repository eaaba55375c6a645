package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/worker/call"
)

// hold is what an ingress writes by itself.
const hold = "hold"

// live is a call of the survey while it goes on, with the ingress that serves it: it
// answers each thing that its caller hears, as the survey wants, and wants the survey
// and nothing else.
type live struct {
	*caller
	ingress *bus.Bus
	window  time.Duration // after which its ingress writes the hold by itself

	events  []messages.Envelope
	heard   []string        // every action but holds, in order
	holds   []time.Duration // how long each took to come
	decided chan struct{}   // has a value when an action came; nil when nobody wants to know
}

func (w *world) newLive(ingress *bus.Bus) *live {
	w.t.Helper()
	return &live{caller: w.place(), ingress: ingress, window: 2500 * time.Millisecond}
}

// reactions are what a caller does about what is heard.
var reactions = map[string]string{
	hello: "speak_completed 1", rating: "play_completed 4", thanks: "speak_completed", hangup: "call_completed", hold: "speak_completed",
}

// heardWhole is what a caller hears who misses nothing.
var heardWhole = []string{hello, rating, thanks, hangup}

// play goes through the call. The prompts last no time but the hold, which lasts for
// pause.
func (l *live) play(ctx context.Context, pause time.Duration) error {
	words := "dial_completed answered"
	for {
		written, err := l.post(ctx, words)
		if err != nil {
			return fmt.Errorf("%s after %q: %w", words, l.heard, err)
		}
		if words == "call_completed" {
			return nil
		}
		reaction, known := reactions[written]
		if !known {
			return fmt.Errorf("%s got %s after %q", words, written, l.heard)
		}
		if words = reaction; written == hold {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// post is one webhook: what its ingress writes, after it has reported what it decided
// by itself.
func (l *live) post(ctx context.Context, words string) (written string, err error) {
	env := l.envelope(words)
	env.Deadline = env.Arrived.Add(l.window)
	l.events = append(l.events, env)
	if words == "call_completed" {
		return "{}", l.ingress.Tell(ctx, env)
	}
	began := time.Now()
	p, err := l.ingress.Ask(env)
	if err != nil {
		return "", err
	}
	defer p.Close()
	over := time.After(l.window)
	stored, reply := p.Stored, messages.Reply{Verdict: messages.VerdictHold, Reason: "window"}
	for waiting := true; waiting; {
		select {
		case err := <-stored:
			if err != nil {
				return "", err
			}
			stored = nil
		case reply = <-p.Reply:
			waiting = false
		case <-over:
			waiting = false
		}
	}
	if reply.Verdict == messages.VerdictDecided {
		l.heard = append(l.heard, string(reply.Action))
		if l.decided != nil {
			select {
			case l.decided <- struct{}{}:
			default:
			}
		}
		return string(reply.Action), nil
	}
	l.holds = append(l.holds, time.Since(began))
	report := l.told(env, messages.ToldHold)
	l.events = append(l.events, report)
	return hold, l.ingress.Tell(ctx, report)
}

// wantWhole wants a call that has ended to have been heard, kept and recorded whole:
// nothing skipped, nothing twice, nothing made up.
func (l *live) wantWhole() {
	t := l.w.t
	t.Helper()
	if !slices.Equal(l.heard, heardWhole) {
		t.Errorf("heard:\n%s", strings.Join(l.heard, "\n"))
	}
	for _, env := range l.events {
		l.awaitLogged(env)
	}
	_, state, log := l.w.state(l.id)
	times := map[string]int{}
	for _, e := range log {
		times[e.ID]++
	}
	for _, env := range l.events {
		if n := times[env.EventID]; n != 1 {
			t.Errorf("%s %s is in the log %d times", env.Kind, env.Event, n)
		}
	}
	machine := call.Machine{Program: compile(t, survey), Limits: limits}
	folded, err := machine.Fold(state.Facts, log).Encode()
	noError(t, err)
	if stored, err := state.Encode(); err != nil || string(stored) != string(folded) {
		t.Errorf("the state is not that of the log: %v\n%s\n%s", err, stored, folded)
	}
	var last messages.Record
	eventually(t, "the last record is published", func() bool {
		for _, r := range l.records() {
			if r.Revision > last.Revision {
				last = r
			}
		}
		return len(last.Timeline) == len(log)
	})
	if last.Disposition != messages.DispositionCompleted {
		t.Errorf("ended as %s %s: %s", last.Disposition, last.Reason, timeline(last))
	}
	wantAnswers(t, last, map[string]string{"rating": "4 good"})
}
