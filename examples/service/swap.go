package main

import (
	"context"
	"fmt"
	"time"

	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
	"github.com/greenroom-go/greenroom/supervisor"
)

const (
	swapEvery  = time.Second            // how often -swap replaces the shards' behaviour
	swapSettle = 100 * time.Millisecond // how long each step is watched before the next one
)

// swapNowAndThen is the child that replaces the behaviour of the shards while they count, by turns with each of the ways to count.
func (s *service) swapNowAndThen(ctx context.Context) error {
	tick := time.NewTicker(swapEvery)
	defer tick.Stop()
	for way := 1; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s.swapShards(ctx, &waysToCount[way]) {
			way = (way + 1) % len(waysToCount)
		}
	}
}

// swapShards brings a way to count to all shards: one at first, the others when that has gone well for a moment. If a shard ends
// meanwhile all go back to what they had, and it returns false.
func (s *service) swapShards(ctx context.Context, to *countingWay) bool {
	from, before := s.mode.Load(), s.counted.Load()
	shards, err := s.tree.Tree(ctx, shardsID)
	if err == nil {
		o := supervisor.RollOutOptions{Canary: 1, Step: max(1, s.opts.shards/2), Settle: swapSettle, Back: from.migrate()}
		o.Swap.Name, o.Swap.Version, o.Swap.Migrate = "count", to.name, to.migrate()
		err = supervisor.RollOut(ctx, shards, supervisor.Actor(to.behaviour()), o)
	}
	switch {
	case ctx.Err() != nil:
		return false // the service ends
	case err != nil:
		s.swappedBack.Add(1)
		s.tell(ctx, &pb.Event{Kind: pb.EventKind_EVENT_KIND_SWAPPED_BACK, Part: shardsID, Detail: err.Error()})
		fmt.Fprintf(s.out, "swap: the shards have the behaviour %q still, %q was taken back: %v\n", from.name, to.name, err)
		return false
	}
	s.mode.Store(to)
	s.swapped.Add(1)
	s.tell(ctx, &pb.Event{Kind: pb.EventKind_EVENT_KIND_SWAPPED, Part: shardsID, Detail: to.name})
	fmt.Fprintf(s.out, "swap: the behaviour of %d shards is %q now, it was %q; %d documents were counted meanwhile\n",
		s.opts.shards, to.name, from.name, s.counted.Load()-before)
	return true
}
