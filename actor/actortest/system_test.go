package actortest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

type number = benchv1.Number

func num(v int64) *number { return &number{Value: v} }

// fakeTB is a test that may fail without failing this one.
type fakeTB struct {
	testing.TB
	said     strings.Builder
	cleanups []func()
}

func (f *fakeTB) Helper()                   {}
func (f *fakeTB) Cleanup(g func())          { f.cleanups = append(f.cleanups, g) }
func (f *fakeTB) Errorf(s string, a ...any) { fmt.Fprintf(&f.said, s+"\n", a...) }
func (f *fakeTB) Fatalf(s string, a ...any) {
	f.Errorf(s, a...)
	runtime.Goexit()
}

// try runs f as a test of its own and returns what it complained about.
func try(f func(t testing.TB)) string {
	fake := new(fakeTB)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			for _, g := range fake.cleanups {
				g()
			}
		}()
		f(fake)
	}()
	<-ended
	return fake.said.String()
}

func TestNewFails(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	for _, c := range []struct {
		name string
		f    func(t testing.TB)
		want string
	}{
		{"clean", func(t testing.TB) { New(t) }, ""},
		{"options", func(t testing.TB) { New(t, actor.SystemOptions{Workers: -1}) }, "start a System"},
		{"stuck", func(t testing.TB) {
			sys := New(t, actor.SystemOptions{Grace: time.Millisecond})
			started := make(chan struct{})
			actor.MustSpawn(sys, actor.Routine(func(*actor.Context, *actor.Inbox[*number]) error {
				close(started)
				<-stuck
				return nil
			}))
			<-started
		}, "1 actors did not end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := try(c.f)
			if (said == "") != (c.want == "") || !strings.Contains(said, c.want) {
				t.Errorf("New said %q, want %q", said, c.want)
			}
		})
	}
}

func TestLeftovers(t *testing.T) {
	for _, c := range []struct {
		stacks float64
		ledger actor.Ledger
		want   string
	}{
		{0, actor.Ledger{Sent: 3, Handled: 1, Dead: 1, Dropped: 1, Exact: true}, ""},
		{2, actor.Ledger{Exact: true}, "2 stacks"},
		{0, actor.Ledger{Sent: 1, Queued: 1, Exact: true}, "queued"},
		{0, actor.Ledger{Sent: 1, Exact: true}, "does not add up"},
		{0, actor.Ledger{}, "does not add up"},
	} {
		got := leftovers(c.stacks, c.ledger)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v stacks, %v: %q, want %q", c.stacks, c.ledger, got, c.want)
		}
	}
}

// While actors live their stacks are counted, so that those that are left over would be seen.
func TestCarriersAreCounted(t *testing.T) {
	sys := New(t)
	waits := make(chan struct{})
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*number]) error {
		close(waits)
		return ctx.Sleep(time.Hour)
	}))
	<-waits
	if n := carriers(sys); n < 1 {
		t.Errorf("%v stacks while an actor waits", n)
	}
}

// SEED-5: a whole System fits into a bubble: without a seed too, with several workers and the watchdog.
func TestSystemInABubble(t *testing.T) {
	for _, o := range []actor.SystemOptions{{}, {Workers: 3}, {Seed: 7}} {
		t.Run(fmt.Sprintf("workers=%d seed=%d", o.Workers, o.Seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { liveALittle(t, New(t, o)) })
		})
	}
}

// liveALittle uses every way to wait, for hours.
func liveALittle(t *testing.T, sys *actor.System) {
	t.Helper()
	start := time.Now()
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *number) error {
		if err := ctx.Sleep(time.Hour); err != nil {
			return err
		}
		return ctx.Reply(m)
	}))
	sleepers := make([]actor.Ref[*number], 20)
	for i := range sleepers {
		sleepers[i] = actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*number]) error {
			if _, err := actor.SendAfter(ctx, 30*time.Minute, echo, num(0)); err != nil {
				return err
			}
			if err := ctx.Offload(ctx, func() error { <-time.After(time.Second); return nil }); err != nil {
				return err
			}
			if err := ctx.Block(func() { <-time.After(10 * time.Millisecond) }); err != nil {
				return err
			}
			return ctx.Sleep(time.Hour)
		}))
	}
	actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *number) error { return nil }))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	if r, err := actor.Call[*number](ctx, echo, num(3)); err != nil || r.Value != 3 {
		t.Errorf("call: %v, %v", r, err)
	}
	for _, s := range sleepers {
		if _, err := s.Wait(ctx); err != nil {
			t.Errorf("a sleeper: %v", err)
		}
	}
	if d := time.Since(start); d < time.Hour || d > 100*time.Hour {
		t.Errorf("%v passed", d)
	}
}
