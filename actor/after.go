package actor

import (
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/mailbox"
)

// Timer sends a message later, once or again and again. It ends with the actor that started it. It never waits for room and
// nobody can take its message back: one that finds a full mailbox, or nobody any more, is counted and shown as a dead letter,
// with DeadOverflow or DeadStopped.
type Timer struct {
	t     timer
	sys   *System
	owner AnyRef
	to    AnyRef
	msg   proto.Message
	every time.Duration
	next  time.Duration
	ended atomic.Bool
}

// SendAfter sends m to r after d. The Timer is the caller's: it is cancelled when the calling actor ends. d < 0 counts as 0.
// Cost: one heap entry, taken out at once when cancelled.
func SendAfter[M proto.Message](ctx *Context, d time.Duration, r Ref[M], m M) (*Timer, error) {
	return ctx.startTimer(d, 0, r.AnyRef, m)
}

// SendEvery sends m to r every d, first after d, until it is cancelled, the calling actor ends or r is found to have ended. The times are
// d, 2d, 3d ... after the call, however late one was; those that were missed altogether are skipped.
func SendEvery[M proto.Message](ctx *Context, d time.Duration, r Ref[M], m M) (*Timer, error) {
	if d <= 0 {
		return nil, errors.New("actor: SendEvery needs a positive interval")
	}
	return ctx.startTimer(d, d, r.AnyRef, m)
}

func (ctx *Context) startTimer(d, every time.Duration, to AnyRef, m proto.Message) (*Timer, error) {
	if ctx == nil {
		return nil, ErrNilContext
	}
	if ctx.here() == nil {
		return nil, ctx.own()
	}
	if to.node == nil {
		return nil, ErrNoActor
	}
	if noMessage(m) {
		return nil, ErrNilMessage
	}
	sys := ctx.sys
	t := &Timer{sys: sys, owner: ctx.Self(), to: to, msg: m, every: every}
	mu := sys.locks.of(ctx.cell.idx)
	mu.Lock()
	cold := ctx.cell.coldOf()
	if cold.timers == nil {
		cold.timers = make(map[*Timer]struct{})
	}
	cold.timers[t] = struct{}{}
	mu.Unlock()
	t.t.fire = t.fire
	t.next = sys.ex.in(d)
	t.arm()
	return t, nil
}

func (t *Timer) arm() {
	t.sys.ex.timers.arm(&t.t, t.next, timerSend, nil)
}

func (t *Timer) fire() {
	if t.ended.Load() {
		return
	}
	alive := true
	defer func() { // also where a subscriber to dead letters calls Goexit
		if t.every == 0 || !alive {
			t.Cancel()
			return
		}
		t.again()
	}()
	if t.to.Remote() {
		tickAbroad(t.to, t.msg)
		return
	}
	alive = t.to.node.sys.tick(t.to, t.msg)
}

// again arms the timer for its next time.
func (t *Timer) again() {
	t.next += t.every
	if now := t.sys.ex.now(); t.next <= now {
		t.next = now + t.every - (now-t.next)%t.every
	}
	t.arm()
	if t.ended.Load() {
		t.sys.ex.timers.disarm(&t.t)
	}
}

// tick sends a timer's message; false if its receiver has ended. Nobody is there to take back what finds no way in: it is
// accepted all the same, once, and ends as a dead letter.
func (sys *System) tick(to AnyRef, m proto.Message) (alive bool) {
	sys.ex.departs()
	defer sys.ex.arrived()
	sys.counting(nil)
	env := envelope{msg: m, meta: to.id &^ lowWord}
	switch out, err := sys.tryPush(to.cell(), env); {
	case err != nil:
		sys.deadLetter(nil, to, env, DeadPanic, err)
	case out == mailbox.Full:
		sys.deadLetter(nil, to, env, DeadOverflow, nil)
	case out == mailbox.Closed:
		sys.deadLetter(nil, to, env, DeadStopped, nil)
		return false
	}
	return true
}

// tryPush pushes env, which is counted, without waiting. With an error, Full and Closed it is the caller's.
func (sys *System) tryPush(a *cell, env envelope) (mailbox.Outcome, error) {
	switch {
	case a == nil:
		return mailbox.Closed, nil
	case a.flags.Load()&flagQueue == 0:
		out := sys.ex.outsiders.Get().(*outsider)
		defer sys.ex.outsiders.Put(out)
		result := a.box.Push(&out.cache, env)
		if result == mailbox.Wake {
			sys.schedule(nil, a)
		}
		return result, nil
	}
	cold := a.cold.Load()
	if cold == nil || cold.queue == nil {
		return mailbox.Closed, nil
	}
	rank, err := cold.queue.rank(env)
	if err != nil {
		return mailbox.Full, err
	}
	return sys.put(nil, a, cold.queue, env, rank), nil
}

// Cancel ends the timer and reports whether it was still to send something. What was sent already stays sent. Any goroutine
// may call it, any number of times.
func (t *Timer) Cancel() bool {
	if t == nil || t.sys == nil {
		return false // the zero Timer sends nothing
	}
	if t.ended.Swap(true) {
		return false
	}
	pending := t.sys.ex.timers.disarm(&t.t)
	if a := t.owner.cell(); a != nil {
		mu := t.sys.locks.of(a.idx)
		mu.Lock()
		if cold := a.cold.Load(); cold != nil && a.gen.Load() == uint32(t.owner.id>>32) {
			delete(cold.timers, t)
		}
		mu.Unlock()
	}
	return pending || t.every > 0 // which may be between a tick and its next arming
}
