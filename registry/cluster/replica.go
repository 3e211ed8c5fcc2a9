package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

const (
	maxPending = 256  // deltas of one node kept because an earlier one is missing
	maxHidden  = 32   // nodes that are no members, whose state is kept in case they are soon
	maxUnsent  = 1024 // deltas kept to be passed on
)

// Replica is this node's copy of the names and groups of all members: Names, and what a carrier such as Gossip needs to keep copies
// the same.
//
// Shape: for each node the names and memberships that it publishes, with a version that counts its changes; only the node itself
// changes them. A copy of an incarnation's state at a version is the same everywhere, and of two copies the later one replaces the
// other: in whatever order and however often states arrive, replicas that have got the same are the same (TestReplicasConverge).
// Deltas follow a version; one that comes too early waits, within bounds, for what is missing. What a node that is no member
// publishes is kept for a while, but not seen.
// NewReplica makes it. Any goroutine may use it.
// Cost: one lock; Lookup is one map access under it.
type Replica struct {
	mu       sync.Mutex
	own      *published
	nodes    map[string]*published // members by name, this node among them
	hidden   []*published          // others, oldest first
	names    map[string][]*published
	groups   map[string]map[Entry]bool
	clock    uint64 // the Lamport time: the highest stamp seen
	lost     map[string]func(Entry)
	watchers map[string][]*watcher[NameEvent]
	watching map[string][]*watcher[GroupEvent]
	touched  map[string]Entry          // names touched since the lock was taken, and who had them then
	moved    map[string]map[Entry]bool // the same for entries of groups that are watched, and whether they were in it
	ops      []op                      // of this node's, not yet in a delta
	unsent   [][]byte
	ready    chan struct{}
	calls    []func() // what is still to be called back
	calling  bool
}

var _ Names = (*Replica)(nil)

type nodeKey struct {
	name        string
	incarnation uint64
}

// published is what one incarnation of a node publishes, as far as it is known.
type published struct {
	nodeKey

	visible bool
	known   bool // some state of it has arrived
	version uint64
	claims  map[string]claim
	members map[membership]bool
	pending map[uint64][]op // deltas that came too early, by what they follow
}

type claim struct {
	actor Actor
	stamp uint64
}

type membership struct {
	group string
	actor Actor
}

func (p *published) entry(a Actor) Entry { return Entry{p.name, p.incarnation, a} }

type watcher[E any] struct {
	tell func(E)
	stop bool // under the Replica's lock
}

// NewReplica makes the replica of this node, which publishes nothing yet and knows no other member.
// Errors: ErrBadMember (no valid name, or incarnation 0).
func NewReplica(node string, incarnation uint64) (*Replica, error) {
	if err := checkNode(node); err != nil {
		return nil, err
	}
	if incarnation == 0 {
		return nil, fmt.Errorf("%w: a replica needs the incarnation of its node, which is above 0", ErrBadMember)
	}
	own := newPublished(nodeKey{node, incarnation})
	own.visible, own.known = true, true
	return &Replica{
		own: own, nodes: map[string]*published{node: own}, names: map[string][]*published{}, groups: map[string]map[Entry]bool{},
		lost: map[string]func(Entry){}, watchers: map[string][]*watcher[NameEvent]{}, watching: map[string][]*watcher[GroupEvent]{},
		touched: map[string]Entry{}, moved: map[string]map[Entry]bool{}, ready: make(chan struct{}, 1),
	}, nil
}

func newPublished(key nodeKey) *published {
	return &published{nodeKey: key, claims: map[string]claim{}, members: map[membership]bool{}, pending: map[uint64][]op{}}
}

// Claim implements Names.
func (r *Replica) Claim(name string, a Actor, lost func(Entry)) error {
	if err := errors.Join(checkName(name), checkType(a.Type)); err != nil {
		return err
	}
	defer r.lock()()
	if holder, c := r.holder(name); holder != nil {
		if holder == r.own && c.actor == a {
			r.lost[name] = lost
			return nil
		}
		return fmt.Errorf("%w: %q belongs to %v", ErrNameTaken, name, holder.entry(c.actor))
	}
	if err := r.room(); err != nil {
		return err
	}
	r.clock++
	r.lost[name] = lost
	r.publish(op{opClaim, name, a, r.clock})
	return nil
}

// Release implements Names.
func (r *Replica) Release(name string, a Actor) error {
	defer r.lock()()
	if c, ok := r.own.claims[name]; !ok || c.actor != a {
		return fmt.Errorf("%w: release the name %.80q", ErrNotMine, name)
	}
	delete(r.lost, name)
	r.publish(op{kind: opRelease, name: name})
	return nil
}

// Lookup implements Names.
func (r *Replica) Lookup(name string) (Entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.holding(name)
	return e, !e.IsZero()
}

// Enter implements Names.
func (r *Replica) Enter(group string, a Actor) error {
	if err := errors.Join(checkName(group), checkType(a.Type)); err != nil {
		return err
	}
	defer r.lock()()
	if r.own.members[membership{group, a}] {
		return nil
	}
	if err := r.room(); err != nil {
		return err
	}
	r.publish(op{kind: opEnter, name: group, actor: a})
	return nil
}

// Exit implements Names.
func (r *Replica) Exit(group string, a Actor) error {
	defer r.lock()()
	if !r.own.members[membership{group, a}] {
		return fmt.Errorf("%w: leave the group %.80q", ErrNotMine, group)
	}
	r.publish(op{kind: opExit, name: group, actor: a})
	return nil
}

// Group implements Names.
func (r *Replica) Group(group string) []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.group(group)
}

// Watch implements Names.
func (r *Replica) Watch(name string, tell func(NameEvent)) (stop func(), err error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	defer r.lock()()
	w := &watcher[NameEvent]{tell: tell}
	r.watchers[name] = append(r.watchers[name], w)
	call(r, w, NameEvent{name, r.holding(name)})
	return func() { unwatch(r, r.watchers, name, w) }, nil
}

// WatchGroup implements Names.
func (r *Replica) WatchGroup(group string, tell func(GroupEvent)) (stop func(), err error) {
	if err := checkName(group); err != nil {
		return nil, err
	}
	defer r.lock()()
	w := &watcher[GroupEvent]{tell: tell}
	r.watching[group] = append(r.watching[group], w)
	call(r, w, GroupEvent{Group: group, Members: append([]Entry{}, r.group(group)...)})
	return func() { unwatch(r, r.watching, group, w) }, nil
}

func unwatch[E any](r *Replica, all map[string][]*watcher[E], name string, w *watcher[E]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.stop = true
	// A copy, because the list may be in use by a section that tells.
	rest := slices.DeleteFunc(slices.Clone(all[name]), func(o *watcher[E]) bool { return o == w })
	if all[name] = rest; len(rest) == 0 {
		delete(all, name)
	}
}

// call has a watcher told when the lock is free.
func call[E any](r *Replica, w *watcher[E], e E) {
	r.calls = append(r.calls, func() {
		r.mu.Lock()
		stop := w.stop
		r.mu.Unlock()
		if !stop {
			w.tell(e)
		}
	})
}

// Appear makes an incarnation of a node a member: what it publishes is seen. An earlier one is a member no more.
func (r *Replica) Appear(node string, incarnation uint64) {
	key := nodeKey{node, incarnation}
	defer r.lock()()
	if was := r.nodes[node]; was == r.own || (was != nil && was.nodeKey == key) || incarnation == 0 || checkNode(node) != nil {
		return
	}
	r.hide(node)
	p := r.behind(key)
	if p == nil {
		p = newPublished(key)
	} else {
		r.hidden = slices.DeleteFunc(r.hidden, func(o *published) bool { return o == p })
	}
	p.visible = true
	r.nodes[node] = p
	for name := range p.claims {
		r.show(p, name)
	}
	for m := range p.members {
		r.put(p, m, true)
	}
}

// Vanish ends that: what it has published is no longer seen.
func (r *Replica) Vanish(node string, incarnation uint64) {
	defer r.lock()()
	if p := r.nodes[node]; p != nil && p != r.own && p.incarnation == incarnation {
		r.hide(node)
	}
}

func (r *Replica) hide(node string) {
	p := r.nodes[node]
	if p == nil {
		return
	}
	for name := range p.claims {
		r.unshow(p, name)
	}
	for m := range p.members {
		r.put(p, m, false)
	}
	delete(r.nodes, node)
	p.visible = false
	r.keep(p)
}

// keep remembers what is not seen, in case it soon is: a node may be heard before it is a member, and may come back.
func (r *Replica) keep(p *published) {
	r.hidden = append(r.hidden, p)
	if len(r.hidden) > maxHidden {
		r.hidden = slices.Delete(r.hidden, 0, 1)
	}
}

// behind finds what is kept of an incarnation that is no member.
func (r *Replica) behind(key nodeKey) *published {
	if i := slices.IndexFunc(r.hidden, func(p *published) bool { return p.nodeKey == key }); i >= 0 {
		return r.hidden[i]
	}
	return nil
}

// of is what is known of an incarnation; it is kept from now on if nothing was.
func (r *Replica) of(key nodeKey) *published {
	if p := r.nodes[key.name]; p != nil && p.nodeKey == key {
		return p
	}
	if p := r.behind(key); p != nil {
		return p
	}
	p := newPublished(key)
	r.keep(p)
	return p
}

// Own is what this node publishes, for a peer that misses some of it.
func (r *Replica) Own() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return appendSection([]byte{replicaFormat}, r.own.whole())
}

// State is what all members publish, for a peer to Merge. When it does not fit into MaxStateBytes some members are left out,
// others each time.
func (r *Replica) State() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := appendSection([]byte{replicaFormat}, r.own.whole())
	for _, p := range r.nodes { // in no order, so that nobody is left out for ever
		if p == r.own || !p.known {
			continue
		}
		if section := p.whole(); len(b)+len(section)+8 <= MaxStateBytes {
			b = appendSection(b, section)
		}
	}
	return b
}

func (p *published) whole() []byte {
	b := appendHead(nil, head{node: p.name, incarnation: p.incarnation, whole: true, version: p.version})
	for name, c := range p.claims {
		b = appendOp(b, op{opClaim, name, c.actor, c.stamp})
	}
	for m := range p.members {
		b = appendOp(b, op{kind: opEnter, name: m.group, actor: m.actor})
	}
	return b
}

// Ready has something when there are Deltas.
func (r *Replica) Ready() <-chan struct{} { return r.ready }

// Deltas takes what is to be sent to the other members: this node's changes, and those of others that were news. Each has at most
// MaxDeltaBytes. Those that get lost are made good by State or Own.
func (r *Replica) Deltas() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	own, from := r.ops, r.own.version-uint64(len(r.ops))
	r.ops = nil
	var section []byte
	flush := func() {
		if section != nil {
			r.pass(section)
		}
	}
	for i, o := range own {
		next := appendOp(nil, o)
		if section == nil || len(section)+len(next) > MaxDeltaBytes-8 {
			flush()
			section = appendHead(nil, head{node: r.own.name, incarnation: r.own.incarnation, from: from + uint64(i)})
		}
		section = append(section, next...)
	}
	flush()
	out := r.unsent
	r.unsent = nil
	return out
}

// pass keeps a delta until Deltas takes it; when there are too many, those that have waited longest are left to State.
func (r *Replica) pass(section []byte) {
	if len(r.unsent) >= maxUnsent {
		r.unsent = slices.Delete(r.unsent, 0, 1)
	}
	r.unsent = append(r.unsent, appendSection([]byte{replicaFormat}, section))
	r.wake()
}

func (r *Replica) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Missing are the members of whom something has not arrived: ask them for Own.
func (r *Replica) Missing() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for name, p := range r.nodes {
		if !p.known || len(p.pending) > 0 {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// Merge takes what another replica has sent. What is not news changes nothing. An error says that some of it was malformed; the
// sections before that are merged.
func (r *Replica) Merge(b []byte) error { return r.take(b, nodeKey{}) }

// MergeFrom is Merge for a carrier that reaches each member directly and knows who has sent b: what b says of others is refused, and
// nothing of it will be in Deltas.
func (r *Replica) MergeFrom(node string, incarnation uint64, b []byte) error {
	return r.take(b, nodeKey{node, incarnation})
}

// take is Merge of what only one node publishes, unless from is zero.
func (r *Replica) take(b []byte, from nodeKey) error {
	if len(b) > MaxStateBytes || len(b) == 0 || b[0] != replicaFormat {
		return fmt.Errorf("cluster: a state of names of %d bytes is of no known format", len(b))
	}
	defer r.lock()()
	err := fields(b[1:], func(num int, _ uint64, text []byte) error {
		if num != 1 {
			return nil
		}
		h, err := readHead(text)
		if err != nil {
			return err
		}
		if from.name != "" && from != (nodeKey{h.node, h.incarnation}) {
			return fmt.Errorf("%s#%x says what %s#%x publishes", from.name, from.incarnation, h.node, h.incarnation)
		}
		return r.merge(h, text, from.name == "")
	})
	if err != nil {
		return fmt.Errorf("cluster: a state of names: %w", err)
	}
	return nil
}

// merge takes one section, and passes it on if it is news and pass says so.
func (r *Replica) merge(h head, section []byte, pass bool) error {
	if h.node == r.own.name {
		if h.incarnation == r.own.incarnation && h.version > r.own.version {
			return fmt.Errorf("another node publishes names as %s#%x, which is this node: give each start an incarnation of its own", h.node, h.incarnation)
		}
		return nil
	}
	p := r.of(nodeKey{h.node, h.incarnation})
	switch {
	case p.known && h.version <= p.version:
		return nil
	case !h.whole && h.from > p.version && (p.pending[h.from] != nil || len(p.pending) >= maxPending):
		return nil
	}
	ops, err := readOps(section, h)
	if err != nil {
		return err
	}
	switch {
	case h.whole:
		r.replace(p, ops, h.version)
	case h.from > p.version:
		p.pending[h.from] = ops
	default:
		r.follow(p, h.from, ops)
	}
	r.catchUp(p)
	if !h.whole && pass {
		r.pass(slices.Clone(section))
	}
	return nil
}

// replace has p publish what a whole state says.
func (r *Replica) replace(p *published, ops []op, version uint64) {
	claims, members := map[string]bool{}, map[membership]bool{}
	for _, o := range ops {
		if o.kind == opClaim {
			claims[o.name] = true
		} else {
			members[membership{o.name, o.actor}] = true
		}
	}
	for _, name := range slices.Collect(maps.Keys(p.claims)) {
		if !claims[name] {
			r.apply(p, op{kind: opRelease, name: name})
		}
	}
	for _, m := range slices.Collect(maps.Keys(p.members)) {
		if !members[m] {
			r.apply(p, op{kind: opExit, name: m.group, actor: m.actor})
		}
	}
	for _, o := range ops {
		r.apply(p, o)
	}
	p.version, p.known = version, true
}

// follow applies the operations of a delta that p does not have yet.
func (r *Replica) follow(p *published, from uint64, ops []op) {
	p.known = true
	for _, o := range ops[min(p.version-from, uint64(len(ops))):] {
		r.apply(p, o)
		p.version++
	}
}

// catchUp applies what has waited for its predecessors.
func (r *Replica) catchUp(p *published) {
	for again := p.known; again; {
		again = false
		for from, ops := range p.pending {
			if from <= p.version {
				delete(p.pending, from)
				r.follow(p, from, ops)
				again = true
			}
		}
	}
}

// room checks that this node may publish one more.
func (r *Replica) room() error {
	if len(r.own.claims)+len(r.own.members) >= MaxEntries {
		return fmt.Errorf("%w: %d are the most", ErrTooMany, MaxEntries)
	}
	return nil
}

// publish makes a change of this node's own.
func (r *Replica) publish(o op) {
	r.apply(r.own, o)
	r.own.version++
	if len(r.ops) >= maxUnsent { // nobody takes them; whoever does later finds a gap and asks for Own
		r.ops = r.ops[1:]
	}
	r.ops = append(r.ops, o)
	r.wake()
}

// apply makes one change to what p publishes. More than MaxEntries are not kept: p's node publishes no more.
func (r *Replica) apply(p *published, o op) {
	full := len(p.claims)+len(p.members) >= MaxEntries
	switch o.kind {
	case opClaim:
		was, ok := p.claims[o.name]
		if full && !ok || was == (claim{o.actor, o.stamp}) && ok {
			return
		}
		r.clock = max(r.clock, o.stamp)
		r.unshow(p, o.name)
		p.claims[o.name] = claim{o.actor, o.stamp}
		r.show(p, o.name)
	case opRelease:
		r.unshow(p, o.name)
		delete(p.claims, o.name)
	case opEnter:
		m := membership{o.name, o.actor}
		if full || p.members[m] {
			return
		}
		p.members[m] = true
		r.put(p, m, true)
	case opExit:
		m := membership{o.name, o.actor}
		if p.members[m] {
			delete(p.members, m)
			r.put(p, m, false)
		}
	}
}

// holder is the member whose claim of the name counts.
func (r *Replica) holder(name string) (*published, claim) {
	var best *published
	var c claim
	for _, p := range r.names[name] {
		if other := p.claims[name]; best == nil || other.stamp < c.stamp || (other.stamp == c.stamp && p.name < best.name) {
			best, c = p, other
		}
	}
	return best, c
}

func (r *Replica) holding(name string) Entry {
	if p, c := r.holder(name); p != nil {
		return p.entry(c.actor)
	}
	return Entry{}
}

func (r *Replica) group(group string) []Entry {
	return slices.SortedFunc(maps.Keys(r.groups[group]), Entry.compare)
}

// show lists p among those who claim the name, unshow takes it off the list.
func (r *Replica) show(p *published, name string) {
	if p.visible {
		r.touch(name)
		r.names[name] = append(r.names[name], p)
	}
}

func (r *Replica) unshow(p *published, name string) {
	if _, ok := p.claims[name]; !ok || !p.visible {
		return
	}
	r.touch(name)
	r.names[name] = slices.DeleteFunc(r.names[name], func(o *published) bool { return o == p })
	if len(r.names[name]) == 0 {
		delete(r.names, name)
	}
}

func (r *Replica) touch(name string) {
	if _, ok := r.touched[name]; !ok {
		r.touched[name] = r.holding(name)
	}
}

// put puts an entry of p's into a group, or takes it out.
func (r *Replica) put(p *published, m membership, in bool) {
	if !p.visible {
		return
	}
	e := p.entry(m.actor)
	if r.watching[m.group] != nil {
		if r.moved[m.group] == nil {
			r.moved[m.group] = map[Entry]bool{}
		}
		if _, ok := r.moved[m.group][e]; !ok {
			r.moved[m.group][e] = r.groups[m.group][e]
		}
	}
	if in {
		if r.groups[m.group] == nil {
			r.groups[m.group] = map[Entry]bool{}
		}
		r.groups[m.group][e] = true
		return
	}
	if delete(r.groups[m.group], e); len(r.groups[m.group]) == 0 {
		delete(r.groups, m.group)
	}
}

// lock begins a section that may change what is seen. What it returns ends it: it settles what was touched, and calls back.
func (r *Replica) lock() (unlock func()) {
	r.mu.Lock()
	return func() {
		defer r.mu.Unlock()
		r.settle()
		r.callBack()
	}
}

// settle withdraws this node's claims that have lost, and has all told who watch what has changed.
func (r *Replica) settle() {
	for _, name := range slices.Sorted(maps.Keys(r.touched)) {
		if _, ok := r.own.claims[name]; ok {
			if p, c := r.holder(name); p != r.own {
				r.withdraw(name, p.entry(c.actor))
			}
		}
		was, now := r.touched[name], r.holding(name)
		if was == now {
			continue
		}
		for _, w := range r.watchers[name] {
			call(r, w, NameEvent{name, now})
		}
	}
	clear(r.touched)
	for _, group := range slices.Sorted(maps.Keys(r.moved)) {
		r.tellGroup(group, r.moved[group])
	}
	clear(r.moved)
}

func (r *Replica) withdraw(name string, winner Entry) {
	lost := r.lost[name]
	delete(r.lost, name)
	r.publish(op{kind: opRelease, name: name})
	if lost != nil {
		r.calls = append(r.calls, func() { lost(winner) })
	}
}

func (r *Replica) tellGroup(group string, moved map[Entry]bool) {
	e := GroupEvent{Group: group}
	for _, who := range slices.SortedFunc(maps.Keys(moved), Entry.compare) {
		switch in := r.groups[group][who]; {
		case in && !moved[who]:
			e.Joined = append(e.Joined, who)
		case !in && moved[who]:
			e.Left = append(e.Left, who)
		}
	}
	if e.Joined == nil && e.Left == nil {
		return
	}
	for _, w := range r.watching[group] {
		call(r, w, e)
	}
}

// callBack calls what is to be called, one after the other and without the lock. If somebody does so already it leaves it to them.
func (r *Replica) callBack() {
	if r.calling {
		return
	}
	r.calling = true
	defer func() { r.calling = false }()
	for len(r.calls) > 0 {
		f := r.calls[0]
		r.calls = r.calls[1:]
		r.unlocked(f)
	}
}

// unlocked takes the lock again even if f panics.
func (r *Replica) unlocked(f func()) {
	r.mu.Unlock()
	defer r.mu.Lock()
	f()
}
