package actor_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// MON-1: a monitor is told once, with the reason and the value; one that is set after the end is told of no actor.
func TestMonitorBeforeAndAfterTheEnd(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		failing := errors.New("failed")
		target := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			_ = ctx.SetValue(m.Value)
			return failing
		}))
		downs := make(chan actor.Down, 10)
		watch := actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == -1 {
				return nil
			}
			_, err := actor.Monitor(ctx, target.AnyRef, func(d actor.Down) *num { downs <- d; return asNum(d) })
			return err
		})
		w := actor.MustSpawn(sys, watch)
		tell(t, w, 1)
		settle(t, sys)
		tell(t, target, 42)
		if d := await(t, downs); d.Ref != target.AnyRef || d.Value != int64(42) || d.Reason.Kind != actor.ReasonError || !errors.Is(d.Reason.Err, failing) {
			t.Fatalf("before: %+v", d)
		}
		tell(t, w, 1)
		d := await(t, downs)
		if d.Reason.Kind != actor.ReasonNoActor || !errors.Is(d.Reason.Err, actor.ErrNoActor) {
			t.Fatalf("after: %+v", d)
		}
		var exit *actor.ExitError
		if !errors.As(d.Reason.Err, &exit) || exit.Reason.Kind != actor.ReasonError || !errors.Is(d.Reason.Err, failing) || d.Value != int64(42) {
			t.Fatalf("what is remembered: %+v", d)
		}
		settle(t, sys)
		if len(downs) != 0 {
			t.Fatalf("told again: %+v", <-downs)
		}
	})
}

// MON-2: many may watch one and one may watch many, also twice; each monitor is told of its own.
func TestManyMonitors(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const watchers, targets = 30, 30
		var refs []actor.Ref[*num]
		for range targets {
			refs = append(refs, actor.MustSpawn(sys, hold()))
		}
		var downs atomic.Int64
		for range watchers {
			w := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == -1 {
					downs.Add(1)
					return nil
				}
				for _, r := range refs {
					for range 2 {
						if _, err := actor.Monitor(ctx, r.AnyRef, asNum); err != nil {
							return err
						}
					}
				}
				return nil
			}))
			tell(t, w, 1)
		}
		for i, r := range refs {
			if i%2 == 0 {
				r.Stop() // races with the monitors: each is told all the same
			} else {
				defer r.Stop()
			}
		}
		settle(t, sys)
		for i, r := range refs {
			if i%2 == 1 {
				r.Kill()
			}
		}
		settle(t, sys)
		if n := downs.Load(); n != 2*watchers*targets {
			t.Fatalf("%d Downs", n)
		}
	})
}

// MON-3: after Demonitor no Down comes, not even one that is in the mailbox already.
func TestDemonitorFlushes(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var downs atomic.Int32
		target := actor.MustSpawn(sys, hold())
		w := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			m, err := actor.Monitor(ctx, target.AnyRef, func(d actor.Down) *num { downs.Add(1); return asNum(d) })
			if err != nil {
				return err
			}
			if err := ctx.Sleep(time.Hour); !errors.Is(err, errPoke) {
				return err
			}
			if err := ctx.Demonitor(m); err != nil {
				return err
			}
			got, err := in.Receive(ctx)
			if err == nil && got.Value != 7 {
				err = fmt.Errorf("got %v", got)
			}
			return err
		}))
		settle(t, sys)
		target.Stop()
		outcome(t, target.AnyRef)
		tell(t, w, 7)
		wantErr(t, "poke", w.Interrupt(errPoke), nil)
		if _, why := outcome(t, w.AnyRef); !why.Normal() || downs.Load() != 0 {
			t.Fatal(why, downs.Load())
		}
	})
}

var errPoke = errors.New("poke")

// MON-4: SpawnMonitor misses no end, however early.
func TestSpawnMonitorOfOneThatEndsAtOnce(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const n = 500
		var kinds [6]int
		w := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for i := range n {
				_, _, err := actor.SpawnMonitor(ctx, actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error {
					if i%2 == 0 {
						panic("at once")
					}
					return nil
				}), func(d actor.Down) *num { kinds[d.Reason.Kind]++; return asNum(d) })
				if err != nil {
					return err
				}
			}
			for range n {
				if _, err := in.Receive(ctx); err != nil {
					return err
				}
			}
			return nil
		}))
		wantKind(t, w.AnyRef, actor.ReasonNormal)
		if kinds[actor.ReasonPanic] != n/2 || kinds[actor.ReasonNormal] != n/2 {
			t.Fatal(kinds)
		}
	})
}

// LINK-1: an abnormal end takes the linked actors with it, through chains and in cycles, and a normal one does not.
func TestLinks(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		linked := func(to ...actor.AnyRef) actor.Ref[*num] {
			ready := make(chan struct{})
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				for _, r := range to {
					if err := ctx.Link(r); err != nil {
						return err
					}
				}
				close(ready)
				m, err := in.Receive(ctx)
				if err == nil && m.Value < 0 {
					return errPoke
				}
				return err
			}))
			await(t, ready)
			return a
		}
		a := linked()
		b := linked(a.AnyRef)
		c := linked(a.AnyRef, b.AnyRef)
		tell(t, a, -1)
		wantErr(t, "a", wantKind(t, a.AnyRef, actor.ReasonError).Err, errPoke)
		for _, r := range []actor.Ref[*num]{b, c} {
			wantErr(t, "linked", wantKind(t, r.AnyRef, actor.ReasonError).Err, errPoke)
		}
		d := linked()
		e := linked(d.AnyRef)
		tell(t, d, 1)
		wantKind(t, d.AnyRef, actor.ReasonNormal)
		settle(t, sys)
		if !e.Alive() {
			t.Fatal("a normal end took a linked actor along")
		}
		late := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if err := ctx.Link(d.AnyRef); err != nil {
				return err
			}
			return ctx.Sleep(time.Hour)
		}))
		wantErr(t, "link to the dead", wantKind(t, late.AnyRef, actor.ReasonError).Err, actor.ErrNoActor)
	})
}

// LINK-2: who traps exits is told instead, and Unlink unties both.
func TestTrapExitAndUnlink(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		downs := make(chan actor.Down, 3)
		a, b := actor.MustSpawn(sys, hold()), actor.MustSpawn(sys, hold())
		trapper := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			switch m.Value {
			case 1:
				return errors.Join(
					actor.TrapExit(ctx, func(d actor.Down) *num { downs <- d; return asNum(d) }),
					ctx.Link(a.AnyRef), ctx.Link(b.AnyRef))
			case 2:
				return ctx.Unlink(b.AnyRef)
			}
			return nil
		}))
		tell(t, trapper, 1)
		settle(t, sys)
		a.Kill()
		if d := await(t, downs); d.Ref != a.AnyRef || d.Reason.Kind != actor.ReasonKilled {
			t.Fatalf("%+v", d)
		}
		tell(t, trapper, 2)
		settle(t, sys)
		b.Kill()
		outcome(t, b.AnyRef)
		settle(t, sys)
		if len(downs) != 0 || !trapper.Alive() {
			t.Fatal("told of the end of one that is not linked")
		}
	})
}
