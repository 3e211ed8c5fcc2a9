package actor_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// ORD-1: messages from one sender to one receiver arrive in the order in which they were sent, for handlers and routines,
// senders that are actors and goroutines, every kind of mailbox that keeps order.
func TestOrderPerSender(t *testing.T) {
	boxes := map[string]actor.Mailbox{
		"unbounded": {},
		"suspend":   {Capacity: 3, Overflow: mailbox.Suspend},
		"priority":  {Priority: func(proto.Message) int { return 0 }},
	}
	for name, box := range boxes {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				const senders, each = 8, 300
				check := func(m *num, last map[int64]int64) error {
					sender, n := m.Value>>32, m.Value&0xffffffff
					if last[sender]+1 != n {
						return fmt.Errorf("sender %d: %d came after %d", sender, n, last[sender])
					}
					last[sender] = n
					return nil
				}
				handlerLast, routineLast := map[int64]int64{}, map[int64]int64{}
				receivers := []actor.Ref[*num]{
					actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *num) error { return check(m, handlerLast) }), actor.Options{Mailbox: box}),
					actor.MustSpawn(sys, actor.Routine(func(_ *actor.Context, in *actor.Inbox[*num]) error {
						for m := range in.All() {
							if err := check(m, routineLast); err != nil {
								return err
							}
						}
						return nil
					}), actor.Options{Mailbox: box}),
				}
				run := func(ctx context.Context, sender int64) error {
					for n := range int64(each) {
						for _, r := range receivers {
							if err := r.Send(ctx, &num{Value: sender<<32 | (n + 1)}); err != nil {
								return err
							}
						}
					}
					return nil
				}
				var all sync.WaitGroup
				errs := make(chan error, 2*senders)
				for s := range int64(senders) {
					all.Go(func() { errs <- run(context.Background(), s) })
					a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { return run(ctx, senders+s) }))
					defer func() { wantKind(t, a.AnyRef, actor.ReasonNormal) }()
				}
				all.Wait()
				for range senders {
					wantErr(t, "send", await(t, errs), nil)
				}
				settle(t, sys)
				for _, r := range receivers {
					if !r.Alive() {
						_, why := outcome(t, r.AnyRef)
						t.Fatal(why)
					}
				}
			})
		})
	}
}

// ORD-2: what is sent before another message causes a third is not overtaken by it: a Down, a timer's message and a Drain
// take their turn behind what was sent before.
func TestDownComesBehindMessages(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for range 100 {
			var seen collector[int64]
			done := make(chan struct{})
			watcher := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value == 0 {
					self, _ := actor.TypedRef[*num](ctx.Self())
					_, _, err := actor.SpawnMonitor(ctx, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						for i := range int64(10) {
							if err := self.Send(ctx, &num{Value: i + 1}); err != nil {
								return err
							}
						}
						panic("now")
					}), asNum)
					return err
				}
				seen.add(m.Value)
				if m.Value == -1 {
					close(done)
				}
				return nil
			}))
			tell(t, watcher, 0)
			await(t, done)
			if got := fmt.Sprint(seen.all()); got != "[1 2 3 4 5 6 7 8 9 10 -1]" {
				t.Fatal(got)
			}
			watcher.Stop()
		}
	})
}

// TYPE-1: a message of the wrong type, sent through an untyped ref, never reaches the behaviour: it is dead-lettered with
// the reason, and a call with one fails with ErrWrongType.
func TestWrongType(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		dead := deaths(t, sys)
		var seen collector[int64]
		refs := []actor.Ref[*num]{
			actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *num) error { seen.add(m.Value); return nil })),
			actor.MustSpawn(sys, actor.Routine(func(_ *actor.Context, in *actor.Inbox[*num]) error {
				for m := range in.All() {
					seen.add(m.Value)
				}
				return nil
			})),
			actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				for {
					m, err := in.Select(ctx, func(m *num) bool { return m.Value == 2 })
					if err != nil {
						return err
					}
					seen.add(m.Value)
				}
			})),
			actor.MustSpawn(sys, actor.Stateful(func(_ *actor.Context, _ *int, m *num) error { seen.add(m.Value); return nil })),
		}
		for _, r := range refs {
			if _, ok := actor.TypedRef[*text](r.AnyRef); ok {
				t.Fatal("a ref was narrowed to the wrong type")
			}
			if same, ok := actor.TypedRef[*num](r.AnyRef); !ok || same != r {
				t.Fatal("a ref was not narrowed to its own type")
			}
			wantErr(t, "send", r.Any().Send(context.Background(), &text{Value: "x"}), nil)
			tell(t, r, 2)
		}
		settle(t, sys)
		if got := seen.all(); len(got) != len(refs) {
			t.Fatalf("handled %v", got)
		}
		letters := dead.all()
		if len(letters) != len(refs) {
			t.Fatalf("dead letters: %v", letters)
		}
		for _, l := range letters {
			if m, ok := l.Message.(*text); l.Reason != actor.DeadWrongType || !ok || m.Value != "x" {
				t.Fatalf("dead letter: %v", l)
			}
		}
	})
}

// TYPE-2: Become keeps the type of the mailbox, and routines and handlers do not turn into each other.
func TestBecomeRefuses(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 3)
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			got <- actor.Become(ctx, actor.Handler(func(*actor.Context, *text) error { return nil }))
			got <- actor.Become(ctx, hold())
			got <- actor.Become(ctx, actor.StatefulFrom(func(*actor.Context) (*int, error) { return nil, nil },
				func(*actor.Context, *int, *num) error { return nil }))
			return nil
		}))
		tell(t, a, 1)
		wantErr(t, "another type", await(t, got), actor.ErrWrongType)
		for range 2 {
			if await(t, got) == nil {
				t.Fatal("a wrong behaviour was taken")
			}
		}
		tell(t, a, 1)
		wantErr(t, "the behaviour is still there", await(t, got), actor.ErrWrongType)
	})
}

// TYPE-3: each incarnation of a stateful behaviour starts with a state of its own.
func TestStatefulStateIsFresh(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		count := actor.Stateful(func(ctx *actor.Context, n *int64, m *num) error {
			*n++
			return ctx.Reply(&num{Value: *n})
		})
		a, b := actor.MustSpawn(sys, count), actor.MustSpawn(sys, count)
		for i := range int64(5) {
			for _, r := range []actor.Ref[*num]{a, b} {
				got, err := actor.Call[*num](patient(t), r, &num{})
				if err != nil || got.Value != i+1 {
					t.Fatalf("%v, %v", got, err)
				}
			}
		}
		failing := errors.New("no state")
		c := actor.MustSpawn(sys, actor.StatefulFrom(func(*actor.Context) (*int, error) { return nil, failing },
			func(*actor.Context, *int, *num) error { return nil }))
		tell(t, c, 1)
		wantErr(t, "start", wantKind(t, c.AnyRef, actor.ReasonError).Err, failing)
	})
}

// ORD-3: an actor's code runs on one goroutine at a time, and what a turn wrote the next one sees: state needs no lock.
func TestStateNeedsNoLock(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const senders, each = 8, 1000
		plain := 0
		var inside atomic.Int32
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if inside.Add(1) != 1 {
				return errors.New("two at once")
			}
			defer inside.Add(-1)
			plain++
			if m.Value%64 == 0 {
				return ctx.Yield()
			}
			return nil
		}))
		var all sync.WaitGroup
		for range senders {
			all.Go(func() {
				for i := range int64(each) {
					_ = a.Send(context.Background(), &num{Value: i})
				}
			})
		}
		all.Wait()
		settle(t, sys)
		a.Stop()
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		if plain != senders*each {
			t.Fatal(plain)
		}
	})
}
