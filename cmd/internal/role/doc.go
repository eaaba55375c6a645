// Package role puts the parts of each role together: which connections it needs,
// what runs, and in which order it stops. It decides nothing else; what the parts
// do is theirs, and where their settings come from is the command line's affair.
//
//	            ┌ ingress: webhook ─────┐
//	TeleSign ──▶│                       ├─▶ NATS ─▶ worker: events, jobs, reaper ─▶ Redis
//	people   ──▶└ api: calls, flows ────┘                          └─▶ TeleSign
//
// A role waits for its engines before it does anything else. An ingress that has
// started goes on without NATS: it keeps events in its spool, answers with holds, and
// counts as ready while the spool has room, because a load balancer that took every
// ingress out would turn those holds into silence.
//
// The files of API keys and of the webhook's certificate are followed by content, each
// second; a change is in use once two looks have found it. The first key signs dials,
// all of them verify webhooks, so a key is rotated by a file with both. What is wrong
// is logged once, and what was there before stays in use.
//
// A role stops from its doors inwards: readiness first, then intake, then what is
// under way, then the internal listener, so that metrics can be read to the end,
// then the connections.
package role
