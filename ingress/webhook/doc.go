// Package webhook is the thin door for TeleSign: it takes a webhook event, puts it
// on the events stream, waits for the worker's decision and writes it as the HTTP
// answer. It bounds and authenticates what strangers send, and answers in time
// when no worker does. It knows no flow, no state and no Redis; what an event means
// to a call is decided by workers and may not move here.
//
// # What an answer promises
//
//	200 {action}  the event is in the stream and a worker decided this action
//	200 {}        call_completed: the event is in the stream; TeleSign ignores the answer
//	200 fallback  the event is in the stream, and so is a told report of this very answer
//	400           not a TeleSign event, or not all of one; nothing was stored
//	401           the signature is missing or wrong; nothing was parsed
//	404, 405, 413 another path, another method, a body over 64 KiB
//	503           the event, or the report of its fallback, is not known to be stored,
//	              or too many events are waiting; the only 5xx
//
// Nothing is answered 2xx that is not in the stream. Every failure is a
// messages.ErrorBody.
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
// that comes later is counted and dropped.
//
// # Metrics
//
//	offhook_webhook_answers_total{event,outcome}       events answered; see outcome
//	offhook_webhook_answer_duration_seconds{event}     arrival until the answer was written
//	offhook_webhook_rejected_total{reason}             requests refused before the stream
//	offhook_webhook_in_flight                          events waiting for their answer
//	offhook_webhook_connections                        open connections
//	offhook_webhook_late_replies_total                 decisions that came after the fallback
//	offhook_webhook_broken_answers_total               answers the connection did not take
//
// An event name that is not TeleSign's documented six is labelled "other".
package webhook
