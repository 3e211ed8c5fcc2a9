package supervisor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/supervisor"
)

// foreign is a Starter of a worker that is nobody's child. Its n-th start fails where fails says so.
func foreign(sys *actor.System, fails ...int) supervisor.StartFunc {
	n := 0
	return func(*actor.Context) (actor.AnyRef, error) {
		if n++; slices.Contains(fails, n) {
			return actor.AnyRef{}, errBroken
		}
		ref, err := actor.Spawn(sys, worker())
		return ref.AnyRef, err
	}
}

// SUP-12: a foreign child that waits to be started again has ended: whatever its supervisor does then waits for nothing, and starts it
// only where that is due.
func TestForeignChildThatWaits(t *testing.T) {
	slow := supervisor.Backoff{Min: time.Hour}
	cases := map[string]struct {
		strategy supervisor.Strategy
		fails    []int // starts of the sibling
		decide   supervisor.Decision
		backoff  supervisor.Backoff
		do       func(t *testing.T, sup supervisor.Supervisor) error
		want     map[string]supervisor.Status // nil: the supervisor has ended
	}{
		"stop": {backoff: slow, do: func(t *testing.T, sup supervisor.Supervisor) error { return sup.Stop(t.Context()) }},
		"terminate": {
			backoff: slow, do: func(t *testing.T, sup supervisor.Supervisor) error { return sup.Terminate(t.Context(), "f") },
			want: map[string]supervisor.Status{"g": supervisor.Running, "f": supervisor.Gone},
		},
		"a sibling's restart": {
			strategy: supervisor.RestForOne, backoff: slow, do: func(t *testing.T, sup supervisor.Supervisor) error {
				end(t.Context(), lookup(t, sup, "g"), "error")
				return nil
			},
			want: map[string]supervisor.Status{"g": supervisor.Running, "f": supervisor.Running},
		},
		"a sibling that does not start": {
			strategy: supervisor.OneForAll, fails: []int{2}, do: func(*testing.T, supervisor.Supervisor) error { return nil },
			want: map[string]supervisor.Status{"g": supervisor.Running, "f": supervisor.Running},
		},
		"escalate": {decide: supervisor.Escalate, do: func(t *testing.T, sup supervisor.Supervisor) error {
			if why := ended(t, sup.Ref()); !errors.Is(why.Err, errBroken) {
				t.Errorf("the supervisor ended with %v", why)
			}
			return nil
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.System) {
				f := supervisor.Child{ID: "f", Start: foreign(sys), Backoff: c.backoff, Decide: func(supervisor.Failure) supervisor.Decision { return c.decide }}
				sup := start(t, sys, supervisor.Spec{Strategy: c.strategy, Intensity: 5, Children: []supervisor.Child{
					{ID: "g", Start: foreign(sys, c.fails...)}, f,
				}})
				before := time.Now()
				end(t.Context(), lookup(t, sup, "f"), "error")
				settled(t, sys)
				if err := c.do(t, sup); err != nil {
					t.Errorf("%v", err)
				}
				settled(t, sys)
				if took := time.Since(before); took > time.Millisecond {
					t.Errorf("it took %v", took)
				}
				if c.want == nil {
					if sup.Ref().Alive() {
						t.Error("the supervisor has not ended")
					}
					return
				}
				if diff := cmp.Diff(c.want, statuses(t, sup)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// SUP-12: a foreign child that could not be started again waits for the next try as any child does: it is not gone.
func TestForeignChildWhoseRestartFails(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		f := supervisor.Child{ID: "f", Start: foreign(sys, 2), Restart: supervisor.Transient, Significant: true, Backoff: supervisor.Backoff{Min: time.Minute}}
		g := child("g", supervisor.Transient)
		g.Significant = true
		tr := &trace{}
		sup := start(t, sys, supervisor.Spec{AutoShutdown: supervisor.AllSignificant, Intensity: 5, Children: []supervisor.Child{f, g}, Observe: tr.observe})
		first := lookup(t, sup, "f")
		end(t.Context(), first, "error")
		pass(90 * time.Second)
		settled(t, sys)
		infos, err := sup.Children(t.Context())
		if err != nil || infos[0].Status != supervisor.Waiting || !infos[0].Ref.IsZero() {
			t.Errorf("%+v, %v", infos, err)
		}
		if n, err := sup.Count(t.Context()); err != nil || n.Active != 1 {
			t.Errorf("%+v, %v", n, err)
		}
		if _, err := sup.Lookup(t.Context(), "f"); !errors.Is(err, supervisor.ErrNoChild) {
			t.Errorf("lookup: %v", err)
		}
		if _, err := sup.Restart(t.Context(), "f"); !errors.Is(err, supervisor.ErrRunning) {
			t.Errorf("restart: %v", err)
		}
		if err := sup.Delete(t.Context(), "f"); !errors.Is(err, supervisor.ErrRunning) {
			t.Errorf("delete: %v", err)
		}
		end(t.Context(), lookup(t, sup, "g"), "normal") // f is not the last one to have ended
		pass(time.Hour)
		settled(t, sys)
		if diff := cmp.Diff(map[string]supervisor.Status{"f": supervisor.Running, "g": supervisor.Gone}, statuses(t, sup)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, e := range tr.events {
			if (e.Kind == supervisor.Ended || e.Kind == supervisor.Restarting) && e.Child == "f" && e.Ref != first {
				t.Errorf("%v of %v, want %v", e.Kind, e.Ref, first)
			}
		}
		end(t.Context(), lookup(t, sup, "f"), "normal")
		ended(t, sup.Ref())
		if tr.count(supervisor.ShutDown) != 1 {
			t.Errorf("the supervisor has ended, but not for its significant children: %v", tr.take())
		}
	})
}

// SUP-12: one actor is not two children: a start that returns what another child is already has failed, and so has one that returns the
// supervisor.
func TestForeignChildThatIsAnother(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		var shared actor.AnyRef
		share := supervisor.StartFunc(func(ctx *actor.Context) (actor.AnyRef, error) {
			if !shared.Alive() {
				var err error
				if shared, err = foreign(sys)(ctx); err != nil {
					return actor.AnyRef{}, err
				}
			}
			return shared, nil
		})
		sup := start(t, sys, supervisor.Spec{Intensity: 5, Children: []supervisor.Child{{ID: "f", Start: share}, child("g", supervisor.Permanent)}})
		g := lookup(t, sup, "g")
		for of, starts := range map[string]supervisor.Starter{
			`child "f" already`:     share,
			`child "g" already`:     supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) { return g, nil }),
			"the supervisor itself": supervisor.StartFunc(func(ctx *actor.Context) (actor.AnyRef, error) { return ctx.Self(), nil }),
		} {
			_, err := sup.Add(t.Context(), supervisor.Child{ID: "twin", Start: starts})
			var failed *supervisor.StartError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), of) {
				t.Errorf("add what is %s: %v", of, err)
			}
		}
		if diff := cmp.Diff(map[string]supervisor.Status{"f": supervisor.Running, "g": supervisor.Running}, statuses(t, sup)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		told(t, lookup(t, sup, "f"))
		end(t.Context(), shared, "error")
		settled(t, sys)
		if now := lookup(t, sup, "f"); now != shared || told(t, now) != 1 || told(t, g) != 1 {
			t.Errorf("f is %v, want %v", now, shared)
		}
	})
}

// SUP-15: a StartFunc that takes too long is interrupted where it waits; one that does not wait is let go on, and the next one does not
// feel it.
func TestStartFuncThatTakesTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		starts := 0
		late := supervisor.StartFunc(func(ctx *actor.Context) (actor.AnyRef, error) {
			if starts++; starts == 2 {
				if err := ctx.Sleep(time.Hour); err != nil {
					return actor.AnyRef{}, err
				}
			}
			pass(2 * time.Second) // no wait of the actor's
			return foreign(sys)(ctx)
		})
		early := supervisor.StartFunc(func(ctx *actor.Context) (actor.AnyRef, error) {
			if err := ctx.Sleep(time.Second); err != nil {
				return actor.AnyRef{}, err
			}
			return foreign(sys)(ctx)
		})
		tr := &trace{}
		sup := start(t, sys, supervisor.Spec{Intensity: 5, Observe: tr.observe, Children: []supervisor.Child{
			{ID: "late", Start: late, StartTimeout: time.Second}, {ID: "early", Start: early},
		}})
		end(t.Context(), lookup(t, sup, "late"), "error")
		pass(3500 * time.Millisecond) // 1 s until it is interrupted, and 2 s
		settled(t, sys)
		told(t, lookup(t, sup, "late"))
		told(t, lookup(t, sup, "early"))
		want := []string{"started late", "started early", "ended late", "restarting late", "start_failed late", "restarting late", "started late"}
		if diff := cmp.Diff(want, tr.take()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
