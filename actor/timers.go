package actor

import (
	"sync"
	"sync/atomic"
	"time"
)

type timerKind uint8

const (
	timerWake timerKind = iota // rouse cell
	timerSend                  // run fire
)

// timer is one entry of the heap. It lives inside its owner: a carrier or a Timer.
type timer struct {
	at   time.Duration
	seq  uint64
	pos  int // index+1 in the heap, 0 when not armed; under timers.mu
	kind timerKind
	cell *cell
	fire func()
}

// armed may be asked by the owner of a timerWake only; one that has fired may still look armed until disarm.
func (t *timer) armed() bool { return t != nil && t.cell != nil }

// timers is the System's one heap: 4-ary, intrusive, so that a timer which is no longer needed is taken out at once, and
// behind a single timer of the Go runtime, which is stopped while the heap is empty. Workers also look at it when they look
// at the clock. Equal deadlines fire in the order they were armed.
type timers struct {
	ex    *executor
	next  atomic.Int64 // the earliest deadline, 0 for none
	mu    sync.Mutex
	heap  []entry
	seq   uint64
	goT   *time.Timer
	goAt  time.Duration
	done  bool
	fired atomic.Uint64
}

// entry carries the key of its timer, so that finding a place in the heap touches no timer.
type entry struct {
	at  time.Duration
	seq uint64
	t   *timer
}

func (ts *timers) init(ex *executor) { ts.ex = ex }

// arm puts t, which must not be armed, into the heap; not after stop.
func (ts *timers) arm(t *timer, at time.Duration, kind timerKind, a *cell) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.done {
		return
	}
	ts.seq++
	t.at, t.seq, t.kind, t.cell = max(at, 1), ts.seq, kind, a
	ts.heap = append(ts.heap, entry{t.at, t.seq, t})
	t.pos = len(ts.heap)
	ts.up(len(ts.heap) - 1)
	if t.pos == 1 {
		ts.reset()
	}
}

// disarm takes t out of the heap; true if it had not fired.
func (ts *timers) disarm(t *timer) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.cell = nil
	if t.pos == 0 {
		return false
	}
	first := t.pos == 1
	ts.remove(t.pos - 1)
	if first {
		ts.reset()
	}
	return true
}

// reset points the runtime's timer at the earliest deadline. The caller holds mu.
func (ts *timers) reset() {
	if len(ts.heap) == 0 || ts.done {
		ts.next.Store(0)
		if ts.goT != nil {
			ts.goT.Stop()
		}
		ts.goAt = 0
		return
	}
	at := ts.heap[0].at
	ts.next.Store(int64(at))
	if ts.goAt != 0 && ts.goAt <= at && ts.goAt > ts.ex.now() {
		return // fires early enough and will look again
	}
	ts.goAt = at
	d := max(at-ts.ex.now(), 0)
	if ts.goT == nil {
		ts.goT = time.AfterFunc(d, ts.ring)
		return
	}
	ts.goT.Reset(d)
}

// ring is what the runtime's timer calls.
func (ts *timers) ring() {
	ts.mu.Lock()
	ts.goAt = 0
	ts.mu.Unlock()
	if ts.ex.seeded != nil {
		ts.ex.wakeOne() // the worker fires them between two steps
		return
	}
	ts.run(nil, ts.ex.now())
}

// poll fires what is due, at the cost of one load if nothing is.
func (ts *timers) poll(s *slot, now time.Duration) {
	if at := ts.next.Load(); at != 0 && int64(now) >= at {
		ts.run(s, now)
	}
}

func (ts *timers) run(s *slot, now time.Duration) {
	var wakes [16]*cell // few: this may run on a carrier, whose stack should stay small
	for more := true; more; {
		n := 0
		var fire func()
		ts.mu.Lock()
		for n < len(wakes) && fire == nil && ts.due(now) {
			t := ts.heap[0].t
			ts.remove(0)
			ts.fired.Add(1)
			if t.kind == timerWake {
				wakes[n] = t.cell
				n++
			} else {
				fire = t.fire
			}
		}
		if more = ts.due(now); !more {
			ts.reset()
		}
		ts.mu.Unlock()
		for _, a := range wakes[:n] {
			ts.ex.sys.rouse(s, a)
		}
		if fire != nil {
			ts.send(fire)
		}
	}
}

// send has a Timer fire. A subscriber to dead letters may call Goexit in it: then the runtime's timer goes on with what is due.
func (ts *timers) send(fire func()) {
	done := false
	defer func() {
		if !done {
			ts.mu.Lock()
			ts.goAt = 0
			ts.reset()
			ts.mu.Unlock()
		}
	}()
	fire()
	done = true
}

func (ts *timers) due(now time.Duration) bool { return len(ts.heap) > 0 && ts.heap[0].at <= now }

func (ts *timers) stop() {
	ts.mu.Lock()
	ts.done = true
	for i := range ts.heap {
		ts.heap[i].t.pos = 0
	}
	ts.heap = nil
	if ts.goT != nil {
		ts.goT.Stop()
	}
	ts.mu.Unlock()
}

func (ts *timers) pending() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.heap)
}

func (a *entry) before(b *entry) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.seq < b.seq
}

func (ts *timers) set(i int, e entry) {
	ts.heap[i] = e
	e.t.pos = i + 1
}

func (ts *timers) up(i int) {
	t := ts.heap[i]
	for i > 0 {
		p := (i - 1) / 4
		if !t.before(&ts.heap[p]) {
			break
		}
		ts.set(i, ts.heap[p])
		i = p
	}
	ts.set(i, t)
}

func (ts *timers) down(i int) {
	t := ts.heap[i]
	for {
		best := 4*i + 1
		if best >= len(ts.heap) {
			break
		}
		for c := best + 1; c < min(4*i+5, len(ts.heap)); c++ {
			if ts.heap[c].before(&ts.heap[best]) {
				best = c
			}
		}
		if !ts.heap[best].before(&t) {
			break
		}
		ts.set(i, ts.heap[best])
		i = best
	}
	ts.set(i, t)
}

func (ts *timers) remove(i int) {
	t := ts.heap[i].t
	last := len(ts.heap) - 1
	moved := ts.heap[last]
	ts.heap[last] = entry{}
	ts.heap = ts.heap[:last]
	t.pos = 0
	if i < last {
		ts.set(i, moved)
		ts.down(i)
		if moved.t.pos == i+1 {
			ts.up(i)
		}
	}
	if cap(ts.heap) > 1024 && len(ts.heap) < cap(ts.heap)/4 {
		ts.heap = append(make([]entry, 0, cap(ts.heap)/2), ts.heap...)
	}
}
