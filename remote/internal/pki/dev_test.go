package pki

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

func openDev(t *testing.T, dir, name string) *Source {
	t.Helper()
	return must[*Source](t, "open")(Open(must[Files](t, "dev")(Dev(dir, name)), nil))
}

// Nodes that start at once in a directory that is not there all end with one CA, one secret, and a certificate of it; also those of one name.
func TestConcurrentDev(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	sources := make([]*Source, 12)
	var wg sync.WaitGroup
	for i := range sources {
		wg.Go(func() {
			files, err := Dev(dir, fmt.Sprintf("node%d", i/2))
			if err == nil {
				sources[i], err = Open(files, nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, source := range sources {
		meet(t, sources[0], source)
		if id := source.Identity(); id.Name != fmt.Sprintf("node%d", i/2) || id.Roles != link.AllRoles {
			t.Errorf("%+v", id)
		}
		if string(source.GossipKey()) != string(sources[0].GossipKey()) || len(source.GossipKey()) != 32 {
			t.Error("another secret")
		}
	}
	entries := must[[]os.DirEntry](t, "list")(os.ReadDir(dir))
	if len(entries) != 5+2*6 {
		t.Error(entries)
	}
}

// A start that was cut off anywhere is finished by the next.
func TestDevAfterCrash(t *testing.T) {
	for _, left := range [][]string{{}, {"ca.key"}, {"ca.key", "gossip.key"}, {"ca.key", "gossip.key", "revoked"}, {"ca.key", "gossip.key", "revoked", "ca.pem"},
		{"ca.key", "gossip.key", "revoked", "ca.pem", "alpha.key"}, {"ca.key", "ca.pem", "gossip.key", "revoked", "alpha.pem"}} {
		whole, dir := t.TempDir(), t.TempDir()
		openDev(t, whole, "alpha")
		for _, name := range left {
			put(t, in(dir)(name), read(t, in(whole)(name)))
		}
		alpha := openDev(t, dir, "alpha")
		meet(t, alpha, openDev(t, dir, "beta"))
		for _, name := range left {
			if name != "alpha.pem" && read(t, in(dir)(name)) != read(t, in(whole)(name)) {
				t.Errorf("%s was written over", name)
			}
		}
	}
}

// A certificate is kept until a third of its life is left, then renewed: at a start, and while the node runs. It keeps its roles.
func TestDevRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		issue(t, must[*CA](t, "CA")(NewCA(dir, devCALife)), Order{Names: []string{"limited"}, Roles: link.MaySend})
		alpha, limited := openDev(t, dir, "alpha"), openDev(t, dir, "limited")
		was := alpha.Identity()
		if left := time.Until(was.NotAfter); left > 90*day || left < 89*day {
			t.Errorf("%v left", left)
		}
		time.Sleep(59 * day)
		if id := openDev(t, dir, "alpha").Identity(); id != was {
			t.Errorf("renewed too soon: %+v", id)
		}
		meet(t, alpha, limited)
		time.Sleep(2 * day)
		again := openDev(t, dir, "alpha").Identity()
		if again == was || time.Until(again.NotAfter) < 89*day {
			t.Errorf("not renewed: %+v", again)
		}
		meet(t, limited, alpha)
		if id := alpha.Identity(); id != again {
			t.Errorf("the running node has %+v", id)
		}
		if id := limited.Identity(); time.Until(id.NotAfter) < 89*day || id.Roles != link.MaySend {
			t.Errorf("the running node has %+v", id)
		}
		time.Sleep(200 * day) // all have expired
		meet(t, openDev(t, dir, "alpha"), limited)
	})
}

// What Dev has not made it does not write over.
func TestDevRefuses(t *testing.T) {
	dir, _ := newCluster(t, "alpha", "beta")
	path := in(dir)
	beta := read(t, path("beta.pem"))
	put(t, path("beta.pem"), read(t, path("alpha.pem")))
	_, err := Open(must[Files](t, "dev")(Dev(dir, "beta")), nil)
	wantText(t, err, `the certificate of node "alpha"`)
	put(t, path("beta.pem"), beta[:len(beta)/2])
	_, err = Dev(dir, "beta")
	wantText(t, err, "cut short")
	_, other := newCluster(t)
	cert := signed(t, other, func(c *x509.Certificate) { c.URIs = uris("beta", 0) })
	put(t, path("beta.pem"), string(certPEM(cert.Certificate[0])))
	_, err = Dev(dir, "beta")
	wantText(t, err, "not signed by the CA beside it")
	if err := os.Remove(path("ca.key")); err != nil {
		t.Fatal(err)
	}
	_, err = Dev(dir, "gamma")
	wantText(t, err, "the CA's key is not")
	_, err = Dev(path("ca.pem"), "gamma")
	wantText(t, err, "ca.pem")
	_, err = Dev(dir, "../gamma")
	wantText(t, err, "begins with")
}
