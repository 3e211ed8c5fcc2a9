package mailbox

import (
	"math/bits"
	"reflect"
	"sync"
	"unsafe"
)

// gate is the busy/idle state of a queue that has a mutex, which guards it. The zero value is idle.
type gate uint8

const (
	gateIdle gate = iota
	gateBusy
	gateClosed
)

func (g *gate) wake() bool {
	if *g != gateIdle {
		return false
	}
	*g = gateBusy
	return true
}

func (g *gate) pushed() Outcome {
	if g.wake() {
		return Wake
	}
	return Queued
}

func (g *gate) idle() bool {
	if *g == gateBusy {
		*g = gateIdle
		return true
	}
	return false
}

func (g *gate) reopen(awake bool) {
	*g = gateIdle
	if awake {
		*g = gateBusy
	}
}

// Buffers have a power of two of places: from minPlaces on, and up to keepPlaces they are recycled.
const (
	minPlaces  = 8
	keepPlaces = 1024
	classes    = 8 // 8, 16, ... 1024
)

// grown and shrunk give the size that a buffer of size places with n in use should have before a push, after a pop.
func grown(size, n int) int {
	if n < size {
		return size
	}
	return max(minPlaces, 2*size)
}

func shrunk(size, n int) int {
	if size <= keepPlaces || n > size/4 {
		return size
	}
	return size / 2
}

// store recycles cleared buffers, one sync.Pool per size, so that what nobody needs is garbage two collections later.
type store[T any] struct{ pools [classes]sync.Pool }

var stores sync.Map // of *store[T] by T's reflect.Type

func storeOf[T any]() *store[T] {
	key := reflect.TypeFor[T]()
	s, ok := stores.Load(key)
	if !ok {
		s, _ = stores.LoadOrStore(key, new(store[T]))
	}
	return s.(*store[T])
}

func class(size int) int { return bits.TrailingZeros(uint(size)) - bits.TrailingZeros(minPlaces) }

func (s *store[T]) get(size int) []T {
	if size <= keepPlaces {
		// A pointer fits into an interface without an allocation, which a slice does not.
		if p, ok := s.pools[class(size)].Get().(*T); ok {
			return unsafe.Slice(p, size)
		}
	}
	return make([]T, size)
}

// put takes a buffer that holds nothing any more.
func (s *store[T]) put(buf []T) {
	if n := len(buf); n > 0 && n <= keepPlaces {
		s.pools[class(n)].Put(unsafe.SliceData(buf))
	}
}

// ring is a double-ended queue in a circular buffer.
type ring[E any] struct {
	buf   []E // a power of two long, or empty
	head  int // the oldest element's place
	n     int
	store *store[E]
}

func (r *ring[E]) at(i int) *E { return &r.buf[(r.head+i)&(len(r.buf)-1)] }

func (r *ring[E]) push(e E) {
	r.fit(grown(len(r.buf), r.n))
	*r.at(r.n) = e
	r.n++
}

func (r *ring[E]) unpop(e E) {
	r.fit(grown(len(r.buf), r.n))
	r.head = (r.head - 1) & (len(r.buf) - 1)
	r.buf[r.head] = e
	r.n++
}

func (r *ring[E]) pop() E {
	var zero E
	p := r.at(0)
	e := *p
	*p = zero
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	r.fit(shrunk(len(r.buf), r.n))
	return e
}

func (r *ring[E]) fit(size int) {
	if size != len(r.buf) {
		r.resize(size)
	}
}

func (r *ring[E]) resize(size int) {
	old, buf := r.buf, r.store.get(size)
	n := copy(buf, old[r.head:min(r.head+r.n, len(old))])
	copy(buf[n:], old[:r.n-n])
	clear(old)
	r.store.put(old)
	r.buf, r.head = buf, 0
}

// free gives the buffer of an empty ring back.
func (r *ring[E]) free() {
	r.store.put(r.buf)
	r.buf, r.head = nil, 0
}
