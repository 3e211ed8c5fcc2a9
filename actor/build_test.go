package actor_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// endHook runs f at an actor's end.
type endHook struct{ f func(r actor.AnyRef) }

func (h *endHook) Ended(r actor.AnyRef) { h.f(r) }

// HOOK-1: hooks at an actor's end run once, in order, after its names are free and before anybody is told; a panic in one is its own.
func TestAtEnd(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var ran collector[string]
		r := actor.MustSpawn(sys, idler(), actor.Options{Name: "x"})
		note := func(what string) *endHook {
			return &endHook{func(ended actor.AnyRef) {
				_, named := sys.Lookup("x")
				ran.add(fmt.Sprint(what, ended == r.AnyRef, named))
			}}
		}
		second := note("taken back")
		for _, h := range []actor.EndHook{note("one"), second, &endHook{func(actor.AnyRef) { panic("no") }}, note("two"), second} {
			wantErr(t, "at end", actor.AtEnd(r.AnyRef, h), nil)
		}
		for i, want := range []bool{true, true, false} {
			if got := actor.NotAtEnd(r.AnyRef, second); got != want {
				t.Errorf("a hook that was added twice: taken back %v after %d times", got, i)
			}
		}
		r.Kill()
		wantKind(t, r.AnyRef, actor.ReasonKilled)
		if got := ran.all(); !slices.Equal(got, []string{"onetrue false", "twotrue false"}) {
			t.Errorf("ran %q", got)
		}
		wantErr(t, "at the end of the dead", actor.AtEnd(r.AnyRef, second), actor.ErrStopped)
		wantErr(t, "at the end of nobody", actor.AtEnd(actor.AnyRef{}, second), actor.ErrNoActor)
		if actor.NotAtEnd(r.AnyRef, second) || actor.NotAtEnd(actor.AnyRef{}, second) {
			t.Error("taken back from the dead")
		}
	})
}

// HOOK-1: a hook that meets the end runs, or is refused.
func TestAtEndMeetsTheEnd(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for range 500 {
			r := actor.MustSpawn(sys, idler())
			var ran atomic.Int64
			ended := make(chan struct{})
			go func() {
				r.Kill()
				_, _ = r.Wait(patient(t))
				close(ended)
			}()
			added := int64(0)
			for actor.AtEnd(r.AnyRef, &endHook{func(actor.AnyRef) { ran.Add(1) }}) == nil {
				added++
			}
			await(t, ended)
			if ran.Load() != added {
				t.Fatalf("%d hooks were added and %d ran", added, ran.Load())
			}
		}
	})
}

// HOOK-2: what is posted to a subscription arrives once and in order, whatever the mailbox, in the subscriber's turn, until it cancels.
func TestSubscribe(t *testing.T) {
	for name, box := range map[string]actor.Mailbox{
		"plain": {}, "full": {Capacity: 1, Overflow: mailbox.DropOldest}, "reject": {Capacity: 1},
	} {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				post := make(chan func(int64), 1)
				var stopped atomic.Int64
				var got collector[int64]
				const n = 1000
				r := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					sub, err := actor.OpenFeed(ctx, func(v int64) *num { return &num{Value: v} }, func(p func(int64)) (func(), error) {
						post <- p
						return func() { stopped.Add(1) }, nil
					})
					for err == nil && len(got.all()) < n {
						var m *num
						if m, err = in.Receive(ctx); err == nil {
							got.add(m.Value)
						}
					}
					return errors.Join(err, sub.Cancel(ctx), sub.Cancel(ctx))
				}), actor.Options{Mailbox: box})
				p := await(t, post)
				for i := range int64(n + 10) {
					p(i)
				}
				wantKind(t, r.AnyRef, actor.ReasonNormal)
				if all := got.all(); len(all) != n || !slices.IsSorted(all) || all[0] != 0 || all[n-1] != n-1 {
					t.Errorf("got %d events", len(all))
				}
				if stopped.Load() != 1 {
					t.Errorf("it was ended %d times", stopped.Load())
				}
				p(0) // to nobody
				settle(t, sys)
			})
		})
	}
}

// HOOK-2: a subscription ends with its actor, and one that cannot start leaves nothing.
func TestSubscriptionEndsWithItsActor(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		var stopped atomic.Int64
		asIs := func(m *num) *num { return m }
		r := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for range 2 {
				if _, err := actor.OpenFeed(ctx, asIs, func(func(*num)) (func(), error) {
					return func() { stopped.Add(1) }, nil
				}); err != nil {
					return err
				}
			}
			if sub, err := actor.OpenFeed(ctx, asIs, func(func(*num)) (func(), error) { return nil, actor.ErrFull }); sub != nil || !errors.Is(err, actor.ErrFull) {
				t.Errorf("it did not start and is %v, %v", sub, err)
			}
			if _, err := actor.OpenFeed[*num, *num](ctx, asIs, nil); err == nil {
				t.Error("it starts without a function")
			}
			if _, err := actor.OpenFeed[*num, *num](ctx, nil, func(func(*num)) (func(), error) { return nil, nil }); err == nil {
				t.Error("it makes messages without a function")
			}
			_, err := in.Receive(ctx)
			return err
		}))
		synctest.Wait()
		if stopped.Load() != 0 {
			t.Error("it ended early")
		}
		r.Kill()
		wantKind(t, r.AnyRef, actor.ReasonKilled)
		if stopped.Load() != 2 {
			t.Errorf("%d have ended", stopped.Load())
		}
	})
}

// HOOK-3: what is kept with a System is made once for each key and System.
func TestPart(t *testing.T) {
	type one struct{}
	type two struct{}
	a, b := newSystem(t), newSystem(t)
	made := 0
	for i, c := range []struct {
		sys  *actor.System
		key  any
		want int // which of those made
	}{{a, one{}, 1}, {a, one{}, 1}, {a, two{}, 2}, {b, one{}, 3}, {a, two{}, 2}, {b, one{}, 3}, {a, one{}, 1}} {
		if got := c.sys.Part(c.key, func() any { made++; return made }); got != c.want {
			t.Errorf("request %d: part %v, want %d", i, got, c.want)
		}
	}
	type three struct{}
	for range 2 {
		part := a.Part(three{}, func() any {
			a.Part(three{}, func() any { return "first" })
			return "late"
		})
		if part != "first" {
			t.Errorf("of two parts made at once the %v one is kept", part)
		}
	}
}

// NAME-6: who watches a name is counted, also by way of an alias, and not any more when that has ended.
func TestWatchersAreCounted(t *testing.T) {
	sys := newSystem(t)
	names := sys.Names()
	var told collector[actor.AnyRef]
	watch := func(name string) func() {
		stop, err := names.Watch(name, told.add, func() {})
		wantErr(t, "watch", err, nil)
		return stop
	}
	count := func(want int, of ...string) {
		t.Helper()
		for _, name := range of {
			if n := names.Watchers(name); n != want {
				t.Errorf("%d watch %s, want %d", n, name, want)
			}
		}
	}
	one, two, three := watch("x"), watch("y"), watch("x")
	count(2, "x")
	wantErr(t, "alias", names.Alias("y", "x"), nil)
	count(3, "x", "y")
	two()
	two()
	count(2, "x", "y")
	three()
	one()
	count(0, "x", "y")
	if len(told.all()) != 3 {
		t.Errorf("told %v", told.all())
	}
	_, err := names.Watch("", told.add, func() {})
	wantErr(t, "watch nothing", err, actor.ErrBadName)
}
