package actor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
)

// What packages that build on this one need of it: something kept with a System, something to do at an actor's final end, and a
// way for events to become an actor's messages.

// Part returns what is kept with the System under key, and has create make it the first time. The key should be of an unexported type
// of the package that uses it. Any goroutine may call it; create may run more than once, and one of the results is kept. A System
// that is none has no parts: nil.
func (sys *System) Part(key any, create func() any) any {
	if !sys.made() {
		return nil
	}
	if v, ok := sys.parts.Load(key); ok {
		return v
	}
	v, _ := sys.parts.LoadOrStore(key, create())
	return v
}

// AwaitTurn has a goroutine outside of actors wait for its turn if the System runs under a seed, so that what it does next comes
// between two steps, and always the same two: who may be zero, and it and what tell apart those who want a turn at once. Call it
// before taking a lock. In all other cases it does nothing.
func (sys *System) AwaitTurn(who AnyRef, what ...string) {
	if sys.made() && sys.ex.seeded != nil {
		sys.ex.seeded.await(strings.Join(what, ""), who.id, nil)
	}
}

// EndHook is something to do at an actor's final end.
type EndHook interface {
	// Ended is called when the actor has come to its final end and has given up its names, before anybody is told of it by a
	// Down or by Wait. It runs where the actor ended: it must be quick and must not wait. A panic in it is logged.
	Ended(r AnyRef)
}

// AtEnd has h.Ended called, once, at r's final end; with nil it certainly will be. Hooks run in the order in which they were added.
// Errors: ErrNoActor, ErrStopped (the actor has ended), ErrOtherSystem (it lives on another node: Monitor it, or Wait for it).
func AtEnd(r AnyRef, h EndHook) error {
	if r.node == nil {
		return ErrNoActor
	}
	if r.Remote() {
		return ErrOtherSystem
	}
	a := r.cell()
	if a == nil {
		return ErrStopped
	}
	mu := r.node.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	if a.gen.Load() != uint32(r.id>>32) {
		return ErrStopped
	}
	cold := a.coldOf()
	if cold.over || cold.dying && a.flags.Load()&flagGuarded == 0 {
		return ErrStopped
	}
	cold.ends = append(cold.ends, h)
	return nil
}

// NotAtEnd takes back one AtEnd and reports whether it did: the actor's end may run the hook just now. The last one added is found
// first. Cost: linear in the number of the actor's hooks.
func NotAtEnd(r AnyRef, h EndHook) bool {
	a := r.cell()
	if a == nil {
		return false
	}
	mu := r.node.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := a.cold.Load()
	if cold == nil || a.gen.Load() != uint32(r.id>>32) {
		return false
	}
	for i, e := range slices.Backward(cold.ends) {
		if e == h {
			cold.ends = slices.Delete(cold.ends, i, i+1)
			return true
		}
	}
	return false
}

// settleEnd frees an actor's names and runs its end hooks while it still counts as alive, so that nobody can find that it has ended
// before that is done. The caller holds the cell's lock, which is given up meanwhile; no names and hooks are added from now on.
func (sys *System) settleEnd(a *cell, mu *sync.Mutex) {
	cold := a.cold.Load()
	if cold == nil || cold.name == "" && len(cold.names) == 0 && len(cold.ends) == 0 {
		return
	}
	self := AnyRef{sys.node, a.id()}
	names, ends := cold.names, cold.ends
	cold.names, cold.ends, cold.over = nil, nil, true
	mu.Unlock()
	sys.names.freeAll(cold.name, names, self.id)
	for _, h := range ends {
		sys.guard("end hook", func() { h.Ended(self) })
	}
	mu.Lock()
}

// Feed is a flow of events into an actor's mailbox: see OpenFeed.
type Feed struct {
	who    AnyRef
	stop   func()
	closed atomic.Bool
}

// OpenFeed has the calling actor get events as messages. open starts the flow: it is given the function that posts an event, which
// any goroutine may call and which never waits, and returns the one that ends the flow. adapt makes each event a message of
// the actor's own type, in the actor's turn. What was posted arrives once, in order; like a Down it is not lost to a full mailbox.
// The flow ends with Cancel, and with the incarnation of the actor that subscribed.
// Errors: those of open, and ErrForeignGoroutine, ErrEnded, ErrInBlock.
func OpenFeed[E any, M proto.Message](ctx *Context, adapt func(E) M, open func(post func(E)) (stop func(), err error)) (*Feed, error) {
	if ctx == nil {
		return nil, ErrNilContext
	}
	if ctx.here() == nil {
		return nil, ctx.own()
	}
	if adapt == nil || open == nil {
		return nil, errors.New("actor: OpenFeed needs a function that makes a message of an event, and one that starts the flow")
	}
	sub := &Feed{who: ctx.Self()}
	stop, err := open(func(e E) {
		_ = ctx.sys.post(nil, sub.who, &eventMsg{sub, func() any { return adapt(e) }}) // who may have ended: nobody is left to tell
	})
	if err != nil {
		return nil, err
	}
	sub.stop = stop
	ctx.hold(sub)
	return sub, nil
}

// Cancel ends the flow: when it has returned no event of it arrives, not even one that is queued already. For the actor that
// subscribed. A second Cancel does nothing.
func (s *Feed) Cancel(ctx *Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	if ctx.here() == nil {
		return ctx.own()
	}
	if s == nil || s.who.node == nil {
		return nil
	}
	if s.who != ctx.Self() {
		return fmt.Errorf("actor: the subscription belongs to %v", s.who)
	}
	ctx.letGo(s)
	s.abandon(s.who)
	return nil
}

// abandon ends the flow at the end of the actor, too.
func (s *Feed) abandon(AnyRef) {
	if !s.closed.Swap(true) && s.stop != nil {
		s.stop()
	}
}

// eventMsg is an event on its way through a mailbox.
type eventMsg struct {
	sub   *Feed
	adapt func() any
}

func (m *eventMsg) message(*Context) any {
	if m.sub.closed.Load() {
		return nil
	}
	return m.adapt()
}
