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
	sent    time.Time     // when it went out, connecting included
	latency time.Duration // from sending to the end of the answer, or to giving up
	waited  time.Duration // for a connection, before sending
	cut     bool          // given up because the simulator stopped: nobody's fault
	unsent  bool          // given up before anything was sent
	lost    bool          // a fault broke the connection: the answer counts as none
	unread  bool          // and it did so before the answer came
}

// parcel is one post of an event.
type parcel struct {
	url   string
	event []byte
	cut   cut
}

// cut is where a fault breaks the connection of a post.
type cut struct {
	when  cutWhen
	after time.Duration // with cutBeforeAnswer: from sending; 0: when the answer is there
}

type cutWhen int

const (
	cutNever cutWhen = iota
	cutAfterAnswer
	cutBeforeAnswer
)

// poster signs events and posts them to the webhook. Every event of every call
// passes through post. Safe for concurrent use.
type poster struct {
	account telesign.Credentials
	window  time.Duration
	client  *http.Client
	own     bool          // the transport is ours: connections can be broken
	turns   chan struct{} // one token per post under way
	close   func()
}

func newPoster(cfg Config) *poster {
	p := &poster{
		account: cfg.Account,
		window:  cfg.AnswerWindow,
		turns:   make(chan struct{}, cfg.MaxConnections),
		close:   func() {},
	}
	transport := cfg.Transport
	if p.own = transport == nil; p.own {
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
	p.client = clientOf(transport)
	return p
}

func clientOf(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends one event and brings the answer back. It waits for its turn as long
// as ctx allows, then for the answer as long as the window lasts, or until its
// connection is to be cut.
func (p *poster) post(ctx context.Context, what parcel) answer {
	queued := time.Now()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		now := time.Now()
		return answer{missed: missedConnection, err: context.Cause(ctx), sent: now, waited: now.Sub(queued), cut: true, unsent: true}
	}
	sent := time.Now()
	window, cancel := context.WithTimeout(ctx, p.window)
	defer cancel()
	client := p.client
	if what.cut.when != cutNever && p.own {
		fragile := newFragile(p.window)
		defer fragile.breakOff()
		client = clientOf(fragile.transport)
	}
	if what.cut.after > 0 {
		var broken context.CancelFunc
		window, broken = context.WithTimeout(window, what.cut.after)
		defer broken()
	}
	body, status, err := p.exchange(window, client, what)
	a := answer{body: body, sent: sent, latency: time.Since(sent), waited: sent.Sub(queued)}
	if what.cut.when == cutBeforeAnswer && ctx.Err() == nil {
		a.lost, a.unread = true, err != nil || status != http.StatusOK
		return a
	}
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

func (p *poster) exchange(ctx context.Context, client *http.Client, what parcel) (body []byte, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, what.url, bytes.NewReader(what.event))
	if err != nil {
		return nil, 0, err
	}
	signature, err := telesign.SignWebhook(p.account.APIKey, what.event)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "offhook-simulator")
	req.Header.Set("Authorization", "TSA "+p.account.CustomerID+":"+signature)
	req.Header.Set("X-TS-Authorization", signature)
	resp, err := client.Do(req)
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
