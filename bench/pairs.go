package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// thousand is how many pairs, senders or links there are, fewer only if there is no work for so many.
func thousand(r *harness.Run) int { return min(1000, r.N) }

// players are pairs that play ping-pong, each pair with one message.
type players interface {
	// play has every pair play rounds round trips, fewer if the whistle is blown, and returns how many there were in all.
	play(rounds int) (trips int, err error)
	whistle() *atomic.Bool
	close()
}

// forEver is more rounds than anybody waits for.
const forEver = 1 << 40

// playPairs reports the time for a round trip when count pairs play n in all.
func playPairs(r *harness.Run, p players, count int) error {
	defer p.close()
	return r.PerOp(r.N, func(n int) error {
		_, err := p.play(max(n/count, 1))
		return err
	})
}

// playFor has p play for about d and returns the round trips a second.
func playFor(p players, d time.Duration) (float64, error) {
	p.whistle().Store(false)
	var trips int
	done := make(chan error, 1)
	start := time.Now()
	go func() {
		var err error
		trips, err = p.play(forEver)
		done <- err
	}()
	time.Sleep(d)
	p.whistle().Store(true)
	elapsed := time.Since(start)
	err := <-done
	return float64(trips) / elapsed.Seconds(), err
}

func pingpongChan(_ context.Context, r *harness.Run) error {
	return playPairs(r, newChanPairs(1, newMessages(r)), 1)
}

func pairsChan(_ context.Context, r *harness.Run) error {
	count := thousand(r)
	return playPairs(r, newChanPairs(count, newMessages(r)), count)
}

// chanPairs are pairs of goroutines, each with a channel of its own. The channels hold one message: that is faster than
// none, since the sender need not wait for the receiver.
type chanPairs struct {
	starts []chan int
	trips  atomic.Int64
	done   sync.WaitGroup
	ended  sync.WaitGroup
	quit   atomic.Bool
}

func newChanPairs(count int, msgs messages) *chanPairs {
	p := &chanPairs{starts: make([]chan int, count)}
	for i := range p.starts {
		start, ping, pong := make(chan int, 1), make(chan *message, 1), make(chan *message, 1)
		p.starts[i] = start
		p.ended.Go(func() {
			for range ping {
				pong <- msgs.next()
			}
		})
		p.ended.Go(func() {
			defer close(ping)
			for rounds := range start {
				trips := 0
				for trips < rounds && !p.quit.Load() {
					ping <- msgs.next()
					<-pong
					trips++
				}
				p.trips.Add(int64(trips))
				p.done.Done()
			}
		})
	}
	return p
}

func (p *chanPairs) play(rounds int) (int, error) {
	p.trips.Store(0)
	p.done.Add(len(p.starts))
	for _, start := range p.starts {
		start <- rounds
	}
	p.done.Wait()
	return int(p.trips.Load()), nil
}

func (p *chanPairs) whistle() *atomic.Bool { return &p.quit }

func (p *chanPairs) close() {
	for _, start := range p.starts {
		close(start)
	}
	p.ended.Wait()
}

// actorPairs are pairs of handler actors.
type actorPairs struct {
	ctx   context.Context
	pairs []*actorPair
	msgs  messages
	done  sync.WaitGroup
	quit  atomic.Bool
}

type actorPair struct {
	first, second actor.Ref[*message]
	left          int // round trips to go; the first actor's own between two plays
}

// newActorPairs spawns count pairs. The order says which pair and place each actor gets, twice the pair for its first
// one; nil means one pair after the other.
func newActorPairs(ctx context.Context, sys *actor.System, count int, msgs messages, order []int) (*actorPairs, error) {
	p := &actorPairs{ctx: ctx, pairs: make([]*actorPair, count), msgs: msgs}
	for i := range p.pairs {
		p.pairs[i] = new(actorPair)
	}
	for i := range 2 * count {
		if order != nil {
			i = order[i]
		}
		if err := p.spawn(sys, p.pairs[i/2], i%2 == 0); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *actorPairs) spawn(sys *actor.System, pair *actorPair, first bool) (err error) {
	if first {
		pair.first, err = actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
			if pair.left == 0 || p.quit.Load() {
				p.done.Done()
				return nil
			}
			pair.left--
			return pair.second.Send(ctx, p.msgs.next())
		}))
		return err
	}
	pair.second, err = actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
		return pair.first.Send(ctx, p.msgs.next())
	}))
	return err
}

func (p *actorPairs) play(rounds int) (int, error) {
	p.done.Add(len(p.pairs))
	for _, pair := range p.pairs {
		pair.left = rounds
		if err := pair.first.Send(p.ctx, p.msgs.next()); err != nil {
			return 0, err
		}
	}
	p.done.Wait()
	trips := 0
	for _, pair := range p.pairs {
		trips += rounds - pair.left
	}
	return trips, nil
}

func (p *actorPairs) whistle() *atomic.Bool { return &p.quit }

func (p *actorPairs) close() {}

// playActors is playPairs for count pairs of handler actors.
func playActors(ctx context.Context, r *harness.Run, count int) error {
	return withSystem(ctx, func(sys *actor.System) error {
		p, err := newActorPairs(ctx, sys, count, newMessages(r), nil)
		if err != nil {
			return err
		}
		return playPairs(r, p, count)
	})
}

func pingpong(ctx context.Context, r *harness.Run) error { return playActors(ctx, r, 1) }

func pairs(ctx context.Context, r *harness.Run) error {
	return playActors(ctx, r, thousand(r))
}

// pingpongRoutine has two routines play, both in plain loops.
func pingpongRoutine(ctx context.Context, r *harness.Run) error {
	msgs := newMessages(r)
	return withSystem(ctx, func(sys *actor.System) error {
		rounds, done := 0, make(chan error, 1)
		var first, second actor.Ref[*message]
		second, err := actor.Spawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*message]) error {
			for range in.All() {
				if err := first.Send(ctx, msgs.next()); err != nil {
					return err
				}
			}
			return nil
		}))
		if err != nil {
			return err
		}
		first, err = actor.Spawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*message]) error {
			for range in.All() {
				done <- volley(ctx, in, second, rounds, &msgs)
			}
			return nil
		}))
		if err != nil {
			return err
		}
		return r.PerOp(r.N, func(n int) error {
			rounds = n
			if err := first.Send(ctx, msgs.next()); err != nil {
				return err
			}
			return <-done
		})
	})
}

// volley plays rounds round trips with to.
func volley(ctx *actor.Context, in *actor.Inbox[*message], to actor.Ref[*message], rounds int, msgs *messages) error {
	for range rounds {
		if err := to.Send(ctx, msgs.next()); err != nil {
			return err
		}
		if _, err := in.Receive(ctx); err != nil {
			return err
		}
	}
	return nil
}
