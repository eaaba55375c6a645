package worker_test

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// relay stands between one process and one of its servers. It sees what the process
// sends, and takes the server away from it.
type relay struct {
	address string // host and port for the process
	network string // of the server
	target  string
	listen  net.Listener
	work    sync.WaitGroup
	refused chan struct{} // has a value when a connection was refused

	mu    sync.Mutex
	look  func(sent []byte) verdict // nil passes everything
	links map[*link]bool
	away  bool
}

// link is one relayed connection.
type link struct {
	process, server net.Conn
	last            atomic.Bool // the server's next word is not passed on, nor anything after it
}

// verdict is what happens to something sent.
type verdict int

const (
	pass        verdict = iota
	swallow             // it vanishes, the connection stays
	loseRequest         // the server is away from here on, and never gets it
	loseAnswer          // the server gets it and is away before its answer arrives
)

func startRelay(t *testing.T, network, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	r := &relay{
		address: l.Addr().String(), network: network, target: target, listen: l,
		refused: make(chan struct{}, 1), links: map[*link]bool{},
	}
	r.work.Go(r.accept)
	t.Cleanup(func() {
		_ = l.Close()
		r.takeAway()
		r.work.Wait()
	})
	return r
}

// relayToRedis is a relay to the world's Redis, and the URL to use.
func (w *world) relayToRedis() (*relay, string) {
	w.t.Helper()
	o, err := redis.ParseURL(w.redis)
	noError(w.t, err)
	r := startRelay(w.t, o.Network, o.Addr)
	return r, "redis://" + r.address + unhurried
}

// relayToNATS likewise.
func (w *world) relayToNATS() (*relay, string) {
	w.t.Helper()
	r := startRelay(w.t, "tcp", strings.TrimPrefix(w.nats.URL(), "nats://"))
	return r, "nats://" + r.address
}

func (r *relay) accept() {
	for {
		process, err := r.listen.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(r.network, r.target)
		if err != nil {
			_ = process.Close()
			continue
		}
		k := &link{process: process, server: server}
		if !r.add(k) {
			k.close()
			select {
			case r.refused <- struct{}{}:
			default:
			}
			continue
		}
		r.work.Go(func() { r.up(k) })
		r.work.Go(func() { r.down(k) })
	}
}

func (r *relay) add(k *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.away {
		r.links[k] = true
	}
	return !r.away
}

// up relays what the process sends. What it flushes at once arrives here at once,
// as long as it is small.
func (r *relay) up(k *link) {
	defer k.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := k.process.Read(buffer)
		if err != nil {
			return
		}
		switch r.judge(buffer[:n]) {
		case swallow:
			continue
		case loseRequest:
			r.takeAway()
			return
		case loseAnswer:
			k.last.Store(true)
		case pass:
		}
		if _, err := k.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (r *relay) judge(sent []byte) verdict {
	r.mu.Lock()
	look := r.look
	r.mu.Unlock()
	if look == nil {
		return pass
	}
	return look(sent)
}

func (r *relay) down(k *link) {
	defer k.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := k.server.Read(buffer)
		if err != nil {
			return
		}
		if k.last.Load() {
			r.takeAway()
			return
		}
		if _, err := k.process.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (k *link) close() {
	_ = k.process.Close()
	_ = k.server.Close()
}

// watch sets what looks at everything sent from now on.
func (r *relay) watch(look func(sent []byte) verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look = look
}

// takeAway ends all connections and refuses new ones.
func (r *relay) takeAway() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = true
	for k := range r.links {
		k.close()
	}
	clear(r.links)
}

// bringBack lets new connections through, unwatched.
func (r *relay) bringBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away, r.look = false, nil
}
