// Package missing must not compile: see TestDoesNotCompile.
package missing

import (
	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
)

type half struct{}

func (half) Add(*actor.Context, *pb.AddRequest) (*pb.AddResponse, error) { return nil, nil }

func (half) Note(*actor.Context, *pb.NoteRequest) {}

func (half) Sum(*actor.Context, *rpc.Receiver[*pb.SumRequest]) (*pb.SumResponse, error) {
	return nil, nil
}

func (half) Mirror(*actor.Context, *rpc.Receiver[*pb.MirrorRequest], *rpc.Sender[*pb.MirrorResponse]) error {
	return nil
}

var _ pb.CounterServer = half{}
