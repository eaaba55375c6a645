package telesign

import "time"

// Encode is the event as TeleSign posts it: members about the call inside data,
// Extra and ExtraData after what this package knows, unless they have the name of
// a field that is set. call_completed has all its members, null or zero where there
// is nothing; in the others empty fields are left out.
func (e Event) Encode() ([]byte, error) {
	var data objectWriter
	member := func(name string, value any, set bool) {
		if set {
			data.add(name, value)
		}
	}
	ending := func(name string, value any, set bool) {
		if _, extra := e.ExtraData[name]; set || e.Name == CallCompleted && !extra {
			data.add(name, value)
		}
	}
	ending("duration", e.Duration, e.Duration != 0)
	ending("created_on_utc", wireTime(e.CreatedOn), !e.CreatedOn.IsZero())
	ending("answered_on_utc", wireTime(e.AnsweredOn), !e.AnsweredOn.IsZero())
	ending("ended_on_utc", wireTime(e.EndedOn), !e.EndedOn.IsZero())
	ending("audio_recording_file_name", orNull(e.AudioRecordingFileName), e.AudioRecordingFileName != "")
	member("to", e.To, e.To != "")
	member("from", e.From, e.From != "")
	member("direction", e.Direction, e.Direction != "")
	member("status", e.Status, e.Status != "")
	member("collected_digits", e.Digits, e.Digits != "")
	data.addRest(e.ExtraData)
	inside, err := data.object()
	if err != nil {
		return nil, err
	}

	var top objectWriter
	top.add("event", string(e.Name))
	top.add("reference_id", e.ReferenceID)
	if e.ExternalID != "" {
		top.add("external_id", e.ExternalID)
	}
	top.add("data", inside)
	top.addRest(e.Extra)
	return top.object()
}

// wireTime is t as TeleSign writes it, UTC in milliseconds without a zone; finer
// times keep their digits.
func wireTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	layout := "2006-01-02T15:04:05.000"
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		layout = "2006-01-02T15:04:05.999999999"
	}
	return t.UTC().Format(layout)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
