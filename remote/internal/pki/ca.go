package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

const (
	// Clocks differ: a certificate is valid from a while before it was made.
	backdate = time.Hour
	maxLife  = 100 * 365 * 24 * time.Hour
	maxCN    = 64 // X.520
)

// usages are what a node's certificate is for: nodes both accept and dial.
var usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}

// CA signs the certificates of a cluster's nodes.
// Any goroutine may use it.
type CA struct {
	dir     string
	cert    *x509.Certificate
	key     crypto.Signer
	revoked serials
}

// NewCA makes a CA in dir, which it makes too if need be, and beside it the secret for gossip and an empty list of revoked certificates.
// It fails if dir holds a CA.
func NewCA(dir string, life time.Duration) (*CA, error) {
	if err := checkLife(life); err != nil {
		return nil, err
	}
	for _, file := range []string{caCertFile, caKeyFile} {
		if file = filepath.Join(dir, file); there(file) {
			return nil, fmt.Errorf("%s is already there: a CA is never overwritten", file)
		}
	}
	return makeCA(dir, life, writeNew)
}

// makeCA makes what NewCA does. Each file is settled by itself, the key first: whoever finds one there that is not its own goes on with
// it if place is makeOnce. So all end with the same CA without a lock, which a crash would leave behind.
func makeCA(dir string, life time.Duration, place func(string, fs.FileMode, []byte) error) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := placeKey(filepath.Join(dir, caKeyFile), place)
	if err != nil {
		return nil, err
	}
	der, err := selfSigned(key, life)
	if err != nil {
		return nil, err
	}
	if err := makeOnce(filepath.Join(dir, gossipFile), secretMode, newGossipKey()); err != nil {
		return nil, err
	}
	if err := makeOnce(filepath.Join(dir, revokedFile), publicMode, []byte(revokedHeader)); err != nil {
		return nil, err
	}
	// The certificate comes last: where it is, all of it is.
	if err := place(filepath.Join(dir, caCertFile), publicMode, certPEM(der)); err != nil {
		return nil, err
	}
	return LoadCA(dir)
}

// placeKey makes a new key in that file, or reads the one that place has left there.
func placeKey(file string, place func(string, fs.FileMode, []byte) error) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := place(file, secretMode, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, err
	}
	return readKey(file)
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// selfSigned is the certificate of a CA.
func selfSigned(key crypto.Signer, life time.Duration) ([]byte, error) {
	tmpl := caTemplate(life)
	return x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
}

// caTemplate limits the CA to nodes: what it signs is for the URIs that IdentityOf reads and, by names that nobody has, for no host, mail
// address or IP address. Who comes by its key, or has it among the roots of a browser, can make no web site of it. It signs no other CA.
func caTemplate(life time.Duration) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Greenroom CA " + rand.Text()[:8]}, // several may follow each other
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: usages,
		PermittedDNSDomainsCritical: true,
		PermittedURIDomains:         []string{"node", "role"},
		PermittedDNSDomains:         []string{"greenroom.invalid"},
		PermittedEmailAddresses:     []string{"greenroom.invalid"},
		ExcludedIPRanges:            []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}},
	}
}

// LoadCA reads the CA in dir. If ca.pem holds several, it is the one that ca.key belongs to.
func LoadCA(dir string) (*CA, error) {
	certFile, keyFile := filepath.Join(dir, caCertFile), filepath.Join(dir, caKeyFile)
	data, err := readFile(certFile)
	if err != nil {
		return nil, err
	}
	cas, err := parseCAs(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	key, err := readKey(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there and the CA's key is not: certificates are issued where that is kept: %w", certFile, err)
	}
	if err != nil {
		return nil, err
	}
	revoked, err := readRevoked(filepath.Join(dir, revokedFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, cert := range cas {
		if samePublic(cert.PublicKey, key.Public()) {
			return &CA{dir: dir, cert: cert, key: key, revoked: revoked}, nil
		}
	}
	return nil, fmt.Errorf("%s belongs to no certificate in %s", keyFile, certFile)
}

func samePublic(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// Certificate is the CA's own.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Order is what certificates to issue.
type Order struct {
	Names     []string      // of the nodes
	Roles     link.Roles    // what they may do
	Life      time.Duration // how long, at most: no certificate outlives the CA's
	Renew     bool          // replace the certificates that are there; their keys stay
	KeepRoles bool          // and their roles
}

// Issue issues the certificates to nodes and returns them. Without Renew a node that has a certificate or a key in the CA's directory is an
// error, and then nobody gets one.
func (ca *CA) Issue(o Order) ([]*x509.Certificate, error) {
	if err := checkLife(o.Life); err != nil {
		return nil, err
	}
	if time.Now().After(ca.cert.NotAfter) {
		return nil, fmt.Errorf("the CA in %s expired at %s: make a new one", ca.dir, stamp(ca.cert.NotAfter))
	}
	if err := ca.checkNames(o); err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, name := range o.Names {
		cert, err := ca.issue(name, o)
		if err != nil {
			return certs, fmt.Errorf("node %q: %w", name, err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// checkNames looks at all names before anything is written.
func (ca *CA) checkNames(o Order) error {
	for i, name := range o.Names {
		certFile, keyFile, err := nodeFiles(ca.dir, name)
		if err != nil {
			return err
		}
		if slices.Contains(o.Names[:i], name) {
			return fmt.Errorf("the name %q is given twice", name)
		}
		for _, file := range []string{certFile, keyFile} {
			if !o.Renew && there(file) {
				return fmt.Errorf("%s is already there: renew the certificate, or remove the file", file)
			}
		}
	}
	return nil
}

// issue writes a node's certificate. If a key has to be made it goes first, so that where a certificate is, its key is.
func (ca *CA) issue(name string, o Order) (*x509.Certificate, error) {
	certFile, keyFile, err := nodeFiles(ca.dir, name)
	if err != nil {
		return nil, err
	}
	placeOfKey, placeOfCert := writeNew, writeNew
	if o.Renew {
		placeOfKey, placeOfCert = makeOnce, replace
		old, err := ca.current(certFile, name)
		if err != nil {
			return nil, err
		}
		if old.Name != "" && o.KeepRoles {
			o.Roles = old.Roles
		}
	}
	key, err := placeKey(keyFile, placeOfKey)
	if err != nil {
		return nil, err
	}
	der, err := ca.sign(nodeTemplate(name, o.Roles, o.Life), key.Public())
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// It is in the book before anybody can use it.
	if err := appendTo(filepath.Join(ca.dir, issuedFile), publicMode, issuedLine(serialText(cert.SerialNumber), name, cert.NotAfter)); err != nil {
		return nil, err
	}
	return cert, placeOfCert(certFile, publicMode, certPEM(der))
}

// current is whom the certificate in that file names, nobody if there is none. What cannot be read, or is somebody else's, is not to be
// overwritten.
func (ca *CA) current(certFile, name string) (link.Identity, error) {
	certs, err := ReadCertificates(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		return link.Identity{}, nil
	}
	if err != nil {
		return link.Identity{}, err
	}
	id, err := IdentityOf(certs[0])
	if err != nil {
		return link.Identity{}, fmt.Errorf("%s: %w", certFile, err)
	}
	if id.Name != name {
		return link.Identity{}, fmt.Errorf("%s is the certificate of node %q", certFile, id.Name)
	}
	return id, nil
}

func (ca *CA) sign(tmpl *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	if tmpl.NotAfter.After(ca.cert.NotAfter) {
		tmpl.NotAfter = ca.cert.NotAfter
	}
	return x509.CreateCertificate(rand.Reader, tmpl, ca.cert, public, ca.key)
}

func nodeTemplate(name string, roles link.Roles, life time.Duration) *x509.Certificate {
	now := time.Now()
	tmpl := &x509.Certificate{
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages, URIs: uris(name, roles),
	}
	if len(name) <= maxCN { // for people: what counts is the URI
		tmpl.Subject.CommonName = name
	}
	return tmpl
}

func checkLife(life time.Duration) error {
	if life <= 0 || life > maxLife {
		return fmt.Errorf("a life of %v: it has to be above zero and %v at most", life, maxLife)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// due reports whether a third of a certificate's life is left, or less.
func due(cert *x509.Certificate) bool {
	return time.Until(cert.NotAfter) <= cert.NotAfter.Sub(cert.NotBefore)/3
}
