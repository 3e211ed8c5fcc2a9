package actor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// WAIT-1: Interrupts queue up, one for each wait, each typed; the actor goes on after them.
func TestInterrupts(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 4)
		typed := &typedError{9}
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			got <- ctx.Sleep(time.Hour)
			_, err := in.Receive(ctx)
			got <- err
			_, err = ctx.Suspend(ctx)
			got <- err
			_, err = in.Receive(ctx)
			return err
		}))
		settle(t, sys)
		for _, err := range []error{errPoke, typed, context.Canceled} {
			wantErr(t, "interrupt", a.Interrupt(err), nil)
		}
		var wrapped *actor.InterruptError
		err := await(t, got)
		if !errors.Is(err, errPoke) || !errors.As(err, &wrapped) {
			t.Fatal(err)
		}
		var as *typedError
		if err := await(t, got); !errors.As(err, &as) || as != typed {
			t.Fatal(err)
		}
		wantErr(t, "third", await(t, got), context.Canceled)
		tell(t, a, 1)
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		wantErr(t, "interrupt of the dead", a.Interrupt(errPoke), actor.ErrStopped)
	})
}

// WAIT-2: Resume ends a Suspend with its value and disturbs no other wait; who does not suspend cannot be resumed.
func TestSuspendAndResume(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == 0 {
				return ctx.Sleep(time.Hour)
			}
			v, err := ctx.Suspend(ctx)
			if err != nil || v != 42 {
				return fmt.Errorf("%v, %w", v, err)
			}
			return ctx.SetValue("resumed")
		}))
		wantErr(t, "resume of an idle actor", a.Resume(1), actor.ErrNotSuspended)
		tell(t, a, 1, 2)
		settle(t, sys)
		wantErr(t, "resume", a.Resume(42), nil)
		settle(t, sys)
		wantErr(t, "resume", a.Resume(42), nil)
		settle(t, sys)
		wantErr(t, "resume once too often", a.Resume(42), actor.ErrNotSuspended)
		tell(t, a, 0)
		settle(t, sys)
		wantErr(t, "resume of a sleeper", a.Resume(42), actor.ErrNotSuspended)
		a.Stop()
		if v, _ := outcome(t, a.AnyRef); v != "resumed" {
			t.Fatal(v)
		}
		wantErr(t, "resume of the dead", a.Resume(1), actor.ErrStopped)
	})
}

// WAIT-3: a Select that messages wake again and again looks at each one once.
func TestSelectLooksOnce(t *testing.T) {
	const n = 100
	for _, under := range []string{"own context", "derived context"} {
		t.Run(under, func(t *testing.T) {
			inBubble(t, func(t *testing.T, sys *actor.System) {
				looks := make(map[int64]int)
				a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					search := context.Context(ctx)
					if under != "own context" {
						bounded, cancel := ctx.WithTimeout(time.Hour)
						defer cancel()
						search = bounded
					}
					for range 2 { // the second search begins with all that the first has passed over
						_, err := in.Select(search, func(m *num) bool {
							looks[m.Value]++
							return m.Value >= n
						})
						if err != nil {
							return err
						}
					}
					return nil
				}))
				for i := range int64(n + 2) {
					tell(t, a, i)
					synctest.Wait() // it has looked at the message, and waits for the next one
				}
				_, err := a.Wait(t.Context())
				wantErr(t, "the searches", err, nil)
				for i := range int64(n + 2) {
					want := 2
					if i >= n {
						want = 1
					}
					if looks[i] != want {
						t.Errorf("message %d was looked at %d times, want %d", i, looks[i], want)
					}
				}
			})
		})
	}
}

// WAIT-3: Select and categories take what they want and leave the rest in its order; Poll does not wait.
func TestSelectKeepsTheOrder(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if _, ok := in.Poll(); ok {
				return errors.New("a message from nowhere")
			}
			if err := ctx.Sleep(time.Hour); !errors.Is(err, errPoke) {
				return err
			}
			var got []int64
			take := func(m *num, err error) {
				if err != nil {
					got = append(got, -1)
					return
				}
				got = append(got, m.Value)
			}
			even := func(m *num) bool { return m.Value%2 == 0 }
			take(in.Select(ctx, even))
			take(in.Select(ctx, even))
			take(in.Receive(ctx))
			remove := in.Categorize(func(m *num) any {
				if m.Value > 6 {
					return "big"
				}
				return nil
			})
			take(in.ReceiveCategory(ctx, "big"))
			take(in.ReceiveCategory(ctx, nil))
			remove()
			take(in.Select(ctx, even))
			m, _ := in.Poll()
			take(m, nil)
			if n := in.Pending(); n != 0 {
				return fmt.Errorf("%d pending", n)
			}
			bounded, cancel := ctx.WithTimeout(time.Microsecond)
			defer cancel()
			if _, err := in.Select(bounded, even); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("select of what is not there: %w", err)
			}
			take(in.Receive(ctx))
			return ctx.SetValue(fmt.Sprint(got))
		}))
		settle(t, sys)
		tell(t, a, 1, 2, 3, 4, 5, 6, 7, 9)
		wantErr(t, "poke", a.Interrupt(errPoke), nil)
		if v, why := outcome(t, a.AnyRef); v != "[2 4 1 7 3 6 5 9]" {
			t.Fatal(v, why)
		}
	})
}

// WAIT-3: what Select has passed over is accounted for when the actor ends.
func TestPassedOverMessagesAreDeadLetters(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, end := range []func(actor.AnyRef){actor.AnyRef.Stop, actor.AnyRef.Kill} {
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_, err := in.Select(ctx, func(*num) bool { return false })
				return err
			}))
			tell(t, a, 1, 2, 3)
			if l := settle(t, sys); l.Queued != 3 {
				t.Fatal(l)
			}
			before := sys.Ledger().ByReason[actor.DeadStopped]
			end(a.AnyRef)
			outcome(t, a.AnyRef)
			if l := settle(t, sys); l.ByReason[actor.DeadStopped] != before+3 {
				t.Fatal(l)
			}
		}
	})
}

// WAIT-4: stashed messages come back in their order, in front of what is there, calls among them still to be answered.
func TestStash(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var seen collector[int64]
		open := false
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == 0 {
				open = true
				return ctx.Unstash()
			}
			if !open {
				if err := ctx.Stash(); err != nil {
					return err
				}
				if err := ctx.Stash(); !errors.Is(err, actor.ErrNoMessage) {
					return errors.New("stashed twice")
				}
				return nil
			}
			seen.add(m.Value)
			if ctx.IsCall() {
				return ctx.Reply(m)
			}
			return nil
		}))
		got := make(chan error, 1)
		tell(t, a, 1, 2)
		caller(sys, a, &num{Value: 3}, got)
		settle(t, sys)
		if l := sys.Ledger(); l.Queued != 3 {
			t.Fatal(l)
		}
		tell(t, a, 0, 4)
		wantErr(t, "the stashed call", await(t, got), nil)
		settle(t, sys)
		if got := fmt.Sprint(seen.all()); got != "[1 2 3 4]" {
			t.Fatal(got)
		}
	})
}
