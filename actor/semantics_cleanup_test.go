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

// WAIT-6: when a routine has learnt of a Drain, it may still wait under Cleanup for messages, those that come after the Drain among them.
func TestCleanupAfterADrain(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		want := func(what string, err, want error) {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		for name, receive := range map[string]func(in *actor.Inbox[*num], clean context.Context, own *actor.Context) (*num, error){
			"Receive": func(in *actor.Inbox[*num], clean context.Context, _ *actor.Context) (*num, error) {
				return in.Receive(clean)
			},
			"under its Context": func(in *actor.Inbox[*num], _ context.Context, own *actor.Context) (*num, error) {
				return in.Receive(own)
			},
			"Select": func(in *actor.Inbox[*num], clean context.Context, _ *actor.Context) (*num, error) {
				return in.Select(clean, func(*num) bool { return true })
			},
		} {
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_, err := in.Receive(ctx)
				want(name+": drained", err, actor.ErrStopped)
				clean, cancel := ctx.Cleanup(5 * time.Second)
				defer cancel()
				start := time.Now()
				if _, err := actor.SendAfter(ctx, time.Second, actor.Ref[*num]{AnyRef: ctx.Self()}, &num{Value: 7}); err != nil {
					t.Error(err)
				}
				m, err := receive(in, clean, ctx)
				want(name+": one that came after", errors.Join(err, took(start, time.Second)), nil)
				if m.GetValue() != 7 {
					t.Errorf("%s: got %v", name, m)
				}
				_, err = in.Receive(clean)
				want(name+": none comes", errors.Join(err, took(start, 5*time.Second)), context.DeadlineExceeded)
				_, err = in.Receive(ctx)
				want(name+": after the Cleanup", err, actor.ErrStopped)
				return nil
			}))
			wantErr(t, "quiesce", sys.Quiesce(context.Background()), nil)
			wantErr(t, "drain", a.Drain(), nil)
			wantKind(t, a.AnyRef, actor.ReasonNormal)
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
