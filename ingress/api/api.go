package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/flow"
)

// Jobs is where dial jobs are queued; messages/bus is its other side.
type Jobs interface {
	// PublishJob returns once the job is stored. An error leaves open whether it is.
	PublishJob(ctx context.Context, j messages.DialJob) error
}

// Config is what the API needs to know beyond its parts.
type Config struct {
	CallerID string      // caller id for requests that name none; empty means they must
	Limits   call.Limits // the workers' own, so that timelines say what callers heard
}

// API answers HTTP requests about calls and flows. It is safe for concurrent use.
type API struct {
	cfg    Config
	store  *store.Store
	jobs   Jobs
	origin *http.CrossOriginProtection
	log    *slog.Logger
}

// New makes an API.
func New(cfg Config, st *store.Store, jobs Jobs, log *slog.Logger) *API {
	return &API{cfg: cfg, store: st, jobs: jobs, origin: http.NewCrossOriginProtection(), log: log}
}

// Register adds the API's routes:
//
//	POST /v1/calls        place a call
//	GET  /v1/calls/{id}   one call, by its id or TeleSign's reference_id
//	GET  /v1/flows        the flows that workers run, with their versions
func (a *API) Register(mux *http.ServeMux) {
	mux.Handle("/v1/calls", a.only(http.MethodPost, a.placeCall))
	mux.Handle("/v1/calls/{id}", a.only(http.MethodGet, a.showCall))
	mux.Handle("/v1/flows", a.only(http.MethodGet, a.listFlows))
	mux.Handle("/v1/", a.only("", func(http.ResponseWriter, *http.Request) (int, any, error) {
		return 0, nil, messages.Errorf(messages.CodeNotFound, "no such resource; there are /v1/calls, /v1/calls/{id} and /v1/flows")
	}))
}

// only makes a handler for one method ("" for any; GET includes HEAD) of a function
// that returns what to write. It is the one place that turns errors into answers.
//
// A browser on this machine reaches a loopback address on behalf of any page it
// shows; such a page may not change anything here.
func (a *API) only(method string, handle func(http.ResponseWriter, *http.Request) (int, any, error)) http.Handler {
	allowed := method
	if method == http.MethodGet {
		allowed = "GET, HEAD"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body, err := http.StatusOK, any(nil), error(nil)
		switch {
		case method != "" && r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead):
			w.Header().Set("Allow", allowed)
			err = messages.Errorf(messages.CodeMethod, "%s is not possible here; use %s", r.Method, method)
		case a.origin.Check(r) != nil:
			err = messages.Errorf(messages.CodeUnauthorized, "the request comes from a web page of another origin")
		default:
			status, body, err = handle(w, r)
		}
		if err != nil {
			code := messages.CodeOf(err)
			status, body = code.HTTPStatus(), messages.BodyOf(err)
			switch {
			case r.Context().Err() != nil:
				a.log.InfoContext(r.Context(), "request given up by its client", "method", r.Method, "path", r.Pattern, "error", err)
			case code == messages.CodeInternal || code == messages.CodeUnavailable:
				a.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.Pattern, "error", err)
			}
		}
		a.write(w, r, status, body)
	})
}

func (a *API) write(w http.ResponseWriter, r *http.Request, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		a.log.ErrorContext(r.Context(), "answer not encoded", "path", r.Pattern, "error", err)
		status, encoded = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"internal error; see the log"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // people's numbers, and true for a moment only
	w.WriteHeader(status)
	if _, err := w.Write(append(encoded, '\n')); err != nil {
		a.log.DebugContext(r.Context(), "client went away", "error", err)
	}
}

func (a *API) listFlows(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	flows, err := a.store.Flows(r.Context())
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, messages.Flows{Flows: flows}, nil
}

// program is one version of a flow. CodeNotFound when the store does not have it.
func (a *API) program(ctx context.Context, hash string) (*flow.Program, error) {
	source, err := a.store.Flow(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("load flow version %s: %w", hash, err)
	}
	program, err := flow.Compile("flow "+hash, source)
	if err != nil {
		return nil, messages.Errorf(messages.CodeConflict, "flow version %s was stored by a worker that reads it otherwise; run the same version of offhook everywhere: %w", hash, err)
	}
	return program, nil
}
