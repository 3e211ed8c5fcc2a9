package supervisor_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/supervisor"
)

// SUP-16: what is wrong with a spec is said before anything is started, wherever in the tree it is.
func TestBadSpecs(t *testing.T) {
	good := child("a", supervisor.Permanent)
	with := func(change func(c *supervisor.Child)) supervisor.Spec {
		c := good
		change(&c)
		return supervisor.Spec{Children: []supervisor.Child{c}}
	}
	cyclic := supervisor.Spec{Children: make([]supervisor.Child, 1)}
	cyclic.Children[0] = supervisor.Child{ID: "itself", Start: supervisor.Tree(supervisor.Spec{Children: []supervisor.Child{{ID: "between", Start: supervisor.Tree(cyclic)}}})}
	twice := []supervisor.Child{good, good}
	for _, c := range []struct {
		spec supervisor.Spec
		want string
	}{
		{supervisor.Spec{Strategy: 9}, "unknown strategy 9"},
		{supervisor.Spec{AutoShutdown: 9}, "unknown auto shutdown 9"},
		{supervisor.Spec{Period: -1}, "a period of -1ns"},
		{supervisor.Spec{Children: twice}, `two children have the ID "a"`},
		{supervisor.Spec{Children: []supervisor.Child{{Start: good.Start}}}, "child 0 has no ID"},
		{with(func(c *supervisor.Child) { c.Start = nil }), "no Start"},
		{with(func(c *supervisor.Child) { c.Restart = 9 }), "unknown restart class 9"},
		{with(func(c *supervisor.Child) { c.Shutdown = -3 }), "a shutdown of -3ns"},
		{with(func(c *supervisor.Child) { c.Significant = true }), "AutoShutdown Never"},
		{supervisor.Spec{AutoShutdown: supervisor.AnySignificant, Children: []supervisor.Child{{ID: "a", Start: good.Start, Significant: true}}}, "permanent child cannot be significant"},
		{with(func(c *supervisor.Child) { c.Backoff.Min = -1 }), "backoff from -1ns"},
		{with(func(c *supervisor.Child) { c.Backoff = supervisor.Backoff{Min: 2, Max: 1} }), "backoff from 2ns to 1ns"},
		{with(func(c *supervisor.Child) { c.Backoff.Reset = -1 }), "reset after -1ns"},
		{with(func(c *supervisor.Child) { c.Backoff.Factor = 0.5 }), "backoff factor 0.5"},
		{with(func(c *supervisor.Child) { c.Backoff.Factor = math.NaN() }), "backoff factor NaN"},
		{with(func(c *supervisor.Child) { c.Backoff.Jitter = math.NaN() }), "jitter NaN"},
		{with(func(c *supervisor.Child) { c.Backoff.Jitter = 2 }), "jitter 2"},
		{supervisor.Spec{Strategy: supervisor.Dynamic, Children: twice}, "2 are given"},
		{supervisor.Spec{Strategy: supervisor.Dynamic, Children: []supervisor.Child{{Start: supervisor.StartFunc(nil)}}}, supervisor.ErrNotInPlace.Error()},
		{cyclic, "cyclic"},
		{nested(1, twice...), `child "mid": supervisor: child "low": supervisor: two children have the ID "a"`},
	} {
		bubble(t, func(t *testing.T, sys *actor.System) {

			sup, err := supervisor.Start(t.Context(), sys, c.spec)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if sup != (supervisor.Supervisor{}) {
				t.Errorf("%q: a supervisor is returned", c.want)
			}
			running := start(t, sys, supervisor.Spec{})
			if _, err := running.Add(t.Context(), supervisor.Child{ID: "tree", Start: supervisor.Tree(c.spec)}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("add: %v, want %q", err, c.want)
			}
			dynamic := start(t, sys, supervisor.Spec{Strategy: supervisor.Dynamic})
			if _, err := dynamic.Spawn(t.Context(), supervisor.Tree(c.spec)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("spawn: %v, want %q", err, c.want)
			}
			if n, err := dynamic.Count(t.Context()); err != nil || n.Active != 0 {
				t.Errorf("%+v, %v", n, err)
			}
		})
	}
}

// BAD-14: Starters that are called directly, with nil for a function or a Context, answer with an error.
func TestNilStarters(t *testing.T) {
	for what, s := range map[string]supervisor.Starter{"StartFunc": supervisor.StartFunc(nil), "Actor": supervisor.Actor(worker()), "Func": supervisor.Func(nil),
		"Tree": supervisor.Tree(supervisor.Spec{})} {
		if ref, err := s.Start(nil); err == nil || !ref.IsZero() {
			t.Errorf("%s: %v, %v", what, ref, err)
		}
	}
	bubble(t, func(t *testing.T, sys *actor.System) {
		_, err := supervisor.Start(t.Context(), sys, supervisor.Spec{Children: []supervisor.Child{{ID: "a", Start: supervisor.StartFunc(nil)}}})
		if err == nil || !strings.Contains(err.Error(), "a nil StartFunc") || strings.Contains(err.Error(), "panicked") {
			t.Errorf("start: %v", err)
		}
		for _, sup := range []supervisor.Supervisor{{}, start(t, sys, supervisor.Spec{})} {
			var none context.Context
			if err := supervisor.RollOut(none, sup, supervisor.Actor(worker()), supervisor.RollOutOptions{}); err == nil {
				t.Error("RollOut takes a nil context")
			}
		}
	})
}

// SUP-16: extremes of what is allowed.
func TestExtremeSpecs(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		c := child("a", supervisor.Permanent)
		c.Backoff = supervisor.Backoff{Min: 1, Max: math.MaxInt64, Factor: math.Inf(1), Jitter: 0}
		c.Shutdown, c.StartTimeout = math.MaxInt64, math.MaxInt64
		sup := start(t, sys, supervisor.Spec{Intensity: math.MaxInt, Period: math.MaxInt64, Children: []supervisor.Child{c}})
		ref := lookup(t, sup, "a")
		end(t.Context(), ref, "panic")
		told(t, ref)
		end(t.Context(), ref, "panic")
		settled(t, sys)
		pass(24 * time.Hour)
		if s := statuses(t, sup); s["a"] != supervisor.Waiting {
			t.Errorf("%v: the longest backoff is over", s)
		}
		if err := sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// SUP-17: Observe and Decide may panic; what they ask of their own supervisor is refused, not waited for.
func TestCallbacksThatMisbehave(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		var sup supervisor.Supervisor
		var answers []error
		c := child("a", supervisor.Permanent)
		c.Decide = func(supervisor.Failure) supervisor.Decision {
			_, err := sup.Children(context.Background())
			answers = append(answers, err, sup.Stop(context.Background()), supervisor.RollOut(context.Background(), sup, c.Start, supervisor.RollOutOptions{}))
			panic("no idea")
		}
		sup = start(t, sys, supervisor.Spec{Children: []supervisor.Child{c}, Observe: func(supervisor.Event) {
			if !sup.Ref().IsZero() {
				_, err := sup.Count(context.Background())
				answers = append(answers, err)
			}
			panic("do not look")
		}})
		ref := lookup(t, sup, "a")
		end(t.Context(), ref, "killed")
		if told(t, ref) != 1 {
			t.Error("not restarted by its class")
		}
		if len(answers) < 4 {
			t.Errorf("answers: %v", answers)
		}
		for _, err := range answers {
			if !errors.Is(err, supervisor.ErrInTurn) {
				t.Errorf("answer: %v", err)
			}
		}
		own := supervisor.Child{ID: "b", Start: supervisor.StartFunc(func(ctx *actor.Context) (actor.AnyRef, error) {
			_, err := sup.Count(ctx)
			return actor.AnyRef{}, err
		})}
		if _, err := sup.Add(t.Context(), own); !errors.Is(err, supervisor.ErrInTurn) {
			t.Errorf("add: %v", err)
		}
	})
}

// SUP-17: Goexit in what a supervisor calls ends it, as it does any actor, and its children with it.
func TestCallbacksThatCallGoexit(t *testing.T) {
	exit := func(e supervisor.Event) {
		if e.Kind == supervisor.Ended {
			runtime.Goexit()
		}
	}
	decide := func(supervisor.Failure) supervisor.Decision {
		runtime.Goexit()
		return supervisor.ByClass
	}
	for name, spec := range map[string]func(sys *actor.System) supervisor.Spec{
		"Observe": func(*actor.System) supervisor.Spec {
			return supervisor.Spec{Observe: exit, Children: []supervisor.Child{child("a", supervisor.Permanent)}}
		},
		"Decide": func(*actor.System) supervisor.Spec {
			return supervisor.Spec{Children: []supervisor.Child{{ID: "a", Start: supervisor.Actor(worker()), Decide: decide}}}
		},
		"StartFunc": func(sys *actor.System) supervisor.Spec {
			starts := foreign(sys)
			n := 0
			return supervisor.Spec{Children: []supervisor.Child{{ID: "a", Start: supervisor.StartFunc(func(ctx *actor.Context) (actor.AnyRef, error) {
				if n++; n == 2 {
					runtime.Goexit()
				}
				return starts(ctx)
			})}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.System) {
				s := spec(sys)
				s.Children = append(s.Children, child("b", supervisor.Permanent))
				sup := start(t, sys, s)
				b := lookup(t, sup, "b")
				end(t.Context(), lookup(t, sup, "a"), "error")
				if why := ended(t, sup.Ref()); !errors.Is(why.Err, actor.ErrGoexit) || b.Alive() {
					t.Errorf("it ended with %v; its child lives: %v", why, b.Alive())
				}
			})
		})
	}
}

// SUP-15: a start function that panics, blocks for ever, ignores its end, finds its name taken or returns nonsense is a start that fails:
// at the first start nothing is left, at a restart it counts as one.
func TestStartsThatFail(t *testing.T) {
	never := make(chan struct{})
	block := func(ctx *actor.Context) error { return ctx.Sleep(time.Hour) }
	on := func(f func(ctx *actor.Context) error) supervisor.Starter {
		return supervisor.Actor(worker(), actor.Options{OnStart: f})
	}
	cases := map[string]struct {
		start supervisor.Starter
		want  string
		after time.Duration
	}{
		"panics":           {on(func(*actor.Context) error { panic("boom") }), "boom", 0},
		"fails":            {on(func(*actor.Context) error { return errBroken }), "broken", 0},
		"blocks":           {on(block), supervisor.ErrStartTimeout.Error(), 2 * time.Second},
		"stops":            {on(func(ctx *actor.Context) error { ctx.Stop(); return ctx.Sleep(time.Hour) }), "it ended at its start", 0},
		"kills itself":     {on(func(ctx *actor.Context) error { ctx.Self().Kill(); return ctx.Sleep(time.Hour) }), "killed", 0},
		"never returns":    {on(func(ctx *actor.Context) error { return ctx.Block(func() { <-never }) }), supervisor.ErrStartTimeout.Error(), 7 * time.Second},
		"no behaviour":     {supervisor.Actor(actor.Behaviour[*text]{}), actor.ErrNilBehaviour.Error(), 0},
		"two options":      {supervisor.Actor(worker(), actor.Options{}, actor.Options{}), "more than one", 0},
		"bad options":      {supervisor.Actor(worker(), actor.Options{Mailbox: actor.Mailbox{Capacity: -1}}), "capacity", 0},
		"name taken":       {supervisor.Actor(worker(), actor.Options{Name: "taken"}), actor.ErrNameTaken.Error(), 0},
		"no function":      {supervisor.Func(nil), actor.ErrNilBehaviour.Error(), 0},
		"StartFunc nil":    {supervisor.StartFunc(nil), "a nil StartFunc", 0},
		"StartFunc blocks": {supervisor.StartFunc(func(ctx *actor.Context) (actor.AnyRef, error) { return actor.AnyRef{}, block(ctx) }), supervisor.ErrStartTimeout.Error(), 2 * time.Second},
		"StartFunc zero":   {supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) { return actor.AnyRef{}, nil }), actor.ErrNoActor.Error(), 0},
		"tree":             {supervisor.Tree(supervisor.Spec{Children: []supervisor.Child{{ID: "x", Start: on(block), StartTimeout: time.Second}}}), supervisor.ErrStartTimeout.Error(), time.Second},
		"tree name":        {supervisor.Tree(supervisor.Spec{Name: "taken"}), actor.ErrNameTaken.Error(), 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			never = make(chan struct{})
			bubble(t, func(t *testing.T, sys *actor.System) {
				actor.MustSpawn(sys, worker(), actor.Options{Name: "taken"})
				never = make(chan struct{})
				bad := supervisor.Child{ID: "bad", Start: c.start, StartTimeout: 2 * time.Second}
				tr := &trace{}
				before := time.Now()
				_, err := supervisor.Start(t.Context(), sys, supervisor.Spec{Children: []supervisor.Child{child("a", supervisor.Permanent), bad}, Observe: tr.observe})
				var failed *supervisor.StartError
				if !errors.As(err, &failed) || failed.Child != "bad" || !strings.Contains(err.Error(), c.want) {
					t.Errorf("start: %v, want %q", err, c.want)
				}
				if took := time.Since(before).Round(time.Millisecond); took != c.after {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{child("a", supervisor.Permanent)}, Observe: tr.observe})
				if _, err := sup.Add(t.Context(), bad); !errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("add: %v", err)
				}
				if s := statuses(t, sup); len(s) != 1 || told(t, lookup(t, sup, "a")) != 1 {
					t.Errorf("after a failed Add: %v", s)
				}
				if _, err := sup.Add(t.Context(), child("bad", supervisor.Permanent)); err != nil {
					t.Errorf("the ID of a child that did not start: %v", err)
				}
				close(never)
				settled(t, sys)
			})
		})
	}
}

// SUP-15: a restart that blocks counts as a failure when its time is over, and keeps only its supervisor waiting.
func TestRestartThatBlocks(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		starts := 0
		c := supervisor.Child{ID: "a", StartTimeout: time.Second, Start: supervisor.Actor(worker(), actor.Options{OnStart: func(ctx *actor.Context) error {
			if starts++; starts == 1 || starts == 4 {
				return nil
			}
			return ctx.Sleep(time.Hour)
		}})}
		sup := start(t, sys, supervisor.Spec{Intensity: 3, Children: []supervisor.Child{c}})
		ref := lookup(t, sup, "a")
		before := time.Now()
		end(t.Context(), ref, "panic")
		told(t, ref)
		if took := time.Since(before).Round(time.Millisecond); took != 2*time.Second || starts != 4 {
			t.Errorf("%d starts took %v", starts, took)
		}
		end(t.Context(), ref, "panic")
		if why := ended(t, sup.Ref()); !strings.Contains(why.String(), "one is too many") && !strings.Contains(why.String(), "one too many") {
			t.Errorf("the supervisor ended with %v", why)
		}
	})
}

// SUP-15: a start that cannot even be killed ends when it returns: what has failed is not started again, and its name is free. Until then
// a dynamic supervisor counts it.
func TestStartThatCannotBeKilled(t *testing.T) {
	cases := map[string]struct {
		strategy supervisor.Strategy
		restart  bool // it is a restart that does not return, and Decide gives it up
		start    func(t *testing.T, sup supervisor.Supervisor, c supervisor.Child) error
	}{
		"added": {supervisor.OneForOne, false, func(t *testing.T, sup supervisor.Supervisor, c supervisor.Child) error {
			_, err := sup.Add(t.Context(), c)
			return err
		}},
		"spawned": {supervisor.Dynamic, false, func(t *testing.T, sup supervisor.Supervisor, c supervisor.Child) error {
			_, err := sup.Spawn(t.Context(), c.Start)
			return err
		}},
		"given up": {supervisor.OneForOne, true, func(t *testing.T, sup supervisor.Supervisor, c supervisor.Child) error {
			ref, err := sup.Add(t.Context(), c)
			if err == nil {
				end(t.Context(), ref, "error")
				pass(10 * time.Second)
			}
			return err
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.System) {
				stuck, starts := make(chan struct{}), 0
				bad := supervisor.Child{ID: "bad", StartTimeout: time.Second, Start: supervisor.Actor(worker(), actor.Options{Name: "bad", OnStart: func(ctx *actor.Context) error {
					if starts++; c.restart && starts == 1 {
						return nil
					}
					return ctx.Block(func() { <-stuck })
				}})}
				template := supervisor.Child{StartTimeout: time.Second}
				if c.restart {
					bad.Decide = func(f supervisor.Failure) supervisor.Decision {
						if errors.Is(f.Reason.Err, supervisor.ErrStartTimeout) {
							return supervisor.GiveUp
						}
						return supervisor.ByClass
					}
				}
				tr := &trace{}
				spec := supervisor.Spec{Strategy: c.strategy, Observe: tr.observe}
				if c.strategy == supervisor.Dynamic {
					spec.Children = []supervisor.Child{template}
				}
				sup := start(t, sys, spec)
				err := c.start(t, sup, bad)
				if left := (*supervisor.StuckError)(nil); errors.As(err, &left) == c.restart {
					t.Errorf("start: %v", err)
				}
				if n, err := sup.Count(t.Context()); err != nil || c.strategy == supervisor.Dynamic && n.Workers != 1 {
					t.Errorf("%+v, %v", n, err)
				}
				before := starts
				close(stuck)
				settled(t, sys)
				if _, lives := sys.Lookup("bad"); lives || starts != before {
					t.Errorf("it has its name: %v; it was started %d times more", lives, starts-before)
				}
				if n, err := sup.Count(t.Context()); err != nil || n.Active != 0 || c.strategy == supervisor.Dynamic && n.Workers != 0 {
					t.Errorf("at last: %+v, %v", n, err)
				}
				if tr.count(supervisor.Stopped) != 1 {
					t.Errorf("its end was not observed: %v", tr.take())
				}
			})
		})
	}
}

// SUP-8: zero and dead supervisors, unknown IDs, and what the wrong kind of supervisor is asked.
func TestWrongRequests(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		dynamic := start(t, sys, supervisor.Spec{Strategy: supervisor.Dynamic, Children: []supervisor.Child{child("w", supervisor.Permanent)}})
		empty := start(t, sys, supervisor.Spec{Strategy: supervisor.Dynamic})
		plain := start(t, sys, supervisor.Spec{Children: []supervisor.Child{child("a", supervisor.Permanent)}})
		dead := start(t, sys, supervisor.Spec{})
		if err := dead.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := dead.Stop(t.Context()); err != nil {
			t.Errorf("stop again: %v", err)
		}
		stranger := actor.MustSpawn(sys, worker())
		all := func(sup supervisor.Supervisor, id string, ref actor.AnyRef) map[string]error {
			ctx := t.Context()
			_, add := sup.Add(ctx, child("new", supervisor.Permanent))
			_, spawn := sup.Spawn(ctx, nil)
			_, restart := sup.Restart(ctx, id)
			_, lookup := sup.Lookup(ctx, id)
			_, typed := supervisor.Ref[*text](ctx, sup, id)
			_, tree := sup.Tree(ctx, id)
			return map[string]error{
				"Add": add, "Spawn": spawn, "Restart": restart, "Lookup": lookup, "Ref": typed, "Tree": tree,
				"Terminate": sup.Terminate(ctx, id), "Delete": sup.Delete(ctx, id), "TerminateRef": sup.TerminateRef(ctx, ref),
				"RollOut": supervisor.RollOut(ctx, sup, supervisor.Actor(worker()), supervisor.RollOutOptions{IDs: []string{id}, Settle: -1}),
			}
		}
		for _, c := range []struct {
			name string
			sup  supervisor.Supervisor
			want error
			but  map[string]error
		}{
			{"zero", supervisor.Supervisor{}, actor.ErrNoActor, nil},
			{"dead", dead, actor.ErrStopped, nil},
			{"dynamic", dynamic, supervisor.ErrDynamic, map[string]error{"Spawn": nil, "TerminateRef": supervisor.ErrNoChild}},
			{"without a template", empty, supervisor.ErrDynamic, map[string]error{"Spawn": supervisor.ErrNoStart, "TerminateRef": supervisor.ErrNoChild}},
			{"plain", plain, supervisor.ErrNoChild, map[string]error{"Add": nil, "Spawn": supervisor.ErrDynamic, "TerminateRef": supervisor.ErrDynamic}},
		} {
			for method, err := range all(c.sup, "nobody", stranger.AnyRef) {
				want := c.want
				if other, ok := c.but[method]; ok {
					want = other
				}
				if !errors.Is(err, want) {
					t.Errorf("%s: %s: %v, want %v", c.name, method, err, want)
				}
			}
		}
		if _, err := empty.Spawn(t.Context(), supervisor.StartFunc(nil)); !errors.Is(err, supervisor.ErrNotInPlace) {
			t.Errorf("spawn of a foreign one: %v", err)
		}
		if err := dynamic.TerminateRef(t.Context(), actor.AnyRef{}); !errors.Is(err, supervisor.ErrNoChild) {
			t.Errorf("terminate the zero ref: %v", err)
		}
		if _, err := plain.Tree(t.Context(), "a"); !errors.Is(err, supervisor.ErrNoChild) {
			t.Errorf("tree of a child that is none: %v", err)
		}
		if _, err := plain.Children(nil); !errors.Is(err, actor.ErrNilContext) { //nolint:staticcheck // that is the point
			t.Errorf("a nil context: %v", err)
		}
		if _, err := supervisor.Start(t.Context(), nil, supervisor.Spec{}); err == nil {
			t.Error("start from nil")
		}
		if err := sys.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := supervisor.Start(t.Context(), sys, supervisor.Spec{}); !errors.Is(err, actor.ErrStopped) {
			t.Errorf("start in a System that has stopped: %v", err)
		}
	})
}

// SUP-14: a start whose context ends, or whose caller dies, leaves nothing behind.
func TestStartGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		blocks := supervisor.Spec{Name: "given up", Children: []supervisor.Child{{ID: "a", Start: supervisor.Actor(worker(), actor.Options{
			OnStart: func(ctx *actor.Context) error { return ctx.Sleep(time.Hour) },
		}), StartTimeout: -1}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := supervisor.Start(ctx, sys, blocks); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start: %v", err)
		}
		settled(t, sys)
		if _, ok := sys.Lookup("given up"); ok {
			t.Error("the supervisor is there")
		}
		caller := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
			_, err := supervisor.Start(ctx, ctx, blocks)
			return err
		}))
		settled(t, sys)
		if _, ok := sys.Lookup("given up"); !ok {
			t.Error("the supervisor is not there")
		}
		caller.Kill()
		ended(t, caller.AnyRef)
		if _, ok := sys.Lookup("given up"); ok {
			t.Error("the supervisor is there")
		}
	})
}

// SUP-8: an Add or a Spawn that its caller gives up starts the child all the same.
func TestAddGivenUp(t *testing.T) {
	slow := supervisor.Actor(worker(), actor.Options{OnStart: func(ctx *actor.Context) error { return ctx.Sleep(time.Second) }})
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.Dynamic} {
		bubble(t, func(t *testing.T, sys *actor.System) {
			sup := start(t, sys, supervisor.Spec{Strategy: strategy})
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			var err error
			if strategy == supervisor.Dynamic {
				_, err = sup.Spawn(ctx, slow)
			} else {
				_, err = sup.Add(ctx, supervisor.Child{ID: "a", Start: slow})
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: %v", strategy, err)
			}
			if n, err := sup.Count(t.Context()); err != nil || n.Active != 1 {
				t.Errorf("%v: %+v, %v", strategy, n, err)
			}
		})
	}
}

// SUP-14: requests to a supervisor that stops are answered.
func TestRequestsWhileStopping(t *testing.T) {
	for _, strategy := range strategies {
		bubble(t, func(t *testing.T, sys *actor.System) {
			c := supervisor.Child{ID: "a", Start: supervisor.Actor(worker(), actor.Options{OnExit: func(ctx *actor.Context, _ actor.Reason) {
				clean, done := ctx.Cleanup(time.Minute)
				defer done()
				var never actor.Event
				_ = never.Wait(clean)
			}})}
			sup := start(t, sys, supervisor.Spec{Strategy: strategy, Children: []supervisor.Child{c}})
			if strategy == supervisor.Dynamic {
				if _, err := sup.Spawn(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			sup.Ref().Shutdown()
			settled(t, sys)
			if _, err := sup.Add(t.Context(), child("late", supervisor.Permanent)); !errors.Is(err, actor.ErrStopped) {
				t.Errorf("%v: add: %v", strategy, err)
			}
			ended(t, sup.Ref())
		})
	}
}

// SUP-8: an ID that was given up may be used again, and old refs and events mean nothing to the new child.
func TestIDIsUsedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{child("a", supervisor.Temporary)}})
		for range 5 {
			ref := lookup(t, sup, "a")
			end(t.Context(), ref, "panic")
			settled(t, sys)
			next, err := sup.Add(t.Context(), child("a", supervisor.Temporary))
			if err != nil || next == ref {
				t.Fatal(next, err)
			}
			if err := ref.Send(t.Context(), wrapperspb.String("panic")); !errors.Is(err, actor.ErrStopped) {
				t.Errorf("send to the old ref: %v", err)
			}
			told(t, next)
		}
	})
}
