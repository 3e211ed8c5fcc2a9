package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
	"github.com/greenroom-go/greenroom/supervisor"
)

// chaosEvery is how often -chaos kills an actor.
const chaosEvery = 100 * time.Millisecond

// makeChaos is the child that kills actors at random: the stats actor, a shard, a worker, or the workers' supervisor with all of
// them. What it spares is the shards' supervisor, whose end is the end of the counts, and that of all.
func (s *service) makeChaos(ctx context.Context) error {
	tick := time.NewTicker(chaosEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		victims, err := s.victims(ctx)
		if err != nil {
			continue // a part is being restarted
		}
		victim := victims[rand.IntN(len(victims))]
		victim.ref.Kill()
		s.killed.Add(1)
		s.tell(ctx, &pb.Event{Kind: pb.EventKind_EVENT_KIND_KILLED, Part: victim.name})
	}
}

type victim struct {
	name string
	ref  actor.AnyRef
}

func (s *service) victims(ctx context.Context) ([]victim, error) {
	var all []victim
	add := func(sup supervisor.Supervisor, wanted func(id string) bool) error {
		children, err := sup.Children(ctx)
		for _, c := range children {
			if wanted(c.ID) && c.Status == supervisor.Running {
				all = append(all, victim{c.ID, c.Ref})
			}
		}
		return err
	}
	err := add(s.tree, func(id string) bool { return id == statsID || id == ingestID })
	for _, id := range []string{shardsID, ingestID} {
		if err != nil {
			return nil, err
		}
		var sup supervisor.Supervisor
		if sup, err = s.tree.Tree(ctx, id); err == nil {
			err = add(sup, func(string) bool { return true })
		}
	}
	return all, err
}
