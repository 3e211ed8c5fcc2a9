// Package demotest runs examples as processes of their own: the test binary, started anew, is the program.
//
//	you call                 what it does
//	Main                     from TestMain: runs the tests, or the program
//	Start                    starts a process
//	Process.Line, Addr       wait for what it prints
//	Process.Say, Interrupt   lines on its stdin, Ctrl-C
//	Process.Kill, Wait       end it; wait for its end
package demotest

import (
	"bufio"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProgram in the environment makes the test binary the program.
const asProgram = "GREENROOM_EXAMPLE_AS_PROGRAM"

// patience bounds each wait for a line.
const patience = 60 * time.Second

// Main is what TestMain does: in a process that Start has started it runs program, else the tests.
func Main(m *testing.M, program func()) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	// Nothing is ever written there: it ends when the test's process does, and the program must not outlive that.
	lifeline := os.NewFile(3, "lifeline")
	go func() {
		_, _ = io.Copy(io.Discard, lifeline)
		os.Exit(3)
	}()
	program()
	os.Exit(0)
}

// Process is a program that runs, or has run.
type Process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	mu      sync.Mutex
	lines   []string // all that it has printed
	read    int      // how many of them Line has passed
	changed chan struct{}
}

// Start starts the program with these arguments. It is killed when the test ends.
func Start(t *testing.T, args ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, name: strings.Join(args, " "), ended: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(self, args...) //nolint:gosec,noctx // ourselves; Cleanup ends it
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.ExtraFiles = []*os.File{theirs}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	_ = in.Close()
	go p.follow(out)
	t.Cleanup(func() {
		_ = ours.Close()
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, p.Output())
		}
	})
	return p
}

// follow keeps what the process prints, and waits for its end.
func (p *Process) follow(out io.ReadCloser) {
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		p.change(func() { p.lines = append(p.lines, scan.Text()) })
	}
	_ = out.Close()
	_ = p.cmd.Wait()
	close(p.ended)
}

func (p *Process) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Output is all that it has printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// Line waits for a line that matches pattern, behind the one that the last Line has returned, and returns its submatches. It fails the test
// if there is none.
func (p *Process) Line(pattern string) []string {
	p.t.Helper()
	want := regexp.MustCompile(pattern)
	late := time.After(patience)
	for ended := false; ; {
		p.mu.Lock()
		changed := p.changed
		for i, line := range p.lines[p.read:] {
			if found := want.FindStringSubmatch(line); found != nil {
				p.read += i + 1
				p.mu.Unlock()
				return found
			}
		}
		p.mu.Unlock()
		if ended {
			p.t.Fatalf("%s has ended without a line that matches %q", p.name, pattern)
		}
		select {
		case <-changed:
		case <-p.ended:
			ended = true
		case <-late:
			p.t.Fatalf("%s prints no line that matches %q", p.name, pattern)
		}
	}
}

// Addr waits for the line that says where the node listens.
func (p *Process) Addr() string {
	p.t.Helper()
	return p.Line(`listens at (\S+),`)[1]
}

// Say writes a line to its stdin.
func (p *Process) Say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// CloseInput ends its stdin.
func (p *Process) CloseInput() { _ = p.stdin.Close() }

// Interrupt is Ctrl-C.
func (p *Process) Interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

// Kill ends it at once, and waits until it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Wait waits for its end and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Ends interrupts it and expects that it ends in good order.
func (p *Process) Ends() {
	p.t.Helper()
	p.Interrupt()
	if code := p.Wait(); code != 0 {
		p.t.Errorf("%s has ended with code %d", p.name, code)
	}
}

// CommandLine is what all examples do with command lines that are wrong, and with a peer that is not there. more are further wrong ones, each
// with a part of what is printed.
func CommandLine(t *testing.T, more map[string]string) {
	t.Helper()
	wrong := map[string]string{
		"-colour":              "-colour",
		"":                     "this node needs a name: -name",
		"-name=a surplus":      `unexpected argument "surplus"`,
		"-name=a -listen=here": "-listen here: it must be host:port",
		"-name=a -peer=there":  "-peer there: it must be host:port",
	}
	maps.Copy(wrong, more)
	for args, want := range wrong {
		p := Start(t, strings.Fields(args)...)
		if code := p.Wait(); code != 2 || !strings.Contains(p.Output(), want) {
			t.Errorf("%q: code %d and no %q:\n%s", args, code, want, p.Output())
		}
	}
	if p := Start(t, "-help"); p.Wait() != 0 || !strings.Contains(p.Output(), "-peer") {
		t.Errorf("-help: %s", p.Output())
	}
}

// Printed expects that it has printed, among all lines so far, one that matches pattern.
func (p *Process) Printed(pattern string) {
	p.t.Helper()
	if !regexp.MustCompile(pattern).MatchString(p.Output()) {
		p.t.Errorf("%s has not printed %q", p.name, pattern)
	}
}
