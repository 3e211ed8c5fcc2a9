package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
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
		broken := make(chan error, 1)
		go func() { broken <- server.Serve(listener) }()
		select {
		case err := <-broken:
			return fmt.Errorf("serve HTTP: %w", err)
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.Background(), s.opts.grace)
		defer cancel()
		if !endRequests(grace, server, func() { s.giveUp(errEnding) }) {
			s.log.Warn("what clients had not finished in half of -grace was cut off and not acknowledged")
		}
		return nil
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
