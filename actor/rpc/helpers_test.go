package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
)

// patience bounds every wait for an event that must come.
const patience = 10 * time.Second

// eachProcs runs f at GOMAXPROCS 2 and 4, each time with a System of its own that must stop with nothing left over.
func eachProcs(t *testing.T, f func(t *testing.T, sys *actor.System)) {
	t.Helper()
	for _, procs := range []int{2, 4} {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			was := runtime.GOMAXPROCS(procs)
			t.Cleanup(func() { runtime.GOMAXPROCS(was) })
			f(t, actortest.New(t))
		})
	}
}

// patient is a context for a wait that must end by itself.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await returns what ch brings.
func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("an event did not come")
		panic("unreachable")
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// errOdd is what a counter refuses odd changes with, if told to.
var errOdd = errors.New("odd")

// counter implements CounterService. It refuses 13, and 666 panics.
type counter struct {
	total    int64
	watchers []*rpc.Sender[*pb.WatchResponse]
	sent     chan int64 // if not nil, hears of each total sent to a watcher
	ended    chan error // if not nil, hears how each stream method ended
}

// newCounter is a start function for a counter that reports to the channels.
func newCounter(sent chan int64, ended chan error) func(*actor.Context) (pb.CounterServer, error) {
	return func(*actor.Context) (pb.CounterServer, error) { return &counter{sent: sent, ended: ended}, nil }
}

func spawnCounter(t *testing.T, from actor.Spawner, ended chan error) pb.CounterRef {
	t.Helper()
	ref, err := pb.SpawnCounter(from, newCounter(nil, ended), actor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (c *counter) change(delta int64) error {
	switch delta {
	case 13:
		return errOdd
	case 666:
		panic("the beast")
	}
	c.total += delta
	return nil
}

func (c *counter) Add(ctx *actor.Context, req *pb.AddRequest) (*pb.AddResponse, error) {
	if err := c.change(req.Delta); err != nil {
		return nil, err
	}
	c.publish(ctx)
	return &pb.AddResponse{Total: c.total}, nil
}

func (c *counter) Note(ctx *actor.Context, req *pb.NoteRequest) {
	_ = c.change(req.Delta)
	c.publish(ctx)
}

// publish tells the watchers that are left.
func (c *counter) publish(ctx *actor.Context) {
	kept := c.watchers[:0]
	for _, w := range c.watchers {
		err := w.TrySend(ctx, &pb.WatchResponse{Total: c.total})
		if err == nil {
			kept = append(kept, w)
			continue
		}
		_ = w.Close(ctx, err)
		c.report(err)
	}
	c.watchers = kept
}

func (c *counter) Watch(ctx *actor.Context, req *pb.WatchRequest, out *rpc.Sender[*pb.WatchResponse]) (err error) {
	defer func() {
		if err != nil || req.More >= 0 {
			c.report(err)
		}
	}()
	if err := c.send(ctx, out, c.total); err != nil {
		return err
	}
	if req.More < 0 {
		out.Keep()
		c.watchers = append(c.watchers, out)
		return nil
	}
	for i := range req.More {
		if err := c.change(0); err != nil {
			return err
		}
		if err := c.send(ctx, out, c.total+i+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) send(ctx *actor.Context, out *rpc.Sender[*pb.WatchResponse], total int64) error {
	err := out.Send(ctx, &pb.WatchResponse{Total: total})
	if c.sent != nil && err == nil {
		c.sent <- total
	}
	return err
}

func (c *counter) Sum(ctx *actor.Context, in *rpc.Receiver[*pb.SumRequest]) (_ *pb.SumResponse, err error) {
	defer func() { c.report(err) }()
	for req, err := range in.All(ctx) {
		if err != nil {
			return nil, err
		}
		if err := c.change(req.Delta); err != nil {
			return nil, err
		}
	}
	return &pb.SumResponse{Total: c.total}, nil
}

func (c *counter) Mirror(ctx *actor.Context, in *rpc.Receiver[*pb.MirrorRequest], out *rpc.Sender[*pb.MirrorResponse]) (err error) {
	defer func() { c.report(err) }()
	for req, err := range in.All(ctx) {
		if err != nil {
			return err
		}
		if err := c.change(req.Delta); err != nil {
			return err
		}
		if err := out.Send(ctx, &pb.MirrorResponse{Total: c.total}); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) report(err error) {
	if c.ended != nil {
		c.ended <- err
	}
}

// inActor runs f in an actor of sys and returns its error.
func inActor(t *testing.T, sys *actor.System, f func(ctx *actor.Context) error) error {
	t.Helper()
	done := make(chan error, 1)
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*pb.NoteRequest]) error {
		done <- f(ctx)
		return nil
	}))
	return <-done // in a bubble time is virtual: no patience
}

// callers runs f from a goroutine and from an actor.
func callers(t *testing.T, sys *actor.System, f func(t *testing.T, ctx context.Context) error) {
	t.Helper()
	t.Run("from=goroutine", func(t *testing.T) {
		if err := f(t, patient(t)); err != nil {
			t.Error(err)
		}
	})
	t.Run("from=actor", func(t *testing.T) {
		if err := inActor(t, sys, func(ctx *actor.Context) error { return f(t, ctx) }); err != nil {
			t.Error(err)
		}
	})
}
