package actor_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"runtime"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

// unaskableError is an error that cannot be asked what it is.
type unaskableError struct{}

func (unaskableError) Error() string { return "is" }
func (unaskableError) Is(error) bool { panic("Is") }

// unprintableError is an error that cannot be printed, in a way that package fmt does not help against.
type unprintableError struct{}

func (unprintableError) Error() string { panic(unprintableError{}) }

// LIFE-5: an error whose methods panic is its actor's end and nothing worse, wherever it comes from and whoever reports it.
func TestErrorsThatPanic(t *testing.T) {
	var noPath *fs.PathError
	var noTyped *typedError
	errs := map[string]struct {
		err  error
		kind actor.ReasonKind
	}{
		"typed nil":           {noTyped, actor.ReasonError},
		"typed nil, Unwrap":   {noPath, actor.ReasonPanic},
		"Is":                  {unaskableError{}, actor.ReasonPanic},
		"Error":               {unprintableError{}, actor.ReasonError},
		"nil *ExitError":      {(*actor.ExitError)(nil), actor.ReasonError},
		"nil *PanicError":     {(*actor.PanicError)(nil), actor.ReasonError},
		"nil *InterruptError": {(*actor.InterruptError)(nil), actor.ReasonError},
	}
	ways := map[string]func(sys *actor.System, err error) actor.Ref[*num]{
		"handler": func(sys *actor.System, err error) actor.Ref[*num] {
			a := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { return err }))
			_ = a.Send(context.Background(), &num{})
			return a
		},
		"routine": func(sys *actor.System, err error) actor.Ref[*num] {
			return actor.MustSpawn(sys, actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error { return err }))
		},
		"OnStart": func(sys *actor.System, err error) actor.Ref[*num] {
			return actor.MustSpawn(sys, idler(), actor.Options{OnStart: func(*actor.Context) error { return err }})
		},
		"Offload": func(sys *actor.System, err error) actor.Ref[*num] {
			return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				return ctx.Offload(ctx, func() error { return err })
			}))
		},
	}
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for what, e := range errs {
			for where, way := range ways {
				watched := way(sys, e.err)
				why := wantKind(t, watched.AnyRef, e.kind)
				if why.String() == "" || (&actor.ExitError{Reason: why}).Error() == "" {
					t.Errorf("%s from %s: no text", what, where)
				}
			}
		}
	}, actor.SystemOptions{Logger: slog.New(slog.NewTextHandler(discard{}, nil))})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// BAD-11: a typed nil is no error to interrupt with.
func TestInterruptWithATypedNil(t *testing.T) {
	sys := newSystem(t)
	a := actor.MustSpawn(sys, hold())
	var none *typedError
	if a.Interrupt(none) == nil {
		t.Error("a typed nil was accepted")
	}
	settle(t, sys)
	if !a.Alive() {
		t.Error("a refused interrupt ended the actor")
	}
}

// BAD-14: the error types have a text in every state.
func TestZeroErrors(t *testing.T) {
	for _, err := range []error{
		&actor.ExitError{}, (*actor.ExitError)(nil), &actor.PanicError{}, (*actor.PanicError)(nil), &actor.InterruptError{},
		(*actor.InterruptError)(nil), &actor.DeadlockError{}, (*actor.DeadlockError)(nil), &actor.StopError{}, (*actor.StopError)(nil), &actor.VetoError{}, (*actor.VetoError)(nil),
		&actor.PanicError{Value: unprintableError{}}, &actor.InterruptError{Err: unprintableError{}},
	} {
		if err.Error() == "" {
			t.Errorf("%T has no text", err)
		}
		_ = errors.Unwrap(err)
	}
	if s := (&actor.PanicError{}).Stack() + (*actor.PanicError)(nil).Stack(); s != "" {
		t.Errorf("a stack from nowhere: %q", s)
	}
}

// LIFE-5: reasons say everything once.
func TestReasonsReadWell(t *testing.T) {
	for want, why := range map[string]actor.Reason{
		"normal":                  {},
		"killed":                  {Kind: actor.ReasonKilled, Err: actor.ErrKilled},
		"panic: x":                {Kind: actor.ReasonPanic, Err: &actor.PanicError{Value: "x"}},
		"error: bad":              {Kind: actor.ReasonError, Err: errors.New("bad")},
		"no_actor: no such actor": {Kind: actor.ReasonNoActor, Err: actor.ErrNoActor},
		"error: actor none ended: killed": {Kind: actor.ReasonError,
			Err: &actor.ExitError{Reason: actor.Reason{Kind: actor.ReasonKilled, Err: actor.ErrKilled}}},
	} {
		if got := why.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

type panickingHandler struct{}

func (panickingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickingHandler) Handle(context.Context, slog.Record) error { panic("logger") }
func (h panickingHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h panickingHandler) WithGroup(string) slog.Handler           { return h }

// SYS-7: a Logger that panics harms nobody: neither where an end is logged nor where a subscriber's panic is.
func TestLoggerThatPanics(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		defer sys.SubscribeDeadLetters(func(actor.DeadLetter) { panic(unprintableError{}) })()
		a := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { return errors.New("x") }),
			actor.Options{OnExit: func(*actor.Context, actor.Reason) { panic("OnExit") }})
		tell(t, a, 1)
		if err := sys.Join(patient(t)); err != nil { // nobody watches it: its end is logged
			t.Fatal(err)
		}
	}, actor.SystemOptions{Logger: slog.New(panickingHandler{})})
}

type goingHandler struct{ panickingHandler }

func (goingHandler) Handle(context.Context, slog.Record) error { runtime.Goexit(); return nil }

// BAD-8: OnExit, a Logger and a subscriber that all call Goexit leave no actor behind, and its reason stays.
func TestGoexitAtTheEnd(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		failure := errors.New("failed")
		for range 20 {
			cancel := sys.SubscribeDeadLetters(func(actor.DeadLetter) { runtime.Goexit() })
			ran := 0
			parent := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				actor.MustSpawn(ctx, hold(), actor.Options{OnExit: func(*actor.Context, actor.Reason) { runtime.Goexit() }})
				return failure
			}), actor.Options{OnExit: func(*actor.Context, actor.Reason) { ran++; runtime.Goexit() }})
			for range 3 {
				_ = parent.Send(t.Context(), &num{}) // it may have ended by the second
			}
			wantErr(t, "join", sys.Join(patient(t)), nil) // nobody watches it: its end is logged
			_, why := outcome(t, parent.AnyRef)
			if !errors.Is(why.Err, failure) || ran != 1 {
				t.Fatalf("ended with %v, OnExit ran %d times", why, ran)
			}
			cancel()
		}
	}, actor.SystemOptions{Logger: slog.New(goingHandler{})})
}

// BAD-8: nor do they leave a guarded child behind: persist and OnExit are asked once for each incarnation, and its final end is one.
func TestGoexitOfAGuardedChild(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var persisted, exited int
		sys.SubscribeDeadLetters(func(actor.DeadLetter) { runtime.Goexit() })
		child := make(chan actor.AnyRef, 1)
		guardian := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			ended := make(chan actor.ChildEvent, 1)
			err := actor.Guard(ctx, func(e actor.ChildEvent) *num {
				if e.Kind == actor.ChildEnded {
					ended <- e
				}
				return &num{}
			})
			if err != nil {
				return err
			}
			ref, _, err := actor.SpawnGuarded(ctx, actor.Persistent(
				func(*actor.Context, *int) (*int, error) { return new(int), nil },
				func(_ *actor.Context, _ *int, _ *num) error { return errPoke },
				func(*int) (*int, error) { persisted++; runtime.Goexit(); return nil, nil },
			), actor.Options{OnExit: func(*actor.Context, actor.Reason) { exited++; runtime.Goexit() }})
			if err != nil {
				return err
			}
			child <- ref.AnyRef
			for incarnation := range 3 {
				if err := ref.Send(ctx, &num{}); err != nil {
					return err
				}
				for len(ended) == 0 {
					if _, err := in.Receive(ctx); err != nil {
						return err
					}
				}
				if e := <-ended; !errors.Is(e.Reason.Err, errPoke) {
					t.Errorf("incarnation %d ended with %v", incarnation, e.Reason)
				}
				if incarnation < 2 {
					_, err = ctx.RestartChild(ref.AnyRef)
				} else if err = ref.Send(ctx, &num{}); err == nil {
					err = ctx.EndChild(ref.AnyRef)
				}
				if err != nil {
					return err
				}
			}
			_, err = ref.Wait(ctx)
			if _, ok := errors.AsType[*actor.ExitError](err); !ok {
				t.Errorf("the child's final end: %v", err)
			}
			return nil
		}))
		wantKind(t, guardian.AnyRef, actor.ReasonNormal)
		if ref := await(t, child); ref.Alive() || persisted != 3 || exited != 3 {
			t.Errorf("alive: %v, persisted %d times, exited %d times", ref.Alive(), persisted, exited)
		}
	})
}
