// Package telemetry sends a process's traces to an OpenTelemetry collector, as the
// standard OTEL_… variables say. It is off, and costs nothing, unless
// OTEL_TRACES_EXPORTER is otlp or one of the endpoint variables is set.
//
//	OTEL_SDK_DISABLED                     true: off, whatever else is set
//	OTEL_TRACES_EXPORTER                  otlp, or none; there is no other, console included
//	OTEL_EXPORTER_OTLP_ENDPOINT           base URL, /v1/traces is added; default http://localhost:4318
//	OTEL_EXPORTER_OTLP_TRACES_ENDPOINT    URL as it is; beats the one before
//	OTEL_EXPORTER_OTLP_PROTOCOL           http/protobuf, which is the only one
//	OTEL_EXPORTER_OTLP_TRACES_PROTOCOL    the same, and beats it
//	OTEL_EXPORTER_OTLP_HEADERS            name=value,…, percent-encoded
//	OTEL_EXPORTER_OTLP_TRACES_HEADERS     the same, and beats it
//	OTEL_SERVICE_NAME                     default offhook-<role>
//	OTEL_RESOURCE_ATTRIBUTES              name=value,…, percent-encoded
//	OTEL_TRACES_SAMPLER                   always_on, always_off, traceidratio, parentbased_always_on (default),
//	                                      parentbased_always_off, parentbased_traceidratio
//	OTEL_TRACES_SAMPLER_ARG               the ratio, 0 to 1; default 1
//
// Those of the OpenTelemetry SDK that tune it (OTEL_BSP_…, OTEL_SPAN_…) or secure the
// connection (OTEL_EXPORTER_OTLP_CERTIFICATE, …_CLIENT_…, …_TIMEOUT, …_COMPRESSION)
// work too.
//
// Spans are collected in memory and sent in the background: a collector that is slow
// or away costs spans, which is logged once in a while, and never a caller's time.
// What spans say is the affair of the packages that make them.
package telemetry
