package actor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// limitedContext is what WithTimeout and Cleanup return: the actor's Context with an earlier deadline and nothing else.
type limitedContext struct {
	*Context
	at       time.Duration // since the System started
	shields  bool          // a Cleanup's: a request to stop does not end it
	lasting  bool          // made while no call was in hand: the end of one does not end it
	canceled atomic.Bool
	once     sync.Once
	std      atomic.Pointer[standard] // made at the first Done
}

// standard is a limitedContext as package context makes one.
type standard struct {
	context.Context
	stop context.CancelFunc
}

// WithTimeout returns a context for this actor that expires after d. Waits under it cost one entry in the timer heap and
// no goroutine or channel: the cheap way to bound one. cancel releases it early, which ends a wait under it with
// context.Canceled; any goroutine may call it, any number of times.
func (ctx *Context) WithTimeout(d time.Duration) (bounded context.Context, cancel context.CancelFunc) {
	if ctx.none() {
		return ctx, func() {}
	}
	l := ctx.limit(d)
	return l, l.cancel
}

// Cleanup returns a context for deferred code of an actor that was asked to stop: for d, or until cancel is called, waits under
// it, or under the actor's own Context, are not ended by that request, whether it comes before or after. Kill still ends them.
// When the time is over a wait under the returned context answers context.DeadlineExceeded, and one under the actor's own Context
// ErrStopped if there was a request. Cleanups nest: each protects for its own time, and OnExit is protected throughout.
func (ctx *Context) Cleanup(d time.Duration) (bounded context.Context, cancel context.CancelFunc) {
	if ctx.none() {
		return ctx, func() {}
	}
	l := ctx.limit(d)
	l.shields = true
	if ctx.here() != nil {
		ctx.shield(l)
	}
	return l, l.cancel
}

func (ctx *Context) limit(d time.Duration) *limitedContext {
	return &limitedContext{Context: ctx, at: ctx.sys.ex.in(d), lasting: ctx.inside() == nil || !ctx.answers}
}

// shield has l protect the actor's waits.
func (ctx *Context) shield(l *limitedContext) {
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	cold := ctx.cell.coldOf()
	mu.Unlock()
	cold.shields = append(cold.shields, l)
	ctx.cleaning = true
}

// shieldedUntil is until when a request to stop does not end waits under the actor's own Context, 0 if it ends them now.
func (ctx *Context) shieldedUntil() (until time.Duration) {
	if !ctx.cleaning {
		return 0
	}
	cold, now := ctx.cell.cold.Load(), ctx.sys.ex.now()
	cold.shields = slices.DeleteFunc(cold.shields, func(l *limitedContext) bool { return l.canceled.Load() || l.at <= now })
	for _, l := range cold.shields {
		until = max(until, l.at)
	}
	ctx.cleaning = until != 0
	return until
}

func (l *limitedContext) cancel() {
	if l.canceled.Swap(true) {
		return
	}
	l.once.Do(func() {})
	if std := l.std.Load(); std != nil {
		std.stop()
	}
	if l.here() == nil && !l.ended.Load() {
		l.sys.rouse(nil, l.cell) // it may be in a wait under l
	}
}

// parent is what a standard one derives from.
func (l *limitedContext) parent() context.Context {
	switch {
	case l.shields:
		return context.Background()
	case l.lasting:
		return lifeContext{l.Context}
	}
	return l.Context
}

// Deadline is the time over, or that of the call which l was made for, if that is earlier.
func (l *limitedContext) Deadline() (time.Time, bool) {
	at := l.sys.ex.start.Add(l.at)
	if d, ok := l.parent().Deadline(); ok && d.Before(at) {
		return d, true
	}
	return at, true
}

// Done closes when Err becomes non-nil.
func (l *limitedContext) Done() <-chan struct{} {
	l.once.Do(func() {
		at, _ := l.Deadline()
		std := new(standard)
		std.Context, std.stop = context.WithDeadline(l.parent(), at)
		l.std.Store(std)
	})
	if std := l.std.Load(); std != nil {
		return std.Done()
	}
	return closedChan // canceled before
}

// Err tells why l is over.
func (l *limitedContext) Err() error {
	switch {
	case l.canceled.Load():
		return context.Canceled
	case l.sys.ex.now() >= l.at:
		return context.DeadlineExceeded
	}
	if std := l.std.Load(); std != nil {
		if err := std.Err(); err != nil {
			return err
		}
	}
	return l.parent().Err()
}

// AfterFunc is context.AfterFunc.
func (l *limitedContext) AfterFunc(f func()) func() bool {
	l.Done()
	std := l.std.Load()
	if std == nil {
		go f()
		return func() bool { return false }
	}
	return context.AfterFunc(std, f)
}

// lifeContext is an actor's Context without the call in hand.
type lifeContext struct{ *Context }

func (c lifeContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c lifeContext) Done() <-chan struct{} { return c.life().done }

func (c lifeContext) Err() error {
	if c.stopped() {
		return ErrStopped
	}
	return nil
}

func (c lifeContext) AfterFunc(f func()) func() bool { return c.life().afterFunc(f) }

// life returns the part that is done when the actor is.
func (ctx *Context) life() *contextExt {
	ext := ctx.ext.Load()
	if ext == nil {
		ext = ctx.extendLife()
	}
	if ext.life != nil {
		return ext.life
	}
	return ext
}
