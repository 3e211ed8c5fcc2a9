package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// SwapTo implements actor.Outbound: the node of the actor swaps it by a behaviour that is registered there. The role spawn is needed.
func (far *incarnation) SwapTo(ctx context.Context, to actor.AnyRef, name, version string) error {
	q := &greenroomv1.SwapRequest{Actor: to.ID(), Name: name, Version: version}
	reply, err := actor.Call[*greenroomv1.SwapReply](ctx, actor.Ref[*greenroomv1.SwapRequest]{AnyRef: far.service(swapService)}, q)
	if err != nil {
		return fmt.Errorf("remote: swap %v to %q %q: %w", to, name, version, err)
	}
	if veto := reply.GetVeto(); veto != nil {
		return &actor.VetoError{Ref: to, Err: far.node.errorFrom(veto, far.String())}
	}
	return nil
}

// serveSwap has a swap carried out by an actor of its own, which waits for it.
func (n *Node) serveSwap(ctx *actor.Context, q *greenroomv1.SwapRequest) error {
	worker, err := actor.Spawn(n.sys, actor.Handler(n.swap), actor.Options{Daemon: true})
	if err == nil {
		err = actor.Forward(ctx, worker, q)
	}
	if err != nil {
		worker.Kill()
		return ignoreGone(ctx.Fail(err))
	}
	_ = worker.Drain() // it may have ended
	return nil
}

// swap carries out one swap.
func (n *Node) swap(ctx *actor.Context, q *greenroomv1.SwapRequest) error {
	ref, err := n.sys.RefAt(n.sys.NodeID(), q.GetActor())
	if err == nil {
		err = n.sys.SwapTo(ctx, ref, q.GetName(), q.GetVersion())
	}
	var veto *actor.VetoError
	switch {
	case errors.As(err, &veto):
		return ignoreGone(ctx.Reply(&greenroomv1.SwapReply{Veto: failureOf(veto.Err)}))
	case err != nil:
		return ignoreGone(ctx.Fail(err))
	}
	return ignoreGone(ctx.Reply(&greenroomv1.SwapReply{}))
}
