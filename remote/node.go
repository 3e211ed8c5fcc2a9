package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/files"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/quiclink"
	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

// Node is a System's presence among others. Refs of it mean the same on every node: what is sent to an actor elsewhere, its monitors,
// links and calls go by the Node, and nothing in how they are used tells the difference.
// Any goroutine may use it.
type Node struct {
	sys    *actor.System
	name   string
	opts   Options
	log    *slog.Logger
	creds  *pki.Source
	files  *files.Server // nil: the node takes none
	tr     link.Transport
	addr   string // where it listens
	start  time.Time
	ctx    context.Context
	stop   context.CancelFunc
	work   sync.WaitGroup
	goMu   sync.RWMutex  // guards over
	over   bool          // no work begins any more
	nextID atomic.Uint64 // of calls and pieces, in all sessions
	m      nodeMetrics
	tasks  atomic.Int64
	serve  [serviceLimit]actor.AnyRef // system services, by number

	queries atomic.Int32 // that stand elsewhere
	naming  *clusterNames
	members membership
	rci     rci

	channels channelHub

	mu       sync.Mutex
	peers    map[string]*peer
	fars     map[uint64]*incarnation
	ignored  map[string]bool
	kept     map[string]bool // addresses that it stays connected to
	watchers []*peerWatcher
	changed  *actor.Event // set and replaced when a peer changes
	stopped  bool
	err      error         // why it stops by itself
	done     chan struct{} // closed when Stop has ended
}

type nodeMetrics struct {
	duplicates atomic.Uint64 // frames that came twice
	malformed  atomic.Uint64 // links that ended for a breach of the protocol
	links      atomic.Uint64
	refused    atomic.Uint64
	fired      atomic.Uint64 // messages sent by Fire
	fireLost   atomic.Uint64 // of those sent or received, dropped here
}

// peer is a node that is known by name. It has one living incarnation at a time.
type peer struct {
	name   string
	addr   string // advertised
	dialed string // where it was reached from here
	gossip string
	now    *incarnation
	up     bool
	since  time.Time
	id     link.Identity
	leaves bool
}

// incarnation is one life of another node, and the way to its actors. It stays as long as refs of it may be around.
type incarnation struct {
	node *Node
	id   uint64
	load atomic.Uint32

	tallies  []*counters  // of its sessions; guarded by mu
	spawning atomic.Int64 // requests to start something there that are not answered

	sess atomic.Pointer[session]
	mu   sync.Mutex
	peer *peer  // nil until it is known who this is
	gone error  // a later incarnation has taken the name: there is no way there any more
	busy bool   // it is being dialed
	lost bool   // the node has forgotten it: another one stands for it
	last *hands // of the last session
}

// Start makes a node of sys: it accepts links and keeps those to Options.Peers. It returns once it listens; Node.Peer waits for a
// peer. Stop it before the System, which may be a node again afterwards, of the same name.
func Start(sys *actor.System, o Options) (*Node, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if sys == nil {
		return nil, errors.New("remote: no System: make one with actor.NewSystem")
	}
	if o.Logger == nil {
		o.Logger = sys.Logger()
	}
	if err := nameOfSystem(sys).check(o.Name); err != nil {
		return nil, err
	}
	n := &Node{
		sys: sys, name: o.Name, opts: o, log: slog.New(carefulHandler{o.Logger.Handler()}).With("node", o.Name), start: time.Now().Add(-time.Hour), changed: new(actor.Event), done: make(chan struct{}),
		peers: make(map[string]*peer), fars: make(map[uint64]*incarnation), ignored: make(map[string]bool),
		kept: make(map[string]bool),
	}
	n.members.ready = make(chan struct{})
	n.ctx, n.stop = context.WithCancel(context.Background())
	if err := n.openFiles(); err != nil {
		n.stop()
		return nil, fmt.Errorf("remote: files: %w", err)
	}
	if o.transport != nil {
		n.tr, err = o.transport(n)
	} else {
		err = n.listen()
	}
	if err == nil {
		if err = sys.SetAbroad(n); err != nil {
			_ = n.tr.Close()
		}
	}
	if err != nil {
		n.stop()
		if n.files != nil {
			_ = n.files.Close()
		}
		return nil, err
	}
	nameOfSystem(sys).set(o.Name)
	if err := errors.Join(n.startServices(), n.startMembership()); err != nil {
		return nil, errors.Join(err, n.Stop(context.Background()))
	}
	n.begin(n.acceptLinks)
	for _, addr := range o.Peers {
		n.Connect(addr)
	}
	close(n.members.ready)
	n.log.Info("node started", "addr", n.addr, "incarnation", fmt.Sprintf("%016x", sys.NodeID()))
	return n, nil
}

func (n *Node) listen() (err error) {
	if n.creds, err = n.opts.TLS.open(n.name, n.log); err != nil {
		return err
	}
	if n.opts.Network == "tcp" {
		return n.listenTCP()
	}
	tr, err := quiclink.Listen(n.opts.Listen, credentials{n.creds}, quiclink.Options{
		IdleTimeout: 2 * n.opts.DownAfter, HandshakesPerSecond: n.opts.HandshakesPerSecond, MaxLinks: 2 * n.opts.MaxPeers, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("remote: listen at %s: %w", n.opts.Listen, err)
	}
	n.tr, n.addr = tr, tr.Addr().String()
	return nil
}

// Name is the node's name.
func (n *Node) Name() string {
	if n.none() {
		return ""
	}
	return n.name
}

// System is whose presence the node is.
func (n *Node) System() *actor.System {
	if n.none() {
		return nil
	}
	return n.sys
}

// Addr is the address that the node listens at, host:port.
func (n *Node) Addr() string {
	if n.none() {
		return ""
	}
	return n.addr
}

// advertised is where others are told to reach the node.
func (n *Node) advertised() string { return cmp.Or(n.opts.Advertise, n.addr) }

// load is what the node tells of how busy it is.
func (n *Node) load() uint32 { return uint32(min(n.tasks.Load(), 1<<31)) }

func (n *Node) beatEvery() time.Duration { return n.opts.DownAfter / 5 }

// granted is what a peer may do here: nothing if the function that says so panics.
func (n *Node) granted(id link.Identity) link.Roles {
	grant := n.opts.Policy.Grant
	if grant == nil {
		return id.Roles
	}
	var roles link.Roles
	if err := apart("Policy.Grant", func() error {
		roles = grant(id.Name, id.Roles)
		return nil
	}); err != nil {
		n.log.Error("a peer may do nothing here", "peer", id.Name, "error", err.Error())
		return 0
	}
	return roles & id.Roles
}

// begin runs f in a goroutine that Stop waits for; false if nothing begins any more. Those whom Stop waits for may use n.work.
func (n *Node) begin(f func()) bool {
	n.goMu.RLock()
	defer n.goMu.RUnlock()
	if n.over {
		return false
	}
	n.work.Go(f)
	return true
}

func (n *Node) acceptLinks() {
	for {
		l, err := n.tr.Accept(n.ctx)
		if err != nil {
			return
		}
		n.begin(func() {
			if err := n.run(l); err != nil {
				n.noteEnd(l, err)
				n.closeEnded(l, err)
			}
			_ = l.Close(closeNormal, "")
		})
	}
}

// noteEnd logs how a link ended.
func (n *Node) noteEnd(l link.Link, err error) {
	var no *refusal
	level := slog.LevelInfo
	if errors.As(err, &no) && no.code == closeRefused {
		n.m.refused.Add(1)
		level = slog.LevelWarn
	}
	if n.ctx.Err() != nil {
		level = slog.LevelDebug
	}
	n.log.Log(n.ctx, level, "link ended", "peer", l.Peer().Name, "addr", l.Addr(), "reason", err.Error())
}

const (
	redialFirst = 20 * time.Millisecond
	redialLast  = 2 * time.Second
)

// keep stays connected to the node at addr.
func (n *Node) keep(addr string) {
	wait := redialFirst
	name, said := "", ""
	for n.ctx.Err() == nil {
		if name != "" && n.await(n.ctx, func() bool { return !n.upLocked(name) }) != nil {
			return
		}
		began := time.Now()
		who, err := n.dial(addr, "", greetTimeout, func() {})
		if who != "" {
			name = who
		}
		var closed *link.CloseError
		if errors.As(err, &closed) && closed.Code == closeRefused || errors.Is(err, errSelf) {
			n.log.Error("a peer refuses this node: it is tried again", "addr", addr, "error", err.Error(), "in", 30*time.Second)
			n.pause(30 * time.Second)
			continue
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			level := slog.LevelInfo
			if closed != nil && closed.Code == link.CodeRefused || strings.Contains(said, "certificate") { // to try again does not help by itself
				level = slog.LevelWarn
			}
			n.log.Log(n.ctx, level, "no link", "addr", addr, "error", said)
		}
		if time.Since(began) > redialLast {
			wait = redialFirst
		}
		n.pause(wait/2 + rand.N(wait))
		wait = min(2*wait, redialLast)
	}
}

var errSelf = errors.New("remote: this is the same node")

// dial makes a link to addr, within that time, and has it run until it ends. It returns who is there, if that became known. dialed is
// called when it is known whether there is a link.
func (n *Node) dial(addr, name string, within time.Duration, dialed func()) (who string, err error) {
	ctx, cancel := context.WithTimeout(n.ctx, within)
	l, err := n.tr.Dial(ctx, addr, name)
	cancel()
	dialed()
	if err != nil {
		return "", err
	}
	err = n.run(l)
	n.closeEnded(l, err)
	_ = l.Close(closeNormal, "")
	return l.Peer().Name, err
}

// pause waits, unless the node stops.
func (n *Node) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-n.ctx.Done():
	}
}

// upLocked reports whether the peer of that name is up, which it also is while it has no link and is not declared down yet; then it
// is dialed by its session. The caller holds n.mu.
func (n *Node) upLocked(name string) bool {
	p := n.peers[name]
	return p != nil && p.up
}

// meet finds out which incarnation of which peer is on the other side of a link.
func (n *Node) meet(g *greeting) (*incarnation, error) {
	name, id := g.hello.GetName(), g.hello.GetIncarnation()
	n.mu.Lock()
	if known := n.fars[id]; n.stopped && (known == nil || known.sess.Load() == nil) { // what has a session is still awaited
		n.mu.Unlock()
		return nil, &refusal{closeStopped, "the node stops"}
	}
	if n.ignored[name] {
		n.mu.Unlock()
		return nil, &refusal{closeRefused, fmt.Sprintf("%s ignores %s", n.name, name)}
	}
	far, err := n.farLocked(id)
	if err != nil {
		n.mu.Unlock()
		return nil, err
	}
	if why := far.ousted(name); why != "" {
		n.mu.Unlock()
		return nil, &refusal{closeRefused, why}
	}
	p := n.peers[name]
	if p == nil {
		if len(n.peers) >= n.opts.MaxPeers && !n.forgetPeerLocked() {
			n.mu.Unlock()
			return nil, &refusal{closeRefused, fmt.Sprintf("%s has %d peers already, which is its limit (MaxPeers)", n.name, n.opts.MaxPeers)}
		}
		p = &peer{name: name}
		n.peers[name] = p
	}
	old := p.now
	far.is(p)
	if old != nil && old != far && p.up { // it has started anew before it was found down
		p.up, p.since = false, time.Now()
		n.changedLocked(p, PeerDown)
	}
	p.now, p.id = far, g.l.Peer()
	p.leaves = false
	if a := g.hello.GetAddress(); a != "" {
		p.addr = reachable(a, g.l.Addr())
	}
	if g.l.Dialed() {
		p.dialed = g.l.Addr()
	}
	p.gossip = g.hello.GetGossipAddress()
	n.mu.Unlock()
	n.metGossip(g.hello.GetGossipAddress())
	if old != nil && old != far {
		old.end(fmt.Errorf("remote: %s has started anew, as %016x: %w", old, id, actor.ErrNodeDown))
	}
	return far, nil
}

// reachable is a peer's advertised address; where that names no host, it is the one that its link comes from.
func reachable(advertised, seen string) string {
	host, port, err := net.SplitHostPort(advertised)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return advertised
	}
	from, _, err := net.SplitHostPort(seen)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(from, port)
}

// farLocked is the incarnation of that number. The caller holds n.mu.
func (n *Node) farLocked(id uint64) (*incarnation, error) {
	if far := n.fars[id]; far != nil {
		return far, nil
	}
	if len(n.fars) >= maxIncarnations {
		n.forgetLocked()
	}
	if len(n.fars) >= maxIncarnations {
		return nil, fmt.Errorf("remote: %d incarnations of nodes are known: %w", len(n.fars), ErrLimit)
	}
	far := &incarnation{node: n, id: id}
	n.fars[id] = far
	return far, nil
}

// maxIncarnations bounds the incarnations of nodes that are remembered. Those with which there is nothing going on are forgotten when
// there are that many: refs of them find the way anew.
const maxIncarnations = 1 << 16

// forgetLocked forgets all incarnations that have no session and are nobody's present one. The caller holds n.mu.
func (n *Node) forgetLocked() {
	for id, far := range n.fars {
		if far.lose() {
			delete(n.fars, id)
			n.sys.ForgetNode(id)
		}
	}
}

// forgetPeerLocked forgets the peer that has been down for longest; false if all are up. The caller holds n.mu.
func (n *Node) forgetPeerLocked() bool {
	var last *peer
	for _, p := range n.peers {
		if !p.up && (p.now == nil || p.now.sess.Load() == nil) && (last == nil || p.since.Before(last.since)) {
			last = p
		}
	}
	if last == nil {
		return false
	}
	last.now = nil
	delete(n.peers, last.name)
	return true
}

// Outbound implements actor.Abroad.
func (n *Node) Outbound(id uint64) (actor.Outbound, error) {
	if n.none() {
		return nil, fmt.Errorf("%w: %w", errNoNode, actor.ErrNoActor)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return nil, fmt.Errorf("%w: %w", ErrStopped, actor.ErrNoActor)
	}
	far, err := n.farLocked(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, actor.ErrNoActor)
	}
	return far, nil
}

// whoIs answers a peer that looks for an incarnation.
func (n *Node) whoIs(s *session, id uint64) {
	n.mu.Lock()
	var name, addr string
	if far := n.fars[id]; far != nil {
		far.mu.Lock()
		if p := far.peer; p != nil && p.now == far {
			name, addr = p.name, p.addr
		}
		far.mu.Unlock()
	}
	n.mu.Unlock()
	if addr != "" {
		s.say(&greenroomv1.Control{What: &greenroomv1.Control_ThisIs{ThisIs: &greenroomv1.ThisIs{Incarnation: id, Name: name, Address: addr}}})
	}
}

// thisIs takes a peer's word for where an incarnation is that this node looks for and knows nothing of. Whoever is there has to prove it; but
// as long as it is dialed it is dialed nowhere else.
func (n *Node) thisIs(m *greenroomv1.ThisIs) {
	n.mu.Lock()
	far := n.fars[m.GetIncarnation()]
	n.mu.Unlock()
	if far == nil || far.whose() != nil || len(m.GetAddress()) > 300 {
		return
	}
	if s := far.sess.Load(); s != nil && !s.linkUp.Load() {
		far.connect(m.GetAddress(), m.GetName())
	}
}

// recheck ends a link whose peer's certificate has expired or was revoked meanwhile. The next one needs a better one.
func (n *Node) recheck(s *session, l link.Link) {
	if n.creds == nil {
		return
	}
	if err := n.creds.Check(l.Peer()); err != nil {
		n.log.Warn("the certificate of a peer is no longer good: its link ends", "peer", s.far.String(), "error", err.Error())
		_ = l.Close(closeRefused, clip(err.Error(), 200))
	}
}

// changedLocked tells those who wait for peers. The caller holds n.mu.
func (n *Node) changedLocked(p *peer, status PeerStatus) {
	n.changed.Set()
	n.changed = new(actor.Event)
	e := PeerEvent{Peer: p.infoLocked(), Status: status}
	for _, w := range n.watchers {
		w.tell(e)
	}
}

// Stop ends the node: it waits, under ctx, until peers have received what was sent, says goodbye and closes all links. What has not
// arrived becomes dead letters. Refs to other nodes are ErrStopped afterwards. nil: all has arrived. While another Stop is under way it waits,
// under ctx, for that one to end; afterwards it does nothing. Actors that go on sending to peers keep it waiting until ctx ends: stop them first.
// It waits for the program's functions that run for the node (Policy, FileOptions.Allow, what Claim was given), so these must not call it and
// wait.
func (n *Node) Stop(ctx context.Context) error {
	switch {
	case n.none():
		return errNoNode
	case ctx == nil:
		return actor.ErrNilContext
	}
	n.mu.Lock()
	if n.stopped {
		n.mu.Unlock()
		return n.waitStopped(ctx)
	}
	defer close(n.done)
	n.stopped = true
	n.changed.Set()
	fars := slices.Collect(maps.Values(n.fars))
	n.mu.Unlock()
	n.leaveMembership(ctx)
	var err error
	for _, far := range fars {
		if s := far.sess.Load(); s != nil {
			err = errors.Join(err, s.drain(ctx))
		}
	}
	for _, far := range fars {
		if s := far.sess.Load(); s != nil {
			s.goodbye(ctx)
		}
		far.end(fmt.Errorf("%w: %w", ErrStopped, actor.ErrNodeDown))
	}
	n.stop()
	_ = n.tr.Close()
	if n.files != nil {
		_ = n.files.Close()
	}
	_ = n.sys.SetAbroad(nil)
	n.goMu.Lock()
	n.over = true
	n.goMu.Unlock()
	err = errors.Join(err, n.waitWork(ctx))
	n.stopServices(ctx)
	n.mu.Lock()
	for id := range n.fars { // another Node of the System finds its own ways
		n.sys.ForgetNode(id)
	}
	for _, w := range n.watchers {
		w.end()
	}
	n.watchers = nil
	n.mu.Unlock()
	return err
}

// drain waits until the other side has received everything.
func (s *session) drain(ctx context.Context) error {
	for s.inflight.Load() > 0 || s.bulk.Load() > 0 {
		t := time.NewTimer(2 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("remote: %s has not confirmed %d bytes: %w", s.far, s.inflight.Load()+s.bulk.Load(), ctx.Err())
		case <-s.ctx.Done():
			t.Stop()
			if s.inflight.Load() > 0 || s.bulk.Load() > 0 {
				return s.downError()
			}
		}
	}
	return nil
}

// goodbye tells the other side that this node stops, and gives the word a moment to get there.
func (s *session) goodbye(ctx context.Context) {
	s.mu.Lock()
	at := s.at
	if at != nil {
		s.ackBytes = max(s.ackBytes, 1)
		s.flushLocked() // what has arrived comes first: the other side reads nothing behind a goodbye
		at.ctl.queue(&greenroomv1.Control{What: &greenroomv1.Control_Goodbye{Goodbye: &greenroomv1.Goodbye{Text: s.node.name + " stops", Leaves: true}}})
		if !at.ctl.write(s.count) {
			s.dirtyLocked(false)
		}
	}
	s.mu.Unlock()
	if at == nil {
		return
	}
	t := time.NewTimer(200 * time.Millisecond)
	defer t.Stop()
	select { // the other side closes the link
	case <-at.l.Done():
	case <-t.C:
	case <-ctx.Done():
	}
}
