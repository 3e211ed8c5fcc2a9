// Package link is what sessions run over: a transport that makes links between nodes, each of them a set of ordered streams.
//
// A transport may lose a link at any moment, and with it whatever was written and not read yet; sessions outlive that. What is read
// from a stream is what was written to it, in order, without gaps, up to some point. Implementations: packages quiclink (the real
// one), tcplink (a control for benches) and simlink (a simulated network, for tests).
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Transport makes links. It has one local address, at which it both accepts and dials.
// Any goroutine may use it.
type Transport interface {
	// Dial connects to the node at addr ("host:port"). peer is the name that the other must prove; empty means whoever answers.
	Dial(ctx context.Context, addr, peer string) (Link, error)
	// Accept waits for a node to connect. Its errors: ctx's own, and ErrClosed. What strangers do is no error.
	Accept(ctx context.Context) (Link, error)
	// Close ends the transport and all its links.
	Close() error
}

// Link is one connection to a node that has proved who it is.
// Any goroutine may use it; one goroutine at a time each stream's reading and writing side.
type Link interface {
	// Peer is who is on the other side, as its certificate says.
	Peer() Identity
	// Dialed reports whether this side has dialed.
	Dialed() bool
	// Open opens a stream to the other side. It does not wait for the other side to accept it, but may wait for permission to open
	// another one. The other side sees the stream once something was written.
	Open(ctx context.Context) (Stream, error)
	// Accept waits for a stream that the other side opened.
	Accept(ctx context.Context) (Stream, error)
	// SendDatagram sends b, unreliably: it may be lost, or come out of order, or twice. ErrTooLarge: it does not fit into one packet.
	// b is the caller's again when it returns.
	SendDatagram(b []byte) error
	// ReceiveDatagram waits for a datagram.
	ReceiveDatagram(ctx context.Context) ([]byte, error)
	// Close ends the link, with a code and a text for the other side, which gets them as a *CloseError. What was written and not read
	// is lost.
	Close(code uint64, text string) error
	// Done is closed when the link is gone.
	Done() <-chan struct{}
	// Cause is why the link is gone, nil while it is not.
	Cause() error
	// Addr is the other side's address, for logs.
	Addr() string
}

// Stream is an ordered stream of bytes in both directions. Close closes the writing side: the other side reads io.EOF after the rest.
type Stream interface {
	io.ReadWriteCloser
	// TryWrite writes all of b if that takes no waiting; else it writes nothing and returns ErrWouldBlock.
	TryWrite(b []byte) error
	// Reset gives up both directions at once.
	Reset()
	// SetUrgent has what is written here go before what other streams of the link have to send.
	SetUrgent()
	// SetReadDeadline bounds reads, as net.Conn has it.
	SetReadDeadline(t time.Time) error
}

// Identity is who a node has proved to be.
type Identity struct {
	Name     string    // the node's name
	Roles    Roles     // what its certificate lets it do
	NotAfter time.Time // when that certificate expires
	Serial   string    // its serial number, in hexadecimal
}

// Roles are what a node may do on others.
type Roles uint8

// The roles.
const (
	MaySend  Roles = 1 << iota // send messages to actors that it has refs of, monitor and look up names
	MaySpawn                   // start registered behaviours
	MayShip                    // ship code
	MayFiles                   // transfer files
)

// AllRoles is all of them.
const AllRoles = MaySend | MaySpawn | MayShip | MayFiles

var roleNames = []string{"send", "spawn", "ship", "files"}

// String lists the roles by name: "send,spawn".
func (r Roles) String() string {
	s := ""
	for i, name := range roleNames {
		if r&(1<<i) != 0 {
			if s != "" {
				s += ","
			}
			s += name
		}
	}
	return s
}

// ParseRole is the role of that name.
func ParseRole(name string) (Roles, error) {
	for i, n := range roleNames {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("remote: no role is called %q: they are %v", name, AllRoles)
}

// ErrWouldBlock is what TryWrite returns when it would have to wait.
var ErrWouldBlock = errors.New("remote: the write would have to wait")

// ErrTooLarge means that a datagram does not fit into a packet.
var ErrTooLarge = errors.New("remote: the datagram does not fit into a packet")

// ErrClosed answers uses of a transport or link that was closed on this side.
var ErrClosed = errors.New("remote: closed")

// CloseError is why the other side has closed the link.
type CloseError struct {
	Code uint64 // what kind of reason
	Text string // the reason, for people
}

// Error is the other side's text.
func (e *CloseError) Error() string {
	return fmt.Sprintf("remote: the peer has closed the link: %s (code %d)", e.Text, e.Code)
}

// The codes that transports themselves close links with. Those of sessions are smaller.
const (
	CodeRefused uint64 = 1<<32 + iota // the dialer is not let in: its certificate is not good enough, or there is no room
	CodeGone                          // the transport was closed
)

// ErrReset answers reads and writes of a stream that one of the sides has reset.
var ErrReset = errors.New("remote: the stream was reset")
