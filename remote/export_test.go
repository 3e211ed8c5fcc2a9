package remote

import "github.com/greenroom-go/greenroom/remote/internal/link"

// Over has a node use tr instead of QUIC. id is who the node is; addr is where it listens.
func Over(o Options, addr string, tr link.Transport) Options {
	o.transport = func(n *Node) (link.Transport, error) {
		n.addr = addr
		return tr, nil
	}
	return o
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
