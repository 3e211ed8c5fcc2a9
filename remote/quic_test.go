package remote_test

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link/quiclink"
	"github.com/greenroom-go/greenroom/remote/internal/simnet"
	"github.com/greenroom-go/greenroom/remote/internal/udpproxy"
	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

// quicWorld is two nodes over QUIC over a simulated network of packets, in a bubble.
func quicWorld(t *testing.T, seed uint64, f func(w *world, net *simnet.Network, a, b *member)) {
	t.Helper()
	inWorld(t, seed, func(w *world) {
		ca := linktest.NewAuthority(w.T) // of the bubble's time
		packets := simnet.New(seed)
		packets.SetAll(conditions.Conditions{Latency: 2 * time.Millisecond})
		node := func(name, addr string, to ...string) *member {
			w.Helper()
			sys, err := actor.NewSystem()
			holds(w, err)
			socket, err := packets.Listen(addr)
			holds(w, err)
			tr, err := quiclink.New(socket, ca.Node(w.T, name), quiclink.Options{IdleTimeout: 2 * downAfter})
			if err != nil {
				w.Fatal(err)
			}
			n, err := remote.Start(sys, remote.Over(remote.Options{Name: name, DownAfter: downAfter, Peers: to, Logger: slog.New(slog.NewTextHandler(w.log, nil))}, addr, tr))
			if err != nil {
				w.Fatal(err)
			}
			m := &member{Node: n, w: w, sys: sys, addr: addr}
			w.all = append(w.all, m)
			return m
		}
		a := node("a", "10.0.0.1:1")
		b := node("b", "10.0.0.2:1", "10.0.0.1:1")
		b.meets(a)
		f(w, packets, a, b)
	})
}

// TestQUICPartitions partitions two nodes that send to each other over QUIC, for less than DownAfter, again and again: nothing is lost,
// though QUIC itself waits longer and longer between its attempts (REM-28).
func TestQUICPartitions(t *testing.T) {
	for i, share := range []int{50, 60, 70, 80} {
		t.Run(strconv.Itoa(share), func(t *testing.T) {
			quicWorld(t, uint64(i), func(w *world, packets *simnet.Network, a, b *member) { //nolint:gosec // small
				sa, sb := a.session(b), b.session(a)
				f := start(w, a, b, 200, 100*time.Millisecond, true)
				for k := range 3 {
					pass(200 * time.Millisecond)
					if k < 2 {
						packets.Partition(a.addr, b.addr)
					} else {
						packets.PartitionOneWay(a.addr, b.addr)
					}
					pass(downAfter * time.Duration(share) / 100)
					packets.Heal(a.addr, b.addr)
					pass(time.Second)
				}
				f.sent()
				f.arrived()
				pass(time.Second)
				agree(w, sa, sb)
				if sa.Ended() != nil || sb.Ended() != nil {
					w.Errorf("declared down: %v, %v", sa.Ended(), sb.Ended())
				}
			})
		})
	}
}

// TestQUICBadNetworks sends over QUIC over networks that lose, delay, reorder and duplicate (REM-28).
func TestQUICBadNetworks(t *testing.T) {
	for name, c := range map[string]conditions.Conditions{
		"loss":  {Loss: 0.05, Latency: 5 * time.Millisecond},
		"delay": {Latency: 200 * time.Millisecond},
		"mixed": {Latency: 20 * time.Millisecond, Reorder: 0.1, Duplicate: 0.1, Loss: 0.01, Jitter: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			quicWorld(t, 1, func(w *world, packets *simnet.Network, a, b *member) {
				sa, sb := a.session(b), b.session(a)
				packets.SetAll(c)
				f := start(w, a, b, 30, 40*time.Millisecond, true)
				f.sent()
				f.arrived()
				pass(3 * time.Second)
				agree(w, sa, sb)
			})
		})
	}
}

// proxied is a node behind a proxy: others reach it, and its answers them, by that alone.
type proxied struct {
	*remote.Node
	sys   *actor.System
	proxy *udpproxy.Proxy
}

func startProxied(t *testing.T, dir, name string, log *record, to ...string) *proxied {
	t.Helper()
	probe, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := probe.LocalAddr().String()
	_ = probe.Close()
	p, err := udpproxy.Listen(addr, 1)
	if err != nil {
		t.Fatal(err)
	}
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	n, err := remote.Start(sys, remote.Options{
		Name: name, Listen: addr, Advertise: p.Addr(), TLS: remote.DevTLS(dir), Peers: to, DownAfter: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = n.Stop(ctx)
		_ = p.Close()
		if err := sys.Stop(ctx); err != nil {
			t.Error(err)
		}
		if l := sys.Ledger(); !l.Balanced() {
			t.Errorf("ledger of %s: %v", name, l)
		}
	})
	return &proxied{n, sys, p}
}

// TestOverQUIC has two nodes send to each other over real sockets, by proxies that lose, delay, duplicate and reorder packets, make up some
// of their own, and block each way for a while (REM-28).
func TestOverQUIC(t *testing.T) {
	dir, log := t.TempDir(), new(record)
	a := startProxied(t, dir, "a", log)
	b := startProxied(t, dir, "b", log, a.proxy.Addr())
	w := &world{T: t, log: log}
	ma, mb := &member{Node: a.Node, w: w, sys: a.sys}, &member{Node: b.Node, w: w, sys: b.sys}
	mb.meets(ma)
	sa, sb := ma.session(mb), mb.session(ma)
	bad := conditions.Conditions{Latency: time.Millisecond, Loss: 0.01, Reorder: 0.02, ReorderBy: 2 * time.Millisecond, Duplicate: 0.02}
	block := func(at time.Duration, up, down bool) {
		time.AfterFunc(at, func() {
			for _, p := range []*proxied{a, b} {
				p.proxy.Set(bad)
				p.proxy.Block(up, down)
				p.proxy.Inject(100)
			}
		})
	}
	block(100*time.Millisecond, true, true)
	block(1100*time.Millisecond, false, false)
	block(1600*time.Millisecond, true, false)
	block(2600*time.Millisecond, false, false)
	const each = 3000
	sinks := []*sink{newSink(ma, each, true), newSink(mb, each, true)}
	done := []<-chan error{flood(mb, at(mb, sinks[0].ref), each), flood(ma, at(ma, sinks[1].ref), each)}
	for i, s := range sinks {
		if err := await(t, done[i]); err != nil {
			t.Error(err)
		}
		await(t, s.done)
		s.check(t)
	}
	if sa.Ended() != nil || sb.Ended() != nil {
		t.Errorf("declared down: %v, %v\n%s", sa.Ended(), sb.Ended(), log)
	}
	for _, p := range []*proxied{a, b} {
		p.proxy.Set(conditions.Conditions{})
	}
	v := victim(mb)
	d := watcher(ma, at(ma, v).Any())
	if s, err := ask(t.Context(), at(ma, v), "x"); s != "re: x" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	for _, p := range []*proxied{a, b} {
		p.proxy.Block(true, true)
	}
	began := time.Now()
	if x := await(t, d.ch); x.Reason.Kind != actor.ReasonNodeDown {
		t.Errorf("Down %v", x)
	}
	between(t, "NodeDown", began, 1500*time.Millisecond, 3500*time.Millisecond)
	for _, p := range []*proxied{a, b} {
		p.proxy.Block(false, false)
	}
	mb.meets(ma)
	if s, err := ask(t.Context(), at(ma, v), "x"); s != "re: x" || err != nil {
		t.Errorf("after the heal: %q, %v", s, err)
	}
}

// flood sends that many messages at the pace of three seconds.
func flood(m *member, to actor.Ref[*blob], each int) <-chan error {
	return runs(m, func(ctx *actor.Context) error {
		for i := range each {
			if err := to.Send(ctx, parcel(0, i, 300)); err != nil {
				return err
			}
			if i%10 == 0 {
				if err := ctx.Sleep(3 * time.Second / time.Duration(each/10)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// TestIPv6 has two nodes meet over IPv6.
func TestIPv6(t *testing.T) {
	dir := t.TempDir()
	start := func(name string, to ...string) (*actor.System, *remote.Node) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		n, err := remote.Start(sys, remote.Options{Name: name, Listen: "[::1]:0", TLS: remote.DevTLS(dir), Peers: to})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = n.Stop(ctx)
			_ = sys.Stop(ctx)
		})
		return sys, n
	}
	sysA, a := start("a")
	sysB, b := start("b", a.Addr())
	if _, err := b.Peer(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	r := victim(&member{Node: a, w: &world{T: t}, sys: sysA})
	there, err := actor.TypedRefFromProto[*text](sysB, r.Proto())
	if err != nil {
		t.Fatal(err)
	}
	m, err := actor.Call[*text](t.Context(), there, wrapperspb.String("x"))
	if err != nil || m.GetValue() != "re: x" {
		t.Errorf("%v, %v", m, err)
	}
}
