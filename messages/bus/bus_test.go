package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus/embedded"
)

func TestMain(m *testing.M) {
	if os.Getenv(childURL) != "" { // this process is the second worker of Test…
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = 20 * time.Second

// quiet is how long a test watches that something does not happen.
const quiet = 300 * time.Millisecond

var discard = slog.New(slog.DiscardHandler)

func startServer(t testing.TB) *embedded.Server {
	t.Helper()
	return startServerAt(t, t.TempDir(), "127.0.0.1:0")
}

func startServerAt(t testing.TB, dir, listen string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(within(t, patience), embedded.Config{Dir: dir, Listen: listen}, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// within is a context that ends after d or with the test.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// connect is a bus on s, set up, closed with the test. A change may replace fields
// of the configuration.
func connect(t testing.TB, s *embedded.Server, change ...func(*Config)) *Bus {
	t.Helper()
	cfg := Config{InProcess: s, Name: "test", Timeout: patience}
	for _, f := range change {
		f(&cfg)
	}
	b, err := Connect(within(t, patience), cfg, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(within(t, patience)); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := b.Setup(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

// overTCP makes connect use a URL instead of the in-process connection.
func overTCP(url string) func(*Config) {
	return func(c *Config) { c.InProcess, c.URL = nil, url }
}

// ackWaitOf makes the events consumer's ack-wait d.
func ackWaitOf(d time.Duration) func(*Config) {
	return func(c *Config) { c.AnswerWithin = d * 5 / 2 }
}

func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came in %s", what, patience)
		panic("unreachable")
	}
}

func receiveNone[T any](t testing.TB, what string, c <-chan T) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("%s: %v came", what, v)
	case <-time.After(quiet):
	}
}

// eventually asks again and again; every question is a round trip to the server.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if ask() {
			return
		}
	}
	t.Fatalf("%s: not within %s", what, patience)
}

func consumerInfo(t testing.TB, b *Bus, stream, consumer string) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := b.js.Consumer(within(t, patience), stream, consumer)
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

func streamInfo(t testing.TB, b *Bus, stream string) *jetstream.StreamInfo {
	t.Helper()
	s, err := b.js.Stream(within(t, patience), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}

// stored is every message of a stream, oldest first.
func stored(t testing.TB, b *Bus, stream string) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := b.js.Stream(within(t, patience), stream)
	if err != nil {
		t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(within(t, patience), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// failures is what the failed stream holds.
func failures(t testing.TB, b *Bus) []messages.Failure {
	t.Helper()
	var all []messages.Failure
	for _, m := range stored(t, b, messages.StreamFailed) {
		all = append(all, messages.ParseFailure(m.Header, m.Data))
	}
	return all
}

// event is a webhook event of call, as ingress makes it.
func event(call string) messages.Envelope {
	return messages.Envelope{
		Kind:    messages.KindEvent,
		EventID: messages.NewEventID(),
		CallID:  call,
		Event:   "speak_completed",
		Arrived: time.Now(),
		Body:    []byte(`{"event":"speak_completed"}`),
	}
}

func tell(t testing.TB, b *Bus, e messages.Envelope) {
	t.Helper()
	if err := b.Tell(within(t, patience), e); err != nil {
		t.Fatal(err)
	}
}

func TestConnectRefusesAServerThatCannotKeepThePromise(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, url, want string
	}{
		{"too old", fakeServer(t, `{"version":"2.11.9","headers":true,"max_payload":1048576}`), "version 2.11.9, offhook needs 2.12"},
		{"unreadable version", fakeServer(t, `{"version":"next","headers":true,"max_payload":1048576}`), "version next, offhook needs 2.12"},
		{"small payload", plainServer(t, true, 64<<10), "raise max_payload"},
		{"no JetStream", plainServer(t, false, maxPayload), "without JetStream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Connect(within(t, patience), Config{URL: tt.url}, discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if messages.CodeOf(err) != messages.CodeUsage {
				t.Errorf("code %s, want usage", messages.CodeOf(err))
			}
		})
	}
}

func TestNewEnough(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.11.9": false, "2.12.0": true, "2.12.0-RC.1": true, "2.15.2": true, "3.0.0": true, "1.99.0": false, "": false, "x": false, "2": false,
	} {
		if newEnough(version) != want {
			t.Errorf("%q: got %t", version, !want)
		}
	}
}

// fakeServer greets one client with info and answers its first ping.
func fakeServer(t *testing.T, info string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprintf(c, "INFO %s\r\n", info)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "PING") {
				_, _ = fmt.Fprint(c, "PONG\r\n")
			}
		}
	}()
	return "nats://" + l.Addr().String()
}

// plainServer is a nats-server as a careless operator may run it.
func plainServer(t *testing.T, jetStream bool, payload int32) string {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: jetStream, StoreDir: t.TempDir(), MaxPayload: payload,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("nats-server did not start")
	}
	return ns.ClientURL()
}

func TestConnectRefusesAndDoesNotRepeatWrongCredentials(t *testing.T) {
	t.Parallel()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: "u", Password: "right",
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("nats-server did not start")
	}
	url := strings.Replace(ns.ClientURL(), "nats://", "nats://u:sesame@", 1)
	_, err = Connect(within(t, patience), Config{URL: url}, discard)
	if messages.CodeOf(err) != messages.CodeUnauthorized {
		t.Errorf("got %v, want unauthorized", err)
	}
	if strings.Contains(fmt.Sprint(err), "sesame") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestConnectKeepsTryingUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Connect(within(t, quiet), Config{URL: "nats://" + address}, discard)
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v, want unavailable naming %s", err, address)
	}
}

func TestConnectWithoutItsCredentialsFile(t *testing.T) {
	t.Parallel()
	_, err := Connect(within(t, patience), Config{URL: "nats://127.0.0.1:1", CredentialsFile: filepath.Join(t.TempDir(), "none.creds")}, discard)
	if messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(fmt.Sprint(err), "CredentialsFile") {
		t.Errorf("got %v, want usage naming CredentialsFile", err)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	if err := b.Ready(); err != nil || !b.Connected() {
		t.Errorf("a working bus: %v, connected %t", err, b.Connected())
	}
	if err := b.js.DeleteStream(within(t, patience), messages.StreamEvents); err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), messages.StreamEvents) {
		t.Errorf("without its stream: got %v", err)
	}
	s.Close()
	eventually(t, "not ready without NATS", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), "not connected") && !b.Connected()
	})
}

func TestCloseWaitsSendsAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	other := connect(t, s)
	b := connect(t, s)
	inbox := other.nc.NewInbox()
	sub, err := other.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := b.Reply(t.Context(), messages.Envelope{ReplyTo: inbox, CallID: "call/1", EventID: "event-1"}, messages.Reply{Verdict: messages.VerdictHold}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := b.Close(within(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 100 {
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatalf("reply %d was not sent: %v", n, err)
		}
	}
	if err := b.Ready(); err == nil {
		t.Error("a closed bus is ready")
	}
	if b.Connected() {
		t.Error("a closed bus is connected")
	}
	if _, err := b.Ask(event("c")); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("ask on a closed bus: %v", err)
	}
}

func TestCloseWithoutNATS(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	s.Close()
	if err := b.Close(within(t, patience)); err != nil {
		t.Errorf("nothing was left to send, got %v", err)
	}
}
