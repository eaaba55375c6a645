// Package simulator is a TeleSign on your machine: a server for POST /v2/voice
// that accepts dials as TeleSign does, and the telephone network behind it, where
// people answer or do not, listen, press keys and hang up. It posts signed events
// to a webhook, executes the answers, and reports what it saw: how calls ended,
// how fast the webhook was, and whether any answer was one TeleSign would refuse.
//
// Here live the server, the life of a call, the people and the report. Not here:
// the wire format, signatures and the table of allowed answers (messages/telesign),
// and command lines (cmd/offhook). Nothing here knows flows, NATS or Redis; the
// simulator sees offhook only as TeleSign would.
//
// # What TeleSign documents
//
// The request and its authentication, Basic and TSA; the statuses 202, 200, 400,
// 401 and 429 and their words; the six events, the signature in two headers, the
// actions and most of their parameters; what collect_digits' max, timeout,
// inter_digit_timeout and terminators mean; the longest call, 14,400 s. Some of
// it is only seen in TeleSign's own demos: the success words, collected_digits,
// the data of call_completed.
//
// # What is inferred, and where to change it
//
// None of this is documented. Each has a default that was the likeliest reading
// and a setting, so that a test can try the other one.
//
//	how long TeleSign waits for an answer        Config.AnswerWindow        5s, its figure for SMS
//	no answer in time, or not 200                none yet                   the call is hung up
//	which action may answer which event          Config.AnswerTable         lenient, as its demos do
//	status words of a call nobody answered       Outcome, any word          busy, no_answer, failed
//	digit timers when the answer names none      Assumptions.DigitTimeout   5s, and 3s between digits
//	a key pressed early stops the prompt         Assumptions.BargeIn        yes
//	the terminator is part of the digits         Assumptions.KeepTerminator no
//	collected_digits when nothing was pressed    Assumptions.NoDigits       ""
//	which events echo the external_id            Assumptions.ExternalIDOnce all of a dialled call
//	hung up mid-prompt: the prompt's completion  Assumptions.CompletePrompt not posted
//	event after play_multiple, after send_dtmf   Assumptions.…Completed     play_completed, send_dtmf_completed
//	status word of a prompt whose audio failed   Assumptions.PlayFailed     play_failed
//
// Inferred without a setting:
//
//   - refusals are checked in the order credentials, rate, body, to and caller id
//     missing, malformed, not owned, blocked (HTTP 200); what is malformed in a way
//     TeleSign has no word for gets 400 and a sentence in "error";
//   - audio is never fetched, and speech takes as long as its text is;
//   - keys pressed while no digits are collected are lost;
//   - a dial that answers an event posts one event, call_leg_completed, when the leg
//     is over, with the data of call_completed;
//   - an answer that TeleSign would refuse ends the call, with the status
//     unsupported_call_state in call_completed; so does no action at all while
//     somebody waits to hear something;
//   - a dial that nobody answered can only be hung up, or be answered with no action;
//   - max_call_duration counts from pickup.
//
// # Time
//
// Config.Speed divides the waiting for ringing, prompts, keys and legs, never the
// answer window, which stays real. Each call has its own clock: it starts at the
// wall clock's time and moves by the uncompressed durations and by the real time
// that answers took. So call_completed speaks of a call of plausible length, and
// at speeds above 1 its end lies ahead of the wall clock.
//
// # Chance
//
// What a person does depends on the seed, the call's index and the prompts it
// hears, not on scheduling: the same seed against the same webhook gives the same
// dialogues. Reference ids are random, so that two runs against one store never
// meet.
//
// # Faults
//
// Every event leaves through one function, poster.post. That is where it can be
// delayed, doubled, lost or sent elsewhere, without the life of a call knowing.
package simulator
