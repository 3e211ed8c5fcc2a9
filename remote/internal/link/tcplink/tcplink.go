// Package tcplink runs links over TCP and TLS 1.3, as a control for benches of quiclink. It is not for production: it bounds much less of
// what strangers may do.
//
// Each stream is a TCP connection of its own, and each link has one more, which outlives them, for datagrams and control. All are dialed by
// the side that dialed the link; when the other side opens a stream it asks for a connection. Each connection opens with
//
//	byte 0       kind: 0 a new link, 1 a stream, 2 a stream that the other side has asked for
//	bytes 1-16   the link's id, random
//	bytes 17-24  the stream's id
//
// and has to be of the same node as the link. The control connection then carries frames:
//
//	byte 0       kind: 0 welcome, 1 datagram, 2 close (code and text), 3 ask for a stream (id), 4 reset a stream (id)
//	bytes 1-2    length of what follows
package tcplink

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// ALPN is the protocol that both sides name in the handshake.
const ALPN = "greenroom/1"

const (
	handshakeTimeout = 10 * time.Second
	maxHandshakes    = 256
	maxStreams       = 64 // that each side opens at a time
	maxDatagram      = 1200
	keptDatagrams    = 128
	parting          = time.Second // how long the word that a link is closed may take
)

// Credentials are who this node is and whom it trusts, as in quiclink.
type Credentials interface {
	// ServerTLS is what links are accepted with.
	ServerTLS(alpn string) *tls.Config
	// ClientTLS is what peer is dialed with.
	ClientTLS(alpn, peer string) *tls.Config
	// PeerIdentity is who the other side has proved to be.
	PeerIdentity(state tls.ConnectionState) (link.Identity, error)
}

// Transport makes links. Any goroutine may use it.
type Transport struct {
	credentials Credentials
	listener    net.Listener
	server      *tls.Config
	ctx         context.Context
	stop        context.CancelFunc
	running     sync.WaitGroup
	handshakes  chan struct{}
	accepted    chan *Link

	mu     sync.Mutex // guards what follows
	closed bool
	links  map[linkID]*Link // both sides of a link to oneself have ids of their own
}

var _ link.Transport = (*Transport)(nil)

// linkID is a link's random id, and which side of it this is.
type linkID struct {
	random [16]byte
	dialed bool
}

// hello is what a connection opens with.
type hello struct {
	kind   byte
	link   [16]byte
	stream uint64
}

const (
	helloLink byte = iota
	helloStream
	helloAsked
	helloSize = 25
)

func (h hello) send(conn io.Writer) error {
	b := append([]byte{h.kind}, h.link[:]...)
	_, err := conn.Write(binary.BigEndian.AppendUint64(b, h.stream))
	return err
}

// rawConn remembers that the other side has ended the connection, which package tls does not tell from an end of what is in it.
type rawConn struct {
	net.Conn
	ended atomic.Bool
}

// Read reads.
func (c *rawConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}
	return n, err
}

func readHello(conn io.Reader) (h hello, err error) {
	var b [helloSize]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return h, err
	}
	h.kind, h.stream = b[0], binary.BigEndian.Uint64(b[17:])
	copy(h.link[:], b[1:])
	return h, nil
}

// Listen opens a TCP socket at addr, "host:port", and runs a transport on it.
func Listen(addr string, credentials Credentials) (*Transport, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("remote: listening for TCP: %w", err)
	}
	t := &Transport{
		credentials: credentials,
		listener:    listener,
		server:      credentials.ServerTLS(ALPN).Clone(),
		handshakes:  make(chan struct{}, maxHandshakes),
		accepted:    make(chan *Link, 1024),
		links:       map[linkID]*Link{},
	}
	t.server.SessionTicketsDisabled = true
	t.server.MinVersion = tls.VersionTLS13
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.running.Go(t.acceptAll)
	return t, nil
}

// Addr is the local address.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// Dial connects to the node at addr.
func (t *Transport) Dial(ctx context.Context, addr, peer string) (link.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	l, err := t.dialLink(ctx, addr, peer)
	switch {
	case err == nil:
		return l, nil
	case t.ctx.Err() != nil:
		return nil, link.ErrClosed
	}
	return nil, fmt.Errorf("remote: dialing %s at %s: %w", cmp.Or(peer, "a node"), addr, err)
}

func (t *Transport) dialLink(ctx context.Context, addr, peer string) (*Link, error) {
	h := hello{kind: helloLink}
	_, _ = rand.Read(h.link[:]) // never fails
	conn, err := t.dial(ctx, addr, peer, h)
	if err != nil {
		return nil, err
	}
	l, err := t.welcomed(ctx, conn, peer)
	if err == nil {
		l.id = linkID{h.link, true}
		l.dialAddr = addr
		err = t.run(l)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l, nil
}

// dial makes a connection and says what it is for.
func (t *Transport) dial(ctx context.Context, addr, peer string, h hello) (*tls.Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	config := t.credentials.ClientTLS(ALPN, peer).Clone()
	config.MinVersion = tls.VersionTLS13
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config.ServerName = peer
	}
	conn := tls.Client(&rawConn{Conn: raw}, config)
	if err = conn.HandshakeContext(ctx); err == nil {
		err = h.send(conn)
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// welcomed waits until the other side has taken us in.
func (t *Transport) welcomed(ctx context.Context, conn *tls.Conn, peer string) (*Link, error) {
	identity, err := t.credentials.PeerIdentity(conn.ConnectionState())
	if err == nil && peer != "" && identity.Name != peer {
		err = fmt.Errorf("the node there is %q", identity.Name)
	}
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	f, err := readFrame(conn)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case f.kind == frameClose:
		return nil, closeError(f.body)
	case f.kind != frameWelcome:
		return nil, errFrame
	}
	return newLink(t, conn, identity, true), nil
}

// run begins to serve a link.
func (t *Transport) run(l *Link) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return link.ErrClosed
	case t.links[l.id] != nil:
		return errors.New("there is a link of that id")
	}
	t.links[l.id] = l
	t.running.Go(l.control.flush)
	t.running.Go(func() {
		l.read()
		t.mu.Lock()
		delete(t.links, l.id)
		t.mu.Unlock()
	})
	return nil
}

// Accept waits for a node to connect.
func (t *Transport) Accept(ctx context.Context) (link.Link, error) {
	if t.ctx.Err() != nil {
		return nil, link.ErrClosed
	}
	select {
	case l := <-t.accepted:
		return l, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.ctx.Done():
		return nil, link.ErrClosed
	}
}

func (t *Transport) acceptAll() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of file descriptors: some will be closed
			case <-time.After(50 * time.Millisecond):
			case <-t.ctx.Done():
			}
			continue
		}
		select {
		case t.handshakes <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		t.running.Go(func() {
			defer func() { <-t.handshakes }()
			if err := t.takeIn(conn); err != nil {
				_ = conn.Close()
			}
		})
	}
}

// takeIn takes in a connection.
func (t *Transport) takeIn(raw net.Conn) error {
	ctx, cancel := context.WithTimeout(t.ctx, handshakeTimeout)
	defer cancel()
	conn := tls.Server(&rawConn{Conn: raw}, t.server)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	identity, err := t.credentials.PeerIdentity(conn.ConnectionState())
	if err != nil {
		return errors.Join(err, refuse(conn, err.Error()))
	}
	unbound := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	h, err := readHello(conn)
	if err != nil || !unbound() {
		return cmp.Or(err, ctx.Err())
	}
	if h.kind == helloLink {
		return t.takeInLink(conn, identity, h)
	}
	t.mu.Lock()
	l := t.links[linkID{h.link, false}]
	t.mu.Unlock()
	if l == nil || l.peer.Name != identity.Name {
		return errors.New("there is no such link of that node")
	}
	return l.takeIn(conn, h)
}

func (t *Transport) takeInLink(conn *tls.Conn, identity link.Identity, h hello) error {
	l := newLink(t, conn, identity, false)
	l.id = linkID{h.link, false}
	if err := t.run(l); err != nil {
		return err
	}
	l.control.put(frame{frameWelcome, nil}.bytes())
	select {
	case t.accepted <- l:
	default:
		_ = l.Close(link.CodeRefused, "the node does not keep up with who connects")
	}
	return nil
}

// refuse tells a dialer why it is not let in.
func refuse(conn *tls.Conn, why string) error {
	_ = conn.SetDeadline(time.Now().Add(parting))
	_, err := conn.Write(frame{frameClose, closeBody(link.CodeRefused, why)}.bytes())
	if err == nil {
		err = conn.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, helloSize+1)) // unread bytes would make a reset of the close
	return err
}

// Close ends all links and tells the other sides. It returns when nothing runs any more.
func (t *Transport) Close() error {
	t.mu.Lock()
	again := t.closed
	t.closed = true
	links := make([]*Link, 0, len(t.links))
	for _, l := range t.links {
		links = append(links, l)
	}
	t.mu.Unlock()
	var err error
	if !again {
		t.stop()
		for _, l := range links {
			_ = l.Close(link.CodeGone, "the node is going down")
		}
		err = t.listener.Close()
	}
	t.running.Wait()
	return err
}
