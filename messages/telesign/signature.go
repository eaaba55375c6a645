package telesign

import (
	"crypto/hmac"
	"strings"

	"github.com/offhook/offhook/messages"
)

// Verifier checks the signatures of webhooks. It is safe for concurrent use.
type Verifier struct {
	customerID string
	signers    []*signer // one for each API key
}

// NewVerifier takes every API key that TeleSign may sign with at the moment: while
// a key is rotated, the old and the new one. An empty customerID accepts any.
// Errors are *messages.Error of CodeUsage and show nothing of a key.
func NewVerifier(customerID string, keys ...string) (*Verifier, error) {
	if len(keys) == 0 {
		return nil, messages.Errorf(messages.CodeUsage, "no API key to check signatures with")
	}
	v := &Verifier{customerID: customerID}
	for i, key := range keys {
		secret, err := decodeKey(key)
		if err != nil {
			return nil, messages.Errorf(messages.CodeUsage, "API key %d of %d: %w", i+1, len(keys), err)
		}
		v.signers = append(v.signers, newSigner(secret))
	}
	return v, nil
}

// Verify checks the headers Authorization and X-TS-Authorization of a webhook
// against its body, byte for byte as it arrived. One good signature suffices; each
// header may hold [TSA ][customer id:]signature, since TeleSign writes the forms
// differently in different places. A customer id that is sent, in either header,
// must be ours. The time taken does not tell how much of a signature is right.
//
// Errors are *messages.Error of CodeUnauthorized. TeleSign signs neither time nor
// nonce: Verify cannot tell a copy from the first.
func (v *Verifier) Verify(authorization, xTSAuthorization string, body []byte) error {
	if authorization == "" && xTSAuthorization == "" {
		return messages.Errorf(messages.CodeUnauthorized, "not signed: neither Authorization nor X-TS-Authorization is there")
	}
	var room [2]digest
	signatures := room[:0]
	for _, header := range [...]string{authorization, xTSAuthorization} {
		customerID, signature, ok := splitSignature(header)
		if !ok {
			continue
		}
		if customerID != "" && v.customerID != "" && !strings.EqualFold(customerID, v.customerID) {
			return messages.Errorf(messages.CodeUnauthorized, "signed for another customer id than the one configured")
		}
		signatures = append(signatures, signature)
	}
	if len(signatures) == 0 {
		return messages.Errorf(messages.CodeUnauthorized,
			"no signature in Authorization or X-TS-Authorization: want [TSA ][customer id:]base64 of an HMAC-SHA256")
	}
	good := false
	for _, signer := range v.signers {
		want := signer.sign(body)
		for _, got := range signatures {
			good = hmac.Equal(got[:], want[:]) || good
		}
	}
	if !good {
		return messages.Errorf(messages.CodeUnauthorized, "the signature does not fit the body; is the API key the one TeleSign signs with?")
	}
	return nil
}

// splitSignature reads [TSA ][customer id:]signature; it is not ok when header is
// something else, such as another scheme's.
func splitSignature(header string) (customerID string, signature digest, ok bool) {
	var scheme, word string
	words := 0
	for w := range strings.FieldsSeq(header) {
		scheme, word = word, w
		words++
	}
	if words != 1 && (words != 2 || !strings.EqualFold(scheme, "TSA")) {
		return "", digest{}, false
	}
	customerID, encoded, found := strings.Cut(word, ":")
	if !found {
		customerID, encoded = "", word
	}
	signature, ok = decodeSignature(encoded)
	return customerID, signature, ok
}

// SignWebhook is the signature TeleSign puts on body: base64, as X-TS-Authorization
// carries it; Authorization has "TSA {customer id}:" before it.
func SignWebhook(key string, body []byte) (string, error) {
	secret, err := decodeKey(key)
	if err != nil {
		return "", err
	}
	return encodeSignature(sign(secret, body)), nil
}
