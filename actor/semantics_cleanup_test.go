package actor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// WAIT-6: after a request to stop, deferred code may still wait under Cleanup, for as long as it says; a Kill ends that too.
func TestCleanup(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		got := make(chan error, 3)
		spawn := func() actor.Ref[*num] {
			return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				defer func() {
					got <- ctx.Sleep(time.Hour)
					bounded, cancel := ctx.Cleanup(time.Minute)
					defer cancel()
					_, err := actor.Call[*num](bounded, echo, &num{})
					got <- err
					start := time.Now()
					_, err = ctx.Suspend(bounded)
					got <- errors.Join(err, took(start, time.Minute))
				}()
				return ctx.Sleep(time.Hour)
			}))
		}
		a := spawn()
		wantErr(t, "quiesce", sys.Quiesce(context.Background()), nil)
		a.Stop()
		wantErr(t, "before", <-got, actor.ErrStopped)
		wantErr(t, "call", <-got, nil)
		wantErr(t, "suspend", <-got, context.DeadlineExceeded)
		b := spawn()
		wantErr(t, "quiesce", sys.Quiesce(context.Background()), nil)
		b.Kill()
		for range 2 {
			wantErr(t, "killed", <-got, actor.ErrKilled)
		}
	})
}

// KILL-1: code that neither waits nor returns cannot be killed: the Kill takes hold at its next wait, the others go on meanwhile.
func TestKillTakesHoldAtTheNextWait(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		release, entered := make(chan struct{}), make(chan struct{})
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			close(entered)
			<-release // neither a wait of ours nor a return
			_ = ctx.Sleep(0)
			t.Error("went on after its wait")
			return nil
		}))
		await(t, entered)
		a.Kill()
		for range 10 {
			if _, err := actor.Call[*num](patient(t), echo, &num{}); err != nil {
				t.Fatal(err)
			}
		}
		if !a.Alive() {
			t.Fatal("running code was killed")
		}
		close(release)
		wantKind(t, a.AnyRef, actor.ReasonKilled)
	})
}
