package remote_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

// TestNoNode asks everything of what is no Node: nil, which Start returns with an error, and the zero value (BAD-14).
func TestNoNode(t *testing.T) {
	sys, err := actor.NewSystem()
	holds(t, err)
	defer sys.Stop(t.Context()) //nolint:errcheck // nothing runs
	who, err := actor.Spawn(sys, actor.Handler(func(*actor.Context, *text) error { return nil }))
	holds(t, err)
	ch, err := actor.NewChannel[*text](sys)
	holds(t, err)
	ctx := t.Context()
	for what, n := range map[string]*remote.Node{"nil": nil, "zero": new(remote.Node)} {
		refused := func(call string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), "no Node") {
				t.Errorf("%s of a %s Node: %v", call, what, err)
			}
		}
		second := func(_ any, err error) error { return err }
		refused("Stop", n.Stop(ctx))
		refused("Err", n.Err())
		refused("Peer", second(n.Peer(ctx, "x")))
		refused("ClosePeer", n.ClosePeer("x"))
		refused("Claim", n.Claim("x", who, nil))
		refused("Release", n.Release("x", who))
		refused("JoinGroup", n.JoinGroup("x", who))
		refused("LeaveGroup", n.LeaveGroup("x", who))
		refused("SendFile", second(n.SendFile(ctx, "x", strings.NewReader(""), remote.SendOptions{Name: "x"})))
		refused("StatFile", second(n.StatFile(ctx, "x", "x", true)))
		refused("DeleteFile", n.DeleteFile(ctx, "x", "x"))
		refused("Unregister", n.Unregister("x"))
		refused("Outbound", second(n.Outbound(1)))
		refused("Find", second(remote.Find[*text](n, "x")))
		refused("Await", second(remote.Await[*text](ctx, n, "x")))
		refused("Lookup", second(remote.Lookup[*text](ctx, n, "x", "x")))
		refused("Locate", second(remote.Locate[*text](ctx, n, "x")))
		refused("Publish", remote.Publish(n, "x", ch))
		refused("Unpublish", remote.Unpublish(n, "x"))
		refused("OpenChannel", second(remote.OpenChannel[*text](ctx, n, "x", "x")))
		refused("RegisterFunc", remote.RegisterFunc(n, "x", func(_ *actor.Context, s *text) (*text, error) { return s, nil }))
		refused("Spawn", second(remote.Spawn[*text](ctx, n, remote.Any(), "x", nil)))
		refused("Spawn by a Client", second(remote.Spawn[*text](ctx, remote.NewClient(n), remote.Any(), "x", nil)))
		n.Connect("127.0.0.1:1")
		n.Ignore("x", true)
		metrics := make(chan prometheus.Metric, 1)
		n.Collect(metrics)
		if n.Name()+n.Addr() != "" || n.System() != nil || n.Done() != nil || len(n.Peers())+len(n.Members())+len(n.Stats())+len(n.Group("x"))+len(metrics) != 0 {
			t.Errorf("a %s Node has something to tell", what)
		}
		done := make(chan error, 1)
		_, err := actor.Spawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
			_, peers := remote.WatchPeers(ctx, n, func(remote.PeerEvent) *text { return nil })
			_, name := remote.WatchName(ctx, n, "x", func(remote.NameEvent) *text { return nil })
			_, group := remote.WatchGroup(ctx, n, "x", func(remote.GroupEvent) *text { return nil })
			for _, err := range []error{peers, name, group} {
				if err == nil {
					done <- errors.New("a watch was accepted")
				}
			}
			done <- nil
			return nil
		}))
		holds(t, err)
		if err := await(t, done); err != nil {
			t.Errorf("watches of a %s Node: %v", what, err)
		}
	}
}

// TestNoChannel uses the nil and the zero Channel (BAD-14).
func TestNoChannel(t *testing.T) {
	ctx := t.Context()
	for what, c := range map[string]*remote.Channel[*text]{"nil": nil, "zero": new(remote.Channel[*text])} {
		_, deliver := c.Deliver(ctx, wrapperspb.String("x"), 0)
		_, points := c.EndPoints(ctx)
		_, subscribe := c.Subscribe(ctx, actor.Ref[*text]{})
		_, channel := c.SubscribeChannel(ctx, nil)
		_, as := remote.SubscribeAs(ctx, c, actor.Ref[*blob]{}, func(*text) *blob { return nil })
		for call, err := range map[string]error{
			"Send": c.Send(ctx, wrapperspb.String("x")), "Err": c.Err(), "Deliver": deliver, "EndPoints": points, "Subscribe": subscribe, "SubscribeChannel": channel,
			"SubscribeAs": as, "Unsubscribe": c.Unsubscribe(actor.AnyRef{}), "UnsubscribeChannel": c.UnsubscribeChannel(nil),
		} {
			if err == nil {
				t.Errorf("%s of a %s Channel: no error", call, what)
			}
		}
		if c.Name()+c.Home() != "" {
			t.Errorf("a %s Channel has a name", what)
		}
	}
}

// TestNilContextsOfNodes passes nil where a context is needed (BAD-13).
func TestNilContextsOfNodes(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, _ := w.pair()
		var none context.Context
		_, peer := a.Peer(none, "b")
		_, send := a.SendFile(none, "b", strings.NewReader("x"), remote.SendOptions{Name: "x", Size: 1})
		_, stat := a.StatFile(none, "b", "x", true)
		for call, err := range map[string]error{"Peer": peer, "SendFile": send, "StatFile": stat, "DeleteFile": a.DeleteFile(none, "b", "x"), "Stop": a.Stop(none)} {
			if !errors.Is(err, actor.ErrNilContext) {
				t.Errorf("%s: %v", call, err)
			}
		}
	})
}

// TestOptionsOutOfRange looks at errors of Start: each names the option (BAD-3).
func TestOptionsOutOfRange(t *testing.T) {
	sys, err := actor.NewSystem()
	holds(t, err)
	defer sys.Stop(t.Context()) //nolint:errcheck // nothing runs
	for option, o := range map[string]remote.Options{
		"Listen": {Listen: "here"}, "Advertise": {Advertise: "there"}, "Peers": {Peers: []string{"a:1", ""}}, "DownAfter": {DownAfter: -1},
		"Options.DownAfter": {DownAfter: 1 << 62}, "MaxMessageBytes": {MaxMessageBytes: 2 << 30}, "Options.MaxMessageBytes": {MaxMessageBytes: -1},
		"WindowBytes": {WindowBytes: 1}, "MaxQueuedBytes": {MaxQueuedBytes: -1}, "MaxPeers": {MaxPeers: -1}, "MaxSpawned": {MaxSpawned: -1},
		"HandshakesPerSecond": {HandshakesPerSecond: -1},
	} {
		o.Name, o.TLS = "a", remote.DevTLS(t.TempDir())
		n, err := remote.Start(sys, o)
		if err == nil {
			holds(t, n.Stop(t.Context()))
		}
		if err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

// TestAfterStop uses a node that has stopped.
func TestAfterStop(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, _ := w.pair()
		holds(w, a.Stop(w.patient()))
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		holds(w, a.Stop(gone))
		_, spawn := remote.Spawn[*text](w.patient(), a.Node, remote.On("b"), "x", nil)
		_, lookup := remote.Lookup[*text](w.patient(), a.Node, "b", "x")
		_, locate := remote.Locate[*text](w.patient(), a.Node, "x")
		_, peer := a.Peer(w.patient(), "b")
		for call, err := range map[string]error{"Spawn": spawn, "Lookup": lookup, "Locate": locate, "Peer": peer} {
			if !errors.Is(err, remote.ErrStopped) {
				w.Errorf("%s: %v", call, err)
			}
		}
	})
}

// TestStopWithinACallback stops a node from a function that it has called, and waits: Stop ends when its context does, and so does a second
// one meanwhile.
func TestStopWithinACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simlink.New(1)
		sys, err := actor.NewSystem()
		holds(t, err)
		inside, release := make(chan struct{}), make(chan struct{})
		grant := func(string, remote.Roles) remote.Roles {
			close(inside)
			<-release
			return remote.MaySend
		}
		n, err := remote.Start(sys, remote.Over(remote.Options{Name: "a", Policy: remote.Policy{Grant: grant}}, "a:1", net.Node("a:1", identity("a"))))
		holds(t, err)
		other, err := actor.NewSystem()
		holds(t, err)
		b, err := remote.Start(other, remote.Over(remote.Options{Name: "b", Peers: []string{"a:1"}}, "b:1", net.Node("b:1", identity("b"))))
		holds(t, err)
		<-inside
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stops := make(chan error, 2)
		for range 2 {
			go func() { stops <- n.Stop(ctx) }()
		}
		for range 2 {
			if err := await(t, stops); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Stop: %v", err)
			}
		}
		close(release)
		holds(t, b.Stop(t.Context()))
		holds(t, sys.Stop(t.Context()))
		holds(t, other.Stop(t.Context()))
	})
}

// TestHomeOnly asks for what an actor's own node alone can do.
func TestHomeOnly(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		there, err := actor.Spawn(b.sys, actor.Handler(func(*actor.Context, *text) error { return nil }))
		holds(w, err)
		r := at(a, there)
		if err := actor.AtEnd(r.Any(), nil); !errors.Is(err, actor.ErrOtherSystem) {
			w.Errorf("AtEnd: %v", err)
		}
		stop := make(chan error, 1)
		_, err = actor.Spawn(a.sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
			stop <- ctx.StopChild(r.Any(), false)
			return nil
		}))
		holds(w, err)
		if err := await(w, stop); !errors.Is(err, actor.ErrNotGuardian) {
			w.Errorf("StopChild: %v", err)
		}
	})
}

// TestGrantFails has Policy.Grant panic and end its goroutine: the peer is linked and may do nothing (REM-27).
func TestGrantFails(t *testing.T) {
	for what, fail := range map[string]func(){"panic": func() { panic("no") }, "goexit": runtime.Goexit} {
		inWorld(t, 1, func(w *world) {
			a := w.node("a", func(o *remote.Options) {
				o.Policy.Grant = func(string, remote.Roles) remote.Roles {
					fail()
					return remote.MaySend
				}
			})
			b := w.node("b", peers("a:1"))
			b.meets(a)
			if _, err := remote.Lookup[*text](w.patient(), b.Node, "a", "x"); !errors.Is(err, remote.ErrRefused) {
				w.Errorf("%s: %v", what, err)
			}
		})
	}
}

// brokenHandler is a Logger's handler that panics.
type brokenHandler struct{}

func (brokenHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (brokenHandler) Handle(context.Context, slog.Record) error { panic("no log") }
func (h brokenHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h brokenHandler) WithGroup(string) slog.Handler           { return h }

// TestLoggerPanics gives a node a Logger that panics (REM-27).
func TestLoggerPanics(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.pair(func(o *remote.Options) { o.Logger = slog.New(brokenHandler{}) })
	})
}

// TestConnectOften connects to one address again and again: that is one link.
func TestConnectOften(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a := w.node("a")
		b := w.node("b", func(o *remote.Options) { o.MaxPeers = 3 })
		before := runtime.NumGoroutine()
		for range 1000 {
			b.Connect("a:1")
		}
		for i := range 1000 {
			b.Connect("nowhere:" + strconv.Itoa(i))
		}
		b.meets(a)
		synctest.Wait()
		if now := runtime.NumGoroutine(); now > before+50 {
			w.Errorf("%d goroutines have become %d", before, now)
		}
		if up := strings.Count(w.log.String(), `msg="link up" node=a`); up != 1 {
			w.Errorf("%d links", up)
		}
		if !strings.Contains(w.log.String(), "MaxPeers") {
			w.Error("an address too many is not logged")
		}
	})
}

// TestSystemOfTwoNames makes a System a node again: that works under the name that others know its actors by.
func TestSystemOfTwoNames(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		there, err := actor.Spawn(b.sys, actor.Handler(func(ctx *actor.Context, m *text) error { return ctx.Reply(m) }))
		holds(w, err)
		r := at(a, there)
		holds(w, b.Stop(w.patient()))
		if n, err := remote.Start(b.sys, remote.Over(remote.Options{Name: "c"}, "c:1", w.net.Node("c:1", identity("c")))); err == nil {
			holds(w, n.Stop(w.patient()))
			w.Error("a System was started as a node of another name")
		}
		n, err := remote.Start(b.sys, remote.Over(remote.Options{Name: "b", Peers: []string{"a:1"}, DownAfter: downAfter}, "b:2", w.net.Node("b:2", identity("b"))))
		holds(w, err)
		_, err = n.Peer(w.patient(), "a")
		holds(w, err)
		if _, err := actor.Call[*text](w.patient(), r, wrapperspb.String("x")); err != nil {
			w.Errorf("a call of the node that is there again: %v", err)
		}
		holds(w, n.Stop(w.patient()))
	})
}

// TestAllowPanics has FileOptions.Allow panic: the request is refused (REM-27).
func TestAllowPanics(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		_, b := w.pair(func(o *remote.Options) {
			o.Files = remote.FileOptions{Root: w.TempDir(), Allow: func(context.Context, remote.FileRequest) error { panic("no") }}
		})
		_, err := b.StatFile(w.patient(), "a", "x", false)
		if !errors.Is(err, remote.ErrFileRefused) || strings.Contains(err.Error(), "goroutine") {
			w.Error(err)
		}
	})
}

// TestClaimByARefOfAnotherSystem claims a name by a ref that came by way of another System of the process.
func TestClaimByARefOfAnotherSystem(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		here, err := actor.Spawn(a.sys, actor.Handler(func(*actor.Context, *text) error { return nil }))
		holds(w, err)
		holds(w, a.Claim("x", at(b, here), nil))
		_, err = remote.Find[*text](a.Node, "x")
		holds(w, err)
	})
}

// TestStopConfirms stops a node that has received everything: its peer knows that nothing was lost.
func TestStopConfirms(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		last := make(chan bool, 1)
		sink, err := actor.Spawn(a.sys, actor.Handler(func(_ *actor.Context, m *text) error {
			if m.GetValue() == "last" {
				last <- true
			}
			return nil
		}))
		holds(w, err)
		r := at(b, sink)
		pass(time.Second) // what the two say first is over
		for range 1000 {
			holds(w, r.Send(w.patient(), wrapperspb.String("x")))
		}
		holds(w, r.Send(w.patient(), wrapperspb.String("last")))
		await(w, last)
		holds(w, a.Stop(w.patient()))
		synctest.Wait()
		if s := b.Stats()[0]; s.Lost > 0 || s.Confirmed != s.Sent {
			w.Errorf("%+v", s)
		}
	})
}

// TestStopWhileLinking stops a node when its peer has the link already and it has not: the peer knows at once (REM-23).
func TestStopWhileLinking(t *testing.T) {
	for _, dialed := range []string{"a", "b"} {
		inWorld(t, 1, func(w *world) {
			a := w.node("a")
			b := w.node("b", peers("a:1"))
			first, other := a, b
			if dialed == "b" {
				first, other = b, a
			}
			_, err := other.Peer(w.patient(), first.Name())
			holds(w, err)
			began := time.Now()
			holds(w, first.Stop(w.patient()))
			_ = other.Stop(w.patient()) // what it has not heard of may be lost
			if d := time.Since(began); d > time.Second {
				w.Errorf("%s: the other one stopped after %v", first.Name(), d)
			}
		})
	}
}
