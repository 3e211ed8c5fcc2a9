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

// Running is how many actors run here that a peer has started.
func (n *Node) Running(peer string) int {
	n.rci.mu.Lock()
	defer n.rci.mu.Unlock()
	return n.rci.running[peer]
}
