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
	EndLost        End = "lost_answer"    // a fault broke the connection of the last event
	EndMaxDuration End = "max_duration"   // the call was as long as a call may be
	EndShutdown    End = "shutdown"       // the simulator stopped
)

// noAction is how answers without an action are counted.
const noAction telesign.Method = "none"

// tallies counts what the simulator sees. Safe for concurrent use; constant
// memory.
type tallies struct {
	mu        sync.Mutex
	requests  map[string]int // by status word, or "http_" and the status where TeleSign has no word
	started   map[string]int // by direction
	ended     map[End]int
	events    map[telesign.EventName]int
	answers   map[telesign.Method]int
	missed    map[string]int
	invalid   int
	latency   latencies
	waited    time.Duration // the longest wait for a connection
	silent    time.Duration // the longest that a person heard nothing
	faults    map[FaultKind]int
	ignored   int // events whose answers nobody executes, call_completed apart
	copies    Copies
	differ    map[string]int
	different []Example
	holds     int
	heldCalls int // calls with a hold
	rows      map[int]int
	keep      int // examples of each kind
	invalids  []Example
	misses    []Example
}

func newTallies(examples int) *tallies {
	return &tallies{
		requests: make(map[string]int),
		started:  make(map[string]int),
		ended:    make(map[End]int),
		events:   make(map[telesign.EventName]int),
		answers:  make(map[telesign.Method]int),
		missed:   make(map[string]int),
		faults:   make(map[FaultKind]int),
		copies:   Copies{Missed: make(map[string]int)},
		differ:   make(map[string]int),
		rows:     make(map[int]int),
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
	t.timeLocked(a)
	if a.cut {
		return false
	}
	return t.judgeLocked(v, e)
}

// judged counts an answer that is executed, of an event that is counted already.
func (t *tallies) judged(v verdict, e Example) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.judgeLocked(v, e)
}

func (t *tallies) judgeLocked(v verdict, e Example) bool {
	switch {
	case v.lost:
		return false
	case v.missed != "":
		t.missed[v.missed]++
		return keepExample(&t.misses, e, t.keep)
	case v.invalid != "":
		t.invalid++
		return keepExample(&t.invalids, e, t.keep)
	}
	t.answers[v.method()]++
	return false
}

func (t *tallies) timeLocked(a answer) {
	t.waited = max(t.waited, a.waited)
	if !a.cut && !a.unread && (a.missed == "" || a.missed == missedWindow) {
		t.latency.add(a.latency)
	}
}

// copied counts a post of an event that is counted already.
func (t *tallies) copied(a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.unsent {
		return
	}
	t.copies.Posted++
	t.timeLocked(a)
	switch {
	case a.cut || a.lost:
	case a.missed != "":
		t.copies.Missed[a.missed]++
	default:
		t.copies.Answered++
	}
}

// unheard counts an event whose answer nobody executes.
func (t *tallies) unheard(v verdict, a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.unsent {
		return
	}
	t.events[v.event]++
	t.ignored++
	t.timeLocked(a)
}

// differs counts an answer that is another than that of an earlier copy. It
// reports whether e was kept as an example.
func (t *tallies) differs(how string, e Example) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.differ[how]++
	return keepExample(&t.different, e, t.keep)
}

func (t *tallies) injected(hits []hit) {
	if len(hits) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range hits {
		t.faults[h.Kind]++
	}
}

func (t *tallies) postedAgain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.copies.Again++
}

func (t *tallies) silence(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silent = max(t.silent, d)
}

// hold counts a hold, and the call if it is its first.
func (t *tallies) hold(first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holds++
	if first {
		t.heldCalls++
	}
}

func (t *tallies) holdRow(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[n]++
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
	r.Silence = milliseconds(t.silent)
	r.Faults = maps.Clone(t.faults)
	r.Ignored = t.ignored
	r.Copies = t.copies
	r.Copies.Missed = maps.Clone(t.copies.Missed)
	r.Copies.Different = Problems{By: maps.Clone(t.differ), Examples: append([]Example{}, t.different...)}
	for _, n := range t.differ {
		r.Copies.Different.Count += n
	}
	r.Holds = Holds{Count: t.holds, Calls: t.heldCalls, Rows: maps.Clone(t.rows)}
	for n := range t.rows {
		r.Holds.LongestRow = max(r.Holds.LongestRow, n)
	}
}
