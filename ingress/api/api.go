package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// maxBody bounds a request. The largest honest one is a call with some dozen
// contact fields.
const maxBody = 64 << 10

// Jobs is where dial jobs are queued; messages/bus is its other side.
type Jobs interface {
	// PublishJob returns once the job is stored.
	PublishJob(ctx context.Context, j messages.DialJob) error
}

// Config is what the API needs to know beyond its parts.
type Config struct {
	CallerID string      // caller id for requests that name none; empty means they must
	Limits   call.Limits // the workers' own, so that timelines say what callers heard
}

// API answers HTTP requests about calls and flows.
type API struct {
	cfg   Config
	store *store.Store
	jobs  Jobs
	log   *slog.Logger
}

// New makes an API.
func New(cfg Config, st *store.Store, jobs Jobs, log *slog.Logger) *API {
	return &API{cfg: cfg, store: st, jobs: jobs, log: log}
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

// only makes a handler for one method ("" for any) of a function that returns what
// to write. It is the one place that turns errors into answers.
func (a *API) only(method string, handle func(http.ResponseWriter, *http.Request) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body, err := http.StatusOK, any(nil), error(nil)
		if method != "" && r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead) {
			w.Header().Set("Allow", method)
			err = messages.Errorf(messages.CodeMethod, "%s is not possible here; use %s", r.Method, method)
		} else {
			status, body, err = handle(w, r)
		}
		if err != nil {
			code := messages.CodeOf(err)
			status, body = code.HTTPStatus(), messages.BodyOf(err)
			if code == messages.CodeInternal || code == messages.CodeUnavailable {
				a.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.Pattern, "error", err)
			}
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			a.log.ErrorContext(r.Context(), "answer not encoded", "path", r.Pattern, "error", err)
			status, encoded = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"internal error; see the log"}}`)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if _, err := w.Write(append(encoded, '\n')); err != nil {
			a.log.DebugContext(r.Context(), "client went away", "error", err)
		}
	})
}

// readJSON reads one JSON object into v, strictly: an unknown field is probably a
// misspelt one.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return messages.Errorf(messages.CodeTooLarge, "the request is larger than %d bytes", maxBody)
	case err != nil:
		return messages.Errorf(messages.CodeInvalid, "the request could not be read: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return messages.Errorf(messages.CodeInvalid, "the request is not the JSON that is wanted here: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return messages.Errorf(messages.CodeInvalid, "there is something after the JSON object")
	}
	return nil
}

func (a *API) listFlows(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	flows, err := a.store.Flows(r.Context())
	if err != nil {
		return 0, nil, fmt.Errorf("list flows: %w", err)
	}
	return http.StatusOK, messages.Flows{Flows: flows}, nil
}
