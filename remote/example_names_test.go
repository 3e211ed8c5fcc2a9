package remote_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	"github.com/greenroom-go/greenroom/remote"
)

// exampleNodes starts nodes in one process, where a program has one in each; each is told of the first. stop stops them.
func exampleNodes(o remote.Options, names ...string) (nodes []*remote.Node, stop func()) {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		sys, err := actor.NewSystem()
		if err != nil {
			panic(err)
		}
		o.Name, o.TLS, o.Logger = name, remote.DevTLS(dir), slog.New(slog.DiscardHandler)
		if len(nodes) > 0 {
			o.Peers = []string{nodes[0].Addr()}
		}
		n, err := remote.Start(sys, o)
		if err != nil {
			panic(err)
		}
		nodes = append(nodes, n)
	}
	return nodes, func() {
		for _, n := range nodes {
			_ = n.Stop(context.Background())
			_ = n.System().Stop(context.Background())
		}
		_ = os.RemoveAll(dir)
	}
}

func exampleSquare(ctx *actor.Context, m *benchv1.Number) error {
	if !ctx.IsCall() {
		return nil
	}
	return ctx.Reply(&benchv1.Number{Value: m.GetValue() * m.GetValue()})
}

// Those who need an actor know its name, and not where it is or whether it is there yet.
func ExampleLocate() {
	nodes, stop := exampleNodes(remote.Options{}, "east", "west")
	defer stop()
	east, west := nodes[0], nodes[1]
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	go actor.MustSpawn(east.System(), actor.Handler(exampleSquare), actor.Options{Name: "squares"})

	squares, err := remote.Locate[*benchv1.Number](ctx, west, "squares")
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := actor.Call[*benchv1.Number](ctx, squares, &benchv1.Number{Value: 7})
	fmt.Println(r.GetValue(), err)

	_, err = remote.Lookup[*benchv1.Number](ctx, west, "east", "cubes")
	fmt.Println(err)
	// Output:
	// 49 <nil>
	// remote: look up "cubes" at "east": actor: nobody has that name
}

// Nodes that gossip need one address. A name that is claimed is the same actor on all of them, and a group is there as a whole.
func ExampleNode_Claim() {
	nodes, stop := exampleNodes(remote.Options{Gossip: remote.GossipOptions{Listen: "127.0.0.1:0"}}, "east", "west", "north")
	defer stop()
	east, west, north := nodes[0], nodes[1], nodes[2]
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	leader := actor.MustSpawn(west.System(), actor.Handler(exampleSquare))
	err := west.Claim("leader", leader, func(by actor.AnyRef) { leader.Stop() }) // another one was first
	fmt.Println("claim:", err)

	found, err := remote.Await[*benchv1.Number](ctx, north, "leader")
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := actor.Call[*benchv1.Number](ctx, found, &benchv1.Number{Value: 8})
	fmt.Println(r.GetValue(), err)

	worker := actor.MustSpawn(east.System(), actor.Handler(exampleSquare))
	fmt.Println("join:", east.JoinGroup("workers", worker))
	sent, err := east.Group("workers").Send(ctx, &benchv1.Number{Value: 1})
	fmt.Println("sent:", sent, err)
	// Output:
	// claim: <nil>
	// 64 <nil>
	// join: <nil>
	// sent: 1 <nil>
}

// An actor is told who has a name, and of each change, as messages of its own.
func ExampleWatchName() {
	nodes, stop := exampleNodes(remote.Options{}, "east", "west")
	defer stop()
	east, west := nodes[0], nodes[1]
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := west.Peer(ctx, "east"); err != nil {
		fmt.Println(err)
		return
	}

	told := make(chan string)
	actor.MustSpawn(west.System(), actor.Handler(func(_ *actor.Context, m *benchv1.Text) error {
		told <- m.GetText()
		return nil
	}), actor.Options{OnStart: func(ctx *actor.Context) error {
		_, err := remote.WatchName(ctx, west, "leader", func(e remote.NameEvent) *benchv1.Text {
			return &benchv1.Text{Text: fmt.Sprintf("%s is at %q", e.Name, e.Node)}
		})
		return err
	}})
	fmt.Println(<-told)
	leader := actor.MustSpawn(east.System(), actor.Handler(exampleSquare))
	if err := east.Claim("leader", leader, nil); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-told)
	leader.Stop()
	fmt.Println(<-told)
	// Output:
	// leader is at ""
	// leader is at "east"
	// leader is at ""
}
