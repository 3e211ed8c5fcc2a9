package mailbox

// Hot path. Per message: 0 allocs in steady state, one mutex to push and one to take; held by TestBoundedAllocs.

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Overflow says what a Bounded does with a push that finds it full. The zero value is Reject.
type Overflow uint8

const (
	// Reject refuses the pushed element: Push returns Full.
	Reject Overflow = iota
	// Suspend makes the producer wait for room: Push returns Full, and Await queues the producer up, first come, first served.
	Suspend
	// DropNewest discards the pushed element: Push returns Dropped.
	DropNewest
	// DropOldest takes the pushed element and evicts the oldest one, which Push hands to its caller.
	DropOldest
)

// String names the policy in lower case, with hyphens.
func (o Overflow) String() string {
	names := [...]string{"reject", "suspend", "drop-newest", "drop-oldest"}
	if int(o) < len(names) {
		return names[o]
	}
	return "unknown"
}

// Bounded is a multi-producer, single-consumer FIFO queue that holds at most Cap elements.
//
// Shape: a ring buffer under a mutex, and a list of the producers that wait for room (Suspend only).
// Any goroutine may call Push, Await, Cancel, Wake, Len, Empty, Cap and Close; one consumer at a time calls Pop, PopBatch,
// Unpop and Idle. Make one with NewBounded; do not copy it.
// Elements pop in the order in which they were taken in, those of waiters included: while somebody waits, a Push has no
// room. A Push synchronizes before the Pop that returns its element.
// Memory: the ring starts with 8 places, doubles as it fills, halves as it drains, and is given back when the consumer goes
// idle: an idle queue holds none, a busy and empty one at most 1,024 places. Rings up to that size go to a sync.Pool
// which all queues of the same E share, so a queue that keeps filling and going idle allocates nothing; larger ones are
// left to the garbage collector.
type Bounded[E any] struct {
	mu       sync.Mutex
	gate     gate
	policy   Overflow
	capacity int
	ring     ring[E]
	waiting  waitList[E] // not empty only while the ring is full
}

// NewBounded returns an empty, idle queue of the given capacity, at least 1, and overflow policy.
func NewBounded[E any](capacity int, policy Overflow) (*Bounded[E], error) {
	if capacity < 1 {
		return nil, fmt.Errorf("mailbox: capacity %d of a bounded queue: want at least 1, or an MPSC, which has no bound", capacity)
	}
	if policy > DropOldest {
		return nil, fmt.Errorf("mailbox: unknown overflow policy %d: want Reject, Suspend, DropNewest or DropOldest", policy)
	}
	return &Bounded[E]{policy: policy, capacity: capacity, ring: ring[E]{store: storeOf[E]()}}, nil
}

// Push enqueues e. It never blocks. The outcome is Queued, Wake, Closed, Full (Reject, and Suspend when e would have to
// wait) or Dropped (DropNewest). When evicted is true, e was queued and oldest, which is the caller's now, made room for
// it (DropOldest).
func (q *Bounded[E]) Push(e E) (out Outcome, oldest E, evicted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.gate == gateClosed:
		return Closed, oldest, false
	case q.ring.n < q.capacity:
	case q.policy == DropNewest:
		return Dropped, oldest, false
	case q.policy == DropOldest:
		oldest, evicted = q.ring.pop(), true
	default:
		return Full, oldest, false
	}
	q.ring.push(e)
	return q.gate.pushed(), oldest, evicted
}

// Insert enqueues e whatever the capacity and the policy: for what must neither be refused nor dropped. The outcome is
// Queued, Wake or Closed.
func (q *Bounded[E]) Insert(e E) Outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gate == gateClosed {
		return Closed
	}
	q.ring.push(e)
	return q.gate.pushed()
}

// Await enqueues w.Elem at once, if there is room, or else puts w at the end of the waiting list. It never blocks.
// When waiting is true, the outcome is Full and w.Ready will be called unless Cancel comes first. When it is false, the
// outcome is final, w.Ready is not called and w is free again: Queued, Wake, Closed, or Full for a misuse (the policy is
// not Suspend, w is nil, or w waits already).
func (q *Bounded[E]) Await(w *Waiter[E]) (out Outcome, waiting bool) {
	if w == nil || q.policy != Suspend || !w.claimed.CompareAndSwap(false, true) {
		return Full, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gate != gateClosed && q.ring.n >= q.capacity {
		w.in.Store(q)
		q.waiting.append(w)
		return Full, true
	}
	out = Closed
	if q.gate != gateClosed {
		q.ring.push(w.take())
		out = q.gate.pushed()
	}
	w.claimed.Store(false)
	return out, false
}

// Cancel ends w's wait in q. True means that w has left the list: w.Elem was not queued and Ready will not be called.
// False means that w does not wait in q any more: Ready was called or is about to be.
func (q *Bounded[E]) Cancel(w *Waiter[E]) bool {
	if w == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.in.Load() != q {
		return false
	}
	w.in.Store(nil)
	q.waiting.remove(w)
	w.claimed.Store(false)
	return true
}

// Wake claims an idle queue without pushing: true means that the caller must now run the consumer.
func (q *Bounded[E]) Wake() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.gate.wake()
}

// Idle puts the consumer to sleep and gives the ring back. False means that something is queued (or the queue is closed):
// the consumer goes on.
func (q *Bounded[E]) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ring.n > 0 || !q.gate.idle() {
		return false
	}
	q.ring.free()
	return true
}

// Pop removes the oldest element. Its room goes to whoever has waited longest, whose Ready is called before Pop returns.
func (q *Bounded[E]) Pop() (e E, ok bool) {
	var due waitList[E]
	q.mu.Lock()
	if ok = q.ring.n > 0; ok {
		e = q.ring.pop()
		q.admit(&due)
	}
	q.mu.Unlock()
	due.end(Queued)
	return e, ok
}

// PopBatch removes as many of the oldest elements as there are and dst has room for, into dst, and returns how many.
// Their room goes to the waiters as with Pop, and what those bring is taken too.
func (q *Bounded[E]) PopBatch(dst []E) (n int) {
	var due waitList[E]
	q.mu.Lock()
	for n < len(dst) && q.ring.n > 0 {
		dst[n] = q.ring.pop()
		n++
		q.admit(&due)
	}
	q.mu.Unlock()
	due.end(Queued)
	return n
}

// admit moves the oldest waiter's element into the ring, if there is room, and the waiter to due.
func (q *Bounded[E]) admit(due *waitList[E]) {
	w := q.waiting.first
	if w == nil || q.ring.n >= q.capacity {
		return
	}
	q.waiting.remove(w)
	w.in.Store(nil)
	q.ring.push(w.take())
	due.append(w)
}

// Unpop puts e back in front of everything queued, beyond the capacity if its room has been given away. For the consumer only.
func (q *Bounded[E]) Unpop(e E) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ring.unpop(e)
}

// Empty reports whether nothing is queued at this moment.
func (q *Bounded[E]) Empty() bool { return q.Len() == 0 }

// Len is how many elements are queued at this moment, without those of waiters.
func (q *Bounded[E]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ring.n
}

// Cap is the capacity given to NewBounded.
func (q *Bounded[E]) Cap() int { return q.capacity }

// Close makes every later Push and Await answer Closed, hands what is still queued to f, oldest first, and then ends the
// wait of every waiter with Closed, oldest first: their elements are still theirs and do not go to f.
// Both are called with no lock held. A second Close finds nothing.
func (q *Bounded[E]) Close(f func(E)) {
	q.mu.Lock()
	q.gate = gateClosed
	rest, due := q.ring, q.waiting
	q.ring, q.waiting = ring[E]{store: rest.store}, waitList[E]{}
	for w := due.first; w != nil; w = w.next {
		w.in.Store(nil)
	}
	q.mu.Unlock()
	for rest.n > 0 {
		f(rest.pop())
	}
	rest.free()
	due.end(Closed)
}

// Reopen makes a closed queue usable again: busy if awake is true, else idle. Only its owner may call it, after Close.
func (q *Bounded[E]) Reopen(awake bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gate.reopen(awake)
}

// Waiter is a producer's place in the waiting list of a Bounded.
//
// It waits in one queue at a time. It is the queue's from an Await that returned waiting=true until Ready is called or
// Cancel returns true; its fields must not be touched meanwhile. Then it may be used again, as long as no Cancel that
// was meant for the earlier wait can still come. Do not copy it after use.
type Waiter[E any] struct {
	// Elem is what waits to be queued; it is cleared when it was.
	Elem E
	// Ready is called once at the end of the wait: with Queued when Elem is in the queue, with Closed when the queue was
	// closed and Elem is still the producer's. It runs inside of Pop, PopBatch or Close with no lock held and must neither
	// block nor panic; it may do with the queue what any producer may. Nil means that nobody is told.
	Ready func(Outcome)

	claimed    atomic.Bool                // from Await until Ready is called
	in         atomic.Pointer[Bounded[E]] // whose waiting list; changed under that queue's lock alone
	next, prev *Waiter[E]                 // of the list, under that lock; then of the chain whose Ready is due
}

func (w *Waiter[E]) take() E {
	var zero E
	e := w.Elem
	w.Elem = zero
	return e
}

// waitList is a doubly linked list, so that Cancel is O(1).
type waitList[E any] struct{ first, last *Waiter[E] }

func (l *waitList[E]) append(w *Waiter[E]) {
	w.prev, w.next = l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
}

func (l *waitList[E]) remove(w *Waiter[E]) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

// end tells all of l how their wait ended. A waiter may be waiting again before its Ready returns, hence the order.
func (l *waitList[E]) end(out Outcome) {
	for w := l.first; w != nil; {
		next, ready := w.next, w.Ready
		w.prev, w.next = nil, nil
		w.claimed.Store(false)
		if ready != nil {
			ready(out)
		}
		w = next
	}
}
