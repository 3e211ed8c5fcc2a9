package main

import (
	"context"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// ringChan sends one message round a ring of goroutines, each with a channel of its own, for r.N hops in all.
func ringChan(_ context.Context, r *harness.Run) error {
	msgs, size := newMessages(r), thousand(r)
	links := make([]chan *message, size)
	for i := range links {
		links[i] = make(chan *message, 1)
	}
	var ended sync.WaitGroup
	for i := range size - 1 {
		in, out := links[i], links[i+1]
		ended.Go(func() {
			defer close(out)
			for range in {
				out <- msgs.next()
			}
		})
	}
	laps, lapped := make(chan int), make(chan struct{})
	ended.Go(func() {
		first, last := links[0], links[size-1]
		defer close(first)
		for n := range laps {
			for range n {
				first <- msgs.next()
				<-last
			}
			lapped <- struct{}{}
		}
	})
	err := r.PerOp(r.N, func(n int) error {
		laps <- max(n/size, 1)
		<-lapped
		return nil
	})
	close(laps)
	ended.Wait()
	return err
}

// ring sends one message round a ring of handler actors, for r.N hops in all.
func ring(ctx context.Context, r *harness.Run) error {
	msgs, size := newMessages(r), thousand(r)
	return withSystem(ctx, func(sys *actor.System) error {
		refs, laps, lapped := newRefs(size), 0, make(chan struct{}, 1)
		refs, err := spawnInto(sys, refs, func(i int) actor.Behaviour[*message] {
			next := &refs[(i+1)%size]
			return actor.Handler(func(ctx *actor.Context, _ *message) error {
				if i == 0 {
					if laps == 0 {
						lapped <- struct{}{}
						return nil
					}
					laps--
				}
				return next.Send(ctx, msgs.next())
			})
		})
		if err != nil {
			return err
		}
		return r.PerOp(r.N, func(n int) error {
			laps = max(n/size, 1)
			if err := refs[0].Send(ctx, msgs.next()); err != nil {
				return err
			}
			<-lapped
			return nil
		})
	})
}
