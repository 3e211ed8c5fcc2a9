package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// refusedError says what is wrong with a document. It is the sender's to mend.
type refusedError string

// Error is the fault.
func (e refusedError) Error() string { return string(e) }

// desk is the state of one desk. Documents queue at the desk; its worker never has more than one, so that a document that
// takes its worker down takes no other one with it.
type desk struct {
	worker actor.Ref[*pb.IngestMessage]
}

func (s *service) deskBehaviour() actor.Behaviour[*pb.IngestMessage] {
	open := func(ctx *actor.Context) (*desk, error) {
		worker, err := actor.Spawn(ctx, s.workerBehaviour())
		return &desk{worker}, err
	}
	return actor.StatefulFrom(open, func(ctx *actor.Context, d *desk, m *pb.IngestMessage) error {
		// With the Responder the caller no longer bounds what this desk waits for: were the wait given up with the
		// caller, the next document would queue up behind one that may still kill the worker.
		// The zero Responder, for a document that was sent and not called, answers nobody.
		caller, _ := ctx.Responder()
		reply, err := actor.Call[*pb.IngestReply](ctx, d.worker, m)
		if err == nil {
			_ = caller.Reply(reply) // a caller that is gone needs no answer
			return nil
		}
		var replaced error
		if errors.Is(err, actor.ErrStopped) && !ctx.Stopping() {
			replaced = s.replaceWorker(ctx, d)
		}
		_ = caller.Fail(err)
		return replaced
	})
}

// replaceWorker puts a fresh worker at a desk whose worker has ended.
func (s *service) replaceWorker(ctx *actor.Context, d *desk) error {
	worker, err := actor.Spawn(ctx, s.workerBehaviour())
	if err != nil {
		return fmt.Errorf("replace the worker of %s: %w", ctx.Name(), err)
	}
	d.worker = worker
	s.replaced.Add(1)
	ctx.Log().Info("worker replaced", "worker", worker.String())
	return nil
}

func (s *service) workerBehaviour() actor.Behaviour[*pb.IngestMessage] {
	return actor.Handler(func(ctx *actor.Context, m *pb.IngestMessage) error {
		doc, err := s.document(ctx, m)
		if err != nil {
			return refuse(ctx, err)
		}
		reply, adds, err := s.count(ctx, doc)
		if err != nil {
			return err
		}
		if reply.Words == 0 {
			return refuse(ctx, refusedError("the document has no words"))
		}
		if err := s.spread(ctx, adds); err != nil {
			return err
		}
		return answer(ctx, reply)
	})
}

func refuse(ctx *actor.Context, err error) error {
	if failed := ctx.Fail(err); !errors.Is(failed, actor.ErrCallerGone) {
		return failed
	}
	return nil
}

// document returns the text to count, reading it if it is in a file.
func (s *service) document(ctx *actor.Context, m *pb.IngestMessage) (*pb.Document, error) {
	switch source := m.Source.(type) {
	case *pb.IngestMessage_Document:
		return source.Document, checkText(source.Document.Text)
	case *pb.IngestMessage_File:
		path := source.File.Path
		var text string
		var err error
		if blocked := ctx.Block(func() { text, err = readFile(path, s.opts.maxBytes) }); blocked != nil {
			return nil, blocked
		}
		if err == nil {
			err = checkText(text)
		}
		return &pb.Document{Name: path, Text: text}, err
	}
	return nil, refusedError("the message holds no document")
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", refusedError(err.Error())
	}
	defer func() { _ = f.Close() }() // only read from
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return "", refusedError(err.Error())
	case n > limit:
		return "", refusedError(fmt.Sprintf("the file is larger than %d bytes: raise -max-bytes", limit))
	}
	return text.String(), nil
}

func checkText(text string) error {
	if !utf8.ValidString(text) {
		return refusedError("the document is not valid UTF-8 text")
	}
	return nil
}

// count counts the words of a document and sorts them by shard. It panics if the first one is the poison word: a text that
// only mentions it is a text like any other.
func (s *service) count(ctx *actor.Context, doc *pb.Document) (*pb.IngestReply, []*pb.Add, error) {
	counts := make(map[string]*pb.WordCount)
	reply := &pb.IngestReply{}
	for word := range split(doc.Text) {
		if reply.Words == 0 && word == s.opts.poison {
			panic(fmt.Sprintf("poison word %q begins document %q", word, doc.Name))
		}
		word = strings.ToLower(word)
		c := counts[word]
		if c == nil {
			c = &pb.WordCount{Word: word}
			counts[word] = c
		}
		c.Count++
		reply.Words++
		if err := giveWay(ctx, reply.Words); err != nil {
			return nil, nil, err
		}
	}
	adds := make([]*pb.Add, len(s.shards))
	for word, c := range counts {
		i := shardOf(word, len(adds))
		if adds[i] == nil {
			adds[i] = &pb.Add{}
		}
		adds[i].Counts = append(adds[i].Counts, c)
		reply.Distinct++
		if err := giveWay(ctx, reply.Distinct); err != nil {
			return nil, nil, err
		}
	}
	return reply, adds, nil
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

// spread sends each shard its counts. The last one is credited with the document, which is thus counted only once all of
// its words are. There is at least one word.
func (s *service) spread(ctx *actor.Context, adds []*pb.Add) error {
	last := 0
	for i, add := range adds {
		if add != nil {
			last = i
		}
	}
	adds[last].Documents = 1
	for i, add := range adds {
		if add == nil {
			continue
		}
		if err := s.shards[i].Send(ctx, &pb.ShardMessage{Command: &pb.ShardMessage_Add{Add: add}}); err != nil {
			return fmt.Errorf("send counts to shard %d: %w", i, err)
		}
	}
	return nil
}
