package main

import (
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// shard is the state of one shard: the counts of the words that belong to it.
type shard struct {
	counts    map[string]uint64
	words     uint64
	documents uint64
}

func shardBehaviour() actor.Behaviour[*pb.ShardMessage] {
	return actor.Stateful(func(ctx *actor.Context, s *shard, m *pb.ShardMessage) error {
		switch command := m.Command.(type) {
		case *pb.ShardMessage_Add:
			s.add(ctx, command.Add)
		case *pb.ShardMessage_Top:
			reply, err := s.top(ctx, int(command.Top.N))
			if err != nil {
				return stopOnly(err)
			}
			return answer(ctx, reply)
		default:
			return answer(ctx, nil)
		}
		return nil
	})
}

func (s *shard) add(ctx *actor.Context, m *pb.Add) {
	if s.counts == nil {
		s.counts = make(map[string]uint64)
	}
	for i, c := range m.Counts {
		word := c.Word
		if _, known := s.counts[word]; !known {
			word = strings.Clone(word) // the word is a part of its document, which would live as long as the word
		}
		s.counts[word] += c.Count
		s.words += c.Count
		_ = giveWay(ctx, uint64(i+1)) // counts are added whole, even by a shard that is asked to stop
	}
	s.documents += m.Documents
}

func (s *shard) top(ctx *actor.Context, n int) (*pb.TopReply, error) {
	reply := &pb.TopReply{Documents: s.documents, WordsTotal: s.words, WordsDistinct: uint64(len(s.counts))}
	if n == 0 {
		return reply, nil
	}
	b := best{n: n}
	steps := uint64(0)
	for word, count := range s.counts {
		if len(b.words) < n || count >= b.words[0].Count {
			b.offer(&pb.WordCount{Word: word, Count: count})
		}
		steps++
		if err := giveWay(ctx, steps); err != nil {
			return nil, err
		}
	}
	reply.Words = b.ranked()
	return reply, nil
}

// stopOnly is nil unless the actor was asked to stop: that a caller has given up is no reason for a shard to end.
func stopOnly(err error) error {
	if errors.Is(err, actor.ErrStopped) {
		return err
	}
	return nil
}

// answer replies to the call in hand; a nil reply refuses it. That the caller has given up is no reason for the actor to
// end, which returning Reply's error would be.
func answer(ctx *actor.Context, m proto.Message) error {
	var err error
	if m == nil {
		err = ctx.Fail(errors.New("the message holds no command"))
	} else {
		err = ctx.Reply(m)
	}
	if errors.Is(err, actor.ErrCallerGone) || errors.Is(err, actor.ErrNoCall) {
		return nil
	}
	return err
}
