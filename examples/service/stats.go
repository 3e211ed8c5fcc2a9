package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// recentEvents is how many events are remembered.
const recentEvents = 200

// statistics are what was told on the stats channel. They outlive the incarnations of their actor.
type statistics struct {
	documents, words uint64
	kinds            map[pb.EventKind]uint64
	recent           []*pb.Event
	printed          struct {
		at               time.Time
		documents, words uint64
		waiting          int64
	}
}

// statsServer implements StatsService.
type statsServer struct {
	*statistics
	s *service
}

func (s *service) statsBehaviour() actor.Behaviour[pb.StatsMessage] {
	return pb.PersistentStatsBehaviour(func(ctx *actor.Context, kept *statistics) (pb.StatsServer, error) {
		if kept == nil {
			kept = &statistics{kinds: make(map[pb.EventKind]uint64)}
			kept.printed.at = s.started
		}
		self, err := actor.Self[pb.StatsMessage](ctx)
		if err == nil && s.opts.progress > 0 { // each incarnation has a timer of its own
			_, err = actor.SendEvery[pb.StatsMessage](ctx, s.opts.progress, self, &pb.TickRequest{})
		}
		return statsServer{kept, s}, err
	}, func(stats pb.StatsServer) (*statistics, error) { return stats.(statsServer).statistics, nil })
}

// subscribeStats has the stats actor told of everything. It stays subscribed over its restarts.
func (s *service) subscribeStats() error {
	ref, err := s.statsRef()
	if err != nil {
		return err
	}
	_, err = actor.SubscribeAs(context.Background(), s.stats, ref.Ref, func(e *pb.Event) pb.StatsMessage { return &pb.NoteRequest{Event: e} })
	return err
}

func (s *service) statsRef() (pb.StatsRef, error) {
	found, _ := s.sys.Lookup(statsID)
	ref, ok := pb.StatsRefOf(found)
	if !ok {
		return ref, fmt.Errorf("%s: %w", statsID, actor.ErrNoActor)
	}
	return ref, nil
}

// Note implements pb.StatsServer.
func (t statsServer) Note(_ *actor.Context, req *pb.NoteRequest) {
	e := req.Event
	if e.Kind == pb.EventKind_EVENT_KIND_COUNTED {
		t.documents++
		t.words += e.Words
		return
	}
	t.kinds[e.Kind]++
	if len(t.recent) == recentEvents {
		t.recent = append(t.recent[:0], t.recent[1:]...)
	}
	t.recent = append(t.recent, e)
}

// Tick implements pb.StatsServer: it prints a line if there was work since the last one, or there still is.
func (t statsServer) Tick(*actor.Context, *pb.TickRequest) {
	p := &t.printed
	now, waiting := time.Now(), t.s.pending.Load()
	took := now.Sub(p.at).Seconds()
	documents, words := t.documents-p.documents, t.words-p.words
	idle := documents == 0 && waiting == 0 && p.waiting == 0
	p.at, p.documents, p.words, p.waiting = now, t.documents, t.words, waiting
	if idle {
		return
	}
	var trouble strings.Builder
	for _, k := range []struct {
		kind pb.EventKind
		name string
	}{
		{pb.EventKind_EVENT_KIND_KILLED, "killed"},
		{pb.EventKind_EVENT_KIND_RESTARTED, "restarted"},
		{pb.EventKind_EVENT_KIND_TRIED_AGAIN, "tried again"},
		{pb.EventKind_EVENT_KIND_PASSED_OVER, "quarantined"},
		{pb.EventKind_EVENT_KIND_SWAPPED, "swapped"},
	} {
		if n := t.kinds[k.kind]; n > 0 {
			fmt.Fprintf(&trouble, ", %d %s", n, k.name)
		}
	}
	fmt.Fprintf(t.s.out, "%s: %d documents, %d words, %.0f documents/s, %.0f words/s, %d waiting%s\n",
		now.Sub(t.s.started).Round(time.Second/10), t.documents, t.words, float64(documents)/took, float64(words)/took, waiting, &trouble)
}

// Recent implements pb.StatsServer.
func (t statsServer) Recent(*actor.Context, *pb.RecentRequest) (*pb.RecentResponse, error) {
	return &pb.RecentResponse{Events: append([]*pb.Event(nil), t.recent...)}, nil
}

// inWords is an event as a line for people.
func inWords(e *pb.Event) string {
	var what string
	switch e.Kind {
	case pb.EventKind_EVENT_KIND_KILLED:
		what = e.Part + " was killed"
	case pb.EventKind_EVENT_KIND_ENDED:
		what = fmt.Sprintf("%s has ended: %s", e.Part, e.Detail)
	case pb.EventKind_EVENT_KIND_RESTARTED:
		what = e.Part + " was started again"
	case pb.EventKind_EVENT_KIND_PASSED_OVER:
		what = fmt.Sprintf("%s passed a document over: %s", e.Part, e.Detail)
	case pb.EventKind_EVENT_KIND_TRIED_AGAIN:
		what = fmt.Sprintf("document %q is counted again: %s", e.Part, e.Detail)
	case pb.EventKind_EVENT_KIND_SWAPPED:
		what = fmt.Sprintf("%s: the behaviour is %s now", e.Part, e.Detail)
	case pb.EventKind_EVENT_KIND_SWAPPED_BACK:
		what = fmt.Sprintf("%s: the new behaviour was taken back: %s", e.Part, e.Detail)
	default:
		what = fmt.Sprintf("%v %s %s", e.Kind, e.Part, e.Detail)
	}
	return time.UnixMilli(e.UnixMillis).Format("15:04:05.000 ") + what
}
