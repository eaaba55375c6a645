package local

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// dataSetting is what to change when the data directory cannot be used.
const dataSetting = "--data (OFFHOOK_DATA)"

// lock takes the directory for this process, making it if need be.
func lock(dir string, log *slog.Logger) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, messages.FieldErrorf(messages.CodeUsage, dataSetting, "cannot use it: %w", err)
	}
	file := flock.New(filepath.Join(dir, "lock"))
	ok, err := file.TryLock()
	switch {
	case err != nil:
		return nil, messages.FieldErrorf(messages.CodeUsage, dataSetting, "cannot lock %s: %w", dir, err)
	case !ok:
		return nil, messages.FieldErrorf(messages.CodeUsage, dataSetting, "%s is in use by another offhook; stop it or name another directory", dir)
	}
	return func() {
		if err := file.Unlock(); err != nil {
			log.Warn("data directory not unlocked; the end of the process does it", "error", err)
		}
	}, nil
}

// accountKey is the simulated account's key. It is made once and survives restarts,
// so that whoever signs test events signs with the same key tomorrow; nobody else
// on the machine can read it.
func accountKey(path string) (string, error) {
	stored, err := os.ReadFile(path)
	if err == nil {
		key := strings.TrimSpace(string(stored))
		if err := (telesign.Credentials{CustomerID: CustomerID, APIKey: key}).Validate(); err != nil {
			return "", messages.FieldErrorf(messages.CodeUsage, dataSetting, "%s holds no API key; remove it to get a new one: %w", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", messages.FieldErrorf(messages.CodeUsage, dataSetting, "cannot read the simulated account's key: %w", err)
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails; it would end the process
	key := base64.StdEncoding.EncodeToString(secret)
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		return "", messages.FieldErrorf(messages.CodeUsage, dataSetting, "cannot keep the simulated account's key: %w", err)
	}
	return key, nil
}
