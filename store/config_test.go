package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store/redistest"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	valid := Config{URL: "redis://127.0.0.1:6379/0"}.WithDefaults()
	tests := []struct {
		name   string
		change func(*Config)
		field  string // "" = valid
	}{
		{"defaults", func(*Config) {}, ""},
		{"TLS with user", func(c *Config) { c.URL = "rediss://app:s3cret@redis.example.com:6380/2" }, ""},
		{"socket", func(c *Config) { c.URL = "unix:///run/redis/redis.sock?db=1" }, ""},
		{"client options", func(c *Config) { c.URL = "redis://127.0.0.1?pool_size=5&read_timeout=1s" }, ""},
		{"shortest retention", func(c *Config) { c.CallRetention = time.Millisecond }, ""},
		{"no URL", func(c *Config) { c.URL = "" }, "URL"},
		{"other scheme", func(c *Config) { c.URL = "http://127.0.0.1" }, "URL"},
		{"no scheme", func(c *Config) { c.URL = "127.0.0.1:6379" }, "URL"},
		{"unknown option", func(c *Config) { c.URL = "redis://127.0.0.1?pool=5" }, "URL"},
		{"negative retention", func(c *Config) { c.CallRetention = -time.Hour }, "CallRetention"},
		{"retention under a millisecond", func(c *Config) { c.CallRetention = time.Microsecond }, "CallRetention"},
		{"hash tag in prefix", func(c *Config) { c.Prefix = "off{hook}" }, "Prefix"},
		{"long prefix", func(c *Config) { c.Prefix = strings.Repeat("x", 33) }, "Prefix"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid
			test.change(&c)
			err := c.Validate()
			if test.field == "" {
				noError(t, err)
				return
			}
			var e *messages.Error
			if !errors.As(err, &e) || e.Field != test.field || e.Code != messages.CodeUsage {
				t.Errorf("got %v, want a usage error for %s", err, test.field)
			}
		})
	}
}

func TestConfigWithDefaultsKeepsEveryField(t *testing.T) {
	t.Parallel()
	full := Config{URL: "redis://x", CallRetention: time.Hour, AllowVolatile: true, Prefix: "p"}
	if v := reflect.ValueOf(full); v.NumField() != 4 {
		t.Fatal("Config has a new field: name it above")
	}
	if got := full.WithDefaults(); got != full {
		t.Errorf("got %+v, want %+v", got, full)
	}
	if got := (Config{}).WithDefaults(); got.CallRetention != 168*time.Hour || got.Prefix != "offhook" || got.AllowVolatile || got.URL != "" {
		t.Errorf("defaults are %+v", got)
	}
}

// No part of a password may show, wherever a URL is broken.
func TestConfigNeverShowsThePassword(t *testing.T) {
	t.Parallel()
	dead := closedPort(t)
	urls := []string{
		"redis://app:s3cret@" + dead,
		"redis://app:pre/s3cret@" + dead,
		"redis://app:12/s3cret@" + dead,
		"redis://app:s3cret%zz@" + dead,
		"redis://app:s3cret#x@" + dead,
		"redis://app:s3cret?x@" + dead,
		"redis://app:s3cret@host:port",
		"redis:// app:s3cret@host",
		"http://app:s3cret@host",
		"app:s3cret@host",
		"redis://host/s3cret",
		"redis://host?s3cret=1",
		"redis://:[s3cret@host",
		"rediss://app:s3cret@" + dead + "/0?read_timeout=s3cret",
	}
	for _, url := range urls {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			cfg := Config{URL: url}.WithDefaults()
			logger := slog.New(slog.NewTextHandler(&log, nil))
			logger.Info("starting", "config", cfg)
			s, err := Open(ctx, cfg, logger)
			if err == nil {
				t.Fatal(errors.Join(errors.New("opened"), s.Close()))
			}
			shown := fmt.Sprintf("%v %+v %v %+v %s", err, err, cfg, cfg, log.String())
			if strings.Contains(shown, "s3cret") {
				t.Errorf("%s shows in: %s", url, shown)
			}
		})
	}
}

func TestOpenGivesUpWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address := closedPort(t)
	var log bytes.Buffer
	logged := make(chan struct{}, 100)
	go func() {
		<-logged
		cancel()
	}()
	_, err := Open(ctx, Config{URL: "redis://" + address}, slog.New(signalHandler{slog.NewTextHandler(&log, nil), logged}))
	if !errors.Is(err, ErrUnavailable) || messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	for _, want := range []string{address, "connection refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("log does not say %q: %s", want, log.String())
		}
	}
}

// closedPort is an address that refuses connections.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer func() { noError(t, l.Close()) }()
	return l.Addr().String()
}

func TestOpenWaitsForRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop(t)
	refused := make(chan struct{}, 100)
	opened := make(chan error, 1)
	go func() {
		s, err := Open(t.Context(), Config{URL: server.URL()}, slog.New(signalHandler{slog.NewTextHandler(io.Discard, nil), refused})) //nolint:sloglint // a discarding handler is not called
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	<-refused
	server.Restart(t)
	noError(t, <-opened)
}

// signalHandler tells of each record that is logged.
type signalHandler struct {
	slog.Handler
	logged chan<- struct{}
}

func (h signalHandler) Handle(ctx context.Context, r slog.Record) error {
	defer func() { h.logged <- struct{}{} }()
	return h.Handler.Handle(ctx, r)
}

func TestOpenDoesNotRepeatRefusedCredentials(t *testing.T) {
	t.Parallel()
	guarded := redistest.Start(t, "requirepass", "right")
	embedded := startEmbedded(t)
	withUser := func(url, user string) string { return strings.Replace(url, "://", "://"+user+"@", 1) }
	for name, url := range map[string]string{
		"none":     guarded.URL(),
		"wrong":    withUser(guarded.URL(), ":wr0ng"),
		"embedded": "redis://:wr0ng@" + embedded.redis.Addr(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), Config{URL: url, AllowVolatile: true}, slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal(errors.Join(errors.New("opened"), s.Close()))
			}
			if messages.CodeOf(err) != messages.CodeUsage || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("got code %s: %v", messages.CodeOf(err), err)
			}
		})
	}
	s := open(t, withUser(guarded.URL(), ":right"))
	noError(t, s.Ready(t.Context()))
}
