package main

import (
	"context"
	"runtime"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// footprint is what the process holds after one garbage collection.
type footprint struct{ rss, heap float64 }

func takeFootprint() (footprint, error) {
	runtime.GC()
	rss, err := harness.RSS()
	if err != nil {
		return footprint{}, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{float64(rss), float64(m.HeapAlloc)}, nil
}

// memoryPer reports the resident and the heap bytes that build adds, for each of r.N.
func memoryPer(r *harness.Run, build func() error) error {
	before, err := takeFootprint()
	if err != nil {
		return err
	}
	if err := build(); err != nil {
		return err
	}
	after, err := takeFootprint()
	if err != nil {
		return err
	}
	n := float64(r.N)
	r.Set("", max(after.rss-before.rss, 0)/n)
	r.Set("heap", max(after.heap-before.heap, 0)/n)
	return nil
}

func idleMemoryChan(_ context.Context, r *harness.Run) error { return crowdMemoryChan(r, false) }

func idleMemoryUsedChan(_ context.Context, r *harness.Run) error { return crowdMemoryChan(r, true) }

// crowdMemoryChan weighs r.N goroutines that wait on channels, and the slice that makes them addressable by number.
func crowdMemoryChan(r *harness.Run, used bool) error {
	msgs := newMessages(r)
	var crowd *chanCrowd
	err := memoryPer(r, func() error {
		crowd = newChanCrowd(r.N)
		for i := range crowd.inboxes {
			crowd.start(i)
		}
		if used {
			crowd.sendAll(msgs.next())
		}
		return nil
	})
	crowd.close()
	return err
}

// reportPeak reports the most megabytes that the process ever had resident.
func reportPeak(r *harness.Run) error {
	peak, err := harness.PeakRSS()
	r.Set("", float64(peak)/1e6)
	return err
}

// suspendedChan has r.N goroutines wait for one resume each, all at once, resumes them and waits for them to end. It is
// the floor of both suspended-100k benches.
func suspendedChan(_ context.Context, r *harness.Run) error {
	msgs := newMessages(r)
	resumes := make([]chan *message, r.N)
	var waiting, ended sync.WaitGroup
	waiting.Add(r.N)
	for i := range resumes {
		resume := make(chan *message)
		resumes[i] = resume
		ended.Go(func() {
			waiting.Done()
			<-resume
		})
	}
	waiting.Wait()
	for _, resume := range resumes {
		resume <- msgs.next()
	}
	ended.Wait()
	return reportPeak(r)
}

func idleMemory(ctx context.Context, r *harness.Run) error { return crowdMemory(ctx, r, false) }

func idleMemoryUsed(ctx context.Context, r *harness.Run) error { return crowdMemory(ctx, r, true) }

// crowdMemory weighs r.N handler actors, and the slice of their refs.
func crowdMemory(ctx context.Context, r *harness.Run, used bool) error {
	msgs := newMessages(r)
	return withSystem(ctx, func(sys *actor.System) error {
		var refs []actor.Ref[*message]
		var handled sync.WaitGroup
		err := memoryPer(r, func() (err error) {
			behaviour := actor.Handler(func(*actor.Context, *message) error {
				handled.Done()
				return nil
			})
			refs, err = spawnAll(sys, r.N, func(int) actor.Behaviour[*message] { return behaviour })
			if err != nil || !used {
				return err
			}
			handled.Add(r.N)
			defer handled.Wait()
			return sendAll(ctx, refs, msgs.next())
		})
		runtime.KeepAlive(refs)
		return err
	})
}

// suspendedHandlers has r.N handler actors wait for one message each, sends it, and waits for them to end.
func suspendedHandlers(ctx context.Context, r *harness.Run) error {
	msgs := newMessages(r)
	return withSystem(ctx, func(sys *actor.System) error {
		behaviour := actor.Handler(func(ctx *actor.Context, _ *message) error {
			ctx.Stop()
			return nil
		})
		refs, err := spawnAll(sys, r.N, func(int) actor.Behaviour[*message] { return behaviour })
		if err == nil {
			err = sendAll(ctx, refs, msgs.next())
		}
		return endAndReport(ctx, r, sys, err)
	})
}

// suspendedRoutines has r.N routines suspend, resumes them, and waits for them to end.
func suspendedRoutines(ctx context.Context, r *harness.Run) error {
	msgs := newMessages(r)
	return withSystem(ctx, func(sys *actor.System) error {
		behaviour := actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*message]) error {
			_, err := ctx.Suspend(ctx)
			return err
		})
		refs, err := spawnAll(sys, r.N, func(int) actor.Behaviour[*message] { return behaviour })
		if err == nil {
			err = sys.Quiesce(ctx)
		}
		for _, ref := range refs {
			if err == nil {
				err = ref.Resume(msgs.next())
			}
		}
		return endAndReport(ctx, r, sys, err)
	})
}

// endAndReport waits for all actors to end and reports the peak, unless there was an error on the way.
func endAndReport(ctx context.Context, r *harness.Run, sys *actor.System, err error) error {
	if err != nil {
		return err
	}
	if err := sys.Join(ctx); err != nil {
		return err
	}
	return reportPeak(r)
}
