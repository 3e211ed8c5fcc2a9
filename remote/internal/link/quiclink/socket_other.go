//go:build !linux

package quiclink

import "net"

const receiveBuffer, sendBuffer = 0, 0

// force does nothing: only Linux has a way around its limits.
func force(*net.UDPConn, int, int) {}
