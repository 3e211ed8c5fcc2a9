package remote

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/greenroom-go/greenroom/registry/cluster"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

// Options configure a Node. Only Name and TLS are needed.
type Options struct {
	// Name is the node's name in its cluster; its certificate must bear it.
	Name string
	// Listen is the address to accept links at, host:port, over UDP. Empty means "127.0.0.1:0", which no other machine can reach.
	Listen string
	// Advertise is the address at which others reach the node, where it is not the one that it listens at: behind NAT, in a container, or
	// where Listen names no host.
	Advertise string
	// TLS is where the node's certificate comes from: DevTLS, DirTLS or FilesTLS.
	TLS TLS
	// Peers are addresses, host:port, of nodes to stay connected to; at most MaxPeers.
	Peers []string
	// Gossip has the node find the others of its cluster by gossip: one address in Peers is enough then. The zero value: no gossip.
	Gossip GossipOptions
	// Membership takes the place of Gossip: something else knows the members of the cluster, such as a list (cluster.NewStaticMembership).
	// The node starts it and leaves it, and stays connected to whomever it tells of.
	Membership cluster.Membership
	// Discovery finds addresses, host:port, of nodes beside those in Peers. It is asked when the node starts, and while no peer is up.
	Discovery cluster.Discovery
	// Names carries what is published by Node.Claim and Node.JoinGroup. Nil means the membership, if that carries names, as gossip does;
	// else the links to peers: then those know of each other's names that are linked directly.
	Names cluster.Names
	// Network is "quic", which empty means, or "tcp": TLS over TCP, a control for benches, with one connection a stream.
	Network string
	// DownAfter is after how long of silence a peer is declared down: its monitors fire, and what it has not confirmed is a dead letter. 0
	// means 5 s; it is 50 ms at least and a day at most. Shorter pauses, and links that break and come back within it, lose nothing.
	DownAfter time.Duration
	// MaxMessageBytes bounds one message. 0 means 16 MiB; 1 GiB is the most.
	MaxMessageBytes int
	// WindowBytes bounds what is sent to one peer and not acknowledged, twice: in messages up to 32 KiB, and in longer ones. Senders
	// suspend while it is used up. 0 means 4 MiB; it is 64 KiB at least and 1 GiB at most.
	WindowBytes int
	// MaxQueuedBytes bounds what mailboxes here hold from one peer in all, counted as bytes on the wire and 64 more for each message.
	// Beyond it nothing more is read from that peer; nor while it leaves three quarters of that unacknowledged of answers and signals, which
	// nobody waits for. One mailbox may hold 1 MiB before those who send there suspend. 0 means 64 MiB.
	MaxQueuedBytes int
	// MaxPeers bounds the nodes that are known: a new one takes the place of the one that has been down for longest. 0 means 1,024.
	MaxPeers int
	// MaxSpawned bounds the actors that one peer has running here by Spawn and its like: one more is refused with ErrLimit. 0 means 4,096.
	MaxSpawned int
	// HandshakesPerSecond bounds how many links strangers may begin. 0 means 200.
	HandshakesPerSecond int
	// Policy says what peers may do, beyond what their certificates say. The zero value lets each do what its roles allow.
	Policy Policy
	// Files says what peers may do with files. The zero value: nothing.
	Files FileOptions
	// Logger gets what the node has to say. Nil means the System's.
	Logger *slog.Logger

	transport func(*Node) (link.Transport, error) // of tests
}

// maxDownAfter keeps multiples of DownAfter within a Duration.
const maxDownAfter = 24 * time.Hour

func (o Options) withDefaults() (Options, error) {
	if err := pki.CheckName(o.Name); err != nil {
		return o, fmt.Errorf("remote: the node's name: %w", err)
	}
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	for i, addr := range append([]string{o.Listen, cmp.Or(o.Advertise, "h:1")}, o.Peers...) {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return o, fmt.Errorf("remote: Options.%s: %q is no address, which is host:port: %w", []string{"Listen", "Advertise", "Peers"}[min(i, 2)], addr, err)
		}
	}
	if o.Network = cmp.Or(o.Network, "quic"); o.Network != "quic" && o.Network != "tcp" {
		return o, fmt.Errorf("remote: no network is called %q: they are quic and tcp", o.Network)
	}
	if err := o.Gossip.check(); err != nil {
		return o, err
	}
	if o.Gossip.Listen != "" && o.Membership != nil {
		return o, errors.New("remote: Options.Membership takes the place of Options.Gossip: give one of them")
	}
	for _, number := range []struct {
		name string
		n    int
	}{
		{"MaxMessageBytes", o.MaxMessageBytes},
		{"WindowBytes", o.WindowBytes},
		{"MaxQueuedBytes", o.MaxQueuedBytes},
		{"MaxPeers", o.MaxPeers},
		{"MaxSpawned", o.MaxSpawned},
		{"HandshakesPerSecond", o.HandshakesPerSecond},
	} {
		if number.n < 0 {
			return o, fmt.Errorf("remote: Options.%s is %d: use 0 for the default, or a positive number", number.name, number.n)
		}
	}
	o.DownAfter = cmp.Or(o.DownAfter, 5*time.Second)
	switch {
	case o.DownAfter < 50*time.Millisecond:
		return o, fmt.Errorf("remote: Options.DownAfter is %v: a peer would be declared down for a hiccup; 50 ms is the least", o.DownAfter)
	case o.DownAfter > maxDownAfter:
		return o, fmt.Errorf("remote: Options.DownAfter is %v: %v is the most", o.DownAfter, maxDownAfter)
	}
	o.MaxMessageBytes = cmp.Or(o.MaxMessageBytes, 16<<20)
	o.WindowBytes = cmp.Or(o.WindowBytes, 4<<20)
	o.MaxQueuedBytes = cmp.Or(o.MaxQueuedBytes, 64<<20)
	o.MaxPeers = cmp.Or(o.MaxPeers, 1024)
	o.MaxSpawned = cmp.Or(o.MaxSpawned, 4096)
	o.HandshakesPerSecond = cmp.Or(o.HandshakesPerSecond, 200)
	switch {
	case len(o.Peers) > o.MaxPeers:
		return o, fmt.Errorf("remote: Options.Peers are %d: MaxPeers is %d", len(o.Peers), o.MaxPeers)
	case o.MaxMessageBytes > 1<<30:
		return o, fmt.Errorf("remote: Options.MaxMessageBytes is %d: 1 GiB is the most", o.MaxMessageBytes)
	case o.WindowBytes < 64<<10 || o.WindowBytes > 1<<30:
		return o, fmt.Errorf("remote: Options.WindowBytes is %d: give 64 KiB to 1 GiB", o.WindowBytes)
	}
	return o, nil
}

// ErrLimit means that one of a node's bounds was reached: the error says which.
var ErrLimit = errors.New("remote: a limit was reached")
