package remote_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// BenchmarkRemoteChannel sends one message after the other to 100,000 subscribers on two nodes, over QUIC within one process. An operation
// is a message that all have handled. via says whether the sender waits to hear whom it has reached; via=local is the floor: all subscribers
// are at home.
func BenchmarkRemoteChannel(b *testing.B) {
	const perNode = 50_000
	for _, via := range []string{"local", "send", "deliver"} {
		b.Run("via="+via, func(b *testing.B) {
			ctx := context.Background()
			nodes, stop := chanNodes("home", "left", "right")
			defer stop()
			ch, err := actor.NewChannel[*text](nodes[0].System())
			if err != nil {
				b.Fatal(err)
			}
			if err := remote.Publish(nodes[0], "news", ch); err != nil {
				b.Fatal(err)
			}
			var handled atomic.Int64
			for _, n := range nodes[1:] {
				if via == "local" {
					n = nodes[0]
				}
				there, err := remote.OpenChannel[*text](ctx, n, "news", "home")
				if err != nil {
					b.Fatal(err)
				}
				for range perNode {
					ref := actor.MustSpawn(n.System(), actor.Handler(func(*actor.Context, *text) error {
						handled.Add(1)
						return nil
					}))
					if _, err := there.Subscribe(ctx, ref); err != nil {
						b.Fatal(err)
					}
				}
			}
			if _, err := ch.Deliver(ctx, wrapperspb.String("all here"), 2*perNode); err != nil {
				b.Fatal(err)
			}
			before := remote.SentTo(nodes[0], "left")
			sent, began := int64(0), time.Now()
			for b.Loop() {
				if via == "deliver" {
					_, err = ch.Deliver(ctx, wrapperspb.String("news"), 0)
				} else {
					err = ch.Send(ctx, wrapperspb.String("news"))
				}
				if err != nil {
					b.Fatal(err)
				}
				sent++
			}
			if _, err := ch.Deliver(ctx, wrapperspb.String("the end"), 0); err != nil { // behind all others
				b.Fatal(err)
			}
			for _, n := range nodes {
				if err := n.System().Quiesce(ctx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(2*perNode*(sent+1))/time.Since(began).Seconds()/1e6, "Mdeliveries/s")
			if n := remote.SentTo(nodes[0], "left") - before; n > uint64(sent)+2 {
				b.Errorf("%d network messages for %d", n, sent)
			}
			if got := handled.Load(); got != 2*perNode*(sent+2) {
				b.Errorf("%d of %d were handled", got, 2*perNode*(sent+2))
			}
		})
	}
}
