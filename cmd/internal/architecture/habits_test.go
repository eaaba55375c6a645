package architecture

import (
	"bytes"
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// topLevel is what stands at the top of the tree, dot files aside: all of it and
// nothing else.
var topLevel = []string{
	"LICENSE", "Makefile", "README.md", "cmd/", "deploy/", "go.mod", "go.sum", "ingress/", "messages/", "store/", "worker/",
}

func checkTopLevel(t *tree) (violations []string) {
	for _, name := range t.top {
		if !slices.Contains(topLevel, name) && !strings.HasPrefix(name, ".") {
			violations = append(violations, name+": does not belong at the top level")
		}
	}
	for _, name := range topLevel {
		if !slices.Contains(t.top, name) {
			violations = append(violations, name+": is missing at the top level")
		}
	}
	return violations
}

// nameless are the names that say nothing of what is inside.
var nameless = []string{"common", "helper", "helpers", "misc", "models", "pkg", "types", "util", "utils"}

func checkNames(t *tree) (violations []string) {
	for _, s := range t.sources {
		for _, part := range strings.Split(s.path, "/") {
			for _, word := range strings.FieldsFunc(part, func(r rune) bool { return r == '_' || r == '-' || r == '.' }) {
				if slices.Contains(nameless, word) {
					violations = append(violations, fmt.Sprintf("%s: %q names nothing", s.path, word))
				}
			}
		}
	}
	return violations
}

func checkDocs(t *tree) (violations []string) {
	packages := make(map[string][]source)
	var dirs []string
	for _, s := range t.sources {
		if packages[s.dir] == nil {
			dirs = append(dirs, s.dir)
		}
		packages[s.dir] = append(packages[s.dir], s)
	}
	for _, dir := range dirs {
		documented := ""
		for _, s := range packages[dir] {
			if s.ast.Doc == nil {
				continue
			}
			want := "Package " + s.ast.Name.Name + " "
			if s.ast.Name.Name != "main" && !strings.HasPrefix(s.ast.Doc.Text(), want) {
				violations = append(violations, fmt.Sprintf("%s: the package comment does not begin with %q", s.path, want))
			}
			if documented != "" {
				violations = append(violations, fmt.Sprintf("%s: a second package comment beside that of %s", s.path, documented))
			}
			documented = s.path
		}
		if documented == "" {
			violations = append(violations, dir+": no package comment")
		}
	}
	return violations
}

// maxLines is the length at which a file is two files. The habit is 400.
const maxLines = 500

func checkLength(t *tree) (violations []string) {
	for _, s := range t.sources {
		if n := s.lines(); !s.test && n > maxLines {
			violations = append(violations, fmt.Sprintf("%s: has %d lines", s.path, n))
		}
	}
	return violations
}

func checkInit(t *tree) (violations []string) {
	for _, s := range t.sources {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				violations = append(violations, s.at(f.Pos())+": func init")
			}
		}
	}
	return violations
}

// checkUses reports the uses of names that are wrong in some files.
func checkUses(wrong func(s source, u used) bool) func(t *tree) []string {
	return func(t *tree) (violations []string) {
		for _, s := range t.sources {
			for _, u := range s.uses() {
				if wrong(s, u) {
					violations = append(violations, fmt.Sprintf("%s: uses %s.%s", u.at, u.from, u.name))
				}
			}
		}
		return violations
	}
}

func exits(s source, u used) bool {
	return !s.test && s.path != "cmd/offhook/main.go" &&
		(u.from == "os" && u.name == "Exit" || u.from == "log" && strings.HasPrefix(u.name, "Fatal"))
}

func sleeps(s source, u used) bool { return s.test && u.from == "time" && u.name == "Sleep" }

func skips(s source, u used) bool {
	return u.from == "testing" && u.name == "Short" ||
		s.test && slices.Contains([]string{"Skip", "SkipNow", "Skipf"}, u.name) && slices.Contains([]string{"b", "f", "t", "tb"}, u.from)
}

// registryHosts are the hosts that package managers download from, cut in two so
// that this file does not name them.
var registryHosts = []string{
	"proxy.golang" + ".org", "sum.golang" + ".org", "index.golang" + ".org",
	"deb.debian" + ".org", "security.debian" + ".org", "snapshot.debian" + ".org",
	"registry.npmjs" + ".org", "registry.yarnpkg" + ".com",
	"files.pythonhosted" + ".org", "pypi" + ".org", "static.crates" + ".io", "index.crates" + ".io",
}

func checkRegistryHosts(t *tree) (violations []string) {
	for _, f := range t.files {
		content := bytes.ToLower(f.content)
		for _, host := range registryHosts {
			if at := bytes.Index(content, []byte(host)); at >= 0 {
				line := 1 + bytes.Count(content[:at], []byte("\n"))
				violations = append(violations, fmt.Sprintf("%s:%d: names %s", f.path, line, host))
			}
		}
	}
	return violations
}
