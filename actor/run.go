package actor

// Hot path. Per message: 0 allocs, no lock, no fmt, no reflect; held by TestSendAllocs.

import (
	"errors"
)

// envelope is a message on its way. It is four words, so that the compiler keeps it in registers: copies through memory of
// what was just written in pieces stall.
type envelope struct {
	msg  any    // a proto.Message, or an adapter that becomes one at the receiver
	call *call  // whom to answer, nil for a plain send
	meta uint64 // high: the incarnation that it is meant for; low: the use of call, else a time stamp if sampled
}

const lowWord = 1<<32 - 1

func (e envelope) gen() uint32 { return uint32(e.meta >> 32) }
func (e envelope) seq() uint32 { return uint32(e.meta) }

// unstamped is e without its time stamp: it was sampled already.
func (e envelope) unstamped() envelope {
	if e.call == nil {
		e.meta &^= lowWord
	}
	return e
}

// answered is e without the call that it was.
func (e envelope) answered() envelope {
	if e.call != nil {
		e.call = nil
		e.meta &^= lowWord
	}
	return e
}

// adapter is something other than a user's message that travels in a mailbox and becomes a message at its turn.
type adapter interface{ message(ctx *Context) any }

// runTurn runs a for one turn, on this carrier.
func (c *carrier) runTurn(a *cell) {
	if a.ctl.Load()&ctlVerdict != 0 && !c.carryOut(a) {
		return
	}
	ctx := a.ctx.Load()
	if ctx == nil {
		ctx = c.slot.ex.sys.newContext(a)
	}
	if ctx.car.Load() != c {
		ctx.car.Store(c)
	}
	c.ctx = ctx
	c.play(ctx, a)
	if c.end != nil {
		c.finish(ctx)
	}
}

// play runs user code under the protection of caught.
func (c *carrier) play(ctx *Context, a *cell) {
	defer c.caught()
	if !ctx.begun {
		if a.ctl.Load()&ctlSwap != 0 && !a.beh.routine() {
			c.swapHandler(ctx) // it begins with the new one
		}
		ctx.begun = true
		if !c.begin(ctx, a) {
			return
		}
	}
	if a.flags.Load()&flagRoutine != 0 {
		for {
			c.turn = true
			_, err := a.beh.handle(ctx, nil)
			if a.ctl.Load()&ctlSwap == 0 && !handsOver(err) || !c.swapRoutine(ctx, err) {
				c.routineEnds(ctx, err)
				c.turn = false
				return
			}
		}
	}
	c.messages(ctx, a)
}

func (c *carrier) begin(ctx *Context, a *cell) bool {
	if a.ctl.Load() != 0 {
		if r, ends := ctx.signals(); ends {
			c.endWith(r)
			return false
		}
	}
	c.turn = true
	err := a.beh.begin(ctx)
	if err == nil {
		if cold := a.cold.Load(); cold != nil && cold.opts.OnStart != nil {
			err = cold.opts.OnStart(ctx)
		}
	}
	if err != nil {
		c.endWith(ctx.reasonOf(err))
	}
	c.turn = false
	if err == nil && a.flags.Load()&flagGuarded != 0 {
		c.tellStarted(ctx)
	}
	return err == nil
}

// messages handles what is in the mailbox until it is empty, the budget is spent or the actor ends.
func (c *carrier) messages(ctx *Context, a *cell) {
	gen := ctx.gen
	beh := a.beh
	for {
		if a.ctl.Load() != 0 {
			if r, ends := ctx.signals(); ends {
				c.endWith(r)
				return
			}
			if a.ctl.Load()&ctlSwap != 0 {
				c.swapHandler(ctx)
				beh = a.beh
			}
		}
		s := c.slot
		env, ok := a.pop(s)
		if !ok {
			if a.idle() {
				if a.ctl.Load()&ctlTurn != 0 && a.wake() {
					s.push(a)
				}
				return
			}
			continue
		}
		if !c.take(ctx, env, gen) {
			continue
		}
		c.turn = true
		ok, err := beh.handle(ctx, c.env.msg)
		if err != nil && c.fails(ctx, err) {
			c.turn = false
			return
		}
		c.turn = false
		if !ok {
			c.refuse(ctx, DeadWrongType, nil)
			continue
		}
		c.release(ctx)
		if ctx.changed {
			ctx.changed = false
			beh = a.beh
		}
		s = c.slot
		s.spend()
		if s.lastNow-s.turnNow >= turnSlice || s.ex.seeded != nil {
			s.turnNow = s.lastNow
			if !s.goHome(a) {
				s.pushBack(a)
			}
			return
		}
	}
}

// take makes env the message in hand; false if it turned out to be none for this actor.
func (c *carrier) take(ctx *Context, env envelope, gen uint32) bool {
	s := c.slot
	if env.call == nil && uint32(env.meta) != 0 {
		s.latency(uint32(env.meta))
	}
	if env.gen() != gen {
		if m, ok := env.msg.(*mark); ok {
			s.tally.handled++
			m.f()
			return false
		}
		ctx.sys.deadLetter(s, AnyRef{ctx.sys.node, uint64(env.gen())<<32 | uint64(ctx.cell.idx)}, env, DeadStopped, nil)
		return false
	}
	if s.special && s.ex.seeded != nil {
		s.ex.seeded.taken(ctx, env.msg)
	}
	c.env = env
	c.busy = true
	if env.call != nil {
		if !env.call.taken(env.seq(), ctx.cell) {
			c.refuse(ctx, DeadExpired, nil)
			return false
		}
		ctx.answers = true
	}
	if ad, ok := env.msg.(adapter); ok {
		return c.adapt(ctx, ad)
	}
	return true
}

// adapt makes a message of what is in hand; if there is none to handle, it was handled. It calls user code, which may fail.
func (c *carrier) adapt(ctx *Context, ad adapter) bool {
	was := c.turn // true in a routine
	c.turn, c.glance = true, true
	m := ad.message(ctx)
	c.turn, c.glance = was, false
	if noMessage(m) {
		c.release(ctx)
		return false
	}
	c.env.msg = m
	return true
}

// release ends the message in hand: it was handled.
func (c *carrier) release(ctx *Context) {
	if !c.busy {
		return
	}
	c.busy = false
	c.slot.tally.handled++
	if ctx.answers {
		ctx.answers = false
		c.env.call.fail(c.slot, c.env.seq(), ErrNoReply)
	}
	if ctx.scoped {
		ctx.endMessage()
	}
	c.env = envelope{}
}

// refuse ends the message in hand without its having been handled.
func (c *carrier) refuse(ctx *Context, why DeadReason, cause error) {
	if !c.busy {
		return
	}
	c.busy = false
	env := c.env
	c.env = envelope{}
	ctx.answers = false
	if ctx.scoped {
		ctx.endMessage()
	}
	ctx.sys.deadLetter(c.slot, ctx.Self(), env, why, cause)
}

// caught is deferred around user code: a panic becomes the actor's exit reason.
func (c *carrier) caught() {
	if !c.turn {
		return
	}
	v := recover()
	if v == nil {
		return // Goexit: unwind does the rest
	}
	c.turn = false
	c.block = false
	err := newPanicError(v)
	c.endWith(Reason{Kind: ReasonPanic, Err: err})
}

func (c *carrier) endWith(r Reason) { c.end = &r }

// fails reports whether err, which the behaviour returned, is the actor's end: a caller who gave up is no reason to end. It is
// asked within the turn, as reasonOf is: the methods of a user's error are user code.
func (c *carrier) fails(ctx *Context, err error) bool {
	if errors.Is(err, ErrCallerGone) {
		return false
	}
	c.endWith(ctx.reasonOf(err))
	return true
}

func (c *carrier) routineEnds(ctx *Context, err error) {
	r := Reason{}
	if err != nil {
		r = ctx.reasonOf(err)
	} else if ctx.stopping {
		r = ctx.stopReason()
	}
	c.endWith(r)
}

// reasonOf turns the error that a behaviour returned into an exit reason.
func (ctx *Context) reasonOf(err error) Reason {
	if errors.Is(err, ErrStopped) && (ctx.stopping || ctx.Stopping()) {
		return ctx.stopReason()
	}
	return Reason{Kind: ReasonError, Err: err}
}

// latency notes how long a sampled message waited.
func (s *slot) latency(at uint32) {
	now := s.ex.stamp(s.ex.now()) // made as at was, so that it is never the smaller one
	s.ex.sys.metrics.latency.observe(uint64(now - at))
}
