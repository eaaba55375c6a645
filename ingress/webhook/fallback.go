package webhook

import (
	"fmt"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// nothing is the answer that asks TeleSign for no action.
var nothing = []byte("{}")

// fallbacks are the answers the door gives by itself, encoded once.
type fallbacks struct {
	hold, hangup []byte
}

func newFallbacks(cfg Config) (fallbacks, error) {
	hold, err := telesign.Encode(cfg.hold())
	if err != nil {
		return fallbacks{}, fmt.Errorf("encode the hold prompt: %w", err)
	}
	hangup, err := telesign.Encode(telesign.Hangup{})
	if err != nil {
		return fallbacks{}, fmt.Errorf("encode the hangup: %w", err)
	}
	return fallbacks{hold: hold, hangup: hangup}, nil
}

// answer is what an event gets when no worker decided: nothing where the answer is
// ignored or the event is not known, hangup for a dial that was not answered, and
// for all others a hold prompt, whose completion is the next event and so buys a
// second window.
func (f fallbacks) answer(e telesign.Event) (body []byte, told messages.ToldAnswer) {
	switch e.Name {
	case telesign.DialCompleted:
		if e.Status != telesign.StatusAnswered {
			return f.hangup, messages.ToldHangup
		}
		return f.hold, messages.ToldHold
	case telesign.IncomingCall, telesign.SpeakCompleted, telesign.PlayCompleted, telesign.CallLegCompleted:
		return f.hold, messages.ToldHold
	case telesign.CallCompleted:
	}
	return nothing, messages.ToldNothing
}
