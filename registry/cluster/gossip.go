package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	inboxDepth     = 1024              // what has come from others and waits to be merged; what does not fit is lost, and made good later
	inboxBytes     = 2 * MaxStateBytes // the same in bytes
	queueDepth     = 4096              // deltas that are being spread
	asks           = 3                 // how often who has our name is asked whether it lives
	repairInterval = 250 * time.Millisecond
	aloneInterval  = time.Second
	leaveTimeout   = 5 * time.Second
)

// Gossip is a Membership that nodes keep among themselves (SWIM, by hashicorp/memberlist), encrypted, and carries Names.
//
// Shape: memberlist probes, suspects and spreads; here are the members' records, the rule for nodes of one name, the Replica of the
// names, and two goroutines: one that merges and tells, one that looks for seeds and asks who has our name. Both end with Leave or
// Close, which wait for them.
// NewGossip makes it.
type Gossip struct {
	o       GossipOptions
	list    *memberlist.Memberlist
	replica *Replica
	seeds   Discovery
	tell    func(Event)
	spread  memberlist.TransmitLimitedQueue
	count   atomic.Int32 // of living nodes, for spread
	inbox   chan []byte
	waiting atomic.Int64  // bytes in inbox
	changed chan struct{} // there is something to tell
	rivals  chan struct{} // another node has our name
	cancel  context.CancelFunc
	done    sync.WaitGroup
	update  sync.Mutex // one UpdateNode at a time

	mu        sync.Mutex
	state     gossipState
	self      record
	meta      []byte
	living    map[string]map[uint64]record // by name and incarnation, this node too
	gone      map[nodeKey]Kind             // how it went
	told      map[string]Member
	dirty     map[string]bool // names of nodes of which there may be something to tell
	twin      *Member         // has even the same incarnation
	displacer *Member         // has our name
}

type gossipState uint8

const (
	idle gossipState = iota
	starting
	running
	over
)

var _ Membership = (*Gossip)(nil)

// NewGossip makes a Gossip, which listens to nobody before Start. Errors: options that cannot be.
func NewGossip(o GossipOptions) (*Gossip, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Gossip{
		o: o, inbox: make(chan []byte, inboxDepth), changed: make(chan struct{}, 1), rivals: make(chan struct{}, 1), cancel: func() {},
		living: map[string]map[uint64]record{}, gone: map[nodeKey]Kind{}, told: map[string]Member{}, dirty: map[string]bool{},
	}
	g.spread.NumNodes = func() int { return int(g.count.Load()) }
	g.spread.RetransmitMult = memberlist.DefaultLANConfig().RetransmitMult
	return g, nil
}

// Names are the names that this cluster knows; nil before Start has returned. After the end they say what was known last.
func (g *Gossip) Names() Names {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state < running || g.replica == nil {
		return nil
	}
	return g.replica
}

// Start implements Membership.
func (g *Gossip) Start(ctx context.Context, self Member, discovery Discovery, tell func(Event)) error {
	if self.Incarnation == 0 {
		self.Incarnation = uint64(time.Now().UnixNano())
	}
	r := record{Member: self.clone()}
	if err := errors.Join(self.check(), r.fits(), ctx.Err()); err != nil {
		return err
	}
	if err := g.begin(r, discovery, tell); err != nil {
		return err
	}
	if err := g.enter(ctx); err != nil {
		g.end()
		return err
	}
	return nil
}

func (g *Gossip) begin(r record, discovery Discovery, tell func(Event)) (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != idle {
		return fmt.Errorf("%w: it starts once", ErrNotStarted)
	}
	if g.replica, err = NewReplica(r.Name, r.Incarnation); err != nil {
		return err
	}
	g.state, g.seeds, g.tell = starting, discovery, tell
	g.count.Store(1)
	return g.be(r)
}

// enter listens, looks for others, and makes sure that nobody has our name.
func (g *Gossip) enter(ctx context.Context) error {
	c, err := g.o.config()
	if err != nil {
		return err
	}
	c.Name = gossipName(g.self.Name, g.self.Incarnation)
	d := delegate{g}
	c.Delegate, c.Events, c.Alive, c.Conflict = d, d, d, d
	list, err := memberlist.Create(c)
	if err != nil {
		_ = c.Transport.Shutdown()
		return fmt.Errorf("%w: %w", errOptions, err)
	}
	g.mu.Lock()
	g.list = list
	self := g.self
	self.GossipAddr = list.LocalNode().Address()
	err = g.be(self)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	if err := g.seek(ctx); err != nil {
		g.o.Logger.Log(ctx, slog.LevelWarn, "no other node found yet, will go on looking", "node", g.Self().String(), "err", err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if by := g.contest(); by != nil {
		if by.nodeKey() != self.nodeKey() { // what a twin says of itself it would say of the other
			_ = list.Leave(time.Second) // so that nobody has to find out; that not all are told is no harm
		}
		return taken(*by)
	}
	run, cancel := context.WithCancel(context.Background())
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != starting {
		cancel()
		return fmt.Errorf("%w: closed while it started", ErrNotStarted)
	}
	g.state, g.cancel = running, cancel
	g.done.Go(func() { g.work(run) })
	g.done.Go(func() { g.watch(run) })
	return nil
}

// be makes r this node's record.
func (g *Gossip) be(r record) error {
	meta, err := r.encode()
	if err != nil {
		return err
	}
	g.self, g.meta = r, meta
	nodes := g.living[r.Name]
	if nodes == nil {
		nodes = map[uint64]record{}
		g.living[r.Name] = nodes
	}
	nodes[r.Incarnation] = r
	return nil
}

func taken(by Member) error {
	return fmt.Errorf("%w: a living node is called %q: incarnation %x at %s; give this one another name, or stop that one",
		ErrNameTaken, by.Name, by.Incarnation, by.GossipAddr)
}

// Join implements Membership.
func (g *Gossip) Join(ctx context.Context, seeds []string) error {
	if err := g.hold(); err != nil {
		return err
	}
	defer g.done.Done()
	return g.join(ctx, seeds)
}

// hold has the end wait for the caller, who gives it back to done.
func (g *Gossip) hold() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != running {
		return ErrNotStarted
	}
	g.done.Add(1)
	return nil
}

func (g *Gossip) join(ctx context.Context, seeds []string) error {
	addrs, err := resolve(ctx, seeds)
	reached := 0
	for _, addr := range addrs {
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if addr == g.Self().GossipAddr {
			continue
		}
		n, joinErr := g.list.Join([]string{addr})
		reached += n
		err = errors.Join(err, joinErr)
	}
	if reached == 0 {
		return fmt.Errorf("%w at %.200q: %w", ErrNoSeeds, seeds, orNone(err))
	}
	return nil
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no address but this node's own was given")
	}
	return err
}

// seek joins what discovery finds and is not known. That there is nobody else to be found is no error.
func (g *Gossip) seek(ctx context.Context) error {
	if g.seeds == nil {
		return nil
	}
	seeds, err := g.seeds.Seeds(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	g.mu.Lock()
	for _, nodes := range g.living {
		for _, r := range nodes {
			known[r.GossipAddr] = true
		}
	}
	g.mu.Unlock()
	addrs, err := resolve(ctx, seeds)
	addrs = slices.DeleteFunc(addrs, func(addr string) bool { return known[addr] })
	if len(addrs) == 0 {
		return err
	}
	return g.join(ctx, addrs)
}

// Update implements Membership.
func (g *Gossip) Update(load uint32, tags map[string]string) error {
	if err := g.hold(); err != nil {
		return err
	}
	defer g.done.Done()
	return g.amend(func(r *record) { r.Load, r.Tags = load, maps.Clone(tags) }, time.Nanosecond)
}

// amend changes this node's record and has it spread; it waits at most for so long until others have it.
func (g *Gossip) amend(change func(*record), wait time.Duration) error {
	g.update.Lock()
	defer g.update.Unlock()
	g.mu.Lock()
	r := g.self
	change(&r)
	err := r.fits()
	if err == nil {
		err = g.be(r)
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	// Its only error is that others do not have it yet.
	_ = g.list.UpdateNode(wait)
	return nil
}

// Self implements Membership.
func (g *Gossip) Self() Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.self.clone()
}

// Members implements Membership.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != running {
		return nil
	}
	all := []Member{g.self.clone()}
	for name, nodes := range g.living {
		if r := holder(nodes); r != nil && name != g.self.Name {
			all = append(all, r.clone())
		}
	}
	sortMembers(all)
	return all
}

// Leave implements Membership.
func (g *Gossip) Leave(ctx context.Context) error {
	if g.hold() == nil {
		timeout := leaveTimeout
		if deadline, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(deadline))
		}
		g.depart(ctx, timeout)
	}
	g.end()
	return nil
}

// depart tells the others, first that this node is leaving, so that it does not count as failed, and then that it is gone.
func (g *Gossip) depart(ctx context.Context, timeout time.Duration) {
	told := make(chan struct{})
	until := time.Now().Add(timeout)
	go func() { // it was held, and gives that back
		defer g.done.Done()
		defer close(told)
		_ = g.amend(func(r *record) { r.leaving = true }, max(time.Until(until), time.Nanosecond))
		if err := g.list.Leave(max(time.Until(until), time.Nanosecond)); err != nil {
			g.o.Logger.Log(ctx, slog.LevelDebug, "left before the others were told", "err", err)
		}
	}()
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// Close implements Membership.
func (g *Gossip) Close() error {
	g.end()
	return nil
}

// end stops everything and waits for it.
func (g *Gossip) end() {
	g.mu.Lock()
	g.state = over
	list, cancel := g.list, g.cancel
	g.mu.Unlock()
	cancel()
	g.done.Wait() // first, because memberlist must not be used after its end
	if list != nil {
		_ = list.Shutdown()
	}
}

// signal wakes whoever waits for c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// work merges what comes, spreads what is new, and tells.
func (g *Gossip) work(ctx context.Context) {
	repair := time.NewTicker(repairInterval)
	defer repair.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.changed:
			if !g.settle(ctx) {
				return
			}
		case b := <-g.inbox:
			g.waiting.Add(-int64(len(b)))
			g.receive(ctx, b)
		case <-g.replica.Ready():
			g.spreadDeltas()
		case <-repair.C:
			g.repair()
		}
	}
}

// settle tells what has changed since it was told last. It reports whether there is more to come.
func (g *Gossip) settle(ctx context.Context) bool {
	g.mu.Lock()
	var events []Event
	by := g.displacer
	for _, name := range slices.Sorted(maps.Keys(g.dirty)) {
		if name != g.self.Name {
			events = g.difference(events, name)
		}
	}
	clear(g.dirty)
	clear(g.gone)
	g.mu.Unlock()
	for _, e := range events {
		if ctx.Err() != nil {
			return false
		}
		switch e.Kind {
		case Joined:
			g.replica.Appear(e.Member.Name, e.Member.Incarnation)
		case Left, Failed:
			g.replica.Vanish(e.Member.Name, e.Member.Incarnation)
		case Updated, Displaced:
		}
		g.tell(e)
	}
	if by != nil && ctx.Err() == nil {
		g.tell(Event{Displaced, *by})
	}
	return by == nil
}

func (g *Gossip) difference(events []Event, name string) []Event {
	now := holder(g.living[name])
	was, told := g.told[name]
	if told && now != nil && now.Incarnation == was.Incarnation {
		if !now.Equal(was) {
			g.told[name] = now.clone()
			events = append(events, Event{Updated, now.clone()})
		}
		return events
	}
	if told {
		delete(g.told, name)
		kind, ok := g.gone[nodeKey{name, was.Incarnation}]
		if !ok {
			kind = Failed // it is still there, but another one has its name
		}
		events = append(events, Event{kind, was})
	}
	if now != nil {
		g.told[name] = now.clone()
		events = append(events, Event{Joined, now.clone()})
	}
	return events
}

// What one Gossip sends another beside what memberlist does: a byte that says what it is, and then
//
//	's'  what a Replica has to say, for Merge
//	'?'  the name under which gossip knows who asks for Own
const (
	sayState = 's'
	sayAsk   = '?'
)

func (g *Gossip) receive(ctx context.Context, b []byte) {
	switch b[0] {
	case sayState:
		if err := g.replica.Merge(b[1:]); err != nil {
			g.o.Logger.Log(ctx, slog.LevelWarn, "what a node publishes was not understood", "node", g.Self().String(), "err", err)
		}
	case sayAsk:
		if to := g.find(string(b[1:])); to != nil {
			g.send(to, sayState, g.replica.Own())
		}
	}
}

// find is the living node that gossip knows under that name.
func (g *Gossip) find(name string) *memberlist.Node {
	for _, n := range g.list.Members() {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// send sends a message in a packet if it is small, else over a stream.
func (g *Gossip) send(to *memberlist.Node, what byte, body []byte) {
	b := append([]byte{what}, body...)
	send := g.list.SendBestEffort
	if len(b) > MaxDeltaBytes {
		send = g.list.SendReliable
	}
	if err := send(to, b); err != nil {
		g.o.Logger.Log(context.Background(), slog.LevelDebug, "not sent, will be made good", "to", to.Name, "err", err)
	}
}

func (g *Gossip) spreadDeltas() {
	for _, d := range g.replica.Deltas() {
		g.spread.QueueBroadcast(delta(append([]byte{sayState}, d...)))
		g.spread.Prune(queueDepth)
	}
}

// repair asks members of whom something is missing.
func (g *Gossip) repair() {
	missing := g.replica.Missing()
	g.mu.Lock()
	me := gossipName(g.self.Name, g.self.Incarnation)
	var whom []string
	for _, name := range missing {
		if m, ok := g.told[name]; ok {
			whom = append(whom, gossipName(name, m.Incarnation))
		}
	}
	g.mu.Unlock()
	for _, name := range whom {
		if n := g.find(name); n != nil {
			g.send(n, sayAsk, []byte(me))
		}
	}
}

// watch looks for seeds from time to time, and asks who has our name when somebody has.
func (g *Gossip) watch(ctx context.Context) {
	timer := time.NewTimer(g.nextSeek())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			if err := g.seek(ctx); err != nil {
				g.o.Logger.Log(ctx, slog.LevelDebug, "seeds not reached", "node", g.Self().String(), "err", err)
			}
			timer.Reset(g.nextSeek())
		case <-g.rivals:
			if by := g.contest(); by != nil {
				g.giveUp(ctx, *by)
				return
			}
		}
	}
}

func (g *Gossip) nextSeek() time.Duration {
	if g.count.Load() <= 1 {
		return min(aloneInterval, g.o.SeedInterval)
	}
	return g.o.SeedInterval
}

// contest finds whether this node may have its name. Who has it is asked; if it does not answer, the record says so from now on.
// The answer is who lives and has it, nil for this node itself.
func (g *Gossip) contest() *Member {
	for {
		g.mu.Lock()
		first, self, twin := holder(g.living[g.self.Name]), g.self, g.twin
		g.mu.Unlock()
		switch {
		case twin != nil:
			return twin
		case first == nil || first.Incarnation == self.Incarnation:
			return nil
		case first.Incarnation > self.Incarnation || g.answers(first.Member):
			return &first.Member
		}
		g.o.Logger.Log(context.Background(), slog.LevelInfo, "a predecessor of this node does not answer, its name is this node's now",
			"node", self.String(), "predecessor", first.String(), "at", first.GossipAddr)
		if err := g.amend(func(r *record) { r.supersedes = max(r.supersedes, first.Incarnation) }, time.Nanosecond); err != nil {
			return nil // fits has left room for it
		}
	}
}

// answers asks another incarnation of this node whether it lives.
func (g *Gossip) answers(m Member) bool {
	addr, err := net.ResolveUDPAddr("udp", m.GossipAddr)
	if err != nil {
		return false
	}
	for range asks {
		if _, err := g.list.Ping(gossipName(m.Name, m.Incarnation), addr); err == nil {
			return true
		}
	}
	return false
}

// giveUp ends a membership whose name another node has.
func (g *Gossip) giveUp(ctx context.Context, by Member) {
	g.mu.Lock()
	if g.state != running {
		g.mu.Unlock()
		return
	}
	g.state, g.displacer = over, &by
	g.mu.Unlock()
	g.o.Logger.Log(ctx, slog.LevelError, "this node is no member any more: a living node has its name",
		"node", g.Self().String(), "other", by.String(), "at", by.GossipAddr)
	_ = g.list.Leave(time.Second)
	signal(g.changed)
}

// delta is a broadcast; none makes another one obsolete.
type delta []byte

// Invalidates is never so.
func (delta) Invalidates(memberlist.Broadcast) bool { return false }

// Message is what is sent.
func (d delta) Message() []byte { return d }

// Finished needs nothing.
func (delta) Finished() {}

// UniqueBroadcast says that Invalidates need not be asked.
func (delta) UniqueBroadcast() {}
