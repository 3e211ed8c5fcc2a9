package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

var errPanicked = errors.New("on purpose")

// run starts an actor that does f and ends with what f returns.
func run(from actor.Spawner, f func(ctx *actor.Context) error, o ...actor.Options) actor.AnyRef {
	return actor.MustSpawn(from, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		return f(ctx)
	}), o...).AnyRef
}

// settled returns once no actor runs or is runnable: all wait for what the test does next.
func settled(t *testing.T, sys *actor.System) {
	t.Helper()
	if err := sys.Quiesce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func ended(t *testing.T, refs ...actor.AnyRef) {
	t.Helper()
	for _, r := range refs {
		if _, err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// until is a behaviour that holds l until e is set.
func until(l actor.Locker, e *actor.Event) func(*actor.Context) error {
	return func(ctx *actor.Context) error {
		if err := l.Lock(ctx); err != nil {
			return err
		}
		if err := e.Wait(ctx); err != nil {
			return err
		}
		return l.Unlock(ctx)
	}
}

// lockers are the kinds of lock, a fresh one of each.
func lockers() map[string]actor.Locker {
	return map[string]actor.Locker{
		"mutex":     new(actor.Mutex),
		"reentrant": new(actor.ReentrantMutex),
		"cond":      new(actor.Cond).L(),
	}
}

// LOCK-1: one actor at a time holds a lock, and what it wrote the next one sees.
func TestLockExcludes(t *testing.T) {
	for name, l := range lockers() {
		t.Run(name, func(t *testing.T) {
			sys := newSystem(t, actor.SystemOptions{Workers: 4})
			const actors, rounds = 50, 200
			n, inside := 0, 0
			var refs []actor.AnyRef
			for i := range actors {
				refs = append(refs, run(sys, func(ctx *actor.Context) error {
					for k := range rounds {
						if err := l.Lock(ctx); err != nil {
							return err
						}
						if inside++; inside != 1 {
							return fmt.Errorf("%d inside", inside)
						}
						if (i+k)%7 == 0 {
							if err := ctx.Yield(); err != nil {
								return err
							}
						}
						n++
						inside--
						if err := l.Unlock(ctx); err != nil {
							return err
						}
					}
					return nil
				}))
			}
			ended(t, refs...)
			if n != actors*rounds {
				t.Errorf("counted %d of %d", n, actors*rounds)
			}
		})
	}
}

// LOCK-2: first come, first served.
func TestLockIsFirstComeFirstServed(t *testing.T) {
	for name, l := range lockers() {
		t.Run(name, func(t *testing.T) {
			sys := newSystem(t)
			var release actor.Event
			run(sys, until(l, &release))
			settled(t, sys)
			var order []int
			var refs []actor.AnyRef
			for i := range 20 {
				refs = append(refs, run(sys, func(ctx *actor.Context) error {
					if err := l.Lock(ctx); err != nil {
						return err
					}
					order = append(order, i)
					if err := ctx.Yield(); err != nil { // a barger would come in here
						return err
					}
					return l.Unlock(ctx)
				}))
				settled(t, sys)
			}
			release.Set()
			ended(t, refs...)
			if !slices.IsSorted(order) || len(order) != len(refs) {
				t.Errorf("order: %v", order)
			}
		})
	}
}

// LOCK-2: an Unlock hands the lock to the oldest waiter; its former owner, and TryLock, come behind those who wait.
func TestLockIsHandedOverNotBarged(t *testing.T) {
	sys := newSystem(t)
	var m actor.Mutex
	var release actor.Event
	var order []string
	first := run(sys, func(ctx *actor.Context) error {
		if err := errors.Join(m.Lock(ctx), release.Wait(ctx), m.Unlock(ctx)); err != nil {
			return err
		}
		if ok, err := m.TryLock(ctx); ok || err != nil {
			return fmt.Errorf("TryLock past the queue: %v, %w", ok, err)
		}
		if err := m.Lock(ctx); err != nil {
			return err
		}
		order = append(order, "first")
		return m.Unlock(ctx)
	})
	settled(t, sys)
	second := run(sys, func(ctx *actor.Context) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		order = append(order, "second")
		return errors.Join(ctx.Yield(), m.Unlock(ctx))
	})
	settled(t, sys)
	release.Set()
	ended(t, first, second)
	if !slices.Equal(order, []string{"second", "first"}) {
		t.Errorf("order: %v", order)
	}
}

// LOCK-4: a holder that ends, however it does and however deep it holds the lock, gives it to the next.
func TestLockOutlivesNoHolder(t *testing.T) {
	ends := map[string]func(*actor.Context) error{
		"returns": func(*actor.Context) error { return nil },
		"fails":   func(*actor.Context) error { return errPanicked },
		"panics":  func(*actor.Context) error { panic(errPanicked) },
		"goexits": func(*actor.Context) error { runtime.Goexit(); return nil },
		"killed":  func(ctx *actor.Context) error { ctx.Self().Kill(); return ctx.Sleep(time.Hour) },
		"stopped": func(ctx *actor.Context) error { ctx.Self().Stop(); return ctx.Sleep(time.Hour) },
	}
	for how, end := range ends {
		for name, l := range lockers() {
			t.Run("lock="+name+"/end="+how, func(t *testing.T) {
				sys := newSystem(t)
				var release actor.Event
				holder := run(sys, func(ctx *actor.Context) error {
					for range 3 {
						if err := l.Lock(ctx); err != nil && !errors.As(err, new(*actor.DeadlockError)) {
							return err
						}
					}
					if err := release.Wait(ctx); err != nil {
						return err
					}
					return end(ctx)
				})
				settled(t, sys)
				next := run(sys, func(ctx *actor.Context) error {
					return errors.Join(l.Lock(ctx), l.Unlock(ctx))
				})
				settled(t, sys)
				release.Set()
				ended(t, next)
				_, _ = holder.Wait(t.Context())
				ended(t, run(sys, func(ctx *actor.Context) error { // and it is free, not left with somebody
					if ok, err := l.TryLock(ctx); !ok || err != nil {
						return fmt.Errorf("TryLock: %v, %w", ok, err)
					}
					return nil
				}))
			})
		}
	}
}

// LOCK-3: whoever waits for a lock under a context that ends, or is interrupted, stopped or killed, does not get it.
func TestLockWaitersGiveUp(t *testing.T) {
	cases := map[string]struct {
		wait func(ctx *actor.Context, l *actor.Mutex) error
		end  func(r actor.AnyRef)
		want error
	}{
		"timeout": {wait: func(ctx *actor.Context, l *actor.Mutex) error {
			c, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			return l.Lock(c)
		}, want: context.DeadlineExceeded},
		"std timeout": {wait: func(ctx *actor.Context, l *actor.Mutex) error {
			c, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return l.Lock(c)
		}, want: context.DeadlineExceeded},
		"cancel": {wait: func(ctx *actor.Context, l *actor.Mutex) error {
			c, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return l.Lock(c)
		}, want: context.Canceled},
		"interrupt": {end: func(r actor.AnyRef) { _ = r.Interrupt(errPanicked) }, want: errPanicked},
		"stop":      {end: actor.AnyRef.Stop, want: actor.ErrStopped},
		"kill":      {end: actor.AnyRef.Kill, want: actor.ErrKilled},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys := newSystem(t)
				var m actor.Mutex
				var release actor.Event
				first := run(sys, until(&m, &release))
				synctest.Wait()
				got := make(chan error, 1)
				quitter := run(sys, func(ctx *actor.Context) error {
					var err error
					defer func() {
						if err == nil { // Goexit
							err = m.Lock(ctx)
						}
						got <- errors.Join(err, m.Unlock(ctx))
					}()
					if c.wait != nil {
						err = c.wait(ctx, &m)
					} else {
						err = m.Lock(ctx)
					}
					return nil
				})
				synctest.Wait()
				last := run(sys, until(&m, &release))
				synctest.Wait()
				if c.end != nil {
					c.end(quitter)
				}
				if err := <-got; !errors.Is(err, c.want) || !errors.Is(err, actor.ErrNotOwner) {
					t.Errorf("the lock of one that gave up: %v", err)
				}
				release.Set()
				ended(t, first, last)
			})
		})
	}
}

// LOCK-6: only the owner unlocks, waits and signals.
func TestLockOwnership(t *testing.T) {
	for name, l := range lockers() {
		t.Run(name, func(t *testing.T) {
			sys := newSystem(t)
			var release actor.Event
			holder := run(sys, until(l, &release))
			settled(t, sys)
			c := actor.NewCond(l)
			ended(t, run(sys, func(ctx *actor.Context) error {
				for what, err := range map[string]error{
					"Unlock": l.Unlock(ctx), "Wait": c.Wait(ctx), "Signal": c.Signal(ctx), "Broadcast": c.Broadcast(ctx),
				} {
					if !errors.Is(err, actor.ErrNotOwner) {
						return fmt.Errorf("%s without the lock: %w", what, err)
					}
				}
				if ok, err := l.TryLock(ctx); ok || err != nil {
					return fmt.Errorf("TryLock of a held lock: %v, %w", ok, err)
				}
				return nil
			}))
			release.Set()
			ended(t, holder)
		})
	}
}

// LOCK-6: goroutines cannot hold a lock, nor use that of an actor.
func TestLockRefusesGoroutines(t *testing.T) {
	sys := newSystem(t)
	var m actor.Mutex
	var c actor.Cond
	for what, err := range map[string]error{
		"Lock": m.Lock(t.Context()), "Unlock": m.Unlock(t.Context()), "Wait": c.Wait(t.Context()), "Signal": c.Signal(t.Context()),
	} {
		if !errors.Is(err, actor.ErrNotActor) {
			t.Errorf("%s from a goroutine: %v", what, err)
		}
	}
	var none *actor.Context
	for what, f := range map[string]func(context.Context) error{
		"Lock": m.Lock, "Unlock": m.Unlock, "Wait": c.Wait, "Signal": c.Signal, "event": new(actor.Event).Wait,
	} {
		if f(nil) == nil || f(none) == nil {
			t.Errorf("%s takes a nil context", what)
		}
	}
	ended(t, run(sys, func(ctx *actor.Context) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		var locked, unlocked error
		done := make(chan struct{})
		go func() {
			defer close(done)
			locked, unlocked = m.Lock(ctx), m.Unlock(ctx)
		}()
		<-done
		if !errors.Is(locked, actor.ErrForeignGoroutine) || !errors.Is(unlocked, actor.ErrForeignGoroutine) {
			return fmt.Errorf("from a foreign goroutine: %w, %w", locked, unlocked)
		}
		return m.Unlock(ctx)
	}))
}

// LOCK-5: a reentrant lock takes as many Unlocks as it took Locks, and only then does another get it.
func TestReentrantMutexCounts(t *testing.T) {
	sys := newSystem(t)
	var m actor.ReentrantMutex
	var release actor.Event
	holder := run(sys, func(ctx *actor.Context) error {
		ok, err := m.TryLock(ctx)
		if err := errors.Join(err, m.Lock(ctx), m.Lock(ctx), m.Unlock(ctx), m.Unlock(ctx), release.Wait(ctx)); err != nil || !ok {
			return fmt.Errorf("%v, %w", ok, err)
		}
		if err := m.Unlock(ctx); err != nil {
			return err
		}
		if err := m.Unlock(ctx); !errors.Is(err, actor.ErrNotOwner) {
			return fmt.Errorf("one Unlock too many: %w", err)
		}
		return nil
	})
	settled(t, sys)
	var got atomic.Bool
	next := run(sys, func(ctx *actor.Context) error {
		err := m.Lock(ctx)
		got.Store(true)
		return errors.Join(err, m.Unlock(ctx))
	})
	settled(t, sys)
	if got.Load() {
		t.Error("two of three levels released, and another has the lock")
	}
	release.Set()
	ended(t, holder, next)
}

// LOCK-7: those who wait for a Mutex, a Cond, an Event or a Semaphore hold no slot.
func TestLockWaitersHoldNoSlot(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 1, StuckAfter: time.Hour})
	var m actor.Mutex
	var c actor.Cond
	var e, never actor.Event
	s, _ := actor.NewSemaphore(1)
	holder := run(sys, func(ctx *actor.Context) error {
		return errors.Join(m.Lock(ctx), s.Acquire(ctx), e.Wait(ctx))
	})
	settled(t, sys)
	var refs []actor.AnyRef
	for range 100 {
		for _, wait := range []func(context.Context) error{m.Lock, s.Acquire, never.Wait, func(ctx context.Context) error {
			return errors.Join(c.Lock(ctx), c.Wait(ctx))
		}} {
			refs = append(refs, run(sys, func(ctx *actor.Context) error { return wait(ctx) }))
		}
	}
	settled(t, sys)
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
	for i := range int64(100) {
		if _, err := actor.Call[*num](t.Context(), echo, &num{Value: i}); err != nil {
			t.Fatal(err)
		}
	}
	e.Set()
	never.Set()
	ended(t, run(sys, func(ctx *actor.Context) error { return errors.Join(c.Lock(ctx), c.Broadcast(ctx)) }))
	ended(t, append(refs, holder)...)
}

// LOCK-6: a lock belongs to the actor, not to the message or the stack that took it.
func TestLockIsTheActors(t *testing.T) {
	sys := newSystem(t)
	var m actor.Mutex
	keeper := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, n *num) error {
		err := m.Lock(ctx)
		if n.Value == 0 {
			err = m.Unlock(ctx)
		}
		if err != nil {
			return ctx.Fail(err)
		}
		return ctx.Reply(n)
	}))
	call := func(ctx context.Context, n int64) error {
		_, err := actor.Call[*num](ctx, keeper, &num{Value: n})
		return err
	}
	if err := call(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := isDeadlock(call(t.Context(), 1), keeper.AnyRef, keeper.AnyRef); err != nil {
		t.Error(err)
	}
	next := run(sys, func(ctx *actor.Context) error { return m.Lock(ctx) })
	settled(t, sys)
	if err := call(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	ended(t, next)
}

// LOCK-1: that holds for actors of several Systems too.
func TestLockAcrossSystems(t *testing.T) {
	systems := []*actor.System{newSystem(t), newSystem(t)}
	var m actor.Mutex
	n := 0
	var refs []actor.AnyRef
	for i := range 8 {
		refs = append(refs, run(systems[i%2], func(ctx *actor.Context) error {
			for range 100 {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				n++
				if err := errors.Join(ctx.Yield(), m.Unlock(ctx)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	ended(t, refs...)
	if n != 800 {
		t.Errorf("counted %d of 800", n)
	}
}

// LOCK-4: what OnExit locks is given back too.
func TestLockInOnExit(t *testing.T) {
	sys := newSystem(t)
	var m actor.Mutex
	var release actor.Event
	holder := run(sys, until(&m, &release))
	settled(t, sys)
	got := make(chan error, 1)
	quitter := run(sys, func(ctx *actor.Context) error { return ctx.Sleep(time.Hour) }, actor.Options{
		OnExit: func(ctx *actor.Context, _ actor.Reason) { got <- m.Lock(ctx) }, // and never unlocks
	})
	settled(t, sys)
	quitter.Stop()
	settled(t, sys)
	release.Set()
	ended(t, holder, quitter)
	if err := <-got; err != nil {
		t.Errorf("Lock while cleaning up: %v", err)
	}
	ended(t, run(sys, func(ctx *actor.Context) error { return m.Lock(ctx) }))
}

// LOCK-10: under Cleanup an actor that was asked to stop still waits for locks and Conds.
func TestLockInCleanup(t *testing.T) {
	sys := newSystem(t)
	var m actor.Mutex
	c := actor.NewCond(&m)
	ready := false
	holder := run(sys, func(ctx *actor.Context) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		err := ctx.Sleep(time.Hour) // asked to stop with the lock in its hands
		ready = true
		return errors.Join(err, c.Signal(ctx), m.Unlock(ctx))
	})
	settled(t, sys)
	got := make(chan error, 1)
	quitter := run(sys, func(ctx *actor.Context) error {
		defer func() {
			l, cancel := ctx.Cleanup(time.Minute)
			defer cancel()
			err := m.Lock(l)
			for err == nil && !ready {
				err = c.Wait(l)
			}
			got <- errors.Join(err, m.Unlock(l))
		}()
		return ctx.Sleep(time.Hour)
	})
	settled(t, sys)
	quitter.Stop()
	settled(t, sys)
	holder.Stop()
	if err := <-got; err != nil {
		t.Error(err)
	}
	ended(t, quitter)
}

// relay answers each message with what do returns.
func relay(sys *actor.System, do func(ctx *actor.Context) error) actor.Ref[*num] {
	return actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		err := do(ctx)
		switch {
		case !ctx.IsCall():
			return err
		case err != nil:
			return ctx.Fail(err)
		}
		return ctx.Reply(m)
	}))
}

func isDeadlock(err error, path ...actor.AnyRef) error {
	dead, ok := errors.AsType[*actor.DeadlockError](err)
	if !ok {
		return fmt.Errorf("no deadlock found: %w", err)
	}
	if !slices.Equal(dead.Path, path) {
		return fmt.Errorf("another cycle: %v, not %v", dead.Path, path)
	}
	return nil
}

// LOCK-8, SEMA-5: an actor that would wait for itself is told so.
func TestLockDeadlockWithItself(t *testing.T) {
	sys := newSystem(t)
	ended(t, run(sys, func(ctx *actor.Context) error {
		var m actor.Mutex
		s, err := actor.NewSemaphore(2)
		err = errors.Join(err, m.Lock(ctx), s.Acquire(ctx), s.Acquire(ctx))
		if err != nil {
			return err
		}
		return errors.Join(isDeadlock(m.Lock(ctx), ctx.Self(), ctx.Self()), m.Unlock(ctx),
			isDeadlock(s.Acquire(ctx), ctx.Self(), ctx.Self()), s.Release(ctx))
	}))
}

// LOCK-8: a cycle of two locks is found, and named from the one that closes it.
func TestLockDeadlockOfTwoLocks(t *testing.T) {
	sys := newSystem(t)
	var m, n actor.Mutex
	var e1, e2 actor.Event
	first := run(sys, func(ctx *actor.Context) error {
		return errors.Join(m.Lock(ctx), e1.Wait(ctx), n.Lock(ctx))
	})
	settled(t, sys)
	second := run(sys, func(ctx *actor.Context) error {
		if err := errors.Join(n.Lock(ctx), e2.Wait(ctx)); err != nil {
			return err
		}
		return errors.Join(isDeadlock(m.Lock(ctx), ctx.Self(), first, ctx.Self()), n.Unlock(ctx), m.Lock(ctx))
	})
	settled(t, sys)
	e1.Set()
	settled(t, sys)
	e2.Set()
	ended(t, first, second)
}

// LOCK-8: a cycle that is closed from all sides at the same time is seen by somebody.
func TestLockDeadlockAtOnce(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 4})
	const rounds, actors = 200, 3
	for range rounds {
		var locks [actors]actor.Mutex
		var holding, found atomic.Int64
		var all actor.Event
		var refs []actor.AnyRef
		for i := range actors {
			refs = append(refs, run(sys, func(ctx *actor.Context) error {
				if err := locks[i].Lock(ctx); err != nil {
					return err
				}
				if holding.Add(1) == actors {
					all.Set()
				}
				if err := all.Wait(ctx); err != nil {
					return err
				}
				err := locks[(i+1)%actors].Lock(ctx)
				if errors.As(err, new(*actor.DeadlockError)) {
					found.Add(1)
					return nil
				}
				return err
			}))
		}
		ended(t, refs...)
		if n := found.Load(); n == 0 {
			t.Fatal("a cycle without a deadlock")
		}
	}
}

// LOCK-9: actors that lock in order never make a cycle, and none is reported while owners come and go.
func TestLockNoFalseDeadlock(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 4})
	var locks [5]actor.Mutex
	var refs []actor.AnyRef
	for i := range 16 {
		refs = append(refs, run(sys, func(ctx *actor.Context) error {
			for k := range 300 {
				want := (i*7+k*11)%31 + 1 // a set of locks
				for j := range locks {
					if want>>j&1 == 0 {
						continue
					}
					if err := locks[j].Lock(ctx); err != nil {
						return err
					}
				}
				for j := range locks {
					if want>>j&1 == 0 {
						continue
					}
					if err := locks[j].Unlock(ctx); err != nil {
						return err
					}
				}
			}
			return nil
		}))
	}
	ended(t, refs...)
}

// LOCK-8, LOCK-9: a waiter waits for whoever owns the lock by now: no cycle is seen through a former owner, and one through the new
// owner is.
func TestLockDeadlockFollowsTheOwner(t *testing.T) {
	sys := newSystem(t)
	var m actor.Mutex
	var e1, e2, e3 actor.Event
	var waiter actor.Ref[*num]
	ask := func(ctx *actor.Context) error {
		_, err := actor.Call[*num](ctx, waiter, &num{})
		return err
	}
	former := run(sys, func(ctx *actor.Context) error {
		if err := errors.Join(m.Lock(ctx), e1.Wait(ctx), m.Unlock(ctx), e2.Wait(ctx)); err != nil {
			return err
		}
		return ask(ctx) // waits for the waiter, which waits for the owner: no cycle
	})
	settled(t, sys)
	owner := run(sys, func(ctx *actor.Context) error {
		if err := errors.Join(m.Lock(ctx), e3.Wait(ctx)); err != nil {
			return err
		}
		err := isDeadlock(ask(ctx), ctx.Self(), waiter.AnyRef, ctx.Self())
		return errors.Join(err, m.Unlock(ctx))
	})
	settled(t, sys)
	waiter = relay(sys, func(ctx *actor.Context) error { return errors.Join(m.Lock(ctx), m.Unlock(ctx)) })
	if err := waiter.Send(t.Context(), &num{}); err != nil {
		t.Fatal(err)
	}
	settled(t, sys)
	e1.Set()
	settled(t, sys)
	e2.Set()
	settled(t, sys)
	e3.Set()
	ended(t, owner, former)
}

// LOCK-8: a cycle through a lock and a call is found.
func TestLockDeadlockThroughACall(t *testing.T) {
	for name, l := range lockers() {
		t.Run(name, func(t *testing.T) {
			sys := newSystem(t)
			got := make(chan error, 1)
			b := relay(sys, func(ctx *actor.Context) error {
				got <- l.Lock(ctx)
				return nil
			})
			a := run(sys, func(ctx *actor.Context) error {
				if err := l.Lock(ctx); err != nil {
					return err
				}
				_, err := actor.Call[*num](ctx, b, &num{})
				return errors.Join(err, l.Unlock(ctx))
			})
			ended(t, a)
			if err := isDeadlock(<-got, b.AnyRef, a, b.AnyRef); err != nil {
				t.Error(err)
			}
		})
	}
}

// COND-2: if the owner of the lock waits for the actor in Wait, that one is told, and goes on without the lock.
func TestLockDeadlockOnTheWayBackFromCond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(t)
		var c actor.Cond
		waited, unlocked := make(chan error, 1), make(chan error, 1)
		b := relay(sys, func(ctx *actor.Context) error {
			if ctx.IsCall() {
				return nil
			}
			if err := c.Lock(ctx); err != nil {
				return err
			}
			l, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			waited <- c.Wait(l)
			unlocked <- c.Unlock(ctx)
			return nil
		})
		if err := b.Send(t.Context(), &num{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a := run(sys, func(ctx *actor.Context) error {
			if err := c.Lock(ctx); err != nil {
				return err
			}
			_, err := actor.Call[*num](ctx, b, &num{}) // b would answer after its Wait
			return errors.Join(err, c.Unlock(ctx))
		})
		if err := isDeadlock(<-waited, b.AnyRef, a, b.AnyRef); err != nil {
			t.Error(err)
		}
		if err := <-unlocked; !errors.Is(err, actor.ErrNotOwner) {
			t.Errorf("unlock: %v", err)
		}
		ended(t, a)
	})
}

// COND-1: Wait returns with the lock held, as deep as before, also after a timeout, an interrupt or a request to stop.
func TestCondReacquires(t *testing.T) {
	cases := map[string]struct {
		end  func(r actor.AnyRef)
		want error
	}{
		"timeout":   {want: context.DeadlineExceeded},
		"interrupt": {end: func(r actor.AnyRef) { _ = r.Interrupt(errPanicked) }, want: errPanicked},
		"stop":      {end: actor.AnyRef.Stop, want: actor.ErrStopped},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys := newSystem(t)
				var cond actor.Cond
				var release actor.Event
				var back atomic.Bool
				got := make(chan error, 1)
				waiter := run(sys, func(ctx *actor.Context) error {
					if err := errors.Join(cond.Lock(ctx), cond.Lock(ctx)); err != nil {
						return err
					}
					l, cancel := ctx.WithTimeout(time.Second)
					defer cancel()
					err := cond.Wait(l)
					back.Store(true)
					// it was held twice before and is held twice again
					if err := errors.Join(cond.Unlock(ctx), cond.Unlock(ctx)); err != nil {
						return err
					}
					got <- err
					return nil
				})
				synctest.Wait()
				holder := run(sys, until(cond.L(), &release))
				synctest.Wait()
				if c.end != nil {
					c.end(waiter)
				} else {
					time.Sleep(2 * time.Second)
				}
				synctest.Wait()
				if back.Load() {
					t.Error("Wait returned while another actor held the lock")
				}
				release.Set()
				if err := <-got; !errors.Is(err, c.want) {
					t.Errorf("Wait: %v", err)
				}
				_, _ = waiter.Wait(t.Context())
				ended(t, holder)
			})
		})
	}
}

// COND-2: an actor that is killed in Wait does not get the lock back.
func TestCondKilledWaiterDoesNotComeBack(t *testing.T) {
	sys := newSystem(t)
	var c actor.Cond
	var release actor.Event
	got := make(chan error, 1)
	waiter := run(sys, func(ctx *actor.Context) error {
		defer func() { got <- c.Unlock(ctx) }()
		return errors.Join(c.Lock(ctx), c.Wait(ctx))
	})
	settled(t, sys)
	holder := run(sys, until(c.L(), &release))
	settled(t, sys)
	waiter.Kill()
	if err := <-got; !errors.Is(err, actor.ErrNotOwner) {
		t.Errorf("Unlock by a killed waiter: %v", err)
	}
	release.Set()
	ended(t, holder)
	ended(t, run(sys, func(ctx *actor.Context) error { return errors.Join(c.Lock(ctx), c.Signal(ctx), c.Unlock(ctx)) }))
}

// COND-4: a waiter that is killed between its being signalled and its getting the lock passes the signal on.
func TestCondKilledWaiterPassesTheSignalOn(t *testing.T) {
	sys := newSystem(t)
	var c actor.Cond
	var release actor.Event
	wait := func(ctx *actor.Context) error { return errors.Join(c.Lock(ctx), c.Wait(ctx), c.Unlock(ctx)) }
	first := run(sys, wait)
	settled(t, sys)
	second := run(sys, wait)
	settled(t, sys)
	holder := run(sys, func(ctx *actor.Context) error {
		return errors.Join(c.Lock(ctx), c.Signal(ctx), release.Wait(ctx), c.Unlock(ctx))
	})
	settled(t, sys)
	first.Kill()
	settled(t, sys)
	release.Set()
	ended(t, holder, second)
}

// COND-3: Signal wakes the oldest, Broadcast all, the oldest first.
func TestCondSignalsTheOldest(t *testing.T) {
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("all=%v", all), func(t *testing.T) {
			sys := newSystem(t)
			var m actor.Mutex
			c := actor.NewCond(&m)
			var order []int
			var refs []actor.AnyRef
			for i := range 10 {
				refs = append(refs, run(sys, func(ctx *actor.Context) error {
					if err := errors.Join(m.Lock(ctx), c.Wait(ctx)); err != nil {
						return err
					}
					order = append(order, i)
					return errors.Join(ctx.Yield(), m.Unlock(ctx))
				}))
				settled(t, sys)
			}
			ended(t, run(sys, func(ctx *actor.Context) error {
				if all {
					return errors.Join(m.Lock(ctx), c.Broadcast(ctx), m.Unlock(ctx))
				}
				for range refs {
					if err := errors.Join(m.Lock(ctx), c.Signal(ctx), m.Unlock(ctx)); err != nil {
						return err
					}
				}
				return nil
			}))
			ended(t, refs...)
			if !slices.IsSorted(order) || len(order) != len(refs) {
				t.Errorf("order: %v", order)
			}
		})
	}
}

// COND-4: a bounded buffer whose waiters time out, are interrupted and are killed all the time never gets stuck, as it would after
// a wake-up that was lost.
func TestCondLosesNoWakeUp(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 4})
	var m actor.Mutex
	notEmpty, notFull := actor.NewCond(&m), actor.NewCond(&m)
	const items, room = 3000, 2
	buffered, taken := 0, 0
	consume := func(ctx *actor.Context) error {
		for {
			if err := m.Lock(ctx); errors.As(err, new(*actor.InterruptError)) {
				continue
			} else if err != nil {
				return err
			}
			for buffered == 0 && taken < items {
				if err := notEmpty.Wait(ctx); err != nil && !errors.As(err, new(*actor.InterruptError)) {
					return err
				}
			}
			if taken == items {
				return m.Unlock(ctx)
			}
			buffered--
			if taken++; taken == items {
				if err := notEmpty.Broadcast(ctx); err != nil {
					return err
				}
			}
			if err := errors.Join(notFull.Signal(ctx), m.Unlock(ctx)); err != nil {
				return err
			}
		}
	}
	produce := func(ctx *actor.Context) error {
		for range items / 4 {
			if err := m.Lock(ctx); err != nil {
				return err
			}
			for buffered == room {
				l, cancel := ctx.WithTimeout(50 * time.Microsecond)
				err := notFull.Wait(l)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
			}
			buffered++
			if err := errors.Join(notEmpty.Signal(ctx), m.Unlock(ctx)); err != nil {
				return err
			}
		}
		return nil
	}
	var refs []actor.AnyRef
	for range 4 {
		refs = append(refs, run(sys, consume), run(sys, produce))
	}
	var disturbing sync.WaitGroup
	done := make(chan struct{})
	defer disturbing.Wait()
	defer close(done)
	disturbing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			_ = refs[i%4*2].Interrupt(errPanicked)
			victim := run(sys, func(ctx *actor.Context) error { // takes part only as a waiter
				return errors.Join(m.Lock(ctx), notEmpty.Wait(ctx), notEmpty.Signal(ctx), m.Unlock(ctx))
			})
			runtime.Gosched()
			victim.Kill()
			_, _ = victim.Wait(context.Background())
		}
	})
	ended(t, refs...)
}

// EVENT-1: Set ends all Waits, also when Clear follows at once, and those to come until Clear.
func TestEventWakesAll(t *testing.T) {
	sys := newSystem(t)
	var e actor.Event
	var refs []actor.AnyRef
	for range 20 {
		refs = append(refs, run(sys, func(ctx *actor.Context) error { return e.Wait(ctx) }))
	}
	settled(t, sys)
	e.Set()
	e.Clear() // those who waited were woken all the same
	ended(t, refs...)
	if e.IsSet() {
		t.Error("set after Clear")
	}
	e.Set()
	if err := e.Wait(t.Context()); err != nil || !e.IsSet() {
		t.Errorf("wait for a set event: %v", err)
	}
}

// EVENT-2: actors and goroutines wait for an Event, under a context, and anybody sets it.
func TestEventFromGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(t)
		var e actor.Event
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
		ended(t, run(sys, func(ctx *actor.Context) error {
			l, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			if err := e.Wait(l); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("wait: %w", err)
			}
			return nil
		}))
		got := make(chan error, 1)
		go func() { got <- e.Wait(context.Background()) }()
		synctest.Wait()
		ended(t, run(sys, func(*actor.Context) error { e.Set(); return nil }))
		if err := <-got; err != nil {
			t.Errorf("wait: %v", err)
		}
	})
}

// SEMA-1: no more permits are held than there are, by actors and goroutines together, and all of them can be.
func TestSemaphoreBounds(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 4})
	const permits = 3
	s, err := actor.NewSemaphore(permits)
	if err != nil {
		t.Fatal(err)
	}
	var inside, most atomic.Int64
	use := func(ctx context.Context, pause func() error) error {
		for range 100 {
			if err := s.Acquire(ctx); err != nil {
				return err
			}
			n := inside.Add(1)
			if n > permits {
				return fmt.Errorf("%d inside", n)
			}
			most.Store(max(most.Load(), n))
			if err := pause(); err != nil {
				return err
			}
			inside.Add(-1)
			if err := s.Release(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	var refs []actor.AnyRef
	for range 20 {
		refs = append(refs, run(sys, func(ctx *actor.Context) error { return use(ctx, ctx.Yield) }))
	}
	var goroutines sync.WaitGroup
	for range 4 {
		goroutines.Go(func() {
			if err := use(t.Context(), func() error { runtime.Gosched(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	goroutines.Wait()
	ended(t, refs...)
	if most.Load() != permits {
		t.Errorf("at most %d of %d permits were used at a time", most.Load(), permits)
	}
}

// SEMA-2: first come, first served, by actors and goroutines alike; a permit is handed over, and TryAcquire does not take it.
func TestSemaphoreIsFirstComeFirstServed(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		s, err := actor.NewSemaphore(1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var order []int
		var refs []actor.AnyRef
		for i := range 20 {
			refs = append(refs, run(sys, func(ctx *actor.Context) error {
				if err := s.Acquire(ctx); err != nil {
					return err
				}
				order = append(order, i)
				return errors.Join(ctx.Yield(), s.Release(ctx)) // a barger would come in here
			}))
			settled(t, sys)
		}
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = s.Acquire(t.Context()) // behind all of them
		if !slices.IsSorted(order) || len(order) != len(refs) || err != nil {
			t.Errorf("order: %v, %v", order, err)
		}
		ended(t, refs...)
		waiter := run(sys, func(ctx *actor.Context) error { return s.Acquire(ctx) })
		settled(t, sys)
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.TryAcquire(t.Context()); ok && waiter.Alive() || err != nil {
			t.Errorf("TryAcquire of a permit that was handed over: %v, %v", ok, err)
		}
		ended(t, waiter)
	})
}

// SEMA-4: the permits of an actor that ends go to those who wait, and then are free.
func TestSemaphorePermitsOfTheDead(t *testing.T) {
	sys := newSystem(t)
	s, _ := actor.NewSemaphore(3)
	holder := run(sys, func(ctx *actor.Context) error {
		return errors.Join(s.Acquire(ctx), s.Acquire(ctx), s.Acquire(ctx), s.Release(ctx), ctx.Sleep(time.Hour))
	})
	settled(t, sys)
	var refs []actor.AnyRef
	for range 3 { // the first gets the free one, the others what the dead one held
		refs = append(refs, run(sys, func(ctx *actor.Context) error {
			return errors.Join(s.Acquire(ctx), ctx.Sleep(time.Hour))
		}))
		settled(t, sys)
	}
	if ok, err := s.TryAcquire(t.Context()); ok || err != nil {
		t.Errorf("a fourth permit of three: %v, %v", ok, err)
	}
	holder.Kill()
	_, _ = holder.Wait(t.Context())
	settled(t, sys)
	for _, r := range refs {
		r.Kill()
		_, _ = r.Wait(t.Context())
	}
	for range 3 {
		if ok, err := s.TryAcquire(t.Context()); !ok || err != nil {
			t.Errorf("the permits of the dead: %v, %v", ok, err)
		}
	}
}

// LOCK-3, SEMA-3: waiters are cancelled, timed out and killed while they are served: in the end all is free.
func TestLocksAreNotLost(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 4})
	var m actor.Mutex
	s, _ := actor.NewSemaphore(2)
	use := func(ctx *actor.Context) error {
		l, cancel := ctx.WithTimeout(20 * time.Microsecond)
		defer cancel()
		if m.Lock(l) == nil {
			if err := errors.Join(ctx.Yield(), m.Unlock(ctx)); err != nil {
				return err
			}
		}
		if s.Acquire(l) == nil {
			return errors.Join(ctx.Yield(), s.Release(ctx))
		}
		return nil
	}
	var refs []actor.AnyRef
	for range 300 {
		refs = append(refs, run(sys, use), run(sys, use))
		go refs[len(refs)-1].Kill()
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if s.Acquire(ctx) == nil {
			if err := s.Release(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range refs {
		_, _ = r.Wait(t.Context())
	}
	ended(t, run(sys, func(ctx *actor.Context) error {
		for _, try := range []func(context.Context) (bool, error){m.TryLock, s.TryAcquire, s.TryAcquire} {
			if ok, err := try(ctx); !ok || err != nil {
				return fmt.Errorf("not free: %v, %w", ok, err)
			}
		}
		return nil
	}))
}

// SEMA-3: whoever waits for a permit under a context that ends does not get one.
func TestSemaphoreWaitersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(t)
		s, _ := actor.NewSemaphore(1)
		if err := s.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended(t, run(sys, func(ctx *actor.Context) error {
			l, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			if err := s.Acquire(l); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("acquire: %w", err)
			}
			if err := s.Release(ctx); !errors.Is(err, actor.ErrNotOwner) {
				return fmt.Errorf("release of none: %w", err)
			}
			return nil
		}))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Acquire(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire: %v", err)
		}
		next := run(sys, func(ctx *actor.Context) error { return s.Acquire(ctx) })
		synctest.Wait()
		if err := s.Release(t.Context()); err != nil {
			t.Error(err)
		}
		ended(t, next)
		if err := s.Release(t.Context()); !errors.Is(err, actor.ErrNotOwner) {
			t.Errorf("release of none: %v", err)
		}
	})
}

func TestSemaphoreRefusesBadInput(t *testing.T) {
	for _, n := range []int{0, -1} {
		if _, err := actor.NewSemaphore(n); err == nil {
			t.Errorf("a semaphore of %d permits", n)
		}
	}
	var zero actor.Semaphore
	if err := zero.Acquire(t.Context()); err == nil {
		t.Error("a permit from nowhere")
	}
	if _, err := zero.TryAcquire(t.Context()); err == nil {
		t.Error("a permit from nowhere")
	}
	if err := zero.Release(t.Context()); !errors.Is(err, actor.ErrNotOwner) {
		t.Errorf("release of nothing: %v", err)
	}
}
