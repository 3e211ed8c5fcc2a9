package actor

// Hot path. Scheduling an actor costs 1 atomic RMW, picking one costs 1; held by TestSchedulingAllocs and BenchmarkPingPong.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/mailbox"
)

const (
	ringCells   = 64                     // of a slot's local run queue
	lifoRun     = 32                     // how often in a row the LIFO place is used
	globalEvery = 61                     // a slot looks at the shared queue at least each so many picks
	turnSlice   = 200 * time.Microsecond // an actor that keeps handling or sending messages gives way after this long
	maxEvery    = 128                    // at most so many messages between two looks at the clock
	idleKeep    = 64                     // resting carriers a slot keeps
)

// A slot is the right to run. Its plain fields belong to the goroutine that holds it: a worker or, while that worker
// waits in next(), the carrier that it resumed.
type slot struct {
	ex      *executor
	n       uint32 // from 1
	special bool   // serves system actors only, or draws by seed: what it makes runnable goes to a shared queue
	wake    chan struct{}
	given   *cell                           // what whoever woke a worker that dozed wants it to run
	bedded  bool                            // the worker rests: set by whoever let it
	lifo    atomic.Pointer[cell]            // stealable
	ring    [ringCells]atomic.Pointer[cell] // stealable entry by entry; nil is free
	some    atomic.Bool                     // something may be in ring: nobody need look otherwise
	head    uint32
	tail    uint32

	cache   mailbox.Cache[envelope]
	resting []*carrier
	tally   tally // plain counters, published by flush
	picks   uint32
	lifos   int
	left    int // messages until the next look at the clock
	every   int
	lastNow time.Duration // 0: not known since the worker dozed
	goNow   time.Duration // when the worker last let other goroutines run
	pollNow time.Duration
	turnNow time.Duration // a bound from below on when the current turn began
	rng     uint32
	lung    lung

	_      [64]byte
	beat   atomic.Int64 // the last look at the clock, which the watchdog reads; negative while the worker is away
	hurry  atomic.Bool  // the watchdog asks for a look at the clock
	status atomic.Uint64
	pub    published
}

// Values of slot.status, in its low two bits; the rest counts, so that a retaken slot is not mistaken for its successor.
const (
	slotRunning uint64 = iota
	slotBlocked        // its carrier is in Block: whoever has work for the slot may retake it
	slotIdle
	slotStuck        // the watchdog has started a spare for it
	slotMask  uint64 = 3
)

// state is the low part of status.
func (s *slot) state() uint64 { return s.status.Load() & slotMask }

// turnTo sets the state and counts. Only for who holds the slot, or the executor's lock where it rests.
func (s *slot) turnTo(state uint64) { s.status.Store(s.status.Load()&^slotMask + slotMask + 1 | state) }

// push makes a runnable. The caller holds the slot.
func (s *slot) push(a *cell) {
	if s.special || a.flags.Load()&flagSystem != 0 {
		s.ex.pushShared(a)
		return
	}
	if old := s.lifo.Swap(a); old != nil {
		s.pushRing(old)
		s.ex.wakeOne()
	}
}

// pushBack makes a runnable behind everything that is: what has had its time must not go before those that wait in the shared
// queue, of which the slot takes few while its own ring holds any.
func (s *slot) pushBack(a *cell) {
	if s.special || a.flags.Load()&flagSystem != 0 {
		s.ex.pushShared(a)
		return
	}
	if s.ex.shared.n.Load() > 0 {
		s.ex.shared.push(a)
		return
	}
	s.pushRing(a)
	if s.every < maxEvery || s.tail-s.head > 2 {
		s.ex.wakeOne()
	} // else: an actor or two with cheap messages: moving one to another core would cost more in cache misses than it gains
}

// goHome makes an actor that gives way in the middle of a flood of cheap messages runnable on the slot that floods it, if that is
// another one: what two cores would exchange for each message costs more than handling it.
func (s *slot) goHome(a *cell) bool {
	home := a.home.Load()
	if home == 0 || home == s.n || s.every < maxEvery {
		return false
	}
	a.home.Store(0) // it goes once, unless it is flooded on
	for _, v := range s.ex.all() {
		if v.n != home {
			continue
		}
		if v.state() != slotRunning || !v.lifo.CompareAndSwap(nil, a) {
			return false
		}
		if v.state() != slotRunning {
			s.ex.wakeOne() // it may have gone to rest without seeing a
		}
		return true
	}
	return false
}

func (s *slot) pushRing(a *cell) {
	if e := &s.ring[s.tail%ringCells]; s.tail-s.head < ringCells && e.Load() == nil {
		s.tail++
		e.Store(a)
		s.note()
		return
	}
	s.overflow(a)
}

// note has others look into the ring. Only for who holds the slot, as popRing, which takes it back.
func (s *slot) note() {
	if !s.some.Load() {
		s.some.Store(true)
	}
}

// overflow moves half of the ring, and a, to the shared queue.
func (s *slot) overflow(a *cell) {
	var list cellList
	for range ringCells / 2 {
		if b := s.popRing(); b != nil {
			list.push(b)
		}
	}
	list.push(a)
	s.ex.shared.pushAll(&list)
}

func (s *slot) popRing() *cell {
	for s.head != s.tail {
		e := &s.ring[s.head%ringCells]
		s.head++
		if e.Load() == nil {
			continue // stolen
		}
		if a := e.Swap(nil); a != nil {
			return a
		}
	}
	if s.some.Load() {
		s.some.Store(false)
	}
	return nil
}

// local picks the next actor without waiting: LIFO place, ring, shared queue.
func (s *slot) local() *cell {
	s.picks++
	if s.picks%globalEvery == 0 {
		if a := s.ex.shared.pop(s); a != nil {
			return a
		}
	}
	if s.lifos < lifoRun {
		if s.lifo.Load() != nil {
			if a := s.lifo.Swap(nil); a != nil {
				s.lifos++
				return a
			}
		}
	}
	s.lifos = 0
	if a := s.popRing(); a != nil {
		return a
	}
	if s.lifo.Load() != nil {
		if a := s.lifo.Swap(nil); a != nil {
			return a
		}
	}
	return s.ex.shared.pop(s)
}

// steal takes half of another slot's ring, or what lies in its LIFO place when that slot makes no progress.
func (s *slot) steal() *cell {
	slots := s.ex.all()
	if int(s.ex.nIdle.Load())+1 >= len(slots) {
		return nil // all others rest
	}
	s.rng = s.rng*1664525 + 1013904223
	start := int(s.rng>>16) % len(slots)
	for i := range slots {
		v := slots[(start+i)%len(slots)]
		if v == s || v.state() == slotIdle {
			continue
		}
		if a := s.stealFrom(v); a != nil {
			s.tally.steals++
			return a
		}
	}
	return nil
}

func (s *slot) stealFrom(v *slot) *cell {
	var first *cell
	take := (v.ringLen() + 1) / 2
	for i := 0; i < ringCells && take > 0; i++ {
		if v.ring[i].Load() == nil {
			continue
		}
		a := v.ring[i].Swap(nil)
		switch {
		case a == nil:
			continue
		case first == nil:
			first = a
		default:
			s.pushRing(a)
		}
		take--
	}
	if first == nil && v.lifo.Load() != nil && v.stalled() {
		first = v.lifo.Swap(nil)
	}
	return first
}

// stalled reports whether the slot does not look like picking its next actor soon.
func (s *slot) stalled() bool {
	beat := s.beat.Load()
	return s.state() != slotRunning || s.ex.now()-time.Duration(max(beat, -beat)) > 2*turnSlice
}

// hasWork reports whether something waits in the slot's own queues. Any goroutine may ask.
func (s *slot) hasWork() bool { return s.lifo.Load() != nil || s.ringLen() > 0 }

// ringLen counts what is in the ring. Any goroutine may ask.
func (s *slot) ringLen() int {
	if !s.some.Load() {
		return 0
	}
	n := 0
	for i := range s.ring {
		if s.ring[i].Load() != nil {
			n++
		}
	}
	return n
}

// spend counts one message or send against the slot's look at the clock.
func (s *slot) spend() {
	if s.left--; s.left <= 0 || s.hurry.Load() {
		s.look()
	}
}

// look reads the clock: it adapts how often to look, publishes the counters and fires due timers.
func (s *slot) look() {
	now := s.ex.now()
	switch d := now - s.lastNow; {
	case s.lastNow == 0:
		s.goNow, s.pollNow, s.turnNow = now, now, now // first look after a doze
	case d < goSlice/4 && s.every < maxEvery:
		s.every *= 2
	case d > goSlice/2 && s.every > 1:
		s.every /= 2
	}
	if s.ex.seeded != nil {
		s.every = 1 // each send is a place where others may go first
	}
	s.left = s.every
	s.lastNow = now
	s.beat.Store(int64(now))
	if s.hurry.Load() {
		s.hurry.Store(false)
		if s.state() == slotStuck {
			s.confess()
		}
	}
	s.flush()
	s.ex.timers.poll(s, now)
}

// cellList is an intrusive FIFO list of cells, linked by cell.next.
type cellList struct {
	first, last *cell
	n           int
}

func (l *cellList) push(a *cell) {
	a.next = nil
	if l.last == nil {
		l.first = a
	} else {
		l.last.next = a
	}
	l.last = a
	l.n++
}

func (l *cellList) pop() *cell {
	a := l.first
	if a == nil {
		return nil
	}
	l.first = a.next
	if l.first == nil {
		l.last = nil
	}
	a.next = nil
	l.n--
	return a
}

// sharedQueue is the run queue of all slots: O(1) under one lock.
type sharedQueue struct {
	n    atomic.Int64
	mu   sync.Mutex
	list cellList
}

func (q *sharedQueue) push(a *cell) {
	q.mu.Lock()
	q.list.push(a)
	q.n.Store(int64(q.list.n))
	q.mu.Unlock()
}

func (q *sharedQueue) pushAll(l *cellList) {
	q.mu.Lock()
	for a := l.pop(); a != nil; a = l.pop() {
		q.list.push(a)
	}
	q.n.Store(int64(q.list.n))
	q.mu.Unlock()
}

// pop returns the oldest actor and moves a fair share of what follows to s's own ring.
func (q *sharedQueue) pop(s *slot) *cell {
	if q.n.Load() == 0 {
		return nil
	}
	q.mu.Lock()
	a := q.list.pop()
	share := min(q.list.n/max(s.ex.workers, 1), ringCells/2)
	for range share {
		e := &s.ring[s.tail%ringCells]
		if s.tail-s.head >= ringCells/2 || e.Load() != nil {
			break
		}
		s.tail++
		e.Store(q.list.pop())
		s.note()
	}
	q.n.Store(int64(q.list.n))
	q.mu.Unlock()
	return a
}

// popOne is pop without a share, for a slot that must not hold others up.
func (q *sharedQueue) popOne() *cell {
	if q.n.Load() == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.list.pop()
	q.n.Store(int64(q.list.n))
	return a
}
