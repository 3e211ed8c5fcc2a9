package actor_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// heldUp checks that calls are answered while the given behaviours are under way, then ends those with release.
func heldUp(t *testing.T, n int, b func(entered func(), released <-chan struct{}) actor.Behaviour[*num]) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		entered, released := make(chan struct{}, n), make(chan struct{})
		var refs []actor.Ref[*num]
		for range n {
			refs = append(refs, actor.MustSpawn(sys, b(func() { entered <- struct{}{} }, released)))
		}
		for range n {
			await(t, entered)
		}
		for range 20 {
			if _, err := actor.Call[*num](patient(t), echo, &num{}); err != nil {
				t.Fatal(err)
			}
		}
		close(released)
		for _, r := range refs {
			r.Stop()
			wantKind(t, r.AnyRef, actor.ReasonNormal)
		}
	}, actor.SystemOptions{Workers: 2, StuckAfter: time.Millisecond})
}

// EXEC-1: an actor that waits holds no slot: any number may wait in the middle of a message.
func TestWaitersHoldNoSlot(t *testing.T) {
	heldUp(t, 1000, func(entered func(), _ <-chan struct{}) actor.Behaviour[*num] {
		return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			entered()
			return ctx.Sleep(time.Hour)
		})
	})
}

// EXEC-2: a blocking function under Block lends its slot, so that others run.
func TestBlockLendsItsSlot(t *testing.T) {
	heldUp(t, 20, func(entered func(), released <-chan struct{}) actor.Behaviour[*num] {
		return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			return ctx.Block(func() {
				entered()
				<-released
			})
		})
	})
}

// EXEC-3: behaviours that neither wait nor return, fewer than MaxSpare, do not stop the others.
func TestStuckBehavioursAreWorkedAround(t *testing.T) {
	heldUp(t, 4, func(entered func(), released <-chan struct{}) actor.Behaviour[*num] {
		return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			entered()
			for {
				select {
				case <-released:
					return nil
				default: //nolint:staticcheck // it is to hold its slot
				}
			}
		})
	})
}

// EXEC-4: Offload runs on a goroutine of its own, which may lock its thread, and brings its error back.
func TestOffloadMayLockItsThread(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			err := ctx.Offload(ctx, func() error {
				runtime.LockOSThread() //nolint:forbidigo // the one place
				defer runtime.UnlockOSThread()
				return context.Canceled
			})
			return ctx.SetValue(err)
		}))
		if v, why := outcome(t, a.AnyRef); v != any(context.Canceled) {
			t.Fatal(v, why)
		}
	})
}

// EXEC-5: a behaviour that has always something to handle, or sends without end, gives way to others.
func TestBusyActorsGiveWay(t *testing.T) {
	var over atomic.Bool
	for name, busy := range map[string]actor.Behaviour[*num]{
		"handles": actor.Handler(func(ctx *actor.Context, m *num) error {
			self, _ := actor.TypedRef[*num](ctx.Self())
			return self.Send(ctx, m)
		}),
		"sends": actor.Handler(func(ctx *actor.Context, m *num) error {
			sink := actor.MustSpawn(ctx, actor.Handler(func(*actor.Context, *num) error { return nil }))
			for !over.Load() {
				if err := sink.Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				over.Store(false)
				defer over.Store(true)
				echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
				tell(t, actor.MustSpawn(sys, busy), 1)
				for range 20 {
					if _, err := actor.Call[*num](patient(t), echo, &num{}); err != nil {
						t.Fatal(err)
					}
				}
			}, actor.SystemOptions{Workers: 1, StuckAfter: time.Hour})
		})
	}
}

// EXEC-6: system actors have a slot of their own: whatever the others do does not delay them.
func TestSystemActorsAreNotDelayed(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		entered, released := make(chan struct{}), make(chan struct{})
		actor.MustSpawn(sys, actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error {
			close(entered)
			<-released // holds the only slot
			return nil
		}))
		await(t, entered)
		echo := actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) })
		beat := actor.MustSpawn(sys, echo, actor.Options{System: true})
		for range 20 {
			if _, err := actor.Call[*num](patient(t), beat, &num{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := actor.Call[*num](expired(t), actor.MustSpawn(sys, echo), &num{}); err == nil {
			t.Error("the slot was free: this test shows nothing")
		}
		close(released)
	}, actor.SystemOptions{Workers: 1, StuckAfter: time.Hour})
}
