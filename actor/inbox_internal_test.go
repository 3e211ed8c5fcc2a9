package actor

import (
	"context"
	"fmt"
	"testing"
)

// What Select has passed over is taken out at its own cost, in order, and nothing of it stays behind.
func TestTakeSkipped(t *testing.T) {
	var more inboxMore[*num]
	for v := range int64(6) {
		more.skipped = append(more.skipped, envelope{msg: &num{Value: v}})
	}
	all := more.skipped
	for _, step := range []struct {
		take int
		left string
	}{{0, "[1 2 3 4 5]"}, {2, "[1 2 4 5]"}, {3, "[1 2 4]"}, {0, "[2 4]"}, {1, "[2]"}, {0, "[]"}} {
		more.takeSkipped(step.take)
		left := []int64{}
		for _, env := range more.skipped {
			left = append(left, env.msg.(*num).Value)
		}
		if got := fmt.Sprint(left); got != step.left {
			t.Fatalf("%d taken, %s left, want %s", step.take, got, step.left)
		}
	}
	if more.skipped != nil {
		t.Error("the backing array is kept")
	}
	for i, env := range all {
		if env != (envelope{}) {
			t.Errorf("place %d still holds %v", i, env.msg)
		}
	}
}

// A category that was taken out again leaves nothing, in whatever order, also while it is asked.
func TestCategorizeShrinks(t *testing.T) {
	sys := testSystem(t)
	a := MustSpawn(sys, Routine(func(ctx *Context, in *Inbox[*num]) error {
		var removes []func()
		for i := range 10 {
			removes = append(removes, in.Categorize(func(*num) any {
				if i == 5 {
					return i
				}
				return nil
			}))
		}
		for _, i := range []int{9, 0, 3, 3, 4} {
			removes[i]()
		}
		if n := len(in.more.cats); n != 6 || in.Category(&num{}) != 5 {
			return fmt.Errorf("%d categories, %v", n, in.Category(&num{}))
		}
		var last func()
		last = in.Categorize(func(*num) any { last(); return nil })
		if in.Category(&num{}) != 5 || len(in.more.cats) != 6 {
			return fmt.Errorf("%d categories after one took itself out", len(in.more.cats))
		}
		for _, remove := range removes {
			remove()
		}
		if n := len(in.more.cats); n != 0 || in.Category(&num{}) != nil {
			return fmt.Errorf("%d categories are left", n)
		}
		return nil
	}))
	if _, err := a.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}
