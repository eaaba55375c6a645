package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/cmd/internal/cli"
	"github.com/offhook/offhook/messages"
)

// Every code of the API becomes the exit code that the help promises.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[messages.Code]int{
		messages.CodeInvalid: 1, messages.CodeUnauthorized: 1, messages.CodeTooLarge: 1, messages.CodeConflict: 1, messages.CodeMethod: 1,
		messages.CodeUsage: 2, messages.CodeUnavailable: 3, messages.CodeTimeout: 3, messages.CodeNotFound: 4, messages.CodeRefused: 5,
		messages.CodeInternal: 70,
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			env := fakeAPI(t, code.HTTPStatus(), fmt.Sprintf(`{"error":{"code":%q,"message":"what is wrong","field":"to"}}`, code))
			stdout, stderr := run(t, env, want, "call", "show", "X")
			if stdout != "" || stderr != "offhook: to: what is wrong\n" {
				t.Errorf("stdout %q, stderr %q", stdout, stderr)
			}
			_, stderr = run(t, env, want, "call", "show", "X", "--json")
			if stderr != fmt.Sprintf(`{"error":{"code":%q,"message":"what is wrong","field":"to"}}`, code)+"\n" {
				t.Errorf("stderr %q", stderr)
			}
		})
	}
}

// Several errors are several lines, for people and for programs; one error that
// wraps several is one.
func TestSeveralErrors(t *testing.T) {
	t.Parallel()
	env := []string{"OFFHOOK_NATS_ULR=x", "OFFHOOK_SPEED=fast", "OFFHOOK_SEED=-1"}
	_, stderr := run(t, env, 2, "demo")
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %q, want 3 lines", stderr)
	}
	for i, want := range []string{"OFFHOOK_NATS_ULR", "OFFHOOK_SPEED", "OFFHOOK_SEED"} {
		if !strings.HasPrefix(lines[i], "offhook: ") || !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %q, want one about %s", i+1, lines[i], want)
		}
	}
	_, stderr = run(t, env, 2, "demo", "--json")
	var fields []string
	for line := range strings.Lines(stderr) {
		var body messages.ErrorBody
		if err := json.Unmarshal([]byte(line), &body); err != nil || body.Error.Code != messages.CodeUsage {
			t.Errorf("%q: %v", line, err)
		}
		fields = append(fields, body.Error.Field)
	}
	want := []string{"OFFHOOK_NATS_ULR", "--speed (OFFHOOK_SPEED)", "--seed (OFFHOOK_SEED)"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Only what was joined, and by nobody who had something to add, is taken apart.
func TestParts(t *testing.T) {
	t.Parallel()
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	for _, tt := range []struct {
		err  error
		want []string
	}{
		{a, []string{"a"}},
		{errors.Join(a, b), []string{"a", "b"}},
		{errors.Join(errors.Join(a, nil, b), c), []string{"a", "b", "c"}},
		{fmt.Errorf("%w: %w", a, b), []string{"a: b"}},
		{fmt.Errorf("while starting: %w", errors.Join(a, b)), []string{"while starting: a\nb"}},
		{errors.Join(fmt.Errorf("x: %w", a), messages.Errorf(messages.CodeUsage, "y: %w", errors.Join(b, c))), []string{"x: a", "y: b\nc"}},
	} {
		var got []string
		for _, one := range cli.Parts(tt.err) {
			got = append(got, one.Error())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: -want +got\n%s", tt.err, diff)
		}
	}
}

// What is wrong with the flags ends their reading, and --json may stand behind it.
func TestJSONErrorOfAFlag(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"call", "show", "X", "--bogus", "--json"},
		{"call", "show", "--json"},
		{"call", "shwo", "--json"},
	} {
		_, stderr := run(t, nil, 2, args...)
		var body messages.ErrorBody
		if err := json.Unmarshal([]byte(stderr), &body); err != nil || body.Error.Code != messages.CodeUsage || body.Error.Message == "" {
			t.Errorf("%v: got %q", args, stderr)
		}
	}
}

// A process that waits for its servers is alive, says what it waits for, and when it
// is stopped what did not come. The error loses nothing on the way out.
func TestServersAreAway(t *testing.T) {
	env := []string{"OFFHOOK_NATS_URL=nats://127.0.0.1:1", "OFFHOOK_API_KEY=c2VjcmV0", "OFFHOOK_LISTEN=127.0.0.1:0", "OFFHOOK_INTERNAL_LISTEN=127.0.0.1:0"}
	for _, role := range []string{"ingress", "api"} {
		p := start(t, env, role)
		url := p.stderr.Await(t, `msg="internal listener" url=(\S+)`)[1]
		p.stderr.Await(t, "NATS is not reachable, trying again")
		if status, body := get(t, url+"/healthz"); status != http.StatusOK {
			t.Errorf("%s is not alive: %d %s", role, status, body)
		}
		if status, body := get(t, url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for NATS") {
			t.Errorf("%s: got %d %s", role, status, body)
		}
		if _, stderr := run(t, []string{"OFFHOOK_API_URL=" + url}, 3, "call", "show", "X"); stderr != "offhook: the process is starting: waiting for NATS and Redis\n" {
			t.Errorf("%s: got %s", role, stderr)
		}
		p.stop()
		p.exit(3)
		if text := p.stderr.String(); !strings.Contains(text, "\noffhook: NATS: NATS (nats://127.0.0.1:1) is not reachable: ") {
			t.Errorf("got %q", text)
		}
	}
}

// get is the status and body of a JSON answer.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: the answer is %q", url, got)
	}
	return resp.StatusCode, string(body)
}
