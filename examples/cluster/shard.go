package main

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
)

// shard implements ShardService, on any node. All that it knows it was told by its keeper, and is gone with its node.
type shard struct {
	state *pb.State // nil until it was restored
}

var errNotRestored = errors.New("the shard has not been told what it begins with")

// Restore implements pb.ShardServer.
func (s *shard) Restore(_ *actor.Context, req *pb.RestoreRequest) (*pb.RestoreResponse, error) {
	s.state = &pb.State{Words: make(map[string]uint64)}
	proto.Merge(s.state, req.GetState()) // a copy: on the keeper's own node the message would be the keeper's
	for _, d := range req.GetDocuments() {
		if err := s.count(d); err != nil {
			return nil, err
		}
	}
	return &pb.RestoreResponse{}, nil
}

// Count implements pb.ShardServer.
func (s *shard) Count(_ *actor.Context, req *pb.CountRequest) (*pb.CountResponse, error) {
	return &pb.CountResponse{}, s.count(req.GetDocument())
}

// count adds a document. Its number decides: one that is in already is passed over, and none is left out.
func (s *shard) count(d *pb.Document) error {
	switch {
	case s.state == nil:
		return errNotRestored
	case d.GetNumber() <= s.state.Through:
		return nil
	case d.GetNumber() > s.state.Through+1:
		return fmt.Errorf("document %d came after document %d", d.GetNumber(), s.state.Through)
	}
	for word := range split(d.GetText()) {
		s.state.Words[word]++
	}
	s.state.Documents++
	s.state.Through++
	return nil
}

// Save implements pb.ShardServer.
func (s *shard) Save(*actor.Context, *pb.SaveRequest) (*pb.SaveResponse, error) {
	if s.state == nil {
		return nil, errNotRestored
	}
	return &pb.SaveResponse{State: proto.CloneOf(s.state)}, nil // the state goes on changing
}

// split yields the words of a text in lower case: runs of letters and digits.
func split(text string) iter.Seq[string] {
	outside := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	return func(yield func(string) bool) {
		for word := range strings.FieldsFuncSeq(text, outside) {
			if !yield(strings.ToLower(word)) {
				return
			}
		}
	}
}
