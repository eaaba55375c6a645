package bus

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// What the server enforces on every pull, whoever sends it. A stopped worker keeps
// at most this many messages of one pull, for at most the expiry plus ack-wait: with
// pulls of 64 a stopped worker made 45 of 200 events late.
const (
	pullBatch  = 8
	pullExpiry = 500 * time.Millisecond
)

// maxMessage bounds a message of the events and jobs streams, headers included. With
// the failure's own headers it still fits maxPayload, so whatever could be stored
// can also be parked.
const (
	maxMessage = 256 << 10
	maxPayload = 1 << 20 // what the server must accept; nats-server's default
)

// The dedupe window costs about 120 bytes of server memory for each message id in it. Only
// records and parked failures carry ids, and for both the window is a first guard
// against a repeat after a lost ack, no more: readers go by (call, revision).
const duplicateWindow = 2 * time.Minute

// ackWait is how long a worker that says nothing keeps an event: 0.4 of the answer
// window, so that an event whose worker died is with another one while there is
// still time to answer.
func (c Config) ackWait() time.Duration { return c.AnswerWithin * 2 / 5 }

// jobAckWait is how long a dialer that says nothing keeps a job. Nobody waits for a
// job as a caller waits for an answer; what counts is that a slow dialer is not
// raced needlessly.
const jobAckWait = 10 * time.Second

// The late lane's consumers. A worker that has had events lately pulls for laneActive,
// which keeps its pin; one that has had none for laneIdle, which costs the server
// little. When its worker dies, a lane goes on after laneAckWait.
const (
	laneGroup   = "worker"
	laneBatch   = 64
	laneHand    = 2 * laneBatch
	laneActive  = time.Second
	laneIdle    = 5 * time.Second
	lanePinned  = 2 * time.Second
	laneAckWait = 3 * time.Second
)

// streams is what the streams must look like. All of them refuse when full instead
// of discarding what is old, and take no roll-up (one outside message with a roll-up
// header can erase a stream), no schedules (they force roll-up on) and no TTL (the
// sender could make a message vanish before it is processed). Limits on bytes and
// messages are the operator's and are not compared.
func (c Config) streams() []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Storage:      jetstream.FileStorage,
		Discard:      jetstream.DiscardNew,
		Replicas:     c.Replicas,
		Duplicates:   duplicateWindow,
		AllowDirect:  true,
		MaxMsgSize:   -1,
		MaxConsumers: 1000,
	}
	events, late, jobs, records, failed := base, base, base, base, base

	events.Name = messages.StreamEvents
	events.Subjects = []string{messages.SubjectsEvents}
	events.Retention = jetstream.LimitsPolicy
	events.MaxAge = c.EventsRetention
	events.MaxMsgSize = maxMessage

	// A work queue: what is stepped is gone, so that what it holds is what is still to
	// be done. No age limit: an outage may last. Its own header makes a message larger
	// than it was in the events stream.
	late.Name = messages.StreamLate
	late.Subjects = []string{messages.SubjectsLate}
	late.Retention = jetstream.WorkQueuePolicy
	late.MaxMsgSize = maxMessage + 1<<10

	// A work queue: an acked job is gone, and no second consumer can read it. One
	// durable consumer for each campaign and zone set; unset, the server's limit
	// would stop at 1,000.
	jobs.Name = messages.StreamJobs
	jobs.Subjects = []string{messages.SubjectsJobs}
	jobs.Retention = jetstream.WorkQueuePolicy
	jobs.MaxMsgSize = maxMessage
	jobs.MaxConsumers = 20_000

	records.Name = messages.StreamRecords
	records.Subjects = []string{messages.SubjectsRecords}
	records.Retention = jetstream.LimitsPolicy
	records.MaxAge = c.RecordsRetention

	// No age limit: nothing leaves it except by an operator's word.
	failed.Name = messages.StreamFailed
	failed.Subjects = []string{messages.SubjectsFailed}
	failed.Retention = jetstream.LimitsPolicy

	return []jetstream.StreamConfig{events, late, jobs, records, failed}
}

// durable is one durable consumer and the stream it belongs to.
type durable struct {
	stream string
	config jetstream.ConsumerConfig
}

// durables is what the durable consumers must look like.
//
// MaxDeliver is unlimited on purpose. At its limit JetStream stops showing a message
// to anybody and tells nobody; the loop counts deliveries itself and parks, and
// when parking fails the message must be able to come back.
//
// BackOff is unset on purpose: its first interval replaces AckWait without a word,
// and it does not apply to naks. The loop chooses each retry's delay itself.
func (c Config) durables() []durable {
	base := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverAllPolicy, // a consumer made late still owes every stored message a look
		AckPolicy:         jetstream.AckExplicitPolicy,
		ReplayPolicy:      jetstream.ReplayInstantPolicy,
		MaxDeliver:        -1,
		MaxRequestBatch:   pullBatch,
		MaxRequestExpires: pullExpiry,
		MaxWaiting:        4096, // pulls of all processes together, two each
	}

	// Every event that waits for its retry is un-acked, and at MaxAckPending new
	// events are shown to nobody: with the default of 1,000 a 10 s store outage at
	// 200 events/s hid half of them. This is a 60 s outage at 1,000 events/s; an entry
	// costs the server about 100 bytes.
	events := base
	events.Durable = messages.ConsumerEvents
	events.FilterSubject = messages.SubjectsEvents
	events.AckWait = c.ackWait()
	events.MaxAckPending = 65_536

	// A job is retried only while the store is down, when no other job could go
	// ahead either, so a backlog of un-acked jobs hides nothing.
	direct := base
	direct.Durable = messages.ConsumerDirect
	direct.FilterSubject = messages.JobSubject(messages.CampaignDirect, messages.ZoneAny)
	direct.AckWait = jobAckWait
	direct.MaxAckPending = 1000

	return append(c.lanes(base), durable{messages.StreamEvents, events}, durable{messages.StreamJobs, direct})
}

// lanes is the consumers of the late lane. Each gives its partitions to one worker at
// a time, the pinned one, so that their events are stepped in order. That worker keeps
// its pin by pulling; one that is gone or stopped loses it after lanePinned, and what
// it had after laneAckWait.
//
// MaxAckPending is what one worker can have in hand, so that the next one has room for
// all of it; see lane.claim.
func (c Config) lanes(base jetstream.ConsumerConfig) []durable {
	lanes := make([]durable, 0, messages.LateLanes)
	for n := range messages.LateLanes {
		lane := base
		lane.Durable = laneName(n)
		for p := n; p < messages.Partitions; p += messages.LateLanes {
			lane.FilterSubjects = append(lane.FilterSubjects, strings.Replace(messages.SubjectsLate, "*", fmt.Sprintf("%02d", p), 1))
		}
		lane.AckWait = laneAckWait
		lane.MaxAckPending = laneHand
		lane.MaxRequestBatch = laneBatch
		lane.MaxRequestExpires = laneIdle
		lane.PriorityPolicy = jetstream.PriorityPolicyPinned
		lane.PriorityGroups = []string{laneGroup}
		lane.PinnedTTL = lanePinned
		lanes = append(lanes, durable{messages.StreamLate, lane})
	}
	return lanes
}

func laneName(n int) string { return messages.ConsumerLate + strconv.Itoa(n) }
