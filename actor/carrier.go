package actor

import (
	"iter"
	"sync/atomic"
	"time"
)

// A carrier is a stack on loan: a coroutine in which behaviours run. Only the worker that holds a slot resumes it. It
// publishes nothing about its own suspension: it says in wait what should be published, switches away, and the worker
// does it (commit), so that nobody can resume a carrier that is still running.
//
// A worker's own stack is a carrier as well, for calm actors: those that have not waited in the middle of a message for long.
// That saves the switches into a coroutine and out of it. If such an actor waits after all, the worker's goroutine stays with
// it, driven by channels from then on, and a new worker takes the slot: see handOver.
type carrier struct {
	next  func() (struct{}, bool)
	yield func(struct{}) bool
	g     uintptr
	own   *worker // whose stack this is, nil for a coroutine and after handOver
	lent  *loan   // after handOver

	slot   *slot
	job    *cell    // what to run when resumed at rest; with waitRest or waitPark: what to run next, elsewhere
	names  bool     // whom a send wakes becomes job, since this actor is about to wait
	ctx    *Context // whose behaviour runs here, nil at rest
	env    envelope // the message in hand
	busy   bool     // env is in hand: begun and not yet ended
	glance bool     // a function of the user's looks at a message: Select's, or one that makes a message of a Down
	turn   bool     // between begin and end of user code: where a panic may come from
	block  bool     // in Block: the slot may be gone
	dying  bool     // Goexit runs deferred functions
	stage  endStage // how far the actor's end has got
	wait   waitKind
	end    *Reason

	until time.Duration        // deadline of the current wait, 0 for none
	timer *timer               // made at the first wait that has a deadline
	call  atomic.Pointer[call] // of the current Call; made at the first
	edge  edge                 // whom the current wait depends on
}

type waitKind uint8

const (
	waitRest waitKind = iota // nothing: the carrier is free
	waitMail                 // for a message, or a signal
	waitPark                 // for unpark
	waitTurn                 // for its turn: others go first
	waitSlot                 // for a slot, after a Block that lost its own
)

func newCarrier(ex *executor) *carrier {
	c := new(carrier)
	ex.nCarriers.Add(1)
	c.next, _ = iter.Pull(c.main)
	return c
}

// dispose ends a resting carrier: without a job its coroutine returns.
func (c *carrier) dispose() {
	c.next()
	c.slot.ex.nCarriers.Add(-1)
	c.next, c.yield = nil, nil
}

// main is the coroutine: it runs actors until it is stopped.
func (c *carrier) main(yield func(struct{}) bool) {
	c.yield = yield
	c.g = getg()
	defer c.unwind()
	for c.job != nil {
		c.runJob()
		c.wait = waitRest
		yield(struct{}{})
	}
}

// runJob runs the actor that it was given, and those that can follow it right here.
func (c *carrier) runJob() {
	a := c.job
	c.job = nil
	for ; a != nil; a = c.following() {
		c.runTurn(a)
	}
}

// following picks the actor to run after a turn: one that needs no stack of its own right here, another through the worker.
func (c *carrier) following() *cell {
	c.ctx = nil
	if c.lent != nil {
		c.slot.tally.turns++
		return nil // this goroutine stayed for one actor
	}
	s := c.slot
	s.tally.turns++
	s.breathe()
	if s.special || s.ex.surplus.Load() || s.state() != slotRunning {
		return nil // the worker decides
	}
	s.turnNow = s.lastNow
	a := s.local()
	if a == nil || a.suspended() || c.own != nil && !a.calm() {
		c.job = a
		return nil
	}
	return a
}

// unwind runs when the coroutine ends. In the middle of an actor that is runtime.Goexit: Kill, t.Fatal or the user's own. The
// actor's end calls user code as well, which may do the same: unwind goes on behind it, until the actor has ended.
func (c *carrier) unwind() {
	ctx := c.ctx
	if ctx == nil && c.stage == stageNone {
		return
	}
	defer c.unwind()
	if ctx != nil {
		c.dying = false
		c.turn = false
		if c.stage == stageNone {
			c.endWith(ctx.exitReason())
		}
		c.dropCall()
		c.finish(ctx)
	}
	c.stage = stageNone
	if c.own == nil && c.lent == nil {
		c.slot.ex.nCarriers.Add(-1)
	}
}

// exitReason is why an actor ends whose goroutine does.
func (ctx *Context) exitReason() Reason {
	if ctx.killed {
		return Reason{Kind: ReasonKilled, Err: ErrKilled}
	}
	return Reason{Kind: ReasonError, Err: ErrGoexit}
}

// worker is a goroutine that holds a slot and trampolines carriers on it.
type worker struct {
	slot   *slot
	own    *carrier // its own stack
	normal bool
}

func newWorker(s *slot) *worker {
	w := &worker{slot: s, own: new(carrier)}
	w.own.own, w.own.yield = w, w.own.handOver
	return w
}

func (ex *executor) startWorker(s *slot) { ex.startWith(newWorker(s), nil) }

// startWith starts w; c, if not nil, has just switched away on its slot.
func (ex *executor) startWith(w *worker, c *carrier) {
	ex.wg.Add(1)
	go w.loop(ex, c)
}

func (w *worker) loop(ex *executor, c *carrier) {
	defer ex.wg.Done()
	defer func() {
		// Goexit in a carrier propagates to whoever called next: this goroutine goes, another takes the slot.
		if !w.normal && w.slot != nil {
			w.slot.tally.turns++
			ex.startWorker(w.slot)
		}
	}()
	w.slot.back()
	var a *cell
	if c != nil {
		a = w.commit(c)
	}
	for w.slot != nil {
		for a != nil && w.slot != nil {
			a = w.run(a)
		}
		if w.slot == nil {
			break
		}
		if a = w.slot.find(); a == nil {
			break
		}
	}
	w.normal = true
}

// run resumes the carrier of a, commits what the carrier waits for, and returns the actor that it named as next, if any.
func (w *worker) run(a *cell) *cell {
	s := w.slot
	s.turnNow = s.lastNow
	var next *cell
	if !s.special && !a.suspended() && a.calm() {
		next = w.runHere(a)
	} else {
		c := s.carrierFor(a)
		c.slot = s
		c.next()
		next = w.commit(c)
	}
	if w.slot != nil {
		if s.left <= 0 {
			s.look()
		}
		s.breathe()
	}
	return next
}

// runHere runs a on the worker's own stack.
func (w *worker) runHere(a *cell) *cell {
	c := w.own
	if c.g == 0 {
		c.g = getg()
	}
	defer func() {
		if c.lent != nil {
			c.lent.end(c)
		}
	}()
	defer c.unwind()
	c.slot, c.job = w.slot, a
	c.runJob()
	if c.lent != nil {
		return nil
	}
	return w.rested(c)
}

// rested takes what a carrier at rest names as next.
func (w *worker) rested(c *carrier) *cell {
	a := c.job
	c.job = nil
	if w.slot.state() == slotStuck {
		w.slot.ex.recovered(w.slot)
	}
	return a
}

func (s *slot) carrierFor(a *cell) *carrier {
	if ctx := a.ctx.Load(); ctx != nil && ctx.asleep {
		ctx.asleep = false
		s.tally.suspended--
		return ctx.car.Load()
	}
	if f := a.flags.Load(); f&(flagRoutine|flagJumpy) == 0 && f&calmMask < calmAfter*calmOne {
		a.flags.Add(calmOne)
	}
	c := s.carrier()
	c.job = a
	return c
}

// calmAfter is how often in a row a worker must have started an actor's turn, without the actor's waiting in the middle of a
// message, until it runs on the worker's own stack. A handover costs far more than switches do: one that needed it is jumpy for good.
const calmAfter = 64

// calm reports whether the actor can be trusted with a worker's own stack. For its slot only.
func (a *cell) calm() bool { return a.flags.Load()&calmMask == calmAfter*calmOne }

func (s *slot) carrier() *carrier {
	if n := len(s.resting); n > 0 {
		c := s.resting[n-1]
		s.resting[n-1] = nil
		s.resting = s.resting[:n-1]
		return c
	}
	if c := s.ex.spareCarrier(); c != nil {
		return c
	}
	return newCarrier(s.ex)
}

func (s *slot) restCarrier(c *carrier) {
	if len(s.resting) < idleKeep {
		s.resting = append(s.resting, c)
		return
	}
	s.ex.keepCarrier(c)
}

// commit publishes the wait of a carrier that has switched away. After it the carrier may run elsewhere.
func (w *worker) commit(c *carrier) *cell {
	s := w.slot
	if c.wait != waitRest && c.wait != waitSlot {
		if s.state() == slotStuck {
			s.ex.recovered(s)
		}
		s.tally.suspended++ // with waitSlot the slot is lost, and the watchdog has counted when it took it
	}
	if c.until != 0 {
		c.arm(s)
	}
	switch c.wait {
	case waitRest:
		next := w.rested(c) // first: without a job, a carrier that is resumed ends
		if c.next != nil {
			s.restCarrier(c)
		}
		return next
	case waitMail:
		a := c.ctx.cell
		if !a.idleOrSignalled() {
			s.push(a)
		}
	case waitPark:
		next := c.job
		c.job = nil
		a := c.ctx.cell
		if a.flags.Load()&calmMask != 0 {
			a.flags.And(^calmMask)
		}
		if !a.park.CompareAndSwap(parkRunning, parkParked) {
			a.park.Store(parkRunning) // unparked in between
			s.push(a)
		}
		return next
	case waitTurn:
		s.pushBack(c.ctx.cell)
	case waitSlot:
		w.slot = nil
		s.ex.pushShared(c.ctx.cell)
		s.ex.unblocked() // what was pushed may have ended by now, and the slots rest
	}
	return nil
}

// arm sets the timer of a wait, on the worker's stack: the carrier's stays small.
func (c *carrier) arm(s *slot) {
	until := max(c.until, 1)
	c.until = 0
	if c.timer == nil {
		c.timer = new(timer)
	}
	if c.timer.armed() {
		if c.timer.at == until {
			return
		}
		s.ex.timers.disarm(c.timer) // a wait within another one, as in a function given to Select
	}
	s.ex.timers.arm(c.timer, until, timerWake, c.ctx.cell)
}

// idleOrSignalled puts a waiting actor to rest; false means that it must run again, with whoever calls.
func (a *cell) idleOrSignalled() bool {
	if !a.idle() {
		return false
	}
	if a.park.Load() == parkPermit && a.wake() {
		a.park.Store(parkRunning)
		return false
	}
	return true
}

// suspended reports whether the actor waits in the middle of a message, on a carrier of its own. For its slot only.
func (a *cell) suspended() bool {
	ctx := a.ctx.Load()
	return ctx != nil && ctx.asleep
}

// switchAway suspends the carrier; it returns when a worker resumes it.
func (c *carrier) switchAway(k waitKind) {
	c.wait = k
	c.ctx.asleep = true
	c.yield(struct{}{})
}

// loan is a worker's goroutine that stays with an actor which waits on its stack: a carrier without a coroutine.
type loan struct {
	resume chan struct{} // to the goroutine: it holds a slot
	back   chan struct{} // from it: it has switched away, or its turn is over
}

// handOver is the yield of a worker's own stack: the slot goes to a new worker, which commits the wait, and this goroutine
// becomes a carrier of its own until the actor's turn is over.
func (c *carrier) handOver(struct{}) bool {
	if c.lent != nil {
		c.lent.back <- struct{}{}
		<-c.lent.resume
		return true
	}
	ex, w := c.slot.ex, c.own
	c.own, c.lent = nil, &loan{make(chan struct{}, 1), make(chan struct{}, 1)}
	c.ctx.cell.flags.Or(flagJumpy)
	c.next = c.lent.next
	ex.nCarriers.Add(1)
	s := w.slot
	w.slot = nil
	ex.startWith(newWorker(s), c)
	<-c.lent.resume
	return true
}

// next resumes the goroutine and returns when it has switched away.
func (l *loan) next() (struct{}, bool) {
	l.resume <- struct{}{}
	<-l.back
	return struct{}{}, true
}

// end gives the slot back at the end of the turn: the goroutine goes.
func (l *loan) end(c *carrier) {
	c.slot.ex.nCarriers.Add(-1)
	c.wait, c.next = waitRest, nil
	l.back <- struct{}{}
}
