package simulator

import (
	"errors"
	"fmt"
	"slices"

	"github.com/offhook/offhook/messages/telesign"
)

// verdict is what became of one event's answer.
type verdict struct {
	event   telesign.EventName
	action  telesign.Action
	missed  string // why there is no answer
	invalid string // why TeleSign would refuse it
	lost    bool   // a fault broke the connection
	hold    bool   // the action is a hold
}

// decided reports whether there is an answer.
func (v verdict) decided() bool { return v.missed == "" && !v.lost }

func (v verdict) method() telesign.Method {
	if v.action == nil {
		return noAction
	}
	return v.action.Method()
}

// judge reads an answer. An error is why TeleSign would refuse it. A nil action is
// no error only where nobody is waiting to hear something.
func (c *call) judge(e telesign.Event, body []byte) (telesign.Action, error) {
	action, err := telesign.ParseAction(body)
	if e.Name == telesign.CallCompleted { // whatever it is, TeleSign ignores it
		return action, nil
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("is longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, err
	}
	if action == nil {
		if c.open && c.end == "" && !c.leg || e.Name == telesign.IncomingCall {
			return nil, errors.New("asks for no action: the person on the line hears nothing more")
		}
		return nil, nil
	}
	if !c.sim.cfg.AnswerTable.Allows(e.Name, action.Method()) {
		return nil, fmt.Errorf("%s: %s cannot answer %s by the %s table",
			telesign.UnsupportedCallState, action.Method(), e.Name, c.sim.cfg.AnswerTable)
	}
	if c.outcome != Answered && action.Method() != telesign.MethodHangup {
		return nil, fmt.Errorf("%s: %s needs somebody on the line, and the dial ended with %s",
			telesign.UnsupportedCallState, action.Method(), c.outcome)
	}
	if d, bridge := action.(telesign.Dial); bridge {
		if word := c.sim.refuse(d, c.info.From); word != "" && !slices.Contains(blockWords(), word) {
			return nil, errors.New(string(word))
		}
	}
	return action, action.Validate()
}
