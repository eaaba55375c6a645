package bus

import (
	"context"
	"time"

	"github.com/offhook/offhook/messages"
)

// Delivery is one delivery of one envelope to a handler.
type Delivery struct {
	messages.Envelope
	Attempt  int       // 1 for the first
	Sequence uint64    // in the events stream, also when it comes from the late lane
	Stored   time.Time // when the stream that it comes from took it
	Deferred bool      // it comes from the late lane: nobody waits for a reply
}

// Result is what a handler wants done with its message. Handlers never see the
// message itself: the loop acks, naks and parks. The zero Result is a Retry, the
// only outcome that can do no harm.
type Result struct {
	verdict verdict
	after   time.Duration
	reason  messages.FailureReason
	err     error
}

type verdict int

const (
	verdictRetry verdict = iota
	verdictDone
	verdictPark
)

// Done acks the message: it is never delivered again, unless the ack is lost.
func Done() Result { return Result{verdict: verdictDone} }

// Retry asks for the message again, by any worker, after a delay; 0 lets the loop
// choose it by attempt, 250 ms doubling up to 30 s. Each one uses up an attempt, so a
// short delay of one's own is for what can only happen a few times. err is why, for
// the log and, when the attempts are used up, for the failed stream.
func Retry(after time.Duration, err error) Result {
	return Result{verdict: verdictRetry, after: after, err: err}
}

// Park gives the message up: it is stored in the failed stream with everything
// needed to understand it, and then acked.
func Park(reason messages.FailureReason, err error) Result {
	return Result{verdict: verdictPark, reason: reason, err: err}
}

// JobResult is the Result for a job. After, if set, is run once the ack of a Done
// job is confirmed, so that the job cannot come back while it runs; without
// confirmation it is not run. It keeps the handler's slot; its context is cancelled,
// with a cause, when the drain time is over.
type JobResult struct {
	Result
	After func(ctx context.Context)
}
