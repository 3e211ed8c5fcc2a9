package tcplink

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

var (
	errPeerReset = fmt.Errorf("%w by the peer", link.ErrReset)
	errShut      = errors.New("remote: the stream's writing side was closed")
)

// Link is a control connection and those of its streams.
type Link struct {
	t        *Transport
	id       linkID
	conn     *tls.Conn
	control  *writer
	peer     link.Identity
	dialAddr string // where streams are dialed, by the side that dialed
	done     chan struct{}
	accepted chan *stream
	arrived  chan []byte   // datagrams
	open     chan struct{} // has a token for each stream opened here

	mu      sync.Mutex // guards what follows
	cause   error
	streams map[uint64]*stream
	opened  uint64
	asked   map[uint64]chan *stream
}

var _ link.Link = (*Link)(nil)

func newLink(t *Transport, conn *tls.Conn, peer link.Identity, dialed bool) *Link {
	return &Link{
		t:        t,
		id:       linkID{dialed: dialed},
		conn:     conn,
		control:  newWriter(conn),
		peer:     peer,
		done:     make(chan struct{}),
		accepted: make(chan *stream, 2*maxStreams),
		arrived:  make(chan []byte, keptDatagrams),
		open:     make(chan struct{}, maxStreams),
		streams:  map[uint64]*stream{},
		asked:    map[uint64]chan *stream{},
	}
}

// Peer is who is on the other side.
func (l *Link) Peer() link.Identity { return l.peer }

// Dialed reports whether this side has dialed.
func (l *Link) Dialed() bool { return l.id.dialed }

// Addr is the other side's address.
func (l *Link) Addr() string { return l.conn.RemoteAddr().String() }

// Done is closed when the link is gone.
func (l *Link) Done() <-chan struct{} { return l.done }

// Cause is why the link is gone.
func (l *Link) Cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Close ends the link and tells the other side.
func (l *Link) Close(code uint64, text string) error {
	l.die(link.ErrClosed, frame{frameClose, closeBody(code, text)}.bytes())
	return nil
}

// die ends the link, with a last frame for the other side.
func (l *Link) die(cause error, last []byte) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	close(l.done)
	streams := make([]*stream, 0, len(l.streams))
	for _, s := range l.streams {
		streams = append(streams, s)
	}
	l.mu.Unlock()
	_ = l.conn.SetDeadline(time.Now().Add(parting))
	l.control.put(last)
	l.control.close(cause)
	for _, s := range streams {
		s.abort(cause)
	}
}

// read serves the control connection until it ends. What comes after the link's own end is read too: to close a connection with bytes
// unread would reset it, and the other side would not see why.
func (l *Link) read() {
	defer func() { _ = l.conn.Close() }()
	for {
		f, err := readFrame(l.conn)
		if err == nil {
			err = l.take(f)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			l.die(fmt.Errorf("remote: the connection is gone: %w", err), nil)
			return
		}
	}
}

func (l *Link) take(f frame) error {
	switch f.kind {
	case frameDatagram:
		select {
		case l.arrived <- f.body:
		default:
		}
		return nil
	case frameClose:
		err := closeError(f.body)
		l.die(err, nil)
		return nil
	case frameAsk, frameReset:
		if len(f.body) == 8 {
			l.takeID(f.kind, binary.BigEndian.Uint64(f.body))
			return nil
		}
	}
	return errFrame
}

func (l *Link) takeID(kind byte, id uint64) {
	if kind == frameAsk {
		if l.id.dialed && l.Cause() == nil {
			l.t.running.Go(func() { l.answer(id) })
		}
		return
	}
	l.mu.Lock()
	s := l.streams[id]
	l.mu.Unlock()
	if s != nil {
		s.abort(errPeerReset)
	}
}

// Open opens a stream, and waits while 64 are open.
func (l *Link) Open(ctx context.Context) (link.Stream, error) {
	select {
	case l.open <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return nil, l.Cause()
	}
	l.mu.Lock()
	n := 2 * l.opened
	l.opened++
	l.mu.Unlock()
	open := l.dial
	if !l.id.dialed {
		n, open = n+1, l.ask
	}
	s, err := open(ctx, n)
	if err != nil {
		<-l.open
		if cause := l.Cause(); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	return s, nil
}

func (l *Link) dial(ctx context.Context, n uint64) (*stream, error) {
	return l.dialFor(ctx, hello{helloStream, l.id.random, n}, true)
}

func (l *Link) dialFor(ctx context.Context, h hello, ours bool) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.t.ctx, cancel)()
	conn, err := l.t.dial(ctx, l.dialAddr, l.peer.Name, h)
	if err != nil {
		return nil, err
	}
	identity, err := l.t.credentials.PeerIdentity(conn.ConnectionState())
	if err == nil && identity.Name != l.peer.Name {
		err = fmt.Errorf("the node there is %q now", identity.Name)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l.add(conn, h.stream, ours)
}

// ask has the other side dial, which this side cannot.
func (l *Link) ask(ctx context.Context, n uint64) (*stream, error) {
	arrived := make(chan *stream, 1)
	l.mu.Lock()
	l.asked[n] = arrived
	l.mu.Unlock()
	l.control.put(frame{frameAsk, id(n)}.bytes())
	select {
	case s := <-arrived:
		return s, nil
	case <-ctx.Done():
	case <-l.done:
	}
	l.mu.Lock()
	delete(l.asked, n)
	l.mu.Unlock()
	select { // it came at the last moment
	case s := <-arrived:
		return s, nil
	default:
		return nil, ctx.Err()
	}
}

// answer dials for a stream that the other side opens.
func (l *Link) answer(n uint64) {
	ctx, cancel := context.WithTimeout(l.t.ctx, handshakeTimeout)
	defer cancel()
	s, err := l.dialFor(ctx, hello{helloAsked, l.id.random, n}, false)
	if err == nil {
		l.offer(s)
	}
}

// offer has Accept return a stream.
func (l *Link) offer(s *stream) {
	select {
	case l.accepted <- s:
	default:
		s.Reset()
	}
}

// takeIn takes in a stream's connection.
func (l *Link) takeIn(conn *tls.Conn, h hello) error {
	if h.kind != helloAsked {
		s, err := l.add(conn, h.stream, false)
		if err == nil {
			l.offer(s)
		}
		return err
	}
	l.mu.Lock()
	arrived := l.asked[h.stream]
	delete(l.asked, h.stream)
	l.mu.Unlock()
	if arrived == nil {
		return errors.New("nobody asks for that stream any more")
	}
	s, err := l.add(conn, h.stream, true)
	if err == nil {
		arrived <- s
	}
	return err
}

// add makes a stream of a connection.
func (l *Link) add(conn *tls.Conn, n uint64, ours bool) (*stream, error) {
	s := newStream(l, conn, n, ours)
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch {
	case l.cause != nil:
		err = l.cause
	case l.streams[n] != nil:
		err = errors.New("there is a stream of that id")
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	l.streams[n] = s
	l.t.running.Go(s.w.flush) // the link lives, so Close still waits for what it has
	return s, nil
}

// Accept waits for a stream that the other side opened.
func (l *Link) Accept(ctx context.Context) (link.Stream, error) {
	select {
	case <-l.done:
		return nil, l.Cause()
	default:
	}
	select {
	case s := <-l.accepted:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return nil, l.Cause()
	}
}

// SendDatagram sends b on the control connection, or drops it if that is busy.
func (l *Link) SendDatagram(b []byte) error {
	if len(b) > maxDatagram {
		return link.ErrTooLarge
	}
	err := l.control.tryWrite(frame{frameDatagram, b}.bytes())
	if errors.Is(err, link.ErrWouldBlock) {
		return nil
	}
	if cause := l.Cause(); cause != nil {
		return cause
	}
	return err
}

// ReceiveDatagram waits for a datagram.
func (l *Link) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	select {
	case b := <-l.arrived:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return nil, l.Cause()
	}
}

// stream is one TCP connection.
type stream struct {
	l    *Link
	conn *tls.Conn
	w    *writer
	n    uint64
	ours bool // opened here

	mu      sync.Mutex // guards what follows
	err     error      // why it was aborted
	aborted chan struct{}
	read    bool // to the end
	written bool // to the end
}

func newStream(l *Link, conn *tls.Conn, n uint64, ours bool) *stream {
	s := &stream{l: l, conn: conn, w: newWriter(conn), n: n, ours: ours, aborted: make(chan struct{})}
	s.w.closed = func() { s.settle(func() { s.written = true }) }
	return s
}

// settle forgets the stream when both directions are over.
func (s *stream) settle(change func()) {
	s.mu.Lock()
	change()
	lost, over := s.err != nil, s.read && s.written
	s.mu.Unlock()
	switch {
	case lost: // without TLS's word that this is a regular end
		_ = s.conn.NetConn().Close()
	case over:
		_ = s.conn.Close()
	default:
		return
	}
	s.l.mu.Lock()
	_, known := s.l.streams[s.n]
	delete(s.l.streams, s.n)
	s.l.mu.Unlock()
	if known && s.ours {
		<-s.l.open
	}
}

// abort ends both directions.
func (s *stream) abort(err error) {
	s.settle(func() {
		if s.err == nil {
			s.err = err
			close(s.aborted)
		}
	})
	s.w.abort(err)
}

// plain is err, or what has really happened: an end of the connection comes with a word on the control connection, of the stream or of the
// link.
func (s *stream) plain(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errShut) {
		return err
	}
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case <-s.aborted:
	case <-s.l.done:
		return s.l.Cause()
	case <-timer.C:
		return errors.Join(errPeerReset, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Read reads, or waits.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	if errors.Is(err, io.EOF) {
		if raw, ok := s.conn.NetConn().(*rawConn); ok && raw.ended.Load() {
			return n, s.plain(io.ErrUnexpectedEOF)
		}
		s.settle(func() { s.read = true })
	}
	if _, gone := errors.AsType[*net.OpError](err); n > 0 && gone {
		err = nil // it comes again
	}
	return n, s.plain(err)
}

// Write queues b, and waits for room.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.w.write(b)
	return n, s.plain(err)
}

// TryWrite queues b if there is room.
func (s *stream) TryWrite(b []byte) error {
	err := s.w.tryWrite(b)
	if errors.Is(err, link.ErrWouldBlock) {
		return err
	}
	return s.plain(err)
}

// Close ends the writing side.
func (s *stream) Close() error {
	s.w.close(errShut)
	return nil
}

// Reset gives up both directions.
func (s *stream) Reset() {
	s.l.control.put(frame{frameReset, id(s.n)}.bytes())
	s.abort(link.ErrReset)
}

// SetUrgent does nothing: the connections of a link do not know of each other.
func (s *stream) SetUrgent() {}

// SetReadDeadline bounds reads.
func (s *stream) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }
