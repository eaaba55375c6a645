// Package embedded is a nats-server with JetStream on disk inside this process, for
// dev, demo and tests. Production runs nats-server by itself.
//
// It is reached in-process or over loopback only, without authentication. JetStream
// acknowledges before it syncs: what is stored survives the death of the process,
// not a power cut.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/offhook/offhook/messages"
)

// Config is how the server runs.
type Config struct {
	Dir    string // where JetStream keeps its files; created if missing, one server at a time
	Listen string // a loopback address such as 127.0.0.1:4222, port 0 for any; empty: in-process only
}

// Validate reports the first field that cannot work, by name and value.
func (c Config) Validate() error {
	if c.Dir == "" {
		return messages.FieldErrorf(messages.CodeUsage, "Dir", "is empty; name a directory for JetStream's files")
	}
	_, _, err := c.address()
	return err
}

// address splits Listen; an empty host means that there is none.
func (c Config) address() (host string, port int, err error) {
	if c.Listen == "" {
		return "", 0, nil
	}
	host, digits, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", 0, messages.FieldErrorf(messages.CodeUsage, "Listen", "is %q; want host:port: %w", c.Listen, err)
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", 0, messages.FieldErrorf(messages.CodeUsage, "Listen", "is %q; want a port from 0 to 65535: %w", c.Listen, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, messages.FieldErrorf(messages.CodeUsage, "Listen", "is %q; the embedded server asks nobody for a password, so it listens on loopback only", c.Listen)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// Server is a running nats-server.
type Server struct {
	ns  *server.Server
	url string
}

// Start starts a server and returns when it can be used. ctx bounds the start only;
// the server runs until Close.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host, port, err := cfg.address()
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "offhook-embedded",
		Host:       host,
		Port:       port,
		DontListen: cfg.Listen == "",
		JetStream:  true,
		StoreDir:   cfg.Dir,
		NoSigs:     true, // the process has its own
	})
	if err != nil {
		return nil, messages.Errorf(messages.CodeUsage, "embedded nats-server: %w", err)
	}
	logs := &serverLog{log: log}
	ns.SetLoggerV2(logs, false, false, false)
	ns.Start()
	s := &Server{ns: ns}
	if code, err := s.await(ctx, logs); err != nil {
		s.Close()
		return nil, messages.Errorf(code, "embedded nats-server, files in %s: %w", cfg.Dir, err)
	}
	if cfg.Listen != "" {
		s.url = ns.ClientURL()
	}
	return s, nil
}

// await waits until clients can connect and JetStream runs.
func (s *Server) await(ctx context.Context, logs *serverLog) (messages.Code, error) {
	for {
		if err := logs.fatal(); err != nil {
			return messages.CodeUnavailable, err
		}
		if s.ns.ReadyForConnections(10 * time.Millisecond) {
			if !s.ns.JetStreamEnabled() {
				return messages.CodeUnavailable, errors.New("JetStream did not start")
			}
			return "", nil
		}
		if ctx.Err() != nil {
			return messages.CodeTimeout, fmt.Errorf("not ready in time: %w", context.Cause(ctx))
		}
	}
}

// URL is where the server listens, empty when it is in-process only.
func (s *Server) URL() string { return s.url }

// InProcessConn is a connection without a socket. It makes a Server fit
// bus.Config.InProcess.
func (s *Server) InProcessConn() (net.Conn, error) {
	return s.ns.InProcessConn() //nolint:wrapcheck // the client that asked for it says what it was for
}

// Close stops the server and waits until its files are written and its goroutines
// have ended. It may be called again.
func (s *Server) Close() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// serverLog passes the server's warnings and errors on. The server treats Fatalf as
// the end of the process; here it is the end of Start.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	first error
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = fmt.Errorf(format, v...)
	}
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("embedded nats-server", "says", fmt.Sprintf(format, v...))
}

func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("embedded nats-server", "says", fmt.Sprintf(format, v...))
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("embedded nats-server", "says", fmt.Sprintf(format, v...))
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
