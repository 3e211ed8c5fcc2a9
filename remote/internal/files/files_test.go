package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/files"
)

func TestPut(t *testing.T) {
	for _, size := range []int{0, 1, files.MaxFrame - 1, files.MaxFrame, files.MaxFrame + 1, 3<<20 + 17} {
		t.Run(fmt.Sprintf("size=%d", size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, files.Options{})
				content := noise(size)
				o := from("a/b/c.bin", content)
				o.Mode, o.ModTime = 0o640|fs.ModeSetuid|fs.ModeSticky, time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
				var done []int64
				o.Progress = func(d, total int64) {
					if total != int64(size) {
						t.Errorf("total %d", total)
					}
					done = append(done, d)
				}
				result, err := n.put(o)
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256(content)
				if want := (files.Result{Size: int64(size), SHA256: sum, Sent: int64(size)}); result != want {
					t.Errorf("result %+v, want %+v", result, want)
				}
				if len(done) != 2 || done[0] != 0 || done[1] != int64(size) { // time stands still
					t.Errorf("progress %v", done)
				}
				n.wantContent("a/b/c.bin", content)
				n.wantTree("a/", "a/b/", "a/b/c.bin")
				n.wantPartials(0)
				info, err := n.stat("a/b/c.bin", true)
				if err != nil {
					t.Fatal(err)
				}
				info.ModTime = info.ModTime.UTC()
				if want := (files.Info{Size: int64(size), Mode: 0o640, ModTime: o.ModTime, SHA256: sum}); info != want {
					t.Errorf("stat %+v, want %+v", info, want)
				}
			})
		})
	}
}

// TestPutOverPipe is over a stream without Reset, whose Close ends both directions.
func TestPutOverPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{MaxFileBytes: 1 << 20})
		content := noise(300 << 10)
		for _, c := range []struct {
			content []byte
			want    error
		}{{content, nil}, {noise(2 << 20), files.ErrTooLarge}} {
			a, b := pipe()
			ours, theirs := n.over(a, b, func() error {
				_, err := files.Put(t.Context(), a, from("x", c.content))
				return err
			})
			n.agree(ours, theirs)
			wantErr(t, ours, c.want)
		}
		n.wantContent("x", content)
		full := errors.New("broken")
		n.FailWrites(func(*os.File, []byte) (int, error) { return 0, full })
		a, b := pipe()
		ours, theirs := n.over(a, b, func() error {
			_, err := files.Put(t.Context(), a, from("y", content))
			return err
		})
		n.agree(ours, theirs)
		wantErr(t, ours, files.ErrRefused)
	})
}

// TestPutFile takes size, mode and time from the file.
func TestPutFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		name := filepath.Join(t.TempDir(), "source")
		write(t, name, "hello")
		when := time.Unix(1234567890, 0)
		if err := errors.Join(os.Chmod(name, 0o604), os.Chtimes(name, when, when)); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		if _, err := n.put(files.PutOptions{Name: "there", From: f}); err != nil {
			t.Fatal(err)
		}
		info, err := n.stat("there", false)
		if err != nil || info.Size != 5 || info.Mode != 0o604 || !info.ModTime.Equal(when) || info.Directory {
			t.Errorf("%+v, %v", info, err)
		}
		n.wantContent("there", []byte("hello"))
		dir, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close() //nolint:errcheck // it was only read
		for _, o := range []files.PutOptions{
			{Name: "there", From: dir},
			{Name: "there"},
			{Name: "there", From: strings.NewReader(""), Size: -1},
			{Name: "there", From: strings.NewReader(""), ModTime: time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)},
		} {
			a, b := streams()
			if _, err := files.Put(t.Context(), a, o); err == nil {
				t.Errorf("%+v was sent", o)
			}
			if left, err := io.ReadAll(b); len(left) > 0 || err == nil {
				t.Errorf("%q was written, and the stream is not reset: %v", left, err)
			}
		}
	})
}

func TestAlreadyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{MaxTotalBytes: 1500})
		content := noise(1000)
		o := from("f", content)
		if _, err := n.put(o); err != nil {
			t.Fatal(err)
		}
		o.Mode = 0o600
		for _, c := range []struct {
			overwrite bool
			mode      fs.FileMode
		}{{false, 0o644}, {true, 0o600}} {
			o.Overwrite = c.overwrite
			var calls int
			o.Progress = func(int64, int64) { calls++ }
			result, err := n.put(o)
			if err != nil || !result.AlreadyThere || result.Sent != 0 || calls != 2 {
				t.Errorf("%+v, %v, %d calls of Progress", result, err, calls)
			}
			info, err := n.stat("f", false)
			if err != nil || info.Mode != c.mode {
				t.Errorf("overwrite %v: %v, %v", c.overwrite, info.Mode, err)
			}
		}
		if n.Used() != 1000 {
			t.Errorf("%d bytes are used", n.Used())
		}
	})
}

func TestOverwrite(t *testing.T) {
	content := noise(100)
	for _, policy := range []files.Overwrite{files.OverwriteIfAsked, files.OverwriteNever} {
		for _, asked := range []bool{false, true} {
			for _, there := range []string{"nothing", "file", "same size", "link", "directory"} {
				t.Run(fmt.Sprintf("policy=%d/asked=%v/%s", policy, asked, there), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := start(t, files.Options{Overwrite: policy})
						secret := filepath.Join(t.TempDir(), "secret")
						write(t, secret, "secret")
						switch there {
						case "file":
							n.write("d/f", "older")
						case "same size":
							n.write("d/f", string(noise(101)[:100]))
						case "link":
							n.write("d/g", "older")
							n.symlink(secret, "d/f")
						case "directory":
							n.write("d/f/g", "older")
						}
						before := n.tree()
						o := from("d/f", content)
						o.Overwrite = asked
						_, err := n.put(o)
						if there == "nothing" || asked && policy == files.OverwriteIfAsked && there != "directory" {
							wantErr(t, err, nil)
							n.wantContent("d/f", content)
						} else {
							wantErr(t, err, files.ErrExists)
							n.wantTree(before...)
						}
						n.wantPartials(0)
						if b, err := os.ReadFile(secret); string(b) != "secret" {
							t.Errorf("outside of the root: %q, %v", b, err)
						}
					})
				})
			}
		}
	}
}

// TestOverwriteRace: another file comes while this one is received. What has arrived is kept.
func TestOverwriteRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		content := noise(files.MaxFrame)
		n.FailWrites(func(f *os.File, b []byte) (int, error) {
			n.write("d/f", "faster")
			return f.Write(b)
		})
		o := from("d/f", content)
		_, err := n.put(o)
		wantErr(t, err, files.ErrExists)
		n.wantContent("d/f", []byte("faster"))
		n.wantPartials(1)
		o.Overwrite = true
		result, err := n.put(o)
		if err != nil || result.Resumed != files.MaxFrame || result.Sent != 0 {
			t.Errorf("%+v, %v", result, err)
		}
		n.wantContent("d/f", content)
		n.wantPartials(0)
	})
}

// TestResume cuts the stream at random points until the file is through (FILE-1).
func TestResume(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 0))
				n := start(t, files.Options{MaxTotalBytes: 2 << 20})
				content := noise(1<<20 + rng.IntN(1<<20))
				var resumed, tries int64
				for {
					tries++
					at, back := rng.IntN(len(content)), rng.IntN(150)
					result, err := putCut(n, from("big", content), at, back)
					if n.Used() > 2<<20 {
						t.Fatalf("%d bytes are used", n.Used())
					}
					if err == nil {
						if !result.AlreadyThere && result.Sent+result.Resumed != result.Size {
							t.Errorf("%+v", result)
						}
						resumed = result.Resumed
						break
					}
					if len(n.tree()) > 0 { // the last answer was what got lost
						n.wantContent("big", content)
					}
				}
				t.Logf("%d tries, %d of %d bytes resumed at the last", tries, resumed, len(content))
				n.wantContent("big", content)
				n.wantPartials(0)
				if n.Used() != int64(len(content)) {
					t.Errorf("%d bytes are used", n.Used())
				}
			})
		})
	}
}

// putCut sends over a stream that breaks after at bytes, or after back bytes of answers.
func putCut(n *node, o files.PutOptions, at, back int) (result files.Result, err error) {
	n.t.Helper()
	ours, theirs := n.between(func(stream *end) error {
		stream.out.cut = func(total int) bool { return total == at }
		stream.in.cut = func(total int) bool { return total == back }
		result, err = files.Put(n.t.Context(), stream, o)
		return err
	})
	if ours != nil && !errors.Is(ours, files.ErrInterrupted) {
		n.t.Errorf("the sender says %v", ours)
	}
	if theirs != nil && !errors.Is(theirs, files.ErrInterrupted) {
		n.t.Errorf("the receiver says %v", theirs)
	}
	return result, ours
}

// TestResumeAfterRestart: partial files outlive a Server.
func TestResumeAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := noise(1 << 20)
		dir := t.TempDir()
		first, err := files.NewServer(files.Options{Root: dir})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{t: t, dir: dir, Server: first}
		_, err = putCut(n, from("f", content), 900<<10, -1)
		wantErr(t, err, files.ErrInterrupted)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		n.wantPartials(1)
		n = start(t, files.Options{Root: dir, MaxTotalBytes: 1 << 20})
		for _, o := range []files.PutOptions{from("g", content), from("f", noise(1<<20+1))} { // not the same
			_, err = n.put(o)
			wantErr(t, err, files.ErrQuota)
		}
		result, err := n.put(from("f", content))
		if err != nil || result.Resumed == 0 || result.Sent >= 1<<20 {
			t.Errorf("%+v, %v", result, err)
		}
		n.wantContent("f", content)
	})
}

// TestResumeSpoiled: what is in a partial file is not what the sender has.
func TestResumeSpoiled(t *testing.T) {
	for name, spoil := range map[string]func(b []byte) []byte{
		"other":  func(b []byte) []byte { b[100]++; return b },
		"longer": func(b []byte) []byte { return append(b, noise(1<<20)...) },
		"none":   func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, files.Options{MaxTotalBytes: 3 << 20})
				content := noise(1 << 20)
				_, err := putCut(n, from("f", content), 900<<10, -1)
				wantErr(t, err, files.ErrInterrupted)
				n.wantPartials(1)
				file := n.partials()[0]
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, spoil(b), 0o600); err != nil {
					t.Fatal(err)
				}
				result, err := n.put(from("f", content))
				if err != nil || result.Resumed != 0 || result.Sent != 1<<20 {
					t.Errorf("%+v, %v", result, err)
				}
				n.wantContent("f", content)
				n.wantPartials(0)
			})
		})
	}
}

// TestCorrupt flips a bit somewhere in the stream. Whatever comes of it, no wrong file does.
func TestCorrupt(t *testing.T) {
	content := noise(150 << 10)
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			n := start(t, files.Options{IdleTimeout: time.Second})
			at, bit := rng.IntN(len(content)), byte(1)<<rng.IntN(8)
			if seed%2 == 0 {
				at = rng.IntN(100)
			}
			ours, _ := n.between(func(stream *end) error {
				stream.out.alter = func(from int, b []byte) {
					if i := at - from; i >= 0 && i < len(b) {
						b[i] ^= bit
					}
				}
				_, err := files.Put(t.Context(), stream, from("f", content))
				return err
			})
			if ours == nil && seed%2 == 1 {
				t.Errorf("byte %d was altered, and it was not noticed", at)
			}
			for _, name := range n.tree() { // the name may be what was altered
				n.wantContent(name, content)
			}
		})
	}
}

// TestChecksum holds what its name says (FILE-1).
func TestChecksum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		content := noise(300 << 10)
		ours, theirs := n.between(func(stream *end) error {
			stream.out.alter = func(from int, b []byte) {
				if from > 100 && len(b) > 1000 {
					b[999]++
				}
			}
			_, err := files.Put(t.Context(), stream, from("f", content))
			return err
		})
		n.agree(ours, theirs)
		wantErr(t, ours, files.ErrChecksum)
		n.wantTree()
		n.wantPartials(0)
	})
}

// source is content that changes: before is called before each read.
type source struct {
	content []byte
	before  func(s *source, read int)
	reads   int
	touched time.Time
}

func (s *source) ReadAt(b []byte, at int64) (int, error) {
	s.reads++
	s.before(s, s.reads)
	return bytes.NewReader(s.content).ReadAt(b, at)
}

func (s *source) Stat() (fs.FileInfo, error) { now := *s; return &now, nil }

func (s *source) Name() string       { return "source" }
func (s *source) Size() int64        { return int64(len(s.content)) }
func (s *source) Mode() fs.FileMode  { return 0o644 }
func (s *source) ModTime() time.Time { return s.touched }
func (s *source) IsDir() bool        { return false }
func (s *source) Sys() any           { return nil }

func TestChanged(t *testing.T) {
	const chunks = 10
	for name, change := range map[string]func(*source){
		"content": func(s *source) { s.content = noise(chunks*files.MaxFrame + 1)[1:] },
		"shorter": func(s *source) { s.content = s.content[:100] },
		"longer":  func(s *source) { s.content = append(s.content, 1) },
		"touched": func(s *source) { s.touched = s.touched.Add(time.Second) },
	} {
		for _, at := range []int{chunks / 2, chunks + 1, chunks + 5} {
			t.Run(fmt.Sprintf("%s/%d", name, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := start(t, files.Options{})
					s := &source{content: noise(chunks * files.MaxFrame), touched: time.Now(), before: func(s *source, read int) {
						if read == at {
							change(s)
						}
					}}
					ours, _ := n.between(func(stream *end) error {
						_, err := files.Put(t.Context(), stream, files.PutOptions{Name: "f", From: s})
						return err
					})
					wantErr(t, ours, files.ErrChanged)
					n.wantTree()
					n.wantPartials(0)
				})
			})
		}
	}
}

func TestSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		broken := errors.New("broken")
		s := &failing{content: noise(10 * files.MaxFrame), fails: 15, err: broken}
		o := files.PutOptions{Name: "f", From: s, Size: 10 * files.MaxFrame}
		ours, theirs := n.between(func(stream *end) error {
			_, err := files.Put(t.Context(), stream, o)
			return err
		})
		wantErr(t, ours, broken)
		wantErr(t, theirs, files.ErrInterrupted)
		n.wantTree()
		s.fails = 0
		if _, err := n.put(o); err != nil {
			t.Error(err)
		}
		n.wantPartials(0)
	})
}

type failing struct {
	content      []byte
	reads, fails int
	err          error
}

func (f *failing) ReadAt(b []byte, at int64) (int, error) {
	if f.reads++; f.reads == f.fails {
		return 0, f.err
	}
	return bytes.NewReader(f.content).ReadAt(b, at)
}

func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{MaxFileBytes: 1000})
		_, err := n.put(from("f", noise(1001)))
		wantErr(t, err, files.ErrTooLarge)
		_, err = n.put(from("f", noise(1000)))
		wantErr(t, err, nil)
		n.wantPartials(0)
	})
}

func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "old", "f"), string(noise(500)))
		n := start(t, files.Options{Root: dir, MaxTotalBytes: 1500})
		used := func(want int64) {
			t.Helper()
			if got := n.Used(); got != want {
				t.Errorf("%d bytes are used, want %d", got, want)
			}
		}
		used(500)
		_, err := n.put(from("f", noise(1001)))
		wantErr(t, err, files.ErrQuota)
		_, err = n.put(from("f", noise(1000)))
		wantErr(t, err, nil)
		used(1500)
		o := from("f", noise(1))
		o.Overwrite = true
		_, err = n.put(o) // both have to have room
		wantErr(t, err, files.ErrQuota)
		wantErr(t, n.remove("old/f"), nil)
		used(1000)
		_, err = n.put(o)
		wantErr(t, err, nil)
		used(1)

		_, err = n.put(from("g", noise(1499)))
		wantErr(t, err, nil)
		if err := os.Remove(filepath.Join(dir, "g")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // it is not measured more often
		_, err = n.put(from("h", noise(1000)))
		wantErr(t, err, nil)
		used(1001)
		n.wantPartials(0)
	})
}

// TestQuotaReserved: two files that only fit one after the other.
func TestQuotaReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{MaxTotalBytes: 1 << 20})
		content := noise(600 << 10)
		n.FailWrites(func(f *os.File, b []byte) (int, error) {
			n.FailWrites((*os.File).Write)
			time.Sleep(5 * time.Second)
			_, err := n.put(from("second", noise(600<<10+1)))
			wantErr(t, err, files.ErrQuota)
			return f.Write(b)
		})
		_, err := n.put(from("first", content))
		wantErr(t, err, nil)
		n.wantTree("first")
		n.wantPartials(0)
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{MaxConcurrent: 1})
		n.FailWrites(func(f *os.File, b []byte) (int, error) {
			n.FailWrites((*os.File).Write)
			_, err := n.put(from("second", noise(10)))
			wantErr(t, err, files.ErrBusy)
			return f.Write(b)
		})
		_, err := n.put(from("first", noise(10)))
		wantErr(t, err, nil)
		_, err = n.put(from("second", noise(10)))
		wantErr(t, err, nil)
	})
}

func TestDiskFails(t *testing.T) {
	for _, c := range []struct {
		fault error
		want  error
	}{{syscall.ENOSPC, files.ErrNoSpace}, {syscall.EDQUOT, files.ErrNoSpace}, {syscall.EIO, files.ErrRefused}} {
		t.Run(c.fault.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, files.Options{MaxTotalBytes: 10 << 20})
				n.write("other", "other")
				n.write("f", "older")
				content := noise(2 << 20)
				var written int
				n.FailWrites(func(f *os.File, b []byte) (int, error) {
					if written > 1<<20 {
						k, err := f.Write(b[:100])
						return k, errors.Join(err, &fs.PathError{Op: "write", Path: n.dir, Err: c.fault})
					}
					written += len(b)
					return f.Write(b)
				})
				o := from("f", content)
				o.Overwrite = true
				_, err := n.put(o)
				wantErr(t, err, c.want)
				if err != nil && strings.Contains(err.Error(), n.dir) {
					t.Errorf("the peer is told where the root is: %v", err)
				}
				n.wantTree("f", "other")
				n.wantContent("f", []byte("older"))
				n.wantPartials(0)
				if n.Used() != 0 { // measured before the two came
					t.Errorf("%d bytes are used", n.Used())
				}
				n.FailWrites((*os.File).Write)
				_, err = n.put(o)
				wantErr(t, err, nil)
				n.wantContent("f", content)
			})
		})
	}
}

func TestDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		for _, name := range []string{"a/b/c/f", "a/b/c/g", "a/x/f", "h"} {
			n.write(name, name)
		}
		for _, c := range []struct {
			name string
			want error
			tree []string
		}{
			{"a/b/c/f", nil, []string{"a/", "a/b/", "a/b/c/", "a/b/c/g", "a/x/", "a/x/f", "h"}},
			{"a/b/c/f", files.ErrNotFound, []string{"a/", "a/b/", "a/b/c/", "a/b/c/g", "a/x/", "a/x/f", "h"}},
			{"a/b", files.ErrRefused, []string{"a/", "a/b/", "a/b/c/", "a/b/c/g", "a/x/", "a/x/f", "h"}},
			{"a/b/c/g", nil, []string{"a/", "a/x/", "a/x/f", "h"}},
			{"a/x/f", nil, []string{"h"}},
			{"h/h", files.ErrBadName, []string{"h"}},
			{"h", nil, nil},
		} {
			wantErr(t, n.remove(c.name), c.want)
			n.wantTree(c.tree...)
		}
	})
}

// TestLinks: symbolic links do not lead out of the root (FILE-2).
func TestLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		outside := t.TempDir()
		secret := filepath.Join(outside, "secret")
		write(t, secret, "secret")
		n.write("real/f", "f")
		n.symlink(outside, "out")
		n.symlink("../"+filepath.Base(outside), "up")
		n.symlink(secret, "file")
		n.symlink("real", "in")
		n.symlink(files.StagingDir, "staging")
		n.symlink("loop", "loop")
		before := n.tree()
		for _, name := range []string{"out/secret", "out/new", "up/secret", "staging/f", "loop/f", "file/f"} {
			_, err := n.put(from(name, noise(10)))
			wantErr(t, err, files.ErrBadName)
			_, err = n.stat(name, true)
			wantErr(t, err, files.ErrBadName)
			wantErr(t, n.remove(name), files.ErrBadName)
		}
		_, err := n.stat("file", true)
		wantErr(t, err, files.ErrRefused)
		_, err = n.stat("in", false)
		wantErr(t, err, files.ErrRefused)
		n.wantTree(before...)

		_, err = n.put(from("in/g", noise(10))) // stays below the root
		wantErr(t, err, nil)
		n.wantContent("real/g", noise(10))
		wantErr(t, n.remove("real/f"), nil)
		wantErr(t, n.remove("in/g"), nil) // neither the link nor what it leads to
		for _, name := range []string{"out", "file", "in"} {
			wantErr(t, n.remove(name), nil)
		}
		n.wantTree("loop", "real/", "staging", "up")
		if b, err := os.ReadFile(secret); string(b) != "secret" {
			t.Errorf("outside of the root: %q, %v", b, err)
		}
		n.wantPartials(0)
	})
}

func TestStat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		n.write("d/f", "f")
		info, err := n.stat("d", true)
		if err != nil || !info.Directory || !info.Mode.IsDir() {
			t.Errorf("%+v, %v", info, err)
		}
		_, err = n.stat("e", true)
		wantErr(t, err, files.ErrNotFound)
		info, err = n.stat("d/f", false)
		if err != nil || info.SHA256 != [sha256.Size]byte{} {
			t.Errorf("%+v, %v", info, err)
		}
	})
}

func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []files.Request
		n := start(t, files.Options{Allow: func(_ context.Context, r files.Request) error {
			asked = append(asked, r)
			return errors.New("not today")
		}})
		n.write("f", "f")
		_, err := n.put(from("g", noise(10)))
		wantErr(t, err, files.ErrRefused)
		if !strings.Contains(err.Error(), "not today") {
			t.Error(err)
		}
		wantErr(t, n.remove("f"), files.ErrRefused)
		_, err = n.stat("f", true)
		wantErr(t, err, files.ErrRefused)
		n.wantTree("f")
		want := []files.Request{{"peer", files.OpPut, "g", 10}, {"peer", files.OpDelete, "f", 0}, {"peer", files.OpStat, "f", 0}}
		if fmt.Sprint(asked) != fmt.Sprint(want) {
			t.Errorf("%v", asked)
		}
	})
}

// TestConcurrent has several peers send, some of them the same.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{MaxTotalBytes: 64 << 20})
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				a, b := streams()
				peer := fmt.Sprintf("peer%d", i)
				all.Go(func() {
					if err := n.Serve(t.Context(), b, peer); err != nil {
						t.Errorf("%s: %v", peer, err)
					}
				})
				o := from(fmt.Sprintf("d%d/f", i%4), noise(200<<10+i%4))
				o.Overwrite = true
				if _, err := files.Put(t.Context(), a, o); err != nil {
					t.Errorf("%s: %v", peer, err)
				}
			})
		}
		all.Wait()
		n.wantTree("d0/", "d0/f", "d1/", "d1/f", "d2/", "d2/f", "d3/", "d3/f")
		var size int64
		for i := range 4 {
			n.wantContent(fmt.Sprintf("d%d/f", i), noise(200<<10+i))
			size += 200<<10 + int64(i)
		}
		if n.Used() != size || n.Claims() != 0 {
			t.Errorf("%d bytes are used, want %d; %d claims", n.Used(), size, n.Claims())
		}
		n.wantPartials(0)
	})
}

// TestClean: partial files are removed when they are old, at the start and before a file is received.
func TestClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		stale, fresh := filepath.Join(dir, files.StagingDir, "stale"), filepath.Join(dir, files.StagingDir, "fresh")
		old := func(name string, age time.Duration) {
			t.Helper()
			write(t, name, "part")
			if err := os.Chtimes(name, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		old(stale, 2*time.Hour)
		old(fresh, 10*time.Minute)
		n := start(t, files.Options{Root: dir, KeepPartial: time.Hour, MaxTotalBytes: 100})
		if got := n.partials(); len(got) != 1 || got[0] != fresh || n.Used() != 4 {
			t.Errorf("%q is left, %d bytes", got, n.Used())
		}
		time.Sleep(time.Hour)
		_, err := n.put(from("f", noise(100)))
		wantErr(t, err, nil)
		n.wantPartials(0)
	})
}

// TestCleanSpares what is being received, however long ago the last byte came.
func TestCleanSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		n.FailWrites(func(f *os.File, b []byte) (int, error) {
			n.FailWrites((*os.File).Write)
			if err := os.Chtimes(n.partials()[0], time.Time{}, time.Unix(0, 0)); err != nil {
				t.Error(err)
			}
			_, err := n.put(from("other", noise(10)))
			wantErr(t, err, nil)
			n.wantPartials(1)
			return f.Write(b)
		})
		_, err := n.put(from("f", noise(10)))
		wantErr(t, err, nil)
		n.wantTree("f", "other")
	})
}

func TestOptions(t *testing.T) {
	blocked := t.TempDir()
	write(t, filepath.Join(blocked, files.StagingDir), "")
	write(t, filepath.Join(blocked, "file"), "")
	for _, o := range []files.Options{
		{},
		{Root: filepath.Join(blocked, "file")},
		{Root: blocked},
		{Root: t.TempDir(), MaxConcurrent: -1},
		{Root: t.TempDir(), Overwrite: 7},
	} {
		if _, err := files.NewServer(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	fresh := filepath.Join(t.TempDir(), "a", "b")
	s, err := files.NewServer(files.Options{Root: fresh})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
