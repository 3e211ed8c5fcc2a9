package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

var errNoSemaphore = errors.New("actor: this Semaphore has no permits: make it with NewSemaphore")

// Semaphore is a number of permits: that many may be held at a time, by actors and by other goroutines.
//
// Shape: a counter, the holders and a linked list of waiters. Only NewSemaphore makes one; the zero value refuses everything
// with an error; do not copy after use.
// Who holds what is known for each actor; all other goroutines count as one holder. An actor that ends gives its permits back.
// Order: first come, first served, without barging. A Release happens before the Acquire that gets its permit.
// Cost: BenchmarkSemaphore.
type Semaphore struct {
	mu      sync.Mutex
	size    int
	free    int
	holders map[AnyRef]int // the zero ref stands for all goroutines outside of actors
	queue   places
}

// NewSemaphore makes a Semaphore of n permits, at least 1.
func NewSemaphore(n int) (*Semaphore, error) {
	if n < 1 {
		return nil, fmt.Errorf("actor: a semaphore of %d permits: it needs at least 1", n)
	}
	return &Semaphore{size: n, free: n, holders: make(map[AnyRef]int)}, nil
}

// Acquire takes a permit, waiting for one under ctx: an actor suspends, holding no slot, any other goroutine blocks. With any
// error it took none: ctx's own, and for an actor ErrStopped, an interrupt, ErrForeignGoroutine, ErrEnded, ErrInBlock, or
// *DeadlockError if it holds all permits itself. Other cycles through semaphores are not found.
func (m *Semaphore) Acquire(ctx context.Context) error {
	w, err := enterReady(ctx)
	defer w.leave()
	if err != nil {
		return err
	}
	var self AnyRef
	if w.c != nil {
		self = w.ctx.Self()
	}
	m.mu.Lock()
	if m.size == 0 || m.free > 0 || w.c != nil && m.holders[self] == m.size {
		err := m.settle(self)
		m.mu.Unlock()
		if err != nil {
			return err
		}
	} else {
		p := w.place()
		m.queue.push(p)
		m.mu.Unlock()
		if err := w.await(ctx, p, m); err != nil {
			return err
		}
	}
	if w.c != nil {
		w.ctx.hold(m)
	}
	return nil
}

// settle takes a permit for r, or says why there will never be one. The caller holds mu.
func (m *Semaphore) settle(r AnyRef) error {
	switch {
	case m.size == 0:
		return errNoSemaphore
	case m.free == 0:
		return &DeadlockError{Path: []AnyRef{r, r}}
	}
	m.free--
	m.holders[r]++
	return nil
}

// TryAcquire takes a permit if one is free and reports whether it did. Errors: ErrForeignGoroutine, ErrEnded, ErrInBlock for an
// actor's Context that is used elsewhere.
func (m *Semaphore) TryAcquire(ctx context.Context) (bool, error) {
	c, err := permitContext(ctx)
	if err != nil {
		return false, err
	}
	self := c.selfOrZero()
	m.mu.Lock()
	taken := m.free > 0
	if taken || m.size == 0 {
		err = m.settle(self)
	}
	m.mu.Unlock()
	if taken && c != nil {
		c.hold(m)
	}
	return taken, err
}

// Release gives one permit back, to the oldest waiter if there is one. It works under a context that is done, and in deferred
// functions. ErrNotOwner: the caller holds no permit.
func (m *Semaphore) Release(ctx context.Context) error {
	c, err := permitContext(ctx)
	if err != nil {
		return err
	}
	self := c.selfOrZero()
	m.mu.Lock()
	if m.holders[self] == 0 {
		m.mu.Unlock()
		return ErrNotOwner
	}
	next := m.giveBack(self)
	last := m.holders[self] == 0
	m.mu.Unlock()
	var s *slot
	if c != nil {
		s = c.car.Load().slot
		if last {
			c.letGo(m)
		}
	}
	next.wake(s)
	return nil
}

// giveBack takes one permit from r and gives it to the oldest waiter, whom the caller wakes after it has released mu.
func (m *Semaphore) giveBack(r AnyRef) *place {
	if m.holders[r]--; m.holders[r] == 0 {
		delete(m.holders, r)
	}
	p := m.queue.pop()
	if p == nil {
		m.free++
		return nil
	}
	m.holders[p.self]++
	p.granted.Store(true)
	return p
}

func (m *Semaphore) forgo(p *place, s *slot) {
	var next *place
	m.mu.Lock()
	if p.granted.Load() {
		next = m.giveBack(p.self)
	} else {
		m.queue.remove(p)
	}
	m.mu.Unlock()
	next.wake(s)
}

// abandon takes all permits from an actor that has ended.
func (m *Semaphore) abandon(holder AnyRef) {
	var woken []*place
	m.mu.Lock()
	for range m.holders[holder] {
		woken = append(woken, m.giveBack(holder))
	}
	m.mu.Unlock()
	for _, p := range woken {
		p.wake(nil)
	}
}

// permitContext returns the Context of the actor that calls, or nil for another goroutine.
func permitContext(ctx context.Context) (*Context, error) {
	c, err := lockContext(ctx)
	if errors.Is(err, ErrNotActor) {
		return nil, nil
	}
	return c, err
}

// selfOrZero is Self, the zero ref for no actor.
func (ctx *Context) selfOrZero() AnyRef {
	if ctx == nil {
		return AnyRef{}
	}
	return ctx.Self()
}
