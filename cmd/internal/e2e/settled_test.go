package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// settledCall is one call from both sides.
type settledCall struct {
	record messages.Record      // the newest revision
	script simulator.Transcript // what TeleSign posted and was answered
}

// String is both sides, by time.
func (c settledCall) String() string {
	var lines []string
	for _, x := range c.script.Exchanges {
		lines = append(lines, fmt.Sprintf("%s  TeleSign %s copy %d executed %t hold %t missed %q %s -> %.120s", x.Sent.UTC().Format("05.000000"), x.Name, x.Copy, x.Executed, x.Hold, x.Missed, x.Event, x.Answer))
	}
	for _, m := range c.record.Timeline {
		lines = append(lines, fmt.Sprintf("%s  record   %s %s %q %s %s (%s) -> %.120s", m.At.UTC().Format("05.000000"), m.EventID, m.Event, m.Status+" "+m.Digits, m.Decision, m.Step, m.Reason, m.Action))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// settled waits until all n calls are over and check finds nothing wrong: a report
// that comes late makes another revision of a record.
func (y *system) settled(n int, check func(map[string]settledCall) []string) {
	y.t.Helper()
	ctx := within(y.t)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		records := y.records(n)
		calls := make(map[string]settledCall, n)
		for _, script := range y.sim.Transcripts() {
			calls[script.To] = settledCall{records[script.To], script}
		}
		wrong := check(calls)
		if len(wrong) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			slices.Sort(wrong)
			y.t.Errorf("%d calls are wrong:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
			to, _, _ := strings.Cut(wrong[0], " ")
			y.t.Logf("the first of them, as TeleSign saw it and as its record has it:\n%s", calls[to])
			return
		}
	}
}

// disagreements compares what state says that callers were told with what TeleSign
// was answered (I5): every action that was executed is in the timeline, in order, and
// the holds are as many.
func disagreements(calls map[string]settledCall) (wrong []string) {
	for to, c := range calls {
		var told []json.RawMessage
		for _, m := range c.record.Timeline {
			if len(m.Action) > 0 {
				told = append(told, m.Action)
			}
		}
		holds := 0
		for _, x := range c.script.Exchanges {
			switch {
			case x.Hold && x.Missed == "" && !x.Lost:
				holds++
			case x.Executed && x.Name != telesign.CallCompleted:
				i := slices.IndexFunc(told, func(action json.RawMessage) bool { return sameJSON(action, []byte(x.Answer)) })
				if i < 0 {
					wrong = append(wrong, fmt.Sprintf("%s (%s): after %s TeleSign was answered %s, which its timeline does not have there", to, c.record.CallID, x.Name, x.Answer))
					continue
				}
				told = told[i+1:]
			}
		}
		if holds != c.record.Holds {
			wrong = append(wrong, fmt.Sprintf("%s (%s): TeleSign was answered %d holds, its record says %d", to, c.record.CallID, holds, c.record.Holds))
		}
	}
	return wrong
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// nothingLost checks that whatever was answered with a 2xx is in the events stream
// (I1), once the spools are empty.
func (y *system) nothingLost() {
	y.t.Helper()
	ctx := within(y.t)
	answered := map[string]int{}
	for _, script := range y.sim.Transcripts() {
		for _, x := range script.Exchanges {
			if x.Missed == "" {
				answered[script.ReferenceID]++
			}
		}
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		stored := y.storedEvents()
		var lost []string
		for call, n := range answered {
			if stored[call] < n {
				lost = append(lost, fmt.Sprintf("%s: %d of %d", call, stored[call], n))
			}
		}
		if len(lost) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			y.t.Errorf("of %d calls fewer events are stored than were answered:\n%s", len(lost), strings.Join(lost[:min(len(lost), 10)], "\n"))
			return
		}
	}
}

// storedEvents counts the events in the stream by call, each id once.
func (y *system) storedEvents() map[string]int {
	y.t.Helper()
	ctx := within(y.t)
	stream := y.stream(messages.StreamEvents)
	info, err := stream.Info(ctx)
	if err != nil {
		y.t.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		y.t.Fatal(err)
	}
	counts, seen := map[string]int{}, map[string]bool{}
	reading, err := consumer.Messages()
	if err != nil {
		y.t.Fatal(err)
	}
	defer reading.Stop()
	for last := uint64(0); last < info.State.LastSeq; {
		m, err := reading.Next()
		if err != nil {
			y.t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			y.t.Fatal(err)
		}
		last = meta.Sequence.Stream
		env, err := messages.ParseEnvelope(m.Headers(), m.Data())
		if err != nil {
			y.t.Fatal(err)
		}
		if env.Kind == messages.KindEvent && !seen[env.EventID] {
			seen[env.EventID] = true
			counts[env.CallID]++
		}
	}
	return counts
}

// ended waits until a call is over and returns its record: the answer to
// call_completed does not wait for the worker.
func (y *system) ended(call string) messages.Record {
	y.t.Helper()
	ctx := within(y.t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		shown, err := y.api.Call(ctx, call)
		if err != nil {
			y.t.Fatal(err)
		}
		if shown.Status == messages.CallEnded {
			return shown.Record
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			y.t.Fatalf("call %s is %s and does not end", call, shown.Status)
		}
	}
}
