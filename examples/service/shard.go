package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// counts are what a shard has counted. They outlive its incarnations and the swaps of its behaviour: a part is added without a
// wait in between, so whatever ends the shard, it has been added whole or not at all.
type counts struct {
	words            map[string]uint64
	total, documents uint64

	parts    map[uint64]uint32 // by document: how many of its parts are in
	prune    int               // how many documents in parts are worth looking for those that are settled
	repeated uint64            // parts that came again
}

func newCounts() *counts {
	return &counts{words: make(map[string]uint64), parts: make(map[uint64]uint32), prune: 256}
}

// add adds a part, unless it is in already, and calls changed with each word and its new count.
func (c *counts) add(req *pb.AddRequest, changed func(word string, count uint64)) error {
	switch next := c.parts[req.Document]; {
	case req.Part < next:
		c.repeated++
		return nil
	case req.Part > next:
		return fmt.Errorf("part %d of document %d came before part %d", req.Part, req.Document, next)
	}
	for _, w := range req.Counts {
		word := w.GetWord()
		if _, known := c.words[word]; !known {
			word = strings.Clone(word) // it is a part of its document, which would live as long as the word
		}
		c.words[word] += w.GetCount()
		c.total += w.GetCount()
		changed(word, c.words[word])
	}
	if req.Last {
		c.documents++
	}
	c.parts[req.Document]++
	if len(c.parts) > c.prune {
		for document := range c.parts {
			if document < req.Settled {
				delete(c.parts, document)
			}
		}
		c.prune = 2*len(c.parts) + 256
	}
	return nil
}

func (c *counts) sums() *pb.TopResponse {
	return &pb.TopResponse{Documents: c.documents, WordsTotal: c.total, WordsDistinct: uint64(len(c.words)), RepeatedParts: c.repeated}
}

// scan finds the first n words among all.
func (c *counts) scan(n int, step func() error) ([]*pb.WordCount, error) {
	b := best{n: n}
	for word, count := range c.words {
		if len(b.words) < n || count >= b.words[0].Count {
			b.offer(&pb.WordCount{Word: word, Count: count})
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.ranked(), nil
}

// top answers Top by looking at all words.
func (c *counts) top(ctx *actor.Context, n int) (*pb.TopResponse, error) {
	reply := c.sums()
	if n == 0 {
		return reply, nil
	}
	steps := uint64(0)
	words, err := c.scan(n, func() error { steps++; return giveWay(ctx, steps) })
	reply.Words = words
	return reply, err
}

// counter implements ShardService, in one of several ways.
type counter interface {
	pb.ShardServer
	kept() *counts
}

// countingWay is a way to count that the shards can be swapped to while they work.
type countingWay struct {
	name string
	make func(*counts) counter
}

// waysToCount are the behaviours of a shard. Whichever it has, the answers are the same.
var waysToCount = []countingWay{
	{"plain", func(c *counts) counter { return plain{c} }},
	{"ranked", func(c *counts) counter { return newRanked(c) }},
}

// behaviour makes a behaviour that counts in this way, and whose counts outlive a restart.
func (w countingWay) behaviour() actor.Behaviour[pb.ShardMessage] {
	return pb.PersistentShardBehaviour(func(_ *actor.Context, kept *counts) (pb.ShardServer, error) {
		if kept == nil {
			kept = newCounts()
		}
		return w.make(kept), nil
	}, func(s pb.ShardServer) (*counts, error) { return s.(counter).kept(), nil })
}

// migrate makes a shard that counts in this way of one that counts in another.
func (w countingWay) migrate() func(old any) (any, error) {
	return rpc.Migrate(func(old pb.ShardServer) (pb.ShardServer, error) {
		c, ok := old.(counter)
		if !ok {
			return nil, fmt.Errorf("a %T has no counts", old)
		}
		return w.make(c.kept()), nil
	})
}

// plain looks at all words when it is asked for the first ones.
type plain struct{ c *counts }

func (p plain) kept() *counts { return p.c }

// Add implements pb.ShardServer.
func (p plain) Add(_ *actor.Context, req *pb.AddRequest) (*pb.AddResponse, error) {
	return &pb.AddResponse{}, p.c.add(req, func(string, uint64) {})
}

// Top implements pb.ShardServer.
func (p plain) Top(ctx *actor.Context, req *pb.TopRequest) (*pb.TopResponse, error) {
	return p.c.top(ctx, int(req.N))
}

// rankedWords is how many words a ranked shard keeps in order.
const rankedWords = 100

// ranked keeps the first words in order as it adds, so that it need not look for them. Counts only grow: a word gets among the
// first ones when its own count changes, and not otherwise.
type ranked struct {
	c     *counts
	first []*pb.WordCount // ranked; answers share them, so that one that changes is replaced
}

func newRanked(c *counts) *ranked {
	first, _ := c.scan(rankedWords, func() error { return nil }) // between two messages: it cannot give way
	return &ranked{c, first}
}

func (r *ranked) kept() *counts { return r.c }

// Add implements pb.ShardServer.
func (r *ranked) Add(_ *actor.Context, req *pb.AddRequest) (*pb.AddResponse, error) {
	return &pb.AddResponse{}, r.c.add(req, r.moved)
}

// moved puts a word with its new count where it belongs.
func (r *ranked) moved(word string, count uint64) {
	if len(r.first) == rankedWords && count < r.first[rankedWords-1].Count {
		return // most words, most of the time
	}
	w := &pb.WordCount{Word: word, Count: count}
	at := slices.IndexFunc(r.first, func(v *pb.WordCount) bool { return v.Word == word })
	switch {
	case at >= 0:
	case len(r.first) < rankedWords:
		at = len(r.first)
		r.first = append(r.first, w)
	case before(w, r.first[rankedWords-1]):
		at = rankedWords - 1 // in the place of the last one
	default:
		return
	}
	for ; at > 0 && before(w, r.first[at-1]); at-- {
		r.first[at] = r.first[at-1]
	}
	r.first[at] = w
}

// Top implements pb.ShardServer.
func (r *ranked) Top(ctx *actor.Context, req *pb.TopRequest) (*pb.TopResponse, error) {
	n := int(req.N)
	if n > rankedWords {
		return r.c.top(ctx, n)
	}
	reply := r.c.sums()
	reply.Words = slices.Clone(r.first[:min(n, len(r.first))])
	return reply, nil
}
