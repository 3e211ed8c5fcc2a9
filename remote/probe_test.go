package remote_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

type word = wrapperspb.StringValue

// TestCycleOverThreeNodes: actors on three nodes that call each other in a circle find out; the one that fails lets the others go on.
func TestCycleOverThreeNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simlink.New(3)
		var systems []*actor.System
		var nodes []*remote.Node
		names := []string{"alpha", "beta", "gamma"}
		for i, name := range names {
			sys, err := actor.NewSystem()
			if err != nil {
				t.Fatal(err)
			}
			var peers []string
			for _, p := range names[:i] {
				peers = append(peers, p+":1")
			}
			tr := net.Node(name+":1", link.Identity{Name: name, Roles: link.AllRoles, NotAfter: time.Now().Add(time.Hour)})
			n, err := remote.Start(sys, remote.Over(remote.Options{Name: name, Peers: peers}, name+":1", tr))
			if err != nil {
				t.Fatal(err)
			}
			systems, nodes = append(systems, sys), append(nodes, n)
		}
		for i, n := range nodes {
			if _, err := n.Peer(t.Context(), names[(i+1)%3]); err != nil {
				t.Fatal(err)
			}
		}
		refs := make([]actor.Ref[*word], 3)
		failed := make(chan error, 3)
		for i, sys := range systems {
			refs[i] = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *word) error {
				if m.GetValue() == "end" {
					return ctx.Reply(m)
				}
				if err := ctx.Sleep(10 * time.Millisecond); err != nil { // until all three have begun
					return err
				}
				next, err := actor.TypedRefFromProto[*word](ctx.System(), refs[(i+1)%3].Proto())
				if err != nil {
					return err
				}
				_, err = actor.Call[*word](ctx, next, wrapperspb.String("end"))
				failed <- err
				return nil
			}))
		}
		for _, r := range refs {
			if err := r.Send(t.Context(), wrapperspb.String("begin")); err != nil {
				t.Fatal(err)
			}
		}
		dead := 0
		for range refs {
			err := <-failed
			var cycle *actor.DeadlockError
			switch {
			case errors.As(err, &cycle):
				dead++
				if len(cycle.Path) != 4 || cycle.Path[0] != cycle.Path[3] {
					t.Errorf("the path is %v", cycle.Path)
				}
			case err != nil:
				t.Error(err)
			}
		}
		if dead == 0 {
			t.Error("nobody found the cycle")
		}
		for i := range nodes {
			_ = nodes[i].Stop(t.Context())
			_ = systems[i].Close()
		}
	})
}

// TestSlowCallIsNoCycle: a chain of calls over two nodes that only takes its time is left alone.
func TestSlowCallIsNoCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simlink.New(4)
		start := func(name string, peers ...string) (*actor.System, *remote.Node) {
			sys, err := actor.NewSystem()
			if err != nil {
				t.Fatal(err)
			}
			tr := net.Node(name+":1", link.Identity{Name: name, Roles: link.AllRoles, NotAfter: time.Now().Add(time.Hour)})
			n, err := remote.Start(sys, remote.Over(remote.Options{Name: name, Peers: peers}, name+":1", tr))
			if err != nil {
				t.Fatal(err)
			}
			return sys, n
		}
		sysA, a := start("alpha")
		sysB, b := start("beta", "alpha:1")
		if _, err := b.Peer(t.Context(), "alpha"); err != nil {
			t.Fatal(err)
		}
		slow := actor.MustSpawn(sysA, actor.Handler(func(ctx *actor.Context, m *word) error {
			if err := ctx.Sleep(20 * time.Second); err != nil {
				return err
			}
			return ctx.Reply(m)
		}))
		done := make(chan error, 1)
		actor.MustSpawn(sysB, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*word]) error {
			to, err := actor.TypedRefFromProto[*word](sysB, slow.Proto())
			if err == nil {
				_, err = actor.Call[*word](ctx, to, wrapperspb.String("take your time"))
			}
			done <- err
			return nil
		}))
		if err := <-done; err != nil {
			t.Error(err)
		}
		_, _ = b.Stop(t.Context()), a.Stop(t.Context())
		_, _ = sysA.Close(), sysB.Close()
	})
}
