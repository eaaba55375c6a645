package bus

import (
	"testing"
	"time"
)

// A process hears what the others say about their spools, and not itself.
func TestSpoolingIsHeardByTheOthers(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	one, other := connect(t, s), connect(t, s)
	began := time.Now()
	if err := one.SaySpooling(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other hears it", func() bool { return !other.HeardSpooling().Before(began) })
	if at := one.HeardSpooling(); !at.IsZero() {
		t.Errorf("it heard itself at %s", at)
	}
}
