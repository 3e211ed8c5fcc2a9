package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// refusedError says what is wrong with a document. It is the sender's to mend.
type refusedError string

// Error is the fault.
func (e refusedError) Error() string { return string(e) }

func checkText(text string) error {
	if !utf8.ValidString(text) {
		return refusedError("the document is not valid UTF-8 text")
	}
	return nil
}

// worker implements IngestService. It has no state: whatever a document does to it, the next one is not concerned.
type worker struct{ s *service }

func (s *service) workerBehaviour() actor.Behaviour[pb.IngestMessage] {
	return pb.IngestBehaviour(func(*actor.Context) (pb.IngestServer, error) { return worker{s}, nil })
}

// Ingest implements pb.IngestServer.
func (w worker) Ingest(ctx *actor.Context, req *pb.IngestRequest) (*pb.IngestResponse, error) {
	parts, reply, err := w.split(ctx, req)
	if err != nil {
		return nil, err
	}
	if reply.Words == 0 {
		return nil, refusedError("the document has no words")
	}
	// From here on the document is counted whole. With the Responder it is not the caller who bounds what the worker waits for.
	caller, err := ctx.Responder()
	if err != nil && !errors.Is(err, actor.ErrNoCall) {
		return nil, err
	}
	for _, p := range parts {
		shard := w.s.shards[p.shard]
		err := untilAnswered(ctx, func() (actor.AnyRef, error) { _, err := shard.Add(ctx, p.add); return shard.AnyRef, err }, nil)
		if err != nil {
			_ = caller.Fail(fmt.Errorf("add to %s: %w", shardName(p.shard), err))
			return nil, nil
		}
	}
	w.s.tell(ctx, &pb.Event{Kind: pb.EventKind_EVENT_KIND_COUNTED, Words: reply.Words})
	_ = caller.Reply(reply) // a caller that is gone needs no answer
	return nil, nil
}

// part is what one shard is to add.
type part struct {
	shard int
	add   *pb.AddRequest
}

// maxPart is how many words one part has at most: a shard adds it without giving way.
const maxPart = 4096

// split counts the words of a document and divides the counts into parts, always in the same way. It panics if the first word
// is the poison word: a text that only mentions it is a text like any other.
func (w worker) split(ctx *actor.Context, req *pb.IngestRequest) ([]part, *pb.IngestResponse, error) {
	counts := make(map[string]*pb.WordCount)
	shares := make([][]*pb.WordCount, len(w.s.shards)) // for each shard, in the order in which the words occur first
	reply := &pb.IngestResponse{}
	for word := range split(req.Text) {
		if reply.Words == 0 && word == w.s.opts.poison {
			panic(fmt.Sprintf("poison word %q begins document %q", word, req.Name))
		}
		word = strings.ToLower(word)
		c := counts[word]
		if c == nil {
			c = &pb.WordCount{Word: word}
			counts[word] = c
			shard := shardOf(word, len(shares))
			shares[shard] = append(shares[shard], c)
			reply.Distinct++
		}
		c.Count++
		reply.Words++
		if err := giveWay(ctx, reply.Words); err != nil {
			return nil, nil, err
		}
	}
	var parts []part
	for shard, share := range shares {
		for i := 0; len(share) > 0; i++ {
			n := min(len(share), maxPart)
			parts = append(parts, part{shard, &pb.AddRequest{
				Document: req.Document, Settled: req.Settled, Part: uint32(i), Counts: share[:n],
			}})
			share = share[n:]
		}
	}
	if len(parts) > 0 {
		parts[len(parts)-1].add.Last = true
	}
	return parts, reply, nil
}

// stepsInARow is how many words an actor deals with before it lets others go first.
const stepsInARow = 4096

// giveWay is called at each step of a long computation. Its error means that the actor should end, or that nobody waits
// for the result any more.
func giveWay(ctx *actor.Context, step uint64) error {
	if step%stepsInARow != 0 {
		return nil
	}
	return ctx.Yield()
}
