package main

import (
	"context"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// request is a call over a channel: the message, and where the answer goes.
type request struct {
	msg   *message
	reply chan *message
}

// ask is a call as a careful program writes it, with the promises of actor.Call: it gives up when ctx ends, and a reply
// that comes too late meets nobody, neither blocking the callee nor reaching the next call. So each call has a reply
// channel of its own.
func ask(ctx context.Context, requests chan<- request, m *message) (*message, error) {
	q := request{msg: m, reply: make(chan *message, 1)}
	select {
	case requests <- q:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case m := <-q.reply:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// callChan calls one goroutine from another, r.N times, one call after the other. It is the floor of call and of
// call-inside: a goroutine has no outside.
func callChan(ctx context.Context, r *harness.Run) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	msgs := newMessages(r)
	requests := make(chan request)
	var ended sync.WaitGroup
	ended.Go(func() {
		for q := range requests {
			q.reply <- msgs.next()
		}
	})
	err := r.PerOp(r.N, func(n int) error {
		for range n {
			if _, err := ask(ctx, requests, msgs.next()); err != nil {
				return err
			}
		}
		return nil
	})
	close(requests)
	ended.Wait()
	return err
}

// withCallee runs work with an actor that answers every call.
func withCallee(ctx context.Context, msgs messages, work func(sys *actor.System, callee actor.Ref[*message]) error) error {
	return withSystem(ctx, func(sys *actor.System) error {
		callee, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
			return ctx.Reply(msgs.next())
		}))
		if err != nil {
			return err
		}
		return work(sys, callee)
	})
}

// callTimes calls n times, one call after the other.
func callTimes(ctx context.Context, callee actor.Ref[*message], n int, msgs *messages) error {
	for range n {
		if _, err := actor.Call[*message](ctx, callee, msgs.next()); err != nil {
			return err
		}
	}
	return nil
}

func call(ctx context.Context, r *harness.Run) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	msgs := newMessages(r)
	return withCallee(ctx, msgs, func(_ *actor.System, callee actor.Ref[*message]) error {
		return r.PerOp(r.N, func(n int) error { return callTimes(ctx, callee, n, &msgs) })
	})
}

func callInside(ctx context.Context, r *harness.Run) error {
	msgs := newMessages(r)
	return withCallee(ctx, msgs, func(sys *actor.System, callee actor.Ref[*message]) error {
		calls, done := 0, make(chan error, 1)
		caller, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
			done <- callTimes(ctx, callee, calls, &msgs)
			return nil
		}))
		if err != nil {
			return err
		}
		return r.PerOp(r.N, func(n int) error {
			calls = n
			if err := caller.Send(ctx, msgs.next()); err != nil {
				return err
			}
			return <-done
		})
	})
}
