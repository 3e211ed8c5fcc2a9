package actor_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// CALL-7: a deadline means the same moment in both Systems.
func TestDeadlineAcrossSystems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newSystem(t)
		<-time.After(time.Hour)
		two := newSystem(t)
		for _, pair := range [][2]*actor.System{{one, two}, {two, one}} {
			got := make(chan error, 1)
			start := time.Now()
			callee := actor.MustSpawn(pair[1], actor.Handler(func(ctx *actor.Context, m *num) error {
				at, ok := ctx.Deadline()
				if d := at.Sub(start); !ok || d < time.Second || d > 3*time.Second/2 {
					got <- fmt.Errorf("the callee has %v, %v", d, ok)
				}
				return ctx.Reply(m)
			}))
			actor.MustSpawn(pair[0], actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				bounded, cancel := ctx.WithTimeout(time.Second)
				defer cancel()
				_, err := actor.Call[*num](bounded, callee, &num{})
				got <- err
				return nil
			}))
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
	})
}

// CALL-7: a deadline means the same moment in every System also to those that a call is forwarded to, by whomever it was made.
func TestForwardAcrossSystems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newSystem(t)
		<-time.After(time.Hour)
		young := newSystem(t)
		for _, pair := range [][2]*actor.System{{old, young}, {young, old}} {
			got := make(chan error, 1)
			last := actor.MustSpawn(pair[1], actor.Handler(func(ctx *actor.Context, m *num) error {
				at, ok := ctx.Deadline()
				if d := time.Until(at); !ok || d != time.Minute {
					return ctx.Fail(fmt.Errorf("the deadline is %v away: %v", d, ok))
				}
				if m.Value == 1 {
					return ctx.Fail(errors.Join(ctx.Sleep(time.Second)))
				}
				start := time.Now()
				_ = ctx.Sleep(time.Hour)
				got <- took(start, time.Minute)
				return nil
			}))
			first := actor.MustSpawn(pair[0], actor.Handler(func(ctx *actor.Context, m *num) error { return actor.Forward(ctx, last, m) }))
			call := func(ctx context.Context, v int64) error {
				bounded, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				_, err := actor.Call[*num](bounded, first, &num{Value: v})
				return err
			}
			wantErr(t, "a call from a goroutine", call(context.Background(), 1), actor.ErrNoReply)
			if err := call(context.Background(), 2); err == nil {
				t.Error("a reply to a call that takes too long")
			}
			wantErr(t, "the wait of its callee", <-got, nil)
			for _, sys := range pair {
				scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					if err := call(ctx, 1); !errors.Is(err, actor.ErrNoReply) {
						return err
					}
					return nil
				})
			}
		}
	})
}

// CALL-4: an actor whose Forward failed still holds the call: its wait ends when the caller gives up.
func TestFailedForwardKeepsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, other := newSystem(t), newSystem(t)
		for _, where := range []*actor.System{sys, other} {
			gone := actor.MustSpawn(where, idler())
			gone.Stop()
			outcome(t, gone.AnyRef)
			got := make(chan error, 1)
			a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if err := actor.Forward(ctx, gone, m); !errors.Is(err, actor.ErrStopped) || !ctx.IsCall() {
					return fmt.Errorf("forward: %w", err)
				}
				start := time.Now()
				err := ctx.Sleep(time.Hour)
				got <- errors.Join(took(start, time.Second), ctx.Err())
				return err
			}))
			call := func(ctx context.Context) {
				bounded, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Second, cancel)
				_, err := actor.Call[*num](bounded, a, &num{})
				wantErr(t, "call", err, context.Canceled)
			}
			call(context.Background())
			wantErr(t, "the callee's wait", <-got, context.Canceled)
			a = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				_ = actor.Forward(ctx, gone, m)
				start := time.Now()
				_ = ctx.Sleep(time.Hour)
				got <- took(start, time.Second)
				return nil
			}))
			scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				call(ctx)
				return nil
			})
			wantErr(t, "the callee's wait", <-got, nil)
		}
	})
}

// MON-5: a Down needs no room in a bounded mailbox.
func TestDownInAFullMailbox(t *testing.T) {
	for _, policy := range []mailbox.Overflow{mailbox.Reject, mailbox.Suspend, mailbox.DropNewest, mailbox.DropOldest} {
		t.Run(policy.String(), func(t *testing.T) {
			sys := newSystem(t)
			target := actor.MustSpawn(sys, hold())
			var downs atomic.Int32
			w := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value != 0 {
					return nil
				}
				if _, err := actor.Monitor(ctx, target.AnyRef, func(d actor.Down) *num { downs.Add(1); return asNum(d) }); err != nil {
					return err
				}
				_ = ctx.Sleep(time.Hour)
				return nil
			}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: policy}})
			tell(t, w, 0)
			settle(t, sys)
			tell(t, w, 1)
			target.Stop()
			outcome(t, target.AnyRef)
			if policy == mailbox.DropOldest {
				tell(t, w, 2)
			}
			_ = w.Interrupt(errPoke)
			settle(t, sys)
			if downs.Load() != 1 {
				t.Fatalf("%d Downs", downs.Load())
			}
		})
	}
}

// MON-5: a SendEvery outlives a full mailbox; the ticks that find no room are dropped, and counted once.
func TestSendEverySurvivesAFullMailbox(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		var got atomic.Int32
		dead := deaths(t, sys)
		sink := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == 0 {
				_ = ctx.Sleep(10 * time.Second)
				return nil
			}
			got.Add(1)
			return nil
		}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1}})
		tell(t, sink, 0)
		synctest.Wait()
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if _, err := actor.SendEvery(ctx, time.Second, sink, &num{Value: 1}); err != nil {
				return err
			}
			return ctx.Sleep(time.Hour)
		}))
		<-time.After(30 * time.Second)
		if n := got.Load(); n < 15 {
			t.Fatalf("%d ticks", n)
		}
		// nine ticks find no room, or eight: the tenth second is also when room is made
		if l := settle(t, sys); l.Dropped < 8 || l.Dropped > 9 || l.Returned != 0 || dead.all()[0].Reason != actor.DeadOverflow {
			t.Fatalf("%v; dead letters %v", l, dead.all())
		}
	})
}

// CALL-4: the Context belongs to the call in hand, also when somebody asked an earlier message's for Done.
func TestDoneOfALaterCall(t *testing.T) {
	sys := newSystem(t)
	entered, got := make(chan struct{}), make(chan error, 1)
	callee := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		done := ctx.Done()
		if !ctx.IsCall() {
			return nil
		}
		close(entered)
		return ctx.Block(func() {
			select {
			case <-done:
				got <- ctx.Err()
			case <-time.After(2 * time.Second):
				got <- errors.New("the caller's giving up did not come")
			}
		})
	}))
	tell(t, callee, 1)
	settle(t, sys)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = actor.Call[*num](ctx, callee, &num{}) }()
	await(t, entered)
	cancel()
	wantErr(t, "the callee's context", await(t, got), context.Canceled)
}

// WAIT-4: a stashed call takes its context with it.
func TestStashEndsTheMessage(t *testing.T) {
	sys := newSystem(t)
	got := make(chan error, 1)
	a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if ctx.IsCall() {
			_ = ctx.Done()
			return ctx.Stash()
		}
		err := ctx.Sleep(time.Hour)
		if !errors.Is(err, errPoke) {
			got <- err
			return nil
		}
		got <- ctx.Err()
		return nil
	}))
	results := make(chan error, 1)
	c := caller(sys, a, &num{}, results)
	settle(t, sys)
	tell(t, a, 1)
	settle(t, sys)
	_ = c.Interrupt(errPoke)
	_ = await(t, results)
	settle(t, sys)
	_ = a.Interrupt(errPoke)
	wantErr(t, "the next message's context", await(t, got), nil)
}

// DEAD-1: taking the Responder of a call that its caller gave up does not hide the caller's next one.
func TestResponderOfAnOldCallHidesNoDeadlock(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		refs := make(chan actor.Ref[*num], 1)
		got := make(chan error, 1)
		b := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value != 1 {
				return ctx.Reply(m)
			}
			_ = ctx.Block(func() { <-time.After(time.Minute) }) // by then the caller is in its second call
			_, _ = ctx.Responder()
			_, err := actor.Call[*num](ctx, <-refs, &num{})
			got <- err
			return nil
		}))
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			self, _ := actor.TypedRef[*num](ctx.Self())
			refs <- self
			bounded, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			if _, err := actor.Call[*num](bounded, b, &num{Value: 1}); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			_, err := actor.Call[*num](ctx, b, &num{Value: 2})
			return err
		}))
		select {
		case err := <-got:
			if _, dead := errors.AsType[*actor.DeadlockError](err); !dead {
				t.Fatal(err)
			}
		case <-time.After(time.Hour):
			t.Fatal("the deadlock was not found")
		}
	})
}

// BAD-12: a nil message is refused, typed or not.
func TestNilMessages(t *testing.T) {
	sys := newSystem(t)
	a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if ctx.IsCall() {
			var none *num
			if err := ctx.Reply(none); !errors.Is(err, actor.ErrNilMessage) {
				t.Errorf("reply: %v", err)
			}
		}
		return nil
	}))
	wantErr(t, "send", a.Send(context.Background(), nil), actor.ErrNilMessage)
	_, err := actor.Call[*num](patient(t), a, nil)
	wantErr(t, "call", err, actor.ErrNilMessage)
	_, _ = actor.Call[*num](patient(t), a, &num{})
}

// WAIT-3: a match that panics ends its actor; the message is accounted for.
func TestPanicInMatch(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, match := range []func(*num) bool{
			func(*num) bool { panic("match") },
			func(m *num) bool { var a, b any = []int{1}, []int{1}; return a == b },
		} {
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_, err := in.Select(ctx, match)
				return err
			}))
			tell(t, a, 1)
			wantKind(t, a.AnyRef, actor.ReasonPanic)
			settle(t, sys)
		}
	})
}

// SYS-6: Systems in and out of synctest bubbles share nothing.
func TestBubblesAndCalls(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			sys := newSystem(t)
			echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
			for range 20 {
				if _, err := actor.Call[*num](context.Background(), echo, &num{}); err != nil {
					t.Fatal(err)
				}
			}
		})
		sys := newSystem(t)
		echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		for range 20 {
			if _, err := actor.Call[*num](context.Background(), echo, &num{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// CALL-2: a callee that is stopped in the middle of a call fails it with its end.
func TestCalleeStoppedInTheCall(t *testing.T) {
	sys := newSystem(t)
	for _, b := range []actor.Behaviour[*num]{
		actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Sleep(time.Hour) }),
		actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if _, err := in.Receive(ctx); err != nil {
				return err
			}
			return ctx.Sleep(time.Hour)
		}),
	} {
		callee := actor.MustSpawn(sys, b)
		got := make(chan error, 1)
		caller(sys, callee, &num{}, got)
		settle(t, sys)
		callee.Stop()
		wantErr(t, "call", await(t, got), actor.ErrStopped)
	}
}

// CALL-4: however a caller comes to give up, its callee sees context.Canceled and is not stopped.
func TestStoppedCallerCancelsOnly(t *testing.T) {
	sys := newSystem(t)
	got := make(chan error, 2)
	callee := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		_ = ctx.Done()
		_ = ctx.Sleep(time.Hour)
		got <- ctx.Err()
		return nil
	}))
	results := make(chan error, 2)
	c := caller(sys, callee, &num{}, results)
	settle(t, sys)
	c.Stop()
	wantErr(t, "the callee's context", await(t, got), context.Canceled)
}

// BAD-4: a poll by another goroutine is refused like a wait.
func TestForeignPolls(t *testing.T) {
	sys := newSystem(t)
	got := make(chan error, 2)
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		go func() {
			_, err := ctx.SuspendFor(0, 1)
			got <- err
			_, err = in.ReceiveTimeout(0)
			got <- err
		}()
		return ctx.Sleep(time.Hour)
	}))
	wantErr(t, "SuspendFor", await(t, got), actor.ErrForeignGoroutine)
	wantErr(t, "ReceiveTimeout", await(t, got), actor.ErrForeignGoroutine)
}
