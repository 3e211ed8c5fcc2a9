package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// childFlag is the hidden first argument that makes the executable take one sample and print it.
const childFlag = "-take-one-sample"

// sampleTimeout bounds one sample. The longest, a million goroutines on a slow machine, takes a tenth of it.
const sampleTimeout = 2 * time.Minute

// takeSample does the work of a job in this process.
func takeSample(ctx context.Context, suite Suite, j job) (sample, error) {
	b, ok := suite.find(j.Bench)
	if !ok {
		return sample{}, fmt.Errorf("no bench is called %q", j.Bench)
	}
	work, err := b.impl(j.Impl)
	if err != nil {
		return sample{}, err
	}
	r := &Run{Procs: j.Procs, N: j.N, Fresh: j.Fresh, Short: j.Short, figures: make(map[string]float64)}
	if err := work(ctx, r); err != nil {
		return sample{}, err
	}
	if err := r.checkRows(b); err != nil {
		return sample{}, err
	}
	return sample{Figures: r.figures, Allocs: r.allocs}, nil
}

// childMain is the whole life of a child process.
func childMain(ctx context.Context, suite Suite, args []string, stdout, stderr io.Writer) int {
	var j job
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &j) != nil {
		fmt.Fprintf(stderr, "bench: %s is for the harness's own use\n", childFlag)
		return exitUsage
	}
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole process group; the parent ends its children itself
	stop, err := Profile(j.Bench + "-" + j.Impl)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	s, err := takeSample(ctx, suite, j)
	stop()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	if err := json.NewEncoder(stdout).Encode(s); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return exitOK
}

// spawnSample takes the sample in a child process.
func spawnSample(ctx context.Context, j job) (sample, error) {
	exe, err := os.Executable()
	if err != nil {
		return sample{}, fmt.Errorf("finding the harness's own executable: %w", err)
	}
	arg, err := json.Marshal(j)
	if err != nil {
		return sample{}, err
	}
	scratch, err := os.MkdirTemp("", "bench-") // a child that is cut off leaves its files behind
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, exe, childFlag, string(arg))
	cmd.Env = append(childEnv(os.Environ(), j.Procs), "TMPDIR="+scratch)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return sample{}, fmt.Errorf("sample of %s %s took longer than %v", j.Bench, j.Impl, sampleTimeout)
		}
		if ctx.Err() != nil {
			return sample{}, fmt.Errorf("sample of %s %s cut off: %w", j.Bench, j.Impl, ctx.Err())
		}
		return sample{}, fmt.Errorf("sample of %s %s: %w: %s", j.Bench, j.Impl, err, head(stderr.String()))
	}
	var s sample
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
		return sample{}, fmt.Errorf("sample of %s %s printed no figures: %w", j.Bench, j.Impl, err)
	}
	return s, nil
}

// childEnv is the environment with the garbage collector at its default and GOMAXPROCS at procs.
func childEnv(env []string, procs int) []string {
	var out []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if name != "GOMAXPROCS" && name != "GOGC" && name != "GOMEMLIMIT" {
			out = append(out, kv)
		}
	}
	return append(out, "GOGC=100", "GOMAXPROCS="+strconv.Itoa(procs))
}

// head keeps the first lines of a child's complaint: a panic's message and where it was.
func head(s string) string {
	const keep = 2000
	s = strings.TrimSpace(s)
	if len(s) > keep {
		s = s[:keep] + "..."
	}
	return s
}
