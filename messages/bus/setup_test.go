package bus

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

func TestSetupMayRunAgainAndAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var buses []*Bus
	for range 4 {
		b, err := Connect(within(t, patience), Config{InProcess: s}, discard)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close(within(t, patience)) })
		buses = append(buses, b)
	}
	var work sync.WaitGroup
	for _, b := range buses {
		work.Go(func() {
			for range 3 {
				if err := b.Setup(within(t, patience)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	tell(t, buses[0], event("c"))
	if err := buses[1].Setup(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if n := streamInfo(t, buses[2], messages.StreamEvents).State.Msgs; n != 1 {
		t.Errorf("setting up again left %d of 1 events", n)
	}
}

// Whatever somebody changed on a stream, setup says which setting, what it is, what
// it must be, and what to do.
func TestSetupRefusesAStreamThatDiffers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		stream string
		change func(*jetstream.StreamConfig)
		want   []string
	}{
		{
			messages.StreamEvents, func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
			[]string{"discard", `has "DiscardOld"`, `needs "DiscardNew"`, "nats stream edit OFFHOOK_EVENTS --discard=new"},
		},
		{
			messages.StreamEvents, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
			[]string{"max_age", `has "1h0m0s"`, `needs "168h0m0s"`, "--max-age=168h0m0s, or change OFFHOOK_EVENTS_RETENTION"},
		},
		{
			messages.StreamRecords, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
			[]string{"max_age", `needs "9600h0m0s"`, "or change OFFHOOK_RECORDS_RETENTION"},
		},
		{
			messages.StreamFailed, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
			[]string{"max_age", `has "1h0m0s"`, `needs "0s"`, "nats stream edit OFFHOOK_FAILED --max-age=0s"},
		},
		{
			messages.StreamEvents, func(c *jetstream.StreamConfig) { c.AllowRollup = true },
			[]string{"allow_rollup_hdrs", `has "true"`, `needs "false"`, "--no-allow-rollup"},
		},
		{
			messages.StreamJobs, func(c *jetstream.StreamConfig) { c.AllowDirect = false },
			[]string{"allow_direct", `needs "true"`, "--allow-direct"},
		},
		{
			messages.StreamJobs, func(c *jetstream.StreamConfig) { c.MaxConsumers = 5 },
			[]string{"max_consumers", `has "5"`, `needs "20000"`, "--max-consumers=20000"},
		},
		{
			messages.StreamRecords, func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute },
			[]string{"duplicate_window", `has "1m0s"`, `needs "2m0s"`, "--dupe-window=2m0s"},
		},
		{
			messages.StreamEvents, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 },
			[]string{"max_msg_size", `has "10"`, `needs "262144"`, "--max-msg-size=262144"},
		},
		{
			messages.StreamEvents, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 9 },
			[]string{"max_msgs_per_subject", `has "9"`, "--max-msgs-per-subject=-1"},
		},
		{
			messages.StreamEvents, func(c *jetstream.StreamConfig) { c.Subjects = []string{"offhook.events.*", "x"} },
			[]string{"subjects", `has "[offhook.events.* x]"`, "--subjects='offhook.events.*'"},
		},
		{
			messages.StreamEvents, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
			[]string{"allow_msg_ttl", `has "true"`, "nats stream backup"},
		},
		{
			messages.StreamLate, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
			[]string{"max_age", `has "1h0m0s"`, `needs "0s"`, "nats stream edit OFFHOOK_LATE --max-age=0s"},
		},
		{
			messages.StreamLate, func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
			[]string{"discard", `has "DiscardOld"`, "nats stream edit OFFHOOK_LATE --discard=new"},
		},
		{
			messages.StreamJobs, func(c *jetstream.StreamConfig) { c.DenyPurge = true },
			[]string{"deny_purge", `has "true"`, "nats stream backup"},
		},
	}
	b := connect(t, startServer(t))
	for _, tt := range tests {
		t.Run(tt.want[0], func(t *testing.T) {
			good := streamInfo(t, b, tt.stream).Config
			bad := good
			tt.change(&bad)
			if _, err := b.js.UpdateStream(within(t, patience), bad); err != nil {
				t.Fatal(err)
			}
			err := b.Setup(within(t, patience))
			for _, w := range append(tt.want, tt.stream) {
				if !strings.Contains(fmt.Sprint(err), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if messages.CodeOf(err) != messages.CodeUsage {
				t.Errorf("code %s, want usage", messages.CodeOf(err))
			}
			restore(t, b, good)
		})
	}
}

// restore makes the stream good again, from nothing where it cannot be edited.
func restore(t *testing.T, b *Bus, good jetstream.StreamConfig) {
	t.Helper()
	if _, err := b.js.UpdateStream(within(t, patience), good); err == nil && b.Setup(within(t, patience)) == nil {
		return
	}
	if err := b.js.DeleteStream(within(t, patience), good.Name); err != nil {
		t.Fatal(err)
	}
	if err := b.Setup(within(t, patience)); err != nil {
		t.Fatal(err)
	}
}

func TestSetupRefusesAStreamOfAnotherKind(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	if err := b.js.DeleteStream(within(t, patience), messages.StreamJobs); err != nil {
		t.Fatal(err)
	}
	_, err := b.js.CreateStream(within(t, patience), jetstream.StreamConfig{
		Name: messages.StreamJobs, Subjects: []string{messages.SubjectsJobs}, Storage: jetstream.MemoryStorage, AllowMsgSchedules: true, AllowRollup: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Setup(within(t, patience))
	for _, w := range []string{`has "Limits", this process needs "WorkQueue"`, `has "Memory", this process needs "File"`, "allow_msg_schedules", "discard", "nats stream backup"} {
		if !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestSetupLeavesLimitsToTheOperator(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	c := streamInfo(t, b, messages.StreamEvents).Config
	c.MaxBytes, c.MaxMsgs, c.Description = 1<<30, 1_000_000, "ours"
	if _, err := b.js.UpdateStream(within(t, patience), c); err != nil {
		t.Fatal(err)
	}
	if err := b.Setup(within(t, patience)); err != nil {
		t.Error(err)
	}
}

func TestSetupRefusesAConsumerThatDiffers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		change func(*jetstream.ConsumerConfig)
		want   []string
	}{
		{
			func(c *jetstream.ConsumerConfig) { c.AckWait = 30 * time.Second },
			[]string{"ack_wait", `has "30s"`, `needs "1s"`, "nats consumer edit OFFHOOK_EVENTS worker --wait=1s, or change OFFHOOK_ANSWER_WITHIN"},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1000 },
			[]string{"max_ack_pending", `has "1000"`, `needs "65536"`, "--max-pending=65536"},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 },
			[]string{"max_deliver", `has "5"`, `needs "-1"`, "--max-deliver=-1"},
		},
		// It replaces ack-wait as well.
		{
			func(c *jetstream.ConsumerConfig) { c.BackOff = []time.Duration{5 * time.Second, time.Minute} },
			[]string{"backoff", `has "[5s 1m0s]"`, `needs "[]"`, "--backoff=none", `ack_wait`, `has "5s"`},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.MaxRequestBatch = 64 },
			[]string{"max_batch", `has "64"`, `needs "8"`, "--max-pull-batch=8"},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.MaxRequestExpires = 0 },
			[]string{"max_expires", `has "0s"`, `needs "500ms"`, "--max-pull-expire=500ms"},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.FilterSubject = messages.EventSubject("c") },
			[]string{"filter_subject", `needs "offhook.events.*"`, "--filter='offhook.events.*'"},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
			[]string{"headers_only", `has "true"`, "--no-headers-only"},
		},
	}
	b := connect(t, startServer(t))
	for _, tt := range tests {
		t.Run(tt.want[0], func(t *testing.T) {
			good := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents).Config
			bad := good
			tt.change(&bad)
			if _, err := b.js.UpdateConsumer(within(t, patience), messages.StreamEvents, bad); err != nil {
				t.Fatal(err)
			}
			err := b.Setup(within(t, patience))
			for _, w := range append(tt.want, "consumer OFFHOOK_EVENTS worker") {
				if !strings.Contains(fmt.Sprint(err), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if _, err := b.js.UpdateConsumer(within(t, patience), messages.StreamEvents, good); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := b.Setup(within(t, patience)); err != nil {
		t.Errorf("restored: %v", err)
	}
}

func TestSetupRefusesALaneThatDiffers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		change func(*jetstream.ConsumerConfig)
		want   []string
	}{
		{
			func(c *jetstream.ConsumerConfig) { c.FilterSubjects = c.FilterSubjects[1:] },
			[]string{"filter_subject", "--filter='offhook.late.03' --filter='offhook.late.11'"},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.PriorityPolicy, c.PriorityGroups, c.PinnedTTL = 0, nil, 0 },
			[]string{"priority_policy", "priority_groups", `needs "[worker]"`, "priority_timeout", `needs "2s"`, "nats consumer rm"},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.PinnedTTL = time.Minute },
			[]string{"priority_timeout", `has "1m0s"`, `needs "2s"`},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1000 },
			[]string{"max_ack_pending", `needs "128"`},
		},
		{
			func(c *jetstream.ConsumerConfig) { c.AckWait = 30 * time.Second },
			[]string{"ack_wait", `needs "3s"`, "--wait=3s"},
		},
	}
	b := connect(t, startServer(t))
	for _, tt := range tests {
		good := consumerInfo(t, b, messages.StreamLate, laneName(3)).Config
		bad := good
		tt.change(&bad)
		if err := b.js.DeleteConsumer(within(t, patience), messages.StreamLate, laneName(3)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.js.CreateConsumer(within(t, patience), messages.StreamLate, bad); err != nil {
			t.Fatal(err)
		}
		err := b.Setup(within(t, patience))
		for _, w := range append(tt.want, "consumer OFFHOOK_LATE late-3") {
			if !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("%q does not say %q", err, w)
			}
		}
		if strings.Contains(fmt.Sprint(err), "OFFHOOK_ANSWER_WITHIN") {
			t.Errorf("%q blames a setting that a lane does not depend on", err)
		}
		if err := b.js.DeleteConsumer(within(t, patience), messages.StreamLate, laneName(3)); err != nil {
			t.Fatal(err)
		}
		if err := b.Setup(within(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSetupRefusesAConsumerThatCannotBeEdited(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	c := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents).Config
	if err := b.js.DeleteConsumer(within(t, patience), messages.StreamEvents, messages.ConsumerEvents); err != nil {
		t.Fatal(err)
	}
	c.AckPolicy, c.DeliverPolicy = jetstream.AckAllPolicy, jetstream.DeliverNewPolicy
	if _, err := b.js.CreateConsumer(within(t, patience), messages.StreamEvents, c); err != nil {
		t.Fatal(err)
	}
	err := b.Setup(within(t, patience))
	for _, w := range []string{`ack_policy`, `has "AckAll"`, `needs "AckExplicit"`, "deliver_policy", "nats consumer rm"} {
		if !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// Two processes with different answer windows would quarrel about one consumer.
func TestSetupRefusesAnotherAnswerWindow(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	connect(t, s)
	other, err := Connect(within(t, patience), Config{InProcess: s, AnswerWithin: 5 * time.Second}, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(within(t, patience)) })
	err = other.Setup(within(t, patience))
	if !strings.Contains(fmt.Sprint(err), `has "1s", this process needs "2s"`) {
		t.Errorf("got %v", err)
	}
}

func TestSetupSaysWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b, err := Connect(within(t, patience), Config{InProcess: s, Replicas: 3}, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(within(t, patience)) })
	err = b.Setup(within(t, patience))
	if err == nil || !strings.Contains(err.Error(), messages.StreamEvents) || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("three replicas on one server: got %v", err)
	}
	s.Close()
	if err := b.Setup(within(t, quiet)); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("without NATS: got %v", err)
	}
}
