package api_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/ingress/api"
)

type check = func(context.Context) error

// doctor is the routes of a Health with these checks.
func doctor(checks map[string]check) (*api.Health, *http.ServeMux) {
	h, mux := api.NewHealth(checks), http.NewServeMux()
	h.Register(mux)
	return h, mux
}

func TestReady(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		checks []string // each with its behaviour's name
		drain  bool
		status int
		answer string
		took   time.Duration
	}{
		{"nothing to depend on", nil, false, 200, `{"status":"ready"}`, 0},
		{"all is well", []string{"well", "also well"}, false, 200, `{"status":"ready"}`, 0},
		{"one is down", []string{"well", "down"}, false, 503, `{"down":"connection refused","status":"not ready"}`, 0},
		{"slow and well", []string{"slow"}, false, 200, `{"status":"ready"}`, 900 * time.Millisecond},
		{"one hangs", []string{"well", "hangs"}, false, 503, `{"hangs":"no answer within 1s","status":"not ready"}`, time.Second},
		{"side by side", []string{"slow", "hangs", "down"}, false, 503, `{"down":"connection refused","hangs":"no answer within 1s","status":"not ready"}`, time.Second},
		{"draining asks nobody", []string{"hangs", "down"}, true, 503, `{"status":"draining"}`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				defer close(over)
				behaviours := map[string]check{
					"well":      func(context.Context) error { return nil },
					"also well": func(context.Context) error { return nil },
					"down":      func(context.Context) error { return errors.New("connection refused") },
					"slow":      func(context.Context) error { <-time.After(900 * time.Millisecond); return nil },
					"hangs":     func(context.Context) error { <-over; return nil },
				}
				checks := make(map[string]check)
				for _, name := range tt.checks {
					checks[name] = behaviours[name]
				}
				h, mux := doctor(checks)
				if tt.drain {
					h.Drain()
				}
				began := time.Now()
				w := serve(mux, t.Context(), http.MethodGet, "/readyz", "")
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if w.Code != tt.status || w.Body.String() != tt.answer+"\n" {
					t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.status, tt.answer)
				}
				if got := w.Header().Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control is %q", got)
				}
			})
		})
	}
}

// A check that hangs is not started again by each of those who ask, and is told
// when its time is over.
func TestReadyAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		told := make(chan error, 1)
		over := make(chan struct{})
		_, mux := doctor(map[string]check{"nats": func(ctx context.Context) error {
			runs.Add(1)
			<-ctx.Done()
			told <- ctx.Err()
			<-over
			return nil
		}})
		for range 3 {
			if w := serve(mux, t.Context(), http.MethodGet, "/readyz", ""); w.Code != http.StatusServiceUnavailable {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("the check runs %d times at once", n)
		}
		if err := <-told; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the check was told %v", err)
		}
		close(over)
		synctest.Wait()
		done := make(chan struct{})
		go func() {
			defer close(done)
			serve(mux, t.Context(), http.MethodGet, "/readyz", "")
		}()
		synctest.Wait()
		if n := runs.Load(); n != 2 {
			t.Errorf("once it had ended the check ran %d times, want 2", n)
		}
		<-told
		<-done
	})
}

// Whoever asks first and goes away does not take the result from the others.
func TestReadyIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, mux := doctor(map[string]check{"redis": func(ctx context.Context) error {
			select {
			case <-time.After(500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		impatient, leave := context.WithCancel(t.Context())
		first := make(chan struct{})
		go func() {
			defer close(first)
			serve(mux, impatient, http.MethodGet, "/readyz", "")
		}()
		synctest.Wait()
		time.AfterFunc(100*time.Millisecond, leave)
		if w := serve(mux, t.Context(), http.MethodGet, "/readyz", ""); w.Code != http.StatusOK {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		<-first
	})
}

func TestAlive(t *testing.T) {
	t.Parallel()
	h, mux := doctor(map[string]check{"nats": func(context.Context) error { return errors.New("down") }})
	h.Drain()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if w := serve(mux, t.Context(), method, "/healthz", ""); w.Code != http.StatusOK || w.Body.String() != "{\"status\":\"alive\"}\n" {
			t.Errorf("%s: got %d %s", method, w.Code, w.Body)
		}
	}
	if w := serve(mux, t.Context(), http.MethodPost, "/readyz", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", w.Code)
	}
}
