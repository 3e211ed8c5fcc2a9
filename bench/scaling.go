package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// speedup reports how many times faster work goes at r.Procs than at 1. It alternates between the two, and takes the
// median of the pairs.
func speedup(r *harness.Run, work func(procs int) (time.Duration, error)) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var speedups []float64
	for range 3 {
		runtime.GOMAXPROCS(1)
		alone, err := work(1)
		if err != nil {
			return err
		}
		runtime.GOMAXPROCS(r.Procs)
		together, err := work(r.Procs)
		if err != nil {
			return err
		}
		speedups = append(speedups, float64(alone)/float64(together))
	}
	slices.Sort(speedups)
	r.Set("", speedups[len(speedups)/2])
	return nil
}

// playTimed returns how long pairs take for n round trips in all, after a tenth of that to warm up.
func playTimed(p players, pairs, n int) (time.Duration, error) {
	defer p.close()
	if _, err := p.play(max(n/pairs/10, 1)); err != nil {
		return 0, err
	}
	start := time.Now()
	_, err := p.play(max(n/pairs, 1))
	return time.Since(start), err
}

// speedupArithmetic is what the machine itself scales: as much arithmetic, divided over as many goroutines.
func speedupArithmetic(_ context.Context, r *harness.Run) error {
	return speedup(r, func(procs int) (time.Duration, error) {
		start := time.Now()
		var ended sync.WaitGroup
		sums := make([]uint64, procs)
		for i := range sums {
			ended.Go(func() { sums[i] = arithmetic(100 * r.N / procs) })
		}
		ended.Wait()
		if slices.Contains(sums, 0) {
			return 0, errors.New("the arithmetic came to nothing")
		}
		return time.Since(start), nil
	})
}

// arithmetic does n steps, each of which needs the one before, and stays in registers.
func arithmetic(n int) uint64 {
	x := uint64(n) | 1
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func speedupChan(_ context.Context, r *harness.Run) error {
	count := thousand(r)
	return speedup(r, func(int) (time.Duration, error) {
		return playTimed(newChanPairs(count, newMessages(r)), count, r.N)
	})
}

// tripsAmong is how many round trips the pairs among idle or active millions play.
func tripsAmong(r *harness.Run) int {
	n := 4_000_000
	if r.Short {
		n = 2_000_000
	}
	return min(n, 4*r.N)
}

// playAmong reports the time for a round trip of pairs.
func playAmong(r *harness.Run, p players, pairs int) error {
	elapsed, err := playTimed(p, pairs, tripsAmong(r))
	r.Set("", float64(elapsed.Nanoseconds())/float64(tripsAmong(r)))
	return err
}

func idleMillionChan(_ context.Context, r *harness.Run) error {
	crowd := newChanCrowd(r.N)
	for i := range crowd.inboxes {
		crowd.start(i)
	}
	crowd.sendAll(new(message))
	defer crowd.close()
	count := thousand(r)
	return playAmong(r, newChanPairs(count, newMessages(r)), count)
}

// shuffled returns the numbers from 0 to n-1 in an order that has nothing to do with how they lie in memory.
func shuffled(n int) []int { return rand.New(rand.NewPCG(3, 4)).Perm(n) }

func activeMillionChan(_ context.Context, r *harness.Run) error {
	pairs := max(r.N/2, 1)
	p := newChanPairs(pairs, newMessages(r))
	inOrder := slices.Clone(p.starts)
	for i, k := range shuffled(pairs) {
		p.starts[i] = inOrder[k]
	}
	return playAmong(r, p, pairs)
}

func speedupActors(ctx context.Context, r *harness.Run) error {
	count := thousand(r)
	return speedup(r, func(int) (elapsed time.Duration, err error) {
		err = withSystem(ctx, func(sys *actor.System) error {
			p, err := newActorPairs(ctx, sys, count, newMessages(r), nil)
			if err != nil {
				return err
			}
			elapsed, err = playTimed(p, count, r.N)
			return err
		})
		return elapsed, err
	})
}

// idleMillion plays 1,000 pairs among r.N actors that have handled a message and now wait for another.
func idleMillion(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		var handled sync.WaitGroup
		behaviour := actor.Handler(func(*actor.Context, *message) error {
			handled.Done()
			return nil
		})
		refs, err := spawnAll(sys, r.N, func(int) actor.Behaviour[*message] { return behaviour })
		if err != nil {
			return err
		}
		handled.Add(r.N)
		if err := sendAll(ctx, refs, new(message)); err != nil {
			return err
		}
		handled.Wait()
		return playAmongActors(ctx, r, sys, thousand(r), nil)
	})
}

func playAmongActors(ctx context.Context, r *harness.Run, sys *actor.System, pairs int, order []int) error {
	p, err := newActorPairs(ctx, sys, pairs, newMessages(r), order)
	if err != nil {
		return err
	}
	return playAmong(r, p, pairs)
}

// thousandAlone is the floor of both: 1,000 pairs and nobody else.
func thousandAlone(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		return playAmongActors(ctx, r, sys, thousand(r), nil)
	})
}

// activeMillion has all of r.N actors play, in pairs whose actors lie anywhere in memory.
func activeMillion(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		pairs := max(r.N/2, 1)
		return playAmongActors(ctx, r, sys, pairs, shuffled(2*pairs))
	})
}
