package rpc_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
)

// till implements CounterService, whose schema and generated code are in package counterv1.
type till struct{ total int64 }

func (c *till) Add(_ *actor.Context, req *pb.AddRequest) (*pb.AddResponse, error) {
	if c.total+req.Delta < 0 {
		return nil, errors.New("not enough in the till")
	}
	c.total += req.Delta
	return &pb.AddResponse{Total: c.total}, nil
}

func (c *till) Note(_ *actor.Context, req *pb.NoteRequest) { c.total += req.Delta }

func (c *till) Watch(ctx *actor.Context, req *pb.WatchRequest, out *rpc.Sender[*pb.WatchResponse]) error {
	for i := range req.More + 1 {
		if err := out.Send(ctx, &pb.WatchResponse{Total: c.total + i}); err != nil {
			return err
		}
	}
	return nil
}

func (c *till) Sum(ctx *actor.Context, in *rpc.Receiver[*pb.SumRequest]) (*pb.SumResponse, error) {
	for req, err := range in.All(ctx) {
		if err != nil {
			return nil, err
		}
		c.total += req.Delta
	}
	return &pb.SumResponse{Total: c.total}, nil
}

func (c *till) Mirror(*actor.Context, *rpc.Receiver[*pb.MirrorRequest], *rpc.Sender[*pb.MirrorResponse]) error {
	return errors.New("there is no mirror here")
}

// A service is spawned with a function that makes its implementation, and called by the methods of its ref.
func Example() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		panic(err)
	}
	ref, err := pb.SpawnCounter(sys, func(*actor.Context) (pb.CounterServer, error) { return &till{}, nil })
	if err != nil {
		panic(err)
	}

	err = ref.Note(ctx, &pb.NoteRequest{Delta: 40}) // one way
	fmt.Println("note:", err)
	resp, err := ref.Add(ctx, &pb.AddRequest{Delta: 2})
	fmt.Println("add:", resp.GetTotal(), err)
	_, err = ref.Add(ctx, &pb.AddRequest{Delta: -100})
	fmt.Println("add:", err)

	for m, err := range ref.Watch(ctx, &pb.WatchRequest{More: 1000}) {
		if err != nil {
			fmt.Println("watch:", err)
			break
		}
		fmt.Println("watch:", m.Total)
		if m.Total == 44 {
			break // ends the stream
		}
	}

	up, err := ref.Sum(ctx)
	if err != nil {
		panic(err)
	}
	for range 10 {
		if err := up.Send(ctx, &pb.SumRequest{Delta: 1}); err != nil {
			break // CloseAndReceive says why
		}
	}
	sum, err := up.CloseAndReceive(ctx)
	fmt.Println("sum:", sum.GetTotal(), err)
	fmt.Println("stop:", sys.Stop(ctx))
	// Output:
	// note: <nil>
	// add: 42 <nil>
	// add: not enough in the till
	// watch: 42
	// watch: 43
	// watch: 44
	// sum: 52 <nil>
	// stop: <nil>
}
