package actor

// Hot path. Per send: 0 allocs, 1 atomic RMW into a busy mailbox, 2 into an idle one; held by TestSendAllocs.

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/greenroom-go/greenroom/mailbox"
)

// ErrStopped means that the actor has ended or was asked to stop: a message was not delivered and is still yours, a wait
// is over because its own actor should come to an end.
var ErrStopped = errors.New("actor: the actor has stopped")

// ErrFull means that a bounded mailbox has no room: the message was not delivered and is still yours.
var ErrFull = errors.New("actor: the mailbox is full")

// ErrNoActor means that a ref addresses nobody: it is the zero value, or of a node that nobody knows.
var ErrNoActor = errors.New("actor: no such actor")

// ErrNilMessage means that a nil message was sent. It was not delivered.
var ErrNilMessage = errors.New("actor: a message must not be nil")

// ErrWrongType means that a message, a reply or a behaviour is of another type than the actor's.
var ErrWrongType = errors.New("actor: wrong type")

// noMessage reports whether a message is nil, typed or not: the second word of an interface is the pointer in it.
func noMessage(m any) bool {
	return m == nil || (*[2]unsafe.Pointer)(unsafe.Pointer(&m))[1] == nil
}

// outsider is what a goroutine outside of actors sends and calls with. They belong to one executor, so that the call's channel
// stays in its synctest bubble.
type outsider struct {
	cache mailbox.Cache[envelope]
	n     uint32
	call  call
}

// send puts env into r's mailbox on behalf of whoever ctx is.
func send(ctx context.Context, r AnyRef, env envelope) error {
	if r.node == nil {
		return ErrNoActor
	}
	sys := r.node.sys
	if noMessage(env.msg) {
		return ErrNilMessage
	}
	if c, ok := ctx.(*Context); ok && c != nil && c.sys == sys {
		if car := c.here(); car != nil {
			return sys.sendFromActor(c, car, r, env)
		}
	}
	if sys == nil {
		return sendAbroad(ctx, r, env)
	}
	return sys.sendFromOutside(ctx, r, env)
}

func (sys *System) sendFromActor(ctx *Context, c *carrier, r AnyRef, env envelope) error {
	s := c.slot
	a := sys.table.at(uint32(r.id))
	env.meta |= r.id &^ lowWord
	if a == nil || a.gen.Load() != env.gen() {
		s.tally.returned++
		return ErrStopped
	}
	if s.tally.sent&63 == 0 && env.call == nil {
		if s.lastNow == 0 {
			s.look()
		}
		env.meta |= uint64(s.ex.stamp(s.lastNow))
	}
	if a.flags.Load()&flagQueue != 0 {
		return sys.sendToQueue(ctx, s, a, env)
	}
	switch a.box.Push(&s.cache, env) {
	case mailbox.Wake:
		if c.names && !s.special && a.flags.Load()&flagSystem == 0 {
			c.job = a
		} else {
			s.push(a)
		}
	case mailbox.Closed:
		s.tally.returned++
		return ErrStopped
	default: // queued: its receiver is awake already
	}
	s.tally.sent++
	if s.left--; s.left <= 0 {
		s.lookFromSend(c, r)
	}
	return nil
}

// lookFromSend is the look at the clock of a behaviour that sends on and on: it gives way when its time is up.
func (s *slot) lookFromSend(c *carrier, r AnyRef) {
	s.look()
	if s.ex.seeded != nil {
		s.ex.seeded.sent(c, r)
		return
	}
	if s.lastNow-s.turnNow < turnSlice || c.dying {
		return
	}
	if a := r.cell(); a != nil && a.home.Load() != s.n {
		a.home.Store(s.n)
	}
	s.turnNow = s.lastNow
	c.unname()
	if s.hasWork() || s.ex.shared.n.Load() > 0 {
		c.switchAway(waitTurn)
		return
	}
	s.breathe()
}

func (sys *System) sendFromOutside(ctx context.Context, r AnyRef, env envelope) error {
	out := sys.ex.outsiders.Get().(*outsider)
	defer sys.ex.outsiders.Put(out)
	return sys.sendBy(ctx, out, r, env)
}

func (sys *System) sendBy(ctx context.Context, out *outsider, r AnyRef, env envelope) error {
	a := r.cell()
	if a == nil {
		sys.outside.returned.Add(1)
		return ErrStopped
	}
	env.meta |= r.id &^ lowWord
	if sys.ex.seeded != nil {
		sys.ex.seeded.awaitSend(ctx, r, env.msg)
	}
	if a.flags.Load()&flagQueue != 0 {
		return sys.sendToQueue(ctx, nil, a, env)
	}
	if out.n++; out.n&63 == 0 && env.call == nil {
		env.meta |= uint64(sys.ex.stamp(sys.ex.now()))
	}
	return sys.pushOutside(a, out, env)
}

// pushOutside pushes on behalf of no slot. It counts before it pushes: the receiver may be done with the message, and the
// ledger read, before this goroutine goes on.
func (sys *System) pushOutside(a *cell, out *outsider, env envelope) error {
	sys.ex.departs()
	defer sys.ex.arrived()
	return sys.pushMoving(a, out, env)
}

// pushMoving is pushOutside between departs and arrived.
func (sys *System) pushMoving(a *cell, out *outsider, env envelope) error {
	sys.outside.sent.Add(1)
	switch a.box.Push(&out.cache, env) {
	case mailbox.Closed:
		sys.outside.sent.Add(^uint64(0))
		sys.outside.returned.Add(1)
		return ErrStopped
	case mailbox.Wake:
		sys.ex.pushShared(a)
	default: // queued: its receiver is awake already
	}
	return nil
}

// post puts something of the System's own into a mailbox, whatever its capacity: a Down. s is the caller's slot or nil.
func (sys *System) post(s *slot, r AnyRef, msg adapter) error {
	a := r.cell()
	if a == nil {
		return ErrStopped
	}
	return sys.postEnvelope(s, a, envelope{msg: msg, meta: r.id &^ lowWord})
}

func (sys *System) postEnvelope(s *slot, a *cell, env envelope) error {
	if a.flags.Load()&flagQueue != 0 {
		return sys.insert(s, a, env)
	}
	if s == nil {
		out := sys.ex.outsiders.Get().(*outsider)
		defer sys.ex.outsiders.Put(out)
		return sys.pushOutside(a, out, env)
	}
	switch a.box.Push(&s.cache, env) {
	case mailbox.Wake:
		s.push(a)
	case mailbox.Closed:
		return ErrStopped
	default: // queued: its receiver is awake already
	}
	s.tally.sent++
	return nil
}

// stamp is a time in an envelope: microseconds, never 0.
func (ex *executor) stamp(now time.Duration) uint32 { return uint32(now/time.Microsecond) | 1 }

// pop, idle and wake hide which kind of mailbox a cell has.
func (a *cell) pop(s *slot) (envelope, bool) {
	if a.flags.Load()&flagQueue != 0 {
		return a.cold.Load().queue.Pop()
	}
	return a.box.Pop(&s.cache)
}

func (a *cell) idle() bool {
	if a.flags.Load()&flagQueue != 0 {
		return a.cold.Load().queue.Idle()
	}
	return a.box.Idle()
}

func (a *cell) wake() bool {
	if a.flags.Load()&flagQueue != 0 {
		if cold := a.cold.Load(); cold != nil {
			return cold.queue.Wake()
		}
		return false
	}
	return a.box.Wake()
}

// tally counts what happens to messages and actors. A slot's tally is plain and its own; flush publishes it.
type tally struct {
	sent, handled, returned, dropped uint64
	dead                             [deadReasons]uint64
	spawned, restarted               uint64
	ended                            [reasonKinds]uint64
	turns, steals, parks, waits      uint64
	suspended                        uint64 // carriers put aside less carriers resumed: only the sum over all slots means anything
}

// published is a tally that anybody may read and add to.
type published struct {
	sent, handled, returned, dropped atomic.Uint64
	dead                             [deadReasons]atomic.Uint64
	spawned, restarted               atomic.Uint64
	ended                            [reasonKinds]atomic.Uint64
	turns, steals, parks, waits      atomic.Uint64
	suspended                        atomic.Uint64
}

func (p *published) store(t *tally) {
	put := func(to *atomic.Uint64, v uint64) {
		if to.Load() != v {
			to.Store(v)
		}
	}
	put(&p.sent, t.sent)
	put(&p.handled, t.handled)
	put(&p.returned, t.returned)
	put(&p.dropped, t.dropped)
	put(&p.spawned, t.spawned)
	put(&p.restarted, t.restarted)
	put(&p.turns, t.turns)
	put(&p.steals, t.steals)
	put(&p.parks, t.parks)
	put(&p.waits, t.waits)
	put(&p.suspended, t.suspended)
	for i := range t.dead {
		put(&p.dead[i], t.dead[i])
	}
	for i := range t.ended {
		put(&p.ended[i], t.ended[i])
	}
}

// load adds what p holds to t.
func (p *published) load(t *tally) {
	t.sent += p.sent.Load()
	t.handled += p.handled.Load()
	t.returned += p.returned.Load()
	t.dropped += p.dropped.Load()
	t.spawned += p.spawned.Load()
	t.restarted += p.restarted.Load()
	t.turns += p.turns.Load()
	t.steals += p.steals.Load()
	t.parks += p.parks.Load()
	t.waits += p.waits.Load()
	t.suspended += p.suspended.Load()
	for i := range t.dead {
		t.dead[i] += p.dead[i].Load()
	}
	for i := range t.ended {
		t.ended[i] += p.ended[i].Load()
	}
}

// add takes over what another, retired one holds.
func (p *published) add(q *published) {
	var t tally
	p.load(&t)
	q.load(&t)
	p.store(&t)
}

func (s *slot) flush() {
	s.pub.store(&s.tally)
	s.ex.sys.metrics.depth.drain(s.cache.Depths())
}
