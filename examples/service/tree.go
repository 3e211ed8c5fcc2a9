package main

import (
	"fmt"
	"net"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
	"github.com/greenroom-go/greenroom/mailbox"
	"github.com/greenroom-go/greenroom/supervisor"
)

// The parts that the service's supervisor has.
const (
	statsID  = "stats"
	shardsID = "shards"
	ingestID = "ingest"
	frontID  = "front"
	folderID = "folder"
	loadID   = "load"
	swapID   = "swap"
	chaosID  = "chaos"
)

func shardName(i int) string  { return fmt.Sprintf("shard-%d", i) }
func workerName(i int) string { return fmt.Sprintf("worker-%d", i) }

// restartsASecond is how often each supervisor restarts its children before it gives up: more often than -chaos kills.
const restartsASecond = 100

// spec is the tree of the actors.
//
//	service  one_for_one; it ends, and the program with it, when the shards do
//	├── stats
//	├── shards   one_for_one
//	│   └── shard-0, shard-1, ...
//	├── ingest   one_for_one
//	│   └── worker-0, worker-1, ...
//	└── front, folder, load, swap, chaos: functions, see visitors
func (s *service) spec() supervisor.Spec {
	return supervisor.Spec{
		Name:         "service",
		Intensity:    restartsASecond,
		Period:       time.Second,
		AutoShutdown: supervisor.AnySignificant,
		Observe:      s.observe,
		Children: []supervisor.Child{
			{ID: statsID, Start: supervisor.Actor(s.statsBehaviour(), actor.Options{Name: statsID})},
			// Counts outlive their shard and not the shards' supervisor: without them there is no going on.
			{ID: shardsID, Start: supervisor.Tree(s.shardsSpec()), Restart: supervisor.Temporary, Significant: true},
			{ID: ingestID, Start: supervisor.Tree(s.ingestSpec())},
		},
	}
}

func (s *service) shardsSpec() supervisor.Spec {
	spec := supervisor.Spec{Name: shardsID, Intensity: restartsASecond, Period: time.Second, Observe: s.observe}
	for i := range s.opts.shards {
		spec.Children = append(spec.Children, supervisor.Child{
			ID: shardName(i),
			Start: supervisor.Actor(waysToCount[0].behaviour(), actor.Options{
				Name:    shardName(i),
				Mailbox: pb.ShardService.Mailbox,
			}),
		})
	}
	return spec
}

func (s *service) ingestSpec() supervisor.Spec {
	spec := supervisor.Spec{Name: ingestID, Intensity: restartsASecond, Period: time.Second, Observe: s.observe}
	for i := range s.opts.workers {
		spec.Children = append(spec.Children, supervisor.Child{
			ID: workerName(i),
			Start: supervisor.Actor(s.workerBehaviour(), actor.Options{
				Name:    workerName(i),
				Mailbox: actor.Mailbox{Capacity: s.opts.queue, Overflow: mailbox.Suspend},
			}),
			Decide: s.passOver,
		})
	}
	return spec
}

// passOver has a worker that a document made panic go on with the next one: it has no state that might be damaged. As no restart
// is counted, whoever posts poison cannot bring the service down.
func (s *service) passOver(f supervisor.Failure) supervisor.Decision {
	if f.Reason.Kind == actor.ReasonPanic && f.Resumable {
		return supervisor.Resume
	}
	return supervisor.ByClass
}

// visitors are the functions that bring documents, and those that make trouble. They are added when the actors run.
func (s *service) visitors(front net.Listener) []supervisor.Child {
	var all []supervisor.Child
	if front != nil {
		all = append(all, supervisor.Child{
			ID: frontID, Start: supervisor.Func(s.front(front)), Shutdown: supervisor.NoLimit, // it is bounded by -grace
			Backoff: supervisor.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second},
		})
	}
	if s.opts.dir != "" {
		all = append(all, supervisor.Child{
			ID: folderID, Start: supervisor.Func(s.feed), Restart: supervisor.Temporary, Shutdown: supervisor.NoLimit,
		})
	}
	if s.opts.load > 0 && front != nil {
		all = append(all, supervisor.Child{ID: loadID, Start: supervisor.Func(s.runLoad(front.Addr().String())), Shutdown: supervisor.NoLimit})
	}
	if s.opts.swap {
		all = append(all, supervisor.Child{ID: swapID, Start: supervisor.Func(s.swapNowAndThen), Restart: supervisor.Transient})
	}
	if s.opts.chaos {
		all = append(all, supervisor.Child{ID: chaosID, Start: supervisor.Func(s.makeChaos)})
	}
	return all
}

// observe tells the stats channel of what the supervisors do.
func (s *service) observe(e supervisor.Event) {
	told := &pb.Event{Part: e.Child, Detail: e.Reason.String()}
	switch e.Kind {
	case supervisor.Ended:
		told.Kind = pb.EventKind_EVENT_KIND_ENDED
	case supervisor.Restarting:
		s.restarted.Add(1)
		told.Kind, told.Detail = pb.EventKind_EVENT_KIND_RESTARTED, ""
	case supervisor.Resumed:
		told.Kind = pb.EventKind_EVENT_KIND_PASSED_OVER
	case supervisor.GivenUp:
		if e.Child == shardsID && s.taking.Err() == nil {
			s.fail(fmt.Errorf("the shards have ended and the counts with them: %v", e.Reason))
		}
		return
	default:
		return
	}
	s.tell(s.work, told)
}
