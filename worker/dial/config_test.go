package dial_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/dial"
)

var account = telesign.Credentials{
	CustomerID: "FFFFFFFF-EEEE-DDDD-1234-AB1234567890",
	APIKey:     "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw==",
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got := dial.Config{Credentials: account}.WithDefaults()
	want := dial.Config{URL: "https://rest-ww.telesign.com", Credentials: account, Auth: dial.AuthBasic, Timeout: 10 * time.Second}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	set := dial.Config{URL: "http://127.0.0.1:1", Credentials: account, Auth: dial.AuthDigest, Timeout: time.Second}
	if got := set.WithDefaults(); got != set {
		t.Errorf("%+v became %+v", set, got)
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*dial.Config)
		field  string
	}{
		{"no URL", func(c *dial.Config) { c.URL = "" }, "url"},
		{"a host", func(c *dial.Config) { c.URL = "rest-ww.telesign.com" }, "url"},
		{"another scheme", func(c *dial.Config) { c.URL = "ftp://rest-ww.telesign.com" }, "url"},
		{"no host", func(c *dial.Config) { c.URL = "https:///v2/voice" }, "url"},
		{"a query", func(c *dial.Config) { c.URL = "https://a.b/?x=1" }, "url"},
		{"a password", func(c *dial.Config) { c.URL = "https://user:secret@a.b" }, "url"},
		{"a password in a broken URL", func(c *dial.Config) { c.URL = "https://user:secret@a.b/%zz" }, "url"},
		{"TeleSign in the clear", func(c *dial.Config) { c.URL = "http://rest-ww.TeleSign.com." }, "url"},
		{"no customer id", func(c *dial.Config) { c.Credentials.CustomerID = "" }, "credentials"},
		{"no key", func(c *dial.Config) { c.Credentials.APIKey = "" }, "credentials"},
		{"unknown auth", func(c *dial.Config) { c.Auth = "bearer" }, "auth"},
		{"negative timeout", func(c *dial.Config) { c.Timeout = -1 }, "timeout"},
		{"timeout of minutes", func(c *dial.Config) { c.Timeout = 2 * time.Minute }, "timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := dial.Config{Credentials: account}.WithDefaults()
			tt.change(&cfg)
			err := cfg.Validate()
			var e *messages.Error
			if e, _ = err.(*messages.Error); e == nil || e.Code != messages.CodeUsage || e.Field != tt.field { //nolint:errorlint // the outermost counts
				t.Fatalf("got %v, want CodeUsage blaming %q", err, tt.field)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the password shows: %v", err)
			}
		})
	}
	if _, err := dial.New(dial.Config{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("New takes a configuration without credentials")
	}
}
