package telesign

import (
	"bytes"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
)

// The headers of Digest authentication.
const (
	headerDate   = "Date"
	headerTSDate = "X-Ts-Date"
	headerMethod = "X-Ts-Auth-Method"
	headerNonce  = "X-Ts-Nonce"

	digestMethod = "HMAC-SHA256"
)

// Credentials identify an account to TeleSign. The key does not show when they are
// printed or logged.
type Credentials struct {
	CustomerID string // such as FFFFFFFF-EEEE-DDDD-1234-AB1234567890
	APIKey     string // base64
}

// Validate reports credentials that cannot work, as a *messages.Error of CodeUsage.
func (c Credentials) Validate() error {
	if c.CustomerID == "" {
		return messages.FieldErrorf(messages.CodeUsage, "customer id", "is empty")
	}
	if strings.ContainsFunc(c.CustomerID, func(r rune) bool { return r == ':' || r == ' ' || notPrintable(r) }) {
		return messages.FieldErrorf(messages.CodeUsage, "customer id", "has a colon, a space or a character that is not ASCII")
	}
	_, err := decodeKey(c.APIKey)
	return err
}

// String is the customer id with the key hidden.
func (c Credentials) String() string { return c.CustomerID + ":****" }

// GoString is String, for %#v.
func (c Credentials) GoString() string { return c.String() }

// LogValue keeps the key out of logs.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Basic is the Authorization header of Basic authentication.
func (c Credentials) Basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.CustomerID+":"+c.APIKey))
}

// Digest is the headers of Digest ("TSA") authentication for one request, all to
// be sent as they are, Content-Type included. body is signed with them. now stands
// in Date; nonce must never have been used before with these credentials.
func (c Credentials) Digest(method, contentType, path string, body []byte, now time.Time, nonce string) (http.Header, error) {
	secret, err := decodeKey(c.APIKey)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	h.Set("Content-Type", contentType)
	h.Set(headerDate, now.UTC().Format(http.TimeFormat))
	h.Set(headerMethod, digestMethod)
	h.Set(headerNonce, nonce)
	signature := encodeSignature(sign(secret, stringToSign(h, method, path, body)))
	h.Set("Authorization", "TSA "+c.CustomerID+":"+signature)
	return h, nil
}

// stringToSign joins what Digest signs with line feeds. An empty body has no line;
// Date's is there, empty, when X-Ts-Date is sent instead.
func stringToSign(h http.Header, method, path string, body []byte) []byte {
	date := h.Get(headerDate)
	if h.Get(headerTSDate) != "" {
		date = ""
	}
	lines := [][]byte{
		[]byte(method), []byte(h.Get("Content-Type")), []byte(date),
		[]byte("x-ts-auth-method:" + h.Get(headerMethod)),
	}
	if v := h.Get(headerTSDate); v != "" {
		lines = append(lines, []byte("x-ts-date:"+v))
	}
	if v := h.Get(headerNonce); v != "" {
		lines = append(lines, []byte("x-ts-nonce:"+v))
	}
	if len(body) > 0 {
		lines = append(lines, body)
	}
	return bytes.Join(append(lines, []byte(path)), []byte("\n"))
}

// What VerifyRequest finds wrong, in the terms of TeleSign's answers: 401 with
// CredentialsNotProvided or NotAuthorized.
var (
	ErrNoCredentials error = &messages.Error{Code: messages.CodeUnauthorized, Message: "credentials not provided"}
	ErrNotAuthorized error = &messages.Error{Code: messages.CodeUnauthorized, Message: "not authorized"}
)

// VerifyRequest checks Basic or Digest authentication the way TeleSign does, for
// whoever plays its part: any of the accounts in c may ask. path is the path of the
// URL. In a Digest the body may be signed or left out, since TeleSign's SDKs do
// either, and Date must be readable; neither its age nor a nonce used twice is
// noticed. Errors wrap ErrNoCredentials or ErrNotAuthorized.
func VerifyRequest(h http.Header, method, path string, body []byte, c ...Credentials) error {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(h.Get("Authorization")), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case rest == "":
		return fmt.Errorf("%w: no Authorization header with customer id and key", ErrNoCredentials)
	case strings.EqualFold(scheme, "Basic"):
		return verifyBasic(rest, c)
	case strings.EqualFold(scheme, "TSA"):
		return verifyDigest(h, rest, method, path, body, c)
	}
	return fmt.Errorf("%w: Authorization is neither Basic nor TSA", ErrNotAuthorized)
}

func verifyBasic(encoded string, c []Credentials) error {
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("%w: Basic is not followed by base64", ErrNotAuthorized)
	}
	customerID, key, _ := strings.Cut(string(decoded), ":")
	if customerID == "" || key == "" {
		return fmt.Errorf("%w: customer id or key is empty", ErrNoCredentials)
	}
	good := 0
	for _, known := range c {
		if strings.EqualFold(customerID, known.CustomerID) {
			good |= subtle.ConstantTimeCompare([]byte(key), []byte(known.APIKey))
		}
	}
	if good == 0 {
		return fmt.Errorf("%w: unknown customer id or wrong key", ErrNotAuthorized)
	}
	return nil
}

func verifyDigest(h http.Header, rest, method, path string, body []byte, c []Credentials) error {
	customerID, encoded, _ := strings.Cut(rest, ":")
	if customerID == "" || encoded == "" {
		return fmt.Errorf("%w: customer id or signature is missing", ErrNoCredentials)
	}
	got, ok := decodeSignature(encoded)
	if !ok {
		return fmt.Errorf("%w: the signature is not base64 of an HMAC-SHA256", ErrNotAuthorized)
	}
	if m := h.Get(headerMethod); !strings.EqualFold(m, digestMethod) {
		return fmt.Errorf("%w: x-ts-auth-method is %.40q, want %s", ErrNotAuthorized, m, digestMethod)
	}
	if err := checkDate(h); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAuthorized, err)
	}
	withBody, withoutBody := stringToSign(h, method, path, body), stringToSign(h, method, path, nil)
	good := false
	for _, known := range c {
		secret, err := decodeKey(known.APIKey)
		if err != nil || !strings.EqualFold(customerID, known.CustomerID) {
			continue
		}
		good = hmac.Equal(got[:], sign(secret, withBody)) || hmac.Equal(got[:], sign(secret, withoutBody)) || good
	}
	if !good {
		return fmt.Errorf("%w: unknown customer id, or the signature does not fit the request", ErrNotAuthorized)
	}
	return nil
}

func checkDate(h http.Header) error {
	date := h.Get(headerTSDate)
	if date == "" {
		date = h.Get(headerDate)
	}
	if date == "" {
		return errors.New("neither Date nor x-ts-date is there")
	}
	for _, layout := range []string{http.TimeFormat, time.RFC1123, time.RFC1123Z, time.RFC822, time.RFC822Z} {
		if _, err := time.Parse(layout, date); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the date %.40q is not in RFC 822 form", date)
}
