package setting

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/offhook/offhook/messages"
)

// unknown is one error for each variable with our prefix that is no setting of the
// product.
func (c *Catalogue) unknown(environ map[string]string) []error {
	var known []string
	for _, e := range c.all {
		known = append(known, e.about().variables()...)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if slices.Contains(known, name) {
			continue
		}
		advice := "run offhook config to see them all"
		if meant := suggest(strings.TrimPrefix(name, Prefix), known, Prefix); meant != "" {
			advice = "did you mean " + meant + "?"
		} else if serviceLink.MatchString(name) {
			advice = "if Kubernetes set it for a Service, put enableServiceLinks: false into the pod's spec"
		}
		problems = append(problems, messages.FieldErrorf(messages.CodeUsage, name, "no setting of offhook has this variable: %s", advice))
	}
	return problems
}

// serviceLink matches the variables that Kubernetes puts into every pod for every
// Service of its namespace.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// FlagError turns pflag's error for a command with these flags into a usage error
// that says what to do about it. nil and pflag.ErrHelp come back as they are.
func (c *Catalogue) FlagError(flags *pflag.FlagSet, err error) error {
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var missing *pflag.NotExistError
	if !errors.As(err, &missing) || missing.GetSpecifiedShortnames() != "" {
		return messages.Errorf(messages.CodeUsage, "%w; -h shows all flags", err)
	}
	name := missing.GetSpecifiedName()
	for _, e := range c.all {
		switch s := e.about(); {
		case name == s.name && s.secret:
			return messages.Errorf(messages.CodeUsage, "--%s: a secret is never a flag, since command lines show in process lists: set %s, or --%s with the file that holds it", name, s.env(), s.flag())
		case name == s.flag():
			return messages.Errorf(messages.CodeUsage, "--%s: this command does not use it; -h shows all flags", name)
		}
	}
	var known []string
	flags.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if meant := suggest(name, known, ""); meant != "" {
		return messages.Errorf(messages.CodeUsage, "--%s: there is no such flag: did you mean --%s?", name, meant)
	}
	return messages.Errorf(messages.CodeUsage, "--%s: there is no such flag; -h shows all flags", name)
}

// suggest is the one of known that was probably meant by name, "" when none is
// near. Every known name starts with prefix, which name lacks. A third of its
// letters may be wrong, at least two; on a tie the first wins.
func suggest(name string, known []string, prefix string) string {
	best, limit := "", max(2, len(name)/3)+1
	for _, candidate := range known {
		if d := distance(name, strings.TrimPrefix(candidate, prefix)); d < limit {
			best, limit = candidate, d
		}
	}
	return best
}

// distance is how many letters must be inserted, deleted, replaced or swapped with
// their neighbour to get from a to b.
func distance(a, b string) int {
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			next[j] = min(last[j]+1, next[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
