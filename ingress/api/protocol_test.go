package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve has a handler answer one request without a network.
func serve(handler http.Handler, ctx context.Context, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
	return w
}

func TestProtocol(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey, notice)
	long := strings.Repeat("0123456789", 1000)
	h.golden("protocol.txt", []exchange{
		{"the flows", http.MethodGet, "/v1/flows", ""},
		{"the flows, without the answer", http.MethodHead, "/v1/flows", ""},
		{"a body where none is wanted", http.MethodGet, "/v1/flows", "hello"},

		{"no such resource", http.MethodGet, "/v1/campaigns", ""},
		{"no such resource, posted", http.MethodPost, "/v1/", "{}"},
		{"a call without an id", http.MethodGet, "/v1/calls/", ""},
		{"something below a call", http.MethodGet, "/v1/calls/X/timeline", ""},

		{"the calls are not listed", http.MethodGet, "/v1/calls", ""},
		{"nor even asked for", http.MethodHead, "/v1/calls", ""},
		{"a call is not posted", http.MethodPost, "/v1/calls/X", "{}"},
		{"nor deleted", http.MethodDelete, "/v1/calls/X", ""},
		{"flows are not posted", http.MethodPost, "/v1/flows", "{}"},
		{"options", http.MethodOptions, "/v1/calls", ""},

		{"an unknown call", http.MethodGet, "/v1/calls/X", ""},
		{"an unknown call, without the answer", http.MethodHead, "/v1/calls/X", ""},
		{"an id with a slash", http.MethodGet, "/v1/calls/a%2Fb", ""},
		{"an id of dots", http.MethodGet, "/v1/calls/%2E%2E", ""},
		{"an id in another script", http.MethodGet, "/v1/calls/" + url.PathEscape("вызов \"1\"\n"), ""},
		{"an id that is not text", http.MethodGet, "/v1/calls/%ff%00", ""},
		{"an id of 10 kB", http.MethodGet, "/v1/calls/" + long, ""},

		{"a request that just fits", http.MethodPost, "/v1/calls", `{"flow":"` + strings.Repeat("x", 64<<10-len(`{"flow":""}`)) + `"}`},
		{"one that does not", http.MethodPost, "/v1/calls", `{"flow":"` + strings.Repeat("x", 64<<10-len(`{"flow":""}`)+1) + `"}`},
	})
}

// Ids that TeleSign may use one day are found under themselves.
func TestOddIDs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{})
	for _, id := range []string{"a/b", "..", ".", "a b", "a%2Fb", "вызов", "a?b#c", strings.Repeat("0123456789", 1000), "\xff"} {
		h.commit(id, 1, `{"v":1,"F":{"d":"inbound"}}`)
		got := h.show(strings.ReplaceAll(url.PathEscape(id), ".", "%2E"))
		if want := strings.ToValidUTF8(id, "\uFFFD"); got.Record.CallID != want || got.Status != messages.CallLive {
			t.Errorf("%.20q: got %.20q, %s", id, got.Record.CallID, got.Status)
		}
	}
}

// A client that has gone is no failure of ours.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	serve(h.handler, ctx, http.MethodGet, "/v1/flows", "")
	if log := h.log.String(); strings.Contains(log, "request failed") || !strings.Contains(log, "request given up by its client") {
		t.Errorf("the log:\n%s", log)
	}
}
