package telemetry

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/offhook/offhook/messages"
)

// variables are the environment; one that is empty is not set.
type variables map[string]string

// newVariables reads lines in the form of os.Environ; where a variable stands twice
// the first counts.
func newVariables(environ []string) variables {
	v := make(variables)
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if _, seen := v[name]; !seen && strings.HasPrefix(name, "OTEL_") {
			v[name] = strings.TrimSpace(value)
		}
	}
	return v
}

// first is the first of names that is set, and its value.
func (v variables) first(names ...string) (name, value string) {
	for _, name := range names {
		if v[name] != "" {
			return name, v[name]
		}
	}
	return "", ""
}

func wrong(name, format string, args ...any) error {
	return messages.FieldErrorf(messages.CodeUsage, name, format, args...)
}

const (
	varExporter       = "OTEL_TRACES_EXPORTER"
	varEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	varTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
)

// on reports whether traces are wanted.
func (v variables) on() (bool, error) {
	switch exporter := v[varExporter]; {
	case strings.EqualFold(v["OTEL_SDK_DISABLED"], "true"), exporter == "none":
		return false, nil
	case exporter == "":
		_, endpoint := v.first(varTracesEndpoint, varEndpoint)
		return endpoint != "", nil
	case exporter != "otlp":
		return false, wrong(varExporter, "%q is not supported: want otlp, or none", exporter)
	}
	return true, nil
}

// endpoint is where traces are posted.
func (v variables) endpoint() (string, error) {
	name, text := v.first(varTracesEndpoint, varEndpoint)
	if name == "" {
		name, text = varEndpoint, "http://localhost:4318"
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", wrong(name, "want http://host:port (or https)") // what cannot be read cannot be masked
	case u.User != nil:
		return "", wrong(name, "carries credentials, which would not be sent: put them into OTEL_EXPORTER_OTLP_HEADERS")
	case name == varEndpoint:
		u = u.JoinPath("v1/traces")
	}
	return u.String(), nil
}

// checkProtocol refuses what we do not speak: to send the one when the other was
// asked for would reach a port that does not understand it.
func (v variables) checkProtocol() error {
	name, protocol := v.first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	switch protocol {
	case "", "http/protobuf":
		return nil
	case "grpc":
		return wrong(name, "grpc is not supported: set http/protobuf, and the collector's port for it, usually 4318")
	}
	return wrong(name, "%q is not supported: want http/protobuf", protocol)
}

// headers are sent with every export. They hold credentials, so no error shows any.
func (v variables) headers() (map[string]string, error) {
	name, text := v.first("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
	headers := make(map[string]string)
	err := pairs(name, text, func(key, value string) { headers[key] = value })
	return headers, err
}

// attributes are what is said of the process with every span.
func (v variables) attributes(service, version string) ([]attribute.KeyValue, error) {
	const name = "OTEL_RESOURCE_ATTRIBUTES"
	values := map[string]string{"service.name": service}
	if version != "" {
		values["service.version"] = version
	}
	if err := pairs(name, v[name], func(key, value string) { values[key] = value }); err != nil {
		return nil, err
	}
	if service := v["OTEL_SERVICE_NAME"]; service != "" {
		values["service.name"] = service
	}
	attributes := make([]attribute.KeyValue, 0, len(values))
	for key, value := range values {
		attributes = append(attributes, attribute.String(key, value))
	}
	return attributes, nil
}

// pairs reads name=value,… as W3C Baggage writes it.
func pairs(name, text string, set func(key, value string)) error {
	for i, pair := range slices.DeleteFunc(strings.Split(text, ","), func(s string) bool { return strings.TrimSpace(s) == "" }) {
		key, value, found := strings.Cut(pair, "=")
		key, errKey := url.PathUnescape(strings.TrimSpace(key))
		value, errValue := url.PathUnescape(strings.TrimSpace(value))
		if !found || key == "" || errKey != nil || errValue != nil {
			return wrong(name, "pair %d cannot be read: want name=value,… with special characters percent-encoded", i+1)
		}
		set(key, value)
	}
	return nil
}

// sampler decides which traces are kept.
func (v variables) sampler() (sdktrace.Sampler, error) {
	const argument = "OTEL_TRACES_SAMPLER_ARG"
	ratio := 1.0
	name := v["OTEL_TRACES_SAMPLER"]
	if text := v[argument]; text != "" && strings.HasSuffix(name, "traceidratio") {
		var err error
		if ratio, err = strconv.ParseFloat(text, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return nil, wrong(argument, "%q: want a ratio from 0 to 1", text)
		}
	}
	switch name {
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(ratio), nil
	case "", "parentbased_always_on":
		return sdktrace.ParentBased(sdktrace.AlwaysSample()), nil
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample()), nil
	case "parentbased_traceidratio":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio)), nil
	}
	return nil, wrong("OTEL_TRACES_SAMPLER", "%q is not supported: want always_on, always_off, traceidratio, or one of these with parentbased_ before it", name)
}
