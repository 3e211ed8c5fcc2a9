package actor

import "context"

// Cond is a place where actors that hold a lock wait for what another one, under the same lock, will signal.
//
// Shape: a lock and a linked list of waiters, which Signal moves to the lock's queue. The zero value has a reentrant lock of
// its own, which Lock, TryLock and Unlock are for; NewCond takes another. Actors only; do not copy after use.
// Order: Signal wakes the oldest waiter. A wake-up is never lost: one that meets a waiter that gives up or ends goes to the
// next. A waiter may be woken in vain, so wait in a loop over the condition.
// Cost: BenchmarkCond.
type Cond struct {
	own     ReentrantMutex
	lock    Locker // instead of own
	waiters places // under the lock's mu
}

// NewCond makes a Cond on a lock that exists already: a *Mutex or *ReentrantMutex. Any number of Conds may share one. With nil the
// Cond has a lock of its own, as the zero value has.
func NewCond(l Locker) *Cond {
	c := new(Cond)
	if l != nil && l.locker() != nil {
		c.lock = l
	}
	return c
}

// L is the lock that Wait, Signal and Broadcast need to be held.
func (c *Cond) L() Locker {
	if c.lock != nil {
		return c.lock
	}
	return &c.own
}

func (c *Cond) core() *lockCore { return c.L().locker() }

// Lock acquires the Cond's lock, as Locker.Lock does.
func (c *Cond) Lock(ctx context.Context) error { return c.L().Lock(ctx) }

// TryLock acquires the Cond's lock if that takes no wait, as Locker.TryLock does.
func (c *Cond) TryLock(ctx context.Context) (bool, error) { return c.L().TryLock(ctx) }

// Unlock releases the Cond's lock, as Locker.Unlock does.
func (c *Cond) Unlock(ctx context.Context) error { return c.L().Unlock(ctx) }

// Signal wakes the actor that has waited longest, if any: it goes on once the caller has released the lock. The caller must hold
// the lock, else ErrNotOwner; or it gets the errors of Mutex.Unlock.
func (c *Cond) Signal(ctx context.Context) error { return c.signal(ctx, false) }

// Broadcast is Signal to all who wait; they get the lock one after the other, the oldest first.
func (c *Cond) Broadcast(ctx context.Context) error { return c.signal(ctx, true) }

// signal moves waiters to the lock's queue. Their edges lead to the caller, which runs: no cycle can come of it unseen.
func (c *Cond) signal(ctx context.Context, all bool) error {
	me, err := lockContext(ctx)
	if err != nil {
		return err
	}
	l := c.core()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner != me.Self() {
		return ErrNotOwner
	}
	for p := c.waiters.pop(); p != nil; p = c.waiters.pop() {
		p.signalled.Store(true)
		l.enqueue(p)
		if !all {
			break
		}
	}
	return nil
}

// Wait releases the lock, at whatever depth, waits under ctx for a Signal or Broadcast, and returns with the lock held again
// at that depth. The caller must hold the lock, else ErrNotOwner.
//
// It returns nil if it was signalled, else why the wait ended early, as Mutex.Lock does: the lock is held again then, too, and
// waiting for it is not bounded by ctx nor ended by a stop. Two exceptions: with *DeadlockError the caller does not hold the
// lock, since its owner waits for the caller; and an actor that is killed while it waits does not get it back, so that Unlock
// in its deferred functions answers ErrNotOwner.
func (c *Cond) Wait(ctx context.Context) error {
	w, err := enterLock(ctx)
	defer w.leave()
	if err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	l := c.core()
	p := w.place()
	l.mu.Lock()
	if l.owner != p.self {
		l.mu.Unlock()
		return ErrNotOwner
	}
	p.depth = l.depth
	c.waiters.push(p)
	next := l.pass()
	l.mu.Unlock()
	w.ctx.letGo(l)
	next.wake(w.c.slot)
	return c.wait(&w, p, l)
}

// wait waits to be signalled and then for the lock.
func (c *Cond) wait(w *waiting, p *place, l *lockCore) error {
	waited := false
	defer func() {
		if !waited {
			c.forgo(p, w.c.slot)
		}
		w.c.edge.clear() // no Signal can set it any more
	}()
	var err error
	for err == nil && !p.signalled.Load() {
		err = w.sleep(waitPark)
	}
	if dead := c.relock(w, p, l, err != nil); dead != nil {
		return dead
	}
	for !p.granted.Load() {
		if dead := w.insist(); dead != nil {
			return dead
		}
	}
	waited = true
	w.ctx.hold(l)
	return err
}

// relock queues p for the lock unless a Signal has done so, and passes on a signal that comes too late for p.
func (c *Cond) relock(w *waiting, p *place, l *lockCore, early bool) error {
	var next *place
	var owner AnyRef
	l.mu.Lock()
	queued := c.waiters.remove(p)
	if early && !queued {
		next = c.succeed()
	}
	if p.in == nil && !p.granted.Load() {
		owner = l.enqueue(p)
	}
	l.mu.Unlock()
	next.wake(w.c.slot)
	if owner.node == nil {
		return nil
	}
	return w.ctx.deadlock(w.c, owner)
}

// succeed gives a signal to the next waiter, which queues for the lock by itself: the owner may be waiting for it, and it must
// look. The caller holds the lock's mu, and wakes who is returned.
func (c *Cond) succeed() *place {
	p := c.waiters.pop()
	if p != nil {
		p.signalled.Store(true)
	}
	return p
}

// forgo takes p out, and passes on the signal or the lock that it was given.
func (c *Cond) forgo(p *place, s *slot) {
	l := c.core()
	var signal, lock *place
	l.mu.Lock()
	if p.in != nil {
		p.in.remove(p)
	}
	if p.signalled.Load() {
		signal = c.succeed()
	}
	if p.granted.Load() {
		lock = l.pass()
	}
	l.mu.Unlock()
	signal.wake(s)
	lock.wake(s)
}

// insist sleeps whatever the context says. Only a kill ends it.
func (w *waiting) insist() error {
	if w.ctx.cell.ctl.Load()&ctlKill != 0 {
		return w.ctx.die()
	}
	w.c.slot.tally.waits++
	w.c.slot.spend()
	w.c.switchAway(waitPark)
	return nil
}
