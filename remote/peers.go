package remote

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Roles are what a node may do on others: its certificate says, and the other's Policy.
type Roles = link.Roles

// The roles.
const (
	MaySend  = link.MaySend  // send messages and signals (Stop, Kill), monitor, look up names, publish
	MaySpawn = link.MaySpawn // start registered behaviours
	MayShip  = link.MayShip  // ship code
	MayFiles = link.MayFiles // transfer files
)

// Policy says what peers may do here, beyond what their certificates say. A function that panics, or ends its goroutine, refuses.
type Policy struct {
	// Grant is what a peer may do: of the roles of its certificate, those that are returned. Nil: all of them. Called at each link.
	Grant func(peer string, roles Roles) Roles
	// Spawn reports whether a peer may start that registered behaviour. Nil: any.
	Spawn func(peer, behaviour string) bool
	// Accept reports whether a peer may send messages of that type, by its full name. Nil: any. It is asked once for each type, lane and
	// session.
	Accept func(peer, message string) bool
}

// PeerStatus is what has become of a peer.
type PeerStatus uint8

// What becomes of peers.
const (
	PeerDown PeerStatus = iota // declared down, or it said goodbye
	PeerUp                     // linked
)

// String names the status.
func (s PeerStatus) String() string {
	if s == PeerUp {
		return "up"
	}
	return "down"
}

// PeerInfo is what is known of a peer.
type PeerInfo struct {
	Name        string        // its name
	Incarnation uint64        // which life of it: AnyRef.Node of its actors
	Addr        string        // where it can be reached
	Status      PeerStatus    // whether it is up
	Since       time.Time     // since when
	Roles       Roles         // what its certificate lets it do
	Expires     time.Time     // when that certificate does
	RTT         time.Duration // the last round trip that was measured, 0 for none yet
	Load        uint32        // what it last told of its load
}

// PeerEvent tells of a change.
type PeerEvent struct {
	Peer   PeerInfo   // who, as it is now
	Status PeerStatus // what has become of it
}

// infoLocked is what is known of a peer. The caller holds n.mu.
func (p *peer) infoLocked() PeerInfo {
	i := PeerInfo{Name: p.name, Addr: p.addr, Since: p.since, Roles: p.id.Roles, Expires: p.id.NotAfter}
	if p.up {
		i.Status = PeerUp
	}
	if p.now != nil {
		i.Incarnation, i.Load = p.now.id, p.now.load.Load()
	}
	return i
}

// Peers lists the peers that are known, by name, those that are down included.
func (n *Node) Peers() []PeerInfo {
	if n.none() {
		return nil
	}
	n.mu.Lock()
	list := make([]PeerInfo, 0, len(n.peers))
	sessions := make([]*session, 0, len(n.peers))
	for _, p := range n.peers {
		list = append(list, p.infoLocked())
		var s *session
		if p.now != nil {
			s = p.now.sess.Load()
		}
		sessions = append(sessions, s)
	}
	n.mu.Unlock()
	for i, s := range sessions {
		if s != nil {
			s.mu.Lock()
			list[i].RTT = s.rtt
			s.mu.Unlock()
		}
	}
	slices.SortFunc(list, func(a, b PeerInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Peer waits, under ctx, until the peer of that name is up. From an actor it suspends; from any other goroutine it blocks.
func (n *Node) Peer(ctx context.Context, name string) (PeerInfo, error) {
	var found PeerInfo
	err := n.await(ctx, func() bool {
		p := n.peers[name]
		if p == nil || !p.up {
			return false
		}
		found = p.infoLocked()
		return true
	})
	if err != nil {
		return PeerInfo{}, fmt.Errorf("remote: peer %q: %w", name, err)
	}
	return found, nil
}

// await waits until ready, which is called under n.mu whenever a peer has changed, says so.
func (n *Node) await(ctx context.Context, ready func() bool) error {
	switch {
	case n.none():
		return errNoNode
	case ctx == nil:
		return actor.ErrNilContext
	}
	for {
		n.mu.Lock()
		ok, changed, stopped := ready(), n.changed, n.stopped
		n.mu.Unlock()
		switch {
		case ok:
			return nil
		case stopped:
			return ErrStopped
		}
		if err := changed.Wait(ctx); err != nil {
			return err
		}
	}
}

// Connect stays connected to the node at addr from now on, as if it were one of Options.Peers. It does so already: nothing changes. There
// are as many addresses as Options.MaxPeers at most; one too many is logged, and so is one that leads nowhere.
func (n *Node) Connect(addr string) {
	if n.none() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.stopped || n.kept[addr]:
	case len(n.kept) >= n.opts.MaxPeers:
		n.log.Error("an address is not connected to: there are MaxPeers already", "addr", addr, "limit", n.opts.MaxPeers)
	default:
		n.kept[addr] = n.begin(func() { n.keep(addr) })
	}
}

// Ignore has the node refuse links of the peer of that name, and end the one there is, or take that back.
func (n *Node) Ignore(name string, ignore bool) {
	if n.none() {
		return
	}
	n.mu.Lock()
	if ignore {
		n.ignored[name] = true
	} else {
		delete(n.ignored, name)
	}
	n.mu.Unlock()
	if ignore {
		_ = n.ClosePeer(name)
	}
}

// ClosePeer ends what there is with a peer: it is declared down, on both sides. A link that one of the two keeps (Options.Peers,
// Connect) comes back; see Ignore. It returns when all is told that follows, and so is not for those who are told: a subscriber of dead
// letters waits for itself. ErrNoPeer: the peer is not up.
func (n *Node) ClosePeer(name string) error {
	if n.none() {
		return errNoNode
	}
	n.mu.Lock()
	var s *session
	if p := n.peers[name]; p != nil && p.now != nil {
		s = p.now.sess.Load()
	}
	n.mu.Unlock()
	if s == nil {
		return fmt.Errorf("remote: close %q: %w", name, ErrNoPeer)
	}
	s.fail(fmt.Errorf("remote: %s was closed here: %w", s.far, actor.ErrNodeDown))
	<-s.over
	return nil
}

// WatchPeers has the calling actor told of peers: adapt makes a message of its own of each event. First come those that are up now.
// Errors: those of actor.OpenFeed.
func WatchPeers[M proto.Message](ctx *actor.Context, n *Node, adapt func(PeerEvent) M) (*actor.Feed, error) {
	return actor.OpenFeed(ctx, adapt, n.watchPeers)
}

type peerWatcher struct {
	tell func(PeerEvent)
	end  func()
}

func (n *Node) watchPeers(post func(PeerEvent)) (stop func(), err error) {
	return n.watchPeersBy(&peerWatcher{tell: post, end: func() {}})
}

func (n *Node) watchPeersBy(w *peerWatcher) (stop func(), err error) {
	if n.none() {
		return nil, errNoNode
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return nil, ErrStopped
	}
	for _, p := range n.peers {
		if p.up {
			w.tell(PeerEvent{Peer: p.infoLocked(), Status: PeerUp})
		}
	}
	n.watchers = append(n.watchers, w)
	return func() {
		n.mu.Lock()
		n.watchers = slices.DeleteFunc(n.watchers, func(x *peerWatcher) bool { return x == w })
		n.mu.Unlock()
	}, nil
}
