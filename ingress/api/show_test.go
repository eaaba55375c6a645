package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// noon is when everything in these tests happens.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// commit stores a call's state as it is, with a log.
func (h *house) commit(id string, revision uint64, state string, log ...[]byte) {
	h.t.Helper()
	if err := h.store.CommitCall(within(h.t), id, store.Commit{Expect: revision - 1, State: []byte(state), Log: log}); err != nil {
		h.t.Fatal(err)
	}
}

// live lives a call of the survey as workers would step it, one event a second.
func (h *house) live(id string, facts call.Facts, events ...telesign.Event) {
	h.t.Helper()
	program := h.putFlow(survey)
	facts.Flow, facts.FlowHash = program.Name, program.Hash
	machine := call.Machine{Program: program, Limits: limits()}
	state := call.State{Schema: call.Schema, CallID: id, Facts: &facts}
	for i, e := range events {
		e.ReferenceID, e.To, e.From = id, facts.To, facts.From
		at := noon.Add(time.Duration(i) * time.Second)
		out := machine.Step(state, nil, call.EventEntry("EVENT"+string(rune('1'+i)), at, uint64(i+1), false, e, &facts), at.Add(3*time.Millisecond))
		state = out.State
		encoded, err := state.Encode()
		if err != nil {
			h.t.Fatal(err)
		}
		log, err := call.EncodeLog(out.Entries)
		if err != nil {
			h.t.Fatal(err)
		}
		h.commit(id, uint64(i+1), string(encoded), log...)
	}
}

// intent stores an intent that was placed at noon.
func (h *house) intent(key string) messages.Intent {
	h.t.Helper()
	in, created, err := h.store.CreateIntent(within(h.t), messages.Intent{
		Schema: messages.IntentSchema, ID: messages.IntentID(key), To: person, CallerID: callerID, Flow: "survey", FlowHash: h.putFlow(survey).Hash,
		Contact: map[string]string{"first_name": "Ann"}, Attempt: 1, CreatedAt: noon, NotAfter: noon.Add(10 * time.Minute), Status: messages.CallQueued,
	})
	if err != nil || !created {
		h.t.Fatalf("intent %s: created %t, %v", key, created, err)
	}
	return in
}

func TestShow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey)
	var exchanges []exchange
	add := func(title, id string) {
		exchanges = append(exchanges, exchange{title, http.MethodGet, "/v1/calls/" + id, ""})
	}
	resolve := func(in messages.Intent, r store.Resolution) {
		t.Helper()
		h.take(in.ID)
		if _, err := h.store.ResolveTry(within(t), in.ID, r); err != nil {
			t.Fatal(err)
		}
	}
	add("queued", h.intent("queued").ID)
	dialing := h.intent("dialing")
	h.take(dialing.ID)
	add("dialing", dialing.ID)
	accepted := h.intent("accepted")
	resolve(accepted, store.Resolution{Status: messages.CallAccepted, HTTPStatus: 202, Outcome: "dial_accepted", CallID: "ACCEPTED"})
	add("accepted, no event yet", accepted.ID)
	add("accepted, no event yet, by reference_id", "ACCEPTED")
	refused := h.intent("refused")
	resolve(refused, store.Resolution{Status: messages.CallRefused, HTTPStatus: 200, Outcome: "to_number_blocked_by_country"})
	add("refused", refused.ID)
	expired := h.intent("expired")
	resolve(expired, store.Resolution{Status: messages.CallRefused, Outcome: "expired"})
	add("refused, because its time had run out", expired.ID)
	unsent := h.intent("unsent")
	resolve(unsent, store.Resolution{Status: messages.CallRefused, Outcome: "not_sent"})
	add("refused, because TeleSign could not be reached", unsent.ID)
	unknown := h.intent("unknown")
	resolve(unknown, store.Resolution{Status: messages.CallUnknown, Outcome: "ambiguous"})
	add("unknown", unknown.ID)

	claim := func(in messages.Intent, callID string) call.Facts {
		t.Helper()
		if _, ok, err := h.store.ClaimIntent(within(t), in.ID, callID); err != nil || !ok {
			t.Fatalf("claim %s: %t, %v", callID, ok, err)
		}
		return call.Facts{ExternalID: in.ID, Direction: call.Outbound, To: in.To, From: in.CallerID, Attempt: 1, Contact: in.Contact}
	}
	answered := telesign.Event{Name: telesign.DialCompleted, Status: telesign.StatusAnswered}
	digits := telesign.Event{Name: telesign.SpeakCompleted, Status: telesign.StatusSpeakSuccessful, Digits: "5"}
	said := telesign.Event{Name: telesign.SpeakCompleted, Status: telesign.StatusSpeakSuccessful}
	over := telesign.Event{
		Name: telesign.CallCompleted, Status: "hangup", Direction: call.Outbound, Duration: 9, AudioRecordingFileName: "rec.wav",
		CreatedOn: noon.Add(-4 * time.Second), AnsweredOn: noon, EndedOn: noon.Add(5 * time.Second),
	}
	live := h.intent("live")
	resolve(live, store.Resolution{Status: messages.CallAccepted, HTTPStatus: 202, Outcome: "dial_accepted", CallID: "LIVE"})
	h.live("LIVE", claim(live, "LIVE"), answered, digits)
	add("live, by id", live.ID)
	add("live, by reference_id", "LIVE")
	ended := h.intent("ended")
	h.take(ended.ID)
	h.live("ENDED", claim(ended, "ENDED"), answered, digits, said, over)
	add("ended, and the POST's answer never came", ended.ID)
	h.live("INCOMING", call.Facts{Direction: call.Inbound, To: callerID, From: person}, telesign.Event{Name: telesign.IncomingCall})
	add("a call that we did not place", "INCOMING")
	h.commit("TOLD", 1, `{"v":1}`)
	add("a call of which only ingress has told", "TOLD")
	add("unknown id", messages.IntentID("nobody"))
	h.golden("show.txt", exchanges)
}

func TestShowNewerSchema(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{})
	h.commit("NEWER", 1, `{"v":2,"F":"not even an object any more"}`)
	h.commit("BROKEN", 1, `{"v":`)
	h.commit("FLOWLESS", 1, `{"v":1,"F":{"d":"inbound","f":"survey","h":"0123"}}`)
	h.golden("show_unreadable.txt", []exchange{
		{"written by a newer version", http.MethodGet, "/v1/calls/NEWER", ""},
		{"not a state", http.MethodGet, "/v1/calls/BROKEN", ""},
		{"its flow is gone", http.MethodGet, "/v1/calls/FLOWLESS", ""},
	})
	if log := h.log.String(); strings.Count(log, "request failed") != 2 || !strings.Contains(log, "call state: unexpected end of JSON input") {
		t.Errorf("what is wrong is not in the log:\n%s", log)
	}
}

// Two calls carry the same external_id: the intent is that of the first.
func TestShowIntentOfAnotherCall(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{})
	in := h.intent("k")
	for _, id := range []string{"FIRST", "SECOND"} {
		_, _, _ = h.store.ClaimIntent(within(t), in.ID, id) // the second is refused
		h.live(id, call.Facts{ExternalID: in.ID, Direction: call.Outbound, To: person}, telesign.Event{Name: telesign.DialCompleted, Status: telesign.StatusAnswered})
	}
	if first := h.show("FIRST"); first.Intent == nil || first.Intent.ID != in.ID {
		t.Errorf("the first call is shown with the intent %+v", first.Intent)
	}
	if second := h.show("SECOND"); second.Intent != nil {
		t.Errorf("the second call is shown with the intent of the first: %+v", second.Intent)
	}
	if byIntent := h.show(in.ID); byIntent.Record.CallID != "FIRST" {
		t.Errorf("the intent leads to %s", byIntent.Record.CallID)
	}
}
