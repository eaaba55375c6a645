package flow_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	var (
		menu = flow.Question{
			Collect: telesign.CollectDigits{Max: 3, Terminators: "#A"},
			Routes:  map[string]string{"1": "one", "007": "bond", "0": flow.TargetHangup, "4": flow.TargetRepeat},
			Accept: []flow.Accept{
				{From: "2", To: "12", Label: "some"}, {From: "3", Label: "three"}, {From: "01", Label: "leading"}, {From: "B*", Label: "odd"},
			},
			Keys: map[string]string{"*": flow.TargetRepeat, "9": "never", "99": "stop"},
		}
		zero  = flow.Question{Accept: []flow.Accept{{From: "0", To: "10", Label: "rating"}}}
		huge  = flow.Question{Accept: []flow.Accept{{From: "5", To: "123456789012345678901234567890"}}}
		open  = flow.Question{Open: true, Keys: map[string]string{"*": flow.TargetRepeat, "9": "stop"}, Collect: telesign.CollectDigits{Terminators: "#"}}
		any   = flow.Question{Open: true, Any: true, Collect: telesign.CollectDigits{Terminators: "#"}}
		loose = flow.Question{Open: true, Collect: telesign.CollectDigits{}}
	)
	accepted := func(value, label string) flow.Match {
		return flow.Match{Kind: flow.Accepted, Value: value, Label: label}
	}
	routed := func(target, value string) flow.Match {
		return flow.Match{Kind: flow.Routed, Target: target, Value: value}
	}
	noInput, invalid, repeat := flow.Match{Kind: flow.NoInput}, flow.Match{Kind: flow.Invalid}, flow.Match{Kind: flow.Repeat}
	for _, tt := range []struct {
		name     string
		question flow.Question
		digits   string
		want     flow.Match
	}{
		{"nothing", menu, "", noInput},
		{"terminator alone", menu, "#", noInput},
		{"other terminator alone", menu, "A", noInput},
		{"two terminators: one is stripped", menu, "##", invalid},
		{"digits", menu, "1", routed("one", "1")},
		{"digits and terminator", menu, "1#", routed("one", "1")},
		{"digits and other terminator", menu, "1A", routed("one", "1")},
		{"leading zeros are part of a key", menu, "007", routed("bond", "007")},
		{"without them it is another", menu, "7", accepted("7", "some")},
		{"zero is a key, not nothing", menu, "0", routed(flow.TargetHangup, "0")},
		{"repeat in digits", menu, "4", repeat},
		{"exact before range", menu, "3", accepted("3", "three")},
		{"range", menu, "11", accepted("11", "some")},
		{"range ends", menu, "12", accepted("12", "some")},
		{"past the range", menu, "13", invalid},
		{"range without leading zeros", menu, "03", invalid},
		{"exact with leading zeros", menu, "01", accepted("01", "leading")},
		{"accepted before keys", menu, "9", accepted("9", "some")},
		{"keys are not saved", menu, "99", routed("stop", "")},
		{"star repeats", menu, "*", repeat},
		{"star and terminator", menu, "*#", repeat},
		{"star inside", menu, "B*", accepted("B*", "odd")},
		{"letters", menu, "C", invalid},
		{"terminator in front is not trailing", menu, "#1", invalid},
		{"not a number", menu, "2*", invalid},
		{"what a phone cannot send", menu, "２", invalid},

		{"range from zero", zero, "0", accepted("0", "rating")},
		{"double zero", zero, "00", invalid},
		{"range end", zero, "10", accepted("10", "rating")},
		{"longer than any number type", huge, "123456789012345678901234567889", accepted("123456789012345678901234567889", "")},
		{"past it", huge, "123456789012345678901234567891", invalid},

		{"open accepts all", open, "007", accepted("007", "")},
		{"open knows its keys", open, "9", routed("stop", "")},
		{"open repeats", open, "*", repeat},
		{"open needs input", open, "#", noInput},
		{"hash is a key when it does not terminate", loose, "#", accepted("#", "")},

		{"any takes nothing", any, "", accepted("", "")},
		{"any strips", any, "12#", accepted("12", "")},
		{"any takes a terminator alone", any, "#", accepted("", "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.question.Match(tt.digits)); diff != "" {
				t.Errorf("Match(%q) (-want +got)\n%s", tt.digits, diff)
			}
		})
	}
}
