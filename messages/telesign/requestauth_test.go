package telesign_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

const (
	nonce    = "A1592C6F-E384-4CDB-BC42-C3AB970369E9"
	dialBody = `{"method":"dial","params":{"to":"15555551212","caller_id_number":"15554441313"}}`
)

var (
	requestTime = time.Date(2016, 12, 14, 18, 20, 12, 0, time.UTC)
	account     = telesign.Credentials{CustomerID: customerID, APIKey: key}
)

func TestDigest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, key, contentType, path, body, signature string
	}{
		{
			"vector of TeleSign's Python SDK", sdkKey, "application/x-www-form-urlencoded", "/v1/resource", "test=param",
			"2xVlmbrxLjYrrPun3G3WMNG6Jon4yKcTeOoK9DjXJ/Q=",
		},
		{"dial, body included", key, "application/json", "/v2/voice", dialBody, "uRzzXzCNZAjlfGWfQ30d7aQCRPZVUvRH4pCgDMcZjEo="},
		{"dial, body left out", key, "application/json", "/v2/voice", "", "p2suuJT9vsYX0NJTX/g2yS/Cfxn1uV7VxnmKIj8S1zo="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := telesign.Credentials{CustomerID: customerID, APIKey: tt.key}
			h, err := c.Digest(http.MethodPost, tt.contentType, tt.path, []byte(tt.body),
				requestTime.In(time.FixedZone("", 3600)), nonce)
			if err != nil {
				t.Fatal(err)
			}
			want := http.Header{}
			want.Set("Authorization", "TSA "+customerID+":"+tt.signature)
			want.Set("Content-Type", tt.contentType)
			want.Set("Date", "Wed, 14 Dec 2016 18:20:12 GMT")
			want.Set("x-ts-auth-method", "HMAC-SHA256")
			want.Set("x-ts-nonce", nonce)
			if fmt.Sprint(h) != fmt.Sprint(want) {
				t.Errorf("got  %v\nwant %v", h, want)
			}
			if err := telesign.VerifyRequest(h, http.MethodPost, tt.path, []byte(tt.body), c); err != nil {
				t.Errorf("not verified: %v", err)
			}
		})
	}
}

func TestDigestRefusesBadKey(t *testing.T) {
	t.Parallel()
	if _, err := (telesign.Credentials{CustomerID: customerID, APIKey: "-"}).Digest("POST", "", "/", nil, requestTime, nonce); err == nil {
		t.Error("no error")
	}
}

func TestVerifyRequest(t *testing.T) {
	t.Parallel()
	digest := func(change func(http.Header)) http.Header {
		h, err := account.Digest(http.MethodPost, "application/json", "/v2/voice", []byte(dialBody), requestTime, nonce)
		if err != nil {
			t.Fatal(err)
		}
		change(h)
		return h
	}
	authorization := func(v string) http.Header { return http.Header{"Authorization": {v}} }
	basic := func(s string) http.Header {
		return authorization("Basic " + base64.StdEncoding.EncodeToString([]byte(s)))
	}
	tests := []struct {
		name   string
		header http.Header
		want   error
	}{
		{"basic", authorization(account.Basic()), nil},
		{"digest", digest(func(http.Header) {}), nil},
		{"digest that leaves the body out", digest(func(h http.Header) {
			h.Set("Authorization", "TSA "+customerID+":p2suuJT9vsYX0NJTX/g2yS/Cfxn1uV7VxnmKIj8S1zo=")
		}), nil},
		{"nothing", http.Header{}, telesign.ErrNoCredentials},
		{"only a scheme", authorization("Basic "), telesign.ErrNoCredentials},
		{"no key", basic(customerID), telesign.ErrNoCredentials},
		{"empty key", basic(customerID + ":"), telesign.ErrNoCredentials},
		{"empty customer id", basic(":" + key), telesign.ErrNoCredentials},
		{"digest without signature", authorization("TSA " + customerID), telesign.ErrNoCredentials},
		{"another scheme", authorization("Bearer x"), telesign.ErrNotAuthorized},
		{"basic, not base64", authorization("Basic " + customerID + ":x"), telesign.ErrNotAuthorized},
		{"wrong key", basic(customerID + ":x"), telesign.ErrNotAuthorized},
		{"unknown customer", basic("x:" + key), telesign.ErrNotAuthorized},
		{"digest, unknown customer", digest(func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), customerID, "x", 1))
		}), telesign.ErrNotAuthorized},
		{"digest, unreadable signature", digest(func(h http.Header) { h.Set("Authorization", "TSA "+customerID+":x") }), telesign.ErrNotAuthorized},
		{"another content type", digest(func(h http.Header) { h.Set("Content-Type", "text/plain") }), telesign.ErrNotAuthorized},
		{"another nonce", digest(func(h http.Header) { h.Set("X-Ts-Nonce", "x") }), telesign.ErrNotAuthorized},
		{"another date", digest(func(h http.Header) { h.Set("Date", "Wed, 14 Dec 2016 18:20:13 GMT") }), telesign.ErrNotAuthorized},
		{"no date", digest(func(h http.Header) { h.Del("Date") }), telesign.ErrNotAuthorized},
		{"unreadable date", digest(func(h http.Header) { h.Set("Date", "today") }), telesign.ErrNotAuthorized},
		{"another method of signing", digest(func(h http.Header) { h.Set("X-Ts-Auth-Method", "HMAC-MD5") }), telesign.ErrNotAuthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := telesign.VerifyRequest(tt.header, http.MethodPost, "/v2/voice", []byte(dialBody),
				telesign.Credentials{CustomerID: "other", APIKey: "AAECAwQFBgcICQ=="}, account)
			if !errors.Is(err, tt.want) || (err != nil) != (tt.want != nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil && messages.CodeOf(err) != messages.CodeUnauthorized {
				t.Errorf("code %s", messages.CodeOf(err))
			}
			if err != nil && strings.Contains(err.Error(), key) {
				t.Errorf("the key shows: %v", err)
			}
		})
	}
	if err := telesign.VerifyRequest(digest(func(http.Header) {}), http.MethodPost, "/v2/other", []byte(dialBody), account); err == nil {
		t.Error("another path is verified all the same")
	}
	if err := telesign.VerifyRequest(digest(func(http.Header) {}), http.MethodPost, "/v2/voice", []byte(`{}`), account); err == nil {
		t.Error("another body is verified all the same")
	}
}

// With x-ts-date the line of Date is empty. The signature was computed apart, with
// the algorithm of TeleSign's sample.
func TestVerifyRequestTSDate(t *testing.T) {
	t.Parallel()
	signed := strings.Join([]string{
		"POST", "application/json", "", "x-ts-auth-method:HMAC-SHA256",
		"x-ts-date:Wed, 14 Dec 2016 18:20:12 GMT", "x-ts-nonce:" + nonce, dialBody, "/v2/voice",
	}, "\n")
	signature, err := telesign.SignWebhook(key, []byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("Authorization", "TSA "+customerID+":"+signature)
	h.Set("Content-Type", "application/json")
	h.Set("x-ts-date", "Wed, 14 Dec 2016 18:20:12 GMT")
	h.Set("x-ts-auth-method", "HMAC-SHA256")
	h.Set("x-ts-nonce", nonce)
	if err := telesign.VerifyRequest(h, http.MethodPost, "/v2/voice", []byte(dialBody), account); err != nil {
		t.Error(err)
	}
}

func TestCredentialsValidate(t *testing.T) {
	t.Parallel()
	if err := account.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []telesign.Credentials{
		{},
		{CustomerID: customerID},
		{APIKey: key},
		{CustomerID: "a:b", APIKey: key},
		{CustomerID: "a b", APIKey: key},
		{CustomerID: customerID, APIKey: "not!base64"},
	} {
		err := bad.Validate()
		if messages.CodeOf(err) != messages.CodeUsage {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestCredentialsDoNotShow(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credentials", account)
	shown := log.String() + fmt.Sprintf("%v %+v %#v %s %q", account, account, account, account, []telesign.Credentials{account})
	if strings.Contains(shown, key) {
		t.Errorf("the key shows: %s", shown)
	}
}
