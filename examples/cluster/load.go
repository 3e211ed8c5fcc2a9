package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
)

// producersPerShard is how many give documents to one shard: so many are under way to it.
const producersPerShard = 2

// stems, each with a number behind it, are what documents are made of.
var stems = strings.Fields(`actor behaviour call deadline envelope flow guardian handler inbox join kill ledger mailbox name order
	park queue restart spawn timer unit veto wait exit yield zero`)

const numbersPerStem = 40

// tally is what was acknowledged to somebody.
type tally struct {
	documents []uint64 // by shard
	words     map[string]uint64
}

func newTally(shards int) *tally { return &tally{make([]uint64, shards), make(map[string]uint64)} }

// add adds another one.
func (t *tally) add(other *tally) {
	for i, n := range other.documents {
		t.documents[i] += n
	}
	for word, n := range other.words {
		t.words[word] += n
	}
}

// produce gives documents to a shard's keeper until taking ends, and returns what it was told to be counted. What a document holds
// it knows from making it, so the proof holds for the splitting, too.
func (c *cluster) produce(taking, work context.Context, i, shard int, to pb.KeeperRef) (*tally, error) {
	mine := newTally(c.opts.shards)
	random := rand.New(rand.NewPCG(c.opts.seed, uint64(i)))
	pace := newPace(c.opts.rate, c.opts.shards*producersPerShard)
	note := &c.board.shards[shard]
	for pace.wait(taking) == nil {
		text, words := someText(random)
		note.waiting.Add(1)
		_, err := to.Take(work, &pb.TakeRequest{Text: text})
		note.waiting.Add(-1)
		if err != nil {
			return mine, fmt.Errorf("a document for %s was not acknowledged: %w", shardName(shard), err)
		}
		mine.documents[shard]++
		for _, word := range words {
			mine.words[word]++
		}
	}
	return mine, nil
}

// someText has 20 to 120 words in a few sentences, some words much more often than others.
func someText(random *rand.Rand) (text string, words []string) {
	var b strings.Builder
	for range 20 + random.IntN(101) {
		stem := stems[min(random.IntN(len(stems)), random.IntN(len(stems)))]
		word := stem + strconv.Itoa(random.IntN(numbersPerStem))
		words = append(words, word)
		if random.IntN(8) == 0 {
			b.WriteString(".\n" + strings.ToUpper(word[:1]) + word[1:])
			continue
		}
		b.WriteString(" " + word)
	}
	return b.String(), words
}

// pace is one of several who do something so many times a second together.
type pace struct {
	interval time.Duration // 0: without a pause
	next     time.Time
}

func newPace(rate, together int) *pace {
	p := &pace{next: time.Now()}
	if rate > 0 {
		p.interval = time.Second * time.Duration(together) / time.Duration(rate)
	}
	return p
}

// wait waits for the next turn, under ctx.
func (p *pace) wait(ctx context.Context) error {
	if p.interval == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	p.next = p.next.Add(p.interval)
	return pause(ctx, time.Until(p.next))
}

// pause waits that long, under ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
