package remote

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

var discard = slog.New(slog.DiscardHandler)

func openTLS(t *testing.T, material TLS, name string) *pki.Source {
	t.Helper()
	source, err := material.open(name, discard)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// wantAccepted connects two nodes.
func wantAccepted(t *testing.T, server, client *pki.Source) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan error)
	go func() {
		s := tls.Server(near, server.ServerTLS("greenroom/1"))
		_, err := s.Write([]byte{1})
		done <- err
	}()
	c := tls.Client(far, client.ClientTLS("greenroom/1", server.Identity().Name))
	_, err := io.ReadFull(c, make([]byte, 1))
	_ = far.Close()
	if other := <-done; err != nil || other != nil {
		t.Errorf("client: %v; server: %v", err, other)
	}
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: does not say %q", err, text)
		}
	}
}

func TestDevTLS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	var sources [4]*pki.Source
	var wg sync.WaitGroup
	for i, name := range []string{"alpha", "beta", "alpha", "gamma"} {
		wg.Go(func() {
			var err error
			if sources[i], err = DevTLS(dir).open(name, discard); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, source := range sources {
		wantAccepted(t, sources[1], source)
		if source.Identity().Roles != link.AllRoles || len(source.GossipKey()) != 32 {
			t.Errorf("%+v", source.Identity())
		}
	}
	// What DevTLS has made is good without it.
	wantAccepted(t, sources[0], openTLS(t, DirTLS(dir), "beta"))
}

func TestDirAndFilesTLS(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.NewCA(dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue(pki.Order{Names: []string{"alpha", "beta"}, Roles: link.MaySend, Life: time.Hour}); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	files := TLSFiles{Cert: path("alpha.pem"), Key: path("alpha.key"), CA: path("ca.pem")}
	alpha := openTLS(t, FilesTLS(files), "alpha")
	wantAccepted(t, alpha, openTLS(t, DirTLS(dir), "beta"))
	if id := alpha.Identity(); id.Name != "alpha" || id.Roles != link.MaySend || alpha.GossipKey() != nil {
		t.Errorf("%+v", id)
	}
	files.Revoked, files.GossipKey = path("revoked"), path("gossip.key")
	if len(openTLS(t, FilesTLS(files), "alpha").GossipKey()) != 32 {
		t.Error("no secret")
	}

	_, err = FilesTLS(files).open("beta", nil)
	wantError(t, err, `remote: certificates of node "beta": `, `it is the certificate of node "alpha", and this node is called "beta"`)
	_, err = DirTLS(dir).open("gamma", nil)
	wantError(t, err, path("gamma.pem"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, c := range []struct {
		material TLS
		name     string
		text     string
	}{
		{DirTLS(dir), "", "empty"},
		{DirTLS(dir), strings.Repeat("x", 1<<20), "1048576 bytes"},
		{DevTLS(dir), "a/b", "'/'"},
		{FilesTLS(files), "a b", "' '"},
		{DirTLS(""), "alpha", "no directory is named"},
		{DevTLS(""), "alpha", "no directory is named"},
		{FilesTLS(TLSFiles{}), "alpha", "no file is named for the certificate"},
		{DevTLS(path("ca.pem")), "alpha", "ca.pem"},
	} {
		_, err := c.material.open(c.name, nil)
		wantError(t, err, "remote: certificates of node ", c.text)
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
}

// Who gives a node no certificate is told where to get one.
func TestNoTLS(t *testing.T) {
	_, err := TLS{}.open("alpha", nil)
	if !errors.Is(err, ErrNoTLS) {
		t.Error(err)
	}
	wantError(t, err, "DevTLS", "DirTLS", "greenroom cert")
}
