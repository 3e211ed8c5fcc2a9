package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// TestProgramUnderChaos runs the program as the README has it: it compares the totals with what its clients were told, and its
// exit code says whether they agree.
func TestProgramUnderChaos(t *testing.T) {
	p := startProgram(t, "-load=4", "-chaos", "-swap", "-progress=100ms", "-for=3s", "-queue=2")
	url := p.url()
	p.out.await(t, " restarted")
	status, metrics, _, err := ask(http.MethodGet, url+"/metrics", "")
	if err != nil || status != http.StatusOK || strings.Contains(metrics, "\nwordcount_restarts_total 0\n") || strings.Contains(metrics, "\ngreenroom_actors_restarted_total 0\n") {
		t.Errorf("status %d, %v, no restarts in:\n%s", status, err, metrics)
	}
	if code := <-p.code; code != 0 {
		t.Errorf("exit code %d:\n%v\n%v", code, p.out, p.err)
	}
	out := p.out.String()
	for _, want := range []string{"ending after 3s", "load: 4 clients had ", " 0 answered with an error", "actors killed, ", "swap: the ", "check: the totals are those of the ", "(balanced)"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// TestEveryWordCountsOnce kills every kind of actor and swaps the shards' behaviour as fast as it can while documents are counted:
// each is counted whole and once, down to the single word.
func TestEveryWordCountsOnce(t *testing.T) {
	s, c := newTestService(t, "-shards=3", "-workers=3", "-queue=2")
	const clients, each = 6, 30
	var counting, trouble sync.WaitGroup
	done := make(chan struct{})
	again := func(f func()) {
		trouble.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond):
					f()
				}
			}
		})
	}
	again(func() {
		if victims, err := s.victims(t.Context()); err == nil {
			victims[rand.IntN(len(victims))].ref.Kill()
			s.killed.Add(1)
		}
	})
	way := 0
	again(func() {
		if way++; s.swapShards(t.Context(), &waysToCount[way%2]) {
			return
		}
		way--
	})
	want := map[string]uint64{}
	var mu sync.Mutex
	for i := range clients {
		counting.Go(func() {
			for j := range each {
				var text strings.Builder
				mu.Lock()
				for range 5000 { // some documents are of several parts
					word := fmt.Sprintf("w%d", rand.IntN(100*(1+j*j)))
					want[word]++
					fmt.Fprintln(&text, word)
				}
				mu.Unlock()
				if _, err := s.ingest(fmt.Sprintf("%d-%d", i, j), text.String()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	counting.Wait()
	close(done)
	trouble.Wait()
	top, err := s.top(t.Context(), len(want)+1)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, w := range top.Words {
		got[w.Word] = w.Count
	}
	if diff := cmp.Diff(want, got); diff != "" || top.Documents != clients*each || len(top.Words) != len(want) {
		t.Errorf("%d documents, counts (-want +got):\n%s", top.Documents, diff)
	}
	if s.killed.Load() == 0 || s.restarted.Load() == 0 {
		t.Errorf("%d killed, %d restarted", s.killed.Load(), s.restarted.Load())
	}
	if err := s.stop(t.Context()); err != nil {
		t.Errorf("%v\n%v", err, c)
	}
}

// TestOnlyPoisonIsRefused kills the workers' supervisor while a worker panics again and again: whose document waited at that worker is not
// told that it was poison.
func TestOnlyPoisonIsRefused(t *testing.T) {
	s, c := newTestService(t, "-workers=1")
	var posting sync.WaitGroup
	var innocent atomic.Uint64
	done := make(chan struct{})
	for i := range 8 {
		text := "fine words"
		if i%2 == 0 {
			text = "POISON"
		}
		posting.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				_, err := s.ingest("a", text)
				if poison := text == "POISON"; (err != nil) != poison {
					t.Errorf("%s: %v", text, err)
				} else if !poison {
					innocent.Add(1)
				}
			}
		})
	}
	for range restartsASecond / 2 {
		for before := innocent.Load(); innocent.Load() == before && !t.Failed(); {
			runtime.Gosched()
		}
		workers, _ := s.sys.Lookup(ingestID)
		workers.Kill()
	}
	close(done)
	posting.Wait()
	if err := s.stop(t.Context()); err != nil {
		t.Errorf("%v\n%v", err, c)
	}
}

// TestPartsCountOnce gives a shard parts in every order that a worker's end may bring about.
func TestPartsCountOnce(t *testing.T) {
	c := newCounts()
	add := func(document uint64, part uint32, settled uint64, last bool) error {
		return c.add(&pb.AddRequest{Document: document, Part: part, Settled: settled, Last: last, Counts: []*pb.WordCount{{Word: "a", Count: 1}}}, func(string, uint64) {})
	}
	for _, step := range []struct {
		document, settled uint64
		part              uint32
		last, wrong       bool
		total, documents  uint64
	}{
		{document: 1, part: 0, total: 1},
		{document: 1, part: 0, total: 1},
		{document: 1, part: 2, total: 1, wrong: true},
		{document: 1, part: 1, last: true, total: 2, documents: 1},
		{document: 1, part: 0, total: 2, documents: 1},
		{document: 1, part: 1, last: true, total: 2, documents: 1},
		{document: 2, part: 0, settled: 2, last: true, total: 3, documents: 2},
	} {
		err := add(step.document, step.part, step.settled, step.last)
		if (err != nil) != step.wrong || c.total != step.total || c.documents != step.documents {
			t.Fatalf("%+v: %v, total %d, documents %d", step, err, c.total, c.documents)
		}
	}
	if c.repeated != 3 {
		t.Errorf("%d parts came again", c.repeated)
	}
	for i := range uint64(10_000) {
		if err := add(i+3, 0, i+3, true); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.parts) > 600 {
		t.Errorf("%d settled documents are remembered", len(c.parts))
	}
}

// TestWaysToCountAgree compares the ways to count after each part of random documents.
func TestWaysToCountAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var shards []counter
	for _, way := range waysToCount {
		shards = append(shards, way.make(newCounts()))
	}
	for i := range 150 {
		part := &pb.AddRequest{Document: uint64(i), Last: true}
		for range random.IntN(30) {
			part.Counts = append(part.Counts, &pb.WordCount{Word: fmt.Sprint("w", random.IntN(1+i)), Count: 1 + random.Uint64N(3)})
		}
		var answers []*pb.TopResponse
		for _, n := range []uint32{0, 1, 10, rankedWords, rankedWords + 1} {
			answers = answers[:0]
			for _, shard := range shards {
				if n == 0 {
					if _, err := shard.Add(nil, part); err != nil {
						t.Fatal(err)
					}
				}
				answer, err := shard.Top(nil, &pb.TopRequest{N: n})
				if err != nil {
					t.Fatal(err)
				}
				answers = append(answers, answer)
			}
			for j := range answers {
				if diff := cmp.Diff(answers[0], answers[j], protocmp.Transform()); diff != "" {
					t.Fatalf("part %d, the first %d, %s (-%s +%s):\n%s", i, n, waysToCount[j].name, waysToCount[0].name, waysToCount[j].name, diff)
				}
			}
		}
		for j, way := range waysToCount { // a swap to and fro
			shards[j] = way.make(waysToCount[1-j].make(shards[j].kept()).kept())
		}
	}
}

// TestTree draws the tree and tells of what happened in it.
func TestTree(t *testing.T) {
	c := startService(t, "-shards=2", "-workers=1")
	for _, name := range []string{shardName(1), workerName(0), statsID} {
		ref, _ := c.s.sys.Lookup(name)
		ref.Kill()
	}
	c.expect(http.MethodPost, "/documents", "one more", 200)
	want := `service
├── stats      actor, running, restarts 1
├── shards     tree, running, restarts 0
│   ├── shard-0    actor, running, restarts 0
│   └── shard-1    actor, running, restarts 1
└── ingest     tree, running, restarts 0
    └── worker-0   actor, running, restarts 1
`
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, tree, _ := c.ask(http.MethodGet, "/tree", "")
		diff := cmp.Diff(want, tree)
		if diff == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("tree (-want +got):\n%s", diff)
		}
	}
	if !c.s.swapShards(t.Context(), &waysToCount[1]) {
		t.Error(c.out)
	}
	c.expect(http.MethodGet, "/stats", "", 200, `"shard_behaviour": "ranked"`, `"restarts": 3`)
	c.expect(http.MethodGet, "/events", "", 200, "shard-1 has ended: killed", "worker-0 was started again", "stats was started again", "shards: the behaviour is ranked now")
}
