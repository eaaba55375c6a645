package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
)

// timeout of one request. The slowest honest one waits for two stores.
const timeout = 15 * time.Second

// maxAnswer bounds what is read of an answer: a call of 100 prompts is well below.
const maxAnswer = 4 << 20

// Client talks to one API. It is safe for concurrent use.
type Client struct {
	base  string
	shown string // base, fit to be printed
	err   error  // what is wrong with base
	http  *http.Client
}

// New makes a client of the API at base, such as http://127.0.0.1:8081. A user and
// password in it are sent as Basic authentication, for a proxy in front of the API,
// and never shown. What is wrong with base every request says.
func New(base string) *Client {
	c := &Client{base: strings.TrimRight(base, "/"), http: &http.Client{
		Timeout: timeout,
		// Without proxies: the API is on this machine or in the same private network.
		Transport: &http.Transport{MaxIdleConnsPerHost: 16},
		// The API never redirects; what does is something else, and is not to be
		// told whom we call.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	u, err := url.Parse(c.base)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		// Not shown: what cannot be read may hold a password anywhere.
		c.err = messages.Errorf(messages.CodeUsage, "the API's URL is wrong: want http://host:port or https://host:port; see OFFHOOK_API_URL")
	case u.User != nil:
		c.shown = u.Scheme + "://****@" + u.Host + u.EscapedPath()
	default:
		c.shown = c.base
	}
	return c
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Place places a call. Repeating a request that has a Key is safe, and after
// CodeUnavailable and CodeTimeout it is what to do: the first may have been taken.
func (c *Client) Place(ctx context.Context, req messages.PlaceCall) (messages.PlacedCall, error) {
	var placed messages.PlacedCall
	err := c.do(ctx, http.MethodPost, "/v1/calls", req, &placed)
	if err == nil && placed.ID == "" {
		err = c.stranger("its answer names no call")
	}
	return placed, err
}

// Call is one call, by its id or TeleSign's reference_id. CodeNotFound when there
// is none.
func (c *Client) Call(ctx context.Context, id string) (messages.Call, error) {
	var call messages.Call
	if id == "" {
		return call, messages.FieldErrorf(messages.CodeUsage, "id", "is empty; give the id that placing the call returned, or TeleSign's reference_id")
	}
	// Dots too: a path element of dots alone would be resolved on the way.
	escaped := strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
	err := c.do(ctx, http.MethodGet, "/v1/calls/"+escaped, nil, &call)
	if err == nil && call.Status == "" {
		err = c.stranger("its answer is no call")
	}
	return call, err
}

// Flows lists the flows that workers run.
func (c *Client) Flows(ctx context.Context) (messages.Flows, error) {
	var flows messages.Flows
	err := c.do(ctx, http.MethodGet, "/v1/flows", nil, &flows)
	if err == nil && flows.Flows == nil {
		err = c.stranger("its answer lists no flows")
	}
	return flows, err
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	if c.err != nil {
		return c.err
	}
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return messages.Errorf(messages.CodeInvalid, "the request cannot be encoded: %w", err)
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil { // base is a URL and ids are escaped
		return messages.Errorf(messages.CodeInternal, "the request for %s cannot be made", path)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.failed(ctx, fmt.Errorf("the answer broke off: %w", err))
	case len(answer) > maxAnswer:
		return messages.Errorf(messages.CodeTooLarge, "the answer of the API at %s is larger than %d MiB", c.shown, maxAnswer>>20)
	case resp.StatusCode >= http.StatusMultipleChoices:
		return c.refused(resp, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return c.stranger("its answer is not the JSON that is wanted: %w", err)
	}
	return nil
}

// failed says what became of a request without a whole answer. It drops the part
// of a *url.Error that repeats the URL.
func (c *Client) failed(ctx context.Context, err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	var slow net.Error
	switch {
	case ctx.Err() != nil:
		return messages.Errorf(messages.CodeTimeout, "stopped waiting for the API at %s: %w", c.shown, context.Cause(ctx))
	case errors.As(err, &slow) && slow.Timeout():
		return messages.Errorf(messages.CodeTimeout, "the API at %s did not answer within %s: %w", c.shown, timeout, err)
	}
	return messages.Errorf(messages.CodeUnavailable, "no offhook API at %s; start one with `offhook api` or `offhook dev`, or set OFFHOOK_API_URL: %w", c.shown, err)
}

// refused is the error that the API answered with.
func (c *Client) refused(resp *http.Response, answer []byte) error {
	var failure messages.ErrorBody
	if json.Unmarshal(answer, &failure) != nil || failure.Error.Code == "" {
		return c.stranger("it answered %s", resp.Status)
	}
	return &messages.Error{Code: failure.Error.Code, Message: failure.Error.Message, Field: failure.Error.Field}
}

// stranger is the error for an answer that no API of ours gives.
func (c *Client) stranger(format string, args ...any) error {
	return messages.Errorf(messages.CodeUnavailable, "what listens at %s is not an offhook API: %w", c.shown, fmt.Errorf(format, args...))
}
