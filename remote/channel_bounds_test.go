package remote_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote"
)

// TestChannelsKeepLittleForPeers has a peer search for what is no name, and deliver much to a channel that nobody listens to: the home keeps
// neither.
func TestChannelsKeepLittleForPeers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair(func(o *remote.Options) { o.MaxQueuedBytes = 1 << 20 })
		service, err := b.sys.RefAt(a.sys.NodeID(), 4)
		holds(w, err)
		find := &greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Find{Find: &greenroomv1.ChannelFind{Name: strings.Repeat("x", 1<<20)}}}
		ctx, cancel := context.WithTimeout(w.patient(), downAfter)
		defer cancel()
		_, err = actor.Call[*greenroomv1.ChannelInfo](ctx, actor.Ref[*greenroomv1.ChannelRequest]{AnyRef: service}, find)
		wants(w, "find what is no name", err, actor.ErrBadName)

		ch, err := actor.NewChannel[*blob](a.sys)
		holds(w, err)
		defer ch.Close()
		holds(w, remote.Publish(a.Node, "news", ch))
		news, err := remote.OpenChannel[*blob](w.patient(), b.Node, "news", "a")
		holds(w, err)
		said := make(chan error, 8)
		waits, stop := context.WithCancel(w.patient())
		for range cap(said) {
			go func() {
				_, err := news.Deliver(waits, wrapperspb.Bytes(make([]byte, 300<<10)), 1)
				said <- err
			}()
		}
		synctest.Wait()
		pass(downAfter / 2)
		if n := len(said); n != 5 {
			w.Errorf("%d of %d deliveries were refused, and 3 fit into a MiB", n, cap(said))
		}
		for range len(said) {
			wants(w, "one more", <-said, remote.ErrLimit)
		}
		stop()
		for range 3 {
			wants(w, "given up", await(w, said), context.Canceled)
		}
		pass(downAfter / 2)
		if n := remote.Channels(a.Node); n[2] != 0 || n[3] != 0 {
			w.Errorf("%v are kept", n)
		}
	})
}

// TestChannelProxiesOfOneNode has a peer attach more actors than any node needs: it takes no other node's place.
func TestChannelProxiesOfOneNode(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		c := w.node("c", peers("a:1"))
		c.meets(a)
		ch, err := actor.NewChannel[*blob](a.sys)
		holds(w, err)
		defer ch.Close()
		holds(w, remote.Publish(a.Node, "news", ch, remote.PublishOptions{MaxNodes: 2}))
		service, err := b.sys.RefAt(a.sys.NodeID(), 4)
		holds(w, err)
		for i := range 100 {
			m := &greenroomv1.ChannelAttach{Channel: ch.Stem().ID().ID, Node: b.sys.NodeID(), Proxy: victim(b).Any().ID()}
			_, err := actor.Call[*greenroomv1.ChannelAttached](w.patient(), actor.Ref[*greenroomv1.ChannelRequest]{AnyRef: service},
				&greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Attach{Attach: m}})
			if i < 2 {
				holds(w, err)
			} else if i == 99 {
				wants(w, "a proxy too many", err, remote.ErrLimit)
			}
		}
		news, err := remote.OpenChannel[*blob](w.patient(), c.Node, "news", "a")
		holds(w, err)
		s := newSink(c, 1, true)
		_, err = news.Subscribe(w.patient(), s.ref)
		holds(w, err)
		holds(w, ch.Send(w.patient(), parcel(0, 0, 1)))
		await(w, s.done)
	})
}
