// Command rci is remote code instantiation: a server says which functions others may run on it, and a client starts some there, watches
// how each ends, and gets their results.
//
//	go run ./examples/rci -name server -listen 127.0.0.1:7001
//	go run ./examples/rci -name client -peer 127.0.0.1:7001
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/examples/internal/demo"
	"github.com/greenroom-go/greenroom/remote"
)

type (
	number = wrapperspb.Int64Value
	text   = wrapperspb.StringValue
)

func main() {
	demo.Example{
		Name:  "rci",
		About: "without -peer a server that runs functions for others, with -peer a client that has them run",
		Run: func(ctx context.Context, n *remote.Node, o demo.Options) error {
			if o.Peer == "" {
				return serve(ctx, n)
			}
			return use(ctx, n)
		},
	}.Main()
}

// serve registers functions by name. Nobody can have anything else run here.
func serve(ctx context.Context, n *remote.Node) error {
	few := remote.RegisterOptions{MaxRunning: 10}
	err := errors.Join(
		remote.RegisterFunc(n, "square", func(_ *actor.Context, m *number) (*number, error) {
			return wrapperspb.Int64(m.GetValue() * m.GetValue()), nil
		}, few),
		remote.RegisterFunc(n, "refuse", func(_ *actor.Context, m *number) (*number, error) {
			return nil, fmt.Errorf("%d is not to my taste", m.GetValue())
		}, few),
		remote.RegisterFunc(n, "panic", func(_ *actor.Context, m *number) (*number, error) {
			return wrapperspb.Int64([]int64{1, 2, 3}[m.GetValue()]), nil
		}, few),
		remote.RegisterFunc(n, "sleep", func(ctx *actor.Context, m *number) (*number, error) {
			defer fmt.Println("sleep", m.GetValue(), "ends")
			return nil, ctx.Sleep(time.Hour) // or until it is stopped
		}, few),
	)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// use waits for the server and has an actor use it.
func use(ctx context.Context, n *remote.Node) error {
	fmt.Println("waiting for the node that is called server")
	server, err := n.Peer(ctx, "server")
	if err != nil {
		return err
	}
	return demo.Actor(ctx, n, func(ctx *actor.Context, n *remote.Node, downs *actor.Inbox[*text]) error {
		return watch(ctx, n, remote.On(server.Name), downs)
	})
}

// watch starts actors on the server and prints how each of them ends.
func watch(ctx *actor.Context, n *remote.Node, there remote.Placement, downs *actor.Inbox[*text]) error {
	client, err := remote.OpenClient(ctx, n) // what is started through it ends with it
	if err != nil {
		return err
	}
	started := map[string]actor.Ref[*number]{}
	for i, function := range []string{"square", "refuse", "panic", "sleep"} {
		ref, _, err := remote.SpawnMonitor[*number](ctx, client, there, function, wrapperspb.Int64(int64(i+12)), func(d actor.Down) *text {
			return wrapperspb.String(fmt.Sprintf("%s has ended: %v, value: %v", function, d.Reason, d.Value))
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s runs as %v\n", function, ref)
		started[function] = ref
	}
	started["sleep"].Kill()
	for range started {
		down, err := downs.Receive(ctx)
		if err != nil {
			return err
		}
		fmt.Println(down.GetValue())
	}

	// Who only wants the result need not watch.
	square, err := remote.Run[*number](ctx, client, there, "square", wrapperspb.Int64(21))
	fmt.Println("the square of 21:", square.GetValue(), err)
	_, err = remote.Run[*number](ctx, client, there, "refuse", wrapperspb.Int64(21))
	if far, ok := errors.AsType[*remote.Error](err); ok {
		fmt.Printf("refuse: %q, of type %s, from %s\n", far.Text, far.Type, far.Node)
	}
	_, err = remote.Spawn[*number](ctx, client, there, "format-disk", nil)
	fmt.Println("format-disk:", err)

	if _, err := remote.Spawn[*number](ctx, client, there, "sleep", wrapperspb.Int64(99)); err != nil {
		return err
	}
	fmt.Println("running:", client.Running())
	if err := client.Close(ctx); err != nil {
		return err
	}
	fmt.Println("closed, running:", client.Running())
	return nil
}
