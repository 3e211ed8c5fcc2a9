package remote_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

func TestTwoNodes(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	start := func(name string, peers ...string) (*actor.System, *remote.Node) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		n, err := remote.Start(sys, remote.Options{Name: name, Network: os.Getenv("NETW"), TLS: remote.DevTLS(dir), Peers: peers, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		return sys, n
	}
	sysA, a := start("alpha")
	sysB, b := start("beta", a.Addr())
	got := make(chan *wrapperspb.StringValue, 10)
	echo := actor.MustSpawn(sysA, actor.Handler(func(ctx *actor.Context, m *wrapperspb.StringValue) error {
		if ctx.IsCall() {
			return ctx.Reply(wrapperspb.String("re: " + m.GetValue()))
		}
		got <- m
		return nil
	}))
	if _, err := b.Peer(ctx, "alpha"); err != nil {
		t.Fatal(err)
	}
	there, err := actor.TypedRefFromProto[*wrapperspb.StringValue](sysB, echo.Proto())
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Send(ctx, wrapperspb.String("hello")); err != nil {
		t.Fatal(err)
	}
	t.Log(<-got)
	if n, err := there.Deliver(ctx, wrapperspb.String("sure")); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	t.Log(<-got)
	for range 3 {
		began := time.Now()
		r, err := actor.Call[*wrapperspb.StringValue](ctx, there, wrapperspb.String("you"))
		t.Log(r, err, time.Since(began))
	}
	began := time.Now()
	const n = 200_000
	done := make(chan struct{})
	count := 0
	sink := actor.MustSpawn(sysA, actor.Handler(func(ctx *actor.Context, m *wrapperspb.BytesValue) error {
		if count++; count == n {
			close(done)
		}
		return nil
	}))
	to, _ := actor.TypedRefFromProto[*wrapperspb.BytesValue](sysB, sink.Proto())
	actor.MustSpawn(sysB, actor.Handler(func(ctx *actor.Context, m *wrapperspb.BytesValue) error {
		for range n {
			if err := to.Send(ctx, wrapperspb.Bytes(make([]byte, 64))); err != nil {
				t.Error(err)
				return err
			}
		}
		return nil
	})).Send(ctx, wrapperspb.Bytes(nil))
	<-done
	t.Logf("%.2f M/s", n/time.Since(began).Seconds()/1e6)
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := a.Stop(ctx); err != nil {
		t.Error(err)
	}
	sysA.Stop(ctx)
	sysB.Stop(ctx)
}
