// Package logtest is a log, or any other output of a process, that tests can read
// and wait on while it is written. It is for tests only.
package logtest
