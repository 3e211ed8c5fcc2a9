package actor_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

func valuesOf(letters []actor.DeadLetter) []int64 {
	var got []int64
	for _, l := range letters {
		got = append(got, l.Message.(*num).Value)
	}
	return got
}

func upTo(from, to int64) []int64 {
	var all []int64
	for v := from; v < to; v++ {
		all = append(all, v)
	}
	return all
}

// filled is an actor with messages 0 to n in its mailbox and nothing done.
func filled(t *testing.T, sys *actor.System, n int64, m actor.Mailbox) actor.Ref[*num] {
	t.Helper()
	r := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		_, err := ctx.Suspend(ctx)
		return err
	}), actor.Options{Mailbox: m})
	tell(t, r, upTo(0, n)...)
	settled(t, sys)
	return r
}

// LOST-1: each subscriber is shown each dead letter once, with receiver, message and reason, and those of one actor in the order of
// its mailbox.
func TestDeadLettersComeInOrder(t *testing.T) {
	for name, m := range map[string]actor.Mailbox{"unbounded": {}, "bounded": {Capacity: 1000, Overflow: mailbox.Reject}} {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				const n = 500
				first, second := deaths(t, sys), deaths(t, sys)
				r := filled(t, sys, n, m)
				r.Stop()
				settled(t, sys)
				for _, c := range []*collector[actor.DeadLetter]{first, second} {
					if got := valuesOf(c.all()); !slices.Equal(got, upTo(0, n)) {
						t.Errorf("shown: %v", got)
					}
					for _, l := range c.all() {
						if l.To != r.AnyRef || l.Reason != actor.DeadStopped {
							t.Fatalf("shown as %+v", l)
						}
					}
				}
			})
		})
	}
}

// LOST-2: DeadLetters returns the last so many, oldest first, whoever watched.
func TestLastDeadLettersAreKept(t *testing.T) {
	for _, c := range []struct {
		keep int
		want []int64
	}{{7, upTo(93, 100)}, {100, upTo(0, 100)}, {0, upTo(0, 100)}, {-1, nil}} {
		eachProcs(t, func(t *testing.T, sys *actor.System) {
			filled(t, sys, 100, actor.Mailbox{}).Stop()
			settled(t, sys)
			if got := valuesOf(sys.DeadLetters()); !slices.Equal(got, c.want) {
				t.Errorf("of 100, %d are to be kept: %v", c.keep, got)
			}
			kept := sys.DeadLetters()
			filled(t, sys, 3, actor.Mailbox{}).Stop()
			settled(t, sys)
			if !slices.Equal(valuesOf(kept), c.want) {
				t.Error("what was returned changed later")
			}
		}, actor.SystemOptions{DeadLetters: c.keep})
	}
}

// LOST-3: a subscription lasts from SubscribeDeadLetters to the function that it returned, and a subscriber that panics harms nobody.
func TestDeadLetterSubscription(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		lose := func() {
			filled(t, sys, 2, actor.Mailbox{}).Stop()
			settled(t, sys)
		}
		var all, some collector[actor.DeadLetter]
		panics := 0
		t.Cleanup(sys.SubscribeDeadLetters(func(actor.DeadLetter) { panics++; panic("a subscriber") }))
		t.Cleanup(sys.SubscribeDeadLetters(all.add))
		lose()
		cancel := sys.SubscribeDeadLetters(some.add)
		lose()
		cancel()
		cancel()
		lose()
		if len(all.all()) != 6 || len(some.all()) != 2 || panics != 6 {
			t.Errorf("shown %d of 6, %d of 2, panicked %d times of 6", len(all.all()), len(some.all()), panics)
		}
	})
}

// LOST-4: whoever is shown a dead letter may send it again from there, and use the System.
func TestDeadLetterIsSentAgain(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var got collector[int64]
		heir := actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *num) error { got.add(m.Value); return nil }))
		t.Cleanup(sys.SubscribeDeadLetters(func(l actor.DeadLetter) {
			if err := heir.Send(t.Context(), l.Message.(*num)); err != nil {
				t.Error(err)
			}
			if last := valuesOf(sys.DeadLetters()); len(last) == 0 || last[len(last)-1] != l.Message.(*num).Value {
				t.Errorf("shown before it was kept: %v", last)
			}
			sys.SubscribeDeadLetters(func(actor.DeadLetter) {})()
		}))
		filled(t, sys, 100, actor.Mailbox{}).Kill()
		l := settle(t, sys)
		if !slices.Equal(got.all(), upTo(0, 100)) || l.Dead != 100 || l.Handled != 100 {
			t.Errorf("got %v, ledger %v", got.all(), l)
		}
	})
}

// LOST-3: a subscriber that calls Goexit, as t.FailNow does, takes nothing from the ending actor, from the other subscribers or from
// the ledger: the actor's reason stays, its children are stopped, and it is shown no more.
func TestGoexitInASubscriber(t *testing.T) {
	for name, m := range map[string]actor.Mailbox{
		"unbounded": {}, "bounded": {Capacity: 100}, "priority": {Priority: func(proto.Message) int { return 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				for _, end := range []struct {
					how  func(actor.AnyRef)
					kind actor.ReasonKind
				}{{actor.AnyRef.Stop, actor.ReasonNormal}, {actor.AnyRef.Kill, actor.ReasonKilled}, {actor.AnyRef.Shutdown, actor.ReasonNormal}} {
					before := deaths(t, sys)
					goes := 0
					for range 3 {
						t.Cleanup(sys.SubscribeDeadLetters(func(actor.DeadLetter) { goes++; runtime.Goexit() }))
					}
					after := deaths(t, sys)
					var child actor.AnyRef
					a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						child = actor.MustSpawn(ctx, hold()).AnyRef
						_, err := in.Select(ctx, func(m *num) bool { return m.Value == 5 })
						return errors.Join(err, ctx.Stash(), ctx.Sleep(time.Hour))
					}), actor.Options{Mailbox: m})
					tell(t, a, upTo(0, 10)...)
					settled(t, sys)
					end.how(a.AnyRef)
					wantKind(t, a.AnyRef, end.kind)
					settled(t, sys)
					if len(before.all()) != 10 || len(after.all()) != 10 || goes != 3 || child.Alive() {
						t.Errorf("shown %d before and %d behind, %d times to the ones that go; the child lives: %v",
							len(before.all()), len(after.all()), goes, child.Alive())
					}
				}
			})
		})
	}
}

// LOST-3: a subscriber's Goexit in a sender's goroutine takes that goroutine and not the message that it sent.
func TestGoexitInASubscriberOfASender(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, idler(), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.DropOldest}})
		for range 100 {
			cancel := sys.SubscribeDeadLetters(func(actor.DeadLetter) { runtime.Goexit() })
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range 5 {
					_ = a.Send(t.Context(), &num{})
				}
			}()
			await(t, done)
			cancel()
			settled(t, sys)
		}
	})
}

// LOST-5: a dead letter says when it died, what its receiver was called, and whether it was a call.
func TestDeadLetterTellsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(t)
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Sleep(time.Hour) }), actor.Options{Name: "clerk"})
		start := time.Now()
		tell(t, a, 0, 1)
		synctest.Wait()
		called := make(chan error, 1)
		go func() {
			_, err := actor.Call[*num](context.Background(), a, &num{Value: 2})
			called <- err
		}()
		time.Sleep(time.Minute)
		a.Stop()
		wantErr(t, "call", <-called, actor.ErrStopped)
		outcome(t, a.AnyRef)
		letters := sys.DeadLetters()
		if len(letters) != 2 {
			t.Fatal(letters)
		}
		for i, l := range letters {
			if l.Name != "clerk" || l.Call != (i == 1) || !l.Time.Equal(start.Add(time.Minute)) {
				t.Errorf("%+v", l)
			}
		}
	})
}

// LOST-1: subscribers are called in the order in which they subscribed, so that a seed rules what they do.
func TestSubscribersAreCalledInOrder(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var order collector[int64]
		for i := range int64(20) {
			cancel := sys.SubscribeDeadLetters(func(actor.DeadLetter) { order.add(i) })
			if i%3 == 1 {
				cancel()
			}
		}
		a := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { return errPoke }))
		tell(t, a, 1)
		outcome(t, a.AnyRef)
		want := slices.DeleteFunc(upTo(0, 20), func(i int64) bool { return i%3 == 1 })
		if got := order.all(); !slices.Equal(got, want) {
			t.Errorf("called %v, want %v", got, want)
		}
	})
}
