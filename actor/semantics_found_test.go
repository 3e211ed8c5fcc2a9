package actor_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// A panic in a routine after it received a Down is that actor's end and nobody else's (LIFE-5).
func TestRoutinePanicsAfterADown(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			child := actor.MustSpawn(ctx, hold())
			if _, err := actor.Monitor(ctx, child.AnyRef, asNum); err != nil {
				return err
			}
			child.Stop()
			if _, err := in.Receive(ctx); err != nil {
				return err
			}
			panic("after the Down")
		}))
		wantKind(t, a.AnyRef, actor.ReasonPanic)
	})
}

// Become holds from the next message on, also within one turn (TYPE-4).
func TestBecomeHoldsFromTheNextMessage(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var seen collector[string]
		gate := make(chan struct{})
		var first, second actor.Behaviour[*num]
		second = actor.Handler(func(ctx *actor.Context, m *num) error {
			seen.add("second")
			return actor.Become(ctx, first)
		})
		first = actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == 0 {
				return ctx.Block(func() { <-gate })
			}
			seen.add("first")
			return actor.Become(ctx, second)
		})
		a := actor.MustSpawn(sys, first)
		tell(t, a, 0, 1, 2, 3, 4)
		close(gate)
		settle(t, sys)
		got := seen.all()
		if len(got) != 4 || got[0] != "first" || got[1] != "second" || got[2] != "first" || got[3] != "second" {
			t.Fatalf("handled by %v", got)
		}
	})
}

// OnExit runs once, whatever happens in it (LIFE-8).
func TestOnExitRunsOnce(t *testing.T) {
	ways := map[string]func(ctx *actor.Context){
		"returns": func(*actor.Context) {},
		"sleeps":  func(ctx *actor.Context) { _ = ctx.Sleep(time.Microsecond) },
		"goexit":  func(*actor.Context) { runtime.Goexit() },
		"panics":  func(*actor.Context) { panic("in OnExit") },
	}
	for name, exit := range ways {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				for _, b := range []actor.Behaviour[*num]{idler(), hold()} {
					for _, end := range []func(actor.AnyRef){actor.AnyRef.Stop, actor.AnyRef.Kill} {
						var ran atomic.Int32
						a := actor.MustSpawn(sys, b, actor.Options{OnExit: func(ctx *actor.Context, _ actor.Reason) {
							ran.Add(1)
							exit(ctx)
						}})
						tell(t, a, 1)
						settle(t, sys)
						end(a.AnyRef)
						outcome(t, a.AnyRef)
						if n := ran.Load(); n != 1 {
							t.Fatalf("OnExit ran %d times", n)
						}
					}
				}
			})
		})
	}
}

// A killed caller's call ends: its callee's waits do, and the reply is a dead letter (CALL-6).
func TestKilledCallerEndsItsCall(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		dead := deaths(t, sys)
		got := make(chan error, 2)
		callee := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			got <- ctx.Sleep(time.Hour)
			got <- ctx.Reply(m)
			return nil
		}))
		caller := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, err := actor.Call[*num](ctx, callee, &num{})
			return err
		}))
		settle(t, sys)
		caller.Kill()
		wantKind(t, caller.AnyRef, actor.ReasonKilled)
		wantErr(t, "the callee's wait", await(t, got), context.Canceled)
		wantErr(t, "the late reply", await(t, got), actor.ErrCallerGone)
		settle(t, sys)
		if l := dead.all(); len(l) != 1 || l[0].Reason != actor.DeadLateReply {
			t.Fatalf("dead letters: %v", l)
		}
	})
}

// Two Systems in one process: links, traps, Downs and full mailboxes work across them, and both ledgers add up (SYS-3).
func TestTwoSystems(t *testing.T) {
	eachProcs(t, func(t *testing.T, one *actor.System) {
		two := newSystem(t)
		for range 50 {
			linked := actor.MustSpawn(two, hold())
			trapped := make(chan struct{})
			trapper := actor.MustSpawn(two, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == -1 {
					close(trapped)
					return nil
				}
				return actor.TrapExit(ctx, asNum)
			}))
			tell(t, trapper, 1)
			settle(t, two)
			a := actor.MustSpawn(one, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_ = ctx.Link(linked.AnyRef)
				_ = ctx.Link(trapper.AnyRef)
				_, _ = in.Receive(ctx)
				return errors.New("fails")
			}))
			tell(t, a, 1)
			wantKind(t, a.AnyRef, actor.ReasonError)
			wantKind(t, linked.AnyRef, actor.ReasonError)
			await(t, trapped)
		}
		const n = 500
		var got atomic.Int64
		narrow := actor.MustSpawn(two, actor.Handler(func(*actor.Context, *num) error {
			got.Add(1)
			return nil
		}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}})
		senders := make([]actor.Ref[*num], 4)
		for i := range senders {
			senders[i] = actor.MustSpawn(one, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				for range n {
					if err := narrow.Send(ctx, &num{}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		for _, s := range senders {
			wantKind(t, s.AnyRef, actor.ReasonNormal)
		}
		settle(t, one)
		l := settle(t, two)
		if got.Load() != n*int64(len(senders)) || l.Handled < uint64(got.Load()) {
			t.Fatalf("%d arrived; %v", got.Load(), l)
		}
	})
}

// A repeating timer may be cancelled from any goroutine at any time (TIME-4).
func TestCancelWhileATimerFires(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		sink := actor.MustSpawn(sys, idler())
		timers := make(chan *actor.Timer, 200)
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for range cap(timers) {
				timer, err := actor.SendEvery(ctx, time.Microsecond, sink, &num{})
				if err != nil {
					return err
				}
				timers <- timer
				_ = ctx.Yield()
			}
			for range in.All() {
			}
			return nil
		}))
		for range cap(timers) {
			timer := await(t, timers)
			timer.Cancel()
			if timer.Cancel() {
				t.Fatal("a timer was cancelled twice")
			}
		}
		settle(t, sys)
	})
}

// A call that was kept as a Responder does not bound the receiver's next wait (WAIT-5).
func TestResponderDoesNotBoundTheNextReceive(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		callee := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if _, err := in.Receive(ctx); err != nil {
				return err
			}
			if _, err := ctx.Responder(); err != nil {
				return err
			}
			m, err := in.Receive(ctx)
			if err != nil {
				return err
			}
			return ctx.SetValue(m.Value)
		}))
		caller := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			bounded, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			_, err := actor.Call[*num](bounded, callee, &num{})
			return err
		}))
		_, err := caller.Wait(context.Background())
		wantErr(t, "the call", err, context.DeadlineExceeded)
		synctest.Wait()
		tell(t, callee, 7)
		if v, err := callee.Wait(context.Background()); v != int64(7) || err != nil {
			t.Fatalf("the callee ended with %v, %v", v, err)
		}
	})
}

// The longest duration there is lasts for ever: it does not wrap around (TIME-7).
func TestLongestDuration(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var got atomic.Int32
		sink := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error {
			got.Add(1)
			return nil
		}))
		sleeper := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if _, err := actor.SendAfter(ctx, math.MaxInt64, sink, &num{}); err != nil {
				return err
			}
			if _, err := actor.SendEvery(ctx, math.MaxInt64, sink, &num{}); err != nil {
				return err
			}
			bounded, cancel := ctx.WithTimeout(math.MaxInt64)
			defer cancel()
			if err := bounded.Err(); err != nil {
				return err
			}
			_, err := in.Receive(bounded)
			if err != nil {
				return err
			}
			return ctx.Sleep(math.MaxInt64)
		}))
		settle(t, sys)
		tell(t, sleeper, 1)
		settle(t, sys)
		if got.Load() != 0 || !sleeper.Alive() {
			t.Fatalf("%d messages came, alive: %v", got.Load(), sleeper.Alive())
		}
	})
}
