package actor

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// Values of cell.park. A wait in the middle of a message goes from running to parked when its worker commits it. Whoever
// unparks it takes it back to running and schedules it, or, if it is not parked (yet), leaves a permit that the next wait
// consumes. So wake-ups are never lost and may be spurious: every wait is a loop over its own condition.
const (
	parkRunning uint32 = iota
	parkParked
	parkPermit
)

// unpark wakes the actor from a wait in the middle of a message. true: the caller must schedule it.
func (a *cell) unpark() bool {
	for {
		switch p := a.park.Load(); p {
		case parkPermit:
			return false
		case parkParked:
			if a.park.CompareAndSwap(p, parkRunning) {
				return true
			}
		default:
			if a.park.CompareAndSwap(p, parkPermit) {
				return false
			}
		}
	}
}

// rouse wakes the actor from whatever it waits for, messages included, so that it looks around.
func (sys *System) rouse(s *slot, a *cell) {
	if a.unpark() || a.wake() {
		sys.schedule(s, a)
	}
}

// schedule makes a runnable; s is the caller's slot, or nil.
func (sys *System) schedule(s *slot, a *cell) {
	if s != nil {
		s.push(a)
		return
	}
	sys.ex.pushShared(a)
}

// ErrForeignGoroutine answers what only an actor's own goroutine may do with its Context: wait, spawn a child, reply.
var ErrForeignGoroutine = errors.New("actor: this Context belongs to another goroutine: wait inside the behaviour, or use the System and a context.Context of your own")

// ErrEnded answers uses of a Context whose actor has ended.
var ErrEnded = errors.New("actor: the actor that this Context belonged to has ended")

// ErrInBlock answers waits inside a function that runs under Block, where the actor may have no slot.
var ErrInBlock = errors.New("actor: waiting is not possible inside Block: return from the blocking function first")

// ErrNilContext answers a wait under a nil context, and all uses of a nil or zero Context.
var ErrNilContext = errors.New("actor: nil context: pass the Context that the behaviour was given, or context.Background()")

// waiting is one wait of an actor: who waits, until when, and what else may end it.
type waiting struct {
	ctx   *Context
	c     *carrier
	until time.Duration   // 0: no deadline
	limit *limitedContext // what WithTimeout or Cleanup returned, if the wait is under that
	other context.Context // a derived context that must be asked too
	stop  func() bool     // of other's AfterFunc
}

// enter checks that the caller may wait under ctx and finds out what bounds the wait. An actor's own wait returns w; for
// other goroutines w.c is nil and err is nil.
func enter(ctx context.Context) (w waiting, err error) {
	if ctx == nil {
		return w, ErrNilContext
	}
	switch x := ctx.(type) {
	case *Context:
		w.ctx = x
	case *limitedContext:
		w.ctx, w.until, w.limit = x.Context, x.at, x
		if x.canceled.Load() {
			return w, context.Canceled
		}
	default:
		c, ok := FromContext(ctx)
		if !ok {
			return w, nil
		}
		w.ctx, w.other = c, ctx
	}
	if w.c = w.ctx.here(); w.c == nil {
		return w, w.ctx.own()
	}
	if w.ctx.answers {
		w.bound()
	}
	if w.other != nil {
		err = w.observe()
	}
	return w, err
}

// enterAs is enter for what only own may wait for. A context that belongs to no actor bounds the wait beside own.
func enterAs(ctx context.Context, own *Context) (w waiting, err error) {
	w, err = enter(ctx)
	switch {
	case err != nil:
	case w.ctx == nil:
		if w.c = own.here(); w.c == nil {
			return w, own.own()
		}
		w.ctx, w.other = own, ctx
		if own.answers {
			w.bound()
		}
		err = w.observe()
	case w.ctx != own:
		err = ErrForeignGoroutine
	}
	return w, err
}

// bound has the deadline of the call in hand end the wait.
func (w *waiting) bound() {
	if d := w.c.env.call.deadlineOf(w.ctx.sys, w.c.env.seq()); d != 0 && (w.until == 0 || d < w.until) {
		w.until = d
	}
}

// observe has a context of package context wake the actor.
func (w *waiting) observe() error {
	if err := w.other.Err(); err != nil {
		return err
	}
	if at, ok := w.other.Deadline(); ok {
		if d := at.Sub(w.ctx.sys.ex.start); w.until == 0 || d < w.until {
			w.until = d
		}
	}
	sys, a := w.ctx.sys, w.ctx.cell
	w.stop = context.AfterFunc(w.other, func() { sys.rouse(nil, a) })
	return nil
}

// check says why the wait must end now, if it must.
func (w *waiting) check() error {
	ctx := w.ctx
	if ctl := ctx.cell.ctl.Load(); ctl != 0 {
		if err := ctx.interrupted(ctl, w.limit != nil && w.limit.shields); err != nil {
			return err
		}
	}
	if w.limit != nil && w.limit.canceled.Load() {
		return context.Canceled
	}
	if w.other != nil {
		if err := w.other.Err(); err != nil {
			return err
		}
	}
	if ctx.answers {
		if err := w.c.env.call.abandoned(w.c.env.seq()); err != nil {
			return err
		}
	}
	if w.until != 0 && ctx.sys.ex.now() >= w.until {
		return context.DeadlineExceeded
	}
	return nil
}

// sleep suspends the actor until somebody wakes it; k says who may. The caller loops over its own condition.
func (w *waiting) sleep(k waitKind) error {
	if err := w.check(); err != nil {
		return err
	}
	c := w.c
	c.until = w.until
	if w.ctx.cleaning {
		w.awake()
	}
	c.slot.tally.waits++
	c.slot.left-- // the worker looks at the clock, on its own stack
	c.switchAway(k)
	return nil
}

// awake has the actor look around when a Cleanup's time is over, from when on a request to stop counts again.
func (w *waiting) awake() {
	if until := w.ctx.shieldedUntil(); until != 0 && (w.c.until == 0 || until < w.c.until) {
		w.c.until = until
	}
}

// leave ends the wait.
func (w *waiting) leave() {
	if w.c != nil && w.c.timer.armed() {
		w.ctx.sys.ex.timers.disarm(w.c.timer)
	}
	if w.stop != nil {
		w.stop()
	}
}

// interrupted returns the error with which a signal ends waits; a request to stop does not end one that is shielded. A kill does
// not return.
func (ctx *Context) interrupted(ctl uint32, shielded bool) error {
	if ctl&ctlKill != 0 {
		return ctx.die()
	}
	if ctl&ctlInterrupt != 0 {
		if err := ctx.takeInterrupt(); err != nil {
			return err
		}
	}
	if ctl&ctlStop != 0 {
		ctx.stopping = true
		if !shielded && ctx.shieldedUntil() == 0 {
			return ErrStopped
		}
	}
	return nil
}

// die ends a killed actor at its wait: deferred functions run, and whatever they wait for answers ErrKilled at once.
func (ctx *Context) die() error {
	c := ctx.here()
	if ctx.killed || c == nil || c.dying {
		return ErrKilled
	}
	ctx.killed = true
	c.dying = true
	runtime.Goexit()
	return ErrKilled
}

// Sleep waits for d without holding a slot. It returns nil when d has passed, else why it ended early: ErrStopped, an
// interrupt, ErrKilled in a deferred function, or the error of the call in hand.
func (ctx *Context) Sleep(d time.Duration) error {
	w, err := enter(ctx)
	if err != nil {
		return err
	}
	outer := w.until
	until := ctx.sys.ex.in(d)
	if outer == 0 || until < outer {
		w.until = until
	}
	defer w.leave()
	for {
		if d <= 0 || ctx.sys.ex.now() >= until {
			w.until = 0
			return w.check()
		}
		if err := w.sleep(waitPark); err != nil {
			if err == context.DeadlineExceeded && ctx.sys.ex.now() >= until { //nolint:errorlint // bare; one within is an interrupt's
				continue
			}
			return err
		}
	}
}

// Yield lets other actors go first. The executor does this by itself between messages and, in long runs of sends, for a
// behaviour that has run for 200 us; a long computation may call it.
func (ctx *Context) Yield() error {
	w, err := enter(ctx)
	if err != nil {
		return err
	}
	defer w.leave()
	if err := w.check(); err != nil {
		return err
	}
	w.c.switchAway(waitTurn)
	return nil
}
