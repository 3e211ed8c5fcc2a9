// Command chat is a room where people on several nodes talk: a channel that all of them are subscribed to, and an actor that knows who is
// there. One process is the host; what is typed on stdin is said.
//
//	go run ./examples/chat -name anna -listen 127.0.0.1:7001
//	go run ./examples/chat -name ben -peer 127.0.0.1:7001
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/chat/chatv1"
	"github.com/greenroom-go/greenroom/examples/internal/demo"
	"github.com/greenroom-go/greenroom/remote"
)

// name is that of the room's actor and of its channel.
const name = "room"

func main() {
	demo.Example{
		Name:  "chat",
		About: "without -peer the host of a room, with -peer somebody who joins it; lines from stdin are said to all",
		Run: func(ctx context.Context, n *remote.Node, o demo.Options) error {
			if o.Peer == "" {
				if err := host(n); err != nil {
					return err
				}
			}
			return join(ctx, n)
		},
	}.Main()
}

// room is the state of the room's actor.
type room struct {
	ch      *actor.Channel[*pb.Event]
	present []string
}

// host opens the room on this node.
func host(n *remote.Node) error {
	ch, err := actor.NewChannel(n.System(), actor.ChannelOptions[*pb.Event]{Name: name})
	if err != nil {
		return err
	}
	if err := remote.Publish(n, name, ch); err != nil {
		return err
	}
	_, err = actor.Spawn(n.System(), actor.StatefulFrom(func(*actor.Context) (*room, error) { return &room{ch: ch}, nil }, handle),
		actor.Options{Name: name})
	return err
}

// handle takes those who join, and is told when they have ended, whatever the reason.
func handle(ctx *actor.Context, r *room, e *pb.Event) error {
	switch e.GetWhat().(type) {
	case *pb.Event_Joined:
		if slices.Contains(r.present, e.GetWho()) {
			return ctx.Fail(fmt.Errorf("somebody called %s is here already", e.GetWho()))
		}
		who, err := ctx.System().RefFromProto(e.GetJoined())
		if err != nil {
			return ctx.Fail(err)
		}
		_, err = actor.Monitor(ctx, who, func(d actor.Down) *pb.Event {
			return &pb.Event{Who: e.GetWho(), What: &pb.Event_Left{Left: d.Reason.String()}}
		})
		if err != nil {
			return ctx.Fail(err)
		}
		if err := ctx.Reply(&pb.Welcome{Present: slices.Clone(r.present)}); err != nil {
			return err
		}
		r.present = append(r.present, e.GetWho())
	case *pb.Event_Left:
		r.present = slices.DeleteFunc(r.present, func(s string) bool { return s == e.GetWho() })
	default:
		return nil // what is said goes by the channel
	}
	return r.ch.Send(ctx, e)
}

// join enters the room, wherever it is, says what is typed, and leaves when there is no more.
func join(ctx context.Context, n *remote.Node) error {
	fmt.Println("looking for the room")
	host, err := remote.Locate[*pb.Event](ctx, n, name)
	if err != nil {
		return err
	}
	ch, err := remote.OpenChannel[*pb.Event](ctx, n, name, "")
	if err != nil {
		return err
	}
	screen, err := actor.Spawn(n.System(), actor.Handler(func(_ *actor.Context, e *pb.Event) error {
		show(e, n.Name())
		return nil
	}))
	if err != nil {
		return err
	}
	if _, err := ch.Subscribe(ctx, screen); err != nil {
		return err
	}
	welcome, err := actor.Call[*pb.Welcome](ctx, host, &pb.Event{Who: n.Name(), What: &pb.Event_Joined{Joined: screen.Proto()}})
	if err != nil {
		return err
	}
	fmt.Println("you are in, with:", strings.Join(welcome.GetPresent(), ", "))

	closed := make(chan error, 1)
	go func() {
		_, err := host.Wait(ctx)
		closed <- err
	}()
	lines := demo.Lines(os.Stdin)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return leave(ctx, screen)
			}
			if err := ch.Send(ctx, &pb.Event{Who: n.Name(), What: &pb.Event_Said{Said: line}}); err != nil {
				return err
			}
		case err := <-closed:
			return fmt.Errorf("the room is closed: %w", err)
		case <-ctx.Done():
			return leave(context.WithoutCancel(ctx), screen)
		}
	}
}

// leave ends the screen: the room is told of a normal end.
func leave(ctx context.Context, screen actor.Ref[*pb.Event]) error {
	screen.Stop()
	_, err := screen.Wait(ctx)
	return err
}

// show prints what has happened. Of the own joining the room's answer tells, which may come sooner or later.
func show(e *pb.Event, me string) {
	switch what := e.GetWhat().(type) {
	case *pb.Event_Said:
		fmt.Printf("%s: %s\n", e.GetWho(), what.Said)
	case *pb.Event_Joined:
		if e.GetWho() != me {
			fmt.Printf("%s has joined\n", e.GetWho())
		}
	case *pb.Event_Left:
		fmt.Printf("%s has left: %s\n", e.GetWho(), what.Left)
	}
}
