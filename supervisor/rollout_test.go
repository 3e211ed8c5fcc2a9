package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/supervisor"
)

// release is a version of a counter: it answers calls with a million times its number plus how many messages it has got, and fails when it
// is told so.
type release struct{ n int64 }

const million = 1_000_000

func version(v int64) actor.Behaviour[*text] {
	return actor.Stateful(func(ctx *actor.Context, s *release, m *text) error {
		s.n++
		if m.Value == fmt.Sprintf("panic %d", v) || m.Value == "panic" {
			panic("boom")
		}
		if ctx.IsCall() {
			return ctx.Reply(wrapperspb.Int64(million*v + s.n))
		}
		return obey(ctx, m.Value)
	})
}

// fleet is a supervisor of n children with version 1, and their refs.
func fleet(t *testing.T, sys *actor.System, strategy supervisor.Strategy, n int, spec supervisor.Spec) (supervisor.Supervisor, []actor.AnyRef) {
	t.Helper()
	spec.Strategy = strategy
	one := supervisor.Actor(version(1))
	var refs []actor.AnyRef
	if strategy == supervisor.Dynamic {
		spec.Children = []supervisor.Child{{ID: "w", Start: one}}
		sup := start(t, sys, spec)
		for range n {
			ref, err := sup.Spawn(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		return sup, refs
	}
	for i := range n {
		spec.Children = append(spec.Children, supervisor.Child{ID: strconv.Itoa(i), Start: one})
	}
	sup := start(t, sys, spec)
	for i := range n {
		refs = append(refs, lookup(t, sup, strconv.Itoa(i)))
	}
	return sup, refs
}

// versions are the versions of the children, in order.
func versions(t *testing.T, refs []actor.AnyRef) []int64 {
	t.Helper()
	var all []int64
	for _, ref := range refs {
		all = append(all, told(t, ref)/million)
	}
	return all
}

// ROLL-1: a roll-out swaps the canaries first, then the others in steps, with progress after each; state and mailbox stay; afterwards
// the spec starts the new one, for restarts and for children that are added, those that came in the meantime too.
func TestRollOut(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.Dynamic} {
		bubble(t, func(t *testing.T, sys *actor.System) {
			sup, refs := fleet(t, sys, strategy, 10, supervisor.Spec{Intensity: 100})
			versions(t, refs)
			var steps []int
			var late actor.AnyRef
			next := supervisor.Actor(version(2))
			before := time.Now()
			err := supervisor.RollOut(t.Context(), sup, next, supervisor.RollOutOptions{Canary: 2, Step: 3, Settle: time.Minute,
				Progress: func(done, total int) {
					if steps = append(steps, done); total != 10 && done <= 10 {
						t.Errorf("%d of %d", done, total)
					}
				},
				Check: func(_ context.Context, swapped []actor.AnyRef) error {
					if late.IsZero() && strategy == supervisor.Dynamic {
						late, _ = sup.Spawn(t.Context(), nil)
					}
					for _, v := range versions(t, swapped) {
						if v != 2 {
							return errBroken
						}
					}
					return nil
				}})
			if err != nil {
				t.Fatal(err)
			}
			want := []int{2, 5, 8, 10}
			if strategy == supervisor.Dynamic {
				want = append(want, 11)
				refs = append(refs, late)
			}
			if diff := cmp.Diff(want, steps); diff != "" || time.Since(before) < 4*time.Minute {
				t.Errorf("%v: steps after %v: %s", strategy, time.Since(before), diff)
			}
			for i, ref := range refs {
				if n := told(t, ref); n/million != 2 || i < 10 && n%million < 3 {
					t.Errorf("%v: child %d answers %d", strategy, i, n)
				}
			}
			end(t.Context(), refs[0], "panic")
			if n := told(t, refs[0]); n != 2*million+1 {
				t.Errorf("%v: after a restart: %d", strategy, n)
			}
			if strategy == supervisor.Dynamic {
				ref, err := sup.Spawn(t.Context(), nil)
				if err != nil || told(t, ref) != 2*million+1 {
					t.Errorf("a new child: %v", err)
				}
				return
			}
			if err := sup.Terminate(t.Context(), "3"); err != nil {
				t.Error(err)
			}
			if ref, err := sup.Restart(t.Context(), "3"); err != nil || told(t, ref) != 2*million+1 {
				t.Errorf("started again: %v", err)
			}
		})
	}
}

// ROLL-1: in a Dynamic supervisor children with Starters of their own, which take other messages, are left as they are, as are those that
// are added meanwhile to another supervisor.
func TestRollOutLeavesOthersAlone(t *testing.T) {
	waits := supervisor.Func(func(ctx context.Context) error { <-ctx.Done(); return nil })
	other := supervisor.Actor(actor.Handler(func(ctx *actor.Context, _ *num) error { return ctx.Reply(wrapperspb.Int64(7)) }))
	wantOther := func(t *testing.T, ref actor.AnyRef) {
		t.Helper()
		if n, err := actor.Call[*num](t.Context(), actor.Ref[*num]{AnyRef: ref}, wrapperspb.Int64(1)); err != nil || n.Value != 7 {
			t.Errorf("the other one: %v, %v", n, err)
		}
	}
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup, refs := fleet(t, sys, supervisor.Dynamic, 2, supervisor.Spec{})
		spawn := func(from supervisor.Starter) actor.AnyRef {
			ref, err := sup.Spawn(t.Context(), from)
			if err != nil {
				t.Error(err)
			}
			return ref
		}
		spawn(waits)
		spawn(supervisor.Tree(supervisor.Spec{}))
		different := spawn(other)
		refs = append(refs, spawn(supervisor.Actor(version(7))))
		if err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]int64{2, 2, 2}, versions(t, refs)); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
		wantOther(t, different)
	})
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup, refs := fleet(t, sys, supervisor.OneForOne, 2, supervisor.Spec{})
		o := supervisor.RollOutOptions{Settle: -1, Progress: func(done, _ int) {
			if done > 1 {
				return
			}
			for id, from := range map[string]supervisor.Starter{"waits": waits, "other": other} {
				if _, err := sup.Add(t.Context(), supervisor.Child{ID: id, Start: from}); err != nil {
					t.Error(err)
				}
			}
		}}
		if err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), o); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]int64{2, 2}, versions(t, refs)); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
		if err := sup.Terminate(t.Context(), "other"); err != nil {
			t.Error(err)
		}
		ref, err := sup.Restart(t.Context(), "other")
		if err != nil {
			t.Error(err)
		}
		wantOther(t, ref)
	})
}

// ROLL-2: a check that says no, panics or ends its goroutine, a swap that fails, a caller who gives up: all go back to what each of them
// had, and the spec keeps the old one.
func TestRollOutIsRolledBack(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	fail := func(err error) func(context.Context, []actor.AnyRef) error {
		return func(_ context.Context, swapped []actor.AnyRef) error {
			if len(swapped) < 3 {
				return nil
			}
			return err
		}
	}
	n := 0
	for name, c := range map[string]struct {
		o    supervisor.RollOutOptions
		want error
	}{
		"check":       {supervisor.RollOutOptions{Check: fail(errBroken)}, errBroken},
		"check waits": {supervisor.RollOutOptions{Check: func(context.Context, []actor.AnyRef) error { <-cancelled.Done(); return errBroken }}, errBroken},
		"migrate fails": {supervisor.RollOutOptions{Swap: actor.SwapOptions{Migrate: func(old any) (any, error) {
			if n++; n%4 == 3 {
				return nil, errBroken
			}
			return old, nil
		}}}, errBroken},
		"migrate panics": {supervisor.RollOutOptions{Swap: actor.SwapOptions{Migrate: func(old any) (any, error) {
			if n++; n%4 == 3 {
				panic(errBroken)
			}
			return old, nil
		}}}, errBroken},
		"back too": {supervisor.RollOutOptions{Check: fail(errBroken), Back: func(any) (any, error) { return nil, errBroken }}, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.System) {
				n = 0
				sup, refs := fleet(t, sys, supervisor.OneForOne, 5, supervisor.Spec{})
				versions(t, refs) // so that they have begun, and there is something to migrate
				c.o.Settle = -1
				err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), c.o)
				var back *supervisor.RollOutError
				if !errors.As(err, &back) || !errors.Is(err, c.want) || (back.Back != nil) != (name == "back too") {
					t.Errorf("roll-out: %v", err)
				}
				want := []int64{1, 1, 1, 1, 1}
				if name == "back too" {
					want = []int64{2, 2, 2, 1, 1}
				}
				if diff := cmp.Diff(want, versions(t, refs)); diff != "" {
					t.Errorf("versions (-want +got):\n%s", diff)
				}
				if err := sup.Terminate(t.Context(), "0"); err != nil {
					t.Error(err)
				}
				if ref, err := sup.Restart(t.Context(), "0"); err != nil || told(t, ref) != million+1 {
					t.Errorf("started again: %v", err)
				}
				if err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(3)), supervisor.RollOutOptions{Settle: -1}); err != nil {
					t.Errorf("the next roll-out: %v", err)
				}
			})
		})
	}
	t.Run("check panics", func(t *testing.T) {
		bubble(t, func(t *testing.T, sys *actor.System) {
			sup, refs := fleet(t, sys, supervisor.OneForOne, 3, supervisor.Spec{})
			for _, misbehave := range []func(){func() { panic("boom") }, runtime.Goexit} {
				gone := make(chan any)
				go func() {
					defer close(gone)
					defer func() { _ = recover() }()
					_ = supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{Settle: -1,
						Check: func(context.Context, []actor.AnyRef) error { misbehave(); return nil }})
				}()
				<-gone
				if diff := cmp.Diff([]int64{1, 1, 1}, versions(t, refs)); diff != "" {
					t.Errorf("versions (-want +got):\n%s", diff)
				}
			}
		})
	})
	t.Run("caller gives up", func(t *testing.T) {
		bubble(t, func(t *testing.T, sys *actor.System) {
			sup, refs := fleet(t, sys, supervisor.OneForOne, 3, supervisor.Spec{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := supervisor.RollOut(ctx, sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{Settle: time.Hour})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("roll-out: %v", err)
			}
			caller := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
				return supervisor.RollOut(ctx, sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{Settle: time.Hour})
			}))
			settled(t, sys)
			if v := versions(t, refs); v[0] != 2 {
				t.Errorf("versions %v", v)
			}
			caller.Stop()
			if why := ended(t, caller.AnyRef); !why.Normal() {
				t.Errorf("the caller ended with %v", why)
			}
			if diff := cmp.Diff([]int64{1, 1, 1}, versions(t, refs)); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
			if err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{Settle: -1}); err != nil {
				t.Errorf("the next roll-out: %v", err)
			}
		})
	})
}

// ROLL-2: children that were swapped by hand go back to what they had, not to what the spec has.
func TestRollOutGoesBackToWhatWas(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup, refs := fleet(t, sys, supervisor.Dynamic, 2, supervisor.Spec{})
		own, err := sup.Spawn(t.Context(), supervisor.Actor(version(7)))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, own)
		if err := actor.Swap(t.Context(), actor.Ref[*text]{AnyRef: refs[1]}, version(5)); err != nil {
			t.Fatal(err)
		}
		err = supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{Canary: 3, Settle: -1,
			Check: func(context.Context, []actor.AnyRef) error { return errBroken }})
		if !errors.Is(err, errBroken) {
			t.Error(err)
		}
		if diff := cmp.Diff([]int64{1, 5, 7}, versions(t, refs)); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
	})
}

// ROLL-2: children that were started while the Spec started the new behaviour go back as well: those spawned, and those terminated and
// started again. One that was not running is started with the old one, and one that was added with a behaviour of its own keeps that.
func TestRollOutGoesBackWithWhatWasStartedMeanwhile(t *testing.T) {
	// onceAdopted is a check that says no when the Spec has adopted the new behaviour: there is a step more than there were children.
	onceAdopted := func(add, meddle func(ctx context.Context)) supervisor.RollOutOptions {
		n := 0
		return supervisor.RollOutOptions{Canary: 1, Step: 1, Settle: -1, Back: func(state any) (any, error) {
			state.(*release).n += 100
			return state, nil
		}, Check: func(ctx context.Context, _ []actor.AnyRef) error {
			switch n++; n {
			case 1:
				add(ctx)
			case 4:
				meddle(ctx)
				return errBroken
			}
			return nil
		}}
	}
	wantBack := func(t *testing.T, err error) {
		t.Helper()
		var back *supervisor.RollOutError
		if !errors.As(err, &back) || !errors.Is(back.Err, errBroken) || back.Back != nil {
			t.Errorf("roll-out: %v", err)
		}
	}
	again := func(t *testing.T, sup supervisor.Supervisor, id string) actor.AnyRef {
		t.Helper()
		ref, err := sup.Restart(t.Context(), id)
		if err != nil {
			t.Errorf("start %q again: %v", id, err)
		}
		return ref
	}
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup, _ := fleet(t, sys, supervisor.OneForOne, 3, supervisor.Spec{})
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		add := func(id string, v int64) func(context.Context) {
			return func(ctx context.Context) {
				_, err := sup.Add(ctx, supervisor.Child{ID: id, Start: supervisor.Actor(version(v))})
				must(err)
			}
		}
		wantBack(t, supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), onceAdopted(add("4", 4), func(ctx context.Context) {
			add("5", 5)(ctx)
			must(sup.Terminate(ctx, "0"))
			if got := told(t, again(t, sup, "0")); got != 2*million+1 {
				t.Errorf("started again by the Spec that has adopted the new behaviour: %d", got)
			}
			must(sup.Terminate(ctx, "1"))
			must(sup.Terminate(ctx, "2"))
			again(t, sup, "2")
		})))
		again(t, sup, "1")
		var got []int64
		for _, id := range []string{"0", "1", "2", "4", "5"} {
			got = append(got, told(t, lookup(t, sup, id)))
		}
		if diff := cmp.Diff([]int64{million + 102, million + 1, million + 1, 4*million + 101, 5*million + 1}, got); diff != "" {
			t.Errorf("the children (-want +got):\n%s", diff)
		}
	})
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup, refs := fleet(t, sys, supervisor.Dynamic, 3, supervisor.Spec{})
		spawn := func(ctx context.Context) {
			ref, err := sup.Spawn(ctx, nil)
			if err != nil {
				t.Error(err)
			}
			refs = append(refs, ref)
		}
		wantBack(t, supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), onceAdopted(spawn, spawn)))
		spawn(t.Context())
		if diff := cmp.Diff([]int64{1, 1, 1, 1, 1, 1}, versions(t, refs)); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
	})
	// A child that was started meanwhile and fails is one that fails with the new behaviour.
	bubble(t, func(t *testing.T, sys *actor.System) {
		tr := &trace{}
		sup, refs := fleet(t, sys, supervisor.Dynamic, 3, supervisor.Spec{Observe: tr.observe})
		spawn := func(ctx context.Context) { _, _ = sup.Spawn(ctx, nil) }
		o := onceAdopted(spawn, spawn)
		check := o.Check
		o.Settle, o.Check = time.Minute, func(ctx context.Context, swapped []actor.AnyRef) error {
			if len(swapped) < 4 {
				return check(ctx, swapped)
			}
			t.Error("the last step has settled")
			return nil
		}
		o.Progress = func(done, _ int) {
			if done == 3 {
				go func() { // in the last step, which follows at once
					pass(time.Second)
					ref, err := sup.Spawn(t.Context(), nil)
					if err != nil {
						t.Error(err)
					}
					refs = append(refs, ref)
					end(t.Context(), ref, "panic 2")
					end(t.Context(), ref, "panic 2")
				}()
			}
		}
		err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), o)
		var crash *actor.ExitError
		if !errors.As(err, &crash) || crash.Ref != refs[3] {
			t.Errorf("roll-out: %v", err)
		}
		if diff := cmp.Diff([]int64{1, 1, 1, 1}, versions(t, refs)); diff != "" || tr.count(supervisor.Restarting) != 1 {
			t.Errorf("%d restarts, versions (-want +got):\n%s", tr.count(supervisor.Restarting), diff)
		}
	})
}

// ROLL-3: when a child crashes with the new behaviour, it is put back before it is started again: under a load that makes the new one
// crash at every message, that is one crash, and no other is swapped.
func TestCanaryCrashesUnderLoad(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.Dynamic} {
		bubble(t, func(t *testing.T, sys *actor.System) {
			tr := &trace{}
			sup, refs := fleet(t, sys, strategy, 4, supervisor.Spec{Observe: tr.observe})
			load := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
				for {
					for _, ref := range refs {
						if err := ref.Send(ctx, wrapperspb.String("panic 2")); err != nil {
							return err
						}
					}
					if err := ctx.Sleep(time.Millisecond); err != nil {
						return err
					}
				}
			}))
			err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{Settle: time.Minute})
			var back *supervisor.RollOutError
			var crash *actor.ExitError
			if !errors.As(err, &back) || !errors.As(back.Err, &crash) || crash.Ref != refs[0] || crash.Reason.Kind != actor.ReasonPanic || back.Back != nil {
				t.Errorf("%v: %v", strategy, err)
			}
			pass(time.Second)
			if n := tr.count(supervisor.Restarting); n != 1 {
				t.Errorf("%v: %d restarts", strategy, n)
			}
			load.Stop()
			if diff := cmp.Diff([]int64{1, 1, 1, 1}, versions(t, refs)); diff != "" {
				t.Errorf("%v: versions (-want +got):\n%s", strategy, diff)
			}
		})
	}
}

// ROLL-3: a failure of the old behaviour is none of the new one's: neither by the message that postpones a swap, nor where the swap comes
// before the supervisor has heard of it. That the new one fails right after counts.
func TestRollOutOutlivesTheOldOnesFailure(t *testing.T) {
	fickle := func(v int64) supervisor.Starter {
		return supervisor.Actor(actor.Stateful(func(ctx *actor.Context, _ *release, m *text) error {
			if ctx.IsCall() {
				return ctx.Reply(wrapperspb.Int64(million * v))
			}
			switch m.Value {
			case "broken 1 after a while":
				if v == 1 {
					return errors.Join(ctx.Sleep(2*time.Second), errBroken)
				}
			case fmt.Sprintf("broken %d", v):
				return errBroken
			}
			return nil
		}))
	}
	said := func(d supervisor.Decision) func(supervisor.Failure) supervisor.Decision {
		return func(supervisor.Failure) supervisor.Decision { return d }
	}
	for name, decide := range map[string]func(supervisor.Failure) supervisor.Decision{
		"no Decide": nil, "again": said(supervisor.Again), "resume": said(supervisor.Resume),
	} {
		for _, then := range []string{"fine", "broken 2"} {
			t.Run(name+", then "+then, func(t *testing.T) {
				bubble(t, func(t *testing.T, sys *actor.System) {
					sup := start(t, sys, supervisor.Spec{Intensity: 10, Children: []supervisor.Child{
						{ID: "a", Start: fickle(1), Decide: decide}, {ID: "b", Start: fickle(1), Decide: decide}}})
					refs := []actor.AnyRef{lookup(t, sup, "a"), lookup(t, sup, "b")}
					end(t.Context(), refs[0], "broken 1 after a while")
					end(t.Context(), refs[0], then)
					pass(time.Second)
					o := supervisor.RollOutOptions{Settle: time.Second, Progress: func(done, _ int) {
						if done > 1 {
							return
						}
						go func() { // keeps the supervisor busy while b fails and is swapped
							slow := actor.StatefulFrom(func(ctx *actor.Context) (*num, error) { return &num{}, ctx.Sleep(10 * time.Second) },
								func(*actor.Context, *num, *num) error { return nil })
							if _, err := sup.Add(t.Context(), supervisor.Child{ID: "slow", Start: supervisor.Actor(slow)}); err != nil {
								t.Error(err)
							}
						}()
						pass(time.Millisecond)
						end(t.Context(), refs[1], "broken 1")
						pass(time.Millisecond)
					}, IDs: []string{"a", "b"}, SwapTimeout: time.Minute}
					err := supervisor.RollOut(t.Context(), sup, fickle(2), o)
					pass(time.Minute)
					if then == "fine" {
						if diff := cmp.Diff([]int64{2, 2}, versions(t, refs)); err != nil || diff != "" {
							t.Errorf("%v; versions (-want +got):\n%s", err, diff)
						}
						return
					}
					var crash *actor.ExitError
					if diff := cmp.Diff([]int64{1, 1}, versions(t, refs)); !errors.As(err, &crash) || crash.Ref != refs[0] || diff != "" {
						t.Errorf("%v; versions (-want +got):\n%s", err, diff)
					}
				})
			})
		}
	}
}

// ROLL-5: a roll-out in a Tree outlasts the tree's restarts, also one in the midst of it, but not a new start from its Spec.
func TestRollOutInATree(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		spec := supervisor.Spec{}
		for i := range 3 {
			spec.Children = append(spec.Children, supervisor.Child{ID: strconv.Itoa(i), Start: supervisor.Actor(version(1))})
		}
		top := start(t, sys, supervisor.Spec{Intensity: 10, Children: []supervisor.Child{{ID: "tree", Start: supervisor.Tree(spec)}}})
		tree := func() supervisor.Supervisor {
			low, err := top.Tree(t.Context(), "tree")
			if err != nil {
				t.Fatal(err)
			}
			return low
		}
		want := func(when string, v int64) {
			t.Helper()
			var refs []actor.AnyRef
			for _, c := range spec.Children {
				refs = append(refs, lookup(t, tree(), c.ID))
			}
			if diff := cmp.Diff([]int64{v, v, v}, versions(t, refs)); diff != "" {
				t.Errorf("%s: versions (-want +got):\n%s", when, diff)
			}
		}
		kill := func() {
			tree().Ref().Kill()
			settled(t, sys)
		}
		if err := supervisor.RollOut(t.Context(), tree(), supervisor.Actor(version(2)), supervisor.RollOutOptions{Settle: -1, Progress: func(done, _ int) {
			if done == 1 {
				kill()
			}
		}}); err != nil {
			t.Error(err)
		}
		want("restarted in the midst of it", 2)
		kill()
		want("restarted afterwards", 2)
		n := 0
		err := supervisor.RollOut(t.Context(), tree(), supervisor.Actor(version(3)), supervisor.RollOutOptions{Settle: -1, Progress: func(done, _ int) {
			if n++; n == 3 { // the Spec adopts it
				_, _ = tree().Add(t.Context(), supervisor.Child{ID: "more", Start: supervisor.Actor(version(1))})
			}
		}, Check: func(context.Context, []actor.AnyRef) error {
			if n < 3 {
				return nil
			}
			kill()
			want("restarted by the Spec that has adopted it", 3)
			return errBroken
		}})
		if !errors.Is(err, errBroken) {
			t.Error(err)
		}
		want("rolled back after a restart", 2)
		kill()
		want("restarted after that", 2)
		if err := top.Terminate(t.Context(), "tree"); err != nil {
			t.Error(err)
		}
		if _, err := top.Restart(t.Context(), "tree"); err != nil {
			t.Error(err)
		}
		want("started again", 1)
	})
}

// ROLL-4: what cannot be rolled out is refused, and nothing is swapped: wrong options, another type of message, something that is no
// Actor, children that are none, two at once.
func TestBadRollOuts(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup, refs := fleet(t, sys, supervisor.OneForOne, 3, supervisor.Spec{})
		if _, err := sup.Add(t.Context(), supervisor.Child{ID: "f", Start: supervisor.Func(func(ctx context.Context) error { <-ctx.Done(); return nil })}); err != nil {
			t.Fatal(err)
		}
		two := supervisor.Actor(version(2))
		other := supervisor.Actor(actor.Handler(func(*actor.Context, *num) error { return nil }))
		routine := supervisor.Actor(actor.Routine(func(*actor.Context, *actor.Inbox[*text]) error { return nil }))
		nothing := supervisor.Actor(actor.Behaviour[*text]{})
		for name, c := range map[string]struct {
			next supervisor.Starter
			o    supervisor.RollOutOptions
		}{
			"canary": {two, supervisor.RollOutOptions{Canary: -1}}, "step": {two, supervisor.RollOutOptions{Step: -1}},
			"timeout": {two, supervisor.RollOutOptions{SwapTimeout: -1}}, "unknown": {two, supervisor.RollOutOptions{IDs: []string{"nobody"}}},
			"a func": {two, supervisor.RollOutOptions{IDs: []string{"f"}}}, "type": {other, supervisor.RollOutOptions{}},
			"routine": {routine, supervisor.RollOutOptions{}}, "nil behaviour": {nothing, supervisor.RollOutOptions{}},
			"nil": {nil, supervisor.RollOutOptions{}}, "no actor": {supervisor.Tree(supervisor.Spec{}), supervisor.RollOutOptions{}},
		} {
			c.o.Settle = -1
			if err := supervisor.RollOut(t.Context(), sup, c.next, c.o); err == nil {
				t.Errorf("%s: no error", name)
			}
			if diff := cmp.Diff([]int64{1, 1, 1}, versions(t, refs)); diff != "" {
				t.Errorf("%s: versions (-want +got):\n%s", name, diff)
			}
		}
		first := make(chan error)
		go func() {
			first <- supervisor.RollOut(t.Context(), sup, two, supervisor.RollOutOptions{Settle: time.Minute})
		}()
		pass(time.Second)
		if err := supervisor.RollOut(t.Context(), sup, two, supervisor.RollOutOptions{}); !errors.Is(err, supervisor.ErrRollingOut) {
			t.Errorf("two at once: %v", err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(3)), supervisor.RollOutOptions{IDs: []string{"1"}, Settle: -1}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]int64{2, 3, 2}, versions(t, refs)); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
		if err := sup.Terminate(t.Context(), "0"); err != nil {
			t.Error(err)
		}
		if err := supervisor.RollOut(t.Context(), sup, other, supervisor.RollOutOptions{Settle: -1}); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("type, while one does not run: %v", err)
		}
		if ref, err := sup.Restart(t.Context(), "0"); err != nil || told(t, ref) != 2*million+1 {
			t.Errorf("started again: %v", err)
		}
		dynamic, _ := fleet(t, sys, supervisor.Dynamic, 0, supervisor.Spec{})
		if err := supervisor.RollOut(t.Context(), dynamic, other, supervisor.RollOutOptions{Settle: -1}); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("another type than the template's: %v", err)
		}
		if ref, err := dynamic.Spawn(t.Context(), nil); err != nil || told(t, ref) != million+1 {
			t.Errorf("spawned after that: %v", err)
		}
		if err := supervisor.RollOut(t.Context(), start(t, sys, supervisor.Spec{}), two, supervisor.RollOutOptions{}); err != nil {
			t.Errorf("without children: %v", err)
		}
	})
}

// ROLL-3: a swap that is postponed by a long message is given up after its timeout, and all goes back.
func TestRollOutOfABusyChild(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		busy := supervisor.Actor(actor.Handler(func(ctx *actor.Context, _ *text) error { return ctx.Sleep(time.Hour) }))
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{{ID: "a", Start: busy}, {ID: "b", Start: busy}}})
		end(t.Context(), lookup(t, sup, "b"), "hello")
		settled(t, sys)
		before := time.Now()
		err := supervisor.RollOut(t.Context(), sup, busy, supervisor.RollOutOptions{Settle: -1, SwapTimeout: time.Minute})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(before).Round(time.Second) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(before))
		}
	})
}
