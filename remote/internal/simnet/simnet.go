// Package simnet is a network of packets in memory, for running what speaks UDP, QUIC above all, in testing/synctest bubbles: its time is
// the bubble's. What is drawn for a packet comes from the generator of its direction, which the seed rules.
package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

// MTU is the size of the largest packet; larger ones are lost, as if fragments were.
const MTU = 1452

// queued is how many packets wait in a socket to be read; what comes on top is lost.
const queued = 4096

// header is what each packet costs beside its payload.
const header = 28

// Network is what sockets are connected by. Its conditions can be set at any time, by the sockets' addresses as text. Make it inside the
// bubble. It starts no goroutine.
type Network struct {
	*conditions.Table

	mu    sync.Mutex // guards what follows
	conns map[netip.AddrPort]*Conn
}

// New makes a perfect network; seed rules what its conditions draw.
func New(seed uint64) *Network {
	return &Network{Table: conditions.NewTable(seed), conns: map[netip.AddrPort]*Conn{}}
}

// Listen opens a socket at addr, "ip:port".
func (n *Network) Listen(addr string) (*Conn, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("simnet: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[at] != nil {
		return nil, fmt.Errorf("simnet: %s is in use", addr)
	}
	c := &Conn{net: n, at: at, changed: make(chan struct{})}
	n.conns[at] = c
	return c, nil
}

func (n *Network) conn(at netip.AddrPort) *Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conns[at]
}

// Counts says what has become of the packets that were written to a socket.
type Counts struct {
	Sent    uint64 // written
	Dropped uint64 // lost on the way, for whatever reason
}

// Conn is a socket. Any goroutine may use it.
type Conn struct {
	net *Network
	at  netip.AddrPort

	mu       sync.Mutex // guards what follows
	closed   bool
	deadline time.Time
	arriving conditions.Schedule[packet]
	counts   Counts
	changed  chan struct{} // closed when a reader has to look again
}

var _ net.PacketConn = (*Conn)(nil)

// packet is one on its way.
type packet struct {
	from *Conn
	path *conditions.Path
	data []byte
}

// WriteTo sends b to the socket at addr, if there is one when it arrives.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, err := addrPort(addr)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, c.fault("write", net.ErrClosed)
	}
	c.counts.Sent++
	c.mu.Unlock()
	path := c.net.Path(c.at.String(), to.String())
	there := c.net.conn(to)
	arrivals := path.Send(time.Now(), len(b)+header)
	if len(arrivals) == 0 || there == nil || len(b) > MTU {
		c.drop()
		return len(b), nil
	}
	for _, at := range arrivals {
		there.arrive(at, packet{c, path, slices.Clone(b)})
	}
	return len(b), nil
}

func addrPort(addr net.Addr) (netip.AddrPort, error) {
	if udp, ok := addr.(*net.UDPAddr); ok {
		at := udp.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
	}
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return at, fmt.Errorf("simnet: %w", err)
	}
	return at, nil
}

func (c *Conn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Dropped++
}

func (c *Conn) arrive(at time.Time, p packet) {
	c.mu.Lock()
	full := c.closed || c.arriving.Len() >= queued
	if !full && c.arriving.Add(at, p) {
		c.wake()
	}
	c.mu.Unlock()
	if full {
		p.from.drop()
	}
}

// wake has the readers look again. The lock is held.
func (c *Conn) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// ReadFrom waits for a packet.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		p, ok, err := c.next()
		switch {
		case err != nil:
			return 0, nil, c.fault("read", err)
		case !ok:
		case p.path.Blocked():
			p.from.drop()
		default:
			return copy(b, p.data), net.UDPAddrFromAddrPort(p.from.at), nil
		}
	}
}

// next takes a packet that is there by now, or waits until there may be one.
func (c *Conn) next() (p packet, ok bool, err error) {
	c.mu.Lock()
	now := time.Now()
	switch {
	case c.closed:
		err = net.ErrClosed
	case !c.deadline.IsZero() && !now.Before(c.deadline):
		err = os.ErrDeadlineExceeded
	default:
		p, ok = c.arriving.Take(now)
	}
	until, changed := c.deadline, c.changed
	if next := c.arriving.Next(); until.IsZero() || !next.IsZero() && next.Before(until) {
		until = next
	}
	c.mu.Unlock()
	if err == nil && !ok {
		await(until, changed)
	}
	return p, ok, err
}

func await(until time.Time, changed <-chan struct{}) {
	if until.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	}
}

func (c *Conn) fault(op string, err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return &net.OpError{Op: op, Net: "simnet", Addr: c.LocalAddr(), Err: err}
	}
	return err
}

// Close closes the socket; its address is free then.
func (c *Conn) Close() error {
	c.net.mu.Lock()
	if c.net.conns[c.at] == c {
		delete(c.net.conns, c.at)
	}
	c.net.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.arriving = true, conditions.Schedule[packet]{}
	c.wake()
	return nil
}

// LocalAddr is the socket's address.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

// Counts says what has become of what was written here.
func (c *Conn) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// SetReadDeadline bounds reads.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.wake()
	return nil
}

// SetDeadline is SetReadDeadline: writes never wait.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes never wait.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer does nothing; quic-go wants it.
func (c *Conn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing; quic-go wants it.
func (c *Conn) SetWriteBuffer(int) error { return nil }
