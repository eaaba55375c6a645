// Package bus is the NATS adapter: the streams and durable consumers and what they
// must look like, publishing with and without a reply inbox, the consume loops with
// their acks, retries and parking, readiness and drain.
//
// Nothing here knows what an event means: flows, calls, Redis and HTTP stay outside,
// and no type of nats.go appears in the exported API. The nats-server that dev, demo
// and the tests run in their own process is in embedded.
package bus
