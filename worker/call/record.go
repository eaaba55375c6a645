package call

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
)

// failureWords maps the words that a dial may fail with to dispositions. TeleSign
// documents "answered" only, so every spelling seen anywhere is listed; a word that
// is not here is failed, and shown raw beside it.
var failureWords = map[string]messages.Disposition{
	"busy":                  messages.DispositionBusy,
	"user_busy":             messages.DispositionBusy,
	"no_answer":             messages.DispositionNoAnswer,
	"no-answer":             messages.DispositionNoAnswer,
	"noanswer":              messages.DispositionNoAnswer,
	"not_answered":          messages.DispositionNoAnswer,
	"unanswered":            messages.DispositionNoAnswer,
	"ring_timeout":          messages.DispositionNoAnswer,
	"timeout":               messages.DispositionNoAnswer,
	"invalid_phone_number":  messages.DispositionInvalidNumber,
	"invalid_number":        messages.DispositionInvalidNumber,
	"unallocated_number":    messages.DispositionInvalidNumber,
	"blocked":               messages.DispositionBlocked,
	"to_number_blocked":     messages.DispositionBlocked,
	"no_user_response":      messages.DispositionNoAnswer,
	"subscriber_absent":     messages.DispositionNoAnswer,
	"number_not_in_service": messages.DispositionInvalidNumber,
}

// notReached reports whether a call ended without anybody at the other end.
func (s State) notReached() bool {
	return s.Begun == 0 && (s.DialStatus != "" || s.End.Answered == 0)
}

// Disposition is the one word the call ends in, and a reason that refines it. Both
// are empty while the call is live.
func (s State) Disposition() (messages.Disposition, string) {
	if !s.Ended() {
		return "", ""
	}
	switch {
	case s.OptedOut:
		return messages.DispositionOptedOut, ""
	case s.Word != "":
		return messages.Disposition(s.Word), s.Fail
	case s.Fail != "":
		return messages.DispositionFailed, s.Fail
	case s.notReached():
		word := s.DialStatus
		if word == "" {
			word = s.End.Status
		}
		if d, ok := failureWords[strings.ToLower(word)]; ok {
			return d, ""
		}
		return messages.DispositionFailed, word
	case s.FlowEnded && !s.GaveUp:
		return messages.DispositionCompleted, ""
	case len(s.Answers) > 0:
		return messages.DispositionPartial, ""
	case s.FlowEnded && !s.Keyed:
		return messages.DispositionNoResponse, ""
	}
	return messages.DispositionHungUp, ""
}

// Record is what is known of the call, as revision. The timeline is folded from
// log, which must be the call's whole log.
func (m Machine) Record(s State, log []Entry, revision uint64) (messages.Record, error) {
	r := messages.Record{Schema: messages.RecordSchema, CallID: s.CallID, Revision: revision}
	if f := s.Facts; f != nil {
		r.ExternalID, r.Flow, r.FlowHash = f.ExternalID, f.Flow, f.FlowHash
		r.Direction, r.To, r.From, r.Contact = f.Direction, f.To, f.From, maps.Clone(f.Contact)
	}
	r.Disposition, r.Reason = s.Disposition()
	r.LastStep, r.OptedOut, r.Prompts, r.Holds = s.Step, s.OptedOut, s.Prompts, s.Holds
	r.Status = s.DialStatus
	r.AnsweredAt = micro(s.Begun)
	if e := s.End; e != nil {
		r.EndedAt = micro(e.At)
		if e.Status != "" {
			r.Status = e.Status
		}
		switch {
		case s.notReached(): // nobody was there to hang up
		case e.ByFlow:
			r.HungUpBy = messages.HungUpByFlow
		default:
			r.HungUpBy = messages.HungUpByPerson
		}
		if s.Facts == nil {
			r.Direction, r.To, r.From = e.Direction, e.To, e.From
		}
		r.Duration, r.AudioRecordingFileName = e.Duration, e.Recording
		if e.Created != 0 {
			r.StartedAt = micro(e.Created * 1000)
		}
		if e.Answered != 0 {
			r.AnsweredAt = micro(e.Answered * 1000)
		}
		if e.Ended != 0 {
			r.EndedAt = micro(e.Ended * 1000)
		}
		if e.Answered != 0 && e.Ended > e.Answered {
			r.TalkSeconds = float64(e.Ended-e.Answered) / 1000
		}
	}
	r.Answers = slices.Grow(r.Answers, len(s.Answers))
	for _, a := range s.Answers {
		r.Answers = append(r.Answers, messages.Answer{Name: a.Name, Value: a.Value, Label: a.Label, Step: a.Step, At: time.UnixMicro(a.At).UTC()})
	}
	var err error
	r.Timeline, err = m.timeline(s, log)
	return r, err
}

// timeline is the call's log, with what was decided at each entry. Moments with
// the same answer share its bytes.
func (m Machine) timeline(s State, log []Entry) ([]messages.Moment, error) {
	_, decisions := m.fold(s, log)
	moments := make([]messages.Moment, len(log))
	decided := make([]time.Time, len(log))
	encoded := -1 // the decision whose answer was encoded last
	for i, e := range log {
		d := decisions[i]
		moment := messages.Moment{
			At: time.UnixMicro(e.Key).UTC(), EventID: e.ID, Event: string(e.Name), Status: e.Status, Digits: e.Digits,
			Decision: string(d.Kind), Step: d.Step, Reason: d.Reason,
		}
		if at := e.Key + e.Took; at != 0 {
			decided[i] = time.UnixMicro(at).UTC()
			moment.DecidedAt = &decided[i]
		}
		if e.End != nil {
			moment.Status = e.End.Status
		}
		switch {
		case e.Told != nil:
			moment.Event, moment.Status, moment.Reason = string(messages.KindTold), string(e.Told.Answer), e.Told.Reason
		case d.Hold:
		case e.Otherwise: // what was answered is not kept, and this is not it
			moment.Reason = reasonOtherwise
		case encoded >= 0 && sameAction(d.Action, decisions[encoded].Action):
			moment.Action = moments[encoded].Action
		default:
			body, err := d.Body()
			if err != nil {
				return nil, err
			}
			moment.Action, encoded = body, i
		}
		moments[i] = moment
	}
	return moments, nil
}

// reasonOtherwise is why a moment has no answer.
const reasonOtherwise = "answered before earlier events of the call had come, and otherwise"

func micro(us int64) *time.Time {
	if us == 0 {
		return nil
	}
	t := time.UnixMicro(us).UTC()
	return &t
}
