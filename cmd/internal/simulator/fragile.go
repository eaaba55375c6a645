package simulator

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// fragile is one connection for one post, to be reset. It shares nothing with the
// connections that other posts reuse, so that none of them meets a broken one.
type fragile struct {
	transport *http.Transport

	mu     sync.Mutex
	conns  []net.Conn
	broken bool
}

func newFragile(dialTimeout time.Duration) *fragile {
	f := &fragile{}
	dialer := net.Dialer{Timeout: dialTimeout}
	f.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				f.keep(conn)
			}
			return conn, err
		},
		DisableCompression: true,
	}
	return f
}

func (f *fragile) keep(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, conn)
	if f.broken { // the post was given up while it connected
		reset(conn)
	}
}

// breakOff resets the connection: the peer meets an error, not an orderly end.
func (f *fragile) breakOff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = true
	for _, conn := range f.conns {
		reset(conn)
	}
	f.transport.CloseIdleConnections()
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
	_ = conn.Close()
}
