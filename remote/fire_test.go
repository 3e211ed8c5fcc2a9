package remote_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

// TestFire: small messages go as datagrams, long ones by a lane, and what is fired while nobody listens is lost without harm.
func TestFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simlink.New(1)
		start := func(name string, peers ...string) (*actor.System, *remote.Node) {
			sys, err := actor.NewSystem()
			if err != nil {
				t.Fatal(err)
			}
			addr := name + ":1"
			tr := net.Node(addr, link.Identity{Name: name, Roles: link.AllRoles, NotAfter: time.Now().Add(time.Hour)})
			n, err := remote.Start(sys, remote.Over(remote.Options{Name: name, Peers: peers}, addr, tr))
			if err != nil {
				t.Fatal(err)
			}
			return sys, n
		}
		sysA, a := start("alpha")
		sysB, b := start("beta", "alpha:1")
		sizes := make(chan int, 10)
		sink := actor.MustSpawn(sysA, actor.Handler(func(_ *actor.Context, m *wrapperspb.BytesValue) error {
			sizes <- len(m.GetValue())
			return nil
		}))
		if _, err := b.Peer(t.Context(), "alpha"); err != nil {
			t.Fatal(err)
		}
		to, err := actor.TypedRefFromProto[*wrapperspb.BytesValue](sysB, sink.Proto())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{10, 100_000} {
			if err := to.Fire(t.Context(), wrapperspb.Bytes(make([]byte, n))); err != nil {
				t.Fatal(err)
			}
			if got := <-sizes; got != n {
				t.Errorf("%d bytes instead of %d", got, n)
			}
		}
		net.Cut("alpha:1", "beta:1")
		if err := to.Fire(t.Context(), wrapperspb.Bytes([]byte("lost"))); err != nil {
			t.Error(err)
		}
		for _, n := range []*remote.Node{b, a} {
			if err := n.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		_, _ = sysA.Close(), sysB.Close()
		if len(sizes) > 0 {
			t.Error("what was fired over a cut link has arrived")
		}
	})
}

// TestFiresAreBounded has many receivers that handle nothing: what they hold together is bounded by MaxQueuedBytes, however it came (REM-11).
func TestFiresAreBounded(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair(func(o *remote.Options) { o.MaxQueuedBytes = 1 << 20 })
		var gates []*gate
		for range 32 {
			gates = append(gates, newGate(b))
		}
		for i := range 200 {
			for _, g := range gates {
				holds(w, at(a, g.ref).Fire(w.patient(), parcel(0, i, 1000)))
			}
			synctest.Wait()
		}
		if n := b.session(a).Intake(); n > 1<<20 || n < 1<<19 {
			w.Errorf("mailboxes hold %d bytes", n)
		}
		for _, g := range gates {
			close(g.open)
		}
	})
}
