package actor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// caller is a routine that makes one call and reports how it ended.
func caller(sys *actor.System, to actor.Ref[*num], m *num, got chan<- error) actor.Ref[*num] {
	return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		_, err := actor.Call[*num](ctx, to, m)
		got <- err
		return nil
	}))
}

// CALL-1: a call brings the callee's reply, or the error that the callee failed it with, as it is.
func TestCallBringsTheReply(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		typed := &typedError{3}
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			switch {
			case m.Value < 0:
				return ctx.Fail(typed)
			case !ctx.IsCall():
				return errors.New("not a call")
			}
			if err := ctx.Reply(&num{Value: m.Value + 1}); err != nil {
				return err
			}
			if err := ctx.Reply(m); !errors.Is(err, actor.ErrNoCall) || ctx.IsCall() {
				return fmt.Errorf("second reply: %w", err)
			}
			return nil
		}))
		r, err := actor.Call[*num](patient(t), a, &num{Value: 1})
		if err != nil || r.Value != 2 {
			t.Fatal(r, err)
		}
		_, err = actor.Call[*num](patient(t), a, &num{Value: -1})
		wantErr(t, "failed call", err, typed)
		_, err = actor.Call[*text](patient(t), a, &num{Value: 1})
		wantErr(t, "wrong reply type", err, actor.ErrWrongType)
		settle(t, sys)
		if !a.Alive() {
			t.Fatal("the callee has ended")
		}
	})
}

// CALL-2: a call that nobody will answer fails at once: the callee forgot to reply, has ended, ends before it gets to the call or
// while it handles it, or drops the Responder by ending.
func TestCallsFailAtOnce(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var exit *actor.ExitError
		forgetful := actor.MustSpawn(sys, idler())
		_, err := actor.Call[*num](patient(t), forgetful, &num{})
		wantErr(t, "forgetful", err, actor.ErrNoReply)
		got := make(chan error, 2)
		for name, b := range map[string]actor.Behaviour[*num]{
			"asleep": actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == 0 {
					return ctx.Sleep(time.Hour)
				}
				return nil
			}),
			"with a Responder": actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == 0 {
					return nil
				}
				_, err := ctx.Responder()
				return err
			}),
			"while handling": actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == 0 {
					return nil
				}
				return ctx.Sleep(time.Hour)
			}),
			"stashed": actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == 0 {
					return nil
				}
				return ctx.Stash()
			}),
		} {
			callee := actor.MustSpawn(sys, b)
			tell(t, callee, 0)
			caller(sys, callee, &num{Value: 1}, got)
			settle(t, sys)
			go func() {
				_, err := actor.Call[*num](context.Background(), callee, &num{Value: 1})
				got <- err
			}()
			callee.Kill()
			for range 2 {
				if err := await(t, got); !errors.Is(err, actor.ErrStopped) {
					t.Fatalf("callee killed, %s: %v", name, err)
				}
			}
			_, err := actor.Call[*num](patient(t), callee, &num{})
			wantErr(t, "dead callee", err, actor.ErrStopped)
		}
		panics := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { panic("x") }))
		_, err = actor.Call[*num](patient(t), panics, &num{})
		if !errors.As(err, &exit) || exit.Reason.Kind != actor.ReasonPanic || exit.Ref != panics.AnyRef {
			t.Fatalf("callee panics: %v", err)
		}
	})
}

// CALL-9: a caller learns whether its message had been in hand when the callee ended.
func TestUnhandledCallsSaySo(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for name, c := range map[string]struct {
			b         actor.Behaviour[*num]
			unhandled bool
		}{
			"in the mailbox": {actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) }), true},
			"passed over": {actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_, err := in.Select(ctx, func(*num) bool { return false })
				return err
			}), true},
			"in hand":          {actor.Handler(func(ctx *actor.Context, _ *num) error { return ctx.Sleep(time.Hour) }), false},
			"stashed":          {actor.Handler(func(ctx *actor.Context, _ *num) error { return ctx.Stash() }), false},
			"with a Responder": {actor.Handler(func(ctx *actor.Context, _ *num) error { _, err := ctx.Responder(); return err }), false},
		} {
			callee := actor.MustSpawn(sys, c.b)
			got := make(chan error, 1)
			caller(sys, callee, &num{Value: 1}, got)
			settle(t, sys)
			callee.Kill()
			err := await(t, got)
			var exit *actor.ExitError
			if !errors.As(err, &exit) || exit.Ref != callee.AnyRef || exit.Unhandled != c.unhandled {
				t.Errorf("%s: %#v, want unhandled %v", name, err, c.unhandled)
			}
		}
	})
}

// CALL-3: the deadline of a call reaches the callee: its Context has it, its waits end with it, and the late reply is a dead letter.
func TestCallDeadlineReachesTheCallee(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		dead := deaths(t, sys)
		got := make(chan error, 3)
		start := time.Now()
		callee := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if at, ok := ctx.Deadline(); !ok || at.Sub(start) < time.Second || at.Sub(start) > 2*time.Second {
				got <- fmt.Errorf("deadline %v, %v", at.Sub(start), ok)
			}
			got <- ctx.Sleep(time.Hour)
			<-ctx.Done()
			got <- ctx.Reply(m)
			return nil
		}))
		c := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			bounded, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			_, err := actor.Call[*num](bounded, callee, &num{})
			return err
		}))
		_, err := c.Wait(context.Background())
		wantErr(t, "the call", err, context.DeadlineExceeded)
		if err := <-got; !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Fatalf("the callee's wait: %v", err)
		}
		wantErr(t, "the reply", <-got, actor.ErrCallerGone)
		wantErr(t, "quiesce", sys.Quiesce(context.Background()), nil)
		if l := dead.all(); len(l) != 1 || l[0].Reason != actor.DeadLateReply {
			t.Fatal(l)
		}
	})
}

// CALL-4: when the caller gives up, the callee's Context is done and its waits end; a call whose caller gave up before its turn is
// not handled at all.
func TestCancellationReachesTheCallee(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 4)
		entered := make(chan struct{}, 4)
		var handled atomic.Int32
		callee := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			handled.Add(1)
			done := ctx.Done()
			entered <- struct{}{}
			got <- ctx.Sleep(time.Hour)
			_ = ctx.Block(func() { <-done })
			got <- ctx.Err()
			return nil
		}))
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan error, 2)
		go func() {
			_, err := actor.Call[*num](ctx, callee, &num{})
			results <- err
		}()
		await(t, entered)
		cancel()
		wantErr(t, "call", await(t, results), context.Canceled)
		wantErr(t, "the callee's wait", await(t, got), context.Canceled)
		wantErr(t, "the callee's context", await(t, got), context.Canceled)
		settle(t, sys)
		first := handled.Load()
		_, err := actor.Call[*num](ctx, callee, &num{})
		wantErr(t, "call with a cancelled context", err, context.Canceled)
		if handled.Load() != first {
			t.Fatal("a call with a cancelled context was handled")
		}
	})
}

// CALL-4: an expired call is a dead letter, not a message.
func TestExpiredCallIsNotHandled(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref, seen, open := gated(t, sys, actor.Mailbox{})
		got := make(chan error, 2)
		c := caller(sys, ref, &num{Value: 9}, got)
		settle(t, sys)
		wantErr(t, "interrupt", c.Interrupt(errPoke), nil)
		wantErr(t, "call", await(t, got), errPoke)
		open()
		if l := settle(t, sys); len(seen.all()) != 0 || l.ByReason[actor.DeadExpired] != 1 {
			t.Fatalf("handled %v: %v", seen.all(), l)
		}
	})
}

// CALL-5: a Responder answers later and from anywhere, once; Forward hands the duty on along any chain.
func TestResponderAndForward(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		last := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			r, err := ctx.Responder()
			if err != nil {
				return err
			}
			if _, err := ctx.Responder(); !errors.Is(err, actor.ErrNoCall) {
				return errors.New("two Responders")
			}
			go func() {
				_ = r.Reply(&num{Value: m.Value + 1})
				if err := r.Reply(m); !errors.Is(err, actor.ErrCallerGone) {
					t.Errorf("second reply: %v", err)
				}
			}()
			return nil
		}))
		to := last
		for range 5 {
			next := to
			to = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if err := actor.Forward(ctx, next, &num{Value: m.Value + 1}); err != nil {
					return err
				}
				if ctx.IsCall() {
					return errors.New("still owes the reply")
				}
				return nil
			}))
		}
		for range 100 {
			r, err := actor.Call[*num](patient(t), to, &num{})
			if err != nil || r.Value != 6 {
				t.Fatal(r, err)
			}
		}
		wantErr(t, "empty Responder", actor.Responder{}.Reply(&num{}), actor.ErrNoCall)
		wantErr(t, "empty Responder", actor.Responder{}.Fail(errPoke), actor.ErrNoCall)
	})
}

// DEAD-1: a cycle of calls is found at once, whatever its length, and named; everybody else goes on.
func TestCyclesAreFound(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		t.Run(fmt.Sprintf("length=%d", n), func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				refs := make([]actor.Ref[*num], n)
				for i := range refs {
					refs[i] = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
						r, err := actor.Call[*num](ctx, refs[(i+1)%n], m)
						if err != nil {
							return ctx.Fail(err)
						}
						return ctx.Reply(r)
					}))
				}
				for range 20 {
					_, err := actor.Call[*num](patient(t), refs[0], &num{})
					var dead *actor.DeadlockError
					if !errors.As(err, &dead) || len(dead.Path) != n+1 || dead.Path[0] != dead.Path[n] {
						t.Fatalf("cycle of %d: %v", n, err)
					}
				}
				// All at once: whoever closes the cycle finds it, and all get an answer.
				var all sync.WaitGroup
				for _, r := range refs {
					all.Go(func() {
						if _, err := actor.Call[*num](patient(t), r, &num{}); err == nil || errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("all at once: %v", err)
						}
					})
				}
				all.Wait()
			})
		})
	}
}

// DEAD-1: a cycle that a Forward closes is found too. The caller that would wait for itself is told, the forwarder goes on.
func TestForwardThatClosesACycle(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, long := range []bool{false, true} {
			var a, b, c actor.Ref[*num]
			got := make(chan error, 1)
			a = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == 7 {
					return ctx.Reply(m) // c's call
				}
				if long {
					if _, err := ctx.Suspend(ctx); err != nil {
						return err
					}
				}
				_, err := actor.Call[*num](ctx, b, &num{})
				got <- err
				return nil
			}))
			b = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				to := a
				if long {
					to = c
				}
				if err := actor.Forward(ctx, to, m); err != nil || ctx.IsCall() {
					t.Errorf("forward: %v, owes a reply: %v", err, ctx.IsCall())
				}
				return nil
			}))
			c = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				_, err := actor.Call[*num](ctx, a, &num{Value: 7})
				return err
			}))
			want := fmt.Sprint([]actor.AnyRef{a.AnyRef, a.AnyRef})
			tell(t, a, 1)
			if long {
				tell(t, c, 1)
				settle(t, sys) // c waits for a's answer
				wantErr(t, "resume", a.Resume(nil), nil)
				want = fmt.Sprint([]actor.AnyRef{a.AnyRef, c.AnyRef, a.AnyRef})
			}
			err := await(t, got)
			var dead *actor.DeadlockError
			if !errors.As(err, &dead) || fmt.Sprint(dead.Path) != want {
				t.Fatalf("long %v: %v, want %v", long, err, want)
			}
			settle(t, sys)
			for _, r := range []actor.Ref[*num]{a, b, c} {
				if !r.Alive() {
					t.Errorf("%v ended", r)
				}
				r.Stop()
			}
		}
	})
}

// DEAD-2: a sender that has got its room in a full mailbox waits for nobody, though it has yet to run: who made the room may call it.
func TestNoFalseDeadlockAfterRoom(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 1})
	got := make(chan error, 2)
	var a, b actor.Ref[*num]
	b = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		_, err := actor.Call[*num](ctx, a, &num{Value: 100})
		got <- err
		return nil
	}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}})
	a = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if m.Value == 100 {
			return ctx.Reply(m)
		}
		return errors.Join(b.Send(ctx, m), b.Send(ctx, m))
	}))
	tell(t, a, 1)
	for range 2 {
		wantErr(t, "call", await(t, got), nil)
	}
}

// DEAD-2: there is no false alarm: in a random call graph that goes downwards only, with Responders, Forwards and calls given
// up, no call fails with DeadlockError.
func TestNoFalseDeadlock(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const layers, wide, callers, each = 5, 4, 8, 150
		var refs [layers][wide]actor.Ref[*num]
		var alarms atomic.Int64
		var late atomic.Int64 // replies from elsewhere that are on their way
		for l := layers - 1; l >= 0; l-- {
			for w := range wide {
				rng := rand.New(rand.NewPCG(uint64(l), uint64(w)))
				refs[l][w] = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
					if l == layers-1 {
						_ = ctx.Reply(m) // the caller may have given up
						return nil
					}
					to := refs[l+1+rng.IntN(layers-l-1)][rng.IntN(wide)]
					switch rng.IntN(5) {
					case 0:
						return actor.Forward(ctx, to, m)
					case 1:
						r, err := ctx.Responder()
						if err != nil {
							return err
						}
						late.Add(1)
						go func() {
							_ = r.Reply(m)
							late.Add(-1)
						}()
						return nil
					case 2:
						bounded, cancel := ctx.WithTimeout(time.Duration(rng.IntN(50)) * time.Microsecond)
						defer cancel()
						_, err := actor.Call[*num](bounded, to, m)
						note(&alarms, err)
						_ = ctx.Reply(m)
						return nil
					}
					_, err := actor.Call[*num](ctx, to, m)
					note(&alarms, err)
					_ = ctx.Reply(m)
					return nil
				}))
			}
		}
		var all sync.WaitGroup
		for c := range callers {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(c), 7))
				for range each {
					_, err := actor.Call[*num](patient(t), refs[rng.IntN(2)][rng.IntN(wide)], &num{})
					note(&alarms, err)
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		for settle(t, sys); late.Load() > 0; settle(t, sys) {
			runtime.Gosched()
		}
		if n := alarms.Load(); n != 0 {
			t.Fatalf("%d false alarms", n)
		}
	})
}

func note(alarms *atomic.Int64, err error) {
	if _, dead := errors.AsType[*actor.DeadlockError](err); dead {
		alarms.Add(1)
	}
}
