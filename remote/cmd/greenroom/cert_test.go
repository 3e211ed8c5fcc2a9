package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

// greenroom runs the command, holds its exit code and that it speaks on the right side, and returns what it has said.
func greenroom(t *testing.T, code int, args ...string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	if got := run(args, &stdout, &stderr); got != code {
		t.Errorf("%q exits with %d, want %d\n%s%s", args, got, code, &stdout, &stderr)
	}
	if (code == exitOK) != (stderr.Len() == 0) {
		t.Errorf("%q says on stderr: %s", args, &stderr)
	}
	return stdout.String() + stderr.String()
}

func wantSaid(t *testing.T, said string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			t.Errorf("it has not said %q:\n%s", text, said)
		}
	}
}

func open(t *testing.T, dir, name string) *pki.Source {
	t.Helper()
	files, err := pki.DirFiles(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	source, err := pki.Open(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestCluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	wantSaid(t, greenroom(t, exitOK, "cert", "cluster", "-dir", dir, "alpha", "beta", "gamma"),
		"ca.pem: Greenroom CA", "alpha.pem: send,spawn,ship,files, until 2", "gamma.pem: send")
	for _, name := range []string{"alpha", "beta", "gamma"} {
		if id := open(t, dir, name).Identity(); id.Name != name || id.Roles != link.AllRoles {
			t.Errorf("%+v", id)
		}
	}
	wantSaid(t, greenroom(t, exitFailed, "cert", "cluster", "-dir", dir, "delta"), "greenroom cert cluster: ", "ca.pem is already there")
	if _, err := os.Stat(filepath.Join(dir, "delta.pem")); err == nil {
		t.Error("there is a certificate")
	}
}

func TestNode(t *testing.T) {
	dir := t.TempDir()
	wantSaid(t, greenroom(t, exitFailed, "cert", "node", "-dir", dir, "alpha"), "no CA to issue certificates with", "ca.pem")
	wantSaid(t, greenroom(t, exitOK, "cert", "ca", "-dir", dir, "-days", "10"), "ca.pem")
	wantSaid(t, greenroom(t, exitOK, "cert", "node", "-dir", dir, "alpha", "beta", "-roles", "send, files", "-days=5", "gamma"), "gamma.pem: send,files")
	was := open(t, dir, "gamma").Identity()
	if was.Roles != link.MaySend|link.MayFiles {
		t.Errorf("%+v", was)
	}
	wantSaid(t, greenroom(t, exitFailed, "cert", "node", "-dir", dir, "delta", "alpha"), "alpha.pem is already there", "renew")
	wantSaid(t, greenroom(t, exitOK, "cert", "node", "-renew", "-dir", dir, "gamma"), "gamma.pem: send,files")
	if id := open(t, dir, "gamma").Identity(); id.Serial == was.Serial || id.Roles != was.Roles || !id.NotAfter.After(was.NotAfter) {
		t.Errorf("%+v", id)
	}
	wantSaid(t, greenroom(t, exitOK, "cert", "node", "-renew", "-dir", dir, "gamma", "-roles", "none"), "gamma.pem: no roles")
	if id := open(t, dir, "gamma").Identity(); id.Roles != 0 {
		t.Errorf("%+v", id)
	}
}

func TestShowAndRevoke(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	greenroom(t, exitOK, "cert", "cluster", "-dir", dir, "-days", "1", "-cadays", "365", "alpha", "beta")
	said := greenroom(t, exitOK, "cert", "show", path("alpha.pem"), path("ca.pem"))
	wantSaid(t, said, path("alpha.pem"), "node     alpha", "roles    send,spawn,ship,files", "23 hours left", "issuer   \"CN=Greenroom CA ", "CA       \"CN=", "364 days left")
	if strings.Contains(said, "revoked") {
		t.Error(said)
	}
	wantSaid(t, greenroom(t, exitOK, "cert", "revoke", "-dir", dir, "alpha"), "alpha: ", " revoked; copy "+path("revoked"))
	wantSaid(t, greenroom(t, exitOK, "cert", "show", path("alpha.pem")), "revoked  yes")
	serial := regexp.MustCompile(`serial +([0-9a-f]+)`).FindStringSubmatch(greenroom(t, exitOK, "cert", "show", path("beta.pem")))[1]
	wantSaid(t, greenroom(t, exitOK, "cert", "revoke", "-dir", dir, serial, "beta"), " revoked; copy ", "beta: revoked before")
	wantSaid(t, greenroom(t, exitFailed, "cert", "revoke", "-dir", dir, "gamma"), `"gamma" is neither a node`)
	wantSaid(t, greenroom(t, exitFailed, "cert", "show", path("alpha.key")), "PRIVATE KEY")
	wantSaid(t, greenroom(t, exitFailed, "cert", "show", path("nobody.pem")), "nobody.pem")
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		text string
	}{
		{"", "which of its commands? They are cert"},
		{"certs", `no command "certs": there are cert`},
		{"cert", "They are cluster, ca, node, show, revoke"},
		{"cert nodes", `no command "nodes"`},
		{"cert ca -x", "-x"},
		{"cert ca alpha", `"alpha" is one argument too many`},
		{"cert ca -days 0", "-days is 0, it takes 1 to 36500"},
		{"cert ca -days 1e3", "-days"},
		{"cert cluster", "which nodes?"},
		{"cert cluster a/b", "'/'"},
		{"cert cluster -cadays -1 alpha", "-cadays is -1"},
		{"cert node", "which nodes?"},
		{"cert node alpha -days 99999999", "it takes 1 to 36500"},
		{"cert node alpha -roles root", `"root"`},
		{"cert node alpha -roles=", "-roles has"},
		{"cert node alpha -dir", "-dir"},
		{"cert show", "which files?"},
		{"cert revoke", "which certificates?"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			wantSaid(t, greenroom(t, exitUsage, strings.Fields(c.args)...), "greenroom", c.text, " -h for help.")
			if entries, _ := os.ReadDir("."); len(entries) > 0 {
				t.Error("it has made something")
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for args, texts := range map[string][]string{
		"-h":              {"greenroom cert "},
		"help":            {"greenroom cert "},
		"cert -h":         {"Examples:", "cert cluster -dir certs alpha beta gamma", "cert revoke"},
		"cert cluster -h": {"Example:", "-dir", "-days", "-cadays", "-roles"},
		"cert ca -h":      {"Example:", "default 3650"},
		"cert node --help": {
			"Examples:", "-renew", "default 90",
		},
		"cert node alpha -h": {"Examples:"},
		"cert show -h":       {"Example:", "FILE..."},
		"cert revoke -h":     {"Examples:", "NAME|SERIAL"},
	} {
		wantSaid(t, greenroom(t, exitOK, strings.Fields(args)...), texts...)
	}
}
