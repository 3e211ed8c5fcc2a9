package pki

import (
	"crypto/x509"
	"slices"
	"testing"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// FuzzFiles hands any text to whatever reads a file. There is an error or a value, and values say the same when written again.
func FuzzFiles(f *testing.F) {
	dir := f.TempDir()
	ca, err := NewCA(dir, day)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := ca.Issue(Order{Names: []string{"alpha"}, Roles: link.AllRoles, Life: day}); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"ca.pem", "ca.key", "alpha.pem", "alpha.key", "revoked", "issued", "gossip.key"} {
		data, err := readFile(in(dir)(name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("ff # x\n00:0a\n"))
	f.Add([]byte("-1\n+1\n0x1\n1_0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkCertificates(t, data)
		if _, err := parseKey(data); err == nil {
			_, err = parseOwned(Files{Name: "alpha"}, data, data)
			if err == nil { // certificates alone are allowed in the one
				t.Error("a certificate and a key in one text")
			}
		}
		if revoked, err := parseRevoked(data); err == nil {
			for serial := range revoked {
				if again, err := parseSerial(serial); err != nil || again != serial || serial == "" {
					t.Errorf("%q is %q, %v", serial, again, err)
				}
			}
		}
		if serial, name, expires, err := parseIssued(string(data)); err == nil {
			again, same, _, err := parseIssued(issuedLine(serial, name, expires))
			if err == nil && (again != serial || same != name) { // the year 9999 may be another one elsewhere
				t.Errorf("%q %q is %q %q", serial, name, again, same)
			}
		}
		if keys, err := parseGossip(data); err == nil && (len(keys) == 0 || slices.ContainsFunc(keys, func(k []byte) bool { return len(k) != gossipBytes })) {
			t.Errorf("%x", keys)
		}
	})
}

func checkCertificates(t *testing.T, data []byte) {
	t.Helper()
	certs, err := parseCertificates(data)
	if (err == nil) != (len(certs) > 0) {
		t.Errorf("%d certificates, %v", len(certs), err)
	}
	var again []byte
	for _, cert := range certs {
		again = append(again, certPEM(cert.Raw)...)
		if id, err := IdentityOf(cert); err == nil && CheckName(id.Name) != nil {
			t.Errorf("a node called %q", id.Name)
		}
	}
	if len(certs) == 0 {
		return
	}
	if same, err := parseCertificates(again); err != nil || !slices.EqualFunc(certs, same, (*x509.Certificate).Equal) {
		t.Errorf("written again: %v", err)
	}
	m := &material{}
	m.cas.value, err = parseTrusted(data)
	if _, refused := m.verify(certs); refused == nil && err != nil {
		t.Errorf("accepted by no CA: %v", err)
	}
}
