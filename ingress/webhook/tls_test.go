package webhook

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// certificate is a fresh self-signed one for offhook.example.com.
func certificate(t *testing.T, serial int64) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"offhook.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestTLS serves HTTPS, takes another certificate while it runs, offers HTTP/1.1
// alone, and cuts who does not end the handshake.
func TestTLS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[tls.Certificate]
		first, second := certificate(t, 1), certificate(t, 2)
		now.Store(&first)
		cfg := &tls.Config{
			NextProtos:     []string{"h2", "http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil },
		}
		d := run(t, Config{TLS: cfg, MaxConnections: 2}, &fakeBus{script: script{reply: decided}})
		for _, serial := range []int64{1, 2} {
			raw := d.ln.dial(t)
			conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "offhook.example.com", NextProtos: []string{"h2", "http/1.1"}}) //nolint:gosec // its serial is looked at
			if err := conn.HandshakeContext(context.Background()); err != nil {
				t.Fatal(err)
			}
			state := conn.ConnectionState()
			if got := state.PeerCertificates[0].SerialNumber.Int64(); got != serial || state.NegotiatedProtocol != "http/1.1" {
				t.Errorf("certificate %d, protocol %q; want %d", got, state.NegotiatedProtocol, serial)
			}
			send(conn, onWire(t, incoming))
			if res, body := read(t, bufio.NewReader(conn)); res.StatusCode != 200 || body != decision {
				t.Errorf("%s: %s", res.Status, body)
			}
			raw.Close()
			now.Store(&second)
		}
		for range 10 { // strangers do not fill the log
			scanner := d.ln.dial(t)
			send(scanner, []byte("\x00\x01\x02\x03\x04\x05\x06"))
			rest(t, scanner)
		}
		if n := strings.Count(d.log.String(), "TLS handshake error"); n != 1 {
			t.Errorf("%d log lines of 10 bad handshakes:\n%s", n, d.log)
		}
		silent := d.ln.dial(t)
		began := time.Now()
		if got := rest(t, silent); got != "" {
			t.Errorf("sent %q to who said nothing", got)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the handshake was waited for %v", took)
		}
		plain := d.ln.dial(t)
		send(plain, onWire(t, incoming))
		if got := rest(t, plain); !strings.Contains(got, "400 Bad Request") {
			t.Errorf("plain HTTP got %q", got)
		}
		synctest.Wait()
		if got := d.metric(t, "offhook_webhook_connections"); got != 0 {
			t.Errorf("%v connections are open", got)
		}
		d.end(t)
	})
}

// TestKeyRotationWhileRunning swaps keys under load: the key that is valid before
// and after is never refused, the new one from the swap on, the old one not after
// the end of the overlap.
func TestKeyRotationWhileRunning(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
	status := func(key string) int {
		r := signed(t, incoming)
		for name, value := range signature(t, key, incoming) {
			r.Header.Set(name, value)
		}
		return d.post(r).Code
	}
	overlap := mustVerifier(t, testKey, otherKey)
	var swapped atomic.Bool
	var posts sync.WaitGroup
	for range 4 {
		posts.Go(func() {
			for range 200 {
				after := swapped.Load()
				if got := status(testKey); got != http.StatusOK {
					t.Errorf("the old key: %d", got)
				}
				if got := status(otherKey); after && got != http.StatusOK {
					t.Errorf("the new key after the swap: %d", got)
				}
			}
		})
	}
	d.UseVerifier(overlap)
	swapped.Store(true)
	posts.Wait()
	d.UseVerifier(nil)
	if got := status(testKey); got != http.StatusOK {
		t.Errorf("no verifier at all changed something: %d", got)
	}
	d.UseVerifier(mustVerifier(t, otherKey))
	if old, fresh := status(testKey), status(otherKey); old != http.StatusUnauthorized || fresh != http.StatusOK {
		t.Errorf("after the overlap: old key %d, new key %d", old, fresh)
	}
}
