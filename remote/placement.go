package remote

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
)

// Placement says on which node an actor is started: On, Any, LeastLoaded or ByKey. All but On go from node to node until one takes it:
// nodes where the behaviour is not registered, that refuse this one, have reached a limit, or turn out to be down, are passed over.
// The zero value is Any.
type Placement struct {
	kind placementKind
	name string
	self bool
}

type placementKind uint8

const (
	placeAny placementKind = iota
	placeOn
	placeLeastLoaded
	placeByKey
)

// On is the peer of that name, which has to be up, or this node itself.
func On(node string) Placement { return Placement{kind: placeOn, name: node} }

// Any is one peer after the other.
func Any() Placement { return Placement{} }

// LeastLoaded is the peer that runs the fewest actors that were started by name, as it said last (PeerInfo.Load).
func LeastLoaded() Placement { return Placement{kind: placeLeastLoaded} }

// ByKey is the peer that the key belongs to, of those that are up. When one comes or goes, no key moves between two others. Nodes that
// see the same peers, and all say WithSelf, agree on it.
func ByKey(key string) Placement { return Placement{kind: placeByKey, name: key} }

// WithSelf has this node be one of those that p chooses from.
func (p Placement) WithSelf() Placement {
	p.self = true
	return p
}

// String renders the placement for logs.
func (p Placement) String() string {
	s := [...]string{"any peer", "%s", "the least loaded peer", "the peer for key %q"}[p.kind%4]
	if p.kind == placeOn || p.kind == placeByKey {
		s = fmt.Sprintf(s, p.name)
	}
	if p.self {
		s += ", or this node"
	}
	return s
}

// candidate is a node that an actor may be started on.
type candidate struct {
	name string
	far  *incarnation // nil: this node
	load int64
}

// candidates are the nodes that p chooses from, best first.
func (n *Node) candidates(p Placement) []candidate {
	var list []candidate
	if p.self || p.kind == placeOn && p.name == n.name {
		list = append(list, candidate{name: n.name, load: n.tasks.Load()})
	}
	n.mu.Lock()
	for name, peer := range n.peers {
		if peer.up && (p.kind != placeOn || p.name == name) && !peer.now.failing() {
			list = append(list, candidate{name, peer.now, int64(peer.now.load.Load()) + peer.now.spawning.Load()})
		}
	}
	n.mu.Unlock()
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Compare(a.name, b.name) })
	if len(list) < 2 {
		return list
	}
	switch p.kind {
	case placeOn:
	case placeAny, placeLeastLoaded: // of nodes with one load, one after the other
		i := int(n.rci.turn.Add(1) % uint64(len(list)))
		list = slices.Concat(list[i:], list[:i])
		if p.kind == placeLeastLoaded {
			slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.load, b.load) })
		}
	case placeByKey:
		slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(affinity(p.name, b.name), affinity(p.name, a.name)) })
	}
	return list
}

// failing reports whether the session with the incarnation has just ended: it is about to be told that it is down.
func (far *incarnation) failing() bool {
	s := far.sess.Load()
	return s != nil && s.ctx.Err() != nil
}

// affinity is how much a key belongs to a node: it goes to the one where this is highest.
// Source: D. Thaler and C. Ravishankar, highest random weight hashing.
func affinity(key, node string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	x := h.Sum64() // its high bits hardly depend on the last bytes
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
