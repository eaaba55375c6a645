package webhook

import "strings"

// traceLength is the length of a version 00 traceparent: 2 + 32 + 16 + 2 hex
// digits and three dashes.
const traceLength = 55

// traceparent is the request's W3C trace context, or empty when it sent none that
// is well-formed: one header, version 00 or a later one read as 00, lower-case hex,
// neither id all zero. A stranger's header is not a reason to refuse an event.
func traceparent(header map[string][]string) string {
	values := header["Traceparent"]
	if len(values) != 1 {
		return ""
	}
	v := values[0]
	if len(v) < traceLength || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return ""
	}
	version, traceID, parentID, flags := v[:2], v[3:35], v[36:52], v[53:traceLength]
	for _, field := range []string{version, traceID, parentID, flags} {
		if strings.Trim(field, "0123456789abcdef") != "" {
			return ""
		}
	}
	if version == "ff" || strings.Trim(traceID, "0") == "" || strings.Trim(parentID, "0") == "" {
		return ""
	}
	if version == "00" {
		if len(v) != traceLength {
			return ""
		}
		return v
	}
	if len(v) > traceLength && v[traceLength] != '-' {
		return ""
	}
	return "00" + v[2:traceLength]
}
