package role_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
)

const otherKey = "c2VjcmV0c2VjcmV0"

// keyPair is a self-signed certificate for 127.0.0.1 and its key, both PEM.
func keyPair(t *testing.T, serial int64, expires time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "a test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: expires.Add(-48 * time.Hour), NotAfter: expires,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", encoded)
}

var tomorrow = time.Now().Add(24 * time.Hour)

// secretVolume is a directory of files that change together, as Kubernetes mounts
// secrets: the files are links into a directory that is a link.
type secretVolume struct {
	t   *testing.T
	dir string
}

func newVolume(t *testing.T, version string, files map[string]string) secretVolume {
	t.Helper()
	v := secretVolume{t: t, dir: t.TempDir()}
	v.use(version, files)
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), v.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (v secretVolume) path(name string) string { return filepath.Join(v.dir, name) }

// use puts another version of the files in place, all at once.
func (v secretVolume) use(version string, files map[string]string) {
	v.t.Helper()
	if err := os.Mkdir(v.path(version), 0o700); err != nil {
		v.t.Fatal(err)
	}
	for name, content := range files {
		write(v.t, v.path(version), name, content)
	}
	if err := os.Symlink(version, v.path("..new")); err != nil {
		v.t.Fatal(err)
	}
	if err := os.Rename(v.path("..new"), v.path("..data")); err != nil {
		v.t.Fatal(err)
	}
}

// hook is an ingress at work on TLS.
type hook struct {
	t   *testing.T
	url string
}

// post posts an event that needs no worker, signed with key, on a connection of its
// own. It returns the status and the serial number of the certificate.
func (h hook) post(key string) (status int, serial int64) {
	h.t.Helper()
	const event = `{"event":"call_completed","reference_id":"A","data":{"status":"call_completed"}}`
	signature, err := telesign.SignWebhook(key, []byte(event))
	if err != nil {
		h.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(within(h.t), http.MethodPost, h.url, bytes.NewBufferString(event))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("X-TS-Authorization", signature)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // which one it is, is what is looked at
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, resp.TLS.PeerCertificates[0].SerialNumber.Int64()
}

// sees checks which certificate is shown and which keys are accepted.
func (h hook) sees(when string, serial int64, accepted map[string]bool) {
	h.t.Helper()
	for key, good := range accepted {
		want := http.StatusUnauthorized
		if good {
			want = http.StatusOK
		}
		if status, got := h.post(key); status != want || got != serial {
			h.t.Errorf("%s: %d with certificate %d for key %.6s…, want %d with %d", when, status, got, key, want, serial)
		}
	}
}

// An ingress shows the certificate and accepts the keys that its files hold by now.
// What is wrong changes nothing and is said once.
func TestRotation(t *testing.T) {
	t.Parallel()
	files := func(serial int64, keys string) map[string]string {
		cert, key := keyPair(t, serial, tomorrow)
		return map[string]string{"tls.crt": cert, "tls.key": key, "api-key": keys}
	}
	volume := newVolume(t, "1", files(1, apiKey))
	p, _, log := connect(t)
	certificate, err := role.OpenCertificate(volume.path("tls.crt"), volume.path("tls.key"), log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	s, err := p.Ingress(role.IngressConfig{
		Account:     role.Account{Keys: []string{apiKey}, KeyFile: volume.path("api-key")},
		Certificate: certificate,
	}, ln)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- stage.Run(ctx, log.Logger(), s) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	h := hook{t: t, url: log.Await(t, `msg="webhook listening" url=(https://\S+)`)[1]}
	h.sees("at first", 1, map[string]bool{apiKey: true, otherKey: false})
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} //nolint:gosec // it must be refused
	dialer := &tls.Dialer{Config: old}
	if conn, err := dialer.DialContext(within(t), "tcp", ln.Addr().String()); err == nil {
		t.Errorf("TLS 1.1 is spoken: %v", conn.Close())
	}

	volume.use("2", files(2, otherKey+"\n"+apiKey+"\n"))
	log.Await(t, `msg="API keys replaced" for="webhook signatures" file=\S+ keys=2`)
	log.Await(t, `msg="certificate loaded" .*serial=2 `)
	h.sees("in the overlap", 2, map[string]bool{apiKey: true, otherKey: true})

	broken := files(3, " \n")
	broken["tls.key"] = files(4, "")["tls.key"]
	volume.use("3", broken)
	log.Await(t, `level=ERROR msg="the file of API keys has changed and is wrong; the keys before it stay in use" .*error="it is empty"`)
	log.Await(t, `level=ERROR msg="the certificate has changed and cannot be used; the one before it stays" error="--tls-cert-file .*no pair`)
	h.sees("while the files are wrong", 2, map[string]bool{apiKey: true, otherKey: true})

	volume.use("4", files(5, otherKey))
	log.Await(t, `msg="API keys replaced" for="webhook signatures" file=\S+ keys=1`)
	log.Await(t, `msg="certificate loaded" .*serial=5 `)
	h.sees("after it", 5, map[string]bool{apiKey: false, otherKey: true})
	if text := log.String(); strings.Count(text, "level=ERROR") != 2 || strings.Contains(text, apiKey) || strings.Contains(text, otherKey) {
		t.Errorf("want two errors and no key in the log:\n%s", text)
	}
}

func TestOpenCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := keyPair(t, 1, tomorrow)
	_, strange := keyPair(t, 2, tomorrow)
	expired, expiredKey := keyPair(t, 3, time.Now().Add(-time.Hour))
	missing := filepath.Join(dir, "missing")
	certFile, keyFile := write(t, dir, "crt", cert), write(t, dir, "key", key)
	for _, tt := range []struct{ name, cert, key, says string }{
		{"no certificate", missing, keyFile, "--tls-cert-file (OFFHOOK_TLS_CERT_FILE): cannot read it: open " + missing},
		{"no key", certFile, missing, "--tls-key-file (OFFHOOK_TLS_KEY_FILE): cannot read it: open " + missing},
		{"another key", certFile, write(t, dir, "strange", strange), "--tls-cert-file (OFFHOOK_TLS_CERT_FILE): " + certFile + " and the key " + filepath.Join(dir, "strange") + " are no pair that can be used: tls: private key does not match"},
		{"swapped", keyFile, certFile, "are no pair that can be used"},
	} {
		c, err := role.OpenCertificate(tt.cert, tt.key, (&logtest.Log{}).Logger())
		if c != nil || messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.says)
		}
	}
	log := &logtest.Log{}
	if _, err := role.OpenCertificate(write(t, dir, "old", expired), write(t, dir, "oldkey", expiredKey), log.Logger()); err != nil {
		t.Errorf("an expired one is better than none: %v", err)
	}
	log.Await(t, `level=ERROR msg="the certificate has expired`)
}

// An ingress that can still keep events is ready without NATS, and one that cannot is
// not.
func TestReadyWithoutNATS(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size   int64
		status int
		says   string
	}{{1 << 20, http.StatusOK, `"ready"`}, {200 << 10, http.StatusServiceUnavailable, "and the spool is full"}} {
		log := &logtest.Log{}
		ns := startNATS(t)
		p, err := role.Connect(within(t), bus.Config{InProcess: ns}, nil, prometheus.NewRegistry(), log.Logger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		kept, err := role.OpenSpool(t.TempDir(), tt.size, log.Logger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := kept.Close(); err != nil {
				t.Error(err)
			}
		})
		if _, err := p.Ingress(role.IngressConfig{Webhook: webhook.Config{Insecure: true}, Spool: kept}, listen(t)); err != nil {
			t.Fatal(err)
		}
		ln := listen(t)
		internal := role.OpenInternal(t.Context(), ln, log.Logger())
		t.Cleanup(internal.Close)
		p.Internal(nil, internal, 0)
		url := "http://" + ln.Addr().String() + "/readyz"
		if status, body := get(t, url); status != http.StatusOK {
			t.Errorf("with NATS: got %d %s", status, body)
		}
		ns.Close()
		if status, body := get(t, url); status != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("without NATS: got %d %s, want %d %s", status, body, tt.status, tt.says)
		}
	}
}

func TestOpenSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := role.OpenSpool(dir, 0, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{dir, ""} {
		_, err := role.OpenSpool(data, 0, (&logtest.Log{}).Logger())
		if messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), "--data (OFFHOOK_DATA)") {
			t.Errorf("%q: got %v", data, err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := role.OpenSpool(dir, 0, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	families, err := role.NewRegistry("v1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, f := range families {
		found[f.GetName()] = f.GetMetric()[0].String()
	}
	if build := found["offhook_build_info"]; !strings.Contains(build, `"v1.2.3"`) || !strings.Contains(build, `name:"go"`) || !strings.Contains(build, "value:1") {
		t.Errorf("the build is %q", build)
	}
	if found["go_goroutines"] == "" || found["process_open_fds"] == "" {
		t.Errorf("only %v are there", found)
	}
}
