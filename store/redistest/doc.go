// Package redistest runs private redis-server processes for tests: one Shared
// server per test binary, and Servers of their own for tests that stop, pause or
// misconfigure one.
//
// It is used by tests only. It knows nothing of keys or scripts. A missing
// redis-server fails the test; nothing is ever skipped.
package redistest
