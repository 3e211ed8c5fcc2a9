package actor_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

// inActor runs f as an actor and waits for its end.
func inActor(b *testing.B, sys *actor.System, f func(ctx *actor.Context) error) {
	b.Helper()
	if _, err := run(sys, f).Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMutex is one Lock and Unlock, alone and among eight that want the same lock.
func BenchmarkMutex(b *testing.B) {
	b.Run("contended=no/impl=actor", func(b *testing.B) {
		b.ReportAllocs()
		var m actor.Mutex
		inActor(b, newSystem(b), func(ctx *actor.Context) error {
			for b.Loop() {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				if err := m.Unlock(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("contended=no/impl=sync", func(b *testing.B) {
		b.ReportAllocs()
		var m sync.Mutex
		for b.Loop() {
			m.Lock()
			m.Unlock() //nolint:staticcheck // what is measured
		}
	})
	b.Run("contended=yes/impl=actor", func(b *testing.B) {
		b.ReportAllocs()
		var m actor.Mutex
		n := 0
		contend(b, func(ctx *actor.Context) error {
			if err := m.Lock(ctx); err != nil {
				return err
			}
			n++
			return m.Unlock(ctx)
		})
	})
	b.Run("contended=yes/impl=sync", func(b *testing.B) {
		b.ReportAllocs()
		var m sync.Mutex
		var all sync.WaitGroup
		n := 0
		for range contenders {
			all.Go(func() {
				for range b.N/contenders + 1 {
					m.Lock()
					n++
					m.Unlock()
				}
			})
		}
		all.Wait()
	})
	b.Run("handover=each/impl=actor", func(b *testing.B) {
		b.ReportAllocs()
		var m actor.Mutex
		contend(b, func(ctx *actor.Context) error {
			return errors.Join(m.Lock(ctx), ctx.Yield(), m.Unlock(ctx))
		})
	})
}

const contenders = 8

// contend shares b.N turns of f among eight actors.
func contend(b *testing.B, f func(ctx *actor.Context) error) {
	b.Helper()
	sys := newSystem(b)
	b.ResetTimer()
	refs := make([]actor.AnyRef, contenders)
	for i := range refs {
		refs[i] = run(sys, func(ctx *actor.Context) error {
			for range b.N/contenders + 1 {
				if err := f(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, r := range refs {
		if _, err := r.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSemaphore is one Acquire and Release of a free permit.
func BenchmarkSemaphore(b *testing.B) {
	s, err := actor.NewSemaphore(2)
	if err != nil {
		b.Fatal(err)
	}
	use := func(ctx context.Context) error {
		if err := s.Acquire(ctx); err != nil {
			return err
		}
		return s.Release(ctx)
	}
	b.Run("impl=actor", func(b *testing.B) {
		b.ReportAllocs()
		inActor(b, newSystem(b), func(ctx *actor.Context) error {
			for b.Loop() {
				if err := use(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("impl=chan", func(b *testing.B) {
		b.ReportAllocs()
		permits := make(chan struct{}, 2)
		for b.Loop() {
			permits <- struct{}{}
			<-permits
		}
	})
}

// BenchmarkCond is one wake-up and the wait for the next, two taking turns.
func BenchmarkCond(b *testing.B) {
	b.Run("impl=actor", func(b *testing.B) {
		b.ReportAllocs()
		var m actor.Mutex
		c := actor.NewCond(&m)
		turns := 0
		sys := newSystem(b)
		b.ResetTimer()
		play := func(mine int) func(ctx *actor.Context) error {
			return func(ctx *actor.Context) error {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				for turns < b.N {
					for turns%2 != mine && turns < b.N {
						if err := c.Wait(ctx); err != nil {
							return err
						}
					}
					turns++
					if err := c.Signal(ctx); err != nil {
						return err
					}
				}
				return m.Unlock(ctx)
			}
		}
		for _, r := range []actor.AnyRef{run(sys, play(0)), run(sys, play(1))} {
			if _, err := r.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("impl=sync", func(b *testing.B) {
		b.ReportAllocs()
		var m sync.Mutex
		c := sync.NewCond(&m)
		turns := 0
		var all sync.WaitGroup
		for mine := range 2 {
			all.Go(func() {
				m.Lock()
				defer m.Unlock()
				for turns < b.N {
					for turns%2 != mine && turns < b.N {
						c.Wait()
					}
					turns++
					c.Signal()
				}
			})
		}
		all.Wait()
	})
}
