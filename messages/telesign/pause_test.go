package telesign

import "testing"

// TestWithBreaks: what comes out is what TeleSign says, with the pause inside.
func TestWithBreaks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		message string
		n       int
		want    string
	}{
		"none":            {"One moment.", 0, "One moment."},
		"plain":           {"One moment.", 2, "<speak>One moment." + Break + Break + "</speak>"},
		"plain, reserved": {`Fish & chips < "5"`, 1, "<speak>Fish &amp; chips &lt; &quot;5&quot;" + Break + "</speak>"},
		"ssml":            {"<speak>One <break/>moment.</speak>", 1, "<speak>One <break/>moment." + Break + "</speak>"},
		"ssml, odd end":   {"<speak xml:lang=\"de\">Ja</speak\n> \n", 1, "<speak xml:lang=\"de\">Ja" + Break + "</speak\n> \n"},
		"ssml, empty":     {"<speak/>", 3, "<speak/>"},
	} {
		got := WithBreaks(c.message, c.n)
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if err := ValidateSSML(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
