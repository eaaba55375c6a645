package dial_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/dial"
)

// wire is a server that does to each connection what a test says, and counts.
type wire struct {
	URL string

	listener net.Listener
	done     sync.WaitGroup
	mu       sync.Mutex
	conns    int
	requests int
}

func newWire(t *testing.T, serve func(w *wire, conn net.Conn)) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{URL: "http://" + listener.Addr().String(), listener: listener}
	w.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns++
			w.mu.Unlock()
			w.done.Go(func() {
				defer conn.Close()
				serve(w, conn)
			})
		}
	})
	t.Cleanup(w.close)
	return w
}

// close waits for everything the server does.
func (w *wire) close() {
	_ = w.listener.Close()
	w.done.Wait()
}

// counts closes the server and says how many connections and whole requests it saw.
func (w *wire) counts() (conns, requests int) {
	w.close()
	return w.conns, w.requests
}

// read reads one whole request from conn.
func (w *wire) read(conn net.Conn) error {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	return nil
}

// answering reads a request, writes answer and closes.
func answering(answer string) func(*wire, net.Conn) {
	return func(w *wire, conn net.Conn) {
		if w.read(conn) == nil {
			_, _ = io.WriteString(conn, answer)
		}
	}
}

// Once a connection stands, whatever goes wrong is ambiguous, and happens once.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		serve  func(*wire, net.Conn)
		want   dial.Kind
		status int
	}{
		{"closed after reading", answering(""), dial.Ambiguous, 0},
		{"reset after reading", func(w *wire, conn net.Conn) {
			if w.read(conn) == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
			}
		}, dial.Ambiguous, 0},
		{"half a status line", answering("HTTP/1.1 20"), dial.Ambiguous, 0},
		{"half a header", answering("HTTP/1.1 202 Accepted\r\nContent-Le"), dial.Ambiguous, 0},
		{"not HTTP", answering("220 smtp.example.com ready\r\n"), dial.Ambiguous, 0},
		{"endless header", answering("HTTP/1.1 202 Accepted\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n"), dial.Ambiguous, 0},
		{"200 cut off", answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":\"to_numb"), dial.Ambiguous, 200},
		{"200 cut off after the body", answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n{\"status\":\"premium_to_number_rejected\"}   \r\n"), dial.Refused, 200},
		{"202 cut off", answering("HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{\"refer"), dial.Accepted, 202},
		{"202 without a body", answering("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"), dial.Accepted, 202},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := newWire(t, tt.serve)
			o := client(t, server.URL, nil).Dial(t.Context(), call)
			if o.Kind != tt.want || o.HTTPStatus != tt.status || (o.Err == nil) != (tt.want == dial.Accepted) {
				t.Errorf("got %+v, want %s, HTTP %d", o, tt.want, tt.status)
			}
			if conns, requests := server.counts(); conns != 1 || requests != 1 {
				t.Errorf("the server saw %d connections and %d requests, want one", conns, requests)
			}
		})
	}
}

// net/http repeats a request on a connection that it used before and found closed.
// The server offers to keep the connection, so there would be one to use.
func TestNeverRepeated(t *testing.T) {
	t.Parallel()
	var first sync.Once
	server := newWire(t, func(w *wire, conn net.Conn) {
		answered := false
		first.Do(func() {
			answered = true
			if w.read(conn) == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 202 Accepted\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}")
			}
		})
		if answered {
			_ = w.read(conn) // a second request on the same connection would be counted, and lost
			return
		}
		_ = w.read(conn)
	})
	c := client(t, server.URL, nil)
	if o := c.Dial(t.Context(), call); o.Kind != dial.Accepted {
		t.Fatalf("first dial: %+v", o)
	}
	if o := c.Dial(t.Context(), call); o.Kind != dial.Ambiguous {
		t.Errorf("second dial: %+v, want ambiguous", o)
	}
	if conns, requests := server.counts(); conns != 2 || requests != 2 {
		t.Errorf("the server saw %d connections and %d requests for two dials", conns, requests)
	}
}

func TestClosedBeforeReading(t *testing.T) {
	t.Parallel()
	server := newWire(t, func(*wire, net.Conn) {})
	o := client(t, server.URL, nil).Dial(t.Context(), call)
	if o.Kind != dial.Ambiguous {
		t.Errorf("got %+v", o)
	}
	if conns, _ := server.counts(); conns != 1 {
		t.Errorf("%d connections for one dial", conns)
	}
}

// hanging reads a request, says so and never answers.
func hanging(received chan<- struct{}) func(*wire, net.Conn) {
	return func(w *wire, conn net.Conn) {
		if w.read(conn) == nil {
			close(received)
		}
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
	}
}

func TestNoAnswerIsAmbiguous(t *testing.T) {
	t.Parallel()
	server := newWire(t, hanging(make(chan struct{})))
	o := client(t, server.URL, func(cfg *dial.Config) { cfg.Timeout = 100 * time.Millisecond }).Dial(t.Context(), call)
	if o.Kind != dial.Ambiguous || !errors.Is(o.Err, context.DeadlineExceeded) || messages.CodeOf(o.Err) != messages.CodeTimeout {
		t.Errorf("got %+v", o)
	}
	if _, requests := server.counts(); requests != 1 {
		t.Errorf("%d requests", requests)
	}
}

func TestCancelledAfterSendingIsAmbiguous(t *testing.T) {
	t.Parallel()
	received := make(chan struct{})
	server := newWire(t, hanging(received))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stopped := errors.New("the worker stops")
	var o dial.Outcome
	var dialing sync.WaitGroup
	dialing.Go(func() { o = client(t, server.URL, nil).Dial(ctx, call) })
	<-received
	cancel(stopped)
	dialing.Wait()
	if o.Kind != dial.Ambiguous || !errors.Is(o.Err, stopped) {
		t.Errorf("got %+v", o)
	}
}

// A body that never ends does not hold a dial longer than its timeout, and does not
// take back the 202 before it.
func TestTricklingBody(t *testing.T) {
	t.Parallel()
	server := newWire(t, func(w *wire, conn net.Conn) {
		if w.read(conn) == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n{")
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	o := client(t, server.URL, func(cfg *dial.Config) { cfg.Timeout = 100 * time.Millisecond }).Dial(t.Context(), call)
	if o.Kind != dial.Accepted || o.ReferenceID != "" {
		t.Errorf("got %+v", o)
	}
}

// Until a connection stands, nothing was sent.
func TestNotSent(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, o dial.Outcome) {
		t.Helper()
		if o.Kind != dial.NotSent || o.HTTPStatus != 0 || messages.CodeOf(o.Err) != messages.CodeUnavailable {
			t.Errorf("got %+v", o)
		}
	}
	untouched := func(t *testing.T) *httptest.Server {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
		t.Cleanup(server.Close)
		return server
	}
	t.Run("connection refused", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		check(t, client(t, "http://"+listener.Addr().String(), nil).Dial(t.Context(), call))
	})
	t.Run("unknown host", func(t *testing.T) {
		t.Parallel()
		c := client(t, "https://nowhere.invalid", nil)
		c.Transport().DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}}
		}
		check(t, c.Dial(t.Context(), call))
	})
	t.Run("certificate not trusted", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.StartTLS()
		defer server.Close()
		check(t, client(t, server.URL, nil).Dial(t.Context(), call))
	})
	t.Run("no TLS there", func(t *testing.T) {
		t.Parallel()
		server := newWire(t, func(_ *wire, conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		})
		check(t, client(t, strings.Replace(server.URL, "http:", "https:", 1), nil).Dial(t.Context(), call))
	})
	t.Run("TLS never answered", func(t *testing.T) {
		t.Parallel()
		server := newWire(t, func(_ *wire, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		c := client(t, strings.Replace(server.URL, "http:", "https:", 1), func(cfg *dial.Config) { cfg.Timeout = 100 * time.Millisecond })
		check(t, c.Dial(t.Context(), call))
	})
	t.Run("cancelled while connecting", func(t *testing.T) {
		t.Parallel()
		c := client(t, untouched(t).URL, nil)
		connecting, release := make(chan struct{}), make(chan struct{})
		direct := c.Transport().DialContext
		c.Transport().DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
			close(connecting)
			<-release // the connection comes too late, after Dial has returned
			return direct(context.WithoutCancel(t.Context()), network, address)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var o dial.Outcome
		var dialing sync.WaitGroup
		dialing.Go(func() { o = c.Dial(ctx, call) })
		<-connecting
		cancel()
		dialing.Wait()
		close(release)
		check(t, o)
	})
	t.Run("cancelled before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		check(t, client(t, untouched(t).URL, nil).Dial(ctx, call))
	})
}
