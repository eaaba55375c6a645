// Package worker reacts to messages: webhook events become steps of a call, dial
// jobs become calls to TeleSign.
//
// A worker is stateless. It loads the call's state, runs the pure step function of
// worker/call, commits with compare-and-set, replies, publishes what the step
// effects, and only then lets the message go. Any worker can handle any event, and
// two that race are told apart by the commit: the loser loads and steps again.
//
// While the store is away nothing is decided and nobody waits: callers are put on
// hold at once and their events go to the late lane, from which they are stepped in
// order once it is back, before new events of the same partition. One delivery finds
// out by waiting for the store; a probe, not the next delivery, finds out that it is
// back.
//
// Here lives everything that consumes: the event handler with its breaker and its
// reports of lost replies, the dialer with what settles and what reaps its tries, the
// flow catalogue. Clients of Redis and NATS are behind store and messages/bus,
// decisions behind worker/call, the wire to TeleSign behind worker/dial; nothing here
// speaks to ingress except through messages.
//
// # Metrics
//
// Of this worker:
//
//	offhook_worker_decisions_total{event,decision}  arrivals stepped
//	offhook_worker_failures_total{reason}           messages and dials given up by a handler, those of the reaper apart
//	offhook_worker_parked_total                     messages its consume loops moved to the failed stream, exhausted ones among them
//	offhook_worker_retries_total                    deliveries handed back
//	offhook_worker_redeliveries_total               deliveries that were not the first
//	offhook_worker_conflicts_total                  commits lost to another worker
//	offhook_worker_late_replies_total               decisions after the answer window
//	offhook_worker_undelivered_replies_total        replies that found no ingress
//	offhook_worker_deferred_total{reason}           events put in the late lane: store_away, late_lane
//	offhook_worker_store_away                       1 while the store is away
//	offhook_dials_total{outcome}                    dials tried
//
// Of the streams, looked at every 5 s, the same at each worker:
//
//	offhook_events_pending                          events no worker has been given yet
//	offhook_events_unacked                          events in hand
//	offhook_events_redelivered                      of those, the ones delivered more than once
//	offhook_events_oldest_age_seconds               age of the oldest that is not done
//	offhook_late_lane_events                        events in the late lane
//	offhook_late_lane_oldest_age_seconds            how long the oldest has been there
//	offhook_failed_messages                         messages in the failed stream
package worker
