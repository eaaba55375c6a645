// Package role puts the parts of each role together: which connections it needs,
// what runs, and in which order it stops. It decides nothing else; what the parts
// do is theirs, and where their settings come from is the command line's affair.
//
//	            ┌ ingress: webhook ─────┐
//	TeleSign ──▶│                       ├─▶ NATS ─▶ worker: events, jobs, reaper ─▶ Redis
//	people   ──▶└ api: calls, flows ────┘                          └─▶ TeleSign
//
// A role stops from its doors inwards: readiness first, then intake, then what is
// under way, then the internal listener, so that metrics can be read to the end,
// then the connections.
package role
