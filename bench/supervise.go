package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
	"github.com/greenroom-go/greenroom/supervisor"
)

// often is an intensity that no bench comes to.
const often = 1 << 40

// crasher panics at every other message, and at the one after says how long ago that was.
type crasher struct {
	turn    int
	crashed time.Time
	late    chan time.Duration
}

func (c *crasher) handle() {
	if c.turn++; c.turn%2 == 1 {
		c.crashed = time.Now()
		panic("one of the two")
	}
	c.late <- time.Since(c.crashed)
}

// lateness has crash called r.N times, each time with two messages, and reports how long the second took to be handled after the
// panic of the first.
func (c *crasher) lateness(r *harness.Run, crash func() error) error {
	late := make([]float64, 0, r.N)
	for range r.N {
		if err := crash(); err != nil {
			return err
		}
		late = append(late, micros(<-c.late))
	}
	r.Set("p50", harness.Percentile(late, 50))
	r.Set("p99", harness.Percentile(late, 99))
	return nil
}

func newCrasher() *crasher { return &crasher{late: make(chan time.Duration, 1)} }

// recovering handles messages in a loop by hand: it recovers and goes on.
func recovering(inbox <-chan *message, handle func()) {
	for range inbox {
		func() {
			defer func() { _ = recover() }()
			handle()
		}()
	}
}

func restartByHand(_ context.Context, r *harness.Run) error {
	c, inbox, m := newCrasher(), make(chan *message, 2), new(message)
	done := make(chan struct{})
	go func() { defer close(done); recovering(inbox, c.handle) }()
	err := c.lateness(r, func() error { inbox <- m; inbox <- m; return nil })
	close(inbox)
	<-done
	return err
}

// supervised runs work with one child of a one_for_one supervisor that calls handle for each message.
func supervised(ctx context.Context, handle func(), work func(ref actor.Ref[*message]) error) error {
	return withSystem(ctx, func(sys *actor.System) error {
		child := supervisor.Child{ID: "child", Start: supervisor.Actor(actor.Handler(func(*actor.Context, *message) error { handle(); return nil }))}
		sup, err := supervisor.Start(ctx, sys, supervisor.Spec{Intensity: often, Children: []supervisor.Child{child}})
		if err != nil {
			return err
		}
		ref, err := supervisor.Ref[*message](ctx, sup, "child")
		if err != nil {
			return err
		}
		return errors.Join(work(ref), sup.Stop(ctx))
	})
}

func restart(ctx context.Context, r *harness.Run) error {
	c, m := newCrasher(), new(message)
	return supervised(ctx, c.handle, func(ref actor.Ref[*message]) error {
		return c.lateness(r, func() error { return errors.Join(ref.Send(ctx, m), ref.Send(ctx, m)) })
	})
}

// crashes panics at every message and says when it has done so often enough.
type crashes struct {
	want, got int
	done      chan struct{}
}

func (c *crashes) handle() {
	if c.got++; c.got == c.want {
		c.got = 0
		c.done <- struct{}{}
	}
	panic("every time")
}

func restartRateByHand(_ context.Context, r *harness.Run) error {
	c, inbox, m := &crashes{done: make(chan struct{})}, make(chan *message, channelOf), new(message)
	done := make(chan struct{})
	go func() { defer close(done); recovering(inbox, c.handle) }()
	err := r.PerOp(r.N, func(n int) error {
		c.want = n
		go func() {
			for range n {
				inbox <- m
			}
		}()
		<-c.done
		return nil
	})
	close(inbox)
	<-done
	return err
}

func restartRate(ctx context.Context, r *harness.Run) error {
	c, m := &crashes{done: make(chan struct{})}, new(message)
	return supervised(ctx, c.handle, func(ref actor.Ref[*message]) error {
		return r.PerOp(r.N, func(n int) error {
			c.want = n
			for range n {
				if err := ref.Send(ctx, m); err != nil {
					return err
				}
			}
			<-c.done
			return nil
		})
	})
}

// dynamicTree starts n children under one dynamic supervisor.
func dynamicTree(ctx context.Context, sys *actor.System, n int) (supervisor.Supervisor, error) {
	nop := supervisor.Actor(actor.Handler(func(*actor.Context, *message) error { return nil }))
	sup, err := supervisor.Start(ctx, sys, supervisor.Spec{Strategy: supervisor.Dynamic, Children: []supervisor.Child{{Start: nop}}})
	for range n {
		if err == nil {
			_, err = sup.Spawn(ctx, nil)
		}
	}
	return sup, err
}

// dynamicMemory reports what a child of a dynamic supervisor takes beyond a plain idle actor, measured in the same process before.
func dynamicMemory(ctx context.Context, r *harness.Run) error {
	var plain float64
	err := withSystem(ctx, func(sys *actor.System) error {
		var err error
		plain, err = heapOf(r, func() error {
			_, err := spawnAll(sys, r.N, func(int) actor.Behaviour[*message] {
				return actor.Handler(func(*actor.Context, *message) error { return nil })
			})
			return err
		})
		return err
	})
	if err != nil {
		return err
	}
	return withSystem(ctx, func(sys *actor.System) error {
		var sup supervisor.Supervisor
		all, err := heapOf(r, func() (err error) { sup, err = dynamicTree(ctx, sys, r.N); return err })
		if err != nil {
			return err
		}
		r.Set("", max(all-plain, 0))
		return sup.Stop(ctx)
	})
}

// idleHeap is what a plain idle actor takes on the heap.
func idleHeap(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		plain, err := heapOf(r, func() error {
			_, err := spawnAll(sys, r.N, func(int) actor.Behaviour[*message] {
				return actor.Handler(func(*actor.Context, *message) error { return nil })
			})
			return err
		})
		r.Set("", plain)
		return err
	})
}

// heapOf returns the heap bytes that build adds for each of r.N.
func heapOf(r *harness.Run, build func() error) (float64, error) {
	before, err := takeFootprint()
	if err != nil {
		return 0, err
	}
	if err := build(); err != nil {
		return 0, err
	}
	after, err := takeFootprint()
	return (after.heap - before.heap) / float64(r.N), err
}

func dynamicStop(ctx context.Context, r *harness.Run) error { return stopTree(ctx, r, r.N) }

func dynamicStopTenth(ctx context.Context, r *harness.Run) error {
	return stopTree(ctx, r, max(r.N/10, 1))
}

// stopTree reports the time for each of n children to stop a dynamic supervisor that has them.
func stopTree(ctx context.Context, r *harness.Run, n int) error {
	return withSystem(ctx, func(sys *actor.System) error {
		sup, err := dynamicTree(ctx, sys, n)
		if err != nil {
			return err
		}
		runtime.GC()
		start := time.Now()
		err = sup.Stop(ctx)
		r.Set("", float64(time.Since(start).Nanoseconds())/float64(n))
		return err
	})
}

func dynamicStart(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		var sup supervisor.Supervisor
		ns, err := r.Measure(r.N, func() (err error) { sup, err = dynamicTree(ctx, sys, r.N); return err })
		r.Set("", ns)
		return errors.Join(err, sup.Stop(ctx))
	})
}

// calledSpawns spawns r.N actors by way of another actor: a call for each, as a supervisor's children are started.
func calledSpawns(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		nop := actor.Handler(func(*actor.Context, *message) error { return nil })
		parent, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, m *message) error {
			_, err := actor.Spawn(ctx, nop)
			return errors.Join(err, ctx.Reply(m))
		}))
		if err != nil {
			return err
		}
		msgs := newMessages(r)
		ns, err := r.Measure(r.N, func() error { return callTimes(ctx, parent, r.N, &msgs) })
		r.Set("", ns)
		return err
	})
}

// swapIdle swaps r.N idle actors, one after the other.
func swapIdle(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		refs, err := idlers(ctx, sys, r.N)
		if err != nil {
			return err
		}
		next := actor.Handler(func(ctx *actor.Context, m *message) error { return ctx.Reply(m) })
		ns, err := r.Measure(r.N, func() error {
			for _, ref := range refs {
				if err := actor.Swap(ctx, ref, next); err != nil {
					return err
				}
			}
			return nil
		})
		r.Set("", ns)
		return err
	})
}

// callIdle calls r.N idle actors, one after the other: each of them has to be woken, too.
func callIdle(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		refs, err := idlers(ctx, sys, r.N)
		if err != nil {
			return err
		}
		m := new(message)
		ns, err := r.Measure(r.N, func() error {
			for _, ref := range refs {
				if _, err := actor.Call[*message](ctx, ref, m); err != nil {
					return err
				}
			}
			return nil
		})
		r.Set("", ns)
		return err
	})
}

// idlers are actors that have each answered a call.
func idlers(ctx context.Context, sys *actor.System, n int) ([]actor.Ref[*message], error) {
	echo := actor.Handler(func(ctx *actor.Context, m *message) error { return ctx.Reply(m) })
	refs, err := spawnAll(sys, n, func(int) actor.Behaviour[*message] { return echo })
	m := new(message)
	for _, ref := range refs {
		if err == nil {
			_, err = actor.Call[*message](ctx, ref, m)
		}
	}
	return refs, err
}

// busy is an actor that never runs out of messages: it sends itself the next one. Each takes turn; gap is the longest time between two.
type busy struct {
	last atomic.Int64 // when the last message was handled, since start
	gap  atomic.Int64
	took atomic.Int64
}

// turn is how long the messages of busy actors take.
const turn = 20 * time.Microsecond

func (b *busy) behaviour(start time.Time, quit *atomic.Bool) actor.Behaviour[*message] {
	return actor.Handler(func(ctx *actor.Context, m *message) error {
		now := int64(time.Since(start))
		if last := b.last.Swap(now); last != 0 && now-last > b.gap.Load() {
			b.gap.Store(now - last)
		}
		b.took.Add(1)
		for time.Since(start) < time.Duration(now)+turn {
			continue
		}
		if quit.Load() {
			return nil
		}
		return ctx.Self().Send(ctx, m)
	})
}

// busySwaps keeps min(1000, r.N) actors busy and has each, if swap is set, swapped ten times while it is. It reports the 99th percentile
// of their longest gaps between two messages, in microseconds.
func busySwaps(ctx context.Context, r *harness.Run, swap bool) error {
	return withSystem(ctx, func(sys *actor.System) error {
		start := time.Now()
		var quit atomic.Bool
		all := make([]busy, thousand(r))
		refs, err := spawnAll(sys, len(all), func(i int) actor.Behaviour[*message] { return all[i].behaviour(start, &quit) })
		if err == nil {
			err = sendAll(ctx, refs, new(message))
		}
		for range 10 {
			if err != nil {
				break
			}
			if swap {
				err = swapAll(ctx, refs, func(i int) actor.Behaviour[*message] { return all[i].behaviour(start, &quit) })
				continue
			}
			was := all[0].took.Load()
			for all[0].took.Load() < was+3 { // about as long as a round of swaps
				time.Sleep(time.Millisecond)
			}
		}
		quit.Store(true)
		if err = errors.Join(err, sys.Quiesce(ctx)); err != nil {
			return err
		}
		if l := sys.Ledger(); !l.Balanced() || l.Dead > 0 {
			return errors.New("messages were lost: " + l.String())
		}
		gaps := make([]float64, len(all))
		for i := range all {
			gaps[i] = float64(all[i].gap.Load()) / 1e3
		}
		slices.Sort(gaps)
		r.Set("", harness.Percentile(gaps, 99))
		return nil
	})
}

// swapAll swaps all at once and waits until it is done.
func swapAll(ctx context.Context, refs []actor.Ref[*message], behave func(i int) actor.Behaviour[*message]) error {
	errs := make([]error, len(refs))
	var all sync.WaitGroup
	for i, ref := range refs {
		all.Go(func() { errs[i] = actor.Swap(ctx, ref, behave(i)) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func swapBusy(ctx context.Context, r *harness.Run) error { return busySwaps(ctx, r, true) }

func busyUnswapped(ctx context.Context, r *harness.Run) error { return busySwaps(ctx, r, false) }
