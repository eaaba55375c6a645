package store

import (
	"log/slog"
	"net/url"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/messages"
)

// Config says which Redis to use and for how long things are kept there.
type Config struct {
	// URL is redis://user:password@host:6379/0, rediss://… for TLS, or
	// unix:///path/to/redis.sock. It holds a secret: neither errors nor logs of
	// this package show it. go-redis' query options (pool_size, read_timeout, …)
	// override what this package sets.
	URL string
	// CallRetention is how long a call is kept after its last change, and an
	// intent after its last change or its NotAfter, whichever is later. At least
	// 1ms; it should be longer than the longest call and the longest outage after
	// which events are still to find their call. Default 168h.
	CallRetention time.Duration
	// AllowVolatile accepts a Redis without AOF, which forgets when it stops.
	AllowVolatile bool
	// Prefix starts every key: 1 to 32 letters, digits, '_', '-', '.' or ':'.
	// Default "offhook".
	Prefix string
}

// WithDefaults is c with its zero fields set to their defaults. URL has none.
func (c Config) WithDefaults() Config {
	if c.CallRetention == 0 {
		c.CallRetention = 7 * 24 * time.Hour
	}
	if c.Prefix == "" {
		c.Prefix = "offhook"
	}
	return c
}

var validPrefix = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,32}$`)

// Validate names the first field that cannot be used. Its errors have CodeUsage
// and never contain the URL.
func (c Config) Validate() error {
	if _, err := c.options(); err != nil {
		return err
	}
	if c.CallRetention < time.Millisecond {
		return messages.FieldErrorf(messages.CodeUsage, "CallRetention", "%s is too short: use at least 1ms, normally days", c.CallRetention)
	}
	if !validPrefix.MatchString(c.Prefix) {
		return messages.FieldErrorf(messages.CodeUsage, "Prefix", "%q: use 1 to 32 letters, digits, '_', '-', '.' or ':'", c.Prefix)
	}
	return nil
}

// LogValue keeps the URL's secret out of logs.
func (c Config) LogValue() slog.Value {
	address := "(invalid URL)"
	if o, err := c.options(); err == nil {
		address = o.Addr
	}
	return slog.GroupValue(
		slog.String("address", address),
		slog.Duration("call_retention", c.CallRetention),
		slog.Bool("allow_volatile", c.AllowVolatile),
		slog.String("prefix", c.Prefix),
	)
}

// String is LogValue as text, so that printing a Config is safe too.
func (c Config) String() string { return c.LogValue().String() }

// The client's limits. A worker loads, decides, commits and replies within what is
// left of the answer window (2.5 s by default), and must notice a dead Redis early
// enough to say so in its reply instead. A healthy Redis answers in under a
// millisecond, so these are generous to a busy machine and still end a first
// operation, with its wait and its handshake, before the window does. Every call's
// context cuts them further.
const (
	dialTimeout  = 500 * time.Millisecond
	readTimeout  = 700 * time.Millisecond
	writeTimeout = 700 * time.Millisecond
	// poolTimeout bounds the wait for a free connection.
	poolTimeout = 500 * time.Millisecond
	// poolSize is connections per process: about as many as a worker has slots. A
	// round trip is short, so more would not be busy; Redis serves them one by one.
	poolSize = 64
	// minIdle connections stay open, so that the first event after a quiet hour
	// does not wait for a handshake.
	minIdle = 2
	// noRetries: what failed is tried again by those who know what it was for, with
	// the time they have left. The client looks at a pooled connection before it
	// uses it, so a restart of Redis costs nobody an error.
	noRetries = -1
	// dialAttempts is per connection; go-redis' five would outlast the window.
	dialAttempts = 1
)

// options are the client's options for c. Errors do not quote the URL or its
// parser: a password with an unescaped character ends up in any part of it.
func (c Config) options() (*redis.Options, error) {
	const want = "want redis://[user:password@]host:6379[/db], rediss://… or unix:///path/to/redis.sock, special characters of the password percent-encoded"
	if c.URL == "" {
		return nil, messages.FieldErrorf(messages.CodeUsage, "URL", "empty: %s", want)
	}
	if _, err := url.Parse(c.URL); err != nil {
		return nil, messages.FieldErrorf(messages.CodeUsage, "URL", "(value hidden) is not a URL: %s", want)
	}
	o, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, messages.FieldErrorf(messages.CodeUsage, "URL", "(value hidden) is not a Redis URL: %s", want)
	}
	return o, nil
}
