package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// stranger is the configuration of somebody who accepts everything, to see what is accepted of him.
func stranger(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: certs, NextProtos: []string{alpn}, InsecureSkipVerify: true, ClientAuth: tls.RequestClientCert}
}

// Nodes accept each other, whoever dials, and know who the other is. A node may call itself.
func TestHandshake(t *testing.T) {
	dir, ca := newCluster(t, "alpha")
	issue(t, ca, Order{Names: []string{"beta"}, Roles: link.MaySend | link.MayShip})
	alpha, beta := open(t, dir, "alpha"), open(t, dir, "beta")
	for _, expected := range []string{"alpha", ""} {
		o := shake(alpha.ServerTLS(alpn), beta.ClientTLS(alpn, expected))
		if o.server != nil || o.client != nil {
			t.Fatalf("server: %v; client: %v", o.server, o.client)
		}
		if id, err := alpha.PeerIdentity(o.serverState); err != nil || id != beta.Identity() || id.Name != "beta" || id.Roles != link.MaySend|link.MayShip {
			t.Errorf("the server sees %+v, %v", id, err)
		}
		if id, err := beta.PeerIdentity(o.clientState); err != nil || id != alpha.Identity() || id.Roles != link.AllRoles || len(id.Serial) < 16 {
			t.Errorf("the client sees %+v, %v", id, err)
		}
		if v, p := o.clientState.Version, o.clientState.NegotiatedProtocol; v != tls.VersionTLS13 || p != alpn {
			t.Errorf("version %x, protocol %q", v, p)
		}
		if o.serverState.ServerName != "" {
			t.Errorf("the name %q went over the wire", o.serverState.ServerName)
		}
	}
	meet(t, alpha, beta)
	meet(t, beta, alpha)
	meet(t, alpha, alpha)
	meet(t, alpha, open(t, dir, "alpha"))
}

// Whoever has no valid certificate of a node is refused, as a server and as a client, and told apart.
func TestRefused(t *testing.T) {
	dir, ca := newCluster(t, "alpha", "revoked")
	_, foreignCA := newCluster(t)
	revoked := must[tls.Certificate](t, "revoked")(tls.LoadX509KeyPair(in(dir)("revoked.pem"), in(dir)("revoked.key")))
	must[[]string](t, "revoke")(Revoke(dir, "revoked"))
	alpha := open(t, dir, "alpha")

	plain := func(*x509.Certificate) {}
	usage := func(usages ...x509.ExtKeyUsage) tls.Certificate {
		return signed(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = usages })
	}
	named := func(texts ...string) tls.Certificate {
		return signed(t, ca, func(c *x509.Certificate) {
			c.URIs = nil
			for _, text := range texts {
				c.URIs = append(c.URIs, must[*url.URL](t, "parse")(url.Parse(text)))
			}
		})
	}
	good := signed(t, ca, plain)
	long := good
	for range maxChain {
		long.Certificate = append(long.Certificate, good.Certificate[0])
	}
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		fault Fault
		text  string
	}{
		{"foreign CA", signed(t, foreignCA, plain), FaultForeign, "no CA of this cluster vouches"},
		{"foreign CA shown too", withChain(signed(t, foreignCA, plain), foreignCA.cert), FaultForeign, "no CA of this cluster vouches"},
		{"foreign CA of the same name", signed(t, impostor(t, ca), plain), FaultForeign, "no CA of this cluster vouches"},
		{"signed by itself", selfSignedNode(t), FaultForeign, "signed by itself"},
		{"signed by a node", byNode(t, good), FaultForeign, "no CA of this cluster vouches"},
		{"signed by a CA below the CA", byNode(t, signed(t, ca, asCA)), FaultForeign, "no CA of this cluster vouches"},
		{"more certificates than lead anywhere", long, FaultForeign, "6 certificates"},
		{"expired", signed(t, ca, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day)
		}), FaultExpired, "expired at"},
		{"not valid yet", signed(t, ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), FaultEarly, "not valid before"},
		{"revoked", revoked, FaultRevoked, `node "revoked" was revoked`},
		{"no URI", named(), FaultIdentity, "no URI greenroom://node/NAME"},
		{"two URIs", named("greenroom://node/alpha", "greenroom://node/mallory"), FaultIdentity, "more than one node"},
		{"bad name", named("greenroom://node/a%20b"), FaultIdentity, "letters, digits"},
		{"unknown URI", named("greenroom://node/mallory", "greenroom://node:1/y"), FaultIdentity, "means nothing"},
		{"URI outside of the CA's limits", named("greenroom://node/mallory", "spiffe://elsewhere/x"), FaultForeign, "elsewhere"},
		{"host outside of the CA's limits", signed(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }), FaultForeign, "example.com"},
		{"address outside of the CA's limits", signed(t, ca, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv6loopback} }), FaultForeign, "constrain"},
		{"no usage", usage(), FaultUsage, "does not say"},
		{"only for clients", usage(x509.ExtKeyUsageClientAuth), FaultUsage, "for clients and servers"},
		{"only for servers", usage(x509.ExtKeyUsageServerAuth), FaultUsage, "for clients and servers"},
		{"for anything", usage(x509.ExtKeyUsageAny), FaultUsage, "for clients and servers"},
		{"for code", usage(x509.ExtKeyUsageCodeSigning), FaultUsage, "for clients and servers"},
		{"a CA's", signed(t, ca, asCA), FaultUsage, "that of a CA"},
		{"the CA's", tls.Certificate{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: ca.key}, FaultUsage, "that of a CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := shake(alpha.ServerTLS(alpn), stranger(c.cert))
			wantFault(t, o.server, c.fault, c.text)
			wantText(t, o.client, "remote error: tls: bad certificate")
			o = shake(stranger(c.cert), alpha.ClientTLS(alpn, "mallory"))
			wantFault(t, o.client, c.fault, c.text)
			wantText(t, o.server, "remote error: tls: bad certificate")
		})
	}

	t.Run("wrong name", func(t *testing.T) {
		o := shake(stranger(good), alpha.ClientTLS(alpn, "beta"))
		wantFault(t, o.client, FaultName, `it is node "mallory", and "beta" was called`)
	})
	t.Run("no certificate", func(t *testing.T) {
		o := shake(alpha.ServerTLS(alpn), stranger())
		wantText(t, o.server, "client didn't provide a certificate")
		wantText(t, o.client, "certificate required")
		o = shake(stranger(), alpha.ClientTLS(alpn, "mallory")) // the protocol has no server without one
		wantText(t, o.server, "no certificates configured")
		_, err := alpha.PeerIdentity(tls.ConnectionState{})
		wantFault(t, err, FaultNone, "no certificate")
	})
	// The certificates of others go over the wire: having one proves nothing.
	t.Run("somebody else's certificate", func(t *testing.T) {
		stolen := tls.Certificate{Certificate: good.Certificate, PrivateKey: newKey(t)}
		o := shake(alpha.ServerTLS(alpn), stranger(stolen))
		wantText(t, o.server, "invalid signature by the client certificate")
		o = shake(stranger(stolen), alpha.ClientTLS(alpn, "mallory"))
		wantText(t, o.client, "invalid signature by the server certificate")
	})
	t.Run("not a certificate", func(t *testing.T) {
		garbage := tls.Certificate{Certificate: [][]byte{good.Certificate[0][:100]}, PrivateKey: good.PrivateKey}
		o := shake(alpha.ServerTLS(alpn), stranger(garbage))
		wantText(t, o.server, "failed to parse")
		o = shake(stranger(garbage), alpha.ClientTLS(alpn, "mallory"))
		wantText(t, o.client, "failed to parse")
	})
	t.Run("protocol", func(t *testing.T) {
		other := stranger(good)
		other.NextProtos = []string{"h2"}
		o := shake(alpha.ServerTLS(alpn), other)
		wantText(t, o.server, "unsupported application protocols")
		o = shake(other, alpha.ClientTLS(alpn, "mallory"))
		wantText(t, o.server, "unsupported application protocols")
		other.NextProtos = nil
		o = shake(alpha.ServerTLS(alpn), other)
		wantFault(t, o.server, FaultProtocol, "speaks")
		o = shake(other, alpha.ClientTLS(alpn, "mallory"))
		wantFault(t, o.client, FaultProtocol, "speaks")
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		old := stranger(good)
		old.MaxVersion = tls.VersionTLS12
		o := shake(alpha.ServerTLS(alpn), old)
		wantText(t, o.server, "unsupported versions")
		o = shake(old, alpha.ClientTLS(alpn, "mallory"))
		wantText(t, o.server, "unsupported versions")
	})
	t.Run("accepted", func(t *testing.T) { // what all of the above differ from
		if o := shake(alpha.ServerTLS(alpn), stranger(good)); o.server != nil || o.client != nil {
			t.Error(o.server, o.client)
		}
		if o := shake(stranger(good), alpha.ClientTLS(alpn, "mallory")); o.server != nil || o.client != nil {
			t.Error(o.server, o.client)
		}
	})
}

// A client that would resume gets no ticket, so that each handshake looks at certificates.
func TestNoResumption(t *testing.T) {
	dir, ca := newCluster(t, "alpha")
	alpha := open(t, dir, "alpha")
	client := stranger(signed(t, ca, func(*x509.Certificate) {}))
	client.ServerName, client.ClientSessionCache = "alpha", tls.NewLRUClientSessionCache(4)
	server := alpha.ServerTLS(alpn)
	for range 2 {
		if o := shake(server, client); o.client != nil || o.clientState.DidResume {
			t.Errorf("%v, resumed: %v", o.client, o.clientState.DidResume)
		}
	}
}

// Certificates of another maker are good too, by way of others below the CA; one on the way may be limited in what it signs.
func TestIntermediates(t *testing.T) {
	dir := t.TempDir()
	path := in(dir)
	root := otherCA(t, nil, usages)
	below := otherCA(t, root, usages)
	limited := otherCA(t, root, usages[:1])
	leaf := withChain(signed(t, below, func(*x509.Certificate) {}), below.cert)
	put(t, path("ca.pem"), string(certPEM(root.cert.Raw)))
	put(t, path("m.pem"), string(certPEM(leaf.Certificate[0]))+string(certPEM(leaf.Certificate[1])))
	put(t, path("m.key"), keyPEM(t, leaf.PrivateKey))
	files := Files{Name: "mallory", Cert: path("m.pem"), Key: path("m.key"), CA: path("ca.pem")}
	source := must[*Source](t, "open")(Open(files, nil))
	meet(t, source, source)
	if source.GossipKey() != nil || source.GossipKeys() != nil {
		t.Error("a secret from nowhere")
	}

	o := shake(source.ServerTLS(alpn), stranger(tls.Certificate{Certificate: leaf.Certificate[:1], PrivateKey: leaf.PrivateKey}))
	wantFault(t, o.server, FaultForeign, "no CA of this cluster vouches")
	narrow := withChain(signed(t, limited, func(*x509.Certificate) {}), limited.cert)
	wantFault(t, shake(source.ServerTLS(alpn), stranger(narrow)).server, FaultUsage, "for clients and servers")
	wantFault(t, shake(stranger(narrow), source.ClientTLS(alpn, "")).client, FaultUsage, "for clients and servers")
}

func asCA(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
}

func withChain(cert tls.Certificate, others ...*x509.Certificate) tls.Certificate {
	for _, other := range others {
		cert.Certificate = append(cert.Certificate, other.Raw)
	}
	return cert
}

// impostor is a CA that calls itself as ca does.
func impostor(t *testing.T, ca *CA) *CA {
	t.Helper()
	key, tmpl := newKey(t), *ca.cert
	tmpl.PublicKey = key.Public()
	der := must[[]byte](t, "impostor")(x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, key.Public(), key))
	return &CA{cert: must[*x509.Certificate](t, "parse")(x509.ParseCertificate(der)), key: key}
}

// byNode is a node's certificate that another certificate's key has signed.
func byNode(t *testing.T, node tls.Certificate) tls.Certificate {
	t.Helper()
	cert := must[*x509.Certificate](t, "parse")(x509.ParseCertificate(node.Certificate[0]))
	signer, ok := node.PrivateKey.(crypto.Signer)
	if !ok {
		t.Fatal("the key cannot sign")
	}
	return withChain(signed(t, &CA{cert: cert, key: signer}, func(*x509.Certificate) {}), cert)
}

func selfSignedNode(t *testing.T) tls.Certificate {
	t.Helper()
	key, tmpl := newKey(t), nodeTemplate("mallory", link.AllRoles, day)
	der := must[[]byte](t, "sign")(x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// otherCA is a CA that has no limits, as other programs make them, below parent if that is not nil.
func otherCA(t *testing.T, parent *CA, usages []x509.ExtKeyUsage) *CA {
	t.Helper()
	key, tmpl := newKey(t), &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(day), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: usages,
	}
	tmpl.Subject.CommonName = "other " + rand.Text()
	if parent == nil {
		parent = &CA{cert: tmpl, key: key}
	}
	der := must[[]byte](t, "sign")(x509.CreateCertificate(rand.Reader, tmpl, parent.cert, key.Public(), parent.key))
	return &CA{cert: must[*x509.Certificate](t, "parse")(x509.ParseCertificate(der)), key: key}
}

func keyPEM(t *testing.T, key crypto.PrivateKey) string {
	t.Helper()
	der := must[[]byte](t, "marshal")(x509.MarshalPKCS8PrivateKey(key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
