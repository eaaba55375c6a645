// Package e2e tests offhook as its users run it: the real binary as separate
// processes, a real redis-server, a real nats-server with JetStream on disk, and
// the simulator as TeleSign. It holds tests only.
package e2e
