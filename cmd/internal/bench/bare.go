package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// readyMessage is what a part logs, with its url, when it can be used.
const readyMessage = "ready"

// serve is an HTTP server on a free port of the loopback until ctx ends.
func serve(ctx context.Context, h http.Handler, log *slog.Logger) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	log.Info(readyMessage, "url", "http://"+ln.Addr().String())
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Bare is the first row: it parses the event and answers.
func Bare(ctx context.Context, log *slog.Logger) error {
	return serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := readEvent(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeAnswer(w, fixedAnswer)
	}), log)
}

// readEvent reads and parses the event that a request posts.
func readEvent(r *http.Request) (telesign.Event, []byte, error) {
	const longest = 64 << 10
	buffer := bytes.NewBuffer(make([]byte, 0, max(0, min(r.ContentLength, longest))+bytes.MinRead))
	if _, err := buffer.ReadFrom(io.LimitReader(r.Body, longest)); err != nil {
		return telesign.Event{}, nil, err
	}
	event, err := telesign.ParseEvent(buffer.Bytes())
	return event, buffer.Bytes(), err
}

func writeAnswer(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) //nolint:gosec // for the load generator only, which sees what did not arrive
}
