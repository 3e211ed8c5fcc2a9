package remote

import (
	"crypto/tls"

	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

// credentials are the node's material as transports use it. The accepting side judges a certificate after the handshake and not in it:
// PeerIdentity, which both transports call before anybody sees the link, does the whole check, and what it says the other side gets to
// read. From within the handshake TLS would tell it "bad certificate" and no more.
type credentials struct{ *pki.Source }

// ServerTLS implements quiclink.Credentials.
func (c credentials) ServerTLS(alpn string) *tls.Config {
	config := c.Source.ServerTLS(alpn)
	config.VerifyConnection = nil
	return config
}
