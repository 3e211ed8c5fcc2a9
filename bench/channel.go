package main

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// fanoutOf is how many messages the channel of each subscriber of the floor holds.
const fanoutOf = 16

// fanoutChan has one goroutine send each message to the channels of many others, r.N deliveries in all.
func fanoutChan(_ context.Context, r *harness.Run) error {
	msgs, count := newMessages(r), thousand(r)
	var done, ended sync.WaitGroup
	subs, want := make([]chan *message, count), 0
	for i := range subs {
		ch := make(chan *message, fanoutOf)
		subs[i] = ch
		ended.Go(func() {
			got := 0
			for range ch {
				if got++; got == want {
					got = 0
					done.Done()
				}
			}
		})
	}
	starts := make(chan int)
	ended.Go(func() {
		for sends := range starts {
			for range sends {
				m := msgs.next()
				for _, ch := range subs {
					ch <- m
				}
			}
		}
	})
	err := r.PerOp(r.N, func(n int) error {
		want = max(n/count, 1)
		done.Add(count)
		starts <- want
		done.Wait()
		return nil
	})
	close(starts)
	for _, ch := range subs {
		close(ch)
	}
	ended.Wait()
	return err
}

// fanout has one handler actor send each message to a channel that many others are subscribed to, r.N deliveries in all.
func fanout(ctx context.Context, r *harness.Run) error {
	msgs, count := newMessages(r), thousand(r)
	return withSystem(ctx, func(sys *actor.System) error {
		ch, err := actor.NewChannel[*message](sys)
		if err != nil {
			return err
		}
		want, done := 0, make(chan struct{}, 1)
		var busy atomic.Int64
		subs, err := spawnAll(sys, count, func(int) actor.Behaviour[*message] {
			got := 0
			return actor.Handler(func(*actor.Context, *message) error {
				if got++; got == want {
					got = 0
					if busy.Add(-1) == 0 {
						done <- struct{}{}
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
		for _, ref := range subs {
			if _, err := ch.Subscribe(ctx, ref); err != nil {
				return err
			}
		}
		sender, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
			for range want {
				if err := ch.Send(ctx, msgs.next()); err != nil {
					return err
				}
			}
			return nil
		}))
		if err != nil {
			return err
		}
		return r.PerOp(r.N, func(n int) error {
			want = max(n/count, 1)
			busy.Store(int64(count))
			if err := sender.Send(ctx, msgs.next()); err != nil {
				return err
			}
			<-done
			return nil
		})
	})
}
