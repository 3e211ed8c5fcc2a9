//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
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

// TestEndWithStuckWorker has a worker wait for somebody to write into a pipe, with a document queued behind: the desk is
// given up in time for the sums of what was counted.
func TestEndWithStuckWorker(t *testing.T) {
	c := newOutput()
	o, err := parse([]string{"-desks=2", "-queue=1"}, c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(o, c, c)
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	document := &pb.IngestMessage{Source: &pb.IngestMessage_Document{Document: &pb.Document{Name: "a", Text: "two words"}}}
	if _, err := s.ingest(t.Context(), document); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pb.IngestMessage{{Source: &pb.IngestMessage_File{File: &pb.File{Path: pipe}}}, document} {
		if err := s.desks[0].Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	grace, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = s.stop(grace)
	if err == nil || !strings.Contains(err.Error(), "not in the totals") || !strings.Contains(c.String(), "total: 1 documents, 2 words") {
		t.Errorf("%v\n%v", err, c)
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // frees the worker
	if err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
}
