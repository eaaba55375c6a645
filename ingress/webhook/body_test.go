package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// FuzzBody posts anything as if it were signed. It is taken, byte for byte and
// fit for a message's headers, or refused with a 400 that says why; it never
// panics and is never our fault.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", "[]", incoming, ended, dialled("answered"), named("a\\u0000\\r\\nb"),
		`{"event":"x","reference_id":"\ud800","event":1}`, `{"event":"é","reference_id":" "}`,
		strings.Repeat("[", 20000), `{"event":"speak_completed","reference_id":"A","data":{"collected_digits":1e999}}`,
		`{"event":"call_completed","reference_id":"A","data":{"duration":-1,"created_on_utc":"2019-03-15T06:48:22.151"}}`,
	} {
		f.Add([]byte(body))
	}
	b := &fakeBus{script: script{reply: decided}}
	d := newDoor(f, Config{Insecure: true}, b)
	d.Server.log = slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, body []byte) {
		b.asked, b.told, b.journal = nil, nil, nil
		w := d.post(httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body)))
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("the answer is not JSON: %q", w.Body)
		}
		switch w.Code {
		case http.StatusOK:
			taken := slices.Concat(b.asked, b.told)
			if len(taken) != 1 || !bytes.Equal(taken[0].Body, body) {
				t.Fatalf("%d messages for one event", len(taken))
			}
			back, err := messages.ParseEnvelope(taken[0].Header(), taken[0].Body)
			if err != nil || back.CallID != taken[0].CallID || back.Event != taken[0].Event {
				t.Errorf("after the wire %+v, %v; before it %+v", back, err, taken[0])
			}
			for name, values := range taken[0].Header() {
				if strings.ContainsAny(values[0], "\r\n\x00") {
					t.Errorf("header %s is %q", name, values[0])
				}
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			var e messages.ErrorBody
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error.Message == "" || e.Error.Code == "" {
				t.Errorf("the refusal says nothing: %s", w.Body)
			}
			if len(b.journal) != 0 {
				t.Errorf("refused, and yet %q", b.journal)
			}
		default:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

// quickBus stores and decides at once.
type quickBus struct{ Bus }

func (quickBus) Ask(messages.Envelope) (*bus.Pending, error) {
	stored, replies := make(chan error, 1), make(chan messages.Reply, 1)
	stored <- nil
	replies <- decided
	return &bus.Pending{Stored: stored, Reply: replies}, nil
}

func (quickBus) Connected() bool { return true }

// discard is a client that takes everything.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
func (d discard) Flush()                      {}

// BenchmarkServe is the door without network and bus: reading, checking, parsing,
// waiting, writing.
func BenchmarkServe(b *testing.B) {
	for name, body := range map[string]string{
		"usual": incoming,
		"64KiB": incoming + strings.Repeat(" ", MaxBody-len(incoming)),
	} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Config{}, mustVerifier(b, testKey), quickBus{}, nil, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			r := signed(b, body)
			reader := strings.NewReader(body)
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				r.Body = io.NopCloser(reader)
				s.serve(context.Background(), discard{http.Header{}}, r)
			}
		})
	}
}
