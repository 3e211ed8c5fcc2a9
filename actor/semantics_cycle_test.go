package actor_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// wantCycle checks that err names a cycle of these actors.
func wantCycle(t *testing.T, err error, of ...actor.AnyRef) {
	t.Helper()
	var dead *actor.DeadlockError
	if !errors.As(err, &dead) || len(dead.Path) != len(of)+1 || dead.Path[0] != dead.Path[len(of)] {
		t.Fatalf("%v, want a cycle of %v", err, of)
	}
	in := map[actor.AnyRef]bool{}
	for _, r := range dead.Path[1:] {
		in[r] = true
	}
	for _, r := range of {
		if !in[r] {
			t.Fatalf("%v lacks %v", err, r)
		}
	}
}

// DEAD-3: actors that wait for each other's end are told at once; one of each cycle is enough.
func TestCyclesOfWait(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, n := range []int{1, 2, 3, 17} {
			refs, errs, start := make([]actor.AnyRef, n), make(chan error, n), make(chan struct{})
			for i := range refs {
				refs[i] = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					_ = ctx.Block(func() { <-start })
					_, err := refs[(i+1)%n].Wait(ctx)
					errs <- err
					return nil
				})).AnyRef
			}
			close(start)
			found := 0
			for range n {
				if err := await(t, errs); err != nil {
					wantCycle(t, err, refs...)
					found++
				}
			}
			if found == 0 {
				t.Fatalf("a cycle of %d was not found", n)
			}
		}
	})
}

// DEAD-3: Wait, Call and locks mix, also when a parent waits for its child.
func TestCyclesOfWaitAndOthers(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 2)
		var child actor.AnyRef
		parent := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value != 1 {
				return ctx.Reply(m)
			}
			self, err := actor.Self[*num](ctx)
			if err != nil {
				return err
			}
			child = actor.MustSpawn(ctx, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_, err := actor.Call[*num](ctx, self, &num{})
				got <- err
				return nil
			})).AnyRef
			_, err = child.Wait(ctx)
			got <- err
			return nil
		}))
		tell(t, parent, 1)
		one, two := await(t, got), await(t, got)
		if (one == nil) == (two == nil) {
			t.Fatalf("one of the two must be refused: %v, %v", one, two)
		}
		wantCycle(t, errors.Join(one, two), parent.AnyRef, child)

		var lock actor.Mutex
		var holder, wanter actor.AnyRef
		locked := make(chan struct{})
		ready := make(chan struct{})
		holder = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if err := lock.Lock(ctx); err != nil {
				return err
			}
			close(locked)
			_ = ctx.Block(func() { <-ready })
			_, err := wanter.Wait(ctx)
			got <- err
			return nil
		})).AnyRef
		await(t, locked)
		wanter = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			err := lock.Lock(ctx)
			got <- err
			return nil
		})).AnyRef
		close(ready)
		one, two = await(t, got), await(t, got)
		wantCycle(t, errors.Join(one, two), holder, wanter)
	})
}

// DEAD-2: who waits for the end of an actor that it has asked to stop, or interrupted, is in no cycle, whatever that one waits for.
func TestStopThenWaitIsNoCycle(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ends := map[string]func(actor.AnyRef){
			"stop":      actor.AnyRef.Stop,
			"shutdown":  actor.AnyRef.Shutdown,
			"kill":      actor.AnyRef.Kill,
			"interrupt": func(r actor.AnyRef) { _ = r.Interrupt(errPoke) },
		}
		for name, end := range ends {
			for range 100 {
				calling := make(chan struct{})
				got := make(chan error, 1)
				boss := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
					self, err := actor.Self[*num](ctx)
					if err != nil {
						return err
					}
					worker := actor.MustSpawn(ctx, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						close(calling)
						_, _ = actor.Call[*num](ctx, self, &num{})
						return nil
					}))
					_ = ctx.Block(func() { <-calling })
					for range m.Value {
						_ = ctx.Yield()
					}
					end(worker.AnyRef)
					_, err = worker.Wait(ctx)
					got <- err
					return nil
				}))
				tell(t, boss, rand.Int64N(4))
				var exit *actor.ExitError
				if err := await(t, got); err != nil && !errors.As(err, &exit) {
					t.Fatalf("%s, then Wait: %v", name, err)
				}
			}
		}
	})
}

// DEAD-2: in a crowd where everybody only ever waits for those above, by Wait, Call and locks, nobody is told of a deadlock,
// while ends, stops and kills go on all the time.
func TestNoFalseCyclesOfWait(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		for round := range uint64(60) {
			const n = 30
			rng := rand.New(rand.NewPCG(seed, round))
			refs := make([]actor.Ref[*num], n)
			locks := make([]actor.Mutex, n) // lock i is held by i, and wanted by those below
			start := make(chan struct{})
			for i := range refs {
				steps := make([][2]int, 4)
				for k := range steps {
					steps[k] = [2]int{rng.IntN(3), i + 1 + rng.IntN(max(n-i-1, 1))}
				}
				linger := time.Duration(rng.IntN(3)) * time.Microsecond
				note := func(err error) error {
					if _, dead := errors.AsType[*actor.DeadlockError](err); dead {
						t.Errorf("round %d: %v", round, err)
					}
					return err
				}
				refs[i] = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					if err := locks[i].Lock(ctx); err != nil {
						return err
					}
					_ = ctx.Block(func() { <-start })
					for _, s := range steps {
						up := s[1]
						if up >= n {
							continue
						}
						switch s[0] {
						case 0:
							_, err := refs[up].Wait(ctx)
							_ = note(err)
						case 1:
							_, err := actor.Call[*num](ctx, refs[up], &num{})
							_ = note(err)
						case 2:
							if note(locks[up].Lock(ctx)) == nil {
								_ = locks[up].Unlock(ctx)
							}
						}
					}
					if m, err := in.ReceiveTimeout(linger); err == nil {
						return ctx.Reply(m)
					}
					return nil
				}))
			}
			close(start)
			for range 5 {
				r := refs[rng.IntN(n)]
				[]func(actor.AnyRef){actor.AnyRef.Stop, actor.AnyRef.Kill}[rng.IntN(2)](r.AnyRef)
			}
			for _, r := range refs {
				if _, err := r.Wait(patient(t)); errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("round %d: %v hangs", round, r)
				}
			}
		}
	})
}
