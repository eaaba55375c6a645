package e2e

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/offhook/offhook/messages/telesign"
)

// post posts body to the webhook as TeleSign does, with both headers, and returns
// status and answer. signature "" signs it.
func post(t *testing.T, url, body, signature string) (int, string) {
	t.Helper()
	if signature == "" {
		var err error
		if signature, err = telesign.SignWebhook(apiKey, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(within(t), http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "TSA "+customerID+":"+signature)
	req.Header.Set("X-TS-Authorization", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// The dialogue of TeleSign's page "Stream Audio and Collect Digits", with its own
// payloads, against running processes.
func TestTeleSignsPage(t *testing.T) {
	t.Parallel()
	y := newSystem(t, shape{ingresses: 1, workers: 1, flows: []string{"deploy/examples/play-and-collect.yaml"}})
	url := y.ingresses[0].logged("webhook listening")
	const (
		play   = `{"jsonrpc":"2.0","method":"play","params":{"url":"https://url-pointing-to-audio-file.com","collect_digits":{"max":5,"timeout":10000,"inter_digit_timeout":3000,"terminators":"#"}}}`
		hangup = `{"jsonrpc":"2.0","method":"hangup","params":{}}`
	)
	for _, tt := range []struct{ name, body, want string }{
		{"answered", `{"event":"dial_completed","reference_id":"BC96D7B0D1800164898350B4E71B005C","external_id":"4142b474-d65d-4265-a5fa-a581b1fe6101","data":{"to":"15558675309","from":"15555551212","status":"answered"}}`, play},
		{"digits", `{"event":"play_completed","reference_id":"BC96D7B0D1800164898350B4E71B005C","data":{"to":"15558675309","from":"15555551212","status":"play_successful","collected_digits":"12345"}}`, hangup},
		{"the end", `{"reference_id":"BC96D7B0D1800164898350B4E71B005C","event":"call_completed","data":{"duration":6,"created_on_utc":"2019-03-15T06:48:22.151","answered_on_utc":"2019-03-15T06:48:24.151","ended_on_utc":"2019-03-15T06:48:28.151","status":"hangup","audio_recording_file_name":null,"to":"DESTINATION_NUMBER","from":"VIRTUAL_NUMBER","direction":"outbound"}}`, `{}`},
		{"busy", `{"event":"dial_completed","reference_id":"C58C8EB012D","data":{"to":"15558675309","from":"15555551212","status":"busy"}}`, hangup},
		{"numbers at the top level", `{"event":"dial_completed","reference_id":"35A5E2BA","to":"15558675309","from":"15555551212","data":{"status":"answered"}}`, play},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if status, got := post(t, url, tt.body, ""); status != http.StatusOK || got != tt.want {
				t.Errorf("got %d %s\nwant 200 %s", status, got, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name, body, signature string
		status                int
		says                  string
	}{
		{"a wrong signature", `{"event":"incoming_call","reference_id":"X"}`, "B97g3N9lPdVaptvifxRau7bzVAC5hhRBZ6HKXABN744=", http.StatusUnauthorized, "signature"},
		{"not JSON", `{"event":`, "", http.StatusBadRequest, "JSON"},
		{"not an event", `{"reference_id":"X"}`, "", http.StatusBadRequest, "event"},
		{"too large", `{"event":"incoming_call","reference_id":"X","data":{"x":"` + strings.Repeat("x", 64<<10) + `"}}`, "", http.StatusRequestEntityTooLarge, "65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := post(t, url, tt.body, tt.signature)
			if status != tt.status || !strings.Contains(got, tt.says) || !strings.HasPrefix(got, `{"error":{"code":`) {
				t.Errorf("got %d %s, want %d that says %q", status, got, tt.status, tt.says)
			}
		})
	}
	if r := y.ended("BC96D7B0D1800164898350B4E71B005C"); r.Disposition != "completed" || len(r.Timeline) != 3 {
		t.Errorf("got disposition %s, %d moments; want a completed call of 3", r.Disposition, len(r.Timeline))
	}
}
