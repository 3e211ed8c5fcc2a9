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

// CALL-2: a call that Select looks at when its actor ends fails at once, whether match panics, exits or is killed in a wait, and
// whether the call comes fresh or was passed over before.
func TestCallInMatchFailsAtOnce(t *testing.T) {
	ways := map[string]func(ctx *actor.Context) bool{
		"panic":  func(*actor.Context) bool { panic("match") },
		"goexit": func(*actor.Context) bool { runtime.Goexit(); return true },
		"kill":   func(ctx *actor.Context) bool { ctx.Self().Kill(); return ctx.Sleep(time.Hour) == nil },
	}
	for name, way := range ways {
		for _, passedOver := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				eachProcs(t, func(t *testing.T, sys *actor.System) {
					a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						if passedOver {
							if _, err := in.Select(ctx, func(m *num) bool { return m.Value == 2 }); err != nil {
								return err
							}
						}
						_, err := in.Select(ctx, func(*num) bool { return way(ctx) })
						return err
					}))
					got := make(chan error, 1)
					caller(sys, a, &num{Value: 1}, got)
					settle(t, sys)
					_ = a.Send(t.Context(), &num{Value: 2})
					wantErr(t, "call", await(t, got), actor.ErrStopped)
					outcome(t, a.AnyRef)
					settle(t, sys)
				})
			})
		}
	}
}

// WAIT-3: match only looks: what would take the message from Select, or another one, is refused, and each is accounted for once.
func TestMatchOnlyLooks(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			look := func(m *num) bool {
				if err := ctx.Stash(); !errors.Is(err, actor.ErrNoMessage) {
					t.Errorf("stash: %v", err)
				}
				if err := ctx.Reply(m); !errors.Is(err, actor.ErrNoCall) || ctx.IsCall() {
					t.Errorf("reply: %v", err)
				}
				if _, err := in.Receive(ctx); err == nil {
					t.Error("receive in match")
				}
				if _, err := in.Select(ctx, func(*num) bool { return true }); err == nil {
					t.Error("select in match")
				}
				if _, ok := in.Poll(); ok {
					t.Error("poll in match")
				}
				return m.Value == 3
			}
			for range 2 { // fresh, then passed over
				m, err := in.Select(ctx, look)
				if err != nil {
					return err
				}
				if err := ctx.Reply(m); err != nil {
					return err
				}
			}
			for m := range in.All() {
				if ctx.IsCall() {
					t.Errorf("%v is a call", m)
				}
			}
			return nil
		}))
		tell(t, a, 1, 2)
		for range 2 {
			if m, err := actor.Call[*num](patient(t), a, &num{Value: 3}); err != nil || m.Value != 3 {
				t.Fatal(m, err)
			}
		}
		settle(t, sys)
		a.Stop()
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		if l := settle(t, sys); l.Dead != 0 {
			t.Error(l)
		}
	})
}

// MON-6: what makes a message of a Down may fail like a behaviour: that ends the actor, in Select too, and loses nothing.
func TestAdapterFails(t *testing.T) {
	ways := map[string]func(in *actor.Inbox[*num], ctx *actor.Context) *num{
		"panic":  func(*actor.Inbox[*num], *actor.Context) *num { panic("adapt") },
		"goexit": func(*actor.Inbox[*num], *actor.Context) *num { runtime.Goexit(); return nil },
		"kill":   func(_ *actor.Inbox[*num], ctx *actor.Context) *num { ctx.Self().Kill(); _ = ctx.Sleep(0); return nil },
		"receive, stash": func(in *actor.Inbox[*num], ctx *actor.Context) *num {
			if _, err := in.Receive(ctx); err == nil || ctx.Stash() == nil {
				panic("took a message")
			}
			panic("refused")
		},
	}
	for name, way := range ways {
		for _, receive := range []func(ctx *actor.Context, in *actor.Inbox[*num]) error{
			func(ctx *actor.Context, in *actor.Inbox[*num]) error { _, err := in.Receive(ctx); return err },
			func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				_, err := in.Select(ctx, func(*num) bool { return true })
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				eachProcs(t, func(t *testing.T, sys *actor.System) {
					target := actor.MustSpawn(sys, hold())
					a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						if _, err := actor.Monitor(ctx, target.AnyRef, func(actor.Down) *num { return way(in, ctx) }); err != nil {
							return err
						}
						return receive(ctx, in)
					}))
					settle(t, sys)
					target.Stop()
					if _, why := outcome(t, a.AnyRef); why.Normal() {
						t.Error(why)
					}
					settle(t, sys)
				})
			})
		}
	}
}

// MON-6: what makes a message of a Down may return nil, typed or not: then there is no message.
func TestAdapterWithoutMessage(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		target := actor.MustSpawn(sys, hold())
		var none *num
		watch := func(ctx *actor.Context) error {
			_, err := actor.Monitor(ctx, target.AnyRef, func(actor.Down) *num { return none })
			_, err2 := actor.Monitor(ctx, target.AnyRef, func(actor.Down) proto.Message { return nil })
			return errors.Join(err, err2, actor.TrapExit(ctx, func(actor.Down) *num { return nil }), ctx.Link(target.AnyRef))
		}
		handler := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m == nil {
				t.Error("a handler got nil")
			}
			return watch(ctx)
		}))
		tell(t, handler, 1)
		for _, match := range []func(*num) bool{nil, func(m *num) bool { return m == nil }} {
			actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				if err := watch(ctx); err != nil {
					return err
				}
				var m *num
				var err error
				if match == nil {
					m, err = in.Receive(ctx)
				} else {
					m, err = in.Select(ctx, match)
				}
				if err == nil {
					t.Errorf("a routine got %v", m)
				}
				return err
			}))
		}
		settle(t, sys)
		target.Stop()
		outcome(t, target.AnyRef)
		settle(t, sys)
	})
}

// TYPE-5: Monitor, SpawnMonitor and TrapExit refuse messages that the actor does not take.
func TestMonitorOfAnotherType(t *testing.T) {
	sys := newSystem(t)
	asText := func(actor.Down) *text { return &text{} }
	asAny := func(d actor.Down) proto.Message { return asNum(d) }
	refused := func(ctx *actor.Context) error {
		peer := actor.MustSpawn(sys, idler())
		_, err := actor.Monitor(ctx, peer.AnyRef, asText)
		_, _, err2 := actor.SpawnMonitor(ctx, idler(), asText)
		for _, err := range []error{err, err2, actor.TrapExit(ctx, asText)} {
			if !errors.Is(err, actor.ErrWrongType) {
				t.Errorf("%v", err)
			}
		}
		_, err = actor.Monitor(ctx, peer.AnyRef, asAny)
		return errors.Join(err, actor.TrapExit[*text](ctx, nil), actor.TrapExit(ctx, asNum))
	}
	r := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error { return refused(ctx) }))
	wantKind(t, r.AnyRef, actor.ReasonNormal)
	for _, b := range []actor.Behaviour[*num]{
		actor.Handler(func(ctx *actor.Context, _ *num) error { defer ctx.Stop(); return refused(ctx) }),
		actor.Stateful(func(ctx *actor.Context, _ *int, _ *num) error { defer ctx.Stop(); return refused(ctx) }),
	} {
		h := actor.MustSpawn(sys, b)
		tell(t, h, 1)
		wantKind(t, h.AnyRef, actor.ReasonNormal)
	}
	wide := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
		return errors.Join(actor.TrapExit(ctx, asNum), actor.TrapExit(ctx, asText), actor.TrapExit(ctx, asAny))
	}))
	wantKind(t, wide.AnyRef, actor.ReasonNormal)
}

// WAIT-4: a call that was answered, or whose Responder was taken, comes back from the stash as a plain message.
func TestStashOfAnAnsweredCall(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		rs := make(chan actor.Responder, 1)
		var seen collector[int64]
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value == 0 {
				return ctx.Unstash()
			}
			seen.add(m.Value)
			switch {
			case !ctx.IsCall():
				return nil
			case m.Value == 1:
				return errors.Join(ctx.Reply(m), ctx.Stash())
			}
			r, err := ctx.Responder()
			rs <- r
			return errors.Join(err, ctx.Stash())
		}))
		_, err := actor.Call[*num](patient(t), a, &num{Value: 1})
		wantErr(t, "the answered call", err, nil)
		got := make(chan error, 1)
		caller(sys, a, &num{Value: 2}, got)
		r := await(t, rs)
		tell(t, a, 0)
		settle(t, sys)
		wantErr(t, "reply", r.Reply(&num{}), nil)
		wantErr(t, "the call kept as a Responder", await(t, got), nil)
		if l := settle(t, sys); l.Dead != 0 || !slices.Equal(seen.all(), []int64{1, 2, 1, 2}) {
			t.Errorf("seen %v, %v", seen.all(), l)
		}
	})
}

// drainees are behaviours that note the numbers they get, answer calls, and wait before they do.
func drainees(note func(int64)) map[string]actor.Behaviour[*num] {
	handle := func(ctx *actor.Context, m *num) error {
		if err := ctx.Sleep(time.Millisecond); err != nil {
			return err
		}
		note(m.Value)
		if ctx.IsCall() {
			return ctx.Reply(m)
		}
		return nil
	}
	each := func(ctx *actor.Context, receive func() (*num, error)) error {
		for {
			m, err := receive()
			if err != nil {
				return err
			}
			if err := handle(ctx, m); err != nil {
				return err
			}
		}
	}
	return map[string]actor.Behaviour[*num]{
		"handler":  actor.Handler(handle),
		"stateful": actor.Stateful(func(ctx *actor.Context, _ *int, m *num) error { return handle(ctx, m) }),
		"All": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for m := range in.All() {
				if err := handle(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}),
		"Receive": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			return each(ctx, func() (*num, error) { return in.Receive(ctx) })
		}),
		"Receive under a timeout": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			return each(ctx, func() (*num, error) { return in.ReceiveTimeout(time.Hour) })
		}),
		"Receive while cleaning up": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, cancel := ctx.Cleanup(time.Hour)
			defer cancel()
			return each(ctx, func() (*num, error) { return in.Receive(ctx) })
		}),
		"Poll": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			return each(ctx, func() (*num, error) {
				for {
					if m, ok := in.Poll(); ok {
						return m, nil
					}
					if err := ctx.Sleep(time.Millisecond); err != nil {
						return nil, err
					}
				}
			})
		}),
		"Select what there is none of, then All": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if _, err := in.Select(ctx, func(m *num) bool { return m.Value == 99 }); !errors.Is(err, actor.ErrStopped) {
				return err
			}
			for m := range in.All() {
				if err := handle(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}),
		"Select one by one, then Receive": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for want := int64(4); want >= 2; want-- {
				m, err := in.Select(ctx, func(m *num) bool { return m.Value == want })
				if err == nil {
					err = handle(ctx, m)
				}
				if err != nil {
					return err
				}
			}
			return each(ctx, func() (*num, error) { return in.Receive(ctx) })
		}),
		"stash, Unstash at the end": actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			for {
				_, err := in.Receive(ctx)
				if errors.Is(err, actor.ErrStopped) {
					break
				}
				if err := errors.Join(err, ctx.Stash()); err != nil {
					return err
				}
			}
			if err := ctx.Unstash(); err != nil {
				return err
			}
			return each(ctx, func() (*num, error) { return in.Receive(ctx) })
		}),
	}
}

// LIFE-4: what was queued before Drain is handled, every kind of behaviour with all its waits; what is sent after it becomes a dead
// letter or is refused, a call fails; the end is a normal one.
func TestDrainIsExact(t *testing.T) {
	for name, m := range map[string]actor.Mailbox{
		"unbounded": {}, "bounded": {Capacity: 100, Overflow: mailbox.Reject}, "priority": {Priority: func(proto.Message) int { return 0 }},
	} {
		var seen collector[int64]
		for how := range drainees(seen.add) {
			t.Run(name+"/"+how, func(t *testing.T) {
				inBubble(t, func(t *testing.T, sys *actor.System) {
					var seen collector[int64]
					a := actor.MustSpawn(sys, drainees(seen.add)[how], actor.Options{Mailbox: m})
					tell(t, a, 0, 1, 2, 3, 4, 5)
					wantErr(t, "drain", a.Drain(), nil)
					_ = a.Send(context.Background(), &num{Value: 6}) // refused, if the Drain has had its turn
					got := make(chan error, 1)
					caller(sys, a, &num{Value: 99}, got)
					_ = a.Send(context.Background(), &num{Value: 7})
					wantErr(t, "a call behind it", <-got, actor.ErrStopped)
					synctest.Wait()
					_ = a.Drain()
					_ = a.Send(context.Background(), &num{Value: 8})
					wantKind(t, a.AnyRef, actor.ReasonNormal)
					all := seen.all()
					slices.Sort(all)
					if !slices.Equal(all, upTo(0, 6)) {
						t.Errorf("handled %v; %v", seen.all(), sys.DeadLetters())
					}
				})
			})
		}
	}
}

// BAD-14: a nil and a zero Inbox answer ErrNilContext and hold nothing.
func TestNilAndZeroInbox(t *testing.T) {
	sys := newSystem(t)
	check := func(ctx context.Context) {
		for name, in := range map[string]*actor.Inbox[*num]{"nil": nil, "zero": new(actor.Inbox[*num])} {
			errs := map[string]error{}
			_, errs["Receive"] = in.Receive(ctx)
			_, errs["Select"] = in.Select(ctx, func(*num) bool { return true })
			_, errs["ReceiveTimeout"] = in.ReceiveTimeout(time.Hour)
			_, errs["ReceiveTimeout(0)"] = in.ReceiveTimeout(0)
			_, errs["ReceiveCategory"] = in.ReceiveCategory(ctx, 1)
			for what, err := range errs {
				if !errors.Is(err, actor.ErrNilContext) {
					t.Errorf("%s from a %s Inbox: %v", what, name, err)
				}
			}
			for m := range in.All() {
				t.Error(m)
			}
			in.Categorize(func(*num) any { return 1 })()
			in.Refuse(errPoke)
			if in.Swapped() || in.Offer() != (actor.SwapOffer{}) || in.HandOver(1) == nil {
				t.Errorf("a %s Inbox is offered something", name)
			}
			if _, ok := in.Poll(); ok || in.Pending() != 0 || in.Category(&num{}) != nil {
				t.Errorf("a %s Inbox holds something", name)
			}
		}
	}
	check(t.Context())
	a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error { check(ctx); return nil }))
	wantKind(t, a.AnyRef, actor.ReasonNormal)
}

// BAD-11: a category that cannot be compared is refused.
func TestCategoryThatCannotBeCompared(t *testing.T) {
	sys := newSystem(t)
	a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		for _, category := range []any{[]int{1}, map[int]int{}, [1]any{[]int{}}} {
			if _, err := in.ReceiveCategory(ctx, category); err == nil {
				t.Errorf("%T was accepted", category)
			}
		}
		return nil
	}))
	wantKind(t, a.AnyRef, actor.ReasonNormal)
}
