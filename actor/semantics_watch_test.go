package actor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

// watcher monitors target from an actor of sys and hands each Down to downs.
func watcher(t *testing.T, sys *actor.System, target actor.AnyRef, downs chan<- actor.Down) actor.Ref[*num] {
	t.Helper()
	ready := make(chan error, 1)
	w := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		_, err := actor.Monitor(ctx, target, func(d actor.Down) *num { downs <- d; return asNum(d) })
		ready <- err
		_, err = in.Receive(ctx)
		return err
	}))
	wantErr(t, "monitor", await(t, ready), nil)
	return w
}

// MON-1, SYS-3: watchers of several Systems do not get into each other's way, nor does a Wait that gives up.
func TestMonitorsOfTwoSystems(t *testing.T) {
	eachProcs(t, func(t *testing.T, x *actor.System) {
		y, z := newSystem(t), newSystem(t)
		target := actor.MustSpawn(x, hold())
		downs := make(chan actor.Down, 3)
		for _, sys := range []*actor.System{x, y, z} { // each numbers its monitors from 1
			watcher(t, sys, target.AnyRef, downs)
		}
		over, cancel := context.WithCancel(context.Background())
		cancel()
		for range 3 {
			_, err := target.Wait(over)
			wantErr(t, "wait", err, context.Canceled)
		}
		target.Stop()
		for range 3 {
			await(t, downs)
		}
	})
}

// MON-7: monitors are told in the order in which they were set.
func TestMonitorsAreToldInOrder(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		target := actor.MustSpawn(sys, hold())
		ready := make(chan error, 1)
		w := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for i := range int64(20) {
				if _, err := actor.Monitor(ctx, target.AnyRef, func(actor.Down) *num { return &num{Value: i} }); err != nil {
					return err
				}
			}
			ready <- nil
			for i := range int64(20) {
				if m, err := in.Receive(ctx); err != nil || m.Value != i {
					return fmt.Errorf("told by monitor %v as number %d, %v", m, i, err) //nolint:errorlint // err may be nil
				}
			}
			return nil
		}))
		wantErr(t, "monitor", await(t, ready), nil)
		target.Stop()
		wantKind(t, w.AnyRef, actor.ReasonNormal)
	})
}

// LINK-3: a linked actor ends with shutdown when its peer does, and is told of it if it traps exits.
func TestLinksPassShutdownOn(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		peer := actor.MustSpawn(sys, hold())
		downs := make(chan actor.Down, 1)
		ready := make(chan error, 3)
		linked := func(to actor.AnyRef, trap bool) actor.AnyRef {
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				if trap {
					if err := actor.TrapExit(ctx, func(d actor.Down) *num { downs <- d; return asNum(d) }); err != nil {
						return err
					}
				}
				ready <- ctx.Link(to)
				_, err := in.Receive(ctx)
				return err
			}))
			wantErr(t, "link", await(t, ready), nil)
			return a.AnyRef
		}
		a := linked(peer.AnyRef, false)
		b := linked(a, false)
		c := linked(b, true)
		peer.Shutdown()
		for _, r := range []actor.AnyRef{peer.AnyRef, a, b} {
			if err := downOf(t, sys, r); err.Kind != actor.ReasonNoActor || !containsAll(err.String(), "shutdown") {
				t.Fatalf("%v ended with %v", r, err)
			}
		}
		if d := await(t, downs); d.Ref != b || d.Reason.Kind != actor.ReasonShutdown {
			t.Fatalf("the trapping one was told of %+v", d)
		}
		wantKind(t, c, actor.ReasonNormal)
	})
}

// downOf waits for r's end and returns the reason that a monitor set after it is told.
func downOf(t *testing.T, sys *actor.System, r actor.AnyRef) actor.Reason {
	t.Helper()
	_, _ = r.Wait(patient(t))
	downs := make(chan actor.Down, 1)
	watcher(t, sys, r, downs)
	return await(t, downs).Reason
}

// LINK-2: nothing comes of a link after Unlink, not even a Down that is in the mailbox already.
func TestUnlinkFlushes(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var downs collector[actor.Down]
		peer := actor.MustSpawn(sys, hold())
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			err := actor.TrapExit(ctx, func(d actor.Down) *num { downs.add(d); return asNum(d) })
			if err == nil {
				err = ctx.Link(peer.AnyRef)
			}
			if err != nil {
				return err
			}
			_, _ = ctx.Suspend(ctx)
			if err := errors.Join(ctx.Link(peer.AnyRef), ctx.Unlink(peer.AnyRef)); err != nil { // linked twice is linked once
				return err
			}
			if m, err := in.Receive(ctx); err != nil || m.Value != 7 {
				return fmt.Errorf("got %v, %v", m, err) //nolint:errorlint // err may be nil
			}
			if err := ctx.Link(peer.AnyRef); err != nil { // a new link, to one that has ended
				return err
			}
			m, err := in.Receive(ctx)
			if err == nil && m.Value != -1 {
				err = fmt.Errorf("got %v", m)
			}
			return err
		}))
		settle(t, sys)
		peer.Kill()
		outcome(t, peer.AnyRef)
		settle(t, sys)
		tell(t, a, 7)
		wantErr(t, "resume", a.Resume(nil), nil)
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		if got := downs.all(); len(got) != 1 || got[0].Reason.Kind != actor.ReasonNoActor {
			t.Fatalf("Downs: %+v", got)
		}
	})
}

// LINK-2: an Unlink that meets the end of the other is before it, and the caller lives, or after it, and the caller was stopped
// by the time it returns.
func TestUnlinkMeetsTheEnd(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for range 200 {
			peer := actor.MustSpawn(sys, hold())
			linked, done := make(chan error, 1), make(chan struct{})
			a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				linked <- ctx.Link(peer.AnyRef)
				if err := ctx.Unlink(peer.AnyRef); err != nil {
					return err
				}
				stopped := ctx.Stopping()
				_ = ctx.Block(func() { <-done })
				if ctx.Stopping() != stopped {
					return errors.New("stopped by a link after Unlink")
				}
				return ctx.SetValue("kept its word")
			}))
			wantErr(t, "link", await(t, linked), nil)
			peer.Kill()
			_, _ = peer.Wait(patient(t))
			close(done)
			if v, why := outcome(t, a.AnyRef); v != "kept its word" {
				t.Fatal(v, why)
			}
		}
	})
}
