// Package webhook is the thin door for TeleSign: it takes a webhook event, puts it
// on the events stream, waits for the worker's decision and writes it as the HTTP
// answer. It bounds and authenticates what strangers send, and answers in time
// when no worker does. It knows no flow, no state and no Redis; what an event means
// to a call is decided by workers and may not move here.
//
// # What an answer promises
//
//	200 {action}  a worker decided this action; the event is in the stream, or in the
//	              spool when the stream did not confirm it
//	200 {}        call_completed: the event is in the stream or the spool; TeleSign
//	              ignores the answer
//	200 fallback  the event is in the stream or the spool, and so is a told report of
//	              this very answer
//	400           not a TeleSign event, or not all of one; nothing was stored
//	401           the signature is missing or wrong; nothing was parsed
//	404, 405, 413 another path, another method, a body over 64 KiB
//	503           neither the stream nor the spool is known to have the event, or the
//	              report of its fallback; or, without a spool, too many events are
//	              waiting; the only 5xx
//
// Nothing is answered 2xx that is in neither. Every failure is a messages.ErrorBody.
//
// # Reading an event
//
// The signature is checked over the raw bytes before anything is parsed. The body
// travels on as exactly these bytes, with unknown members, unknown event names and
// odd spacing. When a member occurs twice the last one counts, as in the JSON
// readers of TeleSign's own samples; worker and ingress read with the same
// function, so they cannot disagree about which.
//
// # The window
//
// The deadline is arrival plus Config.AnswerWithin, arrival being when the request
// line and headers were read. Config.AnswerMargin before it the door stops waiting,
// so that the told report and the fallback still leave inside the window. A reply
// that comes later is counted and dropped. Whatever is slow, the stream or the disk,
// gets half of the time that is left before the other is tried.
//
// # The fallback
//
// By event: {} for call_completed and unknown names, hangup for a dial_completed
// that was not answered, for all others a hold prompt. The holds of one call in a row
// get longer (about 2, 5 and 10 s), and after Config.HoldFor come the apology and,
// for the next event, hangup. A worker's decision and the call's end begin anew. Each
// ingress counts what it has answered itself.
//
// # The spool
//
// Without a connection to NATS, and as long as the spool is not empty, events are
// not published: event and report go into the spool with one fsync, and the fallback
// leaves at once. Run moves the spool to the stream, in order and marked late,
// whenever both are there; live events join its tail until it is empty, so that
// within one ingress a call's events keep their order. What the stream refuses for
// good goes to the failed set. Events over Config.MaxInFlight take the same way,
// except call_completed, which nobody has to wait for.
//
// # What state is told
//
// Each answer that is not the worker's reply is reported before it is written, in the
// stream or the spool. Reported as unknown afterwards, in one try, is a worker's reply
// that the connection did not take, or after which it was reset within 30 s and
// before its next request; and a 503 for an event that workers were asked about, as it
// may be in the stream and decided. A client that closes before the answer without a
// reset looks like one that has read it.
//
// # Metrics
//
//	offhook_webhook_answers_total{event,flow,step,outcome}  events answered; see outcome
//	offhook_webhook_answer_duration_seconds{flow,step}      arrival until the answer was written; empty labels: the fallback
//	offhook_webhook_told_total{answer}                      reports: hold, apology, hangup, nothing, unknown
//	offhook_webhook_holds_total{reason}                     hold prompts; see reason
//	offhook_webhook_missed_windows_total                    events without a reply inside the window
//	offhook_webhook_rejected_total{reason}                  requests refused before the stream
//	offhook_webhook_in_flight                               events waiting for their answer
//	offhook_webhook_connections                             open connections
//	offhook_webhook_late_replies_total                      decisions that came after the fallback
//	offhook_webhook_broken_answers_total                    answers the connection did not take, or was reset after
//	offhook_spool_events, offhook_spool_bytes               what waits in the spool
//	offhook_spool_oldest_age_seconds                        how long its oldest event has waited
//	offhook_spool_appended_total                            events and reports put into it
//	offhook_spool_drained_total                             those that are in the stream since
//	offhook_spool_parked_total                              those that the stream refused for good
//	offhook_spool_set_aside_total                           damaged pieces of its files
//
// An event name that is not TeleSign's documented six is labelled "other", and so are
// flow and step beyond the first 1,000 of them.
package webhook
