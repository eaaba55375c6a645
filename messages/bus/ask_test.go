package bus

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/offhook/offhook/messages"
)

// answer makes b a worker that answers every event with its own call id.
func answer(t testing.TB, b *Bus) {
	t.Helper()
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result {
		err := b.Reply(t.Context(), d.Envelope, messages.Reply{Verdict: messages.VerdictDecided, Step: "s", Action: []byte(d.CallID)})
		if err != nil {
			return Retry(0, err)
		}
		return Done()
	})
}

func TestAskHearsThePubAckAndTheReply(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ingress, worker := connect(t, s), connect(t, s)
	answer(t, worker)

	p, err := ingress.Ask(event("call 1"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := receive(t, "PubAck", p.Stored); err != nil {
		t.Errorf("stored: %v", err)
	}
	r := receive(t, "reply", p.Reply)
	if r.Verdict != messages.VerdictDecided || string(r.Action) != "call 1" || r.Step != "s" {
		t.Errorf("got %+v", r)
	}
	if n := ingress.Stats().Asks; n != 0 {
		t.Errorf("%d asks are open after both values", n)
	}
}

func TestAskDoesNotWaitForThePubAckBeforeItListens(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	if err := b.js.DeleteStream(within(t, patience), messages.StreamEvents); err != nil {
		t.Fatal(err) // now nobody sends PubAcks for events but we
	}
	e := event("c")
	sub, err := b.nc.SubscribeSync(messages.EventSubject("c"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Ask(e)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	env, err := messages.ParseEnvelope(m.Header, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Reply(t.Context(), env, messages.Reply{Verdict: messages.VerdictHold, Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, "reply before the PubAck", p.Reply); r.Reason != "r" {
		t.Errorf("got %+v", r)
	}
	if err := m.Respond([]byte(`{"stream":"S","seq":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "PubAck", p.Stored); err != nil {
		t.Error(err)
	}
}

func TestConcurrentAsksEachGetTheirOwnReply(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ingress, worker := connect(t, s), connect(t, s)
	answer(t, worker)
	before := ingress.nc.NumSubscriptions()
	var asks sync.WaitGroup
	for n := range 300 {
		asks.Go(func() {
			call := fmt.Sprintf("call-%d", n)
			p, err := ingress.Ask(event(call))
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			if err := receive(t, "PubAck", p.Stored); err != nil {
				t.Error(err)
			}
			if r := receive(t, "reply", p.Reply); string(r.Action) != call {
				t.Errorf("%s got the reply to %q", call, r.Action)
			}
		})
	}
	asks.Wait()
	if n := ingress.nc.NumSubscriptions(); n != before {
		t.Errorf("%d subscriptions before, %d after: a question must not cost one", before, n)
	}
}

// When nobody answers, nothing is left behind; what comes too late is
// dropped and counted.
func TestAnAskThatNobodyAnswersLeavesNothing(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	const n = 50
	var asks []*Pending
	for range n {
		p, err := b.Ask(event("c"))
		if err != nil {
			t.Fatal(err)
		}
		asks = append(asks, p)
	}
	for _, p := range asks {
		if err := receive(t, "PubAck", p.Stored); err != nil {
			t.Fatal(err)
		}
	}
	if open := b.Stats().Asks; open != n {
		t.Errorf("%d asks are open, want %d", open, n)
	}
	for _, p := range asks {
		p.Close()
		p.Close()
	}
	if open, left := b.Stats().Asks, len(b.inbox.waits); open != 0 || left != 0 {
		t.Errorf("%d asks and %d tokens left", open, left)
	}
	late := b.inbox.prefix + ".reply.1"
	if err := b.Reply(t.Context(), messages.Envelope{ReplyTo: late, CallID: "call/1", EventID: "event-1"}, messages.Reply{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the late reply is counted", func() bool { return b.Stats().LateReplies == 1 && b.nc.Flush() == nil })
}

func TestAsksAreBoundedAndPublishesAreNot(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t), func(c *Config) { c.MaxAsks = 2 })
	first, err := b.Ask(event("a"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Ask(event("b"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := b.Ask(event("c")); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("the third ask: %v", err)
	}
	tell(t, b, event("told")) // the report of a fallback must get through
	first.Close()
	third, err := b.Ask(event("c"))
	if err != nil {
		t.Fatalf("after one was closed: %v", err)
	}
	third.Close()
}

// While there is no connection, a publish fails at once and is not
// sent later; one that was under way is resolved at once.
func TestWithoutNATSAPublishFailsAtOnceAndIsNotSentLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServerAt(t, dir, "127.0.0.1:0")
	p := startProxy(t, s.URL())
	b := connect(t, s, overTCP(p.url))

	p.muteUp() // the event is handed to a connection that is dead but does not know it
	under, err := b.Ask(event("under way"))
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()
	s.Close()
	if err := receive(t, "the event under way", under.Stored); !errors.Is(err, errLost) {
		t.Errorf("the event under way: got %v, want %v", err, errLost)
	}

	eventually(t, "disconnected", func() bool { return b.nc.Status() == nats.RECONNECTING })
	began := time.Now()
	if _, err := b.Ask(event("ask")); messages.CodeOf(err) != messages.CodeUnavailable || !errors.Is(err, errDisconnected) {
		t.Errorf("ask: %v", err)
	}
	if err := b.Tell(t.Context(), event("tell")); !errors.Is(err, errDisconnected) {
		t.Errorf("tell: %v", err)
	}
	if err := b.Reply(t.Context(), messages.Envelope{ReplyTo: "a.b", CallID: "call/1", EventID: "event-1"}, messages.Reply{}); !errors.Is(err, errDisconnected) {
		t.Errorf("reply: %v", err)
	}
	if took := time.Since(began); took > 50*time.Millisecond {
		t.Errorf("failing took %s", took)
	}
	if open := b.Stats().Asks; open != 1 {
		t.Errorf("%d asks are open, want the one that is still to be closed", open)
	}

	startServerAt(t, dir, s.URL()[len("nats://"):])
	eventually(t, "reconnected", func() bool { return b.Ready() == nil })
	tell(t, b, event("later"))
	if n := streamInfo(t, b, messages.StreamEvents).State.Msgs; n != 1 {
		t.Errorf("%d events are stored, want only the one published after the reconnect", n)
	}
}

// "No responders" is instant. When the process that asked is gone, the
// worker learns it at once.
func TestAReplyThatNobodyHearsIsReported(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ingress := connect(t, s)
	reported := make(chan [2]string, 1)
	worker := connect(t, s)
	worker.OnUndelivered(func(call, event string) { reported <- [2]string{call, event} })
	env := messages.Envelope{CallID: "call/1 *.>\x00ü", EventID: "event-1"}
	p, err := ingress.inbox.open(true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	env.ReplyTo = p.replySubject()

	if err := worker.Reply(t.Context(), env, messages.Reply{Verdict: messages.VerdictHold}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the reply while somebody listens", p.Reply)
	if err := ingress.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := worker.Reply(t.Context(), env, messages.Reply{Verdict: messages.VerdictHold}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, "the report", reported); got != [2]string{env.CallID, env.EventID} {
		t.Errorf("reported %q, want %q and %q", got, env.CallID, env.EventID)
	}
	if n := worker.Stats().Undelivered; n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
}

// Ids that do not fit a subject must not cost the connection. Nobody can be told then,
// but it is counted.
func TestAReplyWithHugeIDsIsSentAndItsLossCounted(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	b.OnUndelivered(func(call, event string) { t.Errorf("reported %.20q and %q", call, event) })
	env := messages.Envelope{ReplyTo: "nobody.listens", CallID: strings.Repeat("x", 10_000), EventID: "e"}
	if err := b.Reply(t.Context(), env, messages.Reply{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "counted", func() bool { return b.nc.Flush() == nil && b.Stats().Undelivered == 1 })
}

func TestReplyRefusesWhatIsNoSubject(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for _, to := range []string{"", "a b", "a.*", "a.>", ".a", "a.", "a..b", "a\r\nPING", strings.Repeat("a", 5000)} {
		if err := b.Reply(t.Context(), messages.Envelope{ReplyTo: to, CallID: "call/1", EventID: "event-1"}, messages.Reply{}); messages.CodeOf(err) != messages.CodeInvalid {
			t.Errorf("%q: got %v, want invalid", to, err)
		}
	}
	if err := b.Ready(); err != nil {
		t.Errorf("the connection suffered: %v", err)
	}
}

// What may be published to is what the server takes for a subject.
func FuzzPublishable(f *testing.F) {
	for _, s := range []string{"_INBOX.abc.reply.1", "a b", "a.*", "a.>", ".", "a\x00b", "ü.ö"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if publishable(s) && !server.IsValidLiteralSubject(s) {
			t.Errorf("%q is no subject for the server", s)
		}
	})
}

func TestParsePubAck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		msg   nats.Msg
		wants error // nil: stored; errAny: any error
	}{
		{"stored", nats.Msg{Data: []byte(`{"stream":"S","seq":1}`)}, nil},
		{"known before", nats.Msg{Data: []byte(`{"stream":"S","seq":1,"duplicate":true}`)}, nil},
		{"refused", nats.Msg{Data: []byte(`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`)}, errAny},
		{"no stream", nats.Msg{Header: nats.Header{"Status": {"503"}}}, errNoStream},
		{"empty", nats.Msg{}, errAny},
		{"empty object", nats.Msg{Data: []byte(`{}`)}, errAny},
		{"not JSON", nats.Msg{Data: []byte(`+OK`)}, errAny},
	}
	for _, tt := range tests {
		err := parsePubAck(&tt.msg)
		if errors.Is(tt.wants, errAny) {
			if err == nil {
				t.Errorf("%s: got no error", tt.name)
			}
		} else if !errors.Is(err, tt.wants) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.wants)
		}
	}
}

var errAny = errors.New("any error")
