package cli_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/offhook/offhook/cmd/internal/simulator"
)

// simulating is a simulator's command line for a webhook.
func simulating(webhook string, more ...string) []string {
	return append([]string{"simulate", "--simulator-listen", "127.0.0.1:0", "--speed", "1000", "--webhook-url", webhook, "--log-level", "debug"}, more...)
}

var account = []string{"OFFHOOK_API_KEY=" + apiKey}

// The simulated people call a webhook that is always right, and go.
func TestSimulateIncoming(t *testing.T) {
	d := newDoor(t, `200 {"jsonrpc":"2.0","method":"hangup","params":{}}`)
	stdout, _ := run(t, account, 0, simulating(d.url, "--incoming-calls", "5", "--rate", "1000", "--json")...)
	var r simulator.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Calls.Inbound != 5 || r.Calls.Live != 0 || !r.Healthy() {
		t.Errorf("got %v\n%s", err, stdout)
	}
}

// One that is wrong fails the command, which still says what it saw.
func TestSimulateInvalidAnswers(t *testing.T) {
	d := newDoor(t, `200 {"method":"sing"}`)
	stdout, stderr := run(t, account, 1, simulating(d.url, "--incoming-calls", "2", "--rate", "1000")...)
	if !strings.Contains(stderr, "offhook: 2 answers were invalid, 0 missing") || !strings.Contains(stdout, "simulator    1000x speed") {
		t.Errorf("got\n%s\n%s", stdout, stderr)
	}
}

// Without calls of its own it waits to be dialled, until it is told to stop.
func TestSimulateUntilStopped(t *testing.T) {
	d := newDoor(t, `200 {"jsonrpc":"2.0","method":"hangup","params":{}}`)
	p := start(t, account, simulating(d.url)...)
	url := p.stderr.Await(t, `simulated TeleSign listening" url=(\S+)`)[1]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v2/voice",
		strings.NewReader(`{"method":"dial","params":{"to":"15558675309","caller_id_number":"15555551212"}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("00000000-0000-4000-8000-00000000DE40", apiKey)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("got %s %s, %v", resp.Status, body, err)
	}
	<-d.seen // the call lives
	p.end()
	if text := p.stdout.String(); !strings.Contains(text, "1 outbound") || !strings.Contains(text, "0 live") {
		t.Errorf("got\n%s", text)
	}
	if strings.Contains(p.stderr.String(), "15558675309") {
		t.Errorf("a number is in the log:\n%s", &p.stderr)
	}
}

// Interrupted among its calls it hangs up and reports.
func TestSimulateInterrupted(t *testing.T) {
	d := newDoor(t, `200 {"jsonrpc":"2.0","method":"hangup","params":{}}`)
	p := start(t, account, simulating(d.url, "--incoming-calls", "1000", "--rate", "1")...)
	<-d.seen
	p.end()
	if text := p.stdout.String(); !strings.Contains(text, "inbound, 0 live") {
		t.Errorf("got\n%s", text)
	}
}

func TestSimulateAddressTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, stderr := run(t, account, 2, "simulate", "--simulator-listen", ln.Addr().String())
	if !strings.Contains(stderr, "--simulator-listen (OFFHOOK_SIMULATOR_LISTEN): cannot listen on") {
		t.Errorf("got %s", stderr)
	}
}
