package files_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/greenroom-go/greenroom/remote/internal/files"
)

var errReset = errors.New("the stream was reset")

// half is one direction of a stream: at most room bytes wait in it.
type half struct {
	mu     sync.Mutex
	change *sync.Cond
	buf    []byte
	eof    bool
	reset  bool
	total  int                  // what was written in all
	cut    func(total int) bool // whether the stream breaks, asked before each byte
	alter  func(at int, b []byte)
}

const room = 200 << 10

// end is one end of a stream, like a link.Stream as far as this package looks at it.
type end struct{ in, out *half }

// streams is a stream: its two ends.
func streams() (a, b *end) {
	newHalf := func() *half {
		h := &half{cut: func(int) bool { return false }, alter: func(int, []byte) {}}
		h.change = sync.NewCond(&h.mu)
		return h
	}
	there, back := newHalf(), newHalf()
	return &end{in: back, out: there}, &end{in: there, out: back}
}

func (e *end) Read(b []byte) (int, error) {
	h := e.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && !h.eof && !h.reset {
		h.change.Wait()
	}
	switch {
	case h.reset:
		return 0, errReset
	case len(h.buf) == 0:
		return 0, io.EOF
	}
	n := copy(b, h.buf)
	h.buf = h.buf[n:]
	h.change.Broadcast()
	return n, nil
}

func (e *end) Write(b []byte) (int, error) {
	n, broken := e.out.write(b)
	if broken {
		e.Reset()
		return n, errReset
	}
	return n, nil
}

func (h *half) write(b []byte) (n int, broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b = bytes.Clone(b)
	h.alter(h.total, b)
	for n < len(b) {
		for len(h.buf) >= room && !h.reset {
			h.change.Wait()
		}
		if h.reset || h.eof {
			return n, true
		}
		k := min(room-len(h.buf), len(b)-n)
		for i := range k {
			if h.cut(h.total + i) {
				return n, true
			}
		}
		h.buf = append(h.buf, b[n:n+k]...)
		h.total += k
		n += k
		h.change.Broadcast()
	}
	return n, false
}

func (e *end) Close() error {
	e.out.finish(func(h *half) { h.eof = true })
	return nil
}

// Reset loses what was not read yet.
func (e *end) Reset() {
	for _, h := range []*half{e.in, e.out} {
		h.finish(func(h *half) { h.reset = true })
	}
}

func (h *half) finish(f func(*half)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h)
	h.change.Broadcast()
}

// node is a Server with its directory.
type node struct {
	t   *testing.T
	dir string
	*files.Server
}

func start(t *testing.T, o files.Options) *node {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	s, err := files.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &node{t: t, dir: o.Root, Server: s}
}

// between has the node serve a stream that f uses, and returns what both sides say.
func (n *node) between(f func(stream *end) error) (ours, theirs error) {
	n.t.Helper()
	a, b := streams()
	return n.over(a, b, func() error { return f(a) })
}

func (n *node) over(a, b io.ReadWriteCloser, f func() error) (ours, theirs error) {
	n.t.Helper()
	served := make(chan error, 1)
	go func() { served <- n.Serve(context.Background(), b, "peer") }()
	ours = f()
	a.Close() //nolint:errcheck // closed before, mostly
	return ours, <-served
}

func (n *node) put(o files.PutOptions) (files.Result, error) {
	n.t.Helper()
	var result files.Result
	ours, theirs := n.between(func(stream *end) (err error) {
		result, err = files.Put(n.t.Context(), stream, o)
		return err
	})
	n.agree(ours, theirs)
	return result, ours
}

func (n *node) remove(name string) error {
	n.t.Helper()
	ours, theirs := n.between(func(stream *end) error { return files.Delete(n.t.Context(), stream, name) })
	n.agree(ours, theirs)
	return ours
}

func (n *node) stat(name string, sum bool) (files.Info, error) {
	n.t.Helper()
	var info files.Info
	ours, theirs := n.between(func(stream *end) (err error) {
		info, err = files.Stat(n.t.Context(), stream, name, sum)
		return err
	})
	n.agree(ours, theirs)
	return info, ours
}

// agree holds that both sides have failed with the same sentinel, or neither has. A name that the sender itself finds bad never gets to
// the other side.
func (n *node) agree(ours, theirs error) {
	n.t.Helper()
	if errors.Is(ours, files.ErrBadName) && errors.Is(theirs, files.ErrInterrupted) {
		return
	}
	if (ours == nil) != (theirs == nil) {
		n.t.Errorf("the sender says %v, the receiver %v", ours, theirs)
	}
	for _, kind := range kinds {
		if errors.Is(ours, kind) != errors.Is(theirs, kind) {
			n.t.Errorf("the sender says %v, the receiver %v", ours, theirs)
		}
	}
}

var kinds = []error{
	files.ErrRefused, files.ErrBusy, files.ErrBadName, files.ErrTooLarge, files.ErrQuota, files.ErrNoSpace, files.ErrExists,
	files.ErrNotFound, files.ErrChecksum, files.ErrChanged, files.ErrProtocol,
}

// tree lists what lies below the root, slash-separated, directories with a slash behind, the staging directory left out.
func (n *node) tree() []string {
	n.t.Helper()
	list := []string{}
	err := filepath.WalkDir(n.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(n.dir, name)
		switch {
		case err != nil:
			return err
		case rel == ".":
		case d.Name() == files.StagingDir:
			return fs.SkipDir
		case d.IsDir():
			list = append(list, filepath.ToSlash(rel)+"/")
		default:
			list = append(list, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return list
}

func (n *node) wantTree(want ...string) {
	n.t.Helper()
	if got := n.tree(); !slices.Equal(got, want) {
		n.t.Errorf("below the root are %q, want %q", got, want)
	}
}

// partials lists the partial files.
func (n *node) partials() []string {
	n.t.Helper()
	names, err := filepath.Glob(filepath.Join(n.dir, files.StagingDir, "*"))
	if err != nil {
		n.t.Fatal(err)
	}
	return names
}

func (n *node) wantPartials(want int) {
	n.t.Helper()
	if got := n.partials(); len(got) != want {
		n.t.Errorf("partial files %q, want %d", got, want)
	}
}

func (n *node) write(name, content string) {
	n.t.Helper()
	write(n.t, filepath.Join(n.dir, filepath.FromSlash(name)), content)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (n *node) symlink(to, name string) {
	n.t.Helper()
	if err := os.Symlink(to, filepath.Join(n.dir, filepath.FromSlash(name))); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) wantContent(name string, want []byte) {
	n.t.Helper()
	got, err := os.ReadFile(filepath.Join(n.dir, filepath.FromSlash(name)))
	if err != nil {
		n.t.Error(err)
	}
	if !bytes.Equal(got, want) {
		n.t.Errorf("%s has %d bytes, which are not the %d that were sent", name, len(got), len(want))
	}
}

// noise is content of that many bytes.
func noise(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	rng.Read(b) //nolint:errcheck // it never fails
	return b
}

// from are the options that send content to name.
func from(name string, content []byte) files.PutOptions {
	return files.PutOptions{Name: name, From: bytes.NewReader(content), Size: int64(len(content))}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// pipe is a net.Pipe: Close ends both directions, there is no Reset, and no buffer.
func pipe() (a, b io.ReadWriteCloser) { return net.Pipe() }
