package webhook

import (
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// limitListener opens at most cap(slots) connections at once; more stay in the
// kernel's backlog, unaccepted, and cost this process nothing. The limit sits here
// and not in the handler because a connection costs a goroutine and buffers from
// its first byte on, long before there is a request to refuse.
// (golang.org/x/net/netutil has the like; it is not worth a module.)
type limitListener struct {
	net.Listener
	slots  chan struct{} // one value per open connection
	open   prometheus.Gauge
	closed chan struct{}
	close  func() error // closes closed and the listener, once
}

func newLimitListener(ln net.Listener, limit int, open prometheus.Gauge) *limitListener {
	l := &limitListener{
		Listener: ln,
		slots:    make(chan struct{}, limit),
		open:     open,
		closed:   make(chan struct{}),
	}
	l.close = sync.OnceValue(func() error {
		close(l.closed)
		return ln.Close()
	})
	return l
}

// Accept waits for a free slot, then for a connection. It returns net.ErrClosed
// once the listener is closed.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.open.Inc()
	return &limitConn{Conn: conn, release: sync.OnceFunc(func() {
		l.open.Dec()
		<-l.slots
	})}, nil
}

// Close stops accepting; open connections stay open. It may be called twice.
func (l *limitListener) Close() error { return l.close() }

// limitConn gives its slot back when it is closed, and notices when it is reset.
type limitConn struct {
	net.Conn
	release func()
	watch   resetWatch
}

func (c *limitConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.watch.came(n, err)
	return n, err
}

func (c *limitConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.watch.came(0, err)
	return n, err
}

func (c *limitConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
