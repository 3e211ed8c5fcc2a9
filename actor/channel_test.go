package actor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/mailbox"
)

func newChannel(t testing.TB, sys *actor.System, o ...actor.ChannelOptions[*num]) *actor.Channel[*num] {
	t.Helper()
	ch, err := actor.NewChannel(sys, o...)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func subscribe(t testing.TB, ch *actor.Channel[*num], ref actor.Ref[*num], slow ...actor.Slow) *actor.Subscription {
	t.Helper()
	var o actor.SubscribeOptions
	for _, s := range slow {
		o.Slow = s
	}
	s, err := ch.Subscribe(t.Context(), ref, o)
	if err != nil {
		t.Fatalf("subscribe %v: %v", ref, err)
	}
	return s
}

// published checks what a Deliver to all returned.
func published(t testing.TB, ch *actor.Channel[*num], v int64, want int) {
	t.Helper()
	if n, err := ch.Deliver(t.Context(), &num{Value: v}, 0); n != want || err != nil {
		t.Fatalf("deliver %d: %d, %v; want %d", v, n, err, want)
	}
}

// deaf is an actor with a bounded mailbox that handles nothing until it is resumed; then it collects into got.
func deaf(sys *actor.System, capacity int, o mailbox.Overflow, got *collector[int64]) actor.Ref[*num] {
	return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		if _, err := ctx.Suspend(ctx); err != nil {
			return err
		}
		for m := range in.All() {
			got.add(m.Value)
		}
		return nil
	}), actor.Options{Mailbox: actor.Mailbox{Capacity: capacity, Overflow: o}})
}

// hears is a handler that collects what it gets.
func hears(got *collector[int64]) actor.Behaviour[*num] {
	return actor.Handler(func(_ *actor.Context, m *num) error {
		got.add(m.Value)
		return nil
	})
}

// TestChannelOrder holds CHAN-1: actors and goroutines send to subscribers in two Systems, also through a channel in between; each
// gets every message once, each sender's in their order.
func TestChannelOrder(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const senders, each, listeners = 8, 200, 40
		other := newSystem(t)
		top, below := newChannel(t, sys), newChannel(t, other)
		if _, err := top.SubscribeChannel(t.Context(), below); err != nil {
			t.Fatal(err)
		}
		var got [listeners]collector[int64]
		for i := range got {
			in := []*actor.System{sys, other}[i%2]
			o := actor.Options{}
			if i%5 == 0 {
				o.Mailbox = actor.Mailbox{Capacity: 4, Overflow: mailbox.Suspend}
			}
			ref := actor.MustSpawn(in, hears(&got[i]), o)
			subscribe(t, []*actor.Channel[*num]{top, below}[i/2%2], ref, actor.SlowSuspend)
		}
		if n := top.EndPoints(); n != listeners {
			t.Fatalf("%d end points, want %d", n, listeners)
		}
		var wg sync.WaitGroup
		send := func(ctx context.Context, from int64) error {
			for i := range int64(each) {
				if n, err := top.Deliver(ctx, &num{Value: from*each + i}, 0); n != listeners || err != nil {
					return fmt.Errorf("message %d of %d: %d, %w", i, from, n, err)
				}
			}
			return nil
		}
		for from := range int64(senders) {
			if from%2 == 0 {
				wg.Go(func() {
					if err := send(t.Context(), from); err != nil {
						t.Error(err)
					}
				})
				continue
			}
			a := start([]*actor.System{sys, other}[from/2%2], func(ctx *actor.Context) error { return send(ctx, from) })
			wg.Go(func() {
				if _, err := a.Wait(bounded(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		settle(t, sys)
		settle(t, other)
		for i := range got {
			all := got[i].all()
			if len(all) != senders*each {
				t.Fatalf("subscriber %d got %d messages, want %d", i, len(all), senders*each)
			}
			next := [senders]int64{}
			for _, v := range all {
				if from := v / each; v%each != next[from] {
					t.Fatalf("subscriber %d got message %d of sender %d, want %d", i, v%each, from, next[from])
				}
				next[v/each]++
			}
		}
	})
}

// TestChannelShares: nobody copies the message.
func TestChannelShares(t *testing.T) {
	sys := newSystem(t)
	ch := newChannel(t, sys)
	var got collector[*num]
	for range 3 {
		ref := actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *num) error {
			got.add(m)
			return nil
		}))
		subscribe(t, ch, ref)
	}
	m := &num{Value: 1}
	if err := ch.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	settle(t, sys)
	if all := got.all(); len(all) != 3 || all[0] != m || all[1] != m || all[2] != m {
		t.Errorf("got %v, want three times the message that was sent", all)
	}
}

// TestChannelForgetsTheDead holds CHAN-2: however a subscriber ends it has left its channels before anybody hears of it.
func TestChannelForgetsTheDead(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ends := map[string]func(ref actor.Ref[*num]){
			"stop":  func(ref actor.Ref[*num]) { ref.Stop() },
			"kill":  func(ref actor.Ref[*num]) { ref.Kill() },
			"drain": func(ref actor.Ref[*num]) { _ = ref.Drain() },
			"panic": func(ref actor.Ref[*num]) { _ = ref.Send(t.Context(), &num{Value: -1}) },
		}
		for name, end := range ends {
			one, two := newChannel(t, sys), newChannel(t, sys)
			var subs []*actor.Subscription
			var left atomic.Int64
			refs := make([]actor.Ref[*num], 100)
			for i := range refs {
				refs[i] = actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *num) error {
					if m.Value < 0 {
						panic("told to")
					}
					return nil
				}))
				subs = append(subs, subscribe(t, one, refs[i]), subscribe(t, two, refs[i]))
			}
			watched := make(chan int, len(refs))
			for _, ref := range refs {
				go func() {
					_, _ = ref.Wait(bounded(t))
					for _, ch := range []*actor.Channel[*num]{one, two} {
						if slices.Contains(ch.Subscribers(), ref.AnyRef) {
							left.Add(1)
						}
					}
					watched <- 1
				}()
			}
			for _, ref := range refs {
				end(ref)
			}
			for range refs {
				await(t, watched)
			}
			if n := left.Load(); n != 0 || one.EndPoints()+two.EndPoints() != 0 {
				t.Errorf("%s: %d were still subscribed when their end was known; %d and %d are left", name, n, one.EndPoints(), two.EndPoints())
			}
			for _, s := range subs {
				wantErr(t, name, s.Err(), actor.ErrStopped)
			}
			published(t, one, 1, 0)
		}
	})
}

// TestChannelUnderFire holds CHAN-2: subscribers come, leave and are killed while actors and goroutines send to two layers of
// channels, and no message is unaccounted for.
func TestChannelUnderFire(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const senders, each, steady = 6, 150, 20
		top, low, kept := newChannel(t, sys), newChannel(t, sys), newChannel(t, sys, actor.ChannelOptions[*num]{Retain: true})
		for _, ch := range []*actor.Channel[*num]{low, kept} {
			if _, err := top.SubscribeChannel(t.Context(), ch); err != nil {
				t.Fatal(err)
			}
		}
		channels := []*actor.Channel[*num]{top, low, kept}
		var got [steady]collector[int64]
		for i := range got {
			subscribe(t, channels[i%3], actor.MustSpawn(sys, hears(&got[i])))
		}
		var stop atomic.Bool
		var churn, senderGroup sync.WaitGroup
		for i := range 4 {
			churn.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				for !stop.Load() {
					o := actor.Options{}
					if r.IntN(2) == 0 {
						o.Mailbox.Capacity = 2
						o.Mailbox.Overflow = []mailbox.Overflow{mailbox.Reject, mailbox.Suspend, mailbox.DropNewest, mailbox.DropOldest}[r.IntN(4)]
					}
					ref := actor.MustSpawn(sys, idler(), o)
					slow := []actor.Slow{actor.SlowDrop, actor.SlowSuspend, actor.SlowCut}[r.IntN(3)]
					if slow == actor.SlowSuspend && o.Mailbox.Overflow != mailbox.Suspend {
						slow = actor.SlowDrop
					}
					s, err := channels[r.IntN(3)].Subscribe(t.Context(), ref, actor.SubscribeOptions{Slow: slow})
					if err != nil && !errors.Is(err, actor.ErrFull) {
						t.Error(err)
					}
					switch r.IntN(3) {
					case 0:
						if err := s.Unsubscribe(); err != nil && slow != actor.SlowCut {
							t.Error(err)
						}
					case 1:
						ref.Kill()
					}
					ref.Stop()
					_, _ = ref.Wait(bounded(t)) // so that there are no more of them than can be sent to
				}
			})
		}
		for from := range int64(senders) {
			run := func(ctx context.Context) error {
				for i := range int64(each) {
					if err := top.Send(ctx, &num{Value: from*each + i}); err != nil {
						return err
					}
				}
				return nil
			}
			if from%2 == 0 {
				senderGroup.Go(func() {
					if err := run(t.Context()); err != nil {
						t.Error(err)
					}
				})
				continue
			}
			senderGroup.Add(1) // not by Wait: more than 4,096 others may end before that is called
			start(sys, func(ctx *actor.Context) error {
				defer senderGroup.Done()
				if err := run(ctx); err != nil {
					t.Error(err)
				}
				return nil
			})
		}
		senderGroup.Wait()
		stop.Store(true)
		churn.Wait()
		settle(t, sys)
		for i := range got {
			all := got[i].all()
			if len(all) != senders*each {
				t.Errorf("steady subscriber %d got %d messages, want %d", i, len(all), senders*each)
			}
			next := [senders]int64{}
			for _, v := range all {
				if from := v / each; v%each != next[from] {
					t.Fatalf("steady subscriber %d got message %d of sender %d, want %d", i, v%each, from, next[from])
				}
				next[v/each]++
			}
		}
	})
}

// TestChannelTransform holds CHAN-3.
func TestChannelTransform(t *testing.T) {
	sys := newSystem(t)
	var got, gotBelow collector[int64]
	double := func(m *num) (*num, bool) {
		switch {
		case m.Value < 0:
			return nil, false
		case m.Value == 13:
			panic(errBoom)
		case m.Value == 14:
			return nil, true
		}
		return &num{Value: 2 * m.Value}, true
	}
	ch := newChannel(t, sys, actor.ChannelOptions[*num]{Name: "doubled", Transform: double})
	below := newChannel(t, sys, actor.ChannelOptions[*num]{Name: "again", Transform: double})
	subscribe(t, ch, actor.MustSpawn(sys, hears(&got)))
	subscribe(t, below, actor.MustSpawn(sys, hears(&gotBelow)))
	if _, err := ch.SubscribeChannel(t.Context(), below); err != nil {
		t.Fatal(err)
	}
	published(t, ch, 3, 2)
	published(t, ch, -1, 0)
	if n, err := ch.Deliver(t.Context(), &num{Value: -1}, 5); n != 0 || err != nil {
		t.Errorf("what is dropped waits for nobody: %d, %v", n, err)
	}
	before := settle(t, sys)
	var p *actor.PanicError
	n, err := ch.Deliver(t.Context(), &num{Value: 13}, 0)
	if n != 0 || !errors.As(err, &p) || !errors.Is(err, errBoom) || !containsAll(err.Error(), "doubled", "transform") {
		t.Errorf("a transform that panics: %d, %v", n, err)
	}
	if n, err := ch.Deliver(t.Context(), &num{Value: 14}, 0); n != 0 || !errors.Is(err, actor.ErrNilMessage) {
		t.Errorf("a transform that returns nil: %d, %v", n, err)
	}
	if after := settle(t, sys); after.Sent != before.Sent {
		t.Errorf("%d messages were accepted of sends that failed", after.Sent-before.Sent)
	}
	if err := ch.SetTransform(nil); err != nil {
		t.Fatal(err)
	}
	n, err = ch.Deliver(t.Context(), &num{Value: 13}, 0)
	if n != 1 || !errors.As(err, &p) || !containsAll(err.Error(), "again") {
		t.Errorf("a transform further down that panics: %d, %v", n, err)
	}
	settle(t, sys)
	if fmt.Sprint(got.all(), gotBelow.all()) != "[6 13] [12]" {
		t.Errorf("got %v and %v", got.all(), gotBelow.all())
	}
}

// TestSubscribeAs holds CHAN-3 for what adapts messages: a panic leaves out nobody else.
func TestSubscribeAs(t *testing.T) {
	sys := newSystem(t)
	ch := newChannel(t, sys, actor.ChannelOptions[*num]{Retain: true})
	var words collector[string]
	var numbers collector[int64]
	ref := actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *text) error {
		words.add(m.Value)
		return nil
	}))
	adapt := func(m *num) *text {
		switch m.Value {
		case 13:
			panic(errBoom)
		case 0:
			return nil
		}
		return &text{Value: strconv.FormatInt(m.Value, 10)}
	}
	published(t, ch, 13, 0)
	if s, err := actor.SubscribeAs(t.Context(), ch, ref, adapt); s != nil || !errors.Is(err, errBoom) {
		t.Errorf("what is retained makes the function panic: %v, %v", s, err)
	}
	published(t, ch, 7, 0)
	if _, err := actor.SubscribeAs(t.Context(), ch, ref, adapt); err != nil {
		t.Fatal(err)
	}
	subscribe(t, ch, actor.MustSpawn(sys, hears(&numbers)))
	published(t, ch, 1, 2)
	published(t, ch, 0, 1)
	n, err := ch.Deliver(t.Context(), &num{Value: 13}, 0)
	if n != 1 || !errors.Is(err, errBoom) || !containsAll(err.Error(), ref.String()) {
		t.Errorf("an adapter that panics: %d, %v", n, err)
	}
	settle(t, sys)
	if fmt.Sprint(words.all(), numbers.all()) != "[7 1] [7 1 0 13]" {
		t.Errorf("got %v and %v", words.all(), numbers.all())
	}
}

// TestDeliverWaitsForSubscribers holds CHAN-4: actors and goroutines wait until there are enough, here and below.
func TestDeliverWaitsForSubscribers(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		top, mid, low := newChannel(t, sys), newChannel(t, sys), newChannel(t, sys)
		if _, err := mid.SubscribeChannel(t.Context(), low); err != nil {
			t.Fatal(err)
		}
		type result struct {
			n   int
			err error
		}
		results := make(chan result, 2)
		go func() {
			n, err := top.Deliver(t.Context(), &num{Value: 1}, 3)
			results <- result{n, err}
		}()
		start(sys, func(ctx *actor.Context) error {
			n, err := top.Deliver(ctx, &num{Value: 2}, 3)
			results <- result{n, err}
			return nil
		})
		var got collector[int64]
		grow := []func(){
			func() { subscribe(t, top, actor.MustSpawn(sys, hears(&got))) },
			func() { subscribe(t, low, actor.MustSpawn(sys, hears(&got))) }, // nobody hears it yet
			func() { _, _ = top.SubscribeChannel(t.Context(), mid) },
			func() { subscribe(t, low, actor.MustSpawn(sys, hears(&got))) },
		}
		for i, g := range grow {
			synctest.Wait()
			if n := len(results); n != 0 {
				t.Fatalf("%d were delivered after %d steps", n, i)
			}
			g()
		}
		for range 2 {
			if r := await(t, results); r.n != 3 || r.err != nil {
				t.Errorf("delivered %d, %v", r.n, r.err)
			}
		}
		settle(t, sys)
		if n := len(got.all()); n != 6 {
			t.Errorf("%d messages, want 6", n)
		}
	})
}

// TestDeliverGivesUp holds CHAN-4: how a wait for subscribers ends without them.
func TestDeliverGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		ch := newChannel(t, sys)
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := ch.Deliver(soon, &num{}, 1); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("out of time: %d, %v", n, err)
		}
		deliver := func(want error) actor.AnyRef {
			return start(sys, func(ctx *actor.Context) error {
				if n, err := ch.Deliver(ctx, &num{}, 1); n != 0 || !errors.Is(err, want) {
					t.Errorf("%d, %v; want %v", n, err, want)
				}
				return nil
			})
		}
		stopped, interrupted, killed := deliver(actor.ErrStopped), deliver(errBoom), deliver(nil)
		synctest.Wait()
		stopped.Stop()
		killed.Kill()
		if err := interrupted.Interrupt(errBoom); err != nil {
			t.Error(err)
		}
		wantKind(t, killed, actor.ReasonKilled)
		for _, ref := range []actor.AnyRef{stopped, interrupted} {
			if _, err := ref.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		closed := deliver(actor.ErrChannelClosed)
		errs := make(chan error, 2)
		go func() {
			_, err := ch.Deliver(t.Context(), &num{}, 1)
			errs <- err
		}()
		synctest.Wait()
		ch.Close()
		wantErr(t, "closed meanwhile", await(t, errs), actor.ErrChannelClosed)
		if _, err := closed.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		ofSystem := newChannel(t, sys)
		go func() {
			_, err := ofSystem.Deliver(t.Context(), &num{}, 1)
			errs <- err
		}()
		synctest.Wait()
		if err := sys.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		wantErr(t, "its System stopped", await(t, errs), actor.ErrChannelClosed)
		_, err := actor.NewChannel[*num](sys)
		wantErr(t, "a channel of a System that has stopped", err, actor.ErrStopped)
	})
}

// TestSlowSubscribers holds CHAN-5: what each policy does to the sender, to the slow one and to the others.
func TestSlowSubscribers(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		dead := deaths(t, sys)
		ch := newChannel(t, sys)
		var fast, slow, slower collector[int64]
		dropping := deaf(sys, 1, mailbox.Reject, new(collector[int64]))
		patchy := subscribe(t, ch, dropping, actor.SlowDrop)
		cutOff := deaf(sys, 1, mailbox.Suspend, new(collector[int64]))
		cut := subscribe(t, ch, cutOff, actor.SlowCut)
		waits, waitsLonger := deaf(sys, 1, mailbox.Suspend, &slow), deaf(sys, 1, mailbox.Suspend, &slower)
		subscribe(t, ch, waits, actor.SlowSuspend)
		subscribe(t, ch, waitsLonger, actor.SlowSuspend)
		subscribe(t, ch, actor.MustSpawn(sys, hears(&fast)))
		published(t, ch, 1, 5)

		sent := make(chan int, 2)
		go func() {
			n, err := ch.Deliver(t.Context(), &num{Value: 2}, 0)
			if err != nil {
				t.Error(err)
			}
			sent <- n
		}()
		synctest.Wait() // else both may find the one that is to be cut off
		start(sys, func(ctx *actor.Context) error {
			n, err := ch.Deliver(ctx, &num{Value: 2}, 0)
			sent <- n
			return err
		})
		synctest.Wait()
		if got := fast.all(); len(got) != 3 {
			t.Errorf("the fast one waits for the slow ones: it has %v", got)
		}
		if len(sent) != 0 || patchy.Dropped() != 2 || patchy.Err() != nil || cut.Dropped() != 1 || !errors.Is(cut.Err(), actor.ErrFull) {
			t.Errorf("%d sent; dropped %d, %v; cut %d, %v", len(sent), patchy.Dropped(), patchy.Err(), cut.Dropped(), cut.Err())
		}
		if err := waits.Resume(nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := slow.all(); len(got) != 3 || len(sent) != 0 { // it does not wait for the other slow one
			t.Errorf("the slow one has %v; %d senders go on", got, len(sent))
		}
		if err := waitsLonger.Resume(nil); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n := await(t, sent); n != 3 {
				t.Errorf("%d reached, want 3", n)
			}
		}
		l := settle(t, sys)
		if l.Dropped != 3 || len(dead.all()) != 3 || l.Returned != 0 {
			t.Errorf("%v; dead letters %v", l, dead.all())
		}
		for _, d := range dead.all() {
			if d.Reason != actor.DeadOverflow || d.To != dropping.AnyRef && d.To != cutOff.AnyRef {
				t.Errorf("dead letter %v", d)
			}
		}
		if got := slower.all(); len(got) != 3 {
			t.Errorf("the slower one has %v", got)
		}
	})
}

// TestDroppedByAChannel holds CHAN-5: whoever watches dead letters may send to the channel, close it, and end the sender's goroutine;
// all others have got the message by then.
func TestDroppedByAChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		ch := newChannel(t, sys, actor.ChannelOptions[*num]{Retain: true})
		for range 3 {
			subscribe(t, ch, deaf(sys, 1, mailbox.Reject, nil))
			subscribe(t, ch, deaf(sys, 1, mailbox.DropOldest, nil))
		}
		var got collector[int64]
		subscribe(t, ch, actor.MustSpawn(sys, hears(&got)))
		published(t, ch, 1, 7)
		var shown atomic.Int64
		t.Cleanup(sys.SubscribeDeadLetters(func(actor.DeadLetter) {
			if shown.Add(1) == 1 {
				if _, err := ch.Deliver(t.Context(), &num{Value: 3}, 0); err != nil {
					t.Error(err)
				}
				ch.Close()
				runtime.Goexit()
			}
		}))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = ch.Send(t.Context(), &num{Value: 2})
			t.Error("it was not ended")
		}()
		await(t, ended)
		l := settle(t, sys)
		if fmt.Sprint(got.all()) != "[1 2 3]" || shown.Load() < 6 || l.Dropped != 12 {
			t.Errorf("got %v; %d dead letters; %v", got.all(), shown.Load(), l)
		}
	})
}

// TestSubscriptionOutlivesARestart holds CHAN-2: a guarded actor that is restarted stays subscribed; what is sent in between waits.
func TestSubscriptionOutlivesARestart(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ch := newChannel(t, sys)
		guardian(t, sys, func(g *guarding) error {
			ref := g.spawn(actor.Stateful(touchy))
			sub := subscribe(t, ch, ref)
			published(t, ch, -2, 1)
			g.next(actor.ChildEnded)
			published(t, ch, 3, 1)
			g.restart(ref.AnyRef)
			published(t, ch, 4, 1)
			if again := subscribe(t, ch, ref); again != sub { // as the next incarnation may do when it starts
				t.Error("subscribed twice")
			}
			if n := sumOf(t, ref, 10); n != 17 {
				t.Errorf("the sum is %d, want 17", n)
			}
			return nil
		})
		if ch.EndPoints() != 0 {
			t.Error("it is subscribed still")
		}
	})
}

// TestSuspendedSenderOfAChannel holds CHAN-6: how a wait for a slow subscriber ends, and that the others have the message.
func TestSuspendedSenderOfAChannel(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s *suspension)
		want error // nil: the sender goes on without a fault
	}{
		{"room", func(s *suspension) { _ = s.slow.Resume(nil) }, nil},
		{"the subscriber is stopped", func(s *suspension) { s.slow.Stop() }, nil},
		{"the subscriber is killed", func(s *suspension) { s.slow.Kill() }, nil},
		{"it is unsubscribed", func(s *suspension) { _ = s.sub.Unsubscribe() }, nil},
		{"it is unsubscribed by its ref", func(s *suspension) { _ = s.ch.Unsubscribe(s.slow.AnyRef) }, nil},
		{"the channel is closed", func(s *suspension) { s.ch.Close() }, nil},
		{"the sender is stopped", func(s *suspension) { s.sender.Stop() }, actor.ErrStopped},
		{"the sender is killed", func(s *suspension) { s.sender.Kill() }, actor.ErrKilled},
		{"the sender is interrupted", func(s *suspension) { _ = s.sender.Interrupt(errBoom) }, errBoom},
		{"time is up", func(*suspension) { <-time.After(time.Hour) }, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, sys *actor.System) {
				s := suspend(t, sys)
				c.end(s)
				synctest.Wait()
				reached, err := s.reached, s.err
				if c.want != nil && !errors.Is(c.want, actor.ErrKilled) && (!errors.Is(err, c.want) || !containsAll(err.Error(), "1 subscribers not reached")) {
					t.Errorf("the send returned %v, want %v", err, c.want)
				}
				if c.want == nil && err != nil {
					t.Errorf("the send failed: %v", err)
				}
				wantReached := 1
				switch {
				case c.name == "room":
					wantReached = 2
				case errors.Is(c.want, actor.ErrKilled):
					wantReached = 0 // it never returned
					wantKind(t, s.sender, actor.ReasonKilled)
				}
				if reached != wantReached {
					t.Errorf("%d reached, want %d", reached, wantReached)
				}
				if got := s.fast.all(); fmt.Sprint(got) != "[1 2]" {
					t.Errorf("the other subscriber has %v", got)
				}
				_ = s.slow.Resume(nil)
				settle(t, sys)
				got := fmt.Sprint(s.got.all())
				if ended := strings.Contains(c.name, "subscriber is"); ended && got != "[]" || !ended && wantReached < 2 && got != "[1]" || wantReached == 2 && got != "[1 2]" {
					t.Errorf("the slow one has %s", got)
				}
			})
		})
	}
}

// suspension is an actor that waits for room in one subscriber's mailbox while another has the message.
type suspension struct {
	ch        *actor.Channel[*num]
	slow      actor.Ref[*num]
	sub       *actor.Subscription
	sender    actor.AnyRef
	got, fast collector[int64]
	reached   int
	err       error
}

func suspend(t *testing.T, sys *actor.System) *suspension {
	t.Helper()
	s := &suspension{ch: newChannel(t, sys)}
	s.slow = deaf(sys, 1, mailbox.Suspend, &s.got)
	s.sub = subscribe(t, s.ch, s.slow, actor.SlowSuspend)
	subscribe(t, s.ch, actor.MustSpawn(sys, hears(&s.fast)))
	published(t, s.ch, 1, 2)
	s.sender = start(sys, func(ctx *actor.Context) error {
		soon, cancel := ctx.WithTimeout(30 * time.Minute)
		defer cancel()
		s.reached, s.err = s.ch.Deliver(soon, &num{Value: 2}, 0)
		return nil
	})
	synctest.Wait()
	return s
}

// TestDeliverToSome holds CHAN-7: Deliver returns when enough have the message; for the others it stays in line, one at a time.
func TestDeliverToSome(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		dead := deaths(t, sys)
		ch := newChannel(t, sys)
		var fast, slow collector[int64]
		late, doomed := deaf(sys, 1, mailbox.Suspend, &slow), deaf(sys, 1, mailbox.Suspend, new(collector[int64]))
		subscribe(t, ch, actor.MustSpawn(sys, hears(&fast)))
		subscribe(t, ch, late, actor.SlowSuspend)
		left := subscribe(t, ch, doomed, actor.SlowSuspend)
		published(t, ch, 1, 3)
		if n, err := ch.Deliver(t.Context(), &num{Value: 2}, 1); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		sent := make(chan int, 1)
		go func() { // must wait: a message is in line already
			n, err := ch.Deliver(t.Context(), &num{Value: 3}, 1)
			if err != nil {
				t.Error(err)
			}
			sent <- n
		}()
		synctest.Wait()
		if len(sent) != 0 {
			t.Error("a second message was left behind")
		}
		if err := left.Unsubscribe(); err != nil { // lets the sender go, but what is in line stays
			t.Error(err)
		}
		synctest.Wait()
		if err := late.Resume(nil); err != nil {
			t.Error(err)
		}
		if n := await(t, sent); n < 1 {
			t.Errorf("%d reached", n)
		}
		doomed.Kill()
		l := settle(t, sys)
		if fmt.Sprint(fast.all(), slow.all()) != "[1 2 3] [1 2 3]" {
			t.Errorf("got %v and %v", fast.all(), slow.all())
		}
		if all := dead.all(); len(all) != 2 || all[0].Reason != actor.DeadStopped || all[1].To != doomed.AnyRef || l.Returned != 0 {
			t.Errorf("dead letters %v; %v", all, l)
		}
	})
}

// TestSuspendedDeadlock holds CHAN-6: a sender that waits for itself, or for who waits for it, is told.
func TestSuspendedDeadlock(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		ch := newChannel(t, sys)
		var fast collector[int64]
		subscribe(t, ch, actor.MustSpawn(sys, hears(&fast)))
		bounded := actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}}
		self := func(ctx *actor.Context) actor.Ref[*num] {
			ref, _ := actor.TypedRef[*num](ctx.Self())
			return ref
		}
		ref := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
			if _, err := ch.Subscribe(ctx, self(ctx), actor.SubscribeOptions{Slow: actor.SlowSuspend}); err != nil {
				return err
			}
			if n, err := ch.Deliver(ctx, &num{Value: 1}, 0); n != 2 || err != nil {
				return fmt.Errorf("the first: %d, %w", n, err)
			}
			var d *actor.DeadlockError
			if n, err := ch.Deliver(ctx, &num{Value: 2}, 0); n != 1 || !errors.As(err, &d) {
				return fmt.Errorf("the second: %d, %w", n, err)
			}
			if n, err := ch.Deliver(ctx, &num{Value: 3}, 1); n != 1 || err != nil { // it can do without itself
				return fmt.Errorf("the third: %d, %w", n, err)
			}
			return nil
		}), bounded)
		if _, err := ref.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		l := settle(t, sys)
		if fmt.Sprint(fast.all()) != "[1 2 3]" || l.Returned != 1 || l.Dead != 2 {
			t.Errorf("%v; %v", fast.all(), l)
		}
	})
}

// TestSlowSubscriberCallsItsSender holds CHAN-6: the slow one that the sender waits for calls that sender.
func TestSlowSubscriberCallsItsSender(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		ch := newChannel(t, sys)
		var sender actor.Ref[*num]
		called := make(chan error, 1)
		slow := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			if _, err := ctx.Suspend(ctx); err != nil {
				return err
			}
			_, err := actor.Call[*num](ctx, sender, &num{})
			called <- err
			for range in.All() {
			}
			return nil
		}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}})
		subscribe(t, ch, slow, actor.SlowSuspend)
		published(t, ch, 1, 1)
		sender = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ch.Send(ctx, m) }))
		tell(t, sender, 2)
		synctest.Wait()
		if err := slow.Resume(nil); err != nil {
			t.Fatal(err)
		}
		var d *actor.DeadlockError
		if err := await(t, called); !errors.As(err, &d) || len(d.Path) != 3 {
			t.Errorf("the call: %v", err)
		}
		settle(t, sys)
	})
}

// TestChannelCycles holds CHAN-8: cycles are refused by name, of any length, also when they are attempted at once.
func TestChannelCycles(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ring := make([]*actor.Channel[*num], 12)
		for i := range ring {
			ring[i] = newChannel(t, sys, actor.ChannelOptions[*num]{Name: fmt.Sprintf("c%d", i)})
		}
		var cycle *actor.ChannelCycleError
		if _, err := ring[0].SubscribeChannel(t.Context(), ring[0]); !errors.As(err, &cycle) || fmt.Sprint(cycle.Path) != "[c0 c0]" {
			t.Errorf("to itself: %v", err)
		}
		for range 50 {
			var refused atomic.Int64
			var wg sync.WaitGroup
			for i := range ring {
				wg.Go(func() {
					_, err := ring[i].SubscribeChannel(t.Context(), ring[(i+1)%len(ring)])
					var cycle *actor.ChannelCycleError
					switch {
					case err == nil:
					case errors.As(err, &cycle) && len(cycle.Path) == len(ring)+1 && cycle.Path[0] == cycle.Path[len(ring)]:
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := refused.Load(); n != 1 {
				t.Fatalf("%d of a ring were refused, want 1", n)
			}
			published(t, ring[0], 1, 0)
			cut := 0
			for i := range ring {
				if ring[i].UnsubscribeChannel(ring[(i+1)%len(ring)]) == nil {
					cut++
				}
			}
			if cut != len(ring)-1 {
				t.Fatalf("%d links, want %d", cut, len(ring)-1)
			}
		}
		// A diamond is no cycle: who is reached in two ways gets the message twice.
		var got collector[int64]
		subscribe(t, ring[3], actor.MustSpawn(sys, hears(&got)))
		for _, link := range [][2]int{{0, 1}, {0, 2}, {1, 3}, {2, 3}, {0, 1}} {
			if _, err := ring[link[0]].SubscribeChannel(t.Context(), ring[link[1]]); err != nil {
				t.Fatal(err)
			}
		}
		published(t, ring[0], 5, 2)
		if n := ring[0].EndPoints(); n != 2 {
			t.Errorf("%d end points, want 2", n)
		}
	})
}

// CHAN-9: what SubscribeAs makes of a retained message it makes without holding the channel up, and its panic is the subscriber's error.
func TestRetainedIsAdaptedWithoutTheLock(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ch := newChannel(t, sys, actor.ChannelOptions[*num]{Retain: true})
		published(t, ch, 1, 0)
		var got collector[int64]
		_, err := actor.SubscribeAs(t.Context(), ch, actor.MustSpawn(sys, hears(&got)), func(m *num) *num {
			if m.Value < 3 { // newer messages come meanwhile
				published(t, ch, m.Value+1, 0)
			}
			return &num{Value: m.Value + 10*int64(len(ch.Subscribers()))}
		})
		wantErr(t, "subscribe", err, nil)
		settle(t, sys)
		if all := got.all(); len(all) != 1 || all[0] != 3 {
			t.Errorf("retained: %v, want the newest", all)
		}
		odd := errors.New("odd")
		_, err = actor.SubscribeAs(t.Context(), ch, actor.MustSpawn(sys, hears(&got)), func(m *num) *num {
			if m != nil {
				panic(odd)
			}
			return m
		})
		wantErr(t, "a function that panics", err, odd)
		if n := len(ch.Subscribers()); n != 1 {
			t.Errorf("%d subscribers", n)
		}
	})
}

// CHAN-4: channels below that are reached in many ways are counted for each, and asked once.
func TestEndPointsOfDiamonds(t *testing.T) {
	sys := newSystem(t)
	ctx := t.Context()
	top := newChannel(t, sys)
	last := top
	const layers = 50
	for range layers {
		join := newChannel(t, sys)
		for range 2 {
			way := newChannel(t, sys)
			for from, to := range map[*actor.Channel[*num]]*actor.Channel[*num]{last: way, way: join} {
				if _, err := from.SubscribeChannel(ctx, to); err != nil {
					t.Fatal(err)
				}
			}
		}
		last = join
	}
	subscribe(t, last, actor.MustSpawn(sys, idler()))
	if n := top.EndPoints(); n != 1<<layers {
		t.Errorf("%d end points, want %d", n, 1<<layers)
	}
}

// TestRetainedExactlyOnce holds CHAN-9: whoever subscribes while others send gets, of one sender, some message and then all that
// follow it, each once.
func TestRetainedExactlyOnce(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const last = 2000
		ch := newChannel(t, sys, actor.ChannelOptions[*num]{Retain: true})
		var got [50]collector[int64]
		var wg sync.WaitGroup
		go2 := make(chan struct{})
		sender := start(sys, func(ctx *actor.Context) error {
			for i := range int64(last) {
				if i == 1 {
					close(go2)
				}
				if err := ch.Send(ctx, &num{Value: i + 1}); err != nil {
					return err
				}
			}
			return nil
		})
		await(t, go2)
		for i := range got {
			wg.Go(func() {
				o := actor.Options{}
				if i%2 == 0 {
					o.Mailbox = actor.Mailbox{Capacity: 3, Overflow: mailbox.Suspend}
				}
				subscribe(t, ch, actor.MustSpawn(sys, hears(&got[i]), o), actor.SlowSuspend)
			})
		}
		wg.Wait()
		if _, err := sender.Wait(bounded(t)); err != nil {
			t.Fatal(err)
		}
		settle(t, sys)
		for i := range got {
			all := got[i].all()
			if len(all) == 0 {
				t.Fatalf("subscriber %d got nothing", i)
			}
			for k, v := range all {
				if v != all[0]+int64(k) {
					t.Fatalf("subscriber %d got %d after %d", i, v, all[max(k-1, 0)])
				}
			}
			if all[len(all)-1] != last {
				t.Fatalf("subscriber %d ends with %d", i, all[len(all)-1])
			}
		}
	})
}

// TestRetainedFindsNoRoom holds CHAN-9: what is retained meets the policy for slow subscribers as well.
func TestRetainedFindsNoRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		ch := newChannel(t, sys, actor.ChannelOptions[*num]{Retain: true})
		published(t, ch, 7, 0)
		var got collector[int64]
		full := func(o mailbox.Overflow) actor.Ref[*num] {
			ref := deaf(sys, 1, o, &got)
			if err := ref.Send(t.Context(), &num{Value: 1}); err != nil {
				t.Fatal(err)
			}
			return ref
		}
		s := subscribe(t, ch, full(mailbox.Reject), actor.SlowDrop)
		if s.Dropped() != 1 || s.Err() != nil {
			t.Errorf("dropped %d, %v", s.Dropped(), s.Err())
		}
		_, err := ch.Subscribe(t.Context(), full(mailbox.Reject), actor.SubscribeOptions{Slow: actor.SlowCut})
		wantErr(t, "cut off", err, actor.ErrFull)
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = ch.Subscribe(soon, full(mailbox.Suspend), actor.SubscribeOptions{Slow: actor.SlowSuspend})
		wantErr(t, "suspended", err, context.DeadlineExceeded)
		subscribe(t, ch, full(mailbox.DropOldest))
		if n := len(ch.Subscribers()); n != 2 {
			t.Errorf("%d subscribers, want 2", n)
		}
		patient := full(mailbox.Suspend)
		done := make(chan struct{})
		go func() {
			defer close(done)
			subscribe(t, ch, patient, actor.SlowSuspend)
		}()
		synctest.Wait()
		if err := patient.Resume(nil); err != nil {
			t.Error(err)
		}
		await(t, done)
		settle(t, sys)
		if fmt.Sprint(got.all()) != "[1 7]" {
			t.Errorf("got %v", got.all())
		}
	})
}

// TestUnsubscribe holds CHAN-10: what is sent after Unsubscribe or Close has returned reaches nobody that is gone.
func TestUnsubscribe(t *testing.T) {
	sys := newSystem(t)
	ch, below := newChannel(t, sys), newChannel(t, sys)
	var one, two collector[int64]
	a, b := actor.MustSpawn(sys, hears(&one)), actor.MustSpawn(sys, hears(&two))
	subA := subscribe(t, ch, a)
	subB := subscribe(t, below, b)
	nested, err := ch.SubscribeChannel(t.Context(), below)
	if err != nil {
		t.Fatal(err)
	}
	published(t, ch, 1, 2)
	if again := subscribe(t, ch, a); again != subA { // once is enough
		t.Error("a second subscription of the same actor")
	}
	published(t, ch, 2, 2)
	if err := subA.Unsubscribe(); err != nil {
		t.Error(err)
	}
	published(t, ch, 3, 1)
	wantErr(t, "again", subA.Unsubscribe(), actor.ErrNotSubscribed)
	wantErr(t, "by ref", ch.Unsubscribe(a.AnyRef), actor.ErrNotSubscribed)
	wantErr(t, "why", subA.Err(), actor.ErrNotSubscribed)
	if err := nested.Unsubscribe(); err != nil {
		t.Error(err)
	}
	published(t, ch, 4, 0)
	wantErr(t, "a channel again", ch.UnsubscribeChannel(below), actor.ErrNotSubscribed)
	if nested, err = ch.SubscribeChannel(t.Context(), below); err != nil {
		t.Fatal(err)
	}
	below.Close()
	below.Close()
	wantErr(t, "the child is closed", nested.Err(), actor.ErrChannelClosed)
	wantErr(t, "the child's subscriber", subB.Err(), actor.ErrChannelClosed)
	published(t, ch, 5, 0)
	wantErr(t, "send to a closed one", below.Send(t.Context(), &num{}), actor.ErrChannelClosed)
	_, err = below.Subscribe(t.Context(), a)
	wantErr(t, "subscribe to a closed one", err, actor.ErrChannelClosed)
	_, err = ch.SubscribeChannel(t.Context(), below)
	wantErr(t, "subscribe a closed one", err, actor.ErrChannelClosed)
	if len(below.Subscribers()) != 0 || below.EndPoints() != 0 {
		t.Error("a closed channel has subscribers")
	}
	subscribe(t, ch, a)
	published(t, ch, 6, 1)
	settle(t, sys)
	if fmt.Sprint(one.all(), two.all()) != "[1 2 6] [1 2 3]" {
		t.Errorf("got %v and %v", one.all(), two.all())
	}
}

// TestForgottenChannel holds CHAN-11: a channel that nobody has any more goes, with its subscriptions; subscribers do not keep it, a
// channel above does.
func TestForgottenChannel(t *testing.T) {
	sys := newSystem(t)
	ref := actor.MustSpawn(sys, idler())
	top := newChannel(t, sys)
	sub, nested := func() (*actor.Subscription, *actor.Subscription) {
		forgotten, below := newChannel(t, sys), newChannel(t, sys)
		sub := subscribe(t, forgotten, ref)
		subscribe(t, below, ref)
		nested, err := top.SubscribeChannel(t.Context(), below)
		if err != nil {
			t.Fatal(err)
		}
		return sub, nested
	}()
	giveUp := time.Now().Add(patience)
	for sub.Err() == nil && time.Now().Before(giveUp) {
		runtime.GC()
	}
	wantErr(t, "a channel that nobody has", sub.Err(), actor.ErrChannelClosed)
	if nested.Err() != nil {
		t.Errorf("a channel that another one passes messages to: %v", nested.Err())
	}
	published(t, top, 1, 1)
}

// TestChannelSeeds holds CHAN-12: under a seed a run with channels is the same each time, and in none does a death in the middle of a
// fan-out, a slow subscriber or a Close harm the others.
func TestChannelSeeds(t *testing.T) {
	actortest.Explore(t, 60, channelScenario)
	for seed := range uint64(5) {
		actortest.Replay(t, seed+1, channelScenario)
	}
}

func channelScenario(t *testing.T, sys *actor.System) {
	t.Helper()
	const each = 5
	ch := newChannel(t, sys, actor.ChannelOptions[*num]{Retain: true})
	below := newChannel(t, sys)
	if _, err := ch.SubscribeChannel(t.Context(), below); err != nil {
		t.Error(err)
	}
	var steady [4]collector[int64]
	for i := range steady {
		o := actor.Options{}
		if i == 0 {
			o.Mailbox = actor.Mailbox{Capacity: 1, Overflow: mailbox.Suspend}
		}
		subscribe(t, []*actor.Channel[*num]{ch, below}[i%2], actor.MustSpawn(sys, hears(&steady[i]), o), actor.SlowSuspend)
	}
	mortal := actor.Handler(func(ctx *actor.Context, m *num) error {
		if m.Value%each == 2 {
			ctx.Stop()
		}
		return nil
	})
	for range 3 {
		subscribe(t, ch, actor.MustSpawn(sys, mortal))
	}
	var wg sync.WaitGroup
	barrier := newChannel(t, sys)
	var started collector[int64]
	var runners []actor.Ref[*num]
	for range 3 { // first: two goroutines that spawn at once look the same
		runners = append(runners, actor.MustSpawn(sys, hears(&started)))
	}
	slow := subscribe(t, below, deaf(sys, 1, mailbox.Reject, new(collector[int64])), actor.SlowCut)
	wg.Go(func() {
		if n, err := barrier.Deliver(t.Context(), &num{Value: 1}, 2); n < 2 || err != nil {
			t.Errorf("the barrier: %d, %v", n, err)
		}
	})
	for _, ref := range runners {
		wg.Go(func() { subscribe(t, barrier, ref) })
	}
	run := func(ctx context.Context, from int64) error {
		for i := range int64(each) {
			if _, err := ch.Deliver(ctx, &num{Value: from*each + i}, 2); err != nil {
				return err
			}
		}
		return nil
	}
	var senders []actor.AnyRef
	for from := range int64(2) {
		senders = append(senders, start(sys, func(ctx *actor.Context) error { return run(ctx, from) }))
	}
	wg.Go(func() {
		if err := run(t.Context(), 2); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { // the only one that spawns by now
		for range 3 {
			ref := actor.MustSpawn(sys, idler())
			s, err := ch.Subscribe(t.Context(), ref)
			if err != nil {
				t.Error(err)
			}
			_ = s.Unsubscribe()
			ref.Kill()
		}
	})
	wg.Wait()
	for _, a := range senders {
		if _, err := a.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := sys.Quiesce(t.Context()); err != nil {
		t.Error(err)
	}
	for i := range steady {
		next := [3]int64{}
		all := steady[i].all()
		for _, v := range all {
			if v%each != next[v/each] {
				t.Errorf("steady subscriber %d got %v", i, all)
			}
			next[v/each]++
		}
		if len(all) != 3*each {
			t.Errorf("steady subscriber %d got %d messages", i, len(all))
		}
	}
	if !errors.Is(slow.Err(), actor.ErrFull) {
		t.Errorf("the slow one: %v", slow.Err())
	}
	below.Close()
}

// TestChannelBadInput holds CHAN-13: what makes no sense is refused with an error that says so.
func TestChannelBadInput(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		_, err := actor.NewChannel[*num](nil)
		if err == nil {
			t.Error("a channel of no System")
		}
		if _, err := actor.NewChannel(sys, actor.ChannelOptions[*num]{}, actor.ChannelOptions[*num]{}); err == nil {
			t.Error("two options")
		}
		ref := actor.MustSpawn(sys, idler())
		ch := newChannel(t, sys)
		closedChannel(t, nil, ch, ref)
		closedChannel(t, new(actor.Channel[*num]), ch, ref)
		wantErr(t, "nil", ch.Send(t.Context(), nil), actor.ErrNilMessage)
		if n, err := ch.Deliver(t.Context(), &num{}, -1); n != 0 || err == nil || !containsAll(err.Error(), "-1") {
			t.Errorf("a negative number: %d, %v", n, err)
		}
		_, err = ch.Subscribe(t.Context(), actor.Ref[*num]{})
		wantErr(t, "the zero ref", err, actor.ErrNoActor)
		ended := actor.MustSpawn(sys, idler())
		ended.Stop()
		wantKind(t, ended.AnyRef, actor.ReasonNormal)
		_, err = ch.Subscribe(t.Context(), ended)
		wantErr(t, "one that has ended", err, actor.ErrStopped)
		if _, err := ch.Subscribe(t.Context(), ref, actor.SubscribeOptions{Slow: 99}); err == nil {
			t.Error("an unknown policy")
		}
		if _, err := ch.Subscribe(t.Context(), ref, actor.SubscribeOptions{}, actor.SubscribeOptions{}); err == nil {
			t.Error("two options")
		}
		rejects := deaf(sys, 1, mailbox.Reject, nil)
		if _, err := ch.Subscribe(t.Context(), rejects, actor.SubscribeOptions{Slow: actor.SlowSuspend}); err == nil || !containsAll(err.Error(), "reject") {
			t.Errorf("SlowSuspend for a mailbox that rejects: %v", err)
		}
		ordered := actor.MustSpawn(sys, idler(), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Priority: func(proto.Message) int { return 0 }}})
		if _, err := ch.Subscribe(t.Context(), ordered, actor.SubscribeOptions{Slow: actor.SlowSuspend}); err == nil {
			t.Error("SlowSuspend for a mailbox that orders")
		}
		if _, err := actor.SubscribeAs[*text](t.Context(), ch, actor.Ref[*text]{}, nil); err == nil {
			t.Error("no function")
		}
		if len(ch.Subscribers()) != 0 {
			t.Errorf("subscribed after all: %v", ch.Subscribers())
		}
		subscribe(t, ch, ref)
		if n, err := ch.Deliver(nil, &num{}, 0); n != 1 || err != nil { //nolint:staticcheck // a nil context is what is tested
			t.Errorf("no context, and nothing to wait for: %d, %v", n, err)
		}
		_, err = ch.Deliver(nil, &num{}, 2) //nolint:staticcheck // a nil context is what is tested
		wantErr(t, "no context to wait under", err, actor.ErrNilContext)
		full := deaf(sys, 1, mailbox.Suspend, nil)
		subscribe(t, ch, full, actor.SlowSuspend)
		published(t, ch, 1, 2)
		n, err := ch.Deliver(nil, &num{}, 0) //nolint:staticcheck // a nil context is what is tested
		if n != 1 || !errors.Is(err, actor.ErrNilContext) {
			t.Errorf("no context to wait for room under: %d, %v", n, err)
		}
		foreign := make(chan error, 1)
		a := start(sys, func(ctx *actor.Context) error {
			go func() { foreign <- ch.Send(ctx, &num{}) }()
			return ctx.Sleep(time.Hour)
		})
		wantErr(t, "another goroutine waits as an actor", await(t, foreign), actor.ErrForeignGoroutine)
		a.Kill()
	})
}

// closedChannel: a channel that was never made is a closed one.
func closedChannel(t *testing.T, c, ch *actor.Channel[*num], ref actor.Ref[*num]) {
	t.Helper()
	ctx := t.Context()
	wantErr(t, "send", c.Send(ctx, &num{}), actor.ErrChannelClosed)
	_, err := c.Deliver(ctx, &num{}, 3)
	wantErr(t, "deliver", err, actor.ErrChannelClosed)
	_, err = c.Subscribe(ctx, ref)
	wantErr(t, "subscribe", err, actor.ErrChannelClosed)
	_, err = actor.SubscribeAs(ctx, c, actor.Ref[*text]{}, func(*num) *text { return nil })
	wantErr(t, "subscribe as", err, actor.ErrChannelClosed)
	_, err = c.SubscribeChannel(ctx, ch)
	wantErr(t, "subscribe a channel", err, actor.ErrChannelClosed)
	_, err = ch.SubscribeChannel(ctx, c)
	wantErr(t, "be subscribed", err, actor.ErrChannelClosed)
	wantErr(t, "unsubscribe", c.Unsubscribe(ref.AnyRef), actor.ErrNotSubscribed)
	wantErr(t, "unsubscribe a channel", c.UnsubscribeChannel(ch), actor.ErrNotSubscribed)
	wantErr(t, "set a transform", c.SetTransform(nil), actor.ErrChannelClosed)
	if c.Name() != "" || c.Subscribers() != nil || c.EndPoints() != 0 {
		t.Error("it has something")
	}
	c.Close()
	var s *actor.Subscription
	wantErr(t, "a nil subscription", s.Unsubscribe(), actor.ErrNotSubscribed)
	wantErr(t, "a nil subscription", s.Err(), actor.ErrNotSubscribed)
	if s.Dropped() != 0 {
		t.Error("a nil subscription has dropped something")
	}
}

// TestChannelAllocs holds the figure of channel_fanout.go: neither a delivery nor a send allocates anything.
func TestChannelAllocs(t *testing.T) {
	const subscribers, sends = 100, 50
	sys := newSystem(t, actor.SystemOptions{Workers: 1})
	ch := newChannel(t, sys)
	var handled atomic.Int64
	done := make(chan struct{}, 1)
	for range subscribers {
		subscribe(t, ch, actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error {
			if handled.Add(1)%(subscribers*sends) == 0 {
				done <- struct{}{}
			}
			return nil
		})))
	}
	sender := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		for range sends {
			if n, err := ch.Deliver(ctx, m, 0); n != subscribers || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		return nil
	}))
	m := &num{Value: 1}
	round := func() {
		if err := sender.Send(context.Background(), m); err != nil {
			t.Error(err)
		}
		await(t, done)
	}
	for range 10 { // each subscriber makes its Context at the first message
		round()
	}
	n := testing.AllocsPerRun(20, round)
	for range 5 { // some are the test's own and, on a busy machine, the watchdog's
		n = min(n, testing.AllocsPerRun(20, round))
	}
	if n > sends/2 && !raceEnabled { // many are the race detector's
		t.Errorf("%d sends to %d allocate %v times", sends, subscribers, n)
	}
}
