package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// checkTimeout bounds one readiness check. An orchestrator that asks every few
// seconds must get a "no" rather than a time-out.
const checkTimeout = time.Second

// Health answers what orchestrators ask: GET /healthz is 200 as long as the process
// serves HTTP, GET /readyz is 200 while every dependency can be used and the
// process is not draining, else 503 with what is wrong.
type Health struct {
	checks   map[string]func(ctx context.Context) error
	running  singleflight.Group // by name: whoever asks meanwhile gets the same result
	draining atomic.Bool
}

// NewHealth makes a Health of named checks, such as nats and redis. They run side by
// side, each at most once at a time, with a context of one second; one that does
// not return by then counts as failed, and whoever wrote it owns its goroutine.
func NewHealth(checks map[string]func(ctx context.Context) error) *Health {
	return &Health{checks: checks}
}

// Drain makes the process not ready from now on, so that no new work is sent to it.
func (h *Health) Drain() { h.draining.Store(true) }

// Register adds the two routes.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if h.draining.Load() {
			writeHealth(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
			return
		}
		status, answer := http.StatusOK, map[string]string{"status": "ready"}
		for name, err := range h.failures(r.Context()) {
			status, answer["status"] = http.StatusServiceUnavailable, "not ready"
			answer[name] = err.Error()
		}
		writeHealth(w, status, answer)
	})
}

// failures are the checks that do not succeed within checkTimeout.
func (h *Health) failures(ctx context.Context) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make(map[string]<-chan singleflight.Result, len(h.checks))
	for name, check := range h.checks {
		results[name] = h.running.DoChan(name, func() (any, error) {
			// Not of the request: others may be waiting for the same result.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
			defer cancel()
			return nil, check(ctx)
		})
	}
	failed := make(map[string]error)
	for name, result := range results {
		if err := await(ctx, result); err != nil {
			failed[name] = err
		}
	}
	return failed
}

// await is what a check came to, or that it came to nothing by the end of ctx.
func await(ctx context.Context, result <-chan singleflight.Result) error {
	select {
	case r := <-result:
		return r.Err
	case <-ctx.Done():
	}
	select { // it may have come while another one was waited for
	case r := <-result:
		return r.Err
	default:
		return fmt.Errorf("no answer within %s", checkTimeout)
	}
}

func writeHealth(w http.ResponseWriter, status int, answer map[string]string) {
	body, err := json.Marshal(answer)
	if err != nil { // strings always marshal
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever asked has gone; the next one asks again
}
