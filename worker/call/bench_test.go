package call_test

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/deploy/examples"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

// moments is a call of the example survey as the bench lives it: its entries, and
// the state before each, with ids and times as long as real ones.
type moments struct {
	machine call.Machine
	entries []call.Entry
	states  []call.State // one more than entries: the last is that of the whole call
}

func surveyed(t testing.TB) moments {
	t.Helper()
	p := compile(t, string(examples.VisitSurvey))
	facts := &call.Facts{
		ExternalID: "0193f2a4c7e87d2f9b1c5a6e", Flow: p.Name, FlowHash: p.Hash, Direction: call.Outbound,
		To: "15558675309", From: "15555551212", Attempt: 1, Contact: map[string]string{"first_name": "Bartholomew"},
	}
	m := moments{machine: call.Machine{Program: p, Limits: limits()}}
	s, err := call.ParseState("BC96D7B0D1800164898350B4E71B005C", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Facts = facts
	m.states = append(m.states, s)
	for i, e := range []telesign.Event{
		{Name: telesign.DialCompleted, Status: telesign.StatusAnswered},
		{Name: telesign.SpeakCompleted, Status: telesign.StatusSpeakSuccessful, Digits: "1"},
		{Name: telesign.PlayCompleted, Status: telesign.StatusPlaySuccessful, Digits: "3"},
		{Name: telesign.PlayCompleted, Status: telesign.StatusPlaySuccessful, Digits: "2"},
		{Name: telesign.SpeakCompleted, Status: telesign.StatusSpeakSuccessful, Digits: "1"},
		{Name: telesign.SpeakCompleted, Status: telesign.StatusSpeakSuccessful},
		{Name: telesign.CallCompleted, Status: "hangup", Duration: 60, CreatedOn: t0, AnsweredOn: t0.Add(4 * time.Second), EndedOn: t0.Add(64 * time.Second)},
	} {
		e.To, e.From = facts.To, facts.From
		at := t0.Add(time.Duration(i) * 10 * time.Second)
		entry := call.EventEntry(fmt.Sprintf("VBQ6SPAIYCNJ4SSU2FYGNYLR%02d", i), at, uint64(81_234_567+i), false, e, facts)
		entry.Live, entry.Took = true, 1234
		entry.Sum = crc32.ChecksumIEEE([]byte(entry.ID))
		out := m.machine.Step(s, nil, entry, at.Add(1234*time.Microsecond))
		s = out.State
		m.entries, m.states = append(m.entries, out.Entries...), append(m.states, s)
	}
	return m
}

// What is read and written by hand stands beside what it replaces.

func BenchmarkParseState(b *testing.B) {
	data, err := surveyed(b).states[5].Encode()
	if err != nil {
		b.Fatal(err)
	}
	measure(b, "by hand", func() error { _, err := call.ParseState("C1", data); return err })
	measure(b, "encoding-json", func() error { _, err := call.ReadAnyState(data); return err })
}

func BenchmarkEncodeState(b *testing.B) {
	s := surveyed(b).states[5]
	measure(b, "by hand", func() error { _, err := s.Encode(); return err })
	measure(b, "encoding-json", func() error { _, err := json.Marshal(s.Stored()); return err })
}

func BenchmarkEncodeEntry(b *testing.B) {
	one := surveyed(b).entries[4:5]
	measure(b, "by hand", func() error { _, err := call.EncodeLog(one); return err })
	measure(b, "encoding-json", func() error { _, err := json.Marshal(one[0].Stored()); return err })
}

func BenchmarkParseLog(b *testing.B) {
	raw, err := call.EncodeLog(surveyed(b).entries)
	if err != nil {
		b.Fatal(err)
	}
	measure(b, "by hand", func() error { _, err := call.ParseLog(raw); return err })
	measure(b, "encoding-json", func() error {
		log := make([]call.Entry, len(raw))
		for i := range raw {
			if err := json.Unmarshal(raw[i], &log[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func measure(b *testing.B, name string, f func() error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One answer of the survey is stepped and rendered; the seven of a call in turn.
func BenchmarkStep(b *testing.B) {
	m := surveyed(b)
	now := time.UnixMicro(m.entries[len(m.entries)-1].Key)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if out := m.machine.Step(m.states[i], nil, m.entries[i], now); out.Known {
			b.Fatal("not stepped")
		}
		i = (i + 1) % len(m.entries)
	}
}

// Likewise, with the answer as TeleSign gets it.
func BenchmarkStepAndBody(b *testing.B) {
	m := surveyed(b)
	now := time.UnixMicro(m.entries[len(m.entries)-1].Key)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := m.machine.Step(m.states[i], nil, m.entries[i], now).Decision.Body(); err != nil {
			b.Fatal(err)
		}
		i = (i + 1) % len(m.entries)
	}
}

func BenchmarkRecord(b *testing.B) {
	m := surveyed(b)
	last, log := m.states[len(m.states)-1], slices.Clone(m.entries)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.machine.Record(last, log, 7); err != nil {
			b.Fatal(err)
		}
	}
}
