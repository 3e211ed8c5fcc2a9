package actor_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

func atExit(t *testing.T, sys *actor.System, priority int, f func(ctx context.Context)) (remove func() bool) {
	t.Helper()
	remove, err := sys.AtExit(priority, f)
	if err != nil {
		t.Fatal(err)
	}
	return remove
}

// SYS-8: a hook that does not return costs the grace and no more: Stop kills who is left, and tells which hooks were not done.
func TestHookThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		started, released := time.Now(), make(chan struct{})
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for {
				_ = ctx.Sleep(time.Hour)
			}
		}))
		var order collector[int]
		atExit(t, sys, 3, func(context.Context) { order.add(3) })
		atExit(t, sys, 2, func(context.Context) { <-released })
		atExit(t, sys, 1, func(context.Context) { order.add(1) })
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = sys.Stop(ctx)
		var left *actor.StopError
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &left) || !containsAll(err.Error(), "priority 2:") {
			t.Errorf("stop: %v", err)
		}
		if d := time.Since(started); d < time.Minute || d > time.Minute+time.Second || a.Alive() {
			t.Errorf("after %v, and the actor is alive: %v", d, a.Alive())
		}
		if got := order.all(); !slices.Equal(got, []int{3, 1}) {
			t.Errorf("hooks that ran: %v", got)
		}
		close(released)
	})
}

// SYS-9: what a hook does to its goroutine does no harm to Stop or to the other hooks, and Stop returns what it was.
func TestHooksThatFail(t *testing.T) {
	eachProcs(t, func(t *testing.T, _ *actor.System) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		a := actor.MustSpawn(sys, idler())
		var order collector[int]
		atExit(t, sys, 3, func(context.Context) { order.add(3); runtime.Goexit() })
		atExit(t, sys, 2, func(context.Context) { order.add(2); panic(errPoke) })
		atExit(t, sys, 1, func(context.Context) { order.add(1) })
		err = sys.Stop(patient(t))
		if !errors.Is(err, actor.ErrGoexit) || !errors.Is(err, errPoke) || a.Alive() {
			t.Errorf("stop: %v", err)
		}
		if again := sys.Stop(patient(t)); !errors.Is(again, errPoke) {
			t.Errorf("the second Stop: %v", again)
		}
		if got := order.all(); !slices.Equal(got, []int{3, 2, 1}) {
			t.Errorf("hooks that ran: %v", got)
		}
	})
}

// SYS-10: Stop from a hook is refused at once, whatever context it passes; Close, Join and calls of AtExit that come too late answer.
func TestStopFromAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		actor.MustSpawn(sys, idler(), actor.Options{Daemon: true})
		atExit(t, sys, 0, func(ctx context.Context) {
			if sys.Stop(ctx) == nil || sys.Stop(context.Background()) == nil {
				t.Error("Stop waited for itself")
			}
			if err := sys.Join(ctx); err != nil {
				t.Errorf("join: %v", err)
			}
			if _, err := sys.AtExit(0, func(context.Context) { t.Error("it ran") }); !errors.Is(err, actor.ErrStopped) {
				t.Errorf("AtExit in a hook: %v", err)
			}
		})
		wantErr(t, "stop", sys.Stop(context.Background()), nil)
		if d := time.Since(started); d != 0 {
			t.Errorf("Stop took %v", d)
		}
		_, err = sys.AtExit(0, func(context.Context) {})
		wantErr(t, "AtExit after Stop", err, actor.ErrStopped)
	})
}

// SYS-11: a hook can be taken back until the hooks begin to run, and Close runs none.
func TestHookIsTakenBack(t *testing.T) {
	eachProcs(t, func(t *testing.T, _ *actor.System) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		var order collector[int]
		removes := map[int]func() bool{}
		for i := range 4 {
			removes[i] = atExit(t, sys, 0, func(context.Context) { order.add(i) })
		}
		if !removes[1]() || removes[1]() || !removes[3]() {
			t.Error("the first remove was late, or the second was not")
		}
		wantErr(t, "stop", sys.Stop(patient(t)), nil)
		if got := order.all(); !slices.Equal(got, []int{0, 2}) || removes[0]() {
			t.Errorf("hooks that ran: %v", got)
		}

		closed, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		atExit(t, closed, 0, func(context.Context) { t.Error("Close runs a hook") })
		wantErr(t, "close", closed.Close(), nil)
		wantErr(t, "stop after close", closed.Stop(patient(t)), nil)
		_, err = closed.AtExit(0, func(context.Context) {})
		wantErr(t, "AtExit after Close", err, actor.ErrStopped)
	})
}

// SYS-2: a hook has calls and spawns also where an actor of another System has called Stop, and the values of its context.
func TestHooksOfAnActorsStop(t *testing.T) {
	eachProcs(t, func(t *testing.T, other *actor.System) {
		type key struct{}
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		atExit(t, sys, 0, func(ctx context.Context) {
			if _, err := actor.Call[*num](ctx, echo, &num{}); err != nil || ctx.Value(key{}) != "value" {
				t.Errorf("call in a hook: %v; value %v", err, ctx.Value(key{}))
			}
		})
		a := actor.MustSpawn(other, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			return sys.Stop(context.WithValue(ctx, key{}, "value"))
		}))
		wantKind(t, a.AnyRef, actor.ReasonNormal)
	})
}
