package quiclink

import (
	"context"
	"errors"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Link is one QUIC connection.
type Link struct {
	conn   *quic.Conn
	peer   link.Identity
	dialed bool
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

// SendDatagram sends b in one packet. It waits while 32 others have not been sent.
func (l *Link) SendDatagram(b []byte) error {
	err := l.conn.SendDatagram(b)
	if _, tooLarge := errors.AsType[*quic.DatagramTooLargeError](err); tooLarge {
		return link.ErrTooLarge
	}
	return plain(err)
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
