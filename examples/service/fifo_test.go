//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFolderWithFifo has a named pipe beside a file: opening it would wait for a writer, so it is passed over, aloud.
func TestFolderWithFifo(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "plain"), []byte("two words"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "-dir="+root)
	p.out.await(t, "done: 1 files counted, 0 not")
	p.end(0)
	if n := strings.Count(p.err.String(), `/pipe kind="named pipe"`); n != 1 {
		t.Errorf("the pipe is mentioned %d times:\n%v", n, p.err)
	}
}
