package flow

import (
	"maps"
	"slices"
	"strings"

	"github.com/offhook/offhook/messages"
)

// CheckContact reports what keeps a call of this flow from being placed to a
// contact: a required column that is missing or blank, or a column that the flow
// does not know. The error is CodeInvalid and its Field is contact.<column>.
func (p *Program) CheckContact(contact map[string]string) error {
	for _, c := range p.Contact {
		if c.Required && strings.TrimSpace(contact[c.Name]) == "" {
			return messages.FieldErrorf(messages.CodeInvalid, "contact."+c.Name,
				"the flow %s needs this column and gives no word for an empty one", p.Name)
		}
	}
	columns := make([]string, len(p.Contact))
	for i, c := range p.Contact {
		columns[i] = c.Name
	}
	for _, name := range slices.Sorted(maps.Keys(contact)) {
		if slices.Contains(columns, name) {
			continue
		}
		hint := "it uses " + list(columns, "no columns")
		if meant := nearest(name, columns); meant != "" {
			hint = "did you mean " + meant + "?"
		}
		return messages.FieldErrorf(messages.CodeInvalid, "contact."+name, "the flow %s has no such column (%s)", p.Name, hint)
	}
	return nil
}
