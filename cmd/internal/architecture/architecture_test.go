package architecture

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// rule is one thing that must hold for the whole tree.
type rule struct {
	name  string
	why   string
	check func(t *tree) (violations []string)
}

var rules = []rule{
	{"layers", "arrows point down; see the table for the reason of each", checkLayers},
	{"owners", "each engine has one adapter; see the table for the reason of each", checkOwners},
	{"restrictions", "some packages are allowed in part; see the table for the reason of each", checkRestrictions},
	{"consume loop", "doors publish and ask; only workers consume", checkConsumeLoop},
	{"harnesses", "what helps tests stays out of the binary", checkHarnesses},
	{"top level", "a newcomer names the running parts from ls", checkTopLevel},
	{"names", "a name says what is inside", checkNames},
	{"docs", "every package says what lives there and what may not", checkDocs},
	{"length", "a file that needs a table of contents is two files", checkLength},
	{"init", "wiring is explicit calls in cmd, in an order one can read", checkInit},
	{"exits", "errors become exit codes in one place, after everything has been closed", checkUses(exits)},
	{"sleeps", "a test waits for a signal or uses testing/synctest; a sleep is slow, or wrong, or both", checkUses(sleeps)},
	{"skips", "a test that does not run proves nothing: a missing dependency is a failure", checkUses(skips)},
	{"registry hosts", "where packages come from is the machine's setting, not the project's", checkRegistryHosts},
}

func TestTree(t *testing.T) {
	t.Parallel()
	repository, err := readTree(os.DirFS("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(repository.sources) < 10 || !slices.Contains(repository.top, "messages/") {
		t.Fatalf("this is not the repository: %v", repository.top)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if violations := r.check(repository); len(violations) > 0 {
				t.Errorf("%s\n  %s", r.why, strings.Join(violations, "\n  "))
			}
		})
	}
}

// sound is a small tree that keeps every rule.
func sound() map[string]string {
	return map[string]string{
		".gitignore": "*.out\n/bin/\n", "LICENSE": "", "Makefile": "", "README.md": "", "go.mod": "", "go.sum": "",
		"bin/offhook":             "deb.debian" + ".org",
		"messages/doc.go":         "// Package messages is.\npackage messages\n",
		"messages/errors.go":      "package messages\nimport \"net/http\"\nvar _ = http.StatusOK\n",
		"messages/bus/doc.go":     "// Package bus is.\npackage bus\nimport _ \"github.com/nats-io/nats.go\"\n",
		"store/doc.go":            "// Package store is.\npackage store\nimport (\n_ \"github.com/redis/go-redis/v9\"\n_ \"" + modulePath + "/messages\"\n)\n",
		"store/store_test.go":     "package store_test\nimport _ \"" + modulePath + "/store/redistest\"\n",
		"store/redistest/doc.go":  "// Package redistest is.\npackage redistest\nimport _ \"testing\"\n",
		"ingress/webhook/doc.go":  "// Package webhook is.\npackage webhook\nimport _ \"" + modulePath + "/messages/bus\"\n",
		"ingress/api/doc.go":      "// Package api is.\npackage api\nimport _ \"" + modulePath + "/worker/flow\"\n",
		"worker/doc.go":           "// Package worker is.\npackage worker\nimport \"" + modulePath + "/store\"\nfunc f(b bus) { b.ConsumeEvents(store.X) }\n",
		"worker/call/doc.go":      "// Package call is.\npackage call\nimport \"time\"\nvar d time.Duration\n",
		"worker/flow/doc.go":      "// Package flow is.\npackage flow\nimport _ \"go.yaml.in/yaml/v3\"\n",
		"worker/testdata/util.go": "no Go",
		"deploy/nats.conf":        "",
		"cmd/offhook/main.go":     "// Offhook is.\npackage main\nimport \"os\"\nfunc main() { os.Exit(run()) }\n",
	}
}

// TestRulesCanFail breaks every rule in the sound tree, each break by one file.
func TestRulesCanFail(t *testing.T) {
	t.Parallel()
	imports := func(pkg, path string) string { return "package " + pkg + "\nimport _ \"" + path + "\"\n" }
	tests := []struct {
		rule    string
		path    string
		content string // "-" removes the file
		want    string
	}{
		{"layers", "messages/x.go", imports("messages", modulePath+"/store"), "messages/x.go:2: messages must not import " + modulePath + "/store"},
		{"layers", "messages/x.go", imports("messages", "golang.org/x/sync/errgroup"), "must not import golang.org/x/sync"},
		{"layers", "messages/x.go", imports("messages", "os"), "must not import os"},
		{"layers", "messages/telesign/x.go", imports("telesign", modulePath+"/messages/bus"), "must not import"},
		{"layers", "messages/telesign/x.go", imports("telesign", "context"), "must not import context"},
		{"layers", "messages/bus/x.go", imports("bus", modulePath+"/store"), "must not import"},
		{"layers", "store/x.go", imports("store", modulePath+"/messages/bus"), "must not import"},
		{"layers", "store/x.go", imports("store", modulePath+"/worker"), "must not import"},
		{"layers", "ingress/webhook/x.go", imports("webhook", modulePath+"/store"), "must not import"},
		{"layers", "ingress/webhook/x.go", imports("webhook", modulePath+"/worker/flow"), "must not import"},
		{"layers", "ingress/api/x.go", imports("api", modulePath+"/worker"), "must not import"},
		{"layers", "worker/call/x.go", imports("call", modulePath+"/store"), "must not import"},
		{"layers", "worker/call/x.go", imports("call", "log/slog"), "must not import log/slog"},
		{"layers", "worker/call/x.go", imports("call", "math/rand/v2"), "must not import math/rand/v2"},
		{"layers", "worker/call/x.go", imports("call", "go.yaml.in/yaml/v3"), "must not import go.yaml.in"},
		{"layers", "worker/flow/x.go", imports("flow", "os"), "must not import os"},
		{"layers", "worker/flow/x.go", imports("flow", modulePath+"/worker/call"), "must not import"},
		{"layers", "worker/dial/x.go", imports("dial", modulePath+"/ingress/api"), "must not import"},
		{"layers", "worker/x.go", imports("worker", modulePath+"/messages/bus/embedded"), "must not import"},
		{"layers", "worker/x.go", imports("worker", modulePath+"/cmd/internal/setting"), "must not import"},
		{"layers", "deploy/x.go", imports("deploy", modulePath+"/messages"), "must not import"},
		{"layers", "messages/new/x.go", "package new\n", "messages/new/x.go: its package is in no layer"},
		{"owners", "worker/x.go", imports("worker", "github.com/nats-io/nats.go/jetstream"), "only the bus speaks NATS"},
		{"owners", "worker/x.go", imports("worker", "github.com/redis/go-redis/v9"), "only the store speaks Redis"},
		{"owners", "ingress/api/x.go", imports("api", "github.com/alicebob/miniredis/v2"), "only the store speaks Redis"},
		{"owners", "worker/x.go", imports("worker", "go.yaml.in/yaml/v3"), "YAML is the language of flows"},
		{"owners", "store/x.go", imports("store", "github.com/spf13/pflag"), "flags and commands are wiring"},
		{"restrictions", "messages/x.go", "package messages\nimport \"net/http\"\nvar c http.Client\n", "messages/x.go:3: messages must not use net/http.Client"},
		{"restrictions", "worker/call/x.go", "package call\nimport clock \"time\"\nvar t = clock.Now()\n", "must not use time.Now"},
		{"consume loop", "ingress/api/x.go", "package api\nfunc f(b bus) { b.ConsumeJobs() }\n", "ingress/api uses ConsumeJobs"},
		{"harnesses", "store/x.go", imports("store", modulePath+"/store/redistest"), "redistest is for tests"},
		{"harnesses", "worker/x.go", imports("worker", "testing/synctest"), "testing/synctest is for tests"},
		{"top level", "docs/x.md", "", "docs/: does not belong"},
		{"top level", "go.work", "", "go.work: does not belong"},
		{"top level", "LICENSE", "-", "LICENSE: is missing"},
		{"names", "store/utils/doc.go", "// Package utils is.\npackage utils\n", `"utils" names nothing`},
		{"names", "store/test_helpers_test.go", "package store\n", `"helpers" names nothing`},
		{"docs", "store/doc.go", "package store\n", "store: no package comment"},
		{"docs", "store/doc.go", "// The store.\npackage store\n", `does not begin with "Package store "`},
		{"docs", "store/keys.go", "// Package store is.\npackage store\n", "store/keys.go: a second package comment beside that of store/doc.go"},
		{"length", "store/x.go", "package store\n" + strings.Repeat("\n", maxLines), "store/x.go: has 501 lines"},
		{"init", "store/x.go", "package store\nfunc init() {}\n", "store/x.go:2: func init"},
		{"exits", "worker/x.go", "package worker\nimport \"os\"\nfunc f() { os.Exit(1) }\n", "worker/x.go:3: uses os.Exit"},
		{"exits", "cmd/offhook/x.go", "package main\nimport \"log\"\nfunc f() { log.Fatalf(\"\") }\n", "uses log.Fatalf"},
		{"sleeps", "store/x_test.go", "package store\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "store/x_test.go:3: uses time.Sleep"},
		{"skips", "store/x_test.go", "package store\nfunc f(t *testing.T) { t.Skip() }\n", "uses t.Skip"},
		{"skips", "store/x_test.go", "package store\nimport \"testing\"\nvar s = testing.Short()\n", "uses testing.Short"},
		{"registry hosts", "deploy/nats.conf", "\n# get it from https://proxy.golang" + ".org\n", "deploy/nats.conf:2: names proxy.golang" + ".org"},
	}
	check := func(files map[string]string, rules ...rule) (violations []string) {
		root := make(fstest.MapFS)
		for path, content := range files {
			root[path] = &fstest.MapFile{Data: []byte(content)}
		}
		small, err := readTree(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			violations = append(violations, r.check(small)...)
		}
		return violations
	}
	if violations := check(sound(), rules...); len(violations) > 0 {
		t.Errorf("the sound tree breaks rules: %v", violations)
	}
	broken := make(map[string]bool)
	for _, test := range tests {
		at := slices.IndexFunc(rules, func(r rule) bool { return r.name == test.rule })
		if at < 0 {
			t.Fatalf("%q is no rule", test.rule)
		}
		files := sound()
		files[test.path] = test.content
		if test.content == "-" {
			delete(files, test.path)
		}
		if found := strings.Join(check(files, rules[at]), "\n"); !strings.Contains(found, test.want) {
			t.Errorf("%s: a wrong %s is reported as %q, want %q", test.rule, test.path, found, test.want)
		}
		broken[test.rule] = true
	}
	for _, r := range rules {
		if !broken[r.name] {
			t.Errorf("no fixture breaks the rule %q", r.name)
		}
	}
}
