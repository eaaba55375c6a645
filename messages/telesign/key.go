package telesign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"
	"sync"

	"github.com/offhook/offhook/messages"
)

// strictBase64 takes one text for each sequence of bytes, besides line ends.
var strictBase64 = base64.StdEncoding.Strict()

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
	secret, err := strictBase64.DecodeString(stripped)
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

// digest is an HMAC-SHA256.
type digest [sha256.Size]byte

// signer computes what sign does for one secret, many times: it mixes the secret in
// once for as many messages as are signed at the same time, and allocates nothing
// after that. It is safe for concurrent use.
type signer struct{ idle sync.Pool } // of *signing

type signing struct {
	mac hash.Hash
	sum []byte // the last one, to be overwritten
}

func newSigner(secret []byte) *signer {
	return &signer{sync.Pool{New: func() any {
		return &signing{mac: hmac.New(sha256.New, secret), sum: make([]byte, 0, sha256.Size)}
	}}}
}

func (s *signer) sign(message []byte) digest {
	one := s.idle.Get().(*signing) //nolint:errcheck // the pool makes nothing else
	defer s.idle.Put(one)
	one.mac.Reset()
	_, _ = one.mac.Write(message) // a hash never fails to write
	one.sum = one.mac.Sum(one.sum[:0])
	return digest(one.sum)
}

// decodeSignature reads a base64 signature, if it is one.
func decodeSignature(s string) (signature digest, ok bool) {
	var room [sha256.Size + 1]byte // the base64 of 32 bytes has room for 33
	decoded, err := strictBase64.AppendDecode(room[:0], []byte(s))
	if err != nil || len(decoded) != len(signature) {
		return digest{}, false
	}
	return digest(decoded), true
}

func encodeSignature(signature []byte) string { return base64.StdEncoding.EncodeToString(signature) }
