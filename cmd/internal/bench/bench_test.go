package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/cmd/internal/bench"
	"github.com/offhook/offhook/cmd/internal/cli"
)

// asOffhook as its first argument makes the test binary the offhook program.
const asOffhook = "as-offhook"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asOffhook {
		os.Exit(cli.Main(context.Background(), cli.Environment{
			Args: os.Args[2:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		}))
	}
	goleak.VerifyTestMain(m)
}

// short is a run that proves that it works and measures nothing.
func short(t *testing.T) bench.Config {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := bench.Defaults()
	cfg.Rounds, cfg.Duration, cfg.Connections, cfg.Calls = 1, 200*time.Millisecond, 4, 3000
	cfg.Dir = t.TempDir()
	cfg.Program, cfg.Environ = []string{program, asOffhook}, os.Environ()
	return cfg
}

// children are the processes that this one has started and that still run.
func children(t *testing.T) []string {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	if len(lists) == 0 {
		t.Fatal("this kernel does not list children")
	}
	var all []string
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if errors.Is(err, os.ErrNotExist) { // the thread has ended
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(pids))...)
	}
	return all
}

func leavesNothing(t *testing.T, cfg bench.Config) {
	t.Helper()
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("files are left in %s: %v (%v)", cfg.Dir, left, err)
	}
}

func keys[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}

// The whole bench runs, in every way it can be told to, and its JSON has the form
// that is promised.
func TestRun(t *testing.T) {
	cfg := short(t)
	var progress bytes.Buffer
	report, err := bench.Run(t.Context(), cfg, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	leavesNothing(t, cfg)

	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var top struct {
		Rows   []map[string]json.RawMessage `json:"rows"`
		Ratios map[string]float64           `json:"ratios"`
		Cost   map[string]float64           `json:"cost_per_event"`
		Bytes  int64                        `json:"redis_bytes_per_live_call"`
		Memory map[string]int64             `json:"memory_idle_bytes"`
		Step   float64                      `json:"flow_step_ns"`
		Share  map[string]float64           `json:"load_share_of_cpu"`
	}
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	if got := keys(top.Ratios); got != "answers p99" || top.Ratios["answers"] <= 0 || top.Ratios["p99"] <= 0 {
		t.Errorf("ratios: got %v", top.Ratios)
	}
	names := []string{"bare-http", "naive-pipe", "offhook"}
	if len(top.Rows) != len(names) {
		t.Fatalf("%d rows, want %v", len(top.Rows), names)
	}
	for i, row := range top.Rows {
		if got := keys(row); got != "answers_per_second cpu_us_per_answer name p50_ms p999_ms p99_ms" {
			t.Errorf("row %d has the members %q", i, got)
		}
		r := report.Rows[i]
		if r.Name != names[i] || r.PerSecond <= 0 || r.P50 <= 0 || r.P99 < r.P50 || r.P999 < r.P99 {
			t.Errorf("row %d: got %+v, want a measured %s", i, r, names[i])
		}
		if got := keys(r.CPU); got != "ingress load nats redis worker" {
			t.Errorf("row %d: CPU of %q", i, got)
		}
		if share := top.Share[r.Name]; share < 0 || share > 1 {
			t.Errorf("row %d: the load generator took %f of the CPU", i, share)
		}
	}
	if offhook := report.Rows[2].CPU; offhook["ingress"] <= 0 || offhook["worker"] <= 0 {
		t.Errorf("offhook used no CPU: %v", offhook)
	}
	if top.Cost["few_calls"] != 1000 || top.Cost["many_calls"] != 3000 || top.Cost["few_us"] <= 0 || top.Cost["ratio"] <= 0 {
		t.Errorf("cost per event: got %v", top.Cost)
	}
	if top.Bytes < 200 || top.Bytes > 20_000 {
		t.Errorf("a live call takes %d B in Redis?", top.Bytes)
	}
	if top.Memory["ingress"] < 1<<20 || top.Memory["worker"] < 1<<20 || top.Step <= 0 {
		t.Errorf("idle memory %v, a step in %f ns", top.Memory, top.Step)
	}
	var shown bytes.Buffer
	if err := report.WriteText(&shown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"answers/s", "bare-http", "naive-pipe", "offhook ÷ naive-pipe", "with 3000: ratio", "idle memory"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &shown)
		}
	}
}

// cancelAt is a progress that ends the run at its first line with a word.
type cancelAt struct {
	word   string
	cancel context.CancelCauseFunc
}

var errStopped = errors.New("stopped by the test")

func (c cancelAt) Write(line []byte) (int, error) {
	if strings.Contains(string(line), c.word) {
		c.cancel(errStopped)
	}
	return len(line), nil
}

func TestRunThatIsStoppedLeavesNothing(t *testing.T) {
	for _, word := range []string{"starting", "round 1"} {
		cfg := short(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := bench.Run(ctx, cfg, cancelAt{word, cancel})
		if !errors.Is(err, errStopped) {
			t.Errorf("stopped at %q: got %v", word, err)
		}
		leavesNothing(t, cfg)
		cancel(nil)
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*bench.Config){
		"rounds":      func(c *bench.Config) { c.Rounds = 0 },
		"duration":    func(c *bench.Config) { c.Duration = 0 },
		"connections": func(c *bench.Config) { c.Connections = 0 },
		"calls":       func(c *bench.Config) { c.Calls = 5 },
		"sync":        func(c *bench.Config) { c.Sync = "never" },
	} {
		cfg := bench.Defaults()
		cfg.Program = []string{"offhook"}
		change(&cfg)
		if _, err := bench.Run(t.Context(), cfg, &bytes.Buffer{}); err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
