package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/messages/bus/embedded"
)

// selfSigned writes a certificate and its key to the files.
func selfSigned(t *testing.T, serial int64, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	save(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	save(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func save(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The ingress command serves TLS, follows the files it was named, keeps its spool for
// itself and says what it is.
func TestIngress(t *testing.T) {
	ns, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	dir := t.TempDir()
	certFile, keyFile, apiKeyFile, data := filepath.Join(dir, "crt"), filepath.Join(dir, "key"), filepath.Join(dir, "api-key"), filepath.Join(dir, "data")
	selfSigned(t, 1, certFile, keyFile)
	save(t, apiKeyFile, apiKey)
	env := []string{
		"OFFHOOK_NATS_URL=" + ns.URL(), "OFFHOOK_API_KEY_FILE=" + apiKeyFile, "OFFHOOK_TLS_CERT_FILE=" + certFile, "OFFHOOK_TLS_KEY_FILE=" + keyFile,
		"OFFHOOK_DATA=" + data, "OFFHOOK_LISTEN=127.0.0.1:0", "OFFHOOK_INTERNAL_LISTEN=127.0.0.1:0", "OFFHOOK_LAME_DUCK=0s",
	}
	p := start(t, env, "ingress")
	p.stderr.Await(t, `msg="webhook: taking events" .*tls=true`)
	p.stderr.Await(t, `msg="webhook listening" url=https://`)
	internal := p.stderr.Await(t, `msg="internal listener" url=(\S+)`)[1]

	if _, stderr := run(t, env, 2, "ingress"); !strings.Contains(stderr, "--data (OFFHOOK_DATA)") {
		t.Errorf("a second one in the same directory: %s", stderr)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(internal + "/metrics") //nolint:noctx // it ends with the process
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(metrics), "offhook_build_info{go=\"go1.") || !strings.Contains(string(metrics), "\noffhook_spool_events 0\n") {
		t.Errorf("got %s, %v", metrics, err)
	}

	selfSigned(t, 2, certFile, keyFile)
	save(t, apiKeyFile, "c2VjcmV0c2VjcmV0,"+apiKey)
	p.stderr.Await(t, `msg="API keys replaced" for="webhook signatures" .*keys=2`)
	p.stderr.Await(t, `msg="certificate loaded" .*serial=2 `)
	p.end()
	if _, err := os.Stat(filepath.Join(data, "spool")); err != nil {
		t.Errorf("the spool: %v", err)
	}
}
