package webhook

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
)

// read reads one answer from a connection that may stay open.
func read(t testing.TB, r *bufio.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer res.Body.Close()
	return res, rest(t, res.Body)
}

// send writes to a connection without waiting for the other side to read all of it.
func send(c net.Conn, parts ...[]byte) {
	go func() {
		for _, p := range parts {
			if _, err := c.Write(p); err != nil {
				return // cut off, which is for the test to see on its reading side
			}
		}
	}()
}

// TestKeepAlive answers event after event on one connection, and says on the wire
// what it is.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := run(t, Config{}, &fakeBus{script: script{reply: decided}})
		c := d.ln.dial(t)
		r := bufio.NewReader(c)
		for range 3 {
			send(c, onWire(t, incoming))
			res, body := read(t, r)
			if res.StatusCode != 200 || body != decision || res.ContentLength != int64(len(decision)) {
				t.Errorf("%s, %d bytes: %s", res.Status, res.ContentLength, body)
			}
			if ct, cc := res.Header.Get("Content-Type"), res.Header.Get("Cache-Control"); ct != "application/json" || cc != "no-store" {
				t.Errorf("Content-Type %q, Cache-Control %q", ct, cc)
			}
			if len(res.TransferEncoding) != 0 || res.Close {
				t.Errorf("transfer encoding %v, close %t", res.TransferEncoding, res.Close)
			}
		}
		d.end(t)
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the idle connection was not closed: %v", err)
		}
	})
}

// TestSlowClients cuts whoever sends or reads a byte at a time, each by its own
// timeout, on a clock that costs the test nothing.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	request := onWire(t, incoming)
	cfg := Config{
		ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second,
		WriteTimeout: 4 * time.Second, IdleTimeout: 5 * time.Second,
	}
	for name, c := range map[string]struct {
		trickle []byte // sent a byte every 100 ms, after head
		head    []byte
		deaf    bool // does not read its answer
		after   time.Duration
		status  string // of the answer, if any
	}{
		"sends nothing":            {after: 2 * time.Second},
		"headers byte by byte":     {trickle: request, after: 2 * time.Second, status: "400 Bad Request"},
		"endless header":           {head: []byte("POST " + Path + " HTTP/1.1\r\nX: "), trickle: []byte(strings.Repeat("x", 1000)), after: 2 * time.Second},
		"body byte by byte":        {head: request[:len(request)-60], trickle: request[len(request)-60:], after: 3 * time.Second, status: "400 Bad Request"},
		"body never":               {head: request[:len(request)-60], after: 3 * time.Second, status: "400 Bad Request"},
		"idle after an answer":     {head: request, after: 5 * time.Second, status: "200 OK"},
		"does not read its answer": {head: request, deaf: true, after: 6500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := run(t, cfg, &fakeBus{script: script{reply: decided}})
				conn := d.ln.dial(t)
				began := time.Now()
				var writer sync.WaitGroup
				writer.Go(func() {
					if _, err := conn.Write(c.head); err != nil {
						return
					}
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for i := range c.trickle {
						<-tick.C
						if _, err := conn.Write(c.trickle[i : i+1]); err != nil {
							return
						}
					}
				})
				if c.deaf {
					writer.Wait()
					if _, err := conn.Write([]byte("GET ")); !errors.Is(err, io.ErrClosedPipe) { // blocks as long as it is open
						t.Errorf("write: %v", err)
					}
				} else if got := rest(t, conn); c.status == "" && got != "" || !strings.Contains(got, c.status) {
					t.Errorf("answer %q, want %q", got, c.status)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("cut after %v, want %v", took, c.after)
				}
				synctest.Wait()
				if got := d.metric(t, "offhook_webhook_connections"); got != 0 {
					t.Errorf("%v connections are still open", got)
				}
				d.end(t)
				conn.Close()
				writer.Wait()
			})
		})
	}
}

// TestHugeRequests are refused without being read.
func TestHugeRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ request, want string }{
		"announced body": {"POST " + Path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", "413 Request Entity Too Large"},
		"endless chunks": {"POST " + Path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat(" ", 0x20000), "413 Request Entity Too Large"},
		"headers":        {"POST " + Path + " HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431 Request Header Fields Too Large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := run(t, Config{}, &fakeBus{})
				conn := d.ln.dial(t)
				defer conn.Close()
				send(conn, []byte(c.request))
				if got := rest(t, conn); !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
					t.Errorf("answer %.100q, want %s", got, c.want)
				}
				d.end(t)
			})
		})
	}
}

// TestConnectionLimit keeps the third of two connections waiting until one closes.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := run(t, Config{MaxConnections: 2}, &fakeBus{script: script{reply: decided}})
		first, second := d.ln.dial(t), d.ln.dial(t)
		third := make(chan net.Conn)
		go func() { third <- d.ln.dial(t) }()
		synctest.Wait()
		select {
		case <-third:
			t.Error("a third connection was accepted")
		default:
		}
		if got := d.metric(t, "offhook_webhook_connections"); got != 2 {
			t.Errorf("%v connections, want 2", got)
		}
		first.Close()
		c := <-third
		send(c, onWire(t, incoming))
		if res, body := read(t, bufio.NewReader(c)); res.StatusCode != 200 {
			t.Errorf("%s: %s", res.Status, body)
		}
		second.Close()
		c.Close()
		d.end(t)
		if got := d.metric(t, "offhook_webhook_connections"); got != 0 {
			t.Errorf("%v connections after the end", got)
		}
	})
}

// TestListener gives a slot back when accepting fails, and does not wait for one
// when it is closed.
func TestListener(t *testing.T) {
	t.Parallel()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "open"})
	broken := newLimitListener(brokenListener{newPipeListener()}, 1, gauge)
	for range 3 {
		if _, err := broken.Accept(); !errors.Is(err, errBroken) {
			t.Errorf("accept: %v", err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := newLimitListener(inner, 1, gauge)
		go inner.dial(t)
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan error)
		go func() {
			_, err := ln.Accept()
			accepted <- err
		}()
		synctest.Wait() // it waits for a slot
		for range 2 {
			if err := ln.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
		for range 2 {
			if err := conn.Close(); err != nil {
				t.Errorf("close a connection: %v", err)
			}
		}
	})
}

// TestGate lets nobody in once it is closed, and closes after the last has left.
func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if !g.enter() {
			t.Fatal("a new gate is shut")
		}
		closed := make(chan struct{})
		go func() {
			g.close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed with somebody inside")
		default:
		}
		if g.enter() {
			t.Error("let in while closing")
		}
		g.leave()
		<-closed
	})
}

// TestFullAndFree refuses the event over the limit and takes the next one when
// there is room again.
func TestFullAndFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := run(t, Config{MaxInFlight: 1}, &fakeBus{script: script{replyAt: time.Second, reply: decided}})
		a, b := d.ln.dial(t), d.ln.dial(t)
		defer a.Close()
		defer b.Close()
		ra, rb := bufio.NewReader(a), bufio.NewReader(b)
		send(a, onWire(t, incoming))
		synctest.Wait() // it waits for its reply
		if got := d.metric(t, "offhook_webhook_in_flight"); got != 1 {
			t.Errorf("%v in flight, want 1", got)
		}
		send(b, onWire(t, incoming))
		if res, _ := read(t, rb); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("the second: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
		}
		if res, _ := read(t, ra); res.StatusCode != 200 {
			t.Errorf("the first: %s", res.Status)
		}
		synctest.Wait() // it has left
		send(b, onWire(t, incoming))
		if res, _ := read(t, rb); res.StatusCode != 200 {
			t.Errorf("the third: %s", res.Status)
		}
		if got := d.metric(t, "offhook_webhook_rejected_total", "reason=full"); got != 1 {
			t.Errorf("%v rejected as full, want 1", got)
		}
		d.end(t)
		if got := d.metric(t, "offhook_webhook_in_flight"); got != 0 {
			t.Errorf("%v in flight after the end", got)
		}
	})
}

// TestClientHangsUp: the event was stored and is decided; that its answer did not
// leave is counted and reported.
func TestClientHangsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := run(t, Config{}, &fakeBus{script: script{replyAt: time.Second, reply: decided}})
		c := d.ln.dial(t)
		send(c, onWire(t, incoming))
		synctest.Wait()
		c.Close()
		d.end(t)
		if got := d.metric(t, "offhook_webhook_broken_answers_total"); got != 1 {
			t.Errorf("%v broken answers, want 1", got)
		}
		if got := d.metric(t, "offhook_webhook_answers_total", "outcome=decided"); got != 1 {
			t.Errorf("%v decided, want 1", got)
		}
		checkTold(t, d.bus, messages.Told{Answer: messages.ToldUnknown, Reason: "the connection did not take the answer"})
	})
}

// TestInsecure warns at the start and, now and then, while it runs.
func TestInsecure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := run(t, Config{Insecure: true}, &fakeBus{script: script{replyAt: time.Second, reply: decided}})
		c := d.ln.dial(t)
		defer c.Close()
		r := bufio.NewReader(c)
		unsigned := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", Path, len(incoming), incoming)
		synctest.Wait()
		if got := strings.Count(d.log.String(), "INSECURE"); got != 1 {
			t.Errorf("%d warnings at the start, want 1", got)
		}
		for range 90 { // one a second
			send(c, unsigned)
			if res, body := read(t, r); res.StatusCode != 200 {
				t.Fatalf("%s: %s", res.Status, body)
			}
		}
		if got := strings.Count(d.log.String(), "INSECURE"); got != 3 {
			t.Errorf("%d warnings after 90 s, want 3: at the start and every minute", got)
		}
		d.end(t)
	})
}

// TestNewRefuses a door without a key that was not asked to be insecure, a bad
// configuration, and metrics that are there already.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	verifier := mustVerifier(t, testKey)
	if _, err := New(Config{}, nil, &fakeBus{}, nil, prometheus.NewRegistry(), log); messages.CodeOf(err) != messages.CodeUsage {
		t.Errorf("without a key: %v", err)
	}
	if _, err := New(Config{Insecure: true}, nil, &fakeBus{}, nil, prometheus.NewRegistry(), log); err != nil {
		t.Errorf("insecure without a key: %v", err)
	}
	if _, err := New(Config{Drain: -1}, verifier, &fakeBus{}, nil, prometheus.NewRegistry(), log); err == nil {
		t.Error("a negative Drain was taken")
	}
	reg := prometheus.NewRegistry()
	if _, err := New(Config{}, verifier, &fakeBus{}, nil, reg, log); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{}, verifier, &fakeBus{}, nil, reg, log); err == nil {
		t.Error("the same metrics were registered twice")
	}
}
