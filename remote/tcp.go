package remote

import (
	"fmt"

	"github.com/greenroom-go/greenroom/remote/internal/link/tcplink"
)

// listenTCP makes the control transport: what it costs and gives to use QUIC is seen beside it.
func (n *Node) listenTCP() error {
	tr, err := tcplink.Listen(n.opts.Listen, credentials{n.creds})
	if err != nil {
		return fmt.Errorf("remote: listen at %s: %w", n.opts.Listen, err)
	}
	n.tr, n.addr = tr, tr.Addr().String()
	return nil
}
