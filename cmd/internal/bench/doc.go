// Package bench measures the call path: how fast offhook answers events, beside a
// bare HTTP server that only parses them and beside the naive pipe, which is what
// NATS and Redis cost when nothing is decided. All three run as processes of their
// own on one machine, in one run, in alternating rounds, under one load generator
// that is a process too and whose share of the CPU is part of the result.
//
//	load ──► bare                                            bare-http
//	load ──► naive-ingress ◄──► nats ◄──► naive-worker ──► redis    naive-pipe
//	load ──► offhook ingress ◄─► nats ◄─► offhook worker ─► redis   offhook
//
// The naive pipe and offhook share one nats-server and one redis-server. Whatever
// the pipe has in common with offhook is read from offhook at run time where that
// is possible (stream, consumer, slots), so that the two cannot drift apart.
//
// Nothing here is part of the product: the roles are started as anybody starts
// them. Linux only, because CPU and memory are read from /proc.
package bench
