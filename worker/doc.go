// Package worker reacts to messages: webhook events become steps of a call, dial
// jobs become calls to TeleSign.
//
// A worker is stateless. It loads the call's state, runs the pure step function of
// worker/call, commits with compare-and-set, replies, publishes what the step
// effects, and only then lets the message go. Any worker can handle any event, and
// two that race are told apart by the commit: the loser loads and steps again.
//
// Here lives everything that consumes: the event handler, the dialer with what
// settles and what reaps its tries, the flow catalogue. Clients of Redis and NATS
// are behind store and messages/bus, decisions behind worker/call, the wire to
// TeleSign behind worker/dial; nothing here speaks to ingress except through
// messages.
//
// # Metrics
//
//	offhook_worker_decisions_total{event,decision}  arrivals stepped
//	offhook_worker_failures_total{reason}           messages and dials parked, those of the reaper apart
//	offhook_worker_retries_total                    deliveries handed back
//	offhook_worker_conflicts_total                  commits lost to another worker
//	offhook_worker_late_replies_total               decisions after the answer window
//	offhook_dials_total{outcome}                    dials tried
package worker
