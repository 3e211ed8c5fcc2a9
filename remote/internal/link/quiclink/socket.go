package quiclink

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// quiet wraps a socket so that quic-go sets its buffers through it. Where the system does not allow what quic-go wants, quic-go tells
// the process's standard logger, which is not ours to write to.
func quiet(socket net.PacketConn) net.PacketConn {
	if udp, ok := socket.(*net.UDPConn); ok {
		return &udpSocket{UDPConn: udp}
	}
	return otherSocket{socket}
}

// otherSocket is one without buffers to set.
type otherSocket struct{ net.PacketConn }

// SetReadBuffer does nothing.
func (otherSocket) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing.
func (otherSocket) SetWriteBuffer(int) error { return nil }

// udpSocket is a UDP socket. quic-go looks at the buffers' real sizes, and complains, only if it gets at the file descriptor, so that is
// withheld until it has set both, the write buffer last.
type udpSocket struct {
	*net.UDPConn
	buffersSet atomic.Bool
}

var errNotYet = errors.New("remote: the socket's buffers are not set yet")

// SyscallConn is the socket's own, once its buffers are set.
func (s *udpSocket) SyscallConn() (syscall.RawConn, error) {
	if !s.buffersSet.Load() {
		return nil, errNotYet
	}
	return s.UDPConn.SyscallConn()
}

// SetReadBuffer makes the buffer as large as the system allows, size at most.
func (s *udpSocket) SetReadBuffer(size int) error {
	_ = s.UDPConn.SetReadBuffer(size)
	force(s.UDPConn, receiveBuffer, size)
	return nil
}

// SetWriteBuffer makes the buffer as large as the system allows, size at most.
func (s *udpSocket) SetWriteBuffer(size int) error {
	_ = s.UDPConn.SetWriteBuffer(size)
	force(s.UDPConn, sendBuffer, size)
	s.buffersSet.Store(true)
	return nil
}
