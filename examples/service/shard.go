package main

import (
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/proto/greenroom/examples/service/v1"
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
			s.add(command.Add)
		case *pb.ShardMessage_Top:
			return answer(ctx, s.top(int(command.Top.N)))
		default:
			return answer(ctx, nil)
		}
		return nil
	})
}

func (s *shard) add(m *pb.Add) {
	if s.counts == nil {
		s.counts = make(map[string]uint64)
	}
	for _, c := range m.Counts {
		word := c.Word
		if _, known := s.counts[word]; !known {
			word = strings.Clone(word) // the word is a part of its document, which would live as long as the word
		}
		s.counts[word] += c.Count
		s.words += c.Count
	}
	s.documents += m.Documents
}

func (s *shard) top(n int) *pb.TopReply {
	b := best{n: n}
	for word, count := range s.counts {
		if n == 0 {
			break
		}
		if len(b.words) < n || count >= b.words[0].Count {
			b.offer(&pb.WordCount{Word: word, Count: count})
		}
	}
	return &pb.TopReply{
		Words:         b.ranked(),
		Documents:     s.documents,
		WordsTotal:    s.words,
		WordsDistinct: uint64(len(s.counts)),
	}
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
