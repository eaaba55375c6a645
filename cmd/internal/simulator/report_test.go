package simulator

import (
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), go test -update if this is meant:\n%s", file, diff)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Seed, cfg.Speed, cfg.Examples = 42, 50, 1
	s := newSimulator(t, cfg)
	s.began = time.Now()
	s.ended = s.began.Add(12_340 * time.Millisecond)
	tell := s.tallies
	for range 3 {
		tell.request("dial_accepted")
		tell.callStarted(Outbound)
	}
	tell.request("http_404")
	tell.callStarted(Inbound)
	tell.callEnded(EndHangup)
	tell.callEnded(EndHangup)
	tell.callEnded(End(Busy))
	event := json.RawMessage(`{"event":"speak_completed","reference_id":"ABC","data":{}}`)
	example := func(problem, answer string) Example {
		return Example{Call: 7, ReferenceID: "ABC", Event: event, Answer: answer, Problem: problem}
	}
	for i := range 100 {
		tell.exchanged(verdict{event: telesign.DialCompleted, action: telesign.Speak{}}, answer{latency: time.Duration(i+1) * time.Millisecond}, Example{})
	}
	tell.exchanged(verdict{event: telesign.CallCompleted}, answer{latency: time.Millisecond, waited: 30 * time.Millisecond}, Example{})
	invalid := verdict{event: telesign.SpeakCompleted, invalid: "no"}
	first := tell.exchanged(invalid, answer{latency: time.Millisecond}, example("method: is missing", `{"params":{}}`))
	second := tell.exchanged(invalid, answer{latency: time.Millisecond}, example("method: is missing", `{"params":{}}`))
	if !first || second {
		t.Errorf("kept the first example: %v, the second: %v, want the first only", first, second)
	}
	tell.exchanged(verdict{event: telesign.SpeakCompleted, missed: missedWindow}, answer{missed: missedWindow, latency: 5 * time.Second}, example("window: no whole answer within 5s", ""))
	tell.exchanged(verdict{event: telesign.SpeakCompleted, missed: "http_503"}, answer{missed: "http_503", latency: time.Hour}, Example{})
	tell.exchanged(verdict{event: telesign.CallCompleted}, answer{missed: missedConnection, cut: true, unsent: true}, Example{})

	r := s.Report()
	if r.Healthy() {
		t.Error("healthy, with invalid and missed answers")
	}
	golden(t, "testdata/report.txt", []byte(r.String()))
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/report.json", append(data, '\n'))

	empty := newSimulator(t, config()).Report()
	if !empty.Healthy() {
		t.Error("a simulator that has seen nothing is not healthy")
	}
	golden(t, "testdata/report-empty.txt", []byte(empty.String()))
}

// Quantiles are those of the sorted values, at most 1.6 % too high.
func TestLatencyQuantiles(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		var l latencies
		var values []time.Duration
		scale := math.Pow(10, 1+8*chance.Float64()) // µs
		for range 1 + chance.IntN(3000) {
			d := time.Duration(scale*chance.ExpFloat64()) * time.Microsecond
			values = append(values, d)
			l.add(d)
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := max(1, int(math.Ceil(q*float64(len(values))-1e-9)))
			truth, got := values[rank-1], l.quantile(q)
			if got < truth || float64(got) > float64(truth)*(1+1.0/64)+float64(time.Microsecond) {
				t.Fatalf("quantile %g of %d values is %s, want %s or up to 1.6%% more", q, len(values), got, truth)
			}
		}
		if l.max != values[len(values)-1] || l.quantile(1) != l.max {
			t.Fatalf("the maximum is %s, want %s", l.max, values[len(values)-1])
		}
	}
	var l latencies
	if l.quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	l.add(-time.Second)
	l.add(1 << 62)
	if l.n != 2 || l.quantile(0.5) != 0 {
		t.Error("values out of range are not counted at the edges")
	}
}

func TestLatencyBucketsAreContiguous(t *testing.T) {
	t.Parallel()
	next := uint64(0)
	for i := range uint64(latencyBuckets) {
		if b := bucketOf(next); b != i {
			t.Fatalf("%d is in bucket %d, want %d", next, b, i)
		}
		top := bucketTop(i)
		if b := bucketOf(top); b != i {
			t.Fatalf("%d is in bucket %d, want %d", top, b, i)
		}
		next = top + 1
	}
}
