package setting

import (
	"strings"

	"github.com/offhook/offhook/messages"
)

// Prefix starts the name of every variable of offhook.
const Prefix = "OFFHOOK_"

// Setting is one setting of the product whose value is a T. It is made in the
// catalogue only, so that no command can have a setting the others call unknown.
type Setting[T any] struct {
	spec
	// read turns text into a value. Its error says what was wanted instead, and
	// never repeats the text.
	read func(text string) (T, error)
}

// spec is what there is to know of a setting apart from the type of its value.
type spec struct {
	name     string // as a flag, without dashes
	unit     string // what stands for the value in -h
	usage    string // one line
	preset   string // the default; "" is none
	required bool
	secret   bool   // comes from the environment or a file only
	url      bool   // the user part of each URL in it is a secret
	list     string // what joins the texts of a flag that may be repeated; "" is none that may
}

// Default is the setting with another default, for a command that needs its own.
func (s Setting[T]) Default(text string) Setting[T] {
	s.preset = text
	return s
}

// Required is the setting without a default: Resolve fails when it is not given.
func (s Setting[T]) Required() Setting[T] {
	s.preset, s.required = "", true
	return s
}

// Errorf is a usage error about the setting, for what only a command can know, such
// as a setting that another one makes necessary. It names flag and variable; the
// format must not show a secret.
func (s Setting[T]) Errorf(format string, args ...any) error { return s.errorf(format, args...) }

// Bind makes the setting part of set: a flag now, a value in target once Resolve
// has succeeded. A setting may be bound to several targets; its default, and
// whether it is required, are then those of the first Bind.
func (s Setting[T]) Bind(set *Set, target *T) {
	set.bind(s.spec, func(text string) error {
		value, err := s.read(text)
		if err == nil {
			*target = value
		}
		return err
	})
}

// BindFile makes target, once Resolve has succeeded, the file that the setting's
// secrets were read from; "" when they came from elsewhere.
func (s Setting[T]) BindFile(set *Set, target *string) {
	s.bindAlone(set)
	b := set.find(s.name)
	b.files = append(b.files, target)
}

// entry is a setting of any type, as the catalogue lists it.
type entry interface {
	about() spec
	bindAlone(set *Set)
}

func (s Setting[T]) about() spec { return s.spec }

// bindAlone binds the setting to be shown, not used.
func (s Setting[T]) bindAlone(set *Set) { s.Bind(set, new(T)) }

// flag is the name of the setting's flag. A secret's is that of its file.
func (s spec) flag() string {
	if s.secret {
		return s.name + "-file"
	}
	return s.name
}

// env is the variable that holds the setting's value.
func (s spec) env() string { return variable(s.name) }

// fileEnv is the variable that names the file of a secret.
func (s spec) fileEnv() string { return variable(s.flag()) }

// variables are all variables of the setting.
func (s spec) variables() []string {
	if s.secret {
		return []string{s.env(), s.fileEnv()}
	}
	return []string{s.env()}
}

func variable(name string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// help is what -h says of the setting: what it is, its variable, its default.
func (s spec) help() string {
	usage, origin := s.usage, s.env()
	if s.secret {
		usage = "file that holds " + s.usage
		origin = s.fileEnv() + ", or " + s.env() + " with the value itself"
	}
	switch {
	case s.required:
		origin += " (required)"
	case s.preset != "":
		origin += " (default " + s.preset + ")"
	default:
		origin += " (no default)"
	}
	return usage + "\n" + origin
}

// errorf is a usage error that names the setting's flag and variable.
func (s spec) errorf(format string, args ...any) error {
	label := "--" + s.flag() + " (" + s.env() + ")"
	if s.secret {
		label = s.env() + " (--" + s.flag() + ", " + s.fileEnv() + ")"
	}
	return messages.FieldErrorf(messages.CodeUsage, label, format, args...)
}

// shown is text as it may be printed.
func (s spec) shown(text string) string {
	switch {
	case s.secret && text != "":
		return masked
	case s.url:
		return maskURLs(text)
	}
	return text
}
