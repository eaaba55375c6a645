package bus

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a bus and its server and fails the way networks do. What is
// done to it concerns the connections of that moment; new ones are healthy.
type proxy struct {
	url    string
	target string
	listen net.Listener
	work   sync.WaitGroup

	blocked atomic.Bool // accept nobody

	mu    sync.Mutex
	links []*link
}

// link is one proxied connection.
type link struct {
	client, server net.Conn
	muteUp         atomic.Bool // swallow what the client says
	muteDown       atomic.Bool // swallow what the server says
}

func startProxy(t *testing.T, serverURL string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "nats://" + l.Addr().String(), target: strings.TrimPrefix(serverURL, "nats://"), listen: l}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		c, err := p.listen.Accept()
		if err != nil {
			return
		}
		if p.blocked.Load() {
			_ = c.Close()
			continue
		}
		s, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		k := &link{client: c, server: s}
		p.mu.Lock()
		p.links = append(p.links, k)
		p.mu.Unlock()
		p.work.Go(func() { k.copy(s, c, &k.muteUp) })
		p.work.Go(func() { k.copy(c, s, &k.muteDown) })
	}
}

func (k *link) copy(to io.Writer, from io.Reader, mute *atomic.Bool) {
	defer k.close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if mute.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (k *link) close() {
	_ = k.client.Close()
	_ = k.server.Close()
}

func (p *proxy) each(f func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.links {
		f(k)
	}
}

// cut closes every connection.
func (p *proxy) cut() { p.each((*link).close) }

// block keeps new connections from being made.
func (p *proxy) block() { p.blocked.Store(true) }

func (p *proxy) unblock() { p.blocked.Store(false) }

// muteUp lets nothing more reach the server.
func (p *proxy) muteUp() { p.each(func(k *link) { k.muteUp.Store(true) }) }

// muteDown lets nothing more reach the client.
func (p *proxy) muteDown() { p.each(func(k *link) { k.muteDown.Store(true) }) }
