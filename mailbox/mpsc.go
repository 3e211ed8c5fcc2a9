package mailbox

// Hot path. Per message: 0 allocs in steady state, 1 atomic RMW to push, 1 per batch to take; held by TestMPSCAllocs.

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// Outcome is what became of a push.
type Outcome uint8

const (
	// Queued means that the element is in the queue and its consumer is awake already.
	Queued Outcome = iota
	// Wake means that the element is in the queue and that the caller must get the consumer to run.
	Wake
	// Closed means that the queue takes nothing any more; the element is still the caller's.
	Closed
	// Full means that a bounded queue has no room; the element is still the caller's.
	Full
	// Dropped means that the pushed element was discarded by the queue's policy (DropNewest).
	Dropped
)

// String names the outcome in lower case.
func (o Outcome) String() string {
	names := [...]string{"queued", "wake", "closed", "full", "dropped"}
	if int(o) < len(names) {
		return names[o]
	}
	return "unknown"
}

// MPSC is an unbounded multi-producer, single-consumer FIFO queue.
//
// Shape: producers push onto a stack of nodes with one compare-and-swap; the consumer takes the whole stack with one
// swap, reverses it, and pops from its private list. There is no ABA (nothing else ever pops) and a producer that is
// interrupted in the middle of a push holds nobody up.
// Any goroutine may Push or Wake; one goroutine at a time may call the rest. The zero value is an empty, idle queue; do not
// copy after use. One goroutine's pushes pop in their order; a Push synchronizes before the Pop that returns its element.
// An empty queue holds no memory beside its two words.
// Source: the Treiber stack (R. K. Treiber, 1986), taken whole.
type MPSC[E any] struct {
	head atomic.Pointer[mark] // producers: nil idle, busyMark awake and empty, closedMark closed, else the newest node
	list *node[E]             // consumer: oldest first
}

type node[E any] struct {
	next *node[E]
	e    E
}

// mark is what head points to: a mark, which is compared and never read, or the first word of a node. A mark must not be
// converted to a *node[E], which would reach beyond it.
type mark struct{ _ unsafe.Pointer }

var marks [2]mark

func busyMark() *mark   { return &marks[0] }
func closedMark() *mark { return &marks[1] }

func (n *node[E]) mark() *mark       { return (*mark)(unsafe.Pointer(n)) }
func nodeOf[E any](m *mark) *node[E] { return (*node[E])(unsafe.Pointer(m)) }

// Push enqueues e with a node from c, which must be the caller's own. It never blocks.
// The outcome is Queued, Wake or Closed.
func (q *MPSC[E]) Push(c *Cache[E], e E) Outcome {
	n := c.take()
	n.e = e
	for {
		old := q.head.Load()
		switch old {
		case nil, busyMark():
			n.next = nil
		case closedMark():
			c.give(n)
			return Closed
		default:
			n.next = nodeOf[E](old)
		}
		if q.head.CompareAndSwap(old, n.mark()) {
			if old == nil {
				return Wake
			}
			return Queued
		}
	}
}

// Wake claims an idle queue without pushing: true means that the caller must now run the consumer.
func (q *MPSC[E]) Wake() bool { return q.head.CompareAndSwap(nil, busyMark()) }

// Idle puts the consumer to sleep. False means that something is queued (or the queue is closed): the consumer goes on.
func (q *MPSC[E]) Idle() bool {
	return q.list == nil && q.head.CompareAndSwap(busyMark(), nil)
}

// Pop removes the oldest element; its node goes to c. The queue must be busy: woken and not yet idle.
func (q *MPSC[E]) Pop(c *Cache[E]) (e E, ok bool) {
	n := q.list
	if n == nil {
		if n = q.takeAll(c); n == nil {
			return e, false
		}
	}
	q.list = n.next
	e = n.e
	c.give(n)
	return e, true
}

// Resting reports whether the queue is idle at this moment. Any goroutine may ask.
func (q *MPSC[E]) Resting() bool { return q.head.Load() == nil }

// Unpop puts e back in front of everything queued. For the consumer only.
func (q *MPSC[E]) Unpop(c *Cache[E], e E) {
	n := c.take()
	n.e, n.next = e, q.list
	q.list = n
}

// Empty reports whether nothing is queued at this moment. For the consumer only.
func (q *MPSC[E]) Empty() bool {
	if q.list != nil {
		return false
	}
	h := q.head.Load()
	return h == nil || h == busyMark() || h == closedMark()
}

func (q *MPSC[E]) takeAll(c *Cache[E]) *node[E] {
	switch q.head.Load() {
	case nil, busyMark(), closedMark():
		return nil
	}
	n, depth := reverse(nodeOf[E](q.head.Swap(busyMark())))
	c.depths.note(depth)
	return n
}

func reverse[E any](n *node[E]) (first *node[E], length int) {
	for n != nil {
		n, n.next, first = n.next, first, n
		length++
	}
	return first, length
}

// Len counts what is queued, in O(n). Only for a consumer, or while nobody pushes and nobody pops.
func (q *MPSC[E]) Len() int {
	count := 0
	for n := q.list; n != nil; n = n.next {
		count++
	}
	switch h := q.head.Load(); h {
	case nil, busyMark(), closedMark():
	default:
		for n := nodeOf[E](h); n != nil; n = n.next {
			count++
		}
	}
	return count
}

// Close makes every later Push answer Closed and hands what is still queued to f, oldest first. For the consumer only. Where f
// panics or ends its goroutine, another Close hands out the rest.
func (q *MPSC[E]) Close(c *Cache[E], f func(E)) {
	if h := q.head.Swap(closedMark()); h != nil && h != busyMark() && h != closedMark() {
		end := &q.list
		for *end != nil {
			end = &(*end).next
		}
		*end, _ = reverse(nodeOf[E](h))
	}
	for n := q.list; n != nil; n = q.list {
		q.list = n.next
		e := n.e
		c.give(n)
		f(e)
	}
}

// Reopen makes a closed queue usable again: busy if awake is true, else idle. Only its owner may call it, after Close.
func (q *MPSC[E]) Reopen(awake bool) {
	if awake {
		q.head.Store(busyMark())
		return
	}
	q.head.Store(nil)
}

// chainNodes is how many nodes travel together between caches; poolChains bounds what a Pool keeps.
const (
	chainNodes = 64
	poolChains = 1024
)

// Pool is where caches exchange whole chains of free nodes. The zero value is ready; any goroutine may use it.
// It keeps at most 65,536 nodes; what comes beyond goes to the garbage collector.
type Pool[E any] struct {
	mu     sync.Mutex
	chains []*node[E]
}

func (p *Pool[E]) get() *node[E] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.chains) == 0 {
		return nil
	}
	last := len(p.chains) - 1
	n := p.chains[last]
	p.chains[last] = nil
	p.chains = p.chains[:last]
	return n
}

func (p *Pool[E]) put(n *node[E]) {
	p.mu.Lock()
	if len(p.chains) < poolChains {
		p.chains = append(p.chains, n)
	}
	p.mu.Unlock()
}

// Cache is a private store of free nodes, for one goroutine at a time. It holds at most 128 and trades with its Pool in
// chains of 64, so that nodes freed by a consumer find their way back to its producers at a 64th of a lock each.
type Cache[E any] struct {
	pool  *Pool[E]
	free  *node[E]
	n     int
	spare *node[E] // a full chain, or nil

	depths Depths // of the takes
}

// NewCache returns an empty cache that trades with pool; it must not be nil.
func NewCache[E any](pool *Pool[E]) *Cache[E] { return &Cache[E]{pool: pool} }

// Init makes c, a zero Cache inside another struct, trade with pool.
func (c *Cache[E]) Init(pool *Pool[E]) { c.pool = pool }

func (c *Cache[E]) take() *node[E] {
	n := c.free
	if n == nil {
		return c.refill()
	}
	c.free = n.next
	c.n--
	return n
}

func (c *Cache[E]) refill() *node[E] {
	n := c.spare
	c.spare = nil
	if n == nil {
		n = c.pool.get()
	}
	if n == nil {
		return new(node[E])
	}
	c.free, c.n = n.next, chainNodes-1
	return n
}

func (c *Cache[E]) give(n *node[E]) {
	var zero E
	n.e = zero
	n.next = c.free
	c.free = n
	if c.n++; c.n == chainNodes {
		c.full()
	}
}

func (c *Cache[E]) full() {
	if c.spare != nil {
		c.pool.put(c.spare)
	}
	c.spare, c.free, c.n = c.free, nil, 0
}
