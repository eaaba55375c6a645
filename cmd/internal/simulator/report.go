package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// Report is what a simulator has seen so far. Its JSON is for machines, String for
// people.
type Report struct {
	Seed     uint64  `json:"seed"`
	Speed    float64 `json:"speed"`            // what simulated waiting was divided by
	Duration float64 `json:"duration_seconds"` // real, from Run's start to now or to its end

	// Requests to POST /v2/voice by the status word of the response, or by "http_" and
	// its status where TeleSign has no word.
	Requests map[string]int             `json:"requests"`
	Calls    Calls                      `json:"calls"`
	Events   map[telesign.EventName]int `json:"events"` // posted, by name
	// Answers are the valid ones, by method; "none" asked for nothing.
	Answers map[telesign.Method]int `json:"answers"`
	Invalid Problems                `json:"invalid"` // answers TeleSign would refuse; none from a healthy webhook
	Missed  Problems                `json:"missed"`  // events without an answer
	Latency Latency                 `json:"latency"`
	// Silence is the longest that a person on the line waited for an action, if in
	// vain, from when the event went out first: later posts and the pauses before them
	// count, what a fault delayed the first one by does not.
	Silence float64 `json:"silence_ms"`
	// ConnectionWait is the longest that an event waited for one of MaxConnections.
	// It is not part of any latency: large, it says that the simulator, not the
	// webhook, was the bottleneck.
	ConnectionWait float64 `json:"connection_wait_ms"`

	// Faults is how often each fault was injected.
	Faults map[FaultKind]int `json:"faults"`
	Copies Copies            `json:"copies"`
	Holds  Holds             `json:"holds"`
	// Ignored counts the events, call_completed apart, whose answers TeleSign would
	// not execute. Such answers are not judged.
	Ignored int `json:"ignored"`
}

// Copies counts the posts of events beyond each event's own. Which post is the
// event's own: the one whose result was there first. Missed ones are not among
// Report.Missed: another post had its answer, or its miss is there.
type Copies struct {
	Posted   int            `json:"posted"`
	Again    int            `json:"again"` // of them, because there was no answer
	Answered int            `json:"answered"`
	Missed   map[string]int `json:"missed,omitempty"` // as in Report.Missed.By
	// Different are those answered with another action than the one that was read
	// first, by when: "at_once" when the copy went out before that answer was there,
	// "later" when after, and "hold" when one of the two is a hold.
	Different Problems `json:"different"`
}

const (
	differsAtOnce = "at_once"
	differsLater  = "later"
	differsHold   = "hold"
)

// Holds counts executed answers that were recognised as holds; see
// Config.HoldTexts.
type Holds struct {
	Count      int         `json:"count"`
	Calls      int         `json:"calls"`       // calls that heard one
	LongestRow int         `json:"longest_row"` // on one call, with no other action between
	Rows       map[int]int `json:"rows"`        // finished rows by their length
}

// Calls counts calls.
type Calls struct {
	Total    int         `json:"total"`
	Outbound int         `json:"outbound"`
	Inbound  int         `json:"inbound"`
	Live     int         `json:"live"`
	Ended    map[End]int `json:"ended"`
}

// Problems counts answers that should not have been so.
type Problems struct {
	Count    int            `json:"count"`
	By       map[string]int `json:"by,omitempty"` // missed ones: "window", "connection", "http_503", …
	Examples []Example      `json:"examples"`     // the first few
}

// Example is one such answer in full.
type Example struct {
	Call        int             `json:"call"` // its index
	ReferenceID string          `json:"reference_id"`
	Event       json.RawMessage `json:"event"`
	Answer      string          `json:"answer,omitempty"` // as it came, cut after 1,000 bytes
	Problem     string          `json:"problem"`
}

// Latency is how long answers took, in milliseconds, from when the event went out,
// connecting included, to the answer's last byte. Answers that did not come in time count with the time
// they were given; failed connections and statuses other than 200 do not count.
// Quantiles are at most 1.6 % too high, Max is exact.
type Latency struct {
	Answers uint64  `json:"answers"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p999_ms"`
	Max     float64 `json:"max_ms"`
	Window  float64 `json:"window_ms"` // what the webhook had
}

// Healthy reports whether every event was answered, with an action TeleSign would
// accept, and its copies with the same one.
func (r Report) Healthy() bool {
	return r.Invalid.Count == 0 && r.Missed.Count == 0 && r.Copies.Different.Count == 0
}

// String is the report as a table.
func (r Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("simulator", "%gx speed, seed %d, %s", r.Speed, r.Seed, seconds(r.Duration))
	if len(r.Requests) > 0 {
		row("requests", "%s", counts(r.Requests))
	}
	if len(r.Faults) > 0 {
		row("faults", "%s", counts(r.Faults))
	}
	row("calls", "%d (%d outbound, %d inbound, %d live)", r.Calls.Total, r.Calls.Outbound, r.Calls.Inbound, r.Calls.Live)
	row("  ended", "%s", counts(r.Calls.Ended))
	row("events", "%s", counts(r.Events))
	if r.Ignored > 0 {
		row("  ignored", "%d whose answers nobody executes", r.Ignored)
	}
	if r.Copies.Posted > 0 {
		row("  copies", "%s", r.Copies)
	}
	row("answers", "%s", counts(r.Answers))
	if r.Holds.Count > 0 {
		row("  holds", "%d on %d calls, up to %d in a row", r.Holds.Count, r.Holds.Calls, r.Holds.LongestRow)
	}
	row("  invalid", "%d", r.Invalid.Count)
	if r.Missed.Count > 0 {
		row("  missed", "%d (%s)", r.Missed.Count, counts(r.Missed.By))
	} else {
		row("  missed", "0")
	}
	l := r.Latency
	row("answer time", "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s (window %s)",
		shown(l.P50), shown(l.P90), shown(l.P99), shown(l.P999), shown(l.Max), shown(l.Window))
	if r.Silence >= l.Max+1 {
		row("  silence", "up to %s, posts and pauses added up", shown(r.Silence))
	}
	if r.ConnectionWait >= 1 {
		row("  waited", "up to %s for a free connection, not part of the answer time", shown(r.ConnectionWait))
	}
	_ = w.Flush() // a Builder never fails
	for _, p := range []struct {
		what string
		list []Example
	}{{"invalid answer", r.Invalid.Examples}, {"missed answer", r.Missed.Examples}, {"copies answered differently", r.Copies.Different.Examples}} {
		for _, e := range p.list {
			fmt.Fprintf(&b, "\n%s, call %d %s: %s\n  event   %s\n", p.what, e.Call, e.ReferenceID, e.Problem, e.Event)
			if e.Answer != "" {
				fmt.Fprintf(&b, "  answer  %s\n", e.Answer)
			}
		}
	}
	return b.String()
}

// String is the copies in one line.
func (c Copies) String() string {
	s := fmt.Sprintf("%d (%d answered, %d differently", c.Posted, c.Answered, c.Different.Count)
	if c.Different.Count > 0 {
		s += ": " + counts(c.Different.By)
	}
	if len(c.Missed) > 0 {
		s += "; missed " + counts(c.Missed)
	}
	if c.Again > 0 {
		s += fmt.Sprintf("; %d because there was no answer", c.Again)
	}
	return s + ")"
}

// counts is a map of counts, the largest first.
func counts[K ~string](m map[K]int) string {
	if len(m) == 0 {
		return "none"
	}
	keys := slices.SortedFunc(maps.Keys(m), func(x, y K) int {
		return cmp.Or(cmp.Compare(m[y], m[x]), cmp.Compare(x, y))
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d %s", m[k], k)
	}
	return strings.Join(parts, ", ")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func shown(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(100 * time.Microsecond).String()
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}
