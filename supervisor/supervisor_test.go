package supervisor_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

func sendAll(t *testing.T, ref actor.Ref[*num], values ...int64) {
	t.Helper()
	for _, v := range values {
		if err := ref.Send(t.Context(), &num{Value: v}); err != nil {
			t.Error(err)
		}
	}
}

// ended waits for the supervisor's end and returns its reason.
func ended(t *testing.T, sup supervisor.Supervisor) actor.Reason {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := sup.Ref().Wait(ctx)
	var exit *actor.ExitError
	if errors.As(err, &exit) {
		return exit.Reason
	}
	if err != nil {
		t.Fatal(err)
	}
	return actor.Reason{}
}

// SUP-4: more restarts than the intensity allows within the period end the supervisor, its children first, with an error that says which
// child, how often, in what time and why; restarts that lie further apart do not.
func TestIntensity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		var s starts
		spec := supervisor.Spec{Intensity: 2, Period: time.Minute, Children: []supervisor.Child{s.child("a", supervisor.Permanent), s.child("b", supervisor.Permanent)}}
		sup := start(t, sys, spec)
		b := lookup(t, sup, "b")
		for range 10 { // two a minute at most
			sendAll(t, b, endPanic)
			synctest.Wait()
			time.Sleep(31 * time.Second)
		}
		if n := s.of("b"); n != 11 {
			t.Fatalf("b was started %d times", n)
		}
		sendAll(t, b, endPanic, endError)
		reason := ended(t, sup)
		var limit *supervisor.RestartLimitError
		if !errors.As(reason.Err, &limit) || limit.Child != "b" || limit.Restarts != 3 || limit.Window != time.Minute || limit.Last.Kind != actor.ReasonError {
			t.Fatalf("ended with %v", reason)
		}
		if b.Alive() {
			t.Error("b has outlived its supervisor")
		}
	})
	synctest.Test(t, func(t *testing.T) { // OTP's default: 1 in 5 s; and none at all
		for intensity, allowed := range map[int]int{0: 1, -1: 0} {
			sys := actortest.New(t)
			var s starts
			sup := start(t, sys, supervisor.Spec{Intensity: intensity, Children: []supervisor.Child{s.child("a", supervisor.Permanent)}})
			a := lookup(t, sup, "a")
			for range allowed + 1 {
				sendAll(t, a, endError)
			}
			if ended(t, sup); s.of("a") != 1+allowed {
				t.Errorf("intensity %d: started %d times", intensity, s.of("a"))
			}
		}
	})
}

// SUP-5: a supervisor that gives up fails in its own supervisor, which restarts it with all its children.
func TestEscalation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		var s starts
		leaf := supervisor.Tree(supervisor.Spec{Children: []supervisor.Child{s.child("x", supervisor.Permanent), s.child("y", supervisor.Permanent)}})
		middle := supervisor.Tree(supervisor.Spec{Strategy: supervisor.RestForOne, Children: []supervisor.Child{{ID: "leaf", Start: leaf}, s.child("z", supervisor.Permanent)}})
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{{ID: "middle", Start: middle}}})
		tree := func(sup supervisor.Supervisor, id string) supervisor.Supervisor {
			t.Helper()
			child, err := sup.Tree(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return child
		}
		m := tree(sup, "middle")
		l := tree(m, "leaf")
		sendAll(t, lookup(t, l, "x"), endPanic, endPanic)
		synctest.Wait()
		if tree(m, "leaf") != l || tree(sup, "middle") != m {
			t.Error("a tree has another ref after its restart")
		}
		if s.of("x") != 3 || s.of("y") != 2 || s.of("z") != 2 {
			t.Errorf("starts: %v", s.n)
		}
		if v, err := actor.Call[*num](t.Context(), lookup(t, l, "y"), &num{}); err != nil || v.Value != 1 {
			t.Errorf("y: %v, %v", v, err)
		}
		if err := sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// SUP-6: restarts wait for the backoff, which grows, and starts over when the child has run for long; meanwhile the child handles nothing
// and loses nothing.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		var s starts
		c := s.child("a", supervisor.Permanent)
		c.Backoff = supervisor.Backoff{Min: time.Second, Max: 10 * time.Second, Factor: 3}
		sup := start(t, sys, supervisor.Spec{Intensity: 100, Children: []supervisor.Child{c}})
		a := lookup(t, sup, "a")
		for _, want := range []time.Duration{1, 3, 9, 10, 10} {
			sendAll(t, a, endPanic)
			synctest.Wait() // it waits now
			began := time.Now()
			infos, err := sup.Children(t.Context())
			if err != nil || infos[0].Status != supervisor.Waiting {
				t.Errorf("%+v, %v", infos, err)
			}
			if _, err := actor.Call[*num](t.Context(), a, &num{}); err != nil {
				t.Error(err)
			}
			if d := time.Since(began).Round(time.Millisecond); d != want*time.Second {
				t.Errorf("answered after %v, want %v s", d, want)
			}
		}
		time.Sleep(11 * time.Second)
		sendAll(t, a, endPanic)
		began := time.Now()
		_, err := actor.Call[*num](t.Context(), a, &num{})
		if d := time.Since(began).Round(time.Millisecond); d != time.Second || err != nil {
			t.Errorf("after a while: answered after %v, %v", d, err)
		}
		sendAll(t, a, endPanic)
		synctest.Wait() // it waits now
		if err := sup.Terminate(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if a.Alive() {
			t.Error("it was started although it had been terminated")
		}
	})
}

// SUP-7: significant children that end by themselves stop their supervisor.
func TestAutoShutdown(t *testing.T) {
	for _, c := range []struct {
		auto supervisor.AutoShutdown
		ends []string
		want bool
	}{
		{supervisor.AnySignificant, []string{"c"}, false}, {supervisor.AnySignificant, []string{"a"}, true},
		{supervisor.AllSignificant, []string{"a"}, false}, {supervisor.AllSignificant, []string{"a", "b"}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			sys := actortest.New(t)
			var s starts
			kids := []supervisor.Child{s.child("a", supervisor.Transient), s.child("b", supervisor.Temporary), s.child("c", supervisor.Transient)}
			kids[0].Significant, kids[1].Significant = true, true
			sup := start(t, sys, supervisor.Spec{AutoShutdown: c.auto, Children: kids})
			for _, id := range c.ends {
				sendAll(t, lookup(t, sup, id), endNormal)
				synctest.Wait()
			}
			if got := !sup.Ref().Alive(); got != c.want {
				t.Errorf("%v, %v ended: stopped %v", c.auto, c.ends, got)
			}
		})
	}
}

// SUP-8: Decide looks at a failure first; Resume keeps what the child has.
func TestDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		var s starts
		c := s.child("a", supervisor.Temporary)
		var resumable atomic.Bool
		c.Decide = func(f supervisor.Failure) supervisor.Decision {
			resumable.Store(f.Resumable)
			switch f.Reason.Kind {
			case actor.ReasonError:
				return supervisor.Resume
			case actor.ReasonPanic:
				return supervisor.Again
			case actor.ReasonKilled:
				return supervisor.Escalate
			case actor.ReasonShutdown:
				panic("in Decide")
			}
			return supervisor.ByClass
		}
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{c}})
		a := lookup(t, sup, "a")
		sendAll(t, a, 1, 1, endError)
		if v, err := actor.Call[*num](t.Context(), a, &num{}); err != nil || v.Value != 3 || !resumable.Load() {
			t.Errorf("resumed: %v, %v", v, err)
		}
		sendAll(t, a, endPanic)
		if v, err := actor.Call[*num](t.Context(), a, &num{}); err != nil || v.Value != 1 {
			t.Errorf("restarted: %v, %v", v, err)
		}
		sendAll(t, a, endKilled)
		var escalated *supervisor.EscalatedError
		if r := ended(t, sup); !errors.As(r.Err, &escalated) || escalated.Child != "a" || escalated.Reason.Kind != actor.ReasonKilled {
			t.Errorf("ended with %v", r)
		}
		sup = start(t, sys, supervisor.Spec{Children: []supervisor.Child{c}})
		sendAll(t, lookup(t, sup, "a"), endShutdown)
		synctest.Wait()
		if infos, err := sup.Children(t.Context()); err != nil || len(infos) != 0 {
			t.Errorf("a Decide that panics leaves it to the class: %+v, %v", infos, err)
		}
	})
}

// SUP-9: a start that fails, panics, or takes too long is an error that says so, and what had been started before is stopped again.
func TestStartFails(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		start supervisor.Starter
		want  error
	}{
		"error":          {supervisor.Actor(actor.StatefulFrom(func(*actor.Context) (*int64, error) { return nil, boom }, worker)), boom},
		"panic":          {supervisor.Actor(actor.StatefulFrom(func(*actor.Context) (*int64, error) { panic(boom) }, worker)), boom},
		"hangs":          {supervisor.Actor(actor.StatefulFrom(func(ctx *actor.Context) (*int64, error) { return nil, ctx.Sleep(time.Hour) }, worker)), supervisor.ErrStartTimeout},
		"ends":           {supervisor.Actor(actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error { return boom }), actor.Options{AwaitReady: true}), boom},
		"foreign error":  {supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) { return actor.AnyRef{}, boom }), boom},
		"foreign panic":  {supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) { panic(boom) }), nil},
		"foreign zero":   {supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) { return actor.AnyRef{}, nil }), actor.ErrNoActor},
		"nil behaviour":  {supervisor.Actor(actor.Behaviour[*num]{}), actor.ErrNilBehaviour},
		"nil func":       {supervisor.Func(nil), actor.ErrNilBehaviour},
		"a tree's child": {supervisor.Tree(supervisor.Spec{Children: []supervisor.Child{{ID: "x", Start: supervisor.Func(nil)}}}), actor.ErrNilBehaviour},
		"name taken":     {supervisor.Actor(actor.Stateful(worker), actor.Options{Name: "taken"}), actor.ErrNameTaken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys := actortest.New(t)
				var s starts
				first := s.child("first", supervisor.Permanent)
				first.Start = supervisor.Actor(actor.Stateful(worker), actor.Options{Name: "taken"})
				bad := supervisor.Child{ID: "bad", Start: c.start, StartTimeout: time.Minute}
				_, err := supervisor.Start(t.Context(), sys, supervisor.Spec{Children: []supervisor.Child{first, bad}})
				var failed *supervisor.StartError
				if !errors.As(err, &failed) || failed.Child != "bad" || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				synctest.Wait()
				if _, alive := sys.Lookup("taken"); alive {
					t.Error("what was started before lives on")
				}
				sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{first}})
				if _, err := sup.Add(t.Context(), bad); !errors.As(err, &failed) {
					t.Errorf("add: %v", err)
				}
				if infos, err := sup.Children(t.Context()); err != nil || len(infos) != 1 || infos[0].Status != supervisor.Running {
					t.Errorf("the tree does not stand: %+v, %v", infos, err)
				}
			})
		})
	}
}

// SUP-10: children are asked to stop, last first, and killed when they do not in time; one that cannot be killed ends the supervisor with
// an error that names it.
func TestShutdownLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		var tr transcript
		deaf := supervisor.Actor(actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
			for {
				clean, done := ctx.Cleanup(time.Hour)
				var never actor.Event
				_ = never.Wait(clean)
				done()
			}
		}))
		kids := []supervisor.Child{
			{ID: "a", Start: deaf, Shutdown: 3 * time.Second}, {ID: "b", Start: deaf, Shutdown: supervisor.KillAtOnce},
			{ID: "c", Start: supervisor.Func(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })},
		}
		sup := start(t, sys, supervisor.Spec{Children: kids, Observe: tr.observe})
		synctest.Wait() // one that has not begun to run has nothing to clean up
		began := time.Now()
		if err := sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began).Round(time.Millisecond); d != 3*time.Second {
			t.Errorf("stopped after %v", d)
		}
		want := "  started a\n  started b\n  started c\n  stopped c: shutdown\n  stopped b: killed\n  stopped a: killed\n"
		if got := tr.text(); got != want {
			t.Errorf("transcript:\n%s", got)
		}
	})
}

// SUP-11: a plain function is a child like any other: restarted when it returns, fails or panics; its context ends when it is to stop.
func TestFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		var runs, stopped atomic.Int32
		f := supervisor.Func(func(ctx context.Context) error {
			switch runs.Add(1) {
			case 1:
				return nil
			case 2:
				return errors.New("an error")
			case 3:
				panic("a panic")
			}
			<-ctx.Done()
			time.Sleep(time.Second)
			stopped.Add(1)
			return ctx.Err()
		})
		sup := start(t, sys, supervisor.Spec{Intensity: 3, Children: []supervisor.Child{{ID: "f", Start: f}}})
		synctest.Wait()
		if runs.Load() != 4 {
			t.Errorf("ran %d times", runs.Load())
		}
		if err := sup.Stop(t.Context()); err != nil || stopped.Load() != 1 {
			t.Errorf("stop: %v, waited for it: %v", err, stopped.Load() == 1)
		}
	})
}

// SUP-12: a child that lives elsewhere is monitored, and started anew when it has ended.
func TestForeignChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, elsewhere := actortest.New(t), actortest.New(t)
		var refs []actor.Ref[*num]
		far := supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) {
			ref, err := actor.Spawn(elsewhere, actor.Stateful(worker))
			refs = append(refs, ref)
			return ref.AnyRef, err
		})
		var s starts
		sup := start(t, sys, supervisor.Spec{Strategy: supervisor.OneForAll, Intensity: 5, Children: []supervisor.Child{{ID: "far", Start: far}, s.child("near", supervisor.Permanent)}})
		sendAll(t, refs[0], endPanic)
		synctest.Wait()
		sendAll(t, lookup(t, sup, "near"), endPanic)
		synctest.Wait()
		if len(refs) != 3 || refs[1].Alive() || lookup(t, sup, "far") != refs[2] || s.of("near") != 3 {
			t.Errorf("%d far ones, near started %d times", len(refs), s.of("near"))
		}
		if err := sup.Stop(t.Context()); err != nil || refs[2].Alive() {
			t.Errorf("stop: %v; the far one is alive: %v", err, refs[2].Alive())
		}
	})
}

// SUP-13: a spec with something wrong in it starts nothing, and the error says what.
func TestBadSpecs(t *testing.T) {
	sys := actortest.New(t)
	ok := supervisor.Actor(actor.Stateful(worker))
	kids := func(c ...supervisor.Child) supervisor.Spec { return supervisor.Spec{Children: c} }
	cyclic := kids(supervisor.Child{ID: "a", Start: ok}, supervisor.Child{ID: "b", Start: ok})
	cyclic.Children[1].Start = supervisor.Tree(cyclic)
	for name, spec := range map[string]supervisor.Spec{
		"strategy": {Strategy: 9}, "period": {Period: -1}, "auto": {AutoShutdown: 9}, "cyclic": cyclic,
		"no ID": kids(supervisor.Child{Start: ok}), "twice": kids(supervisor.Child{ID: "a", Start: ok}, supervisor.Child{ID: "a", Start: ok}),
		"no start": kids(supervisor.Child{ID: "a"}), "class": kids(supervisor.Child{ID: "a", Start: ok, Restart: 9}),
		"shutdown":      kids(supervisor.Child{ID: "a", Start: ok, Shutdown: -3}),
		"significant":   kids(supervisor.Child{ID: "a", Start: ok, Restart: supervisor.Transient, Significant: true}),
		"permanent":     {AutoShutdown: supervisor.AnySignificant, Children: []supervisor.Child{{ID: "a", Start: ok, Significant: true}}},
		"backoff":       kids(supervisor.Child{ID: "a", Start: ok, Backoff: supervisor.Backoff{Min: 2, Max: 1}}),
		"factor":        kids(supervisor.Child{ID: "a", Start: ok, Backoff: supervisor.Backoff{Factor: 0.5}}),
		"jitter":        kids(supervisor.Child{ID: "a", Start: ok, Backoff: supervisor.Backoff{Jitter: 2}}),
		"in a tree":     kids(supervisor.Child{ID: "a", Start: supervisor.Tree(supervisor.Spec{Period: -1})}),
		"two templates": {Strategy: supervisor.Dynamic, Children: []supervisor.Child{{Start: ok}, {Start: ok}}},
	} {
		if sup, err := supervisor.Start(t.Context(), sys, spec); err == nil {
			t.Errorf("%s: started %v", name, sup.Ref())
		}
	}
	var zero supervisor.Supervisor
	_, err := zero.Children(t.Context())
	wantErr(t, "zero", err, actor.ErrNoActor)
	wantErr(t, "zero", zero.Stop(t.Context()), actor.ErrNoActor)
	sup := start(t, sys, kids(supervisor.Child{ID: "a", Start: ok}))
	wantErr(t, "unknown", sup.Terminate(t.Context(), "x"), supervisor.ErrNoChild)
	_, err = sup.Spawn(t.Context(), ok)
	wantErr(t, "spawn", err, supervisor.ErrDynamic)
}
