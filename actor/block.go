package actor

import (
	"context"
	"errors"
	"fmt"
)

// Block runs f, which may block its thread, in place: a system call, a read from a plain file, a lock of package sync. The
// slot is only lent: while f blocks, the watchdog or an idle worker may take it, and the actor comes back by way of the
// shared queue. f must not wait with this Context; sending is fine. A panic in f is the actor's.
// Errors: ErrForeignGoroutine, ErrEnded, ErrInBlock, or one for a nil f; nil once f has run.
// The Context still tells f of the call in hand: Done, Err, Deadline, and contexts that derive from it.
// Cost: two atomic operations on a quiet System (BenchmarkBlock).
func (ctx *Context) Block(f func()) error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	if f == nil {
		return errors.New("actor: Block needs a function to run")
	}
	s := c.slot
	if s.ex.seeded != nil {
		c.block = true
		defer func() { c.block = false }()
		s.ex.seeded.block(f)
		return nil
	}
	s.ex.nBlocked.Add(1)
	c.block = true
	queued := s.lifo.Load() != nil || s.head != s.tail // asked before the slot may be another's
	st := s.blocks()
	s.ex.dog.blocked(queued)
	defer c.unblock(s, st)
	f()
	return nil
}

// blocks turns the state of the slot, which the caller holds, to blocked, and returns what it is then, without the state.
func (s *slot) blocks() uint64 {
	for {
		was := s.status.Load()
		if was&slotMask == slotStuck {
			s.ex.recovered(s)
			continue
		}
		st := was&^slotMask + slotMask + 1
		if s.status.CompareAndSwap(was, st|slotBlocked) {
			return st
		}
	}
}

// unblock takes the slot back, or comes back by way of the shared queue if it is gone.
func (c *carrier) unblock(s *slot, st uint64) {
	if s.status.CompareAndSwap(st|slotBlocked, st|slotRunning) {
		c.block = false
		s.ex.nBlocked.Add(-1)
		return
	}
	c.switchAway(waitSlot)
	c.block = false
}

// Offload runs f on a goroutine of its own and waits for it, holding no slot: the place for runtime.LockOSThread and for C
// code that calls back, neither of which a behaviour may do itself. A panic in f comes back as *PanicError. If the wait ends early,
// by ctx or a signal, Offload returns that error and f runs on by itself.
func (ctx *Context) Offload(wait context.Context, f func() error) error {
	w, err := enterAs(wait, ctx)
	defer w.leave()
	switch {
	case err != nil:
		return err
	case f == nil:
		return errors.New("actor: Offload needs a function to run")
	case ctx.answers:
		ctx.extend() // so that f's goroutine learns of the call in hand
	}
	done := make(chan error, 1)
	sys, a, self := ctx.sys, ctx.cell, ctx.Self()
	sys.ex.nBlocked.Add(1)
	go func() {
		err := fmt.Errorf("actor: offload: %w", ErrGoexit)
		defer func() {
			self.awaitTurn("ends an Offload of")
			done <- err
			sys.rouse(nil, a)
			sys.ex.unblocked()
		}()
		err = protect(f)
	}()
	return w.awaitError(done)
}

// awaitError waits for an error from another goroutine, which rouses the actor after sending it.
func (w *waiting) awaitError(done <-chan error) error {
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if err := w.sleep(waitPark); err != nil {
			return err
		}
	}
}

// protect runs f and turns its panic into a *PanicError.
func protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(v)
		}
	}()
	return f()
}

// unblocked counts the end of a blocking call that held the System's attention.
func (ex *executor) unblocked() {
	ex.nBlocked.Add(-1)
	ex.checkQuiet()
}
