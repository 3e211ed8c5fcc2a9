package actor

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Context is an actor's view of the world, handed to its behaviour. It is a context.Context: its Done closes, and its
// Err says why, when the actor is asked to stop or, while a Call is being answered, when that call's deadline passes or
// its caller gives up; its Deadline is that call's.
//
// It belongs to one incarnation of one actor and to the goroutine that runs its behaviour: what waits (Sleep, Receive,
// Call, Lock, ...) answers ErrForeignGoroutine from another goroutine and ErrEnded after the actor ended. Sending with it
// is safe from anywhere. Deriving from it with package context works: such a context may be passed to everything here, at
// the cost of a Value lookup (8-14 ns) and, for a wait, of one context.AfterFunc.
type Context struct {
	sys   *System
	cell  *cell
	car   atomic.Pointer[carrier] // where it ran last
	ext   atomic.Pointer[contextExt]
	state any // of a Stateful behaviour

	gen   uint32 // which incarnation
	ended atomic.Bool

	begun    bool // the behaviour has its state
	asleep   bool // waits on a carrier of its own
	answers  bool // the message in hand is a call that nobody has answered yet
	scoped   bool // something must be undone at the message's end
	stopping bool // the request to stop has been seen
	cleaning bool // in Cleanup: the request to stop no longer ends waits
	killed   bool
	changed  bool // Become was called
}

// id is the actor's number: see AnyRef.ID.
func (ctx *Context) id() uint64 { return uint64(ctx.gen)<<32 | uint64(ctx.cell.idx) }

var _ context.Context = (*Context)(nil)

func (sys *System) newContext(a *cell) *Context {
	ctx := &Context{sys: sys, cell: a, gen: a.gen.Load()}
	a.ctx.Store(ctx)
	return ctx
}

// here returns the carrier if the caller runs on it and may act as the actor, else nil.
func (ctx *Context) here() *carrier {
	if ctx == nil {
		return nil
	}
	c := ctx.car.Load()
	if c == nil || c.g != getg() || c.ctx != ctx || c.block {
		return nil
	}
	return c
}

// inside returns the carrier if the caller runs on it, in Block too: there the message in hand can be looked at.
func (ctx *Context) inside() *carrier {
	c := ctx.car.Load()
	if c == nil || c.g != getg() || c.ctx != ctx {
		return nil
	}
	return c
}

// none reports whether ctx is no behaviour's: nil or the zero value.
func (ctx *Context) none() bool { return ctx == nil || ctx.sys == nil }

// own tells why the caller may not act as this actor.
func (ctx *Context) own() error {
	switch {
	case ctx.none():
		return ErrNilContext
	case ctx.here() != nil:
		return nil
	case ctx.ended.Load():
		return ErrEnded
	case ctx.inside() != nil:
		return ErrInBlock
	}
	return ErrForeignGoroutine
}

// Self is the actor's own address.
func (ctx *Context) Self() AnyRef {
	if ctx.none() {
		return AnyRef{}
	}
	return AnyRef{ctx.sys.node, ctx.id()}
}

// System is where the actor lives.
func (ctx *Context) System() *System {
	if ctx == nil {
		return nil
	}
	return ctx.sys
}

// Parent is the actor that spawned this one, or the zero ref for one that was spawned from outside. Any goroutine may ask.
func (ctx *Context) Parent() AnyRef {
	if ctx.none() {
		return AnyRef{}
	}
	defer ctx.sys.lock(ctx.cell).Unlock()
	if ctx.cell.gen.Load() != ctx.gen || ctx.cell.parent == 0 || ctx.ended.Load() {
		return AnyRef{}
	}
	return AnyRef{ctx.sys.node, ctx.cell.parent}
}

// Log is the System's logger with the actor's ref and name.
func (ctx *Context) Log() *slog.Logger {
	if ctx.none() {
		return slog.New(slog.DiscardHandler)
	}
	l := ctx.sys.log.With("actor", ctx.Self().String())
	if name := ctx.Name(); name != "" {
		l = l.With("name", name)
	}
	return l
}

// Name is the name that the actor was spawned with, or "".
func (ctx *Context) Name() string {
	if ctx.none() {
		return ""
	}
	if cold := ctx.cell.cold.Load(); cold != nil && !ctx.ended.Load() {
		return cold.name
	}
	return ""
}

type contextKey struct{}

// Value returns the actor's Context for the key that FromContext uses. A child of a Scope has the values of the context that its
// RunScope was given, as long as it lives; any other actor has none.
func (ctx *Context) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return ctx
	}
	if ctx.none() {
		return nil
	}
	if cold := ctx.cell.cold.Load(); cold != nil && cold.opts.values != nil && !ctx.ended.Load() {
		return cold.opts.values.Value(key)
	}
	return nil
}

// FromContext returns the actor Context that ctx is or derives from.
func FromContext(ctx context.Context) (*Context, bool) {
	if c, ok := ctx.(*Context); ok {
		return c, !c.none()
	}
	if ctx == nil {
		return nil, false
	}
	c, ok := ctx.Value(contextKey{}).(*Context)
	return c, ok
}
