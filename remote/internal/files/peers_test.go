package files_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/files"
)

var badNames = []string{
	"", "/", "/etc/passwd", "..", "../f", "a/../../f", "a/..", ".", "./f", "a//f", "a/", "a/./f", `..\f`, `a\..\..\f`, `\f`, `C:\f`,
	"C:/f", "c:f", "a\x00b", "a\nb", "\x7f", strings.Repeat("a", 256), strings.Repeat("a/", 600) + "f", "a/" + strings.Repeat("ü", 128),
	files.StagingDir, files.StagingDir + "/f", strings.ToUpper(files.StagingDir) + "/f",
}

func askPut(name string, content []byte) *greenroomv1.FileRequest {
	sum := sha256.Sum256(content)
	return put(&greenroomv1.FilePut{Name: name, Size: int64(len(content)), Sha256: sum[:], Mode: 0o644})
}

func put(m *greenroomv1.FilePut) *greenroomv1.FileRequest {
	return &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Put{Put: m}}
}

func askDelete(name string) *greenroomv1.FileRequest {
	return &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Delete{Delete: &greenroomv1.FileDelete{Name: name}}}
}

func askStat(name string) *greenroomv1.FileRequest {
	return &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Stat{Stat: &greenroomv1.FileStat{Name: name}}}
}

func startAt(offset int64) *greenroomv1.FileRequest {
	return &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Start{Start: &greenroomv1.FileStart{Offset: offset}}}
}

func atEnd() *greenroomv1.FileRequest {
	return &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_End{End: &greenroomv1.FileEnd{}}}
}

// TestBadNames are refused by the sender, and by a receiver whose sender does not (FILE-2).
func TestBadNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{Root: filepath.Join(t.TempDir(), "root")})
		for _, name := range badNames {
			_, err := n.put(from(name, noise(10)))
			wantErr(t, err, files.ErrBadName)
			_, err = n.stat(name, true)
			wantErr(t, err, files.ErrBadName)
			wantErr(t, n.remove(name), files.ErrBadName)
			for _, request := range []*greenroomv1.FileRequest{askPut(name, noise(10)), askDelete(name), askStat(name)} {
				_, theirs := n.between(func(stream *end) error {
					var answer greenroomv1.FileResponse
					l := files.NewLine(stream)
					if err := errors.Join(l.Write(request), l.Read(&answer)); err != nil {
						t.Errorf("%q: %v", name, err)
					}
					if got := answer.GetFailure().GetCode(); got != greenroomv1.FileFailureCode_FILE_FAILURE_CODE_BAD_NAME {
						t.Errorf("%q: code %v", name, got)
					}
					return nil
				})
				wantErr(t, theirs, files.ErrBadName)
			}
		}
		n.wantTree()
		if entries, err := os.ReadDir(filepath.Dir(n.dir)); len(entries) != 1 {
			t.Errorf("beside the root: %v, %v", entries, err)
		}
	})
}

// TestOddNames are the names of ordinary files on this system, or refused, as devices are on Windows. Nothing is opened in
// their stead.
func TestOddNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		for _, name := range []string{"NUL", "con", "COM1.txt", "a/aux.c", "...", "..f", "f.", "a b", "ü", "~", "-rf", "a:b", "$HOME"} {
			_, err := n.put(from(name, noise(10)))
			if err == nil {
				n.wantContent(name, noise(10))
				wantErr(t, n.remove(name), nil)
			} else {
				wantErr(t, err, files.ErrBadName)
			}
		}
		n.wantTree()
	})
}

// TestModeBits: nothing beyond permission bits comes from a sender.
func TestModeBits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		request := askPut("f", nil)
		request.GetPut().Mode = ^uint32(0)
		_, theirs := n.between(func(stream *end) error {
			l := files.NewLine(stream)
			err := errors.Join(l.Write(request), l.Write(startAt(0)), l.Write(atEnd()))
			return errors.Join(err, l.Read(&greenroomv1.FileResponse{}), l.Read(&greenroomv1.FileResponse{}))
		})
		wantErr(t, theirs, nil)
		info, err := os.Lstat(filepath.Join(n.dir, "f"))
		if err != nil || info.Mode() != 0o777 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// TestUnruly plays senders that do not keep to the protocol.
func TestUnruly(t *testing.T) {
	content := noise(1000)
	sum := sha256.Sum256(content)
	for name, play := range map[string]func(l files.Line, stream io.Writer) error{
		"negative": func(l files.Line, _ io.Writer) error {
			return l.Write(put(&greenroomv1.FilePut{Name: "f", Size: -1, Sha256: sum[:]}))
		},
		"short sum": func(l files.Line, _ io.Writer) error {
			return l.Write(put(&greenroomv1.FilePut{Name: "f", Sha256: sum[1:]}))
		},
		"nothing":       func(l files.Line, _ io.Writer) error { return l.Write(&greenroomv1.FileRequest{}) },
		"end first":     func(l files.Line, _ io.Writer) error { return l.Write(atEnd()) },
		"content first": func(l files.Line, _ io.Writer) error { return l.Content(content) },
		"put twice": func(l files.Line, _ io.Writer) error {
			return errors.Join(l.Write(askPut("f", content)), l.Write(askPut("f", content)))
		},
		"content too early": func(l files.Line, _ io.Writer) error {
			return errors.Join(l.Write(askPut("f", content)), l.Content(content))
		},
		"start beyond": func(l files.Line, _ io.Writer) error {
			return errors.Join(l.Write(askPut("f", content)), l.Write(startAt(10)))
		},
		"start below": func(l files.Line, _ io.Writer) error {
			return errors.Join(l.Write(askPut("f", content)), l.Write(startAt(-10)))
		},
		"too much": func(l files.Line, _ io.Writer) error {
			return errors.Join(l.Write(askPut("f", content)), l.Write(startAt(0)), l.Content(content), l.Content(content[:1]))
		},
		"too little": func(l files.Line, _ io.Writer) error {
			return errors.Join(l.Write(askPut("f", content)), l.Write(startAt(0)), l.Content(content[1:]), l.Write(atEnd()))
		},
		"start twice": func(l files.Line, _ io.Writer) error {
			return errors.Join(l.Write(askPut("f", content)), l.Write(startAt(0)), l.Content(content[1:]), l.Write(startAt(0)))
		},
		"unknown kind":  func(_ files.Line, w io.Writer) error { return bytesTo(w, 3, 0, 0, 0, 0) },
		"huge":          func(_ files.Line, w io.Writer) error { return bytesTo(w, 1, 0xff, 0xff, 0xff, 0xff) },
		"a bit larger":  func(_ files.Line, w io.Writer) error { return bytesTo(w, 1, 0, 1, 0, 1) },
		"empty content": func(_ files.Line, w io.Writer) error { return bytesTo(w, 2, 0, 0, 0, 0) },
		"no protobuf":   func(_ files.Line, w io.Writer) error { return bytesTo(w, 1, 0, 0, 0, 2, 0xff, 0xff) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, files.Options{})
				_, theirs := n.between(func(stream *end) error {
					l := files.NewLine(stream)
					if err := play(l, stream); err != nil {
						t.Fatal(err)
					}
					var answer greenroomv1.FileResponse
					for answer.GetFailure() == nil {
						if err := l.Read(&answer); err != nil {
							t.Fatal(err)
						}
					}
					if got := answer.GetFailure().GetCode(); got != greenroomv1.FileFailureCode_FILE_FAILURE_CODE_PROTOCOL {
						t.Errorf("code %v", got)
					}
					return nil
				})
				wantErr(t, theirs, files.ErrProtocol)
				n.wantTree()
				n.wantPartials(0)
			})
		})
	}
}

func bytesTo(w io.Writer, b ...byte) error {
	_, err := w.Write(b)
	return err
}

// TestUnrulyReceiver plays receivers that do not keep to the protocol.
func TestUnrulyReceiver(t *testing.T) {
	have := func(size int64) *greenroomv1.FileResponse {
		m := &greenroomv1.FileHave{Size: size}
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Have{Have: m}}
	}
	stored := func(already bool) *greenroomv1.FileResponse {
		m := &greenroomv1.FileStored{AlreadyThere: already}
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Stored{Stored: m}}
	}
	failure := func(code greenroomv1.FileFailureCode, text string) *greenroomv1.FileResponse {
		m := &greenroomv1.FileFailure{Code: code, Text: text}
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Failure{Failure: m}}
	}
	for _, c := range []struct {
		name    string
		answers []*greenroomv1.FileResponse
		want    error
		text    string
	}{
		{"nothing", []*greenroomv1.FileResponse{{}}, files.ErrProtocol, ""},
		{"stored without content", []*greenroomv1.FileResponse{stored(false)}, files.ErrProtocol, ""},
		{"more than there is", []*greenroomv1.FileResponse{have(1001)}, files.ErrProtocol, ""},
		{"less than nothing", []*greenroomv1.FileResponse{have(-1)}, files.ErrProtocol, ""},
		{"have twice", []*greenroomv1.FileResponse{have(0), have(0)}, files.ErrProtocol, ""},
		{"gone", nil, files.ErrInterrupted, ""},
		{"gone later", []*greenroomv1.FileResponse{have(0)}, files.ErrInterrupted, ""},
		{"a new code", []*greenroomv1.FileResponse{failure(99, "a\nb\x1b[1m")}, files.ErrRefused, "a b [1m"},
		{"a long text", []*greenroomv1.FileResponse{failure(7, strings.Repeat("ü", 20000))}, files.ErrExists, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := streams()
				played := make(chan error, 1)
				go func() {
					l := files.NewLine(b)
					err := l.Read(&greenroomv1.FileRequest{})
					for _, answer := range c.answers {
						err = errors.Join(err, l.Write(answer))
					}
					played <- errors.Join(err, b.Close())
				}()
				_, err := files.Put(t.Context(), a, from("f", noise(1000)))
				wantErr(t, err, c.want)
				if err != nil && (!strings.Contains(err.Error(), c.text) || len(err.Error()) > 5000) {
					t.Errorf("%d bytes of error: %.100v", len(err.Error()), err)
				}
				wantErr(t, <-played, nil)
			})
		})
	}
}

// TestCancel ends one side's context in the middle of a file: the other side is let go at once, and the rest is sent later.
func TestCancel(t *testing.T) {
	stopped := errors.New("stopped")
	for _, who := range []string{"sender", "receiver", "server"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				server, err := files.NewServer(files.Options{Root: dir})
				if err != nil {
					t.Fatal(err)
				}
				content := noise(3 << 20)
				sending, cancelSending := context.WithCancelCause(t.Context())
				serving, cancelServing := context.WithCancelCause(t.Context())
				defer cancelSending(nil)
				defer cancelServing(nil)
				closed := make(chan error, 1)
				o := from("f", content)
				var did bool
				o.Progress = func(done, _ int64) {
					time.Sleep(time.Second) // so that it is called for each chunk
					if done == 0 || did {
						return
					}
					did = true
					switch who {
					case "sender":
						cancelSending(stopped)
					case "receiver":
						cancelServing(stopped)
					case "server":
						go func() { closed <- server.Close() }()
					}
				}
				begin := time.Now()
				a, b := streams()
				served := make(chan error, 1)
				go func() { served <- server.Serve(serving, b, "peer") }()
				_, ours := files.Put(sending, a, o)
				theirs := <-served
				if who == "sender" {
					wantErr(t, ours, stopped)
				} else {
					wantErr(t, ours, files.ErrInterrupted)
				}
				wantErr(t, theirs, files.ErrInterrupted)
				if who == "receiver" {
					wantErr(t, theirs, stopped)
				}
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if who == "server" {
					wantErr(t, <-closed, nil)
					a, b := streams()
					wantErr(t, server.Serve(t.Context(), b, "peer"), files.ErrRefused)
					_, err := files.Put(t.Context(), a, from("f", content))
					wantErr(t, err, files.ErrInterrupted)
				} else {
					wantErr(t, server.Close(), nil)
				}
				n := start(t, files.Options{Root: dir})
				n.wantTree()
				n.wantPartials(1)
				result, err := n.put(from("f", content))
				if err != nil || result.Resumed == 0 {
					t.Errorf("%+v, %v", result, err)
				}
				n.wantPartials(0)
			})
		})
	}
}

// TestCancelled: a context that has ended before.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, f := range map[string]func(stream io.ReadWriteCloser) error{
			"put":    func(s io.ReadWriteCloser) error { _, err := files.Put(ctx, s, from("f", noise(1))); return err },
			"delete": func(s io.ReadWriteCloser) error { return files.Delete(ctx, s, "f") },
			"stat":   func(s io.ReadWriteCloser) error { _, err := files.Stat(ctx, s, "f", true); return err },
		} {
			ours, theirs := n.between(func(stream *end) error { return f(stream) })
			if !errors.Is(ours, context.Canceled) || !errors.Is(theirs, files.ErrInterrupted) {
				t.Errorf("%s: %v, %v", name, ours, theirs)
			}
		}
		n.wantTree()
	})
}

// TestMuteReceiver: one that takes the content and does not answer is waited for as long as the context lasts.
func TestMuteReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		a, _ := streams()
		_, err := files.Put(ctx, a, from("f", noise(1000)))
		wantErr(t, err, context.DeadlineExceeded)
	})
}

// TestIdle: a sender that stalls is given up, wherever it does.
func TestIdle(t *testing.T) {
	content := noise(100 << 10)
	for name, play := range map[string]func(l files.Line, stream io.Writer) error{
		"at once":    func(files.Line, io.Writer) error { return nil },
		"in a head":  func(_ files.Line, w io.Writer) error { return bytesTo(w, 1, 0) },
		"in a body":  func(_ files.Line, w io.Writer) error { return bytesTo(w, 1, 0, 0, 0, 9, 1) },
		"before":     func(l files.Line, _ io.Writer) error { return l.Write(askPut("f", content)) },
		"in content": func(l files.Line, _ io.Writer) error { return sendPart(l, content) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, files.Options{IdleTimeout: time.Minute})
				begin := time.Now()
				_, theirs := n.between(func(stream *end) error {
					if err := play(files.NewLine(stream), stream); err != nil {
						t.Error(err)
					}
					_, err := io.Copy(io.Discard, stream)
					return err
				})
				wantErr(t, theirs, files.ErrInterrupted)
				if took := time.Since(begin); took != time.Minute || !strings.Contains(theirs.Error(), "too long") {
					t.Errorf("after %v: %v", took, theirs)
				}
				if name == "in content" {
					n.wantPartials(1)
				} else {
					n.wantPartials(0)
				}
			})
		})
	}
}

func sendPart(l files.Line, content []byte) error {
	return errors.Join(l.Write(askPut("f", content)), l.Write(startAt(0)), l.Content(content[:files.MaxFrame]))
}

// TestLinger: a peer that does not close the stream after its answer is given up too.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		begin := time.Now()
		a, b := streams()
		go files.NewLine(a).Write(askStat("f")) //nolint:errcheck // it has room
		wantErr(t, n.Serve(t.Context(), b, "peer"), files.ErrNotFound)
		if took := time.Since(begin); took != files.Patience {
			t.Errorf("after %v", took)
		}
	})
}

// TestAnew: the next attempt does not wait for the one before it, which the receiver believes to be alive, and resumes it.
func TestAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{MaxTotalBytes: 150 << 10})
		content := noise(100 << 10)
		a, b := streams()
		served := make(chan error, 1)
		go func() { served <- n.Serve(t.Context(), b, "peer") }()
		if err := sendPart(files.NewLine(a), content); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		result, err := n.put(from("f", content))
		if err != nil || result.Resumed != files.MaxFrame || time.Since(begin) != 0 {
			t.Errorf("%+v, %v, after %v", result, err, time.Since(begin))
		}
		err = <-served
		wantErr(t, err, files.ErrInterrupted)
		if !strings.Contains(fmt.Sprint(err), "anew") {
			t.Error(err)
		}
		n.wantContent("f", content)
		if n.Used() != 100<<10 || n.Claims() != 0 {
			t.Errorf("%d bytes are used, %d claims", n.Used(), n.Claims())
		}
	})
}

// TestProgress: at most ten times a second, and never back.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		const chunks = 40
		s := &source{content: noise(chunks * files.MaxFrame), before: func(*source, int) { time.Sleep(30 * time.Millisecond) }}
		var done []int64
		var last time.Time
		total := int64(chunks * files.MaxFrame)
		_, err := n.put(files.PutOptions{Name: "f", From: s, Progress: func(d, of int64) {
			if since := time.Since(last); since < 100*time.Millisecond && d != total || of != total {
				t.Errorf("%d of %d, %v after the last", d, of, since)
			}
			last = time.Now()
			done = append(done, d)
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(done) || done[0] != 0 || done[len(done)-1] != total || len(done) < 10 || len(done) > 14 {
			t.Errorf("progress %v", done)
		}
	})
}

// TestPanicOfProgress leaves nothing behind.
func TestPanicOfProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, files.Options{})
		o := from("f", noise(1<<20))
		o.Progress = func(done, _ int64) {
			time.Sleep(time.Second)
			if done > 0 {
				panic("mine")
			}
		}
		begin := time.Now()
		ours, theirs := n.between(func(stream *end) (err error) {
			defer func() { err = fmt.Errorf("%v", recover()) }()
			_, err = files.Put(t.Context(), stream, o)
			return err
		})
		if took := time.Since(begin); ours.Error() != "mine" || took > 10*time.Second {
			t.Errorf("%v, after %v", ours, took)
		}
		wantErr(t, theirs, files.ErrInterrupted)
	})
}
