package role

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/messages"
)

// rotationEvery is how often the files of keys and certificates are looked at. A
// change is in use after two looks.
const rotationEvery = time.Second

// Account is the account at TeleSign.
type Account struct {
	CustomerID string
	Keys       []string // the first is used, all are accepted
	KeyFile    string   // where Keys came from, to be followed; "" keeps them for good
}

// follow gives use the keys that the file holds whenever they have changed, until
// ctx ends. A file that is wrong, by itself or in the eyes of use, is reported, once,
// and the keys before it stay. purpose is what the keys are for, in the log.
func (a Account) follow(ctx context.Context, purpose string, log *slog.Logger, use func(keys []string) error) error {
	log = log.With("for", purpose, "file", a.KeyFile)
	current := a.Keys
	watch := fileWatch{paths: []string{a.KeyFile}, every: rotationEvery}
	return watch.run(ctx, func(now []fileContent) bool {
		keys, err := readKeys(now[0])
		if err == nil && slices.Equal(keys, current) {
			return true
		}
		if err == nil {
			err = use(keys)
		}
		if err != nil {
			log.ErrorContext(ctx, "the file of API keys has changed and is wrong; the keys before it stay in use", "error", err)
			return true
		}
		current = keys
		log.InfoContext(ctx, "API keys replaced", "keys", len(keys))
		return true
	})
}

func readKeys(file fileContent) ([]string, error) {
	if file.err != nil {
		return nil, file.err
	}
	return setting.ReadSecrets(file.text)
}

// Certificate is the certificate that a door shows, and the key to it, as two files
// hold them by now.
type Certificate struct {
	files   []fileContent // the certificate's and the key's, as they were first read
	current atomic.Pointer[tls.Certificate]
	log     *slog.Logger
}

// The settings of a certificate.
const (
	certSetting = "--tls-cert-file (OFFHOOK_TLS_CERT_FILE)"
	keySetting  = "--tls-key-file (OFFHOOK_TLS_KEY_FILE)"
)

// OpenCertificate reads a PEM certificate chain and its key.
func OpenCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{files: readFiles([]string{certFile, keyFile}), log: log}
	pair, err := keyPair(c.files)
	if err != nil {
		return nil, err
	}
	c.use(pair)
	return c, nil
}

// keyPair is what the files hold. The error shows nothing of the key.
func keyPair(files []fileContent) (*tls.Certificate, error) {
	for i, name := range []string{certSetting, keySetting} {
		if err := files[i].err; err != nil {
			return nil, messages.FieldErrorf(messages.CodeUsage, name, "cannot read it: %w", err)
		}
	}
	pair, err := tls.X509KeyPair([]byte(files[0].text), []byte(files[1].text))
	if err != nil {
		return nil, messages.FieldErrorf(messages.CodeUsage, certSetting, "%s and the key %s are no pair that can be used: %w", files[0].path, files[1].path, err)
	}
	return &pair, nil
}

// use makes connections from now on see pair.
func (c *Certificate) use(pair *tls.Certificate) {
	c.current.Store(pair)
	c.log.Info("certificate loaded", "file", c.files[0].path, "names", pair.Leaf.DNSNames, "serial", pair.Leaf.SerialNumber, "not_after", pair.Leaf.NotAfter)
	if time.Now().After(pair.Leaf.NotAfter) {
		c.log.Error("the certificate has expired: TeleSign will refuse it", "file", c.files[0].path, "not_after", pair.Leaf.NotAfter)
	}
}

// Config is for a listener that shows the newest certificate. TeleSign speaks HTTP/1.1,
// so that is all it offers.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// Run follows the files until ctx ends. A pair that cannot be used is reported, once,
// and the one before it stays.
func (c *Certificate) Run(ctx context.Context) error {
	watch := fileWatch{paths: []string{c.files[0].path, c.files[1].path}, every: rotationEvery, seen: c.files}
	return watch.run(ctx, func(now []fileContent) bool {
		pair, err := keyPair(now)
		if err != nil {
			c.log.ErrorContext(ctx, "the certificate has changed and cannot be used; the one before it stays", "error", err)
			return true
		}
		c.use(pair)
		return true
	})
}
