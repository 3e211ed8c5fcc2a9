// Command echo is a server that answers and a client that calls it, each in a process of its own.
//
//	go run ./examples/echo -name server -listen 127.0.0.1:7001
//	go run ./examples/echo -name client -peer 127.0.0.1:7001
//
// Start them in any order, end the server with Ctrl-C or kill it, start it again: the client is told, and finds it again.
package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/examples/internal/demo"
	"github.com/greenroom-go/greenroom/remote"
)

// text is the message that goes back and forth. Any protobuf message will do.
type text = wrapperspb.StringValue

// name is what the server is known by.
const name = "echo"

var every time.Duration

func main() {
	demo.Example{
		Name:  "echo",
		About: "without -peer a server that answers, with -peer a client that calls it",
		Flags: func(flags *flag.FlagSet) {
			flags.DurationVar(&every, "every", time.Second, "the client's `pause` between two calls")
		},
		Run: func(ctx context.Context, n *remote.Node, o demo.Options) error {
			if o.Peer == "" {
				return serve(ctx, n)
			}
			return demo.Actor(ctx, n, call)
		},
	}.Main()
}

// serve is the server: an actor with a name. Nothing about it is particular to nodes.
func serve(ctx context.Context, n *remote.Node) error {
	echo, err := actor.Spawn(n.System(), actor.Handler(func(ctx *actor.Context, m *text) error {
		return ctx.Reply(wrapperspb.String(m.GetValue() + ", says " + n.Name()))
	}), actor.Options{Name: name})
	if err != nil {
		return err
	}
	_, err = echo.Wait(ctx)
	return err
}

// call is the client: an actor that is told when the server ends.
func call(ctx *actor.Context, n *remote.Node, downs *actor.Inbox[*text]) error {
	for {
		fmt.Println("looking for the server")
		server, err := remote.Locate[*text](ctx, n, name) // however long that takes
		if err != nil {
			return err
		}
		fmt.Println("found it:", server)
		_, err = actor.Monitor(ctx, server.Any(), func(d actor.Down) *text { return wrapperspb.String(d.Reason.String()) })
		if err != nil {
			return err
		}
		why, err := callUntilDown(ctx, server, downs)
		if err != nil {
			return err
		}
		fmt.Println("the server has ended:", why)
	}
}

// callUntilDown calls the server again and again, until the monitor says that it has ended, and how.
func callUntilDown(ctx *actor.Context, server actor.Ref[*text], downs *actor.Inbox[*text]) (why string, err error) {
	for i := 1; ; i++ {
		began := time.Now()
		reply, err := actor.Call[*text](ctx, server, wrapperspb.String(fmt.Sprint("hello ", i)))
		if err != nil {
			fmt.Printf("call %d failed: %v\n", i, err) // the monitor will tell the rest
		} else {
			fmt.Printf("%s, after %v\n", reply.GetValue(), time.Since(began).Round(time.Microsecond))
		}
		down, err := downs.ReceiveTimeout(every)
		switch {
		case err == nil:
			return down.GetValue(), nil
		case ctx.Stopping():
			return "", err
		}
	}
}
