package worker_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/worker/flow"
)

// A call's first event claims the intent it names: flow version, contact and
// attempt are the intent's, whatever has become current since.
func TestFirstEventClaimsTheIntent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place(func(in *messages.Intent) {
		in.Contact, in.Attempt, in.To = map[string]string{"first_name": "Bob"}, 3, "4915112345678"
	})
	edited := compile(t, strings.ReplaceAll(survey, "Hello", "Good day"))
	noError(t, p.catalog.Use(within(t), edited))

	_, replies := p.handle(w.delivery(c.envelope("dial_completed answered")))
	c.wantAction(replies[0], "the first event", helloTo("Bob"))
	_, state, _ := w.state(c.id)
	if f := state.Facts; f.Attempt != 3 || f.To != "4915112345678" || f.From != ourNumber || f.ExternalID != c.external || f.Direction != "outbound" {
		t.Errorf("facts %+v", f)
	}
	if in := w.intent(c.external); in.Status != messages.CallAccepted || in.CallID != c.id {
		t.Errorf("intent is %s of call %q", in.Status, in.CallID)
	}
}

// TeleSign promises our external_id in some events only. One that comes without it,
// and first, makes no stranger of the call.
func TestFirstEventThatTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	start := c.envelope("dial_completed answered")
	named := c.external
	c.external = ""
	early := w.delivery(c.envelope("speak_completed 1"))
	_, replies := p.handle(early)
	c.wantHold(replies[0], early.Event, "the call has not begun")
	if _, state, _ := w.state(c.id); state.Facts != nil {
		t.Errorf("facts %+v", state.Facts)
	}
	_, replies = p.handle(w.delivery(start))
	c.wantAction(replies[0], start.Event, hello)
	if _, state, _ := w.state(c.id); state.Facts.ExternalID != named || state.Facts.Contact["first_name"] != "Ann" {
		t.Errorf("facts %+v", state.Facts)
	}
}

// Two calls under one external_id: the first is the one that was placed. The other
// runs as one that we did not place, and its record is not an outcome of that dial.
func TestTwoCallsWithOneExternalID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	first := w.place()
	second := w.newCaller()
	second.external = first.external

	_, replies := p.handle(w.delivery(first.envelope("dial_completed answered")))
	first.wantAction(replies[0], "the first call", hello)
	_, replies = p.handle(w.delivery(second.envelope("dial_completed answered")))
	second.wantAction(replies[0], "the second call", helloTo("there"))
	for _, c := range []*caller{second, first} {
		p.handle(w.delivery(c.envelope("call_completed")))
	}
	if got := second.awaitRecord(1); got.ExternalID != "" || got.Contact != nil {
		t.Errorf("the second call's record: external id %q, contact %v", got.ExternalID, got.Contact)
	}
	if got := first.awaitRecord(1); got.ExternalID != first.external {
		t.Errorf("the first call's record: external id %q", got.ExternalID)
	}
	if in := w.intent(first.external); in.CallID != first.id {
		t.Errorf("the intent is of call %q", in.CallID)
	}
}

// A call that we did not place runs the flow of incoming calls, or hears an apology.
func TestCallsWithoutIntent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := compile(t, survey)
	two := compile(t, strings.NewReplacer("name: survey", "name: two", "Hello", "Second").Replace(survey))
	outbound := compile(t, strings.NewReplacer("name: survey", "name: outbound", ", incoming: hello", "").Replace(survey))
	const apology = `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"Sorry, we cannot help you now.","language":"en-US"}}}`
	stranger := func() *caller { c := w.newCaller(); c.external = "not-ours"; return c }
	tests := []struct {
		name        string
		plan        plan
		caller      *caller
		first       string
		want        string
		direction   string
		disposition messages.Disposition
	}{
		{"the only flow", plan{flows: []*flow.Program{one}}, w.newCaller(), "incoming_call", helloTo("there"), "inbound", messages.DispositionHungUp},
		{"the named flow", plan{flows: []*flow.Program{one, two}, incoming: "two"}, w.newCaller(), "incoming_call", strings.Replace(helloTo("there"), "Hello", "Second", 1), "inbound", messages.DispositionHungUp},
		{"two flows, none named", plan{flows: []*flow.Program{one, two}}, w.newCaller(), "incoming_call", apology, "inbound", messages.DispositionNoFlow},
		{"no flow at all", plan{flows: []*flow.Program{}}, w.newCaller(), "incoming_call", apology, "inbound", messages.DispositionNoFlow},
		{"a flow that takes no incoming calls", plan{flows: []*flow.Program{outbound}}, w.newCaller(), "incoming_call", apology, "inbound", messages.DispositionNoFlow},
		{"dialled by somebody else", plan{flows: []*flow.Program{one}}, stranger(), "dial_completed answered", helloTo("there"), "outbound", messages.DispositionHungUp},
	}
	for _, test := range tests {
		p, c := w.start(test.plan), test.caller
		_, replies := p.handle(w.delivery(c.envelope(test.first)))
		if len(replies) != 1 || string(replies[0].Action) != test.want {
			t.Errorf("%s: got %+v, want %s", test.name, replies, test.want)
		}
		if test.want == apology {
			_, replies = p.handle(w.delivery(c.envelope("speak_completed")))
			c.wantAction(replies[0], test.name+": the end of the apology", hangup)
		}
		p.handle(w.delivery(c.envelope("call_completed")))
		got := c.awaitRecord(1)
		if got.Disposition != test.disposition || got.Direction != test.direction || got.ExternalID != c.external {
			t.Errorf("%s: %s, %s, external id %q", test.name, got.Disposition, got.Direction, got.ExternalID)
		}
	}
}

// Events may come before the POST's answer. They say what became of the dial, and
// no answer changes that.
func TestEventBeforeThePOSTsAnswer(t *testing.T) {
	t.Parallel()
	answers := map[string]answer{
		"accepted": {http.StatusAccepted, `{"status":"dial_accepted","reference_id":"ANSWERED"}`},
		"refused":  {http.StatusBadRequest, `{"status":"invalid_phone_number"}`},
		"broken":   {http.StatusInternalServerError, "oh dear"},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.start(plan{})
			c := w.place()
			s := startTeleSign(t, answer)
			posted, wait := make(chan struct{}), make(chan struct{})
			goOn := sync.OnceFunc(func() { close(wait) })
			defer goOn()
			s.during = func(string) { close(posted); <-wait }
			result := p.dialer(s).Handle(within(t), messages.DialJob{Intent: w.intent(c.external)}, 1)
			if result.Result != bus.Done() {
				t.Fatalf("%+v", result)
			}
			settled := make(chan struct{})
			go func() {
				defer close(settled)
				result.After(within(t))
			}()
			receive(t, "the POST", posted)
			_, replies := p.handle(w.delivery(c.envelope("dial_completed answered")))
			c.wantAction(replies[0], "the event", hello)
			goOn()
			receive(t, "the end of the try", settled)

			if in := w.intent(c.external); in.Status != messages.CallAccepted || in.CallID != c.id || in.HTTPStatus != answer.status {
				t.Errorf("intent is %s of call %q, HTTP %d", in.Status, in.CallID, in.HTTPStatus)
			}
			if records, failures := w.records(), w.failures(); len(records)+len(failures) != 0 {
				t.Errorf("records %+v, failures %+v", records, failures)
			}
			w.wantNothingDue()
		})
	}
}
