// Command logwatch shows lines of log files of several nodes in one place. Each node follows a file and publishes the lines that match; a
// watcher prints them. Nodes come and go as they like, and so does the watcher.
//
//	go run ./examples/logwatch -name desk -listen 127.0.0.1:7001
//	go run ./examples/logwatch -name web -peer 127.0.0.1:7001 -file /var/log/web.log -match 'ERROR|WARN'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/examples/internal/demo"
	pb "github.com/greenroom-go/greenroom/examples/logwatch/logwatchv1"
	"github.com/greenroom-go/greenroom/remote"
)

// name is what the channel is published under.
const name = "logs"

var (
	file  string
	match string
	every time.Duration
)

func main() {
	demo.Example{
		Name:  "logwatch",
		About: "without -peer the watcher, with -peer a node that follows a file",
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&file, "file", "", "the `file` that this node follows, from its end; it need not be there yet")
			flags.StringVar(&match, "match", "", "`regular expression` of the lines to publish; empty for all")
			flags.DurationVar(&every, "every", 200*time.Millisecond, "`pause` between two looks at the file")
		},
		Check: func(o demo.Options) error {
			if _, err := regexp.Compile(match); err != nil {
				return fmt.Errorf("-match: %w", err)
			}
			if every <= 0 {
				return fmt.Errorf("-every is %v: it must be positive", every)
			}
			if (o.Peer == "") != (file == "") {
				return errors.New("a node that follows a file needs both -peer and -file, the watcher neither")
			}
			return nil
		},
		Run: func(ctx context.Context, n *remote.Node, o demo.Options) error {
			if o.Peer == "" {
				return watch(ctx, n)
			}
			return follow(ctx, n)
		},
	}.Main()
}

// watch is the watcher: the home of the channel, with an actor that prints what comes by it, and who comes and goes.
func watch(ctx context.Context, n *remote.Node) error {
	screen, err := actor.Spawn(n.System(), actor.Handler(func(_ *actor.Context, m *pb.Line) error {
		fmt.Printf("%s: %s\n", m.GetNode(), m.GetText())
		return nil
	}), actor.Options{OnStart: func(ctx *actor.Context) error {
		_, err := remote.WatchPeers(ctx, n, func(e remote.PeerEvent) *pb.Line { // a change of peers becomes a line, too
			return &pb.Line{Node: e.Peer.Name, Text: fmt.Sprintf("[the node is %v]", e.Status)}
		})
		return err
	}})
	if err != nil {
		return err
	}
	logs, err := actor.NewChannel[*pb.Line](n.System())
	if err != nil {
		return err
	}
	if _, err := logs.Subscribe(ctx, screen); err != nil {
		return err
	}
	if err := remote.Publish(n, name, logs); err != nil {
		return err
	}
	_, err = screen.Wait(ctx)
	return err
}

// follow publishes the lines of a file that match. While there is no watcher the file waits.
func follow(ctx context.Context, n *remote.Node) error {
	wanted := regexp.MustCompile(match)
	var logs *remote.Channel[*pb.Line]
	for line, err := range tail(ctx, file, every) {
		if err != nil {
			return err
		}
		if !wanted.MatchString(line) {
			continue
		}
		for sent := false; !sent; {
			if logs == nil {
				if logs, err = remote.OpenChannel[*pb.Line](ctx, n, name, ""); err != nil { // waits for a watcher
					return err
				}
				fmt.Println("the watcher is", logs.Home())
			}
			err = logs.Send(ctx, &pb.Line{Node: n.Name(), Text: line})
			switch sent = err == nil; {
			case ctx.Err() != nil:
				return ctx.Err()
			case !sent:
				fmt.Println("the watcher has gone:", err)
				logs = nil
			}
		}
	}
	return nil
}
