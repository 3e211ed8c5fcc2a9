package actor_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

// What an actor takes has a name, which means the same on another node.
func TestTakes(t *testing.T) {
	sys := actortest.New(t)
	r := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *benchv1.Number) error { return nil }))
	if name, ok := r.Takes(); !ok || name != "greenroom.bench.v1.Number" {
		t.Errorf("it takes %q, %v", name, ok)
	}
	anything := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, proto.Message) error { return nil }))
	if name, ok := anything.Takes(); !ok || name != actor.MessageName[proto.Message]() || name == "" {
		t.Errorf("it takes %q, %v", name, ok)
	}
	if name := actor.MessageName[*dynamicpb.Message](); name != "" {
		t.Errorf("dynamic messages are called %q", name)
	}
	r.Kill()
	_, _ = r.Wait(t.Context())
	for _, gone := range []actor.AnyRef{r.AnyRef, {}} {
		if name, ok := gone.Takes(); ok || name != "" {
			t.Errorf("nobody takes %q", name)
		}
	}
}
