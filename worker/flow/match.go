package flow

import "strings"

// Match says what an entry means to the question. digits is collected_digits as it
// arrived: one trailing terminator is not part of the entry, whether TeleSign sends
// it or not. Then, in this order: no entry at all, the step's digits, accepted
// entries, accepted ranges, keys, an open question's everything else, invalid.
func (q *Question) Match(digits string) Match {
	entry := q.strip(digits)
	if q.Any {
		return Match{Kind: Accepted, Value: entry}
	}
	if entry == "" {
		return Match{Kind: NoInput}
	}
	if target, ok := q.Routes[entry]; ok {
		return routed(target, entry)
	}
	if label, ok := q.accepted(entry); ok {
		return Match{Kind: Accepted, Value: entry, Label: label}
	}
	if target, ok := q.Keys[entry]; ok {
		return routed(target, "")
	}
	if q.Open {
		return Match{Kind: Accepted, Value: entry}
	}
	return Match{Kind: Invalid}
}

func routed(target, value string) Match {
	if target == TargetRepeat {
		return Match{Kind: Repeat}
	}
	return Match{Kind: Routed, Value: value, Target: target}
}

// strip is the entry without one trailing terminator.
func (q *Question) strip(digits string) string {
	if n := len(digits); n > 0 && strings.IndexByte(q.Collect.Terminators, digits[n-1]) >= 0 {
		return digits[:n-1]
	}
	return digits
}

// accepted finds the label of an accepted entry, exact ones before ranges.
func (q *Question) accepted(entry string) (label string, ok bool) {
	for _, a := range q.Accept {
		if a.To == "" && a.From == entry {
			return a.Label, true
		}
	}
	for _, a := range q.Accept {
		if a.To != "" && a.covers(entry) {
			return a.Label, true
		}
	}
	return "", false
}

// covers reports whether entry is a number within the range, written without
// leading zeros.
func (a Accept) covers(entry string) bool {
	return isNumber(entry) && compareNumbers(a.From, entry) <= 0 && compareNumbers(entry, a.To) <= 0
}

// isNumber reports whether s is a whole number without leading zeros.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// compareNumbers compares two numbers that pass isNumber, of any length.
func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
