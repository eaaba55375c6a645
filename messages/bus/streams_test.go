package bus

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// Each test here fails when one setting of streams.go is changed.

// AckWait (and no BackOff, which would replace it): an event whose worker says
// nothing is with another one after ack-wait, not sooner and not much later.
func TestAnEventOfASilentWorkerComesBackAfterAckWait(t *testing.T) {
	t.Parallel()
	const answerWithin = 1500 * time.Millisecond
	b := connect(t, startServer(t), func(c *Config) { c.AnswerWithin = answerWithin })
	c, err := b.js.Consumer(within(t, patience), messages.StreamEvents, messages.ConsumerEvents)
	if err != nil {
		t.Fatal(err)
	}
	tell(t, b, event("c"))
	if _, err := c.Next(jetstream.FetchMaxWait(pullExpiry)); err != nil {
		t.Fatal(err)
	}
	taken := time.Now()
	got := make(chan time.Duration, 1)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result { got <- time.Since(taken); return Done() })
	after := receive(t, "the event", got)
	if want := answerWithin * 2 / 5; after < want*9/10 || after >= answerWithin*3/4 {
		t.Errorf("it came back after %s; want %s, with time left in the window of %s", after, want, answerWithin)
	}
}

// MaxAckPending. Events that wait for their retry must not hide fresh
// ones; with the default of 1,000 they would.
func TestABacklogOfRetriesDoesNotHideFreshEvents(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	const backlog = 1200
	fresh := make(chan struct{}, 1)
	consumeEvents(t, b, ConsumerConfig{Slots: 64}, func(d Delivery) Result {
		if d.CallID == "fresh" {
			fresh <- struct{}{}
			return Done()
		}
		return Retry(time.Hour, errStoreDown)
	})
	for range backlog {
		p, err := b.Ask(event("stuck"))
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
	eventually(t, "the backlog is un-acked", func() bool {
		return consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents).NumAckPending == backlog
	})
	tell(t, b, event("fresh"))
	receive(t, "the fresh event", fresh)
}

// MaxRequestBatch and MaxRequestExpires, whoever pulls.
func TestTheServerRefusesGreedyPulls(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for stream, consumer := range map[string]string{messages.StreamEvents: messages.ConsumerEvents, messages.StreamJobs: messages.ConsumerDirect} {
		c, err := b.js.Consumer(within(t, patience), stream, consumer)
		if err != nil {
			t.Fatal(err)
		}
		for name, pull := range map[string]func() (jetstream.MessageBatch, error){
			"large": func() (jetstream.MessageBatch, error) {
				return c.Fetch(pullBatch+1, jetstream.FetchMaxWait(pullExpiry))
			},
			"long": func() (jetstream.MessageBatch, error) { return c.Fetch(1, jetstream.FetchMaxWait(2*pullExpiry)) },
		} {
			batch, err := pull()
			if err != nil {
				t.Fatal(err)
			}
			for range batch.Messages() {
			}
			if batch.Error() == nil {
				t.Errorf("%s: a %s pull was accepted", consumer, name)
			}
		}
	}
}

// Discard new: a full stream refuses, and what it holds stays.
func TestAFullStreamRefusesAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for _, name := range []string{messages.StreamEvents, messages.StreamLate, messages.StreamJobs, messages.StreamRecords, messages.StreamFailed} {
		c := streamInfo(t, b, name).Config
		c.MaxMsgs = 2
		if _, err := b.js.UpdateStream(within(t, patience), c); err != nil {
			t.Fatal(err)
		}
	}
	publish := map[string]func(n int) error{
		messages.StreamEvents: func(int) error { return b.Tell(within(t, patience), event("c")) },
		messages.StreamLate:   func(int) error { return b.Defer(within(t, patience), delivery("c", 1)) },
		messages.StreamJobs:   func(int) error { return b.PublishJob(within(t, patience), job("j")) },
		messages.StreamRecords: func(n int) error {
			return b.PublishRecord(within(t, patience), messages.Record{CallID: "c", Revision: uint64(n)})
		},
		messages.StreamFailed: func(int) error {
			return b.Park(within(t, patience), messages.Failure{Kind: messages.FailureEvent})
		},
	}
	for stream, one := range publish {
		for n := range 3 {
			err := one(n)
			if n < 2 && err != nil {
				t.Errorf("%s: message %d: %v", stream, n, err)
			}
			if n == 2 && messages.CodeOf(err) != messages.CodeUnavailable {
				t.Errorf("%s: the full stream said %v, want unavailable", stream, err)
			}
		}
		if s := streamInfo(t, b, stream).State; s.FirstSeq != 1 || s.Msgs != 2 {
			t.Errorf("%s holds %d messages from %d, want the first 2", stream, s.Msgs, s.FirstSeq)
		}
	}
}

// No roll-up, no schedule and no TTL, whatever headers a message has.
func TestNoHeaderErasesOrDelaysAnything(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for stream, subject := range map[string]string{
		messages.StreamEvents: messages.EventSubject("c"), messages.StreamJobs: messages.JobSubject("c", "z"), messages.StreamLate: messages.LateSubject("c"),
		messages.StreamRecords: messages.RecordSubject("c"), messages.StreamFailed: messages.FailedSubject(messages.FailureJob),
	} {
		if _, err := b.js.Publish(within(t, patience), subject, []byte("held")); err != nil {
			t.Fatal(err)
		}
		for header, value := range map[string]string{
			jetstream.MsgRollup: jetstream.MsgRollupAll, jetstream.MsgTTLHeader: "1s", jetstream.ScheduleHeader: "@at 2100-01-01T00:00:00Z",
		} {
			m := &nats.Msg{Subject: subject, Header: nats.Header{header: {value}, jetstream.ScheduleTargetHeader: {subject}}}
			if _, err := b.js.PublishMsg(within(t, patience), m); err == nil {
				t.Errorf("%s took a message with %s", stream, header)
			}
		}
		if n := streamInfo(t, b, stream).State.Msgs; n != 1 {
			t.Errorf("%s holds %d messages, want the one from before", stream, n)
		}
	}
}

// MaxConsumers on the jobs stream. Unset, the server stops at 1,000.
func TestTheJobsStreamTakesMoreThanAThousandConsumers(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for n := range 1001 {
		_, err := b.js.CreateConsumer(within(t, patience), messages.StreamJobs, jetstream.ConsumerConfig{
			Name:          fmt.Sprintf("campaign-%d", n),
			FilterSubject: messages.JobSubject(fmt.Sprintf("campaign-%d", n), messages.ZoneAny),
			AckPolicy:     jetstream.AckExplicitPolicy,
			MemoryStorage: true, // the limit is the same, the test is faster
		})
		if err != nil {
			t.Fatalf("consumer %d: %v", n, err)
		}
	}
}

// A work queue can only be looked at by direct get.
func TestWorkQueuesCanBeLookedAtByDirectGet(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	publishJob(t, b, job("j"))
	deferEvent(t, b, delivery("c", 1))
	for stream, subject := range map[string]string{
		messages.StreamJobs: messages.JobSubject(messages.CampaignDirect, messages.ZoneAny), messages.StreamLate: messages.LateSubject("c"),
	} {
		m, err := b.nc.Request("$JS.API.DIRECT.GET."+stream, []byte(`{"seq":1}`), patience)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get("Nats-Subject") != subject {
			t.Errorf("got %v %q", m.Header, m.Data)
		}
		if n := streamInfo(t, b, stream).State.Msgs; n != 1 {
			t.Errorf("%s: looking took the message", stream)
		}
	}
}

// The dedupe window is a first guard for records, and stands in
// nobody's way: events carry no message id, so the same event can be published again.
func TestOnlyRecordsAreDeduplicated(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	e := event("c")
	for range 2 {
		tell(t, b, e)
		deferEvent(t, b, Delivery{Envelope: e})
		publishJob(t, b, job("j"))
		for revision := range uint64(2) {
			if err := b.PublishRecord(within(t, patience), messages.Record{CallID: "c d", Revision: revision}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for stream, want := range map[string]uint64{messages.StreamEvents: 2, messages.StreamLate: 2, messages.StreamJobs: 2, messages.StreamRecords: 2} {
		if n := streamInfo(t, b, stream).State.Msgs; n != want {
			t.Errorf("%s holds %d, want %d", stream, n, want)
		}
	}
}

// Durability: everything is on disk and outlives the server, also what was delivered
// and not acked.
func TestEverythingOutlivesTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServerAt(t, dir, "127.0.0.1:0")
	b := connect(t, s, overTCP(s.URL()), ackWaitOf(200*time.Millisecond))
	tell(t, b, event("c"))
	publishJob(t, b, job("j"))
	deferEvent(t, b, delivery("c", 1))
	c, err := b.js.Consumer(within(t, patience), messages.StreamEvents, messages.ConsumerEvents)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(jetstream.FetchMaxWait(pullExpiry)); err != nil {
		t.Fatal(err)
	}
	s.Close()

	again := connect(t, startServerAt(t, dir, ""), ackWaitOf(200*time.Millisecond))
	got := make(chan int, 1)
	consumeEvents(t, again, ConsumerConfig{}, func(d Delivery) Result { got <- d.Attempt; return Done() })
	if attempt := receive(t, "the un-acked event", got); attempt != 2 {
		t.Errorf("attempt %d, want 2: the count outlives the server as well", attempt)
	}
	for _, stream := range []string{messages.StreamJobs, messages.StreamLate} {
		if n := streamInfo(t, again, stream).State.Msgs; n != 1 {
			t.Errorf("%s: %d messages, want 1", stream, n)
		}
	}
}

// DeliverAll: an event that was published before there was a consumer is owed.
func TestAConsumerMadeLateStillDeliversWhatWasThere(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	if err := b.js.DeleteConsumer(within(t, patience), messages.StreamEvents, messages.ConsumerEvents); err != nil {
		t.Fatal(err)
	}
	tell(t, b, event("early"))
	if err := b.Setup(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result { got <- d.CallID; return Done() })
	receive(t, "the early event", got)
}
