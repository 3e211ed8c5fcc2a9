package actor

import (
	"context"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/mailbox"
)

type num = wrapperspb.Int64Value

func testSystem(t *testing.T) *System {
	t.Helper()
	sys, err := NewSystem(SystemOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if l := sys.Ledger(); !l.Exact || !l.Balanced() {
			t.Errorf("ledger: %v", l)
		}
	})
	return sys
}

type closedQueue struct{ queue }

func (closedQueue) Insert(envelope) mailbox.Outcome { return mailbox.Closed }

// LEDG-1: a Down that made room for a message and comes back is not lost: it is handled when the mailbox has closed meanwhile,
// and it wakes an actor that has gone idle meanwhile.
func TestEvictedDownComesBack(t *testing.T) {
	sys := testSystem(t)
	a := MustSpawn(sys, Handler(func(*Context, *num) error { return nil }), Options{Mailbox: Mailbox{Capacity: 1, Overflow: mailbox.DropOldest}})
	if err := sys.Quiesce(context.Background()); err != nil {
		t.Fatal(err)
	}
	c, env := a.cell(), envelope{msg: drainMsg{}, meta: a.id &^ lowWord}
	sys.counting(nil)
	sys.evicted(nil, c, closedQueue{}, env)
	if l := sys.Ledger(); l.Handled != 1 {
		t.Errorf("ledger: %v", l)
	}
	sys.counting(nil)
	sys.evicted(nil, c, c.cold.Load().queue, env)
	if _, err := a.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}
