package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// asProgram makes this test binary the program itself.
const asProgram = "GREENROOM_SERVICE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is a run of the whole program inside this process.
type program struct {
	t      *testing.T
	cancel context.CancelFunc
	code   chan int
	out    *output
	err    *output
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, cancel: cancel, code: make(chan int, 1), out: newOutput(), err: newOutput()}
	go func() { p.code <- run(ctx, append([]string{"-listen=127.0.0.1:0"}, args...), p.out, p.err) }()
	t.Cleanup(cancel)
	return p
}

func (p *program) url() string {
	p.t.Helper()
	p.out.await(p.t, "Ctrl-C ends\n")
	return address(p.t, p.out.String())
}

// end does what Ctrl-C does, expects the exit code, and returns what was printed.
func (p *program) end(want int) string {
	p.t.Helper()
	p.cancel()
	if code := <-p.code; code != want {
		p.t.Errorf("exit code %d, want %d:\n%v\n%v", code, want, p.out, p.err)
	}
	return p.out.String()
}

func address(t *testing.T, text string) string {
	t.Helper()
	found := regexp.MustCompile(`http://\S+:\d+`).FindString(text)
	if found == "" {
		t.Fatalf("no address in %q", text)
	}
	return found
}

func TestWrongCommandLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown flag", []string{"-colour"}, 2, "-colour"},
		{"help", []string{"-help"}, 0, "-listen"},
		{"argument", []string{"docs"}, 2, `unexpected argument "docs"`},
		{"no number", []string{"-shards=many"}, 2, "shards"},
		{"no shards", []string{"-shards=0"}, 2, "-shards is 0: it must be from 1"},
		{"too many workers", []string{"-workers=100000"}, 2, "-workers is 100000"},
		{"negative load", []string{"-load=-1"}, 2, "-load is -1"},
		{"ended before it began", []string{"-for=-1s"}, 2, "-for"},
		{"negative limit", []string{"-max-bytes=-1"}, 2, "-max-bytes is -1"},
		{"poison of two words", []string{"-poison=two words"}, 2, "-poison is \"two words\""},
		{"poison of no letters", []string{"-poison=!"}, 2, "-poison is \"!\""},
		{"negative pace", []string{"-progress=-1s"}, 2, "-progress"},
		{"no patience", []string{"-patience=0s"}, 2, "-patience must be positive"},
		{"no folder", []string{"-dir=" + file + "s/below"}, 1, "-dir " + file + "s/below cannot be read: no such file"},
		{"a file for a folder", []string{"-dir=" + file}, 1, "-dir " + file + " cannot be read: not a directory"},
		{"port in use", []string{"-listen=" + taken.Addr().String()}, 1, "-listen " + taken.Addr().String() + " is taken: choose another"},
		{"no address", []string{"-listen=nowhere"}, 1, "-listen nowhere cannot be listened on: "},
		{"no port", []string{"-listen=127.0.0.1:http-or-so"}, 1, "unknown port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), c.args, &out, &errs); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(errs.String(), c.want) {
				t.Errorf("%q does not contain %q", errs.String(), c.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	p := startProgram(t, "-progress=1ms")
	if _, _, _, err := ask(http.MethodPost, p.url()+"/documents", "some words"); err != nil {
		t.Fatal(err)
	}
	p.out.await(t, ": 1 documents, 2 words, ")
	p.end(0)
}

// newTestService is a service without visitors, which the test itself stops.
func newTestService(t *testing.T, args ...string) (*service, *output) {
	t.Helper()
	c := newOutput()
	o, err := parse(append([]string{"-progress=0"}, args...), c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(o, c, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// TestCountsAreGone kills the shards' supervisor: the service must not go on without the counts.
func TestCountsAreGone(t *testing.T) {
	s, c := newTestService(t)
	shards, ok := s.sys.Lookup(shardsID)
	if !ok {
		t.Fatal("no shards")
	}
	shards.Kill()
	select {
	case <-s.failed.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("nobody noticed")
	}
	if why := context.Cause(s.failed).Error(); !strings.Contains(why, "the shards have ended") || !strings.Contains(why, "killed") {
		t.Error(why)
	}
	grace, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.stop(grace); err == nil || !strings.Contains(err.Error(), "could not be summed up") {
		t.Errorf("the sums were taken without the shards: %v\n%v", err, c)
	}
}

// TestTooManyRestarts kills the stats actor more often than its supervisor bears: the service ends and says why.
func TestTooManyRestarts(t *testing.T) {
	s, _ := newTestService(t)
	stats, err := s.statsRef()
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(0); s.failed.Err() == nil; {
		stats.Kill()
		for n++; s.restarted.Load() < n && s.failed.Err() == nil; {
			runtime.Gosched()
		}
	}
	if why := context.Cause(s.failed).Error(); !strings.Contains(why, "the supervisor of all parts has ended") || !strings.Contains(why, "stats") {
		t.Error(why)
	}
	if err := s.sys.Close(); err != nil {
		t.Error(err)
	}
}

// TestEndWithBusyWorker has a worker busy for longer than the service may take to end: the totals are not called right.
func TestEndWithBusyWorker(t *testing.T) {
	s, c := newTestService(t)
	if _, err := s.ingest("a", "two words"); err != nil {
		t.Fatal(err)
	}
	m := &pb.IngestRequest{Document: 99, Text: strings.Repeat("some words ", 5_000_000)}
	if err := s.worker().Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	grace, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.stop(grace); err == nil || !strings.Contains(err.Error(), "took too long") || !strings.Contains(c.String(), "total: 1 documents, 2 words") {
		t.Errorf("%v\n%v", err, c)
	}
}

// TestFrontIsRestarted breaks what the service listens with.
func TestFrontIsRestarted(t *testing.T) {
	listener, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newOutput()
	o, err := parse(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(o, c, c, listener)
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	for deadline := time.Now().Add(30 * time.Second); ; {
		status, _, _, err := ask(http.MethodGet, "http://"+listener.Addr().String()+"/healthz", "")
		if err == nil && status == http.StatusOK && s.restarted.Load() == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("status %d, %v\n%v", status, err, c)
		}
	}
	if err := s.stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestInterruptUnderLoad interrupts the program, as a process of its own, while clients post as fast as they can. What was
// acknowledged must be in the totals that it prints, and it must end with exit code 0.
func TestInterruptUnderLoad(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) { testInterrupt(t, sig) })
	}
}

func testInterrupt(t *testing.T, sig os.Signal) {
	t.Helper()
	process, out := startProcess(t, "-queue=2")
	out.await(t, "Ctrl-C ends\n")
	url := address(t, out.String())
	var acknowledged, words atomic.Uint64
	enough := make(chan struct{})
	var posting sync.WaitGroup
	for i := range 12 {
		posting.Go(func() {
			for j := 0; ; j++ {
				n := (i+j)%5 + 1
				status, _, _, err := ask(http.MethodPost, url+"/documents", strings.Repeat("word ", n))
				if err != nil || status != http.StatusOK {
					return // it takes no more
				}
				words.Add(uint64(n))
				if acknowledged.Add(1) == 200 {
					close(enough)
				}
			}
		})
	}
	<-enough
	if err := process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	posting.Wait()
	if err := process.Wait(); err != nil {
		t.Errorf("the program ended with %v:\n%v", err, out)
	}
	text := out.await(t, "ledger: ")
	var documents, counted uint64
	total := text[strings.Index(text, "total: "):]
	if _, err := fmt.Sscanf(total, "total: %d documents, %d words,", &documents, &counted); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	// A post whose connection broke may have been counted without its client's knowing, never the other way round.
	if documents < acknowledged.Load() || counted < words.Load() || documents > acknowledged.Load()+12 {
		t.Errorf("%d documents and %d words acknowledged:\n%s", acknowledged.Load(), words.Load(), text)
	}
	if !strings.Contains(text, "queued 0 (balanced)") {
		t.Error(text)
	}
}

// startProcess runs the program in a process of its own.
func startProcess(t *testing.T, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := newOutput()
	process := exec.Command(self, append([]string{"-listen=127.0.0.1:0"}, args...)...)
	process.Env = append(os.Environ(), asProgram+"=1")
	process.Stdout, process.Stderr = out, out
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill() })
	return process, out
}

// conversation is a connection to the service, on which a test writes and reads what it likes.
type conversation struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, url string) *conversation {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &conversation{t, conn, bufio.NewReader(conn)}
}

// openPost sends the header of a post with a body of 10 bytes.
func openPost(t *testing.T, url string) *conversation {
	t.Helper()
	p := dial(t, url)
	p.send("POST /documents HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	return p
}

func (p *conversation) send(text string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// await reads lines up to one that contains want. "100 Continue" means that the handler reads the body.
func (p *conversation) await(want string) {
	p.t.Helper()
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			p.t.Fatalf("no %q: %v", want, err)
		}
		if strings.Contains(line, want) {
			return
		}
	}
}

// TestPostsWaitUnread holds the only place for posts: the next one is not read before it is free, others are served.
func TestPostsWaitUnread(t *testing.T) {
	c := startService(t, "-inflight=1")
	first := openPost(t, c.url)
	first.await("100 Continue")
	second := openPost(t, c.url)
	if err := second.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if line, err := second.in.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the second post is read beside the first: %q, %v", line, err)
	}
	if err := second.conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	c.expect(http.MethodGet, "/healthz", "", 200)
	first.send("ten bytes.")
	first.await("200 OK")
	second.await("100 Continue")
	second.send("ten bytes.")
	second.await("200 OK")
}

// TestWaitingPostIsCutOff ends a post that waits for its turn: what is not counted must not be answered 200.
func TestWaitingPostIsCutOff(t *testing.T) {
	c := startService(t, "-inflight=1")
	handler := c.s.handler()
	body, fill := io.Pipe()
	var first sync.WaitGroup
	first.Go(func() {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/documents", body)
		handler.ServeHTTP(httptest.NewRecorder(), request)
	})
	if _, err := fill.Write([]byte("half a document")); err != nil { // is read, so the only place is taken
		t.Fatal(err)
	}
	ctx, cutOff := context.WithCancelCause(t.Context())
	cutOff(errEnding)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost, "/documents", strings.NewReader("a")))
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), errEnding.Error()) {
		t.Errorf("the answer is %d %q", answer.Code, answer.Body)
	}
	_ = fill.Close()
	first.Wait()
}

// TestLargePosts posts too much with and without saying so in advance: who says so is not asked to send it.
func TestLargePosts(t *testing.T) {
	c := startService(t, "-max-bytes=9")
	known := openPost(t, c.url)
	known.await("413 ")
	unknown := dial(t, c.url)
	unknown.send("POST /documents HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\na\r\nten bytes.\r\n")
	unknown.await("413 ")
	if s := c.stats(); s.Refused != 2 || s.Documents != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// TestSlowPost has a client begin a document and not finish it.
func TestSlowPost(t *testing.T) {
	c := startService(t, "-patience=50ms", "-inflight=1")
	slow := openPost(t, c.url)
	slow.await("100 Continue")
	slow.send("ten")
	slow.await("408 Request Timeout")
	c.expect(http.MethodPost, "/documents", "its place is free", 200)
	if s := c.stats(); s.GivenUp != 1 || s.Documents != 1 {
		t.Errorf("stats: %+v", s)
	}
}

// TestSlowHeader has a client begin a request and not finish its header.
func TestSlowHeader(t *testing.T) {
	p := startProgram(t, "-patience=50ms")
	slow := dial(t, p.url())
	slow.send("POST /docu")
	if answer, err := io.ReadAll(slow.in); err != nil || strings.Contains(string(answer), "200 OK") {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	p.end(0)
}

// TestClientThatTakesNoAnswer has a client ask and ask and read nothing, until its connection is cut.
func TestClientThatTakesNoAnswer(t *testing.T) {
	p := startProgram(t, "-patience=200ms")
	deaf := dial(t, p.url())
	if err := deaf.conn.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; {
		_, err = io.WriteString(deaf.conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", 1000))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("nobody cuts it off")
		}
	}
	p.end(0)
}

// TestSecondInterrupt holds the end up with a post that never finishes: a second interrupt must not wait for it.
func TestSecondInterrupt(t *testing.T) {
	process, out := startProcess(t, "-grace=10m")
	out.await(t, "Ctrl-C ends\n")
	openPost(t, address(t, out.String())).await("100 Continue")
	if err := process.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	out.await(t, "ending: ")
	if err := process.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := process.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("the program ended with %v:\n%v", err, out)
	}
}

// TestEndWithOpenRequests holds the end up with clients that never finish: they are cut off in time for the sums, those that
// can be told are told, and what was acknowledged is in the totals.
func TestEndWithOpenRequests(t *testing.T) {
	p := startProgram(t, "-grace=2s")
	url := p.url()
	if status, _, _, err := ask(http.MethodPost, url+"/documents", "some words"); status != http.StatusOK {
		t.Fatal(status, err)
	}
	silent, header := dial(t, url), dial(t, url)
	header.send("POST /docu")
	body := openPost(t, url)
	body.await("100 Continue")
	out := p.end(0)
	body.await("503 Service Unavailable")
	body.await(errEnding.Error())
	for _, cut := range []*conversation{silent, header} {
		if answer, err := io.ReadAll(cut.in); strings.Contains(string(answer), "200 OK") {
			t.Errorf("the answer is %q, %v", answer, err)
		}
	}
	if !strings.Contains(out, "total: 1 documents, 2 words, 2 different; ") || !strings.Contains(out, "(balanced)") ||
		!strings.Contains(p.err.String(), "was cut off and not acknowledged") {
		t.Errorf("%s\n%v", out, p.err)
	}
}

// TestEndInGoodTime has nobody hold the end up: it is not announced as cut off.
func TestEndInGoodTime(t *testing.T) {
	p := startProgram(t)
	if status, _, _, err := ask(http.MethodPost, p.url()+"/documents", "some words"); status != http.StatusOK {
		t.Fatal(status, err)
	}
	if out := p.end(0); !strings.Contains(out, "total: 1 documents, 2 words") || p.err.String() != "" {
		t.Errorf("%s\n%v", out, p.err)
	}
}

// TestSilentConnection has a client connect and say nothing: nobody waits for it, and it is not said to have been cut off.
func TestSilentConnection(t *testing.T) {
	p := startProgram(t, "-grace=1m")
	silent := dial(t, p.url())
	if status, _, _, err := ask(http.MethodGet, p.url()+"/healthz", ""); status != http.StatusOK { // it has been accepted
		t.Fatal(status, err)
	}
	start := time.Now()
	p.end(0)
	if took := time.Since(start); took > 4*time.Second || p.err.String() != "" { // http.Server would wait for 5 s
		t.Errorf("the end took %v\n%v", took, p.err)
	}
	if _, err := silent.in.ReadByte(); err == nil {
		t.Error("the connection is open")
	}
}

// TestFolderAtTheEnd has the service end before a folder is read: it begins with no file.
func TestFolderAtTheEnd(t *testing.T) {
	s, c := newTestService(t)
	s.opts.dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(s.opts.dir, "file"), []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.end()
	if err := s.feed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "folder " + s.opts.dir + " interrupted: 0 files counted, 0 not\n"; c.String() != want {
		t.Errorf("%q, want %q", c, want)
	}
	if err := s.stop(t.Context()); err != nil {
		t.Error(err)
	}
}
