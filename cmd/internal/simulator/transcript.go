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
	Exchanges   []Exchange // in order
}

// Exchange is one event and its answer.
type Exchange struct {
	At      time.Duration // since the call was created, by the call's own clock
	Event   json.RawMessage
	Name    telesign.EventName
	Answer  string          // as it came, empty when none did
	Action  telesign.Action // nil when there was none, or it was not valid
	Invalid string          // why TeleSign would refuse the answer, empty when it would not
	Missed  string          // why there was no answer, empty when there was one
	Latency time.Duration
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
