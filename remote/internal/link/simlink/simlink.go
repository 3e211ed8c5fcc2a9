// Package simlink is a network in memory whose nodes have links, for tests in testing/synctest bubbles: its time is the bubble's.
//
// Links behave like those over QUIC: a lost segment holds up its own stream only and comes later; a partition stalls what is sent until
// it heals or the link dies of silence, each side on its own; datagrams get lost. What is drawn is drawn from one generator for each
// direction, which the seed rules; which goroutine comes first is the scheduler's.
package simlink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Network is a set of nodes and what is between them. The conditions of all directions can be set at any time, by the nodes' addresses.
// Make it, and use it, inside the bubble. Nothing of it runs when its nodes are closed.
type Network struct {
	*conditions.Table
	// What follows may be changed before there are nodes.

	// Buffer bounds in bytes what a stream takes from its writer that the reader has not read: 256 KiB.
	Buffer int
	// IdleTimeout is after how long a side that nothing gets through to takes the link for dead: 30 s.
	IdleTimeout time.Duration
	// HandshakeTimeout bounds Dial: 10 s.
	HandshakeTimeout time.Duration
	// MaxStreams bounds the streams that each side may have open: 64.
	MaxStreams int

	mu    sync.Mutex // guards what follows
	nodes map[string]*node
	pairs map[*pair]struct{}
}

const (
	// MaxDatagram is how long datagrams may be.
	MaxDatagram = 1200
	// header is what each packet has beside its payload.
	header = 40
	// segment is how many bytes of a stream travel together.
	segment = 1200
	// keptDatagrams is how many datagrams wait to be received.
	keptDatagrams = 128
)

// New makes a perfect network; seed rules what its conditions draw.
func New(seed uint64) *Network {
	return &Network{
		Table:            conditions.NewTable(seed),
		Buffer:           256 << 10,
		IdleTimeout:      30 * time.Second,
		HandshakeTimeout: 10 * time.Second,
		MaxStreams:       64,
		nodes:            map[string]*node{},
		pairs:            map[*pair]struct{}{},
	}
}

// Node adds a node that is at addr and has that identity. If there is one already, the new one takes its place for those who dial.
func (n *Network) Node(addr string, id link.Identity) link.Transport {
	node := &node{net: n, addr: addr, id: id, ends: map[*end]struct{}{}, closed: make(chan struct{})}
	n.mu.Lock()
	n.nodes[addr] = node
	n.mu.Unlock()
	n.Touch()
	return node
}

// Cut has all links between two addresses die on both sides at once. What was in flight is lost.
func (n *Network) Cut(a, b string) {
	n.mu.Lock()
	var cut []*pair
	for p := range n.pairs {
		from, to := p.ends[0].node.addr, p.ends[1].node.addr
		if from == a && to == b || from == b && to == a {
			cut = append(cut, p)
		}
	}
	n.mu.Unlock()
	for _, p := range cut {
		p.mu.Lock()
		p.ends[0].die(errCut)
		p.ends[1].die(errCut)
		p.mu.Unlock()
	}
}

// Kill ends the node at addr without a word to the others, as a crash does. Its Close returns nil then.
func (n *Network) Kill(addr string) {
	n.mu.Lock()
	node := n.nodes[addr]
	n.mu.Unlock()
	if node != nil {
		node.end(func(e *end) { e.kill() })
	}
}

var (
	errCut       = errors.New("remote: the link is dead: it was cut")
	errIdle      = errors.New("remote: nothing comes from the peer any more: timeout")
	errNobody    = errors.New("remote: nothing comes from the peer: the handshake did not complete in time")
	errPeerReset = fmt.Errorf("%w by the peer", link.ErrReset)
	errShut      = errors.New("remote: the stream's writing side was closed")
)

// node is a transport.
type node struct {
	net     *Network
	addr    string
	id      link.Identity
	closed  chan struct{}
	running sync.WaitGroup // the ends' goroutines

	mu         sync.Mutex // guards what follows
	over       bool
	ends       map[*end]struct{}
	waiting    []*end // accepted by nobody yet
	acceptable signal
}

// Close ends the node's links and tells the others, then waits until nothing runs any more.
func (n *node) Close() error {
	n.end(func(e *end) { _ = e.Close(link.CodeGone, "the node is going down") })
	n.running.Wait()
	return nil
}

func (n *node) end(each func(*end)) {
	n.mu.Lock()
	if n.over {
		n.mu.Unlock()
		return
	}
	n.over = true
	close(n.closed)
	ends := make([]*end, 0, len(n.ends))
	for e := range n.ends {
		ends = append(ends, e)
	}
	n.mu.Unlock()
	n.net.mu.Lock()
	if n.net.nodes[n.addr] == n {
		delete(n.net.nodes, n.addr)
	}
	n.net.mu.Unlock()
	for _, e := range ends {
		each(e)
	}
}

// Accept waits for a node to connect.
func (n *node) Accept(ctx context.Context) (link.Link, error) {
	for {
		n.mu.Lock()
		if n.over {
			n.mu.Unlock()
			return nil, link.ErrClosed
		}
		if len(n.waiting) > 0 {
			e := n.waiting[0]
			n.waiting = n.waiting[1:]
			n.mu.Unlock()
			return e, nil
		}
		wait := n.acceptable.wait()
		n.mu.Unlock()
		select {
		case <-wait:
		case <-n.closed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Dial connects to the node at addr, and takes as long as the way there and back.
func (n *node) Dial(ctx context.Context, addr, peer string) (link.Link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.net.HandshakeTimeout, errNobody)
	defer cancel()
	e, err := n.dial(ctx, addr, peer)
	switch {
	case errors.Is(err, link.ErrClosed):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("remote: dialing %s at %s: %w", peer, addr, err)
	}
	return e, nil
}

func (n *node) dial(ctx context.Context, addr, peer string) (*end, error) {
	there, err := n.reach(ctx, addr)
	if err != nil {
		return nil, err
	}
	if peer != "" && there.id.Name != peer {
		if err := n.travel(ctx, addr, n.addr); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("the node there is %q", there.id.Name)
	}
	e, err := n.join(there)
	if err != nil {
		return nil, err
	}
	if err := n.travel(ctx, addr, n.addr); err != nil {
		_ = e.Close(link.CodeRefused, "the dialer gave up")
		return nil, err
	}
	if err := e.Cause(); err != nil {
		return nil, err
	}
	return e, nil
}

// reach goes to whoever is at addr, or waits for somebody to be there.
func (n *node) reach(ctx context.Context, addr string) (*node, error) {
	for {
		changed := n.net.Changed()
		if err := n.travel(ctx, n.addr, addr); err != nil {
			return nil, err
		}
		n.net.mu.Lock()
		there := n.net.nodes[addr]
		n.net.mu.Unlock()
		if there != nil {
			return there, nil
		}
		if err := n.pause(ctx, changed, nil); err != nil {
			return nil, err
		}
	}
}

// travel takes as long as a packet that is sent again until it gets through.
func (n *node) travel(ctx context.Context, from, to string) error {
	path := n.net.Path(from, to)
	for {
		changed := n.net.Changed()
		if path.Blocked() {
			if err := n.pause(ctx, changed, nil); err != nil {
				return err
			}
			continue
		}
		now := time.Now()
		timer := time.NewTimer(path.SendReliably(now, segment+header).Sub(now))
		err := n.pause(ctx, nil, timer.C)
		timer.Stop()
		if err != nil || !path.Blocked() {
			return err
		}
	}
}

// pause waits for one of two events; nil is one that never comes.
func (n *node) pause(ctx context.Context, changed <-chan struct{}, due <-chan time.Time) error {
	select {
	case <-changed:
		return nil
	case <-due:
		return nil
	case <-n.closed:
		return link.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join makes a link between two nodes.
func (n *node) join(there *node) (*end, error) {
	p := newPair(n, there)
	n.net.mu.Lock()
	n.net.pairs[p] = struct{}{}
	n.net.mu.Unlock()
	here := p.ends[0]
	if !n.adopt(here) {
		p.mu.Lock()
		here.die(link.ErrClosed)
		p.ends[1].die(link.ErrClosed)
		p.mu.Unlock()
		n.net.forget(p)
		return nil, link.ErrClosed
	}
	if !there.adopt(p.ends[1]) {
		p.mu.Lock()
		p.ends[1].die(link.ErrClosed)
		here.die(errNobody)
		p.mu.Unlock()
		return nil, errNobody
	}
	return here, nil
}

// adopt has the node run one end of a link.
func (n *node) adopt(e *end) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return false
	}
	n.ends[e] = struct{}{}
	if !e.Dialed() {
		n.waiting = append(n.waiting, e)
		n.acceptable.fire()
	}
	n.running.Go(func() {
		e.run()
		n.mu.Lock()
		delete(n.ends, e)
		n.mu.Unlock()
		n.net.forget(e.p)
	})
	return true
}

// forget drops a pair when both its ends are dead.
func (n *Network) forget(p *pair) {
	p.mu.Lock()
	dead := p.ends[0].cause != nil && p.ends[1].cause != nil
	p.mu.Unlock()
	if dead {
		n.mu.Lock()
		delete(n.pairs, p)
		n.mu.Unlock()
	}
}

// signal wakes all who wait. A mutex of its owner guards it.
type signal struct{ ch chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
