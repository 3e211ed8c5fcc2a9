package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// seededRun runs f with a System of that seed in a bubble and returns the steps.
func seededRun(t *testing.T, seed uint64, f func(t *testing.T, sys *actor.System)) (trace []actor.Step) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.SystemOptions{Seed: seed})
		f(t, sys)
		trace = sys.Trace()
	})
	return trace
}

// collect is a behaviour that appends what it gets to a list, which is its value in the end.
func collect() actor.Behaviour[*num] {
	return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		var got []int64
		for m := range in.All() {
			got = append(got, m.Value)
		}
		return ctx.SetValue(got)
	})
}

func collected(t *testing.T, r actor.Ref[*num]) []int64 {
	t.Helper()
	r.Stop()
	v, err := r.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v.([]int64)
}

// SEED-6: timers with the same deadline fire in the order in which they were armed, whatever the seed, and the actors that they
// wake go on in any order.
func TestSeededTimersKeepTheirOrder(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		seededRun(t, seed, func(t *testing.T, sys *actor.System) {
			to := actor.MustSpawn(sys, collect())
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
				for i := range int64(100) {
					if _, err := actor.SendAfter(ctx, time.Second, to, &num{Value: i}); err != nil {
						return err
					}
				}
				return ctx.Sleep(time.Minute)
			}))
			if _, err := a.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if got := collected(t, to); len(got) != 100 || !slices.IsSorted(got) {
				t.Errorf("seed %d: the timers fired as %v", seed, got)
			}
		})
	}
}

// SEED-7: a goroutine's sends keep their order, and what several goroutines send is mixed in an order that the seed draws.
func TestSeededGoroutines(t *testing.T) {
	orders := map[string]bool{}
	for seed := uint64(1); seed <= 10; seed++ {
		var first string
		for range 3 {
			seededRun(t, seed, func(t *testing.T, sys *actor.System) {
				to := actor.MustSpawn(sys, collect())
				done := make(chan struct{})
				for i := range int64(4) {
					go func() {
						for j := range int64(4) {
							_ = to.Send(t.Context(), &num{Value: 10*i + j})
						}
						done <- struct{}{}
					}()
				}
				for range 4 {
					<-done
				}
				if err := sys.Quiesce(t.Context()); err != nil {
					t.Error(err)
				}
				got := collected(t, to)
				for i := range int64(4) {
					own := slices.DeleteFunc(slices.Clone(got), func(v int64) bool { return v/10 != i })
					if len(own) != 4 || !slices.IsSorted(own) {
						t.Errorf("seed %d: goroutine %d's messages came as %v", seed, i, own)
					}
				}
				order := fmt.Sprint(got)
				if first == "" {
					first = order
				}
				if order != first {
					t.Errorf("seed %d gave %v and then %v", seed, first, order)
				}
			})
		}
		orders[first] = true
	}
	if len(orders) < 5 {
		t.Errorf("10 seeds gave only %d orders", len(orders))
	}
}

// SEED-2: a behaviour that sends to two others can be overtaken between the two sends.
func TestSeededSendsGiveWay(t *testing.T) {
	seen := map[bool]int{}
	for seed := uint64(1); seed <= 40; seed++ {
		seededRun(t, seed, func(t *testing.T, sys *actor.System) {
			var sentBoth, early bool
			a := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error {
				early = !sentBoth
				return nil
			}))
			actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
				if err := a.Send(ctx, &num{}); err != nil {
					return err
				}
				sentBoth = true
				return nil
			}))
			if err := sys.Quiesce(t.Context()); err != nil {
				t.Error(err)
			}
			seen[early]++
		})
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("of 40 seeds, whether the receiver came first: %v", seen)
	}
}

// SEED-8: a goroutine whose turn does not come, because a behaviour holds the worker, goes on without.
func TestSeededPatience(t *testing.T) {
	seededRun(t, 1, func(t *testing.T, sys *actor.System) {
		held, release := make(chan struct{}), make(chan struct{})
		actor.MustSpawn(sys, actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error {
			close(held)
			<-release // not in Block, as it should be
			return nil
		}))
		to := actor.MustSpawn(sys, collect())
		<-held
		if err := to.Send(t.Context(), &num{Value: 1}); err != nil {
			t.Error(err)
		}
		close(release)
		if err := sys.Quiesce(t.Context()); err != nil {
			t.Error(err)
		}
		if got := collected(t, to); !slices.Equal(got, []int64{1}) {
			t.Errorf("it got %v", got)
		}
	})
}

// SEED-8: under Block goroutines need no turn: the function may wait for one of them.
func TestSeededBlock(t *testing.T) {
	seededRun(t, 1, func(t *testing.T, sys *actor.System) {
		start := time.Now()
		held, release := make(chan struct{}), make(chan struct{})
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
			return ctx.Block(func() {
				close(held)
				<-release
			})
		}))
		to := actor.MustSpawn(sys, collect())
		<-held
		if err := to.Send(t.Context(), &num{Value: 1}); err != nil {
			t.Error(err)
		}
		close(release)
		if d := time.Since(start); d > time.Millisecond {
			t.Errorf("the send waited for %v", d)
		}
	})
}

// Sending with a context that is not the actor's own, on its goroutine, waits for no turn: that would be its own.
func TestSeededSendFromInside(t *testing.T) {
	seededRun(t, 1, func(t *testing.T, sys *actor.System) {
		start := time.Now()
		to := actor.MustSpawn(sys, collect())
		a := actor.MustSpawn(sys, actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error {
			if _, err := actor.Spawn(sys, collect()); err != nil {
				return err
			}
			return to.Send(context.Background(), &num{Value: 1})
		}))
		if _, err := a.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// Actors of two seeded Systems that send to each other at the same time do not wait for each other.
func TestSeededPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		const rounds = 100
		var refs [2]actor.Ref[*num]
		done := make(chan struct{}, 2)
		for i := range refs {
			sys := newSystem(t, actor.SystemOptions{Seed: uint64(i) + 1})
			refs[i] = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == rounds {
					done <- struct{}{}
					return nil
				}
				return refs[1-i].Send(ctx, &num{Value: m.Value + 1})
			}))
		}
		for _, r := range refs {
			go func() { _ = r.Send(t.Context(), &num{}) }()
		}
		<-done
		<-done
		if d := time.Since(start); d > time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// SEED-7: a job of a pool ends between two steps, however quick it is.
func TestSeededJobs(t *testing.T) {
	seededRun(t, 1, func(t *testing.T, sys *actor.System) {
		pool, err := actor.NewPool(actor.PoolOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
			job, err := actor.Submit(ctx, pool, func(context.Context) (int, error) { return 1, nil })
			if err != nil {
				return err
			}
			for range 10000 {
				runtime.Gosched()
			}
			if job.Done() {
				t.Error("the job ended in the step that submitted it")
			}
			_, err = job.Wait(ctx)
			return err
		}))
		if _, err := a.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// brokenMessage panics as soon as protobuf looks at it.
type brokenMessage struct{ proto.Message }

func TestSeededBrokenMessage(t *testing.T) {
	seededRun(t, 1, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, proto.Message) error { return nil }))
		for _, m := range []proto.Message{brokenMessage{}, &num{Value: 1}} {
			if err := a.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		}
		if err := sys.Quiesce(t.Context()); err != nil {
			t.Error(err)
		}
		if l := sys.Ledger(); l.Handled != 2 {
			t.Errorf("ledger: %v", l)
		}
	})
}

// SEED-9: the same seed gives the same refs, so that messages with refs in them are the same too.
func TestSeededRefs(t *testing.T) {
	ids := map[uint64]bool{}
	for range 2 {
		seededRun(t, 9, func(_ *testing.T, sys *actor.System) { ids[sys.NodeID()] = true })
	}
	seededRun(t, 10, func(_ *testing.T, sys *actor.System) { ids[sys.NodeID()] = true })
	if len(ids) != 2 {
		t.Errorf("two seeds gave the ids %v", ids)
	}
}

// Outside of a bubble a seeded System works too, without the promise that it does the same twice.
func TestSeededInRealTime(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Seed: 3})
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if err := ctx.Sleep(time.Millisecond); err != nil {
			return err
		}
		return ctx.Reply(m)
	}))
	for i := range int64(20) {
		if r, err := actor.Call[*num](t.Context(), echo, &num{Value: i}); err != nil || r.Value != i {
			t.Fatalf("call %d: %v, %v", i, r, err)
		}
	}
	if len(sys.Trace()) == 0 {
		t.Error("no steps")
	}
}

func TestTraceNeedsASeed(t *testing.T) {
	if trace := newSystem(t).Trace(); trace != nil {
		t.Errorf("a trace of %d steps without a seed", len(trace))
	}
}

// SEED-7: Stop, Kill and Interrupt from goroutines come at a moment that the seed draws.
func TestSeededSignals(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		var traces [2][]actor.Step
		for i := range traces {
			traces[i] = seededRun(t, seed, func(t *testing.T, sys *actor.System) {
				for n := range 6 {
					a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						for range in.All() {
						}
						return ctx.Sleep(time.Hour)
					}))
					go func() {
						_ = a.Send(t.Context(), &num{Value: int64(n)})
						switch n % 3 {
						case 0:
							a.Stop()
						case 1:
							a.Kill()
						case 2:
							_ = a.Interrupt(errors.New("wake up"))
							_ = a.Drain()
						}
					}()
				}
				if err := sys.Join(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		if !slices.Equal(traces[0], traces[1]) {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}
