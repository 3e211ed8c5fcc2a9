package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// exitHook is one function that AtExit was given.
type exitHook struct {
	priority int
	f        func(ctx context.Context)
}

// exitHooks are run once, by the first Stop.
type exitHooks struct {
	mu    sync.Mutex
	list  []*exitHook
	ran   chan struct{}  // made by the first Stop or Close, closed when that is done with the hooks
	err   error          // what went wrong in them, once ran is closed
	inner atomic.Uintptr // the goroutine of the hook that runs
}

// hookContext is the context of hooks: that of Stop without the actor, of another System, that may have called it.
type hookContext struct {
	context.Context
	sys *System
}

type hookKey struct{}

func (c hookContext) Value(key any) any {
	switch key.(type) {
	case contextKey:
		return nil
	case hookKey:
		return c.sys
	}
	return c.Context.Value(key)
}

// AtExit has f called by the first Stop while actors still run, higher priorities first, equal ones in the order they were
// added. f may send, call, spawn and Join; ctx ends when the grace does, and f should return by then: Stop goes on without it.
// Hooks whose turn comes after that share a second, with a ctx that is over.
// Each hook runs on a goroutine of its own, so that a panic or runtime.Goexit in it does no harm; Stop returns what it was.
// remove takes f back and reports whether that was in time. Close runs no hooks.
// Errors: ErrStopped, if the hooks have begun to run or the System was closed; one for a nil f.
func (sys *System) AtExit(priority int, f func(ctx context.Context)) (remove func() bool, err error) {
	never := func() bool { return false }
	switch {
	case !sys.made():
		return never, errNoSystem
	case f == nil:
		return never, errors.New("actor: AtExit needs a function to call")
	}
	h, k := &sys.hooks, &exitHook{priority, f}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ran != nil {
		return never, fmt.Errorf("actor: AtExit: %w", ErrStopped)
	}
	h.list = append(h.list, k)
	slices.SortStableFunc(h.list, func(a, b *exitHook) int { return cmp.Compare(b.priority, a.priority) })
	return func() bool { return h.remove(k) }, nil
}

func (h *exitHooks) remove(k *exitHook) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.list, k)
	if i < 0 {
		return false
	}
	h.list = slices.Delete(h.list, i, i+1)
	return true
}

// take hands out the hooks to whoever asks first; the others get what is closed when they have run.
func (h *exitHooks) take() (list []*exitHook, ran chan struct{}, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ran != nil {
		return nil, h.ran, false
	}
	h.ran = make(chan struct{})
	list, h.list = h.list, nil
	return list, h.ran, true
}

// run runs the hooks, or waits for another Stop that does, as long as ctx allows.
func (h *exitHooks) run(ctx context.Context, sys *System) error {
	list, ran, first := h.take()
	if !first {
		select {
		case <-ran:
			return h.err
		case <-ctx.Done():
			return nil
		}
	}
	bound := ctx
	var errs []error
	for _, k := range list {
		if bound == ctx && ctx.Err() != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
			defer cancel()
			bound = last //nolint:fatcontext // once at most
		}
		errs = append(errs, h.runOne(hookContext{ctx, sys}, bound, k))
	}
	h.err = errors.Join(errs...)
	close(ran)
	return h.err
}

// runOne runs one hook under ctx and waits for it as long as bound allows.
func (h *exitHooks) runOne(ctx, bound context.Context, k *exitHook) error {
	began, done := make(chan struct{}), make(chan error, 1)
	go func() {
		h.inner.Store(getg())
		close(began)
		err := ErrGoexit
		defer func() { done <- err }()
		err = protect(func() error { k.f(ctx); return nil })
	}()
	<-began
	var err error
	select {
	case err = <-done:
	case <-bound.Done():
		select {
		case err = <-done:
		default:
			err = fmt.Errorf("not back in time: %w", bound.Err())
		}
	}
	h.inner.Store(0)
	if err != nil {
		return fmt.Errorf("actor: exit hook of priority %d: %w", k.priority, err)
	}
	return nil
}

// discard drops the hooks unless a Stop has them.
func (h *exitHooks) discard() {
	if _, ran, first := h.take(); first {
		close(ran)
	}
}

// calls reports whether ctx or the calling goroutine is a hook's.
func (h *exitHooks) calls(ctx context.Context, sys *System) bool {
	return h.inner.Load() == getg() || ctx.Value(hookKey{}) == sys
}
