package actor

import (
	"context"
	"sync"
)

// Event is a flag that can be waited for. Set and Clear may come from anywhere; actors and other goroutines may wait.
//
// Shape: a flag and a linked list of waiters. The zero value is a cleared Event; do not copy after use.
// Order: what came before Set happens before what follows the Waits that it ends. All who wait when it is set go on, the oldest
// first, even if it is cleared again before they run.
type Event struct {
	mu      sync.Mutex
	set     bool
	waiters places
}

// Set sets the event, which ends all Waits, those in progress and those to come.
func (e *Event) Set() {
	e.mu.Lock()
	e.set = true
	waiters := e.waiters.first
	e.waiters = places{}
	for p := waiters; p != nil; p = p.next {
		p.in = nil
		p.granted.Store(true)
	}
	e.mu.Unlock()
	for p := waiters; p != nil; {
		next := p.next // once awake, p is its own
		p.wake(nil)
		p = next
	}
}

// Clear has later Waits wait again.
func (e *Event) Clear() {
	e.mu.Lock()
	e.set = false
	e.mu.Unlock()
}

// IsSet reports whether the event is set. It may have changed by the time you look.
func (e *Event) IsSet() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set
}

// Wait waits under ctx until the event is set: nil. An actor suspends, holding no slot; any other goroutine blocks. The error says
// why it ended early: ctx's own, and for an actor ErrStopped, an interrupt, ErrForeignGoroutine, ErrEnded, ErrInBlock.
func (e *Event) Wait(ctx context.Context) error {
	w, err := enterReady(ctx)
	defer w.leave()
	if err != nil {
		return err
	}
	e.mu.Lock()
	if e.set {
		e.mu.Unlock()
		return nil
	}
	p := w.place()
	e.waiters.push(p)
	e.mu.Unlock()
	return w.await(ctx, p, e)
}

func (e *Event) forgo(p *place, _ *slot) {
	e.mu.Lock()
	e.waiters.remove(p)
	e.mu.Unlock()
}

// enterReady is enterAny for a caller, actor or goroutine, that may go on right now.
func enterReady(ctx context.Context) (waiting, error) {
	w, err := enterAny(ctx)
	switch {
	case err != nil:
	case w.c == nil:
		err = ctx.Err()
	default:
		err = w.check()
	}
	return w, err
}
