package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

// process is one life of a node process.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer
	wanted atomic.Bool   // its end is
	ended  chan struct{} // closed
}

// startProcess starts this program once more, as a node. early is called if it ends by itself.
func startProcess(name, certs, home string, verbose bool, stderr io.Writer, early func(error)) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, ended: make(chan struct{})}
	p.cmd = exec.Command(self, nodeCommand, "-name="+name, "-certs="+certs, "-home="+home, fmt.Sprintf("-v=%t", verbose)) //nolint:noctx // it ends with its stdin
	p.cmd.Stderr = &prefixed{to: stderr, prefix: name + ": "}
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says the same
		close(p.ended)
		if !p.wanted.Load() {
			early(fmt.Errorf("node %s has ended by itself: %v", name, p.cmd.ProcessState))
		}
	}()
	return p, nil
}

// kill ends the process as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	p.wanted.Store(true)
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.ended
}

// stop lets the process end in good order, for a while.
func (p *process) stop() {
	p.wanted.Store(true)
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(2 * stopGrace):
		p.kill()
	}
}

// prefixed writes whole lines, each with a prefix.
type prefixed struct {
	mu     sync.Mutex
	to     io.Writer
	prefix string
	open   []byte // the line that is not complete
}

// Write implements io.Writer.
func (p *prefixed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, b...)
	for {
		line, rest, whole := bytes.Cut(p.open, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		if _, err := fmt.Fprintf(p.to, "%s%s\n", p.prefix, line); err != nil {
			return 0, err
		}
		p.open = rest
	}
}
