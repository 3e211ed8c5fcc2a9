package main

import (
	"testing"

	"github.com/greenroom-go/greenroom/examples/internal/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

func TestCommandLine(t *testing.T) {
	demotest.CommandLine(t, map[string]string{"-name=a -every=often": "-every"})
}

// The client finds a server that starts later, and one that comes back, whether it ended in good order or was killed.
func TestEcho(t *testing.T) {
	certs := "-certs=" + t.TempDir()
	server := demotest.Start(t, "-name=server", certs)
	addr := server.Addr()
	server.Ends() // its port is free now, all but surely

	client := demotest.Start(t, "-name=client", "-peer="+addr, "-every=10ms", certs)
	client.Line("looking for the server")
	client.Line("no node is reached at " + addr + "; it is tried on")
	for _, end := range []func(*demotest.Process){(*demotest.Process).Ends, (*demotest.Process).Kill, nil} {
		server = demotest.Start(t, "-name=server", "-listen="+addr, certs)
		client.Line("found it: actor")
		client.Line("hello 3, says server, after ")
		if end != nil {
			end(server)
			client.Line("the server has ended: ")
		}
	}
	client.Ends()
	server.Ends()
}
