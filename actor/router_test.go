package actor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

func newRouter(t *testing.T, from actor.Spawner, b actor.Behaviour[*num], o actor.RouterOptions[*num]) *actor.Router[*num] {
	t.Helper()
	r, err := actor.NewRouter(from, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// byValue is a key for tests: the last two digits.
func byValue(m *num) string { return strconv.FormatInt(m.Value%100, 10) }

func TestRouterOptions(t *testing.T) {
	sys := newSystem(t)
	b := actor.Handler(func(*actor.Context, *num) error { return nil })
	for name, o := range map[string]actor.RouterOptions[*num]{
		"negative size":     {Size: -1},
		"unknown strategy":  {Strategy: 99},
		"hash without key":  {Strategy: actor.Hash},
		"key without hash":  {Key: byValue},
		"too few buckets":   {Strategy: actor.Hash, Key: byValue, Size: 10, Buckets: 5},
		"a name":            {Routee: actor.Options{Name: "all"}},
		"suspending":        {Routee: actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}}},
		"negative mailbox":  {Routee: actor.Options{Mailbox: actor.Mailbox{Capacity: -1}}},
		"negative time":     {Within: -1},
		"negative key room": {Buckets: -1},
	} {
		if _, err := actor.NewRouter(sys, b, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := actor.NewRouter(sys, actor.Behaviour[*num]{}, actor.RouterOptions[*num]{}); !errors.Is(err, actor.ErrNilBehaviour) {
		t.Errorf("nil behaviour: %v", err)
	}
	r := newRouter(t, sys, b, actor.RouterOptions[*num]{Strategy: actor.Hash, Key: byValue, Buckets: 8})
	for _, n := range []int{0, -1, 9} {
		if err := r.Resize(context.Background(), n); err == nil {
			t.Errorf("Resize to %d: no error", n)
		}
	}
}

// counter is a behaviour that answers with the ref of the routee that handles the message.
func counter(mu *sync.Mutex, by map[actor.AnyRef]int) actor.Behaviour[*num] {
	return actor.Handler(func(ctx *actor.Context, m *num) error {
		mu.Lock()
		by[ctx.Self()]++
		mu.Unlock()
		if ctx.IsCall() {
			return ctx.Reply(m)
		}
		return nil
	})
}

func TestRouterStrategies(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy actor.Strategy
		check    func(by map[actor.AnyRef]int) bool
	}{
		{"round robin", actor.RoundRobin, func(by map[actor.AnyRef]int) bool {
			for _, n := range by {
				if n != 25 {
					return false
				}
			}
			return len(by) == 4
		}},
		{"hash", actor.Hash, func(by map[actor.AnyRef]int) bool { return len(by) == 4 }},
		{"least loaded", actor.LeastLoaded, func(by map[actor.AnyRef]int) bool { return len(by) == 4 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			sys := newSystem(t)
			var mu sync.Mutex
			by := map[actor.AnyRef]int{}
			o := actor.RouterOptions[*num]{Size: 4, Strategy: c.strategy}
			if c.strategy == actor.Hash {
				o.Key = byValue
			}
			r := newRouter(t, sys, counter(&mu, by), o)
			for i := range int64(100) {
				got, err := actor.CallVia[*num](bounded(t), r, &num{Value: i})
				if err != nil || got.Value != i {
					t.Fatalf("call %d: %v, %v", i, got, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if !c.check(by) {
				t.Errorf("calls by routee: %v", by)
			}
		})
	}
}

// ROUTE-1: a round robin goes from one routee to the next, in the order of Refs, whoever sends.
func TestRouterTakesTurns(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, _ *num) error {
			return ctx.Reply(&num{Value: int64(ctx.Self().ID())})
		}), actor.RouterOptions[*num]{Size: 5})
		refs := r.Refs()
		last := -1
		for i := range 50 {
			got, err := actor.CallVia[*num](bounded(t), r, &num{})
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(refs, func(ref actor.AnyRef) bool { return ref.ID() == uint64(got.Value) })
			if at < 0 || last >= 0 && at != (last+1)%len(refs) {
				t.Fatalf("call %d went to routee %d after %d", i, at, last)
			}
			last = at
		}
	})
}

// ROUTE-2: with Hash a key has one routee, whoever sends it, until Resize gives it to another; only Resize does.
func TestRouterKeepsAKeyTogether(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, _ *num) error {
			return ctx.Reply(&num{Value: int64(ctx.Self().ID())})
		}), actor.RouterOptions[*num]{Size: 7, Strategy: actor.Hash, Key: byValue})
		owner := func(ctx context.Context, key, round int64) (int64, error) {
			got, err := actor.CallVia[*num](ctx, r, &num{Value: key + 100*round})
			return got.GetValue(), err
		}
		var owners [100]int64
		used := map[int64]bool{}
		for key := range owners {
			id, err := owner(bounded(t), int64(key), 0)
			if err != nil {
				t.Fatal(err)
			}
			owners[key] = id
			used[id] = true
		}
		if len(used) != 7 {
			t.Errorf("100 keys went to %d of 7 routees", len(used))
		}
		check := func(ctx context.Context) error {
			for round := range int64(3) {
				for key, want := range owners {
					if id, err := owner(ctx, int64(key), round); id != want || err != nil {
						return fmt.Errorf("key %d went to %x and then to %x: %w", key, want, id, err)
					}
				}
			}
			return nil
		}
		inside := start(sys, func(ctx *actor.Context) error { return check(ctx) })
		if err := check(bounded(t)); err != nil {
			t.Error(err)
		}
		if _, err := inside.Wait(bounded(t)); err != nil {
			t.Error(err)
		}
	})
}

// ROUTE-3: Broadcast delivers to each routee there is, says to how many, and takes no calls.
func TestRouterBroadcast(t *testing.T) {
	sys := newSystem(t)
	var mu sync.Mutex
	by := map[actor.AnyRef]int{}
	r := newRouter(t, sys, counter(&mu, by), actor.RouterOptions[*num]{Size: 5, Strategy: actor.Broadcast})
	if n, err := r.Deliver(context.Background(), &num{}); n != 5 || err != nil {
		t.Errorf("delivered %d, %v", n, err)
	}
	if _, err := actor.CallVia[*num](context.Background(), r, &num{}); err == nil {
		t.Error("a call by way of a broadcast")
	}
	if err := r.Resize(bounded(t), 2); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Deliver(context.Background(), &num{}); n != 2 || err != nil {
		t.Errorf("delivered %d, %v", n, err)
	}
	if err := r.Resize(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := sys.Quiesce(bounded(t)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, n := range by {
		if n > 2 {
			t.Errorf("handled: %v", by)
		}
	}
	if len(by) != 5 {
		t.Errorf("%d of 5 routees got the first message", len(by))
	}
}

// ROUTE-4: a routee that does not get on gets no more work; one that panicked does not keep its load.
func TestRouterLeastLoaded(t *testing.T) {
	sys := newSystem(t)
	release := make(chan struct{})
	defer close(release)
	var slow atomic.Uint64
	r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		switch m.Value {
		case 1:
			slow.Store(ctx.Self().ID())
			return ctx.Block(func() { <-release })
		case 2:
			panic("two")
		}
		if ctx.Self().ID() == slow.Load() {
			t.Error("the routee that is busy got a message")
		}
		return ctx.Reply(m)
	}), actor.RouterOptions[*num]{Size: 2, Strategy: actor.LeastLoaded, Restarts: 100})
	if err := r.Send(context.Background(), &num{Value: 1}); err != nil {
		t.Fatal(err)
	}
	for slow.Load() == 0 {
		if err := sys.Quiesce(expired(t)); err == nil {
			t.Fatal("at rest while a routee blocks")
		}
	}
	for i := range 30 {
		_, err := actor.CallVia[*num](bounded(t), r, &num{Value: int64(2 + i%2)})
		var exit *actor.ExitError
		if panicked := errors.As(err, &exit); panicked != (i%2 == 0) {
			t.Fatalf("call %d: %v", i, err)
		}
		for exit != nil && slices.Contains(r.Refs(), exit.Ref) { // not replaced yet
			_ = sys.Quiesce(expired(t))
		}
	}
}

// expired is a context whose time is as good as up.
func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// orders checks that messages of one sender and one key are handled in order and by one routee at a time.
type orders struct {
	t       *testing.T
	last    [64][16]atomic.Int64 // by key, by sender
	inside  [64]atomic.Int32
	handled atomic.Int64
}

// A message is key, sender and sequence number, from the low digits up.
func message(key, sender, seq int64) *num { return &num{Value: key + 100*sender + 10000*seq} }

func (o *orders) handle(m *num) {
	key, sender, seq := m.Value%100, m.Value/100%100, m.Value/10000
	if o.inside[key].Add(1) != 1 {
		o.t.Errorf("two routees work on key %d", key)
	}
	if last := o.last[key][sender].Swap(seq); last != seq-1 {
		o.t.Errorf("key %d, sender %d: message %d came after %d", key, sender, seq, last)
	}
	if seq%16 == 0 {
		runtime.Gosched() // a moment in which another could come
	}
	o.handled.Add(1)
	o.inside[key].Add(-1)
}

// ROUTE-5, ROUTE-6: goroutines and actors send and call while the router is resized all the time: nothing is lost, nothing is
// handled twice or out of order.
func TestRouterKeepsOrderAcrossResize(t *testing.T) {
	for _, kind := range []string{"handler", "yielding handler", "routine"} {
		t.Run(kind, func(t *testing.T) {
			sys := newSystem(t)
			o := &orders{t: t}
			b := actor.Handler(func(ctx *actor.Context, m *num) error {
				if kind == "yielding handler" && m.Value%3 == 0 {
					if err := ctx.Yield(); err != nil {
						return err
					}
				}
				o.handle(m)
				if ctx.IsCall() {
					return ctx.Reply(m)
				}
				return nil
			})
			if kind == "routine" {
				b = actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					for m := range in.All() {
						o.handle(m)
						if ctx.IsCall() {
							_ = ctx.Reply(m)
						}
					}
					return nil
				})
			}
			r := newRouter(t, sys, b, actor.RouterOptions[*num]{Size: 3, Strategy: actor.Hash, Key: byValue, Buckets: 32})
			const rounds, keys = 150, 64
			sent := make(chan int64, 8)
			flood := func(ctx context.Context, sender int64) error {
				for seq := int64(1); seq <= rounds; seq++ {
					for key := range int64(keys) {
						m := message(key, sender, seq)
						var err error
						if (key+seq)%50 == 0 {
							_, err = actor.CallVia[*num](ctx, r, m)
						} else {
							err = r.Send(ctx, m)
						}
						if err != nil {
							return err
						}
					}
				}
				sent <- sender
				return nil
			}
			var goroutines sync.WaitGroup
			for sender := range int64(2) {
				goroutines.Go(func() {
					if err := flood(context.Background(), sender); err != nil {
						t.Error(err)
					}
				})
				start(sys, func(ctx *actor.Context) error {
					if err := flood(ctx, sender+2); err != nil {
						t.Error(err)
					}
					return nil
				})
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			resizes := 0
			for done := 0; done < 4; {
				select {
				case <-sent:
					done++
				default:
					if err := r.Resize(bounded(t), 1+rng.IntN(12)); err != nil {
						t.Fatal(err)
					}
					resizes++
				}
			}
			goroutines.Wait()
			if err := r.Resize(bounded(t), 2); err != nil {
				t.Fatal(err)
			}
			if err := sys.Quiesce(bounded(t)); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d resizes", resizes)
			if n := o.handled.Load(); n != 4*rounds*keys {
				t.Errorf("handled %d of %d", n, 4*rounds*keys)
			}
			if l := sys.Ledger(); l.Dead != 0 || l.Queued != 0 {
				t.Errorf("ledger: %v %v", l, l.ByReason)
			}
			if resizes < 3 {
				t.Errorf("only %d resizes ran under load", resizes)
			}
		})
	}
}

// ROUTE-5: what is held back for a moved key is handled only when the old routee is done, and is not lost if the new one ends.
func TestRouterHoldsBackMovedKeys(t *testing.T) {
	sys := newSystem(t)
	release, busy := make(chan struct{}), make(chan struct{}, 100)
	var mu sync.Mutex
	var got []int64
	r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if m.Value < 100 {
			busy <- struct{}{}
			_ = ctx.Block(func() { <-release })
		}
		mu.Lock()
		got = append(got, m.Value)
		mu.Unlock()
		return nil
	}), actor.RouterOptions[*num]{Strategy: actor.Hash, Key: byValue})
	send := func(v int64) {
		t.Helper()
		if err := r.Send(context.Background(), &num{Value: v}); err != nil {
			t.Fatal(err)
		}
	}
	send(0) // the only routee is busy with key 0
	<-busy
	for key := int64(1); key < 20; key++ {
		send(100 + key)
	}
	if err := r.Resize(expired(t), 8); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Resize while a moved key is in flight: %v", err)
	}
	for key := int64(1); key < 20; key++ {
		send(200 + key)
	}
	send(250) // a key with nothing in flight: its routee may handle it at once, unless it is the old one
	mu.Lock()
	for _, v := range got {
		if v%100 != 50 {
			t.Errorf("%d was handled while the key's old routee was busy", v)
		}
	}
	mu.Unlock()
	close(release)
	if err := r.Resize(bounded(t), 8); err != nil {
		t.Fatal(err)
	}
	if err := sys.Quiesce(bounded(t)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	last := map[int64]int64{}
	for _, v := range got {
		if last[v%100] > v {
			t.Errorf("%d came after %d", v, last[v%100])
		}
		last[v%100] = v
	}
	if len(got) != 40 {
		t.Errorf("handled %d of 40", len(got))
	}
}

// ROUTE-7: a routee that ends is replaced; what it had in hand and in its mailbox becomes dead letters.
func TestRouterReplacesRouteesThatEnd(t *testing.T) {
	sys := newSystem(t)
	release, busy := make(chan struct{}), make(chan struct{})
	r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if m.Value == 0 {
			close(busy)
			_ = ctx.Block(func() { <-release })
			panic("zero")
		}
		if ctx.IsCall() {
			return ctx.Reply(m)
		}
		return nil
	}), actor.RouterOptions[*num]{Strategy: actor.Hash, Key: byValue})
	var dead atomic.Int32
	defer sys.SubscribeDeadLetters(func(actor.DeadLetter) { dead.Add(1) })()
	first := r.Refs()[0]
	for v := range int64(5) {
		if err := r.Send(context.Background(), &num{Value: v}); err != nil {
			t.Fatal(err)
		}
	}
	<-busy
	close(release)
	if _, err := first.Wait(bounded(t)); err == nil {
		t.Fatal("the routee ended normally")
	}
	if err := sys.Quiesce(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if dead.Load() != 5 {
		t.Errorf("%d dead letters, want the one that panicked and 4 that waited behind it", dead.Load())
	}
	if r.Size() != 1 || r.Refs()[0] == first {
		t.Errorf("not replaced: %v", r.Refs())
	}
	if _, err := actor.CallVia[*num](bounded(t), r, &num{Value: 7}); err != nil {
		t.Errorf("call after the replacement: %v", err)
	}
}

// ROUTE-7: routees crash under load while the router is resized; what is not a dead letter is handled, and Resize still completes.
func TestRouterCrashesWhileResizing(t *testing.T) {
	sys := newSystem(t)
	var handled atomic.Int64
	r := newRouter(t, sys, actor.Handler(func(_ *actor.Context, m *num) error {
		if m.Value%97 == 0 {
			panic("a multiple of 97")
		}
		handled.Add(1)
		return nil
	}), actor.RouterOptions[*num]{Size: 3, Strategy: actor.Hash, Key: byValue, Restarts: 1 << 20})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := range int64(5000) { // not 0 first: everything may wait behind it, at one routee
			_ = r.Send(context.Background(), &num{Value: v + 1})
		}
	}()
	for i := 0; ; i++ {
		if err := r.Resize(bounded(t), 1+i%6); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			if err := sys.Quiesce(bounded(t)); err != nil {
				t.Fatal(err)
			}
			l := sys.Ledger()
			if !l.Balanced() || l.Queued != 0 || handled.Load() == 0 {
				t.Errorf("handled %d, ledger %v", handled.Load(), l)
			}
			return
		default:
		}
	}
}

// ROUTE-8: when too many routees end in too short a time the router ends, with the error of the last.
func TestRouterGivesUp(t *testing.T) {
	sys := newSystem(t)
	b := actor.StatefulFrom(func(*actor.Context) (*int, error) { return nil, errBoom }, func(*actor.Context, *int, *num) error { return nil })
	r := newRouter(t, sys, b, actor.RouterOptions[*num]{Size: 2, Restarts: 5, Within: time.Hour})
	for r.Ref().Alive() {
		_ = r.Send(context.Background(), &num{})
	}
	if _, err := r.Ref().Wait(bounded(t)); !errors.Is(err, errBoom) {
		t.Errorf("the router ended with %v", err)
	}
	if err := r.Send(context.Background(), &num{}); !errors.Is(err, actor.ErrStopped) {
		t.Errorf("Send: %v", err)
	}
	if err := r.Resize(bounded(t), 4); !errors.Is(err, actor.ErrStopped) {
		t.Errorf("Resize: %v", err)
	}
}

// ROUTE-9: a router is a child of whoever made it and ends with it, its routees first.
func TestRouterEndsWithItsParent(t *testing.T) {
	sys := newSystem(t)
	made := make(chan *actor.Router[*num], 1)
	parent := start(sys, func(ctx *actor.Context) error {
		r, err := actor.NewRouter(ctx, actor.Handler(func(*actor.Context, *num) error { return nil }), actor.RouterOptions[*num]{Size: 3})
		if err != nil {
			return err
		}
		if err := r.Resize(ctx, 4); err != nil {
			return err
		}
		made <- r
		return ctx.Sleep(time.Hour)
	})
	r := <-made
	all := append(r.Refs(), r.Ref())
	parent.Stop()
	if _, err := parent.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if r.Size() != 0 || len(r.Refs()) != 0 {
		t.Errorf("%d routees of a router that has ended: %v", r.Size(), r.Refs())
	}
	for _, ref := range all {
		if ref.Alive() {
			t.Errorf("%v outlives the router's parent", ref)
		}
	}
}

func TestRouterResizeFromARoutee(t *testing.T) {
	sys := newSystem(t)
	var r *actor.Router[*num]
	r = newRouter(t, sys, actor.Handler(func(ctx *actor.Context, _ *num) error { return ctx.Fail(r.Resize(ctx, 1)) }),
		actor.RouterOptions[*num]{Size: 2})
	if _, err := actor.CallVia[*num](bounded(t), r, &num{}); err == nil || errors.Is(err, actor.ErrNoReply) {
		t.Errorf("a routee resized its own router: %v", err)
	}
	r.Stop()
	if _, err := r.Ref().Wait(bounded(t)); err != nil {
		t.Error(err)
	}
}

func TestRouterKeyPanics(t *testing.T) {
	sys := newSystem(t)
	r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }),
		actor.RouterOptions[*num]{Strategy: actor.Hash, Key: func(m *num) string { panic(errBoom) }})
	if err := r.Send(context.Background(), &num{}); !errors.Is(err, errBoom) {
		t.Errorf("Send: %v", err)
	}
	ref, ok := actor.TypedRef[*num](r.Refs()[0])
	if _, err := actor.Call[*num](bounded(t), ref, &num{}); !ok || err != nil {
		t.Errorf("to the routee itself: %v", err)
	}
}

var strategies = map[string]actor.Strategy{
	"round robin": actor.RoundRobin, "hash": actor.Hash, "least loaded": actor.LeastLoaded, "broadcast": actor.Broadcast,
}

// options are those of a router that never gives up.
func options(strategy actor.Strategy, size int) actor.RouterOptions[*num] {
	o := actor.RouterOptions[*num]{Size: size, Strategy: strategy, Restarts: 1 << 30}
	if strategy == actor.Hash {
		o.Key = byValue
	}
	return o
}

// ROUTE-10: a router that lives refuses no message because a routee ends, however often and from wherever they are sent.
func TestRouterRefusesNothing(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				r := newRouter(t, sys, actor.Handler(func(_ *actor.Context, m *num) error {
					if m.Value%10 == 0 {
						return errBoom
					}
					return nil
				}), options(strategy, 2))
				const each = 5000
				flood := func(ctx context.Context) error {
					for v := range int64(each) {
						if err := r.Send(ctx, &num{Value: v}); err != nil {
							return fmt.Errorf("message %d: %w", v, err)
						}
					}
					return nil
				}
				var senders sync.WaitGroup
				for range 2 {
					senders.Go(func() {
						if err := flood(context.Background()); err != nil {
							t.Error(err)
						}
					})
				}
				wantErr(t, "from an actor", play(t, sys, func(ctx *actor.Context) error { return flood(ctx) }), nil)
				senders.Wait()
				copies := uint64(1)
				if strategy == actor.Broadcast {
					copies = 2
				}
				if l := settle(t, sys); l.Sent < 3*each*copies || l.Queued != 0 {
					t.Errorf("ledger: %v", l)
				}
				if r.Size() != 2 {
					t.Errorf("%d routees", r.Size())
				}
			})
		})
	}
}

// ROUTE-10: neither does a routee whose end takes time, since a child of its own holds it up.
func TestRouterDoesNotWaitForAnEnd(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			sys := newSystem(t)
			started := make(chan struct{}, 2)
			release := make(chan struct{})
			defer close(release)
			r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value != 1 {
					return nil
				}
				_, err := actor.Spawn(ctx, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					return ctx.Block(func() { started <- struct{}{}; <-release })
				}))
				return errors.Join(err, ctx.Block(func() { <-started }), errBoom)
			}), options(strategy, 1))
			first := r.Refs()[0]
			if err := r.Send(context.Background(), &num{Value: 1}); err != nil {
				t.Fatal(err)
			}
			for r.Refs()[0] == first {
				runtime.Gosched() // its handler returns
			}
			if !first.Alive() {
				t.Fatal("its end is complete")
			}
			for v := range int64(100) {
				if err := r.Send(context.Background(), &num{Value: 100 * v}); err != nil {
					t.Fatalf("message %d: %v", v, err)
				}
			}
		})
	}
}

// ROUTE-11: a call whose routee ends before the call's turn goes to another; one that it had in hand fails.
func TestCallViaOutlivesARoutee(t *testing.T) {
	for name, strategy := range strategies {
		if strategy == actor.Broadcast {
			continue
		}
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, sys *actor.System) {
				r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, m *num) error {
					if m.Value == 1 {
						_ = ctx.Sleep(time.Hour)
						return errBoom
					}
					return ctx.Reply(&num{Value: int64(ctx.Self().ID())})
				}), options(strategy, 1))
				first := r.Refs()[0]
				inHand, queued := make(chan error, 1), make(chan *num, 2)
				go func() {
					_, err := actor.CallVia[*num](context.Background(), r, &num{Value: 1})
					inHand <- err
				}()
				synctest.Wait()
				call := func(ctx context.Context) error {
					v, err := actor.CallVia[*num](ctx, r, &num{Value: 101})
					if err != nil {
						t.Error(err)
					}
					queued <- v
					return err
				}
				go func() { _ = call(context.Background()) }()
				start(sys, func(ctx *actor.Context) error { return call(ctx) })
				synctest.Wait()
				first.Kill()
				var exit *actor.ExitError
				if err := <-inHand; !errors.As(err, &exit) || exit.Ref != first || !errors.Is(err, actor.ErrKilled) {
					t.Errorf("the call in hand: %v", err)
				}
				for range 2 {
					if v := <-queued; v.GetValue() != int64(r.Refs()[0].ID()) || r.Refs()[0] == first {
						t.Errorf("handled by %d, the first is %v, the second %v", v.GetValue(), first, r.Refs())
					}
				}
			})
		})
	}
}

// ROUTE-11: when the router itself ends, calls that wait in a routee's mailbox fail with that routee's end.
func TestCallViaEndsWithTheRouter(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		r := newRouter(t, sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Sleep(time.Hour) }), options(actor.Hash, 1))
		first := r.Refs()[0]
		got := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := actor.CallVia[*num](context.Background(), r, &num{})
				got <- err
			}()
		}
		synctest.Wait()
		r.Stop()
		for range 2 {
			var exit *actor.ExitError
			if err := <-got; !errors.As(err, &exit) || exit.Ref != first {
				t.Errorf("call: %v", err)
			}
		}
		_, err := actor.CallVia[*num](context.Background(), r, &num{})
		wantErr(t, "a call afterwards", err, actor.ErrStopped)
	})
}

// ROUTE-12: from Stop on a router refuses messages and has no routees; a Resize that meets it returns.
func TestRouterStops(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			sys := newSystem(t)
			for i := range 200 {
				r := newRouter(t, sys, idler(), options(strategy, 3))
				got := make(chan error, 1)
				go func() { got <- r.Resize(patient(t), 1+3*(i%2)) }()
				for range i % 50 {
					runtime.Gosched()
				}
				r.Stop()
				if r.Size() != 0 || len(r.Refs()) != 0 {
					t.Fatalf("%d routees, %v", r.Size(), r.Refs())
				}
				wantErr(t, "send", r.Send(context.Background(), &num{}), actor.ErrStopped)
				if err := await(t, got); err != nil && !errors.Is(err, actor.ErrStopped) {
					t.Fatalf("round %d: resize: %v", i, err)
				}
				wantErr(t, "resize", r.Resize(patient(t), 2), actor.ErrStopped)
			}
		})
	}
}

// BAD-12: a router refuses a nil message before the key function sees it.
func TestRouterNilMessage(t *testing.T) {
	sys := newSystem(t)
	o := options(actor.Hash, 1)
	o.Key = func(m *num) string { return string(rune(m.Value)) } // reads the message
	r := newRouter(t, sys, idler(), o)
	wantErr(t, "send", r.Send(context.Background(), nil), actor.ErrNilMessage)
	_, err := actor.CallVia[*num](context.Background(), r, nil)
	wantErr(t, "call", err, actor.ErrNilMessage)
}

func ExampleRouter() {
	sys, _ := actor.NewSystem()
	defer func() { _ = sys.Close() }()
	ctx := context.Background()
	length := actor.Handler(func(ctx *actor.Context, m *wrapperspb.StringValue) error {
		return ctx.Reply(&num{Value: int64(len(m.Value))})
	})
	router, err := actor.NewRouter(sys, length, actor.RouterOptions[*wrapperspb.StringValue]{
		Size:     4,
		Strategy: actor.Hash,
		Key:      func(m *wrapperspb.StringValue) string { return m.Value },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	n, _ := actor.CallVia[*num](ctx, router, wrapperspb.String("curtain"))
	err = router.Resize(ctx, 2)
	fmt.Println(n.Value, router.Size(), err)
	// Output: 7 2 <nil>
}
