package simlink_test

import (
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

func TestConformance(t *testing.T) {
	for name, c := range map[string]conditions.Conditions{
		"perfect": {},
		"far":     {Latency: 100 * time.Millisecond, Jitter: 50 * time.Millisecond},
		"narrow":  {Latency: time.Millisecond, BytesPerSecond: 2 << 20},
		"bad":     {Latency: 20 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			linktest.RunInBubbles(t, func(*testing.T) linktest.Transports {
				n := simlink.New(1)
				n.SetAll(c)
				return linktest.Transports{A: n.Node("a:1", id("a")), B: n.Node("b:1", id("b")), AddrB: "b:1"}
			})
		})
	}
}

func id(name string) link.Identity { return link.Identity{Name: name, Roles: link.AllRoles} }
