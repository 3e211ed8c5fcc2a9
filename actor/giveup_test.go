package actor_test

import (
	"context"
	"errors"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

// A caller who gives up does not end a handler that returns what Reply says.
func TestReplyToOneWhoGaveUpDoesNotEndTheCallee(t *testing.T) {
	sys := newSystem(t)
	gaveUp := make(chan struct{})
	taken := make(chan struct{}, 2)
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		taken <- struct{}{}
		if m.Value == 1 {
			<-gaveUp
		}
		return ctx.Reply(m)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-taken; cancel() }()
	if _, err := actor.Call[*num](ctx, echo, &num{Value: 1}); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled call: %v", err)
	}
	close(gaveUp)
	if r, err := actor.Call[*num](context.Background(), echo, &num{Value: 2}); err != nil || r.Value != 2 {
		t.Fatalf("next call: %v, %v", r, err)
	}
	if n := sys.Ledger().ByReason[actor.DeadLateReply]; n > 1 {
		t.Fatalf("late replies: %d", n)
	}
}

// A zero Timer has nothing to cancel.
func TestZeroTimerCancels(t *testing.T) {
	var none *actor.Timer
	if none.Cancel() || new(actor.Timer).Cancel() {
		t.Fatal("a timer that was never started was cancelled")
	}
}
