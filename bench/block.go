package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// callBytes makes the system call of bench block, a read from a file that the kernel has in memory, last about 1 us.
const callBytes = 40 << 10

// systemCall returns the call, and what undoes its preparations.
func systemCall() (call func() error, cleanup func() error, err error) {
	f, err := os.CreateTemp("", "greenroom-bench-")
	if err != nil {
		return nil, nil, err
	}
	cleanup = func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }
	buf := make([]byte, callBytes)
	if _, err := f.Write(buf); err != nil {
		return nil, nil, errors.Join(err, cleanup())
	}
	call = func() error {
		_, err := f.ReadAt(buf, 0)
		return err
	}
	return call, cleanup, nil
}

// withSystemCall reports the time for one round of do, which calls call n times.
func withSystemCall(r *harness.Run, do func(n int, call func() error) error) error {
	call, cleanup, err := systemCall()
	if err != nil {
		return err
	}
	err = r.PerOp(r.N, func(n int) error { return do(n, call) })
	return errors.Join(err, cleanup())
}

func blockChan(_ context.Context, r *harness.Run) error {
	return withSystemCall(r, func(n int, call func() error) error {
		done := make(chan error)
		go func() {
			for range n {
				if err := call(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		return <-done
	})
}

// blockedOnes is how many block in bench blocked, beside r.N that work in pairs.
const blockedOnes = 100

// obstacles are what bench blocked puts in the way of those who work.
type obstacles struct {
	there   sync.WaitGroup // all are in place
	release chan struct{}
	gone    sync.WaitGroup
	quit    atomic.Bool
}

func newObstacles() *obstacles { return &obstacles{release: make(chan struct{})} }

// block waits as a blocking call does.
func (o *obstacles) block() {
	o.there.Done()
	<-o.release
}

// spin takes a processor and never gives it back by itself.
func (o *obstacles) spin() {
	o.there.Done()
	for !o.quit.Load() {
	}
}

func (o *obstacles) remove() {
	o.quit.Store(true)
	close(o.release)
	o.gone.Wait()
}

// playOn reports the millions of round trips a second that pairs get done, over a time rather than a number of them: how
// fast they are is what is asked.
func playOn(r *harness.Run, p players) error {
	defer p.close()
	d := 2 * time.Second
	if r.Short {
		d = 200 * time.Millisecond
	}
	if _, err := playFor(p, d/10); err != nil {
		return err
	}
	rate, err := playFor(p, d)
	r.Set("", rate/1e6)
	return err
}

// blockedChan has goroutines where the Greenroom side has actors: 100 block on a channel, one spins.
func blockedChan(_ context.Context, r *harness.Run) error {
	o := newObstacles()
	o.there.Add(blockedOnes + 1)
	for range blockedOnes {
		o.gone.Go(o.block)
	}
	o.gone.Go(o.spin)
	o.there.Wait()
	defer o.remove()
	return playOn(r, newChanPairs(max(r.N/2, 1), newMessages(r)))
}

func block(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		var rounds int
		var call func() error
		done := make(chan error, 1)
		ref, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
			done <- blockTimes(ctx, rounds, call)
			return nil
		}))
		if err != nil {
			return err
		}
		return withSystemCall(r, func(n int, c func() error) error {
			rounds, call = n, c
			if err := ref.Send(ctx, new(message)); err != nil {
				return err
			}
			return <-done
		})
	})
}

func blockTimes(ctx *actor.Context, n int, call func() error) error {
	for range n {
		var err error
		if refused := ctx.Block(func() { err = call() }); refused != nil {
			return refused
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blocked measures pairs of actors beside 100 that block and one that spins.
func blocked(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		o := newObstacles()
		o.there.Add(blockedOnes + 1)
		refs, err := spawnAll(sys, blockedOnes+1, func(i int) actor.Behaviour[*message] {
			return actor.Handler(func(ctx *actor.Context, _ *message) error {
				if i < blockedOnes {
					return ctx.Block(o.block)
				}
				o.spin()
				return nil
			})
		})
		if err != nil {
			return err
		}
		if err := sendAll(ctx, refs, new(message)); err != nil {
			return err
		}
		o.there.Wait()
		defer o.remove()
		return workOn(ctx, r, sys)
	})
}

// workOn measures the pairs of bench blocked.
func workOn(ctx context.Context, r *harness.Run, sys *actor.System) error {
	p, err := newActorPairs(ctx, sys, max(r.N/2, 1), newMessages(r), nil)
	if err != nil {
		return err
	}
	return playOn(r, p)
}

// blockedAlone measures the same pairs with nothing in their way.
func blockedAlone(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error { return workOn(ctx, r, sys) })
}

// blockedBesideSpin measures the same pairs while a plain goroutine spins: the processor time that is left to them is that
// of bench blocked.
func blockedBesideSpin(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		o := newObstacles()
		o.there.Add(1)
		o.gone.Go(o.spin)
		o.there.Wait()
		defer o.remove()
		return workOn(ctx, r, sys)
	})
}
