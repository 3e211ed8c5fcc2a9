package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/registry/cluster"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// GossipOptions turn on membership by gossip, encrypted with the secret of the node's TLS material: the nodes of a cluster find each other,
// and connect, if each is told of one. The zero value is none. A node that is linked to one that gossips joins it by itself.
type GossipOptions struct {
	// Listen is the address to gossip at, ip:port, over UDP and TCP; port 0 is one that is free. Empty means no gossip.
	Listen string
	// Advertise is the address at which others reach that, where it is another one: behind NAT, in a container, or where Listen is all
	// addresses of the machine.
	Advertise string
	// ProbeInterval is how often another member is asked whether it lives. 0 means a second.
	ProbeInterval time.Duration
	// GossipInterval is how often news is sent. 0 means 200 ms.
	GossipInterval time.Duration
	// SyncInterval is how often a member exchanges its whole state with another one. 0 means 30 s.
	SyncInterval time.Duration
	// SeedInterval is how often members that were lost are looked for; by a node that is alone each second, if that is more often. 0 means 30 s.
	SeedInterval time.Duration
}

func (o GossipOptions) check() error {
	if o.Listen == "" && o != (GossipOptions{}) {
		return errors.New("remote: Options.Gossip: give Listen an address of this machine, as 127.0.0.1:0; without it there is no gossip")
	}
	return nil
}

// membership is what a node does to be a member of its cluster, and to be linked to the others.
type membership struct {
	by    cluster.Membership // nil: there is none
	at    string             // where others find it
	ready chan struct{}      // closed when the node has started

	mu      sync.Mutex
	keepers map[string]*keeper // by member
	dialing map[string]bool    // addresses that discovery has found
}

// Members are the members of the cluster, this node among them, by name: what Options.Gossip or Options.Membership knows; without
// either, this node and the peers that are up.
func (n *Node) Members() []cluster.Member {
	if n.none() {
		return nil
	}
	if n.members.by != nil {
		return n.members.by.Members()
	}
	all := []cluster.Member{{Name: n.name, Incarnation: n.sys.NodeID(), Addr: n.advertised(), Load: n.load()}}
	for _, p := range n.Peers() {
		if p.Status == PeerUp {
			all = append(all, cluster.Member{Name: p.Name, Incarnation: p.Incarnation, Addr: p.Addr, Load: p.Load})
		}
	}
	slices.SortFunc(all, func(a, b cluster.Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Done is closed when the node has stopped: by Stop, or because another node of its name has taken its place in the cluster. Err says which.
func (n *Node) Done() <-chan struct{} {
	if n.none() {
		return nil
	}
	return n.done
}

// Err is why the node has stopped, or stops, by itself: an error that is cluster.ErrNameTaken. nil: it does not, or Stop was called.
func (n *Node) Err() error {
	if n.none() {
		return errNoNode
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// gossipAddr is where others reach the node's membership.
func (n *Node) gossipAddr() string { return n.members.at }

// startMembership makes the node a member, and begins to publish names. It comes before any link.
func (n *Node) startMembership() error {
	n.naming = &clusterNames{n: n, own: make(map[published]*posting)}
	by := n.opts.Membership
	if by == nil && n.opts.Gossip.Listen != "" {
		var err error
		if by, err = n.newGossip(); err != nil {
			return err
		}
	}
	if by != nil {
		if err := n.join(by); err != nil {
			return err
		}
	}
	if err := n.startNames(); err != nil {
		return err
	}
	if n.opts.Discovery != nil {
		n.members.dialing = make(map[string]bool)
		n.begin(n.discover)
	}
	return nil
}

func (n *Node) newGossip() (cluster.Membership, error) {
	var keys [][]byte
	if n.creds != nil {
		keys = n.creds.GossipKeys()
	}
	if len(keys) == 0 {
		return nil, errors.New("remote: gossip is encrypted and needs a secret that all nodes share, and the node's TLS material has none: " +
			"DevTLS and `greenroom cert` make gossip.key; with FilesTLS, name it in TLSFiles.GossipKey")
	}
	o := n.opts.Gossip
	g, err := cluster.NewGossip(cluster.GossipOptions{
		Key: keys[0], OldKeys: keys[1:], Bind: o.Listen, Advertise: o.Advertise, ProbeInterval: o.ProbeInterval, GossipInterval: o.GossipInterval,
		SyncInterval: o.SyncInterval, SeedInterval: o.SeedInterval, Logger: n.log,
	})
	if err != nil {
		return nil, fmt.Errorf("remote: Options.Gossip (Bind is Listen): %w", err)
	}
	return g, nil
}

// join starts the membership.
func (n *Node) join(by cluster.Membership) error {
	if host, _, err := net.SplitHostPort(n.advertised()); err != nil || host == "" || net.ParseIP(host).IsUnspecified() {
		return fmt.Errorf("remote: others are told to connect to %q, which is no address of one machine: give Options.Advertise the one at which they reach this node", n.advertised())
	}
	n.members.keepers = make(map[string]*keeper)
	self := cluster.Member{Name: n.name, Addr: n.advertised(), Load: n.load()}
	if err := by.Start(n.ctx, self, gossipSeeds{n}, n.memberEvent); err != nil {
		return fmt.Errorf("remote: join the cluster: %w", err)
	}
	n.members.by, n.members.at = by, by.Self().GossipAddr
	return nil
}

// startNames says who carries the names that this node publishes: whom the options name, the membership, or else the links.
func (n *Node) startNames() error {
	if n.naming.names = n.opts.Names; n.naming.names != nil {
		return nil
	}
	if g, ok := n.members.by.(interface{ Names() cluster.Names }); ok {
		if n.naming.names = g.Names(); n.naming.names != nil {
			return nil
		}
	}
	c, err := newCarrier(n)
	if err != nil {
		return fmt.Errorf("remote: cluster names: %w", err)
	}
	n.naming.names, n.naming.direct = c.replica, c
	n.begin(c.run)
	return nil
}

// gossipSeeds are where the peers that were met gossip.
type gossipSeeds struct{ n *Node }

// Seeds implements cluster.Discovery.
func (g gossipSeeds) Seeds(context.Context) ([]string, error) {
	g.n.mu.Lock()
	defer g.n.mu.Unlock()
	var seeds []string
	for _, p := range g.n.peers {
		if p.gossip != "" {
			seeds = append(seeds, p.gossip)
		}
	}
	slices.Sort(seeds)
	return seeds, nil
}

// metGossip joins the gossip of a peer that was met, unless that is known already.
func (n *Node) metGossip(addr string) {
	by := n.members.by
	if by == nil || addr == "" {
		return
	}
	n.begin(func() {
		if slices.ContainsFunc(by.Members(), func(m cluster.Member) bool { return m.GossipAddr == addr }) {
			return
		}
		if err := by.Join(n.ctx, []string{addr}); err != nil && n.ctx.Err() == nil {
			n.log.Warn("the gossip of a peer was not reached, and is tried again", "addr", addr, "error", err.Error())
		}
	})
}

// leaveMembership tells the cluster that the node stops.
func (n *Node) leaveMembership(ctx context.Context) {
	if n.members.by == nil {
		return
	}
	if err := n.members.by.Leave(ctx); err != nil {
		n.log.Warn("the cluster was not told that this node stops", "error", err.Error())
	}
}

// memberEvent is told of members, one at a time.
func (n *Node) memberEvent(e cluster.Event) {
	m := e.Member
	if m.Name == n.name && e.Kind != cluster.Displaced {
		return
	}
	n.log.Info("a member of the cluster has changed", "member", m.Name, "change", e.Kind.String(), "addr", m.Addr)
	switch e.Kind {
	case cluster.Joined, cluster.Updated:
		n.keepMember(m)
	case cluster.Left, cluster.Failed:
		n.members.mu.Lock()
		k := n.members.keepers[m.Name]
		delete(n.members.keepers, m.Name)
		n.members.mu.Unlock()
		if k != nil {
			k.stop()
		}
	case cluster.Displaced:
		n.displaced(m)
	}
}

// displaced ends the node: another one has its name.
func (n *Node) displaced(by cluster.Member) {
	err := fmt.Errorf("remote: a living node at %s is called %q too: give one of them another name, and a certificate for it: %w", by.Addr, n.name, cluster.ErrNameTaken)
	n.mu.Lock()
	if n.err != nil || n.stopped {
		n.mu.Unlock()
		return
	}
	n.err = err
	n.mu.Unlock()
	n.log.Error("this node ends: another one has its name", "at", by.Addr, "error", err.Error())
	go func() { // Done tells of its end; whoever tells of members must not wait for it
		select {
		case <-n.members.ready:
		case <-n.ctx.Done():
		}
		ctx, cancel := context.WithTimeout(context.Background(), n.opts.DownAfter)
		defer cancel()
		_ = n.Stop(ctx) // what is lost is dead letters
	}()
}

// keeper stays connected to a member.
type keeper struct {
	n    *Node
	name string
	ctx  context.Context
	stop context.CancelFunc

	mu   sync.Mutex
	addr string
}

func (n *Node) keepMember(m cluster.Member) {
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	if k := n.members.keepers[m.Name]; k != nil {
		k.mu.Lock()
		k.addr = m.Addr
		k.mu.Unlock()
		return
	}
	if len(n.members.keepers) >= n.opts.MaxPeers {
		n.log.Error("a member is not connected to: there are more than MaxPeers", "member", m.Name, "limit", n.opts.MaxPeers)
		return
	}
	k := &keeper{n: n, name: m.Name, addr: m.Addr}
	k.ctx, k.stop = context.WithCancel(n.ctx)
	n.members.keepers[m.Name] = k
	n.begin(k.run)
}

// run dials while the peer is not up. The node whose name comes first does so at once; the other waits a while, in case that does not
// get through.
func (k *keeper) run() {
	defer k.stop()
	select {
	case <-k.n.members.ready:
	case <-k.ctx.Done():
		return
	}
	wait := redialFirst
	if k.n.name > k.name {
		wait = redialLast / 2
	}
	for {
		k.n.pauseIn(k.ctx, wait/2+rand.N(wait))
		if k.awaitDown() != nil || k.ctx.Err() != nil {
			return
		}
		k.mu.Lock()
		addr := k.addr
		k.mu.Unlock()
		began := time.Now()
		_, err := k.n.dial(addr, k.name, greetTimeout, func() {})
		wait = min(2*wait, redialLast)
		if time.Since(began) > redialLast {
			wait = redialFirst
		}
		var closed *link.CloseError
		if errors.As(err, &closed) && closed.Code == closeRefused {
			k.n.log.Error("a member refuses this node: it is tried again", "member", k.name, "addr", addr, "error", err.Error(), "in", refusedWait)
			wait = refusedWait
		}
	}
}

// refusedWait is how long a node waits that was refused.
const refusedWait = 30 * time.Second

// awaitDown waits until the peer is not up, and not ignored either. An error says that it is kept no longer.
func (k *keeper) awaitDown() error {
	for k.ctx.Err() == nil {
		err := k.n.await(k.ctx, func() bool {
			p := k.n.peers[k.name]
			return p == nil || !p.up
		})
		if err != nil {
			return err
		}
		k.n.mu.Lock()
		ignored := k.n.ignored[k.name]
		k.n.mu.Unlock()
		if !ignored {
			return nil
		}
		k.n.pauseIn(k.ctx, redialLast)
	}
	return k.ctx.Err()
}

// pauseIn waits, unless ctx ends.
func (n *Node) pauseIn(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

const (
	discoverFirst = time.Second
	discoverLast  = 15 * time.Second
)

// discover asks Options.Discovery for nodes at the start, and again while no peer is up.
func (n *Node) discover() {
	wait, said := discoverFirst, ""
	for n.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(n.ctx, greetTimeout)
		var seeds []string
		err := apart("Discovery", func() (err error) {
			seeds, err = n.opts.Discovery.Seeds(ctx)
			return err
		})
		cancel()
		if err != nil && err.Error() != said {
			said = err.Error()
			n.log.Warn("no nodes were discovered: it is tried again", "error", said)
		}
		for _, addr := range seeds {
			n.try(addr)
		}
		n.pause(wait/2 + rand.N(wait))
		wait = min(2*wait, discoverLast)
		if !n.isAlone() {
			wait = discoverFirst
		}
		if n.awaitAlone() != nil {
			return
		}
	}
}

// awaitAlone waits until no peer is up.
func (n *Node) awaitAlone() error { return n.await(n.ctx, n.aloneLocked) }

func (n *Node) isAlone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.aloneLocked()
}

func (n *Node) aloneLocked() bool {
	for _, p := range n.peers {
		if p.up {
			return false
		}
	}
	return true
}

// try dials a node that was discovered, unless that is being done.
func (n *Node) try(addr string) {
	if _, _, err := net.SplitHostPort(addr); err != nil || addr == n.advertised() || addr == n.addr {
		return
	}
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	if n.members.dialing[addr] || len(n.members.dialing) >= n.opts.MaxPeers {
		return
	}
	n.members.dialing[addr] = true
	n.begin(func() {
		_, err := n.dial(addr, "", greetTimeout, func() {})
		n.members.mu.Lock()
		delete(n.members.dialing, addr)
		n.members.mu.Unlock()
		if err != nil {
			n.log.Debug("no link to a node that was discovered", "addr", addr, "error", err.Error())
		}
	})
}
