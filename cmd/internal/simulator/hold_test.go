package simulator

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
)

// Holds are known by their text, counted in rows, and people hang up in them.
func TestHolds(t *testing.T) {
	t.Parallel()
	l := live(t, inject(t), answers(holding, longHold, speak, holding, hangup), nil)
	if diff := cmp.Diff(Holds{Count: 3, Calls: 1, LongestRow: 2, Rows: map[int]int{1: 1, 2: 1}}, l.report.Holds); diff != "" {
		t.Errorf("holds (-want +got):\n%s", diff)
	}
	if got := l.HoldRows(); !slices.Equal(got, []int{2, 1}) {
		t.Errorf("rows %v, want 2 and 1", got)
	}
	l = live(t, inject(t, "hang-up-in-hold=1"), answers(speak, longHold, hangup), nil)
	if l.End != EndPerson || len(l.Exchanges) != 3 || l.report.Faults[FaultHangUpInHold] != 1 || l.report.Holds.Rows[1] != 1 {
		t.Errorf("ended with %s\n%s", l.End, l.report)
	}
	// 2s of ringing, 2s of speaking, then somewhere in a hold of 3.266s.
	if at := l.total(); at < 4300*time.Millisecond || at > 7*second {
		t.Errorf("hung up at %s", at)
	}
	cfg := inject(t)
	cfg.HoldTexts = nil
	if l := live(t, cfg, answers(holding), nil); l.report.Holds.Count != 0 {
		t.Errorf("a hold was recognised without its text:\n%s", l.report)
	}
}

func TestWhatIsAHold(t *testing.T) {
	t.Parallel()
	h := newHolds([]string{"  Ten & more,\nplease. "})
	for message, want := range map[string]bool{
		"Ten & more, please.": true,
		`<speak>Ten &amp; more, please.<break strength="strong"/></speak>`: true,
		"Ten & more, please. Bye.": false, "": false,
	} {
		if h.is(telesign.Speak{Message: message}) != want {
			t.Errorf("%q is a hold: %v", message, !want)
		}
		if h.is(telesign.Speak{Message: message, CollectDigits: &telesign.CollectDigits{Max: 1}}) {
			t.Errorf("%q that collects is a hold", message)
		}
	}
	if h.is(nil) || h.is(telesign.Hangup{}) {
		t.Error("what speaks nothing is a hold")
	}
}
