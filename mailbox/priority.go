package mailbox

// Per message: 0 allocs in steady state, one mutex to push and one to take, O(log n) comparisons of two integers; held by
// TestPriorityAllocs.

import (
	"errors"
	"fmt"
	"sync"
)

// Priority is a multi-producer, single-consumer queue that pops the highest priority first.
//
// Shape: a 4-ary heap under a mutex; each entry carries its priority and a sequence number.
// Any goroutine may call Push, Wake, Len, Empty, Cap and Close; one consumer at a time calls Pop, PopBatch, Unpop and Idle.
// Make one with NewPriority; do not copy it.
// Elements of one priority pop in the order in which they were pushed. A steady stream of high priorities starves the low
// ones. A Push synchronizes before the Pop that returns its element.
// Memory: as for Bounded: grows by doubling, halves as it drains, given back when the consumer goes idle.
type Priority[E any] struct {
	mu       sync.Mutex
	gate     gate
	priority func(E) int
	capacity int
	heap     heap[E]
	newest   int64 // sequence number of the last Push, counting up
	front    int64 // sequence number of the last Unpop, counting down
}

// NewPriority returns an empty, idle queue that pops elements with a larger priority first. It holds at most capacity
// elements and answers Full beyond; zero means no bound.
// priority must not be nil. It is called once for each Push and Unpop, on the caller's goroutine and with no lock held: it may
// run on several goroutines at once, and when it panics, the panic is the caller's and the queue is as it was.
func NewPriority[E any](priority func(E) int, capacity int) (*Priority[E], error) {
	if priority == nil {
		return nil, errors.New("mailbox: no priority function: a priority queue needs one, or use an MPSC, which keeps the order of pushes")
	}
	if capacity < 0 {
		return nil, fmt.Errorf("mailbox: capacity %d of a priority queue: want at least 1, or 0 for no bound", capacity)
	}
	return &Priority[E]{priority: priority, capacity: capacity, heap: heap[E]{store: storeOf[entry[E]]()}}, nil
}

// Push enqueues e. It never blocks. The outcome is Queued, Wake, Closed or Full.
func (q *Priority[E]) Push(e E) Outcome { return q.push(e, q.capacity) }

// Insert enqueues e whatever the capacity: for what must not be refused. The outcome is Queued, Wake or Closed.
func (q *Priority[E]) Insert(e E) Outcome { return q.push(e, 0) }

func (q *Priority[E]) push(e E, capacity int) Outcome {
	p := q.priority(e)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gate == gateClosed {
		return Closed
	}
	if capacity > 0 && q.heap.n >= capacity {
		return Full
	}
	q.newest++
	q.heap.push(entry[E]{priority: p, seq: q.newest, e: e})
	return q.gate.pushed()
}

// Wake claims an idle queue without pushing: true means that the caller must now run the consumer.
func (q *Priority[E]) Wake() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.gate.wake()
}

// Idle puts the consumer to sleep and gives the heap back. False means that something is queued (or the queue is closed):
// the consumer goes on.
func (q *Priority[E]) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.heap.n > 0 || !q.gate.idle() {
		return false
	}
	q.heap.free()
	return true
}

// Pop removes the element of the highest priority, of several the oldest.
func (q *Priority[E]) Pop() (e E, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.heap.n == 0 {
		return e, false
	}
	return q.heap.pop(), true
}

// PopBatch removes as many elements as there are and dst has room for, into dst, in the order of Pop, and returns how many.
func (q *Priority[E]) PopBatch(dst []E) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n < len(dst) && q.heap.n > 0 {
		dst[n] = q.heap.pop()
		n++
	}
	return n
}

// Unpop puts e back in front of all that have its priority, beyond the capacity if its room has been given away.
// For the consumer only.
func (q *Priority[E]) Unpop(e E) {
	p := q.priority(e)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.front--
	q.heap.push(entry[E]{priority: p, seq: q.front, e: e})
}

// Empty reports whether nothing is queued at this moment.
func (q *Priority[E]) Empty() bool { return q.Len() == 0 }

// Len is how many elements are queued at this moment.
func (q *Priority[E]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.heap.n
}

// Cap is the capacity given to NewPriority, zero for no bound.
func (q *Priority[E]) Cap() int { return q.capacity }

// Close makes every later Push answer Closed and hands what is still queued to f, in the order of Pop, with no lock held.
// A second Close finds nothing.
func (q *Priority[E]) Close(f func(E)) {
	q.mu.Lock()
	q.gate = gateClosed
	rest := q.heap
	q.heap = heap[E]{store: rest.store}
	q.mu.Unlock()
	for rest.n > 0 {
		f(rest.pop())
	}
	rest.free()
}

// Reopen makes a closed queue usable again: busy if awake is true, else idle. Only its owner may call it, after Close.
func (q *Priority[E]) Reopen(awake bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gate.reopen(awake)
}

type entry[E any] struct {
	priority int
	seq      int64
	e        E
}

func (a *entry[E]) before(b *entry[E]) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.seq < b.seq
}

// heap is a 4-ary heap: the children of place i are 4i+1 to 4i+4, half the levels of a binary one.
type heap[E any] struct {
	buf   []entry[E] // a power of two long, or empty; the places from n on are zero
	n     int
	store *store[entry[E]]
}

func (h *heap[E]) push(x entry[E]) {
	h.fit(grown(len(h.buf), h.n))
	i := h.n
	h.n++
	for i > 0 {
		parent := (i - 1) / 4
		if !x.before(&h.buf[parent]) {
			break
		}
		h.buf[i] = h.buf[parent]
		i = parent
	}
	h.buf[i] = x
}

func (h *heap[E]) pop() E {
	e := h.buf[0].e
	h.n--
	last := h.buf[h.n]
	h.buf[h.n] = entry[E]{}
	if h.n > 0 {
		h.sink(last)
	}
	h.fit(shrunk(len(h.buf), h.n))
	return e
}

// sink puts x where it belongs, starting from the free place at the top.
func (h *heap[E]) sink(x entry[E]) {
	i := 0
	for {
		child := h.bestChild(i)
		if child < 0 || !h.buf[child].before(&x) {
			break
		}
		h.buf[i] = h.buf[child]
		i = child
	}
	h.buf[i] = x
}

// bestChild is the place of i's child that pops first, or -1.
func (h *heap[E]) bestChild(i int) int {
	best := 4*i + 1
	if best >= h.n {
		return -1
	}
	for c := best + 1; c <= 4*i+4 && c < h.n; c++ {
		if h.buf[c].before(&h.buf[best]) {
			best = c
		}
	}
	return best
}

func (h *heap[E]) fit(size int) {
	if size == len(h.buf) {
		return
	}
	old := h.buf
	h.buf = h.store.get(size)
	copy(h.buf, old[:h.n])
	clear(old)
	h.store.put(old)
}

// free gives the buffer of an empty heap back.
func (h *heap[E]) free() {
	h.store.put(h.buf)
	h.buf = nil
}
