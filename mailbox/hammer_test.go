package mailbox

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// An element of the hammer tests names its producer, its place in that producer's order, and its priority.
func element(producer, serial int) int { return producer<<32 | serial<<2 | serial&3 }
func producerOf(e int) int             { return e >> 32 }

// hammer pushes from many goroutines. There is no consumer goroutine: whoever is told Wake runs the consumer in place.
// The plain fields have no guard but the protocol under test, so that the race detector sees a second consumer, or a
// consumer that does not see what the one before it wrote.
type hammer struct {
	t         testing.TB
	kind      kind
	handle    func() subject
	producers int
	each      int
	closeAt   int // the consumer closes the queue after so many elements; 0 means never
	foreignAt int // producer 0 closes the queue at this element of its own; 0 means never

	popped    []int
	handed    []int // by Close
	wakes     int
	idles     int
	consumers int
	shut      atomic.Bool // the queue is closed
	perPush   [][]int     // by producer: what was refused, dropped or, by its pushes, evicted
}

func (h *hammer) run() {
	h.handle = h.kind.handles(h.t)
	h.perPush = make([][]int, h.producers)
	var wg sync.WaitGroup
	for p := range h.producers {
		wg.Go(func() { h.produce(p) })
	}
	wg.Wait()
}

func (h *hammer) produce(p int) {
	q := h.handle()
	ended := make(chan Outcome, 1)
	w := &Waiter[int]{Ready: func(out Outcome) { ended <- out }}
	for i := range h.each {
		e := element(p, i)
		out, oldest, evicted := q.Push(e)
		if evicted {
			h.perPush[p] = append(h.perPush[p], oldest)
		}
		if out == Full && h.kind.policy == Suspend && !h.kind.prioritized {
			out = await(q.(*Bounded[int]), w, e, ended)
		}
		switch out {
		case Wake:
			h.consume(q)
		case Closed, Full, Dropped:
			h.perPush[p] = append(h.perPush[p], e)
		case Queued:
		}
		if i%64 == p && q.Wake() {
			h.consume(q)
		}
		if p == 0 && i > 0 && i == h.foreignAt {
			h.close(q)
		}
	}
}

func (h *hammer) close(q subject) {
	q.Close(func(e int) { h.handed = append(h.handed, e) })
	h.shut.Store(true)
}

// await waits for room, and gives up every eighth wait at once to try again.
func await(q *Bounded[int], w *Waiter[int], e int, ended chan Outcome) Outcome {
	for {
		w.Elem = e
		out, waiting := q.Await(w)
		if !waiting {
			return out
		}
		if e>>2&7 == 0 && q.Cancel(w) {
			runtime.Gosched()
			continue
		}
		return <-ended
	}
}

func (h *hammer) consume(q subject) {
	h.wakes++
	batch := make([]int, 3)
	for h.enter(); ; {
		if h.closeAt > 0 && len(h.popped) >= h.closeAt {
			h.close(q)
			h.leave()
			return
		}
		if h.take(q, batch) {
			continue
		}
		h.idles++
		h.leave()
		if q.Idle() {
			return
		}
		h.enter()
		h.idles--
		if h.shut.Load() {
			h.leave()
			return
		}
	}
}

func (h *hammer) enter() {
	if h.consumers++; h.consumers != 1 {
		h.t.Errorf("%d consumers at once", h.consumers)
	}
}

func (h *hammer) leave() { h.consumers-- }

func (h *hammer) take(q subject, batch []int) bool {
	if len(h.popped)%5 == 0 {
		n := q.PopBatch(batch)
		h.popped = append(h.popped, batch[:n]...)
		return n > 0
	}
	e, ok := q.Pop()
	if ok {
		h.popped = append(h.popped, e)
	}
	return ok
}

// check proves that each element pushed ended in exactly one place, and that each producer's order was kept.
func (h *hammer) check() {
	h.t.Helper()
	seen := make(map[int]int, h.producers*h.each)
	for _, list := range append([][]int{h.popped, h.handed}, h.perPush...) {
		for _, e := range list {
			seen[e]++
		}
	}
	for p := range h.producers {
		for i := range h.each {
			if n := seen[element(p, i)]; n != 1 {
				h.t.Fatalf("element %d of producer %d was found %d times, want once", i, p, n)
			}
		}
	}
	same(h.t, "elements found", len(seen), h.producers*h.each)
	h.checkOrder(slices.Concat(h.popped, h.handed))
}

func (h *hammer) checkOrder(taken []int) {
	h.t.Helper()
	type lane struct{ producer, priority int }
	last := map[lane]int{}
	for _, e := range taken {
		l := lane{producer: producerOf(e)}
		if h.kind.prioritized {
			l.priority = priorityOf(e)
		}
		if before, ok := last[l]; ok && before >= e {
			h.t.Fatalf("producer %d: %d was taken after %d", l.producer, e, before)
		}
		last[l] = e
	}
}

func hammerKinds() []kind {
	ks := []kind{mpscKind(), priorityKind(0), priorityKind(10)}
	for policy := Reject; policy <= DropOldest; policy++ {
		ks = append(ks, boundedKind(1, policy), boundedKind(3, policy), boundedKind(100, policy))
	}
	return ks
}

func hammerSize() (producers, each int) {
	if testing.Short() {
		return 4, 2_000
	}
	return 8, 5_000
}

// TestHammer: no loss, no duplicate, each producer's order kept, one wake for each idle period, one consumer at a time.
func TestHammer(t *testing.T) {
	for _, k := range hammerKinds() {
		t.Run(k.name, func(t *testing.T) {
			producers, each := hammerSize()
			h := &hammer{t: t, kind: k, producers: producers, each: each}
			h.run()
			h.check()
			same(t, "wakes against idle periods", h.wakes, h.idles)
			same(t, "consumers left", h.consumers, 0)
			same(t, "elements left", h.handle().Len(), 0)
			checkMemory(t, h.handle())
			if k.capacity == 0 || k.policy == Suspend && !k.prioritized {
				same(t, "elements popped", len(h.popped), producers*each)
			}
		})
	}
}

// TestHammerClose: while everybody pushes, the consumer closes the queue: what was pushed is popped, handed over or refused.
func TestHammerClose(t *testing.T) {
	for _, k := range hammerKinds() {
		t.Run(k.name, func(t *testing.T) {
			producers, each := hammerSize()
			for round := range 10 {
				each := each / 10
				h := &hammer{t: t, kind: k, producers: producers, each: each, closeAt: 1 + round*each/4}
				h.run()
				h.check()
				if round == 0 {
					same(t, "closed", h.shut.Load(), true)
				}
				checkMemory(t, h.handle())
			}
		})
	}
}

// TestHammerForeignClose: the same with a Close from a goroutine that is not the consumer, which MPSC does not allow.
func TestHammerForeignClose(t *testing.T) {
	for _, k := range hammerKinds()[1:] {
		t.Run(k.name, func(t *testing.T) {
			producers, each := hammerSize()
			h := &hammer{t: t, kind: k, producers: producers, each: each, foreignAt: each / 2}
			h.run()
			h.check()
			same(t, "elements left", h.handle().Len(), 0)
		})
	}
}
