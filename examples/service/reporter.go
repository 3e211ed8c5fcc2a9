package main

import (
	"fmt"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// reporter is the state of the actor that prints progress.
type reporter struct {
	at        time.Time
	documents uint64
	words     uint64
	waiting   int64
}

func (s *service) spawnReporter() error {
	if s.opts.progress == 0 {
		return nil
	}
	ref, err := actor.Spawn(s.sys, actor.Stateful(func(ctx *actor.Context, r *reporter, _ *pb.Tick) error {
		if err := s.report(ctx, r); err != nil {
			return err
		}
		return s.nextTick(ctx)
	}), actor.Options{Name: "reporter", OnStart: s.nextTick})
	s.reporter = ref.Any()
	return err
}

// nextTick asks for one more line. A reporter that is held up thus skips lines and is not sent those it missed.
func (s *service) nextTick(ctx *actor.Context) error {
	self, _ := actor.TypedRef[*pb.Tick](ctx.Self())
	_, err := actor.SendAfter(ctx, s.opts.progress, self, &pb.Tick{})
	return err
}

// report prints a line if there was work since the last one, or there still is.
func (s *service) report(ctx *actor.Context, r *reporter) error {
	sums, err := s.top(ctx, 0)
	if err != nil {
		return err
	}
	now, waiting := time.Now(), s.pending.Load()
	if r.at.IsZero() {
		r.at = s.started
	}
	if sums.Documents == r.documents && sums.WordsTotal == r.words && waiting == 0 && r.waiting == 0 {
		r.at = now
		return nil
	}
	took := now.Sub(r.at).Seconds()
	fmt.Fprintf(s.out, "%s: %d documents, %d words, %.0f documents/s, %.0f words/s, %d waiting\n",
		now.Sub(s.started).Round(time.Second/10), sums.Documents, sums.WordsTotal,
		float64(sums.Documents-r.documents)/took, float64(sums.WordsTotal-r.words)/took, waiting)
	*r = reporter{at: now, documents: sums.Documents, words: sums.WordsTotal, waiting: waiting}
	return nil
}
