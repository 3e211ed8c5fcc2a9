package remote_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

// logBook is a log that can be waited for.
type logBook struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

// await waits until one line of the log has all of the words.
func (b *logBook) await(ctx context.Context, t *testing.T, words ...string) {
	t.Helper()
	for {
		b.mu.Lock()
		text := b.text.String()
		b.mu.Unlock()
		for line := range strings.Lines(text) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return
			}
		}
		select {
		case <-b.wrote:
		case <-ctx.Done():
			t.Fatalf("no line with %q in:\n%s", words, text)
		}
	}
}

func startLogged(t *testing.T, o remote.Options) (*remote.Node, *logBook) {
	t.Helper()
	book := &logBook{wrote: make(chan struct{}, 1)}
	o.Logger = slog.New(slog.NewTextHandler(book, nil))
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	n, err := remote.Start(sys, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Stop(context.Background())
		_ = sys.Close()
	})
	return n, book
}

// newCA makes a cluster's certificates in a directory of their own.
func newCA(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ca, err := pki.NewCA(dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue(pki.Order{Names: names, Roles: link.AllRoles, Life: time.Hour}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRefusedCertificates: who is not of the cluster, or is no longer, gets no link, and both sides' logs say why.
func TestRefusedCertificates(t *testing.T) {
	for _, network := range []string{"quic"} { // tcp is a control, and says less
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dir := newCA(t, "alpha", "beta", "gamma")
		alpha, alphas := startLogged(t, remote.Options{Name: "alpha", TLS: remote.DirTLS(dir), Network: network})
		t.Run(network+"/foreign", func(t *testing.T) {
			_, betas := startLogged(t, remote.Options{Name: "beta", TLS: remote.DirTLS(newCA(t, "beta")), Network: network, Peers: []string{alpha.Addr()}})
			// the dialer looks at the other's certificate first, and does not like it any more than the other would like its own
			betas.await(ctx, t, alpha.Addr(), "CA")
			alphas.await(ctx, t, "refused")
		})
		t.Run(network+"/revoked", func(t *testing.T) {
			if _, err := pki.Revoke(dir, "beta"); err != nil {
				t.Fatal(err)
			}
			// beta does not know yet that it is revoked: it has another list
			blind := copyDir(t, dir)
			if err := os.WriteFile(filepath.Join(blind, "revoked"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_, betas := startLogged(t, remote.Options{Name: "beta", TLS: remote.DirTLS(blind), Network: network, Peers: []string{alpha.Addr()}})
			betas.await(ctx, t, alpha.Addr(), "revoked")
			alphas.await(ctx, t, "beta", "revoked")
		})
		t.Run(network+"/good", func(t *testing.T) {
			gamma, _ := startLogged(t, remote.Options{Name: "gamma", TLS: remote.DirTLS(dir), Network: network, Peers: []string{alpha.Addr()}})
			if _, err := gamma.Peer(ctx, "alpha"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestRevokedInSession: a link whose peer's certificate is revoked, or expires, while it is up ends; with a new certificate the peer
// comes back, and the session goes on.
func TestRevokedInSession(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := newCA(t, "alpha", "beta")
	alpha, alphas := startLogged(t, remote.Options{Name: "alpha", TLS: remote.DirTLS(dir), DownAfter: 4 * time.Second})
	beta, _ := startLogged(t, remote.Options{Name: "beta", TLS: remote.DirTLS(dir), DownAfter: 4 * time.Second, Peers: []string{alpha.Addr()}})
	if _, err := beta.Peer(ctx, "alpha"); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Revoke(dir, "beta"); err != nil {
		t.Fatal(err)
	}
	alphas.await(ctx, t, "no longer good", "beta", "revoked")
	ca, err := pki.LoadCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue(pki.Order{Names: []string{"beta"}, Roles: link.AllRoles, Life: time.Hour, Renew: true}); err != nil {
		t.Fatal(err)
	}
	beta.Connect(alpha.Addr())
	for len(beta.Peers()) == 0 || beta.Peers()[0].Status != remote.PeerUp {
		if _, err := beta.Peer(ctx, "alpha"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStartRefuses: what a node cannot start with is an error that says what to do.
func TestStartRefuses(t *testing.T) {
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close() //nolint:errcheck // nothing runs in it
	dir := newCA(t, "alpha")
	good := remote.Options{Name: "alpha", TLS: remote.DirTLS(dir)}
	with := func(change func(*remote.Options)) remote.Options {
		o := good
		change(&o)
		return o
	}
	for _, c := range []struct {
		o    remote.Options
		want string
	}{
		{remote.Options{Name: "alpha"}, "greenroom cert"},
		{with(func(o *remote.Options) { o.Name = "" }), "name"},
		{with(func(o *remote.Options) { o.Name = "other" }), "other"},
		{with(func(o *remote.Options) { o.Listen = "nowhere" }), "host:port"},
		{with(func(o *remote.Options) { o.Listen = "192.0.2.1:1" }), "listen"},
		{with(func(o *remote.Options) { o.Network = "pigeon" }), "quic"},
		{with(func(o *remote.Options) { o.DownAfter = time.Millisecond }), "DownAfter"},
		{with(func(o *remote.Options) { o.WindowBytes = -1 }), "WindowBytes"},
		{with(func(o *remote.Options) { o.Peers = []string{"x"} }), "host:port"},
	} {
		n, err := remote.Start(sys, c.o)
		if err == nil {
			_ = n.Stop(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	if _, err := remote.Start(nil, good); err == nil {
		t.Error("a nil System makes a node")
	}
	n, err := remote.Start(sys, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Start(sys, good); err == nil {
		t.Error("a System is two nodes")
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	n, err = remote.Start(sys, good)
	if err != nil {
		t.Fatal("after Stop:", err)
	}
	_ = n.Stop(t.Context())
}
