package remote_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// gate is an actor that handles nothing until it is opened, and then all.
type gate struct {
	ref  actor.Ref[*blob]
	open chan struct{}
	sink *sink
}

func newGate(m *member, o ...actor.Options) *gate {
	g := &gate{open: make(chan struct{}), sink: &sink{last: map[int]int{}, done: make(chan struct{})}}
	g.ref = actor.MustSpawn(m.sys, actor.Handler(func(ctx *actor.Context, b *blob) error {
		if err := ctx.Offload(ctx, func() error {
			<-g.open
			return nil
		}); err != nil {
			return err
		}
		g.sink.take(b, true)
		return nil
	}), o...)
	return g
}

// TestSlowReceiver has an actor send without end to one that does not handle anything: it suspends, others of its System run on, and what
// the receiver's node holds is bounded. Nothing is lost (REM-11).
func TestSlowReceiver(t *testing.T) {
	for _, size := range []int{100, 10_000, 100_000} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				a, b := w.pair()
				g := newGate(b)
				to, n := at(a, g.ref), 24<<20/(size+100)
				done := runs(a, func(ctx *actor.Context) error {
					for i := range n {
						if err := to.Send(ctx, parcel(0, i, size)); err != nil {
							return err
						}
					}
					return nil
				})
				pass(5 * time.Second)
				select {
				case err := <-done:
					w.Errorf("the sender did not suspend: %v", err)
				default:
				}
				s := a.session(b)
				if in := b.session(a).Intake(); in > 12<<20 || in < 512<<10 {
					w.Errorf("%d bytes in mailboxes", in)
				}
				if short, long := s.Inflight(); short > 5<<20 || long > 5<<20 {
					w.Errorf("%d and %d bytes in flight", short, long)
				}
				other := newSink(b, 1000, true)
				far := at(a, other.ref)
				holds(w, await(w, runs(a, func(ctx *actor.Context) error { // who sends elsewhere is not held up
					for i := range 1000 {
						if err := far.Send(ctx, parcel(0, i, 100)); err != nil {
							return err
						}
					}
					return nil
				})))
				await(w, other.done)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second) // nor is who sends from outside of actors let in
				defer cancel()
				wants(w, "send from outside", to.Send(ctx, parcel(1, 0, size)), context.DeadlineExceeded)
				close(g.open)
				holds(w, await(w, done))
				pass(time.Second)
				if got := g.sink.count(); got != n {
					w.Errorf("%d of %d messages came", got, n)
				}
				g.sink.check(w)
				if in := b.session(a).Intake(); in != 0 {
					w.Errorf("%d bytes are still counted", in)
				}
			})
		})
	}
}

// TestManySlowReceivers has many actors with little each in their mailboxes hold up their senders in the end (REM-11).
func TestManySlowReceivers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		const limit = 4 << 20
		a, b := w.pair(func(o *remote.Options) { o.MaxQueuedBytes, o.WindowBytes = limit, 1<<20 })
		var gates []*gate
		var to []actor.Ref[*blob]
		for range 1500 { // more than routes have numbers
			g := newGate(b)
			gates, to = append(gates, g), append(to, at(a, g.ref))
		}
		const each = 20
		done := runs(a, func(ctx *actor.Context) error {
			for i := range each {
				for _, r := range to {
					if err := r.Send(ctx, parcel(0, i, 1000)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		pass(3 * time.Second)
		if got := b.session(a).Tally().Received * 1000; got > limit+(1<<20) {
			w.Errorf("%d bytes were taken in, and %d may be", got, limit)
		}
		for _, g := range gates {
			close(g.open)
		}
		holds(w, await(w, done))
		pass(5 * time.Second)
		for _, g := range gates {
			if g.sink.count() != each {
				w.Fatalf("%d of %d messages came", g.sink.count(), each)
			}
			g.sink.check(w)
		}
	})
}

// TestAnswersPassFullMailboxes has mailboxes of a node be full of what their owners handle only when they have got answers from the same
// peer: those come (REM-12).
func TestAnswersPassFullMailboxes(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair(func(o *remote.Options) { o.MaxQueuedBytes, o.WindowBytes = 1<<20, 256<<10 })
		slow := actor.MustSpawn(a.sys, actor.Handler(func(ctx *actor.Context, _ *text) error {
			if err := ctx.Sleep(20 * time.Second); err != nil {
				return err
			}
			return ctx.Reply(wrapperspb.String("at last"))
		}))
		const n = 8
		handled := make(chan struct{}, 4000)
		var to []actor.Ref[*blob]
		for range n {
			asks := at(b, slow)
			first := true
			r := actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *blob) error {
				if first {
					first = false
					if _, err := actor.Call[*text](ctx, asks, wrapperspb.String("?")); err != nil {
						return err
					}
				}
				handled <- struct{}{}
				return nil
			}))
			to = append(to, at(a, r))
		}
		done := runs(a, func(ctx *actor.Context) error {
			for range 400 {
				for _, r := range to {
					if err := r.Send(ctx, parcel(0, 0, 1000)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		holds(w, await(w, done))
		for range 400 * n {
			await(w, handled)
		}
	})
}

// TestBoundedMailboxes sends more than there is room for to mailboxes with each policy (REM-13).
func TestBoundedMailboxes(t *testing.T) {
	for name, o := range map[string]struct {
		policy  int
		handled int
		dead    int
	}{
		"suspend": {suspend, 100, 0},
		"reject":  {reject, 6, 94},
		"newest":  {dropNewest, 6, 94},
		"oldest":  {dropOldest, 6, 94},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				a, b := w.pair()
				l := watchLetters(b.sys)
				var got []int
				open := make(chan struct{})
				r := actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, m *blob) error {
					_ = ctx.Offload(ctx, func() error {
						<-open
						return nil
					})
					_, seq := opened(m)
					got = append(got, seq)
					return nil
				}), actor.Options{Mailbox: bounded(5, o.policy)})
				to := at(a, r)
				holds(w, to.Send(w.patient(), parcel(0, 0, 0)))
				pass(time.Second) // that one is in hand
				holds(w, await(w, runs(a, func(ctx *actor.Context) error {
					for i := range 99 {
						if err := to.Send(ctx, parcel(0, i+1, 0)); err != nil {
							return err
						}
					}
					return nil
				})))
				pass(time.Second)
				sure := make(chan error, 1)
				go func() {
					_, err := to.Deliver(w.patient(), parcel(0, 100, 0))
					sure <- err
				}()
				pass(time.Second)
				switch o.policy {
				case reject:
					wants(w, "deliver", await(w, sure), actor.ErrFull)
				case suspend:
					if len(sure) > 0 {
						w.Errorf("delivered to a full mailbox: %v", <-sure)
					}
				default:
					_ = await(w, sure) // nil or not: a later one may have pushed it out
				}
				close(open)
				pass(time.Second)
				if o.policy == suspend {
					holds(w, await(w, sure))
					o.handled++
				}
				ledger := settle(w, b.sys)
				if len(got) != o.handled || l.count(actor.DeadOverflow) < o.dead || !ledger.Balanced() {
					w.Errorf("handled %d, want %d; %d dead letters, want %d; %v", len(got), o.handled, l.count(actor.DeadOverflow), o.dead, ledger)
				}
				for i := range len(got) - 1 {
					if got[i] >= got[i+1] {
						w.Errorf("out of order: %v", got)
						break
					}
				}
			})
		})
	}
}

// TestDeliverConfirms delivers to actors that take, do not exist, and are cut off (REM-13).
func TestDeliverConfirms(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		v := victim(b)
		to := at(a, v)
		for range 3 {
			w.net.Cut("a:1", "b:1")
			n, err := to.Deliver(w.patient(), wrapperspb.String("x"))
			if n != 1 || err != nil {
				w.Errorf("Deliver: %d, %v", n, err)
			}
		}
		v.Kill()
		_, _ = v.Any().Wait(w.patient())
		_, err := to.Deliver(w.patient(), wrapperspb.String("x"))
		wants(w, "to the dead", err, actor.ErrStopped)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.net.Partition("a:1", "b:1")
		_, err = to.Deliver(ctx, wrapperspb.String("x"))
		wants(w, "out of time", err, context.DeadlineExceeded)
		_, err = to.Deliver(w.patient(), wrapperspb.String("x"))
		wants(w, "to a node that is down", err, actor.ErrNodeDown)
	})
}

// TestManyLongReplies has many actors answer at once with long messages: the caller's node takes them one after the other (REM-12).
func TestManyLongReplies(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair(func(o *remote.Options) { o.WindowBytes = 256 << 10 })
		const n, size = 200, 200_000
		s := a.session(b)
		var done []<-chan error
		for range n {
			r := at(a, actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *text) error {
				return ctx.Reply(wrapperspb.Bytes(make([]byte, size)))
			})))
			done = append(done, runs(a, func(ctx *actor.Context) error {
				m, err := actor.Call[*blob](ctx, r, wrapperspb.String("?"))
				if err == nil && len(m.GetValue()) != size {
					err = fmt.Errorf("%d bytes", len(m.GetValue()))
				}
				return err
			}))
		}
		for _, d := range done {
			holds(w, await(w, d))
		}
		if err := s.Ended(); err != nil {
			w.Error(err)
		}
	})
}
