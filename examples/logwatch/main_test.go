package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/greenroom-go/greenroom/examples/internal/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

func TestCommandLine(t *testing.T) {
	demotest.CommandLine(t, map[string]string{
		"-name=a -peer=127.0.0.1:9 -file=f -match=(": "-match: error parsing regexp",
		"-name=a -peer=127.0.0.1:9":                  "needs both -peer and -file",
		"-name=a -file=f":                            "needs both -peer and -file",
		"-name=a -every=0s":                          "-every is 0s",
	})
}

// write appends to a file.
func write(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Lines of all nodes come together, those that do not match are left out, and nodes and the watcher come and go.
func TestLogwatch(t *testing.T) {
	dir := t.TempDir()
	certs := "-certs=" + t.TempDir()
	watcher := demotest.Start(t, "-name=desk", certs)
	addr := watcher.Addr()
	log := func(name string) string { return filepath.Join(dir, name+".log") }
	follow := func(name string) *demotest.Process {
		return demotest.Start(t, "-name="+name, "-peer="+addr, "-file="+log(name), "-match=ERROR", "-every=5ms", certs)
	}
	write(t, log("web"), "ERROR an old one\n")
	web, db := follow("web"), follow("db")
	web.Line("following")
	write(t, log("web"), "INFO nothing\nERROR half")
	write(t, log("web"), " and half\n")
	watcher.Line("^web: ERROR half and half$")
	db.Line("waiting for")
	write(t, log("db"), "ERROR in a file that was not there\n")
	watcher.Line("^db: ERROR in a file that was not there$")
	if out := watcher.Output(); strings.Contains(out, "old one") || strings.Contains(out, "nothing") {
		t.Error(out)
	}

	db.Kill()
	watcher.Line(`^db: \[the node is down\]$`)
	db = follow("db")
	watcher.Line(`^db: \[the node is up\]$`)
	db.Line("following")
	write(t, log("db"), "ERROR again\n")
	watcher.Line("^db: ERROR again$")

	// The file is replaced, as by a rotation.
	if err := os.Rename(log("web"), log("web")+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, log("web"), "ERROR in a new file\n")
	watcher.Line("^web: ERROR in a new file$")

	watcher.Ends()
	write(t, log("web"), "ERROR with nobody there\n")
	web.Line("the watcher has gone: ")
	watcher = demotest.Start(t, "-name=desk", "-listen="+addr, certs)
	watcher.Line("^web: ERROR with nobody there$")

	const many = 2000
	for i := range many {
		write(t, log("db"), fmt.Sprintf("ERROR %d\n", i))
	}
	for i := range many {
		watcher.Line(fmt.Sprintf("^db: ERROR %d$", i))
	}
	for _, p := range []*demotest.Process{web, db, watcher} {
		p.Ends()
	}
}
