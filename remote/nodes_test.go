package remote_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// TestTwoNodes sends, delivers, calls and streams between two nodes, over each kind of network (REM-28).
func TestTwoNodes(t *testing.T) {
	for _, network := range []string{"quic", "tcp"} {
		t.Run(network, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir := newCA(t, "alpha", "beta")
			alpha, _ := startLogged(t, remote.Options{Name: "alpha", TLS: remote.DirTLS(dir), Network: network})
			beta, _ := startLogged(t, remote.Options{Name: "beta", TLS: remote.DirTLS(dir), Network: network, Peers: []string{alpha.Addr()}})
			if _, err := beta.Peer(ctx, "alpha"); err != nil {
				t.Fatal(err)
			}
			const many = 50_000
			got := make(chan string, 2)
			all := make(chan struct{})
			count := 0
			echo := actor.MustSpawn(alpha.System(), actor.Handler(func(ctx *actor.Context, m *word) error {
				switch {
				case ctx.IsCall():
					return ctx.Reply(wrapperspb.String("re: " + m.GetValue()))
				case m.GetValue() != "":
					got <- m.GetValue()
				default:
					if count++; count == many {
						close(all)
					}
				}
				return nil
			}))
			there := from(t, beta.System(), echo)
			if err := there.Send(ctx, wrapperspb.String("hello")); err != nil {
				t.Fatal(err)
			}
			if n, err := there.Deliver(ctx, wrapperspb.String("sure")); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if a, b := <-got, <-got; a != "hello" || b != "sure" {
				t.Errorf("%q, then %q", a, b)
			}
			if r, err := actor.Call[*word](ctx, there, wrapperspb.String("you")); err != nil || r.GetValue() != "re: you" {
				t.Errorf("%v, %v", r, err)
			}
			actor.MustSpawn(beta.System(), actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*word]) error {
				for range many {
					if err := there.Send(ctx, &word{}); err != nil {
						t.Error(err)
						return err
					}
				}
				return nil
			}))
			<-all
		})
	}
}
