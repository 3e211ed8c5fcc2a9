package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// RollOutOptions say how a new behaviour is brought to the children of a supervisor.
type RollOutOptions struct {
	// IDs are the children to swap. Nil means all that Actor has made, which must all take the same messages; of a Dynamic supervisor those
	// that take what the template takes, whatever else was spawned.
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
	// Swap says how each swap is done. Its Taken is not used.
	Swap actor.SwapOptions
	// SwapTimeout bounds one swap, postponed by a message as it may be. 0 means 10 s.
	SwapTimeout time.Duration
	// Back turns the new state into the old one's again where it is rolled back. Nil keeps it, if the old behaviour takes it. A child that
	// has crashed has no state to turn: it starts afresh with the old behaviour, or with what actor.Persistent has kept, if that is of the
	// same type in both. So a new behaviour had better keep its state as the old one did.
	Back func(any) (any, error)
}

func (o RollOutOptions) withDefaults() (RollOutOptions, error) {
	if o.Canary < 0 || o.Step < 0 || o.SwapTimeout < 0 {
		return o, fmt.Errorf("supervisor: roll-out: canary %d, step %d, swap timeout %v must not be negative", o.Canary, o.Step, o.SwapTimeout)
	}
	if o.Canary == 0 {
		o.Canary = 1
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
	s := fmt.Sprintf("supervisor: rolled back, %d had been swapped: %v", e.Swapped, e.Err)
	if e.Back != nil {
		s += fmt.Sprintf(" (not all went back: %v)", e.Back)
	}
	return s
}

// Unwrap returns the causes.
func (e *RollOutError) Unwrap() []error {
	if e.Back == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Back}
}

// watch is a roll-out's eye on the children that have the new behaviour. The supervisor tells it of their failures.
type watch struct {
	failed  actor.Event
	adopted map[*guarded]*guarded // what the Spec starts meanwhile, and what it had; for the supervisor's turn
	mu      sync.Mutex
	targets map[actor.AnyRef]*target
	born    []*target // started by what was adopted
	err     error
}

// target is one child of a roll-out.
type target struct {
	ref     actor.AnyRef
	swaps   swaps
	taken   atomic.Uint32 // the first incarnation with the new behaviour, 0 while there is none
	crashed bool          // the supervisor has given it back what it had
}

// failedWith reports whether the child, which has just failed, had the new behaviour.
func (t *target) failedWith(ctx *actor.Context) bool {
	taken := t.taken.Load()
	held, err := ctx.ChildHeld(t.ref)
	return taken != 0 && (err != nil || held == nil || held.Incarnation >= taken)
}

func (w *watch) add(t *target) {
	w.mu.Lock()
	w.targets[t.ref] = t
	w.mu.Unlock()
}

// adopt makes what the Spec starts instead of old until the roll-out is over: next, and each child is noted that it starts.
func (w *watch) adopt(old, next *guarded) *guarded {
	g := *next
	g.spawn = func(ctx *actor.Context, resumable bool) (actor.AnyRef, bool, error) {
		ref, started, err := next.spawn(ctx, resumable)
		if err == nil {
			w.bear(ref, old)
		}
		return ref, started, err
	}
	w.adopted[&g] = old
	return &g
}

// bear notes a child that has had the new behaviour from its start: what it would have been started with is what it goes back to.
func (w *watch) bear(ref actor.AnyRef, old *guarded) {
	to, err := old.swap(ref)
	if err != nil {
		to.do = func(context.Context, actor.SwapOptions) error { return err }
	}
	t := &target{ref: ref, swaps: swaps{undo: to.do}}
	t.taken.Store(1)
	w.add(t)
	w.mu.Lock()
	w.born = append(w.born, t)
	w.mu.Unlock()
}

// settle ends what adopt has begun: what was adopted makes room for what to returns, given what there was before.
func (w *watch) settle(s *super, to func(old *guarded) *guarded) {
	s.eachChild(func(c *Child) {
		g, _ := c.Start.(*guarded)
		if old := w.adopted[g]; old != nil {
			c.Start = to(old)
		}
	})
}

// eachChild visits what the supervisor starts: the children of its Spec, those that it has, and those that it remembers.
func (s *super) eachChild(do func(*Child)) {
	for i := range s.spec.Children {
		do(&s.spec.Children[i])
	}
	for _, k := range s.kids {
		do(&k.Child)
	}
	if s.spec.Strategy == Dynamic {
		for _, k := range s.refs {
			do(&k.Child)
		}
	}
}

// fail tells a roll-out that a child has failed. It is no matter if that has its old behaviour still, a swap being on the way. One that is
// held takes at once what it had before, so that it does not fail again.
func (w *watch) fail(ctx *actor.Context, ref actor.AnyRef, why actor.Reason, held bool) {
	if w == nil || why.Normal() {
		return
	}
	w.mu.Lock()
	t := w.targets[ref]
	if t == nil || !t.failedWith(ctx) {
		w.mu.Unlock()
		return
	}
	t.crashed = t.crashed || held
	if w.err == nil {
		w.err = &actor.ExitError{Ref: ref, Reason: why}
	}
	w.mu.Unlock()
	if held {
		_ = t.swaps.undo(ctx, actor.SwapOptions{}) // else it is undone with the others
	}
	w.failed.Set()
}

func (w *watch) has(ref actor.AnyRef) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.targets[ref] != nil
}

func (w *watch) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watch) hasCrashed(t *target) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return t.crashed
}

// RollOut swaps the behaviour of a supervisor's children to that of next, which Actor has made, while they run: first the canaries, then
// the rest in steps, at last those that were started meanwhile. When a child fails with the new behaviour, a swap fails, Check says no or
// panics, or ctx ends, all go back to what they had, and a *RollOutError tells. Afterwards the spec starts the new one, also for restarts
// and for children that are spawned. A caller that is an actor and is killed leaves the roll-out where it is.
// In a Tree that holds for the actor of that supervisor: it outlasts its restarts. Terminate and Restart of the Tree, and a restart of the
// supervisor that it is a child of, make another actor of the Spec that Tree was given, with the behaviours that are in that.
// Errors: ErrRollingOut, ErrNoChild, what is wrong with the options; nothing has been swapped then.
func RollOut(ctx context.Context, sup Supervisor, next Starter, o RollOutOptions) (err error) {
	g, ok := next.(*guarded)
	if !ok || g.swap == nil {
		return errors.New("supervisor: roll-out: next must be what Actor returns")
	}
	if o, err = o.withDefaults(); err != nil {
		return err
	}
	r := &rollOut{o: o, w: &watch{targets: map[actor.AnyRef]*target{}, adopted: map[*guarded]*guarded{}}, next: g, sup: sup}
	refs, err := ask(ctx, sup, r.begin)
	end := &rollOutEnd{watch: r.w, next: g}
	if err != nil {
		if sup.ref.Alive() {
			_ = sup.ref.Send(context.Background(), end) // ctx may have ended in the midst of begin
		}
		return err
	}
	aside := context.WithoutCancel(ctx)
	defer func() { _ = sup.ref.Send(aside, end) }()
	over := false
	defer func() {
		if over {
			return
		}
		if err == nil {
			err = errors.New("panic or Goexit in Check or Progress")
		}
		if c, ok := actor.FromContext(ctx); ok { // which may have been asked to stop
			var done context.CancelFunc
			aside, done = c.Cleanup(math.MaxInt64)
			defer done()
		}
		err = &RollOutError{len(r.swapped), err, r.back(aside)}
	}()
	if err = r.forward(ctx, refs); err != nil {
		return err
	}
	r.adopting = true
	if refs, err = ask(ctx, sup, r.adopt); err == nil {
		err = r.forward(ctx, refs)
	}
	over = err == nil
	return err
}

// over ends a roll-out in the supervisor's turn: what was adopted stays, as plain as it was given.
func (m *rollOutEnd) over(s *super) {
	if s.rollout == m.watch {
		s.rollout = nil
	}
	m.watch.settle(s, func(*guarded) *guarded { return m.next })
}

// begin makes the roll-out the supervisor's, and lists the children to swap.
func (r *rollOut) begin(s *super) ([]actor.AnyRef, error) {
	if s.rollout != nil {
		return nil, ErrRollingOut
	}
	if err := r.check(s); err != nil {
		return nil, err
	}
	s.rollout = r.w
	return r.targets(s), nil
}

// check finds what the roll-out cannot be brought to.
func (r *rollOut) check(s *super) error {
	if s.spec.Strategy == Dynamic {
		switch c := s.template(nil); {
		case r.o.IDs != nil || !c.swappable():
			return fmt.Errorf("supervisor: roll-out: the template is none that Actor has made, or there are IDs: %w", ErrDynamic)
		case !c.takes(r.next):
			return fmt.Errorf("supervisor: roll-out: the template: %w", actor.ErrWrongType)
		}
		return nil
	}
	for _, id := range r.o.IDs {
		switch k := s.find(id); {
		case k == nil:
			return fmt.Errorf("supervisor: roll-out: %w: %q", ErrNoChild, id)
		case !k.swappable() || k.ref.IsZero():
			return fmt.Errorf("supervisor: roll-out: child %q does not run, or is none that Actor has made", id)
		}
	}
	for _, k := range s.kids {
		if r.concerns(&k.Child) && !k.takes(r.next) {
			return fmt.Errorf("supervisor: roll-out: child %q: %w", k.ID, actor.ErrWrongType)
		}
	}
	return nil
}

// targets lists the children to swap, in the order of their start.
func (r *rollOut) targets(s *super) []actor.AnyRef {
	if s.spec.Strategy == Dynamic { // among them may be others, each spawned with a Starter of its own
		refs := slices.DeleteFunc(s.ctx.Children(), func(ref actor.AnyRef) bool { return !r.next.fits(ref) })
		slices.Reverse(refs)
		return refs
	}
	var refs []actor.AnyRef
	for _, k := range s.kids {
		if r.concerns(&k.Child) && k.takes(r.next) && !k.ref.IsZero() {
			refs = append(refs, k.ref)
		}
	}
	return refs
}

// concerns reports whether the roll-out is for what the Spec starts as c.
func (r *rollOut) concerns(c *Child) bool {
	return c.swappable() && (r.o.IDs == nil || slices.Contains(r.o.IDs, c.ID))
}

func (c *Child) swappable() bool {
	g, ok := c.Start.(*guarded)
	return ok && g.swap != nil
}

// takes reports whether a child, one that is swappable, takes the same messages as next does.
func (c *Child) takes(next *guarded) bool { return c.Start.(*guarded).takes == next.takes }

// adopt has the spec start what was rolled out, and lists the children that were started in the meantime.
func (r *rollOut) adopt(s *super) ([]actor.AnyRef, error) {
	s.eachChild(func(c *Child) {
		if r.concerns(c) && c.takes(r.next) {
			c.Start = r.w.adopt(c.Start.(*guarded), r.next)
		}
	})
	return slices.DeleteFunc(r.targets(s), r.w.has), nil
}

type rollOut struct {
	o       RollOutOptions
	w       *watch
	sup     Supervisor
	next    *guarded
	swapped []*target
	done    int
	total   int

	adopting bool // it was asked of the supervisor; it may have been done, or not yet, where ctx has ended meanwhile
}

func (r *rollOut) forward(ctx context.Context, refs []actor.AnyRef) error {
	r.total += len(refs)
	size := r.o.Step
	if size == 0 {
		size = max(1, len(refs)/10)
	}
	for len(refs) > 0 {
		step := refs[:min(size, len(refs))]
		if r.done == 0 {
			step = refs[:min(r.o.Canary, len(refs))]
		}
		refs = refs[len(step):]
		for _, ref := range step {
			if err := r.swap(ctx, ref); err != nil && ref.Alive() { // else it has ended in the meantime
				return fmt.Errorf("swap of %v: %w", ref, err)
			}
		}
		r.done += len(step)
		if err := r.settle(ctx); err != nil {
			return err
		}
		if r.o.Progress != nil {
			r.o.Progress(r.done, r.total)
		}
	}
	return nil
}

// swap gives one child the new behaviour.
func (r *rollOut) swap(ctx context.Context, ref actor.AnyRef) error {
	to, err := r.next.swap(ref)
	if err != nil {
		return err
	}
	t := &target{ref: ref, swaps: to}
	r.w.add(t)
	o := r.o.Swap
	o.Taken = &t.taken
	if err := r.within(ctx, to.do, o); err != nil {
		return err
	}
	r.swapped = append(r.swapped, t)
	return nil
}

func (r *rollOut) within(ctx context.Context, swap func(context.Context, actor.SwapOptions) error, o actor.SwapOptions) error {
	bounded, cancel := context.WithTimeout(ctx, r.o.SwapTimeout)
	defer cancel()
	return swap(bounded, o)
}

// settle watches the children that have been swapped for a while.
func (r *rollOut) settle(ctx context.Context) error {
	if r.o.Settle > 0 {
		bounded, cancel := context.WithTimeout(ctx, r.o.Settle)
		err := r.w.failed.Wait(bounded)
		ended := bounded.Err()
		cancel()
		if err != nil && (ended == nil || ctx.Err() != nil) {
			return err
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

// back gives the children that have the new behaviour what they had, or would have been started with, the last one first.
func (r *rollOut) back(ctx context.Context) error {
	var errs []error
	if r.adopting {
		_, err := ask(ctx, r.sup, func(s *super) (struct{}, error) {
			r.w.settle(s, func(old *guarded) *guarded { return old })
			return struct{}{}, nil
		})
		errs = append(errs, err)
	}
	r.w.mu.Lock()
	all := slices.Concat(r.swapped, r.w.born)
	r.w.mu.Unlock()
	o := r.o.Swap
	o.Migrate, o.Taken = r.o.Back, nil
	for _, t := range slices.Backward(all) {
		err := actor.ErrWrongType
		if r.w.hasCrashed(t) { // it has its old behaviour, or the new one with a fresh state
			err = r.within(ctx, t.swaps.undo, actor.SwapOptions{})
		}
		if errors.Is(err, actor.ErrWrongType) {
			err = r.within(ctx, t.swaps.undo, o)
		}
		if err != nil && t.ref.Alive() {
			errs = append(errs, fmt.Errorf("%v: %w", t.ref, err))
		}
	}
	return errors.Join(errs...)
}
