package actor

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
)

// Scope holds children that live no longer than the function that started them: see RunScope, which makes one. The zero value
// starts no children, and its Context is done.
type Scope struct {
	ctx  *Context // of the actor that the scope belongs to
	from context.Context

	mu     sync.Mutex
	living map[AnyRef]struct{}
	change uint64 // counts the changes of living
	over   bool   // no more children
	failed bool
	err    error // why it failed
	inner  context.Context
	cancel context.CancelCauseFunc
}

// RunScope calls f, which starts children with Scope.Go, and returns when f and all children have ended: structured
// concurrency. ctx is the actor's Context or derives from it.
//
// The first failure ends the scope: the children are asked to stop, so that their waits answer ErrStopped, Scope.Context is
// cancelled, and RunScope returns that first error, when all have ended; what the others return after it is dropped. Failures
// are: an error from f, or from a child's function; a child's panic, as *PanicError; ErrKilled and ErrGoexit of a child; the end
// of ctx, a request to stop the actor and an interrupt, with the error that its waits answer. A child that ends because
// somebody stopped it has not failed.
//
// A child that neither waits nor looks at its context is waited for, however long it takes. When f panics, RunScope stops and
// awaits the children before the panic goes on. When the actor is killed its children are killed, as all children are.
// Scopes nest: in f, and in the children. A child must not Call the actor of its scope, which waits for the child: its call fails
// with *DeadlockError, or the scope does if it was called before it waited.
// Errors of its own: ErrForeignGoroutine, ErrEnded; and one if ctx belongs to no actor.
func RunScope(ctx context.Context, f func(s *Scope) error) error {
	if f == nil {
		return ErrNilBehaviour
	}
	w, err := enter(ctx)
	defer w.leave()
	if err != nil {
		return err
	}
	if w.c == nil {
		return errors.New("actor: RunScope needs the Context of an actor: its children are the actor's")
	}
	if err := w.check(); err != nil {
		return err
	}
	s := &Scope{ctx: w.ctx, from: ctx, living: make(map[AnyRef]struct{})}
	stop := context.AfterFunc(ctx, func() {
		if err := ctx.Err(); err != nil {
			s.fail(err)
		}
	})
	returned := false
	defer func() {
		stop()
		if !returned { // a panic, a kill, Goexit
			s.fail(context.Canceled)
		}
		s.finish(&w)
	}()
	if err := f(s); err != nil {
		s.fail(err)
	}
	s.join(&w)
	returned = true
	return s.outcome()
}

// Go starts f in a child actor of its own and returns its address, or the zero ref if the scope has failed or is over and f
// does not run. A failure to start it, as of a nil f, is the scope's. Any goroutine may call it, children included.
// The child takes no messages. It is a daemon if the scope's actor is one, and its Context has the values of the one that RunScope
// was given; deadlines and cancellation reach it as the scope's failure.
func (s *Scope) Go(f func(ctx *Context) error) AnyRef {
	if s == nil || s.ctx == nil {
		return AnyRef{}
	}
	s.mu.Lock()
	ref, err := s.start(f)
	s.mu.Unlock()
	if err != nil {
		s.fail(err)
	}
	return ref
}

// start spawns a child. The caller holds mu: RunScope cannot return, nor its actor end, before the child is in the family.
func (s *Scope) start(f func(ctx *Context) error) (AnyRef, error) {
	sys := s.ctx.sys
	switch {
	case s.over || s.failed:
		return AnyRef{}, nil
	case f == nil:
		return AnyRef{}, ErrNilBehaviour
	case sys.stopping.Load():
		return AnyRef{}, ErrStopped
	}
	var at *slot
	if c := s.ctx.here(); c != nil {
		at = c.slot
	}
	m := &monitor{id: sys.nextID.Add(1), call: s.ended}
	o := Options{Daemon: s.ctx.cell.flags.Load()&flagDaemon != 0, values: context.WithoutCancel(s.from)}
	ref, err := sys.place(at, s.ctx, scoped(f), &o, m)
	if err != nil {
		return AnyRef{}, err
	}
	s.ctx.unnote(m.id)
	s.living[ref] = struct{}{}
	s.change++
	return ref, nil
}

// unnote forgets that the actor watches another.
func (ctx *Context) unnote(id uint64) {
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	defer mu.Unlock()
	delete(ctx.cell.coldOf().watches, id)
}

// Context is the one that RunScope was given, cancelled when the scope fails: for what f itself waits for. context.Cause tells why.
// It belongs to f's goroutine; children have Contexts of their own.
func (s *Scope) Context() context.Context {
	if s == nil || s.ctx == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errors.New("actor: this Scope is nil or zero: RunScope makes one"))
		return ctx
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner == nil {
		s.inner, s.cancel = context.WithCancelCause(s.from)
		if s.failed || s.over {
			s.cancel(s.err)
		}
	}
	return s.inner
}

// ended hears of a child's end.
func (s *Scope) ended(d Down) {
	if !d.Reason.Normal() {
		s.fail(d.Reason.Err)
	}
	s.mu.Lock()
	delete(s.living, d.Ref)
	s.change++
	last := len(s.living) == 0
	s.mu.Unlock()
	if last {
		s.ctx.sys.rouse(nil, s.ctx.cell)
	}
}

// fail records the first failure and asks the children to stop.
func (s *Scope) fail(err error) {
	s.mu.Lock()
	if s.failed || s.over {
		s.mu.Unlock()
		return
	}
	s.failed, s.err = true, err
	if s.cancel != nil {
		s.cancel(err)
	}
	children := make([]AnyRef, 0, len(s.living))
	for ref := range s.living {
		children = append(children, ref)
	}
	s.mu.Unlock()
	for _, ref := range inOrder(children) {
		ref.askStop(nil, ctlStop, Reason{Kind: ReasonShutdown})
	}
}

// inOrder sorts refs by their numbers, so that a seeded System does the same in each run.
func inOrder(refs []AnyRef) []AnyRef {
	slices.SortFunc(refs, func(a, b AnyRef) int { return cmp.Compare(a.id, b.id) })
	return refs
}

// blockers are the children that hold up the scope's actor, as far as self may wait for it through one of them: self, if it is a child.
// Among very many children nobody is looked for.
func (s *Scope) blockers(self AnyRef) ([]AnyRef, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, child := s.living[self]; child {
		return []AnyRef{self}, s.change
	}
	if len(s.living) > 64 {
		return nil, s.change
	}
	return inOrder(slices.Collect(maps.Keys(s.living))), s.change
}

// alone reports whether no child lives; then the scope is over.
func (s *Scope) alone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.living) == 0 {
		s.over = true
	}
	return s.over
}

// join waits for the children while nothing is amiss.
func (s *Scope) join(w *waiting) {
	if s.alone() {
		return
	}
	w.c.edge.setScope(w.ctx.Self(), s) // until finish
	if err := deadlock(w.ctx.Self(), w.c); err != nil {
		s.fail(err)
		return
	}
	for !s.alone() {
		if err := w.sleep(waitPark); err != nil {
			s.fail(err)
			return
		}
	}
}

// finish waits for the children whatever happens, but for a kill: then the family tree does the rest.
func (s *Scope) finish(w *waiting) {
	defer s.close(w.ctx)
	defer w.c.edge.clear()
	for !s.alone() && !w.ctx.killed && !w.c.dying {
		if w.ctx.cell.ctl.Load()&ctlKill != 0 {
			_ = w.ctx.die()
			return
		}
		w.c.slot.tally.waits++
		w.c.switchAway(waitPark)
	}
}

// close lets no more children in.
func (s *Scope) close(ctx *Context) {
	s.mu.Lock()
	s.over = true
	if s.cancel != nil {
		s.cancel(context.Canceled)
	}
	s.mu.Unlock()
	if ctx.cell.ctl.Load()&ctlStop != 0 {
		ctx.stopping = true // RunScope's error tells of it
	}
}

func (s *Scope) outcome() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// scoped is the behaviour of a scope's child: it runs, and takes no messages.
type scoped func(*Context) error

func (f scoped) handle(ctx *Context, msg any) (bool, error) {
	if msg != nil {
		return false, nil
	}
	return true, f(ctx)
}
func (scoped) begin(*Context) error    { return nil }
func (scoped) routine() bool           { return true }
func (scoped) starts() bool            { return false }
func (scoped) accepts(any) bool        { return false }
func (scoped) takesType() reflect.Type { return nil }
