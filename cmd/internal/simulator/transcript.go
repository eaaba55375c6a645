package simulator

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// Transcript is one call that has ended.
type Transcript struct {
	CallInfo
	ReferenceID string
	End         End
	Exchanges   []Exchange // in the order in which they went out, copies among them
}

// Exchange is one event and its answer.
type Exchange struct {
	At      time.Duration // when the event happened, since the call was created, by the call's own clock
	Sent    time.Time     // when this post went out
	Event   json.RawMessage
	Name    telesign.EventName
	Answer  string          // as it came, empty when none did
	Action  telesign.Action // nil when there was none, or it was not valid
	Invalid string          // why TeleSign would refuse the answer, empty when it would not
	Missed  string          // why there was no answer, empty when there was one
	Latency time.Duration

	Copy     int  // 0: the event's first post; n: its nth copy
	Executed bool // TeleSign did what Action says; of an event's posts, one at most
	Lost     bool // a fault broke the connection: TeleSign did not hear Answer
	Hold     bool // Action is a hold

	number int // of the event in its call
}

// HoldRows is how long each row of holds was that the call heard, in order.
func (t Transcript) HoldRows() []int {
	var rows []int
	inRow := false
	for _, x := range t.Exchanges {
		switch {
		case !x.Executed:
		case !x.Hold:
			inRow = false
		case inRow:
			rows[len(rows)-1]++
		default:
			inRow = true
			rows = append(rows, 1)
		}
	}
	return rows
}

// transcripts keeps what calls said, if it is to. Safe for concurrent use.
type transcripts struct {
	keep bool

	mu   sync.Mutex
	list []Transcript
}

func (t *transcripts) add(x Transcript) {
	if !t.keep {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, x)
}

// all is sorted by index. The exchanges are shared: nobody writes them any more.
func (t *transcripts) all() []Transcript {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.Clone(t.list)
	slices.SortFunc(list, func(x, y Transcript) int { return cmp.Compare(x.Index, y.Index) })
	return list
}
