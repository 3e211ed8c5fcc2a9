package registry

import (
	"testing"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

// GROUP-1: a group that nobody is in, and nobody watches, leaves nothing behind.
func TestEmptyGroupsGo(t *testing.T) {
	sys := actortest.New(t)
	reg := Of(sys)
	spawn := func(start func(ctx *actor.Context) error) actor.AnyRef {
		return actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *benchv1.Number) error { return nil }), actor.Options{OnStart: start}).AnyRef
	}
	want := func(when string, n int) {
		if got := reg.groups.Size(); got != n {
			t.Errorf("%s: %d groups, want %d", when, got, n)
		}
	}
	stays, ends := spawn(nil), spawn(nil)
	watching := make(chan error)
	watcher := spawn(func(ctx *actor.Context) error {
		_, err := WatchGroup(ctx, reg, "watched", func(GroupEvent) *benchv1.Number { return new(benchv1.Number) })
		watching <- err
		return err
	})
	if err := <-watching; err != nil {
		t.Fatal(err)
	}
	for _, r := range []actor.AnyRef{stays, ends} {
		if err := reg.Join("left", r); err != nil {
			t.Error(err)
		}
		if err := reg.Join("ended", ends); err != nil {
			t.Error(err)
		}
	}
	_ = reg.Leave("nothing", stays)
	_ = reg.Members("nothing")
	want("members and a watcher", 3)
	ends.Kill()
	_, _ = ends.Wait(t.Context())
	want("a member has ended", 2)
	_ = reg.Leave("left", stays)
	want("a member has left", 1)
	_ = reg.Join("nothing", ends)
	want("nobody could join", 1)
	watcher.Kill()
	_, _ = watcher.Wait(t.Context())
	want("the watcher has ended", 0)
}
