package setting

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Effective is one setting as a command has it, fit to be shown as text or JSON:
// secrets and the user part of URLs are masked.
type Effective struct {
	Name   string `json:"name"`  // its flag without dashes; a secret's flag has -file behind it
	Env    string `json:"env"`   // its variable
	Value  string `json:"value"` // as it was given; "" is none
	Source Source `json:"source"`
	File   string `json:"file,omitempty"` // where a secret was read from
}

// origin says in words where the value came from.
func (e Effective) origin() string {
	switch e.Source {
	case SourceFlag:
		return "the flag"
	case SourceEnv:
		return "the environment"
	case SourceFile:
		return fmt.Sprintf("the file %q", e.File)
	case SourceDefault:
	}
	return "the default"
}

// WriteText prints settings as a table for people.
func WriteText(w io.Writer, settings []Effective) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM\tVARIABLE") // an error comes back from Flush
	for _, e := range settings {
		from := string(e.Source)
		if e.File != "" {
			from += " " + e.File
		}
		value := strings.ReplaceAll(orDash(e.Value), "\n", `\n`) // a list's lines; it is read back as it is shown
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.Name, value, from, e.Env)
	}
	return table.Flush()
}

func orDash(value string) string {
	if value == "" {
		return "-"
	}
	return value
}
