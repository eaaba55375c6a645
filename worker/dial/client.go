package dial

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// maxAnswer bounds what is read of an answer, in bytes. TeleSign's have about 150.
const maxAnswer = 64 << 10

// Client posts dials to TeleSign. It is safe for concurrent use and needs no
// closing: nothing of it is left when no Dial is under way.
type Client struct {
	endpoint    *url.URL
	credentials atomic.Pointer[telesign.Credentials]
	auth        Auth
	timeout     time.Duration
	transport   *http.Transport
	tracer      trace.Tracer // nil: no spans
	log         *slog.Logger
}

// New makes a Client; zero fields of cfg get their defaults. The error is that of
// Config.Validate. Nothing is sent yet. Proxies are taken from the environment, as
// http.ProxyFromEnvironment does.
//
// Every dial has a connection of its own. That costs one TCP and TLS handshake,
// and buys certainty: there is no idle connection that TeleSign may have closed,
// on which a request fails without anybody knowing whether it arrived, and nothing
// for net/http to repeat a request on. HTTP/2 is off for the same reason.
func New(cfg Config, log *slog.Logger) (*Client, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	endpoint, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	c := &Client{
		endpoint: endpoint,
		auth:     cfg.Auth,
		timeout:  cfg.Timeout,
		tracer:   cfg.Tracer,
		log:      log,
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
			TLSHandshakeTimeout:    cfg.Timeout,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxAnswer,
			Protocols:              protocols,
		},
	}
	c.credentials.Store(&cfg.Credentials)
	return c, nil
}

// UseCredentials makes the dials that begin from now on use other credentials, such
// as those of a key that has been rotated. What cannot be an account is refused, and
// changes nothing.
func (c *Client) UseCredentials(credentials telesign.Credentials) error {
	if err := credentials.Validate(); err != nil {
		return usage("credentials", "%w", err)
	}
	c.credentials.Store(&credentials)
	return nil
}

// Dial posts d once and waits for the answer, at most the configured timeout or
// until ctx ends. It logs one line, in which numbers are masked. A dial that
// telesign.Encode refuses is Refused without being sent.
func (c *Client) Dial(ctx context.Context, d telesign.Dial) Outcome {
	began := time.Now()
	ctx, span := c.begin(ctx)
	o := c.post(ctx, d)
	finish(span, o)
	level := slog.LevelWarn
	switch o.Kind {
	case Accepted, Refused:
		level = slog.LevelInfo
	case Unauthorized:
		level = slog.LevelError
	case RateLimited, NotSent, Ambiguous:
	}
	attrs := []slog.Attr{
		slog.String("outcome", string(o.Kind)), slog.Int("http_status", o.HTTPStatus),
		slog.String("status", masked(o.Status)), slog.String("reference_id", o.ReferenceID),
		slog.String("external_id", d.ExternalID), slog.Any("to", messages.Number(d.To)),
		slog.Duration("took", time.Since(began)),
	}
	if o.Err != nil {
		attrs = append(attrs, slog.Any("error", o.Err))
	}
	c.log.LogAttrs(ctx, level, "dial posted", attrs...)
	return o
}

func (c *Client) post(ctx context.Context, d telesign.Dial) Outcome {
	body, err := telesign.Encode(d)
	if err != nil {
		return Outcome{Kind: Refused, Err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %v: %w", c.timeout, context.DeadlineExceeded))
	defer cancel()

	// From GotConn on a byte may have left. Nothing later is a safe border: when ctx
	// ends, net/http returns while its writing goroutine may be about to write.
	var connected atomic.Bool
	req, err := c.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}), body)
	if err != nil {
		return Outcome{Kind: Refused, Err: messages.Errorf(messages.CodeInternal, "building the request: %w", err)}
	}
	resp, err := c.transport.RoundTrip(req) // not a http.Client: it would follow redirects
	switch {
	case err != nil && connected.Load():
		return Outcome{Kind: Ambiguous, Err: messages.Errorf(messages.CodeTimeout,
			"connected to %s, then lost the answer; the call may have been placed: %w", c.endpoint.Host, err)}
	case err != nil:
		return Outcome{Kind: NotSent, Err: messages.Errorf(messages.CodeUnavailable,
			"no connection to %s, nothing was sent: %w", c.endpoint.Host, err)}
	}
	defer func() { _ = resp.Body.Close() }() // nothing depends on it: the connection is not used again
	answer, err := readAnswer(resp.Body)
	return outcomeOf(resp.StatusCode, answer, err)
}

// request is one POST of body. Without GetBody net/http has nothing to repeat it
// from.
func (c *Client) request(ctx context.Context, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("for %s: %w", c.endpoint.Host, err)
	}
	req.GetBody = nil
	const contentType = "application/json"
	if c.auth == AuthDigest {
		req.Header, err = c.credentials.Load().Digest(req.Method, contentType, c.endpoint.EscapedPath(), body, time.Now(), newNonce())
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
	} else {
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Authorization", c.credentials.Load().Basic())
	}
	req.Header.Set("Accept", contentType)
	req.Header.Set("User-Agent", "offhook")
	return req, nil
}

// readAnswer reads an answer. On error it returns what it has.
func readAnswer(body io.Reader) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return answer, fmt.Errorf("reading the answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return answer, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return answer, nil
}

// newNonce is a random UUID, the form TeleSign's SDKs send.
func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
