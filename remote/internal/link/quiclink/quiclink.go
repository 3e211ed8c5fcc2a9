// Package quiclink runs links over QUIC: one UDP socket for all of a node's links, mutual TLS 1.3 on each.
//
// The one who accepts greets: it opens a unidirectional stream and writes one byte when it has taken the dialer in. Dial waits for that,
// so that a refusal is Dial's error and not a link that dies a moment later.
//
//	you call                  what happens
//	Listen, New               a transport on a UDP socket
//	Transport.Dial, Accept    links, whose other side has proved its name
//	we call back
//	Credentials               certificates, and who the other side is
package quiclink

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// ALPN is the protocol that both sides name in the handshake. Who speaks another one is refused.
const ALPN = "greenroom/1"

const (
	refused = quic.ApplicationErrorCode(link.CodeRefused)
	gone    = quic.ApplicationErrorCode(link.CodeGone)
)

// Credentials are who this node is and whom it trusts.
type Credentials interface {
	// ServerTLS is what links are accepted with. It must ask for the dialer's certificate. It is asked for once; certificates that
	// change are a matter of its GetConfigForClient.
	ServerTLS(alpn string) *tls.Config
	// ClientTLS is what peer is dialed with; it must verify that the other side is peer, if that is not empty.
	ClientTLS(alpn, peer string) *tls.Config
	// PeerIdentity is who the other side has proved to be. What is refused here and not in the handshake itself the other side is told
	// in words.
	PeerIdentity(state tls.ConnectionState) (link.Identity, error)
}

// Options bound what a transport and each of its links may use. Zero means the default.
type Options struct {
	// IdleTimeout is after how long without a packet a link is dead: 30 s. The lower one of the two sides' rules. Nothing is sent to
	// keep a link alive.
	IdleTimeout time.Duration
	// HandshakeTimeout bounds a handshake and the greeting: 10 s. One whose peer says nothing is over after half of it.
	HandshakeTimeout time.Duration
	// HandshakesPerSecond bounds how many handshakes are begun for others, with bursts of as many: 200. Above it they are refused.
	HandshakesPerSecond int
	// MaxHandshakes bounds the handshakes in progress that others have begun: 256.
	MaxHandshakes int
	// RetryAbove is how many handshakes are in progress when dialers begin to have to prove their address first: 32. Half of the burst
	// used up does the same.
	RetryAbove int
	// MaxLinks bounds the links, dialed and accepted: 1024.
	MaxLinks int
	// MaxStreams bounds the streams that the other side may have open on a link: 64.
	MaxStreams int
	// MaxStreamWindow bounds in bytes what a stream takes in that nobody has read: 6 MiB.
	MaxStreamWindow int
	// MaxLinkWindow bounds the same for a link: 15 MiB.
	MaxLinkWindow int
	// Logger gets what strangers do, at most a line a second. Nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	for _, n := range []struct {
		name string
		at   *int
		zero int
	}{
		{"HandshakesPerSecond", &o.HandshakesPerSecond, 200},
		{"MaxHandshakes", &o.MaxHandshakes, 256},
		{"RetryAbove", &o.RetryAbove, 32},
		{"MaxLinks", &o.MaxLinks, 1024},
		{"MaxStreams", &o.MaxStreams, 64},
		{"MaxStreamWindow", &o.MaxStreamWindow, 6 << 20},
		{"MaxLinkWindow", &o.MaxLinkWindow, 15 << 20},
	} {
		if *n.at < 0 {
			return o, fmt.Errorf("remote: %s is %d: it must not be negative; 0 means %d", n.name, *n.at, n.zero)
		}
		*n.at = cmp.Or(*n.at, n.zero)
	}
	if o.IdleTimeout < 0 || o.HandshakeTimeout < 0 {
		return o, fmt.Errorf("remote: IdleTimeout is %v and HandshakeTimeout %v: they must not be negative", o.IdleTimeout, o.HandshakeTimeout)
	}
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 30*time.Second)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Stats counts what has become of connections.
type Stats struct {
	Links      int    // open now
	Handshakes int    // in progress now, begun by others
	Dialed     uint64 // links that were dialed
	Accepted   uint64 // links that were accepted
	Failed     uint64 // handshakes of others that failed, and those whose identity was refused
	Refused    uint64 // packets that would have begun a handshake, refused for the rate or a limit
	Retried    uint64 // dialers that had to prove their address
}

// Transport makes links over one UDP socket.
// Any goroutine may use it.
type Transport struct {
	credentials Credentials
	options     Options
	socket      net.PacketConn
	transport   *quic.Transport
	listener    *quic.Listener
	gate        gate
	arrived     chan struct{}   // has one of those in Accept look
	ctx         context.Context // ends with Close
	stop        context.CancelFunc
	running     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	links   map[*Link]struct{}
	waiting []*Link // accepted by nobody yet
	stats   Stats
}

var _ link.Transport = (*Transport)(nil)

// Listen opens a UDP socket at addr, "host:port", and runs a transport on it.
func Listen(addr string, credentials Credentials, options Options) (*Transport, error) {
	socket, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, fmt.Errorf("remote: listening for QUIC: %w", err)
	}
	return New(socket, credentials, options)
}

// New runs a transport on socket, which is the transport's from now on, and closed if New fails.
func New(socket net.PacketConn, credentials Credentials, options Options) (*Transport, error) {
	t, err := start(socket, credentials, options)
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	return t, nil
}

func start(socket net.PacketConn, credentials Credentials, options Options) (*Transport, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &Transport{
		credentials: credentials,
		options:     options,
		socket:      socket,
		arrived:     make(chan struct{}, 1),
		links:       map[*Link]struct{}{},
	}
	t.gate = newGate(options, t.count)
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.transport = &quic.Transport{
		Conn:                quiet(socket),
		ConnectionIDLength:  8, // quic-go's 4 bytes are few where strangers make connections by the thousand
		VerifySourceAddress: t.gate.mustRetry,
		ConnContext:         t.gate.enter,
	}
	t.listener, err = t.transport.Listen(hardened(credentials.ServerTLS(ALPN)), t.config(false))
	if err != nil {
		t.stop()
		_ = t.transport.Close()
		return nil, fmt.Errorf("remote: listening for QUIC: %w", err)
	}
	t.running.Go(t.acceptAll)
	return t, nil
}

// hardened is config without resumption: each link proves anew who it is.
func hardened(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.SessionTicketsDisabled = true
	config.ClientSessionCache = nil
	return config
}

func (t *Transport) config(dialing bool) *quic.Config {
	greetings := int64(-1)
	if dialing {
		greetings = 1
	}
	o := t.options
	return &quic.Config{
		HandshakeIdleTimeout:           o.HandshakeTimeout / 2, // quic-go allows twice this in all
		MaxIdleTimeout:                 o.IdleTimeout,
		InitialStreamReceiveWindow:     uint64(min(512<<10, o.MaxStreamWindow)),
		MaxStreamReceiveWindow:         uint64(o.MaxStreamWindow),
		InitialConnectionReceiveWindow: uint64(min(768<<10, o.MaxLinkWindow)),
		MaxConnectionReceiveWindow:     uint64(o.MaxLinkWindow),
		MaxIncomingStreams:             int64(o.MaxStreams),
		MaxIncomingUniStreams:          greetings,
		EnableDatagrams:                true,
	}
}

// Addr is the local address.
func (t *Transport) Addr() net.Addr { return t.socket.LocalAddr() }

// Stats counts what has become of connections so far.
func (t *Transport) Stats() Stats {
	handshakes := t.gate.inside()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Links, s.Handshakes = len(t.links), handshakes
	return s
}

// count changes the counters.
func (t *Transport) count(change func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.stats)
}

// Dial connects to the node at addr, which must prove to be peer unless that is empty, and waits until it has taken us in.
func (t *Transport) Dial(ctx context.Context, addr, peer string) (link.Link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.options.HandshakeTimeout, errDialTimeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	l, err := t.dial(ctx, addr, peer)
	switch {
	case err == nil:
		return l, nil
	case t.ctx.Err() != nil:
		return nil, link.ErrClosed
	}
	return nil, fmt.Errorf("remote: dialing %s at %s: %w", cmp.Or(peer, "a node"), addr, err)
}

func (t *Transport) dial(ctx context.Context, addr, peer string) (*Link, error) {
	if t.full() {
		return nil, fmt.Errorf("this node has %d links, as many as MaxLinks allows", t.options.MaxLinks)
	}
	addrs, err := t.resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	var l *Link
	for _, to := range addrs {
		if l, err = t.dialOne(ctx, to, peer); err == nil || ctx.Err() != nil {
			break
		}
	}
	return l, err
}

func (t *Transport) dialOne(ctx context.Context, to netip.AddrPort, peer string) (*Link, error) {
	conn, err := t.transport.Dial(ctx, net.UDPAddrFromAddrPort(to), hardened(t.credentials.ClientTLS(ALPN, peer)), t.config(true))
	if err != nil {
		return nil, plain(err)
	}
	identity, err := t.credentials.PeerIdentity(conn.ConnectionState().TLS)
	if err == nil && peer != "" && identity.Name != peer {
		err = fmt.Errorf("the node there is %q", identity.Name)
	}
	if err != nil {
		_ = conn.CloseWithError(refused, fit(err.Error()))
		return nil, err
	}
	if err := greeted(ctx, conn); err != nil {
		_ = conn.CloseWithError(refused, "the dialer gave up")
		return nil, plain(err)
	}
	return t.add(conn, identity, true)
}

// greeted waits for the greeting.
func greeted(ctx context.Context, conn *quic.Conn) error {
	s, err := conn.AcceptUniStream(ctx)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	_ = s.SetReadDeadline(deadline)
	var b [1]byte
	_, err = io.ReadFull(s, b[:])
	s.CancelRead(0)
	return err
}

// resolve finds the addresses that addr stands for and that the socket can reach.
func (t *Transport) resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	if to, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{to}, nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, ip := range found {
		if to := netip.AddrPortFrom(ip.Unmap(), uint16(port)); t.reaches(to.Addr()) {
			addrs = append(addrs, to)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s is %v, which a socket at %v cannot reach: listen on an address of the same kind", host, found, t.Addr())
	}
	return addrs, nil
}

// reaches reports whether the socket is of ip's family; one that listens on all addresses is of both.
func (t *Transport) reaches(ip netip.Addr) bool {
	local, ok := t.Addr().(*net.UDPAddr)
	if !ok || local.IP.IsUnspecified() && local.IP.To4() == nil {
		return true
	}
	return (local.IP.To4() != nil) == ip.Is4()
}

// full reports whether there is no room for another link.
func (t *Transport) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.links) >= t.options.MaxLinks
}

// add makes a link of a connection whose other side is known.
func (t *Transport) add(conn *quic.Conn, identity link.Identity, dialed bool) (*Link, error) {
	l := &Link{t: t, conn: conn, peer: identity, dialed: dialed, outbox: make(chan []byte, outboxSize)}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		_ = conn.CloseWithError(gone, "the node is going down")
		return nil, link.ErrClosed
	case len(t.links) >= t.options.MaxLinks:
		_ = conn.CloseWithError(refused, "the node has as many links as it allows")
		return nil, fmt.Errorf("there are %d links, as many as MaxLinks allows", len(t.links))
	}
	t.links[l] = struct{}{}
	if dialed {
		t.stats.Dialed++
	} else {
		t.stats.Accepted++
	}
	t.running.Add(1)
	context.AfterFunc(conn.Context(), func() {
		defer t.running.Done()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.links, l)
		t.waiting = slices.DeleteFunc(t.waiting, func(other *Link) bool { return other == l })
	})
	return l, nil
}

// Accept waits for a node to connect.
func (t *Transport) Accept(ctx context.Context) (link.Link, error) {
	for {
		l, err := t.next()
		switch {
		case err != nil:
			return nil, err
		case l != nil:
			return l, nil
		}
		select {
		case <-t.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.ctx.Done():
		}
	}
}

// next takes a link that waits to be accepted, if there is one.
func (t *Transport) next() (*Link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, link.ErrClosed
	}
	if len(t.waiting) == 0 {
		return nil, nil
	}
	l := t.waiting[0]
	t.waiting = t.waiting[1:]
	if len(t.waiting) > 0 {
		t.ring()
	}
	return l, nil
}

func (t *Transport) ring() {
	select {
	case t.arrived <- struct{}{}:
	default:
	}
}

// acceptAll takes connections in until Close.
func (t *Transport) acceptAll() {
	for {
		conn, err := t.listener.Accept(t.ctx)
		if err != nil {
			return // Close, or the socket is gone
		}
		t.gate.leave(conn.Context())
		if err := t.takeIn(conn); err != nil {
			t.count(func(s *Stats) { s.Failed++ })
			t.gate.log("a node was not let in", conn.RemoteAddr(), err)
		}
	}
}

func (t *Transport) takeIn(conn *quic.Conn) error {
	identity, err := t.credentials.PeerIdentity(conn.ConnectionState().TLS)
	if err != nil {
		_ = conn.CloseWithError(refused, fit(err.Error()))
		return err
	}
	l, err := t.add(conn, identity, false)
	if err != nil {
		return err
	}
	if err := greet(conn); err != nil {
		_ = conn.CloseWithError(refused, "the greeting cannot be sent")
		return plain(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, alive := t.links[l]; alive {
		t.waiting = append(t.waiting, l)
		t.ring()
	}
	return nil
}

func greet(conn *quic.Conn) error {
	s, err := conn.OpenUniStream()
	if err != nil {
		return err
	}
	if _, err := s.Write([]byte{1}); err != nil {
		return err
	}
	return s.Close()
}

// Close ends all links, tells the other sides, and gives the socket back. It returns when nothing runs any more.
func (t *Transport) Close() error {
	t.mu.Lock()
	again := t.closed
	t.closed = true
	links := make([]*Link, 0, len(t.links))
	for l := range t.links {
		links = append(links, l)
	}
	t.mu.Unlock()
	if again {
		t.running.Wait()
		return nil
	}
	t.stop()
	for _, l := range links {
		_ = l.Close(link.CodeGone, "the node is going down")
	}
	_ = t.listener.Close()
	_ = t.transport.Close()
	err := t.socket.Close()
	t.running.Wait()
	t.gate.wait()
	return err
}
