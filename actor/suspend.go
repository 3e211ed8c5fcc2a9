package actor

import (
	"context"
	"errors"
	"time"
)

// resumption is what Resume leaves for Suspend. It is guarded by the cell's lock.
type resumption struct {
	given bool
	value any
}

// ErrNotSuspended answers Resume where nobody is suspended.
var ErrNotSuspended = errors.New("actor: the actor is not suspended")

// Suspend waits for Resume as long as wait allows, which is the actor's Context or derives from it, and returns the value that
// Resume was given. Messages do not end it; they queue up.
func (ctx *Context) Suspend(wait context.Context) (any, error) {
	w, err := enterAs(wait, ctx)
	if err != nil {
		w.leave()
		return nil, err
	}
	mu := ctx.sys.lock(ctx.cell)
	ctx.cell.resume = new(resumption)
	mu.Unlock()
	defer w.leave()
	for {
		if v, ok := ctx.resumed(false); ok {
			return v, nil
		}
		if err := w.sleep(waitPark); err != nil {
			if v, ok := ctx.resumed(true); ok {
				return v, nil
			}
			return nil, err
		}
	}
}

// SuspendFor is Suspend that returns alarm, and no error, when nobody has resumed the actor after d.
func (ctx *Context) SuspendFor(d time.Duration, alarm any) (any, error) {
	if d <= 0 {
		if err := ctx.own(); err != nil {
			return nil, err
		}
		return alarm, nil
	}
	if ctx.none() {
		return nil, ErrNilContext
	}
	l := ctx.limit(d)
	defer l.cancel()
	v, err := ctx.Suspend(l)
	if err == context.DeadlineExceeded && ctx.sys.ex.now() >= l.at { //nolint:errorlint // bare; one within is an interrupt's
		return alarm, nil
	}
	return v, err
}

// resumed takes the value that was given; giveUp ends the wait otherwise.
func (ctx *Context) resumed(giveUp bool) (any, bool) {
	defer ctx.sys.lock(ctx.cell).Unlock()
	r := ctx.cell.resume
	if giveUp || r.given {
		ctx.cell.resume = nil
	}
	return r.value, r.given
}

// Resume ends the actor's Suspend, which returns v. It wakes nothing but a Suspend: ErrNotSuspended if the actor waits for
// something else, or does not wait, or was resumed already.
func (r AnyRef) Resume(v any) error {
	r.awaitTurn("resumes")
	if r.Remote() {
		return r.signal(AnyRef{}, Signal{Kind: SignalResume, Value: v})
	}
	a, mu := r.locked()
	if a == nil {
		return ErrStopped
	}
	given := a.resume != nil && !a.resume.given
	if given {
		a.resume.given, a.resume.value = true, v
	}
	mu.Unlock()
	if !given {
		return ErrNotSuspended
	}
	if a.unpark() {
		r.node.sys.schedule(nil, a)
	}
	return nil
}

// Wait waits under ctx for the actor to end and returns the value that it set. From an actor it suspends, holding no slot;
// from any other goroutine it blocks. The error is nil after an orderly end, *ExitError after any other, ErrNoActor if the
// actor ended so long ago that its end is forgotten (4,096 later ones are remembered), ctx's own, or *DeadlockError: the actor
// waits, itself or through others, for the caller to answer a call, to give back a lock or to end.
func (r AnyRef) Wait(ctx context.Context) (any, error) {
	if r.node == nil {
		return nil, ErrNoActor
	}
	w, err := enter(ctx)
	defer w.leave()
	if err != nil {
		return nil, err
	}
	sys := r.node.home
	got := make(chan Down, 1)
	m := &monitor{id: sys.nextID.Add(1)}
	m.call = func(d Down) {
		got <- d
		if w.c != nil {
			w.ctx.sys.rouse(nil, w.ctx.cell)
		}
	}
	if w.c != nil && r == w.ctx.Self() {
		return nil, &DeadlockError{Path: []AnyRef{r, r}}
	}
	if !m.watch(r) {
		d, ok := r.remembered()
		if !ok {
			return nil, ErrNoActor
		}
		return d.result()
	}
	defer r.unwatch(m.key())
	if w.c != nil {
		// The edge may stay until this actor runs again: once r has ended it leads nowhere.
		w.c.edge.set(w.ctx.Self(), r)
		defer w.c.edge.clear()
		if err := w.ctx.deadlock(w.c, r); err != nil {
			return nil, err
		}
	}
	if w.c == nil {
		select {
		case d := <-got:
			return d.result()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for {
		select {
		case d := <-got:
			return d.result()
		default:
		}
		if err := w.sleep(waitPark); err != nil {
			return nil, err
		}
	}
}

func (d Down) result() (any, error) {
	if d.Reason.Normal() {
		return d.Value, nil
	}
	return d.Value, &ExitError{Ref: d.Ref, Reason: d.Reason}
}

// remembered tells how an actor ended, if it has and that is not forgotten.
func (r AnyRef) remembered() (Down, bool) {
	sys := r.node.sys
	a := sys.table.at(uint32(r.id))
	if a == nil {
		return Down{}, false
	}
	defer sys.lock(a).Unlock()
	switch {
	case a.gen.Load() != 0 || a.last != uint32(r.id>>32) || a.tomb == forgotten:
		return Down{}, false
	case a.tomb != nil:
		return *a.tomb, true
	}
	return Down{Ref: r}, true
}
