package cli_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/offhook/offhook/cmd/internal/simulator"
)

// Faults come from the command line and are in the report; the seed is theirs too.
func TestSimulateFaults(t *testing.T) {
	d := newDoor(t, `200 {"jsonrpc":"2.0","method":"hangup","params":{}}`)
	stdout, _ := run(t, account, 0, simulating(d.url, "--incoming-calls", "5", "--rate", "1000", "--json",
		"--fault", "duplicate=100%:copies=2", "--fault", "lost-completed=1", "--fault", "post-again=1:after=1ms")...)
	var r simulator.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Faults[simulator.FaultDuplicate] != 5 || r.Copies.Answered != 10 ||
		r.Faults[simulator.FaultLostCompleted] != 5 || len(d.requests()) != 15 || !r.Healthy() {
		t.Errorf("got %v, %d requests\n%s", err, len(d.requests()), stdout)
	}
}

// Copies that are answered differently fail the command, holds are known by the
// text that the webhook is told to speak.
func TestSimulateCopiesAnsweredDifferently(t *testing.T) {
	d := newDoor(t, `200 {"method":"speak","params":{"tts":{"message":"Please wait."}}}`, `200 {"method":"hangup"}`)
	stdout, stderr := run(t, append(account, "OFFHOOK_HOLD=1555:en-US:Please wait."), 1, simulating(d.url, "--incoming-calls", "1",
		"--fault", "duplicate=1:after=1ms:event=incoming_call,lost-completed=1")...)
	if !strings.Contains(stderr, "offhook: 0 answers were invalid, 0 missing, 1 copies answered differently") || !strings.Contains(stdout, "1 differently: 1 hold") {
		t.Errorf("got\n%s\n%s", stdout, stderr)
	}
}

// dialled is one dial through the simulator at url.
func dialled(t *testing.T, url string) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v2/voice",
		strings.NewReader(`{"method":"dial","params":{"to":"15558675309","caller_id_number":"15555551212"}}`))
	if err != nil {
		return err
	}
	req.SetBasicAuth("00000000-0000-4000-8000-00000000DE40", apiKey)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Interrupted, it does not wait for a request that a fault leaves unanswered.
func TestSimulateStopsWithARequestUnanswered(t *testing.T) {
	d := newDoor(t, `200 {}`)
	p := start(t, account, simulating(d.url, "--fault", "dial-timeout=1:after=1h")...)
	url := p.stderr.Await(t, `simulated TeleSign listening" url=(\S+)`)[1]
	failed := make(chan error, 1)
	go func() { failed <- dialled(t, url) }()
	p.stderr.Await(t, "request is left unanswered")
	p.end()
	if err := <-failed; err == nil {
		t.Error("the dial was answered")
	}
	if text := p.stdout.String(); !strings.Contains(text, "1 dial-timeout") || strings.Contains(p.stderr.String(), "cut off") {
		t.Errorf("got\n%s\n%s", text, &p.stderr)
	}
}
