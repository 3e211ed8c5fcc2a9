package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
	"github.com/greenroom-go/greenroom/remote"
)

const (
	nodeCommand    = "node"  // the first argument of a node process
	homeName       = "home"  // the node of the program itself
	shardBehaviour = "shard" // what nodes start by name
)

// downAfter is how long a node may be silent before its shards are started elsewhere.
const downAfter = time.Second

// runNode is a node process. It ends when stdin does, which its parent holds open as long as it lives.
func runNode(args []string, stdin io.Reader, stderr io.Writer) int {
	signal.Ignore(os.Interrupt) // Ctrl-C goes to all processes of a terminal: the parent decides
	flags := flag.NewFlagSet(nodeCommand, flag.ContinueOnError)
	flags.SetOutput(stderr)
	var name, certs, home string
	var verbose bool
	flags.StringVar(&name, "name", "", "the node's name")
	flags.StringVar(&certs, "certs", "", "the cluster's certificates")
	flags.StringVar(&home, "home", "", "the address of the node to stay connected to")
	flags.BoolVar(&verbose, "v", false, "log more than errors")
	if flags.Parse(args) != nil {
		return 2
	}
	if err := serveNode(name, certs, home, logTo(stderr, verbose), stdin); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func logTo(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelError
	if verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

func serveNode(name, certs, home string, log *slog.Logger, stdin io.Reader) error {
	sys, node, err := startNode(name, certs, log, home)
	if err != nil {
		return err
	}
	err = remote.Register(node, shardBehaviour, func(remote.Origin, *emptypb.Empty) (actor.Behaviour[pb.ShardMessage], error) {
		return pb.ShardBehaviour(func(*actor.Context) (pb.ShardServer, error) { return &shard{}, nil }), nil
	}, remote.RegisterOptions{
		Allow: func(peer string) bool { return peer == homeName },
		Actor: actor.Options{Mailbox: pb.ShardService.Mailbox},
	})
	if err == nil {
		_, _ = io.Copy(io.Discard, stdin) // however it ends, it has ended
	}
	return errors.Join(err, stopNode(sys, node))
}

// startNode makes this process a node that stays connected to peers.
func startNode(name, certs string, log *slog.Logger, peers ...string) (*actor.System, *remote.Node, error) {
	sys, err := actor.NewSystem(actor.SystemOptions{Logger: log})
	if err != nil {
		return nil, nil, err
	}
	node, err := remote.Start(sys, remote.Options{Name: name, TLS: remote.DevTLS(certs), Peers: peers, DownAfter: downAfter, Logger: log})
	if err != nil {
		return nil, nil, errors.Join(err, sys.Stop(context.Background()))
	}
	return sys, node, nil
}

// stopGrace is how long a node may take to stop.
const stopGrace = 3 * time.Second

func stopNode(sys *actor.System, node *remote.Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	_ = node.Stop(ctx) // what has not arrived by now is for nodes that are down
	return sys.Stop(ctx)
}
