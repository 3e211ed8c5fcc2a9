package remote_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/supervisor"
)

// rciNodes starts nodes in this process, which a program would have in processes of their own, and links each to the first.
func rciNodes(names ...string) (nodes []*remote.Node, stop func()) {
	dir, err := os.MkdirTemp("", "greenroom")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	for _, name := range names {
		sys, err := actor.NewSystem()
		if err != nil {
			panic(err)
		}
		o := remote.Options{Name: name, TLS: remote.DevTLS(dir), Logger: slog.New(slog.DiscardHandler)}
		if len(nodes) > 0 {
			o.Peers = []string{nodes[0].Addr()}
		}
		n, err := remote.Start(sys, o)
		if err != nil {
			panic(err)
		}
		nodes = append(nodes, n)
		if len(nodes) > 1 {
			if _, err := nodes[0].Peer(ctx, name); err != nil {
				panic(err)
			}
		}
	}
	return nodes, func() {
		for _, n := range nodes {
			_ = n.Stop(ctx)
			_ = n.System().Stop(ctx)
		}
		cancel()
		_ = os.RemoveAll(dir)
	}
}

// One node registers a behaviour, another starts it there and talks to it.
func ExampleRegister() {
	nodes, stop := rciNodes("alpha", "beta")
	defer stop()
	alpha, beta := nodes[0], nodes[1]
	ctx := context.Background()

	err := remote.Register(beta, "greeter", func(_ remote.Origin, greeting *wrapperspb.StringValue) (actor.Behaviour[*wrapperspb.StringValue], error) {
		if greeting.GetValue() == "" {
			return actor.Behaviour[*wrapperspb.StringValue]{}, errors.New("a greeter needs a greeting")
		}
		return actor.Handler(func(ctx *actor.Context, name *wrapperspb.StringValue) error {
			return ctx.Reply(wrapperspb.String(greeting.GetValue() + ", " + name.GetValue() + "!"))
		}), nil
	}, remote.RegisterOptions{MaxRunning: 100})
	if err != nil {
		fmt.Println(err)
		return
	}

	greeter, err := remote.Spawn[*wrapperspb.StringValue](ctx, alpha, remote.On("beta"), "greeter", wrapperspb.String("Hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	reply, err := actor.Call[*wrapperspb.StringValue](ctx, greeter, wrapperspb.String("world"))
	fmt.Println(reply.GetValue(), err)

	_, err = remote.Spawn[*wrapperspb.StringValue](ctx, alpha, remote.On("beta"), "greeter", nil)
	fmt.Println(err)
	// Output:
	// Hello, world! <nil>
	// remote: spawn "greeter" on beta: a greeter needs a greeting
}

// A function is run on whatever node has it; its error comes back.
func ExampleRun() {
	nodes, stop := rciNodes("alpha", "beta", "gamma")
	defer stop()
	alpha := nodes[0]
	for _, n := range nodes[1:] {
		err := remote.RegisterFunc(n, "upper", func(_ *actor.Context, s *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			if s.GetValue() == "" {
				return nil, errors.New("nothing to do")
			}
			return wrapperspb.String(strings.ToUpper(s.GetValue())), nil
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	ctx := context.Background()
	r, err := remote.Run[*wrapperspb.StringValue](ctx, alpha, remote.LeastLoaded(), "upper", wrapperspb.String("quiet"))
	fmt.Println(r.GetValue(), err)
	_, err = remote.Run[*wrapperspb.StringValue](ctx, alpha, remote.On("gamma"), "upper", nil)
	var far *remote.Error
	fmt.Println(errors.As(err, &far), far.Node, far.Text)
	// Output:
	// QUIET <nil>
	// true gamma nothing to do
}

// All that a client has started ends with it.
func ExampleClient() {
	nodes, stop := rciNodes("alpha", "beta", "gamma")
	defer stop()
	for _, n := range nodes[1:] {
		err := remote.Register(n, "worker", func(remote.Origin, *wrapperspb.StringValue) (actor.Behaviour[*wrapperspb.StringValue], error) {
			return actor.Handler(func(*actor.Context, *wrapperspb.StringValue) error { return nil }), nil
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	ctx := context.Background()
	client := remote.NewClient(nodes[0])
	workers, err := remote.SpawnEach[*wrapperspb.StringValue](ctx, client, remote.Any(), "worker", nil)
	fmt.Println(len(workers), client.Running(), err)
	fmt.Println(client.Close(ctx), client.Running())
	// Output:
	// 2 2 <nil>
	// <nil> 0
}

// A supervisor's child lives on another node; when that goes down, it is started again on one that is left.
func ExampleChild() {
	nodes, stop := rciNodes("alpha", "beta", "gamma")
	defer stop()
	alpha := nodes[0]
	for _, n := range nodes[1:] {
		err := remote.Register(n, "orders", func(remote.Origin, *wrapperspb.StringValue) (actor.Behaviour[*wrapperspb.StringValue], error) {
			return actor.Handler(func(ctx *actor.Context, _ *wrapperspb.StringValue) error {
				return ctx.Reply(wrapperspb.String(n.Name()))
			}), nil
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	started := make(chan actor.AnyRef, 10)
	ctx := context.Background()
	sup, err := supervisor.Start(ctx, alpha.System(), supervisor.Spec{
		Children: []supervisor.Child{{
			ID:      "orders",
			Start:   supervisor.StartFunc(remote.Child(alpha, remote.ByKey("orders"), "orders", nil)),
			Backoff: supervisor.Backoff{Min: 10 * time.Millisecond},
		}},
		Observe: func(e supervisor.Event) {
			if e.Kind == supervisor.Started {
				started <- e.Ref
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	home := func() string {
		r, err := actor.Call[*wrapperspb.StringValue](ctx, actor.Ref[*wrapperspb.StringValue]{AnyRef: <-started}, wrapperspb.String("where?"))
		if err != nil {
			return err.Error()
		}
		return r.GetValue()
	}
	first := home()
	for _, n := range nodes[1:] {
		if n.Name() == first {
			_ = n.Stop(ctx)
		}
	}
	second := home()
	fmt.Println(first != second, sup.Stop(ctx))
	// Output:
	// true <nil>
}
