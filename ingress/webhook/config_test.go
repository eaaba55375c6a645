package webhook

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/offhook/offhook/messages"
)

// TestDefaults: every field has a default but Insecure, the defaults are valid, and
// a field that is set survives.
func TestDefaults(t *testing.T) {
	t.Parallel()
	if err := (Config{}).WithDefaults().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	defaults := reflect.ValueOf(Config{}.WithDefaults())
	off := []string{"Insecure", "Holds", "TLS", "Tracer"}
	for i := range defaults.NumField() {
		field := defaults.Type().Field(i)
		if defaults.Field(i).IsZero() != slices.Contains(off, field.Name) {
			t.Errorf("%s is %v by default", field.Name, defaults.Field(i))
		}
		var c Config
		set := reflect.ValueOf(&c).Elem().Field(i)
		switch field.Type.Kind() { //nolint:exhaustive // the kinds there are
		case reflect.Bool:
			set.SetBool(true)
		case reflect.String:
			set.SetString("hello")
		case reflect.Slice:
			set.Set(reflect.MakeSlice(field.Type, 1, 1))
		case reflect.Pointer:
			set.Set(reflect.New(field.Type.Elem()))
		case reflect.Interface:
			set.Set(reflect.ValueOf(noop.NewTracerProvider().Tracer("")))
		default:
			set.SetInt(123)
		}
		want := set.Interface()
		c = c.WithDefaults()
		if got := reflect.ValueOf(c).Field(i).Interface(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: set to %v, became %v", field.Name, want, got)
		}
	}
}

// TestValidate: the error names the field and its value.
func TestValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		field  string
		want   string
	}{
		"window":       {func(c *Config) { c.AnswerWithin = -time.Second }, "AnswerWithin", "-1s"},
		"margin":       {func(c *Config) { c.AnswerMargin = c.AnswerWithin }, "AnswerMargin", "2.5s"},
		"header time":  {func(c *Config) { c.ReadHeaderTimeout = -1 }, "ReadHeaderTimeout", "-1ns"},
		"read time":    {func(c *Config) { c.ReadTimeout = 0 }, "ReadTimeout", "0s"},
		"write time":   {func(c *Config) { c.WriteTimeout = 0 }, "WriteTimeout", "0s"},
		"idle time":    {func(c *Config) { c.IdleTimeout = 0 }, "IdleTimeout", "0s"},
		"drain":        {func(c *Config) { c.Drain = 0 }, "Drain", "0s"},
		"connections":  {func(c *Config) { c.MaxConnections = -7 }, "MaxConnections", "-7"},
		"in flight":    {func(c *Config) { c.MaxInFlight = 0 }, "MaxInFlight", "0"},
		"header bytes": {func(c *Config) { c.MaxHeaderBytes = 0 }, "MaxHeaderBytes", "0"},
		"hold limit":   {func(c *Config) { c.HoldFor = -time.Minute }, "HoldFor", "-1m0s"},
		"apology":      {func(c *Config) { c.ApologyText = " " }, "ApologyText", `" "`},
		"prefix":       {func(c *Config) { c.Holds = []Hold{{Text: "a"}, {Prefix: "+49", Text: "Ja"}} }, "Holds[1].Prefix", "+49"},
		"prefix twice": {func(c *Config) { c.Holds = []Hold{{Prefix: "49", Text: "a"}, {Prefix: "49", Text: "b"}} }, "Holds[1].Prefix", "49"},
		"prefix text":  {func(c *Config) { c.Holds = []Hold{{Prefix: "49"}} }, "Holds[0]", `""`},
		"prefix words": {func(c *Config) { c.Holds = []Hold{{Prefix: "49", Text: "Ja", Language: "Deutsch!"}} }, "Holds[0]", "Deutsch!"},
		"prefix sorry": {func(c *Config) { c.Holds = []Hold{{Prefix: "49", Text: "Ja", Apology: "<speak>"}} }, "Holds[0]", "<speak>"},
		"hold text":    {func(c *Config) { c.HoldText = "<speak>One moment" }, "HoldText", "<speak>One moment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{}.WithDefaults()
			c.change(&cfg)
			var e *messages.Error
			if err := cfg.Validate(); !errors.As(err, &e) || e.Code != messages.CodeUsage || e.Field != c.field || !strings.Contains(e.Message, c.want) {
				t.Errorf("%v, want it to name %s and %s", err, c.field, c.want)
			}
		})
	}
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, c := range map[string]struct {
		sent []string
		want string
	}{
		"none":                   {nil, ""},
		"good":                   {[]string{good}, good},
		"two":                    {[]string{good, good}, ""},
		"empty":                  {[]string{""}, ""},
		"short":                  {[]string{good[:54]}, ""},
		"long":                   {[]string{good + "-00"}, ""},
		"upper case":             {[]string{strings.ToUpper(good)}, ""},
		"zero trace":             {[]string{"00-00000000000000000000000000000000-b7ad6b7169203331-01"}, ""},
		"zero parent":            {[]string{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}, ""},
		"not hex":                {[]string{"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01"}, ""},
		"dashes elsewhere":       {[]string{"00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01"}, ""},
		"version ff":             {[]string{"ff" + good[2:]}, ""},
		"later version":          {[]string{"01" + good[2:]}, good},
		"later version and more": {[]string{"cc" + good[2:] + "-what-the-future-brings"}, good},
		"later version, glued":   {[]string{"cc" + good[2:] + ".what"}, ""},
	} {
		if got := traceparent(map[string][]string{"Traceparent": c.sent}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestBuckets: ascending for any window, with the window itself among them.
func TestBuckets(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{time.Nanosecond, time.Millisecond, 250 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Second, time.Minute} {
		b := buckets(window)
		if !slices.IsSorted(b) || len(slices.Compact(slices.Clone(b))) != len(b) || !slices.Contains(b, window.Seconds()) || len(b) > 25 {
			t.Errorf("window %v: %v", window, b)
		}
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		clock := time.NewTicker(time.Second)
		defer clock.Stop()
		var written, left int
		for i := range 100 {
			if i == 5 { // in the middle of a flood of another kind
				if _, ok := th.allow("rare", 10*time.Second); !ok {
					t.Error("a flood of one kind hides another")
				}
			}
			if skipped, ok := th.allow("flood", 10*time.Second); ok {
				written++
				left += skipped
			}
			<-clock.C
		}
		if written != 10 || left != 81 {
			t.Errorf("%d lines written, %d reported as left out; want 10 and 81", written, left)
		}
	})
}

func TestClip(t *testing.T) {
	t.Parallel()
	if got := clip(strings.Repeat("a", 64)); len(got) != 64 {
		t.Errorf("%q", got)
	}
	if got := clip(strings.Repeat("a", 65)); got != strings.Repeat("a", 64)+"…" {
		t.Errorf("%q", got)
	}
}
