package remote_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/supervisor"
)

// watchedTree is a supervisor whose events are kept.
type watchedTree struct {
	sup    supervisor.Supervisor
	events chan supervisor.Event
}

func startTree(t *testing.T, n *remote.Node, spec supervisor.Spec) *watchedTree {
	t.Helper()
	w := &watchedTree{events: make(chan supervisor.Event, 100)}
	spec.Observe = func(e supervisor.Event) { w.events <- e }
	var err error
	if w.sup, err = supervisor.Start(t.Context(), n.System(), spec); err != nil {
		t.Fatal(err)
	}
	return w
}

// next waits for the next event of that kind.
func (w *watchedTree) next(kind supervisor.EventKind) supervisor.Event {
	for e := range w.events {
		if e.Kind == kind {
			return e
		}
	}
	panic("no more events")
}

// A child on another node is restarted where it is when it ends, on another node when its own is down, and ends with its supervisor (RCI-7).
func TestChildMoves(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		nodes := []string{"beta", "gamma", "delta"}
		for _, name := range nodes {
			registerEcho(t, w.nodes[name], "echo")
		}
		tree := startTree(t, w.nodes["alpha"], supervisor.Spec{Intensity: 10, Children: []supervisor.Child{{
			ID: "e", Start: supervisor.StartFunc(remote.Child(w.nodes["alpha"], remote.ByKey("e"), "echo", wrapperspb.String("!"))),
		}}})
		at := func(e supervisor.Event) (actor.Ref[*text], string) {
			ref := actor.Ref[*text]{AnyRef: e.Ref}
			for _, name := range nodes {
				if w.nodes[name].System().NodeID() == ref.Node() {
					if got := asks(t, ref, "x"); got != name+"!:x" {
						t.Errorf("%s", got)
					}
					return ref, name
				}
			}
			t.Fatalf("nobody has %v", ref)
			return ref, ""
		}
		ref, home := at(tree.next(supervisor.Started))
		for _, m := range []string{"fail", "panic", "value:v"} {
			if err := ref.Send(t.Context(), wrapperspb.String(m)); err != nil {
				t.Error(err)
			}
			e := tree.next(supervisor.Ended)
			if want := map[string]actor.ReasonKind{"fail": actor.ReasonError, "panic": actor.ReasonPanic}[m]; e.Ref != ref.Any() || e.Reason.Kind != want {
				t.Errorf("%s: %v of %v, want %v of %v", m, e.Reason, e.Ref, want, ref)
			}
			next, there := at(tree.next(supervisor.Started))
			if there != home || next == ref {
				t.Errorf("it moved from %s to %s without need", home, there)
			}
			ref = next
		}
		for len(nodes) > 1 {
			w.net.Kill(home + ":1")
			if e := tree.next(supervisor.Ended); e.Reason.Kind != actor.ReasonNodeDown {
				t.Errorf("%v", e.Reason)
			}
			nodes = slices.DeleteFunc(nodes, func(s string) bool { return s == home })
			ref, home = at(tree.next(supervisor.Started))
		}
		if err := tree.sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if e := tree.next(supervisor.Stopped); e.Reason.Kind != actor.ReasonShutdown {
			t.Errorf("%v", e.Reason)
		}
		if _, err := ref.Wait(t.Context()); err != nil || w.nodes[home].Running("alpha") != 0 {
			t.Errorf("%v, %d", err, w.nodes[home].Running("alpha"))
		}
	}, "alpha", "beta", "gamma", "delta")
}

// A transient child that ends normally, however early, is not started again (RCI-7).
func TestChildEndsEarly(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		if err := remote.RegisterFunc(w.nodes["beta"], "brief", func(*actor.Context, *text) (*text, error) { return wrapperspb.String("v"), nil }); err != nil {
			t.Fatal(err)
		}
		tree := startTree(t, w.nodes["alpha"], supervisor.Spec{Children: []supervisor.Child{{
			ID: "b", Restart: supervisor.Transient, Start: supervisor.StartFunc(remote.Child(w.nodes["alpha"], remote.Any(), "brief", nil)),
		}}})
		if e := tree.next(supervisor.Ended); e.Reason.Kind != actor.ReasonNormal {
			t.Errorf("%v", e.Reason)
		}
		tree.next(supervisor.GivenUp)
	}, "alpha", "beta")
}

// A child that does not stop is killed in time; one whose start fails is a failed start; with its supervisor killed it ends as well (RCI-7).
func TestChildIsStopped(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		b := w.nodes["beta"]
		registerEcho(t, b, "echo")
		if err := remote.Register(b, "stubborn", func(remote.Origin, *text) (actor.Behaviour[*text], error) {
			return actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
				clean, done := ctx.Cleanup(time.Hour)
				defer done()
				var never actor.Event
				return never.Wait(clean)
			}), nil
		}); err != nil {
			t.Fatal(err)
		}
		child := func(name string) supervisor.Child {
			return supervisor.Child{ID: name, Shutdown: time.Second, Start: supervisor.StartFunc(remote.Child(w.nodes["alpha"], remote.Any(), name, nil))}
		}
		tree := startTree(t, w.nodes["alpha"], supervisor.Spec{Children: []supervisor.Child{child("stubborn")}})
		before := time.Now()
		if err := tree.sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(before); took < time.Second || took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if e := tree.next(supervisor.Stopped); e.Reason.Kind != actor.ReasonKilled {
			t.Errorf("%v", e.Reason)
		}
		_, err := supervisor.Start(t.Context(), w.nodes["alpha"].System(), supervisor.Spec{Children: []supervisor.Child{child("nobody")}})
		if !errors.Is(err, remote.ErrUnregistered) {
			t.Errorf("%v", err)
		}
		tree = startTree(t, w.nodes["alpha"], supervisor.Spec{Children: []supervisor.Child{child("echo")}})
		tree.next(supervisor.Started)
		tree.sup.Ref().Kill()
		pass(time.Second)
		if n := b.Running("alpha"); n != 0 {
			t.Errorf("%d run, and their supervisor was killed", n)
		}
		// A supervisor that is killed and restarted in place, with a child of its own elsewhere.
		inner := startTree(t, w.nodes["alpha"], supervisor.Spec{Children: []supervisor.Child{{
			ID: "inner", Start: supervisor.Tree(supervisor.Spec{Name: "inner", Children: []supervisor.Child{child("echo")}}),
		}}})
		for i := range 3 {
			inner.next(supervisor.Started)
			pass(time.Second)
			if n := b.Running("alpha"); n != 1 {
				t.Errorf("incarnation %d: %d run", i, n)
			}
			ref, ok := w.nodes["alpha"].System().Lookup("inner")
			if !ok {
				t.Fatal("no inner supervisor")
			}
			pass(10 * time.Second) // for Intensity
			if i < 2 {
				ref.Kill()
			}
		}
		synctest.Wait()
	}, "alpha", "beta")
}

// Ten supervised children spread over three nodes, of which two go down one after the other: in the end all live on the last.
func TestChildrenGather(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		var children []supervisor.Child
		for _, name := range []string{"beta", "gamma", "delta"} {
			registerEcho(t, w.nodes[name], "echo")
		}
		for i := range 10 {
			key := fmt.Sprint("child-", i)
			children = append(children, supervisor.Child{
				ID: key, Start: supervisor.StartFunc(remote.Child(w.nodes["alpha"], remote.ByKey(key), "echo", nil)), Backoff: supervisor.Backoff{Min: time.Second},
			})
		}
		startTree(t, w.nodes["alpha"], supervisor.Spec{Intensity: 100, Children: children})
		for _, name := range []string{"beta", "gamma"} {
			if w.nodes[name].Running("alpha") == 0 {
				t.Errorf("%s has none", name)
			}
			w.net.Kill(name + ":1")
			pass(time.Minute)
		}
		if n := w.nodes["delta"].Running("alpha"); n != 10 {
			t.Errorf("%d run on delta", n)
		}
	}, "alpha", "beta", "gamma", "delta")
}
