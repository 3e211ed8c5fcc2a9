package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, often under its lock: it takes notes and returns.
type delegate struct{ g *Gossip }

// NodeMeta is this node's record; Start and Update have made sure that it fits.
func (d delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.meta
}

// NotifyMsg takes what another Gossip has sent.
func (d delegate) NotifyMsg(b []byte) {
	if len(b) == 0 || len(b) > MaxStateBytes {
		return
	}
	size := int64(len(b))
	if d.g.waiting.Add(size) <= inboxBytes {
		select {
		case d.g.inbox <- slices.Clone(b):
			return
		default:
		}
	}
	d.g.waiting.Add(-size)
}

// GetBroadcasts is what there is to be spread.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.spread.GetBroadcasts(overhead, limit)
}

// LocalState is what all publish.
func (d delegate) LocalState(bool) []byte { return append([]byte{sayState}, d.g.replica.State()...) }

// MergeRemoteState takes what another one knows that all publish.
func (d delegate) MergeRemoteState(b []byte, _ bool) { d.NotifyMsg(b) }

// NotifyAlive refuses who is no member of ours.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	_, err := readNode(n)
	return err
}

// readNode is the record of a node.
func readNode(n *memberlist.Node) (record, error) {
	name, incarnation, err := parseGossipName(n.Name)
	if err != nil {
		return record{}, err
	}
	r, err := decodeRecord(n.Meta)
	r.Name, r.Incarnation, r.GossipAddr = name, incarnation, n.Address()
	return r, err
}

// NotifyJoin notes that a node lives.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.note(n, false) }

// NotifyUpdate notes that a node's record has changed.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.note(n, false) }

// NotifyLeave notes that a node does not live any more.
func (d delegate) NotifyLeave(n *memberlist.Node) { d.note(n, true) }

func (d delegate) note(n *memberlist.Node, dead bool) {
	r, err := readNode(n)
	g := d.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil || r.nodeKey() == g.self.nodeKey() {
		return // it was refused before, or is this node itself
	}
	switch _, known := g.living[r.Name][r.Incarnation]; {
	case !dead && !r.leaving:
		if g.living[r.Name] == nil {
			g.living[r.Name] = map[uint64]record{}
		}
		g.living[r.Name][r.Incarnation] = r
		if !known {
			g.count.Add(1)
		}
	case known:
		g.forget(r)
	}
	g.dirty[r.Name] = true
	signal(g.changed)
	if r.Name == g.self.Name {
		g.o.Logger.Log(context.Background(), slog.LevelWarn, "there is another node of this node's name", "node", g.self.String(), "other", r.String(), "at", r.GossipAddr)
		signal(g.rivals)
	}
}

// forget notes how a node has gone.
func (g *Gossip) forget(r record) {
	kind := Failed
	if r.leaving {
		kind = Left
	}
	g.gone[r.nodeKey()] = kind
	delete(g.living[r.Name], r.Incarnation)
	if len(g.living[r.Name]) == 0 {
		delete(g.living, r.Name)
	}
	g.count.Add(-1)
}

// NotifyConflict notes that two nodes have even the same incarnation. The one that is starting gives up.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	g := d.g
	r, err := readNode(other)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.o.Logger.Log(context.Background(), slog.LevelError, "two nodes have the same name and incarnation, the second is ignored: give each start its own",
		"node", fmt.Sprintf("%.200q", existing.Name), "first", existing.Address(), "second", other.Address())
	if err == nil && g.state == starting && r.nodeKey() == g.self.nodeKey() {
		g.twin = &r.Member
	}
}
