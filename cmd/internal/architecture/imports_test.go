package architecture

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// layer is what the packages of one layer may import, tests aside. The standard
// library is free but for never.
type layer struct {
	packages []string // the first layer that has a package is its layer
	ours     []string // packages of ours
	outside  []string // packages of others
	never    []string // packages of the standard library
	why      string
}

// io is what reaches out of the process or makes a result depend on more than the
// arguments.
var io = []string{
	"context", "crypto/rand", "database/sql/...", "io/fs", "io/ioutil", "log/...",
	"math/rand/...", "net", "net/http/...", "net/rpc/...", "net/smtp", "os/...", "syscall/...",
}

// dial is what opens files and connections.
var dial = []string{"database/sql/...", "io/fs", "io/ioutil", "log", "net", "net/http/httptest", "net/rpc/...", "net/smtp", "os/...", "syscall/..."}

var layers = []layer{
	{
		packages: []string{"messages"},
		never:    dial,
		why:      "what crosses a process boundary depends on nothing but the standard library, so that everything may depend on it",
	},
	{
		packages: []string{"messages/telesign"},
		ours:     []string{"messages"},
		never:    append([]string{"context", "crypto/rand", "math/rand/..."}, dial...),
		why:      "TeleSign's contract is data and rules: it does no I/O, and the same bytes give the same result",
	},
	{
		packages: []string{"messages/bus/..."},
		ours:     []string{"messages", "messages/bus/..."},
		outside:  []string{"..."},
		why:      "the NATS adapter knows neither the store nor who publishes and consumes",
	},
	{
		packages: []string{"store/..."},
		ours:     []string{"messages", "store/..."},
		outside:  []string{"..."},
		why:      "the Redis adapter knows neither NATS nor who asks",
	},
	{
		packages: []string{"ingress/webhook/..."},
		ours:     []string{"messages", "messages/telesign", "messages/bus", "ingress/webhook/..."},
		outside:  []string{"..."},
		why:      "the door for TeleSign is thin: no flow and no Redis stand between an event and its storage",
	},
	{
		packages: []string{"ingress/api/...", "ingress/console/..."},
		ours: []string{
			"messages", "messages/telesign", "messages/bus", "store", "worker/call", "worker/flow",
			"ingress/api/...", "ingress/console/...",
		},
		outside: []string{"..."},
		why:     "the doors for people read and write state; they handle no events",
	},
	{
		packages: []string{"worker/flow"},
		ours:     []string{"messages", "messages/telesign"},
		outside:  []string{"go.yaml.in/yaml/v3"},
		never:    io,
		why:      "flows are parsed, checked and compiled purely, so that the API and the console may do it too",
	},
	{
		packages: []string{"worker/call"},
		ours:     []string{"messages", "messages/telesign", "worker/flow"},
		never:    io,
		why:      "the step function is pure: replay, redelivery and shadow runs must come to the same decision",
	},
	{
		packages: []string{"worker/..."},
		ours:     []string{"messages", "messages/telesign", "messages/bus", "store", "worker/..."},
		outside:  []string{"..."},
		why:      "workers react to messages and never see the doors",
	},
	{
		packages: []string{"deploy/..."},
		why:      "deploy holds files for operators; a package there may only embed them",
	},
	{
		packages: []string{"cmd/..."},
		ours:     []string{"..."},
		outside:  []string{"..."},
		why:      "wiring sees everything, and no other layer lists it",
	},
}

func layerOf(dir string) (layer, bool) {
	for _, l := range layers {
		if in(dir, l.packages...) {
			return l, true
		}
	}
	return layer{}, false
}

func checkLayers(t *tree) (violations []string) {
	for _, s := range t.sources {
		if s.test {
			continue
		}
		l, ok := layerOf(s.dir)
		if !ok {
			violations = append(violations, s.path+": its package is in no layer: add a row with a reason, or move it")
			continue
		}
		for _, i := range s.imports() {
			p, own := ours(i.path)
			switch {
			case own && in(p, l.ours...):
			case !own && isStandard(i.path) && !in(i.path, l.never...):
			case !own && !isStandard(i.path) && in(i.path, l.outside...):
			default:
				violations = append(violations, fmt.Sprintf("%s: %s must not import %s: %s", i.at, s.dir, i.path, l.why))
			}
		}
	}
	return violations
}

// owners lists the packages that alone may import some of others' packages.
var owners = []struct {
	packages []string
	owners   []string
	why      string
}{
	{[]string{"github.com/nats-io/..."}, []string{"messages/bus/...", "cmd/..."}, "only the bus speaks NATS: ack, redelivery and drain are decided in one place"},
	{[]string{"github.com/redis/...", "github.com/alicebob/..."}, []string{"store/...", "cmd/..."}, "only the store speaks Redis: every key, script and expiry is in one place"},
	{[]string{"go.yaml.in/..."}, []string{"worker/flow", "cmd/..."}, "YAML is the language of flows; everything else is a flag, a variable or JSON"},
	{[]string{"github.com/spf13/..."}, []string{"cmd/..."}, "flags and commands are wiring"},
}

func checkOwners(t *tree) (violations []string) {
	for _, s := range t.sources {
		if s.test {
			continue
		}
		for _, i := range s.imports() {
			for _, o := range owners {
				if in(i.path, o.packages...) && !in(s.dir, o.owners...) {
					violations = append(violations, fmt.Sprintf("%s: %s must not import %s: %s", i.at, s.dir, i.path, o.why))
				}
			}
		}
	}
	return violations
}

// restrictions are the packages of which a layer may use a part only.
var restrictions = []struct {
	packages []string
	of       string         // the import path
	only     *regexp.Regexp // the names that may be used; nil is all but never
	never    *regexp.Regexp
	why      string
}{
	{
		packages: []string{"messages", "messages/telesign"},
		of:       "net/http",
		only:     regexp.MustCompile(`^(Header|CanonicalHeaderKey|TimeFormat|(Status|Method)\w*)$`),
		why:      "the words of HTTP, not its client or server",
	},
	{
		packages: []string{"messages/telesign", "worker/call", "worker/flow"},
		of:       "time",
		never:    regexp.MustCompile(`^(Now|Since|Until|Sleep|After|AfterFunc|Tick|NewTimer|NewTicker)$`),
		why:      "pure code is told the time",
	},
}

func checkRestrictions(t *tree) (violations []string) {
	for _, s := range t.sources {
		if s.test {
			continue
		}
		for _, u := range s.uses() {
			for _, r := range restrictions {
				if u.from != r.of || !in(s.dir, r.packages...) {
					continue
				}
				if r.only != nil && !r.only.MatchString(u.name) || r.never != nil && r.never.MatchString(u.name) {
					violations = append(violations, fmt.Sprintf("%s: %s must not use %s.%s: %s", u.at, s.dir, u.from, u.name, r.why))
				}
			}
		}
	}
	return violations
}

func checkConsumeLoop(t *tree) (violations []string) {
	for _, s := range t.sources {
		if s.test || !in(s.dir, "ingress/...") {
			continue
		}
		for _, u := range s.uses() {
			if strings.HasPrefix(u.name, "Consume") {
				violations = append(violations, fmt.Sprintf("%s: %s uses %s", u.at, s.dir, u.name))
			}
		}
	}
	return violations
}

// isHarness reports whether a package helps tests, by its name: redistest.
func isHarness(importPath string) bool { return strings.HasSuffix(path.Base(importPath), "test") }

func checkHarnesses(t *tree) (violations []string) {
	for _, s := range t.sources {
		if s.test || isHarness(s.dir) {
			continue
		}
		for _, i := range s.imports() {
			_, own := ours(i.path)
			if own && isHarness(i.path) || in(i.path, "testing/...", "go.uber.org/goleak", "github.com/google/go-cmp/...", "github.com/rogpeppe/go-internal/...") {
				violations = append(violations, fmt.Sprintf("%s: %s is for tests", i.at, i.path))
			}
		}
	}
	return violations
}
