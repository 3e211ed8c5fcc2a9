package actor

import (
	"context"
	"testing"
	"time"
)

// TIME-6: a timer that is no longer needed leaves the heap at once: 100,000 that were armed and cancelled leave it empty, and so do
// waits with a deadline that ended early.
func TestCancelledTimersLeaveNothing(t *testing.T) {
	sys, err := NewSystem(SystemOptions{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	const n = 100_000
	a := MustSpawn(sys, Routine(func(ctx *Context, in *Inbox[*num]) error {
		self, _ := TypedRef[*num](ctx.Self())
		timers := make([]*Timer, n)
		for i := range timers {
			timer, err := SendAfter(ctx, time.Duration(i%977+1)*time.Hour, self, &num{})
			if err != nil {
				return err
			}
			timers[i] = timer
		}
		if got := sys.ex.timers.pending(); got != n {
			t.Errorf("%d timers pending", got)
		}
		for i := range timers {
			if !timers[(i*7919)%n].Cancel() {
				t.Errorf("timer %d was not pending", i)
			}
		}
		if cold := ctx.cell.cold.Load(); len(cold.timers) != 0 {
			t.Errorf("the actor remembers %d timers", len(cold.timers))
		}
		bounded, cancel := ctx.WithTimeout(time.Hour)
		defer cancel()
		for range 100 {
			if err := self.Send(ctx, &num{}); err != nil {
				return err
			}
			if _, err := in.Receive(bounded); err != nil {
				return err
			}
		}
		return nil
	}))
	if _, err := a.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := sys.ex.timers.pending(); got != 0 || cap(sys.ex.timers.heap) > 2048 {
		t.Fatalf("%d timers left in a heap of %d", got, cap(sys.ex.timers.heap))
	}
	if err := sys.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TIME-6: cancelling a timer after its System has stopped finds nothing, and one armed then never fires.
func TestTimersAfterStop(t *testing.T) {
	sys, err := NewSystem(SystemOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	ts := &sys.ex.timers
	armed := make([]timer, 10)
	for i := range armed {
		ts.arm(&armed[i], time.Hour, timerSend, nil)
	}
	if err := sys.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	var late timer
	ts.arm(&late, 0, timerSend, nil)
	for _, x := range append([]*timer{&late}, &armed[0], &armed[9], &armed[0]) {
		if ts.disarm(x) {
			t.Error("a timer outlives its System")
		}
	}
	if n := ts.pending(); n != 0 {
		t.Errorf("%d timers pending", n)
	}
}
