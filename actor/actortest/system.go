package actortest

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/greenroom-go/greenroom/actor"
)

// New starts a System for one test. At the test's end it is stopped, and the test fails if an actor did not end, if a stack
// that actors ran on is left, or if the ledger does not add up: some message is in none of its classes.
// Wrong options end the test. It works inside a bubble of testing/synctest, where time is virtual, and outside.
func New(t testing.TB, o ...actor.SystemOptions) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(o...)
	if err != nil {
		t.Fatalf("actortest: start a System: %v", err)
	}
	t.Cleanup(func() { stop(t, sys) })
	return sys
}

// stop ends the System and reports whatever it leaves behind.
func stop(t testing.TB, sys *actor.System) {
	t.Helper()
	if err := sys.Stop(context.Background()); err != nil {
		t.Errorf("actortest: stop the System: %v", err)
		return
	}
	if left := leftovers(carriers(sys), sys.Ledger()); left != "" {
		t.Errorf("actortest: after the System stopped %s", left)
	}
}

// leftovers says what should not be there after a System stopped, or nothing.
func leftovers(stacks float64, l actor.Ledger) string {
	switch {
	case stacks != 0:
		return fmt.Sprintf("%v stacks of actors are left", stacks)
	case l.Queued != 0:
		return fmt.Sprintf("messages are queued: %v", l)
	case !l.Exact || !l.Balanced():
		return fmt.Sprintf("the ledger does not add up: %v", l)
	}
	return ""
}

// carriers reads from the System's metrics how many stacks it has.
func carriers(sys *actor.System) (n float64) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(sys)
	families, _ := registry.Gather()
	for _, f := range families {
		if f.GetName() != "greenroom_carriers" {
			continue
		}
		for _, m := range f.GetMetric() {
			n += m.GetGauge().GetValue()
		}
	}
	return n
}
