// Package apiclient is the client of offhook's own API, for the command line and
// for tests. It knows the routes and the error body, nothing else.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// Client talks to one API.
type Client struct {
	base string
	http *http.Client
}

// New makes a client of the API at base, such as http://127.0.0.1:8081.
func New(base string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), http: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Place places a call. Repeating a request that has a Key is safe.
func (c *Client) Place(ctx context.Context, req messages.PlaceCall) (messages.PlacedCall, error) {
	var placed messages.PlacedCall
	return placed, c.do(ctx, http.MethodPost, "/v1/calls", req, &placed)
}

// Call is one call, by its id or TeleSign's reference_id. CodeNotFound when there
// is none.
func (c *Client) Call(ctx context.Context, id string) (messages.Call, error) {
	var call messages.Call
	return call, c.do(ctx, http.MethodGet, "/v1/calls/"+url.PathEscape(id), nil, &call)
}

// Flows lists the flows that workers run.
func (c *Client) Flows(ctx context.Context) (messages.Flows, error) {
	var flows messages.Flows
	return flows, c.do(ctx, http.MethodGet, "/v1/flows", nil, &flows)
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return messages.Errorf(messages.CodeUsage, "the API's URL is wrong: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return messages.Errorf(messages.CodeUnavailable, "no offhook API at %s; start one with `offhook api` or `offhook dev`, or set OFFHOOK_API_URL: %w", c.base, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return messages.Errorf(messages.CodeUnavailable, "the API's answer broke off: %w", err)
	}
	if resp.StatusCode >= 300 {
		var failure messages.ErrorBody
		if json.Unmarshal(answer, &failure) != nil || failure.Error.Code == "" {
			return messages.Errorf(messages.CodeUnavailable, "what listens at %s is not an offhook API: it answered %s", c.base, resp.Status)
		}
		return &messages.Error{Code: failure.Error.Code, Message: failure.Error.Message, Field: failure.Error.Field}
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return messages.Errorf(messages.CodeUnavailable, "what listens at %s is not an offhook API: %w", c.base, err)
	}
	return nil
}
