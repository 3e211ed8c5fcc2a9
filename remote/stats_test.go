package remote_test

import (
	"context"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	"github.com/greenroom-go/greenroom/remote"
)

// statsNode starts a node that the test stops.
func statsNode(t *testing.T, dir, name string, peers ...string) (*actor.System, *remote.Node) {
	t.Helper()
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	n, err := remote.Start(sys, remote.Options{Name: name, TLS: remote.DevTLS(dir), Peers: peers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Stop(context.Background())
		_ = sys.Stop(context.Background())
	})
	return sys, n
}

// Messages, calls and Delivers count on both sides, answers do not; what has no receiver is dead; the end of a session changes nothing.
func TestStats(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sysA, a := statsNode(t, dir, "alpha")
	sysB, b := statsNode(t, dir, "beta", a.Addr())
	echo := actor.MustSpawn(sysA, actor.Handler(func(ctx *actor.Context, m *benchv1.Number) error {
		if ctx.IsCall() {
			return ctx.Reply(m)
		}
		return nil
	}))
	ended := actor.MustSpawn(sysA, actor.Handler(func(ctx *actor.Context, _ *benchv1.Number) error { ctx.Stop(); return nil }))
	if _, err := b.Peer(ctx, "alpha"); err != nil {
		t.Fatal(err)
	}
	there, err := actor.TypedRefFromProto[*benchv1.Number](sysB, echo.Proto())
	if err != nil {
		t.Fatal(err)
	}
	gone, err := actor.TypedRefFromProto[*benchv1.Number](sysB, ended.Proto())
	if err != nil {
		t.Fatal(err)
	}
	ended.Stop()
	if _, err := ended.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	const sent, calls = 1000, 10
	for range sent {
		if err := there.Send(ctx, &benchv1.Number{Value: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for range calls {
		if _, err := actor.Call[*benchv1.Number](ctx, there, &benchv1.Number{Value: 2}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := gone.Deliver(ctx, &benchv1.Number{}); err == nil {
		t.Error("an actor that has ended took a message")
	}
	if err := gone.Send(ctx, &benchv1.Number{}); err != nil {
		t.Fatal(err)
	}
	if _, err := actor.Call[*benchv1.Number](ctx, gone, &benchv1.Number{}); err == nil {
		t.Error("an actor that has ended answered")
	}
	const all = sent + calls + 3
	if err := b.Stop(ctx); err != nil { // it waits until all has arrived
		t.Fatal(err)
	}
	out, in := b.Stats(), a.Stats()
	if len(out) != 1 || len(in) != 1 || out[0].Peer != "alpha" || in[0].Peer != "beta" || in[0].Incarnation != sysB.NodeID() {
		t.Fatalf("peers: %+v and %+v", out, in)
	}
	o, i := out[0], in[0]
	if o.Sent != all || o.Confirmed != all || o.Lost != 0 || o.Queued() != 0 || o.Received != 0 {
		t.Errorf("the sender's ledger: %+v; %d were sent", o, all)
	}
	if i.Received != all || i.Dead != 2 || i.Returned != 1 || i.Sent != 0 || i.Queued() != 0 {
		t.Errorf("the receiver's ledger: %+v; %d were sent, 2 to nobody and 1 that its sender was told of", i, all)
	}
	if i.FramesIn == 0 || i.FramesIn != o.FramesOut || i.BytesIn > o.BytesOut || o.BytesOut < all*5 {
		t.Errorf("%d frames and %d bytes were written, %d and %d read", o.FramesOut, o.BytesOut, i.FramesIn, i.BytesIn)
	}
}
