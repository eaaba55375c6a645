// Package simulator is a TeleSign on your machine: a server for POST /v2/voice
// that accepts dials as TeleSign does, and the telephone network behind it, where
// people answer or do not, listen, press keys and hang up. It posts signed events
// to a webhook, executes the answers, and reports what it saw: how calls ended,
// how fast the webhook was, and whether any answer was one TeleSign would refuse.
//
// Here live the server, the life of a call, people, faults and the report. Not here:
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
//	no answer in time, or not 200                Assumptions.PostAgain…     the call is hung up
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
//	the events of a dial that answers an event   Assumptions.LegEvents      call_leg_completed
//
// Inferred without a setting:
//
//   - refusals are checked in the order credentials, rate, body, to and caller id
//     missing, malformed, not owned, blocked (HTTP 200); what is malformed in a way
//     TeleSign has no word for gets 400 and a sentence in "error";
//   - audio is never fetched, and speech takes as long as its text is, and a second
//     for each <break strength="strong"/>;
//   - keys pressed while no digits are collected are lost;
//   - call_leg_completed has the data of call_completed; where a leg's dial_completed
//     is posted, no action lets the two talk on, and any action ends the leg;
//   - of several answers to one event the first that arrives is executed, invalid or
//     not; the others are ignored, as are those to events of a call that is over;
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
// Config.Faults is what goes wrong, with a share each; FaultKind lists the kinds,
// Inject reads them as text. All their times are real, never divided by Speed: they
// are about the webhook, not about the people. The report says how often each was
// injected.
//
// Copies of an event are compared: each must be answered with the same action
// (invariant I3), whether or not the answer is executed. Report.Copies counts those
// that were not, by whether the copy went out before the first answer was there.
// One that goes out much later may rightly be taken for a new event, since equal
// bytes are no proof of a copy: keep FaultDuplicate's After short, or look at that
// count alone. An answer that cut-before-answer kept from TeleSign is compared too,
// if it came. What TeleSign ignores, answers to call_completed and to events of a
// call that is over, is not judged at all; a copy's missing answer is counted with
// the copies, and is a miss only where no post of the event had an answer before it.
//
// A hold is known by its text, Config.HoldTexts. The report counts holds and their
// rows, HoldRows gives those of one call.
//
// What a fault happens to follows from the seed and, for events, calls, holds and
// legs, the call's index and the number of the event, hold or leg in its call; for
// requests, the number that is dialled and how often it was dialled before. A fault
// more or less changes nothing about the others, and a hold changes nothing about
// the events after the one that ends it, if HoldTexts names it. Not reproducible:
//
//   - what depends on real time: Fault.During, the window, posting again;
//   - which of several answers under way is the first, and so which is executed
//     where they differ;
//   - the index of dials that come at the same time, and the order of requests to
//     one number;
//   - whether a broken connection meets a webhook that still thinks.
package simulator
