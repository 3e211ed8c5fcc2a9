package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// sleepRounds is how often each sleeper sleeps, one sleep after the other.
const sleepRounds = 3

// sleepers is the work of bench timers: r.N sleepers, all asleep at once, each sleepRounds times for a random while.
// The whiles are spread evenly over a second around their mean for 200,000 sleepers, for fewer in proportion, so that
// about 200,000 wake in each second whatever r.N is.
type sleepers struct {
	whiles []time.Duration
	late   []float64 // in microseconds, at the same index
}

func newSleepers(n int) *sleepers {
	rng := rand.New(rand.NewPCG(1, 2))
	mean := time.Second * time.Duration(n) / 200_000
	s := &sleepers{whiles: make([]time.Duration, n*sleepRounds), late: make([]float64, n*sleepRounds)}
	for i := range s.whiles {
		s.whiles[i] = mean/2 + time.Duration(rng.Int64N(int64(mean)+1))
	}
	return s
}

// run is the life of sleeper i.
func (s *sleepers) run(i int, sleep func(time.Duration) error) error {
	for k := i * sleepRounds; k < (i+1)*sleepRounds; k++ {
		start := time.Now()
		if err := sleep(s.whiles[k]); err != nil {
			return err
		}
		s.late[k] = micros(time.Since(start) - s.whiles[k])
	}
	return nil
}

// measure reports lateness, and the processor time that each sleep cost. wake starts all sleepers, who are there
// already, and returns when all are done.
func (s *sleepers) measure(r *harness.Run, wake func() error) error {
	before, err := harness.CPUTime()
	if err != nil {
		return err
	}
	if err := wake(); err != nil {
		return err
	}
	after, err := harness.CPUTime()
	if err != nil {
		return err
	}
	r.Set("cost", float64((after-before).Nanoseconds())/float64(len(s.late)))
	r.Set("p50", harness.Percentile(s.late, 50))
	r.Set("p99", harness.Percentile(s.late, 99))
	return nil
}

func timersChan(_ context.Context, r *harness.Run) error {
	s := newSleepers(r.N)
	gate := make(chan struct{})
	var ready, ended sync.WaitGroup
	ready.Add(r.N)
	for i := range r.N {
		ended.Go(func() {
			ready.Done()
			<-gate
			_ = s.run(i, func(d time.Duration) error { time.Sleep(d); return nil })
		})
	}
	ready.Wait()
	return s.measure(r, func() error {
		close(gate)
		ended.Wait()
		return nil
	})
}

// timers has routines sleep: like the goroutines of the floor, they have their stacks before the clock starts.
func timers(ctx context.Context, r *harness.Run) error {
	s := newSleepers(r.N)
	return withSystem(ctx, func(sys *actor.System) error {
		var ended sync.WaitGroup
		var failed atomic.Pointer[error]
		refs, err := spawnAll(sys, r.N, func(i int) actor.Behaviour[*message] {
			return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*message]) error {
				_, err := in.Receive(ctx)
				if err == nil {
					err = s.run(i, ctx.Sleep)
				}
				if err != nil {
					failed.Store(&err)
				}
				ended.Done()
				return err
			})
		})
		if err == nil {
			err = sys.Quiesce(ctx)
		}
		if err != nil {
			return err
		}
		ended.Add(r.N)
		return s.measure(r, func() error {
			if err := sendAll(ctx, refs, new(message)); err != nil {
				return err
			}
			ended.Wait()
			if err := failed.Load(); err != nil {
				return *err
			}
			return nil
		})
	})
}
