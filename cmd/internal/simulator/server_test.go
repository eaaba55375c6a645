package simulator

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// apiSchema is what TeleSign's OpenAPI says about the answers of POST /v2/voice.
type apiSchema struct {
	Paths struct {
		Voice struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct {
						Examples map[string]struct{ Value json.RawMessage }
					}
				}
				Responses map[string]struct {
					Content map[string]struct {
						Schema struct {
							Required   []string
							Properties map[string]struct{ Enum []string }
						}
					}
				}
			}
		} `json:"/voice"`
	}
}

func readSchema(t *testing.T) apiSchema {
	t.Helper()
	data, err := os.ReadFile("testdata/openapi-voice.json")
	if err != nil {
		t.Fatal(err)
	}
	var api apiSchema
	if err := json.Unmarshal(data, &api); err != nil {
		t.Fatal(err)
	}
	return api
}

func basic(customerID, key string) http.Header {
	return http.Header{"Authorization": {telesign.Credentials{CustomerID: customerID, APIKey: key}.Basic()}}
}

func TestAnswersOfPostVoice(t *testing.T) {
	t.Parallel()
	api := readSchema(t)
	example := api.Paths.Voice.Post.RequestBody.Content["application/json"].Examples["Example"].Value
	if len(example) == 0 {
		t.Fatal("the schema has no example request")
	}
	cfg := config()
	cfg.CallerIDs = []string{"15554441313"}
	cfg.Blocked = []Block{
		{"1900", telesign.PremiumToNumberRejected},
		{"53", telesign.ToNumberBlockedByCountry},
		{"15550009999", telesign.ToNumberBlockedByCustomer},
		{"1555000", telesign.ToNumberBlockedByTeleSign},
	}
	s := newSimulator(t, cfg) // never run: accepted calls wait
	limited := cfg
	limited.RateLimit = 1
	throttled := newSimulator(t, limited)
	if w := post(throttled, dialBody); w.Code != http.StatusAccepted {
		t.Fatalf("the first request was answered %d", w.Code)
	}
	dial := func(params string) string { return `{"method":"dial","params":` + params + `}` }
	digest := func(signed []byte) http.Header {
		h, err := account.Digest(http.MethodPost, "application/json", "/v2/voice", signed, time.Now(), "a-nonce")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	ours := basic(account.CustomerID, account.APIKey)

	tests := []struct {
		name   string
		to     http.Handler
		method string
		path   string
		header http.Header
		body   string
		code   int
		status string // empty: TeleSign has no word for it
	}{
		{"TeleSign's own example", s, "", "", ours, string(example), 202, "dial_accepted"},
		{"envelope of JSON-RPC", s, "", "", ours, dialBody, 202, "dial_accepted"},
		{"array of one", s, "", "", ours, "[" + dialBody + "]", 202, "dial_accepted"},
		{"duration as a string", s, "", "", ours, dial(`{"to":"15555551212","caller_id_number":"15554441313","max_call_duration":"600"}`), 202, "dial_accepted"},
		{"digest", s, "", "", digest([]byte(dialBody)), dialBody, 202, "dial_accepted"},
		{"digest without the body", s, "", "", digest(nil), dialBody, 202, "dial_accepted"},

		{"digest of another body", s, "", "", digest([]byte("{}")), dialBody, 401, "not_authorized"},
		{"no credentials", s, "", "", http.Header{}, dialBody, 401, "credentials_not_provided"},
		{"empty key", s, "", "", basic(account.CustomerID, ""), dialBody, 401, "credentials_not_provided"},
		{"wrong key", s, "", "", basic(account.CustomerID, "d3Jvbmc="), dialBody, 401, "not_authorized"},
		{"wrong customer", s, "", "", basic("somebody", account.APIKey), dialBody, 401, "not_authorized"},
		{"credentials before body", s, "", "", http.Header{}, "{", 401, "credentials_not_provided"},

		{"rate limit", throttled, "", "", ours, dialBody, 429, "rate_limit_exceeded"},
		{"rate limit before body", throttled, "", "", ours, "{", 429, "rate_limit_exceeded"},
		{"credentials before rate limit", throttled, "", "", http.Header{}, dialBody, 401, "credentials_not_provided"},

		{"no to", s, "", "", ours, dial(`{"caller_id_number":"15554441313"}`), 400, "to_number_not_provided"},
		{"no params", s, "", "", ours, `{"method":"dial"}`, 400, "to_number_not_provided"},
		{"neither number", s, "", "", ours, dial(`{}`), 400, "to_number_not_provided"},
		{"no caller id", s, "", "", ours, dial(`{"to":"15555551212"}`), 400, "caller_id_number_not_provided"},
		{"missing before malformed", s, "", "", ours, dial(`{"to":"+1 555"}`), 400, "caller_id_number_not_provided"},
		{"malformed to", s, "", "", ours, dial(`{"to":"+15555551212","caller_id_number":"15554441313"}`), 400, "invalid_phone_number"},
		{"too long", s, "", "", ours, dial(`{"to":"1555555121212121","caller_id_number":"15554441313"}`), 400, "invalid_phone_number"},
		{"malformed before not owned", s, "", "", ours, dial(`{"to":"x","caller_id_number":"15550000000"}`), 400, "invalid_phone_number"},
		{"malformed caller id", s, "", "", ours, dial(`{"to":"15555551212","caller_id_number":"me"}`), 400, "invalid_phone_number"},
		{"caller id of others", s, "", "", ours, dial(`{"to":"15555551212","caller_id_number":"15550000000"}`), 400, "caller_id_number_not_owned"},
		{"not owned before blocked", s, "", "", ours, dial(`{"to":"19005551212","caller_id_number":"15550000000"}`), 400, "caller_id_number_not_owned"},
		{"speak without a call", s, "", "", ours, `{"method":"speak","params":{"tts":{"message":"Hello"}}}`, 400, "unsupported_call_state"},
		{"hangup without a call", s, "", "", ours, `{"method":"hangup","params":{}}`, 400, "unsupported_call_state"},

		{"premium", s, "", "", ours, dial(`{"to":"19005551212","caller_id_number":"15554441313"}`), 200, "premium_to_number_rejected"},
		{"country", s, "", "", ours, dial(`{"to":"5312345678","caller_id_number":"15554441313"}`), 200, "to_number_blocked_by_country"},
		{"customer", s, "", "", ours, dial(`{"to":"15550009999","caller_id_number":"15554441313"}`), 200, "to_number_blocked_by_customer"},
		{"telesign", s, "", "", ours, dial(`{"to":"15550001111","caller_id_number":"15554441313"}`), 200, "to_number_blocked_by_telesign"},

		{"not JSON", s, "", "", ours, `method=dial`, 400, ""},
		{"empty", s, "", "", ours, ``, 400, ""},
		{"no method", s, "", "", ours, `{"params":{}}`, 400, ""},
		{"unknown method", s, "", "", ours, `{"method":"sing"}`, 400, ""},
		{"wrong type", s, "", "", ours, dial(`{"to":15555551212,"caller_id_number":"15554441313"}`), 400, ""},
		{"longer than a call may be", s, "", "", ours, dial(`{"to":"15555551212","caller_id_number":"15554441313","max_call_duration":"14401"}`), 400, ""},
		{"long body", s, "", "", ours, strings.Repeat(" ", maxRequest+1), 413, ""},
		{"GET", s, http.MethodGet, "", ours, "", 405, ""},
		{"legacy path", s, "", "/v1/voice", ours, dialBody, 404, ""},
	}
	referenceID := regexp.MustCompile(`^[0-9A-F]{32}$`)
	seen := make(map[string][]string) // statuses by HTTP status
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodPost, "/v2/voice", strings.NewReader(tt.body))
		if tt.method != "" {
			r.Method = tt.method
		}
		if tt.path != "" {
			r.URL.Path = tt.path
		}
		maps.Copy(r.Header, tt.header)
		w := httptest.NewRecorder()
		tt.to.ServeHTTP(w, r)
		code := strconv.Itoa(w.Code)
		if w.Code != tt.code {
			t.Errorf("%s: HTTP %s %s, want %d", tt.name, code, w.Body, tt.code)
			continue
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: Content-Type is %q", tt.name, ct)
		}
		var got map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %s is not an object of strings: %v", tt.name, w.Body, err)
			continue
		}
		if got["status"] != tt.status {
			t.Errorf("%s: status is %q, want %q", tt.name, got["status"], tt.status)
		}
		if !referenceID.MatchString(got["reference_id"]) {
			t.Errorf("%s: reference_id is %q, want 32 upper-case hexadecimal digits", tt.name, got["reference_id"])
		}
		if tt.status == "" {
			if got["error"] == "" {
				t.Errorf("%s: no word of TeleSign's and no sentence either: %s", tt.name, w.Body)
			}
			continue
		}
		schema := api.Paths.Voice.Post.Responses[code].Content["application/json"].Schema
		if !slices.Contains(schema.Properties["status"].Enum, tt.status) {
			t.Errorf("%s: TeleSign does not list %q for HTTP %s", tt.name, tt.status, code)
		}
		for name := range got {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s: TeleSign's HTTP %s has no member %q", tt.name, code, name)
			}
		}
		for _, name := range schema.Required {
			if got[name] == "" {
				t.Errorf("%s: %s is missing", tt.name, name)
			}
		}
		seen[code] = append(seen[code], tt.status)
	}
	for code, response := range api.Paths.Voice.Post.Responses {
		for _, status := range response.Content["application/json"].Schema.Properties["status"].Enum {
			if !slices.Contains(seen[code], status) {
				t.Errorf("TeleSign answers HTTP %s %s, and no case of this test did", code, status)
			}
		}
	}
	if n := s.Report().Requests["dial_accepted"]; n != 6 {
		t.Errorf("the report counts %d accepted dials, want 6", n)
	}
}

func TestExternalIDIsEchoedOnSuccessOnly(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, config())
	for body, want := range map[string]string{
		dialBody: `"external_id":"x-1"`,
		`{"method":"dial","params":{"to":"1","caller_id_number":"2"}}`: "",
		`{"method":"dial","params":{"to":"","external_id":"x-1"}}`:     "",
	} {
		got := post(s, body).Body.Bytes()
		if bytes.Contains(got, []byte("external_id")) != (want != "") || !bytes.Contains(got, []byte(want)) {
			t.Errorf("%s was answered %s, want it to hold %q", body, got, want)
		}
	}
}

func TestRateLimitRefills(t *testing.T) {
	t.Parallel()
	l := newLimiter(10)
	now := time.Unix(0, 0)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 10}, {0, 0}, {300 * time.Millisecond, 3}, {50 * time.Millisecond, 0}, {50 * time.Millisecond, 1}, {time.Hour, 10}} {
		now = now.Add(step.after)
		n := 0
		for l.allow(now) {
			n++
		}
		if n != step.want {
			t.Errorf("%s later %d requests were taken, want %d", step.after, n, step.want)
		}
	}
	if l := newLimiter(0); !l.allow(now) {
		t.Error("no limit refused a request")
	}
}

// Whatever is posted is answered with JSON, and with a status word only where
// TeleSign has it for that HTTP status.
func FuzzPostVoice(f *testing.F) {
	for _, body := range []string{dialBody, "[" + dialBody + "]", "", "{}", `{"method":"hangup"}`, `{"method":"dial","params":{"to":"x"}}`, `[[{}]]`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		w := post(newSimulator(t, config()), string(body))
		var got telesign.DialResponse
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.ReferenceID == "" {
			t.Fatalf("answered %s: %v", w.Body, err)
		}
		if got.Status != "" && got.Status.HTTPStatus() != w.Code {
			t.Fatalf("answered HTTP %d %s", w.Code, w.Body)
		}
	})
}
