package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
	"github.com/greenroom-go/greenroom/supervisor"
)

// stuckAfter is how long a behaviour may hold its slot. Workers give way every few milliseconds, but on a busy machine the
// goroutines of net/http may keep them from running for longer than that.
const stuckAfter = 250 * time.Millisecond

// service is the word count: what runs behind the HTTP handlers and the folder, and how they reach it.
//
// The tree (tree.go) keeps its parts running. A document goes from ingest, on a goroutine of whoever brings it, to a worker,
// and from there to the shards. Any part may end in the middle of that and be restarted: ingest then asks again, and the shards
// know what they have counted already.
type service struct {
	opts   options
	out    io.Writer
	log    *slog.Logger
	sys    *actor.System
	tree   supervisor.Supervisor
	shards []pb.ShardRef               // a restart keeps them; the service ends with their supervisor
	stats  *actor.Channel[*pb.Event]   // what happens, for whoever subscribes
	work   context.Context             // what documents are ingested under
	giveUp context.CancelCauseFunc     // of work
	taking context.Context             // done when no more documents are taken
	end    context.CancelFunc          // of taking
	next   atomic.Uint64               // whose turn it is among the workers
	docs   documents                   // those that are being counted
	mode   atomic.Pointer[countingWay] // how the shards count now

	started time.Time
	fail    context.CancelCauseFunc
	failed  context.Context // done when the service cannot go on; its cause says why

	counted, words, refused, quarantined           atomic.Uint64 // documents by what became of them, and the words of the first
	unread, abandoned                              atomic.Uint64 // those that did not arrive, and those that may have been counted unacknowledged
	again, killed, restarted, swapped, swappedBack atomic.Uint64
	pending                                        atomic.Int64 // documents that somebody waits for
	load                                           load
}

// newService starts the service. front, if not nil, is where it takes documents by HTTP.
func newService(o options, out, logs io.Writer, front net.Listener) (*service, error) {
	log := slog.New(slog.NewTextHandler(logs, nil))
	sys, err := actor.NewSystem(actor.SystemOptions{DeadLetters: o.deadLetters, StuckAfter: stuckAfter, Logger: log})
	if err != nil {
		return nil, err
	}
	s := &service{opts: o, out: out, log: log, sys: sys, started: time.Now()}
	s.failed, s.fail = context.WithCancelCause(context.Background())
	s.work, s.giveUp = context.WithCancelCause(context.Background())
	s.taking, s.end = context.WithCancel(context.Background())
	s.mode.Store(&waysToCount[0])
	if err := s.start(front); err != nil {
		return nil, errors.Join(err, sys.Close())
	}
	return s, nil
}

func (s *service) start(front net.Listener) (err error) {
	if s.stats, err = actor.NewChannel(s.sys, actor.ChannelOptions[*pb.Event]{Name: "stats"}); err != nil {
		return err
	}
	if s.tree, err = supervisor.Start(context.Background(), s.sys, s.spec()); err != nil {
		return err
	}
	go s.watchTree()
	for i := range s.opts.shards {
		shard, ok := s.sys.Lookup(shardName(i))
		ref, typed := pb.ShardRefOf(shard)
		if !ok || !typed {
			return fmt.Errorf("%s has ended already", shardName(i))
		}
		s.shards = append(s.shards, ref)
	}
	if err := s.subscribeStats(); err != nil {
		return err
	}
	for _, child := range s.visitors(front) {
		if _, err := s.tree.Add(context.Background(), child); err != nil {
			return err
		}
	}
	return nil
}

// watchTree has the service fail when its supervisor has ended before the service did.
func (s *service) watchTree() {
	_, err := s.tree.Ref().Wait(context.Background())
	if s.taking.Err() == nil {
		s.fail(fmt.Errorf("the supervisor of all parts has ended: %w", err))
	}
}

// tell sends an event to the stats channel. A failure is nobody's loss but the statistics'.
func (s *service) tell(ctx context.Context, e *pb.Event) {
	e.UnixMillis = time.Now().UnixMilli()
	if err := s.stats.Send(ctx, e); err != nil {
		s.log.Warn("event not told", "event", e.Kind.String(), "why", err.Error())
	}
}

// ingest has a document counted and waits for that, until the service gives up at its end. It does not heed whoever brought
// the document: one that has been begun is counted whole. When it returns without an error the shards have the counts.
func (s *service) ingest(name, text string) (*pb.IngestResponse, error) {
	s.pending.Add(1)
	defer s.pending.Add(-1)
	request := &pb.IngestRequest{Name: name, Text: text}
	request.Document, request.Settled = s.docs.open()
	defer s.docs.close(request.Document)

	var reply *pb.IngestResponse
	err := checkText(text)
	if err == nil {
		err = untilAnswered(s.work, func() (of actor.AnyRef, err error) {
			worker := s.worker()
			reply, err = worker.Ingest(s.work, request)
			return worker.AnyRef, err
		}, func(why error) {
			s.again.Add(1)
			s.tell(s.work, &pb.Event{Kind: pb.EventKind_EVENT_KIND_TRIED_AGAIN, Part: name, Detail: why.Error()})
		})
	}
	var refused refusedError
	var panicked *actor.PanicError
	switch {
	case err == nil:
		s.counted.Add(1)
		s.words.Add(reply.Words)
	case errors.As(err, &refused):
		s.refused.Add(1)
	case errors.As(err, &panicked):
		s.quarantined.Add(1)
	default:
		s.abandoned.Add(1)
	}
	return reply, err
}

// worker returns the ref of the worker whose turn it is; the zero ref, which is to be tried again, while its supervisor is being
// restarted: then workers have new refs, and the same names.
func (s *service) worker() pb.IngestRef {
	found, _ := s.sys.Lookup(workerName(int(s.next.Add(1) % uint64(s.opts.workers))))
	ref, _ := pb.IngestRefOf(found)
	return ref
}

// top asks every shard for its first n words and merges the answers. With n = 0 the answer holds the sums alone.
func (s *service) top(ctx context.Context, n int) (*pb.TopResponse, error) {
	all := &pb.TopResponse{}
	b := best{n: n}
	for i, shard := range s.shards {
		var reply *pb.TopResponse
		err := untilAnswered(ctx, func() (of actor.AnyRef, err error) {
			reply, err = shard.Top(ctx, &pb.TopRequest{N: uint32(n)})
			return shard.AnyRef, err
		}, nil)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", shardName(i), err)
		}
		all.Documents += reply.Documents
		all.WordsTotal += reply.WordsTotal
		all.WordsDistinct += reply.WordsDistinct
		all.RepeatedParts += reply.RepeatedParts
		for _, w := range reply.Words {
			b.offer(w)
		}
	}
	all.Words = b.ranked()
	return all, nil
}

// untilAnswered calls ask, which returns whom it asked, until it brings an answer, be it an error: anything but that the actor ended
// before it answered, as its supervisor starts it again. Where it may have begun to answer, again is told before the next try, unless
// that is nil.
func untilAnswered(ctx context.Context, ask func() (of actor.AnyRef, err error), again func(why error)) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		of, err := ask()
		begun, interrupted := outcome(of, err)
		if !interrupted {
			return err
		}
		if ended := pause(ctx, wait); ended != nil {
			return errors.Join(ended, err)
		}
		if begun && again != nil {
			again(err)
		}
	}
}

// outcome tells what the error of a call means: whether the callee may have begun with it, and whether it ended before it could
// answer. One that the call itself made panic has answered; one that ended of somebody else's call, while this one waited, has not.
func outcome(of actor.AnyRef, err error) (begun, interrupted bool) {
	var exit *actor.ExitError
	var panicked *actor.PanicError
	switch {
	case errors.Is(err, actor.ErrNoActor), errors.As(err, &exit) && exit.Ref == of && exit.Unhandled:
		return false, true
	case errors.As(err, &panicked):
		return true, false
	}
	return true, errors.Is(err, actor.ErrStopped)
}

// pause waits for d, without a slot if ctx is an actor's.
func pause(ctx context.Context, d time.Duration) error {
	if a, ok := actor.FromContext(ctx); ok {
		return a.Sleep(d)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the service in good order: first what makes trouble and what brings documents, then the sums are taken while the
// shards live, then all actors end. Whatever fails, it prints what it has.
func (s *service) stop(grace context.Context) error {
	s.end()
	intake, cancel := share(grace, 0.7) // front gives up what it has after half of the grace, so this is enough
	defer cancel()
	for _, id := range []string{chaosID, swapID, frontID, loadID, folderID} {
		err := s.tree.Terminate(intake, id)
		if err != nil && !errors.Is(err, supervisor.ErrNoChild) {
			s.log.Warn("a part did not end in time", "part", id, "why", err.Error())
			break // the supervisor waits for it
		}
	}
	s.giveUp(errEnding)
	half, cancel := share(grace, 0.5)
	defer cancel()
	late := s.sys.Quiesce(half) != nil // workers are still busy with what nobody waits for any more
	sums, lost := s.top(grace, 0)
	err := s.sys.Stop(grace)
	return errors.Join(s.report(sums, lost, late), err)
}

// report prints what the service has done, and returns what is wrong with it.
func (s *service) report(sums *pb.TopResponse, lost error, late bool) error {
	ledger := s.sys.Ledger()
	if s.opts.load > 0 {
		fmt.Fprintf(s.out, "load: %d clients had %d documents acknowledged, and %d answered with an error\n",
			s.opts.load, s.load.acknowledged.Load(), s.load.failed.Load())
	}
	if n := s.killed.Load(); n > 0 {
		fmt.Fprintf(s.out, "chaos: %d actors killed, %d restarts; %d times a document was tried again\n", n, s.restarted.Load(), s.again.Load())
	}
	if n, back := s.swapped.Load(), s.swappedBack.Load(); n+back > 0 {
		fmt.Fprintf(s.out, "swap: the shards' behaviour was replaced %d times under way, and %d times that was taken back\n", n, back)
	}
	var wrong error
	if lost == nil {
		fmt.Fprintf(s.out, "total: %d documents, %d words, %d different; refused %d, quarantined %d, given up %d\n",
			sums.Documents, sums.WordsTotal, sums.WordsDistinct, s.refused.Load(), s.quarantined.Load(), s.givenUp())
		wrong = s.check(sums, late)
	} else {
		wrong = fmt.Errorf("the counts could not be summed up: %w", lost)
	}
	fmt.Fprintf(s.out, "ledger: %v\n", ledger)
	if wrong == nil && (!ledger.Exact || !ledger.Balanced()) {
		wrong = errors.New("the ledger does not add up: this is a fault of the program")
	}
	return wrong
}

// givenUp counts the documents that did not arrive, or were not acknowledged.
func (s *service) givenUp() uint64 { return s.unread.Load() + s.abandoned.Load() }

// check compares the sums with what was acknowledged.
func (s *service) check(sums *pb.TopResponse, late bool) error {
	documents, words := s.counted.Load(), s.words.Load()
	switch exact := s.abandoned.Load() == 0; {
	case late:
		return errors.New("documents that were not acknowledged yet took too long, and may be in the totals in part")
	case sums.Documents == documents && sums.WordsTotal == words:
		fmt.Fprintf(s.out, "check: the totals are those of the %d documents that were acknowledged; %d parts that came again were not counted twice\n",
			documents, sums.RepeatedParts)
	case !exact && sums.Documents > documents && sums.WordsTotal > words:
		fmt.Fprintf(s.out, "check: the totals hold the %d documents that were acknowledged, and some that were counted without that\n", documents)
	default:
		return fmt.Errorf("%d documents with %d words were acknowledged, and the totals are others: this is a fault of the program", documents, words)
	}
	return nil
}
