package actor_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// gated is an actor that notes what it handles and sleeps in the message 0 until it is opened.
func gated(t *testing.T, sys *actor.System, box actor.Mailbox) (ref actor.Ref[*num], seen *collector[int64], open func()) {
	t.Helper()
	seen = new(collector[int64])
	ref = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		if m.Value == 0 {
			_ = ctx.Sleep(time.Hour)
			return nil
		}
		seen.add(m.Value)
		return nil
	}), actor.Options{Mailbox: box})
	tell(t, ref, 0)
	settle(t, sys)
	return ref, seen, func() { wantErr(t, "open", ref.Interrupt(context.Canceled), nil) }
}

// MBX-1: a full mailbox does what its policy says; what is refused is the sender's, what is dropped is counted.
func TestOverflowPolicies(t *testing.T) {
	cases := []struct {
		policy  mailbox.Overflow
		err     error
		handled string
		dropped []int64
	}{
		{mailbox.Reject, actor.ErrFull, "[1 2 3]", nil},
		{mailbox.DropNewest, nil, "[1 2 3]", []int64{4, 5}},
		{mailbox.DropOldest, nil, "[3 4 5]", []int64{1, 2}},
	}
	for _, c := range cases {
		t.Run(c.policy.String(), func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				dead := deaths(t, sys)
				ref, seen, open := gated(t, sys, actor.Mailbox{Capacity: 3, Overflow: c.policy})
				tell(t, ref, 1, 2, 3)
				wantErr(t, "send 4", ref.Send(context.Background(), &num{Value: 4}), c.err)
				wantErr(t, "send 5", ref.Send(context.Background(), &num{Value: 5}), c.err)
				open()
				l := settle(t, sys)
				if got := fmt.Sprint(seen.all()); got != c.handled {
					t.Fatalf("handled %v, want %v", got, c.handled)
				}
				if l.Dropped != uint64(len(c.dropped)) || c.err != nil && l.Returned != 2 {
					t.Fatal(l)
				}
				for i, d := range dead.all() {
					if d.Reason != actor.DeadOverflow || d.Message.(*num).Value != c.dropped[i] {
						t.Fatalf("dead letter %v", d)
					}
				}
			})
		})
	}
}

// MBX-2: with Suspend, senders wait for room and get it in the order in which they came.
func TestSuspendedSendersGetRoomInOrder(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref, seen, open := gated(t, sys, actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend})
		tell(t, ref, 1)
		const senders = 20
		var refs []actor.Ref[*num]
		for i := range int64(senders) {
			s := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				return ref.Send(ctx, &num{Value: i + 2})
			}))
			settle(t, sys)
			refs = append(refs, s)
		}
		open()
		for _, s := range refs {
			wantKind(t, s.AnyRef, actor.ReasonNormal)
		}
		settle(t, sys)
		for i, v := range seen.all() {
			if v != int64(i+1) {
				t.Fatalf("handled %v", seen.all())
			}
		}
	})
}

// MBX-3: a sender that is killed, interrupted or out of time while it waits for room has not sent.
func TestSuspendedSenderGivesUp(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		full := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) }),
			actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}})
		tell(t, full, 1)
		before := settle(t, sys)
		got := make(chan error, 10)
		sender := func(d time.Duration) actor.Ref[*num] {
			return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				bounded, cancel := ctx.WithTimeout(d)
				defer cancel()
				got <- full.Send(bounded, &num{})
				return nil
			}))
		}
		killed, stopped, interrupted := sender(time.Hour), sender(time.Hour), sender(time.Hour)
		settle(t, sys)
		killed.Kill()
		wantKind(t, killed.AnyRef, actor.ReasonKilled)
		stopped.Stop()
		wantErr(t, "stopped", await(t, got), actor.ErrStopped)
		wantErr(t, "interrupt", interrupted.Interrupt(context.Canceled), nil)
		wantErr(t, "interrupted", await(t, got), context.Canceled)
		sender(time.Microsecond)
		wantErr(t, "too late", await(t, got), context.DeadlineExceeded)
		ctx, cancel := context.WithCancel(context.Background())
		go func() { got <- full.Send(ctx, &num{}) }()
		cancel()
		wantErr(t, "a goroutine's context", await(t, got), context.Canceled)
		if after := settle(t, sys); after.Sent != before.Sent || after.Queued != before.Queued {
			t.Fatalf("before: %v; after: %v", before, after)
		}
	})
}

// MBX-4: when the receiver ends, those who wait for room in its mailbox get ErrStopped and keep their message.
func TestReceiverEndsWhileSendersWait(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, end := range []func(actor.AnyRef){actor.AnyRef.Stop, actor.AnyRef.Kill} {
			full := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) }),
				actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}})
			tell(t, full, 1)
			const n = 20
			got := make(chan error, n)
			for i := range n {
				if i%2 == 0 {
					go func() { got <- full.Send(context.Background(), &num{}) }()
					continue
				}
				actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					got <- full.Send(ctx, &num{})
					return nil
				}))
			}
			wantErr(t, "Quiesce", sys.Quiesce(patient(t)), nil) // the goroutines may still be on their way: that is all right, too
			end(full.AnyRef)
			for range n {
				wantErr(t, "send", await(t, got), actor.ErrStopped)
			}
			settle(t, sys)
		}
	})
}

// MBX-5: a priority mailbox hands out the highest first, and equals in the order in which they came.
func TestPriorityOrder(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref, seen, open := gated(t, sys, actor.Mailbox{Priority: func(m proto.Message) int { return int(m.(*num).Value / 10) }})
		tell(t, ref, 11, 31, 21, 12, 32, 1, 22)
		open()
		settle(t, sys)
		if got := fmt.Sprint(seen.all()); got != "[31 32 21 22 11 12 1]" {
			t.Fatal(got)
		}
	})
}

// MBX-6: a bounded mailbox without room refuses a call like a message, and a dropped call fails with ErrFull.
func TestCallsAndFullMailboxes(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for _, policy := range []mailbox.Overflow{mailbox.Reject, mailbox.DropNewest, mailbox.DropOldest} {
			ref, _, open := gated(t, sys, actor.Mailbox{Capacity: 1, Overflow: policy})
			got := make(chan error, 1)
			if policy == mailbox.DropOldest {
				actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					_, err := actor.Call[*num](ctx, ref, &num{Value: 1})
					got <- err
					return nil
				}))
				settle(t, sys)
				tell(t, ref, 2)
			} else {
				tell(t, ref, 1)
				_, err := actor.Call[*num](patient(t), ref, &num{Value: 2})
				got <- err
			}
			wantErr(t, policy.String(), await(t, got), actor.ErrFull)
			open()
			settle(t, sys)
		}
	})
}

// MBX-7: Priority sees messages of the actor's type only; when it panics the sender gets the panic, and the ledger stays exact.
func TestPriorityPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		dead := deaths(t, sys)
		handled := new(collector[int64])
		ref := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			handled.add(m.Value)
			return nil
		}), actor.Options{Mailbox: actor.Mailbox{Priority: func(m proto.Message) int {
			if m.(*num).Value < 0 {
				panic(errPoke)
			}
			return 0
		}}})
		wantErr(t, "send", ref.Send(context.Background(), &num{Value: -1}), errPoke)
		_, err := actor.Call[*num](context.Background(), ref, &num{Value: -2})
		wantErr(t, "call", err, errPoke)
		wantErr(t, "send of another type", ref.AnyRef.Send(context.Background(), &text{Value: "x"}), nil)
		_, err = actor.Call[*num](context.Background(), actor.Ref[*text](ref), &text{Value: "y"})
		wantErr(t, "call with another type", err, actor.ErrWrongType)
		scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if err := ref.Send(ctx, &num{Value: -3}); !errors.Is(err, errPoke) {
				return fmt.Errorf("send from an actor: %w", err)
			}
			_, e1 := actor.SendAfter(ctx, time.Second, ref, &num{Value: -4})
			_, e2 := actor.SendAfter(ctx, time.Second, actor.Ref[*text](ref), &text{Value: "z"})
			return errors.Join(e1, e2, ref.Send(ctx, &num{Value: 5}), ctx.Sleep(time.Minute))
		})
		l := settle(t, sys)
		if got := fmt.Sprint(handled.all()); got != "[5]" || l.Returned != 3 || l.ByReason[actor.DeadWrongType] != 3 || l.ByReason[actor.DeadPanic] != 1 {
			t.Fatalf("handled %v, %v %v", got, l, l.ByReason)
		}
		for _, letter := range dead.all() {
			if letter.Reason == actor.DeadPanic && !errors.Is(letter.Err, errPoke) {
				t.Error(letter)
			}
		}
	})
}

// LEDG-1: the System is not at rest, and the ledger says so, in the middle of what goroutines and timers do to it: while a reply
// by a Responder, or a timer's message, is counted.
func TestLedgerMeetsOutsiders(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		kept := make(chan actor.Responder, 1)
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			r, err := ctx.Responder()
			kept <- r
			return err
		}))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := actor.Call[*num](ctx, a, &num{})
		wantErr(t, "call", err, context.DeadlineExceeded)
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			a.Stop()
			_, err := actor.SendAfter(ctx, time.Second, a, &num{})
			return errors.Join(err, ctx.Sleep(time.Hour))
		}))
		settle(t, sys)
		seen := 0
		defer sys.SubscribeDeadLetters(func(l actor.DeadLetter) {
			seen++
			if sys.Ledger().Exact {
				t.Errorf("at rest in the middle of %v", l)
			}
		})()
		wantErr(t, "late reply", (<-kept).Reply(&num{}), actor.ErrCallerGone)
		<-time.After(time.Minute)
		if settle(t, sys); seen != 2 {
			t.Errorf("%d dead letters", seen)
		}
	})
}

// LEDG-1, LEDG-2: 1,000 goroutines send to an actor while it is killed: each message was handled, is a dead letter, or came back
// as an error, and the three add up to exactly what was sent.
func TestKillUnderFire(t *testing.T) {
	for _, box := range []actor.Mailbox{{}, {Capacity: 16, Overflow: mailbox.Suspend}, {Capacity: 16}, {Capacity: 16, Overflow: mailbox.DropOldest}} {
		t.Run(fmt.Sprint(box.Capacity, box.Overflow), func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				const senders, each = 1000, 20
				var handled, refused, accepted atomic.Int64
				a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
					handled.Add(1)
					if handled.Load() == senders {
						ctx.Self().Kill()
					}
					return nil
				}), actor.Options{Mailbox: box})
				var all sync.WaitGroup
				for range senders {
					all.Go(func() {
						for range each {
							if a.Send(context.Background(), &num{}) == nil {
								accepted.Add(1)
							} else {
								refused.Add(1)
							}
						}
					})
				}
				all.Wait()
				a.Kill()
				wantKind(t, a.AnyRef, actor.ReasonKilled)
				l := settle(t, sys)
				if l.Sent != uint64(accepted.Load()) || l.Returned != uint64(refused.Load()) || l.Queued != 0 {
					t.Fatalf("accepted %d, refused %d: %v", accepted.Load(), refused.Load(), l)
				}
				if l.Handled != uint64(handled.Load()) || l.Handled+l.Dead+l.Dropped+l.Returned != senders*each {
					t.Fatalf("handled %d: %v", handled.Load(), l)
				}
			})
		})
	}
}

// REF-1: a ref never reaches a stranger: with a million actors come and gone, messages to the old refs come back.
func TestOldRefsReachNobody(t *testing.T) {
	rounds := 1000
	if testing.Short() || raceEnabled {
		rounds = 100
	}
	sys := newSystem(t, actor.SystemOptions{Workers: 2})
	const batch = 1000
	var got atomic.Int64
	var strangers atomic.Int64
	last := map[uint32]actor.Ref[*num]{} // by index
	reused := 0
	for round := range rounds {
		refs := make([]actor.Ref[*num], batch)
		for i := range refs {
			tag := int64(round*batch + i)
			refs[i] = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value != tag {
					strangers.Add(1)
				}
				got.Add(1)
				ctx.Stop()
				return nil
			}))
		}
		for i, r := range refs {
			tell(t, r, int64(round*batch+i))
			index := uint32(r.ID())
			if old, ok := last[index]; ok {
				reused++
				wantErr(t, "send to who lived at the same index before", old.Send(context.Background(), &num{Value: -1}), actor.ErrStopped)
			}
			last[index] = r
		}
		if err := sys.Join(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
	if reused == 0 {
		t.Fatal("no index was used twice: this test shows nothing")
	}
	if got.Load() != int64(rounds*batch) || strangers.Load() != 0 {
		t.Fatalf("%d messages, %d to strangers", got.Load(), strangers.Load())
	}
}

// REF-2: sending while actors come and go at the same index never reaches a stranger either.
func TestChurnUnderFire(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const n = 30_000
		refs := make(chan actor.Ref[*num], 256)
		var strangers, sent, refused atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for r := range refs {
					want := int64(r.ID())
					for range 4 {
						if r.Send(context.Background(), &num{Value: want}) == nil {
							sent.Add(1)
						} else {
							refused.Add(1)
						}
					}
				}
			})
		}
		behaviour := actor.Handler(func(ctx *actor.Context, m *num) error {
			if m.Value != int64(ctx.Self().ID()) {
				strangers.Add(1)
			}
			ctx.Stop()
			return nil
		})
		for range n {
			refs <- actor.MustSpawn(sys, behaviour)
		}
		close(refs)
		all.Wait()
		if err := sys.Join(patient(t)); err != nil {
			t.Fatal(err)
		}
		l := settle(t, sys)
		if strangers.Load() != 0 || l.Sent != uint64(sent.Load()) || l.Returned != uint64(refused.Load()) {
			t.Fatalf("%d strangers, %d sent, %d refused: %v", strangers.Load(), sent.Load(), refused.Load(), l)
		}
	})
}
