package worker

import "sync"

// turns lets this process step the arrivals of one call one after another: a hundred
// copies of an event that come at once would otherwise lose races to each other until
// some have to be handed back. Other processes are kept apart by the commit alone.
type turns struct {
	mu    sync.Mutex
	calls map[string]*turn
}

// turn is whose turn it is in one call.
type turn struct {
	mu    sync.Mutex
	users int // who hold or want it; at 0 it is forgotten
}

func newTurns() *turns { return &turns{calls: make(map[string]*turn)} }

// take waits for a turn in a call; it is to be given back with give.
func (t *turns) take(callID string) *turn {
	t.mu.Lock()
	u := t.calls[callID]
	if u == nil {
		u = &turn{}
		t.calls[callID] = u
	}
	u.users++
	t.mu.Unlock()
	u.mu.Lock()
	return u
}

func (t *turns) give(callID string, u *turn) {
	u.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.users--; u.users == 0 {
		delete(t.calls, callID)
	}
}
