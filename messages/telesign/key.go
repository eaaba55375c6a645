package telesign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/offhook/offhook/messages"
)

// decodeKey reads an API key, which is base64. Characters outside its alphabet are
// dropped, as TeleSign's own SDKs do: a key copied with a line break works. Errors
// show nothing of the key.
func decodeKey(key string) ([]byte, error) {
	stripped := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '+', r == '/', r == '=':
			return r
		}
		return -1
	}, key)
	secret, err := base64.StdEncoding.Strict().DecodeString(stripped)
	if err != nil {
		return nil, messages.Errorf(messages.CodeUsage, "the API key is not base64 (%d characters); copy it whole, with its padding", len(key))
	}
	if len(secret) == 0 {
		return nil, messages.Errorf(messages.CodeUsage, "the API key is empty")
	}
	return secret, nil
}

// sign is the HMAC-SHA256 of message.
func sign(secret, message []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write(message) // a hash never fails to write
	return mac.Sum(nil)
}

// decodeSignature reads a base64 signature; nil when it is not one.
func decodeSignature(s string) []byte {
	signature, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(signature) != sha256.Size {
		return nil
	}
	return signature
}

func encodeSignature(signature []byte) string { return base64.StdEncoding.EncodeToString(signature) }
