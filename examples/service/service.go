package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
	"github.com/greenroom-go/greenroom/mailbox"
)

// shardQueue bounds the mailbox of a shard, in documents' worth of counts.
const shardQueue = 64

// stuckAfter is how long a behaviour may hold its slot. Workers give way every few milliseconds, but on a busy machine the
// goroutines of net/http may keep them from running for longer than that.
const stuckAfter = 250 * time.Millisecond

// service is the word count: what runs behind the HTTP handlers and the folder.
//
// Documents queue at desks, in bounded mailboxes whose senders wait for room. Each desk has a worker, which splits one
// document at a time and sends each shard the counts of the words that belong to it. The watch ends the service when a
// desk or a shard fails; a worker may fail, and its desk replaces it.
type service struct {
	opts     options
	out      io.Writer
	sys      *actor.System
	desks    []actor.Ref[*pb.IngestMessage]
	shards   []actor.Ref[*pb.ShardMessage]
	reporter actor.AnyRef // zero if no progress is wanted

	next    atomic.Uint64
	started time.Time
	fail    context.CancelCauseFunc
	failed  context.Context // done when the service cannot go on; its cause says why
	closing atomic.Bool
	final   *pb.TopReply // the sums at the end
	late    bool         // desks had to be stopped before they were done
	lost    error        // why there are no sums

	counted, refused, quarantined, abandoned, replaced atomic.Uint64
	pending                                            atomic.Int64 // documents that somebody waits for
}

func newService(o options, out, logs io.Writer) (*service, error) {
	sys, err := actor.NewSystem(actor.SystemOptions{
		DeadLetters: o.deadLetters,
		StuckAfter:  stuckAfter,
		Logger:      slog.New(slog.NewTextHandler(logs, nil)),
	})
	if err != nil {
		return nil, err
	}
	s := &service{opts: o, out: out, sys: sys, started: time.Now()}
	s.failed, s.fail = context.WithCancelCause(context.Background())
	if err := s.spawn(); err != nil {
		return nil, errors.Join(err, sys.Close())
	}
	return s, nil
}

func (s *service) spawn() error {
	for i := range s.opts.shards {
		shard, err := actor.Spawn(s.sys, shardBehaviour(), actor.Options{
			Name:    fmt.Sprintf("shard-%d", i),
			Mailbox: actor.Mailbox{Capacity: shardQueue, Overflow: mailbox.Suspend},
		})
		if err != nil {
			return err
		}
		s.shards = append(s.shards, shard)
	}
	for i := range s.opts.desks {
		desk, err := actor.Spawn(s.sys, s.deskBehaviour(), actor.Options{
			Name:    fmt.Sprintf("desk-%d", i),
			Mailbox: actor.Mailbox{Capacity: s.opts.queue, Overflow: mailbox.Suspend},
		})
		if err != nil {
			return err
		}
		s.desks = append(s.desks, desk)
	}
	_, err := actor.Spawn(s.sys, s.watchBehaviour(), actor.Options{Name: "watch", OnStart: s.watchParts})
	if err != nil {
		return err
	}
	if _, err := s.sys.AtExit(10, s.drain); err != nil {
		return err
	}
	if _, err := s.sys.AtExit(0, s.sum); err != nil {
		return err
	}
	return s.spawnReporter()
}

func (s *service) watchBehaviour() actor.Behaviour[*pb.PartEnded] {
	return actor.Handler(func(ctx *actor.Context, m *pb.PartEnded) error {
		if m.Failure != "" {
			s.fail(fmt.Errorf("%s failed and the counts cannot be trusted any more: %s", m.Part, m.Failure))
		}
		return nil
	})
}

func (s *service) watchParts(ctx *actor.Context) error {
	parts := make(map[string]actor.AnyRef)
	for i, r := range s.shards {
		parts[fmt.Sprintf("shard %d", i)] = r.Any()
	}
	for i, r := range s.desks {
		parts[fmt.Sprintf("desk %d", i)] = r.Any()
	}
	for name, r := range parts {
		_, err := actor.Monitor(ctx, r, func(d actor.Down) *pb.PartEnded {
			m := &pb.PartEnded{Part: name}
			if !d.Reason.Normal() {
				m.Failure = d.Reason.String()
			}
			return m
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ingest has a document counted and waits for it under ctx, first for room at a desk, then for its turn. When it returns
// without an error the shards have the counts: whoever asks later gets an answer with them.
func (s *service) ingest(ctx context.Context, m *pb.IngestMessage) (*pb.IngestReply, error) {
	s.pending.Add(1)
	defer s.pending.Add(-1)
	desk := s.desks[s.next.Add(1)%uint64(len(s.desks))]
	reply, err := actor.Call[*pb.IngestReply](ctx, desk, m)
	var refused refusedError
	var panicked *actor.PanicError
	switch {
	case err == nil:
		s.counted.Add(1)
	case errors.As(err, &refused):
		s.refused.Add(1)
	case errors.As(err, &panicked):
		s.quarantined.Add(1)
	default:
		s.abandoned.Add(1)
	}
	return reply, err
}

// top asks every shard for its first n words and merges the answers. With n = 0 the answer holds the sums alone. ctx is an
// actor's own or any other.
func (s *service) top(ctx context.Context, n int) (*pb.TopReply, error) {
	all := &pb.TopReply{}
	b := best{n: n}
	request := &pb.ShardMessage{Command: &pb.ShardMessage_Top{Top: &pb.TopRequest{N: uint32(n)}}}
	for i, shard := range s.shards {
		reply, err := actor.Call[*pb.TopReply](ctx, shard, request)
		if err != nil {
			return nil, fmt.Errorf("ask shard %d: %w", i, err)
		}
		all.Documents += reply.Documents
		all.WordsTotal += reply.WordsTotal
		all.WordsDistinct += reply.WordsDistinct
		for _, w := range reply.Words {
			b.offer(w)
		}
	}
	all.Words = b.ranked()
	return all, nil
}

// stop ends the service in good order: what the desks have is counted, then the sums are taken, then all actors end. The
// caller has seen to it that no document comes any more. Whatever fails, it prints what it has.
func (s *service) stop(ctx context.Context) error {
	err := s.sys.Stop(ctx)
	ledger := s.sys.Ledger()
	if s.final != nil {
		fmt.Fprintf(s.out, "total: %d documents, %d words, %d different; refused %d, quarantined %d, given up %d\n",
			s.final.Documents, s.final.WordsTotal, s.final.WordsDistinct,
			s.refused.Load(), s.quarantined.Load(), s.abandoned.Load())
	}
	fmt.Fprintf(s.out, "ledger: %v\n", ledger)
	switch {
	case s.final == nil:
		err = errors.Join(fmt.Errorf("the counts could not be summed up: %w", s.lost), err)
	case s.late:
		err = errors.Join(errors.New("documents that were not acknowledged yet took too long and are not in the totals"), err)
	case err == nil && (!ledger.Exact || !ledger.Balanced()):
		err = errors.New("the ledger does not add up: this is a fault of the program")
	}
	return err
}

// drain is an exit hook: it lets the desks finish what they have, and stops those that do not in half of the time, so that
// there is time left for the sums.
func (s *service) drain(ctx context.Context) {
	half, cancel := share(ctx, 0.5)
	defer cancel()
	s.reporter.Stop()
	_, _ = s.reporter.Wait(half)
	for _, desk := range s.desks {
		_ = desk.Drain() // a desk that has ended has nothing left
	}
	if s.awaitDesks(half) {
		return
	}
	s.late = true
	for _, desk := range s.desks {
		desk.Shutdown()
	}
	rest, cancel := share(ctx, 0.2)
	defer cancel()
	s.awaitDesks(rest)
}

// awaitDesks waits until all desks have ended, and reports whether they have. How they ended is for the watch.
func (s *service) awaitDesks(ctx context.Context) bool {
	for _, desk := range s.desks {
		_, _ = desk.Wait(ctx)
	}
	return !slices.ContainsFunc(s.desks, func(desk actor.Ref[*pb.IngestMessage]) bool { return desk.Alive() })
}

// sum is an exit hook, after drain: it takes the sums while the shards still live.
func (s *service) sum(ctx context.Context) {
	s.lost = errors.New("there was no time left")
	if sums, err := s.top(ctx, 0); err == nil {
		s.final = sums
	} else if !errors.Is(err, context.DeadlineExceeded) {
		s.lost = err
	}
}
