package actor_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

// BenchmarkChannel sends to 1,000 subscribers; a message and its handling is a delivery.
func BenchmarkChannel(b *testing.B) {
	const subscribers = 1000
	b.Run("impl=actor", func(b *testing.B) {
		sys := newSystem(b)
		ch, err := actor.NewChannel[*num](sys)
		if err != nil {
			b.Fatal(err)
		}
		var busy atomic.Int64
		want, done := 0, make(chan struct{}, 1)
		for range subscribers {
			got := 0
			ref := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error {
				if got++; got == want {
					if busy.Add(-1) == 0 {
						done <- struct{}{}
					}
				}
				return nil
			}))
			if _, err := ch.Subscribe(b.Context(), ref); err != nil {
				b.Fatal(err)
			}
		}
		m := &num{Value: 1}
		sender := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, _ *num) error {
			for range want {
				if err := ch.Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}))
		b.ReportAllocs()
		want = max(b.N/subscribers, 1)
		busy.Store(subscribers)
		b.ResetTimer()
		if err := sender.Send(context.Background(), m); err != nil {
			b.Fatal(err)
		}
		<-done
	})
	b.Run("impl=chan", func(b *testing.B) {
		want := max(b.N/subscribers, 1)
		var done sync.WaitGroup
		chans := make([]chan *num, subscribers)
		for i := range chans {
			ch := make(chan *num, 16)
			chans[i] = ch
			done.Go(func() {
				for range want {
					<-ch
				}
			})
		}
		m := &num{Value: 1}
		b.ReportAllocs()
		b.ResetTimer()
		for range want {
			for _, ch := range chans {
				ch <- m
			}
		}
		done.Wait()
	})
}
