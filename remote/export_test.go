package remote

import (
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Over has a node use tr instead of QUIC. id is who the node is; addr is where it listens.
func Over(o Options, addr string, tr link.Transport) Options {
	o.transport = func(n *Node) (link.Transport, error) {
		n.addr = addr
		return tr, nil
	}
	return o
}

// Session is a session, for tests: it can still be looked at when it has ended.
type Session struct{ s *session }

// SessionWith is the session with a peer.
func SessionWith(n *Node, peer string) (Session, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[peer]; p != nil && p.now != nil {
		if s := p.now.sess.Load(); s != nil {
			return Session{s}, true
		}
	}
	return Session{}, false
}

// Tally is a session's part of the ledger.
type Tally struct{ Sent, Confirmed, Lost, Received, Dead, Returned uint64 }

// Tally reads it.
func (s Session) Tally() Tally {
	c := s.s.count
	return Tally{c.sent.Load(), c.confirmed.Load(), c.lost.Load(), c.received.Load(), c.dead.Load(), c.returned.Load()}
}

// Inflight is how many bytes are not acknowledged, in short and in long messages.
func (s Session) Inflight() (short, long int64) { return s.s.inflight.Load(), s.s.bulk.Load() }

// Intake is how many bytes mailboxes hold of what came by the session, as far as it is counted.
func (s Session) Intake() int64 { return s.s.intake.Load() }

// Ended is why the session has ended, nil if it has not.
func (s Session) Ended() error { return s.s.downError() }

// Stall has the session see what a process sees that was stopped for d: all that it knows is that old.
func (s Session) Stall(d time.Duration) {
	s.s.mu.Lock()
	s.s.beatAt = s.s.beatAt.Add(-d)
	s.s.heard.Add(-int64(d))
	s.s.mu.Unlock()
	s.s.onBeat()
}

// Malformed counts the links that have ended for a breach of the protocol.
func (n *Node) Malformed() uint64 { return n.m.malformed.Load() }

// Incarnations is how many incarnations of nodes are remembered, and MaxIncarnations how many may be.
func (n *Node) Incarnations() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.fars)
}

// MaxIncarnations is how many incarnations are remembered at most.
const MaxIncarnations = maxIncarnations

// Running is how many actors run here that a peer has started.
func (n *Node) Running(peer string) int {
	n.rci.mu.Lock()
	defer n.rci.mu.Unlock()
	return n.rci.running[peer]
}

// SentTo is how many messages n has sent to a peer.
func SentTo(n *Node, peer string) uint64 {
	if far := n.farOf(peer); far != nil {
		if s := far.sess.Load(); s != nil {
			return s.count.sent.Load()
		}
	}
	return 0
}

// Channels is what n holds of channels: published, opened, searches, deliveries.
func Channels(n *Node) [4]int {
	h := &n.channels
	h.mu.Lock()
	defer h.mu.Unlock()
	return [4]int{len(h.byName), len(h.outlets), h.findN, len(h.deliveries)}
}

// Gate is the actor that takes what other nodes send to a channel that n publishes.
func Gate(n *Node, name string) actor.AnyRef {
	n.channels.mu.Lock()
	defer n.channels.mu.Unlock()
	return n.channels.byName[name].gate
}
