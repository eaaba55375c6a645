// Package cli is offhook's command line: its commands, their settings, what they
// print and how they exit. It starts what cmd/internal/role puts together and
// holds no logic of calls, flows or queues.
//
// Results go to stdout; logs, warnings and errors to stderr. With --json both are
// for programs: one JSON document on stdout, one messages.ErrorBody a line on stderr.
package cli
