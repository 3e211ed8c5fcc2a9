package pki

import (
	"crypto/x509"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// What is secret is for its owner alone, and nothing else is left in the directory.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "certs")
	issue(t, must[*CA](t, "CA")(NewCA(dir, day)), Order{Names: []string{"alpha"}})
	got := map[string]fs.FileMode{}
	for _, entry := range must[[]os.DirEntry](t, "list")(os.ReadDir(dir)) {
		info := must[os.FileInfo](t, "stat")(entry.Info())
		got[entry.Name()] = info.Mode()
	}
	want := map[string]fs.FileMode{
		"ca.pem": 0o644, "ca.key": 0o600, "alpha.pem": 0o644, "alpha.key": 0o600, "revoked": 0o644, "issued": 0o644, "gossip.key": 0o600,
	}
	for name, mode := range want {
		if got[name] != mode {
			t.Errorf("%s has mode %v, want %v", name, got[name], mode)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %v", got)
	}
	if info := must[os.FileInfo](t, "stat")(os.Stat(dir)); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
}

func TestCertificates(t *testing.T) {
	dir, ca := newCluster(t)
	cert := issue(t, ca, Order{Names: []string{"alpha"}, Roles: link.MaySpawn, Life: 10 * day})[0]
	if id, err := IdentityOf(cert); err != nil || id.Name != "alpha" || id.Roles != link.MaySpawn || id.NotAfter != cert.NotAfter {
		t.Errorf("%+v, %v", id, err)
	}
	if left := time.Until(cert.NotAfter); left > 10*day || left < 10*day-time.Hour {
		t.Errorf("%v left", left)
	}
	if cert.IsCA || !slices.Equal(cert.ExtKeyUsage, usages) || cert.KeyUsage != x509.KeyUsageDigitalSignature || cert.SerialNumber.BitLen() < 64 {
		t.Errorf("usage %v %v, CA %v, serial number %x", cert.KeyUsage, cert.ExtKeyUsage, cert.IsCA, cert.SerialNumber)
	}
	if c := ca.Certificate(); !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || !c.PermittedDNSDomainsCritical || len(c.PermittedURIDomains) != 2 {
		t.Errorf("the CA: path length %d %v, names %v %v", c.MaxPathLen, c.MaxPathLenZero, c.PermittedURIDomains, c.PermittedDNSDomainsCritical)
	}
	long := strings.Repeat("x", 251)
	issue(t, ca, Order{Names: []string{long}})
	meet(t, open(t, dir, "alpha"), open(t, dir, long))
}

// A certificate does not outlive its CA, and an expired CA issues none.
func TestCALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ca := must[*CA](t, "CA")(NewCA(dir, 2*day))
		cert := issue(t, ca, Order{Names: []string{"alpha"}})[0]
		if !cert.NotAfter.Equal(ca.Certificate().NotAfter) {
			t.Errorf("the certificate ends at %v and the CA at %v", cert.NotAfter, ca.Certificate().NotAfter)
		}
		alpha, beta := open(t, dir, "alpha"), signed(t, ca, func(*x509.Certificate) {})
		time.Sleep(3 * day)
		_, err := ca.Issue(Order{Names: []string{"beta"}, Life: day})
		wantText(t, err, "the CA in "+dir+" expired at 2000-01-03")
		_, err = Dev(dir, "beta")
		wantText(t, err, "the CA in "+dir+" expired")
		o := shake(stranger(beta), alpha.ClientTLS(alpn, ""))
		wantFault(t, o.client, FaultExpired, "")
		other := *ca
		renewed := *ca.cert
		renewed.NotAfter = time.Now().Add(day)
		other.cert = &renewed
		// A certificate that is good for longer than its CA: the CA decides.
		o = shake(stranger(signed(t, &other, func(*x509.Certificate) {})), alpha.ClientTLS(alpn, ""))
		wantFault(t, o.client, FaultForeign, ", which may have signed its certificate, is valid from 1999-12-31T23:00:00Z to 2000-01-03T00:00:00Z only")
	})
}

func TestNothingIsOverwritten(t *testing.T) {
	dir, ca := newCluster(t, "alpha")
	path := in(dir)
	before := snapshot(t, dir)
	_, err := NewCA(dir, day)
	wantText(t, err, path("ca.pem"), "already there")
	for _, o := range []struct {
		names []string
		text  string
	}{
		{[]string{"beta", "alpha"}, path("alpha.pem") + " is already there"},
		{[]string{"beta", "beta"}, "twice"},
		{[]string{"beta", "ca"}, "no node may be called"},
		{[]string{"beta", "CA"}, "no node may be called"},
		{[]string{"beta", "Gossip"}, "no node may be called"},
		{[]string{"beta", "../beta"}, "begins with"},
		{[]string{"beta", strings.Repeat("x", 252)}, "more than the name of a file can hold"},
		{[]string{"beta", ""}, "empty"},
	} {
		_, err := ca.Issue(Order{Names: o.names, Life: day})
		wantText(t, err, o.text)
	}
	for _, life := range []time.Duration{0, -day, maxLife + 1} {
		_, err := ca.Issue(Order{Names: []string{"beta"}, Life: life})
		wantText(t, err, "a life of")
		_, err = NewCA(t.TempDir(), life)
		wantText(t, err, "a life of")
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("before %v, after %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}

	for _, left := range []string{"ca.key", "ca.pem"} {
		other := t.TempDir()
		put(t, in(other)(left), "x")
		_, err = NewCA(other, day)
		wantText(t, err, in(other)(left), "already there")
	}
	if err := os.Remove(path("alpha.pem")); err != nil {
		t.Fatal(err)
	}
	_, err = ca.Issue(Order{Names: []string{"alpha"}, Life: day})
	wantText(t, err, path("alpha.key"), "already there")
}

// Of several that make a CA at once, one does.
func TestConcurrentNewCA(t *testing.T) {
	dir := t.TempDir()
	var made []*CA
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ca, err := NewCA(dir, day)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, ca)
			}
		})
	}
	wg.Wait()
	if len(made) != 1 || !must[*CA](t, "load")(LoadCA(dir)).cert.Equal(made[0].cert) {
		t.Errorf("%d have made a CA", len(made))
	}
}

// Renewing keeps the key, and the roles if that is asked for, and does not write over what is somebody else's.
func TestRenew(t *testing.T) {
	dir, ca := newCluster(t)
	path := in(dir)
	old := issue(t, ca, Order{Names: []string{"alpha"}, Roles: link.MaySend})[0]
	key := read(t, path("alpha.key"))
	renewed := issue(t, ca, Order{Names: []string{"alpha", "beta"}, Roles: link.AllRoles, Renew: true, KeepRoles: true})
	id := must[link.Identity](t, "identity")(IdentityOf(renewed[0]))
	if id.Roles != link.MaySend || renewed[0].SerialNumber.Cmp(old.SerialNumber) == 0 || read(t, path("alpha.key")) != key {
		t.Errorf("%+v, the old number was %x", id, old.SerialNumber)
	}
	if id := must[link.Identity](t, "identity")(IdentityOf(renewed[1])); id.Name != "beta" || id.Roles != link.AllRoles {
		t.Errorf("%+v", id) // there was none
	}
	renewed = issue(t, ca, Order{Names: []string{"alpha"}, Roles: link.MayFiles, Renew: true})
	if id := must[link.Identity](t, "identity")(IdentityOf(renewed[0])); id.Roles != link.MayFiles {
		t.Errorf("%+v", id)
	}
	put(t, path("alpha.pem"), read(t, path("beta.pem")))
	_, err := ca.Issue(Order{Names: []string{"alpha"}, Life: day, Renew: true})
	wantText(t, err, `the certificate of node "beta"`)
	put(t, path("alpha.pem"), "garbage")
	_, err = ca.Issue(Order{Names: []string{"alpha"}, Life: day, Renew: true})
	wantText(t, err, path("alpha.pem"), "no certificate")
}

func TestLoadCA(t *testing.T) {
	_, err := LoadCA(t.TempDir())
	wantText(t, err, "ca.pem")
	dir, ca := newCluster(t)
	path := in(dir)
	_, other := newCluster(t)
	put(t, path("ca.pem"), string(certPEM(other.cert.Raw))+read(t, path("ca.pem")))
	if got := must[*CA](t, "load one of two")(LoadCA(dir)); !got.cert.Equal(ca.cert) {
		t.Errorf("it is %v", got.cert.Subject)
	}
	put(t, path("ca.pem"), string(certPEM(other.cert.Raw)))
	_, err = LoadCA(dir)
	wantText(t, err, "belongs to no certificate")
	put(t, path("ca.key"), "garbage")
	_, err = LoadCA(dir)
	wantText(t, err, "no private key")
	put(t, path("revoked"), "garbage")
	_, err = LoadCA(dir)
	wantText(t, err, "no private key")
	if err := os.Remove(path("ca.key")); err != nil {
		t.Fatal(err)
	}
	_, err = LoadCA(dir)
	wantText(t, err, "the CA's key is not")
}

func TestRevoke(t *testing.T) {
	dir, ca := newCluster(t, "alpha", "beta", "bad")
	certs := issue(t, ca, Order{Names: []string{"gamma"}})
	put(t, in(dir)("revoked"), "# by hand\n0ABC") // without an end of line
	for _, c := range []struct {
		which string
		added int
		err   string
	}{
		{"alpha", 1, ""}, {"alpha", 0, ""}, {"bad", 1, ""}, {serialText(certs[0].SerialNumber), 1, ""}, {"gamma", 0, ""},
		{"0000000000000abc", 0, ""}, {"00:00:00:00:00:00:0A:BC", 0, ""}, {"00:00:00:00:00:00:00:00:12", 1, ""},
		{"dead", 0, "neither"}, {"delta", 0, "neither"}, {"", 0, "neither"}, {"../alpha", 0, "neither"}, {strings.Repeat("y", MaxNameBytes), 0, "neither"},
		{strings.Repeat("1", 100), 0, "neither"}, {strings.Repeat("x", 1<<20), 0, "neither"}, {"-000000000000000001", 0, "neither"},
	} {
		added, err := Revoke(dir, c.which)
		if c.err != "" {
			wantText(t, err, c.err)
			continue
		}
		if err != nil || len(added) != c.added {
			t.Errorf("%q: %v, %v", c.which, added, err)
		}
	}
	for serial, want := range map[string]bool{"abc": true, "12": true, serialText(certs[0].SerialNumber): true, "beef": false} {
		if got, err := Revoked(in(dir)("gamma.pem"), serial); got != want || err != nil {
			t.Errorf("%s is revoked: %v, %v", serial, got, err)
		}
	}
	if got, err := Revoked(filepath.Join(t.TempDir(), "x.pem"), "1"); got || err != nil {
		t.Error(got, err)
	}
	_, err := Open(must[Files](t, "files")(DirFiles(dir, "alpha")), nil)
	wantText(t, err, "alpha.pem would be refused", "revoked")
	if _, err := Dev(dir, "alpha"); err == nil || !strings.Contains(err.Error(), "was revoked: remove it and") {
		t.Error(err)
	}
	put(t, in(dir)("revoked"), "hello")
	_, err = Revoke(dir, "beta")
	wantText(t, err, "line 1", "serial number")
	for _, text := range []string{"x", "x alpha 2000-01-01T00:00:00Z", "1 alpha yesterday"} {
		put(t, in(dir)("issued"), text)
		_, err = Revoke(dir, "beta")
		wantText(t, err, in(dir)("issued")+": line 1")
	}
}

// Who revokes a node revokes its earlier certificates as well, though they were replaced, or removed.
func TestRevokeEarlierOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, ca := newCluster(t, "beta")
		issue(t, ca, Order{Names: []string{"alpha"}, Life: day}) // will have expired
		var want []string
		for range 3 {
			time.Sleep(day)
			want = append(want, serialText(issue(t, ca, Order{Names: []string{"alpha"}, Renew: true})[0].SerialNumber))
		}
		if err := os.Remove(in(dir)("alpha.pem")); err != nil {
			t.Fatal(err)
		}
		if added, err := Revoke(dir, "alpha"); err != nil || !slices.Equal(added, want) {
			t.Errorf("%v, %v, want %v", added, err, want)
		}
		if err := open(t, dir, "beta").Check(link.Identity{Name: "alpha", Serial: want[0], NotAfter: time.Now().Add(day)}); err == nil {
			t.Error("the first is accepted")
		}
	})
}

// Of two that revoke at once, neither is lost.
func TestConcurrentRevoke(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if added, err := Revoke(dir, "00000000000000000"+strings.Repeat("1", i)); len(added) != 1 || err != nil {
				t.Error(added, err)
			}
		})
	}
	wg.Wait()
	if got := must[serials](t, "read")(readRevoked(in(dir)("revoked"))); len(got) != 16 {
		t.Error(got)
	}
}

func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, entry := range must[[]os.DirEntry](t, "list")(os.ReadDir(dir)) {
		all[entry.Name()] = read(t, in(dir)(entry.Name()))
	}
	return all
}
