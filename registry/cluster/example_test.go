package cluster_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/greenroom-go/greenroom/registry/cluster"
)

// Two nodes on one machine: the second is told where the first is, and from then on both know each other.
func ExampleGossip() {
	key := make([]byte, cluster.KeyBytes)
	_, _ = rand.Read(key) // all nodes get the same one, with the rest of their secrets
	o := cluster.GossipOptions{Key: key, Logger: slog.New(slog.DiscardHandler)}
	ctx := context.Background()

	east, err := cluster.NewGossip(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer leave(east)
	joined := make(chan string, 1)
	tell := func(e cluster.Event) { joined <- fmt.Sprint(e.Kind, " ", e.Member.Name, " at ", e.Member.Addr) }
	if err := east.Start(ctx, cluster.Member{Name: "east", Addr: "10.0.0.1:7000"}, nil, tell); err != nil {
		fmt.Println(err)
		return
	}

	west, err := cluster.NewGossip(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer leave(west)
	seeds := cluster.Static{east.Self().GossipAddr}
	if err := west.Start(ctx, cluster.Member{Name: "west", Addr: "10.0.0.2:7000"}, seeds, func(cluster.Event) {}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-joined)
	// Output: joined west at 10.0.0.2:7000
}

// A list that does not change needs no gossip.
func ExampleStaticMembership() {
	list, err := cluster.NewStaticMembership(
		cluster.Member{Name: "a", Addr: "10.0.0.1:7000"},
		cluster.Member{Name: "b", Addr: "10.0.0.2:7000"},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	tell := func(e cluster.Event) { fmt.Println(e.Kind, e.Member.Name) }
	if err := list.Start(context.Background(), cluster.Member{Name: "a", Addr: "10.0.0.1:7000"}, nil, tell); err != nil {
		fmt.Println(err)
		return
	}
	// Output: joined b
}

// Two halves of a cluster give one name to an actor each. When they meet the older claim stays, and whoever made the other is told.
func ExampleReplica() {
	a, _ := cluster.NewReplica("a", 1)
	b, _ := cluster.NewReplica("b", 1)
	lost := func(to cluster.Entry) { fmt.Println("lost to", to) }
	fmt.Println(a.Claim("printer", cluster.Actor{ID: 7}, lost))
	fmt.Println(b.Claim("printer", cluster.Actor{ID: 8}, lost))

	a.Appear("b", 1) // the membership says so
	b.Appear("a", 1)
	state := b.State() // and a carrier exchanges states
	_ = b.Merge(a.State())
	_ = a.Merge(state)

	fmt.Println(b.Lookup("printer"))
	fmt.Println(errors.Is(b.Claim("printer", cluster.Actor{ID: 8}, lost), cluster.ErrNameTaken))
	// Output:
	// <nil>
	// <nil>
	// lost to a#1/7
	// a#1/7 true
	// true
}

// A headless service has an address for each of its nodes.
func ExampleDNS() {
	discovery := cluster.DNS{Name: "greenroom.default.svc.cluster.local", Port: 7946, Resolver: exampleZone}
	seeds, err := discovery.Seeds(context.Background())
	fmt.Println(seeds, err)
	// Output: [10.1.0.4:7946 10.1.0.9:7946] <nil>
}

func leave(m cluster.Membership) {
	if err := m.Close(); err != nil {
		fmt.Println(err)
	}
}
