// Package otlptest is a collector of traces for tests: it takes what OpenTelemetry
// exporters post over HTTP and keeps it.
package otlptest
