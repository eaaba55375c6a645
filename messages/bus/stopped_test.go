package bus

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

// childURL is the environment variable that makes this test binary a worker: it
// consumes events from that server until its standard input is closed, and prints a
// line for each. With childLate set as well it consumes the late lane, slowly.
const (
	childURL  = "OFFHOOK_BUS_TEST_CHILD_URL"
	childLate = "OFFHOOK_BUS_TEST_CHILD_LATE"
)

const childPace = 30 * time.Millisecond

const stoppedAckWait = 300 * time.Millisecond

func child() int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	cfg := Config{URL: os.Getenv(childURL), Name: "child"}
	ackWaitOf(stoppedAckWait)(&cfg)
	b, err := Connect(ctx, cfg, discard)
	if err == nil && os.Getenv(childLate) != "" {
		err = b.ConsumeLate(ctx, ConsumerConfig{}, always, func(_ context.Context, d Delivery) Result {
			<-time.After(childPace)
			fmt.Fprintln(os.Stdout, "handled", d.EventID)
			return Done()
		})
	} else if err == nil {
		err = b.ConsumeEvents(ctx, ConsumerConfig{Slots: pullBatch}, func(_ context.Context, d Delivery) Result {
			fmt.Fprintln(os.Stdout, "handled", d.CallID)
			return Done()
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "stale", b.Stats().Stale)
	if err := b.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		return 1
	}
	return 0
}

// worker is another process that consumes.
type worker struct {
	*exec.Cmd
	in    io.Closer   // closing it ends the process in good order
	lines chan string // what it prints; closed when it ends
}

func startWorker(t *testing.T, url string, env ...string) *worker {
	t.Helper()
	w := &worker{Cmd: exec.CommandContext(within(t, patience), os.Args[0]), lines: make(chan string, 1000)}
	w.Env = append(append(os.Environ(), childURL+"="+url), env...)
	var err error
	if w.in, err = w.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			w.lines <- s.Text()
		}
	}()
	return w
}

func (w *worker) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := w.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// A worker that is stopped (SIGSTOP: a paused container, a
// frozen machine) with messages already sent to it. They go to another worker after
// ack-wait; when the stopped one goes on, it must not handle them too.
func TestAStoppedWorkerLosesItsEventsAndDoesNotHandleThemLater(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s, ackWaitOf(stoppedAckWait))
	w := startWorker(t, s.URL())
	lines := w.lines

	tell(t, b, event("first"))
	if line := receive(t, "the worker's first event", lines); line != "handled first" {
		t.Fatalf("got %q", line)
	}
	const each = 3
	taken := stopWithEvents(t, b, w.Process, lines, each)

	var redelivered atomic.Int32
	got := make(chan string, 10)
	r := consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result {
		if d.Attempt > 1 {
			redelivered.Add(1)
		}
		got <- d.CallID
		return Done()
	})
	for range each {
		if c := receive(t, "the event at the other worker", got); !strings.HasPrefix(c, "taken-") {
			t.Errorf("got %q", c)
		}
	}
	r.end(t)
	if n := redelivered.Load(); int(n) != taken {
		t.Errorf("%d events were redelivered, the stopped worker had %d", n, taken)
	}

	w.signal(t, syscall.SIGCONT)
	tell(t, b, event("last"))
	if line := receive(t, "the worker goes on", lines); line != "handled last" {
		t.Errorf("got %q: it handled what somebody else had handled", line)
	}
	if err := w.in.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range lines {
		if !strings.HasPrefix(line, "stale") {
			t.Errorf("got %q", line)
		}
		t.Logf("the stopped worker had %d events and dropped: %s", taken, line)
	}
	if err := w.Wait(); err != nil {
		t.Errorf("the worker: %v", err)
	}
}

// stopWithEvents stops the worker, publishes events and returns how many of them the
// server had sent to it. If it was stopped between two pulls and has none, it is
// allowed to handle them and the same is done again.
func stopWithEvents(t *testing.T, b *Bus, worker *os.Process, lines <-chan string, each int) int {
	t.Helper()
	for floor := uint64(1); ; floor += uint64(each) {
		acked(t, b, messages.StreamEvents, messages.ConsumerEvents, floor)
		if err := worker.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for n := range each {
			tell(t, b, event(fmt.Sprintf("taken-%d", n)))
		}
		var taken int
		eventually(t, "the stopped worker's pulls end", func() bool {
			i := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents)
			taken = i.NumAckPending
			return i.NumWaiting == 0
		})
		if taken > 0 {
			return taken
		}
		if err := worker.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for range each {
			receive(t, "the events it was stopped without", lines)
		}
	}
}
