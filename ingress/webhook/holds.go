package webhook

import (
	"sync"
	"time"
)

// A row of holds is a call that is held again and again.
const (
	// rowIdle ends a row: no hold prompt lasts as long, so that what came between
	// must have been answered elsewhere, by a worker or at another ingress.
	rowIdle = 45 * time.Second
	// maxRows is how many rows are remembered at least, twice as many at most. The
	// oldest are forgotten first; such a call's row begins anew, and it is held for
	// longer than it should be.
	maxRows = 1 << 16
	// rowCopy is how soon after a hold an event of the call can only be a copy of the
	// one that it answered: no hold is spoken faster. A copy is due the same.
	rowCopy = 250 * time.Millisecond
)

// turn is what a held call is due.
type turn int

// The turns: hold prompts that get longer, the last of them again and again; the
// apology; the end. The first four are indexes into a prompts.
const (
	firstHold turn = iota
	secondHold
	laterHold
	apology
	theEnd
)

// rows remembers how long calls have been held by this process. It is a memory of
// two generations: what has not been held in rowIdle to twice that is gone, and
// nothing has to look for it.
type rows struct {
	limit time.Duration // of a row
	size  int           // of a generation

	mu     sync.Mutex
	young  map[string]row
	old    map[string]row
	turned time.Time // when young was begun
}

type row struct {
	began, last time.Time
	holds       int
	apologised  bool
	due         turn // the latest
}

func newRows(limit time.Duration) *rows {
	return &rows{limit: limit, size: maxRows, young: make(map[string]row)}
}

// next is the turn of a call that is to be held at the time given.
func (r *rows) next(callID string, now time.Time) turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= r.size || now.Sub(r.turned) >= rowIdle {
		r.young, r.old, r.turned = make(map[string]row), r.young, now
	}
	this, known := r.young[callID]
	if !known {
		this, known = r.old[callID]
		delete(r.old, callID)
	}
	if !known || now.Sub(this.last) >= rowIdle {
		this = row{began: now}
	}
	if known && now.Sub(this.last) < rowCopy {
		r.young[callID] = this
		return this.due
	}
	due := turn(min(this.holds, int(laterHold)))
	switch {
	case this.apologised:
		due = theEnd
	case now.Sub(this.began) >= r.limit:
		due, this.apologised = apology, true
	default:
		this.holds++
	}
	this.last, this.due = now, due
	r.young[callID] = this
	return due
}

// end forgets a call's row: it was answered by a worker, or is over.
func (r *rows) end(callID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, callID)
	delete(r.old, callID)
}
