package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Fault is what kind of thing is wrong with a peer: one word, fit to label a metric.
type Fault string

// The faults.
const (
	FaultNone     Fault = "none"     // it has shown no certificate
	FaultForeign  Fault = "foreign"  // none of our CAs has signed its certificate, or that CA has expired
	FaultEarly    Fault = "early"    // its certificate is not valid yet
	FaultExpired  Fault = "expired"  // its certificate has expired
	FaultRevoked  Fault = "revoked"  // its certificate was revoked
	FaultUsage    Fault = "usage"    // its certificate is for something else
	FaultIdentity Fault = "identity" // its certificate does not name one node
	FaultName     Fault = "name"     // it is another node than was called
	FaultProtocol Fault = "protocol" // it speaks another protocol
)

// RefusedError is why a peer is not spoken to.
type RefusedError struct {
	Fault Fault  // what kind of reason
	Text  string // the reason, for people; parts may be what a stranger has sent, quoted and cut
}

// Error is the reason.
func (e *RefusedError) Error() string { return "remote: the peer is refused: " + e.Text }

func refuse(fault Fault, format string, args ...any) *RefusedError {
	return &RefusedError{Fault: fault, Text: fmt.Sprintf(format, args...)}
}

// ServerTLS configures the side that accepts. Each call returns a new configuration; all follow the files.
func (s *Source) ServerTLS(alpn string) *tls.Config {
	config := s.config(alpn, "")
	config.ClientAuth = tls.RequireAnyClientCert
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.own() }
	return config
}

// ClientTLS configures the side that dials. peer is the name that the other side has to prove, empty for any. A node may call itself if its
// caller lets it.
//
// That the handshake is done says nothing of how the other side likes our certificate: in TLS 1.3 its refusal comes after. Who has read
// something knows that it was accepted.
func (s *Source) ClientTLS(alpn, peer string) *tls.Config {
	config := s.config(alpn, peer)
	config.InsecureSkipVerify = true
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.own() }
	return config
}

// config is what both sides have in common.
//
// The package's own check of chains is off (InsecureSkipVerify, RequireAnyClientCert), because it is for names of hosts and for a pool of
// CAs that is fixed when a connection is configured. Nothing is lost by that: VerifyConnection runs in each handshake, resumed ones too,
// and verify in it does the whole check, with x509 and with what the files say now. What proves that the peer has the key of its
// certificate is the signature over the handshake; no setting turns that off, and where it is wrong no handshake ends, whatever was
// verified before. There are no session tickets, so each handshake has certificates in it. No server name is sent: it would tell
// everybody who is called.
func (s *Source) config(alpn, peer string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.NegotiatedProtocol != alpn {
				return refuse(FaultProtocol, "it speaks %.40q, not %q", state.NegotiatedProtocol, alpn)
			}
			id, err := s.PeerIdentity(state)
			if err == nil && peer != "" && id.Name != peer {
				err = refuse(FaultName, "it is node %q, and %q was called", id.Name, peer)
			}
			return err
		},
	}
}

// own is the certificate that this node shows. One that everybody would refuse is an error here, where it can be understood.
func (s *Source) own() (*tls.Certificate, error) {
	m := s.fresh()
	if wrong := m.wrong(m.own.value.identity); wrong != nil {
		return nil, fmt.Errorf("remote: this node cannot show its own certificate: %s", wrong.Text)
	}
	return m.own.value.cert, nil
}

// PeerIdentity is who is at the other end of a TLS connection. It checks the certificates of the connection as a handshake does now,
// whether or not that was done before, but for the name.
func (s *Source) PeerIdentity(state tls.ConnectionState) (link.Identity, error) {
	return s.fresh().verify(state.PeerCertificates)
}

// Check says whether a peer that was accepted with that certificate would still be: whether it has expired or was revoked. It does not know
// who has signed it. It is cheap enough to be called for each session once a second.
func (s *Source) Check(peer link.Identity) error {
	if peer.Name == "" || peer.Serial == "" {
		return refuse(FaultIdentity, "it has not said who it is")
	}
	return s.fresh().check(peer)
}

func (m *material) check(peer link.Identity) error {
	if wrong := m.wrong(peer); wrong != nil {
		return wrong
	}
	return nil
}

// wrong is why a certificate is not accepted any more, nil if it is.
func (m *material) wrong(peer link.Identity) *RefusedError {
	if time.Now().After(peer.NotAfter) {
		return refuse(FaultExpired, "the certificate of node %q expired at %s: renew it", peer.Name, stamp(peer.NotAfter))
	}
	if m.revoked.value.has(peer.Serial) {
		return refuse(FaultRevoked, "the certificate of node %q was revoked (serial number %s)", peer.Name, peer.Serial)
	}
	return nil
}

// verify decides whether who shows these certificates, and has the key of the first, is a node of this cluster, and which.
func (m *material) verify(certs []*x509.Certificate) (link.Identity, error) {
	if len(certs) == 0 {
		return link.Identity{}, refuse(FaultNone, "it has shown no certificate")
	}
	leaf := certs[0]
	if wrong := m.chain(leaf, certs[1:]); wrong != nil {
		return link.Identity{}, wrong
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		return link.Identity{}, refuse(FaultIdentity, "its certificate names no node as it should: %v", err)
	}
	return id, m.check(id)
}

// chain checks that one of our CAs has signed leaf, by way of the others if need be, for what nodes do, and for now.
func (m *material) chain(leaf *x509.Certificate, others []*x509.Certificate) *RefusedError {
	if len(others) >= maxChain {
		return refuse(FaultForeign, "it has shown %d certificates, and %d lead to a CA at most", 1+len(others), maxChain)
	}
	opts := x509.VerifyOptions{Roots: m.cas.value.pool, Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
	for _, cert := range others {
		opts.Intermediates.AddCert(cert)
	}
	// Verify is content with one of several usages, so it is asked for each: a CA on the way may be limited to one.
	for _, usage := range usages {
		opts.KeyUsages = []x509.ExtKeyUsage{usage}
		if _, err := leaf.Verify(opts); err != nil {
			return m.explain(leaf, err)
		}
		if !slices.Contains(leaf.ExtKeyUsage, usage) {
			return refuse(FaultUsage, "its certificate does not say that it is for clients and servers, as a node's does")
		}
	}
	if leaf.IsCA {
		return refuse(FaultUsage, "its certificate is that of a CA, not of a node")
	}
	return nil
}

// explain says why x509 has not verified a certificate.
func (m *material) explain(leaf *x509.Certificate, err error) *RefusedError {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		early := time.Now().Before(invalid.Cert.NotBefore)
		switch {
		case invalid.Reason == x509.IncompatibleUsage:
			return refuse(FaultUsage, "its certificate is not for clients and servers, as a node's is")
		case invalid.Reason == x509.Expired && !invalid.Cert.Equal(leaf):
			return refuse(FaultForeign, "the CA %.100q, which may have signed its certificate, is valid from %s to %s only",
				invalid.Cert.Subject, stamp(invalid.Cert.NotBefore), stamp(invalid.Cert.NotAfter))
		case invalid.Reason == x509.Expired && early:
			return refuse(FaultEarly, "its certificate is not valid before %s: look at the clocks", stamp(invalid.Cert.NotBefore))
		case invalid.Reason == x509.Expired:
			return refuse(FaultExpired, "its certificate expired at %s: renew it", stamp(invalid.Cert.NotAfter))
		}
	}
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		return refuse(FaultForeign, "its certificate is signed by itself, not by a CA of this cluster")
	}
	return refuse(FaultForeign, "no CA of this cluster vouches for its certificate: %.300v", err)
}
