package architecture

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// modulePath is the module's path in go.mod.
const modulePath = "github.com/offhook/offhook"

// tree is the source tree as the rules see it. What .gitignore keeps out of the
// top level is not part of it.
type tree struct {
	top     []string // names at the top level; those of folders end in a slash
	files   []file   // every file, in lexical order
	sources []source // the Go files among them, but those under testdata
}

type file struct {
	path    string
	content []byte
}

// source is one parsed Go file.
type source struct {
	file
	dir  string // its package's folder, "." for the top level
	test bool   // a _test.go file
	ast  *ast.File
	fset *token.FileSet
}

// readTree reads a source tree from its top.
func readTree(root fs.FS) (*tree, error) {
	ignored, err := ignoredAtTop(root)
	if err != nil {
		return nil, err
	}
	t := &tree{}
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if atTop := !strings.Contains(name, "/"); atTop {
			if name == ".git" || matchesAny(ignored, name) {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			shown := name
			if entry.IsDir() {
				shown += "/"
			}
			t.top = append(t.top, shown)
		}
		if entry.IsDir() {
			return nil
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return t.add(file{name, content})
	})
	return t, err
}

func (t *tree) add(f file) error {
	t.files = append(t.files, f)
	if path.Ext(f.path) != ".go" || slices.Contains(strings.Split(f.path, "/"), "testdata") {
		return nil
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, f.path, f.content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.sources = append(t.sources, source{
		file: f, dir: path.Dir(f.path), test: strings.HasSuffix(f.path, "_test.go"), ast: parsed, fset: fset,
	})
	return nil
}

// ignoredAtTop is the patterns of .gitignore that begin with a slash.
func ignoredAtTop(root fs.FS) ([]string, error) {
	content, err := fs.ReadFile(root, ".gitignore")
	if err != nil {
		return nil, err
	}
	var patterns []string
	for line := range strings.Lines(string(content)) {
		if pattern, anchored := strings.CutPrefix(strings.TrimSpace(line), "/"); anchored {
			patterns = append(patterns, strings.TrimSuffix(pattern, "/"))
		}
	}
	return patterns, nil
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// at is a position as path:line.
func (s source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(pos).Line)
}

// lines is how many lines the file has.
func (s source) lines() int { return bytes.Count(s.content, []byte("\n")) }

// imported is one import of a source.
type imported struct {
	path string
	at   string
}

func (s source) imports() []imported {
	var list []imported
	for _, spec := range s.ast.Imports {
		list = append(list, imported{importPath(spec), s.at(spec.Pos())})
	}
	return list
}

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // not reached: the parser takes only quoted paths
	}
	return p
}

// ours is the package of our module that has the import path, as its folder.
func ours(importPath string) (string, bool) {
	if importPath == modulePath {
		return ".", true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

// isStandard reports whether a package is of the standard library.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// used is one use of a name in another package, such as time.Sleep, or of a method
// or field of a value.
type used struct {
	from string // the package's import path, or the variable's name
	name string
	at   string
}

func (s source) uses() []used {
	packages := make(map[string]string) // local name to import path
	for _, spec := range s.ast.Imports {
		p := importPath(spec)
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		packages[local] = p
	}
	var list []used
	ast.Inspect(s.ast, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from := ""
		if x, ok := selector.X.(*ast.Ident); ok {
			from = x.Name
			if p, ok := packages[x.Name]; ok {
				from = p
			}
		}
		list = append(list, used{from, selector.Sel.Name, s.at(selector.Pos())})
		return true
	})
	return list
}

// in reports whether a path is one of patterns, where "store/..." is store and all
// that is in it, and "..." is everything.
func in(name string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, all := strings.CutSuffix(pattern, "...")
		prefix = strings.TrimSuffix(prefix, "/")
		return name == prefix || all && (prefix == "" || strings.HasPrefix(name, prefix+"/"))
	})
}
