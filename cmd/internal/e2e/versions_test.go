package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twoQuestions is a flow whose prompts say which version they are of.
func twoQuestions(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), version+".yaml")
	flow := fmt.Sprintf(`name: versions
language: en-US
start: { answered: one, incoming: one }
steps:
  one: { speak: "%[1]s one", collect_digits: { max: 1 }, save: one, accept: { "1": yes, "2": no }, no_input: { next: hangup }, invalid: { next: hangup }, next: two }
  two: { speak: "%[1]s two", collect_digits: { max: 1 }, save: two, accept: { "1": yes, "2": no }, no_input: { next: hangup }, invalid: { next: hangup }, next: bye }
  bye: { speak: "%[1]s bye", hangup: completed }
`, version)
	if err := os.WriteFile(path, []byte(flow), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A live call keeps the version it began with: while workers with another version
// take it over, while its own restart, and when no process has the old file any more.
func TestALiveCallKeepsItsVersion(t *testing.T) {
	t.Parallel()
	y := newSystem(t, shape{ingresses: 1, flows: nil, env: []string{"OFFHOOK_INCOMING=versions"}})
	url := y.ingresses[0].logged("webhook listening")
	next := func(call, event, want string) {
		t.Helper()
		body := fmt.Sprintf(`{"reference_id":%q,%s}`, call, event)
		if status, answer := post(t, url, body, ""); status != http.StatusOK || !strings.Contains(answer, want) {
			t.Fatalf("%s of %s\ngot %d %s\nwant %q", event, call, status, answer, want)
		}
	}
	const (
		begins  = `"event":"incoming_call","data":{"to":"15558675309","from":"15555551212"}`
		presses = `"event":"speak_completed","data":{"to":"15558675309","from":"15555551212","status":"speak_successful","collected_digits":"%d"}`
		ends    = `"event":"call_completed","data":{"to":"15558675309","from":"15555551212","status":"hangup","duration":6}`
	)
	first := y.addWorkerWith(twoQuestions(t, "old"))
	next("A", begins, "old one")
	next("B", begins, "old one")

	second := y.addWorkerWith(twoQuestions(t, "new")) // the name means this version now
	first.terminate()
	next("A", fmt.Sprintf(presses, 1), "old two")
	next("C", begins, "new one")

	second.terminate() // the worker restarts, with the new file again
	y.addWorkerWith(twoQuestions(t, "new"))
	next("A", fmt.Sprintf(presses, 2), "old bye")
	next("B", fmt.Sprintf(presses, 2), "old two")
	next("C", fmt.Sprintf(presses, 2), "new two")
	next("A", ends, "{}")

	if got := outcome(y.ended("A")); got != "completed one=1 two=2" {
		t.Errorf("got %q", got)
	}
}
