package flow

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/offhook/offhook/messages/telesign"
)

type routeSpec struct{ key, target written[string] }

// routes reads a map of keys to targets.
func routes(dst *written[[]routeSpec]) func(*reader, string, *yaml.Node) {
	return func(r *reader, what string, n *yaml.Node) {
		dst.at = at(n)
		r.keyed(what, `a map such as { "1": thanks }`, n, func(key written[string], value *yaml.Node) {
			if !r.key(what, key) {
				return
			}
			route := routeSpec{key: key}
			target(&route.target)(r, fmt.Sprintf("%s %q", what, key.value), value)
			dst.value = append(dst.value, route)
		})
	}
}

// mergeRoutes is the block's routes with a step's own over them.
func mergeRoutes(block, own []routeSpec) []routeSpec {
	merged := append([]routeSpec(nil), own...)
	named := make(map[string]bool, len(own))
	for _, r := range own {
		named[r.key.value] = true
	}
	for _, r := range block {
		if !named[r.key.value] {
			merged = append(merged, r)
		}
	}
	return merged
}

type acceptSpec struct {
	key   position
	entry Accept
}

// accepts reads the entries that are an answer, with their labels.
func accepts(dst *written[[]acceptSpec]) func(*reader, string, *yaml.Node) {
	return func(r *reader, what string, n *yaml.Node) {
		dst.at = at(n)
		r.keyed(what, `a map such as { "1-5": good }`, n, func(key written[string], value *yaml.Node) {
			a := acceptSpec{key: key.at}
			if from, to, ok := strings.Cut(key.value, "-"); ok && isNumber(from) && isNumber(to) {
				if !r.bounds(key, from, to) {
					return
				}
				a.entry.From, a.entry.To = from, to
			} else if !r.key(what, key) {
				return
			} else {
				a.entry.From = key.value
			}
			var label written[string]
			text(&label, "a label for reports")(r, fmt.Sprintf("%s %q", what, key.value), value)
			a.entry.Label = label.value
			dst.value = append(dst.value, a)
		})
	}
}

// bounds reports whether a range is one.
func (r *reader) bounds(key written[string], from, to string) bool {
	switch c := compareNumbers(from, to); {
	case c == 0:
		r.errorf(key.at, fmt.Sprintf("write %q", from), "the range %s is a single number", key.value)
	case c > 0:
		r.errorf(key.at, fmt.Sprintf("did you mean \"%s-%s\"?", to, from), "the range %s is empty", key.value)
	default:
		return true
	}
	return false
}

// keyed reads a map whose keys are keys of a telephone.
func (r *reader) keyed(what, kind string, n *yaml.Node, each func(key written[string], value *yaml.Node)) {
	if n.Kind == yaml.MappingNode && (len(n.Content) == 0 || len(n.Content) > 2*maxEntries) {
		r.errorf(at(n), "", "%s has %d keys, want 1 to %d", what, len(n.Content)/2, maxEntries)
		return
	}
	r.entries(what, kind, n, each)
}

// maxEntries is how many entries one map of keys may have.
const maxEntries = 500

const dtmf = "0123456789*#ABCD"

// key reports whether a key can be pressed on a telephone.
func (r *reader) key(what string, key written[string]) bool {
	s := key.value
	if strings.Trim(s, dtmf) == "" && len(s) <= telesign.MaxCollectDigits {
		return true
	}
	p, hint := key.at, ""
	number := rangeLike.FindStringSubmatch(s)
	switch named := map[string]string{"star": "*", "asterisk": "*", "pound": "#", "hash": "#"}[strings.ToLower(s)]; {
	case named != "":
		hint = fmt.Sprintf("did you mean %q?", named)
	case strings.Trim(strings.ToUpper(s), dtmf) == "" && len(s) <= telesign.MaxCollectDigits:
		hint = fmt.Sprintf("did you mean %q?", strings.ToUpper(s))
	case number != nil && what == "accept" && (plainNumber(number[1]) != number[1] || plainNumber(number[2]) != number[2]):
		hint = "a range matches numbers without leading zeros; for a code, leave accept out and name collect_digits.max and save"
	case number != nil && what == "accept":
		hint = fmt.Sprintf("did you mean \"%s-%s\"?", plainNumber(number[1]), plainNumber(number[2]))
	case number != nil:
		hint = "ranges stand in accept; here every key is named"
	case strings.ContainsAny(s, ", |"):
		hint = "give every key a line of its own"
	}
	r.errorf(p, hint, "%s: %q is not what can be pressed: 0-9 * # A-D, at most %d", what, cut(s), telesign.MaxCollectDigits)
	return false
}

var rangeLike = regexp.MustCompile(`^\s*([0-9]+)\s*(?:-|–|—|\.\.+|to)\s*([0-9]+)\s*$`)

// plainNumber is a number without leading zeros.
func plainNumber(s string) string {
	if s = strings.TrimLeft(s, "0"); s == "" {
		return "0"
	}
	return s
}

func parseTerminators(s string) (string, string, bool) {
	for i, c := range s {
		if !strings.ContainsRune(dtmf, c) || strings.ContainsRune(s[:i], c) {
			return "", "", false
		}
	}
	return s, "", true
}
