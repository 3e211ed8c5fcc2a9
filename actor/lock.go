package actor

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrNotOwner answers Unlock, Signal, Broadcast and Cond.Wait from an actor that does not hold the lock, and Release from one
// that holds no permit. Nothing has changed.
var ErrNotOwner = errors.New("actor: the caller does not hold the lock: only the actor that acquired it may release it, wait with it or signal under it")

// ErrNotActor answers a lock that was asked for with a context that is no actor's. Locks belong to actors, so that they can
// be given back when their holder ends, and goroutines have no such end.
var ErrNotActor = errors.New("actor: only an actor can hold this lock and the context is not an actor's: pass the actor's Context, or use sync.Mutex between goroutines")

// Mutex is a lock for actors: waiting for it suspends the actor and holds no slot.
//
// Shape: the owner's ref and a linked list of waiters. Any actor may use it, whatever its System; other goroutines get
// ErrNotActor. The zero value is an unlocked Mutex; do not copy after use.
// Order: first come, first served, without barging: Unlock hands the lock to the oldest waiter. What one owner did
// happens before what the next one does. An owner that ends, in whatever way, gives the lock back at its end.
// Cost: BenchmarkMutex; an actor's first lock allocates what its end needs to know, a wait allocates its place in the list.
type Mutex struct{ core lockCore }

// Lock acquires m, waiting under ctx, which is the actor's Context or derives from it, until it is the caller's. With any error
// the caller does not hold it: ctx's own, ErrStopped or an interrupt, *DeadlockError if the owner waits for the caller, or is
// the caller, ErrNotActor, ErrForeignGoroutine, ErrEnded, ErrInBlock.
func (m *Mutex) Lock(ctx context.Context) error { return m.core.acquire(ctx, false) }

// TryLock acquires m if that takes no wait and reports whether it did. It is false while anybody holds m, the caller too.
// Errors: ErrNotActor, ErrForeignGoroutine, ErrEnded, ErrInBlock.
func (m *Mutex) TryLock(ctx context.Context) (bool, error) { return m.core.tryAcquire(ctx, false) }

// Unlock releases m to the oldest waiter. It works under a context that is done, and in deferred functions. ErrNotOwner: the
// caller does not hold m. ErrNotActor, ErrForeignGoroutine, ErrEnded, ErrInBlock: the caller is not an actor on its own goroutine.
func (m *Mutex) Unlock(ctx context.Context) error { return m.core.release(ctx) }

func (m *Mutex) locker() *lockCore {
	if m == nil {
		return nil
	}
	return &m.core
}

// ReentrantMutex is a Mutex that its owner may lock again: it is released by as many Unlocks as there were Locks.
// The zero value is unlocked; do not copy after use. In all else it is a Mutex.
type ReentrantMutex struct{ core lockCore }

// Lock is Mutex.Lock, but returns at once, one level deeper, if the caller holds m already.
func (m *ReentrantMutex) Lock(ctx context.Context) error { return m.core.acquire(ctx, true) }

// TryLock acquires m, or goes one level deeper, if that takes no wait, and reports whether it did. Errors as Mutex.TryLock.
func (m *ReentrantMutex) TryLock(ctx context.Context) (bool, error) {
	return m.core.tryAcquire(ctx, true)
}

// Unlock undoes one Lock; the last one releases m to the oldest waiter. Errors as Mutex.Unlock.
func (m *ReentrantMutex) Unlock(ctx context.Context) error { return m.core.release(ctx) }

func (m *ReentrantMutex) locker() *lockCore {
	if m == nil {
		return nil
	}
	return &m.core
}

// Locker is what a Cond can be made with: a *Mutex or a *ReentrantMutex.
type Locker interface {
	// Lock acquires the lock, waiting under ctx.
	Lock(ctx context.Context) error
	// TryLock acquires the lock if that takes no wait.
	TryLock(ctx context.Context) (bool, error)
	// Unlock releases the lock.
	Unlock(ctx context.Context) error

	locker() *lockCore
}

// lockCore is a lock with an owner. While anybody queues it has one: it is handed over, never left lying.
type lockCore struct {
	mu      sync.Mutex
	owner   AnyRef
	depth   int
	version uint64 // counts the owners, for edge.read
	queue   places
}

// blocker is whom from waits for while it queues: the owner, whoever that is by now. It is nobody once from is the owner
// and has not run yet.
func (l *lockCore) blocker(from AnyRef) (AnyRef, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner == from {
		return AnyRef{}, 0
	}
	return l.owner, l.version
}

// give makes r the owner. The caller holds mu.
func (l *lockCore) give(r AnyRef, depth int) {
	l.owner, l.depth = r, depth
	l.version++
}

// pass takes the lock from its owner and gives it to the oldest waiter, whom the caller wakes after it has released mu.
func (l *lockCore) pass() *place {
	p := l.queue.pop()
	if p == nil {
		l.give(AnyRef{}, 0)
		return nil
	}
	l.give(p.self, p.depth)
	p.granted.Store(true)
	return p
}

// enqueue gives p the lock, or a place in the queue and an edge to whoever owns it. The caller holds mu. It returns the
// owner, or the zero ref if that is p.
func (l *lockCore) enqueue(p *place) AnyRef {
	if l.owner.node == nil {
		l.give(p.self, p.depth)
		p.granted.Store(true)
		return AnyRef{}
	}
	l.queue.push(p)
	p.car.edge.setLock(p.self, l)
	return l.owner
}

func (l *lockCore) acquire(ctx context.Context, again bool) error {
	w, err := enterLock(ctx)
	defer w.leave()
	if err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	self := w.ctx.Self()
	l.mu.Lock()
	switch l.owner {
	case AnyRef{}:
		l.give(self, 1)
		l.mu.Unlock()
	case self:
		if again {
			l.depth++
		}
		l.mu.Unlock()
		if again {
			return nil
		}
		return &DeadlockError{Path: []AnyRef{self, self}}
	default:
		p := w.place()
		p.depth = 1
		owner := l.enqueue(p)
		l.mu.Unlock()
		if err := l.await(&w, p, owner); err != nil {
			return err
		}
	}
	w.ctx.hold(l)
	return nil
}

// await waits in the queue until the lock is p's. An error, or the actor's end, leaves nothing behind.
func (l *lockCore) await(w *waiting, p *place, owner AnyRef) error {
	defer w.c.edge.clear()
	if err := w.ctx.deadlock(w.c, owner); err != nil {
		l.forgo(p, w.c.slot)
		return err
	}
	return w.await(w.ctx, p, l)
}

// forgo takes p out of the queue, or passes on what it was given.
func (l *lockCore) forgo(p *place, s *slot) {
	l.mu.Lock()
	var next *place
	if p.granted.Load() {
		next = l.pass()
	} else {
		l.queue.remove(p)
	}
	l.mu.Unlock()
	next.wake(s)
}

func (l *lockCore) tryAcquire(ctx context.Context, again bool) (bool, error) {
	c, err := lockContext(ctx)
	if err != nil {
		return false, err
	}
	self := c.Self()
	l.mu.Lock()
	switch {
	case l.owner.node == nil:
		l.give(self, 1)
	case again && l.owner == self:
		l.depth++
		l.mu.Unlock()
		return true, nil
	default:
		l.mu.Unlock()
		return false, nil
	}
	l.mu.Unlock()
	c.hold(l)
	return true, nil
}

func (l *lockCore) release(ctx context.Context) error {
	c, err := lockContext(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.owner != c.Self() {
		l.mu.Unlock()
		return ErrNotOwner
	}
	if l.depth > 1 {
		l.depth--
		l.mu.Unlock()
		return nil
	}
	next := l.pass()
	l.mu.Unlock()
	c.letGo(l)
	next.wake(c.car.Load().slot)
	return nil
}

// abandon takes the lock from an owner that has ended.
func (l *lockCore) abandon(holder AnyRef) {
	l.mu.Lock()
	var next *place
	if l.owner == holder {
		next = l.pass()
	}
	l.mu.Unlock()
	next.wake(nil)
}

// lockContext returns the Context of the actor that calls, on its own goroutine.
func lockContext(ctx context.Context) (*Context, error) {
	c, ok := FromContext(ctx)
	switch {
	case isNil(ctx):
		return nil, ErrNilContext
	case !ok:
		return nil, ErrNotActor
	case c.here() == nil:
		return nil, c.own()
	}
	return c, nil
}

// enterLock is enter for what only an actor may wait for.
func enterLock(ctx context.Context) (waiting, error) {
	w, err := enterAny(ctx)
	if err == nil && w.c == nil {
		err = ErrNotActor
	}
	return w, err
}

// enterAny is enter, which takes no nil.
func enterAny(ctx context.Context) (waiting, error) {
	if isNil(ctx) {
		return waiting{}, ErrNilContext
	}
	return enter(ctx)
}

func isNil(ctx context.Context) bool {
	if ctx == nil {
		return true
	}
	c, ok := ctx.(*Context)
	return ok && c == nil
}

// hold notes what must be given back when the actor ends, letGo that it was. For the actor itself.
func (ctx *Context) hold(h holding) {
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	cold := ctx.cell.coldOf()
	if cold.held == nil {
		cold.held = make(map[holding]struct{})
	}
	cold.held[h] = struct{}{}
	mu.Unlock()
}

func (ctx *Context) letGo(h holding) {
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	delete(ctx.cell.coldOf().held, h)
	mu.Unlock()
}

// A place is one wait in a queue. What gives places out guards all fields but the two flags, which only it sets.
type place struct {
	prev, next *place
	in         *places
	self       AnyRef // zero for a goroutine
	sys        *System
	cell       *cell
	car        *carrier
	ready      chan struct{} // closed for a goroutine
	depth      int           // of a lock, once it is granted
	signalled  atomic.Bool   // by a Cond
	granted    atomic.Bool
}

// place makes a place for whoever waits.
func (w *waiting) place() *place {
	if w.c == nil {
		return &place{ready: make(chan struct{})}
	}
	return &place{self: w.ctx.Self(), sys: w.ctx.sys, cell: w.ctx.cell, car: w.c}
}

// wake wakes whoever has the place, once; nil is nobody. s is the caller's slot, or nil.
func (p *place) wake(s *slot) {
	if p == nil {
		return
	}
	if p.ready != nil {
		close(p.ready)
		return
	}
	if s != nil && s.ex.sys != p.sys {
		s = nil
	}
	if p.cell.unpark() {
		p.sys.schedule(s, p.cell)
	}
}

// granter is what places are waited in. forgo takes back the place of somebody who gives up, granted or not.
type granter interface{ forgo(p *place, s *slot) }

// await waits until p is granted. With an error, or if the actor is killed, p is forgone. ctx bounds a goroutine's wait; an actor's is bounded by w.
func (w *waiting) await(ctx context.Context, p *place, from granter) error {
	waited := false
	defer func() {
		if waited {
			return
		}
		from.forgo(p, w.slot())
	}()
	if w.c == nil {
		select {
		case <-p.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for !p.granted.Load() {
		if err := w.sleep(waitPark); err != nil {
			return err
		}
	}
	waited = true
	return nil
}

// slot is the waiting actor's, nil for a goroutine.
func (w *waiting) slot() *slot {
	if w.c == nil {
		return nil
	}
	return w.c.slot
}

// places is a FIFO list of places from which any can leave.
type places struct{ first, last *place }

func (l *places) push(p *place) {
	p.in, p.prev, p.next = l, l.last, nil
	if l.last == nil {
		l.first = p
	} else {
		l.last.next = p
	}
	l.last = p
}

// pop takes the oldest out, nil if there is none.
func (l *places) pop() *place {
	p := l.first
	l.remove(p)
	return p
}

// remove takes p out if it is in, and reports whether it was.
func (l *places) remove(p *place) bool {
	if p == nil || p.in != l {
		return false
	}
	if p.prev == nil {
		l.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.in, p.prev, p.next = nil, nil, nil
	return true
}
