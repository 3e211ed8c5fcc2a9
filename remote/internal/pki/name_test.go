package pki

import (
	"crypto/x509"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "0", "alpha", "Alpha-1.example_x", strings.Repeat("x", MaxNameBytes)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"": "empty", strings.Repeat("x", MaxNameBytes+1): "256 bytes", strings.Repeat("x", 1<<20): "1048576 bytes",
		".": "begins with", "..": "begins with", "-dir": "begins with", "_a": "begins with",
		"a/b": "'/'", "a b": "' '", "ä": "has", "a\x00": `'\x00'`, "a%41": "'%'", "a@b": "'@'", "a:1": "':'", "a\\b": `'\\'`, "a?": "'?'", "\xff": "has",
	} {
		err := CheckName(name)
		wantText(t, err, text)
		if len(err.Error()) > 300 {
			t.Errorf("the error for %.20q has %d bytes", name, len(err.Error()))
		}
	}
}

func TestIdentityOf(t *testing.T) {
	for _, c := range []struct {
		uris  string
		name  string
		roles link.Roles
		err   string
	}{
		{"greenroom://node/alpha", "alpha", 0, ""},
		{"greenroom://role/send greenroom://node/alpha greenroom://role/files", "alpha", link.MaySend | link.MayFiles, ""},
		{"greenroom://role/send greenroom://node/alpha greenroom://role/send greenroom://role/rule", "alpha", link.MaySend, ""},
		{"greenroom://node/alpha greenroom://role/SEND greenroom://role/send/ greenroom://role/send,spawn", "alpha", 0, ""},
		{"spiffe://a/b https://example.com greenroom://node/alpha", "alpha", 0, ""},
		{"", "", 0, "names no node"},
		{"greenroom://role/send spiffe://node/alpha", "", 0, "names no node"},
		{"greenroom://node/alpha greenroom://node/beta", "", 0, "more than one node"},
		{"greenroom://node/alpha greenroom://role/send greenroom://node/alpha", "", 0, "more than one node"},
		{"greenroom://node/", "", 0, "empty"},
		{"greenroom://node", "", 0, "means nothing"},
		{"greenroom://node/a/b", "", 0, "'/'"},
		{"greenroom://node/%61lpha", "", 0, "'%'"},
		{"greenroom://node/alpha?x=y", "", 0, "'?'"},
		{"greenroom://node/alpha#beta", "", 0, "'#'"},
		{"greenroom://x@node/alpha", "", 0, "means nothing"},
		{"greenroom://node:1/alpha", "", 0, "means nothing"},
		{"greenroom:node/alpha", "", 0, "means nothing"},
		{"greenroom://node/alpha greenroom://realm/test", "", 0, "means nothing"},
		{"greenroom://node/" + strings.Repeat("x", MaxNameBytes+1), "", 0, "256 bytes"},
	} {
		cert := &x509.Certificate{SerialNumber: big.NewInt(0xabc)}
		for text := range strings.FieldsSeq(c.uris) {
			cert.URIs = append(cert.URIs, must[*url.URL](t, "parse")(url.Parse(text)))
		}
		id, err := IdentityOf(cert)
		if c.err != "" {
			wantText(t, err, c.err)
			continue
		}
		if want := (link.Identity{Name: c.name, Roles: c.roles, Serial: "abc"}); err != nil || id != want {
			t.Errorf("%s: %+v, %v", c.uris, id, err)
		}
	}
}

// What uris writes is what IdentityOf reads, for whatever CheckName lets through.
func FuzzName(f *testing.F) {
	f.Add("alpha", byte(link.AllRoles))
	f.Add("a.b-c_d", byte(link.MayShip))
	f.Add("../a", byte(0xff))
	f.Fuzz(func(t *testing.T, name string, roles byte) {
		if CheckName(name) != nil {
			return
		}
		cert := &x509.Certificate{SerialNumber: big.NewInt(1)}
		for _, uri := range uris(name, link.Roles(roles)) {
			cert.URIs = append(cert.URIs, must[*url.URL](t, "parse")(url.Parse(uri.String())))
		}
		id, err := IdentityOf(cert)
		if err != nil || id.Name != name || id.Roles != link.Roles(roles)&link.AllRoles {
			t.Errorf("%q %v: %+v, %v", name, link.Roles(roles), id, err)
		}
	})
}
