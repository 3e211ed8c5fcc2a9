package actor_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
)

type num = wrapperspb.Int64Value

func newSystem(t testing.TB, o ...actor.SystemOptions) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := sys.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if l := sys.Ledger(); !l.Balanced() || !l.Exact {
			t.Errorf("ledger: %v", l)
		}
	})
	return sys
}

func TestHandlersPingPong(t *testing.T) {
	sys := newSystem(t)
	done := make(chan struct{})
	const rounds = 10000
	var a, b actor.Ref[*num]
	play := func(peer *actor.Ref[*num]) actor.Behaviour[*num] {
		return actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == rounds {
				close(done)
				return nil
			}
			return peer.Send(ctx, &num{Value: m.Value + 1})
		})
	}
	a = actor.MustSpawn(sys, play(&b))
	b = actor.MustSpawn(sys, play(&a))
	if err := a.Send(context.Background(), &num{}); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestRoutinesPingPong(t *testing.T) {
	sys := newSystem(t)
	const rounds = 10000
	var b actor.Ref[*num]
	a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		for m := range in.All() {
			if m.Value >= rounds {
				return ctx.SetValue(m.Value)
			}
			if err := b.Send(ctx, &num{Value: m.Value + 1}); err != nil {
				return err
			}
		}
		return nil
	}))
	b = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		for m := range in.All() {
			if err := a.Send(ctx, m); err != nil {
				return nil
			}
		}
		return nil
	}))
	if err := a.Send(context.Background(), &num{}); err != nil {
		t.Fatal(err)
	}
	v, err := a.Wait(context.Background())
	if v != int64(rounds) || err != nil {
		t.Fatalf("wait: %v, %v", v, err)
	}
}

func TestCalls(t *testing.T) {
	sys := newSystem(t)
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if m.Value < 0 {
			panic("negative")
		}
		return ctx.Reply(&num{Value: m.Value * 2})
	}))
	outer := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		r, err := actor.Call[*num](ctx, echo, m)
		if err != nil {
			return ctx.Fail(err)
		}
		return ctx.Reply(r)
	}))
	for i := range int64(1000) {
		r, err := actor.Call[*num](context.Background(), outer, &num{Value: i})
		if err != nil || r.Value != 2*i {
			t.Fatalf("call %d: %v, %v", i, r, err)
		}
	}
	_, err := actor.Call[*num](context.Background(), outer, &num{Value: -1})
	var exit *actor.ExitError
	if !errors.As(err, &exit) || exit.Reason.Kind != actor.ReasonPanic {
		t.Fatalf("call of one that panics: %v", err)
	}
}

func TestManyPairs(t *testing.T) {
	sys := newSystem(t)
	var left atomic.Int64
	done := make(chan struct{})
	const pairs, rounds = 200, 200
	left.Store(pairs)
	for range pairs {
		refs := make([]actor.Ref[*num], 2)
		for i := range refs {
			refs[i] = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == rounds {
					if left.Add(-1) == 0 {
						close(done)
					}
					return nil
				}
				return refs[1-i].Send(ctx, &num{Value: m.Value + 1})
			}))
		}
		_ = refs[0].Send(context.Background(), &num{})
	}
	<-done
}

func TestSleepAndKill(t *testing.T) {
	sys := newSystem(t)
	cleaned := make(chan error, 1)
	a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		defer func() { cleaned <- ctx.Sleep(time.Hour) }()
		return ctx.Sleep(time.Hour)
	}))
	b := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		return ctx.Sleep(5 * time.Millisecond)
	}))
	if _, err := b.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.Kill()
	_, err := a.Wait(context.Background())
	var exit *actor.ExitError
	if !errors.As(err, &exit) || exit.Reason.Kind != actor.ReasonKilled {
		t.Fatalf("killed: %v", err)
	}
	if err := <-cleaned; !errors.Is(err, actor.ErrKilled) {
		t.Fatalf("wait of a killed actor: %v", err)
	}
}

func TestDeadlockIsFound(t *testing.T) {
	sys := newSystem(t)
	var a, b actor.Ref[*num]
	relay := func(to *actor.Ref[*num]) actor.Behaviour[*num] {
		return actor.Handler(func(ctx *actor.Context, m *num) error {
			r, err := actor.Call[*num](ctx, *to, m)
			if err != nil {
				return ctx.Fail(err)
			}
			return ctx.Reply(r)
		})
	}
	a = actor.MustSpawn(sys, relay(&b))
	b = actor.MustSpawn(sys, relay(&a))
	_, err := actor.Call[*num](context.Background(), a, &num{})
	var dead *actor.DeadlockError
	if !errors.As(err, &dead) || len(dead.Path) != 3 {
		t.Fatalf("cycle: %v", err)
	}
}

func TestBlockedActorsDoNotHoldOthersUp(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 2})
	release := make(chan struct{})
	for range 20 {
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			return ctx.Block(func() { <-release })
		}))
	}
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
	for i := range int64(100) {
		if _, err := actor.Call[*num](context.Background(), echo, &num{Value: i}); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
}

func TestSpinnersDoNotHoldOthersUp(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 2})
	var stop atomic.Bool
	for range 4 {
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for !stop.Load() {
			}
			return nil
		}))
	}
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
	for i := range int64(100) {
		if _, err := actor.Call[*num](context.Background(), echo, &num{Value: i}); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
}
