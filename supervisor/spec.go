package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// Strategy says which children a failure concerns.
type Strategy uint8

// The strategies.
const (
	OneForOne  Strategy = iota // the failed child is restarted
	OneForAll                  // all children are stopped, last first, and started again in order
	RestForOne                 // those started after the failed one are stopped, and it and they are started again
	Dynamic                    // any number of children alike, added at run time (OTP: simple_one_for_one)
)

// String is OTP's name of the strategy.
func (s Strategy) String() string {
	return nameOf(s, "one_for_one", "one_for_all", "rest_for_one", "dynamic")
}

// Restart says after which ends a child is restarted.
type Restart uint8

// The restart classes.
const (
	Permanent Restart = iota // after any
	Transient                // after an abnormal one: neither normal nor shutdown
	Temporary                // never: its place is given up
)

// String is OTP's name of the class.
func (r Restart) String() string { return nameOf(r, "permanent", "transient", "temporary") }

// AutoShutdown says whether a supervisor stops when significant children have ended by themselves.
type AutoShutdown uint8

// The kinds of auto shutdown.
const (
	Never          AutoShutdown = iota // it does not
	AnySignificant                     // when one of them has
	AllSignificant                     // when all of them have
)

// String is OTP's name of the kind.
func (a AutoShutdown) String() string {
	return nameOf(a, "never", "any_significant", "all_significant")
}

func nameOf[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// How long a child may take to stop, beside a number of seconds or so.
const (
	KillAtOnce time.Duration = -1 // it is not asked, but killed
	NoLimit    time.Duration = -2 // it is waited for
)

// Defaults of Spec and Child.
const (
	DefaultIntensity    = 1                // restarts
	DefaultPeriod       = 5 * time.Second  // in which so many are allowed
	DefaultShutdown     = 5 * time.Second  // a supervisor's child that is one has NoLimit
	DefaultStartTimeout = 30 * time.Second // of one start
)

// killPatience is how long a killed child is waited for: code that neither waits nor returns cannot be killed.
const killPatience = 5 * time.Second

// Spec is a supervisor as data. The zero value is a one_for_one supervisor without children.
type Spec struct {
	// Name finds the supervisor's actor with System.Lookup. Empty means none.
	Name string
	// Strategy says which children a failure concerns.
	Strategy Strategy
	// Intensity is how many restarts are allowed in Period; one more, and the supervisor stops its children and ends with a
	// *RestartLimitError. 0 means 1, as in OTP; a negative number allows none.
	Intensity int
	// Period is the window of Intensity. 0 means 5 s.
	Period time.Duration
	// AutoShutdown has the supervisor stop, with the reason shutdown, when significant children have ended by themselves.
	AutoShutdown AutoShutdown
	// Children are started in this order and stopped in the opposite one. A Dynamic supervisor takes one, the template of all that are
	// added; its Start may be nil.
	Children []Child
	// Observe, if not nil, is told of every event, in the supervisor's turn: it must be quick. Its panic is logged; runtime.Goexit in it, or
	// in a Decide, cannot be held up and ends the supervisor.
	Observe func(Event)
}

// Child is one child of a supervisor as data.
type Child struct {
	// ID names the child in its supervisor.
	ID string
	// Start starts it: Actor, Func, Tree, or a StartFunc. Its supervisor waits for the start and answers nothing meanwhile: a child that
	// asks its own supervisor something in its start waits until StartTimeout is over, and has not started then.
	Start Starter
	// Restart says after which ends it is restarted.
	Restart Restart
	// Significant children count for AutoShutdown; they must not be permanent.
	Significant bool
	// Shutdown is how long it may take to stop before it is killed; KillAtOnce, NoLimit. 0 means 5 s, for a Tree no limit.
	Shutdown time.Duration
	// StartTimeout bounds its start. 0 means 30 s, negative no limit. Of a StartFunc it bounds what that waits for under its Context.
	StartTimeout time.Duration
	// Backoff delays restarts. The zero value restarts at once.
	Backoff Backoff
	// Decide, if not nil, looks at each end before the class does, at normal ones too, and at restarts that fail. With it, an actor is held
	// at the failure of a message with all that it has, so that it can be resumed.
	Decide func(Failure) Decision
}

// Backoff delays a child's restarts: the first by Min, each further one by Factor times more, up to Max. A child that has run for Reset
// starts again with Min.
type Backoff struct {
	Min    time.Duration // 0 means no delay
	Max    time.Duration // 0 means a minute
	Factor float64       // 0 means 2
	Jitter float64       // the share of each delay that is random, 0 to 1
	Reset  time.Duration // 0 means Max
}

// delay is how long the n-th restart in a row waits, n from 1. random, asked only if need be, is from 0 to 1.
func (b Backoff) delay(n int, random func() float64) time.Duration {
	if b.Min <= 0 || n < 1 {
		return 0
	}
	factor := b.Factor
	if factor == 0 {
		factor = 2
	}
	d := math.Min(float64(b.Min)*math.Pow(factor, float64(n-1)), float64(b.max()))
	if b.Jitter > 0 {
		d *= 1 - b.Jitter + b.Jitter*random()
	}
	if d >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(d)
}

func (b Backoff) max() time.Duration {
	if b.Max == 0 {
		return max(time.Minute, b.Min)
	}
	return b.Max
}

func (b Backoff) reset() time.Duration {
	if b.Reset == 0 {
		return b.max()
	}
	return b.Reset
}

func (b Backoff) check() error {
	if b.Min < 0 || b.Max < 0 || b.Reset < 0 || b.Max > 0 && b.Max < b.Min {
		return fmt.Errorf("backoff from %v to %v, reset after %v: use 0 for the default, or positive durations with Min <= Max", b.Min, b.Max, b.Reset)
	}
	if b.Factor != 0 && !(b.Factor >= 1) || !(b.Jitter >= 0 && b.Jitter <= 1) {
		return fmt.Errorf("backoff factor %v, jitter %v: the factor is at least 1 (or 0 for 2), the jitter from 0 to 1", b.Factor, b.Jitter)
	}
	return nil
}

// spread is a number from 0 to 1 for the jitter: another one for each child and restart, and the same one under the same seed.
func spread(ref actor.AnyRef, row int) float64 {
	return rand.New(rand.NewPCG(ref.Node()^ref.ID(), uint64(row))).Float64()
}

// Failure is what Child.Decide looks at.
type Failure struct {
	Child       string       // its ID, "" in a Dynamic supervisor
	Ref         actor.AnyRef // who failed
	Reason      actor.Reason // why
	Incarnation uint32       // 1 for the first
	Restarts    int          // of this child, so far
	Resumable   bool         // Resume is possible
}

// Decision is what Child.Decide wants.
type Decision uint8

// The decisions.
const (
	ByClass  Decision = iota // what the child's Restart says
	Again                    // restart it
	Resume                   // have it go on with its state and the next message; where that is not possible, restart it
	GiveUp                   // do not restart it
	Escalate                 // end the supervisor with this failure
)

// String names the decision in lower case.
func (d Decision) String() string {
	return nameOf(d, "by_class", "again", "resume", "give_up", "escalate")
}

// Starter starts a child in its supervisor's actor and returns its ref. It is the seam for children that live elsewhere: they are
// monitored, and started anew, with a new ref, when they have ended. What Actor, Func and Tree return is restarted in place.
// Such a child is nobody's: its supervisor stops it when it stops itself, but one that is killed leaves it running, and the next
// incarnation starts another one. Where that must not be, let the child monitor the supervisor: ctx.Self is its ref.
type Starter interface {
	// Start starts the child. It runs in the supervisor's turn, which does nothing else meanwhile. After Child.StartTimeout its wait under
	// ctx, or its next one, is interrupted with ErrStartTimeout; whatever else it waits for, and code that goes on, it must bound itself.
	// An error, a panic, a ref that another child of this supervisor has already, and the supervisor itself are starts that failed.
	// runtime.Goexit, and so t.FailNow, cannot be held up: it ends the supervisor.
	Start(ctx *actor.Context) (actor.AnyRef, error)
}

// StartFunc is a Starter made of a function.
type StartFunc func(ctx *actor.Context) (actor.AnyRef, error)

// Start calls f. A nil one starts nothing, which is an error.
func (f StartFunc) Start(ctx *actor.Context) (actor.AnyRef, error) {
	if f == nil {
		return actor.AnyRef{}, errors.New("supervisor: a nil StartFunc")
	}
	return f(ctx)
}

// guarded is a Starter whose child keeps its ref over restarts.
type guarded struct {
	kind  Kind
	spec  *Spec // of a Tree
	spawn func(ctx *actor.Context, resumable bool) (ref actor.AnyRef, started bool, err error)
	swap  func(ref actor.AnyRef) (swaps, error) // of an Actor, as are the next two
	fits  func(ref actor.AnyRef) bool           // whether the child takes the same messages
	takes reflect.Type                          // of these
}

// swaps gives a child a behaviour, and what it had back.
type swaps struct {
	do, undo func(ctx context.Context, o actor.SwapOptions) error
}

// Start is for use without a supervisor that knows better.
func (g *guarded) Start(ctx *actor.Context) (actor.AnyRef, error) {
	ref, _, err := g.spawn(ctx, false)
	return ref, err
}

// Kind says what a child is.
type Kind uint8

// The kinds of children.
const (
	KindActor   Kind = iota // of Actor
	KindFunc                // of Func
	KindTree                // of Tree
	KindForeign             // of another Starter
)

// String names the kind in lower case.
func (k Kind) String() string { return nameOf(k, "actor", "func", "tree", "foreign") }

// Actor is a child that is an actor with behaviour b.
func Actor[M proto.Message](b actor.Behaviour[M], o ...actor.Options) Starter {
	var opts actor.Options
	err := error(nil)
	switch len(o) {
	case 0:
	case 1:
		opts = o[0]
	default:
		err = errors.New("more than one actor.Options")
	}
	return &guarded{
		kind: KindActor,
		spawn: func(ctx *actor.Context, resumable bool) (actor.AnyRef, bool, error) {
			if err != nil {
				return actor.AnyRef{}, false, err
			}
			mine := opts
			mine.Resumable = mine.Resumable || resumable
			ref, started, err := actor.SpawnGuarded(ctx, b, mine)
			return ref.AnyRef, started, err
		},
		takes: reflect.TypeFor[M](),
		fits: func(ref actor.AnyRef) bool {
			_, ok := actor.TypedRef[M](ref)
			return ok
		},
		swap: func(ref actor.AnyRef) (swaps, error) {
			typed, ok := actor.TypedRef[M](ref)
			old, alive := actor.BehaviourOf(typed)
			switch {
			case !alive:
				return swaps{}, actor.ErrStopped
			case !ok:
				return swaps{}, actor.ErrWrongType
			}
			to := func(b actor.Behaviour[M]) func(context.Context, actor.SwapOptions) error {
				return func(ctx context.Context, o actor.SwapOptions) error { return actor.Swap(ctx, typed, b, o) }
			}
			return swaps{to(b), to(old)}, nil
		},
	}
}

// Func is a child that is a plain function, run on a goroutine of its own: a server, a consumer of another library. Its context ends when
// it is to stop; it should return then, with whatever error. Until then a return, an error or a panic is its end. Code that is not the
// actor's cannot be killed: after a Kill, also that at the end of its Shutdown, f is left behind with a context that has ended, and where
// the child is restarted the old call may still run beside the next one.
func Func(f func(ctx context.Context) error) Starter {
	g := &guarded{kind: KindFunc}
	g.spawn = func(ctx *actor.Context, _ bool) (actor.AnyRef, bool, error) {
		if f == nil {
			return actor.AnyRef{}, false, actor.ErrNilBehaviour
		}
		ref, started, err := actor.SpawnGuarded(ctx, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
			return runFunc(ctx, f)
		}))
		return ref.AnyRef, started, err
	}
	return g
}

// runFunc runs f beside the actor and, when the actor is asked to stop, waits for it.
func runFunc(ctx *actor.Context, f func(context.Context) error) error {
	var ended actor.Event
	result := actor.ErrGoexit // unless it returns or panics
	own, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := ctx.Offload(ctx, func() error {
		defer ended.Set()
		defer func() {
			if v := recover(); v != nil {
				result = &actor.PanicError{Value: v}
				panic(v)
			}
		}()
		result = f(own)
		return result
	})
	for interrupted := (*actor.InterruptError)(nil); errors.As(err, &interrupted); { // which means nothing to f
		if err = ended.Wait(ctx); err == nil {
			err = result
			break
		}
	}
	if !errors.Is(err, actor.ErrStopped) || !ctx.Stopping() {
		return err
	}
	cancel()
	clean, done := ctx.Cleanup(math.MaxInt64)
	defer done()
	if err := ended.Wait(clean); err != nil {
		return err
	}
	return actor.ErrStopped // in good order, whatever f made of its context's end
}

// Tree is a child that is a supervisor.
func Tree(spec Spec) Starter {
	g := &guarded{kind: KindTree, spec: &spec}
	g.spawn = func(ctx *actor.Context, _ bool) (actor.AnyRef, bool, error) {
		ref, started, err := actor.SpawnGuarded(ctx, behaviour(spec), actor.Options{Name: spec.Name, AwaitReady: true})
		return ref.AnyRef, started, err
	}
	return g
}

// check finds what is wrong with a spec, and with those of the trees in it.
func (s Spec) check() error { return s.checkBelow(nil) }

func (s Spec) checkBelow(above []*Child) error {
	switch {
	case s.Strategy > Dynamic:
		return fmt.Errorf("supervisor: unknown strategy %d", s.Strategy)
	case s.AutoShutdown > AllSignificant:
		return fmt.Errorf("supervisor: unknown auto shutdown %d", s.AutoShutdown)
	case s.Period < 0:
		return fmt.Errorf("supervisor: a period of %v: use 0 for %v, or a positive duration", s.Period, DefaultPeriod)
	case s.Strategy == Dynamic && len(s.Children) == 1 && s.Children[0].Start != nil && s.Children[0].kind() == KindForeign:
		return ErrNotInPlace
	case s.Strategy == Dynamic && len(s.Children) > 1:
		return fmt.Errorf("supervisor: a dynamic supervisor has one child, the template of all; %d are given", len(s.Children))
	}
	if len(s.Children) > 0 {
		if slices.Contains(above, &s.Children[0]) {
			return errors.New("supervisor: the spec is cyclic: a tree is among its own descendants")
		}
		above = append(slices.Clip(above), &s.Children[0])
	}
	seen := make(map[string]bool, len(s.Children))
	for i, c := range s.Children {
		if s.Strategy != Dynamic {
			if c.ID == "" {
				return fmt.Errorf("supervisor: child %d has no ID", i)
			}
			if seen[c.ID] {
				return fmt.Errorf("supervisor: two children have the ID %q", c.ID)
			}
			seen[c.ID] = true
		}
		if err := c.check(s, above); err != nil {
			return err
		}
	}
	return nil
}

func (c Child) check(s Spec, above []*Child) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("supervisor: child %q: %w", c.ID, fmt.Errorf(format, args...))
	}
	switch {
	case c.Start == nil && s.Strategy != Dynamic:
		return fail("no Start: use Actor, Func, Tree or a StartFunc")
	case c.Restart > Temporary:
		return fail("unknown restart class %d", c.Restart)
	case c.Shutdown < NoLimit:
		return fail("a shutdown of %v: use 0, a positive duration, KillAtOnce or NoLimit", c.Shutdown)
	case c.Significant && s.AutoShutdown == Never:
		return fail("it is significant, but its supervisor has AutoShutdown Never")
	case c.Significant && c.Restart == Permanent:
		return fail("a permanent child cannot be significant: it never ends for good")
	}
	if err := c.Backoff.check(); err != nil {
		return fail("%w", err)
	}
	if g, ok := c.Start.(*guarded); ok && g.spec != nil {
		if err := g.spec.checkBelow(above); err != nil {
			return fail("%w", err)
		}
	}
	return nil
}

func (s Spec) withDefaults() Spec {
	switch {
	case s.Intensity == 0:
		s.Intensity = DefaultIntensity
	case s.Intensity < 0:
		s.Intensity = 0
	}
	if s.Period == 0 {
		s.Period = DefaultPeriod
	}
	s.Children = append([]Child(nil), s.Children...)
	return s
}

func (c Child) kind() Kind {
	if g, ok := c.Start.(*guarded); ok {
		return g.kind
	}
	return KindForeign
}

func (c Child) shutdown() time.Duration {
	switch {
	case c.Shutdown != 0:
		return c.Shutdown
	case c.kind() == KindTree:
		return NoLimit
	}
	return DefaultShutdown
}

func (c Child) startTimeout() time.Duration {
	switch {
	case c.StartTimeout == 0:
		return DefaultStartTimeout
	case c.StartTimeout < 0:
		return math.MaxInt64
	}
	return c.StartTimeout
}
