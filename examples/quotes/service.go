package main

import (
	"fmt"
	"slices"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/examples/quotes/quotesv1"
)

// quotes implements pb.QuotesServer. Its methods run one at a time, so it needs no lock; callers may be on any node.
type quotes struct {
	node     string
	cents    map[string]int64
	watchers map[string][]*rpc.Sender[*pb.WatchResponse]
}

func newQuotes(node string) *quotes {
	return &quotes{node: node, cents: map[string]int64{}, watchers: map[string][]*rpc.Sender[*pb.WatchResponse]{}}
}

// Last implements pb.QuotesServer. Its error is the caller's, on whatever node.
func (q *quotes) Last(_ *actor.Context, req *pb.LastRequest) (*pb.LastResponse, error) {
	cents, ok := q.cents[req.GetSymbol()]
	if !ok {
		return nil, fmt.Errorf("no price of %q is known", req.GetSymbol())
	}
	return &pb.LastResponse{Cents: cents, Node: q.node}, nil
}

// Tick implements pb.QuotesServer. A negative price makes it panic: its supervisor starts it anew.
func (q *quotes) Tick(ctx *actor.Context, req *pb.TickRequest) {
	if req.GetCents() < 0 {
		panic(fmt.Sprintf("a price of %d", req.GetCents()))
	}
	q.set(ctx, req.GetSymbol(), req.GetCents())
}

// Watch implements pb.QuotesServer. The stream outlives the method, so that the service goes on meanwhile.
func (q *quotes) Watch(ctx *actor.Context, req *pb.WatchRequest, out *rpc.Sender[*pb.WatchResponse]) error {
	symbol := req.GetSymbol()
	if cents, ok := q.cents[symbol]; ok {
		if err := out.TrySend(ctx, &pb.WatchResponse{Cents: cents}); err != nil {
			return err
		}
	}
	out.Keep()
	q.watchers[symbol] = append(q.watchers[symbol], out)
	return nil
}

// Load implements pb.QuotesServer.
func (q *quotes) Load(ctx *actor.Context, in *rpc.Receiver[*pb.LoadRequest]) (*pb.LoadResponse, error) {
	var n int64
	for req, err := range in.All(ctx) {
		if err != nil {
			return nil, err // the client has given up, or its node is down
		}
		q.set(ctx, req.GetSymbol(), req.GetCents())
		n++
	}
	return &pb.LoadResponse{Prices: n}, nil
}

// Convert implements pb.QuotesServer.
func (q *quotes) Convert(ctx *actor.Context, in *rpc.Receiver[*pb.ConvertRequest], out *rpc.Sender[*pb.ConvertResponse]) error {
	for req, err := range in.All(ctx) {
		if err != nil {
			return err
		}
		cents, ok := q.cents[req.GetSymbol()]
		if !ok {
			return fmt.Errorf("no price of %q is known", req.GetSymbol())
		}
		if err := out.Send(ctx, &pb.ConvertResponse{Cents: cents * req.GetAmount()}); err != nil {
			return err
		}
	}
	return nil
}

// set changes a price and tells the watchers. One who is too slow, or gone, is let go.
func (q *quotes) set(ctx *actor.Context, symbol string, cents int64) {
	q.cents[symbol] = cents
	q.watchers[symbol] = slices.DeleteFunc(q.watchers[symbol], func(w *rpc.Sender[*pb.WatchResponse]) bool {
		err := w.TrySend(ctx, &pb.WatchResponse{Cents: cents})
		if err != nil {
			_ = w.Close(ctx, err)
		}
		return err != nil
	})
}
