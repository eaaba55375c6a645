package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages"
)

// A key stands for one call. What makes it the same call is what is dialled and
// said, not when.
func TestSameKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{CallerID: "15555550000"}, survey)
	first := map[string]any{"idempotency_key": "k"}
	placed := h.place(placing(t, first))
	if placed.Replayed {
		t.Fatalf("the first request got %+v", placed)
	}
	h.take(placed.ID)
	for _, tt := range []struct {
		name   string
		change map[string]any
		status int
	}{
		{"byte for byte", nil, http.StatusAccepted},
		{"another time, as whoever counts from now sends it", map[string]any{"not_after": time.Now().Add(time.Hour)}, http.StatusAccepted},
		{"a time that has passed", map[string]any{"not_after": "2026-01-02T03:04:05Z"}, http.StatusAccepted},
		{"the caller id left to the API", map[string]any{"caller_id_number": nil}, http.StatusAccepted},
		{"another number", map[string]any{"to": "15558675310"}, http.StatusConflict},
		{"another caller id", map[string]any{"caller_id_number": "15555550000"}, http.StatusConflict},
		{"another flow", map[string]any{"flow": "notice"}, http.StatusConflict},
		{"another contact", map[string]any{"contact": map[string]any{"first_name": "Bo"}}, http.StatusConflict},
		{"a further column", map[string]any{"contact": map[string]any{"first_name": "Ann", "title": "Dr"}}, http.StatusConflict},
		{"no contact", map[string]any{"contact": nil}, http.StatusConflict},
	} {
		t.Run(tt.name, func(t *testing.T) {
			change := map[string]any{"idempotency_key": "k"}
			for name, value := range tt.change {
				change[name] = value
			}
			status, answer := h.ask(http.MethodPost, "/v1/calls", placing(t, change))
			var got messages.PlacedCall
			var refused messages.ErrorBody
			switch {
			case status != tt.status:
				t.Errorf("got %d %s, want %d", status, answer, tt.status)
			case status == http.StatusAccepted:
				if err := json.Unmarshal([]byte(answer), &got); err != nil || got.ID != placed.ID || !got.Replayed {
					t.Errorf("got %s, want %s replayed", answer, placed.ID)
				}
			default:
				if err := json.Unmarshal([]byte(answer), &refused); err != nil || refused.Error.Field != "idempotency_key" || refused.Error.Code != messages.CodeConflict {
					t.Errorf("got %s", answer)
				}
			}
		})
	}
	if n := len(h.queued()); n != 1 {
		t.Errorf("%d jobs are queued, want 1", n)
	}
}

// take begins the try of a placed call, as a worker does that has its job.
func (h *house) take(id string) bool {
	h.t.Helper()
	intent, err := h.store.Intent(within(h.t), id)
	if err != nil {
		h.t.Fatal(err)
	}
	_, begun, err := h.store.BeginTry(within(h.t), intent, time.Minute)
	if err != nil {
		h.t.Fatal(err)
	}
	return begun
}

// A repetition is one even when the request could not be made any more.
func TestSameKeyAfterTheFlowHasChanged(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey)
	body := placing(t, map[string]any{"idempotency_key": "k"})
	placed := h.place(body)
	h.putFlow(strings.ReplaceAll(survey, "first_name", "given_name"))
	if again := h.place(body); again.ID != placed.ID || !again.Replayed {
		t.Errorf("got %+v, want %s replayed", again, placed.ID)
	}
	if status, answer := h.ask(http.MethodPost, "/v1/calls", placing(t, nil)); status != http.StatusBadRequest {
		t.Errorf("a new call with the old column got %d %s", status, answer)
	}
}

// Requests with one key that race place one call.
func TestSameKeyAtOnce(t *testing.T) {
	t.Parallel()
	const racers = 16
	h := newHouse(t, api.Config{}, survey)
	body := placing(t, map[string]any{"idempotency_key": "k"})
	placed := make([]messages.PlacedCall, racers)
	var wg sync.WaitGroup
	for i := range placed {
		wg.Go(func() {
			status, answer := h.ask(http.MethodPost, "/v1/calls", body)
			if err := json.Unmarshal([]byte(answer), &placed[i]); err != nil || status != http.StatusAccepted {
				t.Errorf("got %d %s", status, answer)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, p := range placed {
		if p.ID != messages.IntentID("k") {
			t.Errorf("got %+v", p)
		}
		if !p.Replayed {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d requests were told that they were the first", fresh)
	}
	// Those that came before a worker had the job may have queued it again; it is
	// dialled once all the same.
	begun := 0
	for range h.queued() {
		if h.take(messages.IntentID("k")) {
			begun++
		}
	}
	if begun != 1 {
		t.Errorf("the call is dialled %d times, want once", begun)
	}
}

// The process ended, or NATS was away, between intent and job. Whoever repeats the
// request gets the call; nobody gets two.
func TestLostJob(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		before, after error
		jobs          int // after the repetition
	}{
		{"the job was not stored", errBroken, nil, 1},
		{"the job was stored and the confirmation lost", nil, messages.Errorf(messages.CodeTimeout, "no confirmation in time"), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, api.Config{}, survey)
			h.jobs.fail(tt.before, tt.after)
			status, answer := h.ask(http.MethodPost, "/v1/calls", placing(t, nil))
			var refused messages.ErrorBody
			if err := json.Unmarshal([]byte(answer), &refused); err != nil || status != http.StatusServiceUnavailable || refused.Error.Code != messages.CodeUnavailable {
				t.Fatalf("got %d %s", status, answer)
			}
			// The request had no key of its own; the answer names the one it was given.
			_, rest, _ := strings.Cut(refused.Error.Message, `idempotency_key "`)
			key, _, ok := strings.Cut(rest, `"`)
			if !ok {
				t.Fatalf("the answer does not say what to repeat: %s", answer)
			}
			h.jobs.fail(nil, nil)
			placed := h.place(placing(t, map[string]any{"idempotency_key": key}))
			if !placed.Replayed || !strings.Contains(refused.Error.Message, placed.ID) {
				t.Errorf("the repetition got %+v after %s", placed, answer)
			}
			jobs := h.queued()
			if len(jobs) != tt.jobs {
				t.Errorf("%d jobs are queued, want %d", len(jobs), tt.jobs)
			}
			begun := 0
			for range jobs {
				if h.take(placed.ID) {
					begun++
				}
			}
			if begun != 1 {
				t.Errorf("the call is dialled %d times, want once", begun)
			}
		})
	}
}
