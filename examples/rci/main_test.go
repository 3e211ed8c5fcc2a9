package main

import (
	"testing"

	"github.com/greenroom-go/greenroom/examples/internal/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

func TestCommandLine(t *testing.T) { demotest.CommandLine(t, nil) }

// The client is told of every kind of end, gets results and errors, and leaves nothing running.
func TestRCI(t *testing.T) {
	certs := "-certs=" + t.TempDir()
	server := demotest.Start(t, "-name=server", certs)
	client := demotest.Start(t, "-name=client", "-peer="+server.Addr(), certs)
	client.Line("running: 1")
	server.Line("sleep 99 ends") // before Close returns
	client.Line("closed, running: 0")
	if code := client.Wait(); code != 0 {
		t.Errorf("the client has ended with code %d", code)
	}
	for _, want := range []string{
		`square has ended: normal, value: value:144`,
		`refuse has ended: error: 13 is not to my taste, value: <nil>`,
		`panic has ended: panic: .*index out of range.*, value: <nil>`,
		`sleep has ended: killed, value: <nil>`,
		`the square of 21: 441 <nil>`,
		`refuse: "21 is not to my taste", of type \*errors.errorString, from server`,
		`format-disk: .*no behaviour of that name is registered`,
	} {
		client.Printed(want)
	}
	server.Ends()
}

// A client that waits for its server ends by Ctrl-C.
func TestNoServer(t *testing.T) {
	client := demotest.Start(t, "-name=client", "-peer=127.0.0.1:9", "-certs="+t.TempDir())
	client.Line("no node is reached at 127.0.0.1:9; it is tried on")
	client.Ends()
}
