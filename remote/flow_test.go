package remote_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// TestManySlowReceivers: what one peer has in mailboxes here is bounded in all, to however many receivers; the sender waits, and goes on.
func TestManySlowReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const receivers, each, size = 3000, 30, 500
		c := newCluster(t, 9, "alpha")
		c.start(t, remote.Options{Name: "beta", Peers: []string{"alpha:1"}, MaxQueuedBytes: 1 << 20, WindowBytes: 1 << 20})
		if _, err := c.node["alpha"].Peer(t.Context(), "beta"); err != nil {
			t.Fatal(err)
		}
		var open actor.Event
		var handled atomic.Int64
		all := make(chan struct{})
		refs := make([]actor.Ref[*wrapperspb.BytesValue], receivers)
		for i := range refs {
			refs[i] = from(t, c.sys["alpha"], actor.MustSpawn(c.sys["beta"], actor.Handler(func(ctx *actor.Context, _ *wrapperspb.BytesValue) error {
				if err := open.Wait(ctx); err != nil {
					return err
				}
				if handled.Add(1) == receivers*each {
					close(all)
				}
				return nil
			})))
		}
		var sent, others atomic.Int64
		actor.MustSpawn(c.sys["alpha"], actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*word]) error {
			for range each {
				for _, r := range refs {
					if err := r.Send(ctx, wrapperspb.Bytes(make([]byte, size))); err != nil {
						t.Error(err)
						return err
					}
					sent.Add(1)
				}
			}
			return nil
		}))
		time.Sleep(3 * time.Second)
		const most = 1<<20 + 4*(2<<20) + 2<<20 // mailboxes, what no mark follows in four lanes, and the window with what it waits in
		if n := sent.Load(); n == receivers*each || n*size > most+1<<20 {
			t.Errorf("%d messages of %d bytes were sent to receivers that handle none", n, size)
		}
		// nobody else is held up
		actor.MustSpawn(c.sys["alpha"], actor.Routine(func(*actor.Context, *actor.Inbox[*word]) error {
			others.Add(1)
			return nil
		}))
		time.Sleep(time.Second)
		if others.Load() != 1 {
			t.Error("a sender that waits holds up another actor of its System")
		}
		open.Set()
		<-all
	})
}
