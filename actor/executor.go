package actor

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/mailbox"
)

// executor runs actors on a bounded number of slots: docs/ARCHITECTURE.md draws the picture.
type executor struct {
	sys      *System
	start    time.Time
	workers  int
	maxSpare int
	seeded   *seeded

	nodes     mailbox.Pool[envelope]
	outsiders sync.Pool // *outsider
	timers    timers

	shared sharedQueue
	slots  atomic.Pointer[[]*slot]

	system    sharedQueue // actors that user load never delays; served by reserved alone
	reserved  *slot
	nIdle     atomic.Int32
	dozer     atomic.Pointer[slot] // a slot whose worker sleeps lightly: see doze
	waking    atomic.Int32         // 1 while a woken worker has not yet looked for work
	moving    atomic.Uint64        // pushes from outside of the slots: low half under way, high half begun so far
	nBlocked  atomic.Int32         // carriers in Block, goroutines of Offload
	surplus   atomic.Bool          // there are more slots than there should be
	nCarriers atomic.Int64

	mu      sync.Mutex
	idle    []*slot
	live    int // slots that have a worker, the reserved one not counted
	stuck   int // of these, how many the watchdog gave up waiting for
	quiet   []chan struct{}
	awaited atomic.Bool // quiet is not empty
	closing atomic.Bool
	closed  atomic.Bool // every worker has ended, and its counters are public
	wg      sync.WaitGroup
	carried sync.Mutex
	spareCa []*carrier // resting carriers beyond what slots keep

	dog watchdog
}

func newExecutor(sys *System, o SystemOptions) *executor {
	ex := &executor{sys: sys, start: time.Now(), workers: o.Workers, maxSpare: o.MaxSpare}
	ex.outsiders.New = func() any {
		out := &outsider{call: call{sys: sys, done: make(chan bool, 1)}}
		out.cache.Init(&ex.nodes)
		return out
	}
	ex.timers.init(ex)
	if o.Seed != 0 {
		ex.seeded = newSeeded(ex, o.Seed)
		ex.workers, ex.maxSpare = 1, 0
	}
	slots := make([]*slot, ex.workers)
	for i := range slots {
		slots[i] = ex.newSlot(uint32(i), ex.seeded != nil)
	}
	ex.slots.Store(&slots)
	ex.reserved = ex.newSlot(uint32(ex.workers), true)
	ex.live = len(slots)
	ex.dog.init(ex, o.StuckAfter)
	for _, s := range slots {
		ex.startWorker(s)
	}
	ex.startWorker(ex.reserved)
	return ex
}

func (ex *executor) newSlot(n uint32, special bool) *slot {
	s := &slot{ex: ex, n: n + 1, special: special, wake: make(chan struct{}, 1), every: 1, rng: n*2654435761 + 1}
	s.cache.Init(&ex.nodes)
	return s
}

func (ex *executor) all() []*slot { return *ex.slots.Load() }

// now is the time since the System started, on the monotonic clock.
func (ex *executor) now() time.Duration { return time.Since(ex.start) }

// in is the time d from now: now if d is negative, the end of time if it is beyond that.
func (ex *executor) in(d time.Duration) time.Duration {
	now := ex.now()
	if d > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + max(d, 0)
}

// pushShared makes a runnable from anywhere.
func (ex *executor) pushShared(a *cell) {
	if a.flags.Load()&flagSystem != 0 && ex.seeded == nil {
		ex.system.push(a)
		ex.rouse(ex.reserved)
		return
	}
	if ex.seeded != nil {
		ex.seeded.push(a)
		ex.wakeOne()
		return
	}
	if s := ex.dozing(); s != nil {
		s.given = a
		s.wake <- struct{}{}
		return
	}
	ex.shared.push(a)
	ex.wakeOne()
}

// dozing takes the slot whose worker dozes, if there is one: the caller must wake it, or put it to bed.
func (ex *executor) dozing() *slot {
	s := ex.dozer.Load()
	if s == nil || !ex.dozer.CompareAndSwap(s, nil) {
		return nil
	}
	return s
}

// wakeOne wakes a worker that dozes or rests; not one that rests if another is on its way already.
func (ex *executor) wakeOne() {
	if s := ex.dozing(); s != nil {
		s.wake <- struct{}{}
		return
	}
	if ex.nIdle.Load() == 0 || !ex.waking.CompareAndSwap(0, 1) {
		return
	}
	ex.mu.Lock()
	if len(ex.idle) == 0 {
		ex.waking.Store(0) // under the lock: a worker that goes to rest now has yet to look for work
		ex.mu.Unlock()
		return
	}
	s := ex.idle[len(ex.idle)-1]
	ex.unrest(len(ex.idle) - 1)
	ex.mu.Unlock()
	s.wake <- struct{}{}
}

// unrest takes the i-th slot off the idle list. The caller holds mu.
func (ex *executor) unrest(i int) {
	ex.idle[i].getUp()
	ex.idle = slices.Delete(ex.idle, i, i+1)
	ex.nIdle.Store(int32(len(ex.idle)))
	ex.dog.busy()
}

// getUp ends a slot's rest. Its worker may take a while to wake, which is no fault of the slot. The caller holds mu.
func (s *slot) getUp() {
	s.away()
	s.turnTo(slotRunning)
}

// away has the watchdog look elsewhere until the slot's worker is back.
func (s *slot) away() { s.beat.Store(-int64(s.ex.now())) }

// back ends away. It does nothing to a slot whose worker was not.
func (s *slot) back() {
	if s.beat.Load() <= 0 {
		s.beat.Store(int64(s.ex.now()))
	}
}

// rouse wakes the reserved slot's worker if it rests.
func (ex *executor) rouse(s *slot) {
	ex.mu.Lock()
	resting := s.state() == slotIdle
	if resting {
		s.getUp()
		ex.dog.busy()
	}
	ex.mu.Unlock()
	if resting {
		s.wake <- struct{}{}
	}
}

// find returns the slot's next actor, waiting for one if need be; nil means that the worker should go.
func (s *slot) find() *cell {
	ex := s.ex
	woken := false
	for {
		if ex.surplus.Load() && ex.retire(s) {
			ex.gone(woken)
			return nil
		}
		a := s.search()
		if woken {
			ex.waking.Store(0)
			if a != nil && ex.anyWork(s) {
				ex.wakeOne()
			}
		}
		if a != nil {
			return a
		}
		if s.doze() {
			woken = s.rose()
			if a := s.given; a != nil {
				s.given = nil
				return a
			}
			continue
		}
		if !ex.rest(s) {
			ex.gone(false)
			return nil
		}
		woken = s.rose()
		if ex.closing.Load() { // nobody is left, and to look at all other slots for work takes each of many workers long
			ex.mu.Lock()
			s.flush()
			ex.leave(s)
			ex.mu.Unlock()
			return nil
		}
	}
}

// rose notes that the worker is up again, and reports whether it was woken from a rest by wakeOne.
func (s *slot) rose() bool {
	s.lastNow, s.goNow, s.pollNow, s.turnNow = 0, 0, 0, 0
	s.back()
	if !s.bedded {
		return false
	}
	s.bedded = false
	s.look()
	return s != s.ex.reserved
}

// doze waits a moment for work, and returns false if the worker should go to rest properly. Going to rest and being woken
// from it takes the executor's lock, publishes the counters and scans queues; whoever was just answered often asks again at once.
// So one worker at a time may wait for that without ado: whoever brings work takes the slot out of ex.dozer and hands it over.
// The watchdog, and whoever wants to know that nothing runs, puts it to bed.
func (s *slot) doze() bool {
	ex := s.ex
	if s.special || !ex.dozer.CompareAndSwap(nil, s) {
		return false
	}
	if stay := ex.awaited.Load() || ex.closing.Load() || ex.surplus.Load(); stay || ex.anyWork(s) {
		if ex.dozer.CompareAndSwap(s, nil) {
			return !stay
		}
	}
	<-s.wake
	return true
}

// toBed lets the worker that dozes rest, without waking it.
func (ex *executor) toBed() {
	s := ex.dozing()
	if s == nil {
		return
	}
	ex.mu.Lock()
	ex.unstick(s)
	if ex.closing.Load() || ex.surplus.Load() {
		ex.mu.Unlock()
		s.wake <- struct{}{} // it may have to go
		return
	}
	ex.lieDown(s)
	ex.mu.Unlock()
	if ex.anyWork(s) && ex.stopResting(s) {
		s.bedded = false
		s.wake <- struct{}{}
		return
	}
	ex.checkQuiet()
}

// lieDown puts the slot, which the caller has, among those that rest. The caller holds mu.
func (ex *executor) lieDown(s *slot) {
	s.tally.parks++
	s.flush()
	s.bedded = true
	s.turnTo(slotIdle)
	if s != ex.reserved {
		ex.idle = append(ex.idle, s)
		ex.nIdle.Store(int32(len(ex.idle)))
	}
}

// search picks the next actor, stealing one if need be.
func (s *slot) search() *cell {
	ex := s.ex
	switch {
	case s == ex.reserved:
		return ex.system.popOne()
	case ex.seeded != nil:
		return ex.seeded.pick()
	}
	if a := s.local(); a != nil {
		return a
	}
	return s.steal()
}

// anyWork reports whether a resting worker would find something to do.
func (ex *executor) anyWork(s *slot) bool {
	if s == ex.reserved {
		return ex.system.n.Load() > 0
	}
	if ex.seeded != nil {
		return ex.seeded.hasWork()
	}
	if ex.shared.n.Load() > 0 {
		return true
	}
	for _, v := range ex.all() {
		switch {
		case v == s:
			if v.hasWork() {
				return true
			}
		case v.state() == slotIdle:
			// it looked for itself
		case v.ringLen() > 0, v.lifo.Load() != nil && v.stalled():
			return true
		}
	}
	return false
}

// rest parks the slot's worker until it is woken. False means that the worker should go: the System closes, or there are
// more slots than workers again.
func (ex *executor) rest(s *slot) bool {
	ex.timers.poll(s, ex.now())
	ex.mu.Lock()
	ex.unstick(s)
	if ex.closing.Load() || ex.retires(s) {
		s.flush()
		ex.leave(s)
		ex.mu.Unlock()
		return false
	}
	ex.lieDown(s)
	ex.mu.Unlock()
	if ex.anyWork(s) && ex.stopResting(s) {
		s.bedded = false
		return true
	}
	ex.checkQuiet()
	<-s.wake
	return true
}

// stopResting undoes rest unless somebody else just woke the slot.
func (ex *executor) stopResting(s *slot) bool {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	if s == ex.reserved {
		if s.state() != slotIdle {
			return false
		}
		s.getUp()
		return true
	}
	i := slices.Index(ex.idle, s)
	if i < 0 {
		return false
	}
	ex.unrest(i)
	return true
}

// retires reports whether s is one slot too many. The caller holds mu.
func (ex *executor) retires(s *slot) bool {
	return s != ex.reserved && ex.live-ex.stuck > ex.workers
}

// retire lets a slot go in the middle of work.
func (ex *executor) retire(s *slot) bool {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	ex.unstick(s)
	if !ex.retires(s) {
		return false
	}
	s.flush()
	ex.leave(s)
	return true
}

// gone tells the others that a slot has left: what it had to do is theirs now.
func (ex *executor) gone(woken bool) {
	if woken {
		ex.waking.Store(0)
	}
	if ex.shared.n.Load() > 0 {
		ex.wakeOne()
	}
	ex.checkQuiet()
}

// leave takes the slot out of the executor. The caller holds mu.
func (ex *executor) leave(s *slot) {
	for _, c := range s.resting {
		ex.keepCarrier(c)
	}
	s.resting = nil
	s.lung.close()
	s.turnTo(slotIdle) // the watchdog may still have it on its list
	if s == ex.reserved || ex.closing.Load() {
		return // its counters are still read where they are
	}
	if a := s.lifo.Swap(nil); a != nil {
		ex.shared.push(a)
	}
	for a := s.popRing(); a != nil; a = s.popRing() {
		ex.shared.push(a)
	}
	ex.live--
	ex.surplus.Store(ex.live-ex.stuck > ex.workers)
	rest := slices.DeleteFunc(slices.Clone(ex.all()), func(v *slot) bool { return v == s })
	ex.slots.Store(&rest)
	ex.sys.retired.add(&s.pub)
}

// checkQuiet tells those who wait for quiescence if nothing runs and nothing is runnable.
func (ex *executor) checkQuiet() {
	if !ex.awaited.Load() {
		return
	}
	ex.mu.Lock()
	defer ex.mu.Unlock()
	if len(ex.quiet) > 0 && ex.isQuiet() {
		ex.tellQuiet()
	}
}

// tellQuiet has those go on who wait for quiescence. The caller holds mu.
func (ex *executor) tellQuiet() {
	for _, ch := range ex.quiet {
		close(ch)
	}
	ex.quiet = nil
	ex.awaited.Store(false)
}

func (ex *executor) departs() { ex.moving.Add(1<<32 | 1) }

// arrived ends a push from outside of the slots, begun with departs. In between the System is not at rest: what is being
// pushed may be counted and not yet queued.
func (ex *executor) arrived() {
	if uint32(ex.moving.Add(^uint64(0))) == 0 {
		ex.checkQuiet()
	}
}

// isQuiet reports whether no actor runs, is runnable or blocks. The caller holds mu: while it does, nothing starts.
func (ex *executor) isQuiet() bool {
	if len(ex.idle) != ex.live || ex.nBlocked.Load() != 0 || uint32(ex.moving.Load()) != 0 {
		return false
	}
	if ex.reserved.state() != slotIdle || ex.system.n.Load() != 0 || ex.shared.n.Load() != 0 {
		return false
	}
	if ex.seeded != nil && ex.seeded.hasWork() {
		return false
	}
	for _, s := range ex.all() {
		if s.hasWork() {
			return false
		}
	}
	return true
}

// close ends all workers and disposes of all resting carriers. No actor is left by then.
func (ex *executor) close() {
	ex.mu.Lock()
	if ex.closing.Load() {
		ex.mu.Unlock()
		ex.wg.Wait()
		return
	}
	ex.closing.Store(true)
	idle := slices.Clone(ex.idle)
	ex.idle = nil
	ex.nIdle.Store(0)
	if ex.reserved.state() == slotIdle {
		idle = append(idle, ex.reserved)
	}
	ex.mu.Unlock()
	if s := ex.dozing(); s != nil {
		idle = append(idle, s)
	}
	for _, s := range idle {
		s.wake <- struct{}{}
	}
	ex.dog.stop()
	ex.timers.stop()
	if ex.seeded != nil {
		ex.seeded.openDoor()
	}
	ex.wg.Wait()
	for _, c := range ex.spareCa {
		c.dispose()
	}
	ex.spareCa = nil
	ex.mu.Lock()
	defer ex.mu.Unlock()
	ex.closed.Store(true)
	ex.tellQuiet()
}

// keepCarrier stores a resting carrier for any slot, up to idleKeep for each worker; what comes beyond is disposed of.
func (ex *executor) keepCarrier(c *carrier) {
	ex.carried.Lock()
	if len(ex.spareCa) < idleKeep*(ex.workers+1) {
		ex.spareCa = append(ex.spareCa, c)
		c = nil
	}
	ex.carried.Unlock()
	if c != nil {
		c.dispose()
	}
}

func (ex *executor) spareCarrier() *carrier {
	ex.carried.Lock()
	defer ex.carried.Unlock()
	n := len(ex.spareCa)
	if n == 0 {
		return nil
	}
	c := ex.spareCa[n-1]
	ex.spareCa[n-1] = nil
	ex.spareCa = ex.spareCa[:n-1]
	return c
}
