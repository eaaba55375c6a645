// Package flow reads, checks and compiles call flows: reviewable YAML in TeleSign's
// words that becomes the Program which worker/call steps through.
//
// It is pure: no files, clocks, contexts or clients. What a caller is told when
// something fails while a call is live is not decided here but in worker/call; what
// TeleSign accepts is known to messages/telesign. The keys of the language are the
// fields methods in spec.go; a new word begins there.
//
// # A file
//
//	name: visit-survey                 # required: letters, digits, - and _
//	language: en-US                    # of every speak; left out, none is sent
//	contact: { first_name: there }     # columns used, and the word for an empty one; no word: required
//	question: { … }                    # defaults of every question, see below
//	start: { answered: hello, incoming: hello, not_answered: hangup }
//	steps:
//	  hello: { speak: "Hello ${contact.first_name}.", next: hangup }
//
// start needs answered, incoming or both. A call that we placed and nobody answered
// is hung up; not_answered can say so and nothing else. A file is one UTF-8 YAML
// document of at most MaxSource bytes and MaxSteps steps, without aliases, anchors,
// tags and merge keys. Keys and values are the text that stands in the file,
// whatever YAML would make of it: 007, 0 and no need no quotes, and 0 and "0" are
// the same key. Nothing at all, an unquoted ~ and null are no value.
//
// # A step
//
//	play, speak     what is said; with both, speak is what the audio says, for when it fails
//	language        of the step's own speaks
//	next            a step, or hangup: the disposition is then derived
//	hangup          a word: hang up after the prompt and end in this disposition
//	opt_out: true   entering the step puts the person on the opt-out list
//
// A step that does not listen needs next or hangup, never both. It may say nothing:
// then it opts out, or ends the call.
//
// # A question
//
// A step listens when it has collect_digits, digits, accept or save. It must then
// say something, for keys are collected during a prompt.
//
//	collect_digits  max, timeout, inter_digit_timeout, terminators
//	digits          keys that lead to a target of their own
//	accept          keys, and ranges such as "2-4", that are an answer, with labels for reports
//	save            the answer's name; the entry is saved also when digits led elsewhere
//	keys            as digits, but lower in rank than accept and never saved
//	tries           times the question is asked, all causes together; 3 if not named
//	no_input        nothing was pressed: play, speak, language, tries, next, or a bare target
//	invalid         something else was pressed: likewise
//
// An accepted answer goes to next, or ends the call with hangup. What an entry means
// is Question.Match: a trailing terminator is no part of it, and a terminator alone
// is no input. Then, in this order: digits, accept, ranges, keys, and, where there
// is neither digits nor accept, anything else is accepted. A range matches numbers
// without leading zeros: "0-10" matches 0 and not 03. keys rank before "anything
// else", so that the keys of the whole flow work in a question for a number; a
// question in which such a key is an answer names it under accept or digits.
//
// A step of which nothing but collect_digits and next is said, neither by itself nor
// by the question block, accepts anything, also nothing, and never asks again.
// Every other question says where no_input leads, and, unless it accepts whatever is
// pressed, where invalid leads.
//
// The target repeat, in digits and keys only, asks again and costs a try; when none
// is left the call goes where no_input leads. Asking again says the prompt of
// no_input or invalid, and the step's own where those have none or for repeat.
// tries in no_input counts the empty entries alone; the question's tries still
// holds.
//
// max, where nobody names it, is the length of the longest key in digits, accept and
// keys, or 1. Timers and terminators that nobody names are not sent. terminators:
// "" takes back those of the question block.
//
// The question block holds collect_digits, tries, no_input, invalid and keys for
// every question. A step overrides what it names: collect_digits timer by timer,
// no_input and invalid field by field, keys key by key. What is said is one field:
// a step that names play or speak in no_input replaces both, and brings its own
// language; the block's prompts are in the flow's language.
//
// # Texts
//
// ${contact.<column>}, ${answers.<save>} and ${call.<fact>}, facts being id,
// direction, from, to, attempt and answered_at, stand for values; $${ is a ${ that
// is said. An answer that was not given is empty. A speak that begins with <speak>
// is SSML and has to be well-formed; values in it are escaped, as are those in a
// URL, whose host must not vary.
//
// # Checks
//
// Errors: unknown and duplicate keys, unknown targets and variables, answers said
// before they can be given, dead ends, steps that start does not reach, circles of
// steps that never listen, steps from which no way leads to the end of the call,
// keys and words that can never be pressed, heard or reached, a call that ends in
// opted_out without an opt_out, values out of their bounds, and what YAML reads
// otherwise than the author does: a bare * or #, {1:a}, ${…} in { } without quotes.
// Warnings: columns and a question block that nothing uses, keys of the question
// block that a step takes away without naming them, dispositions that look like a
// slip. Every problem has file, line and column, and all of them are reported, as
// far as the file can be read as YAML.
package flow
