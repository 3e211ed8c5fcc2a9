package main

import (
	"testing"

	"github.com/greenroom-go/greenroom/examples/internal/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

func TestCommandLine(t *testing.T) { demotest.CommandLine(t, nil) }

// Everybody hears everybody, and sees who joins, leaves, is killed, and that the host has gone.
func TestChat(t *testing.T) {
	certs := "-certs=" + t.TempDir()
	anna := demotest.Start(t, "-name=anna", certs)
	addr := anna.Addr()
	anna.Line("you are in, with: $")
	join := func(name string) *demotest.Process {
		p := demotest.Start(t, "-name="+name, "-peer="+addr, certs)
		p.Line("you are in, with: .*anna")
		anna.Line(name + " has joined")
		return p
	}
	ben, clara, doomed := join("ben"), join("clara"), join("doomed")

	clara.Say("hello")
	for _, p := range []*demotest.Process{anna, ben, clara, doomed} {
		p.Line("clara: hello")
	}
	anna.Say("it is late")
	ben.Line("anna: it is late")

	doomed.Kill()
	for _, p := range []*demotest.Process{anna, ben, clara} {
		p.Line("doomed has left: .*node.*down")
	}
	clara.CloseInput()
	if code := clara.Wait(); code != 0 {
		t.Errorf("clara has left with code %d", code)
	}
	ben.Line("clara has left: normal")
	anna.Line("clara has left: normal")

	dave := join("dave")
	dave.Ends()
	anna.Line("dave has left: normal")

	anna.Ends()
	ben.Line("the room is closed: ")
	if code := ben.Wait(); code != 1 {
		t.Errorf("ben has ended with code %d without a host", code)
	}
}
