package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// front is the child that takes documents by HTTP, at first from the listener, and from a new one each time it is restarted.
// Its end is that of the open requests.
func (s *service) front(first net.Listener) func(ctx context.Context) error {
	address := first.Addr().String()
	return func(ctx context.Context) error {
		listener := first
		first = nil
		if listener == nil {
			again, err := listen(ctx, address)
			if err != nil {
				return err
			}
			listener = again
		}
		server := &http.Server{
			BaseContext:       func(net.Listener) context.Context { return s.work },
			Handler:           s.handler(),
			ReadHeaderTimeout: min(5*time.Second, s.opts.patience),
			ReadTimeout:       s.opts.patience,
			WriteTimeout:      s.opts.patience,
			IdleTimeout:       time.Minute,
			ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		}
		var silent silentConns
		server.ConnState = silent.note
		broken := make(chan error, 1)
		go func() { broken <- server.Serve(listener) }()
		select {
		case err := <-broken:
			return fmt.Errorf("serve HTTP: %w", err)
		case <-s.taking.Done():
		case <-ctx.Done():
		}
		silent.close()
		grace, cancel := context.WithTimeout(context.Background(), s.opts.grace)
		defer cancel()
		if !endRequests(grace, server, func() { s.giveUp(errEnding) }) {
			s.log.Warn("what clients had not finished in half of -grace was cut off and not acknowledged")
		}
		<-ctx.Done() // not earlier: it would be started again
		return nil
	}
}

// silentConns are the connections that have not sent anything yet. Shutdown would wait for them as for requests.
type silentConns struct {
	mu   sync.Mutex
	all  map[net.Conn]struct{}
	over bool
}

func (c *silentConns) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(c.all, conn)
	case c.over:
		_ = conn.Close() // nothing was sent
	default:
		if c.all == nil {
			c.all = make(map[net.Conn]struct{})
		}
		c.all[conn] = struct{}{}
	}
}

func (c *silentConns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for conn := range c.all {
		_ = conn.Close() // nothing was sent
	}
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, explainListen(address, err)
	}
	return listener, nil
}

func explainListen(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("-listen %s is taken: choose another address, as 127.0.0.1:8081", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("-listen %s is not allowed: choose a port from 1024 on, as 127.0.0.1:8081: %w", address, err)
	}
	return fmt.Errorf("-listen %s cannot be listened on: %w", address, err)
}

// errEnding is why requests are cut off at the end.
var errEnding = errors.New("the service is ending")

// endRequests ends the server. Open requests have half of the grace to finish; then giveUp is called,
// and what heeds it has another tenth to answer, before connections are closed. It reports whether all finished by
// themselves. What it leaves of the grace is for counting what has come in, so no client can use it up.
func endRequests(grace context.Context, server *http.Server, giveUp func()) bool {
	finish, cancel := share(grace, 0.5)
	defer cancel()
	if server.Shutdown(finish) == nil {
		return true
	}
	giveUp()
	answer, cancel := share(grace, 0.2) // of the half that is left
	defer cancel()
	if server.Shutdown(answer) != nil {
		_ = server.Close() // connections that are broken already are no concern
	}
	return false
}
