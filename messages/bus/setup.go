package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// Setup creates the streams and consumers that are missing and checks those that
// exist. It changes nothing that exists: every setting that differs from what this
// version needs is reported at once, each with both values and the fix, as an error
// with CodeUsage. It may run in many processes at the same time, and again.
func (b *Bus) Setup(ctx context.Context) error {
	var wrong []error
	for _, want := range b.cfg.streams() {
		have, err := b.ensureStream(ctx, want)
		if err != nil {
			return setupError("stream "+want.Name, err)
		}
		wrong = append(wrong, streamDifferences(have, want)...)
	}
	if len(wrong) > 0 { // a consumer on a wrong stream would only add noise
		return errors.Join(wrong...)
	}
	for _, want := range b.cfg.durables() {
		have, err := b.ensureConsumer(ctx, want)
		if err != nil {
			return setupError("consumer "+want.stream+" "+want.config.Durable, err)
		}
		wrong = append(wrong, consumerDifferences(want.stream, have, want.config)...)
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	if err := b.late.look(ctx); err != nil { // before the first event is stepped
		return setupError("stream "+messages.StreamLate, err)
	}
	return nil
}

// setupError tells a configuration the server refuses, which stays wrong, from a
// server that cannot be asked now.
func setupError(what string, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == 400 {
		return messages.Errorf(messages.CodeUsage, "%s: the NATS server refuses it: %w", what, err)
	}
	return messages.Errorf(messages.CodeUnavailable, "%s: cannot be checked or created: %w", what, err)
}

func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	s, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = b.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			s, err = b.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return jetstream.StreamConfig{}, fmt.Errorf("look up or create it: %w", err)
	}
	return s.CachedInfo().Config, nil
}

func (b *Bus) ensureConsumer(ctx context.Context, want durable) (jetstream.ConsumerConfig, error) {
	c, err := b.js.Consumer(ctx, want.stream, want.config.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = b.js.CreateConsumer(ctx, want.stream, want.config)
		if errors.Is(err, jetstream.ErrConsumerExists) { // another process was first
			c, err = b.js.Consumer(ctx, want.stream, want.config.Durable)
		}
	}
	if err != nil {
		return jetstream.ConsumerConfig{}, fmt.Errorf("look up or create it: %w", err)
	}
	return c.CachedInfo().Config, nil
}

// setting is one thing that is compared.
type setting struct {
	name       string // as NATS calls it
	have, want any
	edit       string // the flag of the nats command line that changes it; empty when NATS cannot
	field      string // the field of Config it comes from, if any
}

func streamDifferences(have, want jetstream.StreamConfig) []error {
	edit := "nats stream edit " + want.Name
	return differences("stream "+want.Name, edit,
		"NATS cannot change it on an existing stream: save what is in it (nats stream backup), delete it, start again",
		[]setting{
			{"subjects", have.Subjects, want.Subjects, "--subjects='" + strings.Join(want.Subjects, ",") + "'", ""},
			{"retention", have.Retention, want.Retention, "", ""},
			{"storage", have.Storage, want.Storage, "", ""},
			{"discard", have.Discard, want.Discard, "--discard=new", ""},
			{"discard_new_per_subject", have.DiscardNewPerSubject, want.DiscardNewPerSubject, "--no-discard-per-subject", ""},
			{"max_age", have.MaxAge, want.MaxAge, "--max-age=" + age(want.MaxAge), retentionField(want.Name)},
			{"max_msgs_per_subject", max(have.MaxMsgsPerSubject, 0), want.MaxMsgsPerSubject, "--max-msgs-per-subject=-1", ""},
			{"max_msg_size", have.MaxMsgSize, want.MaxMsgSize, fmt.Sprintf("--max-msg-size=%d", want.MaxMsgSize), ""},
			{"max_consumers", have.MaxConsumers, want.MaxConsumers, fmt.Sprintf("--max-consumers=%d", want.MaxConsumers), ""},
			{"num_replicas", have.Replicas, want.Replicas, fmt.Sprintf("--replicas=%d", want.Replicas), "OFFHOOK_REPLICAS"},
			{"duplicate_window", have.Duplicates, want.Duplicates, "--dupe-window=" + want.Duplicates.String(), ""},
			{"allow_direct", have.AllowDirect, want.AllowDirect, "--allow-direct", ""},
			{"allow_rollup_hdrs", have.AllowRollup, want.AllowRollup, "--no-allow-rollup", ""},
			{"allow_msg_schedules", have.AllowMsgSchedules, want.AllowMsgSchedules, "", ""},
			{"allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL, "", ""},
			{"deny_delete", have.DenyDelete, want.DenyDelete, "", ""},
			{"deny_purge", have.DenyPurge, want.DenyPurge, "", ""},
			{"no_ack", have.NoAck, want.NoAck, "--ack", ""},
			{"sealed", have.Sealed, want.Sealed, "", ""},
			{"mirror", have.Mirror != nil, false, "--no-mirror", ""},
			{"sources", len(have.Sources), 0, "", ""},
			{"subject_transform", have.SubjectTransform != nil, false, "--no-transform", ""},
		})
}

func consumerDifferences(stream string, have, want jetstream.ConsumerConfig) []error {
	edit := fmt.Sprintf("nats consumer edit %s %s", stream, want.Durable)
	return differences("consumer "+stream+" "+want.Durable, edit,
		"NATS cannot change it on an existing consumer: stop the workers, let it be recreated (nats consumer rm), start them; stored messages are then delivered again and recognised by their ids",
		[]setting{
			{"deliver_subject", have.DeliverSubject, want.DeliverSubject, "", ""},
			{"deliver_policy", have.DeliverPolicy, want.DeliverPolicy, "", ""},
			{"ack_policy", have.AckPolicy, want.AckPolicy, "", ""},
			{"replay_policy", have.ReplayPolicy, want.ReplayPolicy, "", ""},
			{"filter_subject", filters(have), filters(want), filterFlags(want), ""},
			{"ack_wait", have.AckWait, want.AckWait, "--wait=" + want.AckWait.String(), ackWaitField(want.Durable)},
			{"backoff", have.BackOff, want.BackOff, "--backoff=none", ""},
			{"max_deliver", have.MaxDeliver, want.MaxDeliver, fmt.Sprintf("--max-deliver=%d", want.MaxDeliver), ""},
			{"max_ack_pending", have.MaxAckPending, want.MaxAckPending, fmt.Sprintf("--max-pending=%d", want.MaxAckPending), ""},
			{"max_batch", have.MaxRequestBatch, want.MaxRequestBatch, fmt.Sprintf("--max-pull-batch=%d", want.MaxRequestBatch), ""},
			{"max_expires", have.MaxRequestExpires, want.MaxRequestExpires, "--max-pull-expire=" + want.MaxRequestExpires.String(), ""},
			{"max_waiting", have.MaxWaiting, want.MaxWaiting, "", ""},
			{"headers_only", have.HeadersOnly, want.HeadersOnly, "--no-headers-only", ""},
			{"mem_storage", have.MemoryStorage, want.MemoryStorage, "", ""},
			{"inactive_threshold", have.InactiveThreshold, want.InactiveThreshold, "--inactive-threshold=0s", ""},
			{"num_replicas", have.Replicas, want.Replicas, fmt.Sprintf("--replicas=%d", want.Replicas), "OFFHOOK_REPLICAS"},
			{"priority_policy", int(have.PriorityPolicy), int(want.PriorityPolicy), "", ""},
			{"priority_groups", have.PriorityGroups, want.PriorityGroups, "", ""},
			{"priority_timeout", have.PinnedTTL, want.PinnedTTL, "", ""},
		})
}

// differences has one error for each setting that is not what it must be. The
// values are compared as they are printed: they are words, numbers and durations.
func differences(what, edit, fixed string, settings []setting) []error {
	var wrong []error
	for _, s := range settings {
		have, want := fmt.Sprint(s.have), fmt.Sprint(s.want)
		if have == want {
			continue
		}
		fix := fixed
		if s.edit != "" {
			fix = edit + " " + s.edit
		}
		if s.field != "" {
			fix += ", or change " + s.field + " in every offhook process, to match"
		}
		wrong = append(wrong, messages.FieldErrorf(messages.CodeUsage, s.name, "%s has %q, this process needs %q; fix: %s", what, have, want, fix))
	}
	return wrong
}

// filters is the subjects a consumer sees, in whichever of two fields they are.
func filters(c jetstream.ConsumerConfig) string {
	if c.FilterSubject != "" {
		return c.FilterSubject
	}
	return strings.Join(c.FilterSubjects, ",")
}

// filterFlags is filters for the nats command line.
func filterFlags(c jetstream.ConsumerConfig) string {
	return "--filter='" + strings.ReplaceAll(filters(c), ",", "' --filter='") + "'"
}

// retentionField is the setting that decides a stream's max_age.
func retentionField(stream string) string {
	switch stream {
	case messages.StreamEvents:
		return "OFFHOOK_EVENTS_RETENTION"
	case messages.StreamRecords:
		return "OFFHOOK_RECORDS_RETENTION"
	}
	return ""
}

// ackWaitField is the setting that decides a consumer's ack_wait.
func ackWaitField(consumer string) string {
	if consumer == messages.ConsumerEvents {
		return "OFFHOOK_ANSWER_WITHIN (ack_wait is two fifths of it)"
	}
	return ""
}

// age is a retention as the nats command line wants it.
func age(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	return d.String()
}
