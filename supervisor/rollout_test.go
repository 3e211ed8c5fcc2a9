package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

// times answers with so many times the sum of what it got.
func times(n int64) supervisor.Starter {
	return supervisor.Actor(actor.Stateful(func(ctx *actor.Context, sum *int64, m *num) error {
		if m.Value == endPanic {
			panic("a panic")
		}
		*sum += m.Value
		_ = ctx.Reply(&num{Value: n * *sum})
		return nil
	}))
}

func farm(t *testing.T, sys *actor.System, n int) (supervisor.Supervisor, []actor.Ref[*num]) {
	t.Helper()
	spec := supervisor.Spec{Intensity: 1000}
	for i := range n {
		spec.Children = append(spec.Children, supervisor.Child{ID: fmt.Sprint("c", i), Start: times(1)})
	}
	sup := start(t, sys, spec)
	var refs []actor.Ref[*num]
	for _, c := range spec.Children {
		refs = append(refs, lookup(t, sup, c.ID))
	}
	return sup, refs
}

func wantSums(t *testing.T, refs []actor.Ref[*num], add, want int64) {
	t.Helper()
	for _, ref := range refs {
		if v, err := actor.Call[*num](t.Context(), ref, &num{Value: add}); err != nil || v.Value != want {
			t.Errorf("%v answers %v, %v; want %d", ref, v, err, want)
		}
	}
}

// SUP-14: a roll-out swaps all, in steps, and changes the spec.
func TestRollOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		sup, refs := farm(t, sys, 10)
		wantSums(t, refs, 2, 2)
		var steps []string
		err := supervisor.RollOut(t.Context(), sup, times(10), supervisor.RollOutOptions{
			Canary: 2, Step: 3,
			Progress: func(done, total int) { steps = append(steps, fmt.Sprintf("%d/%d", done, total)) },
			Check: func(_ context.Context, swapped []actor.AnyRef) error {
				steps = append(steps, fmt.Sprint("check ", len(swapped)))
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"check 2", "2/10", "check 5", "5/10", "check 8", "8/10", "check 10", "10/10"}; !slices.Equal(steps, want) {
			t.Errorf("steps %v", steps)
		}
		wantSums(t, refs, 1, 30)
		for _, ref := range refs {
			sendAll(t, ref, endPanic)
		}
		wantSums(t, refs, 1, 10) // restarts start the new one
		if err := sup.Terminate(t.Context(), "c0"); err != nil {
			t.Error(err)
		}
		ref, err := sup.Restart(t.Context(), "c0") // and so does the spec
		if err != nil {
			t.Fatal(err)
		}
		typed, _ := actor.TypedRef[*num](ref)
		wantSums(t, []actor.Ref[*num]{typed}, 1, 10)
	})
}

// SUP-14: a roll-out that meets trouble goes back.
func TestRollOutGoesBack(t *testing.T) {
	no := errors.New("the check says no")
	for name, c := range map[string]struct {
		next    supervisor.Starter
		options supervisor.RollOutOptions
		crash   bool
		want    error
	}{
		"check":          {times(10), supervisor.RollOutOptions{Check: func(_ context.Context, s []actor.AnyRef) error { return map[bool]error{true: no}[len(s) > 3] }}, false, no},
		"migrate":        {times(10), supervisor.RollOutOptions{Swap: actor.SwapOptions{Migrate: func(any) (any, error) { panic(no) }}}, false, no},
		"canary crashes": {times(10), supervisor.RollOutOptions{Settle: time.Hour}, true, actor.ErrStopped},
		"another state":  {supervisor.Actor(actor.Stateful(func(*actor.Context, *string, *num) error { return nil })), supervisor.RollOutOptions{}, false, actor.ErrWrongType},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys := actortest.New(t)
				sup, refs := farm(t, sys, 10)
				wantSums(t, refs, 2, 2)
				done := make(chan error, 1)
				go func() { done <- supervisor.RollOut(t.Context(), sup, c.next, c.options) }()
				if c.crash {
					synctest.Wait() // the canary has been swapped
					sendAll(t, refs[0], endPanic)
				}
				err := <-done
				var back *supervisor.RollOutError
				if !errors.As(err, &back) || !errors.Is(err, c.want) || back.Back != nil {
					t.Errorf("%v, want %v", err, c.want)
				}
				rest := refs
				if c.crash {
					wantSums(t, refs[:1], 2, 2) // it was restarted, with the old behaviour
					rest = refs[1:]
				}
				wantSums(t, rest, 1, 3)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		sup, _ := farm(t, sys, 2)
		for name, err := range map[string]error{
			"unknown":  supervisor.RollOut(t.Context(), sup, times(2), supervisor.RollOutOptions{IDs: []string{"x"}}),
			"negative": supervisor.RollOut(t.Context(), sup, times(2), supervisor.RollOutOptions{Canary: -1}),
			"a func":   supervisor.RollOut(t.Context(), sup, supervisor.Func(nil), supervisor.RollOutOptions{}),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}
