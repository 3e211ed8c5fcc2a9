package actor_test

import (
	"context"
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
					return fmt.Errorf("told by monitor %v as number %d, %v", m, i, err)
				}
			}
			return nil
		}))
		await(t, ready)
		target.Stop()
		wantKind(t, w.AnyRef, actor.ReasonNormal)
	})
}
