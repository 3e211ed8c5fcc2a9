package actor_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// counting answers with times the sum of what it got; it holds up at -1 until released.
func counting(times int64, gate chan struct{}) func(ctx *actor.Context, sum *int64, m *num) error {
	return func(ctx *actor.Context, sum *int64, m *num) error {
		if m.Value == -1 {
			gate <- struct{}{}
			<-gate
			return nil
		}
		if m.Value == -2 {
			panic("minus two")
		}
		*sum += m.Value
		_ = ctx.Reply(&num{Value: times * *sum})
		return nil
	}
}

type decimals struct{ sum float64 }

// SWAP-1: a handler takes a new behaviour between two messages, with its state or what Migrate makes of it; mailbox, ref, name, timers
// and monitors stay.
func TestSwap(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref := actor.MustSpawn(sys, actor.Stateful(counting(1, nil)), actor.Options{Name: "counter"})
		downs := make(chan actor.Down, 1)
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, err := actor.Monitor(ctx, ref.AnyRef, func(d actor.Down) *num { downs <- d; return &num{} })
			for range in.All() {
			}
			return err
		}))
		sumOf(t, ref, 5)
		wantErr(t, "same state", actor.Swap(patient(t), ref, actor.Stateful(counting(10, nil))), nil)
		if sum := sumOf(t, ref, 2); sum != 70 {
			t.Errorf("sum %d, want 70", sum)
		}
		wantErr(t, "migrated", actor.Swap(patient(t), ref, actor.Stateful(func(ctx *actor.Context, d *decimals, m *num) error {
			d.sum += float64(m.Value)
			return ctx.Reply(&num{Value: int64(d.sum * 2)})
		}), actor.SwapOptions{Migrate: actor.Migrate(func(old *int64) (*decimals, error) { return &decimals{float64(*old) + 0.5}, nil })}), nil)
		if sum := sumOf(t, ref, 1); sum != 17 {
			t.Errorf("sum %d, want 17", sum)
		}
		if r, ok := sys.Lookup("counter"); !ok || r != ref.AnyRef {
			t.Error("the name is gone")
		}
		ref.Stop()
		if d := await(t, downs); d.Ref != ref.AnyRef {
			t.Errorf("down: %+v", d)
		}
		wantErr(t, "after the end", actor.Swap(patient(t), ref, actor.Stateful(counting(1, nil))), actor.ErrStopped)
	})
}

// SWAP-2: a swap that fails leaves the old behaviour and its state as they were.
func TestSwapFails(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		veto := errors.New("not now")
		ref := actor.MustSpawn(sys, actor.Stateful(counting(1, nil)), actor.Options{OnSwap: func(_ *actor.Context, o actor.SwapOffer) error {
			switch o.Version {
			case "bad":
				return veto
			case "worse":
				panic("on swap")
			}
			return nil
		}})
		sumOf(t, ref, 5)
		boom := errors.New("boom")
		next := actor.Stateful(counting(10, nil))
		other := actor.Stateful(func(*actor.Context, *decimals, *num) error { return nil })
		for name, c := range map[string]struct {
			b    actor.Behaviour[*num]
			o    actor.SwapOptions
			want error
		}{
			"nil":                              {actor.Behaviour[*num]{}, actor.SwapOptions{}, actor.ErrNilBehaviour},
			"veto":                             {next, actor.SwapOptions{Version: "bad"}, veto},
			"veto that panics":                 {next, actor.SwapOptions{Version: "worse"}, new(actor.PanicError)},
			"other state":                      {other, actor.SwapOptions{}, actor.ErrWrongType},
			"migrate fails":                    {other, actor.SwapOptions{Migrate: func(any) (any, error) { return nil, boom }}, boom},
			"migrate panics":                   {other, actor.SwapOptions{Migrate: func(any) (any, error) { panic(boom) }}, boom},
			"migrate to what it does not take": {other, actor.SwapOptions{Migrate: func(old any) (any, error) { return old, nil }}, actor.ErrWrongType},
			"migrate of another":               {other, actor.SwapOptions{Migrate: actor.Migrate(func(*text) (*decimals, error) { return nil, nil })}, actor.ErrWrongType},
			"a routine":                        {actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error { return nil }), actor.SwapOptions{}, actor.ErrWrongType},
		} {
			err := actor.Swap(patient(t), ref, c.b, c.o)
			if p := new(actor.PanicError); c.want == nil || !errors.Is(err, c.want) && (!errors.As(c.want, &p) || !errors.As(err, &p)) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			if sum := sumOf(t, ref, 0); sum != 5 {
				t.Errorf("%s: sum %d, want 5", name, sum)
			}
		}
	})
}

// SWAP-8: a swap whose actor ends in the middle of it, by a kill or by runtime.Goexit, ends too; one that nobody waits for any more is
// not carried out.
func TestSwapEndsWithItsActor(t *testing.T) {
	sleeps := actor.Options{OnSwap: func(ctx *actor.Context, _ actor.SwapOffer) error {
		_ = ctx.Sleep(time.Hour)
		return nil
	}}
	exits := func(any) (any, error) { runtime.Goexit(); return nil, nil }
	next := actor.Stateful(counting(10, nil))
	idle := actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		for range in.All() {
		}
		return in.HandOver(new(int64))
	})
	for name, c := range map[string]struct {
		first, next actor.Behaviour[*num]
		opts        actor.Options
		swap        actor.SwapOptions
		kill        bool
		want        error
		survives    bool
	}{
		"killed in OnSwap":               {actor.Stateful(counting(1, nil)), next, sleeps, actor.SwapOptions{}, true, actor.ErrStopped, false},
		"given up in OnSwap":             {actor.Stateful(counting(1, nil)), next, sleeps, actor.SwapOptions{}, false, context.DeadlineExceeded, true},
		"Goexit in Migrate":              {actor.Stateful(counting(1, nil)), next, actor.Options{}, actor.SwapOptions{Migrate: exits}, false, actor.ErrStopped, false},
		"Goexit in Migrate of a routine": {idle, idle, actor.Options{}, actor.SwapOptions{Migrate: exits}, false, actor.ErrStopped, false},
		"Goexit in OnSwap": {actor.Stateful(counting(1, nil)), next, actor.Options{OnSwap: func(*actor.Context, actor.SwapOffer) error {
			runtime.Goexit()
			return nil
		}}, actor.SwapOptions{}, false, actor.ErrStopped, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, sys *actor.System) {
				ref := actor.MustSpawn(sys, c.first, c.opts)
				if name != "Goexit in Migrate of a routine" {
					sumOf(t, ref, 5)
				}
				if c.kill {
					time.AfterFunc(time.Second, ref.Kill)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				wantErr(t, "the swap", actor.Swap(ctx, ref, c.next, c.swap), c.want)
				if took := time.Since(start); !c.survives && took > time.Second {
					t.Errorf("it took %v", took)
				}
				if synctest.Wait(); ref.Alive() != c.survives {
					t.Errorf("alive: %v", ref.Alive())
				}
				if c.survives {
					<-time.After(time.Hour) // OnSwap has returned, and did not refuse
					if sum := sumOf(t, ref, 1); sum != 6 {
						t.Errorf("sum %d with the old behaviour, want 6", sum)
					}
				}
			})
		})
	}
	t.Run("nil context", func(t *testing.T) {
		sys := newSystem(t)
		ref := actor.MustSpawn(sys, next)
		var none context.Context
		for range 100 {
			wantErr(t, "swap", actor.Swap(none, ref, next), actor.ErrNilContext)
		}
	})
}

// SWAP-3: in the middle of a message a swap is postponed; when its context ends first, it is withdrawn. Only one is offered at a time.
func TestSwapIsPostponed(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		gate := make(chan struct{})
		ref := actor.MustSpawn(sys, actor.Stateful(counting(1, gate)))
		sumOf(t, ref, 3)
		tell(t, ref, -1)
		<-gate // it is in the middle of a message
		short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		wantErr(t, "deadline", actor.Swap(short, ref, actor.Stateful(counting(100, nil))), context.DeadlineExceeded)
		cancel()
		done := make(chan error, 1)
		go func() {
			err := actor.ErrSwapPending
			for errors.Is(err, actor.ErrSwapPending) { // while it meets those below
				err = actor.Swap(patient(t), ref, actor.Stateful(counting(10, gate)))
			}
			done <- err
		}()
		for { // until that one is offered
			long, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			err := actor.Swap(long, ref, actor.Stateful(counting(1000, nil)))
			cancel()
			if errors.Is(err, actor.ErrSwapPending) {
				break
			}
			wantErr(t, "offered first", err, context.DeadlineExceeded)
		}
		tell(t, ref, 1)
		gate <- struct{}{}
		wantErr(t, "postponed", await(t, done), nil)
		if sum := sumOf(t, ref, 0); sum != 40 {
			t.Errorf("sum %d, want 40", sum)
		}
		tell(t, ref, -1)
		<-gate
		go func() { done <- actor.Swap(patient(t), ref, actor.Stateful(counting(1, nil))) }()
		ref.Kill()
		gate <- struct{}{}
		wantErr(t, "ended first", await(t, done), actor.ErrStopped)
	})
}

// SWAP-4: a routine's loop ends when it is offered another; it hands its state over, or refuses and goes on. A swap that fails runs it
// again, with what it handed over.
func TestSwapOfARoutine(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		refusal := errors.New("no thanks")
		summing := func(times int64) actor.Behaviour[*num] {
			return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				sum, ok := actor.HandedOver[int64](ctx)
				if !ok {
					sum = new(int64)
				}
				for {
					for m := range in.All() {
						if m.Value == -1 {
							if _, err := in.Select(ctx, func(m *num) bool { return m.Value == 1000 }); !errors.Is(err, actor.ErrSwapped) {
								t.Errorf("select: %v", err)
							}
							break
						}
						*sum += m.Value
						_ = ctx.Reply(&num{Value: times * *sum})
					}
					if !in.Swapped() {
						return nil
					}
					if in.Offer().Version == "bad" {
						in.Refuse(refusal)
						continue
					}
					return in.HandOver(sum)
				}
			})
		}
		ref := actor.MustSpawn(sys, summing(1))
		sumOf(t, ref, 5)
		wantErr(t, "refused", actor.Swap(patient(t), ref, summing(2), actor.SwapOptions{Version: "bad"}), refusal)
		wantErr(t, "failed", actor.Swap(patient(t), ref, summing(2), actor.SwapOptions{Migrate: func(any) (any, error) { panic(refusal) }}), refusal)
		if sum := sumOf(t, ref, 1); sum != 6 {
			t.Errorf("sum %d, want 6", sum)
		}
		wantErr(t, "handed over", actor.Swap(patient(t), ref, summing(2)), nil)
		if sum := sumOf(t, ref, 1); sum != 14 {
			t.Errorf("sum %d, want 14", sum)
		}
		tell(t, ref, -1, 1, 2) // it passes over 1 and 2, and leaves them to the next one
		settle(t, sys)
		wantErr(t, "while it selects", actor.Swap(patient(t), ref, summing(3), actor.SwapOptions{Migrate: actor.Migrate(func(s *int64) (*int64, error) {
			n := *s * 100
			return &n, nil
		})}), nil)
		if sum := sumOf(t, ref, 0); sum != 2109 {
			t.Errorf("sum %d, want 2109", sum)
		}
		plain := actor.MustSpawn(sys, hold()) // knows nothing of swaps
		wantErr(t, "a plain loop", actor.Swap(patient(t), plain, summing(1)), nil)
		if sum := sumOf(t, plain, 4); sum != 4 {
			t.Errorf("sum %d, want 4", sum)
		}
		deaf := actor.MustSpawn(sys, actor.Routine(func(_ *actor.Context, in *actor.Inbox[*num]) error { return in.HandOver(nil) }))
		wantKind(t, deaf.AnyRef, actor.ReasonError) // nobody had asked
	})
}

// SWAP-5: registered behaviours are asked for by name and version.
func TestSwapByName(t *testing.T) {
	sys := newSystem(t)
	wantErr(t, "register", actor.RegisterBehaviour(sys, "counter", "2", actor.Stateful(counting(2, nil)), nil), nil)
	wantErr(t, "again", actor.RegisterBehaviour(sys, "counter", "2", actor.Stateful(counting(2, nil)), nil), actor.ErrNameTaken)
	wantErr(t, "nil", actor.RegisterBehaviour(sys, "counter", "3", actor.Behaviour[*num]{}, nil), actor.ErrNilBehaviour)
	if actor.RegisterBehaviour(sys, "", "3", hold(), nil) == nil {
		t.Error("no name")
	}
	wantErr(t, "register", actor.RegisterBehaviour(sys, "words", "1", actor.Handler(func(*actor.Context, *text) error { return nil }), nil), nil)
	ref := actor.MustSpawn(sys, actor.Stateful(counting(1, nil)))
	sumOf(t, ref, 5)
	wantErr(t, "swap", sys.SwapTo(patient(t), ref.AnyRef, "counter", "2"), nil)
	wantErr(t, "unknown", sys.SwapTo(patient(t), ref.AnyRef, "counter", "7"), actor.ErrNoBehaviour)
	wantErr(t, "another type", sys.SwapTo(patient(t), ref.AnyRef, "words", "1"), actor.ErrWrongType)
	if sum := sumOf(t, ref, 1); sum != 12 {
		t.Errorf("sum %d, want 12", sum)
	}
	self := make(chan error, 1)
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		self <- sys.SwapTo(ctx, ctx.Self(), "counter", "2")
		return nil
	}))
	if await(t, self) == nil {
		t.Error("an actor swapped itself")
	}
}

// SWAP-6: an actor in limbo takes a new behaviour at once, and every restart starts it.
func TestSwapAndRestart(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			var taken atomic.Uint32
			wantTaken := func(want uint32) {
				t.Helper()
				if first := taken.Swap(0); first != want {
					t.Errorf("incarnation %d is the first with the new behaviour, want %d", first, want)
				}
			}
			o := actor.SwapOptions{Taken: &taken}
			ref := g.spawn(actor.Stateful(counting(1, nil)))
			tell(t, ref, 5, -2)
			g.next(actor.ChildEnded)
			wantErr(t, "in limbo", actor.Swap(g.ctx, ref, actor.Stateful(counting(10, nil)), o), nil)
			wantTaken(2)
			g.restart(ref.AnyRef)
			if sum := sumOf(t, ref, 1); sum != 10 {
				t.Errorf("sum %d, want 10", sum)
			}
			wantErr(t, "alive", actor.Swap(g.ctx, ref, actor.Stateful(counting(100, nil)), o), nil)
			wantTaken(2)
			if sum := sumOf(t, ref, 1); sum != 200 {
				t.Errorf("sum %d, want 200", sum)
			}
			tell(t, ref, -2)
			g.next(actor.ChildEnded)
			g.restart(ref.AnyRef)
			if sum := sumOf(t, ref, 1); sum != 100 {
				t.Errorf("sum %d, want 100", sum)
			}
			wantErr(t, "refused", actor.Swap(g.ctx, ref, actor.Stateful(func(*actor.Context, *string, *num) error { return nil }), o), actor.ErrWrongType)
			wantTaken(0)
			swap := make(chan error, 1)
			wantErr(t, "to one that waits", actor.Swap(g.ctx, ref, actor.Handler(func(*actor.Context, *num) error {
				go func() {
					err := actor.ErrSwapPending
					for errors.Is(err, actor.ErrSwapPending) { // while it meets those below
						err = actor.Swap(patient(t), ref, actor.Handler(func(*actor.Context, *num) error { return nil }), o)
					}
					swap <- err
				}()
				for err := error(nil); !errors.Is(err, actor.ErrSwapPending); { // until that one is offered
					short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
					err = actor.Swap(short, ref, actor.Handler(func(*actor.Context, *num) error { return nil }))
					cancel()
				}
				return errors.New("it fails with the old one")
			})), nil)
			tell(t, ref, 1)
			if e := g.next(actor.ChildEnded); e.Incarnation != 3 {
				t.Errorf("incarnation %d has ended, want 3", e.Incarnation)
			}
			wantErr(t, "postponed to the end", await(t, swap), nil)
			wantTaken(4)
			return nil
		})
	})
}

// Swaps under fire lose nothing, and every message meets one behaviour or the other.
func TestSwapUnderFire(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const senders, each = 8, 3000
		var handled [2]atomic.Int64
		counter := func(i int) actor.Behaviour[*num] {
			return actor.Stateful(func(_ *actor.Context, n *int64, _ *num) error { *n++; handled[i].Add(1); return nil })
		}
		ref := actor.MustSpawn(sys, counter(0))
		var all sync.WaitGroup
		for range senders {
			all.Go(func() {
				for range each {
					if err := ref.Send(context.Background(), &num{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		finished := make(chan struct{})
		go func() { all.Wait(); close(finished) }()
		swaps := 0
		for open := true; open; swaps++ {
			wantErr(t, "swap", actor.Swap(patient(t), ref, counter((swaps+1)%2)), nil)
			select {
			case <-finished:
				open = false
			default:
			}
		}
		settle(t, sys)
		if n := handled[0].Load() + handled[1].Load(); n != senders*each {
			t.Errorf("handled %d of %d", n, senders*each)
		}
	})
}

// SWAP-7: BehaviourOf is what a swap is undone with.
func TestBehaviourOf(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		answer := func(v int64) actor.Behaviour[*num] {
			return actor.Handler(func(ctx *actor.Context, _ *num) error { return ctx.Reply(&num{Value: v}) })
		}
		ref := actor.MustSpawn(sys, answer(1))
		old, ok := actor.BehaviourOf(ref)
		if !ok {
			t.Fatal("no behaviour")
		}
		for want, b := range map[int64]actor.Behaviour[*num]{2: answer(2), 1: old} {
			if err := actor.Swap(patient(t), ref, b); err != nil {
				t.Fatal(err)
			}
			if got := sumOf(t, ref, 0); got != want {
				t.Errorf("it answers %d, want %d", got, want)
			}
		}
		ref.Stop()
		wantKind(t, ref.AnyRef, actor.ReasonNormal)
		if _, ok := actor.BehaviourOf(ref); ok {
			t.Error("a dead actor has a behaviour")
		}
	})
}
