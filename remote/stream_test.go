package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/rpc"
)

type streamItem = wrapperspb.Int64Value

// streamer is a service by hand: a number asks for so many items, a text opens a stream of numbers to sum up, a double one of numbers that
// come back. What its methods end with goes to ended.
type streamer struct{ ended chan error }

func (s streamer) handle(ctx *actor.Context, _ struct{}, m proto.Message) error {
	switch m := m.(type) {
	case *streamItem:
		return rpc.ServeStream(ctx, func(out *rpc.Sender[*streamItem]) (err error) {
			defer func() { s.ended <- err }()
			for i := range m.GetValue() {
				if err := out.Send(ctx, wrapperspb.Int64(i)); err != nil {
					return err
				}
				if i == 42 {
					return fmt.Errorf("no more than %d: %w", i, actor.ErrStopped)
				}
			}
			return nil
		})
	case *wrapperspb.StringValue:
		return rpc.ServeClientStream(ctx, wrapperspb.Int64(0), func(in *rpc.Receiver[*streamItem]) (_ *streamItem, err error) {
			defer func() { s.ended <- err }()
			sum := int64(0)
			for m, err := range in.All(ctx) {
				if err != nil {
					return nil, err
				}
				sum += m.GetValue()
			}
			return wrapperspb.Int64(sum), nil
		})
	case *wrapperspb.DoubleValue:
		return rpc.ServeBidiStream(ctx, wrapperspb.Int64(0), func(in *rpc.Receiver[*streamItem], out *rpc.Sender[*streamItem]) (err error) {
			defer func() { s.ended <- err }()
			for m, err := range in.All(ctx) {
				if err != nil {
					return err
				}
				if err := out.Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		})
	case *wrapperspb.BoolValue:
		return ctx.Reply(wrapperspb.Int64(int64(len(ctx.Children()))))
	}
	return rpc.Unexpected(ctx, m)
}

// streamed has a service on beta and calls f with its ref on alpha, inside a bubble.
func streamed(t *testing.T, f func(t *testing.T, c *simCluster, service actor.Ref[proto.Message], s streamer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, "alpha", "beta")
		s := streamer{ended: make(chan error, 100)}
		there := actor.MustSpawn(c.sys["beta"], rpc.Behave(func(*actor.Context) (struct{}, error) { return struct{}{}, nil }, s.handle))
		f(t, c, from(t, c.sys["alpha"], there), s)
	})
}

// pipesLeft waits for the actors of streams to end on beta; the service has no other children.
func pipesLeft(t *testing.T, c *simCluster, service actor.Ref[proto.Message]) {
	t.Helper()
	synctest.Wait()
	here, err := c.sys["beta"].RefAt(service.Node(), service.ID())
	if err != nil {
		t.Fatal(err)
	}
	n, err := actor.Call[*streamItem](t.Context(), actor.Ref[proto.Message]{AnyRef: here}, proto.Message(wrapperspb.Bool(true)))
	if err != nil || n.GetValue() != 0 {
		t.Errorf("%v actors of streams are left, %v", n, err)
	}
}

// RPC-29: streams of any kind are the same across nodes, beyond their window, from goroutines and from actors.
func TestStreamsAcrossNodes(t *testing.T) {
	streamed(t, func(t *testing.T, c *simCluster, service actor.Ref[proto.Message], s streamer) {
		use := func(ctx context.Context) error {
			const n = 3*rpc.Window + 5
			got := int64(0)
			for m, e := range rpc.Stream[*streamItem](ctx, service, proto.Message(wrapperspb.Int64(40)), rpc.NoTimeout) {
				if e != nil {
					return e
				}
				if m.GetValue() != got {
					return fmt.Errorf("item %d is %v", got, m)
				}
				got++
			}
			if got != 40 {
				return fmt.Errorf("%d items", got)
			}
			up, err := rpc.OpenClientStream[*streamItem, *streamItem](ctx, service, proto.Message(wrapperspb.String("sum")), rpc.NoTimeout)
			if err != nil {
				return err
			}
			for i := range int64(n) {
				if err := up.Send(ctx, wrapperspb.Int64(i)); err != nil {
					return err
				}
			}
			if sum, err := up.CloseAndReceive(ctx); err != nil || sum.GetValue() != n*(n-1)/2 {
				return fmt.Errorf("the sum is %v, %w", sum, err)
			}
			both, err := rpc.OpenBidiStream[*streamItem, *streamItem](ctx, service, proto.Message(wrapperspb.Double(0)), rpc.NoTimeout)
			if err != nil {
				return err
			}
			for i := range int64(n) {
				if err := both.Send(ctx, wrapperspb.Int64(i)); err != nil {
					return err
				}
				if m, err := both.Receive(ctx); err != nil || m.GetValue() != i {
					return fmt.Errorf("item %d came back as %v, %w", i, m, err)
				}
			}
			if err := both.CloseSend(ctx); err != nil {
				return err
			}
			if _, err := both.Receive(ctx); err != io.EOF { //nolint:errorlint // never wrapped
				return fmt.Errorf("not the end: %w", err)
			}
			for range 3 {
				if err := <-s.ended; err != nil {
					return err
				}
			}
			return nil
		}
		if err := use(t.Context()); err != nil {
			t.Error(err)
		}
		done := make(chan error)
		actor.MustSpawn(c.sys["alpha"], actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*streamItem]) error {
			done <- use(ctx)
			return nil
		}))
		if err := <-done; err != nil {
			t.Errorf("from an actor: %v", err)
		}
		pipesLeft(t, c, service)
	})
}

// RPC-29: a method's error is the reader's, behind the items, and is not taken for the end of the service.
func TestStreamFailsAcrossNodes(t *testing.T) {
	streamed(t, func(t *testing.T, c *simCluster, service actor.Ref[proto.Message], _ streamer) {
		items, last := 0, error(nil)
		for _, err := range rpc.Stream[*streamItem](t.Context(), service, proto.Message(wrapperspb.Int64(100)), rpc.NoTimeout) {
			if err != nil {
				last = err
				break
			}
			items++
		}
		if items != 43 || last == nil || last.Error() != "no more than 42: "+actor.ErrStopped.Error() || !errors.Is(last, actor.ErrStopped) {
			t.Errorf("%d items, then %v", items, last)
		}
		pipesLeft(t, c, service)
	})
}

// RPC-30: a reader that leaves early, and one whose node dies, end the stream for the service.
func TestStreamReaderGoesAcrossNodes(t *testing.T) {
	for _, how := range []string{"break", "node"} {
		t.Run(how, func(t *testing.T) {
			streamed(t, func(t *testing.T, c *simCluster, service actor.Ref[proto.Message], s streamer) {
				for _, err := range rpc.Stream[*streamItem](t.Context(), service, proto.Message(wrapperspb.Int64(1<<40)), rpc.NoTimeout) {
					if err != nil && how == "break" {
						t.Error(err)
					}
					if how == "node" {
						c.net.Kill("alpha:1")
					}
					break
				}
				if err := <-s.ended; !errors.Is(err, rpc.ErrGone) && how == "node" {
					t.Errorf("the method ended with %v", err)
				}
				pipesLeft(t, c, service)
			})
		})
	}
}

// RPC-30: a writer whose node dies ends the stream that the service reads.
func TestStreamWriterDiesAcrossNodes(t *testing.T) {
	streamed(t, func(t *testing.T, c *simCluster, service actor.Ref[proto.Message], s streamer) {
		up, err := rpc.OpenClientStream[*streamItem, *streamItem](t.Context(), service, proto.Message(wrapperspb.String("sum")), rpc.NoTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if err := up.Send(t.Context(), wrapperspb.Int64(1)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		c.net.Kill("alpha:1")
		if err := <-s.ended; !errors.Is(err, rpc.ErrGone) {
			t.Errorf("the method ended with %v", err)
		}
		pipesLeft(t, c, service)
		up.Cancel()
	})
}

// RPC-31: whoever streams to or from a service is told when its node dies, and how the service ended if it was that.
func TestStreamServiceGoesAcrossNodes(t *testing.T) {
	for _, how := range []string{"node", "killed"} {
		t.Run(how, func(t *testing.T) {
			streamed(t, func(t *testing.T, c *simCluster, service actor.Ref[proto.Message], _ streamer) {
				both, err := rpc.OpenBidiStream[*streamItem, *streamItem](t.Context(), service, proto.Message(wrapperspb.Double(0)), rpc.NoTimeout)
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Second, func() {
					if how == "node" {
						c.net.Kill("beta:1")
					} else {
						service.Kill()
					}
				})
				_, err = both.Receive(t.Context())
				var exit *actor.ExitError
				if how == "node" && !errors.Is(err, actor.ErrNodeDown) {
					t.Errorf("got %v", err)
				}
				if how == "killed" && (!errors.As(err, &exit) || exit.Ref != service.AnyRef || exit.Reason.Kind != actor.ReasonKilled) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
