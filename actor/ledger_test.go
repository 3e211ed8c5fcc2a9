package actor_test

import (
	"sync"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
)

// LEDG-1 also of a System that has stopped while goroutines go on sending: what they are about to be refused is in no class.
func TestLedgerWhileSendsAreRefused(t *testing.T) {
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan struct{}, 1)
	ref := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *text) error {
		select {
		case handled <- struct{}{}:
		default:
		}
		return nil
	}))
	ctx := patient(t)
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for refused := 0; refused < 2000; {
				if ref.Send(ctx, &text{}) != nil {
					refused++
				}
			}
		})
	}
	await(t, handled)
	go func() { _ = sys.Close() }()
	all := make(chan struct{})
	go func() { senders.Wait(); close(all) }()
	for over := false; !over; {
		select {
		case <-all:
			over = true
		default:
		}
		if l := sys.Ledger(); l.Exact && !l.Balanced() {
			t.Fatalf("ledger: %v", l)
		}
	}
	if err := sys.Stop(patient(t)); err != nil {
		t.Error(err)
	}
}
