package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/offhook/offhook/ingress/api"
)

// The trace of the request that places a call goes on in its dial job; what is no
// trace is left behind.
func TestPlacedCallsCarryTheirTrace(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{CallerID: "15555550100"}, survey)
	const (
		good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		body = `{"to":"15555550101","flow":"survey","contact":{"first_name":"Ann"}}`
	)
	tests := []struct {
		name         string
		header       []string
		trace, state string
	}{
		{"none", nil, "", ""},
		{"trace and state", []string{"traceparent", good, "tracestate", "a=1,b=2"}, good, "a=1,b=2"},
		{"a state without a trace", []string{"tracestate", "a=1"}, "", ""},
		{"a state that is none", []string{"traceparent", good, "tracestate", "="}, good, ""},
		{"another version", []string{"traceparent", "01" + good[2:] + "-more"}, good, ""},
		{"upper case", []string{"traceparent", strings.ToUpper(good)}, "", ""},
		{"no id", []string{"traceparent", "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01"}, "", ""},
	}
	for i, tt := range tests {
		if status, answer := h.ask(http.MethodPost, "/v1/calls", body, tt.header...); status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", tt.name, status, answer)
		}
		jobs := h.queued()
		if len(jobs) != i+1 {
			t.Fatalf("%s: %d jobs", tt.name, len(jobs))
		}
		if job := jobs[i]; job.Trace != tt.trace || job.State != tt.state {
			t.Errorf("%s: trace %q, state %q; want %q, %q", tt.name, job.Trace, job.State, tt.trace, tt.state)
		}
	}
}
