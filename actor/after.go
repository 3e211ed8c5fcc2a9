package actor

import (
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

// Timer sends a message later, once or again and again. It ends with the actor that started it.
type Timer struct {
	t      timer
	sys    *System
	owner  AnyRef
	to     AnyRef
	msg    proto.Message
	every  time.Duration
	next   time.Duration
	ended  atomic.Bool
	missed atomic.Uint64
}

// SendAfter sends m to r after d. The Timer is the caller's: it is cancelled when the calling actor ends. d < 0 counts as 0.
// Cost: one heap entry, taken out at once when cancelled.
func SendAfter[M proto.Message](ctx *Context, d time.Duration, r Ref[M], m M) (*Timer, error) {
	return ctx.startTimer(d, 0, r.AnyRef, m)
}

// SendEvery sends m to r every d, first after d, until it is cancelled, the calling actor ends or r has ended. The times are
// d, 2d, 3d ... after the call, however late one was; those that were missed altogether are skipped.
func SendEvery[M proto.Message](ctx *Context, d time.Duration, r Ref[M], m M) (*Timer, error) {
	if d <= 0 {
		return nil, errors.New("actor: SendEvery needs a positive interval")
	}
	return ctx.startTimer(d, d, r.AnyRef, m)
}

func (ctx *Context) startTimer(d, every time.Duration, to AnyRef, m proto.Message) (*Timer, error) {
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
	err := t.to.node.sys.post(nil, t.to, t.msg)
	if errors.Is(err, ErrFull) {
		t.to.node.sys.outside.sent.Add(1)
		t.to.node.sys.deadLetter(nil, t.to, envelope{msg: t.msg}, DeadOverflow, nil)
		err = nil
	}
	if t.every == 0 || err != nil {
		t.Cancel()
		return
	}
	t.next += t.every
	if now := t.sys.ex.now(); t.next <= now {
		skip := (now-t.next)/t.every + 1
		t.next += skip * t.every
		t.missed.Add(uint64(skip))
	}
	t.arm()
	if t.ended.Load() {
		t.sys.ex.timers.disarm(&t.t)
	}
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
	return pending
}
