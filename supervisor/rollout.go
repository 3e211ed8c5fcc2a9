package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// RollOutOptions say how a new behaviour is brought to the children of a supervisor.
type RollOutOptions struct {
	// IDs are the children to swap. Nil means all that Actor has made.
	IDs []string
	// Canary is how many are swapped first. 0 means 1.
	Canary int
	// Step is how many are swapped at a time after that. 0 means a tenth of them.
	Step int
	// Settle is how long each step is watched before the next one. 0 means 1 s; a negative value goes on at once.
	Settle time.Duration
	// Check, if not nil, is asked after each step has settled: an error rolls all back. ctx is RollOut's.
	Check func(ctx context.Context, swapped []actor.AnyRef) error
	// Progress, if not nil, is told after each step.
	Progress func(done, total int)
	// Swap says how each swap is done.
	Swap actor.SwapOptions
	// SwapTimeout bounds one swap, postponed by a message as it may be. 0 means 10 s.
	SwapTimeout time.Duration
	// Back turns the new state into the old one's again where it is rolled back. Nil keeps it, if the old behaviour takes it.
	Back func(any) (any, error)
}

func (o RollOutOptions) withDefaults(total int) (RollOutOptions, error) {
	if o.Canary < 0 || o.Step < 0 || o.SwapTimeout < 0 {
		return o, fmt.Errorf("supervisor: roll-out: canary %d, step %d, swap timeout %v must not be negative", o.Canary, o.Step, o.SwapTimeout)
	}
	if o.Canary == 0 {
		o.Canary = 1
	}
	if o.Step == 0 {
		o.Step = max(1, total/10)
	}
	if o.Settle == 0 {
		o.Settle = time.Second
	}
	if o.SwapTimeout == 0 {
		o.SwapTimeout = 10 * time.Second
	}
	return o, nil
}

// RollOutError is why a roll-out was rolled back.
type RollOutError struct {
	Swapped int   // how many had the new behaviour by then
	Err     error // a swap that failed, the *actor.ExitError of a child that failed with it, or what Check returned
	Back    error // what went wrong on the way back: those children keep the new behaviour
}

// Error names the cause, and what could not be undone.
func (e *RollOutError) Error() string {
	s := fmt.Sprintf("supervisor: rolled back after %d children: %v", e.Swapped, e.Err)
	if e.Back != nil {
		s += fmt.Sprintf(" (not all went back: %v)", e.Back)
	}
	return s
}

// Unwrap returns the causes.
func (e *RollOutError) Unwrap() []error { return []error{e.Err, e.Back} }

// watch is a roll-out's eye on the children that it has swapped. The supervisor tells it of their failures.
type watch struct {
	failed actor.Event
	mu     sync.Mutex
	refs   map[actor.AnyRef]bool
	err    error
}

func (w *watch) add(ref actor.AnyRef) {
	w.mu.Lock()
	w.refs[ref] = true
	w.mu.Unlock()
}

func (w *watch) fail(ref actor.AnyRef, why actor.Reason) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || !w.refs[ref] || why.Normal() {
		return
	}
	w.err = &actor.ExitError{Ref: ref, Reason: why}
	w.failed.Set()
}

func (w *watch) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// target is one child of a roll-out.
type target struct {
	ref actor.AnyRef
	old *guarded
}

// RollOut swaps the behaviour of a supervisor's children to that of next, which Actor has made, while they run: first the canaries, then
// the rest in steps. When a child fails with the new behaviour, a swap fails or Check says no, all go back to what they had, and a
// *RollOutError tells. Afterwards the spec starts the new one, also for restarts and for children that are added.
func RollOut(ctx context.Context, sup Supervisor, next Starter, o RollOutOptions) error {
	g, ok := next.(*guarded)
	if !ok || g.swap == nil {
		return errors.New("supervisor: roll-out: next must be what Actor returns")
	}
	w := &watch{refs: map[actor.AnyRef]bool{}}
	targets, err := ask(ctx, sup, func(s *super) ([]target, error) {
		targets, err := s.targets(o.IDs)
		if err == nil {
			s.rollouts = append(s.rollouts, w)
		}
		return targets, err
	})
	if err != nil {
		return err
	}
	defer func() {
		_, _ = ask(context.WithoutCancel(ctx), sup, func(s *super) (struct{}, error) {
			s.rollouts = slices.DeleteFunc(s.rollouts, func(x *watch) bool { return x == w })
			return struct{}{}, nil
		})
	}()
	if o, err = o.withDefaults(len(targets)); err != nil {
		return err
	}
	r := &rollOut{o: o, w: w, next: g}
	if err := r.forward(ctx, targets); err != nil {
		return &RollOutError{len(r.swapped), err, r.back(context.WithoutCancel(ctx))}
	}
	_, err = ask(ctx, sup, func(s *super) (struct{}, error) { s.adopt(g, o.IDs); return struct{}{}, nil })
	return err
}

// targets lists the children to swap.
func (s *super) targets(ids []string) ([]target, error) {
	var targets []target
	if s.spec.Strategy == Dynamic {
		old := s.template(nil)
		g, _ := old.Start.(*guarded)
		if ids != nil || g == nil || g.swap == nil {
			return nil, fmt.Errorf("supervisor: roll-out: %w", ErrDynamic)
		}
		for _, ref := range slices.Backward(s.ctx.Children()) {
			targets = append(targets, target{ref, g})
		}
		return targets, nil
	}
	for _, k := range s.kids {
		g := k.guarded()
		named := slices.Contains(ids, k.ID)
		switch {
		case ids != nil && !named:
		case !named && (g == nil || g.swap == nil || k.ref.IsZero()):
		case g == nil || g.swap == nil || k.ref.IsZero():
			return nil, fmt.Errorf("supervisor: roll-out: child %q does not run, or is none that Actor has made", k.ID)
		default:
			targets = append(targets, target{k.ref, g})
		}
	}
	for _, id := range ids {
		if s.find(id) == nil {
			return nil, fmt.Errorf("supervisor: roll-out: %w: %q", ErrNoChild, id)
		}
	}
	return targets, nil
}

// adopt has the spec start what was rolled out.
func (s *super) adopt(g *guarded, ids []string) {
	for i := range s.spec.Children {
		c := &s.spec.Children[i]
		if old, ok := c.Start.(*guarded); s.spec.Strategy == Dynamic || ok && old.swap != nil && (ids == nil || slices.Contains(ids, c.ID)) {
			c.Start = g
		}
	}
	for _, k := range s.kids {
		if old := k.guarded(); old != nil && old.swap != nil && (ids == nil || slices.Contains(ids, k.ID)) {
			k.Start = g
		}
	}
}

type rollOut struct {
	o       RollOutOptions
	w       *watch
	next    *guarded
	swapped []target
}

func (r *rollOut) forward(ctx context.Context, targets []target) error {
	total, size := len(targets), r.o.Canary
	for len(targets) > 0 {
		step := targets[:min(size, len(targets))]
		targets, size = targets[len(step):], r.o.Step
		for _, t := range step {
			r.w.add(t.ref)
			if err := r.swap(ctx, t.ref, r.next, r.o.Swap); errors.Is(err, actor.ErrStopped) && !t.ref.Alive() {
				continue // it has ended in the meantime
			} else if err != nil {
				return fmt.Errorf("swap of %v: %w", t.ref, err)
			}
			r.swapped = append(r.swapped, t)
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
		if r.o.Progress != nil {
			r.o.Progress(total-len(targets), total)
		}
	}
	return nil
}

func (r *rollOut) swap(ctx context.Context, ref actor.AnyRef, g *guarded, o actor.SwapOptions) error {
	bounded, cancel := context.WithTimeout(ctx, r.o.SwapTimeout)
	defer cancel()
	return g.swap(bounded, ref, o)
}

// settle watches the children that have been swapped for a while.
func (r *rollOut) settle(ctx context.Context) error {
	if r.o.Settle > 0 {
		bounded, cancel := context.WithTimeout(ctx, r.o.Settle)
		defer cancel()
		if err := r.w.failed.Wait(bounded); err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := r.w.failure(); err != nil {
		return err
	}
	if r.o.Check == nil {
		return nil
	}
	refs := make([]actor.AnyRef, len(r.swapped))
	for i, t := range r.swapped {
		refs[i] = t.ref
	}
	return r.o.Check(ctx, refs)
}

// back gives the children that were swapped what they had, the last one first.
func (r *rollOut) back(ctx context.Context) error {
	o := r.o.Swap
	o.Migrate = r.o.Back
	var errs []error
	for _, t := range slices.Backward(r.swapped) {
		if err := r.swap(ctx, t.ref, t.old, o); err != nil && t.ref.Alive() {
			errs = append(errs, fmt.Errorf("%v: %w", t.ref, err))
		}
	}
	return errors.Join(errs...)
}
