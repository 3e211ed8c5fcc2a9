package remote

import (
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
)

// The news that an actor has ended races with the news of its birth: its Client must not wait for it for ever.
func TestBirthsThatEndAtOnce(t *testing.T) {
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Close() }()
	n := &Node{sys: sys}
	c := NewClient(n)
	ref := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *wrapperspb.StringValue) error { return nil })).Any()
	for range 5000 {
		b := &birth{n: n, client: c}
		var both sync.WaitGroup
		both.Go(func() { b.down(actor.Down{}) })
		both.Go(func() { _ = b.born(ref) })
		both.Wait()
		if c.Running() != 0 {
			t.Fatal("an actor that has ended is waited for")
		}
	}
}
