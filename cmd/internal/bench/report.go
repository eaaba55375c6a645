package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the result of a run.
type Report struct {
	Rows   []Row  `json:"rows"`
	Ratios Ratios `json:"ratios"`

	Machine  Machine  `json:"machine"`
	Settings Settings `json:"settings"`
	// LoadShare is the load generator's part of all CPU time, by row.
	LoadShare map[string]float64 `json:"load_share_of_cpu"`
	// MemoryIdle is what a process has resident before the first event, in bytes.
	MemoryIdle   map[string]int64 `json:"memory_idle_bytes"`
	FlowStep     float64          `json:"flow_step_ns"`
	Cost         *Cost            `json:"cost_per_event,omitempty"`
	BytesPerCall int64            `json:"redis_bytes_per_live_call,omitempty"`
}

// Row is one line of the table: medians of all rounds.
type Row struct {
	Name      string             `json:"name"`
	PerSecond float64            `json:"answers_per_second"`
	P50       float64            `json:"p50_ms"`
	P99       float64            `json:"p99_ms"`
	P999      float64            `json:"p999_ms"`
	CPU       map[string]float64 `json:"cpu_us_per_answer"`
}

// Ratios are those of offhook to the naive pipe.
type Ratios struct {
	Answers float64 `json:"answers"`
	P99     float64 `json:"p99"`
}

// Cost is what loading and committing one call costs beside few others and beside
// many.
type Cost struct {
	FewCalls  int     `json:"few_calls"`
	ManyCalls int     `json:"many_calls"`
	Few       float64 `json:"few_us"`
	Many      float64 `json:"many_us"`
	Ratio     float64 `json:"ratio"`
}

// Settings say what was measured.
type Settings struct {
	Rounds      int    `json:"rounds"`
	Duration    string `json:"duration"`
	WarmUp      string `json:"warm_up"`
	Connections int    `json:"connections"`
	Flow        string `json:"flow"`
	AppendFsync string `json:"redis_appendfsync"`
	SyncNATS    string `json:"nats_sync_interval"`
	Signatures  string `json:"signatures"`
	Processes   string `json:"processes"`
}

func settingsOf(c Config) Settings {
	s := Settings{
		Rounds: c.Rounds, Duration: c.Duration.String(), WarmUp: c.warmUp().String(), Connections: c.Connections,
		Flow:        "visit-survey, calls without external_id, 7 events each",
		AppendFsync: "always", SyncNATS: "always",
		Signatures: "computed for every row, checked by offhook",
		Processes:  "one ingress and one worker per row; naive-pipe and offhook share nats-server and redis-server",
	}
	if c.Sync == SyncLater {
		s.AppendFsync, s.SyncNATS = "everysec", "2m (default)"
	}
	return s
}

// Targets of offhook against the naive pipe, and what to aim at.
const (
	leastAnswers, aimAnswers = 0.8, 1.1
	mostP99, aimP99          = 1.5, 1.0
	mostCost                 = 1.1
)

// row is the median of all rounds, each figure for itself.
func row(name string, rounds []round) Row {
	figure := func(of func(round) float64) float64 {
		all := make([]float64, len(rounds))
		for i, r := range rounds {
			all[i] = of(r)
		}
		return median(all)
	}
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	r := Row{
		Name:      name,
		PerSecond: figure(func(r round) float64 { return float64(r.Answers) / r.Took.Seconds() }),
		P50:       figure(func(r round) float64 { return milliseconds(r.P50) }),
		P99:       figure(func(r round) float64 { return milliseconds(r.P99) }),
		P999:      figure(func(r round) float64 { return milliseconds(r.P999) }),
		CPU:       make(map[string]float64, len(columns)),
	}
	for _, c := range columns {
		r.CPU[c] = figure(func(r round) float64 { return r.cpu[c] })
	}
	return r
}

// median is that of at least one value, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// compare fills what follows from the rows.
func (r *Report) compare() {
	r.LoadShare = make(map[string]float64, len(r.Rows))
	rows := make(map[string]Row, len(r.Rows))
	for _, row := range r.Rows {
		rows[row.Name] = row
		var total float64
		for _, c := range row.CPU {
			total += c
		}
		if total > 0 {
			r.LoadShare[row.Name] = row.CPU[columnLoad] / total
		}
	}
	r.Ratios.Answers = rows[rowOffhook].PerSecond / rows[rowNaive].PerSecond
	r.Ratios.P99 = rows[rowOffhook].P99 / rows[rowNaive].P99
}

// WriteText writes the report for people.
func (r Report) WriteText(to io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, Linux %s, %s\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go)
	fmt.Fprintf(&b, "%d connections, medians of %d rounds of %s after %s of warm-up, appendfsync %s, sync_interval %s\n\n",
		r.Settings.Connections, r.Settings.Rounds, r.Settings.Duration, r.Settings.WarmUp, r.Settings.AppendFsync, r.Settings.SyncNATS)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tanswers/s\tp50 ms\tp99 ms\tp99.9 ms\t│ CPU µs per answer: %s\tload's share\t\n", strings.Join(columns, "\t"))
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t│", row.Name, row.PerSecond, row.P50, row.P99, row.P999)
		for i, c := range columns {
			if i == 0 {
				fmt.Fprintf(w, " %.0f", row.CPU[c])
			} else {
				fmt.Fprintf(w, "\t%.0f", row.CPU[c])
			}
		}
		fmt.Fprintf(w, "\t%.0f %%\t\n", 100*r.LoadShare[row.Name])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\noffhook ÷ naive-pipe: answers %.2f (at least %.1f, aim %.1f): %s; p99 %.2f (at most %.1f, aim %.1f): %s\n",
		r.Ratios.Answers, leastAnswers, aimAnswers, verdict(r.Ratios.Answers >= leastAnswers, r.Ratios.Answers >= aimAnswers),
		r.Ratios.P99, mostP99, aimP99, verdict(r.Ratios.P99 <= mostP99, r.Ratios.P99 <= aimP99))
	if c := r.Cost; c != nil {
		fmt.Fprintf(&b, "one event's load and commit: %.1f µs with %d calls in Redis, %.1f µs with %d: ratio %.2f (at most %.1f): %s\n",
			c.Few, c.FewCalls, c.Many, c.ManyCalls, c.Ratio, mostCost, verdict(c.Ratio <= mostCost, true))
		fmt.Fprintf(&b, "a live call takes %d B in Redis\n", r.BytesPerCall)
	}
	fmt.Fprintf(&b, "stepping the flow takes %.1f µs; idle memory: ingress %.0f MiB, worker %.0f MiB\n",
		r.FlowStep/1e3, mebibytes(r.MemoryIdle[columnIngress]), mebibytes(r.MemoryIdle[columnWorker]))
	_, err := io.WriteString(to, b.String())
	return err
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

func verdict(reached, aim bool) string {
	switch {
	case !reached:
		return "MISSED"
	case aim:
		return "aim reached"
	}
	return "reached"
}
