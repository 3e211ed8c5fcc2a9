package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
)

// asProgram makes this test binary the program itself, and what that starts its nodes.
const asProgram = "GREENROOM_CLUSTER_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is a run of the program as processes.
type program struct {
	t       *testing.T
	process *exec.Cmd
	out     *bufio.Reader
	printed strings.Builder
	errs    bytes.Buffer
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, process: exec.CommandContext(t.Context(), self, args...)}
	p.process.Env = append(os.Environ(), asProgram+"=1")
	p.process.Stderr = &p.errs
	out, err := p.process.StdoutPipe()
	if err == nil {
		err = p.process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(io.TeeReader(out, &p.printed))
	return p
}

// line waits for the next line.
func (p *program) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		_ = p.process.Wait()
		p.t.Fatalf("the program ended: %v\n%s\n%s", err, &p.printed, &p.errs)
	}
	return line
}

// end waits for the end, expects exit code 0, and returns what was printed.
func (p *program) end() string {
	p.t.Helper()
	_, err := io.Copy(io.Discard, p.out)
	if err != nil {
		p.t.Error(err)
	}
	if err := p.process.Wait(); err != nil {
		p.t.Errorf("%v\n%s\n%s", err, &p.printed, &p.errs)
	}
	return p.printed.String()
}

var (
	proofLine = regexp.MustCompile(`(?m)^proof: the 6 shards hold (\d+) documents and (\d+) words, `)
	sumLine   = regexp.MustCompile(`(?m)^(\d+) documents were acknowledged in [\d.]+s, \d+ a second; (\d+) kills$`)
)

// proven returns how many documents the shards hold and were acknowledged, and how many kills there were.
func proven(t *testing.T, printed string) (documents, kills int) {
	t.Helper()
	sum, proof := sumLine.FindStringSubmatch(printed), proofLine.FindStringSubmatch(printed)
	if sum == nil || proof == nil || sum[1] != proof[1] {
		t.Fatalf("no proof:\n%s", printed)
	}
	documents, _ = strconv.Atoi(sum[1])
	kills, _ = strconv.Atoi(sum[2])
	return documents, kills
}

// TestNodesAreKilled kills nodes under work, in both ways: one comes back when its shards live elsewhere, the next one at once.
func TestNodesAreKilled(t *testing.T) {
	printed := startProgram(t, "-for=6s", "-every=1500ms").end()
	documents, kills := proven(t, printed)
	if documents == 0 || kills == 0 || !strings.Contains(printed, "counts again") || !strings.Contains(printed, "is up again") {
		t.Errorf("%d documents, %d kills; nobody took over:\n%s", documents, kills, printed)
	}
}

// TestInterrupt: Ctrl-C brings the end forward, with the proof.
func TestInterrupt(t *testing.T) {
	p := startProgram(t, "-for=1h", "-every=500ms", "-rate=500", "-seed=7")
	for !strings.Contains(p.line(), "is killed") { // the end comes while a node is down
	}
	if err := p.process.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, kills := proven(t, p.end()); kills == 0 {
		t.Error("no kill is among the sums")
	}
}

// TestNodeEndsWithItsParent: all that a node has of its parent is its stdin.
func TestNodeEndsWithItsParent(t *testing.T) {
	stdin, parent := io.Pipe()
	code := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		code <- runNode([]string{"-name=n1", "-certs=" + t.TempDir(), "-home=127.0.0.1:1"}, stdin, &errs)
	}()
	_ = parent.Close()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d: %s", got, &errs)
	}
}

func TestWrongCommandLine(t *testing.T) {
	for _, c := range []struct{ arg, want string }{
		{"-nodes=1", "-nodes is 1: it must be from 2 to 16"},
		{"-nodes=17", "-nodes is 17"},
		{"-shards=0", "-shards is 0: it must be from 1 to 256"},
		{"-rate=-1", "-rate is -1"},
		{"-for=0s", "-for is 0s: it must be positive"},
		{"-every=-1s", "-every is -1s: it must be at least 100ms, or 0 for no kills"},
		{"-every=1ms", "-every is 1ms"},
		{"-seed=x", "invalid value"},
		{"now", `unexpected argument "now"`},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{c.arg}, &out, &errs); code != 2 || !strings.Contains(errs.String(), c.want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q, %q; want 2 and %q", c.arg, code, &out, &errs, c.want)
		}
	}
	if code := run(t.Context(), []string{"-help"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("-help: exit code %d", code)
	}
}

// TestReadmeCommands holds that the commands of the READMEs are understood.
func TestReadmeCommands(t *testing.T) {
	command := regexp.MustCompile(`(?m)^    go run \./examples/cluster(?: +([^#\n]*))?(?:#.*)?$`)
	commands := 0
	for _, name := range []string{"README.md", "../../README.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range command.FindAllStringSubmatch(string(text), -1) {
			commands++
			if _, err := parse(strings.Fields(found[1]), io.Discard); err != nil {
				t.Errorf("%s: %q: %v", name, found[0], err)
			}
		}
	}
	if commands < 4 {
		t.Errorf("%d commands are found", commands)
	}
}

func TestShardCountsByNumber(t *testing.T) {
	s := &shard{}
	count := func(number uint64, text string) error {
		_, err := s.Count(nil, &pb.CountRequest{Document: &pb.Document{Number: number, Text: text}})
		return err
	}
	if err := count(1, "a"); err == nil {
		t.Error("a shard counts before it was restored")
	}
	_, err := s.Restore(nil, &pb.RestoreRequest{
		State:     &pb.State{Through: 4, Documents: 4, Words: map[string]uint64{"a": 10}},
		Documents: []*pb.Document{{Number: 5, Text: "A b.\nB"}, {Number: 6, Text: "c"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := count(6, "c"); err != nil { // again
		t.Error(err)
	}
	if err := count(8, "d"); err == nil {
		t.Error("document 8 is counted after document 6")
	}
	saved, err := s.Save(nil, nil)
	state := saved.GetState()
	if err != nil || state.GetThrough() != 6 || state.GetDocuments() != 6 || len(state.GetWords()) != 3 ||
		state.GetWords()["a"] != 11 || state.GetWords()["b"] != 2 || state.GetWords()["c"] != 1 {
		t.Errorf("%v, %v", state, err)
	}
}

// TestKeeperReplacesShards has a keeper's shard killed, and one that has forgotten everything take its place.
func TestKeeperReplacesShards(t *testing.T) {
	sys, err := actor.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Stop(t.Context()) }()
	b := newBoard(options{nodes: 2, shards: 1}, io.Discard)
	k := &keeper{post: &post{}, note: &b.shards[0]}
	start := func() pb.ShardRef {
		ref, err := pb.SpawnShard(sys, func(*actor.Context) (pb.ShardServer, error) { return &shard{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		k.post.take(ref.AnyRef)
		return ref
	}
	ref := start()
	to, err := pb.SpawnKeeper(sys, func(*actor.Context) (pb.KeeperServer, error) { return k, nil })
	if err != nil {
		t.Fatal(err)
	}
	const documents = 3*saveEvery + 10
	for i := range uint64(documents) {
		if i%100 == 50 { // some deaths are close to a save, some are not
			ref.Kill()
			if _, err := ref.Wait(t.Context()); err == nil {
				t.Fatal("a shard that was killed has ended well")
			}
			ref = start()
		}
		if taken, err := to.Take(t.Context(), &pb.TakeRequest{Text: "one two, Two"}); err != nil || taken.GetNumber() != i+1 {
			t.Fatal(taken, err)
		}
	}
	settled, err := to.Settle(t.Context(), &pb.SettleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	sum := &tally{[]uint64{documents}, map[string]uint64{"one": documents, "two": 2 * documents}}
	if _, err := prove(sum, []*pb.State{settled.GetState()}); err != nil {
		t.Error(err)
	}
	if len(k.journal) != 0 {
		t.Errorf("the keeper remembers %d documents that are in what it has saved", len(k.journal))
	}
}

func TestProof(t *testing.T) {
	acknowledged := &tally{[]uint64{2, 1}, map[string]uint64{"a": 3, "b": 1}}
	state := func(documents uint64, words map[string]uint64) *pb.State {
		return &pb.State{Documents: documents, Words: words}
	}
	for _, c := range []struct {
		name string
		held []*pb.State
		want string // "" for a proof
	}{
		{"right", []*pb.State{state(2, map[string]uint64{"a": 2, "b": 1}), state(1, map[string]uint64{"a": 1})}, ""},
		{"a word twice", []*pb.State{state(2, map[string]uint64{"a": 3, "b": 1}), state(1, map[string]uint64{"a": 1})},
			`"a" was counted 4 times, and acknowledged 3 times`},
		{"a word lost", []*pb.State{state(2, map[string]uint64{"a": 2}), state(1, map[string]uint64{"a": 1})},
			`"b" was counted 0 times, and acknowledged 1 times`},
		{"a strange word", []*pb.State{state(2, map[string]uint64{"a": 2, "b": 1, "c": 1}), state(1, map[string]uint64{"a": 1})},
			`"c" was counted 1 times, and acknowledged 0 times`},
		{"a document twice", []*pb.State{state(2, map[string]uint64{"a": 2, "b": 1}), state(2, map[string]uint64{"a": 1})},
			"shard-1 holds 2 documents, and 1 were acknowledged"},
	} {
		line, err := prove(acknowledged, c.held)
		switch {
		case c.want == "" && (err != nil || line != "proof: the 2 shards hold 3 documents and 4 words, 2 different: document by document and word by word what was acknowledged"):
			t.Errorf("%s: %q, %v", c.name, line, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %q, %v; want %q", c.name, line, err, c.want)
		}
	}
}

func TestPace(t *testing.T) {
	if p := newPace(100, 5); p.interval != 50*time.Millisecond {
		t.Errorf("five who do something 100 times a second together do it each %v", p.interval)
	}
	if p := newPace(0, 5); p.interval != 0 {
		t.Errorf("an interval of %v without a rate", p.interval)
	}
}

func TestPrefixed(t *testing.T) {
	var out bytes.Buffer
	p := &prefixed{to: &out, prefix: "n1: "}
	for _, part := range []string{"a", "b\nc\n", "\nd"} {
		if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := out.String(), "n1: ab\nn1: c\nn1: \n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
