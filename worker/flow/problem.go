package flow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a problem keeps a flow from compiling.
type Severity string

// The severities.
const (
	// SeverityError: the file would do something to a caller that it does not say,
	// or says something that it can never do. It does not compile.
	SeverityError Severity = "error"
	// SeverityWarning: no caller would notice, but the author probably wants to know.
	SeverityWarning Severity = "warning"
)

// Problem is one thing that is wrong with a flow file.
type Problem struct {
	File       string   `json:"file"`
	Line       int      `json:"line"`   // from 1
	Column     int      `json:"column"` // from 1, in characters
	Severity   Severity `json:"severity"`
	Message    string   `json:"message"`              // what is wrong
	Suggestion string   `json:"suggestion,omitempty"` // what was probably meant, or how to mend it
}

// String is the problem as file:line:column: message (suggestion).
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Severity == SeverityWarning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	if p.Suggestion != "" {
		fmt.Fprintf(&b, " (%s)", p.Suggestion)
	}
	return b.String()
}

// Problems are the problems of one file, by line and column. As an error it prints
// one of them per line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Errors are the problems that keep the flow from compiling.
func (ps Problems) Errors() Problems {
	var errs Problems
	for _, p := range ps {
		if p.Severity == SeverityError {
			errs = append(errs, p)
		}
	}
	return errs
}

// report collects the problems of one file.
type report struct {
	file     string
	problems Problems
}

// errorf reports an error; hint, its suggestion, may be empty.
func (r *report) errorf(at position, hint, format string, args ...any) {
	r.add(SeverityError, at, hint, fmt.Sprintf(format, args...))
}

// warnf reports a warning likewise.
func (r *report) warnf(at position, hint, format string, args ...any) {
	r.add(SeverityWarning, at, hint, fmt.Sprintf(format, args...))
}

func (r *report) add(severity Severity, at position, hint, message string) {
	r.problems = append(r.problems, Problem{
		File: r.file, Line: at.line, Column: at.column, Severity: severity, Message: message, Suggestion: hint,
	})
}

// sorted is the problems by place, each once.
func (r *report) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(r.problems)
}

// maxSuggested is how many problems of a file get a suggestion: finding one takes
// time, and a file with more is not read problem by problem.
const maxSuggested = 200

// nearest is what word was probably meant to be, out of candidates, or empty.
func (r *report) nearest(word string, candidates []string) string {
	if len(r.problems) >= maxSuggested {
		return ""
	}
	return nearest(word, candidates)
}

// didYouMean is nearest as a suggestion.
func (r *report) didYouMean(word string, candidates []string) string {
	if meant := r.nearest(word, candidates); meant != "" {
		return "did you mean " + meant + "?"
	}
	return ""
}
