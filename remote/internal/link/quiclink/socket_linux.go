package quiclink

import (
	"net"
	"syscall"
)

const (
	receiveBuffer = syscall.SO_RCVBUFFORCE
	sendBuffer    = syscall.SO_SNDBUFFORCE
)

// force sets a buffer beyond the system's limit, which takes a privilege that most processes do not have: then nothing happens.
func force(conn *net.UDPConn, option, size int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option, size)
	})
}
