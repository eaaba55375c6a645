package telesign_test

import (
	"strings"
	"testing"

	"github.com/offhook/offhook/messages/telesign"
)

func TestCheckNumber(t *testing.T) {
	t.Parallel()
	tests := []struct {
		number string
		warns  string // part of the warning, "" for none
		fails  bool
	}{
		{"15555551212", "", false},
		{"4915112345678", "", false},
		{"999123456789012", "", false},
		{"911", "short code", false},
		{"1", "short code", false},
		{"0015555551212", "begins with 0", false},
		{"5558675309", "", false}, // North American without its 1, but 55 is Brazil's code too
		{"1555867530", "11 digits", false},
		{"11555867530", "area code", false},
		{"", "", true},
		{"1234567890123456", "", true},
		{"+15555551212", "", true},
		{"1 555 555 1212", "", true},
		{"1.55587E+10", "", true},
		{"١٥٥٥٥٥٥١٢١٢", "", true},
	}
	for _, tt := range tests {
		warning, err := telesign.CheckNumber(tt.number)
		if (err != nil) != tt.fails {
			t.Errorf("%q: error %v", tt.number, err)
			continue
		}
		if (warning == "") != (tt.warns == "") || !strings.Contains(warning, tt.warns) {
			t.Errorf("%q: warning %q, want one with %q", tt.number, warning, tt.warns)
		}
		if err != nil && tt.number != "" && strings.Contains(err.Error(), tt.number) || len(tt.number) > 3 && strings.Contains(warning, tt.number) {
			t.Errorf("the number shows: %q %v", warning, err)
		}
	}
}
