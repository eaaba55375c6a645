package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/offhook/offhook/messages"
)

// spooled is n events, told apart by their ids.
func spooled(n int) []messages.Envelope {
	envs := make([]messages.Envelope, n)
	for i := range envs {
		envs[i] = event(fmt.Sprintf("call-%d", i%7))
		envs[i].EventID = fmt.Sprint(i)
	}
	return envs
}

// storedIDs is the ids of the events that the stream has, in its order.
func storedIDs(t testing.TB, b *Bus) []string {
	t.Helper()
	var ids []string
	for _, m := range stored(t, b, messages.StreamEvents) {
		e, err := messages.ParseEnvelope(m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.EventID)
	}
	return ids
}

func TestTellAllStoresEverythingInOrder(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for _, n := range []int{0, 1, tellWindow + 100} {
		before := len(storedIDs(t, b))
		stored, err := b.TellAll(within(t, patience), spooled(n))
		if stored != n || err != nil {
			t.Fatalf("stored %d of %d, %v", stored, n, err)
		}
		for i, id := range storedIDs(t, b)[before:] {
			if id != fmt.Sprint(i) {
				t.Fatalf("at %d is event %s", i, id)
			}
		}
	}
	if left := len(b.inbox.waits); left != 0 {
		t.Errorf("%d tokens are left", left)
	}
}

func TestTellAllSaysHowManyAreStoredAndWhyNotTheNext(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.URL())
	tests := []struct {
		name    string
		prepare func(t *testing.T, b *Bus, envs []messages.Envelope)
		code    messages.Code
	}{
		{"refused by the stream", func(_ *testing.T, _ *Bus, envs []messages.Envelope) {
			envs[20].Body = bytes.Repeat([]byte("x"), maxMessage)
		}, messages.CodeTooLarge},
		{"refused by the client", func(_ *testing.T, _ *Bus, envs []messages.Envelope) {
			envs[20].Body = bytes.Repeat([]byte("x"), maxPayload)
		}, messages.CodeTooLarge},
		{"the stream is full", func(t *testing.T, b *Bus, _ []messages.Envelope) {
			c := streamInfo(t, b, messages.StreamEvents).Config
			c.MaxMsgs = int64(streamInfo(t, b, messages.StreamEvents).State.Msgs) + 20
			if _, err := b.js.UpdateStream(within(t, patience), c); err != nil {
				t.Fatal(err)
			}
		}, messages.CodeUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := connect(t, s)
			before := len(storedIDs(t, b))
			envs := spooled(50)
			tt.prepare(t, b, envs)
			n, err := b.TellAll(within(t, patience), envs)
			if n != 20 || messages.CodeOf(err) != tt.code {
				t.Errorf("stored %d, %v; want 20 and %s", n, err, tt.code)
			}
			if ids := storedIDs(t, b)[before:]; len(ids) < 20 || strings.Join(ids[:20], " ") != strings.Join(idsOf(envs[:20]), " ") {
				t.Errorf("the stream has %v", ids)
			}
			if left := len(b.inbox.waits); left != 0 {
				t.Errorf("%d tokens are left", left)
			}
		})
	}

	t.Run("the connection is lost", func(t *testing.T) {
		b := connect(t, s, overTCP(p.url))
		p.block()
		p.muteUp() // and what is sent now is lost
		told := make(chan error, 1)
		go func() {
			n, err := b.TellAll(context.Background(), spooled(50))
			if n != 0 {
				t.Errorf("stored %d", n)
			}
			told <- err
		}()
		eventually(t, "on their way", func() bool {
			b.inbox.mu.Lock()
			defer b.inbox.mu.Unlock()
			return len(b.inbox.waits) == 50
		})
		p.cut()
		if err := receive(t, "the end", told); !errors.Is(err, errLost) {
			t.Errorf("got %v, want %v", err, errLost)
		}
		eventually(t, "disconnected", func() bool { return !b.Connected() })
		if n, err := b.TellAll(within(t, patience), spooled(3)); n != 0 || !errors.Is(err, errDisconnected) {
			t.Errorf("without a connection: %d, %v", n, err)
		}
	})
}

func idsOf(envs []messages.Envelope) []string {
	ids := make([]string, len(envs))
	for i, e := range envs {
		ids[i] = e.EventID
	}
	return ids
}

func TestTellAllEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.URL())
	b := connect(t, s, overTCP(p.url))
	p.muteDown()
	n, err := b.TellAll(within(t, quiet), spooled(3))
	if n != 0 || messages.CodeOf(err) != messages.CodeTimeout {
		t.Errorf("got %d, %v; want timeout", n, err)
	}
	p.cut()
}
