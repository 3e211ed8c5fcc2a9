package actor_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// BAD-1: Spawn after Stop is refused, with or without a parent.
func TestSpawnAfterStop(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 1)
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			got <- nil
			<-ctx.Done()
			_, err := actor.Spawn(ctx, idler())
			got <- err
			return nil
		}))
		_ = await(t, got)
		a.Stop()
		wantErr(t, "spawn by a stopping parent", await(t, got), actor.ErrStopped)
		if err := sys.Stop(patient(t)); err != nil {
			t.Fatal(err)
		}
		_, err := actor.Spawn(sys, idler())
		wantErr(t, "spawn after Stop", err, actor.ErrStopped)
	})
}

// BAD-2: a nil behaviour is refused wherever one is expected.
func TestNilBehaviour(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var none actor.Behaviour[*num]
		nils := []actor.Behaviour[*num]{
			none,
			actor.Handler[*num](nil),
			actor.Routine[*num](nil),
			actor.Stateful[int, *num](nil),
			actor.StatefulFrom(nil, func(*actor.Context, *int, *num) error { return nil }),
		}
		got := make(chan error, 2)
		for _, b := range nils {
			_, err := actor.Spawn(sys, b)
			wantErr(t, "spawn", err, actor.ErrNilBehaviour)
		}
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			got <- actor.Become(ctx, none)
			_, err := actor.Spawn(ctx, none)
			got <- err
			return nil
		}))
		tell(t, a, 1)
		wantErr(t, "become", await(t, got), actor.ErrNilBehaviour)
		wantErr(t, "spawn of a child", await(t, got), actor.ErrNilBehaviour)
	})
}

// BAD-3: options out of range are refused with a message that says which.
func TestNegativeLimits(t *testing.T) {
	for _, o := range []actor.SystemOptions{{Workers: -1}, {MaxSpare: -1}, {StuckAfter: -1}, {Grace: -1}, {Workers: 4097}, {Workers: 1 << 40}, {MaxSpare: 1 << 40}} {
		if _, err := actor.NewSystem(o); err == nil {
			t.Errorf("a System with %+v was made", o)
		}
	}
	if _, err := actor.NewSystem(actor.SystemOptions{}, actor.SystemOptions{}); err == nil {
		t.Error("a System with two sets of options was made")
	}
	sys := newSystem(t)
	priority := func(proto.Message) int { return 0 }
	for _, m := range []actor.Mailbox{
		{Capacity: -1},
		{Overflow: mailbox.DropOldest},
		{Capacity: 1, Overflow: 200},
		{Capacity: 1, Overflow: mailbox.Suspend, Priority: priority},
		{Capacity: -1, Priority: priority},
	} {
		if _, err := actor.Spawn(sys, idler(), actor.Options{Mailbox: m}); err == nil {
			t.Errorf("an actor with %+v was spawned", m)
		}
	}
	if _, err := actor.Spawn(sys, idler(), actor.Options{}, actor.Options{}); err == nil {
		t.Error("an actor with two sets of options was spawned")
	}
}

// LIFE-6: a name is unique among the living, and free again before anybody is told of the end.
func TestDuplicateName(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 1)
		watcher := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == -1 {
				_, err := actor.Spawn(sys, idler(), actor.Options{Name: "one"})
				got <- err
				return nil
			}
			r, _ := sys.Lookup("one")
			_, err := actor.Monitor(ctx, r, asNum)
			got <- err
			return nil
		}))
		first := actor.MustSpawn(sys, idler(), actor.Options{Name: "one"})
		_, err := actor.Spawn(sys, idler(), actor.Options{Name: "one"})
		wantErr(t, "second spawn", err, actor.ErrNameTaken)
		tell(t, watcher, 1)
		wantErr(t, "monitor", await(t, got), nil)
		first.Stop()
		wantErr(t, "spawn at the Down", await(t, got), nil)
		if r, ok := sys.Lookup("one"); !ok || r == first.AnyRef {
			t.Fatalf("lookup: %v, %v", r, ok)
		}
	})
}

// foreignUses tries everything that only an actor's own goroutine may do.
func foreignUses(ctx *actor.Context, in *actor.Inbox[*num], peer actor.Ref[*num]) map[string]error {
	uses := map[string]error{}
	uses["Sleep"] = ctx.Sleep(0)
	uses["Yield"] = ctx.Yield()
	_, uses["Receive"] = in.Receive(ctx)
	_, uses["Select"] = in.Select(ctx, func(*num) bool { return true })
	_, uses["Call"] = actor.Call[*num](ctx, peer, &num{})
	_, uses["Suspend"] = ctx.Suspend(ctx)
	_, uses["Wait"] = peer.Wait(ctx)
	uses["Reply"] = ctx.Reply(&num{})
	uses["Fail"] = ctx.Fail(errors.New("x"))
	_, uses["Responder"] = ctx.Responder()
	uses["Forward"] = actor.Forward(ctx, peer, &num{})
	_, uses["Spawn"] = actor.Spawn(ctx, idler())
	_, _, uses["SpawnMonitor"] = actor.SpawnMonitor(ctx, idler(), asNum)
	_, uses["Monitor"] = actor.Monitor(ctx, peer.AnyRef, asNum)
	uses["Demonitor"] = ctx.Demonitor(actor.MonitorRef{})
	uses["Link"] = ctx.Link(peer.AnyRef)
	uses["Unlink"] = ctx.Unlink(peer.AnyRef)
	uses["TrapExit"] = actor.TrapExit(ctx, asNum)
	uses["Become"] = actor.Become(ctx, idler())
	uses["Stash"] = ctx.Stash()
	uses["Unstash"] = ctx.Unstash()
	uses["SetValue"] = ctx.SetValue(1)
	uses["Block"] = ctx.Block(func() {})
	uses["Offload"] = ctx.Offload(ctx, func() error { return nil })
	_, uses["SendAfter"] = actor.SendAfter(ctx, 0, peer, &num{})
	_, uses["SendEvery"] = actor.SendEvery(ctx, time.Hour, peer, &num{})
	derived, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	_, uses["Receive under a derived context"] = in.Receive(derived)
	_, uses["Call under a derived context"] = actor.Call[*num](derived, peer, &num{})
	return uses
}

// BAD-4: from another goroutine nothing that acts as the actor works, and everything says why.
func TestForeignGoroutine(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		peer := actor.MustSpawn(sys, idler())
		got := make(chan map[string]error, 1)
		release := make(chan struct{})
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			go func() { got <- foreignUses(ctx, in, peer) }()
			return ctx.Block(func() { <-release })
		}))
		uses := await(t, got)
		close(release)
		for what, err := range uses {
			if !errors.Is(err, actor.ErrForeignGoroutine) {
				t.Errorf("%s from another goroutine: %v", what, err)
			}
		}
	})
}

// BAD-5: from another goroutine, Send with the actor's Context is safe.
func TestSendFromForeignGoroutine(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const senders, each = 8, 500
		var got atomic.Int64
		sink := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error {
			got.Add(1)
			return nil
		}))
		var all sync.WaitGroup
		all.Add(senders)
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for range senders {
				go func() {
					defer all.Done()
					for range each {
						_ = sink.Send(ctx, &num{})
						_ = ctx.Err()
					}
				}()
			}
			for i := range int64(each) {
				_ = sink.Send(ctx, &num{Value: i})
				_ = ctx.Yield()
			}
			return nil
		}))
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		all.Wait()
		settle(t, sys)
		if got.Load() != (senders+1)*each {
			t.Fatalf("%d messages arrived", got.Load())
		}
	})
}

// BAD-6: another actor gets nowhere with a Context that it was given.
func TestLeakedContext(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		peer := actor.MustSpawn(sys, idler())
		type loan struct {
			ctx *actor.Context
			in  *actor.Inbox[*num]
		}
		loans := make(chan loan, 1)
		owner := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			loans <- loan{ctx, in}
			return ctx.Sleep(time.Hour)
		}))
		l := await(t, loans)
		got := make(chan map[string]error, 1)
		thief := actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			uses := foreignUses(l.ctx, l.in, peer)
			_, uses["Receive from its inbox with an own context"] = l.in.Receive(ctx)
			_, uses["Suspend with an own context"] = l.ctx.Suspend(ctx)
			got <- uses
			return nil
		})
		settle(t, sys)
		actor.MustSpawn(sys, thief)
		for what, err := range await(t, got) {
			if !errors.Is(err, actor.ErrForeignGoroutine) {
				t.Errorf("%s by another actor: %v", what, err)
			}
		}
		owner.Stop()
		outcome(t, owner.AnyRef)
		actor.MustSpawn(sys, thief)
		for what, err := range await(t, got) {
			if !errors.Is(err, actor.ErrEnded) && !errors.Is(err, actor.ErrForeignGoroutine) {
				t.Errorf("%s by another actor after the end: %v", what, err)
			}
		}
	})
}

// BAD-7: a Context whose actor has ended answers ErrEnded, is Done, and still sends.
func TestContextAfterTheEnd(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		peer := actor.MustSpawn(sys, idler())
		var kept *actor.Context
		var inbox *actor.Inbox[*num]
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			kept, inbox = ctx, in
			return nil
		}))
		outcome(t, a.AnyRef)
		for what, err := range foreignUses(kept, inbox, peer) {
			if !errors.Is(err, actor.ErrEnded) {
				t.Errorf("%s after the end: %v", what, err)
			}
		}
		wantErr(t, "Err", kept.Err(), actor.ErrStopped)
		select {
		case <-kept.Done():
		default:
			t.Error("the Context of an ended actor is not done")
		}
		wantErr(t, "Send", peer.Send(kept, &num{}), nil)
		if kept.Self() != a.AnyRef || kept.Name() != "" || !kept.Parent().IsZero() || kept.Children() != nil {
			t.Error("an ended Context tells tales")
		}
	})
}

type typedError struct{ code int }

func (e *typedError) Error() string { return fmt.Sprint("code ", e.code) }

// LIFE-5: however a behaviour fails, it is that actor's exit reason and nothing else; the message in hand is a dead letter.
func TestFailures(t *testing.T) {
	failure := errors.New("failed")
	ways := map[string]struct {
		fail func(ctx *actor.Context) error
		kind actor.ReasonKind
		is   error
		dead actor.DeadReason
	}{
		"error":          {func(*actor.Context) error { return failure }, actor.ReasonError, failure, actor.DeadFailed},
		"panic":          {func(*actor.Context) error { panic("x") }, actor.ReasonPanic, nil, actor.DeadPanic},
		"panic error":    {func(*actor.Context) error { panic(failure) }, actor.ReasonPanic, failure, actor.DeadPanic},
		"panic typed":    {func(*actor.Context) error { panic(&typedError{7}) }, actor.ReasonPanic, nil, actor.DeadPanic},
		"panic nil":      {func(*actor.Context) error { panic(any(nil)) }, actor.ReasonPanic, nil, actor.DeadPanic}, //nolint:govet // on purpose
		"panic deferred": {func(*actor.Context) error { defer func() { panic("later") }(); return nil }, actor.ReasonPanic, nil, actor.DeadPanic},
		"panic replaced": {func(*actor.Context) error { defer func() { panic(failure) }(); panic("x") }, actor.ReasonPanic, failure, actor.DeadPanic},
		"panic in Block": {func(ctx *actor.Context) error { return ctx.Block(func() { panic(failure) }) }, actor.ReasonPanic, failure, actor.DeadPanic},
		"nil map":        {func(*actor.Context) error { var m map[int]int; m[1] = 1; return nil }, actor.ReasonPanic, nil, actor.DeadPanic}, //nolint:govet,staticcheck // on purpose
		"goexit":         {func(*actor.Context) error { runtime.Goexit(); return nil }, actor.ReasonError, actor.ErrGoexit, actor.DeadFailed},
		"goexit in Block": {func(ctx *actor.Context) error { return ctx.Block(runtime.Goexit) },
			actor.ReasonError, actor.ErrGoexit, actor.DeadFailed},
		"panic while going": {func(*actor.Context) error { defer func() { panic("x") }(); runtime.Goexit(); return nil },
			actor.ReasonError, actor.ErrGoexit, actor.DeadFailed},
		"panic after a wait": {func(ctx *actor.Context) error { _ = ctx.Sleep(time.Microsecond); panic(failure) },
			actor.ReasonPanic, failure, actor.DeadPanic},
		"goexit after a wait": {func(ctx *actor.Context) error { _ = ctx.Sleep(time.Microsecond); runtime.Goexit(); return nil },
			actor.ReasonError, actor.ErrGoexit, actor.DeadFailed},
		"offloaded panic": {func(ctx *actor.Context) error { return ctx.Offload(ctx, func() error { panic(failure) }) },
			actor.ReasonError, failure, actor.DeadFailed},
		"offloaded goexit": {func(ctx *actor.Context) error {
			return ctx.Offload(ctx, func() error { runtime.Goexit(); return nil })
		}, actor.ReasonError, actor.ErrGoexit, actor.DeadFailed},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				dead := deaths(t, sys)
				for _, b := range []actor.Behaviour[*num]{
					actor.Handler(func(ctx *actor.Context, m *num) error { return way.fail(ctx) }),
					actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						if _, err := in.Receive(ctx); err != nil {
							return err
						}
						return way.fail(ctx)
					}),
				} {
					a := actor.MustSpawn(sys, b)
					bystander := actor.MustSpawn(sys, idler())
					tell(t, a, 42)
					why := wantKind(t, a.AnyRef, way.kind)
					if way.is != nil && !errors.Is(why.Err, way.is) {
						t.Fatalf("ended with %v, want %v", why, way.is)
					}
					settle(t, sys)
					l := dead.all()
					last := l[len(l)-1]
					if last.Reason != way.dead || last.Message.(*num).Value != 42 || last.To != a.AnyRef {
						t.Fatalf("dead letter %v, want %v", last, way.dead)
					}
					tell(t, bystander, 1)
				}
			})
		})
	}
}

// LIFE-5: a panic keeps its value, its type and its stack.
func TestPanicKeepsItsValue(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { panic(&typedError{7}) }))
		tell(t, a, 1)
		why := wantKind(t, a.AnyRef, actor.ReasonPanic)
		var typed *typedError
		var p *actor.PanicError
		if !errors.As(why.Err, &typed) || typed.code != 7 {
			t.Fatalf("the typed error is lost: %v", why)
		}
		if !errors.As(why.Err, &p) || !containsAll(p.Stack(), "TestPanicKeepsItsValue", "badinput_test.go") {
			t.Fatalf("the stack does not name the place: %v", why)
		}
	})
}

// BAD-8: Goexit in OnStart ends the actor, Goexit by a killed actor's deferred function does not stop the kill.
func TestGoexitElsewhere(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for range 20 {
			a := actor.MustSpawn(sys, idler(), actor.Options{OnStart: func(*actor.Context) error { runtime.Goexit(); return nil }})
			wantErr(t, "OnStart", wantKind(t, a.AnyRef, actor.ReasonError).Err, actor.ErrGoexit)
			p := actor.MustSpawn(sys, idler(), actor.Options{OnStart: func(*actor.Context) error { panic("x") }})
			wantKind(t, p.AnyRef, actor.ReasonPanic)
			for _, last := range []func(){runtime.Goexit, func() { panic("x") }, func() {}} {
				k := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					defer last()
					return ctx.Sleep(time.Hour)
				}))
				settle(t, sys)
				k.Kill()
				wantKind(t, k.AnyRef, actor.ReasonKilled)
			}
		}
	})
}

// BAD-9: Send, Call and the rest answer for refs that are dead, zero, or of a System that has stopped.
func TestSendToNobody(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		other, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		gone := actor.MustSpawn(other, idler())
		if err := other.Stop(patient(t)); err != nil {
			t.Fatal(err)
		}
		dead := actor.MustSpawn(sys, hold())
		dead.Stop()
		outcome(t, dead.AnyRef)
		before := settle(t, sys)
		tries := func(ctx context.Context, ref actor.Ref[*num], want error) error {
			errs := map[string]error{"Send": ref.Send(ctx, &num{})}
			_, errs["Deliver"] = ref.Deliver(ctx, &num{})
			_, errs["Call"] = actor.Call[*num](ctx, ref, &num{})
			errs["untyped Send"] = ref.Any().Send(ctx, &num{})
			for what, err := range errs {
				if !errors.Is(err, want) {
					return fmt.Errorf("%s: %w, want %w", what, err, want)
				}
			}
			ref.Stop()
			ref.Kill()
			ref.Shutdown()
			if ref.Drain() == nil || ref.Interrupt(errors.New("x")) == nil || ref.Resume(1) == nil || ref.Alive() {
				return errors.New("a ref to nobody took a signal")
			}
			return nil
		}
		all := func(ctx context.Context) error {
			return errors.Join(tries(ctx, dead, actor.ErrStopped), tries(ctx, gone, actor.ErrStopped), tries(ctx, actor.Ref[*num]{}, actor.ErrNoActor))
		}
		if err := all(context.Background()); err != nil {
			t.Fatal(err)
		}
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { return all(ctx) }))
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		if after := settle(t, sys); after.Sent != before.Sent || after.Returned == before.Returned {
			t.Fatalf("before: %v; after: %v", before, after)
		}
	})
}

// LEDG-3: a queue of any length ends as dead letters when its actor is stopped, each counted.
func TestMillionsQueued(t *testing.T) {
	n := int64(10_000_000)
	if testing.Short() || raceEnabled {
		n = 1_000_000
	}
	sys := newSystem(t, actor.SystemOptions{Workers: 2})
	gate := make(chan struct{})
	a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Block(func() { <-gate }) }))
	var all sync.WaitGroup
	msg := &num{}
	for range 4 {
		all.Go(func() {
			for range n / 4 {
				_ = a.Send(context.Background(), msg)
			}
		})
	}
	all.Wait()
	a.Stop()
	close(gate)
	outcome(t, a.AnyRef)
	l := settle(t, sys)
	if l.Sent != uint64(n) || l.Handled != 1 || l.ByReason[actor.DeadStopped] != uint64(n-1) {
		t.Fatal(l)
	}
}

// BAD-10: waits inside Block are refused; sends are not.
func TestWaitInsideBlock(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		peer := actor.MustSpawn(sys, idler())
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			var err error
			_ = ctx.Block(func() {
				for what, got := range foreignUses(ctx, in, peer) {
					if !errors.Is(got, actor.ErrInBlock) {
						err = errors.Join(err, fmt.Errorf("%s: %w", what, got))
					}
				}
				err = errors.Join(err, peer.Send(ctx, &num{}))
			})
			return err
		}))
		_, why := outcome(t, a.AnyRef)
		if why.Kind != actor.ReasonNormal {
			t.Fatal(why)
		}
	})
}

// BAD-11: missing functions are refused where one is needed.
func TestMissingFunctions(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		peer := actor.MustSpawn(sys, idler())
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, e1 := actor.Monitor[*num](ctx, peer.AnyRef, nil)
			_, _, e2 := actor.SpawnMonitor[*num](ctx, idler(), nil)
			_, e3 := in.Select(ctx, nil)
			_, e4 := actor.Monitor(ctx, actor.AnyRef{}, asNum)
			_, e5 := actor.SendEvery(ctx, 0, peer, &num{})
			_, e6 := actor.SendAfter(ctx, 0, actor.Ref[*num]{}, &num{})
			e7 := ctx.Link(actor.AnyRef{})
			e8 := peer.Interrupt(nil)
			e9 := ctx.Reply(&num{})
			for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8, e9} {
				if err == nil {
					return fmt.Errorf("use %d was accepted", i+1)
				}
			}
			in.Categorize(nil)()
			return nil
		}))
		if _, why := outcome(t, a.AnyRef); why.Kind != actor.ReasonNormal {
			t.Fatal(why)
		}
		if _, err := sys.AtExit(0, nil); err == nil {
			t.Error("AtExit took nil")
		}
		defer sys.SubscribeDeadLetters(nil)()
	})
}

// BAD-13: a nil context is refused where it would be waited with, and so is a nil Spawner.
func TestNilContext(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var none context.Context
		a := actor.MustSpawn(sys, hold())
		wantErr(t, "send", a.Send(none, &num{}), nil)
		wantErr(t, "send with a nil *Context", a.Send((*actor.Context)(nil), &num{}), nil)
		errs := map[string]error{"Stop": sys.Stop(none), "Join": sys.Join(none), "Quiesce": sys.Quiesce(none)}
		_, errs["Call"] = actor.Call[*num](none, a, &num{})
		_, errs["Wait"] = a.Wait(none)
		_, errs["Spawn"] = actor.Spawn(nil, idler())
		var noSystem *actor.System
		var noActor *actor.Context
		_, errs["Spawn from a nil *System"] = actor.Spawn(noSystem, idler())
		_, errs["Spawn from a nil *Context"] = actor.Spawn(noActor, idler())
		_, errs["Spawn from a zero System"] = actor.Spawn(new(actor.System), idler())
		_, errs["Spawn from a zero Context"] = actor.Spawn(new(actor.Context), idler())
		_, _, errs["SpawnMonitor"] = actor.SpawnMonitor(noActor, idler(), asNum)
		_, errs["Call with a nil *Context"] = actor.Call[*num](noActor, a, &num{})
		_, errs["SendAfter"] = actor.SendAfter(noActor, 1, a, &num{})
		errs["RunScope"] = actor.RunScope(none, func(*actor.Scope) error { return nil })
		p := newPool(t, actor.PoolOptions{})
		_, errs["Submit"] = actor.Submit(none, p, func(context.Context) (int, error) { return 0, nil })
		errs["Close"] = p.Close(none)
		for what, err := range errs {
			if err == nil {
				t.Errorf("%s took nil", what)
			}
		}
		if !a.Alive() {
			t.Fatal("a refused Stop stopped")
		}
	})
}

// BAD-14: what only a constructor makes answers with an error, at once, where it is zero or nil, from goroutines and actors.
func TestZeroValues(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		uses := func(ctx context.Context) error {
			var errs []error
			refused := func(what string, err error) {
				if err == nil || errors.Is(err, context.DeadlineExceeded) {
					errs = append(errs, fmt.Errorf("%s: %v", what, err)) //nolint:errorlint // err may be nil
				}
			}
			for _, r := range []*actor.Router[*num]{nil, {}} {
				refused("Router.Send", r.Send(ctx, &num{}))
				_, err := r.Deliver(ctx, &num{})
				refused("Router.Deliver", err)
				_, err = actor.CallVia[*num](ctx, r, &num{})
				refused("CallVia", err)
				refused("Router.Resize", r.Resize(ctx, 2))
				if r.Stop(); r.Size() != 0 || len(r.Refs()) != 0 || !r.Ref().IsZero() {
					errs = append(errs, errors.New("a zero Router has routees"))
				}
			}
			job := func(context.Context) (int, error) { return 0, nil }
			for _, p := range []*actor.Pool{nil, {}} {
				_, err := actor.Submit(ctx, p, job)
				refused("Submit", err)
				_, err = actor.TrySubmit(ctx, p, job)
				refused("TrySubmit", err)
				_, err = actor.NewSerialDB(p, new(sql.DB))
				refused("NewSerialDB", err)
				refused("Pool.Close", p.Close(ctx))
				if p.Stats() != (actor.PoolStats{}) {
					errs = append(errs, errors.New("a zero Pool has counted"))
				}
			}
			for _, f := range []*actor.Future[int]{nil, {}} {
				f.Cancel()
				_, err := f.Wait(ctx)
				refused("Future.Wait", err)
				if f.Done() {
					errs = append(errs, errors.New("a zero Future is done"))
				}
			}
			for _, db := range []*actor.SerialDB{nil, {}} {
				_, err := db.Exec(ctx, "x")
				refused("SerialDB.Exec", err)
				_, err = actor.Query(ctx, db, func(*sql.Rows) (int, error) { return 0, nil }, "x")
				refused("Query", err)
				refused("SerialDB.Do", db.Do(ctx, func(context.Context, actor.SQLConn) error { return nil }))
				refused("SerialDB.Tx", db.Tx(ctx, nil, func(context.Context, *sql.Tx) error { return nil }))
			}
			for _, s := range []*actor.Scope{nil, {}} {
				if !s.Go(func(*actor.Context) error { return nil }).IsZero() {
					errs = append(errs, errors.New("a zero Scope has a child"))
				}
				refused("Scope.Context", s.Context().Err())
			}
			var timer *actor.Timer
			if timer.Cancel() || new(actor.Timer).Cancel() {
				errs = append(errs, errors.New("a zero Timer was to send"))
			}
			return errors.Join(errs...)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		wantErr(t, "from a goroutine", uses(ctx), nil)
		scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			bounded, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			return uses(bounded)
		})
	})
}

// BAD-3: sizes that no machine has are refused with an error that says which, before anything of that size is made.
func TestImmenseLimits(t *testing.T) {
	sys := newSystem(t)
	for name, o := range map[string]actor.RouterOptions[*num]{
		"size":     {Size: 1 << 30},
		"buckets":  {Strategy: actor.Hash, Key: byValue, Buckets: 1 << 30},
		"capacity": {Routee: actor.Options{Mailbox: actor.Mailbox{Capacity: math.MaxInt}}},
	} {
		if _, err := actor.NewRouter(sys, idler(), o); err == nil {
			t.Errorf("router: %s is not bounded", name)
		}
	}
	r := newRouter(t, sys, idler(), actor.RouterOptions[*num]{})
	if err := r.Resize(patient(t), 1<<30); err == nil || r.Size() != 1 {
		t.Errorf("resize: %v, %d routees", err, r.Size())
	}
	for _, o := range []actor.PoolOptions{{Workers: math.MaxInt}, {Queue: math.MaxInt}} {
		if _, err := actor.NewPool(o); err == nil {
			t.Errorf("pool: %+v", o)
		}
	}
	for _, m := range []actor.Mailbox{{Capacity: math.MaxInt}, {Capacity: math.MaxInt, Priority: func(proto.Message) int { return 0 }}} {
		if _, err := actor.Spawn(sys, idler(), actor.Options{Mailbox: m}); err == nil {
			t.Errorf("capacity %d", m.Capacity)
		}
	}
}

// BAD-21: what is no System, nil or not made by NewSystem, answers with an error, or with nothing where there is none to give.
func TestNoSystem(t *testing.T) {
	for name, sys := range map[string]*actor.System{"nil": nil, "zero": new(actor.System)} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			errs := map[string]error{"Stop": sys.Stop(ctx), "Close": sys.Close(), "Join": sys.Join(ctx), "Quiesce": sys.Quiesce(ctx)}
			_, errs["AtExit"] = sys.AtExit(0, func(context.Context) {})
			_, errs["LookupRef"] = actor.LookupRef[*num](sys, "x")
			errs["RegisterBehaviour"] = actor.RegisterBehaviour(sys, "x", "1", hold(), nil)
			if errs["SwapTo"] = sys.SwapTo(ctx, actor.AnyRef{}, "x", "1"); errors.Is(errs["SwapTo"], actor.ErrNoBehaviour) {
				t.Errorf("SwapTo looks for a behaviour: %v", errs["SwapTo"])
			}
			names := sys.Names()
			errs["Bind"], errs["Unbind"] = names.Bind("x", actor.AnyRef{}), names.Unbind("x", actor.AnyRef{})
			errs["Alias"], errs["Unalias"] = names.Alias("x", "y"), names.Unalias("x")
			_, errs["Watch"] = names.Watch("x", func(actor.AnyRef) {}, func() {})
			for what, err := range errs {
				if err == nil {
					t.Errorf("%s: no error", what)
				}
			}
			if _, ok := sys.Lookup("x"); ok || sys.Name() != "" || sys.NodeID() != 0 || sys.Trace() != nil || len(sys.DeadLetters()) > 0 || names.Watchers("x") > 0 ||
				sys.Part("x", func() any { return 1 }) != nil {
				t.Error("it has something")
			}
			if l := sys.Ledger(); l.Sent != 0 || !l.Balanced() {
				t.Error(l)
			}
			sys.SubscribeDeadLetters(func(actor.DeadLetter) {})()
			sys.AwaitTurn(actor.AnyRef{}, "does nothing")
		})
	}
}

// BAD-22: what waits for all actors of a System is refused to one of them, whatever context it passes.
func TestWaitingForItself(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ctx := context.Background()
		try := func() error {
			for what, err := range map[string]error{"Stop": sys.Stop(ctx), "Close": sys.Close(), "Join": sys.Join(ctx), "Quiesce": sys.Quiesce(ctx)} {
				if err == nil || !containsAll(err.Error(), what, "itself") {
					return fmt.Errorf("%s: %w", what, err)
				}
			}
			return nil
		}
		r := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			var blocked error
			if err := errors.Join(try(), ctx.Sleep(0), ctx.Block(func() { blocked = try() }), blocked); err != nil {
				return err
			}
			return ctx.SetValue("unharmed")
		}))
		if v, why := outcome(t, r.AnyRef); v != "unharmed" {
			t.Fatal(why)
		}
		h := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return errors.Join(try(), ctx.Reply(m)) }))
		for range 100 { // now and then on a worker's own stack
			if _, err := actor.Call[*num](ctx, h, &num{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := sys.Quiesce(patient(t)); err != nil {
			t.Fatal(err)
		}
	})
}

// BAD-10: that holds under a seed as well, where Block runs its function in place.
func TestWaitInsideBlockUnderASeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.SystemOptions{Seed: 7})
		sink := actor.MustSpawn(sys, idler())
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			var slept, sent error
			if err := ctx.Block(func() { slept, sent = ctx.Sleep(time.Second), sink.Send(ctx, &num{}) }); err != nil {
				return err
			}
			if !errors.Is(slept, actor.ErrInBlock) || sent != nil {
				return fmt.Errorf("in Block: sleep %w, send %w", slept, sent)
			}
			return ctx.Sleep(time.Second)
		}))
		wantKind(t, a.AnyRef, actor.ReasonNormal)
	})
}
