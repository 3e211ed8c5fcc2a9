package remote_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// chanNodes starts a node for each name, all linked to the first.
func chanNodes(names ...string) (nodes []*remote.Node, stop func()) {
	dir, err := os.MkdirTemp("", "greenroom")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		sys, err := actor.NewSystem()
		if err != nil {
			panic(err)
		}
		o := remote.Options{Name: name, TLS: remote.DevTLS(dir)}
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
			_ = n.System().Close()
		}
		_ = os.RemoveAll(dir)
	}
}

// A channel lives on one node, under a name. Others open it by the name and use it as if it were theirs.
func ExampleOpenChannel() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes, stop := chanNodes("home", "reader", "writer")
	defer stop()
	home, reader, writer := nodes[0], nodes[1], nodes[2]

	news, err := actor.NewChannel[*text](home.System())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := remote.Publish(home, "news", news); err != nil {
		fmt.Println(err)
		return
	}

	got := make(chan string)
	screen := actor.MustSpawn(reader.System(), actor.Handler(func(_ *actor.Context, m *text) error {
		got <- m.GetValue()
		return nil
	}))
	there, err := remote.OpenChannel[*text](ctx, reader, "news", "") // wherever it is
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := there.Subscribe(ctx, screen); err != nil {
		fmt.Println(err)
		return
	}

	press, err := remote.OpenChannel[*text](ctx, writer, "news", "home")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range []string{"one node writes", "another one reads"} {
		if err := press.Send(ctx, wrapperspb.String(m)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(<-got)
	}
	// Output:
	// one node writes
	// another one reads
}

// Deliver holds the first message back until all runners stand at the start, on whichever nodes.
func ExampleChannel_Deliver() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes, stop := chanNodes("stadium", "north", "south")
	defer stop()

	start, err := actor.NewChannel[*text](nodes[0].System())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := remote.Publish(nodes[0], "start", start); err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range nodes {
		actor.MustSpawn(n.System(), actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*text]) error {
			gun, err := remote.OpenChannel[*text](ctx, n, "start", "stadium")
			if err != nil {
				return err
			}
			self, err := actor.Self[*text](ctx)
			if err != nil {
				return err
			}
			if _, err := gun.Subscribe(ctx, self); err != nil {
				return err
			}
			_, err = in.Receive(ctx)
			return err
		}))
	}
	fmt.Println(start.Deliver(ctx, wrapperspb.String("go!"), 3))
	// Output:
	// 3 <nil>
}

// What all nodes log comes together in one channel. Whoever wants to read along subscribes where it is.
func ExampleSubscribeAs() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes, stop := chanNodes("desk", "shop", "store")
	defer stop()
	desk := nodes[0]

	logs, err := actor.NewChannel(desk.System(), actor.ChannelOptions[*text]{
		Transform: func(m *text) (*text, bool) { return m, m.GetValue() != "debug" }, // at home, before anything travels
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := remote.Publish(desk, "log", logs); err != nil {
		fmt.Println(err)
		return
	}
	lengths := make(chan int64)
	counter := actor.MustSpawn(nodes[2].System(), actor.Handler(func(_ *actor.Context, m *wrapperspb.Int64Value) error {
		lengths <- m.GetValue()
		return nil
	}))
	there, err := remote.OpenChannel[*text](ctx, nodes[2], "log", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = remote.SubscribeAs(ctx, there, counter, func(m *text) *wrapperspb.Int64Value {
		return wrapperspb.Int64(int64(len(m.GetValue())))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range nodes {
		log, err := remote.OpenChannel[*text](ctx, n, "log", "desk")
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = log.Send(ctx, wrapperspb.String("debug"))
		_ = log.Send(ctx, wrapperspb.String(n.Name()+" is up"))
		fmt.Println(<-lengths)
	}
	// Output:
	// 10
	// 10
	// 11
}
