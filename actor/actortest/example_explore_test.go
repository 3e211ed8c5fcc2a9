package actortest_test

import (
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

// twoAdders is a scenario: whatever the order, nothing that two actors add gets lost.
func twoAdders(t *testing.T, sys *actor.System) {
	total := actor.MustSpawn(sys, actor.Stateful(func(ctx *actor.Context, sum *int64, m *benchv1.Counter) error {
		switch c := m.Command.(type) {
		case *benchv1.Counter_Add:
			*sum += c.Add.Delta
		case *benchv1.Counter_Read:
			return ctx.Reply(&benchv1.Total{Value: *sum})
		}
		return nil
	}))
	adder := actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*benchv1.Ping]) error {
		for range 24 {
			if err := ctx.Sleep(time.Hour); err != nil { // a day passes at once
				return err
			}
			add := &benchv1.Counter{Command: &benchv1.Counter_Add{Add: &benchv1.Add{Delta: 1}}}
			if err := total.Send(ctx, add); err != nil {
				return err
			}
		}
		return nil
	})
	one, two := actor.MustSpawn(sys, adder), actor.MustSpawn(sys, adder)
	actortest.ExpectDown(t, one.AnyRef, 25*time.Hour)
	actortest.ExpectDown(t, two.AnyRef, 25*time.Hour)
	read := &benchv1.Counter{Command: &benchv1.Counter_Read{Read: &benchv1.Read{}}}
	if r, err := actor.Call[*benchv1.Total](t.Context(), total, read); err != nil || r.Value != 48 {
		t.Errorf("the total is %v, %v", r, err)
	}
}

// A scenario runs under as many seeds as there is patience for. When one fails its number is printed:
//
//	actortest: seed 17 failed: rerun with -run '^TestTwoAdders$' -actortest.seed=17
func ExampleExplore() {
	TestTwoAdders := func(t *testing.T) {
		actortest.Explore(t, 100, twoAdders)
	}
	_ = TestTwoAdders
	// Output:
}
