package main

import (
	"strings"
	"testing"

	"github.com/greenroom-go/greenroom/examples/internal/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

func TestCommandLine(t *testing.T) {
	demotest.CommandLine(t, map[string]string{
		"-name=a -workers=0":        "-workers is 0",
		"-name=a -below=1000000000": "and a limit from 0 to 100000000",
	})
}

// Nobody starts before all are there: also with a starter that comes back.
func TestBarrier(t *testing.T) {
	certs := "-certs=" + t.TempDir()
	starter := demotest.Start(t, "-name=starter", "-workers=3", "-below=1000", certs)
	addr := starter.Addr()
	starter.Line("waiting for 3 workers")
	worker := func(name string) *demotest.Process {
		p := demotest.Start(t, "-name="+name, "-peer="+addr, certs)
		p.Line("ready, at starter")
		return p
	}
	anna, ben := worker("anna"), worker("ben")
	starter.Kill()
	anna.Line("the starter has gone: ")
	ben.Line("the starter has gone: ")

	starter = demotest.Start(t, "-name=starter", "-workers=3", "-below=1000", "-listen="+addr, certs)
	starter.Line("waiting for 3 workers")
	anna.Line("ready, at starter")
	ben.Line("ready, at starter")
	if strings.Contains(starter.Output(), "started") {
		t.Error("two of three are there, and they were started")
	}
	clara := worker("clara")
	starter.Line("started: 3")
	starter.Line("3. .*: 168 primes below 1000")
	for _, p := range []*demotest.Process{anna, ben, clara, starter} {
		if code := p.Wait(); code != 0 {
			t.Errorf("code %d", code)
		}
		if p != starter {
			p.Printed("primes: 168")
		}
	}
}
