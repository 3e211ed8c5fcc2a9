// Package linktest tests implementations of package link's interfaces, all by the same rules, and has credentials for them.
package linktest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Authority signs certificates for nodes of a test.
type Authority struct {
	key  ed25519.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

// NewAuthority makes an authority that nobody else trusts.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{pool: x509.NewCertPool()}
	template := template("authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	_, a.key, a.cert = sign(t, template, nil, nil)
	a.pool.AddCert(a.cert)
	return a
}

// Credentials are those of one node.
type Credentials struct {
	authority *Authority
	cert      tls.Certificate
	// Refuse, if set, makes PeerIdentity fail.
	Refuse error
}

// Node makes the credentials of the node called name.
func (a *Authority) Node(t testing.TB, name string) *Credentials {
	t.Helper()
	der, key, _ := sign(t, template(name), a.cert, a.key)
	return &Credentials{authority: a, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// sign signs template, with its own key if there is no parent.
func sign(t testing.TB, template, parent *x509.Certificate, by ed25519.PrivateKey) ([]byte, ed25519.PrivateKey, *x509.Certificate) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return der, key, cert
}

// ServerTLS is what links are accepted with.
func (c *Credentials) ServerTLS(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{alpn},
		Certificates: []tls.Certificate{c.cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    c.authority.pool,
	}
}

// ClientTLS is what peer is dialed with.
func (c *Credentials) ClientTLS(alpn, peer string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{alpn},
		Certificates:       []tls.Certificate{c.cert},
		InsecureSkipVerify: true, // not by the address: VerifyConnection does it by the name
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: c.authority.pool, DNSName: peer})
			return err
		},
	}
}

// PeerIdentity is who the other side is, or Refuse.
func (c *Credentials) PeerIdentity(state tls.ConnectionState) (link.Identity, error) {
	if c.Refuse != nil {
		return link.Identity{}, c.Refuse
	}
	if len(state.PeerCertificates) == 0 {
		return link.Identity{}, errors.New("the node has no certificate")
	}
	cert := state.PeerCertificates[0]
	return link.Identity{
		Name:     cert.Subject.CommonName,
		Roles:    link.AllRoles,
		NotAfter: cert.NotAfter,
		Serial:   cert.SerialNumber.Text(16),
	}, nil
}
