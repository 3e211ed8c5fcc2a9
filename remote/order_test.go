package remote_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

// TestOrderOfAllSizes: what one actor sends another arrives in order, whether it goes in a frame or in pieces, and whatever others send
// beside it.
func TestOrderOfAllSizes(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const senders, each = 8, 150
				c := newCluster(t, seed, "alpha", "beta")
				c.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond, BytesPerSecond: 4 << 20}) // so that lanes have something to choose from
				done := make(chan error, senders)
				for i := range senders {
					next := uint64(0)
					sink := actor.MustSpawn(c.sys["alpha"], actor.Handler(func(_ *actor.Context, m *wrapperspb.BytesValue) error {
						if got := binary.LittleEndian.Uint64(m.GetValue()); got != next {
							done <- fmt.Errorf("sender %d: message %d came as number %d", i, got, next)
						}
						if next++; next == each {
							done <- nil
						}
						return nil
					}))
					there := from(t, c.sys["beta"], sink)
					draw := rand.New(rand.NewPCG(seed, uint64(i)))
					actor.MustSpawn(c.sys["beta"], actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*word]) error {
						for n := range uint64(each) {
							size := 8 + draw.IntN(20<<10)
							if n%50 == 49 { // seldom, so that there are short ones before it that still wait
								size = 33<<10 + draw.IntN(100<<10)
							}
							m := make([]byte, size)
							binary.LittleEndian.PutUint64(m, n)
							if err := there.Send(ctx, wrapperspb.Bytes(m)); err != nil {
								return err
							}
						}
						return nil
					}))
				}
				for range senders {
					if err := <-done; err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
