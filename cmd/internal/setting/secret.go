package setting

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// masked stands for a secret wherever it would show.
const masked = "****"

// maxSecretFile is the most that is read of a file of secrets, in bytes.
const maxSecretFile = 64 << 10

// Secrets are keys or passwords that show only how many they are when they are
// printed, logged or encoded. Convert to []string where they are meant.
type Secrets []string

// String hides the secrets.
func (s Secrets) String() string {
	return strings.TrimSuffix(strings.Repeat(masked+",", len(s)), ",")
}

// GoString hides the secrets from %#v.
func (s Secrets) GoString() string { return "setting.Secrets(" + s.String() + ")" }

// LogValue keeps the secrets out of logs.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secrets out of JSON.
func (s Secrets) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// readSecretFile is the content of a file of secrets. Its errors never show any of
// it.
func readSecretFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read it: %w", err)
	}
	defer func() { _ = f.Close() }() // opened to read only: nothing can be lost
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("cannot read it: %w", err)
	}
	if len(content) > maxSecretFile {
		return "", fmt.Errorf("it is larger than %d KiB: that is no file of keys", maxSecretFile>>10)
	}
	if strings.Trim(string(content), ", \t\r\n") == "" {
		return "", errors.New("it is empty")
	}
	return string(content), nil
}
