package actor

import (
	"context"
	"sync"
	"time"
)

// contextExt is the part of a Context that can be waited for. It is made when somebody asks: one for the actor's life, and one for
// each call in hand for which that is asked.
//
// One Context serves all messages of an actor: behind a call it is no longer done, though the call's channel was closed. So what it
// says to the actor's own goroutine is of the message in hand, and what it says to another is of what that goroutine has asked for:
// whoever has got a Done that is closed, and whoever is called because a context has ended, finds its Err. Package context insists on that.
type contextExt struct {
	mu    sync.Mutex
	done  chan struct{}
	err   error
	after map[*func()]struct{}
	life  *contextExt             // of a call's: that of the actor's life
	seen  map[uintptr]*contextExt // of a life's: the call's that other goroutines have asked for last; guarded by mu
}

// seenMost bounds how many goroutines are remembered as having asked, once what they asked for is over.
const seenMost = 1024

func newContextExt(life *contextExt) *contextExt {
	return &contextExt{done: make(chan struct{}), life: life}
}

// Deadline is that of the call in hand, for the actor's own goroutine and until the call is answered.
func (ctx *Context) Deadline() (time.Time, bool) {
	if ctx.none() {
		return time.Time{}, false
	}
	if c := ctx.inside(); c != nil && ctx.answers {
		if d := c.env.call.deadlineOf(ctx.sys, c.env.seq()); d != 0 {
			return ctx.sys.ex.start.Add(d), true
		}
	}
	return time.Time{}, false
}

// Err is nil while the actor may go on, ErrStopped once it was asked to stop or has ended, and context.Canceled or
// context.DeadlineExceeded when the caller of the call in hand has given up before it was answered. For another goroutine it tells
// why the Done is closed that this goroutine has asked for last.
func (ctx *Context) Err() error {
	switch {
	case ctx.none():
		return ErrNilContext
	case ctx.stopped():
		return ErrStopped
	}
	c := ctx.inside()
	if c == nil {
		return ctx.ext.Load().seenBy(getg()).failure()
	}
	if ctx.scoped {
		if err := ctx.ext.Load().failure(); err != nil {
			return err
		}
	}
	if ctx.answers {
		return c.env.call.abandoned(c.env.seq())
	}
	return nil
}

// stopped reports whether the actor was asked to stop or has ended.
func (ctx *Context) stopped() bool {
	return ctx.ended.Load() || ctx.cell.ctl.Load()&(ctlStop|ctlKill) != 0
}

// Done returns a channel that closes when Err becomes non-nil. It is made at the first call for a message; until then a
// Context costs nothing to cancel. It speaks of the call in hand if there is one; another goroutine learns of that call only if
// the behaviour has asked for Done, or derived a context, before, as Offload does.
func (ctx *Context) Done() <-chan struct{} {
	if ctx.none() {
		return closedChan
	}
	return ctx.extend().done
}

// AfterFunc runs f in its own goroutine once the Context is done, as context.AfterFunc does; package context calls it, so
// that deriving a context costs no goroutine. The returned function takes f back and reports whether it did.
func (ctx *Context) AfterFunc(f func()) func() bool {
	if ctx.none() {
		go f()
		return func() bool { return false }
	}
	return ctx.extend().afterFunc(f)
}

func (ext *contextExt) afterFunc(f func()) func() bool {
	ext.mu.Lock()
	defer ext.mu.Unlock()
	if ext.err != nil {
		go ext.tell(f)
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

// extend returns what the caller may wait for, and makes it if need be: on the actor's own goroutine that of the call in hand, if
// one is; on another the one in force.
func (ctx *Context) extend() *contextExt {
	ext := ctx.ext.Load()
	if ext == nil {
		ext = ctx.extendLife()
	}
	switch c := ctx.inside(); {
	case c == nil:
		ext.seeBy(getg())
	case ctx.answers && !ctx.scoped:
		ext = ctx.extendCall(c, ext)
	}
	return ext
}

func (ctx *Context) extendLife() *contextExt {
	ext := newContextExt(nil)
	if !ctx.ext.CompareAndSwap(nil, ext) {
		return ctx.ext.Load()
	}
	if ctx.stopped() {
		ext.cancel(ErrStopped)
	}
	return ext
}

// extendCall makes that of the call in hand and has the call report to it.
func (ctx *Context) extendCall(c *carrier, life *contextExt) *contextExt {
	ext := newContextExt(life)
	ctx.ext.Store(ext)
	ctx.scoped = true
	if err := c.env.call.observe(c.env.seq(), ext); err != nil {
		ext.cancel(err)
	}
	if ctx.stopped() {
		ext.cancelAll(ErrStopped)
	}
	return ext
}

// settled says that the call in hand is no longer this actor's: it was answered, handed on or kept as a Responder. From here on
// neither its deadline nor its caller ends the Context or a wait.
func (ctx *Context) settled(c *carrier) {
	ctx.answers = false
	if ctx.scoped {
		c.env.call.unobserve(ctx.ext.Load())
	}
}

// endMessage gives the next message a context of its own: what belonged to the call that was in hand is cancelled.
func (ctx *Context) endMessage() {
	ctx.scoped = false
	ext := ctx.ext.Load()
	ctx.ext.Store(ext.life)
	ext.cancel(context.Canceled)
}

// cancelAll closes the context of the call in hand and that of the actor's life.
func (ext *contextExt) cancelAll(err error) {
	for ; ext != nil; ext = ext.life {
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
		go ext.tell(*f)
	}
}

// tell calls f, which finds this context's Err in the Context. For a goroutine of its own.
func (ext *contextExt) tell(f func()) {
	if ext.life != nil {
		g := getg()
		ext.seeBy(g)
		defer ext.life.forget(g)
	}
	f()
}

func (ext *contextExt) failure() error {
	if ext == nil {
		return nil
	}
	ext.mu.Lock()
	defer ext.mu.Unlock()
	return ext.err
}

// seeBy notes that goroutine g has asked for ext.
func (ext *contextExt) seeBy(g uintptr) {
	life := ext.life
	if life == nil {
		ext.forget(g)
		return
	}
	life.mu.Lock()
	defer life.mu.Unlock()
	if life.seen == nil {
		life.seen = make(map[uintptr]*contextExt)
	}
	if len(life.seen) >= seenMost {
		for g, old := range life.seen {
			if old.failure() != nil {
				delete(life.seen, g)
			}
		}
	}
	life.seen[g] = ext
}

func (ext *contextExt) forget(g uintptr) {
	ext.mu.Lock()
	defer ext.mu.Unlock()
	delete(ext.seen, g)
}

// seenBy returns what goroutine g has asked for last, or ext, the one in force, if that is none of a call's.
func (ext *contextExt) seenBy(g uintptr) *contextExt {
	if ext == nil {
		return nil
	}
	life := ext
	if ext.life != nil {
		life = ext.life
	}
	life.mu.Lock()
	defer life.mu.Unlock()
	if seen := life.seen[g]; seen != nil {
		return seen
	}
	return ext
}

var closedChan = func() chan struct{} { ch := make(chan struct{}); close(ch); return ch }()
