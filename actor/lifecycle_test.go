package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// places is every place where an actor can be when it is asked to end.
func places(t *testing.T, sys *actor.System) map[string]func() actor.Ref[*num] {
	silent := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		_, err := ctx.Responder()
		return err
	}))
	full := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) }),
		actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}})
	tell(t, full, 1)
	routine := func(f func(ctx *actor.Context, in *actor.Inbox[*num]) error) func() actor.Ref[*num] {
		return func() actor.Ref[*num] { return actor.MustSpawn(sys, actor.Routine(f)) }
	}
	return map[string]func() actor.Ref[*num]{
		"fresh handler": func() actor.Ref[*num] { return actor.MustSpawn(sys, idler()) },
		"idle handler": func() actor.Ref[*num] {
			a := actor.MustSpawn(sys, idler())
			tell(t, a, 1)
			return a
		},
		"handler in Sleep": func() actor.Ref[*num] {
			a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, _ *num) error { return ctx.Sleep(time.Hour) }))
			tell(t, a, 1)
			return a
		},
		"Sleep":   routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) }),
		"Receive": routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { _, err := in.Receive(ctx); return err }),
		"Receive with a deadline": routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, err := in.ReceiveTimeout(time.Hour)
			return err
		}),
		"Receive under a derived context": routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			_, err := in.Receive(derived)
			return err
		}),
		"All": func() actor.Ref[*num] { return actor.MustSpawn(sys, hold()) },
		"Call": routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, err := actor.Call[*num](ctx, silent, &num{})
			return err
		}),
		"Suspend":      routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { _, err := ctx.Suspend(ctx); return err }),
		"full mailbox": routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { return full.Send(ctx, &num{}) }),
		"Wait":         routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { _, err := full.Wait(ctx); return err }),
		"endless Yield": routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for {
				if err := ctx.Yield(); err != nil {
					return err
				}
			}
		}),
	}
}

// LIFE-1, LIFE-2, LIFE-3: Stop and Kill end an actor wherever it is, with their own reason, once.
func TestEndEverywhere(t *testing.T) {
	ends := map[string]struct {
		end  func(actor.AnyRef)
		kind actor.ReasonKind
	}{
		"Stop":          {actor.AnyRef.Stop, actor.ReasonNormal},
		"Shutdown":      {actor.AnyRef.Shutdown, actor.ReasonShutdown},
		"Kill":          {actor.AnyRef.Kill, actor.ReasonKilled},
		"Stop and Kill": {func(r actor.AnyRef) { r.Kill(); r.Stop(); r.Shutdown() }, actor.ReasonKilled},
	}
	for name, e := range ends {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				for place, spawn := range places(t, sys) {
					for _, atRest := range []bool{true, false} {
						a := spawn()
						if atRest && place != "endless Yield" {
							settle(t, sys)
						}
						down := make(chan actor.Down, 2)
						watcher := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
							_, err := actor.Monitor(ctx, a.AnyRef, func(d actor.Down) *num { down <- d; return &num{} })
							if err != nil {
								return err
							}
							down <- actor.Down{}
							_, err = in.Receive(ctx)
							return err
						}))
						await(t, down)
						e.end(a.AnyRef)
						if d := await(t, down); d.Reason.Kind != e.kind || d.Ref != a.AnyRef {
							t.Fatalf("%s, at rest %v: %+v", place, atRest, d)
						}
						outcome(t, a.AnyRef)
						wantKind(t, watcher.AnyRef, actor.ReasonNormal)
						e.end(a.AnyRef)
					}
				}
				settle(t, sys)
			})
		})
	}
}

// LIFE-2: a Stop overtakes messages: the one in hand is the last, the others are dead letters.
func TestStopOvertakesMessages(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref, seen, _ := gated(t, sys, actor.Mailbox{})
		tell(t, ref, 1, 2, 3)
		ref.Stop()
		wantKind(t, ref.AnyRef, actor.ReasonNormal)
		if l := settle(t, sys); len(seen.all()) != 0 || l.ByReason[actor.DeadStopped] != 3 {
			t.Fatalf("handled %v: %v", seen.all(), l)
		}
		self := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			seen.add(m.Value)
			ctx.Stop()
			if !ctx.Stopping() || !errors.Is(ctx.Err(), actor.ErrStopped) || !errors.Is(ctx.Sleep(time.Hour), actor.ErrStopped) {
				return errors.New("not stopping")
			}
			return nil
		}))
		tell(t, self, 7)
		wantKind(t, self.AnyRef, actor.ReasonNormal)
	})
}

// LIFE-4: a Drain lets the actor finish what was queued before it, wherever it waits; what comes later is a dead letter.
func TestDrain(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref, seen, open := gated(t, sys, actor.Mailbox{})
		tell(t, ref, 1, 2)
		wantErr(t, "drain", ref.Drain(), nil)
		tell(t, ref, 3)
		open()
		wantKind(t, ref.AnyRef, actor.ReasonNormal)
		l := settle(t, sys)
		if got := fmt.Sprint(seen.all()); got != "[1 2]" || l.ByReason[actor.DeadStopped] != 1 {
			t.Fatalf("handled %v: %v", got, l)
		}
		for _, b := range []actor.Behaviour[*num]{idler(), hold()} {
			a := actor.MustSpawn(sys, b)
			tell(t, a, 1)
			wantErr(t, "drain", a.Drain(), nil)
			wantKind(t, a.AnyRef, actor.ReasonNormal)
		}
	})
}

// LIFE-7: an actor's children have ended when anybody is told of its end, and a deep tree ends like a shallow one.
func TestChildrenEndFirst(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, end := range []func(actor.AnyRef){actor.AnyRef.Stop, actor.AnyRef.Kill, func(r actor.AnyRef) { _ = r.Interrupt(errors.New("x")) }} {
			var living atomic.Int32
			var order collector[int]
			child := func(n int) actor.Behaviour[*num] {
				return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					defer func() {
						_ = ctx.Sleep(time.Microsecond)
						order.add(n)
						living.Add(-1)
					}()
					return ctx.Sleep(time.Hour)
				})
			}
			ready := make(chan error, 1)
			parent := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				for i := range 10 {
					living.Add(1)
					r := actor.MustSpawn(ctx, child(i))
					if kids := ctx.Children(); len(kids) != i+1 || kids[0] != r.AnyRef {
						ready <- fmt.Errorf("children: %v", kids)
					}
				}
				ready <- nil
				return ctx.Sleep(time.Hour)
			}))
			wantErr(t, "children", await(t, ready), nil)
			settle(t, sys)
			end(parent.AnyRef)
			outcome(t, parent.AnyRef)
			if n := living.Load(); n != 0 {
				t.Fatalf("%d children live on", n)
			}
			if got := order.all(); len(got) != 10 {
				t.Fatalf("ended: %v", got)
			}
		}
	})
}

// LIFE-7: the same with 10,000 generations, stopped and killed from the top.
func TestDeepTree(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, kill := range []bool{false, true} {
			const depth = 10_000
			var ended atomic.Int32
			deepest := make(chan struct{})
			var grow func(n int) actor.Behaviour[*num]
			grow = func(n int) actor.Behaviour[*num] {
				return actor.Handler(func(ctx *actor.Context, m *num) error {
					if n == depth {
						close(deepest)
						return nil
					}
					child, err := actor.Spawn(ctx, grow(n+1), actor.Options{OnExit: func(*actor.Context, actor.Reason) { ended.Add(1) }})
					if err != nil {
						return err
					}
					return child.Send(ctx, m)
				})
			}
			root := actor.MustSpawn(sys, grow(0))
			tell(t, root, 1)
			await(t, deepest)
			if kill {
				root.Kill()
			} else {
				root.Stop()
			}
			outcome(t, root.AnyRef)
			if n := ended.Load(); n != depth {
				t.Fatalf("%d of %d ended", n, depth)
			}
		}
	})
}

// LIFE-9: OnStart runs before the first message, and its error is the actor's end.
func TestOnStart(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		failing := errors.New("cannot start")
		for _, b := range []actor.Behaviour[*num]{idler(), hold()} {
			a := actor.MustSpawn(sys, b, actor.Options{OnStart: func(ctx *actor.Context) error {
				_ = ctx.Sleep(time.Microsecond)
				return failing
			}})
			wantErr(t, "reason", wantKind(t, a.AnyRef, actor.ReasonError).Err, failing)
		}
		var order collector[string]
		a := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { order.add("message"); return nil }), actor.Options{
			OnStart: func(*actor.Context) error { order.add("start"); return nil },
			OnExit:  func(_ *actor.Context, why actor.Reason) { order.add("exit " + why.String()) },
		})
		tell(t, a, 1)
		settle(t, sys)
		a.Stop()
		outcome(t, a.AnyRef)
		if got := order.all(); !slices.Equal(got, []string{"start", "message", "exit normal"}) {
			t.Fatal(got)
		}
	})
}

// SYS-1: Join returns when the last actor that is no daemon has ended, and the System stays usable.
func TestJoinAndDaemons(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		daemon := actor.MustSpawn(sys, hold(), actor.Options{Daemon: true})
		system := actor.MustSpawn(sys, hold(), actor.Options{System: true})
		for range 3 {
			a := actor.MustSpawn(sys, hold())
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			wantErr(t, "join while one lives", sys.Join(ctx), context.DeadlineExceeded)
			cancel()
			a.Stop()
			wantErr(t, "join", sys.Join(patient(t)), nil)
		}
		if !daemon.Alive() || !system.Alive() {
			t.Fatal("Join ended a daemon")
		}
		inside := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if sys.Join(ctx) == nil || sys.Quiesce(ctx) == nil || sys.Stop(ctx) == nil {
				return errors.New("an actor waited for itself")
			}
			return nil
		}))
		wantKind(t, inside.AnyRef, actor.ReasonNormal)
	})
}

// SYS-12: an actor may become a daemon and a usual actor again, and its children are what their own options say.
func TestSetDaemon(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		wantJoin := func(what string, over bool) {
			t.Helper()
			ctx, cancel := context.WithCancel(context.Background())
			if !over {
				cancel()
			}
			defer cancel()
			if err := sys.Join(ctx); (err == nil) != over {
				t.Fatalf("%s: join: %v", what, err)
			}
		}
		var child actor.Ref[*num]
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value < 2 {
				for range 2 { // twice is once
					if err := ctx.SetDaemon(m.Value == 1); err != nil {
						return err
					}
				}
			} else {
				child = actor.MustSpawn(ctx, idler())
			}
			return ctx.Reply(m)
		}))
		do := func(v int64) {
			t.Helper()
			if _, err := actor.Call[*num](context.Background(), a, &num{Value: v}); err != nil {
				t.Fatal(err)
			}
		}
		wantJoin("at first", false)
		do(1)
		wantJoin("as a daemon", true)
		do(2)
		wantJoin("with a child", false)
		child.Stop()
		outcome(t, child.AnyRef)
		wantJoin("when the child has ended", true)
		do(0)
		wantJoin("as a usual actor", false)
		joined := make(chan error, 1)
		go func() { joined <- sys.Join(context.Background()) }()
		do(1)
		wantErr(t, "a Join under way", await(t, joined), nil)
		a.Stop()
		outcome(t, a.AnyRef)
		wantJoin("at last", true)

		system := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if ctx.SetDaemon(false) == nil {
				return errors.New("it may")
			}
			elsewhere := make(chan error, 1)
			go func() { elsewhere <- ctx.SetDaemon(true) }()
			var err error
			_ = ctx.Block(func() { err = <-elsewhere })
			if !errors.Is(err, actor.ErrForeignGoroutine) {
				return err
			}
			return ctx.SetDaemon(true)
		}), actor.Options{System: true})
		wantKind(t, system.AnyRef, actor.ReasonNormal)
	})
}

// BAD-23: Parent may be asked for from any goroutine, also while the actor ends.
func TestParentFromElsewhere(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var all sync.WaitGroup
		p := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			self := ctx.Self()
			_, err := actor.Spawn(ctx, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				all.Go(func() {
					for range 1000 {
						if r := ctx.Parent(); !r.IsZero() && r != self {
							t.Errorf("the parent is %v and not %v", r, self)
						}
					}
				})
				return nil
			}))
			return err
		}))
		for i := range int64(20) {
			tell(t, p, i)
		}
		settle(t, sys)
		all.Wait()
	})
}

// SYS-2: Stop runs the exit hooks by priority while actors still run, then ends all; a second Stop finds all ended.
func TestStopRunsHooks(t *testing.T) {
	eachProcs(t, func(t *testing.T, _ *actor.System) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		var order collector[int]
		for i, priority := range []int{1, 3, 2, 3} {
			_, err := sys.AtExit(priority, func(ctx context.Context) {
				if _, err := actor.Call[*num](ctx, echo, &num{}); err != nil {
					t.Errorf("call from a hook: %v", err)
				}
				if a, err := actor.Spawn(sys, idler()); err != nil || a.Send(ctx, &num{}) != nil {
					t.Errorf("spawn from a hook: %v", err)
				}
				order.add(10*priority + i)
				if i == 2 {
					panic("in a hook")
				}
			})
			wantErr(t, "at exit", err, nil)
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				var failed *actor.PanicError
				if err := sys.Stop(patient(t)); !errors.As(err, &failed) || failed.Value != "in a hook" {
					t.Errorf("stop: %v", err)
				}
			})
		}
		all.Wait()
		if got := fmt.Sprint(order.all()); got != "[31 33 22 10]" {
			t.Fatal(got)
		}
		if l := sys.Ledger(); !l.Exact || !l.Balanced() {
			t.Fatal(l)
		}
		wantErr(t, "close after stop", sys.Close(), nil)
	})
}

// SYS-4: actors that ignore the request to stop are killed when the grace is over; code that never waits is named in the error.
func TestStopKillsAfterTheGrace(t *testing.T) {
	eachProcs(t, func(t *testing.T, _ *actor.System) {
		sys, err := actor.NewSystem(actor.SystemOptions{Grace: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		stubborn := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for {
				_ = ctx.Sleep(time.Hour)
			}
		}))
		wantErr(t, "stop", sys.Stop(context.Background()), nil)
		if stubborn.Alive() {
			t.Fatal("it lives on")
		}
	})
}

// LIFE-10: Wait returns the value from goroutines and from actors, before and after the end.
func TestWaitReturnsTheValue(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		failing := errors.New("failed")
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			m, err := in.Receive(ctx)
			if err != nil {
				return err
			}
			if err := ctx.SetValue(m.Value); err != nil {
				return err
			}
			if m.Value < 0 {
				return failing
			}
			return nil
		}))
		const waiters = 20
		got := make(chan any, 2*waiters)
		for range waiters {
			go func() { v, _ := a.Wait(context.Background()); got <- v }()
			actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				v, _ := a.Wait(ctx)
				got <- v
				return nil
			}))
		}
		settle(t, sys)
		tell(t, a, 42)
		for range 2 * waiters {
			if v := await(t, got); v != int64(42) {
				t.Fatal(v)
			}
		}
		if v, why := outcome(t, a.AnyRef); v != int64(42) || !why.Normal() {
			t.Fatal(v, why)
		}
		_, err := actor.AnyRef{}.Wait(context.Background())
		wantErr(t, "wait for nobody", err, actor.ErrNoActor)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b := actor.MustSpawn(sys, hold())
		_, err = b.Wait(ctx)
		wantErr(t, "wait with a cancelled context", err, context.Canceled)
		self := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, err := ctx.Self().Wait(ctx)
			if _, dead := errors.AsType[*actor.DeadlockError](err); !dead {
				return errors.New("waited for itself")
			}
			bounded, cancel := ctx.WithTimeout(time.Microsecond)
			defer cancel()
			if _, err := b.Wait(bounded); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("bounded wait: %w", err)
			}
			return nil
		}))
		if _, why := outcome(t, self.AnyRef); !why.Normal() {
			t.Fatal(why)
		}
	})
}

// SYS-5: a Spawn that meets a Stop is refused, or its actor is ended by it: nobody is left behind.
func TestSpawnMeetsStop(t *testing.T) {
	eachProcs(t, func(t *testing.T, _ *actor.System) {
		for range 50 {
			sys, err := actor.NewSystem()
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for {
						r, err := actor.Spawn(sys, hold())
						if err != nil {
							wantErr(t, "spawn", err, actor.ErrStopped)
							return
						}
						_ = r.Send(context.Background(), &num{})
					}
				})
			}
			if err := sys.Stop(patient(t)); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			if l := sys.Ledger(); !l.Exact || !l.Balanced() {
				t.Fatal(l)
			}
		}
	})
}
