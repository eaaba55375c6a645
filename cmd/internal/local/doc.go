// Package local runs every role in one process, for dev and demo: NATS and the
// store are inside it, and TeleSign is a simulator, unless the real one is asked
// for by name. It uses the same roles as production and adds nothing to them.
package local
