package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// maxAnswer is how much of an answer is read, in bytes; a longer one is invalid.
const maxAnswer = 64 << 10

// Why an event brought no answer. A status other than 200 is "http_" and the
// status.
const (
	missedWindow     = "window"     // the answer was not there in time
	missedConnection = "connection" // refused, reset, or cut before the answer's end
)

// answer is what came back for one event.
type answer struct {
	body    []byte        // with HTTP 200; one byte over maxAnswer when it was too long
	missed  string        // why there is none, empty when there is one
	err     error         // the cause, with missed
	latency time.Duration // from sending to the end of the answer, or to giving up
	waited  time.Duration // for a connection, before sending
	cut     bool          // given up because the simulator stopped: nobody's fault
	unsent  bool          // given up before anything was sent
}

// poster signs events and posts them to the webhook. Every event of every call
// passes through post. Safe for concurrent use.
type poster struct {
	url     string
	account telesign.Credentials
	window  time.Duration
	client  *http.Client
	turns   chan struct{} // one token per post under way
	close   func()
}

func newPoster(cfg Config) *poster {
	p := &poster{
		url:     cfg.WebhookURL,
		account: cfg.Account,
		window:  cfg.AnswerWindow,
		turns:   make(chan struct{}, cfg.MaxConnections),
		close:   func() {},
	}
	transport := cfg.Transport
	if transport == nil {
		own := &http.Transport{
			DialContext:         (&net.Dialer{Timeout: cfg.AnswerWindow}).DialContext,
			MaxConnsPerHost:     cfg.MaxConnections,
			MaxIdleConns:        cfg.MaxConnections,
			MaxIdleConnsPerHost: cfg.MaxConnections,
			// Well below what servers allow, so that no post meets a connection that is
			// just being closed.
			IdleConnTimeout:    15 * time.Second,
			DisableCompression: true,
		}
		transport, p.close = own, own.CloseIdleConnections
	}
	p.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// post sends one event and brings the answer back. It waits for its turn as long
// as ctx allows, then for the answer as long as the window lasts.
func (p *poster) post(ctx context.Context, event []byte) answer {
	queued := time.Now()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return answer{missed: missedConnection, err: context.Cause(ctx), waited: time.Since(queued), cut: true, unsent: true}
	}
	sent := time.Now()
	window, cancel := context.WithTimeout(ctx, p.window)
	defer cancel()
	body, status, err := p.exchange(window, event)
	a := answer{body: body, latency: time.Since(sent), waited: sent.Sub(queued)}
	switch {
	case err == nil && status == http.StatusOK:
		return a
	case err == nil:
		a.body, a.missed = nil, "http_"+strconv.Itoa(status)
		a.err = fmt.Errorf("the webhook answered HTTP %d: %.200s", status, body)
		return a
	}
	a.body, a.missed, a.err = nil, missedConnection, err
	switch {
	case ctx.Err() != nil:
		a.cut = true
	case errors.Is(window.Err(), context.DeadlineExceeded):
		a.missed = missedWindow
		a.err = fmt.Errorf("no whole answer within %s: %w", p.window, err)
	}
	return a
}

func (p *poster) exchange(ctx context.Context, event []byte) (body []byte, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(event))
	if err != nil {
		return nil, 0, err
	}
	signature, err := telesign.SignWebhook(p.account.APIKey, event)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "offhook-simulator")
	req.Header.Set("Authorization", "TSA "+p.account.CustomerID+":"+signature)
	req.Header.Set("X-TS-Authorization", signature)
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the answer: %w", err)
	}
	return body, resp.StatusCode, nil
}
