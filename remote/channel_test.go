package remote_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

// slowSuspend is mailbox.Suspend: package remote knows no mailboxes.
const slowSuspend = 1

// chanNet is some nodes on a simulated network.
type chanNet struct {
	t     *testing.T
	ctx   context.Context
	net   *simlink.Network
	nodes map[string]*remote.Node
	mu    sync.Mutex
	dead  map[string][]actor.DeadLetter
}

// inNet runs f with nodes of those names, each linked to all before it.
func inNet(t *testing.T, f func(c *chanNet), names ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		c := &chanNet{t: t, ctx: ctx, net: simlink.New(1), nodes: make(map[string]*remote.Node), dead: make(map[string][]actor.DeadLetter)}
		c.net.SetAll(conditions.Conditions{Latency: time.Millisecond, Jitter: time.Millisecond})
		for i, name := range names {
			c.start(name, names[:i]...)
		}
		for _, n := range c.nodes {
			for _, name := range names {
				if name != n.Name() {
					if _, err := n.Peer(ctx, name); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		f(c)
		for name := range c.nodes {
			c.stop(name)
		}
	})
}

func (c *chanNet) start(name string, peers ...string) *remote.Node {
	c.t.Helper()
	sys, err := actor.NewSystem()
	if err != nil {
		c.t.Fatal(err)
	}
	sys.SubscribeDeadLetters(func(l actor.DeadLetter) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dead[name] = append(c.dead[name], l)
	})
	o := remote.Options{Name: name, DownAfter: time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, p := range peers {
		o.Peers = append(o.Peers, p+":1")
	}
	n, err := remote.Start(sys, remote.Over(o, name+":1", c.net.Node(name+":1", link.Identity{Name: name, Roles: link.AllRoles})))
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[name] = n
	return n
}

// stop stops a node and looks at its ledger.
func (c *chanNet) stop(name string) {
	c.t.Helper()
	n := c.nodes[name]
	delete(c.nodes, name)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.Stop(ctx) // what is on its way to who is down
	_ = n.System().Stop(context.Background())
	if l := n.System().Ledger(); !l.Balanced() {
		c.t.Errorf("%s: the ledger is not balanced: %v", name, l)
	}
	_ = n.System().Close()
}

func (c *chanNet) letters(name string) []actor.DeadLetter {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.dead[name])
}

// publish makes a channel on a node and publishes it under name.
func (c *chanNet) publish(node, name string, o ...actor.ChannelOptions[*text]) *actor.Channel[*text] {
	c.t.Helper()
	ch, err := actor.NewChannel(c.nodes[node].System(), o...)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := remote.Publish(c.nodes[node], name, ch); err != nil {
		c.t.Fatal(err)
	}
	return ch
}

func (c *chanNet) open(node, name, where string) *remote.Channel[*text] {
	c.t.Helper()
	ch, err := remote.OpenChannel[*text](c.ctx, c.nodes[node], name, where)
	if err != nil {
		c.t.Fatal(err)
	}
	return ch
}

// hearer is an actor that notes what it gets.
type hearer struct {
	ref actor.Ref[*text]
	mu  sync.Mutex
	got []string
}

func (c *chanNet) hearer(node string, o ...actor.Options) *hearer {
	h := &hearer{}
	h.ref = actor.MustSpawn(c.nodes[node].System(), actor.Handler(func(_ *actor.Context, m *text) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, m.GetValue())
		return nil
	}), o...)
	return h
}

func (h *hearer) heard() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (c *chanNet) subscribe(ch *remote.Channel[*text], h *hearer, o ...actor.SubscribeOptions) *actor.Subscription {
	c.t.Helper()
	s, err := ch.Subscribe(c.ctx, h.ref, o...)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// settle lets all that is on its way arrive.
func chanSettle() {
	synctest.Wait()
	<-time.After(100 * time.Millisecond) // of the bubble
	synctest.Wait()
}

func str(s string, a ...any) *text { return wrapperspb.String(fmt.Sprintf(s, a...)) }

func wantIs(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

// TestChannelFromAnywhere holds what its name says (PUB-1).
func TestChannelFromAnywhere(t *testing.T) {
	inNet(t, func(c *chanNet) {
		c.publish("a", "news")
		var hearers []*hearer
		for _, node := range []string{"a", "b", "c"} {
			ch := c.open(node, "news", "")
			for range 10 {
				h := c.hearer(node)
				hearers = append(hearers, h)
				c.subscribe(ch, h)
			}
		}
		chanSettle()
		before := remote.SentTo(c.nodes["a"], "b")
		const each = 50
		for _, node := range []string{"a", "b", "c"} {
			ch := c.open(node, "news", "a")
			if n, err := ch.EndPoints(c.ctx); n != 30 || err != nil {
				t.Errorf("end points seen from %s: %d, %v", node, n, err)
			}
			actor.MustSpawn(c.nodes[node].System(), actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
				for i := range each {
					if err := ch.Send(ctx, str("%s %02d", node, i)); err != nil {
						t.Error(err)
					}
				}
				return nil
			}))
		}
		chanSettle()
		for _, h := range hearers {
			got := h.heard()
			if len(got) != 3*each {
				t.Fatalf("a subscriber has got %d of %d messages", len(got), 3*each)
			}
			slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
			if !slices.IsSorted(got) {
				t.Fatalf("messages of one sender out of order: %q", got)
			}
		}
		// One message for ten subscribers, and the answers to three questions about end points are none.
		if sent := remote.SentTo(c.nodes["a"], "b") - before; sent != 3*each {
			t.Errorf("%d messages went to b for %d to its ten subscribers", sent, 3*each)
		}
	}, "a", "b", "c")
}

// TestChannelDeliverCounts holds what its name says (PUB-2).
func TestChannelDeliverCounts(t *testing.T) {
	inNet(t, func(c *chanNet) {
		home := c.publish("a", "news", actor.ChannelOptions[*text]{Transform: func(m *text) (*text, bool) { return m, m.GetValue() != "no" }})
		b := c.open("b", "news", "a")
		for range 3 {
			c.subscribe(b, c.hearer("b"))
		}
		c.subscribe(c.open("c", "news", "a"), c.hearer("c"))
		c.subscribe(c.open("a", "news", ""), c.hearer("a"))
		if n, err := home.Deliver(c.ctx, str("x"), 0); n != 5 || err != nil {
			t.Errorf("from home: %d, %v", n, err)
		}
		for _, atLeast := range []int{0, 1, 5} {
			if n, err := b.Deliver(c.ctx, str("x"), atLeast); n < max(atLeast, 1) || n > 5 || err != nil || atLeast == 0 && n != 5 {
				t.Errorf("from b, to %d: %d, %v", atLeast, n, err)
			}
		}
		if n, err := b.Deliver(c.ctx, str("no"), 99); n != 0 || err != nil {
			t.Errorf("dropped by the transform: %d, %v", n, err)
		}
		if _, err := b.Deliver(c.ctx, str("x"), -1); err == nil {
			t.Error("no error for a negative number")
		}
		// A barrier that is not reached ends with its context, at home too.
		ctx, cancel := context.WithTimeout(c.ctx, time.Second)
		defer cancel()
		_, err := b.Deliver(ctx, str("never"), 6)
		wantIs(t, "barrier", err, context.DeadlineExceeded)
		chanSettle()
		if n := remote.Channels(c.nodes["a"])[3]; n != 0 {
			t.Errorf("%d deliveries go on", n)
		}
		// One that is reached later.
		done := make(chan string, 1)
		go func() {
			n, err := b.Deliver(c.ctx, str("go"), 6)
			done <- fmt.Sprint(n, err)
		}()
		chanSettle()
		late := c.hearer("c")
		c.subscribe(c.open("c", "news", ""), late)
		if got := <-done; got != "6 <nil>" {
			t.Errorf("barrier: %s", got)
		}
		chanSettle()
		if got := late.heard(); !slices.Equal(got, []string{"go"}) {
			t.Errorf("the last one heard %q", got)
		}
	}, "a", "b", "c")
}

// TestChannelDeliverLeavesSlowOnesBehind holds what its name says (PUB-2).
func TestChannelDeliverLeavesSlowOnesBehind(t *testing.T) {
	inNet(t, func(c *chanNet) {
		home := c.publish("a", "news")
		b := c.open("b", "news", "")
		gate := make(chan struct{})
		slow := actor.MustSpawn(c.nodes["b"].System(), actor.Handler(func(ctx *actor.Context, _ *text) error {
			return ctx.Block(func() { <-gate })
		}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: slowSuspend}})
		if _, err := b.Subscribe(c.ctx, slow, actor.SubscribeOptions{Slow: actor.SlowSuspend}); err != nil {
			t.Fatal(err)
		}
		quick := c.hearer("b")
		c.subscribe(b, quick)
		chanSettle()
		for i := range 2 { // one in hand, one in the mailbox
			if n, err := home.Deliver(c.ctx, str("%d", i), 0); n != 2 || err != nil {
				t.Fatal(n, err)
			}
			chanSettle()
		}
		if n, err := home.Deliver(c.ctx, str("2"), 1); n != 1 || err != nil {
			t.Errorf("to one of two: %d, %v", n, err)
		}
		ctx, cancel := context.WithTimeout(c.ctx, time.Second)
		defer cancel()
		if _, err := home.Deliver(ctx, str("3"), 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("to all: %v", err)
		}
		close(gate)
		chanSettle()
		if got := quick.heard(); len(got) != 4 {
			t.Errorf("the quick one heard %q", got)
		}
	}, "a", "b")
}

func TestChannelRetains(t *testing.T) {
	inNet(t, func(c *chanNet) {
		home := c.publish("a", "weather", actor.ChannelOptions[*text]{Retain: true})
		_ = home.Send(c.ctx, str("rain"))
		_ = home.Send(c.ctx, str("sun"))
		b := c.open("b", "weather", "")
		first, second := c.hearer("b"), c.hearer("b")
		c.subscribe(b, first)
		_ = home.Send(c.ctx, str("snow"))
		chanSettle()
		c.subscribe(b, second)
		chanSettle()
		if got := fmt.Sprint(first.heard(), second.heard()); got != "[sun snow] [snow]" {
			t.Error(got)
		}
	}, "a", "b")
}

// TestChannelHierarchy holds what its name says (PUB-3).
func TestChannelHierarchy(t *testing.T) {
	inNet(t, func(c *chanNet) {
		top := c.publish("a", "top")
		middle := c.publish("b", "middle", actor.ChannelOptions[*text]{Name: "middle", Transform: func(m *text) (*text, bool) { return str("%s!", m.GetValue()), true }})
		bottom := c.publish("c", "bottom", actor.ChannelOptions[*text]{Name: "bottom"})
		if _, err := c.open("b", "top", "").SubscribeChannel(c.ctx, middle); err != nil {
			t.Fatal(err)
		}
		if _, err := c.open("c", "middle", "").SubscribeChannel(c.ctx, bottom); err != nil {
			t.Fatal(err)
		}
		h := c.hearer("c")
		if _, err := bottom.Subscribe(c.ctx, h.ref); err != nil {
			t.Fatal(err)
		}
		there := c.hearer("a")
		c.subscribe(c.open("a", "bottom", ""), there)
		chanSettle()
		if n := top.EndPoints(); n != 2 {
			t.Errorf("%d end points", n)
		}
		if n, err := c.open("c", "top", "").Deliver(c.ctx, str("x"), 2); n != 2 || err != nil {
			t.Errorf("delivered: %d, %v", n, err)
		}
		chanSettle()
		if got := fmt.Sprint(h.heard(), there.heard()); got != "[x!] [x!]" {
			t.Error(got)
		}
		var cycle *actor.ChannelCycleError
		if _, err := c.open("a", "bottom", "").SubscribeChannel(c.ctx, top); !errors.As(err, &cycle) {
			t.Errorf("a cycle over three nodes: %v", err)
		}
		if err := c.open("c", "middle", "").UnsubscribeChannel(bottom); err != nil {
			t.Error(err)
		}
		chanSettle()
		if n := top.EndPoints(); n != 0 {
			t.Errorf("%d end points are left", n)
		}
		if _, err := c.open("a", "bottom", "").SubscribeChannel(c.ctx, top); err != nil {
			t.Errorf("the cycle is open now: %v", err)
		}
	}, "a", "b", "c")
}

// Two halves of a cycle that are made at once: whatever is refused, no message goes round (PUB-3).
func TestChannelCycleAtOnce(t *testing.T) {
	inNet(t, func(c *chanNet) {
		x, y := c.publish("a", "x"), c.publish("b", "y")
		ya, xb := c.open("a", "y", ""), c.open("b", "x", "")
		hx, hy := c.hearer("a"), c.hearer("b")
		_, _ = x.Subscribe(c.ctx, hx.ref)
		_, _ = y.Subscribe(c.ctx, hy.ref)
		for range 20 {
			var subs [2]*actor.Subscription
			var errs [2]error
			var both sync.WaitGroup
			both.Go(func() { subs[0], errs[0] = ya.SubscribeChannel(c.ctx, x) })
			both.Go(func() { subs[1], errs[1] = xb.SubscribeChannel(c.ctx, y) })
			both.Wait()
			_ = errors.Join(x.Send(c.ctx, str("x")), y.Send(c.ctx, str("y")))
			chanSettle()
			broken := 0
			for i, s := range subs {
				var cycle *actor.ChannelCycleError
				if errors.As(errs[i], &cycle) || errs[i] == nil && errors.As(s.Err(), &cycle) {
					broken++
				}
				if s != nil {
					_ = s.Unsubscribe()
				}
			}
			if broken == 0 {
				t.Fatalf("there is a cycle: %v", errs)
			}
			chanSettle()
		}
		for _, h := range []*hearer{hx, hy} {
			if n := len(h.heard()); n < 20 || n > 40 {
				t.Errorf("%d messages have come of 20 here and 20 there", n)
			}
		}
	}, "a", "b")
}

// TestChannelSubscribersNodeDown holds what its name says (PUB-4).
func TestChannelSubscribersNodeDown(t *testing.T) {
	inNet(t, func(c *chanNet) {
		home := c.publish("a", "news")
		c.subscribe(c.open("b", "news", ""), c.hearer("b"))
		heard := c.hearer("c")
		c.subscribe(c.open("c", "news", ""), heard)
		chanSettle()
		c.net.Partition("a:1", "b:1")
		began := time.Now()
		for i := range 5 {
			if err := home.Send(c.ctx, str("%d", i)); err != nil {
				t.Error(err)
			}
		}
		n, err := home.Deliver(c.ctx, str("all"), 0)
		if n != 1 || err != nil || time.Since(began) > 3*time.Second {
			t.Errorf("after %v: %d, %v", time.Since(began), n, err)
		}
		chanSettle()
		if n := home.EndPoints(); n != 1 {
			t.Errorf("%d end points", n)
		}
		var lost []string
		for _, l := range c.letters("a") {
			if m, ok := l.Message.(*text); ok && l.Reason == actor.DeadNodeDown {
				lost = append(lost, m.GetValue())
			}
		}
		if want := []string{"0", "1", "2", "3", "4", "all"}; !slices.Equal(lost, want) {
			t.Errorf("dead letters %q, want %q", lost, want)
		}
		if got := heard.heard(); len(got) != 6 {
			t.Errorf("the other node heard %q", got)
		}
	}, "a", "b", "c")
}

// TestChannelHomeDown holds what its name says (PUB-4).
func TestChannelHomeDown(t *testing.T) {
	inNet(t, func(c *chanNet) {
		home := c.publish("a", "news")
		b := c.open("b", "news", "")
		h := c.hearer("b")
		s := c.subscribe(b, h)
		waiting := make(chan error, 1)
		go func() {
			_, err := b.Deliver(c.ctx, str("never"), 9)
			waiting <- err
		}()
		chanSettle()
		_ = home.Send(c.ctx, str("last words"))
		c.stop("a")
		wantIs(t, "a Deliver that waits", <-waiting, actor.ErrNodeDown)
		chanSettle()
		wantIs(t, "the subscription", s.Err(), actor.ErrChannelClosed)
		wantIs(t, "Send", b.Send(c.ctx, str("x")), actor.ErrNodeDown)
		wantIs(t, "Err", b.Err(), actor.ErrNodeDown)
		if got := h.heard(); !slices.Equal(got, []string{"last words"}) {
			t.Errorf("heard %q", got)
		}
		if got := remote.Channels(c.nodes["b"]); got != [4]int{} {
			t.Errorf("it still has %v", got)
		}
		// It comes back as another one.
		c.start("a")
		again := make(chan *remote.Channel[*text])
		go func() { again <- c.open("b", "news", "a") }() // before there is one
		chanSettle()
		home = c.publish("a", "news")
		c.subscribe(<-again, h)
		if n, err := home.Deliver(c.ctx, str("news"), 1); n != 1 || err != nil {
			t.Error(n, err)
		}
	}, "a", "b")
}

// TestChannelCloses holds what its name says (PUB-4).
func TestChannelCloses(t *testing.T) {
	for _, how := range []string{"Close", "Unpublish"} {
		t.Run(how, func(t *testing.T) {
			inNet(t, func(c *chanNet) {
				home := c.publish("a", "news")
				b := c.open("b", "news", "")
				h := c.hearer("b")
				s := c.subscribe(b, h)
				for i := range 100 {
					_ = home.Send(c.ctx, str("%d", i))
				}
				if how == "Close" {
					home.Close()
				} else if err := remote.Unpublish(c.nodes["a"], "news"); err != nil {
					t.Error(err)
				}
				wantIs(t, "once more", remote.Unpublish(c.nodes["a"], "news"), remote.ErrNoChannel)
				chanSettle()
				if n := len(h.heard()); n != 100 {
					t.Errorf("heard %d of 100", n)
				}
				wantIs(t, "the subscription", s.Err(), actor.ErrChannelClosed)
				wantIs(t, "Send", b.Send(c.ctx, str("x")), actor.ErrChannelClosed)
				_, err := b.Deliver(c.ctx, str("x"), 0)
				wantIs(t, "Deliver", err, actor.ErrChannelClosed)
				_, err = b.Subscribe(c.ctx, h.ref)
				wantIs(t, "Subscribe", err, actor.ErrChannelClosed)
				c.publish("a", "news")
			}, "a", "b")
		})
	}
}

func TestChannelIsFound(t *testing.T) {
	inNet(t, func(c *chanNet) {
		found := make(chan string, 3)
		for _, where := range []string{"", "late"} {
			go func() {
				ch, err := remote.OpenChannel[*text](c.ctx, c.nodes["a"], "news", where)
				if err != nil {
					t.Error(err)
					found <- ""
					return
				}
				found <- ch.Home()
			}()
		}
		chanSettle()
		ctx, cancel := context.WithTimeout(c.ctx, time.Second)
		defer cancel()
		_, err := remote.OpenChannel[*text](ctx, c.nodes["a"], "nobody's", "")
		wantIs(t, "a name that nobody has", err, context.DeadlineExceeded)
		c.start("late", "a")
		c.publish("late", "news")
		for range 2 {
			if home := <-found; home != "late" {
				t.Errorf("found on %q", home)
			}
		}
		c.publish("a", "here")
		if ch := c.open("a", "here", ""); ch.Home() != "a" || ch.Name() != "here" {
			t.Errorf("found on %q", ch.Home())
		}
		for node := range c.nodes {
			_, err = remote.OpenChannel[*wrapperspb.BytesValue](c.ctx, c.nodes[node], "news", "late")
			wantIs(t, "another type on "+node, err, actor.ErrWrongType)
		}
		_, err = remote.OpenChannel[*text](c.ctx, c.nodes["a"], strings.Repeat("x", 256), "")
		wantIs(t, "a long name", err, actor.ErrBadName)
	}, "a")
}

func TestPublishRefuses(t *testing.T) {
	inNet(t, func(c *chanNet) {
		a, b := c.nodes["a"], c.nodes["b"]
		ch := c.publish("a", "news")
		other, _ := actor.NewChannel[*text](a.System())
		wantIs(t, "the same name", remote.Publish(a, "news", other), actor.ErrNameTaken)
		wantIs(t, "the same channel", remote.Publish(a, "more", ch), actor.ErrNameTaken)
		wantIs(t, "no name", remote.Publish(a, "", other), actor.ErrBadName)
		if remote.Publish(b, "news", ch) == nil {
			t.Error("a channel of another System")
		}
		if remote.Publish(a, "x", other, remote.PublishOptions{MaxNodes: -1}) == nil {
			t.Error("negative options")
		}
		wantIs(t, "no channel", remote.Publish[*text](a, "x", nil), actor.ErrChannelClosed)
		other.Close()
		if err := remote.Publish(a, "x", other); err == nil {
			wantIs(t, "a closed channel", remote.Unpublish(a, "x"), remote.ErrNoChannel)
		}
		one, _ := actor.NewChannel[*text](a.System())
		if err := remote.Publish(a, "one", one, remote.PublishOptions{MaxNodes: 1}); err != nil {
			t.Fatal(err)
		}
		c.subscribe(c.open("b", "one", "a"), c.hearer("b"))
		_, err := c.open("c", "one", "a").Subscribe(c.ctx, c.hearer("c").ref)
		wantIs(t, "one node too many", err, remote.ErrLimit)
		_, err = c.open("b", "news", "a").Subscribe(c.ctx, actor.Ref[*text]{})
		wantIs(t, "nobody", err, actor.ErrNoActor)
		wantIs(t, "nothing", c.open("b", "news", "a").Send(c.ctx, nil), actor.ErrNilMessage)
		var names []*actor.Channel[*text]
		for i := range remote.MaxChannels {
			ch, _ := actor.NewChannel[*text](a.System())
			names = append(names, ch)
			if err = remote.Publish(a, strconv.Itoa(i), ch); err != nil {
				break
			}
		}
		wantIs(t, "too many", err, remote.ErrLimit)
		if len(names) < remote.MaxChannels-2 {
			t.Errorf("only %d channels", len(names))
		}
	}, "a", "b", "c")
}

// Who goes is no end point, and a node that nobody listens on any more gets nothing.
func TestChannelSubscribersGo(t *testing.T) {
	inNet(t, func(c *chanNet) {
		home := c.publish("a", "news")
		b := c.open("b", "news", "")
		one, two := c.hearer("b"), c.hearer("b")
		c.subscribe(b, one)
		c.subscribe(b, two)
		chanSettle()
		one.ref.Stop()
		chanSettle()
		if n := home.EndPoints(); n != 1 {
			t.Errorf("%d end points after one has ended", n)
		}
		if err := b.Unsubscribe(two.ref.Any()); err != nil {
			t.Error(err)
		}
		wantIs(t, "again", b.Unsubscribe(two.ref.Any()), actor.ErrNotSubscribed)
		chanSettle()
		if n := home.EndPoints(); n != 0 {
			t.Errorf("%d end points", n)
		}
		before := remote.SentTo(c.nodes["a"], "b")
		_ = home.Send(c.ctx, str("nobody hears"))
		if sent := remote.SentTo(c.nodes["a"], "b"); sent != before {
			t.Error("a message went to a node without subscribers")
		}
		c.subscribe(b, two)
		if n, err := home.Deliver(c.ctx, str("back"), 1); n != 1 || err != nil {
			t.Error(n, err)
		}
		chanSettle()
		if got := two.heard(); !slices.Equal(got, []string{"back"}) {
			t.Errorf("heard %q", got)
		}
		for node := range c.nodes {
			if l := c.letters(node); len(l) > 0 {
				t.Errorf("%s: dead letters %v", node, l)
			}
		}
	}, "a", "b")
}

// A subscriber that suspends its senders slows all of them down, and nobody else (PUB-5).
func TestChannelBackpressure(t *testing.T) {
	inNet(t, func(c *chanNet) {
		c.publish("a", "slow")
		c.publish("a", "quick")
		b := c.open("b", "slow", "")
		gate := make(chan struct{})
		var mu sync.Mutex
		handled := 0
		slow := actor.MustSpawn(c.nodes["b"].System(), actor.Handler(func(ctx *actor.Context, _ *text) error {
			err := ctx.Block(func() { <-gate })
			mu.Lock()
			handled++
			mu.Unlock()
			return err
		}), actor.Options{Mailbox: actor.Mailbox{Capacity: 4, Overflow: slowSuspend}})
		if _, err := b.Subscribe(c.ctx, slow, actor.SubscribeOptions{Slow: actor.SlowSuspend}); err != nil {
			t.Fatal(err)
		}
		h := c.hearer("b")
		c.subscribe(c.open("b", "quick", ""), h)
		chanSettle()
		const all = 2000
		big := strings.Repeat("x", 10_000) // 20 MB in all
		var sent [2]int
		var senders sync.WaitGroup
		for i, node := range []string{"a", "c"} {
			ch := c.open(node, "slow", "a")
			senders.Go(func() {
				for range all / 2 {
					if err := ch.Send(c.ctx, str("%s", big)); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					sent[i]++
					mu.Unlock()
				}
			})
		}
		<-time.After(5 * time.Second)
		mu.Lock()
		for i, n := range sent {
			if n == all/2 || n < 10 {
				t.Errorf("sender %d was not slowed down: %d of %d", i, n, all/2)
			}
		}
		mu.Unlock()
		quick := c.open("c", "quick", "a")
		if n, err := quick.Deliver(c.ctx, str("x"), 0); n != 1 || err != nil {
			t.Errorf("the other channel: %d, %v", n, err)
		}
		close(gate)
		senders.Wait()
		<-time.After(5 * time.Second)
		synctest.Wait()
		for node := range c.nodes {
			for _, l := range c.letters(node) {
				t.Errorf("%s: dead letter: %v", node, l.Err)
			}
		}
		if handled != all {
			t.Errorf("%d of %d messages have come", handled, all)
		}
	}, "a", "b", "c")
}

// What is sent while a link breaks and comes back arrives, once and in order (PUB-1).
func TestChannelOverBrokenLinks(t *testing.T) {
	inNet(t, func(c *chanNet) {
		c.publish("a", "news")
		h := c.hearer("b")
		c.subscribe(c.open("b", "news", ""), h)
		from := c.open("c", "news", "")
		const all = 300
		for i := range all {
			if i%50 == 25 {
				c.net.Cut("a:1", "b:1")
				c.net.Cut("a:1", "c:1")
			}
			if err := from.Send(c.ctx, str("%03d", i)); err != nil {
				t.Fatal(err)
			}
			<-time.After(2 * time.Millisecond)
		}
		<-time.After(5 * time.Second)
		got := h.heard()
		if len(got) != all || !slices.IsSorted(got) {
			t.Errorf("%d of %d messages, in order: %v", len(got), all, slices.IsSorted(got))
		}
	}, "a", "b", "c")
}
