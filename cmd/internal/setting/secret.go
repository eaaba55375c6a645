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

// ReadSecrets is what a file of secrets holds by now, for those who follow it while
// it changes; text is its content. It reads as [Set.Resolve] does. The error shows
// nothing of a secret.
func ReadSecrets(text string) (Secrets, error) {
	if err := checkSecretFile(text); err != nil {
		return nil, err
	}
	return splitSecrets(text)
}

func splitSecrets(text string) (Secrets, error) {
	keys := Secrets(split(text, ",\r\n"))
	if len(keys) == 0 && text != "" {
		return nil, errors.New("want at least one key")
	}
	return keys, nil
}

func checkSecretFile(content string) error {
	if len(content) > maxSecretFile {
		return fmt.Errorf("it is larger than %d KiB: that is no file of keys", maxSecretFile>>10)
	}
	if strings.Trim(content, ", \t\r\n") == "" {
		return errors.New("it is empty")
	}
	return nil
}

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
	return string(content), checkSecretFile(string(content))
}
