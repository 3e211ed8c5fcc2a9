package actor

import (
	"context"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// SYS-2: whichever Stop returns first, the executor is closed by then.
func TestSecondStopWaits(t *testing.T) {
	for i := range 300 {
		sys, err := NewSystem(SystemOptions{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			MustSpawn(sys, Routine(func(ctx *Context, in *Inbox[*wrapperspb.Int64Value]) error {
				for range in.All() {
				}
				return nil
			}))
		}
		if err := sys.Quiesce(t.Context()); err != nil {
			t.Fatal(err)
		}
		left := make(chan int64, 2)
		for range 2 {
			go func() {
				_ = sys.Stop(context.Background())
				left <- sys.ex.nCarriers.Load()
			}()
		}
		if a, b := <-left, <-left; a+b != 0 {
			t.Fatalf("round %d: a Stop returned with %d carriers left", i, max(a, b))
		}
	}
}
