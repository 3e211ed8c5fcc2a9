package main

import (
	"context"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// channelOf is how many messages the channels of count and fanin hold.
const channelOf = 1024

// streamChan has senders goroutines send r.N messages in all to one receiver.
func streamChan(r *harness.Run, senders int) error {
	msgs := newMessages(r)
	ch, starts := make(chan *message, channelOf), make([]chan int, senders)
	var ended sync.WaitGroup
	for i := range starts {
		start := make(chan int, 1)
		starts[i] = start
		ended.Go(func() {
			for n := range start {
				for range n {
					ch <- msgs.next()
				}
			}
		})
	}
	counted, wanted := make(chan int), make(chan int, 1)
	ended.Go(func() {
		for want := range wanted {
			got := 0
			for range ch {
				if got++; got == want {
					break
				}
			}
			counted <- got
		}
	})
	err := r.PerOp(r.N, func(n int) error {
		each := max(n/senders, 1)
		wanted <- each * senders
		for _, start := range starts {
			start <- each
		}
		<-counted
		return nil
	})
	close(wanted)
	for _, start := range starts {
		close(start)
	}
	ended.Wait()
	return err
}

func countChan(_ context.Context, r *harness.Run) error { return streamChan(r, 1) }

func faninChan(_ context.Context, r *harness.Run) error {
	return streamChan(r, thousand(r))
}

// stream has senders handler actors send r.N messages in all to one. Each sends all of its share in one turn; the
// receiver's mailbox takes any number.
func stream(ctx context.Context, r *harness.Run, senders int) error {
	msgs := newMessages(r)
	return withSystem(ctx, func(sys *actor.System) error {
		each, got, want, counted := 0, 0, 0, make(chan struct{}, 1)
		receiver, err := actor.Spawn(sys, actor.Handler(func(*actor.Context, *message) error {
			if got++; got == want {
				counted <- struct{}{}
			}
			return nil
		}))
		if err != nil {
			return err
		}
		refs, err := spawnAll(sys, senders, func(int) actor.Behaviour[*message] {
			return actor.Handler(func(ctx *actor.Context, _ *message) error {
				for range each {
					if err := receiver.Send(ctx, msgs.next()); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
		return r.PerOp(r.N, func(n int) error {
			each = max(n/senders, 1)
			got, want = 0, each*senders
			if err := sendAll(ctx, refs, msgs.next()); err != nil {
				return err
			}
			<-counted
			return nil
		})
	})
}

func count(ctx context.Context, r *harness.Run) error { return stream(ctx, r, 1) }

func fanin(ctx context.Context, r *harness.Run) error { return stream(ctx, r, thousand(r)) }
