package messages

import "log/slog"

// Number is a phone number that shows only its last two digits when it is logged
// or printed. Convert to string where the whole number is meant.
type Number string

// String is the number with all but its last two digits hidden.
func (n Number) String() string {
	if len(n) <= 4 {
		return "****"
	}
	return "****" + string(n[len(n)-2:])
}

// LogValue keeps whole numbers out of logs.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }
