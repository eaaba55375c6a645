package redistest

import (
	"sync"
	"testing"
)

// Shared is one server for all tests of a binary; tests keep apart by their key
// prefix. The zero value is ready to use:
//
//	var redis redistest.Shared
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		redis.Stop()
//		os.Exit(code)
//	}
type Shared struct {
	mu     sync.Mutex
	server *Server
	err    error
}

// URL is the server's URL; the first call starts it.
func (s *Shared) URL(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil && s.err == nil {
		s.server, s.err = newServer(nil)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server.URL()
}

// Stop ends the server, if it was started. No test may use it afterwards.
func (s *Shared) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.remove()
		s.server = nil
	}
}
