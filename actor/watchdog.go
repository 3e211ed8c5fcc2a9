package actor

import (
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

const (
	dogTick = time.Millisecond       // how often the watchdog looks while something runs
	dogFast = 100 * time.Microsecond // the same while a carrier is in Block and others wait for its slot
)

// watchdog looks after slots that make no progress. It never takes a slot from running code: it starts a spare one, whose
// worker steals from the stuck slot. A slot lent by Block it gives to another worker. It sleeps while nothing runs.
type watchdog struct {
	ex      *executor
	after   time.Duration
	asleep  atomic.Bool
	fast    atomic.Bool
	bell    chan struct{}
	quit    chan struct{}
	done    chan struct{}
	trips   atomic.Uint64
	retakes atomic.Uint64
	capped  bool
	said    atomic.Int64     // when a stuck behaviour was last logged: at most one a second
	seen    map[*slot]uint64 // slots found in Block at the last look
	dozer   *slot            // the slot found dozing at the last look
	ids     uint32
}

func (d *watchdog) init(ex *executor, after time.Duration) {
	*d = watchdog{ex: ex, after: after, bell: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), seen: map[*slot]uint64{}}
	d.ids = uint32(ex.workers)
	if ex.seeded != nil {
		close(d.done)
		return
	}
	go d.loop()
}

func (d *watchdog) stop() {
	close(d.quit)
	<-d.done
}

// busy tells that a slot started to run.
func (d *watchdog) busy() {
	if d.asleep.Load() {
		d.ring()
	}
}

// blocked tells that a carrier is about to block; the watchdog hurries if others wait for the slot.
func (d *watchdog) blocked(waiting bool) {
	if !d.fast.Load() && (waiting || d.ex.shared.n.Load() > 0) && !d.fast.Swap(true) {
		d.ring()
	}
}

func (d *watchdog) ring() {
	select {
	case d.bell <- struct{}{}:
	default:
	}
}

func (d *watchdog) loop() {
	defer close(d.done)
	timer := time.NewTimer(dogTick)
	defer timer.Stop()
	for still := 0; ; {
		if d.ex.atRest() {
			still++
		} else {
			still = 0
		}
		if still > 3 {
			still = 0
			d.asleep.Store(true)
			if d.ex.atRest() {
				select {
				case <-d.bell:
				case <-d.quit:
					return
				}
			}
			d.asleep.Store(false)
		}
		tick := dogTick
		if d.fast.Load() {
			tick = dogFast
		}
		timer.Reset(tick)
		select {
		case <-timer.C:
		case <-d.bell:
		case <-d.quit:
			return
		}
		d.look()
	}
}

// atRest reports whether no worker runs.
func (ex *executor) atRest() bool {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	return len(ex.idle) == ex.live && ex.reserved.state() == slotIdle && ex.nBlocked.Load() == 0
}

func (d *watchdog) look() {
	ex := d.ex
	now := ex.now()
	dozer := ex.dozer.Load()
	if dozer != nil {
		dozer.beat.Store(int64(now)) // it does not look at the clock when it is woken
	}
	if dozer != nil && dozer == d.dozer {
		ex.toBed() // it has dozed, or often, since the last look
	}
	d.dozer = dozer
	slots := append(slices.Clone(ex.all()), ex.reserved)
	waiting := ex.shared.n.Load() > 0
	for _, s := range slots {
		waiting = waiting || s.hasWork()
	}
	blocked := false
	for _, s := range slots {
		switch st := s.status.Load(); st & slotMask {
		case slotBlocked:
			blocked = true
			s.beat.Store(int64(now)) // it does not look at the clock when it comes back
			if waiting || s == ex.reserved && ex.system.n.Load() > 0 {
				d.blockedSlot(s, st)
			}
		case slotRunning:
			delete(d.seen, s)
			if s == dozer {
				continue
			}
			d.runningSlot(s, st, now, waiting)
		}
	}
	d.fast.Store(blocked && waiting)
}

// blockedSlot retakes a slot that was in the same Block at the last look.
func (d *watchdog) blockedSlot(s *slot, st uint64) {
	if d.seen[s] != st {
		d.seen[s] = st
		d.fast.Store(true)
		return
	}
	delete(d.seen, s)
	if s.status.CompareAndSwap(st, st&^slotMask+slotMask+1|slotRunning) {
		d.retakes.Add(1)
		s.away() // until the new worker is there
		d.ex.startWorker(s)
	}
}

func (d *watchdog) runningSlot(s *slot, st uint64, now time.Duration, waiting bool) {
	beat := s.beat.Load()
	if beat < 0 {
		return // its worker is away: whatever keeps it away would keep that of a spare slot away as well
	}
	age := now - time.Duration(beat)
	if age > turnSlice {
		s.hurry.Store(true)
		if waiting {
			d.ex.wakeOne()
		}
	}
	if age > d.after {
		d.trip(s, st, age)
	}
}

// trip counts s as stuck and starts a spare slot in its place.
func (d *watchdog) trip(s *slot, st uint64, age time.Duration) {
	stuck, started := d.startSpare(s, st)
	switch {
	case started:
		d.ex.sys.say(slog.LevelDebug, "a behaviour holds its slot", "slot_for", age, "spare", true)
	case stuck > d.ex.maxSpare && !d.capped:
		d.capped = true
		d.ex.sys.say(slog.LevelWarn, "no spare slot left: behaviours that neither wait nor return hold all of them", "stuck", stuck, "max_spare", d.ex.maxSpare)
	}
}

// startSpare marks the slot as stuck and counts it in one step: who recovers takes the same lock.
func (d *watchdog) startSpare(s *slot, st uint64) (stuck int, started bool) {
	ex := d.ex
	ex.mu.Lock()
	defer ex.mu.Unlock()
	if !s.status.CompareAndSwap(st, st|slotStuck) {
		return 0, false
	}
	d.trips.Add(1)
	if s == ex.reserved || ex.closing.Load() {
		return 0, false
	}
	ex.stuck++
	if ex.stuck > ex.maxSpare || ex.live-ex.stuck >= ex.workers {
		return ex.stuck, false
	}
	d.ids++
	spare := ex.newSlot(d.ids, false)
	spare.away()
	slots := append(slices.Clone(ex.all()), spare)
	ex.slots.Store(&slots)
	ex.live++
	ex.startWorker(spare)
	return ex.stuck, true
}

// recovered takes s out of the stuck ones again.
func (ex *executor) recovered(s *slot) {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	ex.unstick(s)
}

// unstick is recovered for who holds mu. A slot must not change its state before: the watchdog may have given it up this moment.
func (ex *executor) unstick(s *slot) {
	st := s.status.Load()
	if st&slotMask != slotStuck || !s.status.CompareAndSwap(st, st&^slotMask|slotRunning) {
		return
	}
	if s != ex.reserved {
		ex.stuck--
		ex.surplus.Store(ex.live-ex.stuck > ex.workers)
	}
}

// confess logs where a behaviour is that the watchdog gave up waiting for: called from its own goroutine.
func (s *slot) confess() {
	now := s.ex.now()
	if last := s.ex.dog.said.Load(); last != 0 && now-time.Duration(last) < time.Second || !s.ex.dog.said.CompareAndSwap(last, int64(now)) {
		return
	}
	pcs := make([]uintptr, 32)
	e := &PanicError{pcs: pcs[:runtime.Callers(3, pcs)]}
	s.ex.sys.say(slog.LevelWarn, "a behaviour held its slot for long", "limit", s.ex.dog.after, "stack", e.Stack())
}
