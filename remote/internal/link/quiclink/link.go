package quiclink

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Link is one QUIC connection.
type Link struct {
	t      *Transport
	conn   *quic.Conn
	peer   link.Identity
	dialed bool
	posts  sync.Once
	outbox chan []byte // datagrams
}

var _ link.Link = (*Link)(nil)

// Peer is who is on the other side.
func (l *Link) Peer() link.Identity { return l.peer }

// Dialed reports whether this side has dialed.
func (l *Link) Dialed() bool { return l.dialed }

// Addr is the other side's address.
func (l *Link) Addr() string { return l.conn.RemoteAddr().String() }

// Done is closed when the link is gone.
func (l *Link) Done() <-chan struct{} { return l.conn.Context().Done() }

// Cause is why the link is gone.
func (l *Link) Cause() error { return plain(context.Cause(l.conn.Context())) }

// Close ends the link and tells the other side. Codes that QUIC cannot carry become the largest that it can; a long text is cut.
func (l *Link) Close(code uint64, text string) error {
	const largest = 1<<62 - 1
	return l.conn.CloseWithError(quic.ApplicationErrorCode(min(code, largest)), fit(text))
}

// Open opens a stream, and waits while the other side's MaxStreams are open.
func (l *Link) Open(ctx context.Context) (link.Stream, error) {
	s, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, plain(err)
	}
	return &stream{s}, nil
}

// Accept waits for a stream that the other side opened.
func (l *Link) Accept(ctx context.Context) (link.Stream, error) {
	s, err := l.conn.AcceptStream(ctx)
	if err != nil {
		return nil, plain(err)
	}
	return &stream{s}, nil
}

const (
	// alwaysFits is what goes into a packet on whatever path QUIC runs at all.
	alwaysFits = 1000
	// outboxSize is how many datagrams wait for the path to take them; more are dropped.
	outboxSize = 64
)

// neverFits is larger than packets are: quic-go says what would fit when it is asked to send it.
var neverFits [64 << 10]byte

// SendDatagram sends b in one packet. It does not wait: where the path does not take more, b is dropped.
func (l *Link) SendDatagram(b []byte) error {
	if err := l.Cause(); err != nil {
		return err
	}
	if len(b) > alwaysFits {
		err := l.conn.SendDatagram(neverFits[:])
		e, tooLarge := errors.AsType[*quic.DatagramTooLargeError](err)
		switch {
		case !tooLarge:
			return plain(err)
		case int64(len(b)) > e.MaxDatagramPayloadSize:
			return link.ErrTooLarge
		}
	}
	l.posts.Do(l.startPosting)
	select {
	case l.outbox <- slices.Clone(b):
	default:
	}
	return nil
}

// startPosting starts the goroutine that waits where quic-go has its senders wait. Links that send no datagrams have none.
func (l *Link) startPosting() {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if l.t.closed { // nobody would wait for it
		return
	}
	l.t.running.Go(func() {
		for {
			select {
			case b := <-l.outbox:
				_ = l.conn.SendDatagram(b)
			case <-l.Done():
				return
			}
		}
	})
}

// ReceiveDatagram waits for a datagram. Of those that nobody receives 128 are kept.
func (l *Link) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := l.conn.ReceiveDatagram(ctx)
	return b, plain(err)
}

// stream is one QUIC stream, with errors that this project knows.
type stream struct{ s *quic.Stream }

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.s.Read(b)
	return n, plain(err)
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.s.Write(b)
	return n, plain(err)
}

func (s *stream) TryWrite(b []byte) error { return plain(s.s.TryWriteAll(b)) }

func (s *stream) Close() error { return plain(s.s.Close()) }

func (s *stream) Reset() {
	s.s.CancelRead(0)
	s.s.CancelWrite(0)
}

func (s *stream) SetUrgent() { s.s.SetPriority(0, true) }

func (s *stream) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }
