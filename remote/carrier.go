package remote

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/registry/cluster"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// carrier keeps the copies of cluster names the same between peers that are linked directly, where nothing else does.
//
// Each node asks each peer that comes up for what that one publishes, and gets all of it and then each change, over the session, which
// loses nothing and keeps the order. When the session ends the peer is no member any more. A node speaks for itself only.
type carrier struct {
	n       *Node
	replica *cluster.Replica
	wake    chan struct{}

	mu     sync.Mutex
	events []PeerEvent
	to     map[*session]*subscriber
}

func newCarrier(n *Node) (*carrier, error) {
	r, err := cluster.NewReplica(n.name, n.sys.NodeID())
	if err != nil {
		return nil, err
	}
	return &carrier{n: n, replica: r, wake: make(chan struct{}, 1), to: make(map[*session]*subscriber)}, nil
}

// run works until the node stops.
func (c *carrier) run() {
	stop, err := c.n.watchPeersBy(&peerWatcher{tell: c.peer, end: func() {}})
	if err != nil {
		return
	}
	defer stop()
	for {
		select {
		case <-c.n.ctx.Done():
			return
		case <-c.wake:
			c.settle()
		case <-c.replica.Ready():
			c.spread(c.replica.Deltas())
		}
	}
}

// peer is told of peers, under the node's lock.
func (c *carrier) peer(e PeerEvent) {
	c.mu.Lock()
	c.events = append(c.events, e)
	c.mu.Unlock()
	signal(c.wake)
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// settle makes members of peers that have come up, and the reverse.
func (c *carrier) settle() {
	c.mu.Lock()
	events := c.events
	c.events = nil
	c.mu.Unlock()
	for _, e := range events {
		if e.Status == PeerDown {
			c.replica.Vanish(e.Peer.Name, e.Peer.Incarnation)
			continue
		}
		c.replica.Appear(e.Peer.Name, e.Peer.Incarnation)
		if far := c.n.farOf(e.Peer.Name); far != nil && far.id == e.Peer.Incarnation {
			if s := far.sess.Load(); s != nil {
				c.ask(s)
			}
		}
	}
}

// ask asks a peer for all that it publishes.
func (c *carrier) ask(s *session) {
	if link.Roles(s.granted.Load())&link.MaySend == 0 {
		return // it would refuse to hear it
	}
	if s.namesAsked.Swap(true) {
		return
	}
	c.n.begin(func() {
		_ = s.sendMessage(s.ctx, actor.AnyRef{}, s.far.service(namesService), &greenroomv1.NamesSubscribe{}) // or the session has ended
	})
}

// subscriber is what a peer that has asked is still to be sent.
type subscriber struct {
	serving bool     // by a goroutine, which ends when all is sent
	whole   bool     // all of it
	queue   [][]byte // or these changes
}

// maxUnpublished bounds the changes that wait for a peer. Beyond it the peer gets all that there is instead.
const maxUnpublished = 256

// subscribed takes a peer's wish to be told.
func (c *clusterNames) subscribed(s *session) {
	if c.direct == nil {
		return // the cluster tells it
	}
	d := c.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.to[s]
	if o == nil {
		o = &subscriber{}
		d.to[s] = o
		context.AfterFunc(s.ctx, func() {
			d.mu.Lock()
			delete(d.to, s)
			d.mu.Unlock()
		})
	}
	o.whole, o.queue = true, nil
	d.serveLocked(s, o)
}

// serveLocked has a peer be sent what there is for it. The caller holds the lock.
func (c *carrier) serveLocked(s *session, o *subscriber) {
	if !o.serving {
		o.serving = c.n.begin(func() { c.serve(s, o) })
	}
}

// spread gives this node's changes to all who have asked.
func (c *carrier) spread(deltas [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, o := range c.to {
		if len(o.queue)+len(deltas) > maxUnpublished {
			o.whole, o.queue = true, nil
		} else if !o.whole {
			o.queue = slices.Concat(o.queue, deltas)
		}
		c.serveLocked(s, o)
	}
}

// serve sends a peer what there is for it.
func (c *carrier) serve(s *session, o *subscriber) {
	for {
		c.mu.Lock()
		list := o.queue
		if o.whole {
			list = [][]byte{c.replica.Own()}
		}
		o.whole, o.queue = false, nil
		if len(list) == 0 || s.ctx.Err() != nil {
			o.serving = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		for _, b := range list {
			err := s.sendMessage(s.ctx, actor.AnyRef{}, s.far.service(namesService), &greenroomv1.NamesPublished{State: b})
			if err != nil && s.ctx.Err() == nil {
				c.n.log.Error("a peer cannot be told of this node's names", "peer", s.far.String(), "error", err.Error())
			}
		}
	}
}

// published takes what a peer publishes.
func (c *clusterNames) published(s *session, state []byte) {
	d := c.direct
	if d == nil {
		return
	}
	name := s.far.name()
	if err := d.replica.MergeFrom(name, s.far.id, state); err != nil {
		c.n.log.Log(s.ctx, slog.LevelWarn, "what a peer publishes was not understood", "peer", name, "error", err.Error())
	}
	if !slices.Contains(d.replica.Missing(), name) {
		s.namesAsked.Store(false)
	} else {
		d.ask(s)
	}
}
