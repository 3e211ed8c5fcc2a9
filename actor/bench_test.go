package actor_test

import (
	"context"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

func benchSystem(b *testing.B) *actor.System {
	b.Helper()
	sys, err := actor.NewSystem()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sys.Close() })
	b.ReportAllocs()
	return sys
}

// BenchmarkPingPong is one round trip between two handlers, and between two goroutines over channels.
func BenchmarkPingPong(b *testing.B) {
	m := &num{}
	b.Run("impl=actor", func(b *testing.B) {
		sys := benchSystem(b)
		left, done := b.N, make(chan struct{})
		var ping, pong actor.Ref[*num]
		ping = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if left--; left <= 0 {
				close(done)
				return nil
			}
			return pong.Send(ctx, m)
		}))
		pong = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ping.Send(ctx, m) }))
		b.ResetTimer()
		_ = ping.Send(context.Background(), m)
		<-done
	})
	b.Run("impl=routine", func(b *testing.B) {
		sys := benchSystem(b)
		done := make(chan struct{})
		var ping, pong actor.Ref[*num]
		pong = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for {
				m, err := in.Receive(ctx)
				if err != nil {
					return err
				}
				if err := ping.Send(ctx, m); err != nil {
					return err
				}
			}
		}))
		b.ResetTimer()
		ping = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			defer close(done)
			for range b.N {
				if err := pong.Send(ctx, m); err != nil {
					return err
				}
				if _, err := in.Receive(ctx); err != nil {
					return err
				}
			}
			return nil
		}))
		<-done
	})
	b.Run("impl=chan", func(b *testing.B) {
		p, q := make(chan *num), make(chan *num)
		go func() {
			for m := range p {
				q <- m
			}
		}()
		for range b.N {
			p <- m
			<-q
		}
		close(p)
	})
}

// BenchmarkCount sends from one actor to another as fast as it can, and over a channel of 1,024.
func BenchmarkCount(b *testing.B) {
	m := &num{}
	b.Run("impl=actor", func(b *testing.B) {
		sys := benchSystem(b)
		done := make(chan struct{})
		n := 0
		sink := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if n++; n == b.N {
				close(done)
			}
			return nil
		}))
		b.ResetTimer()
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for range b.N {
				if err := sink.Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}))
		<-done
	})
	b.Run("impl=chan", func(b *testing.B) {
		ch := make(chan *num, 1024)
		go func() {
			for range b.N {
				ch <- m
			}
			close(ch)
		}()
		for range ch {
		}
	})
}

// BenchmarkCallInside is a sequential Call from an actor, BenchmarkCall one from a goroutine; the floor is a channel with a
// reply channel.
func BenchmarkCallInside(b *testing.B) {
	sys := benchSystem(b)
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
	m := &num{}
	done := make(chan error)
	b.ResetTimer()
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		for range b.N {
			if _, err := actor.Call[*num](ctx, echo, m); err != nil {
				done <- err
				return err
			}
		}
		done <- nil
		return nil
	}))
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCall(b *testing.B) {
	m := &num{}
	b.Run("impl=actor", func(b *testing.B) {
		sys := benchSystem(b)
		echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		for b.Loop() {
			if _, err := actor.Call[*num](context.Background(), echo, m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("impl=chan", func(b *testing.B) {
		type request struct {
			m     *num
			reply chan *num
		}
		b.ReportAllocs()
		ch := make(chan request)
		go func() {
			for r := range ch {
				r.reply <- r.m
			}
		}()
		for b.Loop() {
			r := request{m, make(chan *num, 1)}
			ch <- r
			<-r.reply
		}
		close(ch)
	})
}

// BenchmarkSpawn starts handlers from an actor.
func BenchmarkSpawn(b *testing.B) {
	sys := benchSystem(b)
	done := make(chan error)
	nop := actor.Handler(func(ctx *actor.Context, m *num) error { return nil })
	b.ResetTimer()
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		for range b.N {
			if _, err := actor.Spawn(ctx, nop); err != nil {
				done <- err
				return err
			}
		}
		b.StopTimer()
		done <- nil
		return nil
	}))
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
