package api_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/ingress/api"
)

// pipes is a network inside the process, so that synctest's clock rules it.
type pipes struct {
	conns  chan net.Conn
	broken chan error // what Accept fails with
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), broken: make(chan error), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.broken:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// get sends a request for / on a connection of its own and gives its answer, or
// nothing if the connection is cut.
func (p *pipes) get(t *testing.T) <-chan string {
	t.Helper()
	client, server := net.Pipe()
	p.conns <- server
	answer := make(chan string, 1)
	go func() {
		defer client.Close()
		defer close(answer)
		if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: offhook\r\n\r\n"); err != nil {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil {
			answer <- string(body)
		}
	}()
	return answer
}

// served is a handler under Serve.
type served struct {
	*pipes
	stop context.CancelFunc
	done chan error
}

func newServed(ctx context.Context, handler http.HandlerFunc) *served {
	ctx, stop := context.WithCancel(ctx)
	s := &served{pipes: newPipes(), stop: stop, done: make(chan error, 1)}
	go func() { s.done <- api.Serve(ctx, s.pipes, handler, discard()) }()
	return s
}

func TestServeStopsGracefully(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		s := newServed(t.Context(), func(w http.ResponseWriter, r *http.Request) {
			<-finish
			if r.Context().Err() != nil {
				t.Error("the request was cancelled")
			}
			_, _ = io.WriteString(w, "done")
		})
		answer := s.get(t)
		synctest.Wait()
		s.stop()
		synctest.Wait()
		select {
		case <-s.closed:
		default:
			t.Error("the listener is open after the stop")
		}
		select {
		case err := <-s.done:
			t.Errorf("ended with %v while a request is under way", err)
		default:
		}
		close(finish)
		if got := <-answer; got != "done" {
			t.Errorf("the request under way got %q", got)
		}
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
}

// Whoever does not finish in time is cancelled, cut off and still waited for: when
// Serve returns, what its handlers use may be closed.
func TestServeCutsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := false
		s := newServed(t.Context(), func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if cause := context.Cause(r.Context()); cause.Error() != "the process is stopping" {
				t.Errorf("the request was cancelled because %v", cause)
			}
			<-time.After(time.Second) // the handler's own way out
			ended = true
		})
		answer := s.get(t)
		synctest.Wait()
		s.stop()
		began := time.Now()
		err := <-s.done
		if err == nil || !strings.Contains(err.Error(), "requests were cut off 5s after the stop") {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("took %s", took)
		}
		if !ended {
			t.Error("a handler is still running")
		}
		if got, ok := <-answer; ok {
			t.Errorf("whoever was cut off got %q", got)
		}
	})
}

func TestServeListenerFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		s := newServed(t.Context(), func(w http.ResponseWriter, _ *http.Request) {
			<-finish
			_, _ = io.WriteString(w, "done")
		})
		answer := s.get(t)
		synctest.Wait()
		broken := errors.New("too many open files")
		s.broken <- broken
		synctest.Wait()
		close(finish)
		if got := <-answer; got != "done" {
			t.Errorf("the request under way got %q", got)
		}
		if err := <-s.done; !errors.Is(err, broken) || !strings.Contains(err.Error(), "serve on pipes") {
			t.Errorf("ended with %v", err)
		}
		s.stop()
	})
}

// A client that sends its request a byte at a time does not keep the process.
func TestServeSlowClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServed(t.Context(), func(http.ResponseWriter, *http.Request) { t.Error("half a request was served") })
		client, server := net.Pipe()
		s.conns <- server
		if _, err := io.WriteString(client, "GET / HT"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := io.ReadAll(client); err != nil {
			t.Errorf("read: %v", err)
		}
		if waited := time.Since(began); waited != 10*time.Second {
			t.Errorf("the connection was kept for %s", waited)
		}
		s.stop()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
}
