package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// The internal listener's limits. Its clients are our own command line, a scraper
// and an orchestrator: honest, but a stuck one must not hold a connection for ever.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	stopWithin   = 5 * time.Second
)

// errStopping is why requests under way are given up.
var errStopping = errors.New("the process is stopping")

// Serve serves the internal listener until ctx ends or the listener fails, then
// lets requests under way finish for five seconds, cancels the rest, closes their
// connections and waits for their handlers. It closes ln. The error says that the
// listener failed, or that somebody was cut off.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler, log *slog.Logger) error {
	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	handlers := semaphore.NewWeighted(math.MaxInt64) // one for each that runs; all of them at the end
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !handlers.TryAcquire(1) {
				panic(http.ErrAbortHandler) // its connection is closed already
			}
			defer handlers.Release(1)
			handler.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return work },
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	var result error // of srv.Serve, once served is closed
	served := make(chan struct{})
	go func() {
		defer close(served)
		result = srv.Serve(ln)
	}()
	select {
	case <-served:
	case <-ctx.Done():
	}
	stopCtx, cancel := context.WithTimeout(work, stopWithin)
	defer cancel()
	failure := srv.Shutdown(stopCtx)
	if failure != nil {
		abort(errStopping)
		failure = errors.Join(fmt.Errorf("requests were cut off %s after the stop: %w", stopWithin, failure), srv.Close())
	}
	<-served
	if !errors.Is(result, http.ErrServerClosed) {
		failure = errors.Join(fmt.Errorf("serve on %s: %w", ln.Addr(), result), failure)
	}
	if err := handlers.Acquire(context.WithoutCancel(ctx), math.MaxInt64); err != nil {
		failure = errors.Join(failure, err) // only a context ends the wait for handlers, and this one does not
	}
	return failure
}
