package quiclink

import (
	"testing"

	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

func TestConformance(t *testing.T) {
	ca := linktest.NewAuthority(t)
	linktest.Run(t, func(t *testing.T) linktest.Transports {
		var both [2]*Transport
		for i, name := range []string{"a", "b"} {
			tr, err := Listen("127.0.0.1:0", ca.Node(t, name), Options{})
			if err != nil {
				t.Fatal(err)
			}
			both[i] = tr
		}
		return linktest.Transports{A: both[0], B: both[1], AddrB: both[1].Addr().String()}
	})
}
