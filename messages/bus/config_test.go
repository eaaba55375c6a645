package bus

import (
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

type noServer struct{}

func (noServer) InProcessConn() (net.Conn, error) { return nil, net.ErrClosed }

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Config)
		want   []string // in the error; none: valid
	}{
		{"defaults", func(*Config) {}, nil},
		{"several servers", func(c *Config) { c.URL = "nats://a:4222, nats://b:4222" }, nil},
		{"in-process", func(c *Config) { c.URL, c.InProcess = "", noServer{} }, nil},
		{"no server", func(c *Config) { c.URL = "" }, []string{"URL", "empty"}},
		{"two servers", func(c *Config) { c.InProcess = noServer{} }, []string{"URL", "nats://127.0.0.1:4222"}},
		{"no scheme", func(c *Config) { c.URL = "127.0.0.1" }, []string{"URL", "127.0.0.1"}},
		{"unreadable", func(c *Config) { c.URL = "nats://u:pw@h:x y" }, []string{"URL"}},
		{"two-line name", func(c *Config) { c.Name = "a\nb" }, []string{"Name"}},
		{"replicas", func(c *Config) { c.Replicas = 2 }, []string{"Replicas", "2"}},
		{"short window", func(c *Config) { c.AnswerWithin = time.Millisecond }, []string{"AnswerWithin", "1ms"}},
		{"long window", func(c *Config) { c.AnswerWithin = time.Hour }, []string{"AnswerWithin", "1h"}},
		{"events retention", func(c *Config) { c.EventsRetention = time.Second }, []string{"EventsRetention", "1s"}},
		{"records retention", func(c *Config) { c.RecordsRetention = -1 }, []string{"RecordsRetention", "-1ns"}},
		{"asks", func(c *Config) { c.MaxAsks = -1 }, []string{"MaxAsks", "-1"}},
		{"timeout", func(c *Config) { c.Timeout = 1 }, []string{"Timeout", "1ns"}},
	}
	for _, tt := range tests {
		c := Config{URL: "nats://127.0.0.1:4222"}
		tt.change(&c)
		checkValidation(t, tt.name, c.WithDefaults().Validate(), tt.want)
	}
}

func TestConsumerConfigValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config ConsumerConfig
		want   []string
	}{
		{"defaults", ConsumerConfig{}, nil},
		{"slots", ConsumerConfig{Slots: -3}, []string{"Slots", "-3"}},
		{"drain", ConsumerConfig{Drain: -time.Second}, []string{"Drain", "-1s"}},
		{"hold", ConsumerConfig{Hold: time.Millisecond}, []string{"Hold", "1ms"}},
		{"attempts", ConsumerConfig{MaxAttempts: -1}, []string{"MaxAttempts", "-1"}},
	}
	for _, tt := range tests {
		checkValidation(t, tt.name, tt.config.WithDefaults().Validate(), tt.want)
	}
}

func checkValidation(t *testing.T, name string, err error, want []string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	if messages.CodeOf(err) != messages.CodeUsage {
		t.Errorf("%s: got %v, want a usage error", name, err)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", name, err, w)
		}
	}
	if strings.Contains(err.Error(), "pw") {
		t.Errorf("%s: %q shows a password", name, err)
	}
}

// Every field that is set survives WithDefaults, and every field that needs a value
// has one.
func TestWithDefaultsKeepsEveryField(t *testing.T) {
	t.Parallel()
	set := Config{
		URL: "u", Name: "n", CredentialsFile: "f", InProcess: noServer{}, Replicas: 3, AnswerWithin: 1,
		EventsRetention: 2, RecordsRetention: 3, MaxAsks: 4, Timeout: 5,
	}
	optional := map[string]bool{"URL": true, "CredentialsFile": true, "InProcess": true}
	checkDefaults(t, set, set.WithDefaults(), Config{}.WithDefaults(), optional)

	loop := ConsumerConfig{Slots: 1, Drain: 2, Hold: 3, MaxAttempts: 4}
	checkDefaults(t, loop, loop.WithDefaults(), ConsumerConfig{}.WithDefaults(), nil)
}

func checkDefaults(t *testing.T, set, kept, defaults any, optional map[string]bool) {
	t.Helper()
	s, k, d := reflect.ValueOf(set), reflect.ValueOf(kept), reflect.ValueOf(defaults)
	for i := range s.NumField() {
		name := s.Type().Field(i).Name
		if s.Field(i).IsZero() {
			t.Errorf("the test sets no %s", name)
		}
		if s.Field(i).Kind() == reflect.Func {
			if k.Field(i).IsNil() {
				t.Errorf("%s was dropped", name)
			}
		} else if !reflect.DeepEqual(s.Field(i).Interface(), k.Field(i).Interface()) {
			t.Errorf("%s became %v", name, k.Field(i))
		}
		if d.Field(i).IsZero() && !optional[name] {
			t.Errorf("%s has no default", name)
		}
	}
}

func TestDelayAt(t *testing.T) {
	t.Parallel()
	const first, most = 100 * time.Millisecond, 2 * time.Second
	for attempt := -1; attempt < 100; attempt++ {
		middle := most
		if attempt <= 1 {
			middle = first
		} else if attempt < 6 {
			middle = min(first<<(attempt-1), most)
		}
		for range 20 {
			if d := delayAt(attempt, first, most); d < middle*8/10 || d > middle*12/10+1 {
				t.Fatalf("attempt %d: %s, want about %s", attempt, d, middle)
			}
		}
	}
}
