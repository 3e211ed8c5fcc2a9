package main

import (
	"context"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
	"github.com/greenroom-go/greenroom/bench/internal/numberv1"
)

// numbers implements NumberService, and is the state of the handler that is its floor.
type numbers struct {
	shared *numberv1.NextResponse
	fresh  bool
}

// Next answers with the one response, or a new one.
func (n *numbers) Next(*actor.Context, *numberv1.NextRequest) (*numberv1.NextResponse, error) {
	if n.fresh {
		return &numberv1.NextResponse{Value: 1}, nil
	}
	return n.shared, nil
}

// next calls once: through the ref of the service, or by actor.Call.
type next func(ctx context.Context, req *numberv1.NextRequest) (*numberv1.NextResponse, error)

// spawnService starts the service and calls it by its typed method.
func spawnService(sys *actor.System, n *numbers) (next, error) {
	ref, err := numberv1.SpawnNumber(sys, func(*actor.Context) (numberv1.NumberServer, error) { return n, nil })
	return ref.Next, err
}

// spawnPlain starts a handler that does the same and calls it by actor.Call.
func spawnPlain(sys *actor.System, n *numbers) (next, error) {
	ref, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, req *numberv1.NextRequest) error {
		resp, err := n.Next(ctx, req)
		if err != nil {
			return ctx.Fail(err)
		}
		return ctx.Reply(resp)
	}))
	return func(ctx context.Context, req *numberv1.NextRequest) (*numberv1.NextResponse, error) {
		return actor.Call[*numberv1.NextResponse](ctx, ref, req)
	}, err
}

// serviceCall calls from a goroutine, r.N times, one call after the other, what spawn has started.
func serviceCall(spawn func(*actor.System, *numbers) (next, error)) harness.Func {
	return withNext(spawn, func(ctx context.Context, _ *actor.System, times func(ctx context.Context, n int) error, r *harness.Run) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return r.PerOp(r.N, func(n int) error { return times(ctx, n) })
	})
}

// serviceCallInside is serviceCall from an actor.
func serviceCallInside(spawn func(*actor.System, *numbers) (next, error)) harness.Func {
	return withNext(spawn, func(ctx context.Context, sys *actor.System, times func(ctx context.Context, n int) error, r *harness.Run) error {
		calls, done := 0, make(chan error, 1)
		caller, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
			done <- times(ctx, calls)
			return nil
		}))
		if err != nil {
			return err
		}
		return r.PerOp(r.N, func(n int) error {
			calls = n
			if err := caller.Send(ctx, &message{}); err != nil {
				return err
			}
			return <-done
		})
	})
}

// withNext starts what spawn starts and hands work a function that calls it n times.
func withNext(
	spawn func(*actor.System, *numbers) (next, error),
	work func(ctx context.Context, sys *actor.System, times func(ctx context.Context, n int) error, r *harness.Run) error,
) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withSystem(ctx, func(sys *actor.System) error {
			next, err := spawn(sys, &numbers{shared: &numberv1.NextResponse{Value: 1}, fresh: r.Fresh})
			if err != nil {
				return err
			}
			shared := &numberv1.NextRequest{Value: 1}
			return work(ctx, sys, func(ctx context.Context, n int) error {
				for range n {
					req := shared
					if r.Fresh {
						req = &numberv1.NextRequest{Value: 1}
					}
					if _, err := next(ctx, req); err != nil {
						return err
					}
				}
				return nil
			}, r)
		})
	}
}
