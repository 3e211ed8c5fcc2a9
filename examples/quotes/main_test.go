package main

import (
	"testing"

	"github.com/greenroom-go/greenroom/examples/internal/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

func TestCommandLine(t *testing.T) {
	demotest.CommandLine(t, map[string]string{"-name=a -every=0s": "-every is 0s: it must be positive"})
}

// Every kind of rpc works from node to node, and the end of the service, of its node, and of a client are told to who streams.
func TestQuotes(t *testing.T) {
	certs := "-certs=" + t.TempDir()
	server := demotest.Start(t, "-name=exchange", certs)
	addr := server.Addr()
	server.Line("the service starts, time 1")

	spoiler := demotest.Start(t, "-name=spoiler", "-peer="+addr, "-every=10ms", "-spoil=5", certs)
	spoiler.Line("prices loaded: 3")
	spoiler.Line("milk is at 120, says exchange")
	spoiler.Line(`gold: no price of "gold" is known`)
	spoiler.Line("3 sugar is worth 285")
	spoiler.Line("tea is at 300")
	spoiler.Line("tea is at 304")
	spoiler.Line("the service has gone: .*the stream has ended with the incarnation that served it")
	server.Line("the service starts, time 2")
	spoiler.Line("prices loaded: 3") // by the next incarnation
	spoiler.Kill()                   // it watches a price, which is no harm to anybody

	trader := demotest.Start(t, "-name=trader", "-peer="+addr, "-every=10ms", certs)
	trader.Line("tea is at 302")
	server.Kill()
	trader.Line("the service has gone: .*node.*down")
	server = demotest.Start(t, "-name=exchange", "-listen="+addr, certs)
	trader.Line("prices loaded: 3")
	trader.Line("tea is at 302")
	trader.Ends()
	server.Ends()
}
