package pki

import (
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

func reload(t *testing.T, source *Source, errs ...string) {
	t.Helper()
	err := source.Reload()
	if len(errs) > 0 {
		wantText(t, err, errs...)
	} else if err != nil {
		t.Errorf("reload: %v", err)
	}
}

// A change of the files is seen by handshakes and checks within a second, by both sides, and without anybody's help.
func TestRevocationIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := newCluster(t, "alpha", "beta")
		alpha, beta := open(t, dir, "alpha"), open(t, dir, "beta")
		meet(t, alpha, beta)
		meet(t, beta, alpha)
		server, client := alpha.ServerTLS(alpn), alpha.ClientTLS(alpn, "beta") // made before
		betas := beta.ServerTLS(alpn)

		must[[]string](t, "revoke")(Revoke(dir, "beta"))
		if err := alpha.Check(beta.Identity()); err != nil {
			t.Errorf("the file was read too often: %v", err)
		}
		time.Sleep(time.Second)
		wantFault(t, alpha.Check(beta.Identity()), FaultRevoked, `node "beta" was revoked`)
		if err := alpha.Check(alpha.Identity()); err != nil {
			t.Error(err)
		}
		// beta has the list too and does not try.
		o := shake(server, beta.ClientTLS(alpn, "alpha"))
		wantText(t, o.client, "cannot show its own certificate", "revoked")
		o = shake(betas, client)
		wantText(t, o.server, "cannot show its own certificate", "revoked")
		// It tries if it has no list.
		files := must[Files](t, "files")(DirFiles(dir, "beta"))
		files.Revoked = ""
		blind := must[*Source](t, "open")(Open(files, nil))
		o = shake(server, blind.ClientTLS(alpn, "alpha"))
		wantFault(t, o.server, FaultRevoked, "")
		o = shake(blind.ServerTLS(alpn), client)
		wantFault(t, o.client, FaultRevoked, "")
		_, err := alpha.PeerIdentity(o.clientState)
		wantFault(t, err, FaultRevoked, "")

		put(t, in(dir)("revoked"), "")
		time.Sleep(time.Second)
		meet(t, alpha, beta)
	})
}

func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, ca := newCluster(t, "alpha")
		issue(t, ca, Order{Names: []string{"beta"}, Life: day})
		alpha, beta := open(t, dir, "alpha"), open(t, dir, "beta")
		wantFault(t, alpha.Check(link.Identity{}), FaultIdentity, "who it is")
		if err := alpha.Check(beta.Identity()); err != nil {
			t.Error(err)
		}
		time.Sleep(day)
		if err := alpha.Check(beta.Identity()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		wantFault(t, alpha.Check(beta.Identity()), FaultExpired, `node "beta" expired at 2000-01-02`)
		o := shake(alpha.ServerTLS(alpn), beta.ClientTLS(alpn, "alpha"))
		wantText(t, o.client, "cannot show its own certificate", "expired at 2000-01-02")
		reload(t, beta, "beta.pem would be refused", "expired")
		issue(t, ca, Order{Names: []string{"beta"}, Renew: true})
		time.Sleep(time.Second)
		meet(t, alpha, beta)
		meet(t, beta, alpha)
		reload(t, beta)
	})
}

// One CA follows another while all nodes run and reach each other.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := newCluster(t, "alpha", "beta")
		next := must[*CA](t, "CA")(NewCA(t.TempDir(), 1000*day))
		issue(t, next, Order{Names: []string{"alpha", "beta", "new"}})
		path := in(dir)
		alpha, beta := open(t, dir, "alpha"), open(t, dir, "beta")
		all := func() {
			t.Helper()
			time.Sleep(time.Second)
			meet(t, alpha, beta)
			meet(t, beta, alpha)
		}
		all()
		old, added := read(t, path("ca.pem")), read(t, in(next.dir)("ca.pem"))
		newcomer := open(t, next.dir, "new")
		o := shake(alpha.ServerTLS(alpn), newcomer.ClientTLS(alpn, "alpha"))
		wantFault(t, o.client, FaultForeign, "")
		put(t, path("ca.pem"), old+added)
		all()
		for _, name := range []string{"alpha", "beta"} {
			was := beta.Identity()
			put(t, path(name+".pem"), read(t, in(next.dir)(name+".pem")))
			all() // the certificate's key is not there yet: the old pair stays
			if name == "alpha" && beta.Identity() != was {
				t.Error("beta has changed")
			}
			put(t, path(name+".key"), read(t, in(next.dir)(name+".key")))
			all()
		}
		put(t, path("ca.pem"), added)
		all()
		meet(t, alpha, newcomer)
		if id := must[link.Identity](t, "identity")(IdentityOf(open(t, next.dir, "beta").now.Load().own.value.chain[0])); beta.Identity() != id {
			t.Errorf("beta has %+v, not %+v", beta.Identity(), id)
		}
	})
}

// Each broken file leaves what it said before in force, and does not keep the others out.
func TestBrokenFiles(t *testing.T) {
	dir, ca := newCluster(t, "alpha", "beta")
	path := in(dir)
	alpha, beta := open(t, dir, "alpha"), open(t, dir, "beta")
	identity, secret := alpha.Identity(), alpha.GossipKey()
	_, other := newCluster(t, "alpha")
	for _, c := range []struct{ file, text, err string }{
		{"alpha.pem", "", "no certificate"},
		{"alpha.pem", "garbage", "no certificate"},
		{"alpha.pem", read(t, path("alpha.pem"))[:300], "cut short"},
		{"alpha.pem", read(t, path("alpha.key")), "PRIVATE KEY"},
		{"alpha.pem", read(t, path("beta.pem")), `the certificate of node "beta"`},
		{"alpha.pem", read(t, path("ca.pem")), "names no node"},
		{"alpha.pem", strings.Repeat("\n", maxFileBytes+1), "more than 1048576 bytes"},
		{"alpha.key", "", "no private key"},
		{"alpha.key", read(t, path("alpha.pem")), "no private key"},
		{"alpha.key", strings.Replace(read(t, path("alpha.key")), "M", "A", 1), "no key in PKCS #8"},
		{"alpha.key", read(t, path("beta.key")), "its key is not the one"},
		{"ca.pem", "", "no certificate"},
		{"ca.pem", read(t, path("ca.pem")) + read(t, path("ca.pem"))[:300], "2 certificates begin in it and 1 can be read"},
		{"ca.pem", read(t, path("ca.pem")) + read(t, path("beta.pem")), "not that of a CA"},
		{"ca.pem", read(t, path("ca.pem")) + read(t, path("ca.key")), "PRIVATE KEY"},
		{"revoked", "hello", "line 1"},
		{"revoked", "# x\n\n1234567890123456789012345678901234567890123456789012345678901234567890", "line 3"},
		{"gossip.key", "", "no secret"},
		{"gossip.key", "abc", "line 1: it is not 32 bytes"},
		{"gossip.key", strings.Repeat(read(t, path("gossip.key")), maxGossipKeys+1), "more than 16"},
	} {
		was := read(t, path(c.file))
		put(t, path(c.file), c.text)
		reload(t, alpha, path(c.file[:5]), c.err)
		reload(t, alpha, c.err) // it is still so
		if alpha.Identity() != identity || string(alpha.GossipKey()) != string(secret) {
			t.Errorf("%s: %q changed something", c.file, c.err)
		}
		meet(t, alpha, beta)
		put(t, path(c.file), was)
		reload(t, alpha)
	}
	for _, file := range []string{"alpha.pem", "alpha.key", "ca.pem", "revoked", "gossip.key"} {
		was := read(t, path(file))
		if err := os.Remove(path(file)); err != nil {
			t.Fatal(err)
		}
		reload(t, alpha, path(file))
		if _, err := Open(alpha.files, nil); err == nil {
			t.Errorf("opened without %s", file)
		}
		if err := os.Mkdir(path(file), 0o700); err != nil {
			t.Fatal(err)
		}
		reload(t, alpha, path(file)+" is not a regular file")
		if err := os.Remove(path(file)); err != nil {
			t.Fatal(err)
		}
		meet(t, alpha, beta)
		put(t, path(file), was)
		reload(t, alpha)
	}

	// A certificate that others would refuse is not shown instead of one that they accept.
	was := [2]string{read(t, path("alpha.pem")), read(t, path("alpha.key"))}
	put(t, path("alpha.pem"), read(t, in(other.dir)("alpha.pem")))
	put(t, path("alpha.key"), read(t, in(other.dir)("alpha.key")))
	reload(t, alpha, "alpha.pem would be refused by whoever has "+path("ca.pem"), "no CA of this cluster vouches")
	meet(t, beta, alpha)
	put(t, path("alpha.pem"), was[0])
	put(t, path("alpha.key"), was[1])
	reload(t, alpha)

	put(t, path("alpha.pem"), "garbage")
	must[[]string](t, "revoke")(Revoke(dir, "beta"))
	reload(t, alpha, "no certificate")
	wantFault(t, alpha.Check(beta.Identity()), FaultRevoked, "")
	put(t, path("alpha.pem"), string(certPEM(signed(t, ca, asCA).Certificate[0])))
	reload(t, alpha, "alpha.pem")

	// Who is trusted is what ca.pem says, though our own certificate is not of that CA.
	put(t, path("revoked"), "")
	put(t, path("ca.pem"), read(t, in(other.dir)("ca.pem")))
	reload(t, beta, "beta.pem would be refused by whoever has "+path("ca.pem"))
	stranger := open(t, other.dir, "alpha")
	o := shake(beta.ServerTLS(alpn), stranger.ClientTLS(alpn, ""))
	wantFault(t, o.client, FaultForeign, "")
	_, err := beta.PeerIdentity(o.clientState)
	wantFault(t, err, FaultForeign, "")
	reload(t, beta, "would be refused")
	if _, err := Open(beta.files, nil); err == nil {
		t.Error("opened with a certificate of another CA")
	}
}

func TestOpen(t *testing.T) {
	dir, _ := newCluster(t, "alpha")
	files := must[Files](t, "files")(DirFiles(dir, "alpha"))
	for _, c := range []struct {
		change func(*Files)
		err    string
	}{
		{func(f *Files) { f.Name = "" }, "empty"},
		{func(f *Files) { f.Name = "beta" }, `this node is called "beta"`},
		{func(f *Files) { f.Cert = "" }, "no file is named for the certificate"},
		{func(f *Files) { f.Key = "" }, "no file is named for the key"},
		{func(f *Files) { f.CA = "" }, "no file is named for the CAs"},
		{func(f *Files) { f.Key = f.Cert }, "no private key"},
	} {
		changed := files
		c.change(&changed)
		_, err := Open(changed, nil)
		wantText(t, err, c.err)
	}
}

// A broken file is logged once, and once more when it is broken in another way; news are logged.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := newCluster(t, "alpha")
		log, out := logged()
		if err := os.Chmod(in(dir)("alpha.key"), 0o644); err != nil { //nolint:gosec // that is the point
			t.Fatal(err)
		}
		alpha := must[*Source](t, "open")(Open(must[Files](t, "files")(DirFiles(dir, "alpha")), log))
		check := func() {
			time.Sleep(2 * time.Second)
			_ = alpha.Check(alpha.Identity())
		}
		check()
		check()
		put(t, in(dir)("revoked"), "hello")
		check()
		check()
		put(t, in(dir)("revoked"), "hello there")
		check()
		put(t, in(dir)("revoked"), "ff")
		check()
		check()
		var got []string
		for line := range strings.Lines(out.String()) {
			_, line, _ = strings.Cut(line, "msg=")
			got = append(got, line[:20])
		}
		want := []string{`"remote: a secret ca`, `"remote: files of ce`, `"remote: files of ce`, `"remote: certificate`}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("logged:\n%s", out)
		}
		if strings.Contains(out.String(), hex.EncodeToString(alpha.GossipKey())) {
			t.Error("it has logged a secret")
		}
	})
}

func TestGossipKeys(t *testing.T) {
	dir, _ := newCluster(t, "alpha")
	alpha := open(t, dir, "alpha")
	one := alpha.GossipKey()
	alpha.GossipKey()[0]++ // nobody else's
	if string(alpha.GossipKey()) != string(one) || len(one) != 32 {
		t.Errorf("%x", one)
	}
	two := strings.Repeat("2", 32)
	put(t, in(dir)("gossip.key"), "# first\n"+base64.StdEncoding.EncodeToString([]byte(two))+"\n"+strings.ToUpper(hex.EncodeToString(one))+" # second\r\n")
	reload(t, alpha)
	if keys := alpha.GossipKeys(); len(keys) != 2 || string(keys[0]) != two || string(keys[1]) != string(one) || string(alpha.GossipKey()) != two {
		t.Errorf("%x", keys)
	}
}

// Handshakes, checks and reloads may run at once while files change.
func TestConcurrentUse(t *testing.T) {
	dir, ca := newCluster(t, "alpha", "beta")
	alpha := must[*Source](t, "open")(Open(must[Files](t, "files")(DirFiles(dir, "alpha")), slog.New(slog.DiscardHandler)))
	beta := open(t, dir, "beta")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 8 {
				o := shake(alpha.ServerTLS(alpn), beta.ClientTLS(alpn, "alpha"))
				if o.server != nil || o.client != nil {
					t.Error(o.server, o.client)
				}
				if err := alpha.Check(beta.Identity()); err != nil {
					t.Error(err)
				}
				alpha.GossipKey()
				if i == 0 {
					if _, err := ca.Issue(Order{Names: []string{"alpha"}, Life: day, Renew: true}); err != nil {
						t.Error(err)
					}
				}
				if err := alpha.Reload(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
