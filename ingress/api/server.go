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
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	var failure error
	select {
	case err := <-served:
		failure = fmt.Errorf("serve on %s: %w", ln.Addr(), err)
		served <- http.ErrServerClosed
	case <-ctx.Done():
	}
	stopCtx, cancel := context.WithTimeout(work, stopWithin)
	defer cancel()
	if err := srv.Shutdown(stopCtx); err != nil {
		abort(errStopping)
		failure = errors.Join(failure, fmt.Errorf("requests were cut off %s after the stop: %w", stopWithin, err), srv.Close())
	}
	<-served
	if err := handlers.Acquire(context.WithoutCancel(ctx), math.MaxInt64); err != nil {
		failure = errors.Join(failure, err) // only a context ends the wait for handlers, and this one does not
	}
	return failure
}
