package actor

import (
	"runtime"
	"testing"
)

// LEDG-6: a goroutine in the middle of a send makes Ledger wait a moment, and not give up exactness.
func TestLedgerAwaitsASend(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	sys := testSystem(t)
	for range 100 {
		if err := sys.Quiesce(t.Context()); err != nil {
			t.Fatal(err)
		}
		sys.ex.departs()
		go sys.ex.arrived()
		if l := sys.Ledger(); !l.Exact || !l.Balanced() {
			t.Fatal(l)
		}
	}
}
