package remote_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

// TestNewIncarnation crashes a node and starts another one with its name and address: refs of the old one reach nobody (REM-21).
func TestNewIncarnation(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		l := watchLetters(a.sys)
		old := at(a, victim(b))
		d := watcher(a, old.Any())
		pass(time.Second)
		w.net.Kill("b:1")
		holds(w, old.Send(w.patient(), wrapperspb.String("for the old one"))) // it is not known to be dead yet
		b.leave()
		began := time.Now()
		b2 := w.node("b", peers("a:1"))
		got := make(chan string, 100)
		r := actor.MustSpawn(b2.sys, actor.Handler(func(_ *actor.Context, m *text) error { // it has the same number
			got <- m.GetValue()
			return nil
		}))
		if r.ID() != old.ID() {
			w.Fatalf("the numbers are %x and %x", r.ID(), old.ID())
		}
		if x := await(w, d.ch); x.Reason.Kind != actor.ReasonNodeDown {
			w.Errorf("Down %v", x)
		}
		between(w, "NodeDown", began, 0, time.Second)
		b2.meets(a)
		_, err := ask(w.patient(), old, "x")
		wants(w, "a call of the old one", err, actor.ErrNodeDown)
		wants(w, "a message to the old one", old.Send(w.patient(), wrapperspb.String("x")), actor.ErrNodeDown)
		holds(w, at(a, r).Send(w.patient(), wrapperspb.String("for the new one")))
		if s := await(w, got); s != "for the new one" {
			w.Errorf("the new one got %q", s)
		}
		pass(time.Second)
		if len(got) > 0 || l.count(actor.DeadNodeDown) != 1 {
			w.Errorf("the new one got %d more; dead letters %v", len(got), l.list())
		}
	})
}

// TestTwoOfAName has a node be cut off, another one take its name, and the first one come back (REM-22).
func TestTwoOfAName(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		old := victim(b)
		w.net.Partition("a:1", "b:1")
		pass(2 * downAfter)
		b2 := w.nodeAt("b", "b:2", peers("a:1"))
		v := at(a, victim(b2))
		b2.meets(a)
		w.net.Heal("a:1", "b:1")
		for range 20 {
			pass(downAfter)
			if s, err := ask(w.patient(), v, "x"); s != "re: x" || err != nil {
				w.Fatalf("the new one: %q, %v", s, err)
			}
			wants(w, "the old one", at(a, old).Send(w.patient(), wrapperspb.String("x")), actor.ErrNodeDown)
		}
		if !w.log.says("another node is called b") {
			w.Error("the log does not say so")
		}
	})
}

// TestStopDrains stops a node with much to send over a bad network whose link breaks: all of it arrives, and peers know at once (REM-23).
func TestStopDrains(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 20 * time.Millisecond, BytesPerSecond: 500_000})
		a, b := w.pair()
		s := newSink(a, 300, true)
		to := at(b, s.ref)
		d := watcher(a, at(a, victim(b)).Any())
		holds(w, await(w, runs(b, func(ctx *actor.Context) error {
			for i := range 300 {
				if err := to.Send(ctx, parcel(0, i, 4000)); err != nil {
					return err
				}
			}
			return nil
		})))
		time.AfterFunc(100*time.Millisecond, func() { w.net.Cut("a:1", "b:1") })
		holds(w, b.Stop(w.patient()))
		began := time.Now()
		await(w, s.done)
		s.check(w)
		if x := await(w, d.ch); x.Reason.Kind != actor.ReasonNodeDown {
			w.Errorf("Down %v", x)
		}
		between(w, "NodeDown", began, 0, time.Second)
		err := to.Send(w.patient(), parcel(0, 0, 0))
		wants(w, "after Stop", err, remote.ErrStopped)
		_, err = b.Peer(w.patient(), "a")
		wants(w, "Peer after Stop", err, remote.ErrStopped)
		again, err := remote.Start(b.sys, remote.Over(remote.Options{Name: "b", Peers: []string{"a:1"}}, "b:1", w.net.Node("b:1", identity("b"))))
		holds(w, err)
		b.Node = again
		b.meets(a)
		s2 := newSink(a, 1, true)
		holds(w, at(b, s2.ref).Send(w.patient(), parcel(0, 0, 0)))
		await(w, s2.done)
	})
}

// TestStopBoth stops two nodes at once. What has arrived is confirmed before the goodbye, so that the other one's Stop knows (REM-23).
func TestStopBoth(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 20 * time.Millisecond})
		a, b := w.pair()
		s := newSink(a, 1, true)
		to := at(b, s.ref)
		holds(w, to.Send(w.patient(), parcel(0, 0, 100)))
		ended := make(chan error, 1)
		go func() { ended <- b.Stop(w.patient()) }()
		await(w, s.done)
		holds(w, a.Stop(w.patient()))
		holds(w, await(w, ended))
	})
}

// TestStopUnderFire stops nodes while everybody sends and links break: nothing is left running, ledgers add up (REM-23).
func TestStopUnderFire(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			inWorld(t, seed, func(w *world) {
				w.net.SetAll(conditions.Conditions{Latency: 3 * time.Millisecond})
				a, b := w.pair(func(o *remote.Options) { o.WindowBytes = 64 << 10 })
				f := start(w, a, b, 300, 20*time.Millisecond, false)
				for range 3 {
					pass(time.Duration(w.rand.IntN(60)) * time.Millisecond)
					w.net.Cut("a:1", "b:1")
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.rand.IntN(100))*time.Millisecond)
				defer cancel()
				first, second := a, b
				if seed%2 == 1 {
					first, second = b, a
				}
				_ = first.Stop(ctx) // whatever was not sent in time is a dead letter
				if seed%3 == 0 {
					second.crash()
				}
				for _, m := range []*member{first, second} {
					m.leave()
				}
				_ = f.received()
			})
		})
	}
}

// TestDownInTime measures when a silent peer is declared down, with several limits (REM-24).
func TestDownInTime(t *testing.T) {
	for _, limit := range []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second, time.Minute} {
		t.Run(limit.String(), func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				w.net.IdleTimeout = 2 * limit
				a, b := w.pair(func(o *remote.Options) { o.DownAfter = limit })
				d := watcher(a, at(a, victim(b)).Any())
				for range 10 {
					pass(limit)
				}
				if len(d.ch) > 0 {
					w.Fatalf("Down of an idle peer: %v", <-d.ch)
				}
				w.net.Kill("b:1")
				began := time.Now()
				await(w, d.ch)
				between(w, "NodeDown", began, limit*8/10, limit*12/10+time.Millisecond)
			})
		})
	}
}

// TestStalledProcess has a session see what it sees when its process was stopped: the peer is not declared down for that (REM-24).
func TestStalledProcess(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		s := a.session(b)
		for _, d := range []time.Duration{time.Second, 3 * time.Second, time.Minute, 24 * time.Hour} {
			s.Stall(d)
			pass(2 * time.Second)
			if err := s.Ended(); err != nil {
				w.Fatalf("after %v: %v", d, err)
			}
		}
		if !w.log.says("this node was not running for a while") {
			w.Error("the log does not say so")
		}
		s.Stall(time.Minute)
		w.net.Kill("b:1")
		pass(downAfter * 5 / 4)
		wants(w, "one that is silent indeed", s.Ended(), actor.ErrNodeDown)
	})
}

// TestPeers watches peers come and go, and lists them (REM-25).
func TestPeers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 10 * time.Millisecond})
		a, b := w.pair()
		events := make(chan remote.PeerEvent, 100)
		ready := make(chan error, 1)
		r := actor.MustSpawn(a.sys, actor.Handler(func(ctx *actor.Context, m *text) error {
			if m.GetValue() == "watch" {
				_, err := remote.WatchPeers(ctx, a.Node, func(e remote.PeerEvent) *text {
					events <- e
					return wrapperspb.String("event")
				})
				ready <- err
			}
			return nil
		}))
		holds(w, r.Send(w.patient(), wrapperspb.String("watch")))
		holds(w, await(w, ready))
		is := func(name string, status remote.PeerStatus) {
			w.Helper()
			if e := await(w, events); e.Peer.Name != name || e.Status != status || e.Peer.Status != status {
				w.Errorf("the event is %+v, want %s %v", e, name, status)
			}
		}
		is("b", remote.PeerUp)
		c := w.node("c", peers("a:1"))
		is("c", remote.PeerUp)
		w.net.Cut("a:1", "c:1") // which nobody need know
		pass(2 * downAfter)
		c.leave()
		is("c", remote.PeerDown)
		holds(w, a.ClosePeer("b"))
		is("b", remote.PeerDown)
		is("b", remote.PeerUp) // b stays linked to a
		wants(w, "closing a stranger", a.ClosePeer("nobody"), remote.ErrNoPeer)
		list := a.Peers()
		if len(list) != 2 || list[0].Name != "b" || list[0].Status != remote.PeerUp || list[1].Name != "c" || list[1].Status != remote.PeerDown {
			w.Fatalf("%+v", list)
		}
		pass(2 * downAfter)
		if p := a.Peers()[0]; p.RTT < 20*time.Millisecond || p.RTT > 40*time.Millisecond || p.Incarnation != b.sys.NodeID() || p.Addr != "b:1" {
			w.Errorf("%+v", p)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := a.Peer(ctx, "nobody")
		wants(w, "waiting for nobody", err, context.DeadlineExceeded)
		if len(events) > 0 {
			w.Errorf("one more event: %+v", <-events)
		}
	})
}

// TestIgnore ignores a peer, which keeps knocking, and takes that back (REM-25).
func TestIgnore(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		d := watcher(b, at(b, victim(a)).Any())
		pass(time.Second)
		a.Ignore("b", true)
		if x := await(w, d.ch); x.Reason.Kind != actor.ReasonNodeDown {
			w.Errorf("Down %v", x)
		}
		pass(10 * downAfter)
		if p := a.Peers(); p[0].Status != remote.PeerDown {
			w.Errorf("%+v", p)
		}
		if !w.log.says("a ignores b") {
			w.Error("the log of the other side does not say so")
		}
		a.Ignore("b", false)
		b.meets(a)
	})
}

// TestAdvertised reaches a node at the address that it tells, which is another than the one that others have dialed.
func TestAdvertised(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a := w.node("a", func(o *remote.Options) { o.Advertise = "nat:9" })
		b := w.node("b", peers("a:1"))
		b.meets(a)
		if p := b.Peers(); p[0].Addr != "nat:9" {
			w.Errorf("%+v", p)
		}
	})
}

// TestMaxPeers has more nodes come than are remembered: those that are up stay, those that are down are forgotten.
func TestMaxPeers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a := w.node("a", func(o *remote.Options) { o.MaxPeers = 3 })
		for i := range 6 {
			b := w.node(fmt.Sprint("b", i), peers("a:1"))
			b.meets(a)
			b.leave()
			pass(time.Second)
		}
		for i := range 3 {
			w.node(fmt.Sprint("c", i), peers("a:1")).meets(a)
		}
		w.node("d", peers("a:1"))
		pass(downAfter)
		if list := a.Peers(); len(list) != 3 || slices.ContainsFunc(list, func(p remote.PeerInfo) bool { return p.Name[0] != 'c' }) {
			w.Errorf("%+v", list)
		}
		if !w.log.says("MaxPeers") {
			w.Error("the log does not say why")
		}
	})
}

// TestUserCodeInReaders has subscribers of dead letters end the goroutine that shows them, and a policy panic (REM-27).
func TestUserCodeInReaders(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a := w.node("a")
		b := w.node("b", peers("a:1"), func(o *remote.Options) {
			o.Policy.Accept = func(_, message string) bool {
				if message == "google.protobuf.Int64Value" {
					panic(errBad)
				}
				return true
			}
		})
		b.meets(a)
		dead := victim(b)
		dead.Kill()
		_, _ = dead.Any().Wait(w.patient())
		for range 5 {
			b.sys.SubscribeDeadLetters(func(actor.DeadLetter) { runtime.Goexit() })
			a.sys.SubscribeDeadLetters(func(actor.DeadLetter) { runtime.Goexit() })
		}
		l := watchLetters(b.sys)
		s := newSink(b, 1000, true)
		v := victim(b)
		d := watcher(a, at(a, v).Any())
		to, gone := at(a, s.ref), at(a, dead)
		pass(time.Second)
		w.net.Partition("a:1", "b:1") // so that many messages share a frame
		w.net.Cut("a:1", "b:1")
		time.AfterFunc(time.Second, func() { w.net.Heal("a:1", "b:1") })
		done := runs(a, func(ctx *actor.Context) error {
			for i := range 1000 {
				err := to.Send(ctx, parcel(0, i, 100))
				if i%100 == 50 { // in the same lane as what the sink gets
					err = errors.Join(err, to.Any().Send(ctx, wrapperspb.Int64(1)))
				}
				if i > 800 && i%100 == 51 {
					err = errors.Join(err, gone.Send(ctx, wrapperspb.String("x")))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		holds(w, await(w, done))
		await(w, s.done)
		s.check(w)
		pass(2 * time.Second)
		if s.count() != 1000 || l.count(actor.DeadStopped) != 2 || l.count(actor.DeadRefused) != 10 {
			w.Errorf("%d came; dead letters %d and %d", s.count(), l.count(actor.DeadStopped), l.count(actor.DeadRefused))
		}
		w.net.Partition("a:1", "b:1")
		sa := a.session(b)
		for i := range 20 {
			_ = to.Send(w.patient(), parcel(0, 1000+i, 100))
		}
		if x := await(w, d.ch); x.Reason.Kind != actor.ReasonNodeDown { // though five subscribers ended who was about to tell it
			w.Errorf("Down %v", x)
		}
		if n := sa.Tally(); n.Lost != 20 {
			w.Errorf("%+v", n)
		}
	})
}
