package actor

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
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

// contextExt is what contexts need that somebody asked for Done, or whose actor uses stashes and the like.
type contextExt struct {
	mu    sync.Mutex
	done  chan struct{}
	err   error
	after map[*func()]struct{}
	base  *contextExt // that of the actor's whole life, while this one is a call's
}

var _ context.Context = (*Context)(nil)

func (sys *System) newContext(a *cell) *Context {
	ctx := &Context{sys: sys, cell: a, gen: a.gen.Load()}
	a.ctx.Store(ctx)
	return ctx
}

// here returns the carrier if the caller runs on it, else nil.
func (ctx *Context) here() *carrier {
	c := ctx.car.Load()
	if c == nil || c.g != getg() || c.ctx != ctx || c.block {
		return nil
	}
	return c
}

// own tells why the caller may not act as this actor.
func (ctx *Context) own() error {
	if ctx.here() != nil {
		return nil
	}
	switch c := ctx.car.Load(); {
	case ctx.ended.Load():
		return ErrEnded
	case c != nil && c.g == getg() && c.ctx == ctx:
		return ErrInBlock
	}
	return ErrForeignGoroutine
}

// Self is the actor's own address.
func (ctx *Context) Self() AnyRef { return AnyRef{ctx.sys.node, ctx.id()} }

// System is where the actor lives.
func (ctx *Context) System() *System { return ctx.sys }

// Parent is the actor that spawned this one, or the zero ref for one that was spawned from outside.
func (ctx *Context) Parent() AnyRef {
	if ctx.cell.parent == 0 || ctx.ended.Load() {
		return AnyRef{}
	}
	return AnyRef{ctx.sys.node, ctx.cell.parent}
}

// Log is the System's logger with the actor's ref and name.
func (ctx *Context) Log() *slog.Logger {
	l := ctx.sys.log.With("actor", ctx.Self().String())
	if name := ctx.Name(); name != "" {
		l = l.With("name", name)
	}
	return l
}

// Name is the name that the actor was spawned with, or "".
func (ctx *Context) Name() string {
	if cold := ctx.cell.cold.Load(); cold != nil && !ctx.ended.Load() {
		return cold.name
	}
	return ""
}

type contextKey struct{}

// Value returns the actor's Context for the key that FromContext uses, else nil.
func (ctx *Context) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return ctx
	}
	return nil
}

// FromContext returns the actor Context that ctx is or derives from.
func FromContext(ctx context.Context) (*Context, bool) {
	if c, ok := ctx.(*Context); ok {
		return c, c != nil
	}
	if ctx == nil {
		return nil, false
	}
	c, ok := ctx.Value(contextKey{}).(*Context)
	return c, ok
}

// Deadline is that of the call being answered, if there is one.
func (ctx *Context) Deadline() (time.Time, bool) {
	if c := ctx.here(); c != nil && c.busy && c.env.call != nil {
		if d := c.env.call.deadlineOf(c.env.seq()); d != 0 {
			return ctx.sys.ex.start.Add(d), true
		}
	}
	return time.Time{}, false
}

// Err is nil while the actor may go on, ErrStopped once it was asked to stop or has ended, and context.Canceled or
// context.DeadlineExceeded when the caller of the call in hand has given up.
func (ctx *Context) Err() error {
	if ctx.ended.Load() || ctx.cell.ctl.Load()&(ctlStop|ctlKill) != 0 {
		return ErrStopped
	}
	if ext := ctx.ext.Load(); ext != nil {
		ext.mu.Lock()
		defer ext.mu.Unlock()
		return ext.err
	}
	if c := ctx.here(); c != nil && c.busy && c.env.call != nil {
		return c.env.call.abandoned(c.env.seq())
	}
	return nil
}

// Done returns a channel that closes when Err becomes non-nil. It is made at the first call for a message; until then a
// Context costs nothing to cancel.
func (ctx *Context) Done() <-chan struct{} {
	ext := ctx.extend()
	ext.mu.Lock()
	defer ext.mu.Unlock()
	return ext.done
}

// AfterFunc runs f in its own goroutine once the Context is done, as context.AfterFunc does; package context calls it, so
// that deriving a context costs no goroutine. The returned function takes f back and reports whether it did.
func (ctx *Context) AfterFunc(f func()) func() bool {
	ext := ctx.extend()
	ext.mu.Lock()
	defer ext.mu.Unlock()
	if ext.err != nil {
		go f()
		return func() bool { return false }
	}
	key := &f
	if ext.after == nil {
		ext.after = make(map[*func()]struct{})
	}
	ext.after[key] = struct{}{}
	return func() bool {
		ext.mu.Lock()
		defer ext.mu.Unlock()
		_, waiting := ext.after[key]
		delete(ext.after, key)
		return waiting
	}
}

// extend makes the part of the context that can be waited for, and has the call in hand report to it.
func (ctx *Context) extend() *contextExt {
	if ext := ctx.ext.Load(); ext != nil {
		return ext
	}
	ext := &contextExt{done: make(chan struct{})}
	if !ctx.ext.CompareAndSwap(nil, ext) {
		return ctx.ext.Load()
	}
	if ctx.ended.Load() || ctx.cell.ctl.Load()&(ctlStop|ctlKill) != 0 {
		ext.cancel(ErrStopped)
	}
	if c := ctx.here(); c != nil && c.busy && c.env.call != nil {
		ctx.scoped = true
		if err := c.env.call.observe(c.env.seq(), ext); err != nil {
			ext.cancel(err)
		}
	}
	return ext
}

// endMessage gives the next message a context of its own: what belonged to the last one is cancelled.
func (ctx *Context) endMessage() {
	ctx.scoped = false
	ext := ctx.ext.Load()
	if ext == nil {
		return
	}
	ctx.ext.Store(ext.base)
	ext.cancel(context.Canceled)
}

// beginCall gives a call in hand a context of its own if the actor has one that was asked for Done before.
func (ctx *Context) beginCall(env envelope) {
	base := ctx.ext.Load()
	if base == nil {
		return
	}
	ext := &contextExt{done: make(chan struct{}), base: base}
	ctx.ext.Store(ext)
	ctx.scoped = true
	if err := env.call.observe(env.seq(), ext); err != nil {
		ext.cancel(err)
	}
	if ctx.cell.ctl.Load()&(ctlStop|ctlKill) != 0 {
		ext.cancelAll(ErrStopped)
	}
}

// cancelAll closes the context of the call in hand and that of the actor.
func (ext *contextExt) cancelAll(err error) {
	for ; ext != nil; ext = ext.base {
		ext.cancel(err)
	}
}

// cancel closes the context, once, with err.
func (ext *contextExt) cancel(err error) {
	ext.mu.Lock()
	if ext.err != nil {
		ext.mu.Unlock()
		return
	}
	ext.err = err
	close(ext.done)
	after := ext.after
	ext.after = nil
	ext.mu.Unlock()
	for f := range after {
		go (*f)()
	}
}

// Cleanup returns a context for deferred code of an actor that was asked to stop: waits under it, or under the actor's own
// Context, are no longer ended by that request, for at most d. Kill still ends them. cancel ends the cleaning up.
func (ctx *Context) Cleanup(d time.Duration) (bounded context.Context, cancel context.CancelFunc) {
	if ctx.here() != nil {
		ctx.cleaning = true
	}
	l := &limitedContext{Context: ctx, parent: context.WithoutCancel(ctx), at: ctx.sys.ex.in(d)}
	return l, func() {
		if ctx.here() != nil {
			ctx.cleaning = false
		}
		l.cancel()
	}
}

// limitedContext is what WithTimeout returns: the actor's Context with an earlier deadline and nothing else.
type limitedContext struct {
	*Context
	parent   context.Context
	at       time.Duration // since the System started
	canceled atomic.Bool
	once     sync.Once
	std      context.Context // made at the first Done
	stop     context.CancelFunc
}

// WithTimeout returns a context for this actor that expires after d. Waits under it cost one entry in the timer heap and
// no goroutine or channel: the cheap way to bound one. cancel releases it early and is safe to call twice.
func (ctx *Context) WithTimeout(d time.Duration) (bounded context.Context, cancel context.CancelFunc) {
	l := &limitedContext{Context: ctx, parent: ctx, at: ctx.sys.ex.in(d)}
	return l, l.cancel
}

func (l *limitedContext) cancel() {
	l.canceled.Store(true)
	l.once.Do(func() {})
	if l.stop != nil {
		l.stop()
	}
}

func (l *limitedContext) Deadline() (time.Time, bool) {
	at := l.sys.ex.start.Add(l.at)
	if d, ok := l.parent.Deadline(); ok && d.Before(at) {
		return d, true
	}
	return at, true
}

func (l *limitedContext) Done() <-chan struct{} {
	l.once.Do(func() {
		at, _ := l.Deadline()
		l.std, l.stop = context.WithDeadline(l.parent, at)
	})
	if l.std == nil {
		return closedChan
	}
	return l.std.Done()
}

func (l *limitedContext) Err() error {
	switch {
	case l.canceled.Load():
		return context.Canceled
	case l.sys.ex.now() >= l.at:
		return context.DeadlineExceeded
	}
	return l.parent.Err()
}

func (l *limitedContext) AfterFunc(f func()) func() bool {
	l.Done()
	if l.std == nil {
		go f()
		return func() bool { return false }
	}
	return context.AfterFunc(l.std, f)
}

var closedChan = func() chan struct{} { ch := make(chan struct{}); close(ch); return ch }()
