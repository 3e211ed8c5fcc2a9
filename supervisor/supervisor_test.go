package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

// SUP-2: children start in order, each when the one before it has started; one that fails takes those before it down again, last first,
// and Start returns why. Stop goes the other way.
func TestStartAndStopOrder(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		var order []string // touched in turns that follow each other
		slow := func(id string, err error) supervisor.Child {
			return supervisor.Child{ID: id, Start: supervisor.Actor(worker(), actor.Options{
				OnStart: func(ctx *actor.Context) error {
					order = append(order, "start "+id)
					if err := ctx.Sleep(time.Second); err != nil {
						return err
					}
					order = append(order, "started "+id)
					return err
				},
				OnExit: func(ctx *actor.Context, _ actor.Reason) {
					clean, done := ctx.Cleanup(time.Minute)
					defer done()
					var never actor.Event
					bounded, cancel := context.WithTimeout(clean, time.Second)
					defer cancel()
					_ = never.Wait(bounded)
					order = append(order, "stopped "+id)
				},
			})}
		}
		_, err := supervisor.Start(t.Context(), sys, supervisor.Spec{Children: []supervisor.Child{slow("a", nil), slow("b", nil), slow("c", errBroken), slow("d", nil)}})
		var failed *supervisor.StartError
		if !errors.As(err, &failed) || failed.Child != "c" || !errors.Is(err, errBroken) {
			t.Errorf("start: %v", err)
		}
		settled(t, sys)
		want := "start a, started a, start b, started b, start c, started c, stopped c, stopped b, stopped a"
		if got := strings.Join(order, ", "); got != want {
			t.Errorf("order: %s\n want: %s", got, want)
		}
		order = nil
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{slow("a", nil), slow("b", nil)}})
		if err := sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		want = "start a, started a, start b, started b, stopped b, stopped a"
		if got := strings.Join(order, ", "); got != want {
			t.Errorf("order: %s\n want: %s", got, want)
		}
	})
}

// SUP-3: one restart more than the intensity allows in the period ends the supervisor with an error that carries child, number, window
// and the last reason; 0 means OTP's 1 in 5 s, a negative intensity allows none.
func TestIntensity(t *testing.T) {
	for _, c := range []struct {
		intensity, allowed int
	}{{0, 1}, {-1, 0}, {3, 3}} {
		bubble(t, func(t *testing.T, sys *actor.System) {
			sup := start(t, sys, supervisor.Spec{Intensity: c.intensity, Children: []supervisor.Child{child("a", supervisor.Permanent)}})
			ref := lookup(t, sup, "a")
			for range c.allowed {
				end(t.Context(), ref, "panic")
				if told(t, ref) != 1 {
					t.Error("the state is not fresh")
				}
			}
			end(t.Context(), ref, "error")
			var limit *supervisor.RestartLimitError
			why := ended(t, sup.Ref())
			if !errors.As(why.Err, &limit) || limit.Child != "a" || limit.Restarts != c.allowed+1 || limit.Window != 5*time.Second || !errors.Is(limit, errBroken) {
				t.Errorf("intensity %d: the supervisor ended with %v", c.intensity, why)
			}
			if ref.Alive() {
				t.Error("the child is alive")
			}
		})
	}
}

// SUP-4: a restart keeps ref, name, mailbox, monitors and links; the message that failed is a dead letter, once, its caller gets an
// *ExitError at once, and the others are handled by the next incarnation with fresh state.
func TestRestartIsNoDeath(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup := start(t, sys, supervisor.Spec{Intensity: 5, Children: []supervisor.Child{{
			ID: "a", Start: supervisor.Actor(worker(), actor.Options{Name: "the a"}), Backoff: supervisor.Backoff{Min: time.Second},
		}}})
		ref := lookup(t, sup, "a")
		downs := actortest.NewProbe[*text](t, sys)
		watcher := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*text]) error {
			if _, err := actor.Monitor(ctx, ref, func(actor.Down) *text { return wrapperspb.String("down") }); err != nil {
				return err
			}
			for m := range in.All() {
				if err := downs.Ref().Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}))
		linked := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*text]) error {
			if err := ctx.Link(ref); err != nil {
				return err
			}
			_, err := in.Receive(ctx)
			return err
		}))
		settled(t, sys)
		before := time.Now()
		_, err := actor.Call[*text](t.Context(), actor.Ref[*text]{AnyRef: ref}, wrapperspb.String("panic"))
		var exit *actor.ExitError
		// worker replies before it panics, so the call of one that does not
		if err == nil || errors.As(err, &exit) {
			t.Errorf("the first call: %v", err)
		}
		for range 3 {
			if err := ref.Send(t.Context(), wrapperspb.String("hello")); err != nil {
				t.Error(err)
			}
		}
		settled(t, sys)
		if d := time.Since(before); d > 500*time.Millisecond {
			t.Errorf("that took %v", d)
		}
		if found, ok := sys.Lookup("the a"); !ok || found != ref {
			t.Errorf("the name finds %v, %v", found, ok)
		}
		if n := told(t, ref); n != 4 {
			t.Errorf("the next incarnation was told %d times, want 3 and this one", n)
		}
		letters := 0
		for _, l := range sys.DeadLetters() {
			if l.To == ref {
				letters++
			}
		}
		if letters != 1 {
			t.Errorf("%d dead letters, want the one message that failed", letters)
		}
		if !linked.Alive() || len(downs.Received()) != 0 {
			t.Error("a restart was told to who monitors or is linked")
		}
		if err := sup.Terminate(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if ref.Alive() {
			t.Error("alive after Terminate")
		}
		if _, ok := sys.Lookup("the a"); ok {
			t.Error("the name is not free after Terminate")
		}
		downs.ExpectFunc("down", func(m *text) bool { return m.Value == "down" })
		if why := ended(t, linked.AnyRef); !why.Normal() { // a shutdown is passed on as such
			t.Errorf("the linked actor ended with %v", why)
		}
		watcher.Stop()
	})
}

// SUP-4: callers of the message that failed and of those behind it.
func TestCallersOfAChildThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{{ID: "a", Start: supervisor.Actor(actor.Handler(func(ctx *actor.Context, m *text) error {
			if err := obey(ctx, m.Value); err != nil {
				return err
			}
			return ctx.Reply(m)
		})), Backoff: supervisor.Backoff{Min: time.Second}}}})
		ref, err := supervisor.Ref[*text](t.Context(), sup, "a")
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		_, err = actor.Call[*text](t.Context(), ref, wrapperspb.String("panic"))
		var exit *actor.ExitError
		if !errors.As(err, &exit) || exit.Reason.Kind != actor.ReasonPanic || time.Since(before) > time.Millisecond {
			t.Errorf("after %v: %v", time.Since(before), err)
		}
		if m, err := actor.Call[*text](t.Context(), ref, wrapperspb.String("hello")); err != nil || m.Value != "hello" || time.Since(before) < time.Second {
			t.Errorf("after %v: %v, %v", time.Since(before), m, err)
		}
	})
}

// SUP-4: state that a child keeps by choice.
func TestStateIsHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		type state struct{ n int64 }
		b := actor.Persistent(func(_ *actor.Context, kept *state) (*state, error) {
			if kept != nil {
				return kept, nil
			}
			return &state{}, nil
		}, func(ctx *actor.Context, s *state, m *text) error {
			s.n++
			if ctx.IsCall() {
				return ctx.Reply(wrapperspb.Int64(s.n))
			}
			return obey(ctx, m.Value)
		}, func(s *state) (*state, error) { return s, nil })
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{{ID: "a", Start: supervisor.Actor(b)}}})
		ref := lookup(t, sup, "a")
		end(t.Context(), ref, "panic")
		if n := told(t, ref); n != 2 {
			t.Errorf("told %d times, want 2: one before the restart", n)
		}
	})
}

// SUP-7: Decide looks at the reason; an actor that is resumed keeps its state.
func TestDecide(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		var seen []supervisor.Failure
		c := child("a", supervisor.Permanent)
		c.Decide = func(f supervisor.Failure) supervisor.Decision {
			seen = append(seen, f)
			switch {
			case errors.Is(f.Reason.Err, errBroken) && f.Resumable:
				return supervisor.Resume
			case f.Reason.Kind == actor.ReasonKilled:
				return supervisor.Escalate
			}
			return supervisor.ByClass
		}
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{c}})
		ref := lookup(t, sup, "a")
		end(t.Context(), ref, "error")
		if n := told(t, ref); n != 2 {
			t.Errorf("after a resume it was told %d times, want 2", n)
		}
		end(t.Context(), ref, "panic")
		if n := told(t, ref); n != 1 {
			t.Errorf("after a restart it was told %d times, want 1", n)
		}
		ref.Kill()
		var escalated *supervisor.EscalatedError
		if why := ended(t, sup.Ref()); !errors.As(why.Err, &escalated) || escalated.Child != "a" || escalated.Reason.Kind != actor.ReasonKilled {
			t.Errorf("the supervisor ended with %v", why)
		}
		if len(seen) != 3 || !seen[0].Resumable || seen[2].Resumable || seen[2].Incarnation != 2 || seen[2].Restarts != 1 {
			t.Errorf("Decide saw %+v", seen)
		}
	})
}

// SUP-6: a child restarts after its backoff, which grows, is spread by jitter, and begins again after a calm time.
func TestBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		var delays []time.Duration
		c := child("a", supervisor.Permanent)
		c.Backoff = supervisor.Backoff{Min: time.Second, Max: 5 * time.Second, Jitter: 0.5}
		sup := start(t, sys, supervisor.Spec{Intensity: 100, Children: []supervisor.Child{c}, Observe: func(e supervisor.Event) {
			if e.Kind == supervisor.Restarting {
				delays = append(delays, e.Delay)
			}
		}})
		ref := lookup(t, sup, "a")
		for range 5 {
			end(t.Context(), ref, "panic")
			told(t, ref) // waits until it runs again
		}
		pass(5 * time.Second)
		end(t.Context(), ref, "panic")
		told(t, ref)
		for i, seconds := range []int{1, 2, 4, 5, 5, 1} {
			full := time.Duration(seconds) * time.Second
			if i >= len(delays) || delays[i] > full || delays[i] < full/2 {
				t.Fatalf("delays %v: number %d should be from %v to %v", delays, i, full/2, full)
			}
		}
		if slices.Contains(delays, time.Second) && slices.Contains(delays, 2*time.Second) {
			t.Errorf("no jitter in %v", delays)
		}
	})
}

// SUP-10: a child that goes on when it is to stop is killed after its Shutdown, at once with KillAtOnce, and never with NoLimit.
func TestShutdown(t *testing.T) {
	for _, c := range []struct{ shutdown, want time.Duration }{
		{0, 5 * time.Second}, {2 * time.Second, 2 * time.Second}, {supervisor.KillAtOnce, 0}, {supervisor.NoLimit, time.Hour},
	} {
		bubble(t, func(t *testing.T, sys *actor.System) {
			sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{{ID: "a", Shutdown: c.shutdown, Start: supervisor.Actor(worker(), actor.Options{
				OnExit: func(ctx *actor.Context, _ actor.Reason) {
					clean, done := ctx.Cleanup(time.Hour)
					defer done()
					var never actor.Event
					_ = never.Wait(clean)
				},
			})}}})
			before := time.Now()
			if err := sup.Terminate(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			if took := time.Since(before).Round(time.Millisecond); took != c.want {
				t.Errorf("shutdown %v took %v", c.shutdown, took)
			}
			if _, err := sup.Restart(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			if err := sup.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(before).Round(time.Millisecond); took != 2*c.want {
				t.Errorf("both took %v", took)
			}
		})
	}
}

// SUP-10: a child whose code neither waits nor returns is given up on after a while: the supervisor and its caller go on, and when the
// child ends after all it is not started again.
func TestStuckChild(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		stuck := make(chan struct{})
		c := supervisor.Child{ID: "a", Start: supervisor.Actor(actor.Handler(func(ctx *actor.Context, _ *text) error {
			return ctx.Block(func() { <-stuck })
		}))}
		tr := &trace{}
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{c, child("b", supervisor.Permanent)}, Observe: tr.observe})
		ref := lookup(t, sup, "a")
		end(t.Context(), ref, "hello")
		settledBut(t, sys)
		err := sup.Terminate(t.Context(), "a")
		var left *supervisor.StuckError
		if !errors.As(err, &left) || left.Child != "a" || left.Ref != ref {
			t.Errorf("terminate: %v", err)
		}
		told(t, lookup(t, sup, "b"))
		close(stuck)
		settled(t, sys)
		if ref.Alive() || statuses(t, sup)["a"] != supervisor.Gone || tr.count(supervisor.Restarting) != 0 {
			t.Errorf("alive %v, children %v", ref.Alive(), statuses(t, sup))
		}
	})
}

// SUP-11: a plain function is a child like any other: restarted by its class, stopped by its context, waited for.
func TestFunc(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		runs, ended := make(chan int, 10), make(chan string, 10)
		n := 0
		f := func(ctx context.Context) error {
			n++
			runs <- n
			switch n {
			case 1:
				return errBroken
			case 2:
				panic("boom")
			}
			<-ctx.Done()
			<-time.After(time.Second)
			ended <- "in good order"
			return ctx.Err()
		}
		sup := start(t, sys, supervisor.Spec{Intensity: 2, Children: []supervisor.Child{{ID: "f", Restart: supervisor.Transient, Start: supervisor.Func(f)}}})
		for want := range 3 {
			if got := <-runs; got != want+1 {
				t.Errorf("run %d, want %d", got, want+1)
			}
		}
		ref := lookup(t, sup, "f")
		if err := ref.Interrupt(errBroken); err != nil { // means nothing to a function
			t.Error(err)
		}
		settledBut(t, sys)
		if statuses(t, sup)["f"] != supervisor.Running || len(runs) != 0 {
			t.Error("an interrupt ended it")
		}
		before := time.Now()
		if err := sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if len(ended) != 1 || time.Since(before) < time.Second {
			t.Errorf("stopped after %v without waiting for the function", time.Since(before))
		}
	})
}

// settledBut lets others go first where an Offload keeps the System from being quiet.
func settledBut(t *testing.T, sys *actor.System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_ = sys.Quiesce(ctx)
}

// SUP-11: a function that ignores its context is left behind after its Shutdown.
func TestFuncThatIgnoresItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		running, release := make(chan struct{}), make(chan struct{})
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{{ID: "f", Shutdown: time.Second, Start: supervisor.Func(func(context.Context) error {
			close(running)
			<-release
			return nil
		})}}})
		<-running // a stop that overtakes its first turn has nothing to wait for
		before := time.Now()
		if err := sup.Stop(t.Context()); err != nil || time.Since(before).Round(time.Millisecond) != time.Second {
			t.Errorf("stop: %v after %v", err, time.Since(before))
		}
		close(release)
	})
}

// SUP-12: children of another System, by the Starter seam: monitored, started again with a new ref, and stopped from here.
func TestChildrenInAnotherSystem(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		there := actortest.New(t)
		starts := 0
		elsewhere := supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) {
			if starts++; starts == 2 {
				return actor.AnyRef{}, errBroken // the other side is away for a moment
			}
			ref, err := actor.Spawn(there, worker())
			return ref.AnyRef, err
		})
		for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
			starts = 0
			tr := &trace{}
			sup := start(t, sys, supervisor.Spec{Strategy: strategy, Intensity: 5, Observe: tr.observe, Children: []supervisor.Child{
				{ID: "remote", Start: elsewhere, Restart: supervisor.Transient}, child("local", supervisor.Permanent),
			}})
			first, local := lookup(t, sup, "remote"), lookup(t, sup, "local")
			tr.take()
			end(t.Context(), first, "panic")
			settled(t, there)
			settled(t, sys)
			want := []string{"ended remote", "restarting remote", "start_failed remote", "restarting remote", "started remote"}
			if strategy != supervisor.OneForOne {
				want = []string{"ended remote", "stopped local", "restarting remote", "start_failed remote", "restarting remote", "started remote", "started local"}
			}
			if diff := cmp.Diff(want, tr.take()); diff != "" {
				t.Errorf("%v (-want +got):\n%s", strategy, diff)
			}
			second := lookup(t, sup, "remote")
			if second == first || first.Alive() || told(t, second) != 1 || lookup(t, sup, "local") != local {
				t.Errorf("%v: refs %v and %v", strategy, first, second)
			}
			end(t.Context(), local, "error")
			settled(t, there)
			settled(t, sys)
			third := lookup(t, sup, "remote")
			if same := third == second; same != (strategy != supervisor.OneForAll) {
				t.Errorf("%v: the remote child's ref is the same after a sibling's restart: %v", strategy, same)
			}
			end(t.Context(), third, "normal")
			settled(t, there)
			settled(t, sys)
			if statuses(t, sup)["remote"] != supervisor.Gone {
				t.Errorf("%v: %v", strategy, statuses(t, sup))
			}
			fourth, err := sup.Restart(t.Context(), "remote")
			if err != nil {
				t.Error(err)
			}
			if err := sup.Stop(t.Context()); err != nil || fourth.Alive() {
				t.Errorf("%v: stop: %v, alive: %v", strategy, err, fourth.Alive())
			}
		}
	})
}

// nested is three supervisors deep: top has mid, mid has low, low has the leaves a and b.
func nested(intensity int, leaves ...supervisor.Child) supervisor.Spec {
	low := supervisor.Spec{Intensity: intensity, Children: leaves}
	mid := supervisor.Spec{Intensity: intensity, Children: []supervisor.Child{{ID: "low", Start: supervisor.Tree(low)}}}
	return supervisor.Spec{Intensity: intensity, Children: []supervisor.Child{{ID: "mid", Start: supervisor.Tree(mid)}}}
}

// descend finds low in a nested tree.
func descend(t *testing.T, top supervisor.Supervisor) supervisor.Supervisor {
	t.Helper()
	for _, id := range []string{"mid", "low"} {
		below, err := top.Tree(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		top = below
	}
	return top
}

// SUP-13: what a supervisor cannot mend it hands to its parent, which restarts it as it does any child: with the same ref, its children
// anew; at the top the tree ends with the whole story in its error.
func TestEscalation(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		top := start(t, sys, nested(1, child("a", supervisor.Permanent), child("b", supervisor.Permanent)))
		mid, err := top.Tree(t.Context(), "mid")
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n < 8; n++ { // each second failure goes one level up, each fourth two
			low := descend(t, top)
			first := lookup(t, low, "a")
			end(t.Context(), first, "panic")
			settled(t, sys)
			again := descend(t, top)
			second := lookup(t, again, "a")
			if (n%2 != 0) != (second == first) || (n%4 != 0) != (low == again) {
				t.Errorf("failure %d: supervisors %v and %v, children %v and %v", n, low, again, first, second)
			}
			if now, err := top.Tree(t.Context(), "mid"); err != nil || now != mid {
				t.Errorf("failure %d: the supervisor has another ref: %v", n, err)
			}
		}
		low := descend(t, top)
		end(t.Context(), lookup(t, low, "a"), "error")
		why := ended(t, top.Ref())
		for _, child := range []string{"mid", "low", "a"} {
			var limit *supervisor.RestartLimitError
			if !errors.As(why.Err, &limit) || limit.Child != child {
				t.Fatalf("%v, want a limit reached by %s", why, child)
			}
			why = limit.Last
		}
		if !errors.Is(why.Err, errBroken) {
			t.Errorf("at the bottom: %v", why)
		}
	})
}

// SUP-13: a supervisor that is killed from outside takes its children along and is restarted with new ones; Tree specs keep what was
// configured, not what was added.
func TestSupervisorKilled(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		top := start(t, sys, nested(5, child("a", supervisor.Permanent)))
		low := descend(t, top)
		added, err := low.Add(t.Context(), child("added", supervisor.Permanent))
		if err != nil {
			t.Fatal(err)
		}
		first := lookup(t, low, "a")
		low.Ref().Kill()
		settled(t, sys)
		second := lookup(t, low, "a")
		if second == first || first.Alive() || added.Alive() || !second.Alive() {
			t.Errorf("refs %v and %v", first, second)
		}
		if _, err := low.Lookup(t.Context(), "added"); !errors.Is(err, supervisor.ErrNoChild) {
			t.Errorf("the child that was added: %v", err)
		}
		top.Ref().Kill()
		if why := ended(t, top.Ref()); why.Kind != actor.ReasonKilled || second.Alive() || low.Ref().Alive() {
			t.Errorf("the top ended with %v", why)
		}
	})
}

// SUP-13: a kill of a supervisor leaves alone what another Starter has started, and the next incarnation starts another one. A stop stops it.
func TestForeignChildrenOutliveAKill(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		elsewhere := supervisor.StartFunc(func(*actor.Context) (actor.AnyRef, error) {
			ref, err := actor.Spawn(sys, worker())
			return ref.AnyRef, err
		})
		tree := supervisor.Tree(supervisor.Spec{Children: []supervisor.Child{{ID: "foreign", Start: elsewhere}}})
		top := start(t, sys, supervisor.Spec{Children: []supervisor.Child{{ID: "tree", Start: tree}}})
		low, err := top.Tree(t.Context(), "tree")
		if err != nil {
			t.Fatal(err)
		}
		first := lookup(t, low, "foreign")
		low.Ref().Kill()
		settled(t, sys)
		second := lookup(t, low, "foreign")
		if err := top.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if second == first || !first.Alive() || second.Alive() {
			t.Errorf("%v, alive: %v, and %v, alive: %v", first, first.Alive(), second, second.Alive())
		}
		first.Stop()
	})
}

// SUP-9: a dynamic supervisor has any number of children, with arguments of their own if need be, counts them, and forgets those that end.
func TestDynamic(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup := start(t, sys, supervisor.Spec{Strategy: supervisor.Dynamic, Intensity: 1000, Children: []supervisor.Child{child("w", supervisor.Transient)}})
		const n = 1000
		refs := make([]actor.AnyRef, n)
		for i := range refs {
			var own supervisor.Starter
			if i%2 == 0 {
				own = supervisor.Actor(worker(), actor.Options{Name: fmt.Sprintf("worker %d", i)})
			}
			ref, err := sup.Spawn(t.Context(), own)
			if err != nil {
				t.Fatal(err)
			}
			refs[i] = ref
		}
		for i, ref := range refs {
			switch i % 3 {
			case 0:
				end(t.Context(), ref, "normal")
			case 1:
				end(t.Context(), ref, "panic")
			}
		}
		settled(t, sys)
		alive := 0
		for i, ref := range refs {
			if ref.Alive() != (i%3 != 0) {
				t.Fatalf("child %d: alive is %v", i, ref.Alive())
			}
			if ref.Alive() {
				alive++
			}
		}
		count, err := sup.Count(t.Context())
		if want := (supervisor.Counts{Specs: 1, Active: alive, Workers: alive}); err != nil || count != want {
			t.Errorf("%+v, %v, want %+v", count, err, want)
		}
		if err := sup.TerminateRef(t.Context(), refs[1]); err != nil || refs[1].Alive() {
			t.Errorf("terminate: %v, alive: %v", err, refs[1].Alive())
		}
		if err := sup.TerminateRef(t.Context(), refs[1]); !errors.Is(err, supervisor.ErrNoChild) {
			t.Errorf("terminate again: %v", err)
		}
		if ref, err := sup.Spawn(t.Context(), supervisor.Actor(worker(), actor.Options{Name: "worker 0"})); err != nil || !ref.Alive() {
			t.Errorf("a name that is free again: %v", err)
		}
		if err := sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		for _, ref := range refs {
			if ref.Alive() {
				t.Fatal("alive after Stop")
			}
		}
	})
}

// SUP-9: dynamic children whose restart fails, and waits, are counted once.
func TestDynamicStartsThatFail(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		starts := 0
		c := supervisor.Child{ID: "w", Backoff: supervisor.Backoff{Min: time.Second}, Start: supervisor.Actor(worker(), actor.Options{OnStart: func(*actor.Context) error {
			if starts++; starts == 3 || starts == 4 {
				return errBroken
			}
			return nil
		}})}
		sup := start(t, sys, supervisor.Spec{Strategy: supervisor.Dynamic, Intensity: 10, Children: []supervisor.Child{c}})
		var refs []actor.AnyRef
		for range 2 {
			ref, err := sup.Spawn(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		active := func(want int) {
			t.Helper()
			settled(t, sys)
			if n, err := sup.Count(t.Context()); err != nil || n.Active != want || n.Workers != 2 {
				t.Errorf("%+v, %v, want %d active of 2", n, err, want)
			}
		}
		active(2)
		end(t.Context(), refs[0], "panic")
		active(1)
		pass(1500 * time.Millisecond)
		active(1)
		told(t, refs[0])
		active(2)
		if starts != 5 {
			t.Errorf("%d starts", starts)
		}
	})
}

// SUP-9: dynamic children that do not stop in time are killed, all at once.
func TestDynamicShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		c := supervisor.Child{ID: "w", Shutdown: 3 * time.Second, Start: supervisor.Actor(worker(), actor.Options{OnExit: func(ctx *actor.Context, _ actor.Reason) {
			clean, done := ctx.Cleanup(time.Hour)
			defer done()
			var never actor.Event
			_ = never.Wait(clean)
		}})}
		sup := start(t, sys, supervisor.Spec{Strategy: supervisor.Dynamic, Children: []supervisor.Child{c}})
		for range 10 {
			if _, err := sup.Spawn(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		before := time.Now()
		if err := sup.Stop(t.Context()); err != nil || time.Since(before).Round(time.Millisecond) != 3*time.Second {
			t.Errorf("stop: %v after %v", err, time.Since(before))
		}
	})
}

// SUP-8: what is asked of a supervisor answers also where it has to wait for a child.
func TestRequestsThatWait(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		slow := supervisor.Child{ID: "slow", Restart: supervisor.Temporary, Start: supervisor.Actor(worker(), actor.Options{
			OnStart: func(ctx *actor.Context) error { return ctx.Sleep(time.Second) },
		})}
		sup := start(t, sys, supervisor.Spec{})
		ref, err := sup.Add(t.Context(), slow)
		if err != nil {
			t.Fatalf("add: %v", err)
		}
		if found, err := supervisor.Ref[*text](t.Context(), sup, "slow"); err != nil || found.AnyRef != ref {
			t.Errorf("ref: %v, %v", found, err)
		}
		if _, err := supervisor.Ref[*num](t.Context(), sup, "slow"); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("ref of another type: %v", err)
		}
		if err := ref.Interrupt(errBroken); err != nil {
			t.Error(err)
		}
		if err := sup.Terminate(t.Context(), "slow"); err != nil {
			t.Errorf("terminate: %v", err)
		}
		if ref.Alive() {
			t.Error("alive after Terminate")
		}
		if _, err := sup.Add(t.Context(), slow); err != nil {
			t.Errorf("an ID that is free again: %v", err)
		}
	})
}

// SUP-3 SUP-6: a child that fails beside one whose restart takes it along is not restarted for itself: it waits with the other.
func TestTwoFailAtOnce(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForAll, supervisor.RestForOne} {
		bubble(t, func(t *testing.T, sys *actor.System) {
			a := child("a", supervisor.Permanent)
			a.Backoff.Min = time.Second
			tr := &trace{}
			sup := start(t, sys, supervisor.Spec{Strategy: strategy, Children: []supervisor.Child{a, child("b", supervisor.Permanent)}, Observe: tr.observe})
			refs := []actor.AnyRef{lookup(t, sup, "a"), lookup(t, sup, "b")}
			added, busy := make(chan error), make(chan struct{}, 2)
			go func() { // keeps the supervisor busy
				_, err := sup.Add(t.Context(), supervisor.Child{ID: "slow", Start: supervisor.Actor(worker(), actor.Options{
					OnStart: func(ctx *actor.Context) error { busy <- struct{}{}; return ctx.Sleep(time.Second) },
				})})
				added <- err
			}()
			<-busy
			tr.take()
			for _, ref := range refs {
				end(t.Context(), ref, "panic")
				settled(t, sys)
			}
			if err := <-added; err != nil {
				t.Fatal(err)
			}
			pass(10 * time.Second)
			settled(t, sys)
			want := []string{"started slow", "ended a", "stopped slow", "restarting a", "started a", "started b", "started slow"}
			if diff := cmp.Diff(want, tr.take()); diff != "" {
				t.Errorf("%v (-want +got):\n%s", strategy, diff)
			}
			for _, ref := range refs {
				told(t, ref)
			}
		})
	}
}

// SUP-8: a child that is gone and would be started along with a sibling may be deleted while that waits.
func TestDeleteOneThatWaitsForASibling(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		a := child("a", supervisor.Permanent)
		a.Backoff.Min = time.Second
		b := supervisor.Child{ID: "b", Start: supervisor.Actor(worker(), actor.Options{Name: "the b"})}
		sup := start(t, sys, supervisor.Spec{Strategy: supervisor.OneForAll, Children: []supervisor.Child{a, b}})
		if err := sup.Terminate(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		ref := lookup(t, sup, "a")
		end(t.Context(), ref, "panic")
		settled(t, sys)
		if err := sup.Delete(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		told(t, ref)
		if _, lives := sys.Lookup("the b"); lives {
			t.Error("it was started")
		}
	})
}

// SUP-18: between the failure and the decision the child handles nothing; a swap, a stop and questions to its supervisor are dealt with.
func TestNothingIsHandledInBetween(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		c := child("a", supervisor.Permanent)
		c.Backoff.Min = time.Hour
		c.Restart = supervisor.Transient
		sup := start(t, sys, supervisor.Spec{Children: []supervisor.Child{c}})
		ref, err := supervisor.Ref[*text](t.Context(), sup, "a")
		if err != nil {
			t.Fatal(err)
		}
		end(t.Context(), ref.AnyRef, "panic")
		settled(t, sys)
		handled := sys.Ledger().Handled
		for range 10 {
			if err := ref.Send(t.Context(), wrapperspb.String("hello")); err != nil {
				t.Error(err)
			}
		}
		settled(t, sys)
		if now := sys.Ledger().Handled; now != handled {
			t.Errorf("%d messages were handled", now-handled)
		}
		infos, err := sup.Children(t.Context())
		if err != nil || infos[0].Status != supervisor.Waiting || infos[0].Last.Kind != actor.ReasonPanic {
			t.Errorf("%+v, %v", infos, err)
		}
		n := 0
		err = actor.Swap(t.Context(), ref, actor.Handler(func(*actor.Context, *text) error { n++; return nil }))
		if err != nil {
			t.Errorf("swap: %v", err)
		}
		pass(2 * time.Hour)
		settled(t, sys)
		if n != 10 {
			t.Errorf("the behaviour that was swapped in got %d messages", n)
		}
		end(t.Context(), ref.AnyRef, "killed")
		settled(t, sys)
		if err := sup.Stop(t.Context()); err != nil || ref.Alive() {
			t.Errorf("stop in the backoff: %v, alive: %v", err, ref.Alive())
		}
	})
}

// SUP-14: neither an interrupt nor a swap that is offered to a supervisor disturbs what it waits for.
func TestSupervisorIsNotDisturbed(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		slow := func(id string) supervisor.Child {
			return supervisor.Child{ID: id, Shutdown: time.Minute, Start: supervisor.Actor(worker(), actor.Options{
				OnStart: func(ctx *actor.Context) error { return ctx.Sleep(time.Second) },
				OnExit: func(ctx *actor.Context, _ actor.Reason) {
					clean, done := ctx.Cleanup(time.Second)
					defer done()
					var never actor.Event
					_ = never.Wait(clean)
				},
			})}
		}
		tr := &trace{}
		sup := start(t, sys, supervisor.Spec{Strategy: supervisor.OneForAll, Children: []supervisor.Child{slow("a"), slow("b")}, Observe: tr.observe})
		end(t.Context(), lookup(t, sup, "a"), "panic")
		own := actor.Ref[proto.Message]{AnyRef: sup.Ref()}
		for range 8 {
			if err := own.Interrupt(errBroken); err != nil {
				t.Fatal(err)
			}
			err := actor.Swap(t.Context(), own, actor.Routine(func(*actor.Context, *actor.Inbox[proto.Message]) error { return nil }))
			if _, ok := errors.AsType[*actor.VetoError](err); !ok {
				t.Errorf("swap of a supervisor: %v", err)
			}
			pass(500 * time.Millisecond)
		}
		if s := statuses(t, sup); s["a"] != supervisor.Running || s["b"] != supervisor.Running || tr.count(supervisor.Restarting) != 1 {
			t.Errorf("%v: %v", s, tr.take())
		}
	})
}

// SUP-14: a supervisor that is drained stops its children as one that is stopped does, also while it waits for a child to stop.
func TestDrainedSupervisor(t *testing.T) {
	for _, strategy := range strategies {
		for _, busy := range []bool{false, true} {
			bubble(t, func(t *testing.T, sys *actor.System) {
				ends := make(chan actor.ReasonKind, 2)
				slow := func(id string) supervisor.Child {
					return supervisor.Child{ID: id, Start: supervisor.Actor(worker(), actor.Options{OnExit: func(ctx *actor.Context, why actor.Reason) {
						clean, done := ctx.Cleanup(time.Second)
						defer done()
						var never actor.Event
						_ = never.Wait(clean)
						ends <- why.Kind
					}})}
				}
				spec := supervisor.Spec{Strategy: strategy, Children: []supervisor.Child{slow("a"), slow("b")}}
				if strategy == supervisor.Dynamic {
					spec.Children = spec.Children[:1]
				}
				sup := start(t, sys, spec)
				var one actor.AnyRef
				if strategy == supervisor.Dynamic {
					for range 2 {
						ref, err := sup.Spawn(t.Context(), nil)
						if err != nil {
							t.Fatal(err)
						}
						one = ref
					}
				}
				asked := make(chan error, 1)
				if busy {
					go func() {
						if strategy == supervisor.Dynamic {
							asked <- sup.TerminateRef(t.Context(), one)
							return
						}
						asked <- sup.Terminate(t.Context(), "b")
					}()
					pass(500 * time.Millisecond)
				}
				if err := sup.Ref().Drain(); err != nil {
					t.Fatal(err)
				}
				if why := ended(t, sup.Ref()); !why.Normal() {
					t.Errorf("%v: it ended with %v", strategy, why)
				}
				if busy {
					if err := <-asked; err != nil {
						t.Errorf("%v: terminate: %v", strategy, err)
					}
				}
				for range 2 {
					if kind := <-ends; kind != actor.ReasonShutdown {
						t.Errorf("%v, busy %v: a child ended with %v", strategy, busy, kind)
					}
				}
			})
		}
	}
}

// SUP-4: the value that a child left is what Wait returns when it is not restarted.
func TestValueOfAChild(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.System) {
		sup := start(t, sys, supervisor.Spec{})
		ref, err := sup.Add(t.Context(), supervisor.Child{ID: "a", Restart: supervisor.Temporary, Start: supervisor.Actor(actor.Handler(func(ctx *actor.Context, _ *text) error {
			ctx.Stop()
			return ctx.SetValue("its value")
		}))})
		if err != nil {
			t.Fatal(err)
		}
		end(t.Context(), ref, "hello")
		if v, err := ref.Wait(t.Context()); err != nil || v != "its value" {
			t.Errorf("%v, %v", v, err)
		}
	})
}
