package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"
)

// checkTimeout bounds one readiness check. An orchestrator that asks every few
// seconds must get a "no" rather than a time-out.
const checkTimeout = time.Second

// Health answers what orchestrators ask: GET /healthz is 200 as long as the process
// serves HTTP, GET /readyz is 200 while every dependency can be used and the
// process is not draining, else 503 with what is wrong.
type Health struct {
	checks   map[string]func(ctx context.Context) error
	draining atomic.Bool
}

// NewHealth makes a Health of named checks, such as nats and redis. Each gets a
// context of one second and must be safe for concurrent use.
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
		status, answer := http.StatusOK, map[string]string{"status": "ready"}
		if h.draining.Load() {
			status, answer = http.StatusServiceUnavailable, map[string]string{"status": "draining"}
		}
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		for name, check := range h.checks {
			if err := check(ctx); err != nil {
				status, answer["status"] = http.StatusServiceUnavailable, "not ready"
				answer[name] = err.Error()
			}
		}
		writeHealth(w, status, answer)
	})
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
