package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// channelHub is what a node has to do with channels: those that it publishes, and those of other nodes that it has opened.
type channelHub struct {
	mu         sync.Mutex
	byName     map[string]*publication
	byID       map[uint64]*publication
	finds      map[string][]finder
	findN      int
	deliveries map[uint64]context.CancelFunc
	delivering int // bytes of the messages of deliveries
	outlets    map[actor.ChannelID]*outlet
}

// finder waits for a channel to be published.
type finder struct {
	by      *search // nil for another node
	found   func(*publication)
	waiting func() bool // false: nobody waits any more
}

// publication is a channel that other nodes may use.
type publication struct {
	n        *Node
	name     string
	typeName string
	stem     *actor.Stem
	keep     any // the Channel
	gate     actor.AnyRef
	maxNodes int

	mu       sync.Mutex
	branches map[actor.AnyRef]*branch
	closed   bool
}

func (n *Node) publish(name, typeName string, stem *actor.Stem, keep any, o []PublishOptions) error {
	switch err := actor.CheckName(name); {
	case n.none():
		return errNoNode
	case err != nil:
		return err
	case stem == nil:
		return actor.ErrChannelClosed
	case stem.System() != n.sys:
		return errors.New("the channel is of another System than the node")
	case len(o) > 1:
		return errors.New("more than one PublishOptions")
	case len(o) == 1 && o[0].MaxNodes < 0:
		return fmt.Errorf("MaxNodes is %d: use 0 for as many as there are, or a positive number", o[0].MaxNodes)
	}
	p := &publication{n: n, name: name, typeName: typeName, stem: stem, keep: keep, maxNodes: n.opts.MaxPeers, branches: make(map[actor.AnyRef]*branch)}
	if len(o) == 1 {
		p.maxNodes = cmp.Or(o[0].MaxNodes, p.maxNodes)
	}
	gate, err := actor.Spawn(n.sys, actor.Handler(p.take), actor.Options{Daemon: true})
	if err != nil {
		return err
	}
	p.gate = gate.Any()
	finders, err := n.channels.add(p)
	if err != nil {
		p.gate.Stop()
		return err
	}
	stem.Watch(nil, p.close)
	for _, f := range finders {
		f.found(p)
	}
	return nil
}

// add lists p and returns those who have waited for it.
func (h *channelHub) add(p *publication) ([]finder, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case p.n.ctx.Err() != nil:
		return nil, ErrStopped
	case h.byName[p.name] != nil:
		return nil, actor.ErrNameTaken
	case h.byID[p.stem.ID().ID] != nil:
		return nil, fmt.Errorf("the channel is published as %q: %w", h.byID[p.stem.ID().ID].name, actor.ErrNameTaken)
	case len(h.byName) >= MaxChannels:
		return nil, fmt.Errorf("%d channels are published: %w", len(h.byName), ErrLimit)
	}
	if h.byName == nil {
		h.byName, h.byID = make(map[string]*publication), make(map[uint64]*publication)
	}
	h.byName[p.name], h.byID[p.stem.ID().ID] = p, p
	finders := h.finds[p.name]
	delete(h.finds, p.name)
	h.findN -= len(finders)
	return finders, nil
}

// find calls f.found with the publication of that name, now or once there is one.
func (h *channelHub) find(name string, f finder) error {
	h.mu.Lock()
	p := h.byName[name]
	if p == nil {
		defer h.mu.Unlock()
		if h.findN >= maxFinds {
			h.sweep()
		}
		if h.findN >= maxFinds {
			return fmt.Errorf("remote: %d searches for channels wait here: %w", h.findN, ErrLimit)
		}
		if h.finds == nil {
			h.finds = make(map[string][]finder)
		}
		h.finds[name] = append(h.finds[name], f)
		h.findN++
		return nil
	}
	h.mu.Unlock()
	f.found(p)
	return nil
}

// unfind forgets a search of this node.
func (h *channelHub) unfind(q *search) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.finds[q.name])
	if before == 0 {
		return
	}
	list := slices.DeleteFunc(h.finds[q.name], func(f finder) bool { return f.by == q })
	h.findN -= before - len(list)
	if h.finds[q.name] = list; len(list) == 0 {
		delete(h.finds, q.name)
	}
}

// sweep forgets searches that were given up. The caller holds mu.
func (h *channelHub) sweep() {
	h.findN = 0
	for name, list := range h.finds {
		list = slices.DeleteFunc(list, func(f finder) bool { return !f.waiting() })
		h.findN += len(list)
		if h.finds[name] = list; len(list) == 0 {
			delete(h.finds, name)
		}
	}
}

func (n *Node) unpublish(name string) bool {
	n.channels.mu.Lock()
	p := n.channels.byName[name]
	n.channels.mu.Unlock()
	if p == nil {
		return false
	}
	p.stem.Watch(nil, nil)
	p.close()
	return true
}

// unpublishAll is for a node that has stopped: channels live on, and may be published by another one.
func (n *Node) unpublishAll() {
	n.channels.mu.Lock()
	names := slices.Collect(maps.Keys(n.channels.byName))
	n.channels.mu.Unlock()
	for _, name := range names {
		n.unpublish(name)
	}
}

// close ends the publication: nodes are told, behind all messages.
func (p *publication) close() {
	h := &p.n.channels
	h.mu.Lock()
	if h.byName[p.name] == p {
		delete(h.byName, p.name)
		delete(h.byID, p.stem.ID().ID)
	}
	h.mu.Unlock()
	p.mu.Lock()
	p.closed = true
	branches := p.branches
	p.branches = nil
	p.mu.Unlock()
	for _, b := range branches {
		p.stem.RemoveBranch(b)
		b.end(&greenroomv1.ChannelEnd{Closed: true})
	}
	_ = p.gate.Drain() // what has come before goes its way
}

// take is the gate's behaviour: it sends what comes from other nodes.
func (p *publication) take(ctx *actor.Context, m proto.Message) error {
	if d, ok := m.(*greenroomv1.ChannelDeliver); ok && ctx.IsCall() {
		return p.delivery(ctx, d)
	}
	_, err := p.stem.Publish(ctx, m, 0, false, nil)
	switch {
	case err == nil:
	case errors.Is(err, actor.ErrChannelClosed), errors.Is(err, actor.ErrWrongType):
		why := actor.DeadStopped
		if errors.Is(err, actor.ErrWrongType) {
			why = actor.DeadRefused
		}
		p.n.sys.Undeliverable(actor.DeadLetter{To: ctx.Self(), Message: m, Reason: why, Err: err})
	default:
		p.n.log.Warn("a message from another node has not reached all", "channel", p.name, "error", err.Error())
	}
	return nil
}

// delivery does a Deliver of another node. Others do not wait for it.
func (p *publication) delivery(ctx *actor.Context, d *greenroomv1.ChannelDeliver) error {
	m, err := unpacked(d.GetMessage(), p.typeName)
	if err != nil {
		return ctx.Fail(err)
	}
	r, err := ctx.Responder()
	if err != nil {
		return err // never: it is a call
	}
	from := p.n.ctx
	if s := p.n.sessionWith(d.GetNode()); s != nil {
		from = s.ctx // who asks is on that node: with it goes the wait
	}
	wait, cancel := context.WithCancel(from)
	h := &p.n.channels
	size, most := len(d.GetMessage().GetValue()), p.n.opts.MaxQueuedBytes
	h.mu.Lock()
	if n := len(h.deliveries); n >= maxDeliveries || n > 0 && h.delivering+size > most || h.deliveries[d.GetId()] != nil {
		h.mu.Unlock()
		cancel()
		_ = r.Fail(fmt.Errorf("remote: channel %q: %d deliveries are under way, and %d, or %d bytes, are the most: %w", p.name, n, maxDeliveries, most, ErrLimit))
		return nil
	}
	h.delivering += size
	if h.deliveries == nil {
		h.deliveries = make(map[uint64]context.CancelFunc)
	}
	h.deliveries[d.GetId()] = cancel
	h.mu.Unlock()
	deliver := func() {
		defer func() {
			cancel()
			h.mu.Lock()
			h.delivering -= size
			delete(h.deliveries, d.GetId())
			h.mu.Unlock()
		}()
		n, err := p.stem.Publish(wait, m, int(d.GetAtLeast()), true, nil)
		_ = r.Reply(reachedOf(n, err)) // or nobody waits any more
	}
	if !p.n.begin(deliver) {
		cancel()
		_ = r.Fail(ErrStopped) // or nobody waits any more
	}
	return nil
}

func reachedOf(n int, err error) *greenroomv1.ChannelReached {
	m := &greenroomv1.ChannelReached{Reached: uint64(max(n, 0))}
	if err != nil {
		m.Failure = failureOf(err)
	}
	return m
}

// sessionWith is the session with that incarnation of a node, nil if there is none.
func (n *Node) sessionWith(node uint64) *session {
	n.mu.Lock()
	far := n.fars[node]
	n.mu.Unlock()
	if far == nil {
		return nil
	}
	return far.sess.Load()
}

// channelService serves other nodes.
func (n *Node) channelService(ctx *actor.Context, m *greenroomv1.ChannelRequest) error {
	h := &n.channels
	switch w := m.GetWhat().(type) {
	case *greenroomv1.ChannelRequest_Find:
		if !ctx.IsCall() {
			return nil // nobody waits
		}
		r, err := ctx.Responder()
		if err != nil {
			return err // never: it is a call
		}
		err = actor.CheckName(w.Find.GetName()) // it is kept
		if err == nil {
			err = h.find(w.Find.GetName(), finder{found: func(p *publication) { _ = r.Reply(p.info()) }, waiting: r.Waiting})
		}
		if err != nil {
			_ = r.Fail(err)
		}
	case *greenroomv1.ChannelRequest_Attach:
		attached, err := n.attachChannel(w.Attach)
		if !ctx.IsCall() {
			return nil
		}
		if err != nil {
			return ctx.Fail(err)
		}
		return ctx.Reply(attached)
	case *greenroomv1.ChannelRequest_Count:
		p := h.published(w.Count.GetChannel())
		if p != nil {
			p.counted(w.Count)
		}
		switch {
		case !ctx.IsCall():
		case p == nil:
			return ctx.Fail(actor.ErrChannelClosed)
		default:
			return ctx.Reply(reachedOf(p.stem.EndPoints(), nil))
		}
	case *greenroomv1.ChannelRequest_Detach:
		if p := h.published(w.Detach.GetChannel()); p != nil {
			p.detach(n.refTo(w.Detach.GetNode(), w.Detach.GetProxy()), &greenroomv1.ChannelEnd{})
		}
	case *greenroomv1.ChannelRequest_Progress:
		if p := h.published(w.Progress.GetChannel()); p != nil {
			if b := p.branch(n.refTo(w.Progress.GetNode(), w.Progress.GetProxy())); b != nil {
				b.progressed(w.Progress.GetNumber(), w.Progress.GetReached())
			}
		}
	case *greenroomv1.ChannelRequest_Cancel:
		h.mu.Lock()
		cancel := h.deliveries[w.Cancel.GetId()]
		h.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	}
	return nil
}

func (p *publication) info() *greenroomv1.ChannelInfo {
	return &greenroomv1.ChannelInfo{Id: p.stem.ID().ID, Gate: p.gate.ID(), TypeName: p.typeName, Retain: p.stem.Retains()}
}

func (h *channelHub) published(id uint64) *publication {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byID[id]
}

// refTo is the ref of an actor by its numbers, zero if it is of no known node.
func (n *Node) refTo(node, id uint64) actor.AnyRef {
	n.mu.Lock()
	known := n.fars[node] != nil
	n.mu.Unlock()
	if !known {
		return actor.AnyRef{}
	}
	r, _ := n.sys.RefAt(node, id)
	return r
}

// attachChannel has a node get the messages of a channel.
func (n *Node) attachChannel(m *greenroomv1.ChannelAttach) (*greenroomv1.ChannelAttached, error) {
	p := n.channels.published(m.GetChannel())
	s := n.sessionWith(m.GetNode())
	to := n.refTo(m.GetNode(), m.GetProxy())
	switch {
	case p == nil:
		return nil, actor.ErrChannelClosed
	case s == nil || to.IsZero():
		return nil, actor.ErrNodeDown
	}
	b := &branch{pub: p, s: s, to: to, pair: pair{0, to.ID()}}
	retained, origins, err := p.attach(b)
	if err != nil {
		return nil, err
	}
	if err := s.watch(actor.AnyRef{}, to, randomID(), func(actor.Down) { b.down() }); err != nil {
		b.down()
		return nil, err
	}
	a, err := packed(retained)
	if err != nil {
		return nil, err
	}
	return &greenroomv1.ChannelAttached{Retained: a, Origins: idsTo(origins)}, nil
}

func (p *publication) attach(b *branch) (proto.Message, []actor.ChannelID, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	nodes := make(map[*incarnation]int)
	for _, other := range p.branches {
		nodes[other.s.far]++
	}
	switch n := nodes[b.s.far]; {
	case p.closed:
		return nil, nil, actor.ErrChannelClosed
	case p.branches[b.to] != nil:
		return nil, nil, errors.New("remote: it gets the messages already")
	case n >= maxProxies:
		return nil, nil, fmt.Errorf("remote: channel %q has %d proxies on %s: %w", p.name, n, b.s.far, ErrLimit)
	case n == 0 && len(nodes) >= p.maxNodes:
		return nil, nil, fmt.Errorf("remote: channel %q has subscribers on %d nodes: %w", p.name, len(nodes), ErrLimit)
	}
	retained, origins, err := p.stem.AddBranch(b)
	if err == nil {
		p.branches[b.to] = b
	}
	return retained, origins, err
}

func (p *publication) branch(to actor.AnyRef) *branch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.branches[to]
}

// counted takes note of how many end points a node has.
func (p *publication) counted(m *greenroomv1.ChannelCount) {
	b := p.branch(p.n.refTo(m.GetNode(), m.GetProxy()))
	if b != nil && b.count(m.GetVersion(), int64(min(m.GetCount(), math.MaxInt32))) {
		p.stem.BranchChanged()
	}
}

// detach ends what attach has begun. end is the last that the node gets, nil if it is down.
func (p *publication) detach(to actor.AnyRef, end *greenroomv1.ChannelEnd) {
	p.mu.Lock()
	b := p.branches[to]
	delete(p.branches, to)
	p.mu.Unlock()
	if b != nil {
		p.stem.RemoveBranch(b)
		b.end(end)
	}
}

// branch is the way from a channel to its subscribers on one other node: actor.Branch. All goes to one actor there, the proxy, by one lane
// and from nobody, so that it keeps its order. It lives as long as its session.
type branch struct {
	pub  *publication
	s    *session
	to   actor.AnyRef
	pair pair

	points  atomic.Int64
	mu      sync.Mutex // taken before the session's locks
	version uint64
	line    []*passage // messages that wait for room, and whose senders do, save one
	moving  bool       // there is a goroutine that sends them
	asked   map[uint64]*passage
	calls   uint64
	gone    bool
}

// passage is a message on its way to a node: actor.Passage. All is guarded by the branch's lock.
type passage struct {
	b       *branch
	m       proto.Message
	confirm bool
	inLine  bool
	behind  bool
	call    uint64 // its number as a call, once it is sent
	number  uint64 // which of the branch's calls
	reached int
	over    bool
	err     error
	notify  func()
}

// EndPoints implements actor.Branch.
func (b *branch) EndPoints() int { return int(b.points.Load()) }

func (b *branch) count(version uint64, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone || version <= b.version {
		return false
	}
	b.version = version
	return b.points.Swap(n) != n
}

// Origins implements actor.Branch.
func (b *branch) Origins(list []actor.ChannelID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.gone {
		_ = b.word(&greenroomv1.ChannelOrigins{Origins: idsTo(list)}) // or the session has ended
	}
}

// Offer implements actor.Branch.
func (b *branch) Offer(m proto.Message, confirm bool) actor.Passage {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return nil
	}
	p := &passage{b: b, m: m, confirm: confirm}
	if len(b.line) == 0 && b.send(p) {
		if p.over && p.err == nil {
			return nil
		}
		return p
	}
	p.inLine = true
	b.line = append(b.line, p)
	if !b.moving {
		b.moving = b.s.node.begin(b.move)
	}
	return p
}

// word tells the proxy something, behind all messages. It does not wait. The caller holds the lock.
func (b *branch) word(m proto.Message) error {
	t, err := typeOf(m)
	if err != nil {
		return err
	}
	var e wire.Envelope
	if err := b.s.laneOf(b.pair).message(b.pair, t, &e, m, proto.Size(m)); err != nil {
		return err
	}
	b.s.count.sent.Add(1)
	return nil
}

// send sends p if there is room for it. False: there is none. The caller holds the lock.
func (b *branch) send(p *passage) bool {
	t, err := typeOf(p.m)
	size := proto.Size(p.m)
	if err == nil {
		err = b.s.admissible(t, size, false)
	}
	switch {
	case err != nil:
		p.over, p.err = true, err
		return true
	case !b.roomFor(size):
		return false
	}
	var e wire.Envelope
	if p.confirm {
		if p.call, err = b.s.begin(&outgoing{to: b.to, p: b.pair, answer: p.answered}); err == nil {
			e.Kind, e.ID = greenroomv1.Kind_KIND_CALL, p.call
		}
	}
	if err == nil {
		err = b.s.laneOf(b.pair).message(b.pair, t, &e, p.m, size)
	}
	switch {
	case err == nil:
		b.s.count.sent.Add(1)
	case b.s.ctx.Err() != nil: // nobody is there any more
		p.over = true
		b.s.taken(p.call)
		return true
	default:
		p.over, p.err = true, err
		b.s.taken(p.call)
		return true
	}
	if !p.confirm {
		p.over = true
		return true
	}
	b.calls++
	p.number = b.calls
	if b.asked == nil {
		b.asked = make(map[uint64]*passage)
	}
	b.asked[p.number] = p
	return true
}

// roomFor reports whether a message of that size may go now.
func (b *branch) roomFor(size int) bool {
	s := b.s
	if s.pausedN.Load() > 0 {
		s.pauseMu.Lock()
		paused := s.paused[b.to.ID()] != nil
		s.pauseMu.Unlock()
		if paused {
			return false
		}
	}
	return s.gauge(b.pair, size).Load() < s.window.Load()
}

// awaitRoom waits until a message of that size may go, or the session has ended.
func (b *branch) awaitRoom(size int) {
	s := b.s
	for !b.roomFor(size) && s.ctx.Err() == nil {
		if s.pausedN.Load() > 0 {
			_ = s.awaitUnpaused(s.ctx, b.pair)
		}
		if n := s.gauge(b.pair, size); n.Load() >= s.window.Load() {
			_ = s.awaitRoom(s.ctx, n)
		}
	}
}

// move sends what waits in line, one by one.
func (b *branch) move() {
	for {
		b.mu.Lock()
		if len(b.line) == 0 || b.gone {
			b.moving = false
			b.mu.Unlock()
			return
		}
		p := b.line[0]
		if !b.send(p) {
			size := proto.Size(p.m)
			b.mu.Unlock()
			b.awaitRoom(size)
			continue
		}
		b.line[0] = nil
		b.line = b.line[1:]
		p.inLine = false
		if p.behind {
			p.behind = false
			b.forget(p)
		}
		notify := p.notify
		b.mu.Unlock()
		if notify != nil {
			notify()
		}
	}
}

// forget has nobody wait for p's answer. The caller holds the lock.
func (b *branch) forget(p *passage) {
	delete(b.asked, p.number)
	if p.call != 0 {
		b.s.taken(p.call)
	}
}

// progressed hears how many a message has reached that waits for more.
func (b *branch) progressed(number, n uint64) {
	b.mu.Lock()
	p := b.asked[number]
	var notify func()
	if p != nil && !p.over {
		p.reached = max(p.reached, int(min(n, math.MaxInt32)))
		notify = p.notify
	}
	b.mu.Unlock()
	if notify != nil {
		notify()
	}
}

// answered takes the proxy's answer.
func (p *passage) answered(m proto.Message, err error) {
	b := p.b
	b.mu.Lock()
	delete(b.asked, p.number)
	switch r, ok := m.(*greenroomv1.ChannelReached); {
	case ok:
		p.reached = int(min(r.GetReached(), math.MaxInt32))
		if f := r.GetFailure(); f != nil {
			p.err = fmt.Errorf("on %s: %w", b.s.far, b.s.node.errorFrom(f, b.s.far.String()))
		}
	case errors.Is(err, actor.ErrNodeDown), errors.Is(err, actor.ErrStopped), b.s.ctx.Err() != nil:
		// Who is no longer there does not count, as those who end.
	case err != nil:
		p.err = fmt.Errorf("on %s: %w", b.s.far, err)
	}
	p.over = true
	notify := p.notify
	b.mu.Unlock()
	if notify != nil {
		notify()
	}
}

// Reached implements actor.Passage.
func (p *passage) Reached() (int, bool, error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return p.reached, p.over, p.err
}

// Notify implements actor.Passage.
func (p *passage) Notify(f func()) {
	p.b.mu.Lock()
	p.notify = f
	p.b.mu.Unlock()
	f()
}

// GiveUp implements actor.Passage.
func (p *passage) GiveUp() bool {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	p.notify = nil
	if p.over {
		return false
	}
	p.over = true
	if p.inLine {
		p.inLine = false
		b.line = slices.DeleteFunc(b.line, func(q *passage) bool { return q == p })
		return true
	}
	b.forget(p)
	return false
}

// LeaveBehind implements actor.Passage.
func (p *passage) LeaveBehind() bool {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.inLine {
		if slices.ContainsFunc(b.line, func(q *passage) bool { return q.behind }) {
			return false
		}
		p.behind, p.notify = true, nil
		return true
	}
	p.notify = nil
	if !p.over {
		b.forget(p)
	}
	return true
}

// down takes note that the proxy, or its node, is no more.
func (b *branch) down() { b.pub.detach(b.to, nil) }

// end lets go of those who wait and tells the proxy, if it is there, that nothing more comes.
func (b *branch) end(last *greenroomv1.ChannelEnd) {
	b.mu.Lock()
	if b.gone {
		b.mu.Unlock()
		return
	}
	b.gone = true
	b.points.Store(0)
	line := b.line
	b.line = nil
	var notify []func()
	var left proto.Message
	for _, p := range line {
		p.inLine, p.over = false, true
		if p.behind {
			left = p.m
		}
		if p.notify != nil {
			notify = append(notify, p.notify)
		}
	}
	if last != nil {
		_ = b.word(last) // or the session has ended
	}
	b.mu.Unlock()
	for _, f := range notify {
		f()
	}
	if left != nil {
		why := actor.DeadNodeDown
		if last != nil {
			why = actor.DeadStopped
		}
		b.s.node.sys.Undeliverable(actor.DeadLetter{To: b.to, Message: left, Reason: why})
	}
}
