package flow

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// text reads any text that is not blank.
func text(dst *written[string], kind string) func(*reader, string, *yaml.Node) {
	return scalar(dst, kind, func(s string) (string, string, bool) {
		return s, "", strings.TrimSpace(s) != ""
	})
}

// scalar reads a single value. parse returns the value, a suggestion if it is none,
// and whether it is one; kind says what it wants.
func scalar[T any](dst *written[T], kind string, parse func(string) (T, string, bool)) func(*reader, string, *yaml.Node) {
	return func(r *reader, name string, n *yaml.Node) {
		dst.at = at(n)
		if n.Kind != yaml.ScalarNode || isNull(n) {
			r.wants(kind, name, n)
			return
		}
		v, hint, ok := parse(n.Value)
		if !ok {
			r.errorf(dst.at, hint, "%s is %q, want %s", name, cut(n.Value), kind)
			return
		}
		dst.value = v
	}
}

// number reads a whole number from 1 to most.
func number(dst *written[int], most int) func(*reader, string, *yaml.Node) {
	return scalar(dst, fmt.Sprintf("a whole number from 1 to %d", most), func(s string) (int, string, bool) {
		n, err := strconv.Atoi(s)
		return n, "", err == nil && isNumber(s) && n >= 1 && n <= most
	})
}

// duration reads a time such as 10s or 500ms.
func duration(dst *written[time.Duration]) func(*reader, string, *yaml.Node) {
	kind := fmt.Sprintf("a time such as 10s, from %v to %v minutes", MinDuration, MaxDuration.Minutes())
	return scalar(dst, kind, func(s string) (time.Duration, string, bool) {
		if n, err := strconv.ParseFloat(s, 64); err == nil && n > 0 && n < 1e9 {
			unit := time.Second
			if n >= 100 {
				unit = time.Millisecond
			}
			return 0, "did you mean " + time.Duration(n*float64(unit)).String() + "?", false
		}
		d, err := time.ParseDuration(s)
		if glued := strings.ReplaceAll(s, " ", ""); err != nil && glued != s {
			if _, err := time.ParseDuration(glued); err == nil {
				return 0, "did you mean " + glued + "?", false
			}
		}
		return d, "", err == nil && d >= MinDuration && d <= MaxDuration && d%time.Millisecond == 0
	})
}

// flag reads true or false.
func flag(dst *written[bool]) func(*reader, string, *yaml.Node) {
	return scalar(dst, "true or false", func(s string) (bool, string, bool) {
		switch strings.ToLower(s) {
		case "yes", "on", "1":
			return false, "did you mean true?", false
		case "no", "off", "0":
			return false, "did you mean false?", false
		}
		return s == "true", "", s == "true" || s == "false"
	})
}

var nameShape = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)

// parseName reads a name of the author's own.
func parseName(s string) (string, string, bool) {
	return s, nameHint(s, nameShape), nameShape.MatchString(s) && len(s) <= MaxName
}

var notName = regexp.MustCompile(`[\s.,:;/]+`)

// nameHint is a name of the shape that looks like s, if there is one.
func nameHint(s string, shape *regexp.Regexp) string {
	n := strings.Trim(notName.ReplaceAllString(s, "_"), "_")
	if shape == wordShape {
		n = strings.ReplaceAll(strings.ToLower(n), "-", "_")
	}
	if n == s || len(n) > MaxName || !shape.MatchString(n) {
		return ""
	}
	return "did you mean " + n + "?"
}

var wordShape = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// parseWord reads a word that goes into templates and reports.
func parseWord(s string) (string, string, bool) {
	return s, nameHint(s, wordShape), wordShape.MatchString(s) && len(s) <= MaxName
}

func name(dst *written[string]) func(*reader, string, *yaml.Node) {
	return scalar(dst, fmt.Sprintf("a name of letters, digits, - and _, at most %d", MaxName), parseName)
}

const wordKind = "a word such as very_good: small letters, digits and _"

func word(dst *written[string]) func(*reader, string, *yaml.Node) {
	return scalar(dst, wordKind, parseWord)
}

// target reads the name of a step or a built-in target; which of them may stand
// here is checked once all steps are known.
func target(dst *written[string]) func(*reader, string, *yaml.Node) {
	return scalar(dst, "the name of a step, or hangup", func(s string) (string, string, bool) { return s, "", s != "" })
}

// language reads a language tag.
func language(dst *written[string]) func(*reader, string, *yaml.Node) {
	return scalar(dst, "a language tag such as en-US", func(s string) (string, string, bool) {
		if languageShape.MatchString(s) {
			return s, "", true
		}
		parts := strings.FieldsFunc(s, func(c rune) bool { return c == '-' || c == '_' || c == ' ' })
		for i, p := range parts {
			switch {
			case i == 0:
				parts[i] = strings.ToLower(p)
			case len(p) == 2:
				parts[i] = strings.ToUpper(p)
			case len(p) == 4:
				parts[i] = strings.ToUpper(p[:1]) + strings.ToLower(p[1:])
			}
		}
		if tag := strings.Join(parts, "-"); languageShape.MatchString(tag) {
			return "", "did you mean " + tag + "?", false
		}
		return "", "", false
	})
}

var languageShape = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$`)

// disposition reads the word that a call ends in.
func disposition(dst *written[string]) func(*reader, string, *yaml.Node) {
	return scalar(dst, wordKind, func(s string) (string, string, bool) {
		switch s {
		case "true", "yes", TargetHangup:
			return "", "for the disposition that the call has earned, write next: hangup", false
		}
		return parseWord(s)
	})
}
