package remote

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
)

// apart is guarded for what may call runtime.Goexit as well: it runs in a goroutine of its own.
func apart(what string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := fmt.Errorf("remote: %s ended its goroutine", what)
		defer func() {
			if v := recover(); v != nil {
				err = panicked(what, v)
			}
			done <- err
		}()
		err = f()
	}()
	return <-done
}

// carefulHandler is a user's slog.Handler in goroutines of the node's, which it must not end: there is nobody to tell of its panics.
type carefulHandler struct{ slog.Handler }

// Enabled reports whether a level is logged.
func (h carefulHandler) Enabled(ctx context.Context, level slog.Level) (ok bool) {
	defer func() { _ = recover() }()
	return h.Handler.Enabled(ctx, level)
}

// Handle logs.
func (h carefulHandler) Handle(ctx context.Context, r slog.Record) error {
	return apart("the Logger", func() error { return h.Handler.Handle(ctx, r) })
}

// WithAttrs has more attributes logged.
func (h carefulHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return carefulHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup has later attributes be in a group.
func (h carefulHandler) WithGroup(name string) slog.Handler {
	return carefulHandler{h.Handler.WithGroup(name)}
}

// nodeName is which node a System has been. Refs to its actors, which other nodes keep, know its incarnation by that name.
type nodeName struct {
	mu   sync.Mutex
	name string
}

type nodeNameKey struct{}

func nameOfSystem(sys *actor.System) *nodeName {
	n, ok := sys.Part(nodeNameKey{}, func() any { return new(nodeName) }).(*nodeName)
	if !ok { // no System
		return new(nodeName)
	}
	return n
}

// check refuses another name than the one that the System has had.
func (n *nodeName) check(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.name != "" && n.name != name {
		return fmt.Errorf("remote: the System has been node %q, and other nodes know its actors by that name: start node %q with a System of its own", n.name, name)
	}
	return nil
}

func (n *nodeName) set(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name = name
}
