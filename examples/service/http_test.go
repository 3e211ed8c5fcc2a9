package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// output is a writer that any goroutine may write to, and that can be waited on.
type output struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed and replaced by each Write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until want has been written and returns everything.
func (o *output) await(t *testing.T, want string) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		o.mu.Lock()
		text, changed := o.text.String(), o.changed
		o.mu.Unlock()
		if strings.Contains(text, want) {
			return text
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no %q in the output:\n%s", want, text)
		}
	}
}

// client is a service under test and somebody who uses it.
type client struct {
	t   *testing.T
	s   *service
	url string
	out *output
	err *output
}

// startService serves the handlers of a service, which ends with the test; its end must be an orderly one.
func startService(t *testing.T, args ...string) *client {
	t.Helper()
	c := &client{t: t, out: newOutput(), err: newOutput()}
	o, err := parse(append([]string{"-progress=0"}, args...), c.err)
	if err != nil {
		t.Fatal(err)
	}
	if c.s, err = newService(o, c.out, c.err, nil); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.s.handler())
	c.url = server.URL
	t.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := c.s.stop(ctx); err != nil {
			t.Errorf("stop: %v\n%v\n%v", err, c.out, c.err)
		}
	})
	return c
}

// ask sends a request and returns its status, body and header.
func (c *client) ask(method, path, body string) (int, string, http.Header) {
	status, text, header, err := ask(method, c.url+path, body)
	if err != nil {
		c.t.Error(err)
	}
	return status, text, header
}

func ask(method, url, body string) (int, string, http.Header, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), response.Header, err
}

func (c *client) expect(method, path, body string, status int, want ...string) {
	c.t.Helper()
	got, text, _ := c.ask(method, path, body)
	if got != status {
		c.t.Errorf("%s %s: status %d, want %d: %s", method, path, got, status, text)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			c.t.Errorf("%s %s: %q does not contain %q", method, path, text, w)
		}
	}
}

func (c *client) stats() stats {
	c.t.Helper()
	var s stats
	_, text, _ := c.ask(http.MethodGet, "/stats", "")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		c.t.Fatalf("%v in %q", err, text)
	}
	return s
}

func TestCountAndAsk(t *testing.T) {
	c := startService(t)
	c.expect(http.MethodPost, "/documents?name=a", "The cat and the dog.", 200, `"name": "a"`, `"words": 5`, `"distinct": 4`)
	c.expect(http.MethodPost, "/documents", "dog -- THE dog!", 200, `"name": "unnamed"`, `"words": 3`)
	c.expect(http.MethodPost, "/documents", "\x00one\x00", 200, `"words": 1`)
	_, text, _ := c.ask(http.MethodGet, "/top?n=3", "")
	if diff := cmp.Diff("       3 dog\n       3 the\n       1 and\n", text); diff != "" {
		t.Errorf("top (-want +got):\n%s", diff)
	}
	c.expect(http.MethodGet, "/top?format=json", "", 200, `"documents": 3`, `"words": 9`, `"distinct": 5`, `"word": "cat"`)
	c.expect(http.MethodGet, "/top?n=1&format=text", "", 200, "       3 dog\n")
	c.expect(http.MethodGet, "/healthz", "", 200, "ok")
	c.expect(http.MethodGet, "/", "", 200, "POST /documents")
	c.expect(http.MethodGet, "/metrics", "", 200, `wordcount_documents_total{outcome="counted"} 3`, "go_goroutines",
		"\ngreenroom_actors{")
	if s := c.stats(); s.Documents != 3 || s.Words != 9 || s.Distinct != 5 {
		t.Errorf("stats: %+v", s)
	}
}

func TestWrongRequests(t *testing.T) {
	c := startService(t, "-max-bytes=100")
	for _, r := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"too large", "POST", "/documents", strings.Repeat("x", 101), 413, "larger than 100 bytes"},
		{"just not too large", "POST", "/documents", strings.Repeat("x", 100), 200, ""},
		{"empty", "POST", "/documents", "", 400, "no words"},
		{"blank", "POST", "/documents", " \n", 400, "no words"},
		{"dots", "POST", "/documents", "...", 400, "no words"},
		{"zeros", "POST", "/documents", strings.Repeat("\x00", 100), 400, "no words"},
		{"no UTF-8", "POST", "/documents", "a\xffb", 400, "UTF-8"},
		{"long name", "POST", "/documents?name=" + strings.Repeat("n", 201), "a", 400, "name"},
		{"n is a word", "GET", "/top?n=ten", "", 400, `n is "ten"`},
		{"n is too small", "GET", "/top?n=0", "", 400, "from 1"},
		{"n is too large", "GET", "/top?n=99999999999999999999", "", 400, "to 10000"},
		{"no such format", "GET", "/top?format=xml", "", 400, `format is "xml": it must be text or json`},
		{"no such page", "GET", "/documents/1", "", 404, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			inner := *c
			inner.t = t
			inner.expect(r.method, r.path, r.body, r.status, r.want)
		})
	}
	if s := c.stats(); s.Documents != 1 || s.Refused != 6 {
		t.Errorf("stats: %+v", s)
	}
}

func TestWrongMethods(t *testing.T) {
	c := startService(t)
	for path, allowed := range map[string]string{
		"/documents": "POST", "/top": "GET", "/stats": "GET", "/metrics": "GET", "/deadletters": "GET", "/healthz": "GET",
		"/tree": "GET", "/events": "GET",
	} {
		status, _, header := c.ask(http.MethodDelete, path, "")
		if status != http.StatusMethodNotAllowed || !strings.Contains(header.Get("Allow"), allowed) {
			t.Errorf("DELETE %s: status %d, Allow %q, want %s", path, status, header.Get("Allow"), allowed)
		}
	}
}

// TestTotalsUnderLoad posts from many clients while others ask, through queues so short that both have to wait.
func TestTotalsUnderLoad(t *testing.T) {
	c := startService(t, "-queue=1", "-workers=3", "-inflight=12")
	const clients, posts = 16, 25
	var posting, asking sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		asking.Go(func() {
			last := uint64(0)
			for {
				s := c.stats()
				if s.Words < last {
					t.Errorf("the words fell from %d to %d", last, s.Words)
				}
				last = s.Words
				c.expect(http.MethodGet, "/top?n=5", "", 200)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range clients {
		posting.Go(func() {
			for j := range posts {
				c.expect(http.MethodPost, "/documents", fmt.Sprintf("common w%d-x%d common", i, j), 200, `"words": 4`)
			}
		})
	}
	posting.Wait()
	close(done)
	asking.Wait()
	const documents = clients * posts
	c.expect(http.MethodGet, "/top?n=1", "", 200, fmt.Sprintf("%d common", 2*documents))
	s := c.stats()
	if s.Documents != documents || s.Words != 4*documents || s.Distinct != 1+clients+posts {
		t.Errorf("stats: %+v", s)
	}
	if s.Waiting != 0 || s.Refused+s.Quarantined+s.GivenUp != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// TestPoison posts good documents beside ones that make their worker panic, all to one worker: nothing but the poison is
// lost, and however much of it comes, the worker goes on.
func TestPoison(t *testing.T) {
	c := startService(t, "-workers=1", "-poison=arsenic", "-dead-letters=1000")
	const good, bad = 60, 2 * restartsASecond
	var posting sync.WaitGroup
	for i := range good {
		posting.Go(func() {
			c.expect(http.MethodPost, "/documents?name=good", fmt.Sprint("no arsenic ", i), 200, `"words": 3`)
		})
	}
	for i := range bad {
		posting.Go(func() {
			c.expect(http.MethodPost, fmt.Sprint("/documents?name=bad", i), "(arsenic) and old lace", 500,
				`poison word "arsenic"`, fmt.Sprintf("bad%d", i), "quarantined", "/deadletters")
		})
	}
	posting.Wait()
	c.expect(http.MethodPost, "/documents", "Arsenic is spelt otherwise", 200)
	s := c.stats()
	if s.Documents != good+1 || s.Words != 3*good+4 || s.Quarantined != bad || s.Restarts != 0 || s.GivenUp != 0 {
		t.Errorf("stats: %+v", s)
	}
	var letters []deadLetter
	_, text, _ := c.ask(http.MethodGet, "/deadletters", "")
	if err := json.Unmarshal([]byte(text), &letters); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, l := range letters {
		names[l.Document] = true
		if l.Reason != "panic" || !strings.Contains(l.Error, "poison word") || l.Excerpt != "(arsenic) and old lace" || l.Bytes != 22 {
			t.Errorf("dead letter: %+v", l)
		}
	}
	if len(letters) != bad || len(names) != bad {
		t.Errorf("%d dead letters of %d documents, want %d", len(letters), len(names), bad)
	}
	c.expect(http.MethodGet, "/metrics", "", 200, fmt.Sprintf(`wordcount_documents_total{outcome="quarantined"} %d`, bad))
	c.expect(http.MethodGet, "/events", "", 200, "worker-0 passed a document over: panic: poison word")
}

// TestClientsThatGoAway has clients give up while they wait: the service goes on and counts what others post.
func TestClientsThatGoAway(t *testing.T) {
	c := startService(t, "-workers=1", "-queue=1")
	ctx, cancel := context.WithCancel(context.Background())
	var leaving sync.WaitGroup
	for range 20 {
		leaving.Go(func() {
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/documents", strings.NewReader(strings.Repeat("word ", 20_000)))
			if err != nil {
				t.Error(err)
				return
			}
			if response, err := http.DefaultClient.Do(request); err == nil {
				_ = response.Body.Close()
			}
		})
	}
	c.expect(http.MethodPost, "/documents", "one of those who stay", 200)
	cancel()
	leaving.Wait()
	c.expect(http.MethodPost, "/documents", "one of those who stay", 200)
	c.expect(http.MethodGet, "/top?n=10000", "", 200, "2 stay")
	c.expect(http.MethodGet, "/healthz", "", 200)
}

func TestFolder(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		write(fmt.Sprintf("deep/er/%d.txt", i), "in the folder")
	}
	write("poison.txt", "POISON a b")
	write("empty.txt", "")
	write("binary", "\xff\xfe")
	write("large", strings.Repeat("x", 1001))
	write(".hidden/file", "hidden")
	if err := os.Symlink(root, filepath.Join(root, "loop")); err != nil {
		t.Fatal(err)
	}
	stop := startProgram(t, "-max-bytes=1000", "-dir="+root)
	stop.out.await(t, "done: 50 files counted, 4 not")
	out := stop.end(0)
	if !strings.Contains(out, "total: 50 documents, 150 words, 3 different; refused 3, quarantined 1, given up 0") {
		t.Error(out)
	}
	if n := strings.Count(stop.err.String(), `/loop kind="symbolic link"`); n != 1 {
		t.Errorf("the link is mentioned %d times:\n%v", n, stop.err)
	}
	for _, why := range []string{"larger than 1000 bytes", "not valid UTF-8", "has no words", "poison word"} {
		if !strings.Contains(stop.err.String(), why) {
			t.Errorf("no %q in the log:\n%v", why, stop.err)
		}
	}
}
