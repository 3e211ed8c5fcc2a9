package actor

import (
	"iter"
	"sync/atomic"
	"time"
)

// A carrier is a stack on loan: a coroutine in which behaviours run. Only the worker that holds a slot resumes it. It
// publishes nothing about its own suspension: it says in wait what should be published, switches away, and the worker
// does it (commit), so that nobody can resume a carrier that is still running.
type carrier struct {
	next  func() (struct{}, bool)
	yield func(struct{}) bool
	g     uintptr

	slot    *slot
	job     *cell    // what to run when resumed at rest; with waitRest: what to run next, elsewhere
	ctx     *Context // whose behaviour runs here, nil at rest
	env     envelope // the message in hand
	busy    bool     // env is in hand: begun and not yet ended
	turn    bool     // between begin and end of user code: where a panic may come from
	block   bool     // in Block: the slot may be gone
	dying   bool     // Goexit runs deferred functions
	exiting bool     // OnExit runs, and end says why
	wait    waitKind
	end     *Reason

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
	defer c.unwind() // the other one goes on where OnExit calls Goexit in this one
	for c.job != nil {
		a := c.job
		c.job = nil
		for ; a != nil; a = c.following() {
			c.runTurn(a)
		}
		c.wait = waitRest
		yield(struct{}{})
	}
}

// following picks the actor to run after a turn: one that needs no stack of its own right here, another through the worker.
func (c *carrier) following() *cell {
	s := c.slot
	c.ctx = nil
	s.tally.turns++
	s.breathe()
	if s.special || s.ex.surplus.Load() || s.status.Load()&slotMask != slotRunning {
		return nil // the worker decides
	}
	s.turnNow = s.lastNow
	a := s.local()
	if a == nil || a.suspended() {
		c.job = a
		return nil
	}
	return a
}

// unwind runs when the coroutine ends. In the middle of an actor that is runtime.Goexit: Kill, t.Fatal or the user's own.
func (c *carrier) unwind() {
	if ctx := c.ctx; ctx != nil {
		c.dying = false
		c.turn = false
		reason := Reason{Kind: ReasonError, Err: ErrGoexit}
		if ctx.killed {
			reason = Reason{Kind: ReasonKilled, Err: ErrKilled}
		}
		if c.exiting {
			reason = *c.end
		}
		c.dropCall()
		c.finish(ctx, reason)
		c.ctx = nil
	}
}

// worker is a goroutine that holds a slot and trampolines carriers on it.
type worker struct {
	slot   *slot
	normal bool
}

func (ex *executor) startWorker(s *slot) {
	ex.wg.Add(1)
	go (&worker{slot: s}).loop(ex)
}

func (w *worker) loop(ex *executor) {
	defer ex.wg.Done()
	defer func() {
		// Goexit in a carrier propagates to whoever called next: this goroutine goes, another takes the slot.
		if !w.normal && w.slot != nil {
			ex.nCarriers.Add(-1)
			w.slot.tally.turns++
			ex.startWorker(w.slot)
		}
	}()
	for w.slot != nil {
		a := w.slot.find()
		if a == nil {
			break
		}
		for a != nil && w.slot != nil {
			a = w.run(a)
		}
	}
	w.normal = true
}

// run resumes the carrier of a, commits what the carrier waits for, and returns the actor that it named as next, if any.
func (w *worker) run(a *cell) *cell {
	s := w.slot
	c := s.carrierFor(a)
	c.slot = s
	s.turnNow = s.lastNow
	c.next()
	next := w.commit(c)
	if w.slot != nil {
		if s.left <= 0 {
			s.look()
		}
		s.breathe()
	}
	return next
}

func (s *slot) carrierFor(a *cell) *carrier {
	if ctx := a.ctx.Load(); ctx != nil && ctx.asleep {
		ctx.asleep = false
		s.tally.suspended--
		return ctx.car.Load()
	}
	c := s.carrier()
	c.job = a
	return c
}

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
		s.tally.suspended++ // with waitSlot the slot is lost, and the watchdog has counted when it took it
	}
	if c.until != 0 {
		c.arm(s)
	}
	switch c.wait {
	case waitRest:
		a := c.job
		c.job = nil
		s.restCarrier(c)
		if s.status.Load()&slotMask == slotStuck {
			s.ex.recovered(s)
		}
		return a
	case waitMail:
		a := c.ctx.cell
		if !a.idleOrSignalled() {
			s.push(a)
		}
	case waitPark:
		a := c.ctx.cell
		if !a.park.CompareAndSwap(parkRunning, parkParked) {
			a.park.Store(parkRunning) // unparked in between
			s.push(a)
		}
	case waitTurn:
		s.pushBack(c.ctx.cell)
	case waitSlot:
		w.slot = nil
		s.ex.pushShared(c.ctx.cell)
		s.ex.nBlocked.Add(-1)
	}
	return nil
}

// arm sets the timer of a wait, on the worker's stack: the carrier's stays small.
func (c *carrier) arm(s *slot) {
	if !c.timer.armed() {
		if c.timer == nil {
			c.timer = new(timer)
		}
		s.ex.timers.arm(c.timer, c.until, timerWake, c.ctx.cell)
	}
	c.until = 0
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
