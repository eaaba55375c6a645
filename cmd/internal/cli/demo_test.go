package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/messages"
)

// demoOutput is what `demo --json` promises.
type demoOutput struct {
	Dispositions map[messages.Disposition]int `json:"dispositions"`
	Answers      map[string]map[string]int    `json:"answers"`
	Simulator    simulator.Report             `json:"simulator"`
}

func TestDemo(t *testing.T) {
	o := newOutside(t)
	t.Setenv("TMPDIR", t.TempDir())
	env := append(o.environment(t), "OFFHOOK_FLOW=elsewhere.yaml")
	stdout, stderr := run(t, env, 0, "demo", "--speed", "1000", "--seed", "7")
	for _, want := range []string{
		"calling 50 simulated people through visit-survey, 1000x speed, seed 7; nobody is dialled\n",
		" 50 of 50 called: ", "\nwhat came of it: ", "\nrating ", "\nsimulator ", " 0\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if n := strings.Count(stdout, " of 50 called: "); n != 10 {
		t.Errorf("progress was printed %d times, want 10:\n%s", n, stdout)
	}
	if strings.Contains(stderr, "1555867") {
		t.Errorf("a number is in the log:\n%s", stderr)
	}
	o.silent(t)
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "offhook-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDemoJSON(t *testing.T) {
	stdout, _ := run(t, nil, 0, "demo", "--json", "--speed", "1000")
	var got demoOutput
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	sum := 0
	for word, n := range got.Dispositions {
		if word == "" {
			t.Errorf("%d calls have no disposition", n)
		}
		sum += n
	}
	r := got.Simulator
	if sum != 50 || r.Calls.Total != 50 || r.Calls.Live != 0 || !r.Healthy() || r.Speed != 1000 || len(got.Answers["rating"]) == 0 {
		t.Errorf("got\n%s", stdout)
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := start(t, nil, "demo", "--speed", "1")
	p.stdout.Await(t, "calling 50 simulated people")
	p.stop()
	p.exit(3)
	if text := p.stderr.String(); !strings.Contains(text, "offhook: the demo was stopped before it ended") || strings.Count(text, "offhook: ") != 1 {
		t.Errorf("got %s", text)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "offhook-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
