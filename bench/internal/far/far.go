// Package far runs the other side of a bench in a process of its own: the bench's own executable, started once more.
//
//	you call       Start, and Call for what the process should do; Main in the executable's main, where Is says so
//	we call back   a Role, in the process: it returns what can be called
//
// Requests go by the process's standard input and answers by its standard output, a line of JSON each. The process ends when its
// standard input does, be the one who started it killed or interrupted; so it never outlives that.
package far

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// flag is the hidden first argument that makes the executable the other side of a bench.
const flag = "-be-the-far-side"

// Role starts one kind of far side.
type Role func(arg json.RawMessage) (Methods, error)

// Methods is what can be called, by name. They are called one after the other.
type Methods map[string]Method

// Method is one of them.
type Method func(arg json.RawMessage) (any, error)

// As makes a Role of a function that takes its argument by type.
func As[A any](start func(A) (Methods, error)) Role {
	return func(raw json.RawMessage) (Methods, error) {
		var arg A
		if err := json.Unmarshal(raw, &arg); err != nil {
			return nil, err
		}
		return start(arg)
	}
}

// Do makes a Method of a function that takes its argument by type.
func Do[A, R any](f func(A) (R, error)) Method {
	return func(raw json.RawMessage) (any, error) {
		var arg A
		if err := json.Unmarshal(raw, &arg); err != nil {
			return nil, err
		}
		return f(arg)
	}
}

// cpuMethod is one that every far side has.
const cpuMethod = "cpu"

type request struct {
	Method string          `json:"method"`
	Arg    json.RawMessage `json:"arg"`
}

type response struct {
	Reply json.RawMessage `json:"reply"`
	Error string          `json:"error"`
}

// Is reports whether args, without the executable's name, ask for a far side.
func Is(args []string) bool { return len(args) == 3 && args[0] == flag }

// Main is the whole life of the other process.
func Main(roles map[string]Role, args []string, in io.Reader, out, errs io.Writer) int {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole process group; the end of standard input is what counts
	stop, err := harness.Profile("far-" + args[1])
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	defer stop()
	role := roles[args[1]]
	if role == nil {
		fmt.Fprintf(errs, "no far side is called %q\n", args[1])
		return 1
	}
	methods, err := role(json.RawMessage(args[2]))
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	if err := serve(methods, in, out); err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

// serve answers requests until there are no more. One that is being answered then is left where it is.
func serve(methods Methods, in io.Reader, out io.Writer) error {
	requests, ended := make(chan request), make(chan error, 1)
	go func() {
		dec := json.NewDecoder(in)
		for {
			var q request
			if err := dec.Decode(&q); err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				ended <- err
				return
			}
			requests <- q
		}
	}()
	go func() {
		enc := json.NewEncoder(out)
		for q := range requests {
			if err := enc.Encode(answer(methods, q)); err != nil {
				return // nobody reads any more: standard input ends too
			}
		}
	}()
	return <-ended
}

func answer(methods Methods, q request) response {
	m := methods[q.Method]
	if q.Method == cpuMethod {
		m = func(json.RawMessage) (any, error) { return harness.CPUTime() }
	}
	if m == nil {
		return response{Error: fmt.Sprintf("no method is called %q", q.Method)}
	}
	v, err := m(q.Arg)
	if err != nil {
		return response{Error: err.Error()}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return response{Error: err.Error()}
	}
	return response{Reply: raw}
}

// Process is a far side. One goroutine at a time may call.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errs   *complaints
	ended  sync.Once
	waited error
}

// Start starts a far side of that role. It is killed when ctx ends.
func Start(ctx context.Context, role string, arg any) (*Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the bench's own executable: %w", err)
	}
	raw, err := json.Marshal(arg)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.CommandContext(ctx, exe, flag, role, string(raw)), errs: &complaints{}}
	p.cmd.Stderr, p.cmd.WaitDelay = p.errs, time.Second
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// Call has the far side do something; reply is where its answer goes, nil if that does not matter.
func (p *Process) Call(method string, arg, reply any) error {
	raw, err := json.Marshal(arg)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(p.in).Encode(request{method, raw}); err != nil {
		return p.broken(method, err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return p.broken(method, err)
	}
	var a response
	if err := json.Unmarshal(line, &a); err != nil {
		return p.broken(method, err)
	}
	switch {
	case a.Error != "":
		return fmt.Errorf("far side: %s: %s", method, a.Error)
	case reply == nil:
		return nil
	}
	return json.Unmarshal(a.Reply, reply)
}

// broken is an error of the pipe, with what the process had to say about its end.
func (p *Process) broken(method string, err error) error {
	_ = p.Close()
	return fmt.Errorf("far side: %s: %w: %s", method, err, p.errs)
}

// CPU is the processor time that the far side has used.
func (p *Process) CPU() (d time.Duration, err error) {
	err = p.Call(cpuMethod, nil, &d)
	return d, err
}

// Kill ends the far side as SIGKILL does, and waits for that.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	p.ended.Do(func() { _ = p.cmd.Wait() })
}

// Close ends the far side and waits for that. nil: it had nothing to complain of.
func (p *Process) Close() error {
	p.ended.Do(func() {
		_ = p.in.Close()
		if err := p.cmd.Wait(); err != nil {
			p.waited = fmt.Errorf("far side: %w: %s", err, p.errs)
		}
	})
	return p.waited
}

// complaints keep the first of what a process writes to its standard error.
type complaints struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text.Len() < 4000 {
		c.text.Write(b)
	}
	return len(b), nil
}

// String is what was written.
func (c *complaints) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(c.text.String())
}
