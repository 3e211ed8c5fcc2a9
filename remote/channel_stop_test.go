package remote_test

import (
	"context"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// A node that stops ends searches for channels, also for one of its own, and leaves no actor of a published one behind.
func TestChannelsOfANodeThatStops(t *testing.T) {
	inNet(t, func(c *chanNet) {
		n := c.nodes["a"]
		ch, err := actor.NewChannel[*text](n.System())
		if err != nil {
			t.Fatal(err)
		}
		holds(t, remote.Publish(n, "news", ch))
		gate := remote.Gate(n, "news")
		found := make(chan error)
		for _, where := range []string{"a", "b", ""} {
			go func() {
				_, err := remote.OpenChannel[*text](context.Background(), n, "nothing", where)
				found <- err
			}()
		}
		synctest.Wait()
		holds(t, n.Stop(c.ctx))
		for range 3 {
			wants(t, "a search when the node has stopped", await(t, found), remote.ErrStopped)
		}
		synctest.Wait()
		if gate.Alive() {
			t.Error("the channel's gate lives on")
		}
		holds(t, ch.Send(c.ctx, wrapperspb.String("to nobody")))
		ch.Close()
	}, "a", "b")
}
