package actor

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Behaviour is what an actor does with messages of type M: made by Handler, Stateful, StatefulFrom or Routine. It is a
// plain value; one may start any number of actors. The zero value is refused with ErrNilBehaviour.
type Behaviour[M proto.Message] struct {
	b behaviour
}

// behaviour is the same without its type.
type behaviour interface {
	// handle gives the behaviour one message; ok is false if it takes no such message.
	handle(ctx *Context, msg any) (ok bool, err error)
	// begin makes fresh state for a new incarnation.
	begin(ctx *Context) error
	// starts reports whether begin runs code of the user's: it may fail, and take its time.
	starts() bool
	// routine reports whether the behaviour is run rather than handed messages.
	routine() bool
	// accepts reports whether state, of another behaviour or migrated, can be this one's.
	accepts(state any) bool
	// takesType is the type of its messages.
	takesType() reflect.Type
}

// isA is what behaviours of type M take.
func isA[M proto.Message](msg any) bool {
	_, ok := msg.(M)
	return ok
}

// Handler makes a behaviour of a function that is called once for each message. While no message is there, such an actor
// is 128 bytes and owns no goroutine and no stack; in the middle of a message it may wait anywhere.
// A nil error means: the next message, please. Any other ends the actor abnormally, with that error as its reason;
// ctx.Stop ends it normally after the message.
func Handler[M proto.Message](f func(ctx *Context, m M) error) Behaviour[M] {
	if f == nil {
		return Behaviour[M]{}
	}
	return Behaviour[M]{handler[M](f)}
}

type handler[M proto.Message] func(*Context, M) error

func (h handler[M]) handle(ctx *Context, msg any) (bool, error) {
	m, ok := msg.(M)
	if !ok {
		return false, nil
	}
	return true, h(ctx, m)
}
func (handler[M]) begin(*Context) error    { return nil }
func (handler[M]) starts() bool            { return false }
func (handler[M]) routine() bool           { return false }
func (handler[M]) accepts(any) bool        { return true }
func (handler[M]) takesType() reflect.Type { return typeOf[M]() }
func (handler[M]) takes(M)                 {}
func (handler[M]) takesMessage(m any) bool { return isA[M](m) }

// Stateful is Handler with the actor's state as a value: each incarnation starts with a zero S of its own.
func Stateful[S any, M proto.Message](f func(ctx *Context, s *S, m M) error) Behaviour[M] {
	if f == nil {
		return Behaviour[M]{}
	}
	return Behaviour[M]{&stateful[S, M]{f: f}}
}

// StatefulFrom is Stateful with a function that makes the first state, called before the first message is handled. Its
// error, or a nil state, ends the actor abnormally.
func StatefulFrom[S any, M proto.Message](start func(ctx *Context) (*S, error), f func(ctx *Context, s *S, m M) error) Behaviour[M] {
	if f == nil || start == nil {
		return Behaviour[M]{}
	}
	return Behaviour[M]{&stateful[S, M]{start: start, f: f}}
}

type stateful[S any, M proto.Message] struct {
	start func(*Context) (*S, error) // nil: a zero S
	f     func(*Context, *S, M) error
}

func (b *stateful[S, M]) handle(ctx *Context, msg any) (bool, error) {
	m, ok := msg.(M)
	if !ok {
		return false, nil
	}
	return true, b.f(ctx, ctx.state.(*S), m)
}

func (b *stateful[S, M]) begin(ctx *Context) error {
	if b.start == nil {
		ctx.state = new(S)
		return nil
	}
	s, err := b.start(ctx)
	if err == nil && s == nil {
		err = errNilState
	}
	ctx.state = s
	return err
}

var errNilState = errors.New("actor: the start function returned a nil state")

func (b *stateful[S, M]) starts() bool          { return b.start != nil }
func (*stateful[S, M]) routine() bool           { return false }
func (*stateful[S, M]) takesType() reflect.Type { return typeOf[M]() }
func (*stateful[S, M]) accepts(state any) bool {
	s, ok := state.(*S)
	return ok && s != nil
}
func (*stateful[S, M]) takes(M)                 {}
func (*stateful[S, M]) takesMessage(m any) bool { return isA[M](m) }

// Persistent is StatefulFrom whose state outlives an incarnation: persist turns it into what should be kept when the incarnation ends,
// and restore makes the next one's state of that. restore gets nil for the first incarnation, where persist failed or panicked, and where
// before a swap a behaviour with another P has kept something; the last two are logged. What they pass must not be shared with anything
// that the failed message may have left half done.
// It matters to guarded children only: see SpawnGuarded.
func Persistent[S, P any, M proto.Message](restore func(ctx *Context, kept *P) (*S, error), f func(ctx *Context, s *S, m M) error, persist func(s *S) (*P, error)) Behaviour[M] {
	if restore == nil || f == nil || persist == nil {
		return Behaviour[M]{}
	}
	return Behaviour[M]{&persistent[S, P, M]{stateful[S, M]{f: f}, restore, persist}}
}

type persistent[S, P any, M proto.Message] struct {
	stateful[S, M]
	restore func(*Context, *P) (*S, error)
	keep    func(*S) (*P, error)
}

func (b *persistent[S, P, M]) starts() bool { return true }

func (b *persistent[S, P, M]) begin(ctx *Context) error {
	saved := ctx.saved()
	kept, ok := saved.(*P)
	if !ok && saved != nil {
		ctx.sys.say(slog.LevelWarn, "kept state dropped: a behaviour of another type has kept it", "actor", ctx.Self().String(),
			"kept", reflect.TypeOf(saved).String(), "want", reflect.TypeFor[*P]().String())
	}
	s, err := b.restore(ctx, kept)
	if err == nil && s == nil {
		err = errNilState
	}
	if err == nil {
		ctx.takeSaved() // not earlier: should this incarnation not get through its start, the next one gets it
		ctx.state = s
	}
	return err
}

func (b *persistent[S, P, M]) persist(ctx *Context) (kept any, begun bool, err error) {
	s, ok := ctx.state.(*S)
	if !ok || s == nil {
		return nil, false, nil
	}
	kept, err = b.keep(s)
	return kept, true, err
}

// persister is a behaviour whose state outlives an incarnation; not begun, there is none yet.
type persister interface {
	persist(*Context) (kept any, begun bool, err error)
}

// persist keeps what the incarnation leaves for the next one.
func (c *carrier) persist(ctx *Context) {
	a, sys := ctx.cell, ctx.sys
	b, ok := a.beh.(persister)
	if !ok {
		return
	}
	var kept any
	started := true
	sys.guard("Persistent's persist", func() {
		v, begun, err := b.persist(ctx)
		started = begun
		if err != nil {
			sys.say(slog.LevelError, "state not kept", "actor", ctx.Self().String(), "err", err)
			return
		}
		kept = v
	})
	if !started {
		return // what an earlier incarnation has left is still there
	}
	mu := sys.locks.of(a.idx)
	mu.Lock()
	a.coldOf().saved = kept
	mu.Unlock()
}

// saved is what the last incarnation has left.
func (ctx *Context) saved() any {
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	defer mu.Unlock()
	if cold := ctx.cell.cold.Load(); cold != nil {
		return cold.saved
	}
	return nil
}

// takeSaved takes what the last incarnation has left.
func (ctx *Context) takeSaved() any {
	a := ctx.cell
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := a.cold.Load()
	if cold == nil {
		return nil
	}
	kept := cold.saved
	cold.saved = nil
	return kept
}

// Routine makes a behaviour of sequential code over an inbox. It starts at once and the actor ends when it returns: nil is
// a normal exit, an error an abnormal one. While it waits it keeps a stack (2.7 KB at rest) but holds no slot.
func Routine[M proto.Message](f func(ctx *Context, in *Inbox[M]) error) Behaviour[M] {
	if f == nil {
		return Behaviour[M]{}
	}
	return Behaviour[M]{routine[M](f)}
}

type routine[M proto.Message] func(*Context, *Inbox[M]) error

func (r routine[M]) handle(ctx *Context, msg any) (bool, error) {
	if msg != nil {
		_, ok := msg.(M)
		return ok, nil
	}
	return true, r(ctx, &Inbox[M]{ctx: ctx})
}
func (routine[M]) begin(*Context) error    { return nil }
func (routine[M]) starts() bool            { return false }
func (routine[M]) routine() bool           { return true }
func (routine[M]) accepts(any) bool        { return true }
func (routine[M]) takesType() reflect.Type { return typeOf[M]() }
func (routine[M]) takes(M)                 {}
func (routine[M]) takesMessage(m any) bool { return isA[M](m) }

// fits reports, as an error, whether no M can be a message for the actor. Of an interface type only the values can tell.
func fits[M proto.Message](ctx *Context) error {
	m, taken := typeOf[M](), ctx.cell.beh.takesType()
	if m.Kind() == reflect.Interface || taken != nil && m.AssignableTo(taken) {
		return nil
	}
	return fmt.Errorf("actor: %w: the actor takes no %v", ErrWrongType, m)
}

// Become replaces the behaviour of the actor that calls it, from the next message on. The mailbox, name, ref, monitors and
// timers stay. M must be the type of the actor's ref; a routine cannot become something else, nor something else a routine.
func Become[M proto.Message](ctx *Context, b Behaviour[M]) error {
	if err := ctx.own(); err != nil {
		return err
	}
	if b.b == nil {
		return ErrNilBehaviour
	}
	a := ctx.cell
	if _, ok := a.beh.(interface{ takes(M) }); !ok {
		return fmt.Errorf("actor: become: %w: the actor's mailbox takes another type of message", ErrWrongType)
	}
	if a.beh.routine() || b.b.routine() {
		return errors.New("actor: become: only a handler can become another handler")
	}
	old := ctx.state
	if err := b.b.begin(ctx); err != nil {
		ctx.state = old
		return err
	}
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	a.beh = b.b
	mu.Unlock()
	ctx.changed = true
	return nil
}

// PanicError is the exit reason of an actor whose behaviour panicked.
type PanicError struct {
	Value any // what was passed to panic
	pcs   []uintptr
}

// Error says what the behaviour panicked with.
func (e *PanicError) Error() string {
	if e == nil {
		return "actor: a nil *PanicError"
	}
	return "actor: panic: " + textOf(e.Value)
}

// Unwrap returns the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	if e == nil {
		return nil
	}
	err, _ := e.Value.(error)
	return err
}

// Stack formats the stack of the panic, innermost call first, as file:line and function. The program counters were taken
// when it happened; the text is made here. It is empty for a value that no panic made.
func (e *PanicError) Stack() string {
	if e == nil || len(e.pcs) == 0 {
		return ""
	}
	var b strings.Builder
	frames := runtime.CallersFrames(e.pcs)
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()
		}
	}
}

func newPanicError(v any) *PanicError {
	var pcs [32]uintptr
	n := runtime.Callers(3, pcs[:])
	return &PanicError{Value: v, pcs: append([]uintptr(nil), pcs[:n]...)}
}
