package remote_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	"github.com/greenroom-go/greenroom/registry/cluster"
	"github.com/greenroom-go/greenroom/remote"
)

// The tests of this file open sockets, all on the loopback interface.

// gossiping starts a node that gossips, so fast that a failure is found within a second or two.
func gossiping(t *testing.T, dir, name string, peers ...string) *berth {
	t.Helper()
	return gossipingBy(t, remote.Options{
		Name: name, TLS: remote.DevTLS(dir), Peers: peers, DownAfter: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
		Gossip: remote.GossipOptions{
			Listen: "127.0.0.1:0", ProbeInterval: 200 * time.Millisecond, GossipInterval: 20 * time.Millisecond, SyncInterval: time.Second,
			SeedInterval: 300 * time.Millisecond,
		},
	})
}

func gossipingBy(t *testing.T, o remote.Options) *berth {
	t.Helper()
	sys := actortest.New(t)
	n, err := remote.Start(sys, o)
	if err != nil {
		t.Fatal(err)
	}
	s := &berth{n, t, sys}
	t.Cleanup(s.stop)
	return s
}

// numbers waits until the node knows so many members.
func (s *berth) numbers(want int) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx := soon(s.t)
	for len(s.Members()) != want {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("%s knows %v, want %d", s.Name(), s.Members(), want)
		}
	}
}

// One address is enough for all to be linked to all; names and groups follow (FIND-6).
func TestGossip(t *testing.T) {
	dir := t.TempDir()
	alpha := gossiping(t, dir, "alpha")
	beta := gossiping(t, dir, "beta", alpha.Addr())
	gamma := gossiping(t, dir, "gamma", alpha.Addr())
	for _, s := range []*berth{alpha, beta, gamma} {
		for _, other := range []string{"alpha", "beta", "gamma"} {
			if other != s.Name() {
				s.knows(other)
			}
		}
		s.numbers(3)
	}
	if m := gamma.Members()[0]; m.Name != "alpha" || m.Addr != alpha.Addr() || m.GossipAddr == "" {
		t.Errorf("alpha is known as %+v", m)
	}
	b := beta.squares("squares")
	gamma.locating(soon(t), "squares").finds(b.ID())
	sameErr(t, beta.Claim("king", b, nil), nil)
	r, err := remote.Await[*benchv1.Number](soon(t), gamma.Node, "king")
	if err != nil || r.ID() != b.ID() || r.Node() != beta.sys.NodeID() {
		t.Fatal(r, err)
	}
	if m, err := actor.Call[*benchv1.Number](soon(t), r, &benchv1.Number{Value: 5}); err != nil || m.GetValue() != 25 {
		t.Error(m, err)
	}
	sameErr(t, gamma.Claim("king", gamma.squares(""), nil), actor.ErrNameTaken)
	sameErr(t, beta.JoinGroup("workers", b), nil)
	sameErr(t, gamma.JoinGroup("workers", gamma.squares("")), nil)
	alpha.counts("workers", 2)

	// A node that dies is nobody's member, peer or king any more.
	remote.Crash(beta.Node)
	alpha.numbers(2)
	alpha.loses("beta")
	gamma.sees("king", actor.AnyRef{})
	alpha.counts("workers", 1)

	// Its successor takes its place, told of one node only.
	again := gossiping(t, dir, "beta", gamma.Addr())
	again.numbers(3)
	alpha.knows("beta")
	c := again.squares("")
	sameErr(t, again.Claim("king", c, nil), nil)
	alpha.sees("king", c.AnyRef)

	// A node that stops says so.
	sameErr(t, gamma.Stop(soon(t)), nil)
	alpha.numbers(2)
	select {
	case <-gamma.Done():
	default:
		t.Error("a node that has stopped is not done")
	}
	sameErr(t, gamma.Err(), nil)
	if _, err := remote.Locate[*benchv1.Number](soon(t), gamma.Node, "x"); !errors.Is(err, remote.ErrStopped) {
		t.Error(err)
	}
}

// Of two living nodes of one name the second ends (FIND-6).
func TestGossipDisplaces(t *testing.T) {
	dir := t.TempDir()
	alpha := gossiping(t, dir, "alpha")
	beta := gossiping(t, dir, "beta", alpha.Addr())
	alpha.knows("beta")
	beta.numbers(2)
	twin := gossiping(t, dir, "beta", alpha.Addr())
	select {
	case <-twin.Done():
		sameErr(t, twin.Err(), cluster.ErrNameTaken)
	case <-soon(t).Done():
		t.Fatal("there are two nodes of one name")
	}
	sameErr(t, beta.Err(), nil)
	beta.numbers(2)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sameErr(t, twin.Stop(ctx), nil)
}
