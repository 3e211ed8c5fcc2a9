package rpc_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
)

// routine starts f as an actor.
func routine(sys *actor.System, f func(ctx *actor.Context) error) actor.AnyRef {
	return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error { return f(ctx) })).Any()
}

// everyStream has one service read and written by several actors at once, of whom some leave early.
func everyStream(t *testing.T, sys *actor.System) {
	ended := make(chan error, 100)
	ref := spawnCounter(t, sys, ended)
	var all []actor.AnyRef
	for i := range int64(2) {
		all = append(all, routine(sys, func(ctx *actor.Context) error {
			want := int64(-1)
			for m, err := range ref.Watch(ctx, &pb.WatchRequest{More: rpc.Window + 3}) {
				if err != nil {
					return err
				}
				if want >= 0 && m.Total != want {
					t.Errorf("item %d, want %d", m.Total, want)
				}
				if want = m.Total + 1; i == 1 && m.Total%5 == 0 {
					return nil
				}
			}
			return nil
		}), routine(sys, func(ctx *actor.Context) error {
			up, err := ref.Sum(ctx)
			for range rpc.Window + 3 {
				if err == nil {
					err = up.Send(ctx, &pb.SumRequest{Delta: 1})
				}
			}
			if i == 1 || err != nil {
				up.Cancel()
				return err
			}
			resp, err := up.CloseAndReceive(ctx)
			if err == nil && resp.Total < rpc.Window+3 {
				t.Errorf("sum %d", resp.Total)
			}
			return err
		}), routine(sys, func(ctx *actor.Context) error {
			both, err := ref.Mirror(ctx)
			if err == nil {
				err = both.Send(ctx, &pb.MirrorRequest{Delta: 1})
			}
			if err == nil {
				_, err = both.Receive(ctx)
			}
			if err == nil {
				err = both.CloseSend(ctx)
			}
			if err == nil {
				_, err = both.Receive(ctx)
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("mirror: %v", err)
			}
			return nil
		}))
	}
	for _, r := range all {
		if down := actortest.ExpectDown(t, r, time.Hour); !down.Reason.Normal() {
			t.Errorf("%v ended: %v", r, down.Reason)
		}
	}
}

// RPC-13 and RPC-18 in any order of events.
func TestExploreStreams(t *testing.T) {
	actortest.Explore(t, 50, everyStream)
}

// streamBreaksOff has the service end at any moment of a stream.
func streamBreaksOff(t *testing.T, sys *actor.System) {
	ref := spawnCounter(t, sys, nil)
	reader := routine(sys, func(ctx *actor.Context) error {
		for _, err := range ref.Watch(ctx, &pb.WatchRequest{More: 20}) {
			if err != nil && !errors.Is(err, actor.ErrStopped) {
				t.Errorf("the reader is told %v", err)
			}
		}
		return nil
	})
	routine(sys, func(*actor.Context) error { ref.Kill(); return nil })
	actortest.ExpectDown(t, reader, time.Hour)
}

// RPC-15 at any moment.
func TestExploreEnds(t *testing.T) {
	actortest.Explore(t, 50, streamBreaksOff)
}

// Streams depend on nothing that a seed does not rule.
func TestReplayStreams(t *testing.T) {
	actortest.Replay(t, 7, everyStream)
}
