package telesign_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

const (
	customerID = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890"
	// sdkKey is the key of the tests of TeleSign's SDKs; its four dashes are not base64.
	sdkKey = "EXAMPLE----TE8sTgg45yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="
	key    = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="

	sdkBody      = `{'test': 123}`
	sdkSignature = "B97g3N9lPdVaptvifxRau7bzVAC5hhRBZ6HKXABN744="
	signature    = "sCUxv5gN0n90xgpTpaMPWyR0ODoSF21i07r2ChE+HaU=" // of testdata/events/incoming_call.json
)

func TestSignWebhook(t *testing.T) {
	t.Parallel()
	if got, err := telesign.SignWebhook(sdkKey, []byte(sdkBody)); err != nil || got != sdkSignature {
		t.Errorf("vector of TeleSign's SDKs: %q, %v; want %q", got, err, sdkSignature)
	}
	if got, err := telesign.SignWebhook(key, golden(t, "events", "incoming_call.json")); err != nil || got != signature {
		t.Errorf("incoming_call: %q, %v; want %q", got, err, signature)
	}
	for _, bad := range []string{"", "----", "ABC", "A=BC"} {
		if _, err := telesign.SignWebhook(bad, nil); messages.CodeOf(err) != messages.CodeUsage {
			t.Errorf("key %q: %v", bad, err)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	body := golden(t, "events", "incoming_call.json")
	wrong := base64.StdEncoding.EncodeToString(make([]byte, 32))
	short := base64.StdEncoding.EncodeToString(make([]byte, 20))
	tests := []struct {
		name                string
		authorization, xTSA string
		fault               string // part of the error, "" for none
	}{
		{"both as documented", "TSA " + customerID + ":" + signature, signature, ""},
		{"Authorization only", "TSA " + customerID + ":" + signature, "", ""},
		{"X-TS-Authorization only", "", signature, ""},
		{"swapped", signature, "TSA " + customerID + ":" + signature, ""},
		{"bare in Authorization", signature, "", ""},
		{"id without scheme", customerID + ":" + signature, "", ""},
		{"scheme without id", "TSA " + signature, "", ""},
		{"lower-case scheme and id", "tsa " + strings.ToLower(customerID) + ":" + signature, "", ""},
		{"spaces", "  TSA   " + customerID + ":" + signature + " ", "", ""},
		{"somebody else's Authorization", "Basic dXNlcjpwYXNz", signature, ""},
		{"unreadable Authorization", "TSA " + customerID + ":?", signature, ""},
		{"one good signature", "TSA " + customerID + ":" + wrong, signature, ""},

		{"neither", "", "", "not signed"},
		{"wrong signature", "TSA " + customerID + ":" + wrong, wrong, "does not fit"},
		{"another customer", "TSA FFFFFFFF-EEEE-DDDD-1234-AB1234567891:" + signature, "", "another customer"},
		{"another customer beside a good one", "TSA x:" + signature, signature, "another customer"},
		{"only somebody else's Authorization", "Basic dXNlcjpwYXNz", "", "no signature"},
		{"not base64", "TSA " + customerID + ":nonsense!", "", "no signature"},
		{"another length", "", short, "no signature"},
		{"unpadded", "", strings.TrimRight(signature, "="), "no signature"},
		{"cut", "TSA " + customerID, "", "no signature"},
		{"three words", "TSA x " + signature, "", "no signature"},
		{"three words, scheme in the middle", "x TSA " + signature, "", "no signature"},
		{"another scheme", "TSB " + customerID + ":" + signature, "", "no signature"},
	}
	v, err := telesign.NewVerifier(customerID, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := v.Verify(tt.authorization, tt.xTSA, body)
			if tt.fault == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if messages.CodeOf(err) != messages.CodeUnauthorized || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %v, want something about %q", err, tt.fault)
			}
		})
	}
}

func TestVerifyBody(t *testing.T) {
	t.Parallel()
	v, err := telesign.NewVerifier(customerID, key)
	if err != nil {
		t.Fatal(err)
	}
	body := golden(t, "events", "incoming_call.json")
	if err := v.Verify("", signature, append(body, '\n')); err == nil {
		t.Error("a line feed more is verified all the same")
	}
	if err := v.Verify("", signature, nil); err == nil {
		t.Error("no body is verified all the same")
	}
}

func TestVerifyRotation(t *testing.T) {
	t.Parallel()
	body := golden(t, "events", "incoming_call.json")
	const other = "AAECAwQFBgcICQ=="
	for _, keys := range [][]string{{key, other}, {other, key}} {
		v, err := telesign.NewVerifier("", keys...)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			signed, err := telesign.SignWebhook(k, body)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Verify("TSA any-customer:"+signed, "", body); err != nil {
				t.Errorf("keys %v: %v", keys, err)
			}
		}
	}
	v, err := telesign.NewVerifier(customerID, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify("", signature, body); err == nil {
		t.Error("a retired key still works")
	}
}

// One Verifier serves all requests at once: none may see another's body.
func TestVerifyConcurrently(t *testing.T) {
	t.Parallel()
	v, err := telesign.NewVerifier(customerID, sdkKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 200 {
				body := fmt.Appendf(nil, "%d-%d", worker, i)
				signed, err := telesign.SignWebhook(key, body)
				if err == nil {
					err = v.Verify("", signed, body)
				}
				if err != nil {
					t.Error(err)
				}
				if v.Verify("", signed, append(body, '!')) == nil {
					t.Errorf("%s: the signature of another body is good", body)
				}
			}
		})
	}
	all.Wait()
}

func TestNewVerifierRefuses(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]string{nil, {""}, {key, "not!base64"}} {
		_, err := telesign.NewVerifier(customerID, keys...)
		if messages.CodeOf(err) != messages.CodeUsage {
			t.Errorf("%d keys: %v", len(keys), err)
		}
		if err != nil && strings.Contains(err.Error(), "not!base64") {
			t.Errorf("the key shows: %v", err)
		}
	}
}

// FuzzVerify checks that nothing but the signature of the body passes, in whatever
// form it comes.
func FuzzVerify(f *testing.F) {
	f.Add("TSA "+customerID+":"+signature, signature, golden(f, "events", "incoming_call.json"))
	f.Add("Basic dXNlcjpwYXNz", " : ", []byte(sdkBody))
	f.Add("TSA ::", "TSA", []byte(nil))
	v, err := telesign.NewVerifier(customerID, sdkKey, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, authorization, xTSA string, body []byte) {
		err := v.Verify(authorization, xTSA, body)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeUnauthorized {
				t.Fatalf("error of code %s: %v", messages.CodeOf(err), err)
			}
			return
		}
		for _, k := range []string{sdkKey, key} {
			want, err := telesign.SignWebhook(k, body)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(authorization, want) || strings.Contains(xTSA, want) {
				return
			}
		}
		t.Fatal("verified without the signature of the body")
	})
}
