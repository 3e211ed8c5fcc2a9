package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// TIME-3: contexts that derive from that of a call in hand end with the call, by its caller's giving up or by the message's end, and
// always find out why. Package context ends the process if they do not.
func TestDerivedContextsOutliveTheirCall(t *testing.T) {
	pool, err := actor.NewPool(actor.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	type key struct{}
	var never actor.Event
	var kept []context.CancelFunc
	ways := map[string]func(ctx *actor.Context) error{
		"wait under one": func(ctx *actor.Context) error {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return never.Wait(derived)
		},
		"wait beside one": func(ctx *actor.Context) error {
			derived, cancel := context.WithCancel(context.WithValue(ctx, key{}, 1))
			kept = append(kept, cancel)
			_ = context.AfterFunc(derived, func() {
				if derived.Err() == nil {
					t.Error("AfterFunc was called on a context that is not done")
				}
			})
			return ctx.Sleep(time.Hour)
		},
		"keep one and reply": func(ctx *actor.Context) error {
			_, cancel := context.WithCancel(ctx)
			kept = append(kept, cancel)
			return ctx.Reply(&num{})
		},
		"derive from a limited one": func(ctx *actor.Context) error {
			limited, cancel := ctx.WithTimeout(time.Hour)
			kept = append(kept, cancel)
			derived, cancel := context.WithCancel(limited)
			defer cancel()
			return never.Wait(derived)
		},
		"scope": func(ctx *actor.Context) error {
			return actor.RunScope(ctx, func(s *actor.Scope) error {
				s.Go(func(ctx *actor.Context) error { return ctx.Sleep(time.Hour) })
				return nil
			})
		},
		"pool": func(ctx *actor.Context) error {
			job, err := actor.Submit(ctx, pool, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			if err != nil {
				return err
			}
			_, err = job.Wait(ctx)
			return err
		},
		"derive elsewhere": func(ctx *actor.Context) error {
			_ = ctx.Done()
			for range 4 {
				go func() {
					for range 20 {
						_, cancel := context.WithCancel(ctx)
						cancel()
					}
				}()
			}
			return ctx.Sleep(time.Hour)
		},
		"look elsewhere": func(ctx *actor.Context) error {
			return ctx.Offload(ctx, func() error {
				<-ctx.Done()
				if ctx.Err() == nil {
					t.Error("Done is closed and Err is nil")
				}
				return nil
			})
		},
	}
	for name, way := range ways {
		for _, procs := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s/procs=%d", name, procs), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				sys := newSystem(t)
				a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, _ *num) error { _ = way(ctx); return nil }))
				for range 200 {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
					_, _ = actor.Call[*num](ctx, a, &num{})
					cancel()
				}
				if !a.Alive() {
					t.Error("the callee has ended")
				}
			})
		}
	}
	if err := pool.Close(patient(t)); err != nil {
		t.Error(err)
	}
}

// giveUp is how a test's caller ends its call.
var giveUps = map[string]struct {
	context func() (context.Context, context.CancelFunc)
	want    error
}{
	"deadline": {func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Second)
	}, context.DeadlineExceeded},
	"cancel": {func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		return ctx, cancel
	}, context.Canceled},
}

// CALL-3, CALL-4: what runs under Block or Offload sees the end of the call in hand by every way that a context has.
func TestCallIsSeenInBlock(t *testing.T) {
	ways := map[string]func(ctx *actor.Context) error{
		"Done": func(ctx *actor.Context) error { <-ctx.Done(); return ctx.Err() },
		"Err": func(ctx *actor.Context) error {
			<-time.After(2 * time.Second)
			return ctx.Err()
		},
		"derived": func(ctx *actor.Context) error {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-derived.Done()
			return derived.Err()
		},
		"limited": func(ctx *actor.Context) error {
			limited, cancel := ctx.WithTimeout(time.Hour)
			defer cancel()
			<-limited.Done()
			return limited.Err()
		},
		"AfterFunc": func(ctx *actor.Context) error {
			called := make(chan struct{})
			context.AfterFunc(ctx, func() { close(called) })
			<-called
			return ctx.Err()
		},
		"another goroutine, as os/exec has one": func(ctx *actor.Context) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			default:
			}
			got := make(chan error)
			go func() { <-ctx.Done(); got <- ctx.Err() }()
			return <-got
		},
	}
	for name, way := range ways {
		for how, end := range giveUps {
			t.Run(name+"/"+how, func(t *testing.T) {
				inBubble(t, func(t *testing.T, sys *actor.System) {
					got := make(chan error, 1)
					a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, _ *num) error {
						return ctx.Block(func() { got <- way(ctx) })
					}))
					ctx, cancel := end.context()
					defer cancel()
					_, _ = actor.Call[*num](ctx, a, &num{})
					if err := <-got; !errors.Is(err, end.want) && (name != "Err" || !errors.Is(err, context.Canceled)) {
						t.Errorf("%v, want %v", err, end.want)
					}
				})
			})
		}
	}
	inBubble(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			_ = ctx.Block(func() {
				if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Second {
					t.Errorf("the deadline inside Block is %v, %v", at, ok)
				}
			})
			return ctx.Reply(m)
		}))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := actor.Call[*num](ctx, a, &num{})
		wantErr(t, "call", err, nil)
	})
}

// CALL-8: who has answered a call, keeps it as a Responder or handed it on is no longer ended by it, whatever its caller does.
func TestAnsweredCallEndsNothing(t *testing.T) {
	for _, asked := range []bool{false, true} {
		for how, answer := range map[string]func(ctx *actor.Context, to actor.Ref[*num], m *num) error{
			"reply":     func(ctx *actor.Context, _ actor.Ref[*num], m *num) error { return ctx.Reply(m) },
			"fail":      func(ctx *actor.Context, _ actor.Ref[*num], m *num) error { return ctx.Fail(errPoke) },
			"responder": func(ctx *actor.Context, _ actor.Ref[*num], m *num) error { _, err := ctx.Responder(); return err },
			"forward":   func(ctx *actor.Context, to actor.Ref[*num], m *num) error { return actor.Forward(ctx, to, m) },
		} {
			t.Run(fmt.Sprintf("%s/asked=%v", how, asked), func(t *testing.T) {
				inBubble(t, func(t *testing.T, sys *actor.System) {
					never := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Sleep(time.Minute) }))
					got := make(chan error, 3)
					callee := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
						if asked {
							_ = ctx.Done()
						}
						if err := answer(ctx, never, m); err != nil {
							return err
						}
						got <- ctx.Sleep(time.Hour)
						_, bounded := ctx.Deadline()
						if bounded {
							t.Error("an answered call's deadline holds")
						}
						select {
						case <-ctx.Done():
							t.Error("the Context is done")
						default:
						}
						got <- ctx.Err() // last: the test stops the System then
						return nil
					}))
					actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						for _, to := range []actor.Ref[*num]{callee, never, never} { // gives up where there is no answer, and the later ones
							bounded, cancel := ctx.WithTimeout(time.Second)
							_, _ = actor.Call[*num](bounded, to, &num{})
							cancel()
						}
						return nil
					}))
					wantErr(t, "wait", <-got, nil)
					wantErr(t, "Err", <-got, nil)
				})
			})
		}
	}
}

// BAD-11: a call that is failed with a nil error fails with one that says so, typed or not.
func TestFailWithNil(t *testing.T) {
	sys := newSystem(t)
	a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		var none *typedError
		if m.Value == 0 {
			return ctx.Fail(nil)
		}
		return ctx.Fail(none)
	}))
	for i := range int64(2) {
		_, err := actor.Call[*num](patient(t), a, &num{Value: i})
		wantErr(t, "call", err, actor.ErrNoReply)
		if err == actor.ErrNoReply { //nolint:errorlint // the bare one is what it must not be
			t.Error("it does not say that the error was nil")
		}
	}
}

// TIME-2: a wait within another, as in the function given to Select, has its own deadline, and the outer one has its own again.
func TestNestedWaitsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		for _, outer := range []time.Duration{time.Hour, 90 * time.Second} {
			got := make(chan error, 3)
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				bounded, cancel := ctx.WithTimeout(outer)
				defer cancel()
				start := time.Now()
				_, err := in.Select(bounded, func(*num) bool {
					start := time.Now()
					got <- errors.Join(ctx.Sleep(time.Minute), took(start, time.Minute))
					return false
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("select: %v", err)
				}
				got <- took(start, outer)
				return nil
			}))
			synctest.Wait()
			tell(t, a, 1)
			wantErr(t, "the wait within", <-got, nil)
			wantErr(t, "the wait around it", <-got, nil)
		}
	})
}

// TIME-2: cancel of WithTimeout ends a wait under it, also one that is in progress, and other waits not.
func TestCancelEndsTheWait(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		waits := map[string]func(ctx *actor.Context, in *actor.Inbox[*num], under context.Context) error{
			"Receive": func(_ *actor.Context, in *actor.Inbox[*num], under context.Context) error {
				_, err := in.Receive(under)
				return err
			},
			"Suspend": func(ctx *actor.Context, _ *actor.Inbox[*num], under context.Context) error {
				_, err := ctx.Suspend(under)
				return err
			},
			"Event": func(_ *actor.Context, _ *actor.Inbox[*num], under context.Context) error {
				var e actor.Event
				return e.Wait(under)
			},
			"derived": func(_ *actor.Context, in *actor.Inbox[*num], under context.Context) error {
				derived, cancel := context.WithCancel(under)
				defer cancel()
				_, err := in.Receive(derived)
				return err
			},
		}
		for name, wait := range waits {
			got := make(chan error, 2)
			actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				bounded, cancel := ctx.WithTimeout(time.Hour)
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				got <- errors.Join(wait(ctx, in, bounded), took(start, time.Second))
				start = time.Now()
				got <- errors.Join(ctx.Sleep(time.Minute), took(start, time.Minute))
				return nil
			}))
			if err := <-got; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
			wantErr(t, name+": the next wait", <-got, nil)
		}
	})
}

// TIME-2: a context that WithTimeout made while no call was in hand does not end with the calls that come.
func TestLimitedContextLastsOverCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			bounded, cancel := ctx.WithTimeout(time.Hour)
			defer cancel()
			for {
				m, err := in.Receive(bounded)
				if err != nil {
					return err
				}
				select {
				case <-bounded.Done():
					t.Error("done after a call")
				default:
				}
				if bounded.Err() != nil {
					t.Error(bounded.Err())
				}
				if err := ctx.Reply(m); err != nil {
					return err
				}
			}
		}))
		for range 3 {
			_, err := actor.Call[*num](context.Background(), a, &num{})
			wantErr(t, "call", err, nil)
		}
	})
}

// WAIT-6: Cleanup protects waits under the actor's own Context for its time and no longer, whether the request comes before it or after.
func TestCleanupIsBounded(t *testing.T) {
	waits := map[string]func(ctx *actor.Context, in *actor.Inbox[*num]) error{
		"Sleep":   func(ctx *actor.Context, _ *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) },
		"Receive": func(ctx *actor.Context, in *actor.Inbox[*num]) error { _, err := in.Receive(ctx); return err },
		"Suspend": func(ctx *actor.Context, _ *actor.Inbox[*num]) error { _, err := ctx.Suspend(ctx); return err },
	}
	for name, wait := range waits {
		inBubble(t, func(t *testing.T, sys *actor.System) {
			got := make(chan error, 2)
			after := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_ = ctx.Sleep(24 * time.Hour)
				start := time.Now()
				_, cancel := ctx.Cleanup(time.Minute)
				defer cancel()
				err := wait(ctx, in)
				got <- errors.Join(err, took(start, time.Minute))
				return err
			}))
			start := time.Now()
			before := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_, cancel := ctx.Cleanup(time.Minute)
				defer cancel()
				err := wait(ctx, in)
				got <- errors.Join(err, took(start, time.Minute))
				return err
			}))
			<-time.After(time.Second)
			for _, a := range []actor.Ref[*num]{after, before} {
				a.Stop()
				wantErr(t, name, <-got, actor.ErrStopped)
				wantKind(t, a.AnyRef, actor.ReasonNormal)
			}
		})
	}
}

// WAIT-6: Cleanups nest: the end of one takes nothing from the others.
func TestCleanupsNest(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 4)
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_ = ctx.Sleep(time.Hour)
			start := time.Now()
			_, cancel := ctx.Cleanup(time.Minute)
			inner, cancelInner := ctx.Cleanup(time.Second)
			_, err := ctx.Suspend(inner)
			got <- errors.Join(err, took(start, time.Second))
			cancelInner()
			got <- ctx.Sleep(time.Second)
			_, canceled := ctx.Cleanup(time.Hour)
			canceled()
			err = ctx.Sleep(time.Hour)
			got <- errors.Join(err, took(start, time.Minute))
			cancel()
			_, cancel = ctx.Cleanup(time.Hour)
			cancel()
			got <- ctx.Sleep(time.Second)
			return nil
		}))
		synctest.Wait()
		a.Stop()
		wantErr(t, "under the inner one", <-got, context.DeadlineExceeded)
		wantErr(t, "beside it", <-got, nil)
		wantErr(t, "when the outer one is over", <-got, actor.ErrStopped)
		wantErr(t, "when it is cancelled", <-got, actor.ErrStopped)
	})
}

// WAIT-7: in the actor's own goroutine a context that belongs to no actor bounds a wait beside the actor's own.
func TestWaitUnderAPlainContext(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 4)
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			start := time.Now()
			plain, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := in.Receive(plain)
			got <- errors.Join(err, took(start, time.Second))
			canceled, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			_, err = ctx.Suspend(canceled)
			got <- errors.Join(err, took(start, 2*time.Second))
			got <- ctx.Offload(context.Background(), func() error { return errPoke })
			_, err = in.Receive(context.Background())
			got <- err
			_, err = in.Receive(context.Background())
			return err
		}))
		wantErr(t, "a deadline", <-got, context.DeadlineExceeded)
		wantErr(t, "a cancel", <-got, context.Canceled)
		wantErr(t, "offload", <-got, errPoke)
		tell(t, a, 1)
		wantErr(t, "a message", <-got, nil)
		synctest.Wait()
		a.Stop()
		wantKind(t, a.AnyRef, actor.ReasonNormal)
	})
}

// BAD-14: a nil and a zero Context answer ErrNilContext, or what comes next to it, and do not panic.
func TestNilAndZeroContext(t *testing.T) {
	sys := newSystem(t)
	peer := actor.MustSpawn(sys, idler())
	for name, ctx := range map[string]*actor.Context{"nil": nil, "zero": new(actor.Context)} {
		errs := map[string]error{
			"Sleep": ctx.Sleep(0), "Yield": ctx.Yield(), "Block": ctx.Block(func() {}), "Err": ctx.Err(), "Stash": ctx.Stash(),
			"Offload": ctx.Offload(ctx, func() error { return nil }), "Unstash": ctx.Unstash(), "SetValue": ctx.SetValue(1),
			"Reply": ctx.Reply(&num{}), "Fail": ctx.Fail(errPoke), "Link": ctx.Link(peer.AnyRef), "Unlink": ctx.Unlink(peer.AnyRef),
			"Demonitor": ctx.Demonitor(actor.MonitorRef{}), "TrapExit": actor.TrapExit(ctx, asNum), "Become": actor.Become(ctx, idler()),
			"Forward": actor.Forward(ctx, peer, &num{}), "Join": sys.Join(ctx), "Quiesce": quiesceUnder(sys, ctx),
			"RunScope": actor.RunScope(ctx, func(*actor.Scope) error { return nil }), "Lock": new(actor.Mutex).Lock(ctx),
			"Event": new(actor.Event).Wait(ctx),
		}
		_, errs["Suspend"] = ctx.Suspend(ctx)
		_, errs["SuspendFor"] = ctx.SuspendFor(0, 1)
		_, errs["SuspendFor a second"] = ctx.SuspendFor(time.Second, 1)
		_, errs["Responder"] = ctx.Responder()
		_, errs["Call"] = actor.Call[*num](ctx, peer, &num{})
		_, errs["Wait"] = peer.Wait(ctx)
		_, errs["Spawn"] = actor.Spawn(ctx, idler())
		_, _, errs["SpawnMonitor"] = actor.SpawnMonitor(ctx, idler(), asNum)
		_, errs["Monitor"] = actor.Monitor(ctx, peer.AnyRef, asNum)
		_, errs["SendAfter"] = actor.SendAfter(ctx, 0, peer, &num{})
		_, errs["SendEvery"] = actor.SendEvery(ctx, time.Hour, peer, &num{})
		for what, err := range errs {
			if err == nil {
				t.Errorf("%s under a %s Context was accepted", what, name)
			}
		}
		wantErr(t, "send", peer.Send(ctx, &num{}), nil)
		bounded, cancel := ctx.WithTimeout(time.Hour)
		<-bounded.Done()
		cancel()
		shielded, cancel := ctx.Cleanup(time.Hour)
		_ = shielded.Err()
		cancel()
		derived, cancel := context.WithCancel(ctx)
		<-derived.Done()
		cancel()
		ctx.AfterFunc(func() {})()
		ctx.Stop()
		ctx.Log().Info("nobody")
		_, has := ctx.Deadline()
		_, is := actor.FromContext(ctx)
		if has || is || ctx.IsCall() || ctx.Stopping() || ctx.Name() != "" || ctx.System() != nil || ctx.Value(1) != nil ||
			!ctx.Self().IsZero() || !ctx.Parent().IsZero() || len(ctx.Children()) != 0 {
			t.Errorf("a %s Context tells tales", name)
		}
	}
}

// quiesceUnder is Quiesce while something runs, so that the context matters.
func quiesceUnder(sys *actor.System, ctx *actor.Context) error {
	var in sync.WaitGroup
	in.Add(1)
	gate := make(chan struct{})
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		in.Done()
		return ctx.Block(func() { <-gate })
	}))
	in.Wait()
	defer close(gate)
	return sys.Quiesce(ctx)
}
