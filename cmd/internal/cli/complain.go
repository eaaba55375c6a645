package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offhook/offhook/messages"
)

// complain prints err where people, or with --json programs, find it: every error
// that was joined into it, each on a line of its own.
func (a *app) complain(err error) {
	asked := a.json || !a.ran && slices.Contains(a.Args, "--json") // a wrong flag before it ends the reading of flags
	for _, one := range parts(err) {
		if asked {
			if line, err := json.Marshal(errorBody(one)); err == nil { // strings always marshal
				fmt.Fprintln(a.Stderr, string(line))
				continue
			}
		}
		for line := range strings.Lines(one.Error()) {
			fmt.Fprintln(a.Stderr, "offhook: "+strings.TrimSuffix(line, "\n"))
		}
	}
}

// parts are the errors that err joins, each on its own. An error that wraps several
// and says something about them is one.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // of err itself, not of what it wraps
	if !ok {
		return []error{err}
	}
	var all []error
	var texts []string
	for _, e := range joined.Unwrap() {
		all = append(all, parts(e)...)
		texts = append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err}
	}
	return all
}

// errorBody is err for programs. Other than the API's, it keeps all that is known:
// there is no log to look it up in.
func errorBody(err error) messages.ErrorBody {
	body := messages.BodyOf(err)
	var known *messages.Error
	if !errors.As(err, &known) || known.Error() != err.Error() {
		body.Error.Message = err.Error()
	}
	return body
}
