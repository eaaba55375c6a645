package setting

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Source is where a value came from.
type Source string

// The sources, from the weakest to the strongest. A secret has no flag: it comes
// from its variable or from a file.
const (
	SourceDefault Source = "default"
	SourceEnv     Source = "env"
	SourceFlag    Source = "flag"
	SourceFile    Source = "file"
)

// Set is the settings of one command. It is used by one goroutine.
type Set struct {
	flags     *pflag.FlagSet
	catalogue *Catalogue
	environ   map[string]string // the variables with our prefix
	bound     []*binding
}

// binding is one setting of a Set.
type binding struct {
	spec
	flag    *flagText
	assign  []func(text string) error // reads the text into one target each
	files   []*string                 // told where a secret was read from
	current Effective                 // once resolved
}

// New is a set without settings. environ is the environment in the form of
// os.Environ; where a variable stands twice the first counts, as for os.Getenv.
func New(flags *pflag.FlagSet, catalogue *Catalogue, environ []string) *Set {
	set := &Set{flags: flags, catalogue: catalogue, environ: make(map[string]string)}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if _, seen := set.environ[name]; !seen && strings.HasPrefix(name, Prefix) {
			set.environ[name] = value
		}
	}
	return set
}

// BindAll makes every setting of the catalogue that is not bound yet part of the
// set, to be shown and not used.
func (set *Set) BindAll() {
	for _, e := range set.catalogue.all {
		if set.find(e.about().name) == nil {
			e.bindAlone(set)
		}
	}
}

func (set *Set) find(name string) *binding {
	for _, b := range set.bound {
		if b.name == name {
			return b
		}
	}
	return nil
}

func (set *Set) bind(s spec, assign func(text string) error) {
	if b := set.find(s.name); b != nil {
		b.assign = append(b.assign, assign)
		return
	}
	b := &binding{spec: s, flag: &flagText{unit: s.unit, joint: s.list}, assign: []func(string) error{assign}}
	f := &pflag.Flag{Name: s.flag(), Usage: s.help(), Value: b.flag}
	if s.unit == unitBool {
		f.NoOptDefVal = "true"
	}
	set.flags.AddFlag(f)
	set.bound = append(set.bound, b)
}

// Resolve gives every bound target its value, once the flags have been parsed, and
// refuses unknown variables. Its error joins everything that is wrong, one
// messages.Error of CodeUsage each. The target of a setting that is wrong, or that
// has no default and was not given, keeps what it held.
func (set *Set) Resolve() error {
	problems := set.catalogue.unknown(set.environ)
	for _, b := range set.bound {
		if err := set.resolve(b); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func (set *Set) resolve(b *binding) error {
	text, now, err := set.pick(b)
	if err != nil {
		return err
	}
	if b.required && strings.TrimSpace(text) == "" {
		return b.errorf("is required and was not given")
	}
	now.Name, now.Env, now.Value = b.name, b.env(), b.shown(text)
	for _, assign := range b.assign {
		if text == "" && now.Source == SourceDefault {
			break
		}
		switch err := assign(text); {
		case err != nil && b.secret:
			return b.errorf("from %s: %w", now.origin(), err)
		case err != nil:
			return b.errorf("%q from %s: %w", now.Value, now.origin(), err)
		}
	}
	for _, file := range b.files {
		*file = now.File
	}
	b.current = now
	return nil
}

// pick is the text that wins, and where it came from.
func (set *Set) pick(b *binding) (string, Effective, error) {
	if b.secret {
		return set.pickSecret(b)
	}
	if b.flag.given {
		if b.url && hasCredentials(b.flag.text) {
			return "", Effective{}, b.errorf("carries credentials on the command line, where every process can read them: set %s instead", b.env())
		}
		return b.flag.text, Effective{Source: SourceFlag}, nil
	}
	if text := set.environ[b.env()]; text != "" {
		return text, Effective{Source: SourceEnv}, nil
	}
	return b.preset, Effective{Source: SourceDefault}, nil
}

func (set *Set) pickSecret(b *binding) (string, Effective, error) {
	path := set.environ[b.fileEnv()]
	if b.flag.given {
		path = b.flag.text
	}
	text := set.environ[b.env()]
	switch {
	case text != "" && path != "":
		return "", Effective{}, b.errorf("is given twice, in %s and as the file %q: unset one of them", b.env(), path)
	case text != "":
		return text, Effective{Source: SourceEnv}, nil
	case path == "":
		return "", Effective{Source: SourceDefault}, nil
	}
	text, err := readSecretFile(path)
	if err != nil {
		return "", Effective{}, b.errorf("file %q: %w", path, err)
	}
	return text, Effective{Source: SourceFile, File: path}, nil
}

// Effective is every bound setting with the value that Resolve gave it, by name.
func (set *Set) Effective() []Effective {
	var all []Effective
	for _, b := range set.bound {
		if b.current.Source != "" {
			all = append(all, b.current)
		}
	}
	slices.SortFunc(all, func(a, b Effective) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// flagText is a pflag.Value that takes any text: Resolve reads it, so that pflag
// never repeats a secret in an error of its own.
type flagText struct {
	text, unit string
	joint      string // between the texts of a list; "" is no list
	given      bool
}

func (f *flagText) Set(text string) error {
	if f.joint != "" && f.given {
		text = f.text + f.joint + text
	}
	f.text, f.given = text, true
	return nil
}

func (f *flagText) String() string { return f.text }

func (f *flagText) Type() string { return f.unit }
