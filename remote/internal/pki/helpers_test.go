package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

const (
	alpn = "greenroom/1"
	day  = 24 * time.Hour
)

func must[T any](t *testing.T, what string) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

// newCluster makes a CA and certificates of those nodes.
func newCluster(t *testing.T, names ...string) (dir string, ca *CA) {
	t.Helper()
	dir = t.TempDir()
	ca = must[*CA](t, "CA")(NewCA(dir, 1000*day))
	issue(t, ca, Order{Names: names})
	return dir, ca
}

func issue(t *testing.T, ca *CA, o Order) []*x509.Certificate {
	t.Helper()
	if o.Life == 0 {
		o.Life = 90 * day
	}
	if o.Roles == 0 {
		o.Roles = link.AllRoles
	}
	return must[[]*x509.Certificate](t, "issue")(ca.Issue(o))
}

func open(t *testing.T, dir, name string) *Source {
	t.Helper()
	files := must[Files](t, "files")(DirFiles(dir, name))
	return must[*Source](t, "open "+name)(Open(files, nil))
}

// signed is a certificate for TLS that the CA has signed: that of a node called mallory, after change.
func signed(t *testing.T, ca *CA, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	tmpl := nodeTemplate("mallory", link.AllRoles, day)
	change(tmpl)
	key := newKey(t)
	return tls.Certificate{Certificate: [][]byte{must[[]byte](t, "sign")(ca.sign(tmpl, key.Public()))}, PrivateKey: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t, "key")(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// outcome is what each side of a connection says of it.
type outcome struct {
	server, client           error
	serverState, clientState tls.ConnectionState
}

// shake connects two sides. The client reads a byte, for that is when it learns what the server thinks of it.
func shake(server, client *tls.Config) outcome {
	serverPipe, clientPipe := net.Pipe()
	s, c := tls.Server(serverPipe, server), tls.Client(clientPipe, client)
	var o outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer serverPipe.Close() //nolint:errcheck // it is a pipe
		if o.server = s.Handshake(); o.server == nil {
			_, o.server = s.Write([]byte{1})
		}
	}()
	if o.client = c.Handshake(); o.client == nil {
		_, o.client = io.ReadFull(c, make([]byte, 1))
	}
	_ = clientPipe.Close()
	<-done
	o.serverState, o.clientState = s.ConnectionState(), c.ConnectionState()
	return o
}

// meet connects two nodes, and both have to accept each other.
func meet(t *testing.T, server, client *Source) {
	t.Helper()
	o := shake(server.ServerTLS(alpn), client.ClientTLS(alpn, server.Identity().Name))
	if o.server != nil || o.client != nil {
		t.Fatalf("server: %v; client: %v", o.server, o.client)
	}
}

func wantFault(t *testing.T, err error, fault Fault, text string) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Fault != fault || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want fault %q and %q", err, fault, text)
	}
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v: does not say %q", err, text)
		}
	}
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	return string(must[[]byte](t, "read")(os.ReadFile(file)))
}

// logged is a logger and what it has logged.
func logged() (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return slog.New(slog.NewTextHandler(&out, nil)), &out
}

func in(dir string) func(string) string {
	return func(name string) string { return filepath.Join(dir, name) }
}
