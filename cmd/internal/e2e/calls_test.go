package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

const surveyFile = "deploy/examples/visit-survey.yaml"

// run runs a part for the length of a test.
func run(t *testing.T, part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

// part is one way to take part in the example survey, and what must come of it.
type part struct {
	script simulator.Script
	want   string // disposition, then the answers in order
}

// parts cover every way out of the survey. Its questions, in order: begin with 1
// (2 declines), rating, waiting, recommend; 9 stops all calls, * repeats.
var parts = []part{
	{simulator.Script{Replies: []string{"1", "5", "1", "1"}}, "completed rating=5 waiting=1 recommend=1"},
	{simulator.Script{Replies: []string{"1", "2", "3", "2"}, Early: true}, "completed rating=2 waiting=3 recommend=2"},
	{simulator.Script{Replies: []string{"1", "4"}, HangUpIn: 3}, "partial rating=4"},
	{simulator.Script{HangUpIn: 1}, "hung_up"},
	{simulator.Script{}, "no_response"},
	{simulator.Script{Replies: []string{"2"}}, "declined"},
	{simulator.Script{Replies: []string{"1", "3", "9"}}, "opted_out rating=3"},
	{simulator.Script{Replies: []string{"1", "", "4", "*", "2", "7", "2"}}, "completed rating=4 waiting=2 recommend=2"},
	{simulator.Script{Replies: []string{"1", "7", "", "8"}}, "hung_up"},
	{simulator.Script{Outcome: simulator.Busy}, "busy"},
	{simulator.Script{Outcome: simulator.NoAnswer}, "no_answer"},
	{simulator.Script{Outcome: "carrier_exploded"}, "failed"},
}

// people gives everybody the part of their number; it rings for that long, in
// simulated time.
func people(ring time.Duration) simulator.People {
	return func(call simulator.CallInfo) simulator.Person {
		script := parts[indexOf(call.To)%len(parts)].script
		script.Ring = ring
		return simulator.Scripted(script)(call)
	}
}

// number is the number of person i; its last digits are i.
func number(i int) string { return fmt.Sprintf("1555867%04d", i) }

// indexOf is the person behind a number.
func indexOf(number string) (i int) {
	_, _ = fmt.Sscanf(number[len(number)-4:], "%d", &i)
	return i
}

// placeAll places n calls, a few at a time.
func (y *system) placeAll(n int) {
	y.t.Helper()
	group, ctx := errgroup.WithContext(within(y.t))
	group.SetLimit(32)
	for i := range n {
		group.Go(func() error {
			_, err := y.api.Place(ctx, messages.PlaceCall{To: number(i), Flow: "visit-survey", Contact: map[string]string{"first_name": "Ann"}})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		y.t.Fatal(err)
	}
}

// dialled waits until n calls have been accepted by TeleSign.
func (y *system) dialled(n int) simulator.Report {
	y.t.Helper()
	return y.until(fmt.Sprintf("%d calls", n), func(r simulator.Report) bool { return r.Calls.Total >= n })
}

// until waits for what the simulator has to see.
func (y *system) until(what string, seen func(simulator.Report) bool) simulator.Report {
	y.t.Helper()
	ctx := within(y.t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r := y.sim.Report()
		if seen(r) {
			return r
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			y.t.Fatalf("waited in vain for %s\n%s", what, r)
		}
	}
}

// records reads the records stream until n calls have ended, and returns the newest
// revision of each call's record by number.
func (y *system) records(n int) map[string]messages.Record {
	y.t.Helper()
	ctx := within(y.t)
	consumer, err := y.stream(messages.StreamRecords).OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		y.t.Fatal(err)
	}
	all := map[string]messages.Record{}
	var mu sync.Mutex
	enough := make(chan struct{})
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		var r messages.Record
		if err := json.Unmarshal(m.Data(), &r); err != nil {
			y.t.Errorf("record %s: %v", m.Data(), err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		old, again := all[r.To]
		if again && old.Key() != r.Key() {
			y.t.Errorf("%s was called twice: %s and %s", r.To, old.Key(), r.Key())
		}
		if !again || r.Revision >= old.Revision { // revisions may come in any order
			all[r.To] = r
		}
		if len(all) == n {
			select {
			case <-enough:
			default:
				close(enough)
			}
		}
	})
	if err != nil {
		y.t.Fatal(err)
	}
	defer reading.Stop()
	select {
	case <-enough:
	case <-ctx.Done():
		mu.Lock()
		defer mu.Unlock()
		y.t.Fatalf("%d of %d calls have a record\n%s", len(all), n, y.sim.Report())
	}
	if err := y.sim.Wait(ctx); err != nil {
		y.t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(all) // a late revision may still be written
}

// outcome is what a record says came of a call.
func outcome(r messages.Record) string {
	words := []string{string(r.Disposition)}
	for _, a := range r.Answers {
		words = append(words, a.Name+"="+a.Value)
	}
	return strings.Join(words, " ")
}

// checkRecords compares every record with the part that was played.
func checkRecords(t *testing.T, records map[string]messages.Record) {
	t.Helper()
	var wrong []string
	for to, r := range records {
		if got, want := outcome(r), parts[indexOf(to)%len(parts)].want; got != want {
			wrong = append(wrong, fmt.Sprintf("%s: got %q, want %q", to, got, want))
		}
	}
	slices.Sort(wrong)
	if len(wrong) > 0 {
		t.Errorf("%d records are wrong:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
	}
}

func checkNothingFailed(t *testing.T, y *system) {
	t.Helper()
	info, err := y.stream(messages.StreamFailed).Info(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs != 0 {
		t.Errorf("%d messages in the failed stream, want none", info.State.Msgs)
	}
}

// All 500 ring before the first one answers, so that all are live at once.
func TestFiveHundredCalls(t *testing.T) {
	t.Parallel()
	const calls = 500
	y := newSystem(t, shape{ingresses: 2, workers: 2, flows: []string{surveyFile}, sim: func(c *simulator.Config) {
		c.People = people(10 * time.Minute)
		c.Speed = 20
	}})
	y.placeAll(calls)
	if live := y.dialled(calls).Calls.Live; live != calls {
		t.Errorf("%d calls are live at once, want %d", live, calls)
	}
	checkRecords(t, y.records(calls))
	checkNothingFailed(t, y)
	report := y.sim.Report()
	t.Logf("\n%s", report)
	if !report.Healthy() || report.Calls.Total != calls {
		t.Errorf("the simulator saw %d calls, want %d; invalid %d, missed %d", report.Calls.Total, calls, report.Invalid.Count, report.Missed.Count)
	}
	if n := report.Events[telesign.CallCompleted]; n != calls {
		t.Errorf("%d calls ended, want %d", n, calls)
	}
}

// Each process of every role is replaced under load; nobody hears a hold, nothing
// is lost.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	const calls = 300
	y := newSystem(t, shape{ingresses: 2, workers: 2, flows: []string{surveyFile}, sim: func(c *simulator.Config) {
		c.People = people(20 * time.Second)
		c.Speed = 10
	}})
	y.placeAll(calls)
	for i := range 2 {
		old := y.workers[i]
		y.addWorker(surveyFile)
		old.terminate()
	}
	for i := range 2 {
		old := y.ingresses[i]
		y.addIngress()
		y.doors.remove(0)
		old.terminate()
	}
	checkRecords(t, y.records(calls))
	checkNothingFailed(t, y)
	report := y.sim.Report()
	t.Logf("\n%s", report)
	if !report.Healthy() {
		t.Errorf("invalid %d, missed %d", report.Invalid.Count, report.Missed.Count)
	}
}

// posted waits until n events have been posted.
func (y *system) posted(n int) {
	y.t.Helper()
	y.until(fmt.Sprintf("%d events", n), func(r simulator.Report) bool { return total(r) >= n })
}

// A worker dies with events in hand. Another one gets them within the window, so
// that every event is still answered and every record comes out right.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	const calls = 150
	y := newSystem(t, shape{ingresses: 1, workers: 2, flows: []string{surveyFile}, sim: func(c *simulator.Config) {
		c.People = people(20 * time.Second)
		c.Speed = 10
		c.Assume.ExternalIDOnce = true
		c.Assume.CompletePrompt = true
	}})
	y.placeAll(calls)
	y.dialled(calls)
	// Stopped, it takes the events of its open pulls and does nothing with them.
	y.posted(calls / 2)
	y.workers[0].pause()
	y.posted(calls)
	y.workers[0].kill()
	checkRecords(t, y.records(calls))
	checkNothingFailed(t, y)
	report := y.sim.Report()
	t.Logf("\n%s", report)
	if !report.Healthy() {
		t.Errorf("invalid %d, missed %d", report.Invalid.Count, report.Missed.Count)
	}
	if report.Latency.Max < 500 {
		t.Errorf("no answer took longer than %v ms: the worker held no event when it died, so this proved nothing", report.Latency.Max)
	}
}
