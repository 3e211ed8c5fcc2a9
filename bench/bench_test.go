package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/bench/internal/far"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// tiny is the suite with as little work as shows that a bench does what it should.
func tiny() harness.Suite {
	s := suite()
	for i := range s {
		s[i].N, s[i].ShortN = 20, 20
	}
	return s
}

// TestMain lets the test's own executable take samples, as the command's does.
func TestMain(m *testing.M) {
	if far.Is(os.Args[1:]) {
		os.Exit(far.Main(farSides(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if harness.IsChild(os.Args[1:]) {
		os.Exit(harness.Main(tiny(), os.Args[1:], os.Stdout, os.Stderr))
	}
	// The race detector keeps each of the many children for a second after its work, unless it is told not to.
	if err := os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func runTiny(t *testing.T, args ...string) []harness.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "results.json")
	var stdout, stderr bytes.Buffer
	if code := harness.Main(tiny(), append(args, "-short", "-repeat", "1", "-json", file), &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results []harness.Result
	for line := range bytes.Lines(data) {
		var r harness.Result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
		if !strings.Contains(stdout.String(), r.Bench) {
			t.Errorf("%s is not in the table", r.Bench)
		}
	}
	return results
}

// Every bench runs on both sides and yields the figures that docs/BENCHMARKS.md and the plots are made from.
func TestEveryBench(t *testing.T) {
	want := []string{
		"idle-memory B", "idle-memory/heap B", "idle-memory-used B", "idle-memory-used/heap B",
		"suspended-100k/handlers MB", "suspended-100k/routines MB", "spawn M/s",
		"pingpong ns", "pingpong/fresh ns", "pingpong-routine ns", "pingpong-routine/fresh ns", "pairs ns", "pairs/fresh ns",
		"count ns", "count/fresh ns", "fanin ns", "fanin/fresh ns", "channel ns", "channel/fresh ns", "ring ns", "ring/fresh ns",
		"call ns", "call/fresh ns", "call-inside ns", "call-inside/fresh ns",
		"service-call ns", "service-call/fresh ns", "service-call-inside ns", "service-call-inside/fresh ns",
		"timers/p50 us", "timers/p99 us", "timers/cost ns", "block ns", "blocked M/s",
		"neighbour/timer-p99 us", "neighbour/echo-p99 us",
		"scaling/procs x", "scaling/idle-million ns", "scaling/active-million ns",
		"locate ns", "restart/p50 us", "restart/p99 us", "restart-rate ns", "dynamic/memory B", "dynamic/start ns", "dynamic/stop ns",
		"swap/idle ns", "swap/busy us",
		"remote-send/bytes MB/s", "remote-send/rate M/s", "remote-send/wire B", "remote-send/cpu-sender ns", "remote-send/cpu-receiver ns",
		"remote-pairs/bytes MB/s", "remote-pairs/rate M/s", "remote-pairs/wire B", "remote-pairs/cpu-sender ns", "remote-pairs/cpu-receiver ns",
		"remote-call/p50 us", "remote-call/p99 us", "remote-call-inside/p50 us", "remote-call-inside/p99 us",
		"remote-large/bytes MB/s", "remote-large/calls us", "remote-channel/delivery ns", "remote-channel/wire msgs", "remote-monitor ms", "remote-idle/rss KB", "remote-idle/heap KB", "remote-idle/cpu %",
	}
	var got []string
	results := runTiny(t, "-fresh")
	for i := 0; i+1 < len(results); i += 2 {
		ours, floor := results[i], results[i+1]
		got = append(got, ours.Bench+" "+ours.Unit)
		checkPair(t, ours, floor)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}

// checkPair holds what is true of any two results that belong together, whatever the machine does.
func checkPair(t *testing.T, ours, floor harness.Result) {
	t.Helper()
	if ours.Bench != floor.Bench || ours.Impl != harness.Greenroom || floor.Impl == harness.Greenroom || floor.Ratio != 1 {
		t.Errorf("%+v and %+v do not belong together", ours, floor)
	}
	for _, r := range []harness.Result{ours, floor} {
		if r.Procs != 2 || r.N != 20 || r.Median < 0 || r.Min != r.Median || r.Max != r.Median {
			t.Errorf("%+v: want procs 2, n 20 and one sample that is all of median, min and max", r)
		}
	}
	if ours.Median == 0 || floor.Median == 0 {
		return
	}
	times := floor.Median / ours.Median
	if ours.Unit == "M/s" || ours.Unit == "MB/s" || ours.Unit == "x" {
		times = 1 / times
	}
	if math.Abs(ours.Ratio-times) > 0.001*times {
		t.Errorf("%s: ratio %v, want %v: %v against %v %s", ours.Bench, ours.Ratio, times, ours.Median, floor.Median, ours.Unit)
	}
}

// The floors that run only when -against asks for them work too.
func TestAgainstChan(t *testing.T) {
	var got []string
	for _, r := range runTiny(t, "-against", "chan", "-run", "blocked,scaling") {
		if r.Impl != harness.Greenroom {
			got = append(got, r.Bench+" "+r.Impl)
		}
	}
	want := []string{"blocked chan", "scaling/procs chan", "scaling/idle-million chan", "scaling/active-million chan"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("floors (-want +got):\n%s", diff)
	}
}

// The far side of a bench ends when its standard input does: then whoever started it has ended, in whatever way. It need not have been
// idle.
func TestFarSideEnds(t *testing.T) {
	in, out := io.Pipe()
	done := make(chan int, 1)
	started := make(chan struct{})
	roles := map[string]far.Role{"busy": far.As(func(struct{}) (far.Methods, error) {
		return far.Methods{"hang": far.Do(func(struct{}) (struct{}, error) { close(started); select {} })}, nil
	})}
	go func() {
		done <- far.Main(roles, []string{"-be-the-far-side", "busy", "{}"}, in, io.Discard, io.Discard)
	}()
	if _, err := io.WriteString(out, `{"method":"hang","arg":{}}`+"\n"); err != nil {
		t.Fatal(err)
	}
	<-started
	_ = out.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A machine with one processor can run all but scaling/procs.
func TestOneProcessor(t *testing.T) {
	results := runTiny(t, "-procs", "1", "-run", "pingpong,blocked")
	if names := slices.Collect(func(yield func(string) bool) {
		for _, r := range results {
			yield(r.Bench)
		}
	}); !slices.Equal(names, []string{"pingpong", "pingpong", "blocked", "blocked"}) {
		t.Errorf("results are %v", names)
	}
	for _, r := range results {
		if r.Procs != 1 {
			t.Errorf("%+v did not run at procs 1", r)
		}
	}
}
