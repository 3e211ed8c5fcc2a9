package remote_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

// simCluster is a few nodes on a simulated network, each linked to all others.
type simCluster struct {
	net  *simlink.Network
	sys  map[string]*actor.System
	node map[string]*remote.Node
}

// newCluster makes a cluster inside a bubble. It is stopped when the test ends.
func newCluster(t *testing.T, seed uint64, names ...string) *simCluster {
	t.Helper()
	c := &simCluster{net: simlink.New(seed), sys: make(map[string]*actor.System), node: make(map[string]*remote.Node)}
	for i, name := range names {
		var peers []string
		for _, p := range names[:i] {
			peers = append(peers, p+":1")
		}
		c.start(t, remote.Options{Name: name, Peers: peers})
	}
	for _, a := range names {
		for _, b := range names {
			if a == b {
				continue
			}
			if _, err := c.node[a].Peer(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

func (c *simCluster) start(t *testing.T, o remote.Options) {
	t.Helper()
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	addr := o.Name + ":1"
	tr := c.net.Node(addr, link.Identity{Name: o.Name, Roles: link.AllRoles, NotAfter: time.Now().Add(24 * time.Hour)})
	n, err := remote.Start(sys, remote.Over(o, addr, tr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = n.Stop(ctx)
		_ = sys.Close()
	})
	c.sys[o.Name], c.node[o.Name] = sys, n
}

// from is what another System takes an actor's ref for.
func from[M proto.Message](t *testing.T, sys *actor.System, r actor.Ref[M]) actor.Ref[M] {
	t.Helper()
	there, err := actor.TypedRefFromProto[M](sys, r.Proto())
	if err != nil {
		t.Fatal(err)
	}
	return there
}
