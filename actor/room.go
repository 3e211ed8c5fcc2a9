package actor

import (
	"context"

	"github.com/greenroom-go/greenroom/mailbox"
)

// awaitRoom waits for a place in a full mailbox whose policy is Suspend: an actor suspends, any other goroutine blocks.
func (sys *System) awaitRoom(ctx context.Context, a *cell, q boundedQueue, env envelope) error {
	w, err := enter(ctx)
	defer w.leave()
	if err != nil {
		return sys.refused(nil, err)
	}
	if w.c != nil {
		return w.awaitRoom(sys, a, q, env)
	}
	done := make(chan mailbox.Outcome, 1)
	place := &mailbox.Waiter[envelope]{Elem: env, Ready: func(o mailbox.Outcome) {
		sys.admitted(o)
		done <- o
	}}
	if waiting, err := sys.await(nil, a, q, place); !waiting {
		return err
	}
	select {
	case out := <-done:
		return sys.roomOutcome(nil, a, out)
	case <-ctx.Done():
		if q.Cancel(place) {
			return sys.refused(nil, ctx.Err())
		}
		return sys.roomOutcome(nil, a, <-done)
	}
}

// await queues up for room; a message that finds some at once is counted and settled here, one that has to wait by admitted.
func (sys *System) await(s *slot, a *cell, q boundedQueue, place *mailbox.Waiter[envelope]) (waiting bool, err error) {
	if s == nil {
		sys.ex.departs()
		defer sys.ex.arrived()
	}
	sys.counting(s)
	out, waiting := q.Await(place)
	if waiting || out == mailbox.Full || out == mailbox.Closed {
		sys.uncount(s)
	}
	if waiting {
		return true, nil
	}
	return false, sys.roomOutcome(s, a, out)
}

// admitted counts a message that got room after a wait; the consumer calls it before it sees the message.
func (sys *System) admitted(o mailbox.Outcome) {
	if o == mailbox.Queued {
		sys.counting(nil)
	}
}

// roomOutcome settles a message that was admitted to, or refused by, a mailbox after a wait.
func (sys *System) roomOutcome(s *slot, a *cell, out mailbox.Outcome) error {
	switch out {
	case mailbox.Wake:
		sys.schedule(s, a)
	case mailbox.Queued:
	case mailbox.Full:
		return sys.refused(s, ErrFull)
	default:
		return sys.refused(s, ErrStopped)
	}
	return nil
}

func (w *waiting) awaitRoom(sys *System, a *cell, q boundedQueue, env envelope) error {
	c := w.c
	self, me := w.ctx.cell, w.ctx.sys
	to := AnyRef{sys.node, uint64(env.gen())<<32 | uint64(a.idx)}
	call := env.call != nil && env.call == c.call.Load() // the edge of a Call stands already
	if !call {
		c.edge.set(w.ctx.Self(), to)
		defer c.edge.clear()
	}
	if err := w.ctx.deadlock(c, to); err != nil {
		return sys.refused(w.slotIn(sys), err)
	}
	got := make(chan mailbox.Outcome, 1)
	place := &mailbox.Waiter[envelope]{Elem: env, Ready: func(o mailbox.Outcome) {
		sys.admitted(o)
		if !call {
			c.edge.clear() // it waits no more, though it has yet to run: whom it sent to may call it
		}
		got <- o
		me.rouse(nil, self)
	}}
	if waiting, err := sys.await(w.slotIn(sys), a, q, place); !waiting {
		return err
	}
	defer func() {
		if !c.dying {
			return
		}
		if !q.Cancel(place) { // killed while waiting: the message is in after all
			_ = sys.roomOutcome(nil, a, <-got)
		}
	}()
	for {
		select {
		case out := <-got:
			return sys.roomOutcome(w.slotIn(sys), a, out)
		default:
		}
		if err := w.sleep(waitPark); err != nil {
			if q.Cancel(place) {
				return sys.refused(w.slotIn(sys), err)
			}
			return sys.roomOutcome(w.slotIn(sys), a, <-got)
		}
	}
}

// slotIn is the slot that the waiting actor holds, or nil if it lives in another System.
func (w *waiting) slotIn(sys *System) *slot {
	if w.ctx.sys != sys {
		return nil
	}
	return w.c.slot
}
