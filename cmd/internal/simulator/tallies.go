package simulator

import (
	"maps"
	"sync"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// End is how a call ended, as the report counts it: one of these, or the Outcome
// of a dial that was not answered.
type End string

// The ends of calls that were answered.
const (
	EndHangup      End = "hangup"         // the webhook answered hangup
	EndPerson      End = "person_hung_up" // the person did, mid-prompt
	EndInvalid     End = "invalid_answer" // the webhook's answer was one TeleSign would refuse
	EndMissed      End = "missed_answer"  // the webhook gave no answer
	EndMaxDuration End = "max_duration"   // the call was as long as a call may be
	EndShutdown    End = "shutdown"       // the simulator stopped
)

// noAction is how answers without an action are counted.
const noAction telesign.Method = "none"

// tallies counts what the simulator sees. Safe for concurrent use; constant
// memory.
type tallies struct {
	mu       sync.Mutex
	requests map[string]int // by status word, or "http_" and the status where TeleSign has no word
	started  map[string]int // by direction
	ended    map[End]int
	events   map[telesign.EventName]int
	answers  map[telesign.Method]int
	missed   map[string]int
	invalid  int
	latency  latencies
	waited   time.Duration // the longest wait for a connection
	keep     int           // examples of each kind
	invalids []Example
	misses   []Example
}

func newTallies(examples int) *tallies {
	return &tallies{
		requests: make(map[string]int),
		started:  make(map[string]int),
		ended:    make(map[End]int),
		events:   make(map[telesign.EventName]int),
		answers:  make(map[telesign.Method]int),
		missed:   make(map[string]int),
		keep:     examples,
	}
}

func (t *tallies) request(word string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests[word]++
}

func (t *tallies) callStarted(direction string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started[direction]++
}

func (t *tallies) callEnded(end End) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[end]++
}

// exchanged counts one posted event. It reports whether e, the account of what was
// wrong with the answer if anything was, was kept as an example.
func (t *tallies) exchanged(v verdict, a answer, e Example) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !a.unsent {
		t.events[v.event]++
	}
	t.waited = max(t.waited, a.waited)
	if a.cut {
		return false
	}
	if a.missed == "" || a.missed == missedWindow {
		t.latency.add(a.latency)
	}
	switch {
	case a.missed != "":
		t.missed[a.missed]++
		return keepExample(&t.misses, e, t.keep)
	case v.invalid != "":
		t.invalid++
		return keepExample(&t.invalids, e, t.keep)
	}
	t.answers[v.method()]++
	return false
}

func keepExample(list *[]Example, e Example, keep int) bool {
	if len(*list) >= keep {
		return false
	}
	*list = append(*list, e)
	return true
}

// report fills in what the tallies know.
func (t *tallies) report(r *Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Requests = maps.Clone(t.requests)
	r.Calls.Ended = maps.Clone(t.ended)
	r.Calls.Outbound, r.Calls.Inbound = t.started[Outbound], t.started[Inbound]
	r.Calls.Total = r.Calls.Outbound + r.Calls.Inbound
	r.Calls.Live = r.Calls.Total
	for _, n := range t.ended {
		r.Calls.Live -= n
	}
	r.Events = maps.Clone(t.events)
	r.Answers = maps.Clone(t.answers)
	r.Invalid = Problems{Count: t.invalid, Examples: append([]Example{}, t.invalids...)}
	r.Missed = Problems{By: maps.Clone(t.missed), Examples: append([]Example{}, t.misses...)}
	for _, n := range t.missed {
		r.Missed.Count += n
	}
	r.Latency.Answers = t.latency.n
	r.Latency.P50 = milliseconds(t.latency.quantile(0.50))
	r.Latency.P90 = milliseconds(t.latency.quantile(0.90))
	r.Latency.P99 = milliseconds(t.latency.quantile(0.99))
	r.Latency.P999 = milliseconds(t.latency.quantile(0.999))
	r.Latency.Max = milliseconds(t.latency.max)
	r.ConnectionWait = milliseconds(t.waited)
}
