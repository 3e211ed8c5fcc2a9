package actor_test

import (
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

// LIFE-2: a behaviour that learns of the request to stop from its Context and returns that error has ended normally.
func TestReturnOfTheContextsError(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		started := make(chan struct{})
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			close(started)
			_ = ctx.Block(func() { <-ctx.Done() })
			return ctx.Err()
		}))
		await(t, started)
		a.Stop()
		wantKind(t, a.AnyRef, actor.ReasonNormal)
	})
}
