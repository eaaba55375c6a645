package simulator

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/offhook/offhook/messages"
)

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	if err := config().Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		field, says string
		change      func(c *Config)
	}{
		{"WebhookURL", `""`, func(c *Config) { c.WebhookURL = "" }},
		{"WebhookURL", "ftp://a", func(c *Config) { c.WebhookURL = "ftp://a" }},
		{"WebhookURL", "localhost:8080", func(c *Config) { c.WebhookURL = "localhost:8080" }},
		{"Account", "customer id", func(c *Config) { c.Account.CustomerID = "" }},
		{"Account", "API key", func(c *Config) { c.Account.APIKey = "%%%" }},
		{"CallerIDs", "+1", func(c *Config) { c.CallerIDs = []string{"+1"} }},
		{"Blocked", `""`, func(c *Config) { c.Blocked = []Block{{"", "to_number_blocked_by_country"}} }},
		{"Blocked", "dial_accepted", func(c *Config) { c.Blocked = []Block{{"1", "dial_accepted"}} }},
		{"RateLimit", "-1", func(c *Config) { c.RateLimit = -1 }},
		{"AnswerWindow", "0s", func(c *Config) { c.AnswerWindow = 0 }},
		{"Speed", "0", func(c *Config) { c.Speed = 0 }},
		{"Speed", "NaN", func(c *Config) { c.Speed = math.NaN() }},
		{"Speed", "1e+06", func(c *Config) { c.Speed = 1e6 }},
		{"SpeechRate", "0", func(c *Config) { c.SpeechRate = 0 }},
		{"AudioLength", "0s", func(c *Config) { c.AudioLength = 0 }},
		{"LegLength", "-1ns", func(c *Config) { c.LegLength = -1 }},
		{"Grace", "0s", func(c *Config) { c.Grace = 0 }},
		{"MaxConnections", "0", func(c *Config) { c.MaxConnections = 0 }},
		{"Examples", "-1", func(c *Config) { c.Examples = -1 }},
		{"Assume.DigitTimeout", "0s", func(c *Config) { c.Assume.DigitTimeout = 0 }},
		{"Assume.InterDigitTimeout", "0s", func(c *Config) { c.Assume.InterDigitTimeout = 0 }},
		{"Assume.NoDigits", "nil", func(c *Config) { c.Assume.NoDigits = "nil" }},
		{"Assume.PlayMultipleCompleted", "empty", func(c *Config) { c.Assume.PlayMultipleCompleted = "" }},
		{"Assume.SendDTMFCompleted", "empty", func(c *Config) { c.Assume.SendDTMFCompleted = "" }},
		{"Assume.PlayFailed", "play_successful", func(c *Config) { c.Assume.PlayFailed = "play_successful" }},
		{"Mix.AnswerRate", "1.1", func(c *Config) { c.Mix.AnswerRate = 1.1 }},
		{"Mix.Silence", "NaN", func(c *Config) { c.Mix.Silence = math.NaN() }},
		{"Mix.Silence + WrongKey + HangUp", "1.2", func(c *Config) { c.Mix.Silence, c.Mix.WrongKey, c.Mix.HangUp = 0.5, 0.5, 0.2 }},
		{"Mix.RingMin, RingMax", "13s", func(c *Config) { c.Mix.RingMin = 13 * second }},
		{"Mix.Keys", "x", func(c *Config) { c.Mix.Keys = "1x" }},
	}
	for _, tt := range tests {
		c := config()
		tt.change(&c)
		_, err := New(c, quiet())
		var e *messages.Error
		if !errors.As(err, &e) || e.Code != messages.CodeUsage || e.Field != tt.field || !strings.Contains(e.Message, tt.says) {
			t.Errorf("%s: %v, want a usage error about %s that says %q", tt.field, err, tt.field, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "%%%") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	c := config()
	c.Mix = Mix{}
	c.People = Scripted(Script{})
	if err := c.Validate(); err != nil {
		t.Errorf("the mix is checked though people are given: %v", err)
	}
}
