package main

import (
	"context"
	"fmt"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/supervisor"
)

func shardName(i int) string  { return fmt.Sprintf("shard-%d", i) }
func keeperName(i int) string { return fmt.Sprintf("keeper-%d", i) }

// spec is the tree of the actors, of whatever nodes.
//
//	cluster  one_for_one, at home; what its keepers have is nowhere else, so it ends with them, and the program with it
//	├── peers                         at home: is told which nodes are up
//	├── keepers: keeper-0, ...        at home
//	└── shards   one_for_one
//	    └── shard-0, shard-1, ...     on the other nodes
func (c *cluster) spec() supervisor.Spec {
	keepers := supervisor.Spec{Intensity: -1}
	// A node takes all of its shards with it, and while there is none each attempt counts as well.
	shards := supervisor.Spec{Intensity: 100 * c.opts.shards, Period: 10 * time.Second, Observe: c.observe}
	for i := range c.opts.shards {
		keepers.Children = append(keepers.Children, supervisor.Child{ID: keeperName(i), Start: c.keeper(i)})
		shards.Children = append(shards.Children, supervisor.Child{
			ID:      shardName(i),
			Start:   supervisor.StartFunc(remote.Child(c.home, remote.LeastLoaded(), shardBehaviour, nil)),
			Backoff: supervisor.Backoff{Min: 10 * time.Millisecond, Max: 500 * time.Millisecond},
		})
	}
	return supervisor.Spec{
		Name:      "cluster",
		Intensity: -1,
		Children: []supervisor.Child{
			{ID: "peers", Start: c.peers()},
			{ID: "keepers", Start: supervisor.Tree(keepers)},
			{ID: "shards", Start: supervisor.Tree(shards)},
		},
	}
}

func (c *cluster) keeper(i int) supervisor.Starter {
	k := &keeper{post: &c.posts[i], note: &c.board.shards[i]}
	start := func(*actor.Context) (pb.KeeperServer, error) { return k, nil }
	o := rpc.WithMailbox([]actor.Options{{Name: keeperName(i)}}, pb.KeeperService.Mailbox)
	return supervisor.Actor(pb.KeeperBehaviour(start), o...)
}

// peers is the actor that takes down which nodes are up.
func (c *cluster) peers() supervisor.Starter {
	return supervisor.Actor(actor.Handler(func(_ *actor.Context, p *pb.PeerChange) error {
		c.board.peer(p.GetNode(), p.GetIncarnation(), p.GetUp())
		return nil
	}), actor.Options{Name: "peers", OnStart: func(ctx *actor.Context) error {
		_, err := remote.WatchPeers(ctx, c.home, func(e remote.PeerEvent) *pb.PeerChange {
			return &pb.PeerChange{Node: e.Peer.Name, Incarnation: e.Peer.Incarnation, Up: e.Status == remote.PeerUp}
		})
		return err
	}})
}

// observe puts each shard that starts in its place.
func (c *cluster) observe(e supervisor.Event) {
	var i int
	if _, err := fmt.Sscanf(e.Child, "shard-%d", &i); err != nil || i >= len(c.posts) {
		return
	}
	switch e.Kind {
	case supervisor.Started:
		c.board.placed(i, c.nodeOf(e.Ref))
		c.posts[i].take(e.Ref)
	case supervisor.Ended:
		c.posts[i].leave(e.Ref)
		c.board.homeless(i)
	default:
	}
}

// nodeOf names the node that an actor lives on.
func (c *cluster) nodeOf(ref actor.AnyRef) string {
	for _, p := range c.home.Peers() {
		if p.Incarnation == ref.Node() {
			return p.Name
		}
	}
	return "?" // it is down again, and forgotten
}

// watchTree has the program end when the tree does.
func (c *cluster) watchTree() {
	_, err := c.tree.Ref().Wait(context.Background())
	c.fail(fmt.Errorf("the supervisors have given up: %w", err))
}
