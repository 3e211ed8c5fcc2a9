package main

import (
	"context"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// millionsPerSecond reports the rate of work, done once.
func millionsPerSecond(r *harness.Run, work func() error) error {
	ns, err := r.Measure(r.N, work)
	r.Set("", 1e3/ns)
	return err
}

// spawnChan starts r.N goroutines from one goroutine, each behind a channel of its own that it ranges over. The clock
// stops when the last one has been started, whether or not it has run yet.
func spawnChan(_ context.Context, r *harness.Run) error {
	crowd := newChanCrowd(r.N)
	defer crowd.close()
	return millionsPerSecond(r, func() error {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range crowd.inboxes {
				crowd.start(i)
			}
		}()
		<-done
		return nil
	})
}

// chanCrowd is goroutines that wait for messages, addressable by number.
type chanCrowd struct {
	inboxes []chan *message
	handled sync.WaitGroup
	ended   sync.WaitGroup
}

func newChanCrowd(n int) *chanCrowd { return &chanCrowd{inboxes: make([]chan *message, n)} }

func (c *chanCrowd) start(i int) {
	inbox := make(chan *message)
	c.inboxes[i] = inbox
	go c.serve(inbox)
}

func (c *chanCrowd) serve(inbox chan *message) {
	for range inbox {
		c.handled.Done()
	}
	c.ended.Done()
}

// sendAll sends m to each and returns when all have handled it.
func (c *chanCrowd) sendAll(m *message) {
	c.handled.Add(len(c.inboxes))
	for _, inbox := range c.inboxes {
		inbox <- m
	}
	c.handled.Wait()
}

func (c *chanCrowd) close() {
	c.ended.Add(len(c.inboxes))
	for _, inbox := range c.inboxes {
		if inbox == nil {
			c.ended.Done()
			continue
		}
		close(inbox)
	}
	c.ended.Wait()
}

// spawn spawns r.N handler actors from one actor, as its children.
func spawn(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		refs, done := newRefs(r.N), make(chan error, 1)
		child := actor.Handler(func(*actor.Context, *message) error { return nil })
		parent, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
			_, err := spawnInto(ctx, refs, func(int) actor.Behaviour[*message] { return child })
			done <- err
			return nil
		}))
		if err != nil {
			return err
		}
		return millionsPerSecond(r, func() error {
			if err := parent.Send(ctx, new(message)); err != nil {
				return err
			}
			return <-done
		})
	})
}
