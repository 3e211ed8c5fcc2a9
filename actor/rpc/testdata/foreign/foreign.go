// Package foreign must not compile: see TestDoesNotCompile.
package foreign

import (
	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
)

func send(ctx *actor.Context, ref pb.CounterRef) error { return ref.Send(ctx, &pb.EnterRequest{}) }

var _ *rpc.Service
