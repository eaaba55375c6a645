package dial

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// Auth is how a Client identifies itself to TeleSign.
type Auth string

// The ways TeleSign documents.
const (
	AuthBasic  Auth = "basic"
	AuthDigest Auth = "digest" // the key is not sent, the body is signed
)

// DefaultURL is TeleSign.
const DefaultURL = "https://rest-ww.telesign.com"

const (
	endpointPath   = "/v2/voice"
	defaultTimeout = 10 * time.Second
	maxTimeout     = time.Minute
)

// Config is what a Client needs. Zero fields mean their defaults; Credentials have
// none.
type Config struct {
	URL         string // base URL, /v2/voice is added when it is not there; default DefaultURL
	Credentials telesign.Credentials
	Auth        Auth          // default AuthBasic
	Timeout     time.Duration // for one dial, from name lookup to the answer's end; up to a minute, default 10 s
	Tracer      trace.Tracer  // makes a span of each POST; nil makes none and costs nothing
}

// WithDefaults is c with the defaults in place of zero fields.
func (c Config) WithDefaults() Config {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	if c.Auth == "" {
		c.Auth = AuthBasic
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c
}

// Validate reports what cannot work, as a *messages.Error of CodeUsage that names
// field and value. It judges c as it is, without defaults.
func (c Config) Validate() error {
	if _, err := c.endpoint(); err != nil {
		return err
	}
	if err := c.Credentials.Validate(); err != nil {
		return usage("credentials", "%w", err)
	}
	if c.Auth != AuthBasic && c.Auth != AuthDigest {
		return usage("auth", "is %q, want %s or %s", c.Auth, AuthBasic, AuthDigest)
	}
	if c.Timeout <= 0 || c.Timeout > maxTimeout {
		return usage("timeout", "is %v, want more than 0 and at most %v", c.Timeout, maxTimeout)
	}
	return nil
}

// endpoint is where dials are posted.
func (c Config) endpoint() (*url.URL, error) {
	u, err := url.Parse(c.URL)
	if parse := (*url.Error)(nil); errors.As(err, &parse) {
		err = parse.Err // without the URL, which may hold a password
	}
	switch {
	case err != nil:
		return nil, usage("url", "is not a URL: %w", err)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, usage("url", "is %q, want https://host (or http://host for a simulator)", u.Redacted())
	case u.Hostname() == "":
		return nil, usage("url", "is %q, which names no host", u.Redacted())
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, usage("url", "is %q, want a base URL without user, query or fragment", u.Redacted())
	case u.Scheme == "http" && isTeleSign(u.Hostname()):
		return nil, usage("url", "is %q: TeleSign takes https only, and http would show the key to everybody on the way", u.Redacted())
	}
	base := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), endpointPath)
	root := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
	return root.JoinPath(base, endpointPath), nil
}

func isTeleSign(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "telesign.com" || strings.HasSuffix(host, ".telesign.com")
}

func usage(field, format string, args ...any) error {
	return messages.FieldErrorf(messages.CodeUsage, field, format, args...)
}
