// Package wrong must not compile: see TestDoesNotCompile.
package wrong

import (
	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
)

type counter struct{ pb.CounterServer }

func (counter) Note(*actor.Context, *pb.NoteRequest) error { return nil }

var (
	_ pb.CounterServer = counter{}
	_ *rpc.Service
)
