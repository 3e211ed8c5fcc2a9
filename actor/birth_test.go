package actor_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
)

// An actor that is watched from birth tells how it ended, however early that was; before anybody can find that it has.
func TestSpawnWatched(t *testing.T) {
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Close() }()
	broken := errors.New("broken")
	got := make(chan actor.Down, 1)
	ref, err := actor.SpawnWatched(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
		return errors.Join(ctx.SetValue(1), broken)
	}), func(d actor.Down) { got <- d })
	if err != nil {
		t.Fatal(err)
	}
	if d := <-got; d.Ref != ref.Any() || !errors.Is(d.Reason.Err, broken) || d.Value != 1 {
		t.Errorf("%+v", d)
	}
	if _, err := actor.SpawnWatched(sys, actor.Handler(func(*actor.Context, proto.Message) error { return nil }), nil); err == nil {
		t.Error("watched by nobody")
	}
	if _, err := actor.SpawnWatched(sys, actor.Behaviour[proto.Message]{}, func(actor.Down) {}); !errors.Is(err, actor.ErrNilBehaviour) {
		t.Errorf("%v", err)
	}
}

// A monitor may be older than the actor: it tells of its end once it is known who it is, unless it is forgotten or given up.
func TestExpect(t *testing.T) {
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Close() }()
	adapt := func(d actor.Down) proto.Message { return wrapperspb.String(d.Reason.String()) }
	watcher := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
		born := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, proto.Message) error { return nil }))
		list := make([]*actor.Expected, 3)
		for i := range list {
			var err error
			if list[i], err = actor.Expect(ctx, adapt); err != nil {
				return err
			}
		}
		down := actor.Down{Ref: born.Any(), Reason: actor.Reason{Kind: actor.ReasonNodeDown}}
		list[0].Forget(ctx)
		list[0].Down(down)
		if err := ctx.Demonitor(list[1].Born(ctx, born.Any())); err != nil {
			return err
		}
		list[1].Down(down)
		list[2].Born(ctx, born.Any())
		list[2].Down(down)
		if err := ctx.Self().Send(ctx, wrapperspb.String("last")); err != nil {
			return err
		}
		for _, want := range []string{"node_down", "last"} {
			m, err := in.Receive(ctx)
			if err != nil {
				return err
			}
			if got := m.(*wrapperspb.StringValue).GetValue(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if _, err := actor.Expect[proto.Message](ctx, nil); err == nil {
			t.Error("without an adapter")
		}
		return nil
	}))
	if _, err := watcher.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := actor.Expect(nil, adapt); !errors.Is(err, actor.ErrNilContext) {
		t.Errorf("%v", err)
	}
}
