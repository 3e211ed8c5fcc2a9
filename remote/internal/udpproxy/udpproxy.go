// Package udpproxy is a bad network on loopback, for tests with real sockets: a proxy that forwards datagrams to a target and back, late,
// twice or not at all. Each client gets a socket of its own towards the target.
package udpproxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

const (
	largest = 64 << 10
	header  = 28 // what a packet costs beside its payload
	// maxClients bounds the sockets; datagrams of further clients are lost.
	maxClients = 256
	// maxWaiting bounds what is on its way; what comes on top is lost.
	maxWaiting = 1 << 16
)

// Proxy forwards datagrams. Any goroutine may use it.
type Proxy struct {
	seed   uint64
	target *net.UDPAddr
	front  *net.UDPConn
	done   chan struct{}
	wake   chan struct{}
	all    sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	up, down settings
	clients  map[netip.AddrPort]*client
	waiting  conditions.Schedule[packet]
	counts   Counts
	random   *rand.Rand
}

// settings are those of one direction, for clients to come.
type settings struct {
	c       conditions.Conditions
	blocked bool
}

// Counts says what has become of datagrams.
type Counts struct {
	Up       Direction // from clients to the target
	Down     Direction // from the target to clients
	Injected uint64    // garbage, both ways
}

// Direction counts one direction.
type Direction struct {
	Received  uint64 // that came in
	Delivered uint64 // that went out, duplicates included
	Lost      uint64 // that did not
}

// client is a socket that datagrams come from.
type client struct {
	addr     netip.AddrPort
	back     *net.UDPConn // connected to the target
	up, down *conditions.Path
}

// packet is one on its way.
type packet struct {
	to   *client
	up   bool
	data []byte
}

// Listen starts a proxy at a port of 127.0.0.1 that forwards to target, "ip:port". seed rules what its conditions draw.
func Listen(target string, seed uint64) (*Proxy, error) {
	to, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return nil, fmt.Errorf("udpproxy: %w", err)
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("udpproxy: %w", err)
	}
	p := &Proxy{
		seed:    seed,
		target:  to,
		front:   front,
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		clients: map[netip.AddrPort]*client{},
		random:  rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // runs are to be repeatable
	}
	p.all.Go(p.readFront)
	p.all.Go(p.deliver)
	return p, nil
}

// Addr is where clients send to.
func (p *Proxy) Addr() string { return p.front.LocalAddr().String() }

// Set sets the conditions of both directions.
func (p *Proxy) Set(c conditions.Conditions) {
	p.SetUp(c)
	p.SetDown(c)
}

// SetUp sets those towards the target.
func (p *Proxy) SetUp(c conditions.Conditions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up.c = c
	for _, cl := range p.clients {
		cl.up.Set(c)
	}
}

// SetDown sets those towards the clients.
func (p *Proxy) SetDown(c conditions.Conditions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down.c = c
	for _, cl := range p.clients {
		cl.down.Set(c)
	}
}

// Block says in which directions nothing gets through.
func (p *Proxy) Block(up, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up.blocked, p.down.blocked = up, down
	for _, cl := range p.clients {
		cl.up.Block(up)
		cl.down.Block(down)
	}
}

// Counts says what has become of datagrams so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Inject sends n datagrams of garbage to the target, as if they came from a client, and n to each client, as if they came from the target.
// They look like packets of QUIC at first sight, half of them, or are nothing at all.
func (p *Proxy) Inject(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cl := range p.clients {
		for range n {
			p.send(packet{cl, true, p.garbage()})
			p.send(packet{cl, false, p.garbage()})
			p.counts.Injected += 2
		}
	}
}

func (p *Proxy) garbage() []byte {
	b := make([]byte, 1+p.random.IntN(1400))
	for i := range b {
		b[i] = byte(p.random.Uint32())
	}
	if p.random.IntN(4) == 0 && len(b) > 4 {
		b[0] |= 0xc0 // a long header, of QUIC version 1
		copy(b[1:], []byte{0, 0, 0, 1})
	}
	return b
}

// Close ends the proxy. It returns when nothing runs any more.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.done)
	err := p.front.Close()
	for _, cl := range p.clients {
		_ = cl.back.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
	return err
}

// readFront takes in what clients send.
func (p *Proxy) readFront() {
	b := make([]byte, largest)
	for {
		n, from, err := p.front.ReadFromUDPAddrPort(b)
		if err != nil {
			if p.over() {
				return
			}
			continue
		}
		p.mu.Lock()
		p.counts.Up.Received++
		if cl := p.client(from); cl != nil {
			p.pass(packet{cl, true, b[:n]}, cl.up, &p.counts.Up)
		} else {
			p.counts.Up.Lost++
		}
		p.mu.Unlock()
	}
}

func (p *Proxy) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// client is the one at that address, a new one if need be; nil if that cannot be. The lock is held.
func (p *Proxy) client(from netip.AddrPort) *client {
	if cl := p.clients[from]; cl != nil || p.closed || len(p.clients) >= maxClients {
		return cl
	}
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "udp", p.target.String())
	if err != nil {
		return nil
	}
	back, ok := conn.(*net.UDPConn)
	if !ok {
		return nil
	}
	name := "client " + strconv.Itoa(len(p.clients))
	cl := &client{
		addr: from,
		back: back,
		up:   conditions.NewPath(p.seed, name, "target"),
		down: conditions.NewPath(p.seed, "target", name),
	}
	cl.up.Set(p.up.c)
	cl.up.Block(p.up.blocked)
	cl.down.Set(p.down.c)
	cl.down.Block(p.down.blocked)
	p.clients[from] = cl
	p.all.Go(func() { p.readBack(cl) })
	return cl
}

// readBack takes in what the target sends to a client.
func (p *Proxy) readBack(cl *client) {
	b := make([]byte, largest)
	for {
		n, err := cl.back.Read(b)
		if err != nil {
			if p.over() {
				return
			}
			continue // nobody listens at the target at the moment
		}
		p.mu.Lock()
		p.counts.Down.Received++
		p.pass(packet{cl, false, b[:n]}, cl.down, &p.counts.Down)
		p.mu.Unlock()
	}
}

// pass sends a packet on its way; its data is copied. The lock is held.
func (p *Proxy) pass(pkt packet, path *conditions.Path, counts *Direction) {
	arrivals := path.Send(time.Now(), len(pkt.data)+header)
	if len(arrivals) == 0 || p.waiting.Len() >= maxWaiting {
		counts.Lost++
		return
	}
	pkt.data = slices.Clone(pkt.data)
	for _, at := range arrivals {
		if p.waiting.Add(at, pkt) {
			p.poke()
		}
	}
}

func (p *Proxy) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// deliver delivers what is due, until Close.
func (p *Proxy) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var due <-chan time.Time
		if next := p.flush(); !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		select {
		case <-p.done:
			return
		case <-p.wake:
		case <-due:
		}
	}
}

// flush sends what is due and says when more is.
func (p *Proxy) flush() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		pkt, ok := p.waiting.Take(time.Now())
		if !ok {
			return p.waiting.Next()
		}
		path, counts := pkt.to.down, &p.counts.Down
		if pkt.up {
			path, counts = pkt.to.up, &p.counts.Up
		}
		if path.Blocked() || !p.send(pkt) {
			counts.Lost++
		} else {
			counts.Delivered++
		}
	}
}

// send sends a packet for good.
func (p *Proxy) send(pkt packet) bool {
	var err error
	if pkt.up {
		_, err = pkt.to.back.Write(pkt.data)
	} else {
		_, err = p.front.WriteToUDPAddrPort(pkt.data, pkt.to.addr)
	}
	return err == nil
}
